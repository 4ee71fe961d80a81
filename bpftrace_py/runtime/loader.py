"""`Unit` -> `Loaded`: maps and programs in the kernel, by their names in the C text.

There is one loader. Cold, BCC compiles and its bytecode is taken out; warm, the bytecode comes from the compile cache
and BCC is not even imported. Programs are loaded by bpf(2) in both cases.
"""

from __future__ import annotations

import errno
import os
import time

from bpftrace_py.codegen.unit import Unit
from bpftrace_py.diagnostics import BpftraceError
from bpftrace_py.runtime import kernel
from bpftrace_py.runtime.cache import Cache, image_key
from bpftrace_py.runtime.features import Features
from bpftrace_py.runtime.image import Image, MapSpec
from bpftrace_py.runtime.plan import Link, plan

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    from collections.abc import Callable

    from bpftrace_py.runtime.compiler_process import CompilerProcess
    from bpftrace_py.runtime.maps_ahead import MapsAhead

PROGRAM_TYPES = {
    "raw_tracepoint": kernel.PROG_TYPE_RAW_TRACEPOINT,
    "tracepoint": kernel.PROG_TYPE_TRACEPOINT,
    "kprobe": kernel.PROG_TYPE_KPROBE,
    "perf_event": kernel.PROG_TYPE_PERF_EVENT,
    "fentry": kernel.PROG_TYPE_TRACING,
    "fexit": kernel.PROG_TYPE_TRACING,
}
# Instructions or branches beyond what the verifier follows; ENOMEM for branches since some kernel before 6.18.
_TOO_COMPLEX = (errno.E2BIG, errno.EFAULT, errno.ENOMEM)
# Must agree with bcc_backend, which this module does not import on the warm path.
_HEADERS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "codegen")


class KernelMap:
    """A map in the kernel. Sizes in bytes; `value_size` of one CPU's value."""

    __slots__ = ("fd", "spec")

    def __init__(self, fd: int, spec: MapSpec) -> None:
        self.fd, self.spec = fd, spec


class Loaded:
    """What `load` made. Closing it frees all that is not attached; attached programs live on with their links."""

    def __init__(self, unit: Unit, image: Image, map_fds: tuple[int, ...], features: Features, log_size: int) -> None:
        self.unit, self.image, self.features, self.log_size = unit, image, features, log_size
        self.maps = {spec.name: KernelMap(fd, spec) for fd, spec in zip(map_fds, image.maps, strict=True)}
        self.links: list[Link] = []
        self.from_cache = False
        self.compiler_output = ""
        self.times: dict[str, float] = {}  # seconds, by step, for -v
        self._programs: dict[tuple[str, int, int], int] = {}
        self._map_fds = map_fds

    def program(
        self, function: str, expected_attach_type: int = 0, attach_btf_id: int = 0, attach_btf_object: int = 0
    ) -> int:
        """The fd of a program, loaded on first use. Raises `LoadError` if the kernel refuses it.

        A program is loaded once for each way in which it is attached; `attach_btf_object` is a module's BTF (an fd).
        """
        key = (function, expected_attach_type, attach_btf_id)
        fd = self._programs.get(key)
        if fd is None:
            kind = PROGRAM_TYPES[self.unit.program(function).kind]
            fd = self._programs[key] = with_memory(
                lambda: kernel.prog_load(
                    kind, self.image.programs[function].linked(self._map_fds), self.image.license, function,
                    expected_attach_type=expected_attach_type, attach_btf_id=attach_btf_id,
                    attach_btf_object=attach_btf_object, log_size=self.log_size,
                )
            )  # fmt: skip
        return fd

    def map_fd(self, table: str) -> int:
        return self.maps[table].fd

    def run(self, function: str) -> int:
        """Run a program of kind `raw_tracepoint` once, now (BEGIN, END); what it returned."""
        return kernel.prog_test_run(self.program(function))

    def missed(self) -> dict[str, int]:
        """By function, the events so far for which the kernel did not run it, as the CPU was in a program already."""
        counts: dict[str, int] = {}
        for (function, _, _), fd in self._programs.items():
            if count := kernel.prog_misses(fd):
                counts[function] = counts.get(function, 0) + count
        return counts

    def close(self) -> None:
        """Give up every map and program; a second time does nothing."""
        for fd in (*self._programs.values(), *self._map_fds):
            os.close(fd)
        self._programs, self._map_fds, self.maps = {}, (), {}

    def __enter__(self) -> Loaded:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _Tools:
    """What a unit is loaded with. See `load`."""

    __slots__ = ("features", "cache", "log_size", "ahead", "compiler")

    def __init__(
        self, features: Features, cache: Cache | None, log_size: int, ahead: MapsAhead | None, compiler: CompilerProcess | None
    ) -> None:
        self.features, self.cache, self.log_size = features, cache, log_size
        self.ahead, self.compiler = ahead, compiler


