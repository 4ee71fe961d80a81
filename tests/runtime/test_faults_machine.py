"""Faults of the machine and of the user's rights: each has its sentence, and nothing is left behind.

What this machine cannot lack is taken from a session alone, by a mount namespace, capabilities, limits, or a seccomp filter
(`tests/refusing.py`), which refuses system calls as a kernel without them does. docs/reliability.md lists these tests.
"""

from __future__ import annotations

import errno
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from bpftrace_py.diagnostics import HostError
from bpftrace_py.runtime import refused
from tests.leftovers import Mark
from tests.live import IN_GUEST, Session, command

REFUSING = str(Path(__file__).parents[1] / "refusing.py")
NOBODY = 65534


@pytest.fixture
def mark() -> Iterator[Mark]:
    made = Mark()
    yield made
    made.assert_nothing_left()


def started(mark: Mark, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A whole run of a command."""
    return subprocess.run(
        words, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
        env={**os.environ, "NO_COLOR": "1", **mark.env, **environment},
    )  # fmt: skip


def in_namespace(mark: Mark, mounts: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`bpftrace-py arguments...` where `mounts`, a shell script, has changed what is mounted."""
    return started(mark, "unshare", "--mount", "sh", "-c", f'set -e; {mounts}; exec "$@"', "sh", command(), *arguments)


def refusing(mark: Mark, rules: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return started(mark, sys.executable, REFUSING, *rules.split(), "--", command(), *arguments)


def said(done: subprocess.CompletedProcess[str], sentence: str) -> None:
    """It failed, with one error and no accident."""
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert sentence in done.stderr, done.stderr
    assert "bug in bpftrace-py" not in done.stderr


# --- rights


def as_nobody(mark: Mark, capabilities: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    names = ",".join(f"+{name}" for name in capabilities.split())
    rights = [f"--inh-caps={names}", f"--ambient-caps={names}"] if names else []
    return started(
        mark, "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *rights, command(), *arguments,
        HOME="/nonexistent",
    )  # fmt: skip


def test_no_root(mark: Mark) -> None:
    done = as_nobody(mark, "", "-e", f"BEGIN {{ {mark.map} = 1; exit(); }}")
    said(
        done, "error[E0707]: the kernel does not let this user load BPF programs\n  hint: run it as root, or by sudo\n"
    )


def test_root_without_capabilities(mark: Mark) -> None:
    program = f"BEGIN {{ {mark.map} = 1; exit(); }}"
    done = started(mark, "setpriv", "--bounding-set=-all", "--inh-caps=-all", command(), "-e", program)
    said(
        done,
        "error[E0707]: the kernel does not let this user load BPF programs\n  hint: root may do less than usual here",
    )


@pytest.fixture
def perf_by_capability() -> Iterator[None]:
    """CAP_PERFMON is enough for perf events. Debian's kernel knows a level 3, which it sets, where it is not."""
    path = Path("/proc/sys/kernel/perf_event_paranoid")
    before = path.read_text()
    path.write_text(str(min(int(before), 2)))
    yield
    path.write_text(before)


@pytest.mark.usefixtures("perf_by_capability")
@pytest.mark.parametrize("probe", ["tracepoint:raw_syscalls:sys_enter", "profile:hz:99", "software:cs:1"])
def test_capabilities_without_root(probe: str, mark: Mark) -> None:
    program = f'BEGIN {{ printf("begin\\n"); }} {probe} {{ {mark.map} = count(); }} interval:ms:300 {{ {mark.map} = count(); exit(); }}'
    done = as_nobody(mark, "bpf perfmon", "-q", "-e", program)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("begin\n") and int(done.stdout.rpartition(": ")[2]) > 0


@pytest.mark.usefixtures("perf_by_capability")
def test_a_uprobe_by_capabilities(mark: Mark) -> None:
    """Some kernels (seen with Debian's 6.1) want more for it, which is told; the other probes go on."""
    program = f"uprobe:libc:read {{ {mark.map} = count(); }} interval:ms:300 {{ {mark.map} = count(); exit(); }}"
    done = as_nobody(mark, "bpf perfmon", "-q", "-e", program)
    refused = "uprobe:/lib/x86_64-linux-gnu/libc.so.6:read is not attached: perf events are refused"
    assert done.returncode == 0 and int(done.stdout.rpartition(": ")[2]) > 0
    assert done.stderr == "" or (IN_GUEST and refused in done.stderr)


def test_capabilities_do_not_open_tracefs(mark: Mark) -> None:
    """Its directory is root's: a tracepoint whose number has to be read there cannot be attached, and that is said."""
    program = (
        f"tracepoint:syscalls:sys_enter_getppid {{ {mark.map} = count(); }} profile:hz:9 {{ {mark.map} = count(); }}"
    )
    done = as_nobody(mark, "bpf perfmon", "-e", program)
    said(
        done,
        "error[E0714]: this user may not read tracefs (/sys/kernel/tracing), where the tracepoints of this kernel are\n",
    )


def test_a_container_that_forbids_bpf(mark: Mark) -> None:
    for option in ("--no-cache", "-q"):  # compiled by BCC, which creates the maps; and from the cache, if it is there
        done = refusing(mark, "bpf=EPERM", option, "-e", f"BEGIN {{ {mark.map} = 1; exit(); }}")
        said(
            done,
            "error[E0707]: the kernel does not let this user load BPF programs\n  hint: root may do less than usual here",
        )


def test_a_container_that_forbids_perf_events(mark: Mark) -> None:
    program = f"profile:hz:99 {{ {mark.map} = count(); }}"
    done = refusing(mark, "perf_event_open=EACCES", "-e", program)
    said(done, "error[E0711]: cannot attach to profile:hz:99: perf events are refused (permission denied)")


def test_a_container_that_forbids_ptrace(mark: Mark) -> None:
    done = refusing(mark, "ptrace=EPERM", "-c", "true", "-e", f"BEGIN {{ {mark.map} = 1; }}")
    said(done, "error[E0809]: the command true of -c cannot be started: it cannot be traced\n")


# --- lockdown. The kernel of the tests has none: these are the answers of one that has (security/lockdown, bpf_trace.c).


@pytest.mark.parametrize(
    "log",
    [
        "0: (85) call bpf_probe_read_kernel#113\nunknown func bpf_probe_read_kernel#113\n",
        "program of this type cannot use helper bpf_probe_read_kernel#113\nprocessed 3 insns\n",
    ],
)
def test_lockdown_simulated(log: str) -> None:
    error = refused.by_verifier("a.bt", 1, errno.EINVAL, log)
    assert isinstance(error, HostError)
    assert [d.code for d in error.diagnostics] == ["E0715"]
    assert "this kernel does not let programs read its memory" in str(error)


# --- what may not be mounted


def test_tracefs_not_mounted(mark: Mark) -> None:
    """Root mounts it, in the place where it belongs."""
    program = f"tracepoint:syscalls:sys_enter_getppid {{ {mark.map} = sum(args->__syscall_nr); }} interval:ms:50 {{ exit(); }}"
    done = in_namespace(mark, "umount -l /sys/kernel/tracing", "-q", "-e", program)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("1", "error[E0709]: tracefs is not mounted, and mounting it failed: Operation not permitted"),
        ("args->__syscall_nr", "error[E0240]: what `tracepoint:syscalls:sys_enter_getppid` holds is not known on this machine"),
    ],
)
def test_tracefs_that_cannot_be_mounted(value: str, sentence: str, mark: Mark) -> None:
    program = f"tracepoint:syscalls:sys_enter_getppid {{ {mark.map} = sum({value}); }} interval:ms:50 {{ exit(); }}"
    # debugfs has it in a directory, too, where it is mounted by itself.
    unmount = "umount -l /sys/kernel/tracing; umount -l /sys/kernel/debug/tracing /sys/kernel/debug 2>/dev/null"
    without = f'{unmount}; exec "$0" {shlex.quote(REFUSING)} mount=EPERM -- "$@"'
    done = started(
        mark, "unshare", "--mount", "sh", "-c", without, sys.executable, command(), "--no-cache", "-e", program
    )
    said(done, sentence)


def test_debugfs_absent(mark: Mark) -> None:
    """Everything is in tracefs, which once was a part of debugfs."""
    program = f"tracepoint:sched:sched_switch {{ {mark.map} = max(args->prev_pid); }} interval:ms:50 {{ exit(); }}"
    done = in_namespace(mark, "mount -t tmpfs none /sys/kernel/debug", "-q", "-e", program)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "cover", ["mount -t tmpfs none /sys/kernel/btf", "mount --bind /dev/null /sys/kernel/btf/vmlinux"]
)
def test_missing_btf(cover: str, mark: Mark) -> None:
    """A directory without it, and a file that is no BTF."""
    program = f"tracepoint:syscalls:sys_enter_getppid {{ {mark.map} = sum(args->__syscall_nr); }} interval:ms:50 {{ exit(); }}"
    done = in_namespace(mark, cover, "-q", "-e", program)
    assert (done.returncode, done.stderr) == (0, ""), "what needs no types does without"
    done = in_namespace(mark, cover, "-e", f"kfunc:vfs_read {{ {mark.map} = count(); }}")
    said(done, "error[E0226]: `kfunc` probes need the kernel's type information (BTF), and this kernel has none")
    done = in_namespace(mark, cover, "-e", f"BEGIN {{ {mark.map} = ((struct task_struct *)curtask)->pid; }}")
    said(done, "error[E0304]: `struct task_struct` is not the name of a type")
    assert (
        "hint: the kernel's own types are not known, since it has no BTF: declare the type, or include its header"
        in done.stderr
    )


