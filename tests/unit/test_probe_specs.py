"""Specs of the probe types that need no file: what they stand for, and what is said about wrong ones."""

from __future__ import annotations

import pytest

from bpftrace_py.codegen import unit
from bpftrace_py.language import probe_types
from bpftrace_py.probes import perf_event
from bpftrace_py.probes.spec import parse_number
from bpftrace_py.probes.wildcard import matcher, nearest
from tests.fake_host import FakeHost
from tests.unit.specs import resolve


class NothingKnown(FakeHost):
    """A machine that tells nothing: not Linux, or no tracefs and no kallsyms."""

    def __init__(self) -> None:
        super().__init__(types=False, formats={})
        self.functions = []
        self.symbols = {}


# --- the table


def test_every_alias_means_one_type() -> None:
    aliases = [name for t in probe_types.PROBE_TYPES.values() for name in (t.name, *t.aliases)]
    assert len(aliases) == len(set(aliases))
    expected = {"k": "kprobe", "kr": "kretprobe", "u": "uprobe", "ur": "uretprobe", "t": "tracepoint", "U": "usdt",
                "p": "profile", "i": "interval", "s": "software", "h": "hardware", "f": "kfunc", "fr": "kretfunc",
                "fentry": "kfunc", "fexit": "kretfunc", "rt": "rawtracepoint"}  # fmt: skip
    assert {alias: t.name for alias in expected if (t := probe_types.find(alias))} == expected
    assert probe_types.find("K") is None


def test_every_example_is_of_its_type() -> None:
    for probe_type in probe_types.PROBE_TYPES.values():
        assert probe_type.example.partition(" ")[0].partition(":")[0] == probe_type.name


@pytest.mark.parametrize(("name", "syntax"), [
    ("BEGIN", "BEGIN"), ("profile", "profile:unit:rate"), ("software", "software:event[:count]"),
    ("usdt", "usdt:binary:[namespace:]probe"), ("kfunc", "kfunc:[module:]function"),
])  # fmt: skip
def test_syntax(name: str, syntax: str) -> None:
    assert probe_types.PROBE_TYPES[name].syntax == syntax


# --- what a spec stands for


def test_begin_and_end() -> None:
    assert resolve("BEGIN").targets == [unit.Special("BEGIN")]
    assert resolve("END").targets == [unit.Special("END")]


@pytest.mark.parametrize(("spec", "target"), [
    ("interval:s:1", unit.Timer("interval:s:1", 0, 1_000_000_000, False)),
    ("i:ms:250", unit.Timer("interval:ms:250", 0, 250_000_000, False)),
    ("interval:us:0x10", unit.Timer("interval:us:16", 0, 16_000, False)),
    ("interval:hz:10", unit.Timer("interval:hz:10", 10, 0, False)),
    ("profile:hz:99", unit.Timer("profile:hz:99", 99, 0, True)),
    ("p:s:1_0", unit.Timer("profile:s:10", 0, 10_000_000_000, True)),
    ("profile:us:1e3", unit.Timer("profile:us:1000", 0, 1_000_000, True)),
])  # fmt: skip
def test_timers(spec: str, target: unit.Timer) -> None:
    assert resolve(spec).targets == [target]


@pytest.mark.parametrize(("spec", "target"), [
    ("software:faults:7", unit.PerfEvent("software:faults:7", 1, 2, 7)),
    ("software:faults", unit.PerfEvent("software:faults", 1, 2, 100)),
    ("software:page-faults:", unit.PerfEvent("software:page-faults", 1, 2, 100)),
    ("software:cs:0", unit.PerfEvent("software:cs", 1, 3, 1000)),
    ("s:cpu:0x10", unit.PerfEvent("software:cpu:16", 1, 0, 16)),
    ("hardware:cache-misses:1000000", unit.PerfEvent("hardware:cache-misses:1000000", 0, 3, 1_000_000)),
    ("h:cycles", unit.PerfEvent("hardware:cycles", 0, 0, 1_000_000)),
])  # fmt: skip
def test_perf_events(spec: str, target: unit.PerfEvent) -> None:
    assert resolve(spec).targets == [target]


