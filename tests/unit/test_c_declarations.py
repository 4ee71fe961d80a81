from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bpftrace_py.config import Config
from bpftrace_py.diagnostics import Diagnostics
from bpftrace_py.ktypes import c_headers
from bpftrace_py.ktypes.c_declarations import Declarations, parse_declarations
from bpftrace_py.source import Source, Span
from bpftrace_py.syntax.ast import CDeclaration
from bpftrace_py.types import (
    INT32,
    INT64,
    UINT32,
    UINT64,
    VOID,
    ArrayType,
    Bitfield,
    Field,
    FunctionType,
    IntegerType,
    PointerType,
    RecordType,
    StringType,
)
from tests.fake_host import PATH, QSTR, FakeKernelTypes

CHAR = IntegerType(1, True)
UINT8 = IntegerType(1, False)
Parse = Callable[..., tuple[Declarations, Diagnostics]]


@pytest.fixture
def parse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parse:
    """Parses declarations, one a line of a script whose last line is `rest`. The machine's own kernel headers are left
    out: there is no tree but the one that a test names."""
    find_tree = c_headers.kernel_tree
    monkeypatch.setattr(c_headers, "kernel_tree", lambda config: find_tree(config) if config.kernel_source else None)

    def run(*texts: str, rest: str = "", kernel: bool = True, **options: object) -> tuple[Declarations, Diagnostics]:
        script, declarations = "", []
        for text in texts:
            word = text.lstrip("# ").split(maxsplit=1)[0]
            if text.startswith("#") and word not in ("include", "define"):
                word = "directive"
            span = Span(len(script), len(script) + len(text))
            complete = text if text.startswith("#") or text.endswith(";") else text + ";"
            declarations.append(CDeclaration(kind=word, text=complete, span=span))
            script += text + "\n"
        diagnostics = Diagnostics(Source(script + rest, str(tmp_path / "script.bt")))
        config = Config(**options)
        types = FakeKernelTypes() if kernel else None
        return parse_declarations(declarations, types, config, diagnostics, "x86_64"), diagnostics

    return run


def good(result: tuple[Declarations, Diagnostics]) -> Declarations:
    declarations, diagnostics = result
    assert diagnostics.reported == []
    return declarations


def errors(result: tuple[Declarations, Diagnostics]) -> list[tuple[str, int, int]]:
    """(code, line, column) of what was reported; 0, 0 for what has no place."""
    _, diagnostics = result
    return [
        (d.code, *(diagnostics.source.position(d.span.start) if d.span else (0, 0))) for d in diagnostics.reported
    ]


def test_a_struct(parse: Parse) -> None:
    declared = good(parse("struct A { int x; char b[8]; }"))
    found = declared.find("struct A")
    assert found == RecordType("struct A") and (found.size, found.alignment) == (12, 4)
    assert declared.fields(found) == (Field("x", INT32, 0), Field("b", StringType(8), 4))
    assert list(declared.record_names()) == ["struct A"]
    assert declared.find("struct B") is None
    assert declared.find("A") is None
    assert declared.fields(RecordType("struct B")) is None


def test_members_of_every_kind(parse: Parse) -> None:
    declared = good(parse(
        "struct inner { short s; }",
        "struct all { _Bool b; unsigned char u; long l; const char *name; void *p; struct inner in; struct inner *ptr;"
        " int m[2][3]; char rows[2][8]; unsigned char mac[6]; void (*fn)(int); int *ints[2]; double d;"
        " struct all *self; enum color { RED, GREEN = 5 } c; struct unknown *u2; unsigned long long tail[]; }",
    ))  # fmt: skip
    fields = {f.name: (f.type, f.offset) for f in declared.fields(RecordType("struct all")) or ()}
    assert fields == {
        "b": (UINT8, 0),
        "u": (UINT8, 1),
        "l": (INT64, 8),
        "name": (PointerType(CHAR), 16),
        "p": (PointerType(VOID), 24),
        "in": (RecordType("struct inner"), 32),
        "ptr": (PointerType(RecordType("struct inner")), 40),
        "m": (ArrayType(ArrayType(INT32, 3), 2), 48),
        "rows": (ArrayType(StringType(8), 2), 72),
        "mac": (ArrayType(UINT8, 6), 88),
        "fn": (PointerType(FunctionType()), 96),
        "ints": (ArrayType(PointerType(INT32), 2), 104),
        "d": (ArrayType(UINT8, 8), 120),
        "self": (PointerType(RecordType("struct all")), 128),
        "c": (UINT32, 136),
        "u2": (PointerType(RecordType("struct unknown")), 144),
        "tail": (ArrayType(UINT64, 0), 152),
    }
    assert declared.enumerator("GREEN") == 5


