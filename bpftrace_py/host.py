"""Facts about a machine that the compiler asks for, behind one object.

`Host` is the interface; `LiveHost` (in `live_host.py`) answers from this machine. Tests hand the compiler a fake one.
Every method answers "not known" (None or empty) rather than raise: what that means is for the asker to say.
"""

from __future__ import annotations

from collections.abc import Iterable

from bpftrace_py.record import record
from bpftrace_py.types import Field, RecordType, Type

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object


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

    def raw_tracepoint(self, event: str) -> list[str] | None:
        """The types of what a raw tracepoint hands over as `arg0`, `arg1`, ..., in C."""

    def record_names(self) -> Iterable[str]:
        """All record names, for "did you mean"."""

    def named(self, keyword: str, name: str | None = None) -> dict[str, list[int]]:
        """The numbers of the structs, unions or enums, by name; more than one for a name where parts of the kernel differ.
        With `name`, those of that name. Of a module, those that the kernel does not have."""

    def definition(self, number: int) -> list[str]:
        """The type of such a number as it is defined in C, one line each."""


@record(frozen=True)
class Leaf:
    """A scalar in a value: its place and size in bytes, and its kind: `integer` (pointers, too), `float` (vectors, too),
    or `extended` (`long double`)."""

    place: int
    size: int
    kind: str


@record(frozen=True)
class UserParameter:
    """A parameter (or the result) of a function of a program. `alignment` is at most 16. `by_reference`: a C++ object
    that callers hand over by its address, although the declaration does not say so."""

    name: str
    type: Type
    size: int
    alignment: int
    leaves: tuple[Leaf, ...]
    by_reference: bool = False


class UserTypes(Protocol):
    """Types and functions of one program or library, from its debug information."""

    def find(self, name: str) -> Type | None:
        """As `KernelTypes.find`."""

    def fields(self, record: RecordType) -> tuple[Field, ...] | None:
        """The members of a record that `find` (or another record's member) gave; None for any other record."""

    def enumerator(self, name: str) -> int | None: ...

    def function(self, address: int, name: str) -> tuple[tuple[UserParameter, ...], UserParameter | None] | None:
        """The parameters and the result (None: void) of the function at an address of the file, whose symbol is `name`."""

    def function_listing(self, address: int, name: str) -> list[str] | None:
        """Its parameters as `-lv` prints them, one line each."""


class Host(Protocol):
    """The facts about a machine on which a compilation depends."""

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

    def user_types(self, path: str) -> UserTypes | None:
        """None where the file has no debug information, in itself or in a debug file."""

    def modules_with_types(self) -> Iterable[str]:
        """The loaded kernel modules that have BTF, sorted."""

    def module_types(self, module: str) -> KernelTypes | None:
        """The types of such a module, the kernel's among them."""

    def module_of(self, function: str) -> str:
        """The module that a kernel function is in; empty for the kernel's own, and if it is not known."""

    def kernel_functions(self) -> Iterable[str]:
        """Names that kprobes may attach to, those of modules among them."""

    def kernel_symbol(self, name: str) -> int | None:
        """Its address."""

    def fentry_for_kprobes(self) -> bool:
        """Whether the kernel has no kprobes, but can attach to the entry and exit of functions otherwise (fentry)."""

    def task_comm(self) -> int | None:
        """Where the running kernel's `task_struct` has the name of its thread (`comm`), in bytes."""

    def cgroup_id(self, path: str) -> int | None: ...


class NoHost(Host):
    """A machine of which nothing is known but its architecture and how many CPUs it has.

    Programs that ask for nothing else compile to the same C anywhere: those with BEGIN, interval, profile, software, kprobe
    and the like, but no tracepoint's arguments and no kernel types.
    """

    def __init__(self, architecture: str = "x86_64", cpus: int = 1) -> None:
        self.architecture, self._cpus = architecture, cpus

    def cpu_count(self) -> int:
        return self._cpus

    def tracepoint_events(self) -> Iterable[tuple[str, str]]:
        return ()

    def tracepoint_format(self, category: str, event: str) -> str | None:
        return None

    def syscall_number(self, event: str) -> int | None:
        return None

    def kernel_types(self) -> KernelTypes | None:
        return None

    def user_types(self, path: str) -> UserTypes | None:
        return None

    def modules_with_types(self) -> Iterable[str]:
        return ()

    def module_types(self, module: str) -> KernelTypes | None:
        return None

    def module_of(self, function: str) -> str:
        return ""

    def kernel_functions(self) -> Iterable[str]:
        return ()

    def kernel_symbol(self, name: str) -> int | None:
        return None

    def fentry_for_kprobes(self) -> bool:
        return False

    def task_comm(self) -> int | None:
        return None

    def cgroup_id(self, path: str) -> int | None:
        return None
