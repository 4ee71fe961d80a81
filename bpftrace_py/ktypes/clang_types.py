"""Our types from libclang's: what the C declarations of a script mean, laid out as clang lays them out."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

from clang.cindex import Cursor, CursorKind, TranslationUnit, TypeKind, conf

from bpftrace_py.host import KernelTypes
from bpftrace_py.ktypes.bitfields import bitfield
from bpftrace_py.types import (
    VOID,
    ArrayType,
    Field,
    FunctionType,
    IntegerType,
    PointerType,
    RecordType,
    StringType,
    Type,
)

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from typing import Any

_MAX_DEPTH = 64
_SIGNED = frozenset(
    (TypeKind.CHAR_S, TypeKind.SCHAR, TypeKind.SHORT, TypeKind.INT, TypeKind.LONG, TypeKind.LONGLONG)
)
_UNSIGNED = frozenset(
    (TypeKind.BOOL, TypeKind.CHAR_U, TypeKind.UCHAR, TypeKind.USHORT, TypeKind.UINT, TypeKind.ULONG, TypeKind.ULONGLONG,
     TypeKind.CHAR16, TypeKind.CHAR32)
)  # fmt: skip
_CHARS = frozenset((TypeKind.CHAR_S, TypeKind.CHAR_U))
_FUNCTIONS = frozenset((TypeKind.FUNCTIONPROTO, TypeKind.FUNCTIONNOPROTO))
_TAGS = {CursorKind.STRUCT_DECL: "struct", CursorKind.UNION_DECL: "union", CursorKind.ENUM_DECL: "enum"}
_EVALUATED_INTEGER, _EVALUATED_STRING = 1, 4  # CXEvalResultKind


class ClangTypes:
    """The types that a translation unit declares, by name.

    `borrowed` is the file with the stand-ins for kernel types that the script uses and does not declare: those are the
    kernel's (`kernel`), and are not found here.
    """

    def __init__(self, unit: TranslationUnit, borrowed: str, kernel: KernelTypes | None) -> None:
        self._unit = unit
        self._borrowed = borrowed
        self._kernel = kernel
        self._declared: dict[str, Any] = {}  # name -> clang type
        self._files: dict[str, str] = {}  # name -> file that declares it
        self._enumerators: dict[str, tuple[int, str]] = {}
        self._unnamed: dict[tuple[str, int], str] = {}  # place of a record without a name -> the name we gave it
        self._fields: dict[str, tuple[Field, ...]] = {}
        self._collect(unit.cursor.get_children(), 0)

    def _collect(self, cursors: Iterator[Cursor], depth: int) -> None:
        for cursor in cursors:
            kind = cursor.kind
            if kind == CursorKind.TYPEDEF_DECL:
                self._declare(cursor.spelling, cursor)
            elif kind in _TAGS and cursor.is_definition():
                name = _tag_name(cursor)
                if name:
                    self._declare(name, cursor)
                if kind == CursorKind.ENUM_DECL:
                    for constant in cursor.get_children():
                        if constant.kind == CursorKind.ENUM_CONSTANT_DECL:
                            self._enumerators[constant.spelling] = (constant.enum_value, _file(constant))
                elif depth < _MAX_DEPTH:  # C gives a nested record the scope of the outermost
                    self._collect(cursor.get_children(), depth + 1)

    def _declare(self, name: str, cursor: Cursor) -> None:
        file = _file(cursor)
        if file != self._borrowed:
            self._declared[name] = cursor.type
            self._files[name] = file

    # --- names

    def names(self) -> Iterator[str]:
        """Every declared name with its keyword, such as "struct A" or "foo_t"."""
        yield from self._declared

    def file(self, name: str) -> str | None:
        """The file that declares a name; None if none does."""
        return self._files.get(name)

    def find(self, name: str) -> Type | None:
        declared = self._declared.get(name)
        return None if declared is None else self.convert(declared, name)

    def enumerator(self, name: str) -> tuple[int, str] | None:
        """(value, file that declares it)."""
        return self._enumerators.get(name)

    # --- types

    def convert(self, clang_type: Any, owner: str, depth: int = 0) -> Type:
        """Our type. `owner` names a record that has no name itself: what it is a member of, with the member's name."""
        if depth > _MAX_DEPTH:
            return VOID
        borrowed = self._from_kernel(clang_type)
        if borrowed is not None:
            return borrowed
        canonical = clang_type.get_canonical()
        kind = canonical.kind
        size = canonical.get_size()
        if kind in _SIGNED or kind in _UNSIGNED:
            return IntegerType(size, kind in _SIGNED)
        if kind == TypeKind.POINTER:
            return PointerType(self.convert(_pointee(clang_type), owner, depth + 1))
        if kind == TypeKind.RECORD:
            return self._record(canonical, owner)
        if kind == TypeKind.ENUM:
            declaration = canonical.get_declaration()
            signed = declaration.enum_type.get_canonical().kind in _SIGNED
            return IntegerType(max(size, 1), signed, _tag_name(declaration) or "enum")
        if kind in (TypeKind.CONSTANTARRAY, TypeKind.INCOMPLETEARRAY):
            element = _element(clang_type)
            count = max(canonical.element_count, 0) if kind == TypeKind.CONSTANTARRAY else 0
            if count and element.get_canonical().kind in _CHARS:
                return StringType(count)
            return ArrayType(self.convert(element, owner, depth + 1), count)
        if kind in _FUNCTIONS:
            return FunctionType()
        # Floating point and 128 bits are no numbers of the language: bytes. What has no size, such as void, is void.
        return ArrayType(IntegerType(1, False), size) if size > 0 else VOID

    def _from_kernel(self, clang_type: Any) -> Type | None:
        """What the kernel knows of a type for which the script has a stand-in only."""
        if self._kernel is None:
            return None
        declaration = clang_type.get_declaration()
        if declaration.kind == CursorKind.NO_DECL_FOUND or _file(declaration) != self._borrowed:
            return None
        name = declaration.spelling if declaration.kind == CursorKind.TYPEDEF_DECL else _tag_name(declaration)
        return self._kernel.find(name) if name else None

    def _record(self, canonical: Any, owner: str) -> RecordType:
        declaration = canonical.get_declaration()
        name = _tag_name(declaration)
        if _file(declaration) == self._borrowed and self._kernel is not None:  # behind a typedef of the script's
            known = self._kernel.find(name)
            if isinstance(known, RecordType):
                return known
        if not name:
            place = (_file(declaration), declaration.location.offset)
            name = self._unnamed.setdefault(place, owner)
        size = canonical.get_size()
        if size < 0:  # declared only: the kernel may have the whole of it
            known = self._kernel.find(name) if self._kernel else None
            return known if isinstance(known, RecordType) else RecordType(name)
        self._declared.setdefault(name, canonical)
        return RecordType(name, size, max(canonical.get_align(), 1))

    # --- members

    def fields(self, name: str) -> tuple[Field, ...] | None:
        """The members of a record, those of its anonymous members among them."""
        if name not in self._fields:
            declared = self._declared.get(name)
            canonical = None if declared is None else declared.get_canonical()
            if canonical is None or canonical.kind != TypeKind.RECORD or canonical.get_size() < 0:
                return None
            fields: list[Field] = []
            self._add_members(canonical, name, 0, canonical.get_size(), fields, 0)
            self._fields[name] = tuple(fields)
        return self._fields[name]

    def _add_members(
        self, record: Any, owner: str, base: int, whole: int, fields: list[Field], depth: int
    ) -> None:
        for member in record.get_fields():
            first = base + member.get_field_offsetof()
            canonical = member.type.get_canonical()
            name = member.spelling
            if not name or "(" in name:  # no name: an anonymous record, or the padding `int : 4`
                if canonical.kind == TypeKind.RECORD and depth < _MAX_DEPTH:
                    self._add_members(canonical, owner, first, whole, fields, depth + 1)
                continue
            type_ = self.convert(member.type, f"{owner}.{name}")
            if member.is_bitfield():
                width = member.get_bitfield_width()
                field = bitfield(name, type_, first, width, whole) if isinstance(type_, IntegerType) else None
                if field is not None:
                    fields.append(field)
            else:
                fields.append(Field(name, type_, first // 8))


def _file(cursor: Cursor) -> str:
    file = cursor.location.file
    return "" if file is None else str(file.name)


def _tag_name(declaration: Cursor) -> str:
    """ "struct A"; "foo_t" for the nameless record of a typedef; "" for one that has no name at all."""
    spelling = declaration.type.get_canonical().spelling
    for qualifier in ("const ", "volatile "):
        spelling = spelling.removeprefix(qualifier)
    return "" if "(" in spelling else str(spelling)


def _pointee(clang_type: Any) -> Any:
    """The pointee as it was written, so that typedefs keep their names; the canonical one behind a typedef."""
    pointee = clang_type.get_pointee()
    return pointee if pointee.kind != TypeKind.INVALID else clang_type.get_canonical().get_pointee()


def _element(clang_type: Any) -> Any:
    element = clang_type.get_array_element_type()
    return element if element.kind != TypeKind.INVALID else clang_type.get_canonical().get_array_element_type()


def evaluate(cursor: Cursor) -> int | str | None:
    """The value of a variable's initializer; None if it is neither an integer nor a string known when compiling."""
    library = conf.lib
    library.clang_Cursor_Evaluate.argtypes = [Cursor]
    library.clang_Cursor_Evaluate.restype = ctypes.c_void_p
    result = library.clang_Cursor_Evaluate(cursor)
    if not result:
        return None

    def ask(question: str, answer: Any) -> Any:
        function = getattr(library, f"clang_EvalResult_{question}")
        function.argtypes = [ctypes.c_void_p]
        function.restype = answer
        return function(result)

    try:
        kind = ask("getKind", ctypes.c_int)
        if kind == _EVALUATED_INTEGER:
            if ask("isUnsignedInt", ctypes.c_uint):
                return int(ask("getAsUnsigned", ctypes.c_ulonglong))
            return int(ask("getAsLongLong", ctypes.c_longlong))
        if kind == _EVALUATED_STRING:
            return bytes(ask("getAsStr", ctypes.c_char_p)).decode("utf-8", "surrogateescape")
        return None
    finally:
        ask("dispose", None)
