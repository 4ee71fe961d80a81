"""`uprobe` and `uretprobe`: functions of programs and libraries, places in them, addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bpftrace_py import messages
from bpftrace_py.codegen import unit
from bpftrace_py.config import Config
from bpftrace_py.probes import binaries
from bpftrace_py.probes.binaries import Binary
from bpftrace_py.probes.spec import Spec, parse_number
from bpftrace_py.probes.wildcard import has_wildcard, is_fragment, matcher, nearest
from bpftrace_py.symbols.elf import ElfError, ElfFile, Symbol


def resolve(spec: Spec) -> list[unit.Target]:
    """One `Uprobe` for each function that matches, in each file that matches."""
    function = spec.text("function")
    found = binaries.find(spec)
    if len(found) == 1:
        file = binaries.open_binary(spec, found[0])
        try:
            return _in_file(spec, found[0], file, function)
        except ElfError as error:
            raise spec.error(messages.BAD_BINARY, "binary", name=found[0].name, reason=error) from None
        finally:
            file.close()
    if parse_number(function) is not None or (_split_offset(spec, function)[1] is not None):
        raise spec.error(messages.NO_WILDCARD_HERE, "binary", part="binary with an address or offset", type="uprobe")
    targets: list[unit.Target] = []
    for binary in found:
        try:
            file = binary.open()
            symbols = functions_matching(file, function, spec.config.demangle)
            targets += [_target(spec, binary, file, symbol) for symbol in symbols]
            file.close()
        except ElfError:
            continue  # one damaged file does not take the others with it
    if not targets:
        raise spec.error(messages.NO_PROBE_MATCHES, "function", what="function", pattern=function)
    return targets


def _in_file(spec: Spec, binary: Binary, file: ElfFile, function: str) -> list[unit.Target]:
    address = parse_number(function)
    if address is not None:
        return [_at_address(spec, binary, file, address)]
    name, offset = _split_offset(spec, function)
    symbols = list(functions_matching(file, name, spec.config.demangle))
    if not symbols:
        raise _unknown(spec, binary, file, name)
    if offset is not None and has_wildcard(name):
        part, type_name = "function with an offset", spec.probe_type.name
        raise spec.error(messages.NO_WILDCARD_HERE, "function", part=part, type=type_name)
    if offset:
        for symbol in symbols:
            _check_offset(spec, file, symbol, offset)
    elif not has_wildcard(name) and all(symbol.indirect for symbol in symbols):
        hint = "its implementations have no names in this file; debug symbols may have them"
        if any(symbol.name.startswith(f"__{name}_") for symbol in file.functions):
            hint = f"its implementations are functions of their own: `__{name}_*` fires at each call"
        spec.diagnostics.warning(messages.INDIRECT_FUNCTION, spec.spans.get("function"), name=name, hint=hint)
    return [_target(spec, binary, file, symbol, offset or 0) for symbol in symbols]


def _target(spec: Spec, binary: Binary, file: ElfFile, symbol: Symbol, offset: int = 0) -> unit.Uprobe:
    place = file.file_offset(symbol.address)
    assert place is not None  # functions outside of the code are no functions
    suffix = f"+{offset}" if offset else ""
    return unit.Uprobe(
        f"{spec.probe_type.name}:{binary.name}:{symbol.name}{suffix}", binary.absolute, symbol.name, place + offset,
        spec.probe_type.on_return, _limit(spec.config),
    )


def _limit(config: Config) -> int:
    """The process that a probe is limited to, -1 for none. What the command of -c starts is meant, too: that has no limit."""
    return -1 if config.pid is None or config.command else config.pid


def functions_matching(file: ElfFile, pattern: str, demangle: bool) -> Iterator[Symbol]:
    """The functions whose name is `pattern`, or matches it: as in the file or, if `demangle`, the C++ name, with its
    parameters or without (`over` is every overload, `over(int)` one). Constructors and destructors are in a file under two
    names each: without a wildcard, they are taken once. May raise `ElfError`."""
    literal = not has_wildcard(pattern)
    if literal:
        found = file.functions_named(pattern)
        yield from found
        if found or not demangle or pattern.startswith("_Z"):
            return
    matches = matcher(pattern)
    cpp = _cpp_matcher(pattern, matches) if demangle else None
    taken: set[int] = set()
    for symbol in file.functions:
        name = symbol.name
        if is_fragment(name, pattern) or symbol.address in taken:
            continue
        if (not literal and matches(name)) or (cpp is not None and name[:2] == "_Z" and cpp(name)):
            yield symbol
            if literal:
                taken.add(symbol.address)


def _cpp_matcher(pattern: str, matches: Callable[[str], bool]) -> Callable[[str], bool]:
    from bpftrace_py.symbols.demangle import demangle, spellings

    # A plain identifier stands in the mangled name behind its length. That spares demangling the whole file.
    encoded = f"{len(pattern)}{pattern}" if pattern.replace("_", "a").isalnum() else None

    def cpp_matches(name: str) -> bool:
        if encoded is not None and encoded not in name:
            return False
        demangled = demangle(name)
        return demangled is not None and any(map(matches, spellings(demangled)))

    return cpp_matches


def _unknown(spec: Spec, binary: Binary, file: ElfFile, name: str) -> Exception:
    if has_wildcard(name):
        hint = "the file is stripped" if file.stripped else None
        return spec.error(messages.NO_PROBE_MATCHES, "function", what="function", pattern=name, hint=hint)
    if any(symbol.name == name for symbol in file.objects_named(name)):
        hint = f"`{name}` is a variable"
    else:
        known = {symbol.name for symbol in file.functions}
        if spec.config.demangle and any(n.startswith("_Z") for n in known):
            known |= _plain_cpp_names(file)
        hint = nearest(name, known) or ""
    message = messages.STRIPPED_BINARY if file.stripped else messages.UNKNOWN_USER_FUNCTION
    return spec.error(message, "function", binary=binary.name, name=name, hint=hint or None)


def _plain_cpp_names(file: ElfFile, limit: int = 20_000) -> set[str]:
    from bpftrace_py.symbols.demangle import demangle, spellings

    mangled = [symbol.name for symbol in file.functions if symbol.name.startswith("_Z")][:limit]
    return {spellings(name)[-1] for name in map(demangle, mangled) if name}


def _split_offset(spec: Spec, function: str) -> tuple[str, int | None]:
    """`f+8` as ("f", 8); a C++ operator's name may end in a `+` or hold one."""
    name, plus, text = function.rpartition("+")
    if not plus or not name or "operator" in function:
        offset = parse_number(text) if plus and name and not name.endswith("operator") else None
        return (name, offset) if offset is not None else (function, None)
    offset = parse_number(text)
    if offset is None:
        raise spec.error(messages.BAD_PROBE_NUMBER, "function", part="offset", text=text)
    if spec.probe_type.on_return:
        raise spec.error(messages.OFFSET_ON_RETURN, "function", type=spec.probe_type.name)
    return name, offset


