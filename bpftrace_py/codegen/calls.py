"""Calls of functions that give a value, in C."""

from __future__ import annotations

from bpftrace_py import messages
from bpftrace_py.codegen.values import Bytes, Number, Value
from bpftrace_py.output import late_strings
from bpftrace_py.syntax import ast
from bpftrace_py.types import (
    INT64,
    UINT64,
    BufferType,
    IntegerType,
    PointerType,
    StackType,
    StringType,
    Type,
)

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from bpftrace_py.codegen.expressions import ExpressionText

AF_INET, AF_INET6 = 2, 10
_STORED = frozenset(("str", "buf", "ntop", "macaddr", "usym", "ustack", "path", "pton"))


class CallText:
    """Writes calls that give a value: numbers by `_value_NAME`, bytes by `_store_NAME`, straight to where they are wanted."""

    def __init__(self, expressions: ExpressionText) -> None:
        self._ex = expressions
        self._fn = expressions.function
        self._generator = expressions.generator

    def stores(self, node: ast.Call) -> bool:
        """Whether the call writes its value to a place that it is given."""
        return node.name in _STORED

    def value(self, node: ast.Call) -> Value:
        if self.stores(node):
            place = self._fn.memory(node.type, {"str": "text"}.get(node.name, node.name))
            self.store(node, place, node.type, True)
            return Bytes(self._ex.address(place, node.type), node.type)
        value: Value = getattr(self, f"_value_{node.name}")(node)
        return value

    def store(self, node: ast.Call, place: str, type_: Type, pad: bool) -> None:
        getattr(self, f"_store_{node.name}")(node, place, type_, pad)

    # --- strings and bytes

    def address(self, node: ast.Expression) -> tuple[str, str]:
        """The address that an expression stands for, as C, and the space it is in."""
        value = self._ex.value(node)
        if isinstance(value, Bytes):
            return value.address, "kernel" if value.space == "direct" else value.space
        space = node.type.space if isinstance(node.type, PointerType) else self._ex.instance.context.space
        return value.operand(), "kernel" if space == "context" else space

    def _store_str(self, node: ast.Call, place: str, type_: Type, pad: bool) -> None:
        assert isinstance(type_, StringType) and isinstance(node.type, StringType)
        source, space = self.address(node.arguments[0])
        capacity = min(type_.capacity, node.type.capacity)
        size = str(capacity)
        if len(node.arguments) > 1 and not isinstance(node.arguments[1], ast.Integer):
            # The length counts without the NUL; what is longer than the string can be is cut.
            length = self._ex.number(node.arguments[1])
            size = self._fn.fresh("size")
            self._fn.line(f"u64 {size} = (u64){length.operand()} + 1;")
            self._at_most(size, capacity)
        if pad:
            self._ex.memory.zero(place, type_)
        reader = self._ex.memory.reader(space, string=True)
        call = self._ex.told("probe_read_str", f"{reader}({place}, {size}, (void *){_operand(source)})")
        if pad:
            self._fn.line(f"{call};")
            return
        self._fn.line(f"if ({call} < 0)")
        if space != "kernel" and capacity >= late_strings.SIZE:
            late = self._ex.late_flag()
            self._fn.line(f"\t{late} = read_later({place}, {size}, {source});")
        else:
            self._fn.line(f"\t{place}[0] = 0;")

    def _at_most(self, size: str, limit: int) -> None:
        """Cut a size. It is kept in one place, so that the verifier sees that what was compared is what is used."""
        self._fn.line(f"keep({size});")
        self._fn.line(f"if ({size} > {limit})")
        self._fn.line(f"\t{size} = {limit};")
        self._fn.line(f"keep({size});")

    def _store_buf(self, node: ast.Call, place: str, type_: Type, pad: bool) -> None:
        assert isinstance(type_, BufferType) and isinstance(node.type, BufferType)
        source, space = self.address(node.arguments[0])
        if pad:
            self._ex.memory.zero(place, type_)
        if len(node.arguments) < 2 or isinstance(node.arguments[1], ast.Integer):
            wanted = (
                node.arguments[1].value
                if len(node.arguments) > 1 and isinstance(node.arguments[1], ast.Integer)
                else node.type.capacity
            )
            size = str(min(node.type.capacity, wanted))
        else:
            length = self._ex.number(node.arguments[1])
            size = self._fn.fresh("size")
            self._fn.line(f"u64 {size} = {length.text};")
            self._at_most(size, node.type.capacity)
        self._fn.line(f"{place}.length = {size};")
        if size != "0":
            self._ex.memory.read(f"{place}.bytes", source, size, space)

    def _store_path(self, node: ast.Call, place: str, type_: Type, pad: bool) -> None:
        source, _ = self.address(node.arguments[0])
        if pad:
            self._ex.memory.zero(place, type_)
        self._fn.line(f"path_of((void *){_operand(source)}, {place}, {type_.size});")

    def _value_strncmp(self, node: ast.Call) -> Number:
        left, right, length = node.arguments
        assert isinstance(length, ast.Integer)
        if isinstance(left, ast.String) and not isinstance(right, ast.String):
            left, right = right, left
        if isinstance(right, ast.String):
            text = right.value.encode("utf-8", "surrogateescape")
            whole = length.value > len(text)
            return Number(
                f"!({self._ex.memory.equals_text(left, text, None if whole else length.value)})", INT64, False
            )
        a, b = self._ex.memory.string(left), self._ex.memory.string(right)
        return Number(self._ex.memory.differ(a, b, min(length.value, a.type.size, b.type.size)), INT64)

    # --- addresses and symbols

    def _value_kptr(self, node: ast.Call) -> Number:
        return Number(self._ex.number(node.arguments[0]).text, node.type, False)

    _value_uptr = _value_kptr

    def _word(self, node: ast.Expression) -> Number:
        """An address as a number."""
        value = self._ex.value(node)
        return value if isinstance(value, Number) else Number(f"(u64){value.address}", UINT64, False)

    def _value_ksym(self, node: ast.Call) -> Number:
        return Number(self._word(node.arguments[0]).wide(), node.type, False)

    def _store_usym(self, node: ast.Call, place: str, type_: Type, pad: bool) -> None:
        self._fn.line(f"{place}.value = {self._word(node.arguments[0]).wide()};")
        self._who(place)

    def _who(self, place: str) -> None:
        """The process that a user address belongs to, and the probe that saw it."""
        pid = self._ex.number(_builtin("pid"))
        self._fn.line(f"{place}.pid = {pid.text};")
        self._fn.line(f"{place}.probe = {self._generator.name_index(self._ex.instance.targets[0])};")

    def _value_kaddr(self, node: ast.Call) -> Number:
        name = node.arguments[0]
        assert isinstance(name, ast.String)
        address = self._generator.host.kernel_symbol(name.value)
        if address is None:
            self._generator.diagnostics.error(messages.UNKNOWN_KERNEL_SYMBOL, name.span, name=name.value)
            return Number("0", UINT64)
        return Number(f"{hex(address)}ULL", UINT64)

    def _value_uaddr(self, node: ast.Call) -> Number:
        return self._generator.user_address(self._ex, node)

    def _value_reg(self, node: ast.Call) -> Number:
        name = node.arguments[0]
        assert isinstance(name, ast.String)
        found = self._ex.context.register_by_name(name.value)
        if found is None:
            self._generator.diagnostics.error(
                messages.UNKNOWN_REGISTER, name.span, name=name.value, architecture=self._generator.architecture
            )
            return Number("0", UINT64)
        return found

    # --- stacks

    def stack(self, node: ast.Expression) -> Value:
        """kstack is a number; ustack, which also tells the process, is bytes."""
        type_ = node.type
        assert isinstance(type_, StackType)
        if not type_.user:
            return Number(self._generator.stack_call(self._ex, type_), type_)
        place = self._fn.memory(type_, "stack")
        self.store_stack(node, place)
        return Bytes(f"&{place}", type_)

    def store_stack(self, node: ast.Expression, place: str) -> None:
        assert isinstance(node.type, StackType)
        self._fn.line(f"{place}.value = {self._generator.stack_call(self._ex, node.type)};")
        self._who(place)

    def _value_kstack(self, node: ast.Call) -> Value:
        return self.stack(node)

    def _store_ustack(self, node: ast.Call, place: str, type_: Type, pad: bool) -> None:
        self.store_stack(node, place)

    # --- numbers of things that user space turns into text

    def _value_cgroupid(self, node: ast.Call) -> Number:
        path = node.arguments[0]
        assert isinstance(path, ast.String)
        number = self._generator.host.cgroup_id(path.value)
        if number is None:
            self._generator.diagnostics.error(messages.NO_CGROUP, path.span, path=path.value)
            return Number("0", UINT64)
        return Number(f"{number}ULL", UINT64)

    def _first_word(self, node: ast.Call, index: int = 0) -> Number:
        return Number(self._ex.number(node.arguments[index]).wide(), node.type, False)

    def _value_cgroup_path(self, node: ast.Call) -> Number:
        return self._first_word(node)

    def _value_strerror(self, node: ast.Call) -> Number:
        return self._first_word(node)

    def _value_strftime(self, node: ast.Call) -> Number:
        return self._first_word(node, 1)

    def _value_bswap(self, node: ast.Call) -> Number:
        number = self._ex.number(node.arguments[0])
        assert isinstance(node.type, IntegerType)
        if node.type.width == 1:
            return Number(f"(u8){number.operand()}", node.type, False)
        return Number(f"__builtin_bswap{node.type.width * 8}({number.text})", node.type)

    # --- network addresses

    def _store_ntop(self, node: ast.Call, place: str, type_: Type, pad: bool) -> None:
        address = node.arguments[-1]
        self._fn.line(f"zero_fill(&{place}, sizeof({place}));")
        if len(node.arguments) == 2:
            family = self._ex.number(node.arguments[0]).text
        else:
            family = str(AF_INET6 if not isinstance(address.type, IntegerType) and address.type.size == 16 else AF_INET)
        self._fn.line(f"{place}.family = {family};")
        if isinstance(address.type, IntegerType):
            number = self._ex.number(address)
            self._fn.line(f"*(u32 *){place}.bytes = {number.text};")
            return
        self._bytes_to(address, f"{place}.bytes", address.type.size)

    def _store_macaddr(self, node: ast.Call, place: str, type_: Type, pad: bool) -> None:
        argument = node.arguments[0]
        if isinstance(argument.type, IntegerType):
            word = self._ex.local(Number(self._ex.number(argument).wide(), UINT64, False), "word")
            self._fn.line(f"__builtin_memcpy({place}, &{word.text}, 6);")
            return
        if isinstance(argument.type, PointerType):
            source, space = self.address(argument)
            self._ex.memory.read(place, source, 6, space)
            return
        self._bytes_to(argument, place, 6)

    def _store_pton(self, node: ast.Call, place: str, type_: Type, pad: bool) -> None:
        import socket

        text = node.arguments[0]
        assert isinstance(text, ast.String)
        family = socket.AF_INET6 if ":" in text.value else socket.AF_INET
        for i, byte in enumerate(socket.inet_pton(family, text.value)):
            self._fn.line(f"{place}[{i}] = {byte};")

    def _bytes_to(self, node: ast.Expression, to: str, size: int) -> None:
        value = self._ex.value(node)
        assert isinstance(value, Bytes)
        self._ex.memory.read(to, value.address, size, value.space)

    # --- what the session tells the program

    def session_value(self, name: str) -> Number:
        """elapsed and cpid, from a small array that the session fills before anything is attached."""
        slot = {"elapsed": "0", "cpid": "1"}[name]
        self._generator.use_session()
        key = self._ex.maps.slot(slot)
        pointer = self._fn.fresh("session")
        self._fn.line(f"u64 *{pointer} = map_lookup(MAP(session_values), {key});")
        if name == "elapsed":
            return Number(f"ktime_ns() - ({pointer} ? *{pointer} : 0)", UINT64, False)
        return Number(f"{pointer} ? *{pointer} : 0", UINT64, False)


def _operand(text: str) -> str:
    return text if text.startswith("(") or text.replace("_", "").replace("->", "").isalnum() else f"({text})"


def _builtin(name: str) -> ast.Identifier:
    return ast.Identifier(name=name, type=UINT64)