def test_perf_events_of_the_guide() -> None:
    """Every name and alias of the guide's chapter, with its number in linux/perf_event.h."""
    software = {"cpu-clock": 0, "cpu": 0, "task-clock": 1, "page-faults": 2, "faults": 2, "context-switches": 3, "cs": 3,
                "cpu-migrations": 4, "minor-faults": 5, "major-faults": 6, "alignment-faults": 7, "emulation-faults": 8,
                "dummy": 9, "bpf-output": 10}  # fmt: skip
    hardware = {"cpu-cycles": 0, "cycles": 0, "instructions": 1, "cache-references": 2, "cache-misses": 3,
                "branch-instructions": 4, "branches": 4, "branch-misses": 5, "bus-cycles": 6, "frontend-stalls": 7,
                "backend-stalls": 8, "ref-cycles": 9}  # fmt: skip
    for type_name, events in (("software", software), ("hardware", hardware)):
        for name, number in events.items():
            assert resolve(f"{type_name}:{name}:1").target.config == number
        assert {n for pair in perf_event.names(type_name) for n in pair if n} == set(events)


def test_tracepoints() -> None:
    one = unit.Tracepoint("tracepoint:syscalls:sys_enter_read", "syscalls", "sys_enter_read")
    assert resolve("t:syscalls:sys_enter_read").targets == [one]
    assert resolve("tracepoint:sys*:*_read").names == [
        "tracepoint:syscalls:sys_enter_read", "tracepoint:syscalls:sys_exit_read",
    ]  # fmt: skip
    assert len(resolve("tracepoint:*:*").targets) == len(list(FakeHost().tracepoint_events()))


def test_raw_tracepoints_leave_out_those_without_a_tracepoint() -> None:
    assert resolve("rawtracepoint:sys_*").names == ["rawtracepoint:sys_enter", "rawtracepoint:sys_exit"]
    assert resolve("rt:sched_switch").targets == [unit.RawTracepoint("rawtracepoint:sched_switch", "sched_switch")]
    assert resolve("rt:sys_enter_read").problem[0] == "E0210"


def test_kernel_functions() -> None:
    assert resolve("k:vfs_read").targets == [unit.Kprobe("kprobe:vfs_read", "vfs_read", 0, False)]
    assert resolve("kr:vfs_read").targets == [unit.Kprobe("kretprobe:vfs_read", "vfs_read", 0, True)]
    assert resolve("k:vfs_read+0x10").targets == [unit.Kprobe("kprobe:vfs_read+16", "vfs_read", 16, False)]
    assert resolve("kprobe:vfs_re*").names == ["kprobe:vfs_read", "kprobe:vfs_readv"]
    assert resolve("kfunc:vfs_read").targets == [unit.Fentry("kfunc:vmlinux:vfs_read", "vfs_read", False)]
    assert resolve("fexit:vmlinux:vfs_read").targets == [unit.Fentry("kretfunc:vmlinux:vfs_read", "vfs_read", True)]
    module = unit.Fentry("kfunc:overlay:ovl_open", "ovl_open", False, "overlay")
    assert [resolve(s).targets for s in ("kfunc:ovl_open", "f:overlay:ovl_open", "f:o*:ovl_o*")] == [[module]] * 3
    # vfs_readv has no type: kfunc wildcards leave it out.
    assert resolve("kfunc:vfs_re*").names == ["kfunc:vmlinux:vfs_read"]


def test_parts_of_split_functions_must_be_asked_for() -> None:
    host = FakeHost()
    host.functions += ["vfs_read.part.0"]
    host.symbols["vfs_read.part.0"] = 1
    assert resolve("k:vfs_read*", host).names == ["kprobe:vfs_read", "kprobe:vfs_readv"]
    assert resolve("k:vfs_read.part.*", host).names == ["kprobe:vfs_read.part.0"]
    assert resolve("k:vfs_read.part.0", host).names == ["kprobe:vfs_read.part.0"]


def test_a_host_that_knows_nothing_believes_plain_names() -> None:
    host = NothingKnown()
    assert resolve("t:a:b", host).names == ["tracepoint:a:b"]
    assert resolve("k:some_function", host).names == ["kprobe:some_function"]
    assert resolve("rt:x", host).names == ["rawtracepoint:x"]
    assert [resolve(spec, host).problem[0] for spec in ("t:a:*", "k:vfs_*", "rt:s*")] == ["E0215"] * 3
    assert resolve("kfunc:vfs_read", host).problem[0] == "E0226"


