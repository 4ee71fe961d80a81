"""What stands between the action blocks: attach points and C declarations, cut out of the text but not interpreted."""

from __future__ import annotations

from bpftrace_py import messages
from bpftrace_py.diagnostics import Diagnostics, Note
from bpftrace_py.source import Span
from bpftrace_py.syntax.ast import AttachPoint, CDeclaration
from bpftrace_py.syntax.literals import unescape

DECLARATION_WORDS = ("struct", "union", "enum", "typedef")

_BLANKS = frozenset(" \t\r\n\f\v")
_NAME_CHARACTERS = frozenset("_.-+*?[]$#@")  # and letters and digits
_PATH_CHARACTERS = _NAME_CHARACTERS | frozenset("/~%=")


def skip_blanks(text: str, at: int) -> int:
    """The offset of what follows the white space and the comments at `at`."""
    while at < len(text):
        if text[at] in _BLANKS:
            at += 1
        elif text.startswith("//", at):
            newline = text.find("\n", at)
            at = newline if newline >= 0 else len(text)
        elif text.startswith("/*", at):
            end = text.find("*/", at + 2)
            at = end + 2 if end >= 0 else len(text)
        else:
            break
    return at


# --- attach points


def scan_attach_point(text: str, start: int, diagnostics: Diagnostics) -> AttachPoint | None:
    """The attach point at `start`. It ends before white space, `,`, `{`, and before the `/` of a predicate.

    Spaces beside a colon do not end it: `interval:s: 1`. None, and an error, if a quoted part is not closed.
    """
    parts: list[str] = []
    spans: list[Span] = []
    at = start
    while True:
        part, end = _scan_part(text, at, len(parts), diagnostics)
        if part is None:
            return None
        parts.append(part)
        spans.append(Span(at, end))
        colon = _skip_spaces(text, end)
        if not text.startswith(":", colon):
            break
        at = _skip_spaces(text, colon + 1)
        if at == len(text) or not _starts_part(text[at], len(parts)):
            at = colon + 1
    written = ":".join(text[span.start : span.end] for span in spans)
    return AttachPoint(span=Span(start, spans[-1].end), text=written, parts=parts, part_spans=spans)


def _skip_spaces(text: str, at: int) -> int:
    while text[at : at + 1] in (" ", "\t"):
        at += 1
    return at


def _starts_part(character: str, index: int) -> bool:
    return character.isalnum() or character in _NAME_CHARACTERS or character in '"\\:' or (character == "/" and index == 1)


def _scan_part(text: str, start: int, index: int, diagnostics: Diagnostics) -> tuple[str | None, int]:
    """The part at `start`, its quotes and escapes resolved, and where it ends."""
    allowed = _PATH_CHARACTERS if index == 1 and _is_path(text, start) else _NAME_CHARACTERS
    pieces: list[str] = []
    at = start
    while at < len(text):
        character = text[at]
        if character.isalnum() or character in allowed:
            pieces.append(character)
            at += 1
        elif character == "\\" and at + 1 < len(text) and text[at + 1] != "\n":
            pieces.append(text[at + 1])
            at += 2
        elif character == '"':
            end = _string_end(text, at)
            if end < 0:
                line_end = text.find("\n", at)
                diagnostics.error(messages.UNTERMINATED_STRING, Span(at, line_end if line_end >= 0 else len(text)))
                return None, at
            pieces.append(unescape(text[at + 1 : end], at + 1, diagnostics))
            at = end + 1
        else:
            break
    return "".join(pieces), at


def _is_path(text: str, start: int) -> bool:
    """Whether slashes at `start` belong to a path, not to a predicate: a path begins with one, or a colon follows it."""
    if text.startswith(("/", "./", "../"), start):
        return True
    at = start
    while at < len(text) and (text[at].isalnum() or text[at] in _PATH_CHARACTERS or text[at] == "\\"):
        at += 2 if text[at] == "\\" else 1
    return text.startswith(":", at)


def _string_end(text: str, quote: int) -> int:
    """The offset of the quote that closes the one at `quote`; -1 if none does on its line."""
    at = quote + 1
    while at < len(text) and text[at] != "\n":
        if text[at] == text[quote]:
            return at
        at += 2 if text[at] == "\\" and text[at + 1 : at + 2] != "\n" else 1
    return -1


# --- C declarations


def scan_declaration(text: str, start: int, word: str, diagnostics: Diagnostics) -> CDeclaration | None:
    """The declaration at `start`, which begins with `word`. None, and an error, if it does not end.

    A definition of a record or an enum may lack its semicolon, which is then added to the text that clang gets.
    """
    brace = _find(text, start, "{;")
    if word == "typedef":
        end = _find(text, start, ";") + 1
        if end == 0:
            _unfinished(text, "`;`", None, diagnostics)
            return None
    elif brace < 0:
        _unfinished(text, "`{`", None, diagnostics)
        return None
    elif text[brace] == ";":
        end = brace + 1
    else:
        end = _closing(text, brace) + 1
        if end == 0:
            _unfinished(text, "`}`", brace, diagnostics)
            return None
        end = _behind_record(text, end)
    written = text[start:end]
    complete = written if written.endswith(";") else written + ";"
    return CDeclaration(span=Span(start, end), kind=word, text=complete)


def _unfinished(text: str, expected: str, brace: int | None, diagnostics: Diagnostics) -> None:
    notes = () if brace is None else (Note("this `{` is not closed", Span(brace, brace + 1)),)
    end = len(text.rstrip())
    diagnostics.error(messages.UNEXPECTED_END, Span(end - 1, end), notes=notes, expected=expected)


def _behind_record(text: str, end: int) -> int:
    """The end of a definition whose brace closes before `end`: attributes and a semicolon belong to it."""
    at = skip_blanks(text, end)
    while text.startswith("__attribute__", at):
        opening = skip_blanks(text, at + len("__attribute__"))
        closing = _closing(text, opening) if text.startswith("(", opening) else -1
        if closing < 0:
            return end
        end = closing + 1
        at = skip_blanks(text, end)
    return at + 1 if text.startswith(";", at) else end


def _find(text: str, at: int, wanted: str) -> int:
    """The offset of the first of `wanted` that is not in brackets, a comment or a literal; -1 if there is none."""
    while True:
        at = _next_mark(text, at)
        if at < 0 or text[at] in wanted:
            return at
        if text[at] in "({[":
            at = _closing(text, at)
            if at < 0:
                return -1
        at += 1


_PAIRS = {"(": ")", "[": "]", "{": "}"}


def _closing(text: str, opening: int) -> int:
    """The offset of the bracket that closes the one at `opening`; -1 if none does."""
    open_bracket, close_bracket = text[opening], _PAIRS[text[opening]]
    depth = 1
    at = opening + 1
    while True:
        at = _next_mark(text, at)
        if at < 0:
            return -1
        depth += (text[at] == open_bracket) - (text[at] == close_bracket)
        if depth == 0:
            return at
        at += 1


_MARKS = frozenset("(){}[];")


def _next_mark(text: str, at: int) -> int:
    """The offset of the next bracket or semicolon of C text from `at` on; -1 if there is none."""
    while at < len(text):
        character = text[at]
        if character in _MARKS:
            return at
        if character in "\"'":
            end = _string_end(text, at)
            at = end + 1 if end >= 0 else at + 1
        elif character == "/" and text[at + 1 : at + 2] in ("/", "*"):
            at = skip_blanks(text, at)
        else:
            at += 1
    return -1
