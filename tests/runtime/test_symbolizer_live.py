"""Symbols of real processes and of this kernel: programs that say where their functions are, and are then gone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bpftrace_py.symbols.kernel import KernelSymbols
from bpftrace_py.symbols.resolver import Resolver

PROGRAM = r"""
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __cplusplus
namespace shop { struct Till { __attribute__((noinline)) int take(int coins, const char *) { return coins + 1; } }; }
#endif
__attribute__((noinline)) int traced_function(int a) { return a * 3; }
static void say(const char *what, void *where) { printf("%d %s %p\n", getpid(), what, where); fflush(stdout); }
int main(int argc, char **argv)
{
	say("traced_function", (char *)traced_function + 1);
	const char *mode = argc > 1 ? argv[1] : "";
#ifdef __cplusplus
	int (shop::Till::*take)(int, const char *) = &shop::Till::take;
	void *where;
	memcpy(&where, &take, sizeof where);
	say("take", where);
#endif
	if (!strcmp(mode, "exec")) {
		execl("/proc/self/exe", "again", (char *)0);
	} else if (!strcmp(mode, "fork")) {
		if (fork() == 0) {
			say("traced_function", (char *)traced_function + 1);
			_exit(0);
		}
		wait(0);
	} else if (!strcmp(mode, "dlopen")) {
		void *library = dlopen(argv[2], RTLD_NOW);
		say("late_function", library ? dlsym(library, "late_function") : 0);
	} else if (!strcmp(mode, "wait")) {
		getchar();
	}
	return traced_function(argc) == 0;
}
"""


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    directory = tmp_path_factory.mktemp("programs")

    def compile_program(name: str, *flags: str, text: str = PROGRAM, compiler: str = "gcc") -> str:
        source = directory / f"{name}.{'cc' if compiler == 'g++' else 'c'}"
        source.write_text(text)
        subprocess.run([compiler, "-O1", "-o", str(directory / name), str(source), *flags], check=True)
        return str(directory / name)

    return compile_program


@pytest.fixture
def resolver():
    result = Resolver()
    assert result.start(), "this kernel has no perf sideband"
    yield result
    result.close()


def run(*command: str) -> list[tuple[int, str, int]]:
    """The (pid, name, address) that a program told of, after it has gone."""
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [parse(line) for line in output.splitlines()]


def parse(line: str) -> tuple[int, str, int]:
    pid, name, address = line.split()
    return int(pid), name, int(address, 16)


def talking(*command: str) -> subprocess.Popen[str]:
    """A program that says something, and ends when it is spoken to."""
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("flag", ["-pie", "-no-pie", "-static", "-static-pie"])
def test_a_program_that_has_exited(build, resolver, flag):
    path = build("program" + flag, flag)
    ((pid, name, address),) = run(path)
    assert not os.path.exists(f"/proc/{pid}")
    assert resolver.user_symbol(address, pid, 0) == name
    found = resolver._user_names.find(pid, address)
    assert (found.offset, found.path) == (1, path)


def test_before_and_after_exec(build, resolver):
    told = run(build("program"), "exec")
    assert len(told) == 2
    assert told[0][0] == told[1][0]
    assert told[0][2] != told[1][2]  # loaded at another address
    assert [resolver.user_symbol(address, pid, 0) for pid, _, address in told] == ["traced_function"] * 2


def test_a_fork_that_never_called_exec(build, resolver):
    told = run(build("program"), "fork")
    assert len({pid for pid, _, _ in told}) == 2
    assert [resolver.user_symbol(address, pid, 0) for pid, _, address in told] == ["traced_function"] * 2


def test_a_library_that_was_loaded_later(build, resolver):
    library = build("late.so", "-shared", "-fPIC", text="int late_function(void) { return 1; }")
    told = run(build("program"), "dlopen", library)
    assert told[1][2] != 0
    assert [resolver.user_symbol(address, pid, 0) for pid, _, address in told] == ["traced_function", "late_function"]


def test_a_process_that_ran_before(build):
    """Its maps are read while it lives, though nobody asked for it before it ended."""
    path = build("program")
    process = talking(path, "wait")
    pid, name, address = parse(process.stdout.readline())
    resolver = Resolver()
    try:
        assert resolver.start()
        while resolver.poll():  # on a busy machine start() does not get through all processes
            continue
        process.communicate("\n")
        assert resolver.user_symbol(address, pid, 0) == name
    finally:
        resolver.close()


def test_without_the_sideband_an_observed_process(build):
    path = build("program")
    process = talking(path, "wait")
    pid, name, address = parse(process.stdout.readline())
    resolver = Resolver()
    resolver.observe(pid)
    process.communicate("\n")
    assert resolver.user_symbol(address, pid, 0) == name


def test_without_the_sideband_a_process_that_maps_more(build):
    """Its maps are looked at again when an address is not in them."""
    library = build("later.so", "-shared", "-fPIC", text="int later(void) { return 1; }")
    script = (
        "import ctypes, sys\nprint(0, flush=True)\ninput()\n"
        "function = ctypes.CDLL(sys.argv[1]).later\n"
        "print(ctypes.cast(function, ctypes.c_void_p).value, flush=True)\ninput()\n"
    )
    process = talking(sys.executable, "-c", script, library)
    process.stdout.readline()
    resolver = Resolver()
    resolver.observe(process.pid)
    process.stdin.write("\n")
    process.stdin.flush()
    address = int(process.stdout.readline())
    deadline = time.monotonic() + 10
    while resolver.user_symbol(address, process.pid, 0) != "later" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert resolver.user_symbol(address, process.pid, 0) == "later"
    process.communicate("\n")


def test_a_deleted_program_that_still_runs(build, resolver):
    path = build("deleted")
    process = talking(path, "wait")
    pid, name, address = parse(process.stdout.readline())
    os.unlink(path)
    assert resolver.user_symbol(address, pid, 0) == name
    process.communicate("\n")


def test_a_program_that_was_replaced_has_no_wrong_names(build, resolver):
    path = build("replaced")
    ((pid, _, address),) = run(path)
    os.unlink(path)
    build("replaced", text=PROGRAM.replace("traced_function", "other_function"))  # perhaps with the inode of the first
    assert resolver.user_symbol(address, pid, 0) == f"0x{address:x}"


def test_a_program_in_another_mount_namespace(build, resolver, tmp_path):
    path = build("contained")
    script = f"mount -t tmpfs none {tmp_path} && cp {path} {tmp_path}/inside && exec {tmp_path}/inside wait"
    process = talking("unshare", "-m", "sh", "-c", script)
    pid, name, address = parse(process.stdout.readline())
    assert not (tmp_path / "inside").exists()
    found = resolver._user_names.find(pid, address)
    assert found == (name, 1, f"{tmp_path}/inside")
    process.communicate("\n")


def test_a_library_that_only_a_namespace_has(build, resolver, tmp_path):
    """The process that told of it has gone with its maps; another one still leads to the file."""
    path, library = build("program"), build("late.so", "-shared", "-fPIC", text="int late_function(void) { return 1; }")
    inside = f"{tmp_path}/late.so"
    script = (
        f"mount -t tmpfs none {tmp_path} && cp {library} {inside} && {path} dlopen {inside}"
        f" && LD_PRELOAD={inside} exec {path} wait"
    )
    process = talking("unshare", "-m", "sh", "-c", script)
    pid, _, _ = parse(process.stdout.readline())
    _, name, address = parse(process.stdout.readline())
    process.stdout.readline()
    assert not os.path.exists(f"/proc/{pid}")
    assert resolver.user_symbol(address, pid, 0) == name
    process.communicate("\n")


def test_cpp_names(build, resolver):
    path = build("cpp", "-Wno-write-strings", compiler="g++")
    told = run(path)
    names = [resolver.user_symbol(address, pid, 0) for pid, _, address in told]
    assert names == ["traced_function(int)", "shop::Till::take(int, char const*)"]
    plain = Resolver(demangle=False)
    plain._spaces = resolver.spaces
    assert plain.user_symbol(told[1][2], told[1][0], 0) == "_ZN4shop4Till4takeEiPKc"


def test_the_vdso(resolver):
    maps = Path("/proc/self/maps").read_text()
    start = re.search(r"^([0-9a-f]+)-[0-9a-f]+ .*\[vdso\]$", maps, re.M)
    assert start is not None
    base = int(start.group(1), 16)
    names = {resolver.user_symbol(base + offset, os.getpid(), 0) for offset in range(0, 0x2000, 16)}
    assert any(name.endswith("clock_gettime") for name in names)


JIT = """
import ctypes, mmap, os, sys
code = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
where = ctypes.addressof(ctypes.c_char.from_buffer(code))
path = f"/tmp/perf-{os.getpid()}.map"
with open(path, "w") as file:
    file.write(f"{where:x} 40 jit_outer\\n{where + 0x40:x} 40 jit::inner (x)\\n{where + 0x80:x} zz broken\\n")
