"""Coverage-guided fuzzing of all targets: `make fuzz`, or `python -m tests.fuzz.run_atheris [--seconds N] [TARGET...]`.

Each target gets its share of the time in a process of its own, which libFuzzer (through atheris) drives. Inputs that
reach new code are collected in build/fuzz/TARGET. An input on which a target raises, hangs, or takes more memory than it
may is made small and left in build/fuzz/found/TARGET: fix the bug, then give it a name in tests/fuzz/corpus/TARGET.
`--keep` chooses the inputs that together reach all that was reached, for tests/fuzz/corpus/TARGET.zip.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path(__file__).parent / "corpus"
WORK = ROOT / "build" / "fuzz"
HANG = 20  # seconds for one input
MEMORY = 2048  # MiB
LONGEST = 1 << 14  # bytes of an input
KEPT, KEPT_BYTES = 250, 1 << 12  # inputs of a target in the corpus, and how long they may be
SCRIPTS = ("lexer", "parser", "compiler", "compiler_here")


def saved(target: str) -> dict[str, bytes]:
    """The committed corpus of a target: what was a bug once, under its name, and what reaches much of the code."""
    found = {path.name: path.read_bytes() for path in sorted((CORPUS / target).glob("*"))}
    archive = CORPUS / f"{target}.zip"
    if archive.exists():
        with zipfile.ZipFile(archive) as file:
            found |= {name: file.read(name) for name in file.namelist()}
    return found


# --- in the target's own process


def fuzz(target: str, arguments: list[str]) -> None:
    """Never returns: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["bpftrace_py", "elftools"], exclude=["bpftrace_py.syntax._parsetab"]):
        from tests.fuzz.guard import signature
        from tests.fuzz.seeds import seeds
        from tests.fuzz.targets import TARGETS

        function = TARGETS[target]
        for seed in seeds(target):  # what is imported late, too
            try:
                function(seed)
            except Exception as error:
                print(f"a seed: {signature(error)}", file=sys.stderr)
    known: set[str] = set()

    def one(data: bytes) -> None:
        try:
            function(data)
        except Exception as error:
            name = signature(error)
            if name not in known:  # go on: there may be others
                known.add(name)
                (WORK / "raw" / f"{target}--{name}").write_bytes(data)

    atheris.Setup(["fuzz", *arguments], one)
    atheris.Fuzz()


# --- around it


