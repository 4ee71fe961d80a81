"""What type inference knows while it goes over a program: the maps and what is reported; and the rules of map accesses."""

from __future__ import annotations

from abc import ABC, abstractmethod

from bpftrace_py import messages
from bpftrace_py.analysis.merge import key_type, merge, stored_type
from bpftrace_py.analysis.program import Context, MapInfo, ProbeInstance
from bpftrace_py.analysis.records import Records
from bpftrace_py.analysis.wording import keys_shown, shown
from bpftrace_py.config import Config
from bpftrace_py.diagnostics import Diagnostics, Message, Note
from bpftrace_py.source import Source, Span
from bpftrace_py.syntax import ast
from bpftrace_py.types import (
    UNKNOWN,
    AggregateType,
    FunctionType,
    Type,
    VoidType,
)

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from typing import TypeGuard

    from bpftrace_py.analysis.user_symbols import UserObject


class TypingState(ABC):
    """The state that all parts of type inference share."""

    def __init__(self, source: Source, config: Config, records: Records) -> None:
        self.source = source
        self.config = config
        self.records = records
        self.maps: dict[str, MapInfo] = {}
        self.diagnostics = Diagnostics(source)
        self.final = False
        self._counted_from_nothing = False  # `@n = @n + 1` is all that tells of `@n`: an unsigned number, as in bpftrace
        self._changed = False
        self._loops = 0
        self._assigned: dict[str, Span] = {}  # the variables that have a value by now, and where they got it
        self._elsewhere: dict[str, Span] = {}  # the variables of all probes, and the only block that assigns to each
        self._instance: ProbeInstance

    @abstractmethod
    def identifier_type(self, node: ast.Identifier) -> Type:
        """The type of a bare name; `args` may be one here."""

    @abstractmethod
    def visit(self, node: ast.Expression) -> Type:
        """The type of an expression; noted in the node, too."""

    @property
    def context(self) -> Context:
        return self._instance.context

    def error(
        self, message: Message, span: Span, *, hint: str | None = None, notes: tuple[Note, ...] = (), **values: object
    ) -> Type:
        """Report, and be the unknown type, which nothing else complains about."""
        worded = {name: shown(value) if isinstance(value, Type) else value for name, value in values.items()}
        self.diagnostics.error(message, span, hint=hint, notes=notes, **worded)
        return UNKNOWN

    def user_object(self, name: str, span: Span) -> UserObject | None:
        """The object of the traced binary that uaddr() names."""
        from bpftrace_py.analysis.user_symbols import find_object

        return find_object(self._instance, name, span, self.diagnostics)

    def _info(self, node: ast.Map) -> MapInfo:
        info = self.maps.get(node.name)
        if info is None:
            info = self.maps[node.name] = MapInfo(node.name)
        return info

    def _assign_map(self, target: ast.Map, value: Type, span: Span) -> None:
        info = self._info(target)
        info.assigned = True
        if value is UNKNOWN:
            target.type = info.value
            return
        merged = merge(info.value, stored_type(value, in_map=True))
        if merged is None:
            notes = self._origin(target)
            self.error(messages.MAP_TYPE, span, name=target.name, type=value, known=info.value, notes=notes)
            return
        if merged != info.value:
            info.value = merged
            info.value_span = info.value_span or target.span
            self._changed = True
        target.type = info.value

    def _origin(self, node: ast.Expression) -> tuple[Note, ...]:
        """The note that says where a variable or a map got its type; none if that is where it is asked for."""
        if isinstance(node, ast.Variable):
            name, type_, span = f"${node.name}", self._instance.variables.get(node.name), self._assigned.get(node.name)
        elif isinstance(node, ast.Map) and node.name in self.maps:
            info = self.maps[node.name]
            name, type_, span = f"@{node.name}", info.value, info.value_span
        else:
            return ()
        if type_ is None or span is None or span == node.span:
            return ()
        text = shown(type_)
        article = "an" if text[0] in "aei" else "a"
        return (Note(f"`{name}` is {article} {text} here", span),)

    def _keys(self, node: ast.Map) -> bool:
        """Type the keys of a map access and hold them against the keys of earlier ones; False, and reported, if they
        cannot be keys of this map."""
        info = self._info(node)
        types = tuple(key_type(self.visit(key)) for key in node.keys)
        for key, type_ in zip(node.keys, types, strict=True):
            if isinstance(type_, (AggregateType, VoidType, FunctionType)):
                self.error(messages.KEY_TYPE, key.span, type=type_)
                return False
        if UNKNOWN in types:
            return True
        if info.keys is None:
            info.keys, info.keys_span, self._changed = types, node.span, True
            return True
        merged = tuple(merge(a, b) for a, b in zip(info.keys, types, strict=False))
        if len(types) != len(info.keys) or None in merged:
            known = keys_shown(info.keys)
            notes = (Note(f"`@{node.name}` has {known} here", info.keys_span),) if info.keys_span else ()
            self.error(
                messages.KEYS_DIFFER,
                node.span,
                name=node.name,
                given=keys_shown(types).removeprefix("the key ").removeprefix("the keys ").replace("no keys", "none"),
                known=known,
                notes=notes,
            )
            return False
        if merged != info.keys:
            info.keys, self._changed = tuple(m for m in merged if m is not None), True
        return True

    def keys_of(self, node: ast.Map) -> None:
        self._keys(node)


def is_args(node: ast.Expression) -> TypeGuard[ast.Identifier]:
    """Whether it is `args`, which has fields and no value."""
    return isinstance(node, ast.Identifier) and node.name == "args"
