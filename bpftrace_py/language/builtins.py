"""The builtin variables, as data: analysis, code generation, `-l` of the language and the docs all read this table."""

from __future__ import annotations

from bpftrace_py.record import record
from bpftrace_py.types import (
    PROBE_NAME,
    UINT32,
    UINT64,
    UNKNOWN,
    USERNAME,
    PointerType,
    RecordType,
    StackType,
    StringType,
    Type,
)


@record(frozen=True)
class Builtin:
    """`type` is UNKNOWN where it depends on the probe. `c` is the C expression that gives the value, "" where code
    generation has a case of its own. `constant`: the same all through one run of a probe, so that it is asked for once.
    `stored`: the type in events, where a narrower one holds every value. `needs`: what the probe must offer for it
    (see `probe_types.ProbeType.offers`); "" for nothing."""

    name: str
    type: Type
    c: str
    doc: str
    example: str
    constant: bool = True
    stored: Type | None = None
    needs: str = ""


COMM = StringType(16)
TASK_STRUCT = "struct task_struct"
CURRENT_TASK = PointerType(RecordType(TASK_STRUCT))  # with its size where the kernel's types are known

BUILTINS: dict[str, Builtin] = {
    b.name: b
    for b in (
        Builtin(
            "pid",
            UINT64,
            "pid_tgid() >> 32",
            "Process ID (the kernel's tgid)",
            "BEGIN { print(pid); exit(); }",
            stored=UINT32,
        ),
        Builtin(
            "tid",
            UINT64,
            "(u32)pid_tgid()",
            "Thread ID (the kernel's pid)",
            "BEGIN { print(tid); exit(); }",
            stored=UINT32,
        ),
        Builtin("uid", UINT64, "(u32)uid_gid()", "User ID", "BEGIN { print(uid); exit(); }", stored=UINT32),
        Builtin("gid", UINT64, "uid_gid() >> 32", "Group ID", "BEGIN { print(gid); exit(); }", stored=UINT32),
        Builtin("username", USERNAME, "(u32)uid_gid()", "Name of the user", "BEGIN { print(username); exit(); }"),
        Builtin(
            "nsecs",
            UINT64,
            "boot_ns()",
            "Nanoseconds since boot",
            "BEGIN { $start = nsecs; print(nsecs - $start < 1000000000); exit(); }",
            constant=False,
        ),
        Builtin(
            "elapsed",
            UINT64,
            "",
            "Nanoseconds since the program started",
            "BEGIN { print(elapsed < 1000000000); exit(); }",
            constant=False,
        ),
        Builtin(
            "cpu", UINT64, "cpu_id()", "Number of the processor", "BEGIN { print(cpu < 4096); exit(); }", stored=UINT32
        ),
        Builtin(
            "numaid",
            UINT64,
            "numa_node_id()",
            "Number of the NUMA node",
            "BEGIN { print(numaid); exit(); }",
            stored=UINT32,
        ),
        Builtin("comm", COMM, "", "Name of the thread", "BEGIN { print(comm); exit(); }"),
        Builtin("kstack", StackType(False), "", "Kernel stack trace", "profile:hz:99 { @[kstack] = count(); exit(); }"),
        Builtin("ustack", StackType(True), "", "User stack trace", "profile:hz:99 { @[ustack] = count(); exit(); }"),
        Builtin(
            "retval",
            UNKNOWN,
            "",
            "What the traced function returned",
            "uretprobe:/bin/bash:readline { print(str(retval)); }",
            needs="retval",
        ),
        Builtin(
            "func", UNKNOWN, "", "Name of the traced function", "kprobe:vfs_* { @[func] = count(); }", needs="func"
        ),
        Builtin("probe", PROBE_NAME, "", "Full name of the probe", "BEGIN { print(probe); exit(); }"),
        Builtin(
            "curtask",
            CURRENT_TASK,
            "current_task()",
            "Address of the current `struct task_struct`, in kernel memory whatever the probe",
            "BEGIN { print(curtask->pid == tid); exit(); }",
        ),
        Builtin(
            "rand",
            UINT64,
            "random_u32()",
            "Random number of 32 bits",
            "BEGIN { print(rand < 4294967296); exit(); }",
            constant=False,
            stored=UINT32,
        ),
        Builtin(
            "cgroup",
            UINT64,
            "current_cgroup_id()",
            "Cgroup ID of the current process",
            "BEGIN { print(cgroup); exit(); }",
        ),
        Builtin("cpid", UINT64, "", "Process ID of the command that -c started", "BEGIN { print(cpid); exit(); }"),
        Builtin(
            "ctx",
            UNKNOWN,
            "",
            "The context that the kernel handed to the program",
            "BEGIN { print(ctx != 0); exit(); }",
        ),
        Builtin(
            "args",
            UNKNOWN,
            "",
            "The arguments of the probe, by name",
            "tracepoint:syscalls:sys_enter_openat { print(str(args->filename)); }",
            needs="args",
        ),
    )
}

# Where a builtin can be used, by what the probe must offer for it.
OFFERED_BY: dict[str, str] = {
    "retval": "kretprobe, uretprobe and kretfunc have it; a sys_exit tracepoint has `args->ret`",
    "func": "kprobe, kretprobe, uprobe, uretprobe, kfunc and kretfunc have it",
    "argN": "kprobe, uprobe, usdt, rawtracepoint and kfunc have it; a tracepoint has `args`",
    "sargN": "kprobe and uprobe have it",
    "args": "tracepoint, uprobe, kfunc and kretfunc have it; kprobe and usdt have arg0, arg1, ...",
}

MAX_ARGUMENTS = 10  # arg0..arg9, sarg0..sarg9


def find(name: str) -> Builtin | None:
    """The builtin of this name, the numbered ones (`arg0`, `sarg0`) included."""
    found = BUILTINS.get(name)
    if found is not None:
        return found
    for prefix, needs, doc in (
        ("arg", "argN", "Argument of the traced function"),
        ("sarg", "sargN", "Argument on the stack"),
    ):
        number = name[len(prefix) :]
        is_number = number.isascii() and number.isdecimal() and len(number) < 3 and str(int(number)) == number
        if name.startswith(prefix) and is_number and int(number) < MAX_ARGUMENTS:
            return Builtin(name, UINT64, "", doc, f"uprobe:/bin/bash:readline {{ print({name}); }}", needs=needs)
    return None
