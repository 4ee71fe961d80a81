"""The probe types of the language, as data: names, the shape of a spec, and what a program may use in each.

Analysis, code generation, listing, help and the documentation all read this table.
"""

from __future__ import annotations

from bpftrace_py.record import record


@record(frozen=True)
class Part:
    """One part of a spec behind the probe type, such as the rate of `profile:hz:rate`."""

    name: str
    optional: bool = False
    wildcard: bool = False  # may hold `*`
    of_process: bool = False  # may be empty with -p: then it is what the process has


@record(frozen=True)
class ProbeType:
    """One probe type.

    `kind` is the BPF program's, as in `ProgramSpec.kind`. `builtins` are those that only some types offer:
    `args` (a record), `argN` (arg0, ...), `sargN`, `retval`, `func`, `reg`.
    `listed`: `-l` without a search term shows it.
    """

    name: str
    aliases: tuple[str, ...]
    parts: tuple[Part, ...]
    kind: str
    doc: str
    example: str
    builtins: frozenset[str] = frozenset()
    on_return: bool = False
    listed: bool = False

    @property
    def required(self) -> int:
        """The number of parts that a spec must have."""
        return sum(not part.optional for part in self.parts)

    @property
    def syntax(self) -> str:
        """Such as `software:event[:count]`; an optional part in the middle as in `usdt:binary:[namespace:]probe`."""
        text = self.name
        for index, part in enumerate(self.parts):
            if not part.optional:
                text += f"{'' if text.endswith(':]') else ':'}{part.name}"
            elif index + 1 < len(self.parts):
                text += f":[{part.name}:]"
            else:
                text += f"[:{part.name}]"
        return text


_CALL = frozenset({"argN", "sargN", "func", "reg"})
_RETURN = frozenset({"retval", "func", "reg"})
_REGISTERS = frozenset({"reg"})
_TIMER = (Part("unit"), Part("rate"))
_COUNTER = (Part("event"), Part("count", optional=True))
_KERNEL_FUNCTION = (Part("function", wildcard=True),)
_TYPED_FUNCTION = (Part("module", optional=True, wildcard=True), Part("function", wildcard=True))
_USER_FUNCTION = (Part("binary", wildcard=True), Part("function", wildcard=True))
_TRACEPOINT = (Part("category", wildcard=True), Part("event", wildcard=True))
_USDT = (
    Part("binary", wildcard=True, of_process=True), Part("namespace", optional=True, wildcard=True),
    Part("probe", wildcard=True),
)

_TABLE = (
    ProbeType(
        "BEGIN", (), (), "raw_tracepoint", "once, before the other probes are attached",
        'BEGIN { printf("start\\n"); }',
    ),
    ProbeType(
        "END", (), (), "raw_tracepoint", "once, after the other probes are detached",
        'END { printf("end\\n"); }',
    ),
    ProbeType(
        "kprobe", ("k",), _KERNEL_FUNCTION, "kprobe", "a kernel function is entered",
        "kprobe:do_nanosleep { @[comm] = count(); }", _CALL, listed=True,
    ),
    ProbeType(
        "kretprobe", ("kr",), _KERNEL_FUNCTION, "kprobe", "a kernel function returns",
        "kretprobe:vfs_read { @[retval] = count(); }", _RETURN, on_return=True,
    ),
    ProbeType(
        "uprobe", ("u",), _USER_FUNCTION, "kprobe", "a function of a program or library is entered",
        "uprobe:/bin/bash:readline { @[pid] = count(); }", _CALL | {"args"},
    ),
    ProbeType(
        "uretprobe", ("ur",), _USER_FUNCTION, "kprobe", "a function of a program or library returns",
        'uretprobe:/bin/bash:readline { printf("%s\\n", str(retval)); }', _RETURN, on_return=True,
    ),
    ProbeType(
        "tracepoint", ("t",), _TRACEPOINT, "tracepoint", "a static trace point of the kernel",
        "tracepoint:syscalls:sys_enter_openat { @[comm] = count(); }", frozenset({"args"}), listed=True,
    ),
    ProbeType(
        "rawtracepoint", ("rt",), (Part("event", wildcard=True),), "raw_tracepoint",
        "a static trace point of the kernel, its arguments as the kernel has them",
        "rawtracepoint:sched_switch { @ = count(); }", frozenset({"argN"}),
    ),
    ProbeType(
        "usdt", ("U",), _USDT, "kprobe", "a static trace point of a program or library",
        "usdt:/root/tick:loop { @[arg1] = count(); }", frozenset({"argN", "reg"}),
    ),
    ProbeType(
        "profile", ("p",), _TIMER, "perf_event", "at a rate, on every CPU",
        "profile:hz:99 { @[kstack] = count(); }", _REGISTERS,
    ),
    ProbeType(
        "interval", ("i",), _TIMER, "perf_event", "at a rate, on one CPU",
        "interval:s:1 { time(); }", _REGISTERS,
    ),
    ProbeType(
        "software", ("s",), _COUNTER, "perf_event", "every `count` events that the kernel counts",
        "software:faults:100 { @[comm] = count(); }", _REGISTERS, listed=True,
    ),
    ProbeType(
        "hardware", ("h",), _COUNTER, "perf_event", "every `count` events that the processor counts",
        "hardware:cache-misses:1000000 { @[pid] = count(); }", _REGISTERS, listed=True,
    ),
    ProbeType(
        "kfunc", ("f", "fentry"), _TYPED_FUNCTION, "fentry", "a kernel function is entered, its arguments by name",
        "kfunc:vfs_read { @ = hist(args->count); }", frozenset({"args", "argN", "func"}), listed=True,
    ),
    ProbeType(
        "kretfunc", ("fr", "fexit"), _TYPED_FUNCTION, "fexit", "a kernel function returns, its arguments by name",
        "kretfunc:vfs_read { @ = hist(retval); }", frozenset({"args", "argN", "func", "retval"}), on_return=True,
    ),
)

PROBE_TYPES: dict[str, ProbeType] = {entry.name: entry for entry in _TABLE}
NAMES: dict[str, ProbeType] = {name: entry for entry in _TABLE for name in (entry.name, *entry.aliases)}

# Types that bpftrace has and we do not: they get a sentence of their own instead of "unknown".
UNSUPPORTED = ("watchpoint", "asyncwatchpoint", "iter", "w", "aw", "it")


def find(name: str) -> ProbeType | None:
    """The type of a canonical name or alias; case matters (`u` is uprobe, `U` is usdt)."""
    return NAMES.get(name)