class Outcome:
    """Of one target."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.executions, self.seconds, self.coverage = 0, 0.0, 0
        self.deaths: list[str] = []


def run(target: str, seconds: float) -> Outcome:
    """Fuzz one target for so long. A hang or a crash of the interpreter ends the process: another goes on."""
    from tests.fuzz.seeds import seeds, words

    directory, raw = WORK / target, WORK / "raw"
    directory.mkdir(parents=True, exist_ok=True)
    raw.mkdir(exist_ok=True)
    for data in [*seeds(target), *saved(target).values()]:
        (directory / hashlib.sha1(data).hexdigest()).write_bytes(data)
    dictionary = WORK / "scripts.dict"
    escaped = (word.replace("\\", "\\\\").replace('"', '\\"') for word in words())
    dictionary.write_text("".join(f'"{word}"\n' for word in escaped))
    outcome = Outcome(target)
    end = time.monotonic() + seconds
    while (left := int(end - time.monotonic())) > 0 and len(outcome.deaths) < 5:
        arguments = [
            f"-max_total_time={left}", f"-timeout={HANG}", f"-rss_limit_mb={MEMORY}", f"-max_len={LONGEST}",
            f"-artifact_prefix={raw}/{target}--", "-print_final_stats=1", "-verbosity=1",
        ]  # fmt: skip
        if target in SCRIPTS:
            arguments.append(f"-dict={dictionary}")
        command = [sys.executable, "-m", "tests.fuzz.run_atheris", "--one", target, *arguments, str(directory)]
        done = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        said = done.stderr.decode("utf-8", "replace")
        (WORK / f"{target}.log").write_text(said)
        numbers = re.findall(r"stat::number_of_executed_units: (\d+)", said) or re.findall(
            r"^#(\d+)", said, re.MULTILINE
        )
        outcome.executions += int(numbers[-1]) if numbers else 0
        outcome.coverage = max([outcome.coverage, *map(int, re.findall(r"cov: (\d+)", said))])
        if done.returncode == 0:
            break
        outcome.deaths.append(said[-3000:])
    outcome.seconds = seconds - max(0.0, end - time.monotonic())
    return outcome


def collect(target: str) -> list[Path]:
    """What was found, minimised and under the name of what is wrong with it."""
    from tests.fuzz.guard import minimised, verdict

    found = []
    for path in sorted((WORK / "raw").glob(f"{target}--*")):
        data = path.read_bytes()
        name = verdict(target, data)
        if name is not None:
            kept = WORK / "found" / target / name
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(minimised(target, data))
            found.append(kept)
        path.unlink()
    return found


# --- the corpus


def keep(target: str) -> int:
    """Write the corpus of a target: of all inputs at hand, small ones first, those that reach a line not reached before."""
    from tests.fuzz.guard import limited
    from tests.fuzz.seeds import seeds
    from tests.fuzz.targets import TARGETS

    reached: set[tuple[CodeType, int, int]] = set()
    code_of_ours = f"{ROOT}/bpftrace_py/"

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(code_of_ours):
            return None
        last = 0

        def line(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal last
            reached.add((frame.f_code, last, frame.f_lineno))
            last = frame.f_lineno
            return line

        return line

    def gains(data: bytes) -> bool:
        before = len(reached)
        sys.settrace(trace)
        try:
            with limited():
                TARGETS[target](data)
        finally:
            sys.settrace(None)
        return len(reached) > before

    for data in [*seeds(target), *((CORPUS / target).glob("*"))]:
        gains(data if isinstance(data, bytes) else data.read_bytes())
    inputs = {path.read_bytes() for path in (WORK / target).glob("*")} | set(saved(target).values())
    candidates = sorted((data for data in inputs if len(data) <= KEPT_BYTES), key=lambda data: (len(data), data))
    chosen = [data for data in candidates if gains(data)][:KEPT]
    archive = CORPUS / f"{target}.zip"
    archive.unlink(missing_ok=True)
    if chosen:
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            for data in chosen:
                file.writestr(zipfile.ZipInfo(hashlib.sha1(data).hexdigest()[:12]), data, zipfile.ZIP_DEFLATED)
    return len(chosen)


def main() -> int:
    if sys.argv[1:2] == ["--one"]:
        fuzz(sys.argv[2], sys.argv[3:])
    from tests.fuzz.targets import TARGETS

    options = argparse.ArgumentParser(prog="run_atheris", description="Coverage-guided fuzzing.")
    options.add_argument("--seconds", type=float, default=300, help="for all targets together")
    options.add_argument("--keep", action="store_true", help="write the corpus from what was found before; no fuzzing")
    options.add_argument("targets", nargs="*", metavar="TARGET", help=f"one of: {', '.join(TARGETS)}")
    given = options.parse_args()
    targets = given.targets or list(TARGETS)
    if unknown := set(targets) - set(TARGETS):
        options.error(f"no target {', '.join(sorted(unknown))}")
    if given.keep:
        for target in targets:
            print(f"{target:16} {keep(target):4} inputs kept")
        return 0
    all_found = []
    for target in targets:
        outcome = run(target, given.seconds / len(targets))
        found = collect(target)
        all_found += found
        print(
            f"{target:16} {outcome.executions:9} inputs in {outcome.seconds:5.0f} s, {outcome.coverage:5} branches, "
            f"{len(found)} found{', ended early' if len(outcome.deaths) > 4 else ''}", flush=True,
        )  # fmt: skip
    for path in all_found:
        print(f"found: {path.relative_to(ROOT)}: {path.read_bytes()[:60]!r}")
    return int(bool(all_found))


if __name__ == "__main__":
    sys.exit(main())
