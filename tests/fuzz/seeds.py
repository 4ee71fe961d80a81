"""What mutation starts from: good inputs of each target, made from what the tests and examples have anyway."""

from __future__ import annotations

import marshal
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from bpftrace_py.compiler import compile_source
from bpftrace_py.config import Config
from bpftrace_py.language import builtins, functions, probe_types
from bpftrace_py.runtime.image import Code, Image, MapSpec
from bpftrace_py.runtime.unit_cache import _encode
from bpftrace_py.source import Source
from bpftrace_py.symbols.elf import ElfFile
from tests.btf_blob import BtfBlob
from tests.cases.case_files import DIAGNOSTICS, GENERATED, read
from tests.fake_host import FORMATS, FakeHost
from tests.fuzz.records import ACTIONS, INTEGERS, KEYS
from tests.testprogs import build

ROOT = Path(__file__).resolve().parents[2]


def seeds(target: str) -> list[bytes]:
    """The seeds of a target."""
    return list(dict.fromkeys(_SEEDS[target]()))


def words() -> list[str]:
    """What scripts are made of: for a fuzzer's dictionary."""
    found = {*builtins.BUILTINS, *functions.FUNCTIONS, *probe_types.NAMES}
    found |= set(
        "if else while unroll return break continue struct union enum sizeof offsetof typedef #include #define".split()
    )
    found |= set(
        '++ -- -> && || << >> == != <= >= += <<= @ @a $a $1 $# args-> /* */ // { } ( ) [ ] / , ; : ? ~ * % " \\x 0x'.split()
    )
    return sorted(word for word in found if word)


def _scripts() -> Iterator[bytes]:
    for path in [*sorted((ROOT / "examples").glob("*.bt")), *GENERATED]:
        yield path.read_bytes()
    for path in DIAGNOSTICS:
        for case in read(path):
            if len(case.program) < 2000:
                yield case.program.encode("utf-8", "surrogateescape")


def _headers() -> Iterator[bytes]:
    yield b"struct a { int x; char c[4]; struct { short s : 3; unsigned : 0; } b; union { long l; void (*f)(int); }; } __attribute__((packed));"
    yield b'typedef struct a { struct a *next; struct list_head list; u32 n[2][3]; } a_t; enum e { A0 = 7, X };\n#define f "text"\n'
    yield b"#ifdef BPFTRACE_HAVE_BTF\n#include <linux/fs.h>\n#else\n#include <stdint.h>\n#endif\n#define X (A0 + 1)\n#define A0 sizeof(struct b)\nstruct b { _Bool b; double d; __int128 i; };"
    yield b"#if 1\nstatic inline int f(int x) { return x + 1; }\n#define X f(1)\n#endif\nextern struct c c; struct d { struct c c; };"


def _commands() -> Iterator[bytes]:
    yield b"echo \1; ps -p \2\1 | grep \"\1\" > /dev/null && ls '\1'"
    yield b"$(echo \1) `x` ${a} $((1 + \2\1)) case \1 in a) ;; esac"
    yield b"timeout 5 env A=\1 awk '{ print \1 }' # \1\nsh -c \1"


def _variables() -> Iterator[bytes]:
    yield from (b"64", b"0", b"00064", b"1e3", b"perf", b"-1", b"18446744073709551616", b"\xff")


def _one_of_each_action() -> Iterator[bytes]:
    payload = bytes(range(1, 120))
    for number in range(len(ACTIONS)):
        yield bytes([100, number]) + payload
    yield b"".join(bytes([60, number]) + payload[:60] for number in range(len(ACTIONS)))


def _rings() -> Iterator[bytes]:
    for number in range(0, len(ACTIONS), 3):
        record = struct.pack("=II", 100, 0) + bytes([number, 0, 0, 0]) + bytes(range(96)) + b"\0\0\0\0"
        yield b"\0\x10" + (record * 4).ljust(510, b"\0")
        yield b"\4\x0f" + bytes(32) + (record + struct.pack("=II", 100 | 1 << 30, 0) + record[8:]) * 2


def _rows() -> Iterator[bytes]:
    for number in range(len(KEYS)):
        yield bytes([number]) + bytes(range(200))


def _formats() -> Iterator[bytes]:
    yield from (INTEGERS.encode(), b"%s %10.3s %-5d|%05llx %%", b"%r %rx %c %p %+ #0123.456hhd", b"100% \xff\0 %")


def _tracepoints() -> Iterator[bytes]:
    yield from (text.encode() for text in FORMATS.values())
    yield (
        b"name: x\nID: 1\nformat:\n\tfield:__rel_loc u8[] a;\toffset:8;\tsize:4;\tsigned:0;\n"
        b"\tfield:struct s b[2][MAX];\toffset:12;\tsize:24;\tsigned:0;\n\tfield:void (*f)(int);\toffset:40;\tsize:8;\tsigned:0;\n"
    )