def _at_address(spec: Spec, binary: Binary, file: ElfFile, address: int) -> unit.Uprobe:
    """A probe at an address as `nm` and `objdump` show it."""
    place = file.file_offset(address)
    if place is None:
        raise spec.error(messages.ADDRESS_NOT_CODE, "function", address=hex(address), binary=binary.name)
    symbol = file.symbol_at(address)
    if symbol is not None and address != symbol.address:
        if spec.probe_type.on_return:
            raise spec.error(messages.OFFSET_ON_RETURN, "function", type=spec.probe_type.name)
        _check_instruction(spec, file, symbol, address - symbol.address)
    elif symbol is None:
        span, hint = spec.spans.get("function"), "the file has no symbol there"
        spec.diagnostics.warning(messages.UNCHECKED_PROBE_ADDRESS, span, place=hex(address), hint=hint)
    return unit.Uprobe(
        f"{spec.probe_type.name}:{binary.name}:{address}", binary.absolute, symbol.name if symbol else "", place,
        spec.probe_type.on_return, _limit(spec.config),
    )


def _check_offset(spec: Spec, file: ElfFile, symbol: Symbol, offset: int) -> None:
    if (symbol.size and offset >= symbol.size) or file.file_offset(symbol.address + offset) is None:
        raise spec.error(
            messages.OFFSET_OUTSIDE, "function", offset=offset, function=symbol.name, size=symbol.size or "unknown"
        )
    _check_instruction(spec, file, symbol, offset)


def _check_instruction(spec: Spec, file: ElfFile, symbol: Symbol, offset: int) -> None:
    """Refuse a place in the middle of an instruction: a breakpoint there changes the program."""
    from bpftrace_py.symbols.instructions import instruction_starts

    place = f"{symbol.name}+{offset}"
    code = file.code(symbol.address, offset + 16)
    starts = None if code is None else instruction_starts(code, offset, file.machine)
    if starts is None:
        spec.diagnostics.warning(messages.UNCHECKED_PROBE_ADDRESS, spec.spans.get("function"), place=place)
    elif offset not in starts:
        before = max((at for at in starts if at < offset), default=0)
        after = min((at for at in starts if at > offset), default=None)
        hint = f"instructions start at {symbol.name}+{before}" + (f" and {symbol.name}+{after}" if after else "")
        raise spec.error(messages.MISALIGNED_PROBE, "function", place=place, hint=hint)
