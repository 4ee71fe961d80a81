"""Syntax trees, their spans, syntax errors, and what must never happen whatever the text is."""

from __future__ import annotations

import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bpftrace_py.diagnostics import Diagnostics
from bpftrace_py.source import NOWHERE, Source, Span
from bpftrace_py.syntax import ast, build_tables, grammar, parser
from bpftrace_py.syntax.ast import (
    ArrayAccess,
    Assignment,
    Binary,
    Call,
    Cast,
    ExpressionStatement,
    FieldAccess,
    Identifier,
    If,
    Increment,
    Integer,
    Jump,
    Map,
    OffsetOf,
    Positional,
    PositionalCount,
    SizeOf,
    String,
    Ternary,
    TupleAccess,
    TupleLiteral,
    TypeName,
    Unary,
    Unroll,
    Variable,
    While,
)  # fmt: skip
from bpftrace_py.syntax.lexer import MAX_NESTING
from bpftrace_py.syntax.parser import format_tables, generate, parse
from bpftrace_py.syntax.visitor import children, walk


def parsed(text: str) -> ast.Program:
    source = Source(text)
    diagnostics = Diagnostics(source)
    program = parse(source, diagnostics)
    assert [reported.render() for reported in diagnostics.reported] == []
    assert program is not None
    return program


def errors(text: str) -> list[tuple[str, str]]:
    """The sentence and the marked text of every error, in the order of the text."""
    source = Source(text)
    diagnostics = Diagnostics(source)
    parse(source, diagnostics)
    found = sorted(diagnostics.errors, key=lambda reported: reported.span.start)
    return [(reported.text, text[reported.span.start : reported.span.end]) for reported in found]


def placeless(node: ast.Node) -> ast.Node:
    """The tree without its spans, to be compared."""
    for below in walk(node):
        below.span = NOWHERE
    return node


def block(text: str) -> list[ast.Statement]:
    program = parsed("BEGIN { " + text + " }")
    placeless(program)
    return program.probes[0].body.statements


def expression(text: str) -> ast.Expression:
    (statement,) = block(text)
    assert isinstance(statement, ExpressionStatement)
    return statement.expression


def name(text: str) -> Identifier:
    return Identifier(name=text)


def number(value: int) -> Integer:
    return Integer(value=value)


def var(text: str) -> Variable:
    return Variable(name=text)


A, B, C, D = name("a"), name("b"), name("c"), name("d")


