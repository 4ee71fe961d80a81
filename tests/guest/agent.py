"""The guest's side of the bridge: runs the listed tests in one pytest and writes each report to the shared directory.

    python tests/guest/agent.py EXCHANGE

EXCHANGE/tests holds one node id a line; EXCHANGE/reports gets one JSON object a line, as soon as there is one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest


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


def main(exchange: Path) -> int:
    node_ids = (exchange / "tests").read_text().splitlines()
    # The host prints the results; what pytest says itself goes to the console, for when something goes wrong.
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    # Their files, not they: pytest refuses to run anything if one of the tests that it is given is not there.
    files = dict.fromkeys(node_id.partition("::")[0] for node_id in node_ids)
    return int(pytest.main([*options, *files], plugins=[Reporter(exchange / "reports", node_ids)]))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
