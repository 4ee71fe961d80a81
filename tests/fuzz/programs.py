"""Random programs of the language, well-typed as far as the generator knows the rules.

`ProgramText` writes one program out of choices that a `random.Random` makes. Hypothesis supplies one whose choices it can
shrink (`programs()`); a plain seeded one is quicker where many programs are wanted (`from_seed`). What the generator
gets wrong analysis refuses, which is no failure: the property under test starts where analysis has accepted a program.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import cache

from hypothesis import strategies as st

from bpftrace_py.config import Config
from bpftrace_py.ktypes import tracepoint_format
from bpftrace_py.types import ArrayType, IntegerType, PointerType, RecordType
from tests.testprogs import build

# --- types as the generator knows them


@dataclass(frozen=True)
class T:
    """`kind` is int, str, tuple, pointer, record, array, or the name of a type that only some function or builtin makes.

    `parts` are the elements of a tuple, the pointee, the element of an array or the types of a record's members.
    """

    kind: str
    width: int = 8
    signed: bool = True
    parts: tuple[T, ...] = ()
    names: tuple[str, ...] = ()  # of a record's members
    name: str = ""  # of a record, with its keyword; of a stack, its mode
    count: int = 0


INT = T("int")
STR = T("str")
SYMBOLIC = ("ksym", "usym", "inet", "mac", "username", "probe", "strftime", "strerror", "cgroup_path")
TEXTUAL = ("str", *SYMBOLIC, "kstack", "ustack")
INTEGERS = [T("int", width, signed) for width in (1, 2, 4, 8) for signed in (True, False)]
EDGES = (
    0,
    1,
    2,
    3,
    7,
    8,
    63,
    64,
    65,
    127,
    128,
    255,
    256,
    4095,
    65535,
    1 << 31,
    (1 << 32) - 1,
    (1 << 63) - 1,
    1 << 63,
    (1 << 64) - 1,
)
BINARY = ("+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>", "==", "!=", "<", "<=", ">", ">=", "&&", "||")
STRLENS = (64, 64, 64, 64, 16, 8, 1, 200, 256, 1024)  # with more, comparing strings is what the verifier may give up on
# Names that mean something to C, to the compiler, to BCC or to the text around them.
ODD_NAMES = (
    "int", "while", "default", "linux", "unix", "current", "NULL", "errno", "ctx", "zero", "key", "value", "event", "events",
    "lost", "u64", "map_lookup", "scratch", "bool", "true", "asm", "typeof", "main", "pid", "comm", "struct", "_", "__x",
    "a_key", "a", "a_value", "memory_of_a", "MAP", "TABLE", "register", "long_name_" + "x" * 150, "bpf_trace_printk",
    "bpf_get_current_comm", "PT_REGS_PARM1", "cursor", "likely", "key_2", "text", "tuple", "before", "round", "chosen",
)  # fmt: skip
C_TYPES = {
    "char": T("int", 1), "unsigned char": T("int", 1, False), "short": T("int", 2), "uint16_t": T("int", 2, False),
    "int": T("int", 4), "unsigned int": T("int", 4, False), "long": T("int", 8), "uint64_t": T("int", 8, False),
    "enum color": T("int", 4, False), "_Bool": T("int", 1, False),
}  # fmt: skip
KERNEL_PATHS = (  # of a `struct task_struct *`, with their types
    ("->pid", INT), ("->comm", STR), ("->flags", INT), ("->real_parent->comm", STR), ("->prio", INT),
    ("->real_parent->tgid", INT), ("->nsproxy->uts_ns->name.nodename", STR), ("->se.vruntime", INT), ("->cred->uid.val", INT),
    ("->group_leader->comm", STR), ("->in_execve", INT), ("->sched_reset_on_fork", INT), ("->files->fdt->max_fds", INT),
    ("->signal->rlim[3].rlim_cur", INT), ("->fs->pwd.dentry->d_name.len", INT),
)  # fmt: skip
PARAMETERS = ("3", "some text", "-7", "0x10", "")
TEXT_CHARACTERS = 'abc XYZ%019_.-\\"\n\t?{}[]()#é\x01ß'


@dataclass
class Scope:
    """What one probe offers."""

    probe: str
    variables: dict[str, T] = field(default_factory=dict)
    arguments: tuple[tuple[str, T], ...] = ()  # fields of args
    registers: bool = False  # reg()
    numbered: tuple[str, ...] = ()  # arg0, sarg0, retval, func
    static: bool = False  # no probe() function that acts: it may be attached
    binary: bool = False  # uaddr()
    whiles: int = 0  # around the statement at hand


@cache
def tracepoints() -> tuple[str, ...]:
    """Every tracepoint of this kernel that has a format."""
    from bpftrace_py.live_host import LiveHost

    return tuple(sorted(f"{c}:{e}" for c, e in LiveHost().tracepoint_events() if c not in ("ftrace", "bpf_test_run")))


@cache
def tracepoint_fields(name: str) -> tuple[tuple[str, T], ...]:
    from bpftrace_py.live_host import LiveHost

    text = LiveHost().tracepoint_format(*name.split(":"))
    found = tracepoint_format.parse(text) if text else None
    return tuple((f.name, of_type(f.type)) for f in found.fields) if found else ()


def of_type(type_: object) -> T:
    """A type of the product as one of the generator's."""
    if isinstance(type_, IntegerType):
        return T("int", type_.width, type_.signed)
    if isinstance(type_, PointerType):
        return T("pointer", parts=(of_type(type_.pointee),))
    if isinstance(type_, ArrayType):
        return T("array", parts=(of_type(type_.element),), count=type_.count)
    if isinstance(type_, RecordType):
        return T("opaque")
    return T(type(type_).__name__.removesuffix("Type").lower().replace("string", "str"))


