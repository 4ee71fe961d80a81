"""The book-keeping of address spaces, told by hand what the kernel's sideband would tell."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bpftrace_py.symbols import addresses
from bpftrace_py.symbols.addresses import AddressSpaces

A, B = 100_000_001, 100_000_002  # above every pid_max: /proc knows nothing of them
DEVICE = os.makedev(8, 1)


def program_of(spaces: AddressSpaces, pid: int, address: int) -> str | None:
    process = spaces.process(pid, (address,))
    if process is None:
        return None
    found = spaces.mapping(spaces.choose_program(process, (address,)), address)
    return f"{found.file.path}+{address - found.start + found.offset:x}" if found else None


def mapped(spaces: AddressSpaces, *arguments) -> None:
    spaces.mapped(*arguments, 1_000_000_000)


def started(spaces: AddressSpaces, pid: int, path: bytes, start: int, parent: int = 1) -> None:
    spaces.forked(pid, parent)
    spaces.executed(pid)
    mapped(spaces, pid, start, start + 0x1000, 0x2000, DEVICE, len(path), path)


@pytest.fixture
def spaces():
    return AddressSpaces()


def test_a_process_that_has_gone(spaces):
    started(spaces, A, b"/bin/a", 0x10000)
    spaces.exited(A)
    assert program_of(spaces, A, 0x10004) == "/bin/a+2004"
    assert program_of(spaces, A, 0x10FFF) == "/bin/a+2fff"
    assert program_of(spaces, A, 0x11000) is None
    assert program_of(spaces, A, 0xFFFF) is None
    assert program_of(spaces, B, 0x10004) is None


def test_a_fork_has_its_parent_s_mappings_and_goes_its_own_way(spaces):
    started(spaces, A, b"/bin/parent", 0x10000)
    spaces.forked(B, A)
    mapped(spaces, B, 0x50000, 0x51000, 0, DEVICE, 5, b"/lib/own")
    spaces.exited(A)
    assert program_of(spaces, B, 0x10000) == "/bin/parent+2000"
    assert program_of(spaces, B, 0x50000) == "/lib/own+0"
    assert program_of(spaces, A, 0x50000) is None


def test_stacks_from_before_and_after_exec(spaces):
    started(spaces, A, b"/bin/shell", 0x10000)
    spaces.executed(A)
    mapped(spaces, A, 0x80000, 0x81000, 0, DEVICE, 9, b"/bin/cat")
    assert program_of(spaces, A, 0x10000) == "/bin/shell+2000"
    assert program_of(spaces, A, 0x80001) == "/bin/cat+1"


def test_the_program_with_most_addresses_wins_and_the_newer_one_of_two_equals(spaces):
    started(spaces, A, b"/bin/old", 0x10000)
    mapped(spaces, A, 0x20000, 0x21000, 0, DEVICE, 1, b"/lib/libc")
    spaces.executed(A)
    mapped(spaces, A, 0x20000, 0x21000, 0, DEVICE, 2, b"/lib/other")
    process = spaces.process(A, ())
    old, new = process.programs[-2:]
    assert spaces.choose_program(process, (0x20000, 0x10000)) is old
    assert spaces.choose_program(process, (0x20000,)) is new
    assert spaces.choose_program(process, (0x99999,)) is new


def test_a_newer_mapping_hides_an_older_one(spaces):
    started(spaces, A, b"/bin/a", 0x10000)
    mapped(spaces, A, 0x10800, 0x10900, 0, DEVICE, 7, b"/lib/new")
    assert program_of(spaces, A, 0x10810) == "/lib/new+10"
    assert program_of(spaces, A, 0x10900) == "/bin/a+2900"


def test_a_number_used_again(spaces):
    started(spaces, A, b"/bin/first", 0x10000)
    spaces.exited(A)
    started(spaces, A, b"/bin/second", 0x70000)
    assert program_of(spaces, A, 0x10000) == "/bin/first+2000"
    assert program_of(spaces, A, 0x70000) == "/bin/second+2000"
    assert not spaces.process(A, ()).ended


def test_the_version_changes_with_the_meaning_of_addresses(spaces):
    started(spaces, A, b"/bin/a", 0x10000)
    seen = {spaces.process(A, ()).version}
    mapped(spaces, A, 0x20000, 0x21000, 0, DEVICE, 1, b"/lib/libc")
    seen.add(spaces.process(A, ()).version)
    mapped(spaces, A, 0x20000, 0x21000, 0, DEVICE, 1, b"/lib/libc")  # as mprotect(2) makes the kernel say it again
    seen.add(spaces.process(A, ()).version)
    assert len(seen) == 2
    spaces.executed(A)
    assert spaces.process(A, ()).version not in seen


@pytest.mark.parametrize("path", [b"//anon", b"[heap]", b"[stack]", b"[vsyscall]", b"anon_inode:x", b""])
def test_memory_without_symbols_is_not_kept(spaces, path):
    started(spaces, A, b"/bin/a", 0x10000)
    mapped(spaces, A, 0x20000, 0x21000, 0, 0, 0, path)
    assert program_of(spaces, A, 0x20000) is None


def test_the_vdso_is_kept_and_deleted_files_have_their_name(spaces):
    started(spaces, A, b"/bin/a (deleted)", 0x10000)
    mapped(spaces, A, 0x20000, 0x22000, 0, 0, 0, b"[vdso]")
    assert program_of(spaces, A, 0x20010) == "[vdso]+10"
    assert program_of(spaces, A, 0x10000) == "/bin/a+2000"


def test_the_oldest_of_too_many_are_forgotten(spaces, monkeypatch):
    monkeypatch.setattr(addresses, "_ENDED_KEPT", 3)
    for pid in range(A, A + 5):
        started(spaces, pid, b"/bin/a", 0x10000)
        spaces.exited(pid)
    known = [program_of(spaces, pid, 0x10000) for pid in range(A, A + 5)]
    assert known == [None, None] + ["/bin/a+2000"] * 3


def test_a_number_keeps_few_programs(spaces):
    spaces.forked(A, 1)
    for number in range(50):
        spaces.executed(A)
        mapped(spaces, A, 0x10000 * (number + 1), 0x10000 * (number + 1) + 16, 0, DEVICE, 1, b"/bin/%d" % number)
    assert len(spaces.process(A, ()).programs) == 4
    assert program_of(spaces, A, 0x10000 * 50) == "/bin/49+0"


def test_a_process_that_maps_for_ever_is_bounded(spaces, monkeypatch):
    monkeypatch.setattr(addresses, "_MAPPINGS_KEPT", 10)
    started(spaces, A, b"/bin/a", 0x10000)
    for number in range(100):
        mapped(spaces, A, 0x100000 + number * 16, 0x100010 + number * 16, 0, DEVICE, 1, b"/jit")
    assert len(spaces.process(A, ()).programs[-1].entries()) == 10


def test_records_of_an_unknown_process_are_no_trouble(spaces):
    mapped(spaces, A, 0x10000, 0x11000, 0, DEVICE, 1, b"/bin/a")
    spaces.exited(A)
    assert spaces.process(A, ()) is None


def test_observing_a_real_process():
    import ctypes

    spaces = AddressSpaces()
    printf = ctypes.cast(ctypes.CDLL(None).printf, ctypes.c_void_p).value
    assert program_of(spaces, os.getpid(), printf).rpartition("+")[0].endswith((".so.6", ".so", "musl"))


def test_an_observed_process_is_remembered():
    spaces = AddressSpaces()
    child = subprocess.Popen([sys.executable, "-c", "print(open('/proc/self/maps').read()); input()"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
    lines = [child.stdout.readline()]
    while lines[-1].strip():
        lines.append(child.stdout.readline())
    spaces.observe(child.pid)
    child.communicate("\n")
    line = next(line.split() for line in lines if "r-xp" in line and line.split()[-1].startswith("/"))
    start = int(line[0].split("-")[0], 16)
    assert program_of(spaces, child.pid, start) == f"{line[-1]}+{int(line[2], 16):x}"
