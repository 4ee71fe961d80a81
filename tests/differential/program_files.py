"""The format of `programs/*.txt`: programs to run through bpftrace-py and through Debian's bpftrace.

    == name of the program, unique in its file
    #: run: shell command      run once both are attached; then both get Ctrl-C. Without it the program ends by itself
    #: until: regular expression   after the run, wait until both have printed this; for programs that print events,
                               # since the peer does not print at its end what it has not read yet
    #: args: words             positional parameters
    #: env: NAME=value ...     for both
    #: ties                    some map values are equal: the peer prints those in no particular order, we by key
    #: rejected                both must refuse it
    #: differs: heading        a difference on purpose: the heading in docs/differences.md that explains it
    the program's text, up to the next "== "

The options are optional; text before the first "== " is for the reader.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class ProgramCase:
    file: Path
    line: int
    name: str
    text: str
    run: str | None = None
    until: str | None = None
    args: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    ties: bool = False
    rejected: bool = False
    differs: str | None = None

    @property
    def id(self) -> str:
        return f"{self.file.stem}: {self.name}"


def read(path: Path) -> list[ProgramCase]:
    """The programs of one file; `ValueError` with the place for what does not follow the format."""
    cases: list[ProgramCase] = []
    for number, line in enumerate(path.read_text().splitlines(keepends=True), start=1):
        if line.startswith("== "):
            name = line[3:].strip()
            if any(case.name == name for case in cases):
                raise ValueError(f"{path}:{number}: there is a second program {name!r}")
            cases.append(ProgramCase(path, number, name, ""))
        elif cases and (option := re.fullmatch(r"#: (\w+)(?:: (.*))?\n", line)):
            _set(cases[-1], option[1], option[2] or "", f"{path}:{number}")
        elif cases:
            cases[-1].text += line
    for case in cases:
        case.text = case.text.strip()
        if not case.text:
            raise ValueError(f"{path}:{case.line}: {case.name!r} has no program")
    return cases


def _set(case: ProgramCase, option: str, value: str, place: str) -> None:
    if option == "run":
        case.run = value
    elif option == "until":
        case.until = value
    elif option == "args":
        case.args = shlex.split(value)
    elif option == "env":
        case.env = dict(word.split("=", 1) for word in shlex.split(value))
    elif option in ("ties", "rejected"):
        setattr(case, option, True)
    elif option == "differs":
        case.differs = value
    else:
        raise ValueError(f"{place}: unknown option {option!r}")
