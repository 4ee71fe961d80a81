"""Specs of uprobes and static probes: files by path, name and wildcard; functions, offsets, addresses, C++ names."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bpftrace_py.codegen import unit
from bpftrace_py.probes import binaries
from bpftrace_py.probes.library_cache import libraries
from bpftrace_py.symbols.elf import ElfFile
from tests.testprogs import build
from tests.unit.specs import resolve

FUNCTIONS = str(build.program("functions"))
TICK = str(build.program("tick"))
OVERLOADS = str(build.program("overloads"))


def offset_of(path: str, name: str) -> int:
    file = ElfFile(path)
    (symbol,) = file.functions_named(name)
    offset = file.file_offset(symbol.address)
    assert offset is not None
    return offset


# --- functions


def test_a_function() -> None:
    target = unit.Uprobe(f"uprobe:{FUNCTIONS}:greet", FUNCTIONS, "greet", offset_of(FUNCTIONS, "greet"), False)
    assert resolve(f"uprobe:{FUNCTIONS}:greet").targets == [target]
    returned = resolve(f"ur:{FUNCTIONS}:greet").target
    assert (returned.name, returned.on_return, returned.offset) == (f"uretprobe:{FUNCTIONS}:greet", True, target.offset)
    assert resolve(f"u:{FUNCTIONS}:greet", pid=os.getpid(), command=False).target.pid == os.getpid()
    assert resolve(f"u:{FUNCTIONS}:greet", pid=os.getpid(), command=True).target.pid == -1  # what it starts counts, too


@pytest.mark.parametrize("name", ["functions_fixed", "functions_static"])
def test_other_layouts(name: str) -> None:
    path = str(build.program(name))
    assert resolve(f"u:{path}:local_function").target.offset == offset_of(path, "local_function")


def test_wildcards() -> None:
    found = resolve(f"u:{FUNCTIONS}:wild_*")
    assert found.names == [f"uprobe:{FUNCTIONS}:wild_{n}" for n in ("one", "three", "two")]
    assert len({target.offset for target in found.targets}) == 3


def test_a_relative_path_keeps_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(FUNCTIONS).parent)
    target = resolve("u:./functions:greet").target
    assert (target.name, target.path) == ("uprobe:./functions:greet", FUNCTIONS)


def test_offsets() -> None:
    listing = subprocess.run(
        ["objdump", "-d", "--disassemble=greet", FUNCTIONS], capture_output=True, text=True, check=True
    ).stdout
    addresses = [int(line.partition(":")[0], 16) for line in listing.splitlines() if line.startswith("    ")]
    starts = [address - addresses[0] for address in addresses]
    base = offset_of(FUNCTIONS, "greet")
    second = starts[1]
    target = resolve(f"u:{FUNCTIONS}:greet+{second}").target
    assert (target.name, target.offset) == (f"uprobe:{FUNCTIONS}:greet+{second}", base + second)
    assert resolve(f"u:{FUNCTIONS}:greet+{second:#x}").targets == [target]
    assert resolve(f"u:{FUNCTIONS}:greet+0").names == [f"uprobe:{FUNCTIONS}:greet"]
    inside = next(n for n in range(starts[-1]) if n not in starts)
    code, marked, hint = resolve(f"u:{FUNCTIONS}:greet+{inside}").problem
    assert (code, marked) == ("E0222", f"greet+{inside}") and "instructions start at greet+" in (hint or "")
    # The same place, by address.
    address = addresses[0] + second
    by_address = resolve(f"u:{FUNCTIONS}:{address:#x}").target
    assert (by_address.name, by_address.offset) == (f"uprobe:{FUNCTIONS}:{address}", base + second)
    assert resolve(f"u:{FUNCTIONS}:{addresses[0] + inside}").problem[0] == "E0222"


def test_an_address_in_a_stripped_program() -> None:
    path = str(build.stripped("functions"))
    (symbol,) = ElfFile(FUNCTIONS).functions_named("greet")
    found = resolve(f"u:{path}:{symbol.address:#x}")
    assert found.target.offset == offset_of(FUNCTIONS, "greet")
    assert found.problem[0] == "W0201"


def test_cpp_names() -> None:
    def mangled(spec: str, **options: object) -> list[str]:
        return [name.rpartition(":")[2] for name in resolve(f"u:{OVERLOADS}:{spec}", **options).names]

    assert mangled("over") == ["_Z4overd", "_Z4overi"]
    assert mangled('"over(int)"') == ["_Z4overi"]
    assert mangled("_Z4overi") == ["_Z4overi"]
    assert mangled('"shapes::Square::area"') == [
        "_ZNK6shapes6Square4areaERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE", "_ZNK6shapes6Square4areaEi",
    ]  # fmt: skip
    assert mangled('"shapes::Square::c*"') == ["_ZN6shapes6Square5countEv"]
    assert mangled('"shapes::Square::operator+"') == ["_ZNK6shapes6SquareplEi"]
    assert mangled("plain_c") == ["plain_c"]
    assert "_Z4overi" in mangled("*over*")
    assert mangled("_Z4over*", demangle=False) == ["_Z4overd", "_Z4overi"]
    assert mangled("over", demangle=False) == []


def test_an_indirect_function_is_told_of() -> None:
    library = build.program("libtestprogs.so")
    found = resolve(f"u:{library}:indirect_function")
    assert found.target.function == "indirect_function"
    hint = "its implementations have no names in this file; debug symbols may have them"
    assert found.problem == ("W0202", "indirect_function", hint)
    assert not resolve(f"u:{library}:indirect*").diagnostics


# --- files


def test_a_command_by_name() -> None:
    bash = shutil.which("bash")
    assert resolve("u:bash:readline").target.name == f"uprobe:{bash}:readline"


@pytest.mark.parametrize("name", ["libc", "libc.so", "libc.so.6"])
def test_a_library_by_name(name: str) -> None:
    target = resolve(f"u:{name}:malloc").target
    loaded = next(line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "/libc.so.6" in line)
    assert os.path.samefile(target.path, loaded)
    assert target.offset == offset_of(loaded, "malloc")


def test_the_linkers_cache() -> None:
    shown = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    listed = {(line.split()[0], line.split()[-1]) for line in shown.splitlines()[1:] if " => " in line}
    assert set(libraries()) == listed


def test_a_library_that_a_process_has_mapped(tmp_path: Path) -> None:
    library = tmp_path / "libmine-1.5.so"
    shutil.copy(build.program("libtestprogs.so"), library)
    program = f"import ctypes; ctypes.CDLL({str(library)!r}); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdin
        process.stdout.readline()
        try:
            target = resolve("u:libmine:library_function", pid=process.pid, command=False).target
            assert (target.path, target.pid) == (str(library), process.pid)
            assert resolve("u:libmi*:library_f*", pid=process.pid).names == [f"uprobe:{library}:library_function"]
            assert resolve("u:libmine:library_function").problem[0] == "E0216"
        finally:
            process.stdin.close()


def test_a_wildcard_in_the_path(tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copy(FUNCTIONS, tmp_path / f"program_{name}")
    os.symlink("program_one", tmp_path / "program_link")  # the same file: not traced twice
    (tmp_path / "program_text").write_text("not an ELF file\n")
    (tmp_path / "program_damaged").write_bytes(b"\x7fELF" + b"\xff" * 40)
    (tmp_path / "program_directory").mkdir()
    names = resolve(f"u:{tmp_path}/program_*:gr*t").names
    assert names == [f"uprobe:{tmp_path}/program_{name}:greet" for name in ("link", "two")]
    assert resolve(f"u:{tmp_path}/program_*:nothing").problem[:2] == ("E0211", "nothing")
    assert resolve(f"u:{tmp_path}/nothing_*:greet").problem[:2] == ("E0211", f"{tmp_path}/nothing_*")


def test_links_are_followed_inside_of_another_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/tool").write_text("")
    os.symlink("/usr/bin", root / "bin")  # absolute: means the root's own
    os.symlink("../../../../usr/bin/tool", root / "usr/bin/up")
    os.symlink("/bin/tool", root / "usr/bin/absolute")
    os.symlink("loop", root / "usr/bin/loop")
    assert binaries.inside(str(root), "/bin/tool") == f"{root}/usr/bin/tool"
    assert binaries.inside(str(root), "/usr/bin/absolute") == f"{root}/usr/bin/tool"
    assert binaries.inside(str(root), "/bin/up") == f"{root}/usr/bin/tool"
    assert binaries.inside(str(root), "/../../etc/passwd") == f"{root}/etc/passwd"
    assert binaries.inside(str(root), "/bin/loop") == f"{root}/usr/bin/loop"


# --- static probes


def test_the_namespace_is_the_files_name() -> None:
    found = resolve(f"usdt:{TICK}:loop")
    assert found.names == [f"usdt:{TICK}:tick:loop"]
    target = found.target
    assert (target.namespace, target.function, len(target.arguments)) == ("tick", "loop", 2)
    assert target.semaphore and target.offset
    tock = str(build.copy(build.program("tick"), "tock"))
    assert resolve(f"usdt:{tock}:loop").names == [f"usdt:{tock}:tock:loop"]
    assert resolve(f"usdt:{tock}:tick:loop").names == [f"usdt:{tock}:tick:loop"]
    code, marked, hint = resolve(f"usdt:{tock}:twice").problem
    assert (code, marked) == ("E0224", "twice") and f"did you mean `usdt:{tock}:tick:twice`?" in (hint or "")


def test_one_target_for_each_place() -> None:
    first, second = resolve(f"usdt:{TICK}:tick:twice").targets
    assert first.name == second.name and first.offset != second.offset
    assert first.semaphore == second.semaphore
    assert [a.size for a in (first.arguments[0], second.arguments[0])] == [4, 8]


def test_static_probes_by_wildcard() -> None:
    assert set(resolve(f"usdt:{TICK}:*").names) == {
        f"usdt:{TICK}:{name}" for name in ("tick:loop", "tock:loop", "tick:twice", "tick:guarded")
    }
    assert set(resolve(f"usdt:{TICK}:*:loop").names) == {f"usdt:{TICK}:tick:loop", f"usdt:{TICK}:tock:loop"}
    assert set(resolve(f"usdt:{TICK}:ti*:lo*").names) == {f"usdt:{TICK}:tick:loop"}
    assert resolve(f"usdt:{Path(TICK).parent}/t*:tick:loop").names == [f"usdt:{TICK}:tick:loop"]


def test_static_probes_of_a_process() -> None:
    with subprocess.Popen([TICK, "0", "1000"], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        try:
            found = resolve("usdt::loop", pid=process.pid)
            assert set(found.names) == {f"usdt:{TICK}:tick:loop", f"usdt:{TICK}:tock:loop"}
            assert {target.pid for target in found.targets} == {process.pid}
        finally:
            process.kill()
    assert resolve("usdt::loop").problem[:2] == ("E0204", "")


# --- wrong specs


@pytest.mark.parametrize(("spec", "code", "marked", "hint"), [
    ("u:{functions}", "E0203", "u:{functions}", "uprobe:/bin/bash:readline"),
    ("u::greet", "E0204", "", None),
    ("u:{functions}:", "E0204", "", None),
    ("u:{functions}:greet+", "E0206", "greet+", None),
    ("u:{functions}:greet+x", "E0206", "greet+x", None),
    ("u:{directory}/functoins:greet", "E0216", "{directory}/functoins", "did you mean `{directory}/functions`?"),
    ("u:{directory}:greet", "E0216", "{directory}", None),
    ("u:/dev/null:greet", "E0216", "/dev/null", None),
    ("u:no_such_command_anywhere:main", "E0216", "no_such_command_anywhere", None),
    ("u:bsah:readline", "E0216", "bsah", "did you mean `bash`?"),
    ("u:/etc/passwd:greet", "E0217", "/etc/passwd", None),
    ("u:{functions}:gret", "E0218", "gret", "did you mean `greet`?"),
    ("u:{overloads}:ovr", "E0218", "ovr", "did you mean `over`?"),
    ("u:{functions}:global_counter", "E0218", "global_counter", "`global_counter` is a variable"),
    ("u:{stripped}:greet", "E0219", "greet", None),
    ("u:{stripped}:gr*", "E0211", "gr*", "the file is stripped"),
    ("u:{functions}:zz*", "E0211", "zz*", None),
    ("ur:{functions}:greet+4", "E0220", "greet+4", None),
    ("u:{functions}:greet+4000", "E0221", "greet+4000", None),
    ("u:{functions}:0x99999999", "E0223", "0x99999999", None),
    ("u:{functions}:gr*+4", "E0205", "gr*+4", None),
    ("usdt:{tick}", "E0203", "usdt:{tick}", "usdt:/root/tick:loop"),
    ("usdt:{tick}:tick:lop", "E0224", "lop", "did you mean `usdt:{tick}:tick:loop`?"),
    ("usdt:{tick}:nothing_like_it", "E0224", "nothing_like_it", None),
    ("usdt:{functions}:loop", "E0225", "{functions}", None),
    ("usdt:{directory}/none:loop", "E0216", "{directory}/none", None),
])  # fmt: skip
def test_wrong_specs(spec: str, code: str, marked: str, hint: str | None) -> None:
    def filled(text: str) -> str:
        stripped = str(build.stripped("functions"))
        directory = str(Path(FUNCTIONS).parent)
        return text.format(functions=FUNCTIONS, tick=TICK, overloads=OVERLOADS, stripped=stripped, directory=directory)

    found = resolve(filled(spec))
    assert not found.targets
    assert found.problem[:2] == (code, filled(marked))
    assert (found.problem[2] is None) if hint is None else filled(hint) in (found.problem[2] or "")


def test_a_file_for_another_machine(tmp_path: Path) -> None:
    content = bytearray(Path(FUNCTIONS).read_bytes())
    content[0x12:0x14] = (183).to_bytes(2, "little")
    path = tmp_path / "arm"
    path.write_bytes(content)
    assert resolve(f"u:{path}:greet").problem[:2] == ("E0217", str(path))


def test_a_binary_that_was_replaced_while_it_runs(tmp_path: Path) -> None:
    path = tmp_path / "program"
    shutil.copy(FUNCTIONS, path)
    with subprocess.Popen([path, "0", "10"], stdout=subprocess.PIPE) as process:
        assert process.stdout
        try:
            assert process.stdout.readline() == b"ready\n"
            assert resolve(f"u:{path}:greet", pid=process.pid, command=False).diagnostics == []
            shutil.copy(FUNCTIONS, tmp_path / "new")
            (tmp_path / "new").replace(path)
            code, marked, hint = resolve(f"u:{path}:greet", pid=process.pid, command=False).problem
            assert (code, marked) == ("W0203", str(path)) and f"/proc/{process.pid}/exe" in (hint or "")
            exe = f"/proc/{process.pid}/exe"
            assert resolve(f"u:{exe}:greet", pid=process.pid, command=False).diagnostics == []
            assert resolve(f"u:{path}:greet").diagnostics == []
        finally:
            process.kill()


def test_a_home_directory_is_the_shells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/of/someone")
    assert resolve("u:~/program:f").problem == ("E0216", "~/program", "`~` is the shell's: write /home/of/someone/program")


def test_no_file_stays_open() -> None:
    gc.collect()  # files of other tests, which would be closed in between
    before = set(os.listdir("/proc/self/fd"))
    for spec in (f"u:{FUNCTIONS}:greet", f"u:{FUNCTIONS}:gret", f"usdt:{TICK}:loop", f"usdt:{TICK}:lop", "u:libc:mallo*"):
        resolve(spec)
    assert set(os.listdir("/proc/self/fd")) == before
