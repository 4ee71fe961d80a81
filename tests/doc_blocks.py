"""The code blocks of the documentation, as tests run them. CONTRIBUTING.md describes the convention.

A block's language says what happens to it; a comment `<!-- test: ... -->` on the line before it says what it needs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LANGUAGES = ("console", "sh", "python", "output", "bpftrace", "c", "text")
NEEDS = ("kprobe", "fentry", "hardware_events")  # what a block may need of the kernel: properties of `Features`
OPTIONS = ("some", "while", "status", "save", "not run")
INTERRUPT = "^C"  # in the output of a command: here its user presses Ctrl-C
ANY_LINES = "..."


@dataclass
class Block:
    """One fenced block. `line` is that of its fence; `options` are those of the comment before it."""

    path: Path
    line: int
    language: str
    text: str
    options: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.path.relative_to(ROOT) if self.path.is_relative_to(ROOT) else self.path.name}:{self.line}"

    @property
    def needs(self) -> list[str]:
        return [option for option in self.options if option in NEEDS]


@dataclass
class Command:
    """A command of a console block, and the lines that it shows."""

    text: str
    output: list[str] = field(default_factory=list)


# Its blocks are the cases of tests/cases, which are run there.
GENERATED = ("errors.md",)


def documents() -> list[Path]:
    """Every document whose blocks are run."""
    pages = [path for path in sorted((ROOT / "docs").glob("*.md")) if path.name not in GENERATED]
    return [*sorted(ROOT.glob("*.md")), ROOT / "examples" / "README.md", *pages]


def without_blocks(text: str) -> str:
    """The text of a document outside of its fences."""
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """The names by which a link can lead to a heading of a document, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.*?)\s*$", without_blocks(path.read_text(encoding="utf-8")), re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        count = 0
        while (numbered := f"{name}-{count}" if count else name) in found:
            count += 1
        found.add(numbered)
    return found


def links(path: Path) -> list[tuple[str, str]]:
    """(file, anchor) of each link of a document to this repository; the file is empty for a link into the same one."""
    found = re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", without_blocks(path.read_text(encoding="utf-8")))
    return [(file, anchor) for file, anchor in found if not file.startswith(("http://", "https://"))]


def read_blocks(path: Path) -> list[Block]:
    """The fenced blocks of a document. `ValueError` for one that breaks the convention."""
    blocks: list[Block] = []
    options: dict[str, str] = {}
    current: Block | None = None
    lines: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if current is not None:
            if line.strip() == "```":
                current.text = "\n".join(lines)
                blocks.append(current)
                current = None
            else:
                lines.append(line)
        elif line.lstrip().startswith("```"):
            language = line.strip()[3:]
            if language not in LANGUAGES:
                raise ValueError(
                    f"{path.name}:{number}: a block of language {language!r}; known are {', '.join(LANGUAGES)}"
                )
            current, lines, options = Block(path, number, language, "", options), [], {}
        elif line.startswith("<!-- test: ") and line.endswith(" -->"):
            options.update(_options(line[len("<!-- test: ") : -len(" -->")], f"{path.name}:{number}"))
        elif line.strip() and options:
            raise ValueError(f"{path.name}:{number}: `<!-- test: -->` belongs on the line before a block")
    if current is not None:
        raise ValueError(f"{current.name}: the block does not end")
    return blocks


def _options(text: str, place: str) -> dict[str, str]:
    name = next((n for n in (*OPTIONS, *NEEDS) if text == n or text.startswith((f"{n} ", f"{n}: "))), None)
    if name is None:
        raise ValueError(f"{place}: no such option: {text}")
    return {name: text[len(name) :].lstrip(": ")}


def commands(block: Block) -> list[Command]:
    """The commands of a console block: lines behind `# `, over several lines while a quote is open."""
    found: list[Command] = []
    open_quote = False
    for line in block.text.splitlines():
        if open_quote:
            found[-1].text += "\n" + line
        elif line.startswith("# "):
            found.append(Command(line[2:]))
        elif found:
            found[-1].output.append(line)
            continue
        else:
            raise ValueError(f"{block.name}: a console block starts with a command, behind `# `")
        open_quote = found[-1].text.count("'") % 2 == 1 or found[-1].text.endswith("\\")
    return found


# What varies from run to run: hexadecimal and decimal numbers with their units, the bars of histograms, white space.
_VARYING = re.compile(r"\|[@ ]+\||0x[0-9a-f]+|\b[0-9a-f]{16}\b|\d+[KMGTPE]?\b|\s+|.", re.DOTALL)


def line_pattern(line: str) -> str:
    """A regular expression for the line and for what it may be on another day."""
    parts = []
    for match in _VARYING.finditer(line.rstrip()):
        text = match.group()
        if text[0] == "|" and len(text) > 1:
            parts.append(r"\|[@ ]*\|")
        elif text.startswith("0x") or (len(text) == 16 and text.isalnum()):
            parts.append(r"(?:0x)?[0-9a-f]+")
        elif text[0].isdigit():
            parts.append(r"\d+[KMGTPE]?")
        elif text.isspace():
            parts.append(r"\s+")
        else:
            parts.append(re.escape(text))
    # A number may have fewer digits than the one shown, and so stand behind more or fewer spaces, or none.
    return r"[ \t]*" + "".join(parts).replace(r"\|\s+", r"\|\s*").removeprefix(r"\s+")


def find_output(expected: list[str], output: str, *, some: bool) -> str | None:
    """The first expected line that the output does not have; None if all is as expected.

    With `some`, every line is somewhere; else the lines are in this order, with nothing between them where no `...` is.
    """
    actual = [line.rstrip() for line in output.splitlines()]
    if some:
        for line in expected:
            if line.strip() and line != ANY_LINES and not any(re.fullmatch(line_pattern(line), a) for a in actual):
                return line
        return None
    wanted = [line for line in expected if line.strip()]
    present = [line for line in actual if line.strip()]
    return _in_order(wanted, present)


def _in_order(wanted: list[str], present: list[str]) -> str | None:
    place, may_skip = 0, False
    for line in wanted:
        if line == ANY_LINES:
            may_skip = True
            continue
        pattern = re.compile(line_pattern(line))
        while place < len(present) and not pattern.fullmatch(present[place]):
            if not may_skip:
                return line
            place += 1
        if place == len(present):
            return line
        place, may_skip = place + 1, False
    return None if may_skip or place == len(present) else f"(nothing more, but there is {present[place]!r})"
