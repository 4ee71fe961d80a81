"""docs/reliability.md and SECURITY.md: every row of their tables names tests that exist, and every such test is named there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "reliability.md").read_text()
PROMISES = (TESTS.parent / "SECURITY.md").read_text()
HEADS = ("| fault |", "| load |", "| promise |")
ROWS = [line for line in (PAGE + PROMISES).splitlines() if line.startswith("| ") and not line.startswith(HEADS)]
REFERENCE = re.compile(r"`((?:unit|runtime|fuzz|guest)/\w+\.py)(?:::(\w+))?`")
FAULTS = ("test_faults_machine.py", "test_faults_processes.py", "test_under_load.py", "test_security.py")
# What has to have a row: the faults that a tracer meets.
NAMED = """Ctrl-C; SIGTERM; SIGHUP; broken pipe; full disk behind `-o`; `-p` dies; replaced by `exec`; binary is deleted; `-c` cannot
start; id is used again; fork storm; CPU hot-unplug; several instances; no file descriptors; no memory for maps; no root;
capabilities without root; tracefs not mounted; debugfs absent; lockdown; BTF missing; BCC missing; a kernel without""".replace(
    "\n", " "
)


def functions(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_every_row_names_tests_that_exist(row: str) -> None:
    references = REFERENCE.findall(row)
    assert references, "it names no test"
    for file, name in references:
        assert (TESTS / file).exists(), file
        assert not name or name in functions(TESTS / file), f"{file}::{name}"


@pytest.mark.parametrize("fault", [" ".join(part.split()) for part in NAMED.split(";")])
def test_every_fault_has_a_row(fault: str) -> None:
    assert any(fault in row.split("|")[1] for row in ROWS)


@pytest.mark.parametrize("file", FAULTS)
def test_every_fault_test_is_on_the_page(file: str) -> None:
    shown = {name for path, name in REFERENCE.findall(PAGE + PROMISES) if path == f"runtime/{file}"}
    missing = {name for name in functions(TESTS / "runtime" / file) if name.startswith("test_")} - shown
    assert missing - {"test_the_books_of_the_soak_balance"} == set()


def test_codes_in_the_tables_are_those_of_the_registry() -> None:
    """The sentence that a row quotes is the one that the registry has for its code."""
    from bpftrace_py import messages

    for kind, code, text in re.findall(r"`(error|warning)\[([EW]\d+)\]: ([^`]*)`(?!`)", PAGE):
        assert code in messages.ALL, code
        assert (kind == "error") == code.startswith("E")
        begin = re.split(r"[{`]", messages.ALL[code].template)[0]
        assert text.startswith(begin) or not begin, (code, text, begin)
