"""Files that patterns stand for: limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpftrace_py.config import Config
from bpftrace_py.diagnostics import HostError
from bpftrace_py.probes import binaries


def test_a_pattern_that_leads_everywhere_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for first in "abc":
        for second in "abcd":
            (tmp_path / first / second).mkdir(parents=True)
    monkeypatch.setattr(binaries, "_MAX_PLACES", 12)
    assert list(binaries.matching(f"{tmp_path}/*/*", Config())) == []
    monkeypatch.setattr(binaries, "_MAX_PLACES", 11)
    with pytest.raises(HostError, match=r"E0845.*more than 11 files or directories match"):
        list(binaries.matching(f"{tmp_path}/*/*", Config()))
