"""How `@maps` are kept in the kernel, and the C that works on them."""

from __future__ import annotations

from bpftrace_py.analysis.program import MapInfo
from bpftrace_py.codegen.ctypes_text import Structs, is_memory, scalar
from bpftrace_py.codegen.unit import ScriptMap
from bpftrace_py.types import (
    HISTOGRAMS,
    UINT64,
    AggregateType,
    AvgType,
    HistType,
    LhistType,
    MaxType,
    MinType,
    StatsType,
    SumType,
    TupleType,
    Type,
)


def plan(info: MapInfo, table: str, max_entries: int, names: tuple[str, ...] = (), sums: bool = False) -> ScriptMap:
    """The storage of a map: see `ScriptMap`. `sums`: histograms keep the sum of what they count."""
    keys = info.keys or ()
    aggregate = isinstance(info.value, AggregateType)
    with_sum = sums and isinstance(info.value, HISTOGRAMS)
    if keys:
        storage = "percpu_hash" if aggregate else "hash"
        return ScriptMap(info.name, table, keys, info.value, storage, max_entries, names, with_sum)
    if isinstance(info.value, HISTOGRAMS):
        slots = bucket_count(info.value) + with_sum
        return ScriptMap(info.name, table, (), info.value, "percpu_array", slots, with_sum=with_sum)
    return ScriptMap(info.name, table, (), info.value, "percpu_array" if aggregate else "array", 1)


def bucket_count(type_: Type) -> int:
    """Buckets of a histogram."""
    if isinstance(type_, HistType):
        return HistType.BUCKETS
    assert isinstance(type_, LhistType)
    return type_.buckets


def bpf_key(script_map: ScriptMap) -> tuple[Type, ...]:
    """The parts of the key as the kernel has them: a histogram's bucket is the last one."""
    return (*script_map.keys, UINT64) if isinstance(script_map.value, HISTOGRAMS) else script_map.keys


def table_text(script_map: ScriptMap, structs: Structs, number: int) -> list[str]:
    """The definition of a map, and of the structs of its key and value."""
    lines = []
    table = script_map.table
    key = "u32"
    if script_map.keys:
        parts = bpf_key(script_map)
        if len(parts) == 1 and not is_memory(parts[0]):
            key = "u64"
        else:
            key = f"struct {table}_key"
            members = "\n\t".join(
                f"{structs.declare(part, member_name(i, len(parts), script_map))};" for i, part in enumerate(parts)
            )
            lines.append(f"{key} {{\n\t{members}\n}};")
    value = value_type(script_map, structs, lines)
    lines.append(f'TABLE({number}, "{script_map.storage}", {key}, {value}, {table}, {script_map.max_entries});')
    return lines


def member_name(index: int, count: int, script_map: ScriptMap) -> str:
    """The name of a part of a key in C."""
    if index == len(script_map.keys):
        return "bucket"
    return "part" if count == 1 else f"part{index + 1}"


def value_type(script_map: ScriptMap, structs: Structs, lines: list[str]) -> str:
    """The C type of a map's value; a struct is defined in `lines`."""
    value, table = script_map.value, script_map.table
    if isinstance(value, (SumType, MinType, MaxType)):
        members = f"{'s64' if value.signed else 'u64'} value;\n\tu64 set;"
    elif isinstance(value, (AvgType, StatsType)):
        members = "u64 count;\n\ts64 total;"
    elif isinstance(value, AggregateType):
        return "u64"
    elif script_map.storage == "array":
        members = f"{structs.declare(value, 'value')};\n\tu64 set;"
    elif is_memory(value):
        members = f"{structs.declare(value, 'value')};"
    else:
        return scalar(value)
    lines.append(f"struct {table}_value {{\n\t{members}\n}};")
    return f"struct {table}_value"


def key_struct(script_map: ScriptMap) -> TupleType:
    """The key of its BPF map as a type."""
    return TupleType(bpf_key(script_map))
