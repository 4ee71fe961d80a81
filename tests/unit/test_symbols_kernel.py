"""Kernel symbols out of texts with the shapes that /proc/kallsyms has."""

from __future__ import annotations

import itertools
import random

import pytest

from bpftrace_py.symbols.kernel import KernelSymbols

CORE = """\
0000000000000000 A fixed_percpu_data
0000000000004000 D cpu_info
ffffffff81000000 T _stext
ffffffff81000000 T _text
ffffffff81000100 t do_first
ffffffff81000200 t __do_sys_two
ffffffff81000200 T __ia32_sys_two
ffffffff81000200 T __x64_sys_two
ffffffff81000300 W weak_three
ffffffff82000000 D some_data
ffffffff82000100 b more_data
"""
MODULES = """\
ffffffffc0300000 t late_module_function\t[late]
ffffffffc0300010 d late_module_data\t[late]
ffffffffc0100000 t early_module_function\t[early]
ffffffffc0200000 t bpf_prog_6deef7357e7b4530_begin\t[bpf]
"""


@pytest.fixture
def symbols(tmp_path):
    (tmp_path / "kallsyms").write_text(CORE + MODULES)
    return KernelSymbols(str(tmp_path / "kallsyms"))


@pytest.mark.parametrize(
    ("address", "found"),
    [
        (0xFFFFFFFF81000100, ("do_first", 0)),
        (0xFFFFFFFF810001FF, ("do_first", 255)),
        (0xFFFFFFFF81000000, ("_text", 0)),  # the last of several names
        (0xFFFFFFFF81000203, ("__x64_sys_two", 3)),
        (0xFFFFFFFF81000304, ("weak_three", 4)),
        (0xFFFFFFFF82000104, ("weak_three", 0x0FFFE04)),  # data has no name of its own
        (0xFFFFFFFFC0100001, ("early_module_function", 1)),
        (0xFFFFFFFFC0200000, ("bpf_prog_6deef7357e7b4530_begin", 0)),
        (0xFFFFFFFFC0300014, ("late_module_function", 20)),
        (0xFFFFFFFF80FFFFFF, None),
        (0, None),
        (5, None),
        (-1, None),
        (1 << 64, None),
    ],
)
def test_find(symbols, address, found):
    assert symbols.find(address) == found
    assert symbols.find(address) == found  # remembered


def test_every_address_of_a_large_table(tmp_path):
    """The bisection over bytes against a plain one, line lengths varying."""
    numbers = random.Random(1)
    addresses = sorted(numbers.sample(range(1 << 20), 3000))
    lines = [(0xFFFFFFFF81000000 + a, "f" * numbers.randint(1, 40) + str(a)) for a in addresses]
    (tmp_path / "kallsyms").write_text("".join(f"{a:016x} {numbers.choice('tT')} {n}\n" for a, n in lines))
    symbols = KernelSymbols(str(tmp_path / "kallsyms"))
    for (address, name), (following, _) in itertools.pairwise(lines):
        assert symbols.find(address) == (name, 0)
        assert symbols.find(following - 1) == (name, following - 1 - address)


def test_a_table_without_a_last_newline(tmp_path):
    (tmp_path / "kallsyms").write_text("ffffffff81000000 T one\nffffffff81000010 T two")
    symbols = KernelSymbols(str(tmp_path / "kallsyms"))
    assert symbols.find(0xFFFFFFFF8100000F) == ("one", 15)
    assert symbols.find(0xFFFFFFFF81000011) == ("two", 1)
    assert symbols.address_of("two") == 0xFFFFFFFF81000010


def test_address_of(symbols):
    assert symbols.address_of("do_first") == 0xFFFFFFFF81000100
    assert symbols.address_of("some_data") == 0xFFFFFFFF82000000
    assert symbols.address_of("early_module_function") == 0xFFFFFFFFC0100000
    assert symbols.address_of("fixed_percpu_data") == 0
    for absent in ("do_firs", "o_first", "", "do_first\t[x]", "do first", "[late]"):
        assert symbols.address_of(absent) is None


@pytest.mark.parametrize("text", ["", "0000000000000000 T _text\n0000000000000000 t do_first\n"])
def test_hidden_addresses(tmp_path, text):
    (tmp_path / "kallsyms").write_text(text)
    symbols = KernelSymbols(str(tmp_path / "kallsyms"))
    assert symbols.find(0xFFFFFFFF81000000) is None
    assert symbols.address_of("do_first") is None
    assert symbols.hidden


def test_no_table(tmp_path):
    symbols = KernelSymbols(str(tmp_path / "absent"))
    assert symbols.find(0xFFFFFFFF81000000) is None
    assert symbols.hidden