# --- expressions


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("1", number(1)), ("-5", number(-5)), ("- 5", number(-5)), ("-0x10", number(-16)), ('"s"', String(value="s")),
        ("$1", Positional(number=1)), ("$#", PositionalCount()), ("a", A), ("(a)", A), ("((a))", A), ("$a", var("a")),
        ("@", Map(name="", keys=[])), ("@m", Map(name="m", keys=[])), ("@[1]", Map(name="", keys=[number(1)])),
        ("@m [a, b]", Map(name="m", keys=[A, B])),
        ("@m[(1, 2)]", Map(name="m", keys=[TupleLiteral(elements=[number(1), number(2)])])),
        ("@m[1][2]", ArrayAccess(operand=Map(name="m", keys=[number(1)]), index=number(2))),
        ("(@m)[2]", ArrayAccess(operand=Map(name="m", keys=[]), index=number(2))),
        ("f()", Call(name="f", arguments=[])), ("f(a, 1)", Call(name="f", arguments=[A, number(1)])),
        ("a->b", FieldAccess(operand=A, name="b", arrow=True)), ("a.b", FieldAccess(operand=A, name="b", arrow=False)),
        ("a->b.c", FieldAccess(operand=FieldAccess(operand=A, name="b", arrow=True), name="c", arrow=False)),
        ("a->if", FieldAccess(operand=A, name="if", arrow=True)), ("a.comm", FieldAccess(operand=A, name="comm", arrow=False)),
        ("a.0.1", TupleAccess(operand=TupleAccess(operand=A, index=0), index=1)),
        ("(a, 1).0", TupleAccess(operand=TupleLiteral(elements=[A, number(1)]), index=0)),
        ("f()[1][2]", ArrayAccess(operand=ArrayAccess(operand=Call(name="f", arguments=[]), index=number(1)), index=number(2))),
        ("++@", Increment(operator="++", target=Map(name="", keys=[]), prefix=True)),
        ("$a--", Increment(operator="--", target=var("a"), prefix=False)),
        ("@m[1]++", Increment(operator="++", target=Map(name="m", keys=[number(1)]), prefix=False)),
        ("$a++ + ++$b", Binary(
            operator="+", left=Increment(operator="++", target=var("a"), prefix=False),
            right=Increment(operator="++", target=var("b"), prefix=True))),
        ("$a---$b", Binary(operator="-", left=Increment(operator="--", target=var("a"), prefix=False), right=var("b"))),
        ("sizeof(struct s)", SizeOf(operand=TypeName(name="struct s"))),
        ("sizeof(uint64 *)", SizeOf(operand=TypeName(name="uint64", pointers=1))),
        ("sizeof(a)", SizeOf(operand=A)), ("sizeof(a + 1)", SizeOf(operand=Binary(operator="+", left=A, right=number(1)))),
        ("offsetof(struct s, a.b)", OffsetOf(record=TypeName(name="struct s"), field_name="a.b")),
        ("offsetof($a, b)", OffsetOf(record=var("a"), field_name="b")),
    ],
)  # fmt: skip
def test_expression(text, tree):
    assert expression(text) == tree


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a + b * c", Binary(operator="+", left=A, right=Binary(operator="*", left=B, right=C))),
        ("(a + b) * c", Binary(operator="*", left=Binary(operator="+", left=A, right=B), right=C)),
        ("a - b - c", Binary(operator="-", left=Binary(operator="-", left=A, right=B), right=C)),
        ("a / b % c", Binary(operator="%", left=Binary(operator="/", left=A, right=B), right=C)),
        ("a & b == c", Binary(operator="&", left=A, right=Binary(operator="==", left=B, right=C))),
        ("a << b < c", Binary(operator="<", left=Binary(operator="<<", left=A, right=B), right=C)),
        ("a == b < c", Binary(operator="==", left=A, right=Binary(operator="<", left=B, right=C))),
        ("a | b ^ c & d", Binary(operator="|", left=A, right=Binary(operator="^", left=B, right=Binary(operator="&", left=C, right=D)))),
        ("a || b && c", Binary(operator="||", left=A, right=Binary(operator="&&", left=B, right=C))),
        ("!a == b", Binary(operator="==", left=Unary(operator="!", operand=A), right=B)),
        ("-a.b", Unary(operator="-", operand=FieldAccess(operand=A, name="b", arrow=False))),
        ("*a->b", Unary(operator="*", operand=FieldAccess(operand=A, name="b", arrow=True))),
        ("*f(1) + 1", Binary(operator="+", left=Unary(operator="*", operand=Call(name="f", arguments=[number(1)])), right=number(1))),
        ("-~!*a", Unary(operator="-", operand=Unary(operator="~", operand=Unary(operator="!", operand=Unary(operator="*", operand=A))))),
        ("- -5", Unary(operator="-", operand=number(-5))), ("-(5)", Unary(operator="-", operand=number(5))),
        ("1 - -5", Binary(operator="-", left=number(1), right=number(-5))),
        ("a -1", Binary(operator="-", left=A, right=number(1))),
        ("a ? b : c ? d : 1", Ternary(condition=A, then=B, otherwise=Ternary(condition=C, then=D, otherwise=number(1)))),
        ("a ? b ? c : d : 1", Ternary(condition=A, then=Ternary(condition=B, then=C, otherwise=D), otherwise=number(1))),
        ("a?b:c", Ternary(condition=A, then=B, otherwise=C)),
        ("a || b ? c : d + 1", Ternary(
            condition=Binary(operator="||", left=A, right=B), then=C, otherwise=Binary(operator="+", left=D, right=number(1)))),
    ],
)  # fmt: skip
def test_precedence(text, tree):
    assert expression(text) == tree


