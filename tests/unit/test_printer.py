"""Trees as program text, which must mean the same again, and as the tree that `-d` shows."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bpftrace_py.diagnostics import Diagnostics
from bpftrace_py.source import NOWHERE, Source
from bpftrace_py.syntax import ast
from bpftrace_py.syntax.parser import parse
from bpftrace_py.syntax.printer import dump, expression_source, to_source
from bpftrace_py.syntax.visitor import walk
from bpftrace_py.types import INT64, UINT64


def parsed(text: str) -> ast.Program:
    source = Source(text)
    diagnostics = Diagnostics(source)
    program = parse(source, diagnostics)
    assert [reported.render() for reported in diagnostics.reported] == []
    assert program is not None
    return program


def placeless(program: ast.Program) -> ast.Program:
    for node in walk(program):
        node.span = NOWHERE
    return program


def check_round_trip(text: str) -> str:
    """What the program is printed as, after seeing that it means the same."""
    program = parsed(text)
    printed = to_source(program)
    again = parsed(printed)
    assert to_source(again) == printed
    assert placeless(again) == placeless(program)
    return printed


def test_canonical_text():
    assert check_round_trip(
        "#include <a.h>\nstruct s{int a;}kprobe:f,kprobe : g /pid==1&&(1+2)*3>4/{if($a){@[1,(2,3)]++;}else if(b){}else{return}"
        "while((a)){$x+=(int32)-$y;break}unroll(2){f(-(5),- -5,\"\\x07\\n\")}}END{}"
    ) == (
        """\
#include <a.h>
struct s{int a;};

kprobe:f,
kprobe:g
/pid == 1 && (1 + 2) * 3 > 4/
{
	if ($a) {
		@[1, (2, 3)]++;
	} else if (b) { } else {
		return;
	}
	while (a) {
		$x += (int32)(-$y);
		break;
	}
	unroll (2) {
		f(-(5), -(-5), "\\x07\\n");
	}
}

END
{ }
"""
    )


@pytest.mark.parametrize(
    "text",
    [
        "a - (b - c)", "a - b - c", "(a ? b : c) ? d : e", "a ? b : c ? d : e", "(a, b).0", "(*a).b", "*a.b", "-a.b", "(-a).b",
        "(-5).x", "(int32)a.b", "((int32)a).b", "(a + b)[1]", "!(a && b)", "~-a", "- --$a", "-(-$a)", "1 - -1", "(foo)(-1)",
        "(foo)(*a)", "(foo)(++$a)", "(foo)(a)", "(foo)1", "(foo *)*a", "(@x)[1]", "@x[1][2]", "($a++).b", "-$a++", "(a) * b",
        "f((a, b), (c))", "@[(1, 2), 3]", "sizeof(struct s *)", "sizeof((a))", "offsetof(struct s, a.b)", "a / b / c",
        "(uint8[])a", "(uint8[2][3])a", "(unsigned long *)a", '"\\xff\\xc3\\xa9é\\0\\\\\\""', "0x1F + 1_000 + 010 + 1e3 + 5ull",
        "$1 + $#", "a->if.0.comm", "(a == b) == c", "a == (b == c)", "a << (b + c)", "(a | b) & c", "a, b"[:1],
    ],
)  # fmt: skip
def test_expression_round_trip(text):
    check_round_trip("BEGIN { " + text + " }")


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("((a))", "a"), ("(a * b) + c", "a * b + c"), ("a + (b * c)", "a + b * c"), ("(a + b) + c", "a + b + c"),
        ("(f(1))[(2)]", "f(1)[2]"), ("((struct s*)a)->b", "((struct s *)a)->b"), ("(a?b:c)", "a ? b : c"), ("- 5", "-5"),
        ("(!a) == b", "!a == b"), ("@x[ 1,2 ]", "@x[1, 2]"), ("(const char*)a", "(char *)a"), ("\"é\\x41\"", '"éA"'),
    ],
)  # fmt: skip
def test_no_more_parentheses_than_needed(text, printed):
    (statement,) = parsed("BEGIN { " + text + " }").probes[0].body.statements
    assert isinstance(statement, ast.ExpressionStatement)
    assert expression_source(statement.expression) == printed


@pytest.mark.parametrize(
    "text",
    [
        'uprobe:/bin/sh:"a(int, b*)"+4 { }', "uprobe:/a\\ b:f { }", 'uprobe:"/a \\"b":f { }', "software:faults: / 1 / { }",
        "interval:s: $1 { }", "k:f /a / b / c/ { }", "k:f,\nk:g,\n{ }", "BEGIN { } struct a { int b; }; END { }",
        "#define A \\\n 1\nBEGIN { }", "struct a { char *b; /* } */ } __attribute__((packed)); BEGIN { }", "enum { A }\nBEGIN { }",
    ],
)  # fmt: skip
def test_program_round_trip(text):
    check_round_trip(text)


NAMES = st.sampled_from(["a", "pid", "comm", "_x1", "arg0", "int32", "foo"])
TYPES = st.builds(
    ast.TypeName,
    name=st.sampled_from(["int32", "uint8", "struct s", "union u", "enum e", "unsigned long", "pid_t", "foo"]),
    pointers=st.integers(0, 2),
    dimensions=st.lists(st.none() | st.integers(0, 9), max_size=2),
)
TARGETS_ONLY = st.builds(ast.Variable, name=NAMES)
LEAVES = (
    st.builds(ast.Integer, value=st.integers(-(2**63), 2**64 - 1))
    | st.builds(ast.String, value=st.text(st.characters(exclude_categories=["Cs"]), max_size=5))
    | st.builds(ast.Identifier, name=NAMES)
    | st.builds(ast.Positional, number=st.integers(1, 99))
    | st.builds(ast.PositionalCount)
    | TARGETS_ONLY
)
BINARY = st.sampled_from("+ - * / % & | ^ << >> == != < <= > >= && ||".split())


def larger(inner: st.SearchStrategy) -> st.SearchStrategy:
    """Expressions one level above `inner`. Types in `sizeof` must not be names that read as expressions."""
    maps = st.builds(ast.Map, name=st.sampled_from(["", "m"]), keys=st.lists(inner, max_size=2))
    targets = TARGETS_ONLY | maps
    return (
        maps
        | st.builds(ast.Call, name=st.sampled_from(["f", "str"]), arguments=st.lists(inner, max_size=3))
        | st.builds(ast.Unary, operator=st.sampled_from("-!~*"), operand=inner)
        | st.builds(ast.Increment, operator=st.sampled_from(["++", "--"]), target=targets, prefix=st.booleans())
        | st.builds(ast.Binary, operator=BINARY, left=inner, right=inner)
        | st.builds(ast.Ternary, condition=inner, then=inner, otherwise=inner)
        | st.builds(ast.FieldAccess, operand=inner, name=st.sampled_from(["b", "if", "comm"]), arrow=st.booleans())
        | st.builds(ast.TupleAccess, operand=inner, index=st.integers(0, 12))
        | st.builds(ast.ArrayAccess, operand=inner, index=inner)
        | st.builds(ast.Cast, target=TYPES, operand=inner)
        | st.builds(ast.SizeOf, operand=TYPES.filter(lambda t: t.name != "foo"))
        | st.builds(ast.TupleLiteral, elements=st.lists(inner, min_size=2, max_size=3))
    )


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.recursive(LEAVES, larger, max_leaves=12))
def test_any_expression_is_read_as_it_was_printed(expression):
    text = "BEGIN { " + expression_source(expression) + " }"
    (statement,) = placeless(parsed(text)).probes[0].body.statements
    assert isinstance(statement, ast.ExpressionStatement)
    assert statement.expression == expression


def test_printing_the_deepest_tree_that_parses():
    for text in ("f(" * 190 + ")" * 190, "if (1) { " * 95 + "}" * 95, "$x = " + "-~" * 95 + "1", "a" + "[b" * 190 + "]" * 190):
        program = parsed("BEGIN { " + text + " }")
        to_source(program)
        dump(program)


# --- the dump


def test_dump_of_the_guide():
    text = 'tracepoint:syscalls:sys_enter_nanosleep { printf("%s is sleeping.\\n", comm); }'
    assert dump(parsed(text)) == (
        "Program\n"
        " tracepoint:syscalls:sys_enter_nanosleep\n"
        "  call: printf\n"
        "   string: %s is sleeping.\\n\n"
        "   builtin: comm\n"
    )  # fmt: skip


# What Debian's bpftrace 0.17 shows for these programs.
DUMPS = [
    (
        "k:f,k:g /pid == 1 && arg0/ { @a[comm, 1]++; --$x; @ = count() }",
        """
 k:f
 k:g
  pred
   &&
    ==
     builtin: pid
     int: 1
    builtin: arg0
  map: @a
   builtin: comm
   int: 1
   ++
  --
   variable: $x
  =
   map: @
   call: count
