"""Reading, copying, comparing and clearing memory in C."""

from __future__ import annotations

from bpftrace_py.codegen.ctypes_text import c_string, is_memory
from bpftrace_py.codegen.values import Bytes, Number, Value
from bpftrace_py.syntax import ast
from bpftrace_py.types import INT64, UINT64, Bitfield, IntegerType, StringType, Type

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from bpftrace_py.codegen.expressions import ExpressionText

INLINE_LIMIT = 128  # bytes that are cleared or set by plain stores; more than that is one helper call
_READERS = {"kernel": "read_kernel", "user": "read_user", "any": "read_any", "direct": "read_kernel"}


class MemoryText:
    """Writes what is done with bytes, in the address space that they are in."""

    def __init__(self, expressions: ExpressionText) -> None:
        self._ex = expressions
        self._fn = expressions.function

    def reader(self, space: str, string: bool = False) -> str:
        """The name of the function that reads from an address space."""
        name = _READERS[space] + ("_str" if string else "")
        if space == "any":
            self._ex.generator.use_read_any(string)
        return name

    def read(self, to: str, source: str, size: int | str, space: str) -> None:
        call = f"{self.reader(space)}({to}, {size}, (void *){_cast_operand(source)})"
        self._fn.line(f"{self._ex.told('probe_read', call)};")

    def load(self, base: Number, offset: int, type_: Type, space: str) -> Value:
        """What is at `base + offset`: a number is read at once, bytes when they are wanted."""
        at = f"{base.operand()} + {offset}" if offset else base.text
        if is_memory(type_):
            return Bytes(
                f"(void *)({at})" if offset or not base.atom else f"(void *){at}",
                type_,
                "kernel" if space == "context" else space,
            )
        name = self._fn.memory(type_, "value")
        self._fn.line(f"{name} = 0;")
        self.read(f"&{name}", f"({at})" if offset or not base.atom else at, f"sizeof({name})", space)
        return Number(name, type_)

    def bits(self, value: Number, field: Bitfield, type_: Type) -> Number:
        """A bit-field out of the integer that holds it."""
        if isinstance(type_, IntegerType) and type_.signed:
            left = 64 - field.shift - field.width
            return Number(f"(s64)((u64){value.operand()} << {left}) >> {64 - field.width}", INT64, False)
        shifted = f"(u64){value.operand()} >> {field.shift}" if field.shift else value.wide()
        return Number(f"({shifted}) & {hex((1 << field.width) - 1)}", UINT64, False)

    def zero(self, place: str, type_: Type) -> None:
        address = self._ex.address(place, type_)
        name = "zero_fill" if type_.size <= INLINE_LIMIT else "zero_fill_large"
        self._fn.line(f"{name}({address}, {type_.size});")

    def copy(self, value: Bytes, place: str, type_: Type, pad: bool) -> None:
        """Copy bytes to the object `place` of `type_`, which is at least as large."""
        to = self._ex.address(place, type_)
        size = min(value.type.size, type_.size)
        if value.maybe:
            with self._fn.block(f"if ({value.address})"):
                self._copy(to, value, size)
            with self._fn.block("else"):
                self.zero(place, type_)
            return
        if pad and size < type_.size:
            self.zero(place, type_)
        self._copy(to, value, size)
        if not pad and size < type_.size and isinstance(type_, StringType):
            self._fn.line(f"{place}[{size}] = 0;")

    def _copy(self, to: str, value: Bytes, size: int) -> None:
        # What is not aligned is copied byte by byte, and more than a few bytes of it overflow the compiler's registers.
        if value.space == "direct" and size <= (32 if value.aligned == 8 else 16):
            self._fn.line(f"__builtin_memcpy({to}, {value.address}, {size});")
        elif isinstance(value.type, StringType) and value.space in ("kernel", "user"):
            # An array of characters in a record: what is behind its NUL there may be anything, and must not get into a key.
            name = "zero_fill" if size <= INLINE_LIMIT else "zero_fill_large"
            self._fn.line(f"{name}({to}, {size});")
            self._fn.line(f"{self.reader(value.space, string=True)}({to}, {size}, {value.address});")
        else:
            self.read(to, value.address, size, value.space)

    def store_text(self, text: bytes, place: str, type_: Type, pad: bool) -> None:
        """A literal, to a string object."""
        assert isinstance(type_, StringType)
        text = text[: type_.capacity - 1]
        if pad and len(text) + 1 < type_.capacity:
            self.zero(place, type_)
        for start in range(0, len(text) + 1, INLINE_LIMIT):  # clang makes plain stores of short ones only
            part = (text + b"\0")[start : start + INLINE_LIMIT]
            to = f"{place} + {start}" if start else place
            shown = c_string(part[:-1] if part.endswith(b"\0") else part)
            self._fn.line(f"copy_text({to}, {shown}, {len(part)});")

    def string(self, node: ast.Expression) -> Bytes:
        """A string that the program can load from by itself."""
        value = self._direct(node, "text")
        assert isinstance(value.type, StringType)
        return value

    def _direct(self, node: ast.Expression, stem: str) -> Bytes:
        value = self._ex.value(node)
        assert isinstance(value, Bytes)
        return self.present(value, stem)

    def present(self, value: Bytes, stem: str) -> Bytes:
        """Bytes that the program can load from by itself: copied if it could not. Those that may be missing, as a map's
        element, are zeros then."""
        if value.space == "direct" and not value.maybe:
            return value
        place = self._fn.memory(value.type, stem)
        self.copy(value, place, value.type, True)
        return Bytes(self._ex.address(place, value.type), value.type)

    def compare(self, left: ast.Expression, right: ast.Expression) -> str:
        """C that is true if two strings are equal."""
        if isinstance(left, ast.String):
            left, right = right, left
        if isinstance(left, ast.String) and isinstance(right, ast.String):
            return str(int(left.value == right.value))
        if isinstance(right, ast.String):
            return self.equals_text(left, right.value.encode("utf-8", "surrogateescape"))
        a, b = self.string(left), self.string(right)
        return f"!{self.differ(a, b, min(a.type.size, b.type.size))}"

    def differ(self, a: Bytes, b: Bytes, length: int) -> str:
        """C that is true if two strings differ in their first bytes, up to the end of one."""
        quick = a.aligned == b.aligned == 8 and length >= 8 and self._ex.generator.byte_order == "little"
        return f"{'aligned_' if quick else ''}strings_differ({a.address}, {b.address}, {length})"

    def equal_arrays(self, left: ast.Expression, right: ast.Expression) -> str:
        """C that is true if two arrays of one type have the same bytes."""
        a, b = self._direct(left, "array"), self._direct(right, "array")
        tests: list[str] = []
        at = 0
        while at < a.type.size:
            limit = min(a.aligned, b.aligned, a.type.size - at)
            width = next(w for w in (8, 4, 2, 1) if w <= limit)
            one, other = (f"*(u{width * 8} *)((char *){_cast_operand(x.address)} + {at})" for x in (a, b))
            tests.append(f"{one} == {other}")
            at += width
        return " && ".join(tests) if tests else "1"

    def equals_text(self, node: ast.Expression, text: bytes, length: int | None = None) -> str:
        """C that is true if a string equals a literal, up to its end or in the first `length` bytes."""
        value = self.string(node)
        wanted = text + b"\0" if length is None else (text + b"\0")[:length]
        if len(wanted) > value.type.size:
            return "0"
        tests = []
        at = 0
        while at < len(wanted):
            width = next(w for w in (8, 4, 2, 1) if at + w <= len(wanted) and w <= value.aligned)
            word = int.from_bytes(wanted[at : at + width], self._ex.generator.byte_order)
            base = f"({value.address} + {at})" if at else value.address
            tests.append(
                f"{value.address}[{at}] == {word}"
                if width == 1
                else f"*(u{width * 8} *){base} == {hex(word)}{'ULL' if width == 8 else ''}"
            )
            at += width
        return " && ".join(tests) if tests else "1"


def _cast_operand(text: str) -> str:
    if text.startswith(("(void *)", "(", "&")) or text.isidentifier():
        return text
    return f"({text})"