def test_anonymous_and_nested_records(parse: Parse) -> None:
    declared = good(parse(
        "typedef struct { int a; struct { int c; long d; }; union { int z; char q; } u; struct { int w; } *p; } foo_t;",
        "struct outer { struct named { int n; } n; foo_t f; }",
    ))  # fmt: skip
    foo = declared.find("foo_t")
    assert foo == RecordType("foo_t") and foo.size == 40
    fields = declared.fields(foo)
    assert fields is not None
    assert [(f.name, f.offset) for f in fields] == [("a", 0), ("c", 8), ("d", 16), ("u", 24), ("p", 32)]
    assert declared.fields(fields[3].type) == (Field("z", INT32, 0), Field("q", CHAR, 0))
    assert declared.fields(fields[4].type.pointee) == (Field("w", INT32, 0),)
    assert fields[3].type != fields[4].type.pointee
    assert declared.fields(RecordType("struct named")) == (Field("n", INT32, 0),)
    assert declared.fields(RecordType("struct outer"))[1] == Field("f", RecordType("foo_t"), 8)
    assert declared.find("struct foo_t") is None


def test_bit_fields_and_packing(parse: Parse) -> None:
    declared = good(parse(
        "struct bits { unsigned a : 3; unsigned : 4; unsigned b : 7; int c : 20; unsigned long d : 40; }",
        "struct tight { char c; int i; short s; } __attribute__((packed))",
        "union either { int i; char text[6]; }",
    ))  # fmt: skip
    assert declared.fields(RecordType("struct bits")) == (
        Field("a", UINT32, 0, Bitfield(0, 3)),
        Field("b", UINT32, 0, Bitfield(7, 7)),
        Field("c", INT32, 4, Bitfield(0, 20)),
        Field("d", UINT64, 8, Bitfield(0, 40)),
    )
    tight = declared.find("struct tight")
    assert (tight.size, tight.alignment) == (7, 1)
    assert [f.offset for f in declared.fields(tight)] == [0, 1, 5]
    assert declared.find("union either").size == 8
    assert [f.offset for f in declared.fields(RecordType("union either"))] == [0, 0]


def test_enums_and_typedefs(parse: Parse) -> None:
    declared = good(parse(
        "enum e { A = 4, B = A * 3, C = -1 };", "enum { ONE = 1 };", "enum wide { W = 0x100000000 }",
        "typedef unsigned short port_t;", "typedef int four[4];",
    ))  # fmt: skip
    assert [declared.enumerator(n) for n in ("A", "B", "C", "ONE", "W", "D")] == [4, 12, -1, 1, 1 << 32, None]
    assert declared.find("enum e") == INT32
    assert declared.find("enum wide") == UINT64
    assert declared.find("port_t") == IntegerType(2, False)
    assert declared.find("four") == ArrayType(INT32, 4)