def _kallsyms() -> Iterator[bytes]:
    core = b"0000000000000000 A per_cpu\nffffffff81000000 T _text\nffffffff81001000 t f\nffffffff81002000 D d\n"
    yield core
    yield core + b"ffffffffc0001000 t b\t[module]\nffffffffc0000000 t a\t[module]\n"
    yield core.replace(b"ffffffff8100", b"000000000000")


def _maps() -> Iterator[bytes]:
    yield (
        b"00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/dbus-daemon\n"
        b"7ffc0e5d0000-7ffc0e5d2000 r-xp 00000000 00:00 0   [vdso]\n"
        b"7f0000000000-7f0000001000 rwxp 00001000 fd:01 12  /tmp/a b\\012c (deleted)\n7f1000-7f2000 r--p 0 0:0 0\n"
    )


def _sideband() -> Iterator[bytes]:
    def record(kind: int, misc: int, body: bytes) -> bytes:
        body += struct.pack("=Q", 5)
        return struct.pack("=IHH", kind, misc, 8 + len(body)) + body

    pair = struct.pack("=II", 4242, 4242)
    mapped = pair + struct.pack("=QQQIIQQII", 0x400000, 0x1000, 0, 8, 2, 99, 0, 5, 2) + b"/bin/x\0\0"
    yield record(10, 2, mapped) + record(3, 1 << 13, pair + b"x\0\0\0\0\0\0\0") + record(10, 2, mapped)
    yield (
        record(7, 0, struct.pack("=IIII", 5, 1, 5, 1))
        + record(4, 0, pair + pair)
        + record(2, 0, struct.pack("=QQ", 1, 7))
    )


def _btf() -> Iterator[bytes]:
    blob = BtfBlob()
    integer, char, long = blob.integer("int", 4, 1), blob.integer("char", 1), blob.integer("long unsigned int", 8)
    blob.integer("__int128", 16, 1)
    text, pid = blob.pointer(blob.const(char)), blob.typedef("pid_t", integer)
    inner = blob.record("", 8, [("a", integer, 0), ("b", pid, 32)], union=True)
    blob.record(
        "s", 32, [("", inner, 0), ("name", text, 64), ("c", blob.array(char, 8), 128), ("next", blob.pointer(12), 192)]
    )
    blob.record("bits", 4, [("x", integer, 3 << 24), ("y", integer, 5 << 24 | 3)], flag=True)
    blob.enum("e", [("A", 1), ("B", 2)])
    blob.enum64("f", [("C", 1 << 40)])
    blob.forward("s")
    blob.add(16, "double", 8)
    blob.function("vfs_read", [("file", text), ("", 0)], long)
    blob.tag("user", integer)
    yield blob.data()


def _elf() -> Iterator[bytes]:
    """A file with one of everything that is read."""
    for wide, order in ((True, "<"), (False, "<"), (True, ">")):
        yield _elf_file(wide, order)


def _elf_file(wide: bool, order: str) -> bytes:
    word = "Q" if wide else "I"

    def note(owner: bytes, kind: int, description: bytes) -> bytes:
        return (
            struct.pack(order + "III", len(owner), len(description), kind)
            + owner
            + description
            + bytes(-len(description) % 4)
        )

    def symbol(name: int, address: int, kind: int) -> bytes:
        if wide:
            return struct.pack(order + "IBBHQQ", name, 16 | kind, 0, 1, address, 16)
        return struct.pack(order + "IIIBBH", name, address, 16, 16 | kind, 0, 1)

    probe = struct.pack(order + 3 * word, 0x1139, 0x2000, 0x2010) + b"provider\0name\0-4@%edi 8@-8(%rbp) 4@$7\0"
    strings = b"\0main\0data@V1\0_Z1fv\0"
    return _file_of_sections(
        [
            (b".text", 1, 0x1139, b"\x55\x48\x89\xe5\x5d\xc3" + bytes(42), 0, 0),
            (b".symtab", 2, 0, symbol(0, 0, 0) + symbol(1, 0x1139, 2) + symbol(6, 0x1150, 1) + symbol(14, 0x1140, 2), 3, 24),
            (b".strtab", 3, 0, strings, 0, 0),
            (b".note.stapsdt", 7, 0, note(b"stapsdt\0", 3, probe), 0, 0),
            (b".note.gnu.build-id", 7, 0, note(b"GNU\0", 3, b"\xab" * 20), 0, 0),
            (b".stapsdt.base", 1, 0x2000, b"\0", 0, 0),
            (b".gnu_debuglink", 1, 0, b"x.debug\0\1\2\3\4", 0, 0),
        ],
        wide, order,
    )  # fmt: skip


_Sections = list[tuple[bytes, int, int, bytes, int, int]]  # name, type, address, data, link, size of an entry