@pytest.mark.parametrize(
    ("text", "target", "operand"),
    [
        ("(int32)a", TypeName(name="int32"), A), ("(int32)-1", TypeName(name="int32"), number(-1)),
        ("(int32)*a", TypeName(name="int32"), Unary(operator="*", operand=A)), ("(pid_t)-1", TypeName(name="pid_t"), number(-1)),
        ("(foo)1", TypeName(name="foo"), number(1)), ("(foo)(a)", TypeName(name="foo"), A),
        ("(struct path *)a", TypeName(name="struct path", pointers=1), A), ("(enum e)1", TypeName(name="enum e"), number(1)),
        ("(union u **)a", TypeName(name="union u", pointers=2), A), ("(foo *)-1", TypeName(name="foo", pointers=1), number(-1)),
        ("(uint8[4])a", TypeName(name="uint8", dimensions=[4]), A), ("(int8[])a", TypeName(name="int8", dimensions=[None]), A),
        ("(int8[2][3])a", TypeName(name="int8", dimensions=[2, 3]), A),
        ("(unsigned long)a", TypeName(name="unsigned long"), A), ("(const char *)a", TypeName(name="char", pointers=1), A),
        ("(const struct s *)a", TypeName(name="struct s", pointers=1), A),
        ("(struct /* c */ s // d\n *)a", TypeName(name="struct s", pointers=1), A),
        ("(int32)a.b", TypeName(name="int32"), FieldAccess(operand=A, name="b", arrow=False)),
        ("(int32)(int8)a", TypeName(name="int32"), Cast(target=TypeName(name="int8"), operand=A)),
    ],
)  # fmt: skip
def test_cast(text, target, operand):
    assert expression(text) == Cast(target=target, operand=operand)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("(a) - 1", Binary(operator="-", left=A, right=number(1))), ("(a) * b", Binary(operator="*", left=A, right=B)),
        ("(a) & b", Binary(operator="&", left=A, right=B)),
        ("(a[1]) + b", Binary(operator="+", left=ArrayAccess(operand=A, index=number(1)), right=B)),
        ("(int32)a + b", Binary(operator="+", left=Cast(target=TypeName(name="int32"), operand=A), right=B)),
        ("*(uint64 *)a", Unary(operator="*", operand=Cast(target=TypeName(name="uint64", pointers=1), operand=A))),
        ("((struct s *)a)->b", FieldAccess(
            operand=Cast(target=TypeName(name="struct s", pointers=1), operand=A), name="b", arrow=True)),
        ("f(a)", Call(name="f", arguments=[A])),
    ],
)  # fmt: skip
def test_parentheses_that_are_or_are_not_casts(text, tree):
    assert expression(text) == tree


# --- statements


@pytest.mark.parametrize("operator", ["=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>="])
def test_assignment(operator):
    assert block(f"$a {operator} 1; @m[a]{operator}$b") == [
        Assignment(target=var("a"), operator=operator, value=number(1)),
        Assignment(target=Map(name="m", keys=[A]), operator=operator, value=var("b")),
    ]


def test_blocks():
    one = ast.Block(statements=[ExpressionStatement(expression=number(1))])
    two = ast.Block(statements=[ExpressionStatement(expression=number(2))])
    assert block("if (a) { 1 }") == [If(condition=A, then=one)]
    assert block("if (a) { 1; } else { 2; }") == [If(condition=A, then=one, otherwise=two)]
    assert block("if (a) { 1 } else if (b) { 2 } else { 1 }") == [
        If(condition=A, then=one, otherwise=ast.Block(statements=[If(condition=B, then=two, otherwise=one)]))
    ]
    assert block("while (a) { 1 } unroll(5) { 2 }") == [While(condition=A, body=one), Unroll(count=number(5), body=two)]
    assert block("return; break; continue") == [Jump(kind="return"), Jump(kind="break"), Jump(kind="continue")]


@pytest.mark.parametrize(
    "text", ["1; if (a) { } 2;", "1; if (a) { }; 2", "1; if (a) { } 2", "1\n;if(a){}2", "/* x */ 1; if (a) { // y\n } 2"]
)
def test_semicolons(text):
    kinds = [type(statement) for statement in block(text)]
    assert kinds == [ExpressionStatement, If, ExpressionStatement]


# --- the top level


def test_program():
    program = parsed(
        "#!/usr/bin/bpftrace-py\n#include <a.h>\nstruct s { int a; }\nkprobe:f,\nkprobe:g,\n/pid / 2 == 1/ { 1 }"
        "BEGIN{}#define X 1\nEND{2}enum e { A };"
    )
    assert [(d.kind, d.text) for d in program.declarations] == [
        ("include", "#include <a.h>"), ("struct", "struct s { int a; };"), ("define", "#define X 1"), ("enum", "enum e { A };"),
    ]  # fmt: skip
    assert [[point.parts for point in probe.attach_points] for probe in program.probes] == [
        [["kprobe", "f"], ["kprobe", "g"]], [["BEGIN"]], [["END"]],
    ]  # fmt: skip
    assert isinstance(program.probes[0].predicate, Binary)
    assert program.probes[1].predicate is None