def test_constants(parse: Parse) -> None:
    declared = good(parse(
        "#define X (1 << 3)", "#define Y (X | 1)", '#define TEXT "a" "b"', "#define ALL ~0U",
        "#define BIG 0xffffffffffffffff", "#define F(x) (x + 1)", "#define CALL F(7)", "#define NONE",
        "#define TYPE int", "#define HALF 0.5", "#define CHARACTER 'a'", "#define STATE TCP_ESTABLISHED",
        "#define SIZE sizeof(struct path)", "#define WRONG a->b",
        rest="BEGIN { X; Y; TEXT; ALL; BIG; F; CALL; NONE; TYPE; HALF; CHARACTER; STATE; SIZE; WRONG }",
    ))  # fmt: skip
    values = {
        name: declared.macro(name)
        for name in "X Y TEXT ALL BIG F CALL NONE TYPE HALF CHARACTER STATE SIZE WRONG OTHER".split()
    }
    assert {name: value for name, value in values.items() if value is not None} == {
        "X": 8, "Y": 9, "TEXT": "ab", "ALL": (1 << 32) - 1, "BIG": (1 << 64) - 1, "CALL": 8, "CHARACTER": 97,
        "STATE": 1, "SIZE": 16,
    }  # fmt: skip


def test_constants_need_no_clang(parse: Parse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "clang.cindex", None)
    declared = good(parse(
        "#define HEX 0x10", "#define NEGATIVE (-5)", "#define OCTAL 010", '#define NAME "bash"', "#define LONG 7L",
        "#ifndef BPFTRACE_HAVE_BTF", "#include <linux/no_such_header.h>", "#define HEX 1",
        "#else", "#define ELSE 1", "#endif", "#include <linux/no_such_header.h>",
    ))  # fmt: skip
    names = ("HEX", "NEGATIVE", "OCTAL", "NAME", "LONG", "ELSE")
    assert [declared.macro(n) for n in names] == [16, -5, 8, "bash", 7, 1]
    assert declared.find("struct path") is None
    assert declared.fields(PATH) is None
    assert declared.enumerator("TCP_ESTABLISHED") is None
    assert list(declared.record_names()) == []


@pytest.mark.parametrize("kernel", [True, False])
def test_conditions(parse: Parse, kernel: bool) -> None:
    for extra in ((), ("struct A { int x; }",)):  # without clang, and with it
        texts = ("#ifdef BPFTRACE_HAVE_BTF", "#define Q 1", "#else", "#define Q 2", "#endif", *extra)
        assert good(parse(*texts, rest="Q", kernel=kernel)).macro("Q") == (1 if kernel else 2)
    declared = good(parse("#if 1", "struct C1 { int x; }", "#else", "struct C2 { int y; }", "#endif"))
    assert declared.find("struct C1") is not None
    assert declared.find("struct C2") is None


def test_without_libclang(parse: Parse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "clang.cindex", None)
    result = parse("struct A { int x; }")
    assert errors(result) == [("E0355", 0, 0)]
    assert result[0].find("struct A") is None


# --- types of the kernel


def test_kernel_types_by_value(parse: Parse) -> None:
    declared = good(parse(
        "struct nameidata { struct path path; struct qstr last; u32 x; enum pid_type type; struct inode *inode;"
        " int a[PIDTYPE_TGID]; char size[sizeof(struct dentry)]; }",
        "typedef struct path my_path;",
    ))  # fmt: skip
    found = declared.find("struct nameidata")
    assert found is not None and (found.size, found.alignment) == (248, 8)
    fields = declared.fields(found)
    assert fields is not None
    assert [(f.name, f.type, f.offset) for f in fields] == [
        ("path", PATH, 0),
        ("last", QSTR, 16),
        ("x", UINT32, 32),
        ("type", UINT32, 36),
        ("inode", PointerType(RecordType("struct inode")), 40),
        ("a", ArrayType(INT32, 1), 48),
        ("size", StringType(192), 52),
    ]
    assert fields[4].type.pointee.size == 632
    # The kernel knows the members; here there are none.
    assert declared.find("struct path") is None
    assert declared.fields(PATH) is None
    assert declared.find("my_path") == PATH
    assert declared.enumerator("PIDTYPE_TGID") in (None, 1)


def test_the_scripts_types_win(parse: Parse) -> None:
    declared = good(parse("struct list_head { int mine; }", "struct T { struct list_head l; struct qstr q; }"))
    assert declared.fields(RecordType("struct list_head")) == (Field("mine", INT32, 0),)
    assert [f.offset for f in declared.fields(RecordType("struct T"))] == [0, 8]


