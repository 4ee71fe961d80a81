"""`Unit`: what a script becomes. C text, and tables of what is in it.

Plain data, picklable, no reference to the AST: with it the runtime needs nothing of the compiler, and a compile cache
needs nothing else. Records in the ring buffer are laid out as `TupleType((UINT32, *argument_types))`: the number of
the action, then its arguments. Keys are laid out as `TupleType(keys)`, integers widened to 8 bytes.
"""

from __future__ import annotations

from bpftrace_py.record import field, record, replace
from bpftrace_py.types import Field, Type

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    from bpftrace_py.symbols.usdt_notes import UsdtArgument

# --- maps


@record(frozen=True)
class ScriptMap:
    """One `@map` of the script.

    `storage` is how the kernel keeps it:
      array         one slot, no key; value laid out as TupleType((value, UINT64 set))
      hash          key TupleType(keys) -> value
      percpu_array  aggregate without keys; one slot, or one slot a bucket for hist and lhist
      percpu_hash   aggregate with keys; hist and lhist have the bucket as a last u64 part of the key

    `key_names` has a name for each key, "" where its expression gives none. With `with_sum`, a histogram has one bucket
    more than its type says: the sum of what it has counted, as s64.
    """

    name: str  # without @; "" for @
    table: str  # its name in the C text
    keys: tuple[Type, ...]
    value: Type
    storage: str
    max_entries: int
    key_names: tuple[str, ...] = ()
    with_sum: bool = False


# --- actions: what the kernel asks user space to do, one entry in `Unit.actions` for each place in the script


@record(frozen=True)
class Action:
    """Something in the script that user space does."""

    line: int  # of the script, for messages


@record(frozen=True)
class Printf(Action):
    """`printf(format, arguments)`."""

    format: str
    arguments: tuple[Type, ...]


@record(frozen=True)
class System(Action):
    """`system(format, arguments)`: a shell command."""

    format: str
    arguments: tuple[Type, ...]


@record(frozen=True)
class Cat(Action):
    """`cat(format, arguments)`: the name of a file."""

    format: str
    arguments: tuple[Type, ...]


@record(frozen=True)
class Time(Action):
    """`time(format)`: the time when it is printed."""

    format: str


@record(frozen=True)
class Join(Action):
    """Arguments: u32 count, then `count` strings of `capacity` bytes each (the record has room for `limit`)."""

    delimiter: str
    capacity: int
    limit: int


@record(frozen=True)
class Exit(Action):
    """`exit()`."""


@record(frozen=True)
class PrintMap(Action):
    """`print(@map, top, divisor)`; 0 for those not given."""

    map: str
    top: int
    divisor: int


@record(frozen=True)
class PrintValue(Action):
    """`print(expression)`: one argument of this type."""

    value: Type


@record(frozen=True)
class PrintElement(Action):
    """`print(@map[keys])`: the arguments are the keys; the value is read by user space."""

    map: str
    keys: tuple[Type, ...]


@record(frozen=True)
class Clear(Action):
    """`clear(@map)`."""

    map: str


@record(frozen=True)
class Zero(Action):
    """`zero(@map)`."""

    map: str


@record(frozen=True)
class HelperFailed(Action):
    """`-k`: a helper call failed. Arguments: s64 error."""

    helper: str
    column: int


# --- programs and what they are attached to


@record(frozen=True)
class Target:
    """Where a program is attached. `name` is the probe's full name, as `probe` prints it."""

    name: str


@record(frozen=True)
class Special(Target):
    """BEGIN, END: run once through BPF_PROG_TEST_RUN."""


@record(frozen=True)
class Tracepoint(Target):
    """`tracepoint`, by its names in tracefs."""

    category: str
    event: str


@record(frozen=True)
class RawTracepoint(Target):
    """`rawtracepoint`."""

    event: str


@record(frozen=True)
class Timer(Target):
    """`interval` (one CPU) and `profile` (`every_cpu`): either `frequency` in Hz or `period` in ns is not 0."""

    frequency: int
    period: int
    every_cpu: bool


@record(frozen=True)
class PerfEvent(Target):
    """`software` and `hardware`: perf_event_open(2) type, config and sample period, on every CPU."""

    type: int
    config: int
    period: int


@record(frozen=True)
class Kprobe(Target):
    """`kprobe` (`offset` in bytes from the start of the function) and `kretprobe`."""

    function: str
    offset: int
    on_return: bool


@record(frozen=True)
class Fentry(Target):
    """`kfunc`, `kretfunc`. `module` is empty for the kernel's own functions."""

    function: str
    on_return: bool
    module: str = ""


@record(frozen=True)
class Uprobe(Target):
    """`offset` is the place in the file. `pid` -1: every process."""

    path: str
    function: str
    offset: int
    on_return: bool
    pid: int = -1
    semaphore: int = 0  # file offset of a USDT semaphore


