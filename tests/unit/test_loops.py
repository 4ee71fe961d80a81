"""Which loops the verifier may follow round by round, which variables it must not follow, and the bounds of the others."""

from __future__ import annotations

import pytest

from bpftrace_py.codegen.loops import LoopPlan
from bpftrace_py.codegen.unit import BoundedLoop, Unit
from bpftrace_py.compiler import compile_source, parse_source
from bpftrace_py.config import Config
from bpftrace_py.diagnostics import Diagnostics
from bpftrace_py.source import Source
from bpftrace_py.syntax import ast
from bpftrace_py.syntax.visitor import walk
from tests.fake_host import FakeHost


def plan(body: str) -> tuple[list[bool], set[str]]:
    """Whether each loop is short, in the order of the text, and the variables that are not followed."""
    source = Source(f"BEGIN {{ {body} }}")
    (probe,) = parse_source(source, Diagnostics(source)).probes
    found = LoopPlan(probe)
    loops = [node for node in walk(probe) if isinstance(node, (ast.While, ast.Unroll))]
    return [found.is_short(loop) for loop in loops], found.unfollowed


def compiled(body: str) -> Unit:
    return compile_source(Source(f"BEGIN {{ {body} }}"), Config(), FakeHost())


@pytest.mark.parametrize(
    ("body", "short", "unfollowed"),
    [
        ("$i = 0; while ($i < 64) { $i++; }", [True], set()),
        ("$i = 0; while ($i < 65) { $i++; @ = count(); }", [False], {"i"}),
        ("$i = 9; while ($i > 0) { $i -= 2; @ = $i; }", [True], set()),
        ("$i = 0; while ($i < pid) { $i++; }", [False], {"i"}),
        ("$i = pid; while ($i < 10) { $i++; }", [False], {"i"}),
        ("while (1) { @ = count(); }", [False], set()),
        ("unroll(64) { @ = count(); }", [True], set()),
        ("unroll(65) { $x = rand; @ = count(); }", [False], {"x"}),
        ("unroll(650) { $x = 1; }", [True], set()),  # what calls nothing may be longer
        ("unroll(6500) { $x = 1; }", [False], {"x"}),
        # what every round changes in the same way is followed, what a branch decides is not
        ("$i = 0; $x = 0; while ($i < 9) { $i++; $x += 2; }", [True], set()),
        ("$i = 0; $x = 0; while ($i < 9) { $i++; if (rand) { $x += 2; } }", [True], {"x"}),
        ("$i = 0; $x = 0; while ($i < 9) { $i++; if (rand) { continue; } $x++; }", [True], {"x"}),
        ("$i = 0; $x = 0; while ($i < 9) { $i++; @ = rand ? $x++ : 1; }", [True], {"x"}),
        ("$x = 0; if (rand) { unroll(3) { $x++; } }", [True], set()),
        # the rounds of loops in each other are multiplied
        ("$i = 0; while ($i < 8) { $i++; $j = 0; while ($j < 8) { $j++; } }", [True, True], set()),
        ("$i = 0; while ($i < 8) { $i++; $j = 0; while ($j < 9) { $j++; @ = count(); } }", [True, False], {"j"}),
        ("unroll(8) { if (rand) { $j = 0; while ($j < 8) { $j++; } } }", [True, False], {"j"}),  # it is set in a branch
        ("unroll(8) { $j = 0; $k = 0; while ($j < 8) { $j++; } }", [True, True], set()),
        # a counter that a longer loop has as well cannot be followed in the short one
        ("$i = 0; while ($i < 5) { $i++; } $i = 0; while ($i < 5000) { $i++; }", [False, False], {"i"}),
        # nothing in a loop that is not short is followed
        ("while (rand) { $x = 1; $i = 0; while ($i < 5) { $i++; } }", [False, False], {"x", "i"}),
    ],
)
def test_plan(body: str, short: list[bool], unfollowed: set[str]):
    assert plan(body) == (short, unfollowed)


def test_a_small_loop_is_left_to_the_verifier():
    unit = compiled("$i = 0; while ($i < 10) { $i++; @ = count(); }")
    assert unit.bounded_loops == ()
    assert "s64 i = 0;" in unit.c_source and "out_of_rounds" not in unit.c_source.partition("int BEGIN")[2]


def test_what_a_long_loop_changes_is_in_memory_that_is_read_anew():
    unit = compiled('$i = 0; $s = ""; while ($i < 1000) { $i++; $s = comm; }')
    (loop,) = unit.bounded_loops
    assert loop == BoundedLoop(1, 1000)
    assert "volatile s64 i aligned8;" in unit.c_source and "char s[16] aligned8;" in unit.c_source
    assert "volatile s64 rounds_left aligned8;" in unit.c_source
    assert "scratch->rounds_left = 1000000;" in unit.c_source
    assert "if (out_of_rounds(rounds, 1000, scratch->rounds_left)) {" in unit.c_source


def test_an_event_has_fewer_rounds_than_begin():
    unit = compile_source(Source("interval:s:1 { while (rand) { @ = count(); } }"), Config(), FakeHost())
    assert "scratch->rounds_left = 20000;" in unit.c_source


def event(body: str) -> str:
    return compile_source(Source(f"interval:s:1 {{ {body} }}"), Config(), FakeHost()).c_source


