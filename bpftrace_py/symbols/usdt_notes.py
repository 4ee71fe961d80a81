"""Static probes (USDT) of an ELF file: the notes that `sys/sdt.h` leaves in `.note.stapsdt`.

SystemTap's wiki describes the layout of a note and the syntax of its arguments ("UserSpaceProbeImplementation"). An
argument is `[-]size@operand`, the operand being one of the assembler's: the compiler says where the value happens
to be at this place in the code.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from bpftrace_py.record import record
from bpftrace_py.symbols.elf import ElfError, ElfFile

_TYPE = 3
_MAX_ARGUMENTS = 12  # what sys/sdt.h can make


@record(frozen=True)
class UsdtArgument:
    """Where one argument is. `size` in bytes (1, 2, 4, 8).

    `kind`:
      constant   the value is `value`
      register   in `register`, shifted right by `shift` bits
      memory     at `register` + `index` * `scale` + `value` in the process's memory
      unknown    at a place that we cannot read (a vector register, say)
    Registers have the names of the whole register: `rax`, `r8`, `rip` on x86-64; `x0`, `sp`, `xzr` on aarch64; "" is
    none.
    `text` is what the note says.
    """

    size: int
    signed: bool
    kind: str
    text: str
    value: int = 0
    register: str = ""
    shift: int = 0
    index: str = ""
    scale: int = 1


@record(frozen=True)
class UsdtProbe:
    """One place at which a static probe is; inlining and templates give a probe several. `location` is the address in
    the file before relocation, `semaphore` likewise (0: none)."""

    provider: str
    name: str
    location: int
    semaphore: int
    arguments: tuple[UsdtArgument, ...]


def probes(file: ElfFile) -> tuple[UsdtProbe, ...]:
    """All static probes of a file, in the order of their notes. Raises `ElfError` for damaged ones."""
    base = file.section(".stapsdt.base")
    address = struct.Struct(file.order + ("QQQ" if file.wide else "III"))
    found: list[UsdtProbe] = []
    for owner, kind, description in file.notes(".note.stapsdt"):
        if owner != "stapsdt" or kind != _TYPE:
            continue
        if len(description) < address.size:
            raise ElfError("its static probes' notes are damaged")
        location, noted_base, semaphore = address.unpack_from(description)
        # Moved by prelink after the note was written: the base section moved as far.
        moved = base.address - noted_base if base is not None and noted_base else 0
        texts = description[address.size :].split(b"\0")
        if len(texts) < 3:
            raise ElfError("its static probes' notes are damaged")
        provider, name, arguments = (text.decode("utf-8", "surrogateescape") for text in texts[:3])
        place = location + moved
        found.append(
            UsdtProbe(
                provider, name, place, semaphore + moved if semaphore else 0,
                tuple(parse_arguments(arguments, file.machine, file, place)),
            )
        )
    return tuple(found)


def parse_arguments(
    text: str, machine: str, file: ElfFile | None = None, location: int = 0
) -> Iterator[UsdtArgument]:
    """The arguments of a note. `file` and `location` are needed for those that are relative to a symbol."""
    parse_operand = {"x86_64": _x86_operand, "i386": _x86_operand, "aarch64": _aarch64_operand}.get(machine)
    for count, written in enumerate(_split(text)):
        if count >= _MAX_ARGUMENTS:
            return
        size_text, at, operand = written.partition("@")
        signed = size_text.startswith("-")
        size = size_text.removeprefix("-")
        known = at and size in ("1", "2", "4", "8")
        place = parse_operand(operand, file, location) if known and parse_operand else None
        if place is None or (place[0] == "register" and operand.startswith("%xmm")):
            yield UsdtArgument(int(size) if known else 8, signed, "unknown", written)
            continue
        kind, value, register, shift, index, scale = place
        if kind == "constant":
            value = _as_integer(value, int(size), signed)
        yield UsdtArgument(int(size), signed, kind, written, value, register, shift, index, scale)


def _split(text: str) -> list[str]:
    """The arguments' texts. Blanks separate them, but also stand inside of `[sp, 12]`: the next one begins with a size."""
    return [piece.strip() for piece in re.split(r"\s+(?=-?[0-9]+f?@)", text.strip()) if piece]


def _as_integer(value: int, size: int, signed: bool) -> int:
    value &= (1 << 8 * size) - 1
    return value - (1 << 8 * size) if signed and value >> (8 * size - 1) else value


# (kind, value, register, shift, index, scale)
_Place = tuple[str, int, str, int, str, int]

_X86_REGISTERS: dict[str, tuple[str, int]] = {}


