"""Program text to tokens.

The lexer has two states. At the top level a program consists of C declarations, preprocessor lines and attach points,
none of which follow the rules of the language proper: each becomes one token. Predicates and action blocks are lexed
in the state `code`. Which state holds depends on braces and slashes only, never on the parser, so that the whole text
is lexed first and the parser may look as far ahead as it likes.
"""

from __future__ import annotations

from bpftrace_py import messages
from bpftrace_py.diagnostics import Diagnostics
from bpftrace_py.postponed import postponed
from bpftrace_py.source import Source, Span
from bpftrace_py.syntax.ast import CDeclaration
from bpftrace_py.syntax.literals import parse_integer, unescape
from bpftrace_py.syntax.top_level import DECLARATION_WORDS, scan_attach_point, scan_declaration, skip_blanks

with postponed("inspect"):  # which PLY asks about mistakes in a grammar only; it takes as long as half of the compiler
    from ply import lex

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol, TypeVar

    _Rule = TypeVar("_Rule", bound=Callable[[Any], Any])

    class Token(Protocol):
        """What PLY's lexer gives, with the offset after its last character added, and `text` if it comes of a macro."""

        type: str
        value: Any
        lexpos: int
        end: int
        text: str


MAX_NESTING = 200
"""How deep brackets, blocks and the syntax tree may be. Passes over the tree recurse, most with up to three Python frames
a level, under the interpreter's default limit of 1000 (`compiler.py` tells those that meet it); clang's own limit for
brackets is 256."""

# Keywords can be field names: `args->return` is a field.
KEYWORDS = {
    "if": "IF", "else": "ELSE", "while": "WHILE", "unroll": "UNROLL",
    "return": "RETURN", "break": "BREAK", "continue": "CONTINUE",
    "struct": "RECORD", "union": "RECORD", "enum": "RECORD",
    "sizeof": "SIZEOF", "offsetof": "OFFSETOF",
}  # fmt: skip

ASSIGNMENTS = ("=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>=")

OPERATORS = {
    "++": "INCREMENT", "--": "DECREMENT", "->": "ARROW", "&&": "AND", "||": "OR", "<<": "SHIFT_LEFT", ">>": "SHIFT_RIGHT",
    "==": "EQUAL", "!=": "NOT_EQUAL", "<=": "LESS_EQUAL", ">=": "GREATER_EQUAL",
    "=": "ASSIGN", **dict.fromkeys(ASSIGNMENTS[1:], "ASSIGN_COMPOUND"),
}  # fmt: skip

_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")

# --- PLY's rules; PLY finds them by name in this module

tokens = (
    "COMMENT", "DIRECTIVE", "WORD", "NUMBER", "DOLLAR", "MAP", "STRING", "OPERATOR", "PUNCTUATION", "ATTACH_POINT", "OTHER",
)  # fmt: skip
states = (("code", "exclusive"),)

t_ignore = t_code_ignore = " \t\r\n\f\v"


def _matches(pattern: str) -> Callable[[_Rule], _Rule]:
    """Gives a rule its pattern, as an attribute: `python -OO` has no docstrings."""

    def set_pattern(rule: _Rule) -> _Rule:
        rule.regex = pattern  # type: ignore[attr-defined]
        return rule

    return set_pattern


@_matches(r"//[^\n]*|/\*")
def t_ANY_COMMENT(t: Any) -> None:
    if t.value != "/*":
        return
    end = t.lexer.lexdata.find("*/", t.lexer.lexpos)
    if end < 0:
        t.lexer.diagnostics.error(messages.UNTERMINATED_COMMENT, Span(t.lexpos, t.lexpos + 2))
        t.lexer.broken = True
        end = len(t.lexer.lexdata)
    t.lexer.lexpos = min(end + 2, len(t.lexer.lexdata))


@_matches(r"\#[^\n]*")
def t_DIRECTIVE(t: Any) -> Any:
    if t.value.startswith("#!"):
        return None
    text: str = t.lexer.lexdata
    end: int = t.lexer.lexpos
    while end < len(text) and text.endswith(("\\", "\\\r"), t.lexpos, end):
        newline = text.find("\n", end + 1)
        end = newline if newline >= 0 else len(text)
    t.lexer.lexpos = end
    line = text[t.lexpos : end].rstrip()
    word = line[1:].lstrip()
    kind = next((kind for kind in ("include", "define") if word.startswith(kind)), "directive")
    t.type, t.value = "DECLARATION", CDeclaration(span=Span(t.lexpos, t.lexpos + len(line)), kind=kind, text=line)
    return t