""",
    ),
    (
        "BEGIN { if ($1) { return } else if ($#) { } else { $x = -1 ? !A : *$y } }",
        """
 BEGIN
  if
   param: $1
   then
    return
   else
    if
     param: $#
     then
     else
      =
       variable: $x
       ?:
        int: -1
        !
         identifier: A
        dereference
         variable: $y
""",
    ),
    (
        "BEGIN { unroll (3) { @x[1] <<= 2; } while (1) { break } @y = 1 }",
        """
 BEGIN
  unroll
   int: 3
   block
    =
     map: @x
      int: 1
     <<
      map: @x
       int: 1
      int: 2
  while(
   int: 1
   )
    break
  =
   map: @y
   int: 1
""",
    ),
    (
        'BEGIN { $x = ((struct foo*)$a)->b[0].c; $y = (1, ("é\\x01\\"", 2)).1.0; kstack(perf, 3); sizeof(struct s); sizeof($x) }',
        """
 BEGIN
  =
   variable: $x
   .
    []
     .
      dereference
       (struct foo*)
        variable: $a
      b
     int: 0
    c
  =
   variable: $y
   .
    .
     tuple:
      int: 1
      tuple:
       string: \\xc3\\xa9\\x01\\"
       int: 2
     1
    0
  call: kstack
   stack_mode: perf
   int: 3
  call: sizeof
   identifier: struct s
  call: sizeof
   variable: $x
""",
    ),
]


@pytest.mark.parametrize(("text", "tree"), DUMPS)
def test_dump(text, tree):
    assert dump(parsed(text)) == "Program" + tree


def test_dump_with_types():
    program = parsed("BEGIN { $x += pid; $y->z }")
    for node in walk(program):
        if isinstance(node, ast.Variable | ast.FieldAccess):
            node.type = INT64
        elif isinstance(node, ast.Identifier):
            node.type = UINT64
    assert dump(program) == (
        "Program\n"
        " BEGIN\n"
        "  =\n"
        "   variable: $x :: [int64]\n"
        "   + :: [int64]\n"
        "    variable: $x :: [int64]\n"
        "    builtin: pid :: [uint64]\n"
        "  . :: [int64]\n"
        "   dereference\n"
        "    variable: $y :: [int64]\n"
        "   z\n"
    )  # fmt: skip
