"""`args` of uprobes: values of a program's arguments by name, however its debug information and they are kept."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.live import Outcome, run, run_command
from tests.testprogs import build

VARIANTS = ["arguments", "arguments_dwarf2", "arguments_units", "arguments_units5", "arguments_static"]


def traced(path: Path, function: str, block: str) -> Outcome:
    return run(f"uprobe:{path}:{function} {{ {block} }}", "-c", str(path))


@pytest.fixture(params=[*VARIANTS, "debug file"])
def path(request: pytest.FixtureRequest) -> Path:
    if request.param == "debug file":
        return build.with_debug_file("arguments", build_id=True)
    return build.program(request.param)


def test_registers_and_stack(path):
    block = (
        'printf("%d %s %d %u %d %c %d\\n", args.x, str(args.name), args.c, args.w, args.s, args.ch, args->eighth);'
        ' printf("%d %s %s\\n", args.p->y, args.p->name, args->p->next->name);'
        ' printf("%d %d %d\\n", args.p->low, args.p->high, args.c == GREEN);'
    )
    assert "-42 hello 5 4000000000 -7 A 99\n2 first second\n5 17 1\n" in traced(path, "many", block).stdout


def test_records_by_value(path):
    block = 'printf("%d %d %s %d\\n", args.pt.x, args.after, args.pt.name, args.pt.next->x); print(args.pt);'
    out = traced(path, "large_by_value", block).stdout
    assert re.search(r"^1 5 first 7\n\{ \.x = 1, \.y = 2, \.name = first, \.next = \d+, \.low = 5, \.high = 17 \}$", out, re.M)
    assert "3 4 6\n" in traced(path, "small_by_value", 'printf("%d %d %d\\n", args.pair.a, args.pair.b, args.after);').stdout


def test_place_of_arguments_behind_floating_point_and_wide_ones():
    path = build.program("arguments")
    assert "7\n" in traced(path, "floating", "print(args.i);").stdout
    assert "12\n" in traced(path, "large_result", "print(args.n);").stdout
    block = 'printf("%d %d %d %d %d %d\\n", args.a, args.c, args.d, args.e, args.f, args.last.b); print(args.b);'
    assert f"1 3 4 5 6 4\n[2{15 * ',0'}]\n" in traced(path, "wide", block).stdout


def test_cpp():
    path = build.program("arguments_cpp")
    block = 'printf("%d %d %d\\n", args.n, args.this->base, args.this->own);'
    assert "-9 3 77\n" in traced(path, '"ns::Derived::method"', block).stdout
    block = 'printf("%d %d %s\\n", args.last, args.other->own, str(args.text->_M_dataplus._M_p));'
    assert "66 77 some text\n" in traced(path, '"ns::Derived::counted"', block).stdout
    block = 'printf("%d %d %d %d %d\\n", args.n, args.kind, args.flag, args.wide, args.kind == two);'
    assert "12 2 1 120 1\n" in traced(path, '"ns::kinds"', block).stdout


def test_types_of_the_program_in_casts():
    path = build.program("arguments")
    block = 'printf("%s %d %d\\n", ((struct point *)arg2)->next->name, sizeof(struct point), offsetof(struct point, y));'
    assert "second 48 8\n" in traced(path, "many", block).stdout
    # The kernel's are still there, and so is what the kernel calls by a name that the program has not.
    block = 'printf("main: %d %d %d\\n", ((struct task_struct *)curtask)->comm == comm, curtask->pid == tid, @t->pid == tid);'
    assert "main: 1 1 1\n" in traced(path, "main", f"@t = curtask; {block}").stdout


def test_pointer_in_variable_and_map():
    block = "$p = args.p; @names[$p->next->name] = count(); @x[args.p->name] = sum(args.x);"
    out = traced(build.program("arguments"), "many", block).stdout
    assert "@names[second]: 1\n" in out and "@x[first]: -42\n" in out


def test_several_functions_with_different_arguments():
    path = build.program("arguments")
    program = f'uprobe:{path}:large_by_value, uprobe:{path}:small_by_value {{ printf("%s %d\\n", func, args.after); }}'
    assert "large_by_value 5\nsmall_by_value 6\n" in run(program, "-c", str(path)).stdout


@pytest.mark.parametrize(
    ("function", "argument", "message"),
    [
        ("many", "args.nope", "`args` of uprobe:{path}:many has no field `nope`"),
        ("floating", "args.d", "the argument `d` cannot be read: it is in a floating-point register"),
        ("floating", "args.half", "the argument `half` cannot be read: a part of it is in a floating-point register"),
        ("no_arguments", "args.x", "`args` of uprobe:{path}:no_arguments has no field `x`"),
        ("no_arguments+5", "args.x", "`args` is only there where a function begins"),
        ("_start", "args.x", "the debug information of `{path}` does not tell the arguments of `_start`"),
    ],
)
def test_what_cannot_be_read(function, argument, message):
    path = build.program("arguments")
    outcome = run(f"uprobe:{path}:{function} {{ print({argument}); }}")
    assert outcome.status == 1
    assert message.format(path=path) in outcome.stderr


def test_without_debug_information():
    path = build.copy(build.program("arguments"), "nodebug")
    subprocess.run(["strip", "--strip-debug", str(path)], check=True)
    outcome = run(f"uprobe:{path}:many {{ print(args.x); }}")
    assert outcome.status == 1
    assert f"`{path}` has no debug information that can be read" in outcome.stderr
    assert "arg0, arg1, ... can be used without it" in outcome.stderr


def test_uretprobe_has_no_arguments():
    outcome = run(f"uretprobe:{build.program('arguments')}:many {{ print(args.x); }}")
    assert outcome.status == 1
    assert "`args` is not there in uretprobe probes" in outcome.stderr


def test_listing_with_arguments():
    path = build.program("arguments")
    assert run_command("-lv", f"uprobe:{path}:many").lines == [
        f"uprobe:{path}:many", "    int x", "    const char* name", "    struct point* p", "    enum color c", "    word w",
        "    short int s", "    signed char ch", "    long int eighth",
    ]  # fmt: skip