def test_names_of_integers_need_no_kernel(parse: Parse) -> None:
    declared = good(parse("struct A { u32 x; uint8_t y; bool z; size_t s; pid_t p; }", kernel=False))
    assert [(f.type, f.offset) for f in declared.fields(RecordType("struct A"))] == [
        (UINT32, 0), (UINT8, 4), (UINT8, 5), (UINT64, 8), (INT32, 16),
    ]  # fmt: skip


def test_unknown_types(parse: Parse) -> None:
    result = parse("struct X { int i;", "  struct pathh a; foo b; }")
    assert errors(result) == [("E0353", 2, 16), ("E0353", 2, 19)]
    assert result[1].reported[0].hint == "did you mean `struct path`?"


# --- headers


def test_headers_of_the_kernel_are_left_out_where_btf_is(parse: Parse) -> None:
    good(parse("#include <linux/path.h>", "#include <linux/dcache.h>"))
    declared = good(parse("#include <linux/no_such_header.h>", "struct A { struct path p; }"))
    assert declared.find("struct A").size == 16
    result = parse("#include <linux/no_such_header.h>", kernel=False)
    assert errors(result) == [("E0351", 1, 1)]
    assert "BPFTRACE_KERNEL_SOURCE" in (result[1].reported[0].hint or "")


def test_address_families(parse: Parse) -> None:
    for header in ("linux/socket.h", "net/sock.h"):
        declared = good(parse(f"#include <{header}>", rest="AF_INET AF_INET6 AF_NETLINK PF_UNIX AF_MCTP"))
        names = ("AF_INET", "AF_INET6", "AF_NETLINK", "PF_UNIX", "AF_MCTP")
        assert [declared.macro(n) for n in names] == [2, 10, 16, 1, 45]


def test_constants_of_kernel_headers(parse: Parse) -> None:
    declared = good(parse(
        "#include <linux/blkdev.h>", "#include <linux/time64.h>", "#include <linux/sched.h>",
        rest="MINORBITS NSEC_PER_SEC PF_KTHREAD TASK_UNINTERRUPTIBLE",
    ))  # fmt: skip
    names = ("MINORBITS", "NSEC_PER_SEC", "PF_KTHREAD", "TASK_UNINTERRUPTIBLE")
    assert [declared.macro(n) for n in names] == [20, 10**9, 0x200000, 2]


def test_compiler_headers(parse: Parse) -> None:
    declared = good(parse(
        "#include <stddef.h>", "#include <stdbool.h>", "#include <stdarg.h>",
        "struct A { bool b; size_t n; wchar_t w; }", "#define AT offsetof(struct A, n)", rest="AT true",
    ))  # fmt: skip
    assert declared.macro("AT") == 8
    assert declared.macro("true") == 1
    assert [f.type for f in declared.fields(RecordType("struct A"))] == [UINT8, UINT64, INT32]


def test_headers_of_the_user(parse: Parse, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "mine.h").write_text(
        '#include "sub/other.h"\n#include <linux/no_such.h>\n#define MINE 42\n'
        "struct mine { struct other o; struct path p; };\n"
    )
    (tmp_path / "sub" / "other.h").write_text("struct other { int a; };\n")
    for declared in (
        good(parse('#include "mine.h"', rest="MINE")),
        good(parse("#include <mine.h>", rest="MINE", include_directories=(str(tmp_path),))),
        good(parse(rest="MINE", include=(str(tmp_path / "mine.h"),))),
    ):
        assert declared.macro("MINE") == 42
        assert [(f.type, f.offset) for f in declared.fields(RecordType("struct mine"))] == [
            (RecordType("struct other"), 0),
            (PATH, 8),
        ]


