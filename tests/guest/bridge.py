"""The host's side of the bridge: tests that run in the guest are reported here, by name, as if they had run here.

All tests under tests/guest go that way, and with `--in-guest` all others, too: the host collects them, the guest boots
once and runs them, those of a file in the same order, and each report that the guest writes becomes the report of that test.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from pathlib import Path

import pytest

from tests.guest.machine import Guest, GuestError
from tests.live import IN_GUEST

GUEST_TESTS = Path(__file__).parent
# Seconds without any report from the guest before it is given up. A test in there has its own, shorter limits.
SILENCE_LIMIT = 400.0
# An emulated kernel that crashes or stands still says nothing of the tests.
MOST_BOOTS = 4
_BRIDGE = pytest.StashKey["Bridge"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--in-guest", action="store_true", help="run the tests inside the QEMU guest, on Debian's kernel")


def for_guest(item: pytest.Item) -> bool:
    return not IN_GUEST and (item.config.getoption("in_guest") or item.path.is_relative_to(GUEST_TESTS))


def pytest_collection_finish(session: pytest.Session) -> None:
    # Booted before the first test: it comes up while the tests of this machine run.
    if session.config.option.collectonly:
        return
    items = [item for item in session.items if for_guest(item)]
    if items:
        if hasattr(session.config, "workerinput"):
            raise pytest.UsageError("there is one guest: run its tests without -n")
        session.config.stash[_BRIDGE] = Bridge(session.config, [item.nodeid for item in items])


def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    if not for_guest(item):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in item.config.stash[_BRIDGE].reports(item):
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _BRIDGE in session.config.stash:
        session.config.stash[_BRIDGE].close()


class Bridge:
    """One boot of the guest for a list of tests, and the reports that it sends."""

    def __init__(self, config: pytest.Config, node_ids: list[str]) -> None:
        self._config = config
        self._reports: dict[str, list[pytest.TestReport]] = {}
        self._finished: set[str] = set()
        self._node_ids = node_ids
        self._failure: str | None = None
        self._guest: Guest | None = None
        self._crashes = 0
        self._boot()

    def _boot(self) -> None:
        """Start the guest with the tests that are not finished."""
        python = shlex.quote(sys.executable)
        tool = shlex.quote(os.environ.get("BPFTRACE_PY_TEST_COMMAND", ""))
        command = (
            f"export BPFTRACE_PY_TEST_COMMAND={tool}\n"
            "export BPFTRACE_PY_IN_GUEST=1\n"
            f'exec {python} -m tests.guest.agent "$EXCHANGE" 2>&1'
        )
        left = [node_id for node_id in self._node_ids if node_id not in self._finished]
        self._read_to: dict[Path, int] = {}
        self._reports = {node_id: reports for node_id, reports in self._reports.items() if node_id in self._finished}
        try:
            self._guest = Guest(command, files={"tests": "\n".join(left) + "\n"})
        except GuestError as error:
            self._failure = str(error)

    def reports(self, item: pytest.Item) -> list[pytest.TestReport]:
        """The reports (setup, call, teardown) of one test; waits until the guest has them all."""
        heard = time.monotonic()
        while item.nodeid not in self._finished and self._failure is None:
            assert self._guest
            running = self._guest.running  # asked before reading: what it wrote before it ended is read, too
            if self._read_reports():
                heard = time.monotonic()
            elif not running:
                self._lost(f"the guest ended before {item.nodeid} did")
                heard = time.monotonic()
            elif time.monotonic() - heard > SILENCE_LIMIT:
                self._lost(f"no news from the guest, which should run {item.nodeid}")
                heard = time.monotonic()
            else:
                time.sleep(0.05)
        if item.nodeid in self._finished:
            return self._reports.pop(item.nodeid)
        return [
            pytest.TestReport(
                item.nodeid, item.location, dict.fromkeys(item.keywords, 1), "failed", self._failure, "call"
            )
        ]  # fmt: skip

    def _lost(self, what: str) -> None:
        """The guest is gone or stuck. Its emulated kernel may crash, which says nothing of the tests: it is told, and what
        is left runs on a new boot. If that is lost, too, the tests that are left fail."""
        assert self._guest
        self._guest.stop()
        self._crashes += 1
        story = f"{what}; {self._guest.last_words()}"
        if self._crashes >= MOST_BOOTS:
            self._failure = story
        else:
            terminal = self._config.pluginmanager.get_plugin("terminalreporter")
            terminal.write_line(f"\n{story}\nThe guest is booted again for the tests that are left.")
            self._boot()

    def _read_reports(self) -> bool:
        """Take in the complete lines that the guest has added; false if there were none."""
        assert self._guest
        added = b""
        for path in self._guest.exchange.glob("reports.*"):
            with path.open("rb") as file:
                file.seek(self._read_to.get(path, 0))
                lines = file.read()
            lines = lines[: lines.rfind(b"\n") + 1]
            self._read_to[path] = self._read_to.get(path, 0) + len(lines)
            added += lines
        for line in added.splitlines():
            hook = self._config.hook
            report = hook.pytest_report_from_serializable(config=self._config, data=json.loads(line))
            if isinstance(report.longrepr, list):  # a skip's (path, line, reason); JSON has no tuples
                report.longrepr = tuple(report.longrepr)
            self._reports.setdefault(report.nodeid, []).append(report)
            if report.when == "teardown":
                self._finished.add(report.nodeid)
        return bool(added)

    def close(self) -> None:
        if self._guest:
            self._guest.stop()
