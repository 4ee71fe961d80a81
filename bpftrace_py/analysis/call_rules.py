"""What single functions ask for beyond the number and kinds of their arguments, and the type that each gives."""

from __future__ import annotations

from bpftrace_py import messages
from bpftrace_py.analysis.formats import check_format
from bpftrace_py.analysis.wording import shown
from bpftrace_py.diagnostics import did_you_mean
from bpftrace_py.language import probe_types
from bpftrace_py.syntax import ast
from bpftrace_py.types import (
    COUNT,
    ERROR_NAME,
    HIST,
    INET,
    INT64,
    KSYM,
    MAC_ADDRESS,
    UINT64,
    UNKNOWN,
    USYM,
    VOID,
    AggregateType,
    ArrayType,
    AvgType,
    BufferType,
    CgroupPathType,
    IntegerType,
    LhistType,
    MaxType,
    MinType,
    PointerType,
    RecordType,
    StackType,
    StatsType,
    StringType,
    SumType,
    TimestampType,
    Type,
    integer,
)

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from bpftrace_py.analysis.expression_types import ExpressionTypes

MAX_LHIST_BUCKETS = 1000
MAX_STACK = 127
NUMBER = (IntegerType, PointerType)


class CallRules:
    """A method `_call_NAME` for each function that gives a value or has rules of its own."""

    def __init__(self, inference: ExpressionTypes) -> None:
        self._in = inference

    # What is wrong with a call, reported: each gives the type of such a call, which is unknown.

    def _not_here(self, node: ast.Call, expected: str) -> Type:
        probe = self._in.context.probe_type
        return self._in.error(messages.CALL_NOT_HERE, node.span, name=node.name, probe=probe, expected=expected)

    def _wrong_kind(self, node: ast.Call, argument: ast.Expression, expected: str) -> Type:
        given = describe(argument)
        return self._in.error(
            messages.ARGUMENT_KIND, argument.span, name=node.name, parameter="", expected=expected, given=given
        )

    def _out_of_range(self, node: ast.Call, argument: ast.Integer, expected: str) -> Type:
        return self._in.error(
            messages.ARGUMENT_RANGE, argument.span, name=node.name, expected=expected, value=argument.value
        )

    def _call_printf(self, node: ast.Call) -> Type:
        check_format(self._in, node)
        return VOID

    _call_system = _call_printf
    _call_cat = _call_printf

    def _call_print(self, node: ast.Call) -> Type:
        value = node.arguments[0]
        if len(node.arguments) > 1:
            if not isinstance(value, ast.Map) or value.keys:
                return self._in.error(messages.PRINT_TOP, node.arguments[1].span)
            for argument in node.arguments[1:]:
                if isinstance(argument, ast.Integer) and argument.value < 0:
                    return self._out_of_range(node, argument, "0 or more")
        return VOID

    def _call_count(self, node: ast.Call) -> Type:
        return COUNT

    def _call_hist(self, node: ast.Call) -> Type:
        return HIST

    # All but sum() take their values for signed numbers, as bpftrace does: a return value of -1 is -1 whatever it counts as.

    def _signed(self, node: ast.Call) -> bool:
        type_ = node.arguments[0].type
        return isinstance(type_, IntegerType) and type_.signed

    def _call_sum(self, node: ast.Call) -> Type:
        return SumType(self._signed(node))

    def _call_avg(self, node: ast.Call) -> Type:
        return AvgType()

    def _call_min(self, node: ast.Call) -> Type:
        return MinType()

    def _call_max(self, node: ast.Call) -> Type:
        return MaxType()

    def _call_stats(self, node: ast.Call) -> Type:
        return StatsType()

    def _call_lhist(self, node: ast.Call) -> Type:
        low, high, step = (a.value if isinstance(a, ast.Integer) else 0 for a in node.arguments[1:4])
        if step < 1:
            return self._in.error(messages.LHIST_STEP, node.arguments[3].span, step=step)
        if low >= high:
            return self._in.error(
                messages.LHIST_RANGE, node.arguments[1].span.to(node.arguments[2].span), low=low, high=high
            )
        if (high - low) // step > MAX_LHIST_BUCKETS:
            return self._in.error(
                messages.LHIST_BUCKETS,
                node.span,
                buckets=(high - low) // step,
                limit=MAX_LHIST_BUCKETS,
                hint=f"a step of {-(-(high - low) // MAX_LHIST_BUCKETS)} or more will do",
            )
        if (high - low) < step:
            return self._in.error(messages.LHIST_WIDE, node.arguments[3].span, step=step, range=high - low)
        return LhistType(low, high, step)

    def _call_str(self, node: ast.Call) -> Type:
        capacity = self._in.config.strlen
        if len(node.arguments) > 1 and isinstance(node.arguments[1], ast.Integer):
            length = node.arguments[1].value
            if length < 0:
                return self._in.error(
                    messages.ARGUMENT_RANGE, node.arguments[1].span, name="str", expected="0 or more", value=length
                )
            capacity = min(capacity, length + 1)
        source = node.arguments[0].type
        if isinstance(source, StringType):
            capacity = min(capacity, source.capacity)
        return StringType(capacity)

    def _call_buf(self, node: ast.Call) -> Type:
        source = node.arguments[0].type
        limit = self._in.config.strlen
        if len(node.arguments) == 1:
            if not isinstance(source, (ArrayType, StringType)):
                return self._in.error(messages.BUF_LENGTH, node.span, type=source)
            if source.size > limit:
                self._in.diagnostics.warning(messages.BUF_CUT, node.span, size=source.size, limit=limit)
            return BufferType(min(source.size, limit))
        if not isinstance(source, (IntegerType, PointerType, ArrayType, StringType)):
            return self._wrong_kind(node, node.arguments[0], "an address, an array or a string")
        length = node.arguments[1]
        if isinstance(length, ast.Integer):
            if length.value < 0:
                return self._out_of_range(node, length, "0 or more")
            limit = min(limit, max(1, length.value))
        if isinstance(source, (ArrayType, StringType)) and not isinstance(node.arguments[0], (ast.FieldAccess, ast.ArrayAccess)):
            limit = min(limit, source.size)  # the end of what is ours; a record's last array may go on
        return BufferType(limit)

    def _call_strncmp(self, node: ast.Call) -> Type:
        length = node.arguments[2]
        if isinstance(length, ast.Integer) and length.value < 0:
            return self._out_of_range(node, length, "0 or more")
        return INT64

    def _space(self, node: ast.Call, space: str) -> Type:
        type_ = node.arguments[0].type
        pointee = (
            type_.pointee
            if isinstance(type_, PointerType)
            else integer(8, False)
            if isinstance(type_, IntegerType)
            else None
        )
        if pointee is None:
            return self._in.error(messages.NOT_A_POINTER, node.arguments[0].span, type=type_)
        return PointerType(pointee, space)

    def _call_kptr(self, node: ast.Call) -> Type:
        return self._space(node, "kernel")

    def _call_uptr(self, node: ast.Call) -> Type:
        return self._space(node, "user")

    def _call_bswap(self, node: ast.Call) -> Type:
        type_ = node.arguments[0].type
        return integer(type_.width, False) if isinstance(type_, IntegerType) else UINT64

    def _symbol(self, node: ast.Call, type_: Type) -> Type:
        address = node.arguments[0]
        if not isinstance(address.type, NUMBER):
            return self._in.error(messages.NOT_A_POINTER, address.span, type=address.type or UNKNOWN)
        return type_

    def _call_ksym(self, node: ast.Call) -> Type:
        return self._symbol(node, KSYM)

    def _call_usym(self, node: ast.Call) -> Type:
        return self._symbol(node, USYM)

    def _call_kaddr(self, node: ast.Call) -> Type:
        return UINT64

    def _call_uaddr(self, node: ast.Call) -> Type:
        if "uaddr" not in self._in.context.offers:
            return self._not_here(node, "uprobe, uretprobe and usdt")
        name = node.arguments[0]
        assert isinstance(name, ast.String)
        found = self._in.user_object(name.value, name.span)
        width = found.size if found is not None and found.size in (1, 2, 4) else 8
        return PointerType(integer(width, False), "user")

    def _call_reg(self, node: ast.Call) -> Type:
        if "reg" not in self._in.context.offers:
            *most, last = (t.name for t in probe_types.PROBE_TYPES.values() if "reg" in t.builtins)
            return self._not_here(node, f"{', '.join(most)} and {last}")
        return UINT64

    def _stack(self, node: ast.Call, user: bool) -> Type:
        mode, limit = self._in.config.stack_mode, MAX_STACK
        for position, argument in enumerate(node.arguments):
            if isinstance(argument, ast.Identifier):
                if position:
                    return self._in.error(messages.STACK_MODE_FIRST, argument.span, name=node.name)
                mode = argument.name
            elif isinstance(argument, ast.Integer):
                if position == 0 and len(node.arguments) > 1:
                    return self._in.error(messages.STACK_MODE_FIRST, argument.span, name=node.name)
                if not 1 <= argument.value <= 1024:
                    return self._out_of_range(node, argument, "1 to 1024")
                limit = argument.value
        return StackType(user, mode, limit)

    def _call_kstack(self, node: ast.Call) -> Type:
        return self._stack(node, False)

    def _call_ustack(self, node: ast.Call) -> Type:
        return self._stack(node, True)

    def _call_cgroupid(self, node: ast.Call) -> Type:
        return UINT64

    def _call_cgroup_path(self, node: ast.Call) -> Type:
        text = node.arguments[1] if len(node.arguments) > 1 else None
        return CgroupPathType(text.value if isinstance(text, ast.String) else "")

    def _call_strftime(self, node: ast.Call) -> Type:
        text = node.arguments[0]
        assert isinstance(text, ast.String)
        return TimestampType(text.value)

    def _call_strerror(self, node: ast.Call) -> Type:
        return ERROR_NAME

    def _call_path(self, node: ast.Call) -> Type:
        if "path" not in self._in.context.offers:
            return self._not_here(node, "kfunc and kretfunc")
        type_ = node.arguments[0].type
        pointed = type_.pointee if isinstance(type_, PointerType) else type_
        if not isinstance(pointed, RecordType) or pointed.name != "struct path":
            return self._wrong_kind(node, node.arguments[0], "a struct path of the kernel")
        return StringType(self._in.config.strlen)

    def _call_ntop(self, node: ast.Call) -> Type:
        address = node.arguments[-1]
        if len(node.arguments) == 2 and not isinstance(node.arguments[0].type, IntegerType):
            return self._wrong_kind(node, node.arguments[0], "an address family such as AF_INET")
        type_ = address.type
        if isinstance(type_, IntegerType) or (isinstance(type_, (ArrayType, StringType)) and type_.size in (4, 16)):
            return INET
        return self._in.error(
            messages.ARGUMENT_KIND,
            address.span,
            name="ntop",
            parameter=" as the address",
            expected="an integer or an array of 4 or 16 bytes",
            given=describe(address),
        )

    def _call_pton(self, node: ast.Call) -> Type:
        import socket

        text = node.arguments[0]
        assert isinstance(text, ast.String)
        family = socket.AF_INET6 if ":" in text.value else socket.AF_INET
        try:
            packed = socket.inet_pton(family, text.value)
        except (OSError, ValueError):
            return self._in.error(messages.BAD_ADDRESS, text.span, text=text.value)
        return ArrayType(integer(1, False), len(packed))

    def _call_macaddr(self, node: ast.Call) -> Type:
        type_ = node.arguments[0].type
        if isinstance(type_, (IntegerType, PointerType)) or (
            isinstance(type_, (ArrayType, StringType))
            and type_.size == 6
            and not isinstance(node.arguments[0], ast.String)
        ):
            return MAC_ADDRESS
        return self._wrong_kind(node, node.arguments[0], "an array of 6 bytes")

    def _call_signal(self, node: ast.Call) -> Type:
        import signal

        if self._in.context.probe_type in ("BEGIN", "END", "interval"):
            return self._not_here(node, "probes that run in the traced process")
        argument = node.arguments[0]
        if isinstance(argument, ast.String):
            names = {s.name.removeprefix("SIG"): int(s) for s in signal.Signals}
            if argument.value.removeprefix("SIG") not in names:
                return self._in.error(
                    messages.BAD_SIGNAL,
                    argument.span,
                    text=argument.value,
                    hint=did_you_mean(argument.value.upper().removeprefix("SIG"), names),
                )
        elif isinstance(argument, ast.Integer) and not 1 <= argument.value <= 64:
            return self._out_of_range(node, argument, "1 to 64")
        elif not isinstance(argument.type, IntegerType):
            return self._wrong_kind(node, argument, "a number or a name")
        return VOID

    def _call_override(self, node: ast.Call) -> Type:
        if self._in.context.probe_type != "kprobe":
            return self._not_here(node, "kprobe")
        return VOID

    def _call_join(self, node: ast.Call) -> Type:
        type_ = node.arguments[0].type
        if not isinstance(type_, (IntegerType, PointerType)):
            return self._wrong_kind(node, node.arguments[0], "the address of an array of strings")
        return VOID


def describe(node: ast.Expression) -> str:
    """What was given, for a sentence."""
    if isinstance(node, ast.String):
        return "a string literal"
    if isinstance(node, ast.Integer):
        return "a number"
    if isinstance(node.type, AggregateType):
        return f"a {shown(node.type)} of all CPUs"
    if isinstance(node, (ast.Map, ast.Variable)) and node.type is UNKNOWN:
        return f"`{'@' if isinstance(node, ast.Map) else '$'}{node.name}`"
    if node.type is UNKNOWN:
        return f"`{node.name}`" if isinstance(node, ast.Identifier) else "an expression"
    return f"a value of type {shown(node.type)}"
