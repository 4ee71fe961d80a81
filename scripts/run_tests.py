"""Runs test suites by name, one pytest each, and says at the end what passed, failed and was skipped, and why.

A suite that fails does not stop the next one, but the exit status is 1 if any failed. Suites that attach to the kernel
run one test at a time: they share that kernel.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
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
        "test_signals.py::test_the_first_signal_ends_it_in_order[2]",
    )
)


@dataclass(frozen=True)
class Suite:
    directories: tuple[str, ...]  # or tests in them
    options: tuple[str, ...] = ()
    live: bool = True  # attaches to this machine's kernel: needs root


SUITES = {
    "unit": Suite(
        ("tests/unit", "tests/cases", "tests/fuzz"), ("-n", "2", "--dist", "loadfile", "-m", "not live"), live=False
    ),
    "packaging": Suite(("tests/packaging",), live=False),
    "runtime": Suite(("tests/runtime",)),
    "loads": Suite(("tests/fuzz",), ("-m", "live")),  # random programs, on this kernel
    "differential": Suite(("tests/differential",)),
    "guest": Suite(("tests/guest", *SECOND_KERNEL), ("--in-guest",), live=False),
    "guest-all": Suite(("tests/guest", "tests/runtime"), ("--in-guest",), live=False),
}


@dataclass
class Outcome:
    name: str
    failed: bool
    passed: int = 0
    not_passed: int = 0
    seconds: float = 0.0
    skipped: tuple[tuple[str, str], ...] = ()  # (test, reason)


def run(name: str, suite: Suite, extra: list[str]) -> Outcome:
    directories = [d for d in suite.directories if not (ROOT / d).is_dir() or any((ROOT / d).rglob("test_*.py"))]
    print(f"\n\033[1m==> {name}: {' '.join(dict.fromkeys(d.partition('::')[0] for d in directories))}\033[0m", flush=True)
    report = REPORTS / f"{name}.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", f"--junit-xml={report}", *suite.options, *directories, *extra]
    if suite.live and os.geteuid() != 0:
        command = ["sudo", "env", "PYTHONDONTWRITEBYTECODE=1", *command]
    start = time.monotonic()
    status = subprocess.run(command, cwd=ROOT).returncode if directories else 5
    outcome = Outcome(name, failed=status != 0, seconds=time.monotonic() - start)
    if report.exists():
        read_report(report, outcome)
    return outcome


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
        outcomes = [run(name, SUITES[name], extra) for name in names]
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
