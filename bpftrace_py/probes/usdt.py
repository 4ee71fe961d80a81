"""`usdt`: static probes of programs and libraries."""

from __future__ import annotations

import os
from collections.abc import Iterator

from bpftrace_py import messages
from bpftrace_py.codegen import unit
from bpftrace_py.probes import binaries
from bpftrace_py.probes.binaries import Binary
from bpftrace_py.probes.spec import Spec
from bpftrace_py.probes.wildcard import has_wildcard, matcher, nearest
from bpftrace_py.symbols import usdt_notes
from bpftrace_py.symbols.elf import ElfError, ElfFile
from bpftrace_py.symbols.usdt_notes import UsdtProbe


def resolve(spec: Spec) -> list[unit.Target]:
    """One `Usdt` for each place of each probe that matches, in each file that matches.

    A namespace that is left out is the file's name without directories; a probe name with a wildcard looks into all
    namespaces, and so does a spec that does not name one file.
    """
    name, namespace = spec.text("probe"), spec.parts["namespace"]
    files = list(_files(spec))
    one = len(files) == 1 and spec.parts["binary"] is not None and not has_wildcard(spec.text("binary"))
    if namespace is None and (has_wildcard(name) or not one):
        namespace = "*"
    targets: list[unit.Target] = []
    for binary in files:
        try:
            file = binaries.open_binary(spec, binary) if one else binary.open()
            try:
                wanted = os.path.basename(binary.name) if namespace is None else namespace
                found = [_target(spec, binary, file, probe) for probe in probes_matching(file, wanted, name)]
                if one and not found:
                    raise _unknown(spec, binary, file, wanted, name)
                targets += found
            finally:
                file.close()
        except ElfError as error:
            if one:
                raise spec.error(messages.BAD_BINARY, "binary", name=binary.name, reason=error) from None
    if not targets:
        pattern = name if namespace is None else f"{namespace}:{name}"
        raise spec.error(messages.NO_PROBE_MATCHES, "probe", what="static probe", pattern=pattern)
    return targets


def _files(spec: Spec) -> Iterator[Binary]:
    """The files to look into: those of the `binary` part or, without one, what the process of `-p` has mapped."""
    if spec.parts["binary"] is not None:
        yield from binaries.find(spec)
        return
    if spec.config.pid is None:
        hint = "it may only be left out with -p"
        raise spec.error(messages.EMPTY_PROBE_PART, "binary", part="binary", type="usdt", hint=hint)
    yield from binaries.matching("*", spec.config)


def probes_matching(file: ElfFile, namespace: str, name: str) -> list[UsdtProbe]:
    """The places of the static probes whose namespace and name match. May raise `ElfError`."""
    in_namespace, matches = matcher(namespace), matcher(name)
    return [probe for probe in usdt_notes.probes(file) if matches(probe.name) and in_namespace(probe.provider)]


def _target(spec: Spec, binary: Binary, file: ElfFile, probe: UsdtProbe) -> unit.Usdt:
    place = file.file_offset(probe.location)
    semaphore = file.data_offset(probe.semaphore) if probe.semaphore else 0
    if place is None or semaphore is None:
        raise ElfError(f"its static probe {probe.provider}:{probe.name} is outside of the code")
    return unit.Usdt(
        f"usdt:{binary.name}:{probe.provider}:{probe.name}", binary.absolute, probe.name, place, False,
        -1 if spec.config.pid is None else spec.config.pid, semaphore, probe.provider, probe.arguments,
    )


def _unknown(spec: Spec, binary: Binary, file: ElfFile, namespace: str, name: str) -> Exception:
    known = usdt_notes.probes(file)
    if not known:
        return spec.error(messages.NO_USDT_PROBES, "binary", binary=binary.name)
    full_names = sorted({f"{probe.provider}:{probe.name}" for probe in known})
    elsewhere = [text for text in full_names if text.endswith(f":{name}")]
    if elsewhere:
        hint = f"did you mean `usdt:{binary.name}:{elsewhere[0]}`?"
        if spec.parts["namespace"] is None:
            hint += " A namespace that is left out is the file's name."
    else:
        hint = nearest(f"{namespace}:{name}", full_names, f"usdt:{binary.name}:{{}}") or ""
    full_name = f"{namespace}:{name}"
    return spec.error(messages.UNKNOWN_USDT, "probe", binary=binary.name, name=full_name, hint=hint or None)
