"""The script's own macros are replaced token by token."""

from __future__ import annotations

import pytest

from bpftrace_py.diagnostics import Diagnostics
from bpftrace_py.source import Source
from bpftrace_py.syntax import ast
from bpftrace_py.syntax.parser import parse
from bpftrace_py.syntax.printer import expression_source


def assigned(text: str) -> ast.Expression:
    """What the first statement of a program assigns."""
    diagnostics = Diagnostics(Source(text))
    program = parse(diagnostics.source, diagnostics)
    assert program is not None and not diagnostics.errors
    statement = program.probes[0].body.statements[0]
    assert isinstance(statement, ast.Assignment)
    return statement.value


def printed(macros: str, expression: str) -> str:
    """`expression` as it is read behind `macros`."""
    return expression_source(assigned(f"{macros}\nBEGIN {{ @ = {expression}; }}"))


@pytest.mark.parametrize(
    "macros, expression, expected",
    [
        ("#define A 1 + 2", "A * 3", "1 + 2 * 3"),
        ("#define A (1 + 2)", "A * 3", "(1 + 2) * 3"),
        ("#define A B + 1\n#define B pid", "A", "pid + 1"),
        ("#define ME pid", "ME", "pid"),
        ("# define A  1 + \\\n 2", "A", "1 + 2"),
        ("#define A 1 + 2 // three\n", "A", "1 + 2"),
        ("#define T uint8", "(T)5", "(uint8)5"),
        ("#define A A + 1", "A", "A + 1"),
        ("#define A B + 1\n#define B A + 2", "A", "A + 2 + 1"),
        ("#define A str(0)", "A", "str(0)"),
        ("#define f 1 + 1", "$x->f", "$x->f"),
    ],
)
def test_what_a_macro_stands_for(macros: str, expression: str, expected: str) -> None:
    assert printed(macros, expression) == expected


@pytest.mark.parametrize(
    "macros",
    ["#define A 5", '#define A "text"', "#define A 'c'", '#define A "one" "two"', "#define A(x) x", "#define A SQUARE(2)",
     "#ifdef X\n#define A 1 + 1\n#else\n#define A 2 + 2\n#endif", "#define A 1 + 1\n#undef A", "#define A {", "#define A"],
)  # fmt: skip
def test_what_is_left_to_clang(macros: str) -> None:
    assert printed(macros, "A") == "A"


def test_what_comes_of_a_macro_is_where_its_name_is() -> None:
    text = "#define A 1 + 2\nBEGIN { @ = A; }"
    span = assigned(text).span
    assert text[span.start : span.end] == "A"


def test_macros_that_double_end() -> None:
    lines = ["#define M0 1 + 1", *(f"#define M{n} M{n - 1} + M{n - 1}" for n in range(1, 60))]
    text = "\n".join(lines) + "\nBEGIN { @ = M59; }"
    parse(Source(text), Diagnostics(Source(text)))
