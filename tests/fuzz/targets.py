"""What any bytes are given to: one function a target, `bytes -> None`.

A target returns, whatever the bytes are: what it calls must answer, or refuse by the error that is documented for it.
Anything else that it raises is a bug; so is a run that does not end, or memory without bound, which the callers watch
for: `run_atheris.py` (coverage-guided, `make fuzz`), and `test_any_bytes.py` (what was found before, and mutations of it).
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache

from bpftrace_py.codegen.unit import Unit
from bpftrace_py.compiler import compile_source
from bpftrace_py.config import Config, from_environment
from bpftrace_py.diagnostics import BpftraceError, Diagnostics, InternalError
from bpftrace_py.host import Host
from bpftrace_py.ktypes import btf, btf_image, dwarf_types, tracepoint_format
from bpftrace_py.ktypes.c_declarations import parse_declarations
from bpftrace_py.language import shell
from bpftrace_py.live_host import LiveHost, find_symbol, functions_of
from bpftrace_py.output.json import JsonOutput
from bpftrace_py.output.maps import map_text
from bpftrace_py.output.text import TextOutput
from bpftrace_py.output.values import Texts
from bpftrace_py.probes.library_cache import libraries
from bpftrace_py.runtime.actions import plan_systems
from bpftrace_py.runtime.cache import MAGIC, Cache, sha256
from bpftrace_py.runtime.decoder import Decoder
from bpftrace_py.runtime.map_keys import compile_rows, encode_key
from bpftrace_py.runtime.ring_buffer import HEADER_SIZE, Ring
from bpftrace_py.runtime.unit_cache import Unbelievable, unit_of
from bpftrace_py.source import Source
from bpftrace_py.symbols import usdt_notes
from bpftrace_py.symbols.addresses import AddressSpaces
from bpftrace_py.symbols.demangle import demangle, spellings
from bpftrace_py.symbols.elf import ElfError, ElfFile
from bpftrace_py.symbols.kernel import KernelSymbols
from bpftrace_py.symbols.sideband import read_records, report
from bpftrace_py.syntax.ast import Program
from bpftrace_py.syntax.lexer import tokenize
from bpftrace_py.syntax.parser import parse
from bpftrace_py.syntax.printer import dump, to_source
from bpftrace_py.types import RecordType, TupleType
from tests.fake_host import FakeHost
from tests.fuzz.records import ACTIONS, MAPS, Log, Sink, resolver
from tests.records import FIELDS
from tests.unit.test_printer import placeless

Target = Callable[[bytes], None]
TARGETS: dict[str, Target] = {}


def target(function: Target) -> Target:
    TARGETS[function.__name__] = function
    return function


def text_of(data: bytes) -> str:
    """As the command reads a script."""
    return data.decode("utf-8", "surrogateescape")


# --- scripts


@target
def lexer(data: bytes) -> None:
    source = Source(text_of(data))
    diagnostics = Diagnostics(source)
    end = 0
    for token in tokenize(source, diagnostics).tokens:
        assert end <= token.lexpos <= token.end <= len(source.text), token
        end = token.end
    _check_told(diagnostics)


@target
def parser(data: bytes) -> None:
    """What is accepted means the same when it is printed and read again."""
    program = _parsed(text_of(data))
    if program is None:
        return
    dump(program)
    printed = to_source(program)
    again = _parsed(printed)
    assert again is not None, f"its own text is refused:\n{printed}"
    assert to_source(again) == printed
    assert placeless(again) == placeless(program), f"its own text means something else:\n{printed}"


def _parsed(text: str) -> Program | None:
    diagnostics = Diagnostics(Source(text))
    program = parse(diagnostics.source, diagnostics)
    _check_told(diagnostics)
    assert program is not None or diagnostics.errors, "refused without a word"
    return None if diagnostics.errors else program


def _check_told(diagnostics: Diagnostics) -> None:
    for diagnostic in diagnostics.reported:
        if diagnostic.span is not None:
            assert 0 <= diagnostic.span.start <= diagnostic.span.end <= len(diagnostics.source.text), diagnostic
        diagnostic.render(color=True)


@target
def compiler(data: bytes) -> None:
    """The whole compiler, on a machine made of constants."""
    _compile(text_of(data), FakeHost())


@target
def compiler_here(data: bytes) -> None:
    """The whole compiler, on this machine: its BTF, tracepoints, symbols, binaries, C headers."""
    _compile(text_of(data), _live_host())


@cache
def _live_host() -> LiveHost:
    return LiveHost(may_mount=False)


def _compile(text: str, host: Host) -> None:
    config = Config(parameters=("1", "-2", "three", ""))
    try:
        unit = compile_source(Source(text), config, host, on_warning=_check_told)
    except InternalError:
        raise
    except BpftraceError as error:
        assert error.diagnostics, "refused without a word"
        for diagnostic in error.diagnostics:
            diagnostic.render(color=True)
    else:
        _run(unit)


def _run(unit: Unit) -> None:
    """What the session makes of a unit, as far as it needs no kernel: commands and formats, with empty and full records."""
    with suppress(BpftraceError):
        plan_systems(unit.actions)
    log = Log()
    texts = Texts(resolver(), unit.records, escape=True)
    decoder = Decoder(unit.actions, texts, log.printf, log)
    for number in range(len(unit.actions)):
        for filling in (b"\0", b"\xff"):
            record = bytes(HEADER_SIZE) + number.to_bytes(4, "little") + filling * (1 << 14)
            decoder.run(number, memoryview(record), 1)
    decoder.flush()
    _print(log, texts)


def _print(log: Log, texts: Texts, events: bool = False) -> None:
    for output in (TextOutput(Sink(), texts), JsonOutput(Sink(), texts)):
        log.replay(output, events)


@target
def c_declarations(data: bytes) -> None:
    """A hostile header: all that it declares is asked for."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as directory:
        with open(f"{directory}/hostile.h", "wb") as file:
            file.write(data)
        source = Source('#include "hostile.h"\nBEGIN { X A0 f }', f"{directory}/script.bt")
        diagnostics = Diagnostics(source)
        program = parse(source, Diagnostics(source))
        assert program is not None
        found = parse_declarations(program.declarations, None, Config(), diagnostics)
    _check_told(diagnostics)
    for name in list(found.record_names()):
        found.find(name)
        found.fields(RecordType(name))
    for name in ("X", "A0", "f"):
        found.macro(name)
        found.enumerator(name)


