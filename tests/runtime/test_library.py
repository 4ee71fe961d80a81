"""The library: `transpile` and `trace`, as a program uses them."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import bpftrace_py
from bpftrace_py import Average, Bucket, Histogram, Stats, trace, transpile
from tests.runtime import missed_events


def test_importing_costs_nothing() -> None:
    script = "import bpftrace_py, sys; print([m for m in sys.modules if m.startswith('bpftrace_py.') or m in ('click', 'ply', 'bcc')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "['bpftrace_py.version']\n"


def test_every_public_name_is_there() -> None:
    for name in bpftrace_py.__all__:
        assert getattr(bpftrace_py, name) is not None
        assert name in dir(bpftrace_py)
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        bpftrace_py.nope  # noqa: B018


def test_transpile_gives_plain_data() -> None:
    unit = transpile("BEGIN { @x[comm] = count(); exit(); }", name="hello.bt")
    assert "int BEGIN(void *ctx)" in unit.c_source
    assert [m.name for m in unit.maps] == ["x"]
    assert unit.name == "hello.bt"
    assert pickle.loads(pickle.dumps(unit)) == unit
    assert transpile("BEGIN { @x[comm] = count(); exit(); }", name="hello.bt") == unit


def test_transpile_takes_parameters_and_options() -> None:
    assert "42" in transpile("BEGIN { @ = $1; }", parameters=[42]).c_source
    assert transpile("BEGIN { @[1] = 1; }", map_keys_max=77).maps[0].max_entries == 77


def test_errors_have_diagnostics() -> None:
    for compile in (transpile, trace):
        with pytest.raises(bpftrace_py.CompileError) as error:
            compile("BEGIN { @x = nope; }")
        (diagnostic,) = error.value.diagnostics
        assert (diagnostic.code, diagnostic.span.start) == ("E0301", 13)
        assert "nope" in str(error.value)
        assert isinstance(error.value, bpftrace_py.BpftraceError)


def test_a_program_that_ran_before_is_not_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bpftrace_py import compiler

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiled = []
    compile_source = compiler.compile_source
    monkeypatch.setattr(compiler, "compile_source", lambda *a, **k: compiled.append(a[0].text) or compile_source(*a, **k))
    program = 'BEGIN { printf("%d", $1); exit(); }'
    for cache, parameter, times in ((True, 1, 1), (True, 1, 1), (True, 2, 2), (False, 1, 3)):
        with trace(program, parameters=[parameter], cache=cache) as session:
            assert [event.values for event in session] == [(parameter,)]
        assert len(compiled) == times


def test_events_are_python_values() -> None:
    program = """BEGIN {
        printf("%d %-4s|%x\\n", -5, "ab", 255); print((1, "x")); print("text"); @c[1, "k"] = count(); print(@c);
        time("now\\n"); system("echo shell"); cat("/proc/sys/kernel/ostype"); printf("%s", buf("a\\0b", 3) == 0 ? "" : ""); exit();
    }""".replace('printf("%s", buf("a\\0b", 3) == 0 ? "" : ""); ', "")
    with trace(program) as session:
        events = list(session)
    assert [(e.kind, e.text, e.values) for e in events] == [
        ("printf", "-5 ab  |ff\n", (-5, "ab", 255)),
        ("print", "(1, x)\n", ((1, "x"),)),
        ("print", "text\n", ("text",)),
        ("map", "@c[1, k]: 1\n", ("c", {(1, "k"): 1})),
        ("time", "now\n", ()),
        ("system", "shell\n", ()),
        ("cat", "Linux\n", ()),
    ]
    assert events[0].line == 2


def test_maps_are_python_values_while_it_runs_and_afterwards() -> None:
    program = """BEGIN {
        @plain = 5; @text["a"] = "b"; @pair[1, "x"] = (2, "y"); @count = count(); @sum[1] = sum(-3); @avg = avg(3); @avg = avg(4);
        @stats[comm] = stats(10); @hist["h"] = hist(5); @hist["h"] = hist(50); @lhist = lhist(7, 0, 10, 5); @none = 1; clear(@none);
    }"""
    expected = {
        "plain": 5, "text": {"a": "b"}, "pair": {(1, "x"): (2, "y")}, "count": 1, "sum": {1: -3}, "avg": Average(2, 7),
        "stats": {"python": Stats(1, 10)}, "none": None, "lhist": Histogram([Bucket(5, 10, 1)]),
        "hist": {"h": Histogram([Bucket(4, 8, 1), Bucket(8, 16, 0), Bucket(16, 32, 0), Bucket(32, 64, 1)])},
    }  # fmt: skip
    with trace(program) as session:
        session.run(0.05)
        running = dict(session.maps)
        comm = next(iter(running["stats"]))
        expected["stats"] = {comm: Stats(1, 10)}
        assert running == expected
        assert len(session.maps) == len(expected)
        with pytest.raises(KeyError):
            session.maps["nope"]
    assert dict(session.maps) == expected
    assert expected["avg"].average == 3.5


def test_quantiles() -> None:
    with trace("BEGIN { $i = 1; while ($i <= 100) { @ = lhist($i, 0, 100, 10); $i++; } exit(); }") as session:
        session.run(20)
    found = session.maps[""]
    assert found.total == 100
    # 1..9 are in the first bucket, 100 above the last.
    assert found.quantile(0) == 0
    assert 45 < found.quantile(0.5) < 55
    assert found.quantile(1) == 100
    assert Histogram([]).quantile(0.5) is None
    with pytest.raises(ValueError):
        found.quantile(1.5)


def test_iterating_sees_live_events_and_those_of_end() -> None:
    seen = []
    program = f'tracepoint:syscalls:sys_enter_getppid /pid == {os.getpid()}/ {{ printf("%d", tid); }} END {{ printf("end"); }}'
    with trace(program) as session:
        for _ in range(3):
            os.getppid()
        for event in session:
            seen.append(event.text)
            if len(seen) == 3:
                session.stop()
    assert seen == [str(threading.get_native_id())] * 3 + ["end"]


def test_callbacks() -> None:
    seen: list[bpftrace_py.Event] = []
    program = 'interval:ms:10 { @n++; printf("%d", @n); if (@n == 3) { exit(); } } END { printf("end"); }'
    with trace(program, on_event=seen.append) as session:
        assert session.run(20) is True
        assert session.run(20) is True
    assert [event.text for event in seen] == ["1", "2", "3", "end"]
    assert session.maps["n"] == 3


def test_running_for_a_time() -> None:
    with trace("interval:ms:10 { @ = count(); }") as session:
        assert session.run(0.2) is False
        first = session.maps[""]
        assert session.run(0.2) is False
        assert 0 < first < session.maps[""]


def test_stopping_from_another_thread() -> None:
    with trace("BEGIN { @ = 1; }") as session:
        threading.Timer(0.2, session.stop).start()
        assert session.run(60) is True


def test_in_another_thread_than_the_main_one() -> None:
    results = []

    def work() -> None:
        with trace('BEGIN { printf("%d", 1); exit(); }') as session:
            results.extend(event.text for event in session)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert results == ["1"]


def test_a_command() -> None:
    program = 'tracepoint:syscalls:sys_enter_exit_group /pid == cpid/ { printf("%s %d", comm, args->error_code); }'
    with trace(program, command="sh -c 'exit 3'") as session:
        assert [event.values for event in session] == [("sh", 3)]


def test_errors_on_entering_leave_nothing_behind() -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    with pytest.raises(ValueError, match="exclude each other"):
        trace("BEGIN { @ = 1; }", command="true", pid=1)
    session = trace("BEGIN { @ = 1; }", command="/no/such/command")
    with pytest.raises(bpftrace_py.HostError) as error:
        session.__enter__()
    assert error.value.diagnostics[0].code == "E0809"
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_an_exception_in_the_block_detaches() -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    with pytest.raises(RuntimeError, match="mine"), trace("tracepoint:raw_syscalls:sys_enter { @ = count(); }"):
        raise RuntimeError("mine")
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_lost_events_are_events_too() -> None:
    program = 'BEGIN { $i = 0; while ($i < 600) { printf("%d", $i); $i++; } exit(); }'
    with trace(program, ring_bytes=4096) as session:
        events = list(session)
    printed = [e for e in events if e.kind == "printf"]
    assert sum(e.values[0] for e in events if e.kind == "lost") == session.lost_events == 600 - len(printed) + 1


def test_missed_events_are_counted() -> None:
    with trace(missed_events.PROGRAM) as session:
        missed_events.bring_about(lambda: session.missed_events)
        seen = session.missed_events
    assert session.missed_events >= seen > 0


def test_warnings_of_the_run_are_events() -> None:
    with trace('BEGIN { cat("/no/such"); exit(); }') as session:
        (event,) = list(session)
    assert event.kind == "warning"
    assert "W0906" in event.text


def test_stacks_are_lists_of_frames() -> None:
    with trace('BEGIN { printf("%s|", kstack(3)); @[kstack(2)] = 1; exit(); }') as session:
        (event,) = list(session)
    (frames,) = event.values
    assert 0 < len(frames) <= 3
    assert all(isinstance(frame, str) and frame for frame in frames)
    assert event.text == "\n" + "".join(f"        {frame}\n" for frame in frames) + "|"
    (key,) = session.maps[""]
    assert key[1] == frames[1]