class ProgramText:
    """Writes one program. `text` is the program, `config` what to compile it with."""

    def __init__(self, rng: random.Random, *, probes: tuple[str, ...] = ()) -> None:
        self._rng = rng
        self.config = Config(
            strlen=self._pick(STRLENS), map_keys_max=self._pick((4096, 1000, 1, 10)), parameters=PARAMETERS,
            helper_errors=self._pick((0,) * 8 + (1, 2)), ring_bytes=1 << 15, stack_mode=self._pick(("bpftrace", "bpftrace", "perf")),
        )  # fmt: skip
        self.acts = (
            False  # a program that signals what it traces, or starts commands, is loaded but must not be attached
        )
        self._records: list[T] = []
        self._maps: dict[str, tuple[tuple[T, ...], T | str]] = {}
        self._scope = Scope("BEGIN")
        self._budget = 0
        self._plain = False  # without maps and variables: an assignment that tells a map's type
        declarations = self._declarations() if self._chance(0.4) else ""
        self._plan_maps()
        families = probes or tuple(self._pick(tuple(_PROBES)) for _ in range(self._number(0, 3)))
        self.probes = ("BEGIN", *(f for f in families if f != "END"), *(("END",) if "END" in families else ()))
        self.text = declarations + "\n".join(self._one_probe(family) for family in self.probes)

    # --- choices

    def _chance(self, p: float) -> bool:
        return self._rng.random() < p

    def _number(self, low: int, high: int) -> int:
        return self._rng.randint(low, high)

    def _pick(self, options):
        return options[self._rng.randrange(len(options))]

    # --- declarations

    def _declarations(self) -> str:
        text = "#define LIMIT 10\nenum color { RED = 1, GREEN = 0x7fffffff };\n"
        for index in range(self._number(1, 3)):
            name = f"struct r{index}"
            members, types, names = [], [], []
            for i in range(self._number(1, 7)):
                declaration, type_ = self._member(f"m{i}", name)
                members.append(declaration)
                types.append(type_)
                names.append(f"m{i}")
            packed = " __attribute__((packed))" if self._chance(0.3) else ""
            text += f"{name} {{ {' '.join(members)} }}{packed};\n"
            self._records.append(T("record", parts=tuple(types), names=tuple(names), name=name))
        return text

    def _member(self, name: str, record: str) -> tuple[str, T]:
        c_type = self._pick(tuple(C_TYPES))
        match self._number(0, 9):
            case 0:
                width = self._number(1, 8 * C_TYPES[c_type].width if c_type != "_Bool" else 1)
                return f"{c_type} {name} : {width};", C_TYPES[c_type]
            case 1:
                size = self._pick((1, 2, 3, 6, 16, 33, 100))
                return f"char {name}[{size}];", STR
            case 2:
                size = self._pick((1, 2, 3, 4, 6, 16, 40))
                return f"{c_type} {name}[{size}];", T(
                    "array", parts=(C_TYPES[c_type],), count=size
                ) if c_type != "char" else STR
            case 3:
                inner = T("array", parts=(C_TYPES["short"],), count=3)
                return f"short {name}[2][3];", T("array", parts=(inner,), count=2)
            case 4 if self._records:
                other = self._pick(self._records)
                return f"{other.name} {name};", other
            case 5 if self._records:
                other = self._pick(self._records)
                return f"{other.name} {name}[3];", T("array", parts=(other,), count=3)
            case 6:
                return f"char *{name};", T("pointer", parts=(T("int", 1),))
            case 7 if self._records:
                other = self._pick(self._records)
                return f"{other.name} *{name};", T("pointer", parts=(other,))
            case 8:
                parts = (T("int", 4, False), T("array", parts=(T("int", 1, False),), count=4))
                text = f"union {{ unsigned int u; unsigned char bytes[4]; }} {name};"
                return text, T("record", parts=parts, names=("u", "bytes"))
            case _:
                return f"{c_type} {name};", C_TYPES[c_type]

    # --- maps

    def _plan_maps(self) -> None:
        names = ["", "a", "b", "c", "d", "e", *(self._pick(ODD_NAMES) for _ in range(2))]
        for name in names[: self._number(2, len(names))]:
            keys = tuple(self._key_type() for _ in range(self._pick((0, 0, 1, 1, 1, 2, 3, 8))))
            if self._chance(0.02):
                keys = (INT,) * 30
            value = (
                self._pick(("count", "sum", "avg", "min", "max", "stats", "hist", "lhist"))
                if self._chance(0.4)
                else self._value_type(2)
            )
            self._maps[name] = (keys, value)

    def _key_type(self) -> T:
        return self._value_type(2) if self._chance(0.5) else self._pick((INT, STR, T("int", 4, False)))

    def _value_type(self, depth: int) -> T:
        """A type that a variable, map value or tuple element may have."""
        roll = self._number(0, 15)
        if roll < 5:
            return INT if self._chance(0.6) else self._pick(INTEGERS)
        if roll < 8:
            return STR
        if roll < 10 and depth:
            return T("tuple", parts=tuple(self._value_type(depth - 1) for _ in range(self._number(2, 5))))
        if roll == 10 and self._records:
            return self._pick(self._records)
        if roll == 11 and self._records:
            return T("pointer", parts=(self._pick(self._records),))
        if roll == 12:
            return T("pointer", parts=(self._pick(INTEGERS),))
        if roll == 13:
            return T("array", parts=(T("int", 1, False),), count=self._pick((4, 16, 8)))
        if roll == 14:
            kind = self._pick(("kstack", "ustack", *SYMBOLIC))
            return T(kind, name=self._pick(("", "perf, ", "bpftrace, ")) if kind.endswith("stack") else "")
        if roll == 15:
            return T("buffer")
        return INT

    # --- expressions

    def expression(self, type_: T, depth: int) -> str:
        """C-like text of an expression of a type."""
        self._budget -= 1
        if self._budget <= 0:
            depth = 0
        if depth > 0 and self._chance(0.12) and type_.kind not in ("opaque",):
            return f"({self.expression(INT, depth - 1)} ? {self.expression(type_, depth - 1)} : {self.expression(type_, depth - 1)})"
        if not self._plain and self._chance(0.3) and (held := self._held(type_, depth)):
            return held
        if type_.kind == "tuple":
            parts = ", ".join(self.expression(part, depth - 1) for part in type_.parts)
            return f"({parts})"
        make = getattr(self, f"_{type_.kind}", None)
        return make(type_, depth) if make else "1"

    def _held(self, type_: T, depth: int) -> str:
        """A variable, map element or element of a tuple that has the type, if there is one."""
        found = [f"${name}" for name, held in self._scope.variables.items() if held == type_]
        found += [f"@{name}" for name, (keys, value) in self._maps.items() if value == type_ and not keys]
        if depth > 0 and (keyed := [name for name, (keys, value) in self._maps.items() if value == type_ and keys]):
            name = self._pick(keyed)
            found.append(self._element(name, self._maps[name][0], depth - 1))
        for name, held in self._scope.variables.items():
            if held.kind == "tuple":
                found += [f"${name}.{i}" for i, part in enumerate(held.parts) if part == type_]
            elif held.kind == "record":
                found += [
                    f"${name}.{member}" for member, part in zip(held.names, held.parts, strict=True) if part == type_
                ]
            elif held.kind == "pointer" and held.parts[0].kind == "record":
                record = held.parts[0]
                found += [
                    f"${name}->{member}"
                    for member, part in zip(record.names, record.parts, strict=True)
                    if part == type_
                ]
            elif held.kind == "array" and held.parts[0] == type_:
                index = self._number(0, held.count - 1) if self._chance(0.5) else f"({self._simple_int()} & 3)"
                found.append(f"${name}[{index}]")
        found += [f"args->{name}" for name, held in self._scope.arguments if held == type_]
        return self._pick(found) if found else ""

    def _element(self, name: str, keys: tuple[T, ...], depth: int) -> str:
        return f"@{name}[{', '.join(self.expression(key, depth) for key in keys)}]" if keys else f"@{name}"

    def _simple_int(self) -> str:
        options = [
            "pid",
            "tid",
            "cpu",
            "rand",
            "nsecs",
            "uid",
            "gid",
            "cgroup",
            "numaid",
            "elapsed",
            "cpid",
            "(uint64)curtask",
            "7",
            "$1",
            "$3",
            "$9",
            "$#",
        ]
        options += [f"${name}" for name, held in self._scope.variables.items() if held.kind == "int"]
        options += [
            f"@{name}"
            for name, (keys, value) in self._maps.items()
            if not keys and isinstance(value, T) and value.kind == "int"
        ]
        options += [f"args->{name}" for name, held in self._scope.arguments if held.kind == "int"]
        options += [name for name in self._scope.numbered if name != "func"]
        return self._pick(options)

    def _literal(self) -> str:
        value = self._pick(EDGES) if self._chance(0.5) else self._number(0, 100)
        text = hex(value) if self._chance(0.3) else str(value)
        return f"-{text}" if self._chance(0.15) and value < 1 << 63 else text

    def _int(self, type_: T, depth: int) -> str:
        if type_ != INT and self._chance(0.8):
            return f"({'' if type_.signed else 'u'}int{8 * type_.width}){self._operand(INT, depth - 1)}"
        if depth <= 0:
            return self._literal() if self._chance(0.4) else self._simple_int()
        return self._pick(_INTEGER_FORMS)(self, depth - 1)

    def _operand(self, type_: T, depth: int) -> str:
        text = self.expression(type_, depth)
        return text if text.isalnum() else f"({text})"

    def int_binary(self, depth: int) -> str:
        return f"({self._operand(INT, depth)} {self._pick(BINARY)} {self._operand(INT, depth)})"

    def int_unary(self, depth: int) -> str:
        return f"{self._pick('-!~')}({self.expression(INT, depth)})"

    def int_cast(self, depth: int) -> str:
        return self.expression(self._pick(INTEGERS), depth)

    def int_increment(self, depth: int) -> str:
        places = [f"${name}" for name, held in self._scope.variables.items() if held.kind == "int"]
        places += [self._element(name, keys, 0) for name, (keys, value) in self._maps.items() if value == INT]
        if not places:
            return self._literal()
        sign = self._pick(("++", "--"))
        return f"({self._pick(places)}{sign})" if self._chance(0.5) else f"({sign}{self._pick(places)})"

    def int_compare(self, depth: int) -> str:
        return f"({self.expression(STR, depth)} {self._pick(('==', '!='))} {self.expression(STR, depth)})"

    def int_strncmp(self, depth: int) -> str:
        return f"strncmp({self.expression(STR, depth)}, {self.expression(STR, depth)}, {self._pick((0, 1, 3, 7, 16, 64, 65, 5000))})"

    def int_kernel(self, depth: int) -> str:
        path = self._pick([path for path, type_ in KERNEL_PATHS if type_ == INT])
        return f"((struct task_struct *){'curtask' if self._chance(0.8) else self._simple_int()}){path}"

    def int_walk(self, depth: int) -> str:
        text, type_ = self._walk(depth)
        if type_.kind == "int":
            return text
        return f"({text} != 0)" if type_.kind == "pointer" else self._literal()

    def int_size(self, depth: int) -> str:
        if self._records and self._chance(0.5):
            record = self._pick(self._records)
            return f"offsetof({record.name}, {self._pick(record.names)})"
        if self._chance(0.3):
            return f"sizeof({self.expression(self._value_type(1), 1)})"
        return f"sizeof({self._pick(('struct task_struct', 'uint16', 'int', *(r.name for r in self._records)))})"

    def int_element(self, depth: int) -> str:
        parts = [self._value_type(0) for _ in range(self._number(1, 3))]
        place = self._number(0, len(parts))
        texts = [self.expression(part, depth) for part in parts]
        texts.insert(place, self.expression(self._pick(INTEGERS), depth))
        return f"({', '.join(texts)}).{place}"

    def int_division(self, depth: int) -> str:
        left, right = (self._operand(self._pick(INTEGERS), depth) for _ in range(2))
        return f"({left} {self._pick('/%')} {right})"

    def int_bswap(self, depth: int) -> str:
        return f"bswap({self.expression(self._pick(INTEGERS), depth)})"

    def int_array(self, depth: int) -> str:
        width = self._pick((1, 2, 4, 8))
        cast = f"(uint{8 * width}[{8 // width}])(uint64){self._operand(INT, depth)}"
        form = self._number(0, 2)
        if form == 0:
            return f"(uint64)({cast})"
        index = self._number(0, 8 // width - 1) if form == 1 else f"({self._simple_int()} & {8 // width - 1})"
        return f"({cast})[{index}]"

    def int_pointer(self, depth: int) -> str:
        pointer = T("pointer", parts=(self._pick(INTEGERS),))
        text = self._operand(pointer, depth)
        return self._pick((f"*{text}", f"{text}[{self._number(0, 9)}]", f"{text}[{self._simple_int()}]", f"*({text} + {self._simple_int()})",
                           f"({text} == 0)", f"({text} & 0xfff)", f"(uint64){text}"))  # fmt: skip

    def int_function(self, depth: int) -> str:
        options = ['kaddr("schedule")', 'pton("127.0.0.1")[1]', 'pton("::1")[15]', "LIMIT" if self._records else "pid", "(uint64)ctx", "-1 < 1",
                   'cgroupid("/sys/fs/cgroup")']  # fmt: skip
        if self._records:
            options += ["RED", "GREEN", f"(uint64)(enum color){self._operand(INT, depth)}"]
        if self._scope.registers:
            options += ['reg("ip")', 'reg("sp")', 'reg("ax")']
        if self._scope.binary:
            options += ['uaddr("take_point")', '*(uint8 *)uaddr("greet")']
        return self._pick(options)

    # strings

    def _str(self, type_: T, depth: int) -> str:
        if depth <= 0:
            return self._pick(("comm", self._text(), self._text(), "str($2)", "str($5)", "str($9)"))
        match self._number(0, 6):
            case 0:
                return f"str({self._address(depth - 1)})"
            case 1:
                return f"str({self._address(depth - 1)}, {self._length(depth - 1)})"
            case 2:
                path = self._pick([path for path, held in KERNEL_PATHS if held == STR])
                return f"((struct task_struct *)curtask){path}"
            case 3:
                text, walked = self._walk(depth - 1)
                if walked.kind == "str":
                    return text
                return self._text() if walked.kind != "pointer" else f"str({text})"
            case 4:
                return f"str({self._text()}{', 3' if self._chance(0.5) else ''})"
            case _:
                return self._pick(("comm", self._text()))

    def _text(self) -> str:
        size = (
            self._pick((0, 1, 3, 7, 8, 9, 15, 16, 17, 30, 63, 64, 65, 130, 300))
            if self._chance(0.4)
            else self._number(0, 12)
        )
        characters = "".join(self._pick(TEXT_CHARACTERS) for _ in range(min(size, 20))) * (1 + size // 20)
        return quoted(characters[:size])

    def _address(self, depth: int) -> str:
        options = [self._simple_int(), "0", "((struct task_struct *)curtask)->comm", "(uint64)curtask + 1"]
        options += [f"args->{name}" for name, held in self._scope.arguments if held.kind in ("pointer", "str")]
        options += [f"${name}" for name, held in self._scope.variables.items() if held.kind in ("pointer", "str")]
        if depth > 0:
            options += [f"kptr({self.expression(INT, depth)})", f"uptr({self.expression(INT, depth)})"]
        return self._pick(options)

    def _length(self, depth: int) -> str:
        if self._chance(0.5):
            return str(self._pick((0, 1, 2, 7, 63, 64, 65, 200, 100000)))
        return self.expression(INT, depth) if depth > 0 else self._pick(("pid", "cpu", "nsecs", "-cpu"))

    # records, pointers and arrays

    def _record(self, type_: T, depth: int) -> str:
        if not type_.name:
            return "1"
        return f"*({type_.name} *){self._pick(('curtask', self._simple_int()))}"

    def _pointer(self, type_: T, depth: int) -> str:
        pointee = type_.parts[0]
        if pointee.kind == "record" and pointee.name:
            name = pointee.name
        elif pointee.kind == "int":
            name = f"{'' if pointee.signed else 'u'}int{8 * pointee.width}"
        else:
            name = "uint64"
        base = f"({name} *){self._operand(INT, min(depth, 1)) if self._chance(0.3) else self._simple_int()}"
        return f"({base} + {self._simple_int()})" if self._chance(0.2) else f"({base})"

    def _array(self, type_: T, depth: int) -> str:
        if type_.parts[0] == T("int", 1, False):
            if type_.count == 8:
                return f"(uint8[8])(uint64){self._operand(INT, depth - 1)}"
            if type_.count == 4:
                return self._pick(('pton("10.0.0.1")', f"(uint8[4])(uint32){self._operand(INT, depth - 1)}"))
            return 'pton("fe80::1")'
        return "1"

    def _walk(self, depth: int) -> tuple[str, T]:
        """From a record to some member of a member, as far as it goes."""
        if not self._records:
            return self._simple_int(), INT
        record = self._pick(self._records)
        held = [f"${name}" for name, variable in self._scope.variables.items() if variable == record]
        text, type_ = (
            (self._pick(held), record)
            if held and self._chance(0.5)
            else (f"(*({record.name} *){self._simple_int()})", record)
        )
        if self._chance(0.3):
            text, type_ = f"(({record.name} *){self._simple_int()})", T("pointer", parts=(record,))
        for _ in range(6):
            if type_.kind == "record":
                member = self._number(0, len(type_.parts) - 1)
                text, type_ = f"{text}.{type_.names[member]}", type_.parts[member]
            elif type_.kind == "pointer" and type_.parts[0].kind == "record":
                record = type_.parts[0]
                member = self._number(0, len(record.parts) - 1)
                text, type_ = f"{text}->{record.names[member]}", record.parts[member]
            elif type_.kind == "array":
                index = (
                    self._number(0, type_.count - 1)
                    if self._chance(0.6)
                    else self._pick(("pid", "cpu", "rand", "-cpu"))
                )
                text, type_ = f"{text}[{index}]", type_.parts[0]
            elif type_.kind == "pointer" and self._chance(0.5):
                text, type_ = f"*({text})", type_.parts[0]
            else:
                break
        return text, type_

    # what functions and builtins make

    def _buffer(self, type_: T, depth: int) -> str:
        form = self._number(0, 3)
        if form == 0:
            return f"buf({self._address(depth - 1)}, {self._length(depth - 1)})"
        if form == 1:
            return f"buf(comm, {self._length(depth - 1)})"
        text, walked = self._walk(depth - 1)
        if form == 2 and walked.kind in ("array", "str"):
            return f"buf({text})"
        return f"buf({self._text()}, {self._number(0, 80)})"

    def _kstack(self, type_: T, depth: int) -> str:
        name = type_.kind
        if self._chance(0.4):
            return f"{name}({type_.name.rstrip(', ')})" if type_.name else name
        return f"{name}({type_.name}{self._pick((1, 3, 5, 127))})"

    _ustack = _kstack

    def _ksym(self, type_: T, depth: int) -> str:
        return f"ksym({self._operand(INT, depth - 1)})"

    def _usym(self, type_: T, depth: int) -> str:
        return f"usym({self._operand(INT, depth - 1)})"

    def _inet(self, type_: T, depth: int) -> str:
        number = self._operand(INT, depth - 1)
        array = self._pick(('pton("1.2.3.4")', 'pton("::ffff:1.2.3.4")'))
        return self._pick(
            (f"ntop({number})", f"ntop({self._pick((2, 10, 'cpu'))}, {number})", f"ntop({array})", f"ntop(10, {array})")
        )

    def _mac(self, type_: T, depth: int) -> str:
        held = [
            f"args->{name}"
            for name, argument in self._scope.arguments
            if argument.kind == "array" and argument.count == 6
        ]
        source = self._pick([*held, self._operand(INT, depth - 1), "(uint8 *)curtask"])
        return f"macaddr({source})"

    def _username(self, type_: T, depth: int) -> str:
        return "username"

    def _probe(self, type_: T, depth: int) -> str:
        return "probe"

    def _strftime(self, type_: T, depth: int) -> str:
        return f'strftime("%H:%M:%S %f", {self.expression(INT, depth - 1)})'

    def _strerror(self, type_: T, depth: int) -> str:
        return f"strerror({self.expression(INT, depth - 1)})"

    def _cgroup_path(self, type_: T, depth: int) -> str:
        return f"cgroup_path({self.expression(INT, depth - 1)})"

    # --- statements

    def _block(self, depth: int, low: int = 1, high: int = 3) -> str:
        return "{ " + " ".join(self._statement(depth) for _ in range(self._number(low, high))) + " }"

    def _statement(self, depth: int) -> str:
        self._budget = 20
        return self._pick(_STATEMENTS)(self, depth)

    def set_variable(self, depth: int) -> str:
        known = [name for name in self._scope.variables if not name.startswith("i_")]
        if known and self._chance(0.3):
            name = self._pick(known)
        else:
            name = self._pick(("x", "y", "z", "p", "s", "t")) if self._chance(0.8) else self._pick(ODD_NAMES)
        type_ = self._scope.variables.get(name) or self._value_type(2)
        if name.startswith("i_"):
            return "1;"
        text = f"${name} = {self.expression(type_, 3)};"
        self._scope.variables[name] = type_
        return text

    def set_map(self, depth: int) -> str:
        return self._assignment(self._pick(tuple(self._maps)))

    def _assignment(self, name: str) -> str:
        self._budget = 20
        keys, value = self._maps[name]
        element = self._element(name, keys, 2)
        if isinstance(value, T):
            if value.kind == "int" and not self._plain and self._chance(0.3):
                return f"{element} {self._pick(('+=', '-=', '*=', '/=', '%=', '&=', '|=', '^=', '<<=', '>>='))} {self.expression(INT, 2)};"
            if value.kind == "int" and self._chance(0.3):
                return self._pick((f"{element}++;", f"{element}--;", f"++{element};", f"--{element};"))
            return f"{element} = {self.expression(value, 3)};"
        counted = INT if self._chance(0.6) else self._pick(INTEGERS)
        arguments = {
            "count": "",
            "lhist": f"{self.expression(counted, 2)}, {('0, 100, 1', '-50, 7, 4', '3, 1000, 4')[len(name) % 3]}",
        }
        return f"{element} = {value}({arguments.get(value) if value in arguments else self.expression(counted, 2)});"

    def compound(self, depth: int) -> str:
        names = [
            name for name, held in self._scope.variables.items() if held.kind == "int" and not name.startswith("i_")
        ]
        if not names:
            return self.set_variable(depth)
        operator = self._pick(("+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>="))
        return f"${self._pick(names)} {operator} {self.expression(INT, 2)};"

    def print_formatted(self, depth: int) -> str:
        count = self._number(0, 6) if self._chance(0.95) else 60
        text, arguments = "", []
        for _ in range(count):
            type_ = self._value_type(0)
            if type_.kind == "int":
                text += self._pick(("%d", "%5ld", "%x", "%c", "%lu", "%-8hhd", "%p", "%#llx"))
            elif type_.kind in TEXTUAL:
                text += self._pick(("%s", "%-10s", "%.3s"))
            elif type_.kind == "buffer":
                text += "%r"
            else:
                type_, text = INT, text + "%d"
            arguments.append(self.expression(type_, 2))
        return f"printf({', '.join([quoted(text + chr(10)), *arguments])});"

    def print_value(self, depth: int) -> str:
        if self._chance(0.3):
            name = self._pick(tuple(self._maps))
            keys, _ = self._maps[name]
            return f"print({f'@{name}' if self._chance(0.5) else self._element(name, keys, 2)});"
        return f"print({self.expression(self._value_type(3), 3)});"

    def map_action(self, depth: int) -> str:
        name = self._pick(tuple(self._maps))
        keys, _ = self._maps[name]
        return self._pick(
            (
                f"clear(@{name});",
                f"zero(@{name});",
                f"delete({self._element(name, keys, 2)});",
                f"print(@{name}, {self._number(0, 9)}, {self._number(0, 9)});",
                f"print(@{name}, {self._number(0, 9)});",
            )
        )

    def action(self, depth: int) -> str:
        options = [
            'time("%H:%M\\n");',
            "time();",
            f'join({self._simple_int()}, ",");',
            "join(curtask);",
            "exit();",
            "return;",
        ]
        if self._scope.whiles:
            options += ["break;", "continue;"] * 3
        if self._chance(0.2):
            self.acts = True
            number, text = self.expression(self._pick(INTEGERS), 1), self.expression(STR, 1)
            options += [
                f'system("true %d %s", {number}, {text});',
                f'cat("/proc/%d/%s", {number}, {text});',
                'system("true");',
            ]
            if self._scope.probe not in ("BEGIN", "END"):
                options += ['signal("CONT");', f"signal({self._simple_int()});"]
        return self._pick(options)

    def choice(self, depth: int) -> str:
        return f"{self.expression(INT, 2)} ? {self._call(depth)} : {self._call(depth)};"

    def _call(self, depth: int) -> str:
        return self._pick((self.print_formatted, self.print_value, self.map_action))(depth)[:-1]

    def if_else(self, depth: int) -> str:
        if depth <= 0:
            return self.set_map(depth)
        text = f"if ({self.expression(INT, 3)}) {self._block(depth - 1)}"
        if self._chance(0.5):
            text += f" else {self._block(depth - 1)}"
        elif self._chance(0.3):
            text += f" else if ({self.expression(INT, 2)}) {self._block(depth - 1)}"
        return text

    def unroll(self, depth: int) -> str:
        if depth <= 0:
            return self.set_variable(depth)
        outer, self._scope.whiles = self._scope.whiles, 0
        body = self._block(depth - 1, 1, 2)
        self._scope.whiles = outer
        return f"unroll({self._pick((1, 2, 5, 30, 100, '$1', '$4 + 2'))}) {body}"

    def loop(self, depth: int) -> str:
        if depth <= 0:
            return self.compound(depth)
        self._scope.whiles += 1
        name = f"i_{len([n for n in self._scope.variables if n.startswith('i_')])}"
        match self._number(0, 4):
            case 0 | 1:
                self._scope.variables[name] = INT
                body = self._block(depth - 1, 1, 2)
                limit = self._pick((3, 10, 10, 50, 100, 1000, "pid", "@" if self._maps.get("") == ((), INT) else "cpu"))
                text = f"${name} = 0; while (${name} < {limit}) {{ ${name}{self._pick(('++', ' += 1', '++', ' += 3'))}; {body[2:]}"
            case 2:
                text = f"while ({self.expression(INT, 2)}) {self._block(depth - 1, 1, 2)}"
            case 3:
                text = f"while (1) {{ if ({self.expression(INT, 2)}) {{ break; }} {self._block(depth - 1, 1, 2)[2:]}"
            case _:
                self._scope.variables[name] = INT
                text = f"${name} = {self._pick((5, 20, 100))}; while (${name}--) {self._block(depth - 1, 1, 2)}"
        self._scope.whiles -= 1
        return text

    def bare(self, depth: int) -> str:
        return (
            f"{self.int_increment(1)};".replace("(", "", 1).replace(");", ";")
            if self._chance(0.7)
            else f"{self.expression(INT, 2)};"
        )

    # --- probes

    def _one_probe(self, family: str) -> str:
        spec = _PROBES[family](self) if family in _PROBES else family
        self._budget = 30
        predicate = f" /{self.expression(INT, 3)}/" if self._chance(0.2) and not family.startswith("usdt") else ""
        block = self._block(self._pick((1, 2, 2, 3)), 1, 5)
        if family == self.probes[-1]:  # every map is assigned somewhere
            self._plain = True
            block = block[:-1] + " ".join(self._assignment(name) for name in self._maps) + " }"
        return f"{spec}{predicate} {block}"

    def _enter(self, probe: str, **offers: object) -> str:
        self._scope = Scope(probe, **offers)  # type: ignore[arg-type]
        return probe

    def probe_tracepoint(self) -> str:
        if self._chance(0.2):  # several, without their arguments
            return self._enter(self._pick((
                "tracepoint:sched:sched_wak*", "tracepoint:timer:timer_start, tracepoint:timer:timer_cancel",
                "tracepoint:syscalls:sys_enter_open*, tracepoint:syscalls:sys_exit_open*", "t:irq:*_entry, interval:s:7",
            )))  # fmt: skip
        name = self._pick(tracepoints())
        return self._enter(f"tracepoint:{name}", arguments=tracepoint_fields(name))

    def probe_raw(self) -> str:
        name, arguments = self._pick((("sched_switch", 3), ("sys_enter", 2), ("sched_waking", 1), ("sched_*", 3)))
        return self._enter(f"rawtracepoint:{name}", numbered=("arg0", "arg1", "arg2")[:arguments])

    def probe_timer(self) -> str:
        specs = (
            "interval:ms:50",
            "interval:hz:20",
            "profile:hz:99",
            "profile:us:900",
            "i:s:1",
            "profile:hz:49, interval:s:1",
        )
        return self._enter(self._pick(specs), registers=True)

    def probe_software(self) -> str:
        specs = (
            "software:cpu-clock:1000000",
            "software:faults:10",
            "s:cs:5",
            "hardware:cycles:1000000, software:page-faults:100",
        )
        return self._enter(self._pick(specs), registers=True)

    def probe_function(self) -> str:
        binary = build.program("functions")
        function = self._pick(("take_point", "greet", "eight_arguments", "take_array", "small_signed", "wild_*"))
        numbered = ("arg0", "arg1", "arg5", "arg7", "sarg0", "sarg2", "func")
        return self._enter(f"uprobe:{binary}:{function}", registers=True, numbered=numbered, binary="*" not in function)

    def probe_return(self) -> str:
        function = self._pick(("greet", "wild_*"))
        return self._enter(f"uretprobe:{build.program('functions')}:{function}", registers=True, numbered=("retval",))

    def probe_usdt(self) -> str:
        name, count = self._pick(
            (
                ("tick:tick:loop", 2),
                ("tick:tick:twice", 2),
                ("usdt_arguments:sizes:all", 8),
                ("usdt_arguments:sizes:twelve", 10),
            )
        )
        program, _, rest = name.partition(":")
        numbered = tuple(f"arg{i}" for i in range(count))
        return self._enter(f"usdt:{build.program(program)}:{rest}", registers=True, numbered=numbered)

    def probe_kernel(self) -> str:
        if self._chance(0.5):
            return self._enter("kprobe:vfs_read", registers=True, numbered=("arg0", "arg1", "arg2", "sarg1", "func"))
        return self._enter("kretprobe:vfs_read", registers=True, numbered=("retval", "func"))

    def probe_end(self) -> str:
        return self._enter("END")


_INTEGER_FORMS = (
    *(ProgramText.int_binary,) * 5, ProgramText.int_unary, ProgramText.int_cast, ProgramText.int_increment,
    ProgramText.int_compare, ProgramText.int_strncmp, ProgramText.int_kernel, *(ProgramText.int_walk,) * 2, ProgramText.int_size,
    ProgramText.int_bswap, ProgramText.int_array, ProgramText.int_pointer, ProgramText.int_function, ProgramText.int_element,
    *(ProgramText.int_division,) * 2,
)  # fmt: skip
_STATEMENTS = (
    *(ProgramText.set_variable,) * 4, *(ProgramText.set_map,) * 4, ProgramText.compound, *(ProgramText.print_formatted,) * 2,
    *(ProgramText.print_value,) * 2, ProgramText.choice, ProgramText.map_action, ProgramText.action, *(ProgramText.if_else,) * 2, ProgramText.unroll,
    ProgramText.loop, ProgramText.bare,
)  # fmt: skip
_PROBES = {
    "tracepoint": ProgramText.probe_tracepoint, "rawtracepoint": ProgramText.probe_raw, "timer": ProgramText.probe_timer,
    "software": ProgramText.probe_software, "uprobe": ProgramText.probe_function, "uretprobe": ProgramText.probe_return,
    "usdt": ProgramText.probe_usdt, "kprobe": ProgramText.probe_kernel, "END": ProgramText.probe_end,
}  # fmt: skip


def quoted(text: str) -> str:
    """A string literal of the language."""
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
    return '"' + "".join(escapes.get(c, c if ord(c) >= 32 else f"\\x{ord(c):02x}") for c in text) + '"'


def from_seed(seed: int) -> ProgramText:
    return ProgramText(random.Random(seed))


def programs() -> st.SearchStrategy[ProgramText]:
    return st.randoms(use_true_random=False).map(ProgramText)
