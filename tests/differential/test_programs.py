"""The programs of `programs/*.txt` print the same through bpftrace-py and through Debian's bpftrace.

Compared are standard output, line for line, and the exit status. Standard error is not: the two say the same things in
different words there, and the peer complains about RLIMIT_MEMLOCK where it cannot raise it, which does no harm.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.differential.program_files import ProgramCase, read
from tests.live import TIME_LIMIT, Outcome, Session, peer

HERE = Path(__file__).parent
DIFFERENCES = HERE.parents[1] / "docs" / "differences.md"
CASES = [case for path in sorted((HERE / "programs").glob("*.txt")) for case in read(path)]


def run_both(case: ProgramCase) -> tuple[Outcome, Outcome]:
    """Both at once, so that both see the same events, process ids included."""
    arguments = ("-e", case.text, *case.args)
    with Session(*arguments, env=case.env) as ours, Session(*arguments, env=case.env, tool=peer()) as theirs:
        if case.run is not None and not case.rejected:
            ours.wait_attached()
            theirs.wait_attached()
            run_workload(case.run)
            if case.until is not None:
                ours.wait_for(case.until)
                theirs.wait_for(case.until)
            ours.signal()
            theirs.signal()
        return ours.wait(), wait_for_peer(theirs)


def wait_for_peer(theirs: Session) -> Outcome:
    """The peer can miss an interrupt that comes just when it has attached: it is told again."""
    for _ in range(2):
        try:
            return theirs.wait(TIME_LIMIT / 3)
        except AssertionError:
            theirs.signal()
    return theirs.wait(TIME_LIMIT / 3)


def run_workload(command: str) -> None:
    # On one CPU: the peer has a buffer per CPU, and prints events of several in no particular order.
    first_cpu = min(os.sched_getaffinity(0))
    subprocess.run(
        ["/bin/sh", "-c", command],
        check=True,
        timeout=TIME_LIMIT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "LC_ALL": "C"},  # fewer files are opened, and the same ones everywhere
        preexec_fn=lambda: os.sched_setaffinity(0, {first_cpu}),
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_same_output(case: ProgramCase) -> None:
    ours, theirs = run_both(case)
    if case.rejected:
        assert theirs.status != 0, "the peer accepts it"
        assert ours.status == 1
        assert "Traceback" not in ours.stderr
        return
    assert theirs.status == 0, f"the peer rejects it: {theirs.stderr}"
    if case.differs is not None:
        assert f"# {case.differs}\n" in DIFFERENCES.read_text(), "docs/differences.md does not explain this difference"
        assert (ours.lines, ours.status) != (theirs.lines, theirs.status), (
            "there is no difference any more: take it out of docs/differences.md"
        )
        return
    order = sorted if case.ties else list
    assert order(ours.lines) == order(theirs.lines), f"standard error of bpftrace-py: {ours.stderr}"
    assert ours.status == theirs.status
