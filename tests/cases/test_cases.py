"""Every case says what it is expected to say, and good programs become the C that is committed beside them.

After a change that is meant to show here: `scripts/rewrite_cases.py`, then read the difference.
"""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from bpftrace_py import messages
from tests.cases.case_files import ACCEPTED, DIAGNOSTICS, GENERATED, Case, Golden, read

CASES = [(path.stem, case) for path in DIAGNOSTICS for case in read(path)]

# What a program can cause, but no data file can show the same on every machine; each has a unit test of its own.
ELSEWHERE = {
    "E0108": "test_parser: a program of hundreds of brackets",
    "E0221": "test_user_specs: the size of a function is the compiler's choice",
    "E0222": "test_user_specs: so are the instructions in it",
    "W0201": "test_user_specs: a processor whose instructions are not known",
    "W0203": "test_user_specs: a binary that was replaced while it runs",
    "W0202": "test_user_specs: the C library's indirect functions",
    "E0243": "test_usdt_notes: the places of arguments are the compiler's choice",
    "E0240": "a tracepoint that goes away while the program is compiled",
    "E0244": "test_user_arguments: programs of our own, with debug information and without",
    "E0245": "test_user_arguments: what a compiler adds to a program",
    "E0246": "test_user_arguments: where the calling convention has arguments",
    "E0247": "test_user_arguments: a place in a function",
    "E0340": "test_process_options: a program that runs without -c",
    "E0241": "a function that goes away while the program is compiled",
    "E0352": "test_c_declarations: files beside the script",
    "E0354": "test_c_declarations: files beside the script",
    "E0355": "test_c_declarations: without libclang",
    "E0356": "test_c_declarations: libclang gives up",
}


@pytest.mark.parametrize("case", [pytest.param(case, id=f"{name}: {case.title}") for name, case in CASES])
def test_diagnostics(case: Case) -> None:
    assert case.render() == case.expected


def test_there_are_cases_for_every_message_a_program_can_cause() -> None:
    shown = {code for _, case in CASES for code in re.findall(r"(?:error|warning)\[(\w+)\]", case.expected)}
    of_programs = {code for code in messages.ALL if code[1:3] in ("01", "02", "03", "04", "05", "06")}
    assert of_programs - shown - set(ELSEWHERE) == set()
    assert shown & set(ELSEWHERE) == set()


@pytest.mark.parametrize("path", DIAGNOSTICS, ids=lambda path: path.stem)
def test_titles_are_different(path: Path) -> None:
    titles = [case.title for case in read(path)]
    assert len(titles) == len(set(titles))


@pytest.mark.parametrize("case", [pytest.param(case, id=f"{name}: {case.title}") for name, case in CASES])
def test_markers(case: Case) -> None:
    """Every diagnostic has a place within the program, and no place is told the same twice."""
    if case.expected == ACCEPTED:
        return
    said = case.diagnose()
    for diagnostic in said:
        if diagnostic.code not in ("E0105", "E0120", "E0601"):
            assert diagnostic.span is not None
        if diagnostic.span is not None:
            assert 0 <= diagnostic.span.start <= diagnostic.span.end <= len(case.program)
    assert len({(d.code, d.span) for d in said}) == len(said)


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.stem)
def test_generated_c(path: Path) -> None:
    golden = Golden(path)
    assert golden.generate() == golden.expected.read_text(encoding="utf-8")


def test_the_document_of_errors_is_up_to_date() -> None:
    """If not: `scripts/make_errors_doc.py` writes it."""
    path = Path(__file__).parents[2] / "scripts" / "make_errors_doc.py"
    maker = runpy.run_path(str(path))
    assert maker["DOCUMENT"].read_text(encoding="utf-8") == maker["document"]()