def test_a_loop_of_an_event_has_its_time_looked_at():
    text = event("while (rand) { @ = count(); if (pid) { return; } while (cpu) { exit(); } }").partition("\nint ")[2]
    assert text.count("enter_loop(&scratch->loop_run)") == 1  # once, at the outermost
    assert text.count("\tleave_loop(&scratch->loop_run);\n\treturn 0;\n}") == 1
    assert text.count("return leave_loop(&scratch->loop_run);") == 2 and text.count("return 0;") == 2
    for rounds in ("rounds", "rounds_2"):
        assert f", scratch->rounds_left) || out_of_time({rounds}, scratch->rounds_left, &scratch->loop_run)) {{\n" in text
    assert "count_lost(scratch->loop_run.seen ? 3 : 4);" in text and "count_lost(scratch->loop_run.seen ? 5 : 6);" in text


def test_a_loop_with_a_bound_in_a_short_one_has_its_time_looked_at_outside():
    before, _, loop = event("unroll(3) { while (rand) { @ = count(); } }").partition("if (!enter_loop(&scratch->loop_run))")
    assert "round < 3" in loop and "round < 3" not in before


@pytest.mark.parametrize(
    "text",
    [
        "BEGIN { while (rand) { @ = count(); return; } }",
        "END { $i = 0; while ($i < 5000) { $i++; @ = count(); } }",
        "interval:s:1 { $i = 0; while ($i < 10) { $i++; @ = count(); if (rand) { return; } } unroll(20) { @x++; } }",
        "interval:s:1 { @ = count(); }",
    ],
)
def test_other_programs_have_nothing_of_it(text: str):
    unit = compile_source(Source(text), Config(), FakeHost())
    assert not any(loop.by_time for loop in unit.bounded_loops)
    for name in ("loop_run", "loops_paid", "enter_loop", "leave_loop", "out_of_time"):
        assert name not in unit.c_source and name not in unit.with_kernel_loops().c_source


def test_the_forms_of_a_loop_of_an_event():
    unit = compile_source(Source("interval:s:1 {\n while (rand) { @ = count(); } }"), Config(), FakeHost())
    most = unit.bounded_loops[0].rounds
    assert unit.bounded_loops == (BoundedLoop(2, most), BoundedLoop(2, most, by_time=True))
    by_kernel = unit.with_kernel_loops()
    assert by_kernel.bounded_loops == (BoundedLoop(2, 0), BoundedLoop(2, 0, by_time=True))
    assert by_kernel.c_source.startswith(
        "#undef out_of_rounds\n#define out_of_rounds out_of_kernel_rounds\n"
        "#undef out_of_time\n#define out_of_time out_of_kernel_time\n// Generated"
    )
    shorter = unit.with_shorter_loops()
    assert shorter is not None
    assert shorter.bounded_loops == (BoundedLoop(2, most // 4), BoundedLoop(2, most // 4, by_time=True))


@pytest.mark.parametrize(("told", "unfollowed"), [(0, False), (1, True), (2, True)])
def test_reads_that_are_told_make_loops_longer_for_the_verifier(told: int, unfollowed: bool) -> None:
    program = "BEGIN { $x = 1; unroll(9) { @[str(uptr(rand))] = count(); $x = rand; } print($x); }"
    text = compile_source(Source(program), Config(helper_errors=told), FakeHost()).c_source
    assert ("scratch->x = " in text) is unfollowed


def test_a_long_unroll_is_a_loop():
    text = compiled('unroll(100) { printf("%d %s %s", rand, comm, str(0)); print((1, comm)); }').c_source
    assert "for (scratch->round = 0; scratch->round < 100; scratch->round++) {" in text
    assert "out_of_rounds(rounds, 100," in text


def test_loops_that_the_kernel_ends_and_shorter_ones():
    unit = compiled("while (rand) { @ = count(); }")
    (loop,) = unit.bounded_loops
    assert loop.rounds > 100
    by_kernel = unit.with_kernel_loops()
    assert by_kernel.bounded_loops == (BoundedLoop(1, 0),)
    assert by_kernel.c_source.startswith(
        "#undef out_of_rounds\n#define out_of_rounds out_of_kernel_rounds\n// Generated"
    )
    assert by_kernel.with_shorter_loops() is None
    shorter = unit.with_shorter_loops()
    assert shorter is not None
    again = shorter.with_shorter_loops()
    assert again is not None and again.bounded_loops == (BoundedLoop(1, loop.rounds // 4 // 4),)
    assert again.c_source.startswith("#undef LOOP_DIVISOR\n#define LOOP_DIVISOR 16\n// Generated")
    assert unit.bounded_loops == (loop,)


def test_definitions_before_a_text_add_up():
    unit = compiled("while (rand) { @[comm] = count(); }").with_task_comm()
    shorter = unit.with_kernel_loops().with_shorter_loops() or unit.with_shorter_loops()
    assert shorter is not None
    again = shorter.with_shorter_loops()
    assert again is not None
    assert again.c_source[: again.c_source.index("// Generated")].splitlines() == [
        "#undef read_comm", "#define read_comm(to) comm_of_task(to, None)", "#undef LOOP_DIVISOR", "#define LOOP_DIVISOR 16"
    ]  # fmt: skip


def test_a_loop_of_one_round_cannot_be_shorter():
    unit = compiled("while (rand) { @ = count(); }")
    while (shorter := unit.with_shorter_loops()) is not None:
        unit = shorter
    assert unit.bounded_loops == (BoundedLoop(1, 1),)
