"""Lists of CPUs, and instructions with their maps taken out."""

import struct

import pytest

from bpftrace_py.runtime.features import parse_cpu_list
from bpftrace_py.runtime.image import unlink


@pytest.mark.parametrize("text, cpus", [("0", (0,)), ("0-3", (0, 1, 2, 3)), ("0,2-3,8", (0, 2, 3, 8)), ("", ())])
def test_cpu_lists(text, cpus):
    assert parse_cpu_list(text) == cpus


def test_map_references_are_taken_out_and_put_in():
    load_map = struct.pack("=BBhi", 0x18, 1 << 4 | 2, 0, 41) + bytes(8)
    load_number = struct.pack("=BBhi", 0x18, 2, 0, 41) + bytes(8)  # the same number, not a map
    code = unlink(load_number + load_map + load_map.replace(b"\x29", b"\x2a"), {41: 0, 42: 1})
    assert code.relocations == ((20, 0), (36, 1))
    linked = code.linked((7, 9))
    assert linked[:16] == load_number
    assert [struct.unpack_from("=i", linked, at)[0] for at, _ in code.relocations] == [7, 9]
    with pytest.raises(KeyError):
        unlink(load_map, {})