@target
def system_command(data: bytes) -> None:
    """`system("...")`: literal texts with holes between them."""
    pieces: list[str | shell.Hole] = []
    for piece in text_of(data).split("\1"):
        pieces += (piece, shell.Hole.NUMBER if piece.endswith("\2") else shell.Hole.TEXT)
    try:
        references = shell.plan(pieces)
    except shell.Refused as refused:
        assert refused.reason
    else:
        assert len(references) == pieces.count(shell.Hole.TEXT)


@target
def environment(data: bytes) -> None:
    """The `BPFTRACE_*` variables, each set to the same."""
    text = text_of(data.replace(b"\0", b""))
    for name in (
        "STRLEN", "MAP_KEYS_MAX", "CAT_BYTES_MAX", "MAX_PROBES", "LOG_SIZE", "RING_BYTES", "NO_CPP_DEMANGLE", "STACK_MODE",
    ):  # fmt: skip
        try:
            config = from_environment({f"BPFTRACE_{name}": text})
        except BpftraceError:
            continue
        assert config.strlen <= 1 << 16 and config.map_keys_max <= 1 << 26 and config.cat_bytes_max <= 1 << 31


# --- what the kernel and its programs write


@target
def ring_buffer(data: bytes) -> None:
    """Memory of a ring in which everything may be wrong: positions, headers, records."""
    size = 1 << max(6, min(len(data), 1 << 16).bit_length())
    records = data[2:size].ljust(size, b"\0")
    consumed = int.from_bytes(data[:1], "little") * 8
    produced = consumed + int.from_bytes(data[1:2], "little") * size // 128
    _drain(consumed, produced, records, rounds=4)


@target
def decoder(data: bytes) -> None:
    """Well-formed records of any action, with any payload; printed as text and as JSON, on a terminal and not."""
    memory = bytearray()
    while data and len(memory) < 1 << 15:
        length = data[0] + 2
        payload = data[1:2] + b"\0\0\0" + data[2:length]
        memory += len(payload).to_bytes(4, "little") + bytes(4) + payload
        memory += bytes(-len(memory) % 8)
        data = data[length:]
    records = bytes(memory).ljust(1 << 16, b"\0")
    for events in (False, True):
        for escape in (False, True):
            _drain(0, len(memory), records, events, escape)


