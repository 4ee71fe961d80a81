"""Facts about a machine that the compiler asks for, behind one object.

`Host` is the interface; `LiveHost` (in `live_host.py`) answers from this machine. Tests hand the compiler a fake one.
Every method answers "not known" (None or empty) rather than raise: what that means is for the asker to say.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from bpftrace_py.types import Field, RecordType, Type


class KernelTypes(Protocol):
    """Types of the running kernel (BTF), by name."""

    def find(self, name: str) -> Type | None:
        """The type of "struct path", "union x", "enum y" or of a typedef such as "pid_t"; None if there is none."""

    def fields(self, record: RecordType) -> tuple[Field, ...] | None:
        """The members of a record that `find` (or another record's member) gave, anonymous ones flattened."""

    def enumerator(self, name: str) -> int | None:
        """The value of an enum constant such as "TCP_ESTABLISHED"."""

    def function(self, name: str) -> tuple[tuple[tuple[str, Type], ...], Type] | None:
        """The named parameters and the return type of a kernel function."""

    def function_listing(self, name: str) -> list[str] | None:
        """Its parameters as `-lv` prints them, one line each."""

    def record_names(self) -> Iterable[str]:
        """All record names, for "did you mean"."""


class Host(Protocol):
    architecture: str  # as in os.uname().machine

    def cpu_count(self) -> int: ...

    def tracepoint_events(self) -> Iterable[tuple[str, str]]:
        """All (category, event) pairs in sorted order."""

    def tracepoint_format(self, category: str, event: str) -> str | None:
        """The text of the event's format file."""

    def syscall_number(self, event: str) -> int | None:
        """The number of the system call behind an event: "openat" for syscalls:sys_enter_openat."""

    def kernel_types(self) -> KernelTypes | None:
        """None where there is no BTF."""

    def kernel_functions(self) -> Iterable[str]:
        """Names that kprobes may attach to."""

    def kernel_symbol(self, name: str) -> int | None:
        """Its address."""

    def fentry_for_kprobes(self) -> bool:
        """Whether the kernel has no kprobes, but can attach to the entry and exit of functions otherwise (fentry)."""

    def cgroup_id(self, path: str) -> int | None: ...
