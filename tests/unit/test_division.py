"""Division in the generated C: what needs a routine, and what is plain."""

from __future__ import annotations

import pytest

from bpftrace_py.compiler import compile_source
from bpftrace_py.config import Config
from bpftrace_py.source import Source
from tests.fake_host import FakeHost


def expression(text: str) -> str:
    """The C of what is assigned to @."""
    source = compile_source(
        Source(f"BEGIN {{ $u = (uint64)nsecs; $s = (int64)nsecs; @ = {text}; }}"), Config(), FakeHost()
    ).c_source
    (line,) = (line for line in source.splitlines() if line.strip().startswith("element->value = "))
    return line.strip().removeprefix("element->value = ").removesuffix(";")


@pytest.mark.parametrize(
    ("text", "c"),
    [
        ("$u / 10", "(u64)u / (u64)10"),  # a constant is no zero: nothing to guard
        ("$u % 10", "(u64)u % (u64)10"),
        ("pid / 10", "(u64)pid / (u64)10"),
        ("$u / pid", "unsigned_div(u, pid)"),  # C leaves division by zero open: the compiler must not see one
        ("$u % $u", "unsigned_mod(u, u)"),
        ("$s / 10", "signed_div(s, 10)"),  # BPF divides unsigned numbers
        ("$s % $s", "signed_mod(s, s)"),
    ],
)
def test_division(text: str, c: str):
    assert expression(text) == c
