"""BCC's `BPF` class as a compiler: C text in, `Image` out. The only importer of `bcc`, and imported itself only when
something has to be compiled: it brings LLVM into the process."""

from __future__ import annotations

import _thread
import atexit
import ctypes
import fcntl
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

from bpftrace_py import messages
from bpftrace_py.diagnostics import host_error
from bpftrace_py.postponed import postponed
from bpftrace_py.runtime import kallsyms_scan
from bpftrace_py.runtime.back_edges import with_jumps_back
from bpftrace_py.runtime.image import Code, Image, MapSpec, unlink
from bpftrace_py.runtime.kernel import MAP_TYPE_RINGBUF

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from typing import Any

# Its include/linux/kconfig.h is the first file that BCC's clang reads: our prelude.
HEADERS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "codegen")
# The guards of BCC's helpers.h and bpf.h: without these two no kernel headers are needed. Nothing reads debug info.
# Signed numbers of a script wrap around. BCC has LLVM optimize what clang gives it; that clang has it done before takes a
# sixth of the time of a long script, and changes an instruction here and there.
FLAGS = ("-D__BPF_HELPERS_H", "-D_UAPI__LINUX_BPF_H__", "-g0", "-fwrapv", "-Xclang", "-disable-llvm-passes")

_SYSTEM_BINDINGS = "/usr/lib/python3/dist-packages/bcc"
# BCC attaches functions with such names by itself as soon as they are compiled.
_AUTOLOADED = ("kprobe__", "kretprobe__", "tracepoint__", "raw_tracepoint__", "kfunc__", "kretfunc__", "lsm__")
# What the dynamic linker says when there is not enough.
_NO_MEMORY = ("failed to map segment", "cannot allocate memory", "cannot create shared object descriptor")
_compiling = _thread.allocate_lock()  # the environment, the working directory and fds 1 and 2 belong to the whole process


def bindings() -> ModuleType:
    """The module `bcc`. Raises `HostError` if it is not there, not BCC, or not usable."""
    spec = _find("bcc")
    if spec is None or spec.origin is None:
        if os.path.isdir(_SYSTEM_BINDINGS):
            raise host_error(
                messages.BCC_OTHER_PYTHON,
                executable=sys.executable,
                path=_SYSTEM_BINDINGS,
                hint="use /usr/bin/python3, or a virtual environment made with --system-site-packages",
            )
        raise host_error(messages.BCC_MISSING, hint="apt-get install python3-bpfcc")
    directory = os.path.dirname(spec.origin)
    if not os.path.exists(os.path.join(directory, "libbcc.py")):
        raise host_error(
            messages.BCC_WRONG_PACKAGE, path=directory, hint="pip uninstall bcc; apt-get install python3-bpfcc"
        )
    try:
        with postponed("json", "platform", "traceback"):  # for its tables and its own messages
            import bcc
    except (
        ImportError,
        OSError,
        AttributeError,
    ) as error:  # OSError: no libbcc.so.0; AttributeError: another version's
        if any(words in str(error) for words in _NO_MEMORY):
            from bpftrace_py.runtime import refused

            raise host_error(messages.EXHAUSTED, reason="memory", hint=refused.ADDRESSES_HINT) from error
        raise host_error(
            messages.BCC_UNUSABLE, reason=error, hint="apt-get install --reinstall python3-bpfcc"
        ) from error
    module: ModuleType = bcc
    return module


def _find(name: str) -> ModuleSpec | None:
    """`importlib.util.find_spec` of a module that is not below another, without what that imports: a millisecond."""
    if name in sys.modules:
        return sys.modules[name].__spec__
    found = (finder.find_spec(name, None) for finder in sys.meta_path)
    return next((spec for spec in found if spec is not None), None)


def compile_image(c_source: str, functions: Sequence[str]) -> tuple[Image, str]:
    """Compile a unit's C and take out the bytecode of `functions`. The second result is what clang has printed.

    Raises `HostError` if BCC cannot be used or a map cannot be created, `InternalError` if clang refuses the text.
    """
    for function in functions:
        assert not function.startswith(_AUTOLOADED), f"BCC would attach {function} by itself"
    bcc = bindings()
    with _compiling:
        output = _Output()
        try:
            with output.captured(), output.told_at_exit(c_source), _headers(), kallsyms_scan.avoided():
                module = bcc.BPF(text=c_source.encode(), cflags=[*FLAGS, *_used(c_source)])
        except Exception as error:
            from bpftrace_py.runtime import refused

            raise refused.by_clang(c_source, output.text or str(error)) from error
        try:
            image = _extract(bcc.lib, module.module, functions, _entries(c_source))
        finally:
            atexit.unregister(module.cleanup)
            module.cleanup()
    return image, output.text