def _x86_registers() -> dict[str, tuple[str, int]]:
    """Every general register's names -> (the whole register, bits to shift right)."""
    if not _X86_REGISTERS:
        for letter in "abcd":
            whole = f"r{letter}x"
            for name in (whole, f"e{letter}x", f"{letter}x", f"{letter}l"):
                _X86_REGISTERS[name] = whole, 0
            _X86_REGISTERS[f"{letter}h"] = whole, 8
        for short in ("si", "di", "bp", "sp"):
            for name in (f"r{short}", f"e{short}", short, f"{short}l"):
                _X86_REGISTERS[name] = f"r{short}", 0
        for number in range(8, 16):
            for suffix in ("", "d", "w", "b"):
                _X86_REGISTERS[f"r{number}{suffix}"] = f"r{number}", 0
        _X86_REGISTERS["rip"] = _X86_REGISTERS["eip"] = "rip", 0
    return _X86_REGISTERS


# displacement(base, index, scale), where the displacement may be a symbol with a number before or behind it
_X86_MEMORY = r"(?P<text>[^()%]*)\((?:%(?P<base>\w+))?(?:,%(?P<index>\w+)(?:,(?P<scale>[1248]))?)?\)"


def _x86_operand(text: str, file: ElfFile | None, location: int) -> _Place | None:
    registers = _x86_registers()
    if text.startswith("$"):
        value = _number(text[1:])
        return None if value is None else ("constant", value, "", 0, "", 1)
    if text.startswith("%") and "(" not in text and ":" not in text:
        register = registers.get(text[1:])
        return None if register is None else ("register", 0, register[0], register[1], "", 1)
    matched = re.fullmatch(_X86_MEMORY, text.replace(" ", ""))
    if matched is None:
        return None
    base, index, scale = matched["base"] or "", matched["index"] or "", int(matched["scale"] or 1)
    if (base and base not in registers) or (index and index not in registers) or not (base or index):
        return None
    base_register = registers[base][0] if base else ""
    index_register = registers[index][0] if index else ""
    if base_register == "rip":
        address = _symbol_address(matched["text"], file)
        # At the probe the instruction pointer is its own address, so a symbol is as far from it as in the file.
        return None if address is None or index else ("memory", address - location, "rip", 0, "", 1)
    displacement = _number(matched["text"]) if matched["text"] else 0
    return None if displacement is None else ("memory", displacement, base_register, 0, index_register, scale)


def _symbol_address(text: str, file: ElfFile | None) -> int | None:
    """The address of `symbol`, `symbol+8` or `8+symbol`."""
    matched = re.fullmatch(r"(?:(?P<before>[-+]?\w+)\+)?(?P<name>[A-Za-z_.$][\w.$]*)(?P<behind>[-+]\w+)?", text)
    if matched is None or file is None:
        return None
    before, behind = _number(matched["before"] or "0"), _number(matched["behind"] or "0")
    symbols = file.objects_named(matched["name"])
    if before is None or behind is None or len(symbols) != 1:
        return None
    return symbols[0].address + before + behind


def _aarch64_operand(text: str, file: ElfFile | None, location: int) -> _Place | None:
    value = _number(text.removeprefix("#"))
    if value is not None:
        return "constant", value, "", 0, "", 1
    if not text.startswith("["):
        register = _aarch64_register(text)
        return None if register is None else ("register", 0, register, 0, "", 1)
    if not text.endswith("]"):
        return None
    pieces = [piece.strip() for piece in text[1:-1].split(",")]
    base = _aarch64_register(pieces[0])
    if base is None or len(pieces) > 3:
        return None
    if len(pieces) == 1:
        return "memory", 0, base, 0, "", 1
    displacement = _number(pieces[1].removeprefix("#"))
    if displacement is not None:
        return ("memory", displacement, base, 0, "", 1) if len(pieces) == 2 else None
    index = _aarch64_register(pieces[1])
    if index is None or pieces[1].startswith("w"):
        return None
    scale = 1
    if len(pieces) == 3:
        word, _, amount = pieces[2].partition(" ")
        shift = _number(amount.strip().removeprefix("#"))
        if word != "lsl" or shift is None or not 0 <= shift <= 4:
            return None
        scale = 1 << shift
    return "memory", 0, base, 0, index, scale


def _aarch64_register(text: str) -> str | None:
    if text in ("sp", "xzr", "wzr"):
        return "xzr" if text == "wzr" else text
    number = text[1:]
    if text[:1] in ("x", "w") and number.isdecimal() and number.isascii() and len(number) <= 2 and int(number) <= 30:
        return f"x{int(number)}"
    return None


def _number(text: str) -> int | None:
    """A decimal or hexadecimal number that fits in 64 bits."""
    if re.fullmatch(r"[-+]?(0x[0-9a-fA-F]{1,16}|[0-9]{1,20})", text) is None:
        return None
    value = int(text, 16 if "x" in text else 10)
    return value if -(1 << 63) <= value < 1 << 64 else None
