"""Sessions by way of `Session`: order, ends, losses, and that nothing stays attached."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from bpftrace_py.compiler import compile_source
from bpftrace_py.config import Config
from bpftrace_py.diagnostics import CompileError, Diagnostic, HostError
from bpftrace_py.live_host import LiveHost
from bpftrace_py.output.text import TextOutput
from bpftrace_py.runtime.child import Child, open_process
from bpftrace_py.runtime.session import OutputClosed, Session, SessionWriter
from bpftrace_py.source import Source


class Run:
    """A session that writes to a file."""

    def __init__(self, program: str, path: Path, config: Config | None = None, **options: Any) -> None:
        self.warnings: list[Diagnostic] = []
        config = config or Config()
        self.path = path / "out"
        self.fd = os.open(self.path, os.O_WRONLY | os.O_CREAT)
        self.session = Session(
            compile_source(Source(program), config, LiveHost()), config,
            lambda texts: TextOutput(SessionWriter(self.fd), texts), warn=self.warnings.append, **options,
        )  # fmt: skip

    def __enter__(self) -> Run:
        self.session.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.session.close()
        os.close(self.fd)

    @property
    def text(self) -> str:
        return self.path.read_text()

    @property
    def codes(self) -> list[str]:
        return [warning.code for warning in self.warnings]


def whole(program: str, path: Path, config: Config | None = None, **options: Any) -> Run:
    """Run a program that ends by itself."""
    run = Run(program, path, config, **options)
    with run:
        assert run.session.run(60), "it did not end"
        run.session.finish()
    return run


def test_the_whole_life(tmp_path: Path) -> None:
    run = whole('BEGIN { printf("begin\\n"); } interval:ms:50 { @n = count(); exit(); } END { printf("end\\n"); }', tmp_path)
    assert run.text == "Attaching 3 probes...\nbegin\nend\n\n\n@n: 1\n"


def test_begin_comes_before_every_other_event(tmp_path: Path) -> None:
    program = """
        BEGIN { $i = 0; while ($i < 200) { printf("begin\\n"); $i++; } }
        tracepoint:raw_syscalls:sys_enter { @n++; if (@n < 100) { printf("call\\n"); } if (@n == 100) { exit(); } }
    """
    with subprocess.Popen(["dd", "if=/dev/zero", "of=/dev/null", "bs=1"], stderr=subprocess.DEVNULL) as busy:
        try:
            lines = whole(program, tmp_path).text.splitlines()
        finally:
            busy.kill()
    assert lines[1:201] == ["begin"] * 200
    assert lines[201] == "call"


def test_what_follows_an_exit_is_dropped_but_not_end(tmp_path: Path) -> None:
    program = """
        BEGIN { printf("1\\n"); }
        interval:ms:20 { @n++; printf("tick %d\\n", @n); if (@n == 2) { exit(); } }
        interval:ms:1 { if (@n >= 2) { printf("late\\n"); } }
        END { printf("end\\n"); clear(@n); }
    """
    run = whole(program, tmp_path)
    assert run.text == "Attaching 4 probes...\n1\ntick 1\ntick 2\nend\n\n\n\n"


def test_events_before_a_stop_are_all_printed(tmp_path: Path) -> None:
    program = f"tracepoint:syscalls:sys_enter_getppid /pid == {os.getpid()}/ {{ @n++; printf(\"%d\\n\", @n); }}"
    with Run(program, tmp_path) as run:
        for _ in range(5000):
            os.getppid()
        run.session.request_stop()
        assert run.session.run(60)
        run.session.finish()
    lines = run.text.splitlines()
    assert lines[1:5001] == [str(n) for n in range(1, 5001)]
    assert lines[5001:] == ["", "", "@n: 5000"]


def test_a_stop_from_another_thread_wakes_an_idle_session(tmp_path: Path) -> None:
    with Run("BEGIN { @ = 1; }", tmp_path) as run:
        threading.Timer(0.3, run.session.request_stop).start()
        assert run.session.run(60)


def test_a_session_without_events_ends_too(tmp_path: Path) -> None:
    with Run("interval:ms:10 { @ = count(); }", tmp_path) as run:
        assert run.session.unit.events is None
        assert not run.session.run(0.3)
        run.session.request_stop()
        assert run.session.run(60)
        run.session.finish()
    assert int(run.text.rpartition(": ")[2]) >= 5


def test_maps_print_by_name_and_empty_ones_as_an_empty_line(tmp_path: Path) -> None:
    run = whole("BEGIN { @b[1] = 2; @a = 1; @gone = 1; clear(@gone); @c[5] = 1; delete(@c[5]); exit(); }", tmp_path)
    assert run.text == "Attaching 1 probe...\n\n\n@a: 1\n@b[1]: 2\n\n\n"


def test_maps_need_not_be_printed(tmp_path: Path) -> None:
    run = whole("BEGIN { @a = 1; exit(); }", tmp_path, Config(print_maps_on_exit=False))
    assert run.text == "Attaching 1 probe...\n\n\n"


def test_async_actions_keep_their_order(tmp_path: Path) -> None:
    program = """BEGIN {
        @x[1] = 1; printf("a\\n"); print(@x); printf("b\\n"); clear(@x); print(@x); system("echo c"); printf("d\\n");
        @y = 5; zero(@y); print(@y); print((1, "t")); time("e\\n"); cat("/proc/sys/kernel/ostype"); exit();
    }"""
    run = whole(program, tmp_path)
    assert run.text == "Attaching 1 probe...\na\n@x[1]: 1\nb\n\nc\nd\n@y: 0\n(1, t)\ne\nLinux\n\n\n\n@y: 0\n"


def test_lost_events_are_counted_and_control_actions_are_not_lost(tmp_path: Path) -> None:
    """More events than the smallest ring has room for, all made before the first is read."""
    program = """BEGIN {
        $i = 0; while ($i < 600) { printf("%d\\n", $i); $i++; }
        @x = 1; @cleared = 1; clear(@cleared); print(@x); exit();
    }"""
    run = whole(program, tmp_path, Config(ring_bytes=4096))
    numbers = [int(line) for line in run.text.splitlines() if line.isdigit()]
    assert numbers == list(range(len(numbers)))
    assert 0 < len(numbers) < 300
    assert "@x: 1" in run.text
    assert "@cleared" not in run.text
    (total,) = [w for w in run.warnings if w.code == "W0901"]
    assert f"lost {600 - len(numbers) + 3} events" in total.text, "three control actions came late, the rest never"


def test_a_full_map_is_told_once_with_its_limit(tmp_path: Path) -> None:
    program = "BEGIN { $i = 0; while ($i < 10) { @m[$i] = 1; @c[$i] = count(); $i++; } @m[0] = 7; exit(); }"
    run = whole(program, tmp_path, Config(map_keys_max=4))
    full = [w for w in run.warnings if w.code == "W0902"]
    assert sorted(w.text for w in full) == [f"the map @{name} is full: it has room for 4 keys" for name in "cm"]
    assert "BPFTRACE_MAP_KEYS_MAX" in (full[0].hint or "")
    assert sorted(w.text for w in run.warnings if w.code == "W0903") == [
        f"the map @{name} lost 6 updates, because it was full" for name in "cm"
    ]
    assert "@m[0]: 7" in run.text


def test_it_ends_with_its_command(tmp_path: Path) -> None:
    child = Child(f"touch {tmp_path}/made")
    config = Config(pid=child.pid)
    program = """BEGIN { printf("%d\\n", cpid); } tracepoint:syscalls:sys_enter_exit_group /pid == cpid/ { printf("ends\\n"); }"""
    run = whole(program, tmp_path, config, child=child)
    child.close()
    assert run.session.stop.reason == "command"
    assert run.text.splitlines()[1:3] == [str(child.pid), "ends"]
    assert (tmp_path / "made").exists()


def test_it_ends_with_its_process(tmp_path: Path) -> None:
    process = subprocess.Popen(["sleep", "1000"])
    with Run("BEGIN { @ = 1; }", tmp_path, process=open_process(process.pid)) as run:
        assert not run.session.run(0.2)
        process.kill()
        process.wait()
        assert run.session.run(60)
        assert run.session.stop.reason == "process"


def test_a_reader_that_goes_away_is_noticed_without_any_event() -> None:
    reader, writer = os.pipe()
    config = Config()
    session = Session(
        compile_source(Source("BEGIN { @ = 1; }"), config, LiveHost()), config, lambda t: TextOutput(SessionWriter(writer), t)
    )
    session.start()
    try:
        threading.Timer(0.3, lambda: os.close(reader)).start()
        with pytest.raises(OutputClosed):
            session.run(60)
    finally:
        session.close()
        os.close(writer)


def test_a_full_disk_is_an_error() -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    config = Config()
    session = Session(
        compile_source(Source("BEGIN { exit(); }"), config, LiveHost()), config, lambda t: TextOutput(SessionWriter(fd), t)
    )
    try:
        with pytest.raises(HostError) as error:
            session.start()
    finally:
        session.close()
        os.close(fd)
    assert error.value.diagnostics[0].code == "E0902"


def test_a_command_that_outlasts_the_session_is_ended(tmp_path: Path) -> None:
    with Run(f'BEGIN {{ system("touch {tmp_path}/began; sleep 1000"); printf("after\\n"); }}', tmp_path) as run:
        threading.Thread(target=lambda: (_await(tmp_path / "began"), run.session.request_stop()), daemon=True).start()
        assert run.session.run(60)


def _await(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)


def test_an_unsafe_system_is_refused_before_anything_is_attached() -> None:
    config = Config()
    with pytest.raises(CompileError) as error:
        unit = compile_source(Source('BEGIN { system("eval %s", comm); }'), config, LiveHost())
        Session(unit, config, lambda texts: TextOutput(SessionWriter(1), texts))
    assert error.value.diagnostics[0].code == "E0901"


def test_traced_strings_never_reach_the_shell_as_code(tmp_path: Path) -> None:
    """A process calls itself something that wants to be run."""
    program = """tracepoint:syscalls:sys_enter_exit_group /strncmp(comm, "; touch", 7) == 0/ {
        system("echo %s", comm); system("echo '%s'", comm); system("echo \\"%s\\"", comm); exit();
    }"""
    with Run(program, tmp_path) as run:
        subprocess.run(
            ["python3", "-c", "open('/proc/self/comm', 'w').write('; touch CAN')"], cwd=tmp_path, check=True, timeout=60
        )
        before = os.getcwd()
        os.chdir(tmp_path)
        try:
            assert run.session.run(60)
            run.session.finish()
        finally:
            os.chdir(before)
    assert not (tmp_path / "CAN").exists()
    assert run.text.splitlines()[1:4] == ["; touch CAN"] * 3


def test_cat_says_what_it_cannot_read_and_is_bounded(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    program = f'BEGIN {{ cat("/no/such"); cat("{tmp_path}"); cat("{fifo}"); cat("/dev/zero"); printf("!"); exit(); }}'
    run = whole(program, tmp_path, Config(cat_bytes_max=5))
    assert [(w.code, w.text) for w in run.warnings] == [
        ("W0906", "cat() cannot read /no/such: no such file or directory"),
        ("W0906", f"cat() cannot read {tmp_path}: is a directory"),
    ]
    assert run.text.splitlines()[1] == "\0" * 5 + "!"


def test_nothing_stays_attached_and_no_descriptor_open(tmp_path: Path) -> None:
    program = """
        tracepoint:syscalls:sys_enter_getppid { @ = sum(args->__syscall_nr); }
        profile:hz:10 { @p = count(); } interval:ms:20 { exit(); }
    """
    whole(program, tmp_path)  # what is imported and remembered once
    (tmp_path / "out").unlink()
    before = sorted(os.listdir("/proc/self/fd"))
    whole(program, tmp_path)
    assert sorted(os.listdir("/proc/self/fd")) == before
