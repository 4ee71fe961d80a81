"""Registers of the architectures: the layout of `struct pt_regs`, and which registers carry arguments and results."""

from __future__ import annotations

from bpftrace_py.record import record


@record(frozen=True)
class Machine:
    """`members` in the order of the kernel's struct, 8 bytes each; `names` maps what `reg()` takes to a member."""

    members: tuple[str, ...]
    arguments: tuple[str, ...]
    result: str
    stack: str
    instruction: str
    names: dict[str, str]


_X86_64 = (
    "r15",
    "r14",
    "r13",
    "r12",
    "bp",
    "bx",
    "r11",
    "r10",
    "r9",
    "r8",
    "ax",
    "cx",
    "dx",
    "si",
    "di",
    "orig_ax",
    "ip",
    "cs",
    "flags",
    "sp",
    "ss",
)
_AARCH64 = (*(f"r{i}" for i in range(31)), "sp", "pc", "pstate")

MACHINES = {
    "x86_64": Machine(
        _X86_64, ("di", "si", "dx", "cx", "r8", "r9"), "ax", "sp", "ip", {name: name for name in _X86_64}
    ),
    "aarch64": Machine(_AARCH64, tuple(f"r{i}" for i in range(8)), "r0", "sp", "pc", {name: name for name in _AARCH64}),
}


def machine(architecture: str) -> Machine:
    """The registers of an architecture as `os.uname()` names it; x86-64's if it is not known."""
    return MACHINES.get(architecture, MACHINES["x86_64"])
