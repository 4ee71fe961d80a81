"""Reading, assigning and counting in `@maps`."""

from __future__ import annotations

from bpftrace_py.codegen.ctypes_text import AggregateSlot, has_padding, is_memory, scalar
from bpftrace_py.codegen.maps import bpf_key, bucket_count, key_struct, member_name
from bpftrace_py.codegen.memory import INLINE_LIMIT
from bpftrace_py.codegen.unit import ScriptMap
from bpftrace_py.codegen.values import Bytes, Number, Value
from bpftrace_py.syntax import ast
from bpftrace_py.types import (
    HISTOGRAMS,
    UINT32,
    UINT64,
    AvgType,
    CountType,
    HistType,
    LhistType,
    MaxType,
    MinType,
    PointerType,
    StatsType,
    SumType,
    Type,
)

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from bpftrace_py.codegen.expressions import ExpressionText


class MapText:
    """Writes accesses of `@maps`."""

    def __init__(self, expressions: ExpressionText) -> None:
        self._ex = expressions
        self._fn = expressions.function
        self._generator = expressions.generator

    def _map(self, node: ast.Map) -> ScriptMap:
        return self._generator.maps[node.name]

    # --- keys

    def key(self, node: ast.Map, bucket: str | None = None) -> str:
        """The address of the key, written to a local first."""
        script_map = self._map(node)
        if not script_map.keys:
            return self.slot("0")
        parts = bpf_key(script_map)
        if len(parts) == 1 and not is_memory(parts[0]):
            number = self._ex.number(node.keys[0])
            name = self._fn.memory(UINT64, "key")
            self._fn.line(f"{name} = {number.wide()};")
            return f"&{name}"
        place = self._generator.key_object(self._fn, script_map)
        if has_padding(key_struct(script_map)):
            self._ex.memory.zero(place, key_struct(script_map))
        for i, (part, type_) in enumerate(zip(node.keys, script_map.keys, strict=True)):
            member = f"{place}.{member_name(i, len(parts), script_map)}"
            if is_memory(type_):
                self._ex.store(part, member, type_)
            else:
                self._fn.line(f"{member} = {self._ex.number(part).wide()};")
        if bucket is not None:
            self._fn.line(f"{place}.bucket = {bucket};")
        return f"&{place}"

    def slot(self, index: str) -> str:
        """The address of an array's index."""
        if index == "0":
            return f"&{self._fn.zero()}"
        name = self._fn.memory(UINT32, "slot")
        self._fn.line(f"{name} = {index};")
        return f"&{name}"

    def _pointer(self, script_map: ScriptMap, key: str) -> str:
        """A local that points to the element, or is NULL."""
        name = self._fn.fresh(self._generator.variable_name(script_map.name or "element"))
        value = self._generator.value_types[script_map.name]
        self._fn.line(f"{value} *{name} = map_lookup(MAP({script_map.table}), {key});")
        return name

    def _place(self, script_map: ScriptMap, pointer: str) -> str:
        """The lvalue of a plain map's value behind a pointer to the element."""
        if script_map.storage == "array" or is_memory(script_map.value):
            return f"{pointer}->value"
        return f"*{pointer}"

    # --- plain values

    def read(self, node: ast.Map) -> Value:
        script_map = self._map(node)
        pointer = self._pointer(script_map, self.key(node))
        place = self._place(script_map, pointer)
        if is_memory(script_map.value):
            # An element that is not there reads as zeros.
            return Bytes(f"(void *){pointer}", script_map.value, "direct", maybe=True)
        name = self._fn.fresh("value")
        self._fn.line(f"{scalar(script_map.value)} {name} = {pointer} ? {place} : 0;")
        return Number(name, script_map.value)

    def assign(self, node: ast.Map, value: ast.Expression) -> None:
        script_map = self._map(node)
        if script_map.storage == "array":
            self._assign_single(script_map, node, value)
            return
        if is_memory(script_map.value):
            place = self._fn.memory(script_map.value, "new_value")
            self._ex.store(value, place, script_map.value)
            address = self._ex.address(place, script_map.value)
        else:
            number = self._ex.number(value)
            name = self._fn.memory(script_map.value, "new_value")
            self._fn.line(f"{name} = {number.text};")
            address = f"&{name}"
        self.update(script_map, self.key(node), address)

    def _assign_single(self, script_map: ScriptMap, node: ast.Map, value: ast.Expression) -> None:
        if is_memory(script_map.value):
            pointer = self._pointer(script_map, self.slot("0"))
            with self._fn.block(f"if ({pointer})"):
                self._ex.replace(node, value, f"{pointer}->value", script_map.value)
                self._fn.line(f"{pointer}->set = 1;")
            return
        number = self._ex.number(value)
        pointer = self._pointer(script_map, self.slot("0"))
        with self._fn.block(f"if ({pointer})"):
            self._fn.line(f"{pointer}->value = {number.text};")
            self._fn.line(f"{pointer}->set = 1;")

    def update(self, script_map: ScriptMap, key: str, value: str) -> None:
        """Set an element; what the map has no room for is counted."""
        call = self._ex.told("map_update_elem", f"map_update(MAP({script_map.table}), {key}, {value}, ANY)")
        self._fn.line(f"if ({call})")
        self._fn.line(f"\t{self._generator.count_lost(script_map)};")

    def increment(self, node: ast.Map, sign: str, step: str, wanted: str = "") -> Number:
        """Add to an element at once, whatever other CPUs do to it; `wanted`: the value `before` or `after`, or none."""
        script_map = self._map(node)
        key = self.key(node)
        amount = step if sign == "+" else f"-({step})" if not step.isdigit() else f"-{step}"
        pointer = self._pointer(script_map, key)
        if script_map.storage != "array":
            zero = self._fn.memory(script_map.value, "nothing")
            with self._fn.block(f"if (!{pointer})"):
                self._fn.line(f"{zero} = 0;")
                self._fn.line(f"map_update(MAP({script_map.table}), {key}, &{zero}, NOEXIST);")
                self._fn.line(f"{pointer} = map_lookup(MAP({script_map.table}), {key});")
        result = ""
        if wanted:
            result = self._fn.fresh(wanted)
            self._fn.line(f"{scalar(script_map.value)} {result} = 0;")
        with self._fn.block(f"if ({pointer})"):
            place = self._place(script_map, pointer)
            if wanted:
                self._fn.line(f"{result} = {place}{f' + {amount}' if wanted == 'after' else ''};")
            self._fn.line(f"add_to({f'&{place}' if '->' in place else pointer}, {amount});")
            if script_map.storage == "array":
                self._fn.line(f"{pointer}->set = 1;")
        if script_map.storage != "array":
            with self._fn.block("else"):
                self._fn.line(f"{self._generator.count_lost(script_map)};")
        return Number(result or "0", script_map.value)

    def delete(self, node: ast.Map) -> None:
        script_map = self._map(node)
        if isinstance(script_map.value, HISTOGRAMS) and script_map.keys:
            self._delete_buckets(node, script_map)
        elif script_map.keys:
            call = f"map_delete(MAP({script_map.table}), {self.key(node)})"
            self._fn.line(f"{self._ex.told('map_delete_elem', call)};")
        elif isinstance(script_map.value, HISTOGRAMS):
            bucket = self._fn.fresh("bucket")
            with self._fn.block(f"for (u32 {bucket} = 0; {bucket} < {script_map.max_entries}; {bucket}++)"):
                pointer = self._pointer(script_map, self.slot(bucket))
                self._fn.line(f"if ({pointer})")
                self._fn.line(f"\t*{pointer} = 0;")
        else:
            pointer = self._pointer(script_map, self.slot("0"))
            with self._fn.block(f"if ({pointer})"):
                large = "_large" if script_map.value.size > INLINE_LIMIT - 8 else ""
                self._fn.line(f"zero_fill{large}({pointer}, sizeof(*{pointer}));")

    def _delete_buckets(self, node: ast.Map, script_map: ScriptMap) -> None:
        """A histogram has an element for each bucket."""
        key = self.key(node, "0")
        place = key.removeprefix("&")
        count = bucket_count(script_map.value) + script_map.with_sum
        bucket = self._fn.fresh("bucket")
        with self._fn.block(f"for (u64 {bucket} = 0; {bucket} < {count}; {bucket}++)"):
            self._fn.line(f"{place}.bucket = {bucket};")
            self._fn.line(f"map_delete(MAP({script_map.table}), {key});")

    # --- compound assignment

    def compound(self, node: ast.Map, operator: str, value: ast.Expression) -> None:
        """`@x += n` and the like. `+=` and `-=` are one atomic step."""
        if operator in ("+", "-"):
            number = self._ex.number(value)
            type_ = self._map(node).value
            step = number.wide()
            if isinstance(type_, PointerType) and type_.pointee.size > 1:
                step = f"{step} * {type_.pointee.size}"
            if not step.isdigit():
                step = self._ex.local(Number(step, UINT64, False), "amount").text
            self.increment(node, operator, step)
            return
        combined = ast.Binary(operator=operator, left=node, right=value, span=value.span)
        combined.type = self._map(node).value
        self.assign(node, combined)

    # --- aggregates

    def aggregate(self, node: ast.Map, call: ast.Call) -> None:
        """`@x = count()` and the like."""
        script_map = self._map(node)
        number = self._ex.number(call.arguments[0]) if call.arguments else None
        if isinstance(script_map.value, HISTOGRAMS):
            assert number is not None
            if script_map.with_sum:
                number = self._ex.local(Number(number.wide(), UINT64), "n")
            self._add_to_bucket(node, script_map, self._bucket(script_map.value, number), "1")
            if script_map.with_sum:
                self._add_to_bucket(node, script_map, str(bucket_count(script_map.value)), number.text)
            return
        stem = "n"
        text = (
            self._ex.local(number, stem).text
            if number is not None and not number.text.lstrip("-").isdigit()
            else (number.text if number is not None else "1")
        )
        key = self.key(node)
        pointer = self._pointer(script_map, key)
        with self._fn.block(f"if ({pointer})"):
            for line in self._steps(script_map.value, pointer, text):
                self._fn.line(line)
        if script_map.keys:
            with self._fn.block("else"):
                first = self._fn.memory(
                    AggregateSlot(self._generator.value_types[script_map.name], script_map.value.size), "first"
                )
                self._fn.line(f"{first} = {self._first(script_map, text)};")
                self.update(script_map, key, f"&{first}")

    def _steps(self, type_: Type, pointer: str, n: str) -> list[str]:
        add = self._generator.add_text
        match type_:
            case CountType():
                return [add(f"*{pointer}", "1")]
            case SumType():
                return [add(f"{pointer}->value", n), f"{pointer}->set = 1;"]
            case AvgType() | StatsType():
                return [add(f"{pointer}->count", "1"), add(f"{pointer}->total", n)]
            case MinType() | MaxType():
                sign = "<" if isinstance(type_, MinType) else ">"
                kind = "s64" if type_.signed else "u64"
                return [
                    f"if (!{pointer}->set || ({kind}){n} {sign} {pointer}->value)",
                    f"\t{pointer}->value = {n};",
                    f"{pointer}->set = 1;",
                ]
            case _:
                raise AssertionError(type_)

    def _first(self, script_map: ScriptMap, n: str) -> str:
        """The value of an element that was not there before."""
        if isinstance(script_map.value, CountType):
            return "1"
        members = ".count = 1, .total" if isinstance(script_map.value, (AvgType, StatsType)) else ".set = 1, .value"
        return f"({self._generator.value_types[script_map.name]}){{ {members} = {n} }}"

    def _bucket(self, type_: Type, number: Number) -> str:
        if isinstance(type_, HistType):
            return f"log2_bucket({number.text})"
        assert isinstance(type_, LhistType)
        return f"linear_bucket({number.text}, {type_.low}LL, {type_.high}LL, {type_.step})"

    def _add_to_bucket(self, node: ast.Map, script_map: ScriptMap, bucket: str, amount: str) -> None:
        add = self._generator.add_text
        if not script_map.keys:
            pointer = self._pointer(script_map, self.slot(bucket))
            self._fn.line(f"if ({pointer})")
            self._fn.line(f"\t{add(f'*{pointer}', amount)}")
            return
        name = self._fn.fresh("bucket")
        self._fn.line(f"u64 {name} = {bucket};")
        key = self.key(node, name)
        pointer = self._pointer(script_map, key)
        with self._fn.block(f"if ({pointer})"):
            self._fn.line(add(f"*{pointer}", amount))
        with self._fn.block("else"):
            first = self._fn.memory(UINT64, "first")
            self._fn.line(f"{first} = {amount};")
            self.update(script_map, key, f"&{first}")
