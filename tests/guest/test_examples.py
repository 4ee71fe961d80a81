"""The tools in examples/ that need kprobes, on events that their tests make."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.live import Session

EXAMPLES = Path(__file__).parents[2] / "examples"
ME = str(os.getpid())


def work(path: Path) -> None:
    """Eleven writes, a flush, two reads, a rename and a deletion."""
    with open(path / "traced_file", "wb", buffering=0) as file:
        for _ in range(11):
            file.write(bytes(1000))
        os.fsync(file.fileno())
    with open(path / "traced_file", "rb", buffering=0) as file:
        assert len(file.read(10000)) == 10000
        assert len(file.read(10000)) == 1000
    os.rename(path / "traced_file", path / "other_name")
    os.unlink(path / "other_name")


def watched(tool: str, path: Path) -> str:
    with Session(str(EXAMPLES / f"{tool}.bt"), ME) as session:
        session.wait_attached()
        work(path)
        outcome = session.interrupt()
    assert (outcome.stderr, outcome.status) == ("", 0)
    return outcome.stdout


def test_filebytes(tmp_path):
    out = watched("filebytes", tmp_path)
    assert re.search(r"^@read\[traced_file, \S+\]: 11000$", out, re.MULTILINE)
    assert re.search(r"^@written\[traced_file, \S+\]: 11000$", out, re.MULTILINE)


def test_vfslatency(tmp_path):
    out = watched("vfslatency", tmp_path)
    calls = {
        name: sum(map(int, re.findall(r"^[\[(][^\])]*[\])] +(\d+) ", rows, re.MULTILINE)))
        for name, rows in re.findall(r"^@us\[(\w+)\]: *\n((?:[\[(].*\n)+)", out, re.MULTILINE)
    }
    assert calls["vfs_write"] >= 11
    assert calls["vfs_read"] >= 2
    assert calls["vfs_open"] >= 2
    assert (calls["vfs_rename"], calls["vfs_unlink"], calls["vfs_fsync_range"]) == (1, 1, 1)
