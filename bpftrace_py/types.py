"""The types of the language, sized: what a value is and how its bytes are laid out.

Plain data: types travel in a `Unit` from the compiler to the decoder, and may be pickled. Sizes are in bytes.
The layout in events, keys and values is C's: natural alignment, little padding, the target's byte order.
"""

from __future__ import annotations

from bpftrace_py.record import field, record


@record(frozen=True)
class Type:
    """Base of all types."""

    @property
    def size(self) -> int:
        return 0

    @property
    def alignment(self) -> int:
        return 1

    def __str__(self) -> str:
        return type(self).__name__.removesuffix("Type").lower()


@record(frozen=True)
class WordType(Type):
    """Base of what is one 64-bit word."""

    @property
    def size(self) -> int:
        return 8

    @property
    def alignment(self) -> int:
        return 8


@record(frozen=True)
class UnknownType(Type):
    """Not determined yet."""


@record(frozen=True)
class VoidType(Type):
    """What a call that is a statement returns; the pointee of `void *`."""


@record(frozen=True)
class IntegerType(Type):
    """`width` is 1, 2, 4 or 8 bytes; `enum` is the C name of an enumerated type."""

    width: int = 8
    signed: bool = True
    enum: str | None = field(default=None, compare=False)

    @property
    def size(self) -> int:
        return self.width

    @property
    def alignment(self) -> int:
        return self.width

    def __str__(self) -> str:
        return f"{'' if self.signed else 'u'}int{self.width * 8}"


@record(frozen=True)
class StringType(Type):
    """`capacity` bytes, the NUL included. Bytes behind the NUL have no meaning (zero in keys)."""

    capacity: int

    @property
    def size(self) -> int:
        return self.capacity

    def __str__(self) -> str:
        return f"string[{self.capacity}]"


@record(frozen=True)
class BufferType(Type):
    """`buf()`: a u32 length, then up to `capacity` bytes."""

    capacity: int

    @property
    def size(self) -> int:
        return (4 + self.capacity + 3) & ~3

    @property
    def alignment(self) -> int:
        return 4

    def __str__(self) -> str:
        return f"buffer[{self.capacity}]"


@record(frozen=True)
class PointerType(WordType):
    """`space` is `user`, `kernel`, or `context` for memory that the program may load from directly."""

    pointee: Type
    space: str = "kernel"

    def __str__(self) -> str:
        return f"{self.pointee} *"


@record(frozen=True)
class ArrayType(Type):
    """`count` elements; an array of arrays is one of several dimensions."""

    element: Type
    count: int

    @property
    def size(self) -> int:
        return self.element.size * self.count

    @property
    def alignment(self) -> int:
        return self.element.alignment

    def __str__(self) -> str:
        dimensions = ""
        element: Type = self
        while isinstance(element, ArrayType):
            dimensions += f"[{element.count}]"
            element = element.element
        return f"{element}{dimensions}"


@record(frozen=True)
class Bitfield:
    """Read the field's bytes as an integer, then `>> shift & (1 << width) - 1`."""

    shift: int
    width: int


@record(frozen=True)
class Field:
    """A member. `offset` in bytes from the start of the record.

    `data_loc` marks a tracepoint's `__data_loc`: the u32 at `offset` has the length of the data in its upper half and
    in its lower half where the data are, from the start of the record; with `rel_loc` (`__rel_loc`) too, from the end of
    that u32. `type` is then a pointer to the data, in kernel memory.
    """

    name: str
    type: Type
    offset: int
    bitfield: Bitfield | None = None
    data_loc: bool = False
    rel_loc: bool = False


@record(frozen=True)
class RecordType(Type):
    """A struct or union by name. Its members are in a `ktypes` registry, looked up when needed, since records may
    refer to themselves. `name` has its keyword: "struct path", "union x"; a typedef's record has the typedef's name."""

    name: str
    byte_size: int = field(default=0, compare=False)
    align: int = field(default=8, compare=False)

    @property
    def size(self) -> int:
        return self.byte_size

    @property
    def alignment(self) -> int:
        return self.align

    def __str__(self) -> str:
        return self.name


@record(frozen=True)
class FunctionType(Type):
    """The pointee of a function pointer. It has no size and cannot be read."""


@record(frozen=True)
class TupleType(Type):
    """Values side by side, each at a multiple of its alignment: a tuple, the keys of a map, a record of the ring buffer."""

    elements: tuple[Type, ...]

    def _layout(self) -> tuple[tuple[int, ...], int, int]:
        """Offsets, size and alignment. Kept: a tuple of tuples would ask each of them twice, and those theirs."""
        known: tuple[tuple[int, ...], int, int] | None = self.__dict__.get("_known_layout")
        if known is None:
            at, alignment, offsets = 0, 1, []
            for element in self.elements:
                at = _align(at, element.alignment)
                offsets.append(at)
                at += element.size
                alignment = max(alignment, element.alignment)
            known = self.__dict__["_known_layout"] = tuple(offsets), _align(at, alignment), alignment
        return known

    @property
    def offsets(self) -> tuple[int, ...]:
        return self._layout()[0]

    @property
    def size(self) -> int:
        return self._layout()[1]

    @property
    def alignment(self) -> int:
        return self._layout()[2]

    def __str__(self) -> str:
        return f"({','.join(str(e) for e in self.elements)})"


