"""What an expression becomes in C: a number, or bytes at an address."""

from __future__ import annotations

from bpftrace_py.record import record
from bpftrace_py.types import INT64, IntegerType, Type


@record(frozen=True)
class Number:
    """A C expression of 64 bits or, if `type` is a narrower integer, of that width. `atom`: needs no parentheses."""

    text: str
    type: Type
    atom: bool = True

    def operand(self) -> str:
        """The text as an operand of a C operator."""
        return self.text if self.atom else f"({self.text})"

    def wide(self) -> str:
        """The text as an operand of 64 bits with the type's own sign."""
        if isinstance(self.type, IntegerType) and self.type.width < 8:
            return f"({'s64' if self.type.signed else 'u64'}){self.operand()}"
        return self.operand()


@record(frozen=True)
class Bytes:
    """`type.size` bytes at an address. `space`: `direct` for memory that the program may load from by itself; else
    `kernel`, `user` or `any`, which are read by a helper. `maybe`: the address may be NULL, which stands for zeros."""

    address: str
    type: Type
    space: str = "direct"
    maybe: bool = False
    aligned: int = 8  # what the address is a multiple of, at the least; for `direct`


Value = Number | Bytes


def literal(value: int) -> Number:
    """A C literal of 64 bits."""
    if -(1 << 24) < value < 1 << 24:  # with room for sums of ints, which is what C makes of comparisons
        return Number(str(value), INT64, value >= 0)
    if value == -(1 << 63):
        return Number("(s64)(1ULL << 63)", INT64, False)
    return Number(f"{value}LL", INT64, value >= 0)