def _file_of_sections(sections: _Sections, wide: bool = True, order: str = "<") -> bytes:
    """An ELF file of these sections, the first one loaded as code."""
    word, header_size = ("Q", 64) if wide else ("I", 52)
    names = b"\0" + b"\0".join(name for name, *_ in sections) + b"\0.shstrtab\0"
    sections = [*sections, (b".shstrtab", 3, 0, names, 0, 0)]
    at = header_size + (56 if wide else 32)
    body, headers = b"", bytes(64 if wide else 40)
    for name, kind, address, data, link, entry in sections:
        headers += struct.pack(
            order + "II" + 4 * word + "II" + 2 * word, names.index(b"\0" + name + b"\0") + 1, kind, 6, address,
            at + len(body), len(data), link, 0, 1, entry,
        )  # fmt: skip
        body += data + bytes(-len(data) % 8)
    address, size = sections[0][2], len(sections[0][3])
    if wide:
        segment = struct.pack(order + "IIQQQQQQ", 1, 5, at, address, address, size, size, 1)
    else:
        segment = struct.pack(order + "8I", 1, at, address, address, size, size, 5, 1)
    count = len(sections) + 1
    identity = b"\x7fELF" + bytes((1 + wide, 1 if order == "<" else 2, 1)) + bytes(9)
    header = identity + struct.pack(
        order + "HHI" + 3 * word + "IHHHHHH", 3, 62 if wide else 3, 1, address, header_size, at + len(body), 0, header_size,
        len(segment), 1, len(headers) // count, count, count - 1,
    )  # fmt: skip
    return header + segment + body + headers


def _dwarf() -> Iterator[bytes]:
    """The debug information of the test programs, without the programs."""
    for name in ("arguments", "arguments_dwarf2", "arguments_units5"):
        file = ElfFile(str(build.program(name)))
        sections: _Sections = [(b".text", 1, 0x1139, bytes(48), 0, 0)]
        sections += (
            (s.name.encode(), 1, 0, file.data(s), 0, 0)
            for s in file.sections
            if s.name.startswith(".debug") and s.name not in (".debug_line", ".debug_aranges") and not s.compressed
        )
        yield _file_of_sections(sections)


def _usdt() -> Iterator[bytes]:
    yield b"-4@%edi 8@-8(%rbp) 4@$-7 1@%ah 4@(%rbx,%rcx,4) 8@16(,%rcx,8) 8@sym+8(%rip) 4f@%xmm0"
    yield b"8@x0 4@w1 8@[sp, 16] 4@[x1, x2, lsl 2] -4@5 8@xzr 8@[x29]"


def _mangled() -> Iterator[bytes]:
    yield from (
        b"1fv",
        b"N2ns1CIiE1gERKSt6vectorIiSaIiEE",
        b"St4sortIPiEvT_S1_",
        b"1fv.cold.7",
        b"GVZ4mainE1x",
        b"1fIJiEEvDpT_",
    )


def _linker_cache() -> Iterator[bytes]:
    names = b"libc.so.6\0/lib/libc.so.6\0"
    at = 48 + 2 * 24
    entry = struct.pack("=iIIIQ", 0x0303, at, at + 10, 0, 0) + struct.pack("=iIIIQ", 3, at, at + 10, 0, 0)
    new = b"glibc-ld.so.cache1.1" + struct.pack("=II", 2, len(names)) + bytes(20) + entry + names
    yield new
    yield b"ld.so-1.7.0\0" + struct.pack("=I", 1) + bytes(12 + 4) + new


def _cache_entries() -> Iterator[bytes]:
    image = Image((MapSpec("m", 1, 4, 8, 16, 0),), {"f": Code(bytes(16), ((4, 0),))}, b"GPL")
    yield marshal.dumps(image.plain())
    text = 'BEGIN { @[comm] = hist(pid); printf("%d %s", pid, comm); print((1, "a")); } tracepoint:sched:sched_switch { exit(); }'
    yield marshal.dumps(_encode(compile_source(Source(text), Config(), FakeHost())))


_SEEDS: dict[str, Callable[[], Iterator[bytes]]] = {
    **dict.fromkeys(("lexer", "parser", "compiler", "compiler_here"), _scripts),
    "c_declarations": _headers, "system_command": _commands, "environment": _variables, "ring_buffer": _rings,
    "decoder": _one_of_each_action, "map_rows": _rows, "printf_format": _formats, "tracepoint": _tracepoints,
    "kallsyms": _kallsyms, "process_maps": _maps, "sideband": _sideband, "btf_types": _btf, "elf": _elf,
    "usdt_arguments": _usdt, "demangler": _mangled, "linker_cache": _linker_cache, "dwarf": _dwarf, "cache_entry": _cache_entries,
}  # fmt: skip