@pytest.mark.parametrize("text", ["", "\n", "// nothing", "struct a { int b; };"])
def test_a_program_may_have_no_probes(text):
    assert parsed(text).probes == []


def test_all_spans_of_a_program():
    text = (
        "struct s { int a; }; k:f, p:hz:1 /pid/ { if ($a) { @m[1]++; } else "
        '{ @x = (b + -1)->c.0 ? f(g, "h")[2] : (struct s *)*i; } }  END { while (1) { break } }'
    )
    program = parsed(text)
    pieces = [text[node.span.start : node.span.end] for node in walk(program)]
    probe = text[text.index("k:f") : text.index("  END")]
    body = probe[probe.index("{ if") :]
    otherwise = body[body.index("{ @x") : -2]
    assert pieces == [
        text, "struct s { int a; };", probe, "k:f", "p:hz:1", "pid", body, body[2:-2], "$a", "{ @m[1]++; }", "@m[1]++",
        "@m[1]++", "@m[1]", "1", otherwise, otherwise[2:-3], "@x", '(b + -1)->c.0 ? f(g, "h")[2] : (struct s *)*i',
        "(b + -1)->c.0", "(b + -1)->c", "(b + -1)", "b", "-1", 'f(g, "h")[2]', 'f(g, "h")', "g", '"h"', "2",
        "(struct s *)*i", "struct s *", "*i", "i",
        "END { while (1) { break } }", "END", "{ while (1) { break } }", "while (1) { break }", "1", "{ break }", "break",
    ]  # fmt: skip
    names = [node.name_span for node in walk(program) if isinstance(node, Call | FieldAccess)]
    assert [text[span.start : span.end] for span in names] == ["c", "f"]


def test_the_text_of_an_integer_is_kept():
    program = parsed("BEGIN { 0x1F; - 1_000 }")
    assert [(node.value, node.text) for node in walk(program) if isinstance(node, Integer)] == [(31, "0x1F"), (-1000, "-1_000")]


# --- errors


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("BEGIN { $x = }", ("unexpected `}`, expected an expression", "}")),
        ("BEGIN { $x = ; }", ("unexpected `;`, expected an expression", ";")),
        ("BEGIN { @a = 1 @b = 2; }", ("unexpected `@b`, expected `;` or `}`", "@b")),
        ('BEGIN { f("a" "b"); }', ('unexpected `"b"`, expected `)` or `,`', '"b"')),
        ("BEGIN { if (1 { 1; } else { } }", ("unexpected `{`, expected `)`", "{")),
        ("BEGIN { if x { } }", ("unexpected `x`, expected `(`", "x")),
        ("BEGIN { while (1) @x = 1; }", ("unexpected `@x`, expected `{`", "@x")),
        ("BEGIN { ; }", ("unexpected `;`, expected a statement or `}`", ";")),
        ("BEGIN { a->x = 1 }", ("unexpected `=`, expected `;` or `}`", "=")),
        ("BEGIN { a. }", ("unexpected `}`, expected a field name", "}")),
        ("BEGIN { a->1 }", ("unexpected `1`, expected a name", "1")),
        ("BEGIN { (struct)1 }", ("unexpected `struct`, expected a type", "struct")),
        ("BEGIN { struct }", ("unexpected `struct`, expected a statement or `}`", "struct")),
        ("BEGIN { ++1 }", ("unexpected `1`, expected a `$variable` or a `@map`", "1")),
        ("BEGIN { (1,) }", ("unexpected `)`, expected an expression", ")")),
        ("BEGIN { @m[] }", ("unexpected `]`, expected an expression", "]")),
        ("BEGIN { return 1 }", ("unexpected `1`, expected `;` or `}`", "1")),
        ("BEGIN { 1 ? 2 }", ("unexpected `}`, expected `:`", "}")),
        ("BEGIN { offsetof(struct s) }", ("unexpected `)`, expected `,`", ")")),
        ("BEGIN { -9223372036854775809 }", ("-9223372036854775809 does not fit in 64 bits", "-9223372036854775809")),
        ("k:f g { }", ("unexpected `g`, expected `,`, `/` or `{`", "g")),
        ("k:f /pid { }", ("unexpected `{`, expected `/`", "{")),
        ("k:f / / { }", ("unexpected `/`, expected an expression", "/")),
        ("k:f /1/ /2/ { }", ("unexpected `/`, expected an expression", "/")),
        ("{ }", ("unexpected `{`, expected a probe", "{")),
        ("BEGIN { } }", ("unexpected `}`, expected a probe", "}")),
        ("BEGIN { } = 1", ("unexpected `=`, expected a probe", "=")),
        (", BEGIN { }", ("unexpected `,`, expected a probe", ",")),
        ("BEGIN { if (1) { }", ("the program ends here, but a statement or `}` was expected", "}")),
        ("BEGIN { f(", ("the program ends here, but an expression or `)` was expected", "(")),
        ("BEGIN", ("the program ends here, but `,`, `/` or `{` was expected", "N")),
        ("BEGIN { " + "x" * 50 + " 1 }", ("unexpected `1`, expected `;` or `}`", "1")),
        ("BEGIN { 1 " + "x" * 50 + " }", (f"unexpected `{'x' * 37}...`, expected `;` or `}}`", "x" * 50)),
    ],
)  # fmt: skip
def test_syntax_error(text, found):
    assert errors(text) == [found]


