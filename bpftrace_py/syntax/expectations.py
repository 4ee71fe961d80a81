"""What could have stood at the place of a syntax error, in the user's terms."""

from __future__ import annotations

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from typing import Any


_ASSIGNMENTS = {"ASSIGN", "ASSIGN_COMPOUND"}
_PREFIX_OPERATORS = {"-", "!", "~", "*", "INCREMENT", "DECREMENT"}
_OPERANDS = {
    "IDENTIFIER", "INTEGER", "STRING", "VARIABLE", "MAP", "POSITIONAL", "POSITIONAL_COUNT", "(", "TYPE_OPEN", "SIZEOF",
    "OFFSETOF",
}  # fmt: skip
_STATEMENTS = {"IF", "WHILE", "UNROLL", "RETURN", "BREAK", "CONTINUE"}
_OPERATORS = {
    "?", "OR", "AND", "|", "^", "&", "EQUAL", "NOT_EQUAL", "<", ">", "LESS_EQUAL", "GREATER_EQUAL", "SHIFT_LEFT",
    "SHIFT_RIGHT", "+", "-", "*", "/", "%", ".", "ARROW", "[", "(", "INCREMENT", "DECREMENT",
} | _ASSIGNMENTS  # fmt: skip
_PARSER_ONLY = {"error", "SYNC", "SYNC_BLOCK", "$end", "START"}

_NAMES = {
    "PREDICATE_OPEN": "`/`", "PREDICATE_CLOSE": "`/`", "TYPE": "a type", "IDENTIFIER": "a name", "ELSE": "`else`", "IF": "`if`",
    "VARIABLE": "a `$variable`", "MAP": "a `@map`", "INTEGER": "a number", "TYPE_OPEN": "`(`",
}  # fmt: skip


def valid_tokens(tables: Any, states: list[int]) -> set[str]:
    """The terminals that an LR parser with this stack of states would accept.

    `tables` has PLY's `action`, `goto` and `productions`. A state's row alone also has lookaheads that come from other
    contexts: each is tried out.
    """
    return {terminal for terminal in tables.action[states[-1]] if shift(tables, states, terminal) is not None}


def shift(tables: Any, states: list[int], terminal: str) -> int | None:
    """The state behind a terminal, reductions before it included; None if it does not fit. 0 accepts the program."""
    stack = list(states)
    while True:
        action: int | None = tables.action[stack[-1]].get(terminal)
        if action is None or action >= 0:
            return action
        production = tables.productions[-action]
        if production.len:
            del stack[-production.len :]
        stack.append(tables.goto[stack[-1]][production.name])


def describe(terminals: set[str]) -> str:
    """Such as "an expression", or "`;` or `}`"."""
    rest = terminals - _PARSER_ONLY
    words = []
    if "ATTACH_POINT" in rest:
        words.append("a probe")
        rest -= {"ATTACH_POINT", "DECLARATION"}
    if {"IF", "RETURN"} <= rest:
        words.append("a statement")
        rest -= _STATEMENTS | _OPERANDS | _PREFIX_OPERATORS | {";", "ELSE"}
    elif "!" in rest:
        words.append("an expression")
        rest -= _OPERANDS | _PREFIX_OPERATORS
    elif "?" in rest:
        remaining = rest - _OPERATORS
        if not remaining:
            words.append("an operator")
        rest = remaining
    elif {"IDENTIFIER", "INTEGER"} <= rest:
        words.append("a field name")
        rest -= {"IDENTIFIER", "INTEGER"}
    words += sorted({_NAMES.get(terminal, f"`{terminal}`") for terminal in rest}, key=lambda word: (word == "`}`", word))
    if not words:
        return "the end of the program"
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