def _align(offset: int, alignment: int) -> int:
    return (offset + alignment - 1) // alignment * alignment


# --- values that user space turns into text: integers in the kernel, each with its own layout


STACK_MODES = ("bpftrace", "perf", "raw")


@record(frozen=True)
class StackType(Type):
    """A stack trace. In memory: u64 id in the stack map, and for a user stack u32 pid, u32 probe id.

    `mode` is one of STACK_MODES, `limit` the number of frames.
    """

    user: bool
    mode: str = "bpftrace"
    limit: int = 127

    @property
    def size(self) -> int:
        return 16 if self.user else 8

    @property
    def alignment(self) -> int:
        return 8

    def __str__(self) -> str:
        return "ustack" if self.user else "kstack"


@record(frozen=True)
class KsymType(WordType):
    """`ksym(address)`: u64 address."""


@record(frozen=True)
class UsymType(Type):
    """`usym(address)`: u64 address, u32 pid, u32 probe id."""

    @property
    def size(self) -> int:
        return 16

    @property
    def alignment(self) -> int:
        return 8


@record(frozen=True)
class InetType(Type):
    """`ntop()`: u32 address family (2 or 10), 16 bytes of address."""

    @property
    def size(self) -> int:
        return 20

    @property
    def alignment(self) -> int:
        return 4


@record(frozen=True)
class MacAddressType(Type):
    """`macaddr()`: 6 bytes."""

    @property
    def size(self) -> int:
        return 6


@record(frozen=True)
class UsernameType(WordType):
    """`username`: u64 uid."""


@record(frozen=True)
class ProbeNameType(WordType):
    """`probe`: u64 index into `Unit.probe_names`."""

    def __str__(self) -> str:
        return "probe"


@record(frozen=True)
class FunctionNameType(WordType):
    """`func` where the attach point tells it: u64 index into `Unit.function_names`."""

    def __str__(self) -> str:
        return "func"


@record(frozen=True)
class TimestampType(WordType):
    """`strftime(format, nsecs)`: u64 nanoseconds since boot; `format` indexes `Unit.strings`."""

    format: str


@record(frozen=True)
class CgroupPathType(WordType):
    """`cgroup_path(id, filter)`: u64 cgroup id."""

    filter: str


@record(frozen=True)
class ErrorNameType(WordType):
    """`strerror(errno)`: u64 errno."""


@record(frozen=True)
class StackModeType(Type):
    """The bare word `perf` or `bpftrace` as an argument."""


# --- aggregates: what a map function makes of a map


@record(frozen=True)
class AggregateType(Type):
    """Base of the types that only a map can have. Values are kept per CPU and reduced by user space.

    Layout of one CPU's value, all u64/s64: count, sum: (total, set) or (count); min, max: (value, set);
    avg, stats: (count, total); hist, lhist: one slot a bucket.
    """


@record(frozen=True)
class CountType(AggregateType):
    """`count()`."""

    @property
    def size(self) -> int:
        return 8


@record(frozen=True)
class PairType(AggregateType):
    """Base of those that are two numbers. `signed` is the sign of what they are made of."""

    signed: bool = True

    @property
    def size(self) -> int:
        return 16


@record(frozen=True)
class SumType(PairType):
    """`sum()`."""


@record(frozen=True)
class MinType(PairType):
    """`min()`."""


@record(frozen=True)
class MaxType(PairType):
    """`max()`."""


@record(frozen=True)
class AvgType(PairType):
    """`avg()`."""


@record(frozen=True)
class StatsType(PairType):
    """`stats()`."""


@record(frozen=True)
class HistType(AggregateType):
    """A log2 histogram. Bucket 0: negative, 1: zero, 2: one, n + 2: [2**n, 2**(n+1))."""

    BUCKETS = 65

    @property
    def size(self) -> int:
        return 8


@record(frozen=True)
class LhistType(AggregateType):
    """A linear histogram. Bucket 0: below `low`; the last: `high` and above."""

    low: int
    high: int
    step: int

    @property
    def buckets(self) -> int:
        return (self.high - self.low) // self.step + 2

    @property
    def size(self) -> int:
        return 8


HISTOGRAMS = (HistType, LhistType)

UNKNOWN = UnknownType()
VOID = VoidType()
INT64 = IntegerType(8, True)
UINT64 = IntegerType(8, False)
INT32 = IntegerType(4, True)
UINT32 = IntegerType(4, False)
KSYM = KsymType()
USYM = UsymType()
INET = InetType()
MAC_ADDRESS = MacAddressType()
USERNAME = UsernameType()
PROBE_NAME = ProbeNameType()
FUNCTION_NAME = FunctionNameType()
ERROR_NAME = ErrorNameType()
STACK_MODE = StackModeType()
COUNT = CountType()
HIST = HistType()


def integer(width: int, signed: bool) -> IntegerType:
    """An integer of `width` bytes."""
    return IntegerType(width, signed)