@_matches(r'[\w*?.\[$@"]')
def t_ATTACH_POINT(t: Any) -> Any:
    lexer = t.lexer
    text: str = lexer.lexdata
    for word in DECLARATION_WORDS:
        behind = text[t.lexpos + len(word) : t.lexpos + len(word) + 1]
        if text.startswith(word, t.lexpos) and not behind.isalnum() and behind != "_":
            t.type = "DECLARATION"
            t.value = scan_declaration(text, t.lexpos, word, lexer.diagnostics)
            break
    else:
        t.value = scan_attach_point(text, t.lexpos, lexer.diagnostics)
    lexer.broken |= t.value is None
    lexer.lexpos = len(text) if t.value is None else t.value.span.end
    return t


t_PUNCTUATION = r"[!-~]"  # what is none of the above: `{`, `}`, `,` and `/`, or out of place


@_matches(r'"[^"\\\n]*(?:\\[^\n][^"\\\n]*)*')
def t_code_STRING(t: Any) -> Any:
    lexer = t.lexer
    if lexer.lexdata[lexer.lexpos : lexer.lexpos + 1] != '"':
        newline = lexer.lexdata.find("\n", lexer.lexpos)
        end = newline if newline >= 0 else len(lexer.lexdata)
        lexer.diagnostics.error(messages.UNTERMINATED_STRING, Span(t.lexpos, end))
        lexer.broken = True
        return t
    lexer.lexpos += 1
    t.value = unescape(t.value[1:], t.lexpos + 1, lexer.diagnostics)
    return t


t_code_WORD = r"[A-Za-z_]\w*"
t_code_NUMBER = r"[0-9]\w*"
t_code_DOLLAR = r"\$(?:\w+|\#)"
t_code_MAP = r"@(?:[A-Za-z_]\w*)?"
t_code_OPERATOR = r"(?:<<|>>|[-+*/%&|^=!<>])=|\+\+|--|->|&&|\|\||<<|>>|[-+*/%&|^=!<>~?:;,.(){}\[\]]"


# A last resort rather than PLY's error function, which gets a copy of the rest of the text for every bad character.
t_ANY_OTHER = r"."


# --- from PLY's tokens to the parser's

_master: Any = None


def _new_lexer(text: str, diagnostics: Diagnostics) -> Any:
    global _master
    if _master is None:
        import re
        import sys

        # No lextab: reading one costs as much as compiling these few patterns, which it does not spare.
        flags = re.VERBOSE | re.ASCII
        module = sys.modules[__name__]
        _master = lex.lex(module=module, optimize=True, lextab=False, reflags=flags, errorlog=lex.NullLogger())
    lexer = _master.clone()
    lexer.diagnostics = diagnostics
    lexer.broken = False
    lexer.input(text)
    return lexer


def _end_of_name(text: str, at: int) -> int:
    """Where a name that begins before `at` ends, if other letters than those of ASCII counted."""
    while at < len(text) and (text[at].isalnum() or text[at] == "_"):
        at += 1
    return at


def _is_byte(character: str) -> bool:
    """Whether it stands for a byte that is not UTF-8."""
    return "\udc80" <= character <= "\udcff"


def _quoted(character: str) -> str:
    return f"'\\x{ord(character) - 0xDC00:02x}'" if _is_byte(character) else repr(character)


