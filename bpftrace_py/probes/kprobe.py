"""`kprobe`, `kretprobe`, `kfunc` and `kretfunc`: functions of the kernel."""

from __future__ import annotations

from bpftrace_py import messages
from bpftrace_py.codegen import unit
from bpftrace_py.host import Host
from bpftrace_py.probes.spec import Spec, parse_number
from bpftrace_py.probes.wildcard import has_wildcard, is_fragment, matcher, nearest


def resolve(spec: Spec) -> list[unit.Target]:
    """One `Kprobe` for each function that matches. Whether the kernel lets it be probed is seen when it is attached."""
    written = spec.text("function")
    type_name, on_return = spec.probe_type.name, spec.probe_type.on_return
    name, plus, offset_text = written.partition("+")
    offset = 0
    if plus:
        if not offset_text:
            raise spec.error(messages.EMPTY_PROBE_PART, "function", part="offset", type=type_name)
        number = parse_number(offset_text)
        if number is None or number >= 1 << 32:
            raise spec.error(messages.BAD_PROBE_NUMBER, "function", part="offset", text=offset_text)
        if on_return:
            raise spec.error(messages.OFFSET_ON_RETURN, "function", type=type_name)
        if has_wildcard(name):
            part = "function with an offset"
            raise spec.error(messages.NO_WILDCARD_HERE, "function", part=part, type=type_name)
        offset = number
    if has_wildcard(name):
        functions = _expand(spec, name)
    else:
        _refuse_if_missing(spec, name)
        functions = [name]
    suffix = f"+{offset}" if offset else ""
    return [unit.Kprobe(f"{type_name}:{function}{suffix}", function, offset, on_return) for function in functions]


def resolve_fentry(spec: Spec) -> list[unit.Target]:
    """One `Fentry` for each function that matches and whose types the kernel's BTF has."""
    name, module = spec.text("function"), spec.parts["module"] or "*"
    if spec.host.kernel_types() is None:
        raise spec.error(messages.NEEDS_BTF, None, what=f"`{spec.probe_type.name}` probes")
    if not has_wildcard(module) and module not in ("vmlinux", *spec.host.modules_with_types()):
        hint = nearest(module, ["vmlinux", *spec.host.modules_with_types()])
        raise spec.error(messages.UNKNOWN_MODULE, "module", name=module, hint=hint)
    in_module = matcher(module)
    if has_wildcard(name):
        found = [(m, f) for f in _expand(spec, name) if (m := typed_in(spec.host, f)) is not None and in_module(m)]
        if not found:
            raise spec.error(messages.NO_PROBE_MATCHES, "function", what="function with BTF", pattern=f"{module}:{name}")
    else:
        place = typed_in(spec.host, name)
        if place is None or not in_module(place):
            _refuse_if_missing(spec, name)
            place = place or spec.host.module_of(name) or "vmlinux"
            if not in_module(place):
                hint = f"did you mean `{spec.probe_type.name}:{place}:{name}`?"
                raise spec.error(messages.NOT_IN_MODULE, "function", name=name, module=module, hint=hint)
            raise spec.error(messages.FUNCTION_WITHOUT_BTF, "function", type=spec.probe_type.name, name=name)
        found = [(place, name)]
    type_name, on_return = spec.probe_type.name, spec.probe_type.on_return
    return [
        unit.Fentry(f"{type_name}:{place}:{function}", function, on_return, "" if place == "vmlinux" else place)
        for place, function in found
    ]


def typed_in(host: Host, function: str) -> str | None:
    """Where the types of a function are: `vmlinux`, a module, or None for nowhere."""
    kernel = host.kernel_types()
    if kernel is None or kernel.function(function) is not None:
        return None if kernel is None else "vmlinux"
    module = host.module_of(function)
    types = host.module_types(module) if module else None
    return module if types is not None and types.function(function) is not None else None


def _expand(spec: Spec, pattern: str) -> list[str]:
    matches = matcher(pattern)
    known, found = False, []
    for name in spec.host.kernel_functions():
        known = True
        if matches(name) and not is_fragment(name, pattern):
            found.append(name)
    if not known:
        raise spec.error(messages.PROBES_NOT_KNOWN, None, what="kernel functions", pattern=pattern)
    if not found:
        raise spec.error(messages.NO_PROBE_MATCHES, "function", what="kernel function", pattern=pattern)
    return sorted(found)


def exists(host: Host, name: str) -> bool:
    """Whether the kernel has a function, as far as the host knows; asked in the order of what it costs."""
    types = host.kernel_types()
    if types is not None and types.function(name) is not None:
        return True
    return host.kernel_symbol(name) is not None or name in host.kernel_functions()


def _refuse_if_missing(spec: Spec, name: str) -> None:
    if exists(spec.host, name):
        return
    known = list(spec.host.kernel_functions())
    if known:  # a host that knows none cannot say
        hint = _system_call(name, known) or nearest(name, known)
        raise spec.error(messages.UNKNOWN_KERNEL_FUNCTION, "function", name=name, hint=hint)


def _system_call(name: str, known: list[str]) -> str | None:
    """The hint for the name that a system call's function had up to Linux 4.16 (`sys_read`, `SyS_read`)."""
    if not name.lower().startswith("sys_"):
        return None
    found = next((f for f in known if f.startswith("__") and f.endswith(f"_sys_{name[4:]}")), None)
    return None if found is None else f"did you mean `{found}`?"