# --- BCC


@pytest.mark.parametrize(
    "mounts, sentence",
    [
        (
            "mount -t tmpfs none /usr/lib/python3/dist-packages",
            "error[E0701]: BCC's Python bindings are not installed\n  hint: apt-get",
        ),
        (
            "mount --bind /dev/null $(readlink -f /usr/lib/*/libbcc.so.0)",
            "error[E0704]: BCC's Python bindings cannot be used: ",
        ),
    ],
)
def test_missing_bcc(mounts: str, sentence: str, mark: Mark) -> None:
    done = in_namespace(mark, mounts, "--no-cache", "-e", f"BEGIN {{ {mark.map} = 1; exit(); }}")
    said(done, sentence)


# --- limits


def test_no_file_descriptors_left(mark: Mark) -> None:
    program = f'BEGIN {{ {mark.map}[1] = 1; printf("ran\\n"); }} profile:hz:99, t:raw_syscalls:sys_enter {{ {mark.map}[1] = 1; exit(); }}'
    outcomes = set()
    for limit in range(12, 36, 2):
        done = started(
            mark, "bash", "-c", f'ulimit -n {limit}; exec "$@"', "bash", command(), "--no-cache", "-e", program
        )
        outcomes.add(done.returncode)
        assert "Traceback" not in done.stderr and "bug in bpftrace-py" not in done.stderr, f"{limit}: {done.stderr}"
        if done.returncode:
            assert (
                "too many open files\n  hint: `ulimit -n`" in done.stderr
                or "no file descriptors are left" in done.stderr
            )
    assert outcomes == {0, 1}