def _drain(
    consumed: int, produced: int, records: bytes, events: bool = False, escape: bool = False, rounds: int = 1
) -> None:
    log = Log()
    texts = Texts(resolver(), FIELDS, escape=escape)
    decoder = Decoder(ACTIONS, texts, log.printf, log, events=events)
    positions = [memoryview(bytearray(position.to_bytes(8, "little"))) for position in (consumed, produced)]
    ring = Ring(*positions, memoryview(records + records))
    for _ in range(rounds):
        ring.drain(decoder)
        decoder.flush()
    _print(log, texts, events)


@target
def map_rows(data: bytes) -> None:
    """Keys and values of maps: decoded, printed as text and JSON, and keys encoded again."""
    texts = Texts(resolver(), FIELDS)
    script_map = MAPS[data[0] % len(MAPS)] if data else MAPS[0]
    rows, size = compile_rows(script_map.keys, FIELDS), TupleType(script_map.keys).size
    keys = rows(memoryview(data[1 : 1 + (len(data) - 1) // size * size])) if len(data) > size else []
    for key in keys:
        assert rows(memoryview(encode_key(script_map.keys, key, FIELDS))) == [key]
    elements = [(key, index) for index, key in enumerate(keys)]
    for top, divisor in ((0, 0), (1, 3)):
        map_text(script_map, elements, texts, top, divisor)
        JsonOutput(Sink(), texts).map(script_map, elements, top, divisor)


@target
def printf_format(data: bytes) -> None:
    """A format string of the script."""
    text = text_of(data)
    quoted = "".join(f"\\x{byte:02x}" for byte in text.encode("utf-8", "surrogateescape"))
    arguments = ", pid" * min(text.count("%"), 60)
    _compile(f'BEGIN {{ printf("{quoted}"{arguments}); system("{quoted}"{arguments}); }}', FakeHost())


@target
def tracepoint(data: bytes) -> None:
    """The text of a `format` file."""
    found = tracepoint_format.parse(text_of(data))
    if found is not None:
        assert len(found.fields) == len(found.declarations)
        for field in found.fields:
            assert found.field(field.name) is not None
            assert field.offset + field.type.size <= found.size or field.data_loc, field
        found.listing()


@target
def kallsyms(data: bytes) -> None:
    with file_of(data) as path:
        symbols = KernelSymbols(path)
        for address in (0, 0x1000, 0xFFFFFFFF81000000, (1 << 64) - 1):
            symbols.find(address)
        for name in ("_text", "f", "b"):
            symbols.address_of(name)
    find_symbol(data, "f")
    functions_of(data, frozenset())


@target
def process_maps(data: bytes) -> None:
    """/proc/PID/maps."""
    spaces = AddressSpaces()
    process = spaces.read_maps(data, 1)
    if process is not None:
        for address in (0, 0x400000, (1 << 64) - 1):
            spaces.mapping(process.programs[0], address)


@target
def sideband(data: bytes) -> None:
    """Records of perf events, about mappings."""
    spaces = AddressSpaces()
    for record in read_records(data):
        report(record, spaces)


# --- files


@contextmanager
def file_of(data: bytes) -> Iterator[str]:
    """The path of a file in memory."""
    descriptor = os.memfd_create("fuzz")
    try:
        os.write(descriptor, data)
        yield f"/proc/{os.getpid()}/fd/{descriptor}"
    finally:
        os.close(descriptor)


@target
def btf_types(data: bytes) -> None:
    """A BTF file: each type, record and function in it."""
    image = btf_image.parse(data)
    if image is None:
        return
    types = btf.Btf(image)
    names = list(types.record_names())[:40]
    for number in range(1, min(image.count, 200)):
        record = image.record(number)
        assert record is not None
        name = image.string(record[1])
        names += (name, f"enum {name}", f"struct (anonymous {number})", f"union {name}#{number}")
        types.function(name)
        types.function_listing(name)
        types.enumerator(name)
    for name in names:
        found = types.find(name)
        if found is not None:
            str(found)
            assert found.size >= 0 and found.alignment > 0
            if isinstance(found, RecordType):
                types.fields(found)


@target
def elf(data: bytes) -> None:
    """An ELF file: all that it is asked for, static probes and their arguments included."""
    with file_of(data) as path:
        try:
            file = ElfFile(path)
        except ElfError:
            return
        for question in (
            lambda: file.functions, lambda: file.build_id, lambda: file.stripped, lambda: usdt_notes.probes(file),
            lambda: file.functions_named("main"), lambda: list(file.object_names()), lambda: file.symbol_at(0x1139),
            lambda: file.code(0x1139, 100), lambda: file.debug_file, lambda: [file.data(s) for s in file.sections],
            lambda: file.address_of(0), lambda: file.data_offset(0x1139), lambda: list(file.contents()),
        ):  # fmt: skip
            try:
                question()
            except ElfError as error:
                assert str(error)
        file.close()


@target
def dwarf(data: bytes) -> None:
    """Debug information: the arguments of functions, and the types that it names."""
    with file_of(data) as path:
        types = dwarf_types.load(path)
        if types is None:
            return
        for word in dict.fromkeys(re.findall(rb"[A-Za-z_]\w{2,}", data)[:20]):
            name = word.decode()
            with suppress(ElfError):
                types.function(0x1139, name)
                types.function_listing(0x1139, name)
            types.enumerator(name)
            for known in (name, f"struct {name}", f"union {name}", f"enum {name}"):
                found = types.find(known)
                if isinstance(found, RecordType):
                    types.fields(found)


@target
def usdt_arguments(data: bytes) -> None:
    """The text of a static probe's arguments, for each machine."""
    for machine in ("x86_64", "aarch64", "i386", "riscv64"):
        for argument in usdt_notes.parse_arguments(text_of(data), machine):
            assert argument.size in (1, 2, 4, 8) and argument.scale in (1, 2, 4, 8, 16)
            assert -(1 << 63) <= argument.value < 1 << 64


@target
def demangler(data: bytes) -> None:
    text = demangle("_Z" + text_of(data).replace("\0", ""))
    if text is not None:
        spellings(text)


@target
def linker_cache(data: bytes) -> None:
    """/etc/ld.so.cache, which may be that of a container."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as root:
        os.mkdir(f"{root}/etc")
        with open(f"{root}/etc/ld.so.cache", "wb") as file:
            file.write(data)
        for name, path in libraries(root):
            assert "\0" not in name + path


def claims_what_it_has(data: bytes) -> bool:
    """Whether marshalled data of the kinds that a cache entry has is as long as its numbers and lengths say, or longer."""
    at, objects = 0, 1
    while objects and at < len(data):
        code = chr(data[at] & 0x7F)
        rest = len(data) - at - 1
        at, objects = at + 1, objects - 1
        if code in "ir":  # a number, a reference
            at += 4
        elif code in "zZ)" and rest:
            length = data[at]
            at, objects = (at + 1, objects + length) if code == ")" else (at + 1 + length, objects)
        elif code in "lsutaA(" and rest >= 4:
            length = int.from_bytes(data[at : at + 4], sys.byteorder, signed=True)
            if (length < 0 and code != "l") or abs(length) * (2 if code == "l" else 1) > rest:
                return False
            at += 4 + (0 if code == "(" else abs(length) * (2 if code == "l" else 1))
            objects += length if code == "(" else 0
        elif code not in "NTFg":
            return False
        elif code == "g":
            at += 8
    return not objects and at <= len(data)


@target
def cache_entry(data: bytes) -> None:
    """A file of the compile cache: as it is, and with a digest that fits.

    Who can make the latter can write to root's private files. What `marshal` does with a list that claims to have a billion
    elements is not looked at: it takes memory for them.
    """
    contents = [data]
    if claims_what_it_has(data):
        contents.append(MAGIC + sha256(data).digest() + data)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as directory:
        for content in contents:
            with open(f"{directory}/entry", "wb") as file:
                file.write(content)
            os.chmod(f"{directory}/entry", 0o600)
            cache = Cache(directory)
            found = cache.load("entry")
            cache.load_image("entry")
            try:
                unit_of(found)
            except Unbelievable as error:
                assert str(error)