def test_several_errors_in_one_go():
    text = """BEGIN { $x = ; @a = 1; @b 2; if (c { 1 1; } else { } $y = }
k:f g { 3 3 }
k:f /a { 4 4; 5 } }
END { if (a) { 6 6; } 7 7 }
"""
    assert errors(text) == [
        ("unexpected `;`, expected an expression", ";"),
        ("unexpected `2`, expected `;` or `}`", "2"),
        ("unexpected `{`, expected `)`", "{"),
        ("unexpected `}`, expected an expression", "}"),
        ("unexpected `g`, expected `,`, `/` or `{`", "g"),
        ("unexpected `3`, expected `;` or `}`", "3"),
        ("unexpected `{`, expected `/`", "{"),
        ("unexpected `4`, expected `;` or `}`", "4"),
        ("unexpected `}`, expected a probe", "}"),
        ("unexpected `6`, expected `;` or `}`", "6"),
        ("unexpected `7`, expected `;` or `}`", "7"),
    ]


def test_what_stands_between_errors_is_kept():
    source = Source("BEGIN { 1; 2 2; 3 } k:f { $x = } END { 4 }")
    program = parse(source, Diagnostics(source))
    assert program is not None
    assert [[node.value for node in walk(probe) if isinstance(node, Integer)] for probe in program.probes] == [[1, 3], [], [4]]


def test_a_block_that_is_not_closed_is_told_where_the_next_probe_begins():
    source = Source("BEGIN {\n\tif (1) {\n\t\t@ = 1;\n}\n\nEND {\n\tf(1);\n}\n")
    diagnostics = Diagnostics(source)
    parse(source, diagnostics)
    (reported,) = diagnostics.errors
    assert (reported.text, reported.span) == ("unexpected `END`, expected `}`", Span(30, 33))
    assert [(note.text, note.span) for note in reported.notes] == [("this `{` is not closed", Span(6, 7))]


def test_a_bad_character_is_the_only_error_of_its_line():
    assert errors("BEGIN { $x = 'a b';\n 1 1 }") == [
        ("unexpected character \"'\"", "'"),
        ("unexpected `1`, expected `;` or `}`", "1"),
    ]


def test_hint_for_an_assignment_to_something_else():
    source = Source("BEGIN { args->x += 1 }")
    diagnostics = Diagnostics(source)
    parse(source, diagnostics)
    assert diagnostics.errors[0].hint == "only `@maps` and `$variables` can be assigned to"


# --- limits


DEEP = [
    "$x = " + "(" * 100_000 + "1" + ")" * 100_000,
    "if (1) { " * 50_000 + "}" * 50_000,
    "1" + "+1" * 10_000,
    "1" + " || 1" * MAX_NESTING,
    "!" * 10_000 + "1",
    "- " * 10_000 + "1",
    "(int32)" * 10_000 + "1",
    "1 ? 2 : " * 10_000 + "3",
    "a" + ".b" * 10_000,
    "a" + "[1]" * 10_000,
    "f(" * (MAX_NESTING - 1) + ")" * (MAX_NESTING - 1),
    "if (1) { } " + "else if (1) { } " * 10_000,
]