def test_a_wildcard_in_the_type() -> None:
    found = resolve("k*:vfs_read")
    assert (found.names, found.types) == (["kprobe:vfs_read", "kfunc:vmlinux:vfs_read"], ["kprobe", "kfunc"])
    assert resolve("t*:sched:*switch").names == ["tracepoint:sched:sched_switch"]
    assert resolve("kret*:vfs_read").types == ["kretprobe", "kretfunc"]
    assert resolve("*:sched:*switch").names == ["tracepoint:sched:sched_switch"]
    assert resolve("z*:a:b").problem[:2] == ("E0211", "z*:a:b")


def test_several_attach_points() -> None:
    assert resolve("BEGIN, interval:s:1,t:syscalls:sys_enter_read").names == [
        "BEGIN", "interval:s:1", "tracepoint:syscalls:sys_enter_read",
    ]  # fmt: skip


# --- positional parameters


def test_positional_parameters() -> None:
    assert resolve("profile:hz:$1", parameters=("49",)).names == ["profile:hz:49"]
    assert resolve("profile:$2:$1", parameters=("49", "hz")).names == ["profile:hz:49"]
    read = resolve("t:syscalls:sys_enter_$1", parameters=("read",))
    assert read.names == ["tracepoint:syscalls:sys_enter_read"]
    assert resolve('t:syscalls:$1"_read"', parameters=("sys_enter",)).names == ["tracepoint:syscalls:sys_enter_read"]


def test_a_parameter_in_quotes_stays() -> None:
    assert resolve('t:syscalls:"$1"', parameters=("sys_enter_read",)).problem[:2] == ("E0210", '"$1"')


def test_a_parameter_that_was_not_given_is_empty() -> None:
    assert resolve("profile:hz:$1").problem[:2] == ("E0204", "$1")
    assert resolve("software:faults:$1").names == ["software:faults"]


def test_text_behind_a_parameter() -> None:
    assert resolve("profile:hz:$1$2", parameters=("4", "9")).problem == (
        "E0213", "$1$2", 'put the text in quotes: $1"$2"',
    )  # fmt: skip


def test_a_wildcard_may_come_from_a_parameter() -> None:
    assert resolve("k:$1", parameters=("vfs_re*",)).names == ["kprobe:vfs_read", "kprobe:vfs_readv"]


# --- wrong specs: code, the marked text, a part of the hint


@pytest.mark.parametrize(("spec", "code", "marked", "hint"), [
    ("trecepoint:a:b", "E0201", "trecepoint", "did you mean `tracepoint`?"),
    ("begin", "E0201", "begin", "did you mean `BEGIN`?"),
    ("Interval:s:1", "E0201", "Interval", "did you mean `interval`?"),
    ("qqqq:x", "E0201", "qqqq", "the probe types are BEGIN, END, kprobe"),
    ("watchpoint:0x1:8:w", "E0202", "watchpoint", None),
    ("BEGIN:x", "E0203", "BEGIN:x", None),
    ("profile:99", "E0203", "profile:99", "profile:hz:99"),
    ("interval:s", "E0203", "interval:s", "interval:s:1"),
    ("profile:hz:1:2", "E0203", "profile:hz:1:2", None),
    ("tracepoint:syscalls", "E0203", "tracepoint:syscalls", "tracepoint:syscalls:*"),
    ("kprobe:vfs_read:x", "E0203", "kprobe:vfs_read:x", None),
    ("kprobe:", "E0204", "", None),
    ("interval::1", "E0204", "", None),
    ("software:*", "E0205", "*", None),
    ("profile:*:1", "E0205", "*", None),
    ("k:vfs_*+4", "E0205", "vfs_*+4", None),
    ("interval:s:x", "E0206", "x", None),
    ("interval:s:1x", "E0206", "1x", None),
    ("software:faults:x", "E0206", "x", None),
    ("k:vfs_read+z", "E0206", "vfs_read+z", None),
    ("interval:s:0", "E0207", "0", None),
    ("interval:s:-1", "E0207", "-1", None),
    ("profile:hz:0", "E0207", "0", None),
    ("profile:hz:99999999999999999999999", "E0207", "99999999999999999999999", None),
    ("interval:s:9223372037", "E0207", "9223372037", None),
    ("software:faults:-1", "E0207", "-1", None),
    ("interval:m:1", "E0208", "m", "did you mean `ms`?"),
    ("profile:sec:1", "E0208", "sec", "did you mean `s`?"),
    ("profile:q:1", "E0208", "q", "the units are hz, s, ms and us"),
    ("software:fauts:1", "E0209", "fauts", "did you mean `faults`?"),
    ("hardware:cache-mises:1", "E0209", "cache-mises", "did you mean `cache-misses`?"),
    ("software:cycles:1", "E0209", "cycles", "did you mean `hardware:cycles`?"),
    ("hardware:qqqq", "E0209", "qqqq", "the hardware events are backend-stalls, "),
    ("t:syscalls:sys_enter_opeat", "E0210", "sys_enter_opeat", "did you mean `syscalls:sys_enter_openat`?"),
    ("t:syscall:sys_enter_read", "E0210", "syscall", "did you mean `syscalls:sys_enter_read`?"),
    ("t:sched:sys_enter_read", "E0210", "sys_enter_read", None),
    ("rt:sched_swich", "E0210", "sched_swich", "did you mean `sched_switch`?"),
    ("t:syscall:*", "E0211", "t:syscall:*", "did you mean `syscalls`?"),
    ("t:zz*:x", "E0211", "t:zz*:x", None),
    ("rt:zz*", "E0211", "rt:zz*", None),
    ("k:zz*", "E0211", "zz*", None),
    ("k:vfs_raed", "E0212", "vfs_raed", "did you mean `vfs_read`?"),
    ("kfunc:vfs_raed", "E0212", "vfs_raed", "did you mean `vfs_read`?"),
    ("kr:vfs_read+4", "E0220", "vfs_read+4", None),
    ("kfunc:xfs:f", "E0227", "xfs", None),
    ("kfunc:overlai:ovl_open", "E0227", "overlai", "did you mean `overlay`?"),
    ("kfunc:overlay:vfs_read", "E0229", "vfs_read", "did you mean `kfunc:vmlinux:vfs_read`?"),
    ("kfunc:vmlinux:ovl_open", "E0229", "ovl_open", "did you mean `kfunc:overlay:ovl_open`?"),
    ("kfunc:overlay:vfs*", "E0211", "vfs*", None),
    ("kfunc:vfs_readv", "E0228", "vfs_readv", None),
])  # fmt: skip
def test_wrong_specs(spec: str, code: str, marked: str, hint: str | None) -> None:
    found = resolve(spec)
    assert not found.targets
    assert found.problem[:2] == (code, marked)
    assert (found.problem[2] is None) if hint is None else hint in (found.problem[2] or "")


