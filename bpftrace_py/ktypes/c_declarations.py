"""The C declarations of a script: its structs, unions, enums, typedefs, `#include`s and `#define`s, read by libclang.

A script leaves out what it expects from the kernel's headers. Where those are not there, clang's complaints say what is
missing; stand-ins of the right size and alignment are made from BTF, and clang reads again. Of a kernel type that only
has a stand-in, the members are looked up in BTF, never here.

libclang takes 50 ms to load, so it is left alone where a script has nothing but constants and headers of the kernel.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

from bpftrace_py import messages
from bpftrace_py.config import Config
from bpftrace_py.diagnostics import Diagnostics, did_you_mean
from bpftrace_py.host import KernelTypes
from bpftrace_py.ktypes import c_headers
from bpftrace_py.ktypes.stand_ins import StandIns
from bpftrace_py.record import record
from bpftrace_py.source import NOWHERE, Span
from bpftrace_py.syntax.ast import CDeclaration
from bpftrace_py.types import Field, RecordType, Type

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from clang.cindex import Index, TranslationUnit

    from bpftrace_py.ktypes.clang_types import ClangTypes

_BORROWED = "/bpftrace-py/from-kernel.h"
_MACRO_PREFIX = "__bpftrace_macro_"
_MAX_ROUNDS = 24  # a round may find only what the one before it made visible
_MAX_IDENTIFIERS = 10_000
_MAX_HINTS = 5
_ERROR = 3  # clang's severity

_INCLUDE = re.compile(r"#\s*include\s*([<\"])([^>\"\n]+)[>\"]")
_MISSING_FILE = re.compile(r"^'([^']+)' file not found")
_INCOMPLETE = re.compile(r"incomplete (?:\w+ )?type '(?:const |volatile )*((?:struct|union|enum) \w+)")
_UNKNOWN_NAME = re.compile(r"^(?:unknown type name|use of undeclared identifier) '(\w+)'")
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*", re.ASCII)


@record(frozen=True)
class _Problem:
    """An error of clang's, as plain data: clang's own object dies with the translation unit that it is about."""

    file: str
    offset: int
    line: int
    column: int
    text: str


class Declarations:
    """What a script declares, by name. What only the kernel knows is not found here: ask BTF next."""

    def __init__(
        self, types: ClangTypes | None, macros: dict[str, int | str], kernel: KernelTypes | None, kernel_tree: bool
    ) -> None:
        self._types = types
        self._macros = macros
        self._kernel = None if kernel_tree else kernel

    def find(self, name: str) -> Type | None:
        """The type of "struct A", "union b", "enum c" or of a typedef, if the script or its headers declare it."""
        return None if self._types is None or self._better_in_btf(name) else self._types.find(name)

    def fields(self, record: RecordType) -> tuple[Field, ...] | None:
        """The members of a record that `find`, or a member, gave; None for records of the kernel."""
        return None if self._types is None or self._better_in_btf(record.name) else self._types.fields(record.name)

    def enumerator(self, name: str) -> int | None:
        """The value of an enum constant of the script or of a header."""
        found = self._types.enumerator(name) if self._types is not None else None
        return None if found is None else found[0]

    def macro(self, name: str) -> int | str | None:
        """The value of an object-like macro that the script's text mentions; None if it is no constant."""
        return self._macros.get(name)

    def record_names(self) -> Iterable[str]:
        """The names of declared types, for "did you mean"."""
        return () if self._types is None else self._types.names()

    def _better_in_btf(self, name: str) -> bool:
        """An exported header has the kernel's type as programs see it; the kernel's own may have more."""
        if self._kernel is None or self._types is None:
            return False
        file = self._types.file(name)
        return file is not None and c_headers.is_uapi(file) and self._kernel.find(name) is not None


def parse_declarations(
    declarations: Sequence[CDeclaration],
    kernel: KernelTypes | None,
    config: Config,
    diagnostics: Diagnostics,
    architecture: str | None = None,
) -> Declarations:
    """Everything that the declarations and their headers declare. What is wrong goes to `diagnostics`."""
    machine = architecture or os.uname().machine
    nothing = Declarations(None, {}, kernel, False)
    tree = c_headers.kernel_tree(config)
    reader = _Reader(declarations, kernel, config, diagnostics, machine)
    if not reader.includes_are_files():
        return nothing
    if tree is None:
        constants = _constants_only(declarations, kernel, config, machine)
        if constants is not None:
            return Declarations(None, constants, kernel, False)
    index = _load_libclang(diagnostics)
    if index is None:
        return nothing
    if tree is not None:
        unit, problems = reader.read(index, tree)
        if unit is not None and (not problems or kernel is None or reader.blames_script(problems)):
            return reader.finish(unit, problems, kernel_tree=True)
        # Headers that clang cannot read (an odd kernel, a damaged tree) matter no more than none at all.
    unit, problems = reader.read(index, None)
    if unit is None:
        diagnostics.error(messages.C_PARSER_FAILED, declarations[0].span if declarations else None)
        return nothing
    return reader.finish(unit, problems, kernel_tree=False)


