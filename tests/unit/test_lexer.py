"""Tokens, literals, and what is cut out of the text between the action blocks."""

from __future__ import annotations

import pytest

from bpftrace_py.diagnostics import Diagnostics
from bpftrace_py.source import Source
from bpftrace_py.syntax.ast import AttachPoint, CDeclaration
from bpftrace_py.syntax.lexer import MAX_NESTING, tokenize
from bpftrace_py.syntax.literals import quote


def lex(text: str) -> tuple[list, Diagnostics]:
    source = Source(text)
    diagnostics = Diagnostics(source)
    return tokenize(source, diagnostics).tokens, diagnostics


def code(text: str) -> list:
    """The (type, value) pairs of what stands in a block."""
    tokens, diagnostics = lex("BEGIN{" + text + "}")
    assert diagnostics.reported == []
    return [(token.type, token.value) for token in tokens[2:-1]]


def error(text: str) -> tuple[str, str]:
    """The code and the marked text of the only error."""
    _, diagnostics = lex(text)
    (reported,) = diagnostics.reported
    return reported.code, text[reported.span.start : reported.span.end]


def attach(text: str) -> AttachPoint:
    tokens, diagnostics = lex(text)
    assert diagnostics.reported == []
    assert isinstance(tokens[0].value, AttachPoint)
    return tokens[0].value


def declaration(text: str) -> CDeclaration:
    tokens, diagnostics = lex(text)
    assert diagnostics.reported == []
    assert isinstance(tokens[0].value, CDeclaration)
    return tokens[0].value


# --- tokens of the language


def test_words_keywords_and_sigils():
    assert code("if pid $x @ @m $1 $12 $#") == [
        ("IF", "if"), ("IDENTIFIER", "pid"), ("VARIABLE", "x"), ("MAP", "@"), ("MAP", "@m"), ("POSITIONAL", 1),
        ("POSITIONAL", 12), ("POSITIONAL_COUNT", "$#"),
    ]  # fmt: skip


def test_keywords_are_names_behind_a_dot_or_an_arrow():
    assert code("$x->if.struct return") == [
        ("VARIABLE", "x"), ("ARROW", "->"), ("IDENTIFIER", "if"), (".", "."), ("IDENTIFIER", "struct"),
        ("RETURN", "return"),
    ]  # fmt: skip


def test_longest_operator_wins():
    assert [kind for kind, _ in code("a<<=b<<c<=d<e+++--f>>=g->h-=-i&&j&k")] == [
        "IDENTIFIER", "ASSIGN_COMPOUND", "IDENTIFIER", "SHIFT_LEFT", "IDENTIFIER", "LESS_EQUAL", "IDENTIFIER", "<",
        "IDENTIFIER", "INCREMENT", "+", "DECREMENT", "IDENTIFIER", "ASSIGN_COMPOUND", "IDENTIFIER", "ARROW",
        "IDENTIFIER", "ASSIGN_COMPOUND", "-", "IDENTIFIER", "AND", "IDENTIFIER", "&", "IDENTIFIER",
    ]  # fmt: skip


def test_tokens_know_their_place():
    tokens, _ = lex('BEGIN { @x = "a\\n" + 0x1f; }')
    assert [(token.lexpos, token.end) for token in tokens] == [
        (0, 5), (6, 7), (8, 10), (11, 12), (13, 18), (19, 20), (21, 25), (25, 26), (27, 28),
    ]  # fmt: skip


def test_comments_are_white_space():
    assert code("1 // two }\n /* three } */ 4 /**/ 5") == [("INTEGER", 1), ("INTEGER", 4), ("INTEGER", 5)]


def test_the_first_line_may_name_an_interpreter():
    tokens, diagnostics = lex("#!/usr/bin/env bpftrace-py\nBEGIN { }")
    assert [token.type for token in tokens] == ["ATTACH_POINT", "{", "}"]
    assert diagnostics.reported == []


# --- numbers


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0), ("42", 42), ("1_000_000", 1_000_000), ("1__0", 10), ("1e6", 1_000_000), ("9E3", 9000), ("0e3", 0),
        ("010", 8), ("0x1F", 31), ("0XfF", 255), ("10u", 10), ("10ul", 10), ("5ULL", 5), ("3l", 3), ("4LL", 4),
        ("1e3u", 1000), ("1_000u", 1000), ("0xffu", 255), ("18446744073709551615", 2**64 - 1),
        ("0xffffffffffffffff", 2**64 - 1), ("1e18", 10**18),
    ],
)  # fmt: skip
def test_integer(text, value):
    assert code(text) == [("INTEGER", value)]


@pytest.mark.parametrize(
    "text", ["09", "1e", "1x", "12e3", "1_", "0x", "0xg", "0x1_0", "0b11", "5ms", "10lu", "10uu", "1e3e3"]
)
def test_not_a_number(text):
    assert error(f"BEGIN {{ {text} }}") == ("E0109", text)


