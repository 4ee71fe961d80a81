"""The BPFTRACE_* variables."""

from __future__ import annotations

import pytest

from bpftrace_py.config import Config, from_environment
from bpftrace_py.diagnostics import HostError


@pytest.mark.parametrize(
    ("name", "newer", "field"),
    [
        ("BPFTRACE_STRLEN", "BPFTRACE_MAX_STRLEN", "strlen"),
        ("BPFTRACE_MAP_KEYS_MAX", "BPFTRACE_MAX_MAP_KEYS", "map_keys_max"),
        ("BPFTRACE_CAT_BYTES_MAX", "BPFTRACE_MAX_CAT_BYTES", "cat_bytes_max"),
    ],
)
def test_old_and_newer_names(name: str, newer: str, field: str) -> None:
    assert getattr(from_environment({name: "17"}), field) == 17
    assert getattr(from_environment({newer: "18"}), field) == 18
    assert getattr(from_environment({newer: "18", name: "17"}), field) == 17
    with pytest.raises(HostError, match=f"{newer}.*x"):
        from_environment({newer: "x"})


def test_defaults_switches_and_options() -> None:
    assert from_environment({"HOME": "/root"}) == Config()
    assert from_environment({"BPFTRACE_NO_CPP_DEMANGLE": "1"}).demangle is False
    assert from_environment({"BPFTRACE_PRINT_MAPS_ON_EXIT": "0"}).print_maps_on_exit is False
    assert from_environment({"BPFTRACE_STRLEN": "200"}, strlen=100).strlen == 100
    assert from_environment({"BPFTRACE_RING_BYTES": "5000"}).ring_bytes == 8192


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("BPFTRACE_STRLEN", "0"), ("BPFTRACE_STRLEN", "65537"), ("BPFTRACE_STRLEN", "-1"), ("BPFTRACE_STRLEN", "\u0663"),
        ("BPFTRACE_STRLEN", "1" * 5000), ("BPFTRACE_NO_CPP_DEMANGLE", "yes"), ("BPFTRACE_STACK_MODE", "none"),
    ],
)  # fmt: skip
def test_what_is_refused(name: str, text: str) -> None:
    with pytest.raises(HostError, match=name):
        from_environment({name: text})