@contextmanager
def memory_group(limit: int) -> Iterator[Path]:
    """A control group whose processes have so many bytes of memory, the kernel's for their maps included."""
    old, new = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    place, file = (old, "memory.limit_in_bytes") if (old / "memory.limit_in_bytes").exists() else (new, "memory.max")
    group = place / f"bpftrace-py-test-{os.urandom(3).hex()}"
    group.mkdir()
    try:
        if not (group / file).exists():
            pytest.skip("this kernel has no memory control groups (CONFIG_MEMCG)")
        (group / file).write_text(str(limit))
        yield group
    finally:
        deadline = time.monotonic() + 60
        while group.exists():
            assert time.monotonic() < deadline, "its processes do not end"
            with suppress(OSError):  # busy until the last of them is gone
                group.rmdir()
            time.sleep(0.02)


def in_group(mark: Mark, group: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    script = f'echo $$ > {group}/cgroup.procs; exec "$@"'
    return started(mark, "bash", "-c", script, "bash", command(), *arguments, **environment)


def test_no_memory_for_maps(mark: Mark) -> None:
    """Sixteen million keys: their table alone takes 256 MB."""
    program = f"BEGIN {{ {mark.map}[1] = 1; exit(); }}"
    started(mark, command(), "-q", "-e", program)  # so that it is in the cache
    with memory_group(200 << 20) as group:
        for option in ("--no-cache", "-q"):
            done = in_group(mark, group, option, "-e", program, BPFTRACE_MAP_KEYS_MAX=str(16 << 20))
            said(done, f"error[E0708]: the kernel cannot create the map `{mark.map[1:]}`")
            assert (
                "Cannot allocate memory\n  hint: a smaller BPFTRACE_MAP_KEYS_MAX or BPFTRACE_STRLEN takes less"
                in done.stderr
            )


@pytest.mark.parametrize("megabytes", [40, 60, 100, 150, 200, *range(220, 300, 5)])
def test_no_room_for_what_compiles(mark: Mark, megabytes: int) -> None:
    """Address space for 40 MB and more: where it ends is another place in Python, the dynamic linker or LLVM each time."""
    script = f'ulimit -v {megabytes << 10}; exec "$@"'
    program = f"BEGIN {{ {mark.map}[1] = 1; exit(); }}"
    done = started(mark, "bash", "-c", script, "bash", command(), "-q", "--no-cache", "-e", program)
    if done.returncode:
        said(done, "error[E0905]: there is not enough of what this takes: memory\n")
    mark.assert_nothing_left()


def test_a_memory_limit_that_ends_it_leaves_nothing(mark: Mark) -> None:
    """The kernel kills it in the middle: what was attached goes with it, and so does the command of -c."""
    with memory_group(18 << 20) as group:
        done = in_group(mark, group, "--no-cache", "-c", "sleep 1000", "-e", f"BEGIN {{ {mark.map}[1] = 1; }}")
        assert done.returncode in (1, -9), done
        assert "Traceback" not in done.stderr
        mark.assert_nothing_left()


def test_a_full_disk_behind_o(mark: Mark, tmp_path: Path) -> None:
    """64 KB of room, and a session that writes more: it ends with its sentence, and what fitted is there."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", tmp_path], check=True)
    try:
        program = (
            f'interval:ms:1 {{ {mark.map} = count(); printf("%s\\n", "{"x" * 200}"); printf("%s\\n", "{"y" * 200}"); }}'
        )
        done = started(mark, command(), "-q", "-o", f"{tmp_path}/out", "-e", program, BPFTRACE_STRLEN="256")
        said(done, "error[E0902]: the output could not be written: no space left on device\n")
        assert (tmp_path / "out").stat().st_size == 64 << 10
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_cache_on_a_full_disk_does_no_harm(mark: Mark, tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", tmp_path], check=True)
    try:
        done = started(
            mark, command(), "-q", "-e", f"BEGIN {{ {mark.map} = 5; exit(); }}", XDG_CACHE_HOME=str(tmp_path)
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert f"{mark.map}: 5" in done.stdout
    finally:
        subprocess.run(["umount", tmp_path], check=True)


# --- CPUs


def test_cpu_hot_unplug(mark: Mark) -> None:
    """A CPU goes and returns: the session goes on, says what does not return with it, and ends in order."""
    online = Path("/sys/devices/system/cpu/cpu1/online")
    if not online.exists():
        pytest.skip("this kernel or machine cannot take CPU 1 offline (CONFIG_HOTPLUG_CPU)")
    program = (
        f'profile:hz:99 {{ {mark.map}[cpu] = count(); }} interval:ms:100 {{ printf("tick\\n"); print({mark.map}); }}'
    )
    with Session("-q", "-e", program, env=mark.env) as session:
        session.wait_attached()
        session.wait_for(rf"^{mark.map}\[1\]: ")
        try:
            online.write_text("0")
            session.wait_for("W0920.*processor 1 went offline", stream="stderr")
            seen = session.stdout.count("tick")
            session.wait_for(f"(tick\n[^t]*){{{seen + 3}}}")
            with Session("-q", "-e", "profile:hz:99 { @[cpu] = count(); } interval:ms:500 { exit(); }") as second:
                second.wait_attached()
                assert second.wait().status == 0, "one that begins meanwhile has the CPUs that are there"
        finally:
            online.write_text("1")
        time.sleep(0.2)
        done = session.interrupt()
    assert done.status == 0
    assert f"{mark.map}[0]: " in done.stdout and f"{mark.map}[1]: " in done.stdout


# --- old kernels: the seccomp filter answers as a kernel does that does not know a command of bpf(2)


def test_old_kernel_without_batches_simulated(mark: Mark) -> None:
    """Before 5.6 a map is read key by key."""
    program = (
        f"BEGIN {{ {mark.map}[1] = count(); {mark.map}[2] = count(); print({mark.map}); clear({mark.map}); exit(); }}"
    )
    done = refusing(mark, "bpf:24=EINVAL bpf:25=EINVAL", "-q", "-e", program)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{mark.map}[1]: 1\n{mark.map}[2]: 1\n\n\n\n"


def test_old_kernel_without_links_simulated(mark: Mark) -> None:
    """Before 5.7 nothing is attached by links; before 5.15 the probes of a block cannot be told apart."""
    program = f"uprobe:libc:getppid {{ {mark.map} = count(); }} interval:ms:100 {{ exit(); }}"
    done = refusing(mark, "bpf:28=EINVAL", "-q", "-e", program)
    assert (done.returncode, done.stderr) == (0, "")
    program = f"uprobe:libc:getppid, uprobe:libc:getpid {{ {mark.map}[probe] = count(); }}"
    done = refusing(mark, "bpf:28=EINVAL", "-e", program)
    said(done, "this kernel has no cookies for perf events (Linux 5.15 has), which tell the probes of a block apart")


def test_old_kernel_without_test_runs_simulated(mark: Mark) -> None:
    done = refusing(mark, "bpf:10=EINVAL", "-e", f"BEGIN {{ {mark.map} = 1; exit(); }}")
    said(
        done,
        "error[E0903]: the kernel refused what the session needs: running BEGIN: invalid argument\n  hint: this kernel cannot run",
    )


def test_old_kernel_without_pidfds_simulated(mark: Mark) -> None:
    done = refusing(mark, "pidfd_open=ENOSYS", "-p", str(os.getpid()), "-e", f"BEGIN {{ {mark.map} = 1; }}")
    said(done, f"error[E0812]: the process {os.getpid()} cannot be watched: function not implemented\n")
    done = refusing(mark, "pidfd_open=ENOSYS", "-c", "sleep 1000", "-e", f"BEGIN {{ {mark.map} = 1; }}")
    said(
        done,
        "error[E0809]: the command sleep of -c cannot be started: it cannot be watched: function not implemented\n",
    )


def test_a_kernel_without_bpf_simulated(mark: Mark) -> None:
    done = refusing(mark, "bpf=ENOSYS", "--no-cache", "-e", f"BEGIN {{ {mark.map} = 1; exit(); }}")
    said(done, "error[E0713]: this kernel was built without the bpf system call (CONFIG_BPF_SYSCALL)\n")
