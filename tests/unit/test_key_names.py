"""Names of a map's keys, from a script's text."""

from __future__ import annotations

import pytest

from bpftrace_py.codegen.key_names import key_names
from bpftrace_py.diagnostics import Diagnostics
from bpftrace_py.source import Source
from bpftrace_py.syntax.parser import parse


def names(script: str) -> dict[str, tuple[str, ...]]:
    source = Source(script)
    program = parse(source, Diagnostics(source))
    assert program is not None
    return key_names(program.probes)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("pid, comm", ("pid", "comm")),
        ("str(args->filename), $x, kstack(3), ustack", ("filename", "x", "kstack", "ustack")),
        ("1, pid + 1, (pid, comm)", ("", "", "")),
        ("(uint32)arg0, *arg1, ksym(reg(\"ip\")), @start[tid]", ("arg0", "arg1", "", "start")),
        ("strftime(\"%H\", nsecs)", ("nsecs",)),
        ("((struct task_struct *)curtask)->real_parent->pid", ("pid",)),
    ],
)  # fmt: skip
def test_names(keys: str, expected: tuple[str, ...]) -> None:
    assert names(f"BEGIN {{ $x = 1; @m[{keys}] = count(); }}")["m"] == expected


def test_where_a_map_is_given_something_counts() -> None:
    script = "BEGIN { delete(@m[$a]); print(@m[$b]); } END { @m[$c] = 1; @m[$d]++; @n[$e]++; $y = @o[$f]; @plain = 1; }"
    assert names(script) == {"m": ("c",), "n": ("e",), "o": ("f",), "plain": ()}
