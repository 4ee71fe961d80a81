"""`-l 'struct path'`: the kernel's structs, unions and enums, from its BTF; with `-v` as they are defined in C."""

from __future__ import annotations

from collections.abc import Iterator

from bpftrace_py import messages
from bpftrace_py.diagnostics import host_error
from bpftrace_py.host import Host, KernelTypes
from bpftrace_py.probes.wildcard import has_wildcard, matcher, nearest

_KEYWORDS = ("struct", "union", "enum")


def type_search(term: str) -> tuple[str, str] | None:
    """The keyword and the name, perhaps with wildcards, of a search for types; None if it is one for probes."""
    words = term.split(None, 1)
    return (words[0], words[1].rstrip()) if len(words) == 2 and words[0] in _KEYWORDS else None


def list_types(keyword: str, pattern: str, host: Host, verbose: bool) -> Iterator[str]:
    """The types that match, sorted, one line each; with `verbose` the lines of each definition, and an empty one behind it.

    Where the kernel and its modules have several types of one name, each that reads differently is defined. Raises `HostError`
    without BTF.
    """
    found = _named(keyword, None if has_wildcard(pattern) else pattern, host)
    matches = matcher(pattern)
    for name in sorted(filter(matches, found)):
        if not verbose:
            yield f"{keyword} {name}"
            continue
        for definition in dict.fromkeys(tuple(types.definition(number)) for types, number in found[name]):
            yield from definition
            yield ""


def type_hint(keyword: str, pattern: str, host: Host) -> str | None:
    """What a search for types that has found nothing may have meant: the name behind another keyword, or one like it."""
    if has_wildcard(pattern) or "," in pattern:
        return None
    for other in _KEYWORDS:
        if _named(other, pattern, host):
            return f"did you mean `{other} {pattern}`?"
    return nearest(pattern, _named(keyword, None, host), f"{keyword} {{}}")


def _named(keyword: str, name: str | None, host: Host) -> dict[str, list[tuple[KernelTypes, int]]]:
    """The types of the kernel and of its modules by name, or those of this name."""
    kernel = host.kernel_types()
    if kernel is None:
        raise host_error(messages.NEEDS_BTF, what=f"searches for `{keyword}`")
    found: dict[str, list[tuple[KernelTypes, int]]] = {}
    for types in (kernel, *map(host.module_types, host.modules_with_types())):
        if types is not None:
            for found_name, numbers in types.named(keyword, name).items():
                found.setdefault(found_name, []).extend((types, number) for number in numbers)
    return found
