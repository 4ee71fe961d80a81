"""Finds the types in casts, `sizeof` and `offsetof`, which only looking ahead can tell from expressions.

The grammar sees one `TYPE` token for a whole type, and `TYPE_OPEN` for the parenthesis before it.
"""

from __future__ import annotations

from bpftrace_py.source import Span
from bpftrace_py.syntax.ast import TypeName

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from bpftrace_py.syntax.lexer import Token

_C_TYPES = frozenset(
    "void bool _Bool char short int long unsigned signed float double string "
    "int8 int16 int32 int64 uint8 uint16 uint32 uint64 s8 s16 s32 s64 u8 u16 u32 u64 "
    "__s8 __s16 __s32 __s64 __u8 __u16 __u32 __u64 __le16 __le32 __le64 __be16 __be32 __be64".split()
)
_QUALIFIERS = frozenset(("const", "volatile"))

# What can stand behind `(name)` only if that is a cast, because it cannot continue an expression.
_OPERAND_STARTS = frozenset(
    ("IDENTIFIER", "INTEGER", "STRING", "VARIABLE", "MAP", "POSITIONAL", "POSITIONAL_COUNT", "SIZEOF", "OFFSETOF",
     "(", "!", "~")
)
_NO_CAST_BEHIND = frozenset(("IDENTIFIER", "IF", "WHILE", "UNROLL"))  # the parenthesis of a call or a condition


class _Match:
    """A type and `end`, the index of the token behind it."""

    def __init__(self, words: list[str], pointers: int, dimensions: list[int | None], end: int) -> None:
        self.words = words
        self.pointers = pointers
        self.dimensions = dimensions
        self.end = end

    @property
    def certain(self) -> bool:
        """Whether this cannot be an expression: `struct x`, `unsigned long`, `x *`, `x[]`, or a known name."""
        word = self.words[0]
        return (
            len(self.words) > 1 or self.pointers > 0 or None in self.dimensions or word in _C_TYPES or word.endswith("_t")
        )


def mark_types(tokens: list[Token]) -> list[Token]:
    """The tokens with every type in them replaced by one `TYPE` token."""
    result: list[Token] = []
    count = len(tokens)
    index = 0
    while index < count:
        token = tokens[index]
        result.append(token)
        index += 1
        if token.type != "(" or index == count or tokens[index].type not in ("IDENTIFIER", "RECORD"):
            continue
        before = result[-2].type if len(result) > 1 else ""
        if before in _NO_CAST_BEHIND:
            continue
        match = _match_type(tokens, index)
        if match is None:
            if tokens[index].type == "RECORD":
                token.type = "TYPE_OPEN"  # so that the parser says that it expects a type
        elif _is_type(match, tokens, before):
            token.type = "TYPE_OPEN"
            result.append(_type_token(match, tokens, index))
            index = match.end
    return result


def _is_type(match: _Match, tokens: list[Token], before: str) -> bool:
    behind = tokens[match.end].type
    if before in ("SIZEOF", "OFFSETOF"):
        return behind in (")", ",") and match.certain
    if behind != ")":
        return False
    operand = tokens[match.end + 1].type if match.end + 1 < len(tokens) else ""
    return match.certain or operand in _OPERAND_STARTS


def _match_type(tokens: list[Token], index: int) -> _Match | None:
    """The longest type at `index`; None if there is none, or if the tokens end with it."""
    count = len(tokens)
    words: list[str] = []
    if tokens[index].type == "RECORD":
        words.append(tokens[index].value)
        index += 1
        if index == count or tokens[index].type != "IDENTIFIER":
            return None
        words.append(tokens[index].value)
        index += 1
    else:
        while index < count and tokens[index].type == "IDENTIFIER":
            words.append(tokens[index].value)
            index += 1
            if words[-1] in _QUALIFIERS and index < count and tokens[index].type == "RECORD":
                words.append(tokens[index].value)
                index += 1
    pointers = 0
    while index < count and tokens[index].type == "*":
        pointers += 1
        index += 1
    dimensions: list[int | None] = []
    while index + 1 < count and tokens[index].type == "[":
        if tokens[index + 1].type == "]":
            dimensions.append(None)
            index += 2
        elif tokens[index + 1].type == "INTEGER" and index + 2 < count and tokens[index + 2].type == "]":
            dimensions.append(tokens[index + 1].value)
            index += 3
        else:
            return None
    return _Match(words, pointers, dimensions, index) if index < count else None


def _type_token(match: _Match, tokens: list[Token], index: int) -> Token:
    token = tokens[index]
    token.end = tokens[match.end - 1].end
    name = " ".join(word for word in match.words if word not in _QUALIFIERS)
    token.type, token.value = "TYPE", TypeName(
        span=Span(token.lexpos, token.end),
        name=name or match.words[0],
        pointers=match.pointers,
        dimensions=match.dimensions,
    )
    return token