def test_one_wrong_attach_point_leaves_the_others_checked() -> None:
    found = resolve("interval:m:1, profile:hz:0, BEGIN")
    assert [d.code for d in found.diagnostics] == ["E0208", "E0207"]
    assert found.names == ["BEGIN"]


# --- the pieces


@pytest.mark.parametrize(("text", "value"), [
    ("0", 0), ("12", 12), ("1_000", 1000), ("0x1F", 31), ("1e6", 1_000_000), ("12e2", 1200), ("", None), ("-1", None),
    ("1e", None), ("e1", None), ("0x", None), ("0xg", None), ("1.5", None), ("٣", None), ("1" * 500, None), ("1e9999", None),
])  # fmt: skip
def test_parse_number(text: str, value: int | None) -> None:
    assert parse_number(text) == value


@pytest.mark.parametrize(("pattern", "matching", "other"), [
    ("abc", ["abc"], ["abcd", "ab", ""]),
    ("a*", ["a", "abc"], ["ba", ""]),
    ("*a", ["a", "cba"], ["ab"]),
    ("a*a", ["aa", "aba"], ["a", "ab"]),
    ("*", ["", "x"], []),
    ("**", ["", "x"], []),
    ("*read*", ["read", "vfs_read", "readv"], ["raed"]),
    ("a*b*c", ["abc", "axbxc", "abcbc"], ["ac", "abcx", "acb"]),
    ("a*bc*bc", ["abcbc", "abcxbc"], ["abc"]),
    ("a[b]", ["a[b]"], ["ab"]),
    ("a?", ["a?"], ["ab"]),
])  # fmt: skip
def test_matcher(pattern: str, matching: list[str], other: list[str]) -> None:
    matches = matcher(pattern)
    assert [name for name in matching + other if matches(name)] == matching


def test_nearest_among_many() -> None:
    many = [f"function_number_{n}" for n in range(60_000)] + ["vfs_read"]
    assert nearest("vfs_raed", many) == "did you mean `vfs_read`?"
    assert nearest("x", many) is None
    assert nearest("completely_else", ["vfs_read"]) is None
    assert nearest("vfs_read", ["vfs_read"]) is None
