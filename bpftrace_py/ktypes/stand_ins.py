"""C text for kernel types that a script uses by value and does not declare: right in size and alignment, no more.

clang needs no members to lay out `struct nameidata { struct path path; struct qstr last; }`; whoever reads
`nd->path.dentry` finds the members of `struct path` in BTF.
"""

from __future__ import annotations

from bpftrace_py.host import KernelTypes
from bpftrace_py.ktypes.tracepoint_format import INTEGERS
from bpftrace_py.types import (
    ArrayType,
    FunctionType,
    IntegerType,
    PointerType,
    RecordType,
    StringType,
    Type,
)

_C_INTEGERS = {1: "char", 2: "short", 4: "int", 8: "long long"}
_MAX_DEPTH = 16


class StandIns:
    """The text grows by what is added. Without a kernel there are the common names of integer types only."""

    def __init__(self, kernel: KernelTypes | None) -> None:
        self._kernel = kernel
        self._added: set[str] = set()
        self._alignments: dict[str, int] = {}
        self.text = ""

    def add_record(self, name: str) -> bool:
        """Add "struct A", "union b" or "enum c"; False if it is not known or was added before."""
        found = self._kernel.find(name) if self._kernel is not None else None
        if found is None or name in self._added:
            return False
        if isinstance(found, RecordType) and found.size and found.name == name:
            self._add(name, f"{name} {self._body(found)};")
            return True
        if isinstance(found, IntegerType) and name.startswith("enum "):
            tag = name[5:]
            last = "= 1LL << 40" if found.width == 8 else ""
            packed = "__attribute__((packed)) " if found.width < 4 else ""
            self._add(name, f"enum {packed}{tag} {{ __bpftrace_enum_{tag} {last} }};")
            return True
        return False

    def add_name(self, name: str) -> bool:
        """Add a typedef or an enum constant; False if it is not known or was added before."""
        if name in self._added:
            return False
        type_ = self._kernel.find(name) if self._kernel is not None else None
        if type_ is None and name in INTEGERS:
            type_ = IntegerType(*INTEGERS[name])
        declaration = None if type_ is None else self._typedef(name, type_)
        if declaration is None and self._kernel is not None:
            value = self._kernel.enumerator(name)
            declaration = None if value is None else f"enum {{ {name} = {value}LL }};"
        if declaration is None:
            return False
        self._add(name, declaration)
        return True

    def _add(self, name: str, text: str) -> None:
        self._added.add(name)
        self.text += text + "\n"

    def _typedef(self, name: str, type_: Type) -> str | None:
        if isinstance(type_, IntegerType):
            return f"typedef {'' if type_.signed else 'unsigned '}{_C_INTEGERS[type_.width]} {name};"
        if isinstance(type_, PointerType):
            return f"typedef void *{name};"
        if isinstance(type_, FunctionType):
            return f"typedef void {name}(void);"
        if isinstance(type_, (RecordType, ArrayType, StringType)) and type_.size:
            return f"typedef struct {self._body(type_)} {name};"
        return None

    def _body(self, type_: Type) -> str:
        return f"{{ char bytes[{type_.size}]; }} __attribute__((aligned({self._alignment(type_, 0)})))"

    def _alignment(self, type_: Type, depth: int) -> int:
        """The alignment that C gives a type: a record's is that of its members. BTF only has an upper bound."""
        if isinstance(type_, ArrayType):
            return self._alignment(type_.element, depth)
        if not isinstance(type_, RecordType) or self._kernel is None or depth > _MAX_DEPTH:
            return type_.alignment
        if type_.name in self._alignments:
            return self._alignments[type_.name]
        fields = self._kernel.fields(type_)
        if fields is None:
            return type_.alignment
        self._alignments[type_.name] = 1  # for a damaged record that holds itself
        result = 1
        for field in fields:
            alignment = self._alignment(field.type, depth + 1)
            if field.offset % alignment == 0:  # it is not, in a packed record
                result = max(result, alignment)
        self._alignments[type_.name] = min(result, type_.alignment)
        return self._alignments[type_.name]
