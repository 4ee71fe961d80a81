import os, subprocess
from pathlib import Path
import pytest
from tests.live import Session, peer
LIST = Path("/var/lib/dpkg/info/bpftrace.list")
TOOLS = sorted(l for l in LIST.read_text().splitlines() if l.endswith(".bt"))

@pytest.mark.parametrize("who", ["ours", "peer"])
@pytest.mark.parametrize("tool", TOOLS, ids=lambda t: Path(t).stem)
def test_tool(tool, who):
    with Session(tool, tool=peer() if who == "peer" else None) as s:
        s.wait_attached(200)
        o = s.interrupt()
    assert o.status == 0, o.stderr
    assert not o.stderr.strip() or who == "peer", "STDERR " + o.stderr
