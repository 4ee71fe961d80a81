"""What docs/internals.md says of the modules, and of who may import whom, against the modules."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import bpftrace_py

PACKAGE = Path(bpftrace_py.__file__).parent
PAGE = (PACKAGE.parent / "docs" / "internals.md").read_text(encoding="utf-8")
GENERATED = {"syntax/_parsetab.py"}
STAGES = ("syntax", "analysis", "codegen", "runtime", "output")
HANDED_ON = {"codegen.unit", "output.printf", "output.late_strings", "output.shell_command"}


def modules() -> dict[str, Path]:
    """Each module's file by its path in the package, such as `syntax/lexer.py`."""
    files = {path.relative_to(PACKAGE).as_posix(): path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"}
    return {name: path for name, path in files.items() if name not in GENERATED}


def in_tables() -> list[str]:
    """The modules that the tables of the page name: their headings are a directory, each row begins with a file."""
    found = []
    for room, rows in re.findall(r"^\| `(\w+)/` \| \|\n\|---\|---\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE):
        prefix = "" if room == PACKAGE.name else f"{room}/"
        found += [prefix + name for name in re.findall(r"^\| `(\w+\.py)` \| \S.* \|$", rows, re.MULTILINE)]
    return found


def test_every_module_is_in_a_table_once() -> None:
    assert sorted(in_tables()) == sorted(modules())


def imported(path: Path) -> set[str]:
    """The modules of the package that a file imports, such as `codegen.unit`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(PACKAGE.name):
            base = node.module.removeprefix(PACKAGE.name).lstrip(".")
            found |= {f"{base}.{alias.name}" for alias in node.names} if "." not in base else {base}
    return found


@pytest.mark.parametrize("stage", STAGES[:3])
def test_no_stage_of_the_compiler_imports_from_one_further_right(stage: str) -> None:
    later = STAGES[STAGES.index(stage) + 1 :]
    for path in (PACKAGE / stage).glob("*.py"):
        wrong = {name for name in imported(path) if name.partition(".")[0] in later} - HANDED_ON
        assert not wrong, f"{path.name} imports {sorted(wrong)}"
