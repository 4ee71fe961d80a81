"""Types and functions out of debug information, whole and damaged."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bpftrace_py.host import Leaf
from bpftrace_py.ktypes.dwarf_types import DwarfTypes, load
from bpftrace_py.symbols.elf import ElfFile
from bpftrace_py.types import ArrayType, Bitfield, Field, IntegerType, PointerType, RecordType, StringType
from tests.testprogs import build

CHAR, INT, LONG = IntegerType(1, True), IntegerType(4, True), IntegerType(8, True)
FORMS = ["arguments", "arguments_dwarf2", "arguments_units", "arguments_units5", "arguments_static"]


def types_of(path: Path) -> DwarfTypes:
    types = load(str(path))
    assert types is not None
    return types


def address(path: Path, function: str) -> int:
    (symbol,) = ElfFile(str(path)).functions_named(function)
    return symbol.address


@pytest.mark.parametrize("form", FORMS)
def test_parameters(form: str) -> None:
    path = build.program(form)
    found = types_of(path).function(address(path, "many"), "many")
    assert found is not None
    parameters, result = found
    point = RecordType(f"struct point of {form}", 48)
    assert [(p.name, p.type) for p in parameters] == [
        ("x", INT), ("name", PointerType(CHAR, "user")), ("p", PointerType(point, "user")), ("c", IntegerType(4, False)),
        ("w", IntegerType(4, False)), ("s", IntegerType(2, True)), ("ch", CHAR), ("eighth", LONG),
    ]  # fmt: skip
    assert result is not None and result.type == LONG


@pytest.mark.parametrize("form", FORMS)
def test_members(form: str) -> None:
    types = types_of(build.program(form))
    point = types.find("struct point")
    assert point == RecordType(f"struct point of {form}", 48)
    assert types.fields(point) == (
        Field("x", INT, 0), Field("y", LONG, 8), Field("name", StringType(16), 16),
        Field("next", PointerType(point, "user"), 32), Field("low", IntegerType(4, False), 40, Bitfield(0, 3)),
        Field("high", IntegerType(4, False), 40, Bitfield(3, 5)),
    )  # fmt: skip


def test_what_values_are_made_of() -> None:
    path = build.program("arguments")
    found = types_of(path).function(address(path, "floating"), "floating")
    assert found is not None
    leaves = {p.name: p.leaves for p in found[0]}
    assert leaves == {
        "d": (Leaf(0, 8, "float"),), "i": (Leaf(0, 4, "integer"),), "f": (Leaf(0, 4, "float"),),
        "two": (Leaf(0, 4, "float"), Leaf(4, 4, "float")), "half": (Leaf(0, 8, "float"), Leaf(8, 8, "integer")),
    }  # fmt: skip


def test_names_of_other_things() -> None:
    types = types_of(build.program("arguments"))
    assert types.find("word") == IntegerType(4, False)
    assert types.find("enum color") == IntegerType(4, False)
    assert (types.enumerator("RED"), types.enumerator("GREEN"), types.enumerator("BLUE")) == (0, 5, None)
    assert types.find("struct none") is None and types.find("struct poin") is None and types.find("") is None
    assert types.fields(RecordType("struct point")) is None  # the kernel's, if it had one


def test_cpp() -> None:
    path = build.program("arguments_cpp")
    types = types_of(path)
    (method,) = (s for s in ElfFile(str(path)).functions if s.name.startswith("_ZN2ns7Derived7counted"))
    found = types.function(method.address, method.name)
    assert found is not None
    assert [(p.name, p.by_reference) for p in found[0]] == [("other", False), ("text", True), ("x", False), ("last", False)]
    derived = types.find("struct Derived")
    assert isinstance(derived, RecordType)
    fields = types.fields(derived)
    assert fields is not None
    assert [(f.name, f.offset) for f in fields if f.name in ("base", "own")] == [("base", 8), ("own", 16)]


def test_a_file_without_debug_information_has_no_types() -> None:
    assert load(str(build.stripped("functions"))) is None
    assert load("/etc/hostname") is None


@pytest.mark.parametrize("name", ["arguments", "arguments_cpp", "arguments_units5"])
def test_damage_does_no_harm(name: str, tmp_path: Path) -> None:
    """Any bytes in the sections give types, wrong ones perhaps, or none."""
    path = build.program(name)
    elf = ElfFile(str(path))
    sections = [s for s in elf.sections if s.name in (".debug_info", ".debug_abbrev", ".debug_str")]
    functions = [f for f in elf.functions if f.name in ("many", "main")]
    data = path.read_bytes()
    for seed in range(40):
        chance = random.Random(seed)
        damaged = bytearray(data)
        section = chance.choice(sections)
        for _ in range(chance.choice((1, 2, 20))):
            damaged[section.offset + chance.randrange(section.size)] = chance.choice((0, 1, 127, 128, 255))
        broken = tmp_path / f"broken{seed}"
        broken.write_bytes(damaged)
        types = load(str(broken))
        if types is None:
            continue
        for symbol in functions:
            types.function_listing(symbol.address, symbol.name)
            found = types.function(symbol.address, symbol.name)
            for parameter in found[0] if found else ():
                inner = parameter.type
                while isinstance(inner, (PointerType, ArrayType)):
                    inner = inner.pointee if isinstance(inner, PointerType) else inner.element
                if isinstance(inner, RecordType):
                    types.fields(inner)
        types.find("struct point")
        types.enumerator("GREEN")
        broken.unlink()
