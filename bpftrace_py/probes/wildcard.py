"""Wildcards in probe specs. `*` stands for any text, also none; every other character stands for itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable


def has_wildcard(text: str) -> bool:
    """Whether it stands for more than itself."""
    return "*" in text


def matcher(pattern: str) -> Callable[[str], bool]:
    """A predicate for whole names. Without recursion, in time linear in the name for each `*`."""
    if "*" not in pattern:
        return pattern.__eq__
    first, *middle, last = pattern.split("*")
    middle = [piece for piece in middle if piece]
    if not middle:
        if not first and not last:
            return lambda name: True
        shortest = len(first) + len(last)
        return lambda name: len(name) >= shortest and name.startswith(first) and name.endswith(last)

    def matches(name: str) -> bool:
        if not name.startswith(first):
            return False
        at = len(first)
        for piece in middle:
            at = name.find(piece, at)
            if at < 0:
                return False
            at += len(piece)
        return len(name) - at >= len(last) and name.endswith(last)

    return matches


def is_fragment(name: str, pattern: str) -> bool:
    """Whether a function is a part that the compiler split off another (`f.part.0`) and the pattern does not ask for such.
    Its arguments are not those of the function that it is named after, so a wildcard does not mean it."""
    return ".part." in name and ".part" not in pattern


def nearest(name: str, known: Iterable[str], form: str = "{}") -> str | None:
    """The hint "did you mean ...?", from as many as a kernel's functions in little time.

    difflib is too slow for 60,000 names, so those that cannot be close are left out first: those of a very different
    length and those that share neither the beginning nor the end with `name`.
    """
    from bpftrace_py.diagnostics import did_you_mean

    name = name[:128]
    if len(name) < 2:
        return None
    head, tail, slack = name[:2], name[-3:], max(2, len(name) // 3)
    likely: list[str] = []
    candidates = list(known)
    if len(candidates) < 3000:
        return did_you_mean(name, (c for c in candidates if c != name), form)
    for candidate in candidates:
        if -slack <= len(candidate) - len(name) <= slack and (candidate.startswith(head) or candidate.endswith(tail)):
            likely.append(candidate)
            if len(likely) >= 20_000:
                break
    return did_you_mean(name, likely, form)
