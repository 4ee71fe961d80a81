"""Reads the case files: programs, each with what the compiler is to say about it.

A file of `diagnostics/` is a list of cases:

    === what is wrong
    option: value
    --
    the program
    ---
    the diagnostics, as they are shown without colour, or `(accepted)`

The options are optional, and so is the `--` behind them: `parameters` (of the script, separated by spaces), `strlen`,
`max_probes`, `safe`, `types: no` (a kernel without BTF), `tracepoints: no` (a host that knows none), `programs: yes`
(the directory has the test programs). A file of `generated/` has one program and the C it becomes; see `Golden`.
Everything that a case knows of a machine comes from `tests.fake_host`, so that it is the same on every one.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from bpftrace_py.compiler import compile_source
from bpftrace_py.config import Config
from bpftrace_py.diagnostics import BpftraceError, Diagnostic
from bpftrace_py.source import Source
from tests.fake_host import FakeHost

DIRECTORY = Path(__file__).parent
DIAGNOSTICS = sorted((DIRECTORY / "diagnostics").glob("*.txt"))
GENERATED = sorted((DIRECTORY / "generated").glob("*.bt"))
ACCEPTED = "(accepted)"
NAME = "script.bt"


@dataclass
class Case:
    title: str
    program: str
    expected: str
    options: dict[str, str] = field(default_factory=dict)

    def diagnose(self) -> tuple[Diagnostic, ...]:
        """Compile, and give all that is said: the errors, or the warnings of a program that is accepted."""
        said: list[Diagnostic] = []
        with _directory(self.options.get("programs") == "yes"):
            try:
                compile_source(
                    Source(self.program, NAME),
                    self._config(),
                    self._host(),
                    on_warning=lambda d: said.extend(d.warnings),
                )
            except BpftraceError as error:
                return error.diagnostics
        return tuple(said)

    def render(self) -> str:
        """What `expected` has to be."""
        text = "\n".join(d.render() for d in self.diagnose()) or ACCEPTED
        return text.replace(_programs().name, "/programs") if self.options.get("programs") == "yes" else text

    def _config(self) -> Config:
        values: dict[str, object] = {
            name: int(self.options[name]) for name in ("strlen", "max_probes") if name in self.options
        }
        values["parameters"] = tuple(self.options.get("parameters", "").split())
        values["safe"] = self.options.get("safe") == "yes"
        return Config(**values)  # type: ignore[arg-type]

    def _host(self) -> FakeHost:
        host = FakeHost(types=self.options.get("types") != "no")
        if self.options.get("tracepoints") == "no":
            host.formats.clear()
        if self.options.get("programs") == "yes":
            host.architecture = os.uname().machine  # what the test programs are built for
        return host


@contextmanager
def _directory(programs: bool) -> Iterator[None]:
    """Run in a directory of known content: the test programs under names that no machine changes."""
    if not programs:
        yield
        return
    before = os.getcwd()
    os.chdir(_programs().name)
    try:
        yield
    finally:
        os.chdir(before)


@cache
def _programs() -> tempfile.TemporaryDirectory[str]:
    from tests.testprogs import build

    kept = tempfile.TemporaryDirectory(prefix="cases-")
    directory = kept.name
    for name in ("functions", "functions_fixed", "tick"):
        os.symlink(build.program(name), os.path.join(directory, name))
    os.symlink(build.stripped("functions"), os.path.join(directory, "stripped"))
    Path(directory, "notes.txt").write_text("this is no program\n")
    return kept


def read(path: Path) -> list[Case]:
    """The cases of a file. Raises `ValueError` with the place if the file is not as described above."""
    cases = []
    for block in re.split(r"^=== ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        title, _, body = block.partition("\n")
        program, found, expected = body.partition("\n---\n") if not body.startswith("---\n") else ("", "---", body[4:])
        if not found:
            raise ValueError(f"{path.name}: the case `{title}` has no `---`")
        options = {}
        head, separated, rest = program.partition("\n--\n")
        if separated:
            options = dict(line.split(": ", 1) for line in head.splitlines())
            program = rest
        cases.append(Case(title.strip(), program, expected.strip("\n"), options))
    return cases


def write(path: Path, cases: list[Case]) -> None:
    """Write a file again, with what is said now as what is expected."""
    blocks = []
    for case in cases:
        head = "".join(f"{name}: {value}\n" for name, value in case.options.items())
        program = f"{case.program}\n" if case.program else ""
        blocks.append(f"=== {case.title}\n{head}{'--' + chr(10) if head else ''}{program}---\n{case.render()}\n")
    path.write_text("\n".join(blocks), encoding="utf-8")


@dataclass
class Golden:
    """One good program (`NAME.bt`) and the C it becomes (`NAME.c` beside it)."""

    path: Path

    @property
    def expected(self) -> Path:
        return self.path.with_suffix(".c")

    def generate(self) -> str:
        source = Source(self.path.read_text(encoding="utf-8"), self.path.name)
        return compile_source(source, Config(), FakeHost()).c_source
