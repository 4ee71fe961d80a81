"""Folded stacks: the frames of keys, lines, widths, and when a map counts."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from bpftrace_py import types
from bpftrace_py.codegen.unit import ScriptMap
from bpftrace_py.diagnostics import Diagnostic
from bpftrace_py.output import folded
from bpftrace_py.output.base import Writer
from bpftrace_py.output.folded import KERNEL, KEY, USER, StackOutput, frames_of, function_name, stack_maps, text, width
from bpftrace_py.output.values import Texts
from bpftrace_py.types import INT64, UINT64, HistType, StackType, TupleType

K, U = StackType(False), StackType(True)
STACKS = {
    (True, 1): "malloc+7\nstart+3\nmain+100",
    (True, 2): "malloc+99\nstart+3\nmain+100",
    (True, 3): "0x7f0012\noperator+(int)+4\nmain+1",
    (False, 1): "vfs_read+12\ndo_syscall_64+3",
    (True, 0): "", (False, 0): "",
}  # fmt: skip


class Resolver:
    def stack(self, type: StackType, stack_id: int, pid: int, probe_id: int) -> str:
        assert type.mode != "perf"  # addresses and files are not for folded stacks
        return STACKS[type.user, stack_id]


TEXTS = Texts(Resolver())  # type: ignore[arg-type]


def user(stack: int) -> tuple[int, int, int]:
    return stack, 100, 0


def a_map(value: types.Type, *keys: types.Type, name: str = "x") -> ScriptMap:
    return ScriptMap(name, name, keys, value, "hash", 100)


def test_offsets_and_addresses_are_left_out() -> None:
    assert [function_name(line) for line in ("read+12", "operator+", "operator+(int)+4", "0x7f12", "0", "7f12", "f")] == [
        "read", "operator+", "operator+(int)", "[unknown]", "[unknown]", "7f12", "f",
    ]  # fmt: skip


@pytest.mark.parametrize("mode", ["bpftrace", "perf"])
def test_keys_come_first_and_kernel_frames_last(mode: str) -> None:
    kernel, stack, comm = StackType(False, mode), StackType(True, mode), types.StringType(16)
    expected = (
        (KEY, "bash"), (KEY, "7"), (USER, "main"), (USER, "start"), (USER, "malloc"), (KERNEL, "do_syscall_64"), (KERNEL, "vfs_read"),
    )  # fmt: skip
    assert frames_of((kernel, comm, stack, INT64), TEXTS)((1, b"bash", user(1), 7)) == expected
    assert frames_of((TupleType((kernel, comm)), stack, INT64), TEXTS)(((1, b"bash"), user(1), 7)) == expected


def test_which_maps_have_stacks() -> None:
    sums = (
        types.COUNT,
        types.SumType(),
        types.AvgType(),
        types.StatsType(),
        HistType(),
        types.LhistType(0, 9, 1),
        UINT64,
    )
    good = [a_map(value, INT64, K, name=str(number)) for number, value in enumerate(sums)] + [
        a_map(UINT64, TupleType((U, INT64)))
    ]
    bad = [
        a_map(types.MinType(), K),
        a_map(types.COUNT, INT64),
        a_map(types.COUNT),
        a_map(K, INT64),
        a_map(types.StringType(8), U),
    ]
    assert stack_maps([*good, *bad]) == good


def test_widths() -> None:
    assert width(types.COUNT, 5) == 5
    assert width(types.AvgType(), (3, 70)) == 70
    assert width(types.StatsType(), (3, 70)) == 70
    assert width(HistType(), [0, 4, 1]) == 5


def test_lines() -> None:
    stacks = {
        ((KEY, "a;b\nc"), (USER, "main")): 3,
        ((KEY, ""), (KERNEL, "vfs_read")): 1,
        ((KEY, "\x1b[31mred\udcff"), (USER, "f(int, char)")): 2,
    }
    assert text(stacks).decode().splitlines() == [
        "[empty];vfs_read_[k] 1", "\\x1b[31mred\\xff;f(int, char) 2", "a:b c;main 3",
    ]  # fmt: skip


# --- the output


class Written:
    """A `StackOutput` that writes into pipes."""

    def __init__(self, *maps: ScriptMap) -> None:
        self.warnings: list[Diagnostic] = []
        self.pipes = os.pipe(), os.pipe()
        messages, result = (Writer(pipe[1]) for pipe in self.pipes)
        self.output = StackOutput(messages, TEXTS, result, maps, folded.text, self.warnings.append)

    def end(self) -> tuple[str, str]:
        """What went to standard error, and the lines."""
        self.output.end_of_events()
        self.output.finish()
        texts = []
        for reader, writer in self.pipes:
            os.close(writer)
            with os.fdopen(reader) as file:
                texts.append(file.read())
        return texts[0], texts[1]


@pytest.fixture
def counted() -> Iterator[ScriptMap]:
    yield a_map(types.COUNT, U)


def test_stacks_that_differ_in_offsets_alone_are_one(counted: ScriptMap) -> None:
    written = Written(counted)
    written.output.map(counted, [((user(1),), 5), ((user(2),), 6), ((user(3),), 1), ((user(0),), 2)])
    assert written.end() == ("", "[no stack] 2\nmain;operator+(int);[unknown] 1\nmain;start;malloc 11\n")


def test_what_was_printed_last_counts(counted: ScriptMap) -> None:
    written = Written(counted)
    for elements in ([((user(1),), 5)], [((user(3),), 4)], []):  # the last one after clear()
        written.output.map(counted, elements)
    assert written.end() == ("", "main;operator+(int);[unknown] 4\n")


def test_top_and_divisor(counted: ScriptMap) -> None:
    written = Written(counted)
    written.output.map(counted, [((user(1),), 5000), ((user(3),), 1000), ((user(0),), 10)], 2, 1000)
    assert written.end() == ("", "main;operator+(int);[unknown] 1\nmain;start;malloc 5\n")


def test_several_maps_stand_under_their_names(counted: ScriptMap) -> None:
    other = a_map(types.SumType(), K, name="y")
    written = Written(counted, other)
    written.output.map(counted, [((user(1),), 5)])
    written.output.map(other, [((1,), 7)])
    assert written.end() == ("", "@x;main;start;malloc 5\n@y;do_syscall_64_[k];vfs_read_[k] 7\n")


def test_what_has_no_width_is_told(counted: ScriptMap) -> None:
    sums = a_map(types.SumType(), U)
    written = Written(sums)
    written.output.map(sums, [((user(1),), -5), ((user(3),), 0)])
    assert written.end() == ("", "")
    assert [(w.code, w.text.split()[0]) for w in written.warnings] == [("W0950", "2"), ("W0951", "no")]


def test_all_else_goes_to_standard_error(counted: ScriptMap) -> None:
    written = Written(counted)
    written.output.attached(2)
    written.output.printf([b"hello\n"])
    written.output.map(a_map(types.COUNT, name="z"), [((), 5)])
    written.output.map(counted, [((user(1),), 1)])
    errors, lines = written.end()
    assert (errors, lines) == ("Attaching 2 probes...\nhello\n@z: 5\n", "main;start;malloc 1\n")