@pytest.mark.parametrize("text", ["18446744073709551616", "0x10000000000000000", "1e19", "2e19", "1e20", "9" * 10_000, "1e" + "9" * 10_000])
def test_integer_too_large(text):
    assert error(f"BEGIN {{ {text} }}") == ("E0106", text)


def test_tuple_indices_are_not_decimal_fractions():
    assert code("$x.0.10") == [("VARIABLE", "x"), (".", "."), ("INTEGER", 0), (".", "."), ("INTEGER", 10)]


@pytest.mark.parametrize("text", ["$0", "$1a", "$99999999999999999999"])
def test_bad_positional(text):
    assert error(f"BEGIN {{ {text} }}") == ("E0110", text)


# --- strings


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'"a\n\t\r\"\\"', 'a\n\t\r"\\'), (r'"\x41\x4g\101\1011\0"', "A\x04gAA1\0"), (r'"\x414"', "A4"),
        (r'"\xc3\xa9é"', "éé"), (r'"\xff"', "\udcff"), ('"/* no */ // comment"', "/* no */ // comment"), ('""', ""),
    ],
)  # fmt: skip
def test_string(text, value):
    assert code(text) == [("STRING", value)]
    assert code(quote(value)) == [("STRING", value)]


@pytest.mark.parametrize("escape", [r"\q", r"\a", r"\8", r"\x", r"\400", r"\'"])
def test_unknown_escape(escape):
    assert error(f'BEGIN {{ "ok\\n{escape}" }}') == ("E0107", escape)


@pytest.mark.parametrize("text", ['"abc); }', '"abc\\"', '"a\\'])
def test_unterminated_string(text):
    assert error("BEGIN { " + text) == ("E0103", text)
    assert error("BEGIN { " + text + "\n }") == ("E0103", text)


def test_unterminated_comment():
    assert error("BEGIN { /* }") == ("E0104", "/*")
    assert error("/* BEGIN { }") == ("E0104", "/*")


@pytest.mark.parametrize("character", ["'", "`", "\\", "é", "\x01", "#", "\N{NO-BREAK SPACE}"])
def test_bad_character_is_left_out(character):
    assert error(f"BEGIN {{ 1 {character} }}") == ("E0102", character)


def test_text_that_is_no_text():
    assert error("BEGIN { \ud800 }") == ("E0102", "\ud800")


# --- attach points


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("BEGIN{}", ["BEGIN"]),
        ("kprobe:vfs_*{}", ["kprobe", "vfs_*"]),
        ("kprobe:fn+0x10 {}", ["kprobe", "fn+0x10"]),
        ("uprobe:/bin/bash:readline/pid/{}", ["uprobe", "/bin/bash", "readline"]),
        ("uretprobe:/lib/x86_64-linux-gnu/libc-2.23.so:fopen {}", ["uretprobe", "/lib/x86_64-linux-gnu/libc-2.23.so", "fopen"]),
        ("uprobe:/bin/bash {}", ["uprobe", "/bin/bash"]),
        ("usdt:/root/tick:tick:loop {}", ["usdt", "/root/tick", "tick", "loop"]),
        ("usdt:./a.out:*:* {}", ["usdt", "./a.out", "*", "*"]),
        ('uprobe:bin:"ns::fn(int, char*)"+4 {}', ["uprobe", "bin", "ns::fn(int, char*)+4"]),
        ('uprobe:"/a b":f {}', ["uprobe", "/a b", "f"]),
        ("uprobe:/a\\ b:f {}", ["uprobe", "/a b", "f"]),
        ("uprobe:libc:memcpy@GLIBC_2.14 {}", ["uprobe", "libc", "memcpy@GLIBC_2.14"]),
        ("uprobe:/bin/é:f {}", ["uprobe", "/bin/é", "f"]),
        ("uprobe::f {}", ["uprobe", "", "f"]),
        ("hardware:cache-misses:1000000 {}", ["hardware", "cache-misses", "1000000"]),
        ("software:faults: {}", ["software", "faults", ""]),
        ("software:faults:/pid/ {}", ["software", "faults", ""]),
        ("software:faults: /pid/ {}", ["software", "faults", ""]),
        ("profile:hz:$1 {}", ["profile", "hz", "$1"]),
        ("profile:hz:$# {}", ["profile", "hz", "$#"]),
        ("t:syscalls:sys_enter_[ab]?* {}", ["t", "syscalls", "sys_enter_[ab]?*"]),
        ("*:x:* {}", ["*", "x", "*"]),
        ("kprobe:f/pid==1/{}", ["kprobe", "f"]),
        ("kprobe:f//comment\n{}", ["kprobe", "f"]),
        ("uprobe:/lib/*:f {}", ["uprobe", "/lib/*", "f"]),
        ("interval : s: 1 {}", ["interval", "s", "1"]),
    ],
)  # fmt: skip
def test_attach_point(text, parts):
    assert attach(text).parts == parts


