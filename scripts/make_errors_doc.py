"""Writes docs/errors.md: every message with its sentence, what it means, and an example from tests/cases as it is shown."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bpftrace_py.diagnostics import Message  # noqa: E402
from bpftrace_py.messages import ALL  # noqa: E402
from tests.cases.case_files import DIAGNOSTICS, Case, read  # noqa: E402

DOCUMENT = ROOT / "docs" / "errors.md"
_FAMILIES = {
    "01": "Syntax",
    "02": "Probes",
    "03": "Names and types",
    "04": "Functions",
    "05": "Maps",
    "06": "Limits",
    "07": "The machine and its kernel",
    "08": "Options and environment",
    "09": "While a program runs",
}
_AREAS = ("syntax", "probes", "names", "functions", "maps", "limits", "declarations")
_INTRODUCTION = """\
# What bpftrace-py says

Each message has a code, which never changes its meaning: `E` keeps a program from running, `W` is a warning. The sentences
below have names in braces where a message has a name or a number. The examples are those of `tests/cases`, with what is
shown for them.

Errors in a program are shown all at once, each with the place, the line, and a marker below it. Notes and hints follow.
They are coloured on a terminal, unless `NO_COLOR` is set. The exit status is 1, and 2 for a command line that cannot be
understood.

This file is made by `scripts/make_errors_doc.py` from `bpftrace_py/messages/`.
"""


def document() -> str:
    """The text of docs/errors.md."""
    examples = _examples()
    parts = [_INTRODUCTION]
    for family, heading in _FAMILIES.items():
        messages = sorted((m for m in ALL.values() if m.code[1:3] == family), key=lambda m: (m.code[0], m.code))
        parts.append(f"\n## {heading}\n")
        parts += [_entry(message, examples.get(message.code)) for message in messages]
    return "".join(parts)


def _examples() -> dict[str, Case]:
    """For each code the first case that shows it and nothing else, or else the first that shows it at all."""
    alone: dict[str, Case] = {}
    among: dict[str, Case] = {}
    for path in sorted(DIAGNOSTICS, key=lambda path: _AREAS.index(path.stem)):
        for case in read(path):  # by area, in the order in which a program is read
            codes = re.findall(r"(?:error|warning)\[(\w+)\]", case.expected)
            for code in codes:
                (alone if len(codes) == 1 and case.program else among).setdefault(code, case)
    return among | alone


def _entry(message: Message, example: Case | None) -> str:
    sentence = re.sub(r"`([^`]*)`", r"\1", message.template).replace("{excerpt}", "")
    text = f"\n### {message.code}\n\n`{sentence}`\n"
    if message.explanation:
        text += f"\n{message.explanation}\n"
    if example is not None:
        if example.program.count("\n"):
            text += f"\n```c\n{example.program}\n```\n"
        text += f"\n```text\n{example.expected}\n```\n"
    return text


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
