"""Compiled units are kept by the text of their script, and only as long as they are true."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from bpftrace_py.codegen import unit as units
from bpftrace_py.config import Config
from bpftrace_py.runtime.cache import Cache
from bpftrace_py.runtime.unit_cache import Unbelievable, Uncacheable, _encode, compile_cached, unit_of
from bpftrace_py.source import Source
from tests.fake_host import FakeHost
from tests.testprogs import build

PROGRAMS = [
    "BEGIN { exit(); }",
    'tracepoint:syscalls:sys_enter_openat { @[comm, str(args->filename)] = count(); printf("%s %d\\n", comm, pid); }',
    'tracepoint:sched:sched_switch { @h[args->prev_comm] = hist(nsecs); @l = lhist(cpu, 0, 8, 1); @t = (1, "a", (2, pid)); }',
    "profile:hz:99 { @[kstack, ustack(perf, 3)] = count(); } interval:s:1 { print(@, 5, 2); clear(@); zero(@); time(); }",
    "kprobe:vfs_* { @[probe, func] = stats(arg2); } END { print(@); }",
]


class CountingHost(FakeHost):
    """Knows how often it was asked for anything."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def tracepoint_format(self, category: str, event: str) -> str | None:
        self.asked += 1
        return super().tracepoint_format(category, event)

    def kernel_functions(self) -> Iterable[str]:
        self.asked += 1
        return super().kernel_functions()


def cache(path: Path) -> Cache:
    return Cache(str(path / "cache"))


@pytest.mark.parametrize("text", PROGRAMS)
def test_a_unit_comes_back_as_it_was(text: str, tmp_path: Path) -> None:
    host = CountingHost()
    first = compile_cached(Source(text), Config(), lambda: host, cache(tmp_path))
    asked = host.asked
    second = compile_cached(Source(text), Config(), lambda: host, cache(tmp_path))
    assert second == first and second is not first
    assert host.asked == asked, "it was compiled again"


@pytest.mark.parametrize(
    "config", [Config(strlen=100), Config(parameters=("1",)), Config(helper_errors=2), Config(pid=7)]
)
def test_other_options_are_another_unit(config: Config, tmp_path: Path) -> None:
    text = PROGRAMS[1]
    plain = compile_cached(Source(text), Config(), FakeHost, cache(tmp_path))
    host = CountingHost()
    other = compile_cached(Source(text), config, lambda: host, cache(tmp_path))
    assert host.asked > 0
    if config.strlen == 100:
        assert other.c_source != plain.c_source


@pytest.mark.parametrize(
    "text",
    [
        'BEGIN { print(cgroupid("/sys/fs/cgroup/unified")); }',
        f"uprobe:{build.program('functions')}:main {{ @ = count(); }}",
        "#define A 1\nBEGIN { print(A); }",
    ],
    ids=["cgroup", "uprobe", "define"],
)
def test_what_may_change_is_not_kept(text: str, tmp_path: Path) -> None:
    new: list[bool] = []
    for _ in range(2):
        compile_cached(Source(text), Config(), FakeHost, cache(tmp_path), on_new=lambda: new.append(True))
    assert new == [True], "that it was compiled before is all that is known of it"
    stored = [path.read_bytes() for path in (tmp_path / "cache").iterdir()]
    assert stored and not any(b"Unit" in content for content in stored)


def test_a_damaged_entry_is_not_believed(tmp_path: Path) -> None:
    text = PROGRAMS[0]
    first = compile_cached(Source(text), Config(), FakeHost, cache(tmp_path))
    (entry,) = (tmp_path / "cache").iterdir()
    entry.write_bytes(entry.read_bytes()[:-3] + b"\0\0\0")
    assert compile_cached(Source(text), Config(), FakeHost, cache(tmp_path)) == first


def test_only_records_of_units_are_made() -> None:
    with pytest.raises(Uncacheable):
        _encode(object())
    nested: tuple[object, ...] = ("t",)
    for _ in range(3000):
        nested = ("t", nested)
    for damaged in (("r", "os.system", "true"), ("x", 1), (), ("r",), ("r", []), ("r", "unit.Exit"), ("d", 1), nested, 1):
        with pytest.raises(Unbelievable):
            unit_of(damaged)
    with pytest.raises(Unbelievable, match="no unit"):
        unit_of(_encode(units.Exit(3)))