def _load_libclang(diagnostics: Diagnostics) -> Index | None:
    hint = "`pip install libclang`, or `apt install python3-clang-14`"
    try:
        import clang.cindex as cindex
    except ImportError as error:
        diagnostics.error(messages.NO_C_PARSER, None, hint=hint, reason=error)
        return None
    try:
        return cindex.Index.create()
    except cindex.LibclangError as error:
        diagnostics.error(messages.NO_C_PARSER, None, hint=hint, reason=error)
        return None


def _directory_of(script: str) -> str:
    """Where headers in quotes are looked for first."""
    try:
        return os.path.dirname(os.path.abspath(script))
    except FileNotFoundError:  # the current directory has been deleted
        return "/nonexistent"


class _Reader:
    """One script's declarations as a file for clang, and the way back from that file to the script."""

    def __init__(
        self, declarations: Sequence[CDeclaration], kernel: KernelTypes | None, config: Config,
        diagnostics: Diagnostics, machine: str,
    ) -> None:  # fmt: skip
        self._declarations = declarations
        self._kernel = kernel
        self._config = config
        self._diagnostics = diagnostics
        self._machine = machine
        self._hints = 0
        directory = _directory_of(diagnostics.source.name)
        self._main = os.path.join(directory, "<declarations>.c")
        self._starts: list[int] = []  # in bytes, of each declaration in the file
        text = bytearray()
        for declaration in declarations:
            self._starts.append(len(text))
            text += declaration.text.encode("utf-8", "surrogateescape") + b"\n"
        self._macros_start = len(text)
        self._text = bytes(text + self._macro_probes())

    def _macro_probes(self) -> bytes:
        """A variable for each identifier of the script that is a macro, with the macro's value."""
        names = self._names_asked_for()
        return b"\n" + b"".join(
            f"#ifdef {name}\n__auto_type {_MACRO_PREFIX}{name} = {name};\n#endif\n".encode()
            for name in names[:_MAX_IDENTIFIERS]
        )

    def _names_asked_for(self) -> list[str]:
        """The identifiers of the script, and those that its macros among them are made of: they are replaced in the script."""
        bodies: dict[str, list[str]] = {}
        for declaration in self._declarations:
            if declaration.kind == "define":
                name, *body = _IDENTIFIER.findall(declaration.text)[1:] or [""]
                bodies.setdefault(name, []).extend(body)
        names = dict.fromkeys(_IDENTIFIER.findall(self._outside()))
        pending = list(names)
        while pending:
            new = [word for word in bodies.pop(pending.pop(), ()) if word not in names]
            names.update(dict.fromkeys(new))
            pending += new
        return list(names)

    def _outside(self) -> str:
        """The text of the script without its declarations, which may define more macros than anybody asks for."""
        text, at, pieces = self._diagnostics.source.text, 0, []
        for declaration in self._declarations:
            if declaration.span != NOWHERE:
                pieces.append(text[at : declaration.span.start])
                at = declaration.span.end
        return " ".join([*pieces, text[at:]])

    def includes_are_files(self) -> bool:
        """Report what is included and is a device, a pipe or a directory: clang would read it, and wait."""
        directories = [os.path.dirname(self._main), *c_headers.search_directories(self._config, self._machine)]
        forced = [(name, None) for name in self._config.include]
        written = [(m[2], d.span) for d in self._declarations for m in _INCLUDE.finditer(d.text)]
        good = True
        for name, span in (*forced, *written):
            found = None if "\0" in name else next(
                (path for path in c_headers.candidates(name, directories) if os.path.exists(path)), None
            )
            if found is not None and not os.path.isfile(found):
                self._diagnostics.error(messages.HEADER_NOT_FILE, span, name=name)
                good = False
        return good

    # --- reading

    def read(
        self, index: Index, tree: tuple[str, str] | None
    ) -> tuple[TranslationUnit | None, list[_Problem]]:
        """clang's view of the script, and what it still complains about once all that BTF has is there."""
        from functools import partial

        from clang.cindex import TranslationUnitLoadError

        from bpftrace_py.ktypes.bounded import Exceeded, bounded

        arguments = self._arguments(tree)
        virtual = {f"{c_headers.COMPILER_DIRECTORY}/{n}": t for n, t in c_headers.compiler_headers().items()}
        if tree is None:
            virtual |= {f"{c_headers.KERNEL_DIRECTORY}/{n}": t for n, t in c_headers.kernel_headers().items()}
        stand_ins = StandIns(self._kernel)
        unit: TranslationUnit | None = None
        problems: list[_Problem] = []
        unknown: list[_Problem] = []
        for _ in range(_MAX_ROUNDS):
            files = [(name, text.encode()) for name, text in virtual.items()]
            files += [(_BORROWED, stand_ins.text.encode()), (self._main, self._text)]
            try:
                unit = bounded(partial(index.parse, self._main, args=arguments, unsaved_files=files))
            except (TranslationUnitLoadError, Exceeded):
                return None, []
            problems = list(_problems(unit))
            supplied = [self._supply(problem, stand_ins, virtual, unknown) for problem in problems]
            if not any(supplied):
                break
        return unit, unknown + problems

    def _supply(
        self, problem: _Problem, stand_ins: StandIns, virtual: dict[str, str], unknown: list[_Problem]
    ) -> bool:
        """Whether what clang misses could be had, and is there in the next round. A header that cannot be had becomes
        an empty one, so that what is behind it gets read, and goes to `unknown`."""
        complaint = problem.text
        missing = _MISSING_FILE.match(complaint)
        if missing:
            path = f"{c_headers.KERNEL_DIRECTORY}/{missing[1]}"
            if path in virtual:
                return False
            virtual[path] = ""
            if self._kernel is None or not c_headers.is_kernel_header(missing[1]):
                unknown.append(problem)
            return True
        incomplete = _INCOMPLETE.search(complaint)
        if incomplete:
            return stand_ins.add_record(incomplete[1])
        name = _UNKNOWN_NAME.match(complaint)
        return name is not None and stand_ins.add_name(name[1])

    def _arguments(self, tree: tuple[str, str] | None) -> list[str]:
        arguments = [
            "-x", "c", "-std=gnu11", f"--target={self._machine}-linux-gnu", "-nostdinc", "-ferror-limit=0",
            "-Wno-everything", "-Ulinux", "-Uunix",
        ]  # fmt: skip
        if self._kernel is not None:
            arguments.append("-DBPFTRACE_HAVE_BTF")
        for directory in self._config.include_directories:
            arguments += ["-I", directory]
        if tree is None:
            arguments += ["-isystem", c_headers.KERNEL_DIRECTORY]
        else:
            arguments += c_headers.kernel_tree_arguments(*tree, self._machine)
            arguments += ["-idirafter", c_headers.KERNEL_DIRECTORY]
        arguments += ["-isystem", c_headers.COMPILER_DIRECTORY]
        for directory in c_headers.search_directories(Config(), self._machine):
            arguments += ["-idirafter", directory]
        arguments += ["-include", _BORROWED]
        for header in self._config.include:
            arguments += ["-include", header]
        return arguments

    # --- results

    def blames_script(self, problems: list[_Problem]) -> bool:
        """Whether any of the problems is in the script's own text."""
        return any(problem.file == self._main for problem in problems)

    def finish(self, unit: TranslationUnit, problems: list[_Problem], kernel_tree: bool) -> Declarations:
        from bpftrace_py.ktypes.clang_types import ClangTypes, evaluate

        for problem in problems[: 2 * Diagnostics.LIMIT]:
            self._report(problem)
        macros: dict[str, int | str] = {}
        for cursor in unit.cursor.get_children():
            if cursor.spelling.startswith(_MACRO_PREFIX):
                value = evaluate(cursor)
                if value is not None:
                    macros[cursor.spelling.removeprefix(_MACRO_PREFIX)] = value
        return Declarations(ClangTypes(unit, _BORROWED, self._kernel), macros, self._kernel, kernel_tree)

    def _report(self, problem: _Problem) -> None:
        file = problem.file
        if file == self._main:
            if problem.offset < self._macros_start:  # a macro that is no constant is no error
                self._report_in_script(problem.text, self._span(problem.offset))
            return
        if self._kernel is not None and (c_headers.is_uapi(file) or file == _BORROWED):
            return  # a header of the system: BTF has its types
        missing = _MISSING_FILE.match(problem.text)
        if missing and not file:  # of --include
            self._diagnostics.error(messages.HEADER_NOT_FOUND, None, name=missing[1])
            return
        place = f"{os.path.basename(file)}:{problem.line}:{problem.column}"
        self._diagnostics.error(
            messages.C_ERROR_IN_HEADER, self._include_span(problem), place=place, reason=problem.text
        )

    def _report_in_script(self, reason: str, span: Span) -> None:
        missing = _MISSING_FILE.match(reason)
        if missing:
            hint: str | None = "-I DIRECTORY names where to look for headers"
            if self._kernel is None:
                hint = "install the kernel's headers, or set BPFTRACE_KERNEL_SOURCE"
            self._diagnostics.error(messages.HEADER_NOT_FOUND, span, hint=hint, name=missing[1])
            return
        unknown = _INCOMPLETE.search(reason) or (
            _UNKNOWN_NAME.match(reason) if reason.startswith("unknown type") else None
        )
        if unknown:
            name = unknown[1]
            hint = None
            if self._kernel is not None and self._hints < _MAX_HINTS:  # 0.1 s each
                self._hints += 1
                hint = did_you_mean(name if " " in name else f"struct {name}", self._kernel.record_names())
            self._diagnostics.error(messages.UNKNOWN_C_TYPE, span, hint=hint, name=name)
            return
        hint = "a comment is written `// ...` or `/* ... */`" if reason == "invalid preprocessing directive" else None
        self._diagnostics.error(messages.C_ERROR, span, hint=hint, reason=reason)

    def _span(self, offset: int) -> Span:
        """Where an offset in clang's file is in the script: the word that begins there."""
        number = max(bisect_right(self._starts, offset) - 1, 0)
        declaration = self._declarations[number]
        if declaration.span == NOWHERE or declaration.kind == "include":
            return declaration.span
        before = self._text[self._starts[number] : offset].decode("utf-8", "surrogateescape")
        start = min(declaration.span.start + len(before), max(declaration.span.end - 1, declaration.span.start))
        word = _IDENTIFIER.match(self._diagnostics.source.text, start)
        return Span(start, word.end() if word else start + 1)

    def _include_span(self, problem: _Problem) -> Span | None:
        """The #include of the script that led to a problem's file; the first one, if that cannot be told."""
        file = problem.file
        includes = [declaration for declaration in self._declarations if declaration.kind == "include"]
        for declaration in includes:
            name = _INCLUDE.search(declaration.text)
            if name is not None and file.endswith(name[2].lstrip("./")):
                return declaration.span
        return includes[0].span if includes else None