def _used(c_source: str) -> list[str]:
    """The flags that make the prelude define those of its functions that the text calls."""
    with open(os.path.join(HEADERS, "include/linux/kconfig.h"), encoding="ascii") as file:
        optional = dict.fromkeys(re.findall(r"\bUSES_(\w+)", file.read()))
    return [f"-DUSES_{name}" for name in optional if re.search(rf"\b{name}\(", c_source)]


def _entries(c_source: str) -> dict[str, int]:
    """How much room each map is to have, by its name in the text. BCC is given tables that have none (see the prelude)."""
    tables = re.findall(r"^(?:TABLE|RING)\(\d+, (?:.*, )?(\w+), (\d+)\);", c_source, re.MULTILINE)
    tables += re.findall(r"^TABLE_FLAGS\(\d+, .*, (\w+), (\d+), \d+\);", c_source, re.MULTILINE)
    return {name: int(entries) for name, entries in tables}


@contextmanager
def _headers() -> Iterator[None]:
    """Point BCC to our headers, for this compilation only: children must not inherit it."""
    before = os.environ.get("BCC_KERNEL_SOURCE")
    os.environ["BCC_KERNEL_SOURCE"] = HEADERS
    try:
        yield
    finally:
        if before is None:
            del os.environ["BCC_KERNEL_SOURCE"]
        else:
            os.environ["BCC_KERNEL_SOURCE"] = before


class _Output:
    """What C code prints: clang and BCC write to the file descriptors, past Python."""

    def __init__(self) -> None:
        self.text = ""
        self._saved: list[tuple[int, int]] = []
        self._sink = -1

    @contextmanager
    def told_at_exit(self, c_source: str) -> Iterator[None]:
        """LLVM ends the whole process when it cannot make code of what clang accepted: nobody would learn why."""
        ended = False

        def tell(_: object) -> None:
            if ended:
                return
            from bpftrace_py.runtime import refused

            log = os.pread(self._sink, 1 << 20, 0).decode(errors="replace")
            for fd, copy in self._saved:
                os.dup2(copy, fd)
            os.write(2, f"{refused.by_clang(c_source, log)}\n".encode(errors="replace"))
            os._exit(1)

        libc = ctypes.CDLL(None)
        callback, handle = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(tell), ctypes.create_string_buffer(1)
        getattr(libc, "__cxa_atexit")(callback, None, handle)
        try:
            yield
        finally:
            ended = True
            getattr(libc, "__cxa_finalize")(handle)

    @contextmanager
    def captured(self) -> Iterator[None]:
        libc = ctypes.CDLL(None)
        _flush(libc)
        saved = self._saved
        with open(os.memfd_create("bpftrace-py"), "w+b") as sink:
            self._sink = sink.fileno()
            for fd in (1, 2):
                try:
                    saved.append((fd, fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)))
                except OSError:
                    continue  # closed by our caller: nothing to save, nothing to see
                os.dup2(sink.fileno(), fd)
            try:
                yield
            finally:
                _flush(libc)
                for fd, copy in saved:
                    os.dup2(copy, fd)
                    os.close(copy)
                sink.seek(0)
                self.text = sink.read().decode(errors="replace")


def _flush(libc: ctypes.CDLL) -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            pass  # a reader that has gone is for those who write to find out
    libc.fflush(None)


def _extract(lib: Any, module: int, functions: Sequence[str], entries: dict[str, int]) -> Image:
    """Bytecode and maps of a BCC module."""
    # The bindings do not declare these: without it the module's address would be cut to an int.
    for function, result in (
        (lib.bpf_table_name, ctypes.c_char_p),
        (lib.bpf_table_key_size_id, ctypes.c_size_t),
        (lib.bpf_table_leaf_size_id, ctypes.c_size_t),
        (lib.bpf_table_fd_id, ctypes.c_int),
    ):
        function.restype, function.argtypes = result, [ctypes.c_void_p, ctypes.c_size_t]
    maps, index_by_fd = [], {}
    for index in range(lib.bpf_num_tables(ctypes.c_void_p(module))):
        kind = lib.bpf_table_type_id(module, index)
        sizes = (0, 0)  # BCC's declaration of a ring buffer has a key and a leaf; the map has none
        if kind != MAP_TYPE_RINGBUF:
            sizes = lib.bpf_table_key_size_id(module, index), lib.bpf_table_leaf_size_id(module, index)
        index_by_fd[lib.bpf_table_fd_id(module, index)] = index
        name = lib.bpf_table_name(module, index).decode()
        maps.append(MapSpec(name, kind, *sizes, entries[name], lib.bpf_table_flags_id(module, index)))
    programs: dict[str, Code] = {}
    for function in functions:
        start = lib.bpf_function_start(module, function.encode())
        assert start, f"the C text has no function {function}"
        code = ctypes.string_at(start, lib.bpf_function_size(module, function.encode()))
        programs[function] = unlink(with_jumps_back(code), index_by_fd)
    return Image(tuple(maps), programs, ctypes.string_at(lib.bpf_module_license(module)))