class TokenList:
    """The tokens of a program and what the parser should know about how they were found."""

    def __init__(self, source: Source, diagnostics: Diagnostics) -> None:
        self.tokens: list[Token] = []
        self.broken = False  # an error after which the tokens make no sense
        self.bad_characters: list[int] = []  # offsets of characters that were reported and left out
        self._end_of_bad_name = 0  # behind the last name that has letters which names may not have
        self._source = source
        self._diagnostics = diagnostics
        self._in_predicate = False
        self._blocks = 0
        self._nesting = 0

    def read(self) -> None:
        """Lex the whole text."""
        text = self._source.text
        try:
            text.isascii() or text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            span = Span(error.start, error.start + 1)
            self._diagnostics.error(messages.UNEXPECTED_CHARACTER, span, character=_quoted(text[error.start]))
            self.broken = True
            return
        lexer = _new_lexer(text, self._diagnostics)
        append = self.tokens.append
        previous = ""
        while not self.broken:
            token = lexer.token()
            if token is None or lexer.broken:
                break
            token.end, token.text = lexer.lexpos, ""
            kind = token.type
            if kind == "WORD":
                token.type = "IDENTIFIER" if previous in (".", "ARROW") else KEYWORDS.get(token.value, "IDENTIFIER")
            elif kind == "OPERATOR":
                token.type = OPERATORS.get(token.value, token.value)
                if token.value in "(){}[]/":
                    self._structure(token, lexer)
            elif kind == "NUMBER":
                token.type = "INTEGER"
                if previous == ".":  # `x.0.1`: an index, not a number with a base and a suffix
                    token.value = token.value if token.value.isdigit() else "0"
                token.value = parse_integer(token.value, Span(token.lexpos, token.end), self._diagnostics)
            elif kind == "DOLLAR":
                self._dollar(token)
            elif kind == "PUNCTUATION":
                self._top_level(token, lexer)
            elif kind == "OTHER":
                self._bad_character(token)
                continue
            append(token)
            previous = token.type
        self.broken |= lexer.broken

    def _top_level(self, token: Token, lexer: Any) -> None:
        token.type = token.value if token.value in "{}," else "JUNK"
        if token.value == "{":
            self._blocks, self._nesting = 1, 1
            lexer.begin("code")
        elif token.value == "/":
            token.type = "PREDICATE_OPEN"
            self._in_predicate, self._blocks, self._nesting = True, 0, 0
            lexer.begin("code")

    def _bad_character(self, token: Token) -> None:
        if token.lexpos < self._end_of_bad_name:  # a part of the name that was reported
            self.bad_characters.append(token.lexpos)
            return
        text, hint = self._source.text, None
        end = _end_of_name(text, token.end) if token.value == "$" or token.value.isalpha() else token.end
        span = Span(token.lexpos, end)
        if token.value in "'`":
            hint = "strings are written in double quotes"
            line_start = text.rfind("\n", 0, token.lexpos) + 1
            earlier = [at for at in self.bad_characters if at >= line_start and text[at] == token.value]
            if len(earlier) % 2:
                self.bad_characters.append(token.lexpos)  # the quote that closes the one reported
                return
        elif token.value in "\u201c\u201d\u201e\u2018\u2019\xab\xbb":
            hint = 'this is a typographic quote; strings are written in plain ones: "..."'
        elif token.value.isspace():
            hint = "this is not a plain space, though it looks like one"
        elif _is_byte(token.value):
            hint = "this byte is not UTF-8, in which programs are written"
        elif not token.value.isascii() and not token.value.isprintable():
            hint = "this character is invisible"
        elif token.value == "#":
            hint = "a comment is written `// ...` or `/* ... */`; `#include` and `#define` stand before the probes"
        elif end > token.end or token.value.isalpha():
            self._end_of_bad_name = end
            hint = "names are made of the letters a to z and A to Z, digits and `_`"
        elif token.value == "$":
            hint = "a variable is written `$name`, a parameter of the script `$1`"
        character = text[token.end] if token.value == "$" and end > token.end else token.value
        self._diagnostics.error(messages.UNEXPECTED_CHARACTER, span, hint=hint, character=_quoted(character))
        self.bad_characters.append(token.lexpos)
        self.broken |= len(self.bad_characters) >= 2 * Diagnostics.LIMIT

    def _structure(self, token: Token, lexer: Any) -> None:
        """Follow brackets and slashes."""
        character = token.value
        if character in _OPENING:
            self._nesting += 1
            if self._nesting > MAX_NESTING:
                self._diagnostics.error(messages.TOO_DEEP, Span(token.lexpos, token.end))
                self.broken = True
            if character == "{":
                self._in_predicate = False
                self._blocks += 1
        elif character in _CLOSING:
            self._nesting = max(0, self._nesting - 1)
            if character == "}":
                self._blocks -= 1
                if self._blocks <= 0:
                    self._in_predicate = False
                    lexer.begin("INITIAL")
        elif character == "/" and self._in_predicate:
            # A block cannot be divided by: a slash before `{` ends the predicate.
            text = self._source.text
            if text.startswith("{", skip_blanks(text, token.end)):
                token.type = "PREDICATE_CLOSE"
                self._in_predicate = False

    def _dollar(self, token: Token) -> None:
        name = token.value[1:]
        if name == "#":
            token.type = "POSITIONAL_COUNT"
        elif name[0].isdigit():
            token.type, token.value = "POSITIONAL", 1
            if name.isdigit() and len(name) < 10 and int(name) > 0:
                token.value = int(name)
            else:
                self._diagnostics.error(messages.BAD_POSITIONAL, Span(token.lexpos, token.end), text=f"${name}")
        else:
            token.type, token.value = "VARIABLE", name


def tokenize(source: Source, diagnostics: Diagnostics) -> TokenList:
    """The tokens of a program. Their types are the grammar's terminals; errors go to `diagnostics`."""
    result = TokenList(source, diagnostics)
    result.read()
    return result
