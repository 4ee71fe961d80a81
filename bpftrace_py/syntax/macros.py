"""Replaces the script's own object-like macros by what they stand for, token by token, as a C preprocessor does.

`#define TWICE 1 + 1` makes `TWICE * 2` a 3, and `#define ME pid` gives a builtin another name. Macros that are one number
or string stay as they are: they are constants, as are those of headers, and those with C that is not of the language.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from itertools import pairwise

from bpftrace_py.diagnostics import Diagnostics
from bpftrace_py.source import Source
from bpftrace_py.syntax.ast import CDeclaration
from bpftrace_py.syntax.lexer import tokenize

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from bpftrace_py.syntax.lexer import Token

_MOST_TOKENS = 10_000  # that all macros together may become: a few lines of macros of macros could fill any memory
_MOST_INSIDE = 50  # macros of macros
_CONSTANTS = frozenset(("INTEGER", "STRING"))


def expand_macros(tokens: list[Token]) -> list[Token]:
    """The tokens of a program with its macros replaced. What comes of a macro has the place of the macro's name."""
    if not any(token.type == "DECLARATION" and token.value.kind == "define" for token in tokens):
        return tokens
    macros = _macros(token.value for token in tokens if token.type == "DECLARATION")
    return _Expansion(macros).run(tokens) if macros else tokens


def _macros(declarations: Iterable[CDeclaration]) -> dict[str, list[Token]]:
    """The macros that are to be replaced, by name. One that is defined in two ways may depend on `#if`: clang knows it."""
    texts: dict[str, set[str]] = {}
    for declaration in declarations:
        name, body = _definition(declaration)
        if name:
            texts.setdefault(name, set()).add(body)
    bodies = {name: _body(next(iter(found))) for name, found in texts.items() if len(found) == 1}
    return {name: body for name, body in bodies.items() if body}


def _definition(declaration: CDeclaration) -> tuple[str, str]:
    """The name and text of an object-like macro; no name for anything else. `#undef` counts as another text."""
    text = declaration.text.replace("\\\r\n", " ").replace("\\\n", " ").lstrip("# \t")
    word, _, rest = text.partition(" ") if " " in text else text.partition("\t")
    rest = rest.strip()
    name = rest[: next((i for i, c in enumerate(rest) if not (c.isalnum() or c == "_")), len(rest))]
    if word == "undef":
        return name, "#"
    if word != "define" or rest[len(name) : len(name) + 1] == "(":
        return "", ""
    return name, rest[len(name) :].strip()


def _body(text: str) -> list[Token]:
    """The tokens of a macro; none if it is a constant or not of the language."""
    source = Source(f"BEGIN {{ {text}\n}}", "macro")
    diagnostics = Diagnostics(source)
    lexed = tokenize(source, diagnostics)
    tokens = lexed.tokens[2:-1]
    kinds = [token.type for token in tokens]
    if lexed.broken or diagnostics.errors or "{" in kinds or "}" in kinds:
        return []
    if any(_is_for_clang(first, second) for first, second in pairwise(tokens)):
        return []
    for token in tokens:
        token.text = source.text[token.lexpos : token.end]
    return [] if len(kinds) == 1 and kinds[0] in _CONSTANTS else tokens


def _is_for_clang(first: Token, second: Token) -> bool:
    """Whether these two, one behind the other, are C: two strings that are one, or a function-like macro."""
    if second.type == "(" and first.type == "IDENTIFIER":
        from bpftrace_py.language.functions import FUNCTIONS

        return first.value not in FUNCTIONS
    return first.type == second.type == "STRING"


class _Expansion:
    """One program's macros, and how many tokens they may still become."""

    def __init__(self, macros: dict[str, list[Token]]) -> None:
        self._macros = macros
        self._left = _MOST_TOKENS

    def run(self, tokens: list[Token]) -> list[Token]:
        result: list[Token] = []
        for token in tokens:
            field = result and result[-1].type in (".", "ARROW")
            if token.type != "IDENTIFIER" or token.value not in self._macros or field:
                result.append(token)
            else:
                result += self._expand(token, frozenset())
        return result

    def _expand(self, name: Token, inside: frozenset[str]) -> list[Token]:
        """What a macro's name stands for; the names that it is `inside` of are not replaced again."""
        body = self._macros.get(name.value) if name.type == "IDENTIFIER" else None
        if body is None or name.value in inside or len(inside) == _MOST_INSIDE or len(body) > self._left:
            return [name]
        self._left -= len(body)
        result: list[Token] = []
        for token in body:
            moved = copy.copy(token)
            moved.lexpos, moved.end = name.lexpos, name.end
            field = result and result[-1].type in (".", "ARROW")
            result += [moved] if field else self._expand(moved, inside | {name.value})
        return result