def load(
    unit: Unit, features: Features, *, cache: Cache | None = None, log_size: int = 1 << 24, ahead: MapsAhead | None = None,
    compiler: CompilerProcess | None = None,
) -> Loaded:  # fmt: skip
    """Compile a unit (or take it from `cache`), create its maps and load every program in the ways it will be attached.

    `compiler` compiles, this process if there is none. Of the maps of `ahead` those are used that fit; the others stay the
    caller's to close.
    Where the verifier gives up on the script's loops, they get fewer rounds (`Loaded.unit` tells) and it is asked again;
    where it does not let the program look into the task_struct, `comm` is read by a helper.
    Raises `HostError` where this machine or user cannot, or the program is more than the verifier follows, `InternalError`
    where clang or the verifier refuses what we made.
    """
    tools = _Tools(features, cache, log_size, ahead, compiler)
    if unit.task_comm is not None:
        try:
            return _load_with_loops(unit.with_task_comm(), tools)
        except BpftraceError as error:
            if not isinstance(error.__cause__, kernel.LoadError):
                raise
    return _load_with_loops(unit, tools)


def first_form(unit: Unit, features: Features) -> Unit:
    """The form of a unit that `load` will try first."""
    if unit.task_comm is not None:
        unit = unit.with_task_comm()
    return unit.with_kernel_loops() if unit.bounded_loops and features.may_goto else unit


def _load_with_loops(unit: Unit, tools: _Tools) -> Loaded:
    if unit.bounded_loops and tools.features.may_goto:
        try:
            return _load(unit.with_kernel_loops(), tools)
        except BpftraceError as error:
            if not isinstance(error.__cause__, kernel.LoadError):
                raise
    while True:
        try:
            return _load(unit, tools)
        except BpftraceError as error:
            cause = error.__cause__
            shorter = unit.with_shorter_loops()
            if shorter is None or not isinstance(cause, kernel.LoadError) or cause.errno not in _TOO_COMPLEX:
                raise
            unit = shorter


def _load(unit: Unit, tools: _Tools) -> Loaded:
    try:
        return _load_once(unit, tools)
    except BpftraceError as error:
        # EFAULT is the verifier's word for a mistake of its own. The one that is known is avoided by the other form.
        if not isinstance(error.__cause__, kernel.LoadError) or error.__cause__.errno != errno.EFAULT:
            raise
    return _load_once(unit.with_whole_stack(), tools)


def _load_once(unit: Unit, tools: _Tools) -> Loaded:
    started = time.perf_counter()
    functions = [program.function for program in unit.programs]
    cache, key = tools.cache, ""
    if cache is not None:
        key = image_key(unit.c_source, _HEADERS, functions)
    image = cache.load_image(key) if cache is not None else None
    from_cache, output = image is not None, ""
    if image is None:
        image, output = _compile(unit.c_source, functions, tools.compiler)
        if cache is not None:
            cache.store_image(key, image)
    compiled_at = time.perf_counter()
    loaded = Loaded(unit, image, _create_maps(image, tools.ahead), tools.features, tools.log_size)
    try:
        loaded.from_cache, loaded.compiler_output = from_cache, output
        loaded.links = plan(unit, tools.features)
        _load_programs(loaded)
    except BaseException:
        loaded.close()
        raise
    loaded.times = {"compile": compiled_at - started, "load": time.perf_counter() - compiled_at}
    return loaded


def _compile(c_source: str, functions: list[str], compiler: CompilerProcess | None) -> tuple[Image, str]:
    if compiler is not None:
        return compiler.compile(c_source, functions)
    from bpftrace_py.runtime import bcc_backend

    return bcc_backend.compile_image(c_source, functions)


def _create_maps(image: Image, ahead: MapsAhead | None) -> tuple[int, ...]:
    fds: list[int] = []
    try:
        for spec in image.maps:
            begun = ahead.take(spec) if ahead is not None else None
            fds.append(_create_map(spec) if begun is None else begun)
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise
    return tuple(fds)


def _create_map(spec: MapSpec) -> int:
    try:
        return with_memory(
            lambda: kernel.map_create(
                spec.kind, spec.key_size, spec.value_size, spec.max_entries, spec.flags, spec.name
            )
        )
    except OSError as error:
        from bpftrace_py.runtime import refused

        raise refused.map_not_created(
            spec.name, spec.key_size + spec.value_size, spec.max_entries, error.errno or 0
        ) from error


def _load_programs(loaded: Loaded) -> None:
    """Load what the plan needs, and programs without any attachment, before anything is attached."""
    for link in loaded.links:
        # fentry is loaded for its function, which this kernel may not have: that is a failure to attach.
        if link.method not in ("fentry", "fexit"):
            load_variant(loaded, link.program.function, link.expected_attach_type)


def load_variant(
    loaded: Loaded, function: str, expected_attach_type: int = 0, attach_btf_id: int = 0, btf_object: int = 0
) -> int:
    """`Loaded.program`, with a refusal turned into the error that the user sees."""
    try:
        return loaded.program(function, expected_attach_type, attach_btf_id, btf_object)
    except kernel.LoadError as error:
        from bpftrace_py.runtime import refused

        line = loaded.unit.program(function).line
        raise refused.by_verifier(loaded.unit.name, line, error.errno or 0, error.log) from error


def with_memory(attempt: Callable[[], int]) -> int:
    """`attempt()`, tried again with RLIMIT_MEMLOCK raised: kernels before 5.11 count maps and programs against it."""
    try:
        return attempt()
    except OSError as error:
        if error.errno != errno.EPERM or not _raise_memory_limit():
            raise
    return attempt()


def _raise_memory_limit() -> bool:
    import resource

    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (OSError, ValueError):
        return False
    return True
