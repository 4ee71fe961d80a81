"""`-l` on the real machine: against what Debian's bpftrace lists, and what it says itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import bpftrace_py
from bpftrace_py.live_host import LiveHost
from tests.live import Session, command, peer, run_command
from tests.testprogs import build

FUNCTIONS = str(build.program("functions"))
TICK = str(build.program("tick"))


def ours(*arguments: str) -> list[str]:
    outcome = run_command(*arguments)
    assert (outcome.status, outcome.stderr) == (0, "")
    return outcome.lines


def theirs(*arguments: str) -> list[str]:
    done = subprocess.run([peer(), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.splitlines()


@contextmanager
def running(*arguments: str, root: Path | None = None, namespace: bool = True) -> Iterator[int]:
    """A test program that waits between its rounds until it is killed; its pid. `root` is another root directory, which with
    `namespace` is in a mount namespace of its own."""
    prefix = [*(["unshare", "--mount"] if namespace else []), "chroot", str(root)] if root else []
    with subprocess.Popen([*prefix, *arguments], stdout=subprocess.PIPE) as process:
        assert process.stdout
        try:
            assert process.stdout.readline() == b"ready\n"
            yield process.pid
        finally:
            process.kill()


@pytest.mark.parametrize("search", [
    "tracepoint:*", "t:sched:*wak*", "t:*wak*", "tracepoint:syscalls:sys_enter_read,tracepoint:syscalls:sys_enter_write",
    "*:sys_enter_o*", "*", "t*:sched:*", "tracepoint:sched:*", "t:*:*switch*", "tracepoint:*:sys_enter_op*", "*wak*",
    "tracepoint:syscalls:sys_enter_openat",
])  # fmt: skip
def test_tracepoints(search: str) -> None:
    def tracepoints(lines: list[str]) -> list[str]:
        return [line for line in lines if line.startswith("tracepoint:")]

    expected = tracepoints(theirs("-l", search))
    assert expected and tracepoints(ours("-l", search)) == expected


def test_tracepoints_among_everything() -> None:
    expected = [line for line in theirs("-l") if line.startswith("tracepoint:")]
    found = ours("-l")
    assert [line for line in found if line.startswith("tracepoint:")] == expected
    # The guide's order: tracepoints, then kernel functions.
    assert found.index(expected[-1]) < found.index("kprobe:vfs_read")


def test_arguments_of_a_tracepoint() -> None:
    expected = theirs("-lv", "t:raw_syscalls:*")
    assert len(expected) == 6
    # The guide shows a semicolon behind each argument, which the peer has dropped.
    assert ours("-lv", "t:raw_syscalls:*") == [line + ";" if line.startswith(" ") else line for line in expected]


def test_kernel_functions() -> None:
    host = LiveHost()
    listed = ours("-l", "kprobe:*")
    assert listed == [f"kprobe:{name}" for name in sorted(host.kernel_functions()) if ".part." not in name]
    assert len(listed) > 10_000 and "kprobe:vfs_read" in listed
    assert "tracepoint:syscalls:sys_enter_nanosleep" in ours("-l", "*nanosleep*")
    assert "kprobe:hrtimer_nanosleep" in ours("-l", "*nanosleep*")


@pytest.mark.parametrize("search", ["kprobe:*", "kfunc:vfs_*", "k*:vfs_read", "kretprobe:vfs_re*", "*nanosleep*"])
def test_kernel_functions_as_the_peer(search: str) -> None:
    try:
        Path("/sys/kernel/tracing/available_filter_functions").read_bytes()
    except OSError as error:
        pytest.skip(f"available_filter_functions cannot be read on this kernel: {error.strerror}")

    def functions(lines: list[str]) -> set[str]:
        # Places that ftrace has lost (they have no symbol any more) are nothing to attach to; typed functions of
        # modules are the peer's alone.
        return {
            line for line in lines
            if line.startswith(("kprobe:", "kretprobe:", "kfunc:vmlinux:")) and "__ftrace_invalid_address__" not in line
        }  # fmt: skip

    expected = functions(theirs("-l", search))
    assert expected and functions(ours("-l", search)) == expected


def test_arguments_of_a_kernel_function() -> None:
    types = LiveHost().kernel_types()
    prototype = types.function("vfs_read") if types else None
    if prototype is None:
        pytest.skip("this kernel has no BTF (CONFIG_DEBUG_INFO_BTF)")
    first, *lines = ours("-lv", "kprobe:vfs_read")
    assert first == "kprobe:vfs_read"
    assert [line.split()[-1].lstrip("*") for line in lines] == [name for name, _ in prototype[0]]
    assert "struct file * file" in lines[0] or "struct file *file" in lines[0]


def test_arguments_of_a_raw_tracepoint() -> None:
    types = LiveHost().kernel_types()
    if types is None or types.raw_tracepoint("sys_enter") is None:
        pytest.skip("this kernel has no BTF of its tracepoints (CONFIG_DEBUG_INFO_BTF)")
    assert ours("-lv", "rawtracepoint:sys_enter") == ["rawtracepoint:sys_enter", "    struct pt_regs * arg0", "    long int arg1"]
    wrong = run_command("-e", "rawtracepoint:sys_enter { print(arg2); }")
    assert wrong.status == 1
    assert "error[E0242]: `rawtracepoint:sys_enter` has 2 arguments, so that there is no arg2\n" in wrong.stderr


@pytest.mark.parametrize("name", ["functions", "functions_fixed", "libtestprogs.so", "overloads", "tick"])
def test_functions_of_a_file(name: str) -> None:
    path = build.program(name)
    expected = theirs("-l", f"uprobe:{path}:*")
    assert f"uprobe:{path}:main" in expected or name.endswith(".so")
    assert ours("-l", f"uprobe:{path}:*") == expected


def test_arguments_of_functions() -> None:
    """Of each function of a C program, by its debug information."""
    path = build.program("arguments")
    expected = theirs("-lv", f"uprobe:{path}:*")
    assert "    struct point* p" in expected
    assert ours("-lv", f"uprobe:{path}:*") == expected


def test_functions_without_debug_information_are_told() -> None:
    path = build.stripped("libtestprogs.so")
    plain, verbose = (run_command(option, f"uprobe:{path}:*") for option in ("-l", "-lv"))
    assert plain.stdout == verbose.stdout != "" and plain.stderr == ""
    assert f"warning[W0803]: `{path}` has no debug information" in verbose.stderr
    assert verbose.status == 0


@pytest.mark.parametrize("search", ["tracepoint:nonsense:*", "t:sched:zz*", "zz_nothing", "interval:*", "uprobe:/bin/*zz*:main"])
def test_what_matches_nothing_lists_nothing(search: str) -> None:
    outcome = run_command("-l", search)
    assert (outcome.status, outcome.stdout) == (0, "")
    assert f"no probe matches `{search}`" in outcome.stderr


def test_a_word_is_also_looked_for_among_categories() -> None:
    found = ours("-l", "raw_syscalls")
    assert {"tracepoint:raw_syscalls:sys_enter", "tracepoint:raw_syscalls:sys_exit"} <= set(found)


def test_functions_of_bash() -> None:
    bash = shutil.which("bash")
    expected = theirs("-l", f"uprobe:{bash}:*read*")
    assert f"uprobe:{bash}:readline" in expected
    assert ours("-l", f"uprobe:{bash}:*read*") == ours("-l", "uprobe:bash:*read*") == expected


@pytest.mark.parametrize("search", ["usdt:{}:*", "usdt:{}:tick:*", "usdt:{}:*:loop", "usdt:{}:tick:lo*"])
def test_static_probes_of_a_file(search: str) -> None:
    expected = theirs("-l", search.format(TICK))
    assert expected and ours("-l", search.format(TICK)) == expected


def test_probes_of_a_process() -> None:
    with running(TICK, "0", "1000") as pid:
        found = ours("-p", str(pid), "-l")
        assert {f"uprobe:{TICK}:main", f"usdt:{TICK}:tick:loop", f"usdt:{TICK}:tock:loop"} <= set(found)
        assert any(line.startswith("uprobe:") and line.endswith("libc.so.6:malloc") for line in found)
        assert ours("-p", str(pid), "-l", "usdt:*") == [
            f"usdt:{TICK}:{name}" for name in ("tick:guarded", "tick:loop", "tick:twice", "tock:loop")
        ]
        (line,) = ours("-p", str(pid), "-l", "uprobe:libc:malloc")
        assert line.endswith("/libc.so.6:malloc")


@pytest.mark.parametrize("namespace", [True, False])
def test_a_process_with_another_root(tmp_path: Path, namespace: bool) -> None:
    """Its paths are its own: the program is at / there, and nothing is there of that name here."""
    name = "bpftrace_py_test_program"
    (tmp_path / "bin").mkdir()
    shutil.copy(build.program("functions_static"), tmp_path / "bin" / name)
    os.symlink(f"/bin/{name}", tmp_path / name)  # absolute: to be followed inside of that root
    with running(f"/{name}", "0", "20", root=tmp_path, namespace=namespace) as pid:
        search = f"uprobe:/{name}:wild_*"
        assert ours("-p", str(pid), "-l", search) == [f"uprobe:/{name}:wild_{n}" for n in ("one", "three", "two")]
        # What it has mapped is named in its own terms, too.
        assert ours("-p", str(pid), "-l", "uprobe:*test_program:wild_one") == [f"uprobe:/bin/{name}:wild_one"]
        program = f"uprobe:/{name}:wild_one {{ printf(\"%s %d\\n\", probe, pid == $1); exit(); }}"
        outcome = run_command("-p", str(pid), "-e", program, str(pid))
        assert outcome.lines[1] == f"uprobe:/{name}:wild_one 1"


def test_a_closed_pipe_ends_it_quietly() -> None:
    with subprocess.Popen([command(), "-l"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline().startswith("tracepoint:")
        process.stdout.close()
        assert process.stderr.read() == ""
        process.wait()


@pytest.mark.parametrize("arguments", [
    ("-l", "struct bpf_p*"), ("-l", "union *"), ("-l", "enum pid_*"), ("-lv", "struct path"), ("-lv", "enum pid_type"),
    ("-lv", "struct tcp_options_received"), ("-lv", "union bpf_attr"), ("-lv", "struct task_struct"),
    ("-lv", "struct file_operations"),
])  # fmt: skip
def test_types(arguments: tuple[str, str]) -> None:
    expected, found = theirs(*arguments), ours(*arguments)
    if arguments[0] == "-lv" and arguments[1].startswith("enum") and not expected:  # seen where modules have types, too
        assert found[0] == f"{arguments[1]} {{"
    else:
        assert expected and found == expected


def test_the_definitions_of_a_kernel() -> None:
    """Each struct that the peer can define, but for those that it has renamed since others have the same name."""
    def definitions(lines: list[str]) -> set[str]:
        return {text.strip("\n") for text in "\n".join(lines).split("\n\n") if text.strip("\n").startswith("struct ")}

    expected = {text for text in definitions(theirs("-lv", "struct *")) if "___" not in text and "{" in text}
    assert len(expected) > 1000 and expected <= definitions(ours("-lv", "struct *"))


def test_types_need_no_rights() -> None:
    """Nor are tracepoints missed, which this user may not see."""
    done = subprocess.run(
        [sys.executable, "-m", "bpftrace_py", "-l", "struct patth"], capture_output=True, text=True, timeout=60, user=65534,
        group=65534, extra_groups=[], cwd=Path(bpftrace_py.__file__).parent.parent, env={**os.environ, "HOME": "/nonexistent"},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "warning[W0801]: no type matches `struct patth`\n  hint: did you mean `struct path`?\n"


def test_what_does_not_exist() -> None:
    outcome = run_command("-l", "uprobe:/no/such/file:*")
    assert (outcome.status, outcome.stdout) == (1, "")
    assert "`/no/such/file` does not exist" in outcome.stderr
    assert run_command("-l", "nothing_is_called_like_this").lines == []


def test_a_listed_probe_attaches() -> None:
    """What -l prints can be used as it is."""
    for probe in ours("-l", f"uprobe:{FUNCTIONS}:wild_*") + ours("-l", f"usdt:{TICK}:*:loop"):
        with Session("-e", f"{probe} {{ exit(); }}") as session:
            session.wait_attached()