def test_a_kernel_tree(parse: Parse, tmp_path: Path) -> None:
    tree = tmp_path / "linux-headers-1-amd64"
    common = tmp_path / "linux-headers-1-common"
    (common / "include" / "linux").mkdir(parents=True)
    (tree / "include" / "generated").mkdir(parents=True)
    (common / "include" / "linux" / "kconfig.h").write_text("#define CONFIG_X 1\n")
    (common / "include" / "linux" / "path.h").write_text(
        "#include <generated/made.h>\nstruct path { int of_the_tree; };\n#define PATH_CONSTANT (CONFIG_X + MADE)\n"
    )
    (tree / "include" / "generated" / "made.h").write_text("#define MADE 5\n")
    declared = good(parse("#include <linux/path.h>", rest="PATH_CONSTANT", kernel_source=str(tree)))
    assert declared.macro("PATH_CONSTANT") == 6
    assert declared.fields(PATH) == (Field("of_the_tree", INT32, 0),)
    # A tree that clang cannot read is as good as none, where there is BTF.
    (common / "include" / "linux" / "path.h").write_text("struct path { what };\n")
    assert good(parse("#include <linux/path.h>", kernel_source=str(tree))).find("struct path") is None
    result = parse("#include <linux/path.h>", kernel_source=str(tree), kernel=False)
    assert [code for code, _, _ in errors(result)] != []


def test_missing_headers(parse: Parse) -> None:
    result = parse("#include <no_such.h>", "struct A { int x; }", '#include "mine.h"')
    assert errors(result) == [("E0351", 1, 1), ("E0351", 3, 1)]
    assert result[0].find("struct A") is not None
    assert errors(parse(include=("no_such.h",))) == [("E0351", 0, 0)]


def test_only_files_are_included(parse: Parse, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert errors(parse('#include "/dev/zero"')) == [("E0352", 1, 1)]
    assert errors(parse('#include "pipe"')) == [("E0352", 1, 1)]
    assert errors(parse(include=("/dev/zero",))) == [("E0352", 0, 0)]


def test_errors_in_headers(parse: Parse, tmp_path: Path) -> None:
    (tmp_path / "bad.h").write_text("struct bad { int a\n int b; };\n")
    result = parse("#define X 1", '#include "bad.h"')
    assert errors(result) == [("E0354", 2, 1)]
    assert "bad.h:1:19" in result[1].reported[0].text


# --- mistakes


def test_mistakes_have_their_place(parse: Parse) -> None:
    assert errors(parse("struct A { int x; }", "struct A { int y; }")) == [("E0350", 2, 8)]
    assert errors(parse("struct A { int x; int x; }")) == [("E0350", 1, 23)]
    letters = ("struct \u00dcber { int x; }", "/* \u00fc\u00fc */ struct B { int \u00fc; int \u00fc; }")
    assert errors(parse(*letters)) == [("E0350", 2, 32)]
    assert errors(parse("#error no")) == [("E0350", 1, 2)]
    result = parse("struct A {", "  int x[-1];", "}")
    assert [code for code, _, _ in errors(result)] and all(line in (1, 2, 3) for _, line, _ in errors(result))


@pytest.mark.parametrize(
    "text",
    [
        "struct A { int " + "*" * 500 + "p; }",
        "struct A " + "{ struct " * 300 + "{ int x; }" + " a; }" * 300,
        "struct A { char x[1 << 62]; }",
        "struct A { char x[99999999999999999999]; }",
        "struct A { int x : 65; int : 0; int y : 0; }",
        "struct A { _Complex double c; __int128 i; int v __attribute__((vector_size(16))); }",
        "struct A { struct A a; }",
        "typedef struct A A; struct A { A *a; }",
        "struct A { int x; } __attribute__((aligned(1 << 29)))",
        "struct \udc80 { int x; }",
        "struct A { int \0 x; }",
        "#define A A\n#define B B B\n",
        "#include",
        "enum A { X = 1 / 0 }",
    ],
)
def test_odd_declarations_do_no_harm(parse: Parse, text: str) -> None:
    declared, diagnostics = parse(text, rest="A B X")
    for name in list(declared.record_names()):
        found = declared.find(name)
        if isinstance(found, RecordType):
            for field in declared.fields(found) or ():
                assert str(field.type)
    for diagnostic in diagnostics.reported:
        assert diagnostic.render()


def test_importing_does_not_load_clang() -> None:
    code = "import bpftrace_py.ktypes.c_declarations, sys; sys.exit('clang.cindex' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