@record(frozen=True)
class Usdt(Uprobe):
    """One place of a static probe. A probe may have several places, each with its arguments elsewhere: targets of the
    same name whose `arguments` may differ. `function` is the probe's own name."""

    namespace: str = ""
    arguments: tuple[UsdtArgument, ...] = ()


@record(frozen=True)
class Attachment:
    """One target of a program. `cookie` is what the program reads to tell its targets apart; None if it does not ask.

    Its low half is an index into `Unit.probe_names`, its high half one into `function_names`.
    """

    target: Target
    cookie: int | None = None


@record(frozen=True)
class ProgramSpec:
    """One BPF program. `kind` is its type: `raw_tracepoint`, `tracepoint`, `kprobe`, `perf_event`, `fentry`, `fexit`."""

    function: str  # its name in the C text
    kind: str
    attachments: tuple[Attachment, ...]
    line: int


@record(frozen=True)
class BoundedLoop:
    """A loop of the script that is stopped after so many `rounds`, since the verifier does not see its own end. 0 rounds:
    when the kernel has enough of it. `by_time`: the same loop a second time, for when it took too much time."""

    line: int
    rounds: int
    by_time: bool = False


@record(frozen=True)
class Unit:
    """All that the runtime has to know of a compiled script."""

    name: str  # of the script
    c_source: str
    programs: tuple[ProgramSpec, ...]
    maps: tuple[ScriptMap, ...]
    actions: tuple[Action, ...]
    probe_names: tuple[str, ...] = ()  # what the values of `probe` index
    function_names: tuple[str, ...] = ()
    events: str | None = None  # C name of the ring buffer, None if nothing is sent
    ring_bytes: int = 0  # its size
    want_wakeup: str | None = None  # u64[1] array: user space sets it to be woken by the next event
    lost: str | None = (
        None  # u64 per-CPU array: [0] events without room, [1 + i] updates that map i refused, then stacks, then each loop's stops
    )
    pending: str | None = None  # u64 array, one slot an action: set where a control action found no room in `events`
    session: str | None = (
        None  # u64[2] array that the session fills: [0] CLOCK_MONOTONIC ns at the start, [1] pid of -c's command
    )
    kernel_stacks: str | None = None
    user_stacks: str | None = None
    bounded_loops: tuple[BoundedLoop, ...] = ()
    loop_divisor: int = 1  # what the bounds of the text are divided by
    task_comm: int | None = None  # where a task_struct has its `comm`, if the text reads that and BTF tells
    probe_count: int = 0  # what "Attaching N probes..." says
    records: dict[str, tuple[Field, ...]] = field(default_factory=dict)  # members of the records that may be printed
    warnings: tuple[str, ...] = ()

    def with_kernel_loops(self) -> Unit:
        """The same with loops that the kernel ends by itself, if it has the instruction for that."""
        loops = tuple(BoundedLoop(loop.line, 0, loop.by_time) for loop in self.bounded_loops)
        by_kernel = self._with_loops("out_of_rounds out_of_kernel_rounds", loops, self.loop_divisor)
        timed = any(loop.by_time for loop in loops)
        return by_kernel._with("out_of_time out_of_kernel_time") if timed else by_kernel

    def with_shorter_loops(self) -> Unit | None:
        """The same with a quarter of the rounds in every bounded loop; None if they cannot be shorter."""
        if not any(loop.rounds > 1 for loop in self.bounded_loops):
            return None
        divisor = 4 * self.loop_divisor
        loops = tuple(BoundedLoop(loop.line, max(1, loop.rounds // 4), loop.by_time) for loop in self.bounded_loops)
        return self._with_loops(f"LOOP_DIVISOR {divisor}", loops, divisor)

    def _with_loops(self, definition: str, loops: tuple[BoundedLoop, ...], divisor: int) -> Unit:
        return replace(self._with(definition), bounded_loops=loops, loop_divisor=divisor)

    def with_task_comm(self) -> Unit:
        """The same with `comm` read from the task_struct instead of by a helper."""
        return self._with(f"read_comm(to) comm_of_task(to, {self.task_comm})")

    def with_whole_stack(self) -> Unit:
        """The same with programs that begin by writing to the end of their stack."""
        source = self.c_source
        for program in self.programs:
            head = f"\nint {program.function}("
            body = source.index("\n{\n", source.index(head)) + len("\n{\n")
            source = f"{source[:body]}\tuse_whole_stack();\n{source[body:]}"
        return replace(self, c_source=source)

    def _with(self, definition: str) -> Unit:
        """The same with another definition of one of the prelude's macros."""
        begin = self.c_source.index("// Generated")
        name = definition.split()[0].partition("(")[0]
        others = [line for line in self.c_source[:begin].splitlines(True) if f" {name}" not in line]
        source = "".join(others) + f"#undef {name}\n#define {definition}\n{self.c_source[begin:]}"
        return replace(self, c_source=source)

    def program(self, function: str) -> ProgramSpec:
        return next(p for p in self.programs if p.function == function)
