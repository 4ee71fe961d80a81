"""`Records`: every named type that a script can speak of, wherever it comes from.

A script's own declarations win over the kernel's (BTF). The arguments of a tracepoint or of a kernel function are
records too, under names that no script can write.
"""

from __future__ import annotations

from collections.abc import Iterable

from bpftrace_py.types import VOID, Field, IntegerType, RecordType, Type

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from bpftrace_py.host import Host, KernelTypes, UserTypes
    from bpftrace_py.ktypes.c_declarations import Declarations

# Names of integer types that need neither headers nor BTF: the oracle's own, C's, and the kernel's short ones.
INTEGERS: dict[str, IntegerType] = {
    name.replace("~", " "): IntegerType(width, signed)
    for names, width, signed in (
        ("int8 int8_t s8 __s8 char signed~char", 1, True),
        ("uint8 uint8_t u8 __u8 unsigned~char bool _Bool", 1, False),
        ("int16 int16_t s16 __s16 short short~int signed~short", 2, True),
        ("uint16 uint16_t u16 __u16 unsigned~short unsigned~short~int __be16 __le16", 2, False),
        ("int32 int32_t s32 __s32 int signed signed~int pid_t", 4, True),
        ("uint32 uint32_t u32 __u32 unsigned unsigned~int uid_t gid_t __be32 __le32", 4, False),
        ("int64 int64_t s64 __s64 long long~int long~long long~long~int signed~long ssize_t intptr_t", 8, True),
        (
            "uint64 uint64_t u64 __u64 unsigned~long unsigned~long~int unsigned~long~long unsigned~long~long~int size_t "
            "uintptr_t __be64 __le64",
            8,
            False,
        ),
    )
    for name in names.split()
}


class Records:
    """Answers by name and by record. Nothing is read from the host before it is asked for."""

    def __init__(self, host: Host, declarations: Declarations | None = None) -> None:
        self._host = host
        self._declarations = declarations
        self._own: dict[str, tuple[Field, ...]] = {}
        self._kernel: KernelTypes | None = None
        self._kernel_asked = False
        self._modules: dict[str, KernelTypes | None] = {}
        self._binaries: dict[str, UserTypes | None] = {}

    @property
    def kernel(self) -> KernelTypes | None:
        if not self._kernel_asked:
            self._kernel_asked = True
            self._kernel = self._host.kernel_types()
        return self._kernel

    def of_module(self, name: str) -> KernelTypes | None:
        """The types of a kernel module, or of the kernel itself (no name)."""
        if not name:
            return self.kernel
        if name not in self._modules:
            self._modules[name] = self._host.module_types(name)
        return self._modules[name]

    def of_binary(self, path: str) -> UserTypes | None:
        """The types of a traced program; None for no path, and where the program does not tell."""
        if path and path not in self._binaries:
            self._binaries[path] = self._host.user_types(path)
        return self._binaries.get(path)

    def define(self, record: RecordType, fields: tuple[Field, ...]) -> RecordType:
        """Add a record that has no name in C, such as the arguments of a tracepoint."""
        self._own[record.name] = fields
        return record

    def find(self, name: str, binary: str = "") -> Type | None:
        """The type of a name as it stands in a cast: "uint32", "struct path", "pid_t", "void". `binary` is the program
        whose types come before the kernel's."""
        if name == "void":
            return VOID
        found = self._declarations.find(name) if self._declarations else None
        if found is None:
            found = INTEGERS.get(name)
        # bpftrace takes (path *) for (struct path *), too
        for full_name in (name, *(f"{keyword} {name}" for keyword in ("struct", "union", "enum") if " " not in name)):
            for types in (self._declarations, self.of_binary(binary), self.kernel, *self._modules.values()):
                if found is None and types:
                    found = types.find(full_name)
        return found

    def fields(self, record: RecordType) -> tuple[Field, ...] | None:
        if record.name in self._own:
            return self._own[record.name]
        found = self._declarations.fields(record) if self._declarations else None
        if found is None and " of " in record.name:
            known = (*self._binaries.values(), *self._modules.values())
            found = next((f for t in known if t and (f := t.fields(record)) is not None), None)
        if found is None and self.kernel:
            found = self.kernel.fields(record)
        return found

    def constant(self, name: str, binary: str = "") -> int | str | None:
        """The value of an enumerator or of an object-like macro."""
        if self._declarations:
            value = self._declarations.enumerator(name)
            if value is not None:
                return value
            macro = self._declarations.macro(name)
            if macro is not None:
                return macro
        user = self.of_binary(binary)
        value = user.enumerator(name) if user else None
        return self.kernel.enumerator(name) if value is None and self.kernel else value

    def names(self) -> Iterable[str]:
        yield from INTEGERS
        if self._declarations:
            yield from self._declarations.record_names()
        if self.kernel:
            yield from self.kernel.record_names()
