"""Writes the tables of docs/language.md from those that the compiler reads.

    python scripts/make_language_doc.py            writes the file
    python scripts/make_language_doc.py --check    only tells, by its exit status, whether it is up to date

The text around the tables is written by hand, in the file itself. A table stands between `<!-- table: NAME -->` and
`<!-- end -->`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bpftrace_py import cli  # noqa: E402
from bpftrace_py.language import builtins, functions, probe_types  # noqa: E402
from bpftrace_py.probes import perf_event  # noqa: E402
from bpftrace_py.types import UNKNOWN  # noqa: E402

DOCUMENT = ROOT / "docs" / "language.md"
_TABLE = re.compile(r"(<!-- table: ([a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def code(text: str) -> str:
    """Code inside a cell of a table, where `|` would end the cell."""
    escaped = text.replace("|", "\\|")
    return f"`{escaped}`"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def probe_type_table() -> str:
    return table(
        ("probe", "short", "when", "offers", "example"),
        (
            (
                code(p.syntax),
                ", ".join(map(code, p.aliases)),
                p.doc,
                ", ".join(code(name) for name in sorted(p.builtins)),
                code(p.example),
            )
            for p in probe_types.PROBE_TYPES.values()
        ),
    )


def event_table() -> str:
    return table(
        ("event", "short", "type", "default count"),
        (
            (code(event.name), code(event.alias) if event.alias else "", code(type_name), f"{event.count:,}")
            for type_name, events in (("software", perf_event.SOFTWARE), ("hardware", perf_event.HARDWARE))
            for event in events
        ),
    )


def builtin_table() -> str:
    numbered = [found for name in ("arg0", "sarg0") if (found := builtins.find(name)) is not None]

    def name_of(builtin: builtins.Builtin) -> str:
        if builtin in numbered:
            stem = builtin.name[:-1]
            return f"{code(builtin.name)} ... {code(stem + str(builtins.MAX_ARGUMENTS - 1))}"
        return code(builtin.name)

    return table(
        ("name", "type", "what it is", "example"),
        (
            (
                name_of(b),
                "of the probe" if b.type is UNKNOWN else str(b.type),
                b.doc,
                code(b.example),
            )
            for b in (*builtins.BUILTINS.values(), *numbered)
        ),
    )


def function_table() -> str:
    def properties(function: functions.Function) -> str:
        named = (
            ("later", function.asynchronous),
            ("map only", function.aggregate),
            ("acts", function.unsafe),
        )
        return ", ".join(name for name, is_so in named if is_so)

    return table(
        ("function", "what it does", "example", ""),
        ((code(f.signature), f.doc, code(f.example), properties(f)) for f in functions.FUNCTIONS.values()),
    )


def environment_table() -> str:
    section = cli.USAGE.partition("ENVIRONMENT:\n")[2].partition("\n\n")[0]
    rows = re.findall(r"^ +(\w+) +\[default: (.*?)\] (.*)$", section, re.MULTILINE)
    return table(("variable", "default", "what it sets"), ((code(name), value, text) for name, value, text in rows))


TABLES: dict[str, Callable[[], str]] = {
    "probe types": probe_type_table,
    "events": event_table,
    "builtins": builtin_table,
    "functions": function_table,
    "environment": environment_table,
}


def filled_in(text: str) -> str:
    """The document with its tables made anew. `KeyError` for a table that nobody knows."""
    return _TABLE.sub(lambda match: match[1] + TABLES[match[2]]() + match[3], text)


def main(arguments: list[str]) -> int:
    old = DOCUMENT.read_text(encoding="utf-8")
    new = filled_in(old)
    if "--check" in arguments:
        return int(new != old)
    DOCUMENT.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
