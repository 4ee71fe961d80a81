"""Where a function finds its arguments: the calling conventions of x86-64 (System V) and of 64-bit ARM (AAPCS64).

Programs see the integer registers and the stack of the process, not the vector registers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bpftrace_py.host import UserParameter
from bpftrace_py.record import record

_IN_VECTOR_REGISTER = "it is in a floating-point register, which tracing programs cannot read"
_PARTLY = "a part of it is in a floating-point register, which tracing programs cannot read"
_NOWHERE = "it has no bytes that are handed over"


@record(frozen=True)
class Place:
    """Where an argument is. `word` counts as `arg0`, `arg1`, ... do: first the registers, then the words on the stack;
    an argument of several words is in as many, one after the other. `by_address`: there is its address instead.
    `unreadable` is the reason why it cannot be read, as a clause."""

    word: int = 0
    by_address: bool = False
    unreadable: str = ""


def places(
    architecture: str, parameters: Sequence[UserParameter], result: UserParameter | None
) -> list[Place] | None:
    """The place of each parameter; None for an architecture whose convention is not known here."""
    convention = _CONVENTIONS.get(architecture)
    return None if convention is None else convention(parameters, result)


class _Registers:
    """What is still free."""

    def __init__(self, integers: int, vectors: int) -> None:
        self.registers, self.integers, self.vectors = integers, integers, vectors
        self.stack = 0  # words that are taken

    def take(self, words: int) -> int | None:
        """The first of so many integer registers, None if there are too few."""
        if words > self.integers:
            return None
        first = self.registers - self.integers
        self.integers -= words
        return first

    def push(self, size: int, alignment: int) -> Place:
        """A place on the stack."""
        if alignment > 8:
            self.stack += self.stack % 2
        at = self.stack
        self.stack += max(1, (size + 7) // 8)
        return Place(self.registers + at)


def _x86_64(parameters: Sequence[UserParameter], result: UserParameter | None) -> list[Place]:
    free = _Registers(6, 8)
    if result is not None and (result.by_reference or _classes(result) is None):
        free.take(1)  # where to put the result
    found = []
    for parameter in parameters:
        if parameter.by_reference:
            word = free.take(1)
            place = free.push(8, 8) if word is None else Place(word)
            found.append(Place(place.word, True))
            continue
        found.append(_x86_64_place(parameter, free))
    return found


def _x86_64_place(parameter: UserParameter, free: _Registers) -> Place:
    classes = _classes(parameter)
    if classes is None:
        return free.push(parameter.size, parameter.alignment)
    if not classes:
        return Place(unreadable=_NOWHERE)
    integers, vectors = classes.count("integer"), classes.count("vector")
    if integers > free.integers or vectors > free.vectors:
        return free.push(parameter.size, parameter.alignment)
    free.vectors -= vectors
    word = free.take(integers)
    if vectors:
        return Place(unreadable=_PARTLY if integers else _IN_VECTOR_REGISTER)
    return Place(word or 0)


def _classes(parameter: UserParameter) -> list[str] | None:
    """The class of each eight bytes; None for what is in memory."""
    if not parameter.leaves:
        return [] if parameter.size <= 16 else None
    if any(leaf.kind == "extended" for leaf in parameter.leaves):
        return None
    if len(parameter.leaves) == 1 and parameter.leaves[0].kind != "integer":
        return ["vector"]  # however wide it is
    if parameter.size > 16 or any(leaf.place % leaf.size for leaf in parameter.leaves):
        return None
    classes: dict[int, str] = {}
    for leaf in parameter.leaves:
        for eight in range(leaf.place // 8, (leaf.place + leaf.size - 1) // 8 + 1):
            if leaf.kind == "integer":
                classes[eight] = "integer"
            else:
                classes.setdefault(eight, "vector")
    return [classes[eight] for eight in sorted(classes)]


def _aarch64(parameters: Sequence[UserParameter], result: UserParameter | None) -> list[Place]:
    free = _Registers(8, 8)  # where to put a result has a register of its own
    found = []
    for parameter in parameters:
        vectors = _homogeneous(parameter)
        if parameter.by_reference or (parameter.size > 16 and not vectors):
            word = free.take(1)
            found.append(Place(free.push(8, 8).word if word is None else word, True))
        elif vectors:
            if vectors <= free.vectors:
                free.vectors -= vectors
                found.append(Place(unreadable=_IN_VECTOR_REGISTER))
            else:
                free.vectors = 0
                found.append(free.push(parameter.size, parameter.alignment))
        elif not parameter.size:
            found.append(Place(unreadable=_NOWHERE))
        else:
            words = (parameter.size + 7) // 8
            if parameter.alignment > 8:
                free.integers -= free.integers % 2
            word = free.take(words)
            if word is None:
                free.integers = 0
            found.append(free.push(parameter.size, parameter.alignment) if word is None else Place(word))
    return found


def _homogeneous(parameter: UserParameter) -> int:
    """The number of vector registers of a value that is made of one to four floating-point numbers of one size."""
    sizes = {leaf.size for leaf in parameter.leaves}
    if len(sizes) != 1 or any(leaf.kind == "integer" for leaf in parameter.leaves):
        return 0
    count = len({leaf.place for leaf in parameter.leaves})  # of a union, some are at the same place
    return count if count <= 4 else 0


_CONVENTIONS: dict[str, Callable[[Sequence[UserParameter], UserParameter | None], list[Place]]] = {
    "x86_64": _x86_64,
    "aarch64": _aarch64,
}
