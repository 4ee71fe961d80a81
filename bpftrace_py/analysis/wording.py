"""How types, keys and numbers read in a sentence to the user."""

from __future__ import annotations

from bpftrace_py.types import AggregateType, LhistType, PointerType, RecordType, StackType, Type


def shown(type_: Type) -> str:
    """A type in the words of the language: an aggregate as the call that makes it, with what tells it from its like."""
    if isinstance(type_, LhistType):
        return f"lhist(n, {type_.low}, {type_.high}, {type_.step})"
    if isinstance(type_, AggregateType):
        return f"{type_}()"
    if isinstance(type_, StackType) and type_.mode != "bpftrace":
        return f"{type_}({type_.mode})"
    if isinstance(type_, PointerType) and isinstance(type_.pointee, RecordType) and type_.pointee.name.startswith("args of "):
        return str(type_.pointee)  # `args`, which is no pointer to the user
    return str(type_)


def counted(number: int, noun: str) -> str:
    """Such as "1 argument", "no arguments"."""
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def keys_shown(keys: tuple[Type, ...]) -> str:
    """The keys of a map: "no keys", or "the key [int64]"."""
    if not keys:
        return "no keys"
    return f"the key{'' if len(keys) == 1 else 's'} [{', '.join(shown(key) for key in keys)}]"
