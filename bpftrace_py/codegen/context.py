"""What the kernel hands to a program, by probe type: arguments, registers, results, the name of the probe."""

from __future__ import annotations

from bpftrace_py import messages
from bpftrace_py.analysis.wording import counted
from bpftrace_py.codegen import unit
from bpftrace_py.codegen.ctypes_text import is_memory, scalar
from bpftrace_py.codegen.machine import machine
from bpftrace_py.codegen.values import Bytes, Number, Value
from bpftrace_py.source import Span
from bpftrace_py.syntax import ast
from bpftrace_py.types import (
    FUNCTION_NAME,
    INT64,
    PROBE_NAME,
    UINT32,
    UINT64,
    ArrayType,
    Field,
    IntegerType,
    Type,
    integer,
)

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from bpftrace_py.codegen.expressions import ExpressionText


class ContextText:
    """Writes how a program reads what the kernel hands to it."""

    def __init__(self, expressions: ExpressionText) -> None:
        self._ex = expressions
        self._fn = expressions.function
        self._generator = expressions.generator
        self._machine = machine(expressions.generator.architecture)
        self.used: dict[int, Field] = {}  # fields of a tracepoint's record that the program loads
        self.registers = False  # whether the context is used as struct registers

    # --- args

    def argument(self, member: Field, type_: Type) -> Value:
        """`args->member`."""
        if self._ex.instance.context.program in ("fentry", "fexit"):
            return self._parameter(member, type_)
        if self._ex.instance.context.program == "kprobe":
            return self._user_parameter(member, type_)
        if member.data_loc:
            # The field tells where in the record the data is: length in the upper half, offset in the lower.
            place = self._load(Field(member.name, UINT32, member.offset), 4)
            behind = f"{member.offset + 4} + " if member.rel_loc else ""
            return Number(f"{self.address()} + {behind}({place} & 0xffff)", type_, False)
        if is_memory(type_):
            return Bytes(f"((char *)ctx + {member.offset})", type_, "kernel")
        text = self._load(member, type_.size)
        number = Number(text, type_)
        return self._ex.memory.bits(number, member.bitfield, type_) if member.bitfield else number

    def _load(self, member: Field, width: int) -> str:
        if member.offset % width:
            name = self._fn.memory(integer(width, False), "value")
            self._fn.line(f"{name} = 0;")
            self._fn.line(f"read_kernel(&{name}, {width}, (char *)ctx + {member.offset});")
            return name
        self.used[member.offset] = member
        signed = isinstance(member.type, IntegerType) and member.type.signed
        return self._fn.entry(f"ctx->{member.name}", member.name, signed)

    def _parameter(self, member: Field, type_: Type) -> Value:
        """A parameter of a traced kernel function: the context is an array of 64-bit words."""
        if is_memory(type_):
            return Bytes(f"(void *)((u64 *)ctx + {member.offset // 8})", type_, "kernel")
        word = self._word(member.offset // 8, member.name)
        return Number(f"({scalar(type_)}){word}" if scalar(type_) != "u64" else word, type_)

    def _user_parameter(self, member: Field, type_: Type) -> Value:
        """A parameter of a traced program's function: the field's offset counts words as `arg0`, `arg1`, ... do."""
        number, registers = member.offset // 8, self._machine.arguments
        if number >= len(registers):
            above = 1 if "ip" in self._machine.members else 0
            base = self.register(self._machine.stack, UINT64)
            return self._ex.memory.load(base, 8 * (number - len(registers) + above), type_, "user")
        if not is_memory(type_):
            return self.register(registers[number], type_)
        words = -(-type_.size // 8)  # in as many registers
        whole = self._fn.memory(ArrayType(UINT64, words), member.name)
        address = self._ex.address(whole, ArrayType(UINT64, words))
        for word in range(words):
            self._fn.line(f"((u64 *){address})[{word}] = {self.register(registers[number + word]).text};")
        return Bytes(address, type_)

    def _word(self, index: int, stem: str) -> str:
        """A word of a context that is an array of them."""
        return self._fn.entry(f"((u64 *)ctx)[{index}]", stem, False)

    def address(self) -> str:
        """The address of the context as a number. The verifier lets nobody calculate with `ctx` itself."""
        known = self._fn.known("context")
        if known is None:
            known = self._fn.scalar("u64", "context")
            self._fn.line(f"read_kernel(&{known}, 8, &ctx);")
            self._fn.learn("context", known)
        return known

    # --- builtins

    def builtin(self, node: ast.Identifier) -> Value | None:
        """The value of a builtin that depends on the probe type; None if it does not."""
        name = node.name
        if name == "probe":
            return self._attachment(PROBE_NAME)
        if name == "func":
            return self._attachment(FUNCTION_NAME)
        if name == "retval":
            return self._result(node.type)
        if name == "ctx":
            return Number(self.address(), node.type)
        if name.startswith("sarg") and name[4:].isdigit():
            return self._stack_argument(int(name[4:]))
        if name.startswith("arg") and name[3:].isdigit():
            return self._numbered_argument(int(name[3:]))
        return None

    def attachment_number(self, function: bool) -> str:
        """Which of the targets this is, as an index into `Unit.probe_names` or `function_names`."""
        instance = self._ex.instance
        if instance.context.syscalls:
            return f"{self._generator.syscall_names(instance)} + call"
        if len(instance.targets) == 1:
            index = self._generator.function_index if function else self._generator.name_index
            return str(index(instance.targets[0]))
        self._generator.needs_cookie(instance)
        known = self._fn.known("attachment")
        if known is None:
            known = self._fn.fresh("attachment")
            self._fn.line(f"u64 {known} = attach_cookie(ctx);")
            self._fn.learn("attachment", known)
        return f"{known} >> 32" if function else f"(u32){known}"

    def which_syscall(self) -> None:
        """Leave the program unless the system call is one of the targets; `call` is its number."""
        instance = self._ex.instance
        numbers = sorted(n for t in instance.targets if (n := self._generator.syscall_of(t)) is not None)
        self._fn.line("u64 saved[3] = {}; // of the registers: the call's number, ip, cs")
        self._fn.line(
            f"read_kernel(saved, sizeof(saved), (void *)(((u64 *)ctx)[0] + {8 * self._machine.members.index('orig_ax')}));"
        )
        self._fn.line("u64 call = saved[0];")
        self._fn.line("if (saved[2] != 0x33)")
        self._fn.line("\treturn 0; // a 32-bit program, which numbers its calls otherwise")
        self._fn.line("switch (call) {")
        for start in range(0, len(numbers), 16):
            self._fn.line(" ".join(f"case {n}:" for n in numbers[start : start + 16]))
        self._fn.line("\tbreak;")
        self._fn.line("default:")
        self._fn.line("\treturn 0;")
        self._fn.line("}")

    def _attachment(self, type_: Type) -> Number:
        number = self.attachment_number(function=type_ is FUNCTION_NAME)
        return Number(number, type_, number.isidentifier() or number.isdigit())

    def _result(self, type_: Type) -> Number:
        context = self._ex.instance.context
        if context.program == "fexit":
            return Number(f"({scalar(type_)}){self._word(len(context.argument_fields), 'result')}", type_)
        return self.register(self._machine.result, type_)

    def _numbered_argument(self, number: int) -> Value:
        context = self._ex.instance.context
        if context.program in ("raw_tracepoint", "fentry", "fexit"):
            return Number(self._word(number, f"arg{number}"), UINT64)
        target = self._ex.instance.targets[0]
        if isinstance(target, unit.Usdt):
            return self._usdt_argument(target, number)
        if number >= len(self._machine.arguments):
            return self._stack_argument(number - len(self._machine.arguments))
        return self.register(self._machine.arguments[number], UINT64)

    def _place_of(self, number: int) -> Span:
        """Where the block first asks for an argument."""
        from bpftrace_py.syntax.visitor import walk

        name = f"arg{number}"
        return next(n.span for n in walk(self._ex.instance.tree) if isinstance(n, ast.Identifier) and n.name == name)

    def _usdt_argument(self, target: unit.Usdt, number: int) -> Number:
        """An argument of a static probe, which is where the compiler of the traced program left it."""
        if number >= len(target.arguments):
            self._generator.diagnostics.error(
                messages.NO_NUMBERED_ARGUMENT,
                self._place_of(number),
                name=target.name,
                number=number,
                count=counted(len(target.arguments), "argument"),
            )
            return Number("0", UINT64)
        argument = target.arguments[number]
        if argument.kind == "constant":
            return Number(f"{argument.value}LL", INT64)
        if argument.kind == "unknown":
            self._generator.diagnostics.error(
                messages.USDT_ARGUMENT_PLACE, self._place_of(number), number=number, text=argument.text
            )
            return Number("0", UINT64)
        type_ = integer(argument.size, argument.signed)
        base = self._usdt_register(argument.register)
        if argument.kind == "register":
            shifted = f"({base} >> {argument.shift})" if argument.shift else base
            return Number(f"(u64)({scalar(type_)}){shifted}", UINT64, False)
        at = f"{base} + {self._usdt_register(argument.index)} * {argument.scale}" if argument.index else base
        value = self._ex.memory.load(Number(at, UINT64, False), argument.value, type_, "user")
        assert isinstance(value, Number)
        return Number(f"(u64){value.text}", UINT64, False)

    def _usdt_register(self, name: str) -> str:
        """A register as the note names it: `rax` is `ax` to the kernel, `x0` is `regs[0]`."""
        for candidate in (name, name[1:], f"r{name[1:]}"):
            if candidate in self._machine.members:
                return self.register(candidate).text
        return "0"  # there is none: the zero register, or an address without a base

    def _stack_argument(self, number: int) -> Number:
        """An argument that the caller left on the stack, above the return address (on x86-64)."""
        above = 1 if "ip" in self._machine.members else 0
        space = "user" if self._ex.instance.context.space == "user" else "kernel"
        base = self.register(self._machine.stack, UINT64)
        value = self._ex.memory.load(base, 8 * (number + above), UINT64, space)
        assert isinstance(value, Number)
        return value

    def register(self, name: str, type_: Type = UINT64) -> Number:
        self.registers = True
        text = self._fn.entry(f"ctx->{name}", name, False)
        return Number(text if scalar(type_) == "u64" else f"({scalar(type_)}){text}", type_)

    def register_by_name(self, name: str) -> Number | None:
        member = self._machine.names.get(name)
        return None if member is None else self.register(member)

    # --- the C of it

    def parameter(self, function: str) -> tuple[str, list[str]]:
        """The parameter of the program's function, and the definition of its type if it has one of its own."""
        if self.registers:
            members = "\n\t".join(f"u64 {m};" for m in self._machine.members)
            return "struct registers *ctx", [f"struct registers {{\n\t{members}\n}};"]
        if not self.used:
            return "void *ctx", []
        name = f"struct {function}_args"  # two blocks of one probe may use different fields
        lines, at = [], 0
        for offset, member in sorted(self.used.items()):
            type_ = scalar(member.type)
            if offset > at:
                lines.append(f"u8 skip_{at}[{offset - at}];")
            lines.append(f"{type_} {member.name};")
            at = offset + max(member.type.size, 1)
        body = "\n\t".join(lines)
        return f"{name} *ctx", [f"{name} {{\n\t{body}\n}};"]