if len(sys.argv) > 1:
    os.chown(path, int(sys.argv[1]), -1)
print(where, flush=True)
input()
os.unlink(path)
"""


def test_the_map_of_a_jit_compiler(resolver):
    process = talking(sys.executable, "-c", JIT)
    where = int(process.stdout.readline())
    assert resolver.user_symbol(where + 1, process.pid, 0) == "jit_outer"
    assert resolver.user_symbol(where + 0x7F, process.pid, 0) == "jit::inner (x)"
    assert resolver.user_symbol(where + 0x80, process.pid, 0) == f"0x{where + 0x80:x}"
    process.communicate("\n")
    assert resolver.user_symbol(where + 2, process.pid, 0) == "jit_outer"  # remembered


def test_the_map_that_somebody_else_wrote_is_not_believed(resolver):
    process = talking(sys.executable, "-c", JIT, "12345")
    where = int(process.stdout.readline())
    assert resolver.user_symbol(where, process.pid, 0) == f"0x{where:x}"
    process.communicate("\n")


def test_a_storm_of_processes(build, resolver):
    """More than the buffers hold: what is polled in time is not lost."""
    path = build("program")
    told = []
    for _ in range(400):
        told += run(path)
        resolver.poll()
    assert resolver.spaces.complete
    unknown = [pid for pid, name, address in told if resolver.user_symbol(address, pid, 0) != name]
    assert unknown == []


def test_when_records_were_lost_processes_that_run_are_read_from_proc(build, resolver):
    resolver.spaces._sideband.lost = 1
    process = talking(build("program"), "wait")
    pid, name, address = parse(process.stdout.readline())
    assert not resolver.spaces.complete
    assert resolver.user_symbol(address, pid, 0) == name
    process.communicate("\n")


def _open_files() -> list[str]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            continue  # that of the listing itself
    return found


def test_no_descriptors_are_left(build):
    path = build("program")
    resolver = Resolver()
    resolver.start()
    assert any("perf_event" in target for target in _open_files())
    ((pid, name, address),) = run(path)
    assert resolver.user_symbol(address, pid, 0) == name
    resolver.close()
    left = _open_files()
    assert not any("perf_event" in target for target in left)
    assert path not in left  # it would keep its file system busy


def test_every_kernel_function():
    """Each text symbol of this kernel is found at its address; of several at one address, one of them."""
    symbols = KernelSymbols()
    names: dict[int, set[str]] = {}
    for line in Path("/proc/kallsyms").read_text().splitlines():
        address, kind, name = line.split("\t")[0].split(" ")
        if kind in "tTwW" and int(address, 16):
            names.setdefault(int(address, 16), set()).add(name)
    assert len(names) > 1000
    for address, expected in names.items():
        name, offset = symbols.find(address) or ("", -1)
        assert offset == 0
        assert name in expected


def test_kernel_addresses_of_names():
    symbols = KernelSymbols()
    assert symbols.find(symbols.address_of("do_nanosleep")) == ("do_nanosleep", 0)
    assert symbols.address_of("no_such_symbol_anywhere") is None
