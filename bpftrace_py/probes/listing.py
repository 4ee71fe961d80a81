"""`-l`: the probes that there are, one line each, as they are found.

A search is one or more attach points, parts of them, or a word:

    (none)                  what the kernel has; with -p what the process has
    *nanosleep*             events and kernel functions whose name matches
    nanosleep               as *nanosleep*, and the tracepoints of categories with such a name
    tracepoint              all of a type
    t:sched:*wake*          an attach point with wildcards, the type's too (`*:sched:*wake*`)
    ./program               functions and static probes of a file
    uprobe:libc:mem*        those of a library
    struct task_*           types of the kernel; also union and enum
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bpftrace_py import messages
from bpftrace_py.config import Config
from bpftrace_py.diagnostics import host_error
from bpftrace_py.host import Host
from bpftrace_py.language import probe_types
from bpftrace_py.language.probe_types import ProbeType
from bpftrace_py.probes import binaries
from bpftrace_py.probes.type_listing import list_types, type_hint, type_search
from bpftrace_py.probes.wildcard import has_wildcard, is_fragment, matcher, nearest
from bpftrace_py.symbols.elf import ElfError

# In the order in which the reference guide shows them.
_OF_KERNEL = ("tracepoint", "kprobe", "hardware", "software", "kfunc")
_OF_FILES = ("uprobe", "usdt")


def list_probes(search: str | None, host: Host, config: Config, verbose: bool) -> Iterator[str]:
    """The probes that match, one line each without its newline; with `verbose` each with its arguments, indented.

    Streams: the lines of 60,000 kernel functions are not kept. Raises `HostError` for a file or probe type that does
    not exist.
    """
    if not search:
        types = _OF_KERNEL if config.pid is None else _OF_FILES
        for name in types:
            yield from _LISTERS[name](probe_types.PROBE_TYPES[name], [], host, config, verbose)
        return
    seen: set[str] | None = set() if "," in search else None
    for term in _split(search, ","):
        for line in _list_term(term.strip(), host, config, verbose):
            # Two terms that match the same probe list it once; what is indented belongs to the line before.
            if seen is None or verbose or line not in seen:
                if seen is not None:
                    seen.add(line)
                yield line


def _list_term(term: str, host: Host, config: Config, verbose: bool) -> Iterator[str]:
    if types_of := type_search(term):
        yield from list_types(*types_of, host, verbose)
        return
    head, *rest = _split(term, ":")
    if not rest:
        yield from _list_word(head, host, config, verbose)
        return
    types = [t for t in probe_types.PROBE_TYPES.values() if t.name in _LISTERS]
    if not has_wildcard(head):
        found = probe_types.find(head)
        if found is None:
            if head in probe_types.UNSUPPORTED:
                raise host_error(messages.UNSUPPORTED_PROBE_TYPE, name=head)
            category = any(head == category for category, _ in host.tracepoint_events())
            hint = f"did you mean `tracepoint:{term}`?" if category else nearest(head, probe_types.NAMES)
            raise host_error(messages.UNKNOWN_PROBE_TYPE, name=head, hint=hint)
        types = [found] if found.name in _LISTERS else []
    else:
        matches = matcher(head)
        types = [t for t in types if t.name in (*_OF_KERNEL, *_OF_FILES) and matches(t.name)]
        if any("/" in part for part in rest):
            types = [t for t in types if t.name in _OF_FILES]
        else:
            types = [t for t in types if t.name not in _OF_FILES or config.pid is not None]
        types.sort(key=lambda t: (*_OF_KERNEL, *_OF_FILES).index(t.name))
    for probe_type in types:
        # A wildcard for the type may leave types with another number of parts: those have nothing that matches.
        if len(rest) <= len(probe_type.parts) or not has_wildcard(head):
            yield from _LISTERS[probe_type.name](probe_type, rest, host, config, verbose)


def search_hint(search: str, host: Host, config: Config) -> str | None:
    """What to search for in the place of a search that has found nothing."""
    if types_of := type_search(search):
        return type_hint(*types_of, host)
    head, colon, name = search.rpartition(":")
    probe_type = probe_types.find(search.partition(":")[0])
    if probe_type is not None and probe_type.name not in _LISTERS:
        return f"there is no list of such probes: a program just names one, such as `{probe_type.example}`"
    if probe_type is not None and not colon:
        if config.pid is not None:
            return None
        return f"-l '{search}:PROGRAM' lists those of a program or library, -l '{search}' -p PID those of a process"
    if "*" in search or "/" in search:
        return None
    if colon:
        return f"a name may have wildcards: -l '{head}:*{name}*'"
    if next(binaries.matching(search, config), None) is not None:
        return f"-l 'uprobe:{search}' lists the functions of `{search}`"
    return f"functions of a program or library are listed by its name: -l 'uprobe:libc:*{search}*'"


def _list_word(word: str, host: Host, config: Config, verbose: bool) -> Iterator[str]:
    probe_type = probe_types.find(word)
    if probe_type is not None:
        if probe_type.name in _LISTERS:
            yield from _LISTERS[probe_type.name](probe_type, [], host, config, verbose)
        return
    if "/" in word:
        for name in _OF_FILES:
            yield from _LISTERS[name](probe_types.PROBE_TYPES[name], [word], host, config, verbose)
        return
    pattern = word if has_wildcard(word) else f"*{word}*"
    for name in _OF_KERNEL if config.pid is None else (*_OF_KERNEL, *_OF_FILES):
        if name == "tracepoint" and pattern != word:
            yield from _tracepoint_lines((e for e in host.tracepoint_events() if word in e[0] or word in e[1]), host, verbose)
            continue
        rest = [pattern] if name in _OF_KERNEL else ["*", pattern]
        yield from _LISTERS[name](probe_types.PROBE_TYPES[name], rest, host, config, verbose)


def _split(text: str, separator: str) -> list[str]:
    """Split outside of quotes, which are taken off."""
    parts, quoted = [""], False
    for character in text:
        if character == '"':
            quoted = not quoted
            if separator != ":":
                parts[-1] += character
        elif character == separator and not quoted:
            parts.append("")
        else:
            parts[-1] += character
    return parts


# --- one lister for each probe type: (type, the parts behind it, host, config, verbose) -> lines


def _perf_events(
    probe_type: ProbeType, parts: list[str], host: Host, config: Config, verbose: bool
) -> Iterator[str]:
    from bpftrace_py.probes.perf_event import names

    matches = matcher(parts[0] if parts and parts[0] else "*")
    for name, alias in names(probe_type.name):
        for known in (name, alias):
            if known and matches(known):
                yield f"{probe_type.name}:{known}:"


def _tracepoints(
    probe_type: ProbeType, parts: list[str], host: Host, config: Config, verbose: bool
) -> Iterator[str]:
    if len(parts) > 1:
        in_category, in_event = matcher(parts[0]), matcher(parts[1])
    else:
        # One part: an event; a plain word may be a category, too.
        in_event = matcher(parts[0] if parts and parts[0] else "*")
        in_category = matcher("*")
        if parts and parts[0] and not has_wildcard(parts[0]):
            named = (e for e in host.tracepoint_events() if parts[0] in e)
            yield from _tracepoint_lines(named, host, verbose)
            return
    found = (e for e in host.tracepoint_events() if in_event(e[1]) and in_category(e[0]))
    yield from _tracepoint_lines(found, host, verbose)


def _tracepoint_lines(events: Iterator[tuple[str, str]], host: Host, verbose: bool) -> Iterator[str]:
    for category, event in sorted(events, key=":".join):
        yield f"tracepoint:{category}:{event}"
        if verbose:
            from bpftrace_py.ktypes.tracepoint_format import parse

            text = host.tracepoint_format(category, event)
            record = None if text is None else parse(text)
            if record is not None:
                yield from record.listing()


def _raw_tracepoints(
    probe_type: ProbeType, parts: list[str], host: Host, config: Config, verbose: bool
) -> Iterator[str]:
    from bpftrace_py.probes.tracepoint import raw_arguments, raw_events

    matches = matcher(parts[-1] if parts and parts[-1] else "*")
    for name in sorted(set(raw_events(host))):
        if matches(name):
            yield f"rawtracepoint:{name}"
            for index, type_ in enumerate((verbose and raw_arguments(host, name)) or ()):
                yield f"    {type_} arg{index}"


def _kernel_functions(
    probe_type: ProbeType, parts: list[str], host: Host, config: Config, verbose: bool
) -> Iterator[str]:
    typed = probe_type.name in ("kfunc", "kretfunc")
    types = host.kernel_types() if typed or verbose else None
    from bpftrace_py.probes.kprobe import typed_in

    if typed and types is None:
        return
    in_module = matcher(parts[0] if len(parts) == 2 and parts[0] else "*")
    pattern = parts[-1] if parts and parts[-1] else "*"
    matches = matcher(pattern)
    prefix = probe_type.name
    for name in sorted(host.kernel_functions()):
        if not matches(name) or is_fragment(name, pattern):
            continue
        if typed or verbose:
            place = typed_in(host, name)
            if typed and (place is None or not in_module(place)):
                continue
            types = host.module_types(place) if place not in (None, "vmlinux") else host.kernel_types()
            prefix = f"{probe_type.name}:{place}" if typed else probe_type.name
        yield f"{prefix}:{name}"
        if verbose and types is not None:
            lines, prototype = types.function_listing(name) or [], types.function(name)
            parameters = 0 if prototype is None else len(prototype[0])
            first = parameters if probe_type.name == "kretprobe" else 0
            last = parameters if probe_type.name == "kprobe" else None
            yield from lines[first:last]


def _user_functions(
    probe_type: ProbeType, parts: list[str], host: Host, config: Config, verbose: bool
) -> Iterator[str]:
    from bpftrace_py.probes.uprobe import functions_matching

    pattern = parts[1] if len(parts) > 1 and parts[1] else "*"
    for binary in _files(parts, config):
        try:
            file = binary.open()
            found = {symbol.name: symbol.address for symbol in functions_matching(file, pattern, config.demangle)}
            file.close()
        except ElfError as error:
            _refuse(parts, binary, error)
            continue
        # A uretprobe has no arguments, and says nothing of its result, as in bpftrace.
        types = host.user_types(binary.path) if verbose and not probe_type.on_return else None
        for name in sorted(found):
            yield f"{probe_type.name}:{binary.name}:{name}"
            if types is not None:
                yield from types.function_listing(found[name], name) or ()


def _static_probes(
    probe_type: ProbeType, parts: list[str], host: Host, config: Config, verbose: bool
) -> Iterator[str]:
    from bpftrace_py.probes.usdt import probes_matching

    namespace, name = ("*", parts[1]) if len(parts) == 2 else parts[1:3] if len(parts) > 2 else ("*", "*")
    for binary in _files(parts, config):
        try:
            file = binary.open()
            found = probes_matching(file, namespace or "*", name or "*")
            file.close()
        except ElfError as error:
            _refuse(parts, binary, error)
            continue
        unique = {(probe.provider, probe.name): probe for probe in reversed(found)}
        for key in sorted(unique):
            yield f"usdt:{binary.name}:{key[0]}:{key[1]}"
            if verbose:
                for index, argument in enumerate(unique[key].arguments):
                    yield f"    {'' if argument.signed else 'u'}int{argument.size * 8} arg{index}"


def _files(parts: list[str], config: Config) -> Iterator[binaries.Binary]:
    """The files of a search's first part, or those that the process of -p has mapped."""
    written = parts[0] if parts and parts[0] else "*"
    if written == "*" and config.pid is None and not parts:
        return  # a bare `uprobe` does not mean every program that there is
    found = False
    for binary in binaries.matching(written, config):
        found = True
        yield binary
        if not has_wildcard(written):
            return
    if not found and not has_wildcard(written):
        reason, hint = binaries.why_missing(written, config)
        raise host_error(messages.NO_BINARY, name=written, reason=reason, hint=hint)


def _refuse(parts: list[str], binary: binaries.Binary, error: ElfError) -> None:
    """A file that was named and cannot be read is an error; one of many that a wildcard found is not."""
    if parts and parts[0] and not has_wildcard(parts[0]):
        raise host_error(messages.BAD_BINARY, name=binary.name, reason=error)


_Lister = Callable[[ProbeType, list[str], Host, Config, bool], Iterator[str]]
_LISTERS: dict[str, _Lister] = {
    "hardware": _perf_events,
    "software": _perf_events,
    "tracepoint": _tracepoints,
    "rawtracepoint": _raw_tracepoints,
    "kprobe": _kernel_functions,
    "kretprobe": _kernel_functions,
    "kfunc": _kernel_functions,
    "kretfunc": _kernel_functions,
    "uprobe": _user_functions,
    "uretprobe": _user_functions,
    "usdt": _static_probes,
}