def _problems(unit: TranslationUnit) -> Iterator[_Problem]:
    for diagnostic in unit.diagnostics:
        if diagnostic.severity >= _ERROR:
            place = diagnostic.location
            file = "" if place.file is None else str(place.file.name)
            yield _Problem(file, place.offset, place.line, place.column, diagnostic.spelling)


# --- without clang

_DEFINE = re.compile(
    r"#\s*define\s+([A-Za-z_]\w*)[ \t]+(?:\(\s*)?(?:(-?)(0[xX][0-9a-fA-F]+|[0-9]+)[lL]*|\"([^\"\\\n]*)\")(?:\s*\))?\s*",
    re.ASCII,
)
_CONDITION = re.compile(r"#\s*(ifdef|ifndef)\s+BPFTRACE_HAVE_BTF\s*")
_OTHERWISE = re.compile(r"#\s*(else|endif)\b[^\n]*")


def _constants_only(
    declarations: Sequence[CDeclaration], kernel: KernelTypes | None, config: Config, machine: str
) -> dict[str, int | str] | None:
    """The macros of declarations that need no C parser: `#define`s of a literal, headers of the kernel that are not on
    this machine and whose types BTF has, and `#ifndef BPFTRACE_HAVE_BTF`. None if there is anything else."""
    if config.include:
        return None
    directories = c_headers.search_directories(config, machine)
    provided = c_headers.kernel_headers()
    constants: dict[str, int | str] = {}
    active: bool | None = None  # inside of a condition: whether it holds
    for declaration in declarations:
        text = declaration.text.strip()
        condition, otherwise = _CONDITION.fullmatch(text), _OTHERWISE.fullmatch(text)
        if condition and active is None:
            active = (condition[1] == "ifdef") == (kernel is not None)
        elif otherwise and active is not None:
            active = not active if otherwise[1] == "else" else None
        elif condition or otherwise or re.match(r"#\s*(if|elif)", text):
            return None
        elif active is False:
            continue
        elif define := _DEFINE.fullmatch(text):
            value = _literal(define)
            if value is None:
                return None
            constants[define[1]] = value
        elif include := _INCLUDE.fullmatch(text):
            name = include[2]
            here = name in provided or any(os.path.exists(p) for p in c_headers.candidates(name, directories))
            if include[1] != "<" or kernel is None or here or not c_headers.is_kernel_header(name):
                return None
        else:
            return None
    return constants if active is None else None


def _literal(define: re.Match[str]) -> int | str | None:
    if define[4] is not None:
        return define[4]
    digits = define[3]
    octal = len(digits) > 1 and digits[0] == "0" and digits[1] not in "xX"
    try:
        value = int(digits, 8 if octal else 0)
    except ValueError:
        return None
    return None if value >= 1 << 63 else -value if define[2] else value
