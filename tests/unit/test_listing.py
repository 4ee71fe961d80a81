"""`-l` on a machine made of constants, and of files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from bpftrace_py.config import Config
from bpftrace_py.diagnostics import HostError
from bpftrace_py.ktypes import btf, btf_image
from bpftrace_py.probes.listing import list_probes, search_hint
from bpftrace_py.probes.type_listing import type_search
from tests.btf_blob import BtfBlob
from tests.fake_host import FakeHost, FakeKernelTypes
from tests.testprogs import build

FUNCTIONS = str(build.program("functions"))
TICK = str(build.program("tick"))


class Types(FakeKernelTypes):
    def function_listing(self, name: str) -> list[str] | None:
        found = self.function(name)
        return None if found is None else [f"    ? {parameter}" for parameter, _ in found[0]] + ["    ? retval"]


class Host(FakeHost):
    def kernel_types(self) -> Any:
        return Types() if self._types else None


class TypedHost(FakeHost):
    """With the types of a small BTF: three structs, one of them twice, a union, two enums and one that is only declared."""

    def kernel_types(self) -> Any:
        blob = BtfBlob()
        blob.integer("int", 4, 1)
        blob.record("task", 4, [("pid", 1, 0)])
        blob.record("path", 8, [("mnt", 1, 0), ("dentry", 1, 32)])
        blob.record("task", 4, [("flags", 1, 0)])
        blob.record("task", 4, [("pid", 1, 0)])
        blob.record("task_list", 4, [("task", 1, 0)])
        blob.record("attr", 4, [("whole", 1, 0)], union=True)
        blob.enum("pid_type", [("PIDTYPE_PID", 0), ("PIDTYPE_MAX", 4)])
        blob.enum64("wide", [("MOST", 1 << 32)])
        blob.forward("declared")
        blob.record("", 4, [("nameless", 1, 0)])
        image = btf_image.parse(blob.data())
        assert image is not None
        return btf.Btf(image)


def listed(search: str | None = None, host: Any = None, verbose: bool = False, **options: Any) -> list[str]:
    return list(list_probes(search, host or Host(), Config(**options), verbose))


def test_everything_of_the_kernel() -> None:
    found = listed()
    assert [line.partition(":")[0] for i, line in enumerate(found) if i == 0 or line[:5] != found[i - 1][:5]] == [
        "tracepoint", "kprobe", "hardware", "software", "kfunc",
    ]  # fmt: skip
    assert {line for line in found if line.startswith("tracepoint")} == {
        f"tracepoint:{category}:{event}" for category, event in Host().tracepoint_events()
    }
    assert [line for line in found if line.startswith("kprobe:")] == [f"kprobe:{f}" for f in sorted(Host().functions)]
    assert {"hardware:cache-misses:", "hardware:cycles:", "software:faults:", "software:page-faults:"} <= set(found)
    assert len(found) == len(set(found))
    assert not [line for line in listed(host=Host(types=False)) if line.startswith("kfunc")]


@pytest.mark.parametrize(("search", "expected"), [
    ("*nanosleep*", ["tracepoint:syscalls:sys_enter_nanosleep", "kprobe:do_nanosleep", "kfunc:vmlinux:do_nanosleep"]),
    ("nanosleep", ["tracepoint:syscalls:sys_enter_nanosleep", "kprobe:do_nanosleep", "kfunc:vmlinux:do_nanosleep"]),
    ("*faults", ["hardware:", "software:alignment-faults:", "software:emulation-faults:", "software:major-faults:",
                 "software:minor-faults:", "software:page-faults:", "software:faults:"][1:]),
    ("t:sched:*wake*", ["tracepoint:sched:sched_wakeup"]),
    ("t:*wake*", ["tracepoint:sched:sched_wakeup"]),
    ("tracepoint:block", ["tracepoint:block:block_rq_issue"]),
    ("*:sched:*wake*", ["tracepoint:sched:sched_wakeup"]),
    ("tracepoint:syscalls:sys_enter_read,t:syscalls:*_read", ["tracepoint:syscalls:sys_enter_read",
                                                              "tracepoint:syscalls:sys_exit_read"]),
    ("k:vfs_re*", ["kprobe:vfs_read", "kprobe:vfs_readv"]),
    ("kretprobe:vfs_re*", ["kretprobe:vfs_read", "kretprobe:vfs_readv"]),
    ("k*:vfs_read", ["kprobe:vfs_read", "kfunc:vmlinux:vfs_read"]),
    ("kfunc:vmlinux:vfs_w*", ["kfunc:vmlinux:vfs_write"]),
    ("kfunc:xfs:*", []),
    ("rawtracepoint:sys*", ["rawtracepoint:sys_enter", "rawtracepoint:sys_exit"]),
    ("h:c*:", ["hardware:cache-misses:", "hardware:cache-references:", "hardware:cpu-cycles:", "hardware:cycles:"]),
    ("software:cs", ["software:cs:"]),
    ("profile:*", []),
    ("BEGIN", []),
    ("nothing_like_it", []),
])  # fmt: skip
def test_search(search: str, expected: list[str]) -> None:
    assert listed(search) == expected


def test_a_probe_type_lists_all_of_it() -> None:
    assert listed("tracepoint") == listed("tracepoint:*") == listed("t:*:*")
    assert len(listed("software")) == 14 and len(listed("hardware")) == 12


def test_arguments() -> None:
    assert listed("t:syscalls:sys_enter_openat", verbose=True) == [
        "tracepoint:syscalls:sys_enter_openat", "    int __syscall_nr;", "    int dfd;", "    const char * filename;",
        "    int flags;", "    umode_t mode;",
    ]  # fmt: skip
    parameters = ["    ? file", "    ? buf", "    ? count", "    ? pos"]
    assert listed("kprobe:vfs_read", verbose=True) == ["kprobe:vfs_read", *parameters]
    assert listed("kfunc:vfs_read", verbose=True) == ["kfunc:vmlinux:vfs_read", *parameters, "    ? retval"]
    assert listed("kr:vfs_read", verbose=True) == ["kretprobe:vfs_read", "    ? retval"]
    assert listed("rawtracepoint:sys_e*r", verbose=True) == [
        "rawtracepoint:sys_enter", "    struct pt_regs * arg0", "    long int arg1",
    ]  # fmt: skip
    assert listed("rawtracepoint:sys_enter", Host(types=False), verbose=True) == ["rawtracepoint:sys_enter"]
    assert listed(f"usdt:{TICK}:tock:loop", verbose=True) == [f"usdt:{TICK}:tock:loop", "    int32 arg0"]


def test_functions_of_a_file() -> None:
    assert listed(f"uprobe:{FUNCTIONS}:wild_*") == [f"uprobe:{FUNCTIONS}:wild_{n}" for n in ("one", "three", "two")]
    assert f"uretprobe:{FUNCTIONS}:main" in listed(f"ur:{FUNCTIONS}:*")
    assert set(listed(f"*:{TICK}:*")) == set(listed(f"uprobe:{TICK}:*")) | set(listed(f"usdt:{TICK}:*"))
    assert set(listed(TICK)) == set(listed(f"*:{TICK}:*"))
    assert listed(f"uprobe:{FUNCTIONS}") == listed(f"uprobe:{FUNCTIONS}:*")
    assert listed(f"uprobe:{build.program('overloads')}:over") == [
        f"uprobe:{build.program('overloads')}:{name}" for name in ("_Z4overd", "_Z4overi")
    ]


def test_static_probes_of_a_file() -> None:
    every = [f"usdt:{TICK}:{name}" for name in ("tick:guarded", "tick:loop", "tick:twice", "tock:loop")]
    assert listed(f"usdt:{TICK}:*") == listed(f"usdt:{TICK}") == listed(f"usdt:{TICK}:*:*") == every
    assert listed(f"usdt:{TICK}:tock:*") == [every[3]]
    assert listed(f"usdt:{TICK}:*:loop") == listed(f"usdt:{TICK}:loop") == [every[1], every[3]]


@pytest.mark.parametrize(("search", "code"), [
    ("uprobe:/no/such/file:*", "E0216"), ("uprobe:/etc/passwd:*", "E0217"), ("/no/such/file", "E0216"),
    ("usdt:/etc/passwd:*", "E0217"), ("trecepoint:a:b", "E0201"), ("watchpoint:x", "E0202"),
])  # fmt: skip
def test_wrong_searches(search: str, code: str) -> None:
    with pytest.raises(HostError) as caught:
        listed(search)
    assert [d.code for d in caught.value.diagnostics] == [code]


def test_a_category_in_the_place_of_a_type() -> None:
    with pytest.raises(HostError) as caught:
        listed("sched:sched_w*")
    assert caught.value.diagnostics[0].hint == "did you mean `tracepoint:sched:sched_w*`?"


@pytest.mark.parametrize(("search", "hint"), [
    ("uprobe", "-l 'uprobe:PROGRAM' lists those of a program or library, -l 'uprobe' -p PID those of a process"),
    ("interval:s:1", "there is no list of such probes: a program just names one, such as `interval:s:1 { time(); }`"),
    ("libc", "-l 'uprobe:libc' lists the functions of `libc`"),
    ("no_such_word", "functions of a program or library are listed by its name: -l 'uprobe:libc:*no_such_word*'"),
    ("kprobe:no_such", "a name may have wildcards: -l 'kprobe:*no_such*'"),
    ("kprobe:no_such*", None), ("/bin/no_such", None),
])  # fmt: skip
def test_hints_for_searches_that_find_nothing(search: str, hint: str | None) -> None:
    assert search_hint(search, Host(), Config()) == hint


@pytest.mark.parametrize(("search", "expected"), [
    ("struct *", ["struct path", "struct task", "struct task_list"]),
    ("struct task*", ["struct task", "struct task_list"]),
    ("struct   path", ["struct path"]),
    ("union *", ["union attr"]),
    ("enum *id*", ["enum pid_type", "enum wide"]),
    ("struct path, enum wide,struct pa*", ["struct path", "enum wide"]),
    ("struct attr", []), ("struct declared", []), ("enum nothing*", []),
])  # fmt: skip
def test_types(search: str, expected: list[str]) -> None:
    assert listed(search, TypedHost()) == expected


def test_types_as_they_are_defined() -> None:
    path = ["struct path {", "\tint mnt;", "\tint dentry;", "};", ""]
    assert listed("struct path", TypedHost(), verbose=True) == path
    # Of three types of one name, two read the same.
    tasks = ["struct task {", "\tint pid;", "};", "", "struct task {", "\tint flags;", "};", ""]
    assert listed("struct task", TypedHost(), verbose=True) == tasks
    assert listed("struct *a*h,struct tas*k", TypedHost(), verbose=True) == [*path, *tasks]
    assert listed("enum pid_type", TypedHost(), verbose=True) == [
        "enum pid_type {", "\tPIDTYPE_PID = 0,", "\tPIDTYPE_MAX = 4,", "};", "",
    ]  # fmt: skip


@pytest.mark.parametrize(("search", "hint"), [
    ("struct attr", "did you mean `union attr`?"),
    ("enum path", "did you mean `struct path`?"),
    ("struct tsk_list", "did you mean `struct task_list`?"),
    ("struct zzzzzz", None), ("struct tsk_*", None), ("struct tsk,struct tsk_list", None),
])  # fmt: skip
def test_hints_for_types(search: str, hint: str | None) -> None:
    assert search_hint(search, TypedHost(), Config()) == hint


def test_what_is_no_search_for_types() -> None:
    for search in ("", " ", "struct", "struct ", "structs a", "kprobe:struct a", "Struct a"):
        assert type_search(search) is None
    assert type_search(" struct\ttask *  ") == ("struct", "task *")


def test_types_without_btf() -> None:
    with pytest.raises(HostError) as caught:
        listed("struct path", Host(types=False))
    found = caught.value.diagnostics[0]
    assert (found.code, found.text) == (
        "E0226", "searches for `struct` need the kernel's type information (BTF), and this kernel has none",
    )  # fmt: skip


def test_a_damaged_file_does_not_end_a_wildcard(tmp_path: Path) -> None:
    (tmp_path / "a_damaged").write_bytes(b"\x7fELF" + b"\xff" * 60)
    (tmp_path / "b_whole").write_bytes(Path(FUNCTIONS).read_bytes())
    assert listed(f"uprobe:{tmp_path}/*:greet") == [f"uprobe:{tmp_path}/b_whole:greet"]


def test_it_streams() -> None:
    """The first lines come before the kernel's functions are asked for."""

    class Slow(Host):
        def kernel_functions(self) -> Iterable[str]:
            raise AssertionError("asked for kernel functions")

    lines = list_probes(None, Slow(), Config(), False)
    assert next(lines).startswith("tracepoint:")