@pytest.mark.parametrize("text", DEEP, ids=[text[:12] for text in DEEP])
def test_deep_nesting_is_an_error(text):
    assert [sentence for sentence, _ in errors("BEGIN { " + text + " }")] == ["this is nested too deeply"]


@pytest.mark.parametrize("text", ["f(" * 190 + ")" * 190, "1" + " + 1" * 190, "if (1) { " * 95 + "}" * 95, "(" * 198 + "1" + ")" * 198])
def test_nesting_that_is_allowed(text):
    parsed("BEGIN { " + text + " }")


def test_a_long_script():
    probe = 'tracepoint:a:b /pid == 1 && comm == "x"/ { @a[comm, str(args->filename)] = count(); $x = (struct s *)arg0; }\n'
    program = parsed(probe * 1000)
    assert len(program.probes) == 1000


@pytest.mark.parametrize("text", ["1 1;" * 10_000, "}" * 10_000, "BEGIN { 1 1 }\n" * 1000, "BEGIN { " + "1 1;" * 10_000])
def test_errors_without_end(text):
    assert 1 <= len(errors(text)) <= Diagnostics.LIMIT


PIECES = [
    *"(){}[]/;,:?.$@#\"'\\ \n\t+-*<=>!~&|%^019aé\0\udcff\ud800",
    *["BEGIN", "END", "kprobe:f", "u:/bin/sh:f", "if", "else", "while (1)", "unroll", "sizeof", "struct s", "(int32)", "/pid/ {"],
    *["//", "/*", "*/", "->", "++", "<<=", "$x", "@m", "@m[", "$1", "$#", '"s\\n"', "0x1f", "1e6", "args.x", "typedef", "#define"],
]


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join) | st.text(max_size=80))
def test_any_text_gives_a_tree_or_errors(text):
    for whole in (text, "BEGIN {" + text, "BEGIN { " + text + " } END { exit() }"):
        source = Source(whole)
        diagnostics = Diagnostics(source)
        program = parse(source, diagnostics)
        assert program is not None or diagnostics.errors
        for reported in diagnostics.reported:
            assert 0 <= reported.span.start <= reported.span.end <= max(1, len(whole))
            reported.render()
        if program is not None:
            for node in walk(program):
                for child in children(node):
                    if not isinstance(node, ast.Program):
                        assert node.span.start <= child.span.start <= child.span.end <= node.span.end


# --- tables and visitors


def test_the_grammar_has_no_conflicts():
    class Log(logging.Handler):
        def emit(self, record):
            lines.append(record.getMessage())

    lines: list[str] = []
    logger = logging.Logger("ply")
    logger.addHandler(Log())
    yacc = parser.yacc
    yacc.yacc(module=grammar, debug=True, write_tables=False, debuglog=yacc.NullLogger(), errorlog=logger)
    # The first is how the parser is built (it brings its own), the second is no complaint.
    assert lines == ["no p_error() function is defined", "Generating LALR tables"]


def test_written_tables_are_the_grammars(tmp_path):
    path = build_tables.build(str(tmp_path))
    written: dict = {}
    with open(path, encoding="ascii") as file:
        text = file.read()
    exec(compile(text, path, "exec"), written)
    tables = generate()
    assert text == format_tables(tables)
    assert written["ACTION"] == tables.lr_action
    assert written["GOTO"] == tables.lr_goto
    assert [fields[1:4] for fields in written["PRODUCTIONS"]] == [(p.name, p.len, p.func) for p in tables.lr_productions]


def test_tables_in_use_are_fresh():
    """Where the package was set up, its tables must have been written after the last change of the grammar."""
    try:
        from bpftrace_py.syntax import _parsetab
    except ImportError:
        return  # made in memory at every start: always fresh
    with open(_parsetab.__file__, encoding="ascii") as file:
        assert file.read() == format_tables(generate()), "run `python -m bpftrace_py.syntax.build_tables`"


def test_children_come_in_the_order_of_the_text():
    for node in walk(parsed("k:f,k:g /a/ { if (a) { $x = b ? c : d } else { @[e] += f(1, (2, 3)) } while (g) { h[1] } }")):
        starts = [child.span.start for child in children(node)]
        assert starts == sorted(starts)
