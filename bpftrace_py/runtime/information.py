"""What `-v` tells of a loaded unit, and `--info` of the machine."""

from __future__ import annotations

import os
import platform
import sys

from bpftrace_py.codegen.unit import Fentry, Target
from bpftrace_py.runtime.disassembly import disassemble
from bpftrace_py.runtime.loader import Loaded


def describe_loaded(loaded: Loaded) -> str:
    """Each program's bytecode and what the verifier made of it, then the probes that are going to be attached."""
    lines = []
    for program in loaded.unit.programs:
        code = loaded.image.programs[program.function]
        names = {offset: loaded.image.maps[index].name for offset, index in code.relocations}
        lines += ["", f"Bytecode of {program.function}:", *disassemble(code.instructions, names)]
        lines += loaded_statistics(loaded, program.function)
    where = "taken from the compile cache" if loaded.from_cache else "compiled"
    times = ", ".join(f"{step} {seconds * 1e3:.1f} ms" for step, seconds in loaded.times.items())
    lines += ["", f"The program was {where}: {times}"]
    if loaded.compiler_output.strip():
        lines += ["", "clang said:", loaded.compiler_output.rstrip()]
    lines.append("")
    for program in loaded.unit.programs:
        lines += [f"Attaching {a.target.name}{_instead(a.target)}" for a in program.attachments]
    return "\n".join(lines)


def _instead(target: Target) -> str:
    """A note where a probe is attached by other means than its name says."""
    if isinstance(target, Fentry) and target.name.startswith(("kprobe:", "kretprobe:")):
        return " (by fentry, as this kernel has no kprobes)"
    return ""


def loaded_statistics(loaded: Loaded, function: str) -> list[str]:
    """What the kernel knows of a loaded program, from the descriptor's own file in /proc."""
    facts: dict[str, str] = {}
    try:
        with open(f"/proc/self/fdinfo/{loaded.program(function)}", encoding="ascii") as file:
            for line in file:
                name, _, value = line.partition(":")
                facts[name] = value.strip()
    except OSError:
        return []  # fentry: it is loaded for its function, when it is attached
    processed = facts.get("verified_insns", "an unknown number of")
    size = len(loaded.image.programs[function].instructions) // 8
    shown = f"processed {processed} insns (the program has {size})"
    return [f"{shown}, program id {facts['prog_id']}" if "prog_id" in facts else shown]


def information() -> str:
    """The text of `--info`."""
    from bpftrace_py.runtime.features import Features
    from bpftrace_py.version import __version__

    features = Features()
    system = os.uname()
    lines = [
        "System",
        f"  OS: {system.sysname} {system.release} {system.version}",
        f"  Arch: {system.machine}",
        "",
        "Build",
        f"  version: {__version__}",
        f"  Python: {platform.python_version()} ({sys.executable})",
        f"  BCC: {_bcc_version()}",
        "",
        "Kernel features" if features.privileged else "Kernel features (as far as this user may see: root sees more)",
    ]
    lines += [f"  {name}: {'yes' if answer else 'no'}" for name, answer in features.table().items()]
    return "\n".join(lines) + "\n"


def _bcc_version() -> str:
    from importlib.metadata import PackageNotFoundError, version
    from importlib.util import find_spec

    spec = find_spec("bcc")
    if spec is None:
        return "not installed"
    try:
        return f"{version('bcc')} ({spec.origin})"
    except PackageNotFoundError:
        return f"of an unknown version ({spec.origin})"