def test_attach_point_spans():
    text = 'uprobe:/bin/sh : "a b"+4 { }'
    point = attach(text)
    assert text[point.span.start : point.span.end] == 'uprobe:/bin/sh : "a b"+4'
    assert point.text == 'uprobe:/bin/sh:"a b"+4'
    assert [text[span.start : span.end] for span in point.part_spans] == ["uprobe", "/bin/sh", '"a b"+4']


def test_attach_point_with_an_open_quote():
    assert error('uprobe:"/bin/sh:f { }') == ("E0103", '"/bin/sh:f { }')


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("a:b /c / d/ {}", ["IDENTIFIER", "/", "IDENTIFIER", "PREDICATE_CLOSE", "{", "}"]),
        ("a:b/c/{}", ["IDENTIFIER", "PREDICATE_CLOSE", "{", "}"]),
        ("a:b/(c / 1) / 2 / // x\n /* y */ {}", ["(", "IDENTIFIER", "/", "INTEGER", ")", "/", "INTEGER", "PREDICATE_CLOSE", "{", "}"]),
        ("a:b/c/{1 / 2}", ["IDENTIFIER", "PREDICATE_CLOSE", "{", "INTEGER", "/", "INTEGER", "}"]),
    ],
)  # fmt: skip
def test_the_slash_before_a_block_ends_the_predicate(text, kinds):
    tokens, _ = lex(text)
    assert [token.type for token in tokens] == ["ATTACH_POINT", "PREDICATE_OPEN", *kinds]


# --- C declarations


@pytest.mark.parametrize(
    ("text", "kind", "kept"),
    [
        ("struct a { int b; struct { int c; } d; }; BEGIN {}", "struct", None),
        ("struct a { int b; } BEGIN {}", "struct", "struct a { int b; };"),
        ("struct a { int b; } __attribute__((packed)); BEGIN {}", "struct", None),
        ("struct a; BEGIN {}", "struct", None),
        ("union u { int a; /* } */ char *b; // }\n}; BEGIN {}", "union", None),
        ("enum { A, B = '}' }; BEGIN {}", "enum", None),
        ('enum e { A = sizeof("}\\"}") }; BEGIN {}', "enum", None),
        ("typedef struct { int a; } b; BEGIN {}", "typedef", None),
        ("typedef int (*f)(int a); BEGIN {}", "typedef", None),
        ("#include <linux/path.h>\nBEGIN {}", "include", "#include <linux/path.h>"),
        ("#define A(x) \\\n  (x)\nBEGIN {}", "define", "#define A(x) \\\n  (x)"),
        ("#  define A \\\r\n 1\nBEGIN {}", "define", "#  define A \\\r\n 1"),
        ("#ifndef A\nBEGIN {}", "directive", "#ifndef A"),
    ],
)  # fmt: skip
def test_declaration(text, kind, kept):
    found = declaration(text)
    assert (found.kind, found.text) == (kind, kept or text[: text.rindex("; BEGIN") + 1])
    assert [token.type for token in lex(text)[0][1:]] == ["ATTACH_POINT", "{", "}"]


@pytest.mark.parametrize("text", ["struct a { int b;", "struct", "typedef int a", "struct a { struct { }"])
def test_declaration_without_an_end(text):
    assert error(text)[0] == "E0105"


def test_names_that_begin_like_a_declaration():
    assert attach("structs:f {}").parts == ["structs", "f"]
    assert attach("enum1:f {}").parts == ["enum1", "f"]


# --- limits


def test_nesting_has_a_limit():
    assert lex("BEGIN { " + "(" * (MAX_NESTING - 1) + ")" * (MAX_NESTING - 1) + " }")[1].reported == []
    for text in ("BEGIN { " + "(" * 100_000, "BEGIN " + "{" * 100_000, "BEGIN { " + "if (1) { " * 50_000, "k:f /" + "[(" * 9999):
        assert [reported.code for reported in lex(text)[1].reported] == ["E0108"]


def test_bad_characters_without_end():
    assert len(lex("BEGIN { " + "'" * 1_000_000)[1].reported) == Diagnostics.LIMIT


def test_a_byte_that_is_not_utf8_is_called_by_its_number():
    source = Source("BEGIN { \udcff exit(); }")
    diagnostics = Diagnostics(source)
    tokenize(source, diagnostics)
    (error,) = diagnostics.errors
    assert (error.text, error.hint) == (r"unexpected character '\xff'", "this byte is not UTF-8, in which programs are written")
