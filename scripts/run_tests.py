"""Runs test suites by name, one pytest each, and says at the end what passed, failed and was skipped, and why.

A suite that fails does not stop the next one, but the exit status is 1 if any failed. Suites that attach to the kernel
run one test at a time: they share that kernel. Those in a guest have another, which is emulated on one CPU: where there is
a second one, the other suites run meanwhile.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
REPORTS = ROOT / "build" / "reports"
# What running tests leaves behind; made by root under sudo, given back to the owner of the checkout afterwards.
LEFT_BEHIND = ("build", ".pytest_cache", ".hypothesis")


# Each feature once on the guest's kernel, which is another version than this machine's: the rest of tests/runtime is of
# `guest-all`, since the guest is emulated and some 15 times slower.
SECOND_KERNEL = tuple(
    f"tests/runtime/{name}"
    for name in (
        "test_session.py::test_the_whole_life",
        "test_session.py::test_it_ends_with_its_command",
        "test_session.py::test_events_before_a_stop_are_all_printed",
        "test_maps.py::test_an_aggregate_by_key",
        "test_maps.py::test_a_large_map_is_read_and_cleared_whole",
        "test_attach.py::test_uprobes_told_apart_by_cookie[perf]",
        "test_attach.py::test_uretprobe[perf]",
        "test_attach.py::test_a_uprobe_of_one_process_sees_all_its_threads_and_no_other_process[perf]",
        "test_user_probes.py::test_arguments_and_results[functions]",
        "test_user_probes.py::test_places",
        "test_user_probes.py::test_namespaces_semaphores_and_places",
        "test_user_arguments.py::test_records_by_value[arguments]",
        "test_loops.py::test_a_loop_in_a_loop",
        "test_loop_time.py::test_every_loop_of_a_block_is_stopped_when_there_is_no_time",
        "test_loop_time.py::test_a_heavy_loop_on_a_frequent_event_takes_its_share_and_no_more",
        "test_late_strings.py",
        "test_helper_errors.py::test_reads_are_told_under_kk",
        "test_symbolizer_live.py::test_a_program_that_has_exited",
        "test_ring_buffer_live.py::test_a_full_ring_loses_the_newest_and_goes_on",
        "test_process_options.py::test_kernel_addresses_that_are_hidden",
        "test_listing_live.py::test_tracepoints_among_everything",
        "test_library.py::test_events_are_python_values",
        "test_under_load.py::test_events_that_came_while_the_cpu_was_in_a_program_are_told",
        "test_signals.py::test_the_first_signal_ends_it_in_order[2]",
    )
)


@dataclass(frozen=True)
class Suite:
    directories: tuple[str, ...]  # or tests in them
    options: tuple[str, ...] = ()
    live: bool = True  # attaches to this machine's kernel: needs root
    in_guest: bool = False


SUITES = {
    "unit": Suite(
        ("tests/unit", "tests/cases", "tests/fuzz"), ("-n", "2", "--dist", "loadfile", "-m", "not live"), live=False
    ),
    "packaging": Suite(("tests/packaging",), live=False),
    "runtime": Suite(("tests/runtime",)),
    "loads": Suite(("tests/fuzz",), ("-m", "live")),  # random programs, on this kernel
    "differential": Suite(("tests/differential",)),
    "guest": Suite(("tests/guest", *SECOND_KERNEL), ("--in-guest",), live=False, in_guest=True),
    "guest-all": Suite(("tests/guest", "tests/runtime"), ("--in-guest",), live=False, in_guest=True),
}


@dataclass
class Outcome:
    name: str
    failed: bool
    passed: int = 0
    not_passed: int = 0
    seconds: float = 0.0
    skipped: tuple[tuple[str, str], ...] = ()  # (test, reason)


class Run:
    """A suite at work. Its output goes to `log`, or where ours goes."""

    def __init__(self, name: str, extra: list[str], log: IO[bytes] | None = None) -> None:
        self.name, self.log = name, log
        suite = SUITES[name]
        directories = [d for d in suite.directories if not (ROOT / d).is_dir() or any((ROOT / d).rglob("test_*.py"))]
        where = " ".join(dict.fromkeys(d.partition("::")[0] for d in directories))
        print(f"\n\033[1m==> {name}: {where}{', beside the others' if log else ''}\033[0m", flush=True)
        self.report = REPORTS / f"{name}.xml"
        self.report.unlink(missing_ok=True)
        command = [sys.executable, "-m", "pytest", "-q", f"--junit-xml={self.report}", *suite.options, *directories, *extra]
        if suite.live and os.geteuid() != 0:
            command = ["sudo", "env", "PYTHONDONTWRITEBYTECODE=1", *command]
        self.start = time.time()
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log) if directories else None

    def outcome(self) -> Outcome:
        """When it is through."""
        failed = self.process is None or self.process.wait() != 0
        if self.log is not None:
            print(f"\n\033[1m==> {self.name}\033[0m", flush=True)
            self.log.seek(0)
            sys.stdout.buffer.write(self.log.read())
            sys.stdout.flush()
        outcome = Outcome(self.name, failed, seconds=time.time() - self.start)
        if self.report.exists():
            outcome.seconds = self.report.stat().st_mtime - self.start  # it may have ended long ago
            read_report(self.report, outcome)
        return outcome

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait()


def run_all(names: list[str], extra: list[str]) -> list[Outcome]:
    """Their outcomes, in this order."""
    runs: dict[str, Run] = {}
    outcomes: dict[str, Outcome] = {}
    with ExitStack() as stack:
        if len(os.sched_getaffinity(0)) > 1 and not all(SUITES[name].in_guest for name in names):
            for name in (name for name in names if SUITES[name].in_guest):
                runs[name] = Run(name, extra, stack.enter_context(tempfile.TemporaryFile()))
                stack.callback(runs[name].stop)
        for name in (name for name in names if name not in runs):
            run = Run(name, extra)
            stack.callback(run.stop)
            outcomes[name] = run.outcome()
        for name, beside in runs.items():
            outcomes[name] = beside.outcome()
    return [outcomes[name] for name in names]


def read_report(report: Path, outcome: Outcome) -> None:
    """Counts and skips out of a JUnit file."""
    skipped = []
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        if (skip := case.find("skipped")) is not None:
            skipped.append((f"{case.get('classname')}.{case.get('name')}", skip.get("message") or "no reason given"))
        elif case.find("failure") is not None or case.find("error") is not None:
            outcome.not_passed += 1
        else:
            outcome.passed += 1
    outcome.skipped = tuple(skipped)


def give_back() -> None:
    """Under sudo, hand what root wrote into the checkout to the checkout's owner."""
    owner = ROOT.stat()
    paths = [name for name in LEFT_BEHIND if (ROOT / name).exists()]
    if owner.st_uid == 0 or not paths:
        return
    command = ["chown", "-hR", f"{owner.st_uid}:{owner.st_gid}", *paths]
    subprocess.run(command if os.geteuid() == 0 else ["sudo", *command], cwd=ROOT, check=True)


def main(arguments: list[str]) -> int:
    names = [a for a in arguments if a in SUITES]
    extra = [a for a in arguments if a not in SUITES]  # for pytest
    if not names:
        print(f"usage: run_tests.py SUITE... [pytest option]...  (suites: {' '.join(SUITES)})", file=sys.stderr)
        return 2
    REPORTS.mkdir(parents=True, exist_ok=True)
    try:
        outcomes = run_all(names, extra)
    finally:
        give_back()
    print("\n\033[1m==> Summary\033[0m")
    for outcome in outcomes:
        verdict = "FAILED" if outcome.failed else "passed"
        print(
            f"{outcome.name:14} {verdict}: {outcome.passed} passed, {outcome.not_passed} failed, "
            f"{len(outcome.skipped)} skipped in {outcome.seconds:.0f} s"
        )
    for outcome in outcomes:
        for test, reason in outcome.skipped:
            print(f"skipped: {test}: {reason}")
    return int(any(outcome.failed for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
