"""What this machine says of itself, against what the files that say it contain."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpftrace_py.config import Config
from bpftrace_py.diagnostics import Diagnostics, HostError
from bpftrace_py.ktypes import btf, btf_image
from bpftrace_py.ktypes.c_declarations import parse_declarations
from bpftrace_py.ktypes.tracepoint_format import TracepointFormat, parse
from bpftrace_py.live_host import LiveHost, find_symbol, functions_of
from bpftrace_py.source import Source, Span
from bpftrace_py.syntax.ast import CDeclaration
from bpftrace_py.types import (
    INT32,
    UINT64,
    ArrayType,
    IntegerType,
    PointerType,
    RecordType,
    StringType,
    Type,
)

KERNEL_BTF = Path("/sys/kernel/btf/vmlinux")
needs_btf = pytest.mark.skipif(not KERNEL_BTF.exists(), reason="the kernel has no BTF (CONFIG_DEBUG_INFO_BTF)")


@pytest.fixture(scope="module")
def host() -> LiveHost:
    return LiveHost()


@pytest.fixture(scope="module")
def formats(host: LiveHost) -> dict[str, tuple[str, TracepointFormat]]:
    """Every format file of this kernel: path -> (text, what it was parsed to)."""
    assert host.tracefs is not None
    found = {}
    for path in Path(host.tracefs, "events").glob("*/*/format"):
        text = path.read_text()
        parsed = parse(text)
        assert parsed is not None, path
        found[f"{path.parent.parent.name}:{path.parent.name}"] = text, parsed
    return found


# --- tracepoints


def test_every_format_file_is_read_whole(formats: dict[str, tuple[str, TracepointFormat]]) -> None:
    assert len(formats) > 500
    for name, (text, parsed) in formats.items():
        lines = [line.strip() for line in text.partition("print fmt:")[0].splitlines() if "field:" in line]
        assert len(lines) == len(parsed.fields) + len(parsed.common), name
        assert len(parsed.common) >= 4
        own = [line for line in lines if line.split(";")[0].split()[-1] not in parsed.common]
        for line, field, declaration in zip(own, parsed.fields, parsed.declarations, strict=True):
            written, offset, size = (line.split(";")[i].strip().split(":", 1)[1] for i in range(3))
            assert (declaration, field.offset) == (written, int(offset)), name
            base = written.replace("const ", "").split("[")[0].rsplit(" ", 1)[0]
            if field.data_loc:
                assert size == "4" and isinstance(field.type, PointerType), (name, line)
            elif parsed.name.startswith("sys_enter_") and size == "8":
                assert field.type.size <= 8, (name, line)
            else:
                assert field.type.size == int(size), (name, line)
                if isinstance(field.type, IntegerType):
                    assert field.type.signed == ("signed:1" in line), (name, line)
            assert isinstance(field.type, (IntegerType, PointerType, StringType, ArrayType, RecordType)), (name, line)
            if "*" in written and "[" not in written:
                space = "user" if parsed.name.startswith("sys_enter_") else "kernel"
                assert isinstance(field.type, PointerType) and field.type.space == space, (name, line)
            if base == "char" and int(size) > 1:
                assert field.type == StringType(int(size)), (name, line)


def test_identifiers_are_those_of_the_kernel(host: LiveHost, formats: dict[str, tuple[str, TracepointFormat]]) -> None:
    for name in ("sched:sched_switch", "raw_syscalls:sys_enter", "sched:sched_process_exec"):
        path = Path(str(host.tracefs), "events", *name.split(":"), "id")
        assert formats[name][1].id == int(path.read_text())


def test_events(host: LiveHost, formats: dict[str, tuple[str, TracepointFormat]]) -> None:
    events = list(host.tracepoint_events())
    assert events == sorted(events)
    assert {f"{category}:{event}" for category, event in events} == {
        name for name in formats if not name.startswith("ftrace:")
    }
    assert host.tracepoint_format("sched", "sched_switch") == formats["sched:sched_switch"][0]


@pytest.mark.parametrize(
    ("category", "event"),
    [("sched", "no_such"), ("", "x"), ("sched", "../sched/sched_switch"), ("..", "events"), ("a\0b", "c"), (".", ".")],
)
def test_no_such_event(host: LiveHost, category: str, event: str) -> None:
    assert host.tracepoint_format(category, event) is None


def test_events_where_the_list_cannot_be_read(tmp_path: Path) -> None:
    for name in ("b/two", "b/one", "a/x", "ftrace/print"):
        (tmp_path / "events" / name).mkdir(parents=True)
    (tmp_path / "events" / "enable").write_text("0")
    (tmp_path / "events" / "a" / "filter").write_text("none")
    assert list(LiveHost(tracefs=str(tmp_path)).tracepoint_events()) == [("a", "x"), ("b", "one"), ("b", "two")]


def test_without_tracefs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("bpftrace_py.live_host._TRACEFS_PLACES", (str(tmp_path / "none"),))
    lost = LiveHost()
    assert lost.tracefs is None
    assert list(lost.tracepoint_events()) == []
    assert lost.tracepoint_format("sched", "sched_switch") is None
    assert "schedule" in lost.kernel_functions()


def test_root_mounts_tracefs() -> None:
    """In a mount namespace of its own, where it is mounted nowhere."""
    script = (
        "import bpftrace_py.live_host as live\n"
        "assert live.LiveHost(may_mount=False).tracefs is None\n"
        "host = live.LiveHost()\n"
        "assert host.tracefs == '/sys/kernel/tracing', host.tracefs\n"
        "assert ('sched', 'sched_switch') in list(host.tracepoint_events())\n"
    )
    unmount = "umount -l /sys/kernel/tracing /sys/kernel/debug 2>/dev/null; umount -l /sys/kernel/tracing 2>/dev/null; "
    result = subprocess.run(
        ["unshare", "--mount", "sh", "-c", unmount + 'exec "$0" -c "$1"', _python(), script],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")


def _python() -> str:
    import sys

    return sys.executable


# --- functions and symbols


def test_kernel_functions(host: LiveHost) -> None:
    functions = list(host.kernel_functions())
    assert len(functions) == len(set(functions)) > 10_000
    assert {"vfs_read", "schedule", "tcp_sendmsg", "bpf_prog_alloc"} <= set(functions)
    assert not any(name.startswith("__pfx_") or not name for name in functions)


def test_bpf_programs_are_no_functions() -> None:
    """The symbol table has those that are loaded, too."""
    table = b"\n00000000000000a0 T bpf_prog_alloc\n00000000000000b0 t bpf_prog_6deef7357e7b4530_BEGIN\t[bpf]\n"
    table += b"00000000000000c0 t bpf_trampoline_6442\t[bpf]\n"
    assert functions_of(table, frozenset()) == ["bpf_prog_alloc"]


def test_symbols_of_the_kernel(host: LiveHost) -> None:
    known = {}
    with open("/proc/kallsyms") as file:
        for line in file:
            address, _, name = line.split()[:3]
            if name in ("vfs_read", "jiffies", "_stext", "schedule"):
                known.setdefault(name, int(address, 16))
    assert known["vfs_read"] > 1 << 63
    assert {name: host.kernel_symbol(name) for name in known} == known
    for name in ("no_such_symbol", "", "vfs_rea", "fs_read", "t vfs_read", "vfs_read\n", "[x]", "ü"):
        assert host.kernel_symbol(name) is None


def test_symbols_of_modules_and_hidden_ones() -> None:
    table = b"\n00000000000000a0 T one\n00000000000000b0 t two\t[mod]\n00000000000000c0 t one\t[mod]\n"
    table += b"0000000000000000 T zero\n"
    assert find_symbol(table, "one") == 0xA0
    assert find_symbol(table, "two") == 0xB0
    assert find_symbol(table, "zero") is None
    assert find_symbol(table, "mod") is None


def test_functions_from_the_symbol_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    table = tmp_path / "kallsyms"
    table.write_text(
        "0000000000001000 T _stext\n0000000000001000 T first\n0000000000001010 t second.isra.0\n"
        "0000000000001020 t second.cold\n0000000000001030 T __pfx_first\n0000000000001040 D data\n"
        "0000000000001050 t refused\n0000000000001060 t of_module\t[mod]\n0000000000001070 t first\t[mod]\n"
        "0000000000001080 t prog\t[bpf]\n0000000000002000 T _sinittext\n0000000000002010 t at_start\n"
        "0000000000003000 T _einittext\n0000000000003010 W weak\n"
    )
    blacklist = tmp_path / "blacklist"
    blacklist.write_text("0x1050-0x1060\trefused\n")
    monkeypatch.setattr("bpftrace_py.live_host._KALLSYMS", str(table))
    monkeypatch.setattr("bpftrace_py.live_host._KPROBE_BLACKLIST", str(blacklist))
    assert list(LiveHost(tracefs=str(tmp_path)).kernel_functions()) == ["first", "second.isra.0", "of_module", "weak"]


def test_functions_from_tracefs(tmp_path: Path) -> None:
    (tmp_path / "available_filter_functions").write_text(
        "first\nsecond [mod]\nfirst [other]\n__ftrace_invalid_address___8\nthird.isra.0\n"
    )
    functions = LiveHost(tracefs=str(tmp_path)).kernel_functions()
    assert list(functions) == ["first", "second", "third.isra.0"]


# --- the rest


def test_processors(host: LiveHost) -> None:
    assert host.cpu_count() >= (os.cpu_count() or 1)
    assert host.architecture == os.uname().machine


def test_cgroup_ids(host: LiveHost) -> None:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    root = next((fields[1] for fields in mounts if fields[2] == "cgroup2"), None)
    assert root is not None, "cgroup v2 is mounted nowhere"
    assert host.cgroup_id(root) == os.stat(root).st_ino
    own = Path(root, f"bpftrace-py-test-{os.getpid()}")
    own.mkdir()
    try:
        assert host.cgroup_id(str(own)) == own.stat().st_ino != host.cgroup_id(root)
    finally:
        own.rmdir()
    assert host.cgroup_id("/no/such/directory") is None
    assert host.cgroup_id("/\0") is None


# --- BTF


@needs_btf
def test_types_of_the_kernel(host: LiveHost) -> None:
    types = host.kernel_types()
    assert types is not None and types is host.kernel_types()
    assert types.find("pid_t") == INT32
    task = types.find("struct task_struct")
    assert isinstance(task, RecordType) and task.size > 1000
    fields = {f.name: f for f in types.fields(task) or ()}
    assert fields["comm"].type == StringType(16)
    assert fields["pid"].type == INT32
    assert fields["parent"].type == PointerType(task)
    path = types.fields(RecordType("struct path"))
    assert path is not None and [f.name for f in path] == ["mnt", "dentry"]
    # The anonymous union of struct qstr is part of it.
    name = {f.name: (f.offset, f.type) for f in types.fields(RecordType("struct qstr")) or ()}
    assert name["hash_len"] == (0, UINT64) and name["len"][0] == 4 and name["name"][0] == 8
    assert types.enumerator("TCP_ESTABLISHED") == 1
    function = types.function("vfs_read")
    assert function is not None and [name for name, _ in function[0]] == ["file", "buf", "count", "pos"]
    assert "struct task_struct" in types.record_names()


@needs_btf
def test_libbpf_and_our_own_walk_agree() -> None:
    data = KERNEL_BTF.read_bytes()
    by_libbpf, by_hand = btf_image.parse(data, trusted=True), btf_image.parse(data)
    assert by_libbpf is not None and by_hand is not None
    assert by_libbpf.count == by_hand.count > 10_000
    for number in range(1, by_hand.count):
        assert by_libbpf.position(number) == by_hand.position(number)


def test_a_btf_file_of_the_users(tmp_path: Path) -> None:
    (tmp_path / "garbage").write_bytes(os.urandom(500))
    for name in ("garbage", "none"):
        with pytest.raises(HostError, match=f"BPFTRACE_BTF='{tmp_path}/{name}' is not a file with BTF that can be read"):
            LiveHost(btf_path=str(tmp_path / name)).kernel_types()
    if KERNEL_BTF.exists():
        types = LiveHost(btf_path=str(KERNEL_BTF)).kernel_types()
        assert types is not None and types.find("struct path") is not None


def _c_dump() -> Iterator[bytes]:
    """All types of the kernel as C, written by libbpf."""
    libbpf, libc = ctypes.CDLL("libbpf.so.1"), ctypes.CDLL(None)
    pointer = ctypes.c_void_p
    libbpf.btf__load_vmlinux_btf.restype = pointer
    libbpf.btf__type_cnt.argtypes = [pointer]
    libbpf.btf_dump__new.restype = pointer
    libbpf.btf_dump__new.argtypes = [pointer] * 4
    libbpf.btf_dump__dump_type.argtypes = [pointer, ctypes.c_uint]
    pieces: list[bytes] = []
    buffer = ctypes.create_string_buffer(1 << 16)

    @ctypes.CFUNCTYPE(None, pointer, pointer, pointer)
    def write(_: int, text: int, arguments: int) -> None:
        length = libc.vsnprintf(buffer, ctypes.c_size_t(len(buffer)), pointer(text), pointer(arguments))
        pieces.append(buffer.raw[:length])

    types = libbpf.btf__load_vmlinux_btf()
    dump = libbpf.btf_dump__new(types, ctypes.cast(write, pointer), None, None)
    for number in range(1, libbpf.btf__type_cnt(types)):
        libbpf.btf_dump__dump_type(dump, number)
    yield b"".join(pieces)


@needs_btf
def test_clang_lays_the_kernels_types_out_as_btf_has_them(tmp_path: Path) -> None:
    """Every member of every record: two readers of ours that share no code, and libbpf's and clang's work between."""
    (tmp_path / "vmlinux.h").write_bytes(next(_c_dump()))
    include = '#include "vmlinux.h"'
    script = Source(include, str(tmp_path / "script.bt"))
    diagnostics = Diagnostics(script)
    (tmp_path / "include" / "linux").mkdir(parents=True)
    (tmp_path / "include" / "linux" / "kconfig.h").touch()  # what makes a directory a header tree
    config = Config(kernel_source=str(tmp_path))
    declared = parse_declarations(
        [CDeclaration(kind="include", text=include, span=Span(0, len(include)))], None, config, diagnostics
    )
    assert diagnostics.reported == []
    types = btf.load()
    assert types is not None
    compared = 0
    for name in list(declared.record_names()):
        record = types.find(name)
        if not isinstance(record, RecordType) or "___" in name:  # libbpf's way to tell namesakes apart
            continue
        ours, clangs = types.fields(record), declared.fields(RecordType(name))
        if record.size == 0 and not ours and not clangs:  # empty, or declared only
            continue
        assert ours is not None and clangs is not None, name
        if [f.name for f in ours] != [f.name for f in clangs]:
            pytest.fail(f"{name}: {[f.name for f in ours]} {[f.name for f in clangs]}")
        for a, b in zip(ours, clangs, strict=True):
            assert (a.offset, a.bitfield, _shape(a.type)) == (b.offset, b.bitfield, _shape(b.type)), (name, a, b)
            compared += 1
    assert compared > 20_000


def _shape(type_: Type) -> object:
    """What two readers must agree on: not the names of records that have none, nor those of namesakes. libbpf writes
    an enum of one byte in a way that makes it signed."""
    if isinstance(type_, PointerType):
        return "pointer", _shape(type_.pointee)
    if isinstance(type_, ArrayType):
        return "array", type_.count, _shape(type_.element)
    if isinstance(type_, RecordType):
        return "record", "" if set(type_.name) & set("(.#") or "___" in type_.name else type_.name, type_.size
    if isinstance(type_, IntegerType):
        return "integer", type_.width, type_.signed if type_.enum is None or type_.width > 1 else None
    return repr(type_)
