"""The guest's side of the bridge: runs the listed tests in one pytest a CPU and writes their reports to the exchange.

    python -m tests.guest.agent EXCHANGE

EXCHANGE/tests holds one node id a line; EXCHANGE/reports.N gets one JSON object a line, as soon as there is one. Tests of
one file run in one process, in their order. Those of LAST run when all others have ended.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# What they do to the kernel lasts until it is booted again.
LAST = ("tests/guest/test_lockdown.py",)


class Reporter:
    """Runs those tests only that the host has asked for, in its order, and reports on each at once."""

    def __init__(self, path: Path, node_ids: list[str]) -> None:
        self._file = path.open("w")
        self._order = {node_id: number for number, node_id in enumerate(node_ids)}
        self._config: pytest.Config | None = None

    def pytest_configure(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        wanted = [item for item in items if item.nodeid in self._order]
        items[:] = sorted(wanted, key=lambda item: self._order[item.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        assert self._config
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._file.write(json.dumps(data) + "\n")
        self._file.flush()


def file_of(node_id: str) -> str:
    return node_id.partition("::")[0]


def lanes(node_ids: list[str], count: int) -> list[list[str]]:
    """The tests in `count` lists of about the same length, no file in two of them."""
    sizes: dict[str, int] = {}
    for node_id in node_ids:
        sizes[file_of(node_id)] = sizes.get(file_of(node_id), 0) + 1
    loads, lane_of = [0] * count, {}
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        lane = loads.index(min(loads))
        loads[lane] += size
        lane_of[name] = lane
    return [[n for n in node_ids if lane_of[file_of(n)] == lane] for lane in range(count)]


def run(exchange: Path, name: str, node_ids: list[str]) -> int:
    """Run tests in this process; their reports go to `exchange`/reports.`name`. pytest's exit status."""
    if not node_ids:
        return 0
    # The host prints the results; what pytest says itself goes to the console, for when something goes wrong.
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--basetemp=/tmp/pytest-{name}"]
    # Their files, not they: pytest refuses to run anything if one of the tests that it is given is not there.
    files = dict.fromkeys(map(file_of, node_ids))
    return int(pytest.main([*options, *files], plugins=[Reporter(exchange / f"reports.{name}", node_ids)]))


def listed(exchange: Path) -> tuple[list[str], list[str]]:
    """The tests that the host asks for: those that go first, and those of LAST."""
    node_ids = (exchange / "tests").read_text().splitlines()
    return [n for n in node_ids if file_of(n) not in LAST], [n for n in node_ids if file_of(n) in LAST]


def main(exchange: Path, count: int) -> int:
    # What a test sees of the guest is made by that test or filtered, so that two at a time do not meet.
    command = [sys.executable, "-m", "tests.guest.agent", str(exchange)]
    started = [subprocess.Popen([*command, str(lane), str(count)]) for lane in range(count)]
    status = max(process.wait() for process in started)
    return max(status, run(exchange, "last", listed(exchange)[1]))


if __name__ == "__main__":
    exchange = Path(sys.argv[1])
    if len(sys.argv) == 2:
        sys.exit(main(exchange, os.cpu_count() or 1))
    lane, count = map(int, sys.argv[2:])
    sys.exit(run(exchange, str(lane), lanes(listed(exchange)[0], count)[lane]))
