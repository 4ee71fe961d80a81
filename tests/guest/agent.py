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
    def __init__(self, path: Path) -> None:
        self._file = path.open("w")
        self._config: pytest.Config | None = None

    def pytest_configure(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        assert self._config
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._file.write(json.dumps(data) + "\n")
        self._file.flush()


def main(exchange: Path) -> int:
    node_ids = (exchange / "tests").read_text().splitlines()
    # The host prints the results; what pytest says itself goes to the console, for when something goes wrong.
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    return int(pytest.main([*options, *node_ids], plugins=[Reporter(exchange / "reports")]))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
