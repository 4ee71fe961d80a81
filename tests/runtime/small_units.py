"""Small units written by hand, for the tests of what is between the compiler and the kernel."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

from bpftrace_py.codegen.unit import Attachment, ProgramSpec, ScriptMap, Special, Target, Unit
from bpftrace_py.runtime.features import Features
from bpftrace_py.runtime.loader import Loaded, load
from bpftrace_py.types import Type

FEATURES = Features()
BEGIN = (Attachment(Special("BEGIN")),)
LIBC = ctypes.CDLL(None)


def program(function: str, *targets: Target | Attachment, kind: str = "raw_tracepoint", line: int = 1) -> ProgramSpec:
    attachments = tuple(t if isinstance(t, Attachment) else Attachment(t) for t in targets)
    return ProgramSpec(function, kind, attachments, line)


def unit(c_source: str, *programs: ProgramSpec, maps: tuple[ScriptMap, ...] = (), **tables: str) -> Unit:
    return Unit("test.bt", c_source, programs, maps, (), **tables)


def script_map(value: Type, *keys: Type, storage: str, max_entries: int = 64, name: str = "x") -> ScriptMap:
    return ScriptMap(name, f"map_{name}", keys, value, storage, max_entries)


@contextmanager
def loaded(of: Unit, features: Features = FEATURES) -> Iterator[Loaded]:
    with load(of, features) as result:
        yield result


@contextmanager
def on_cpu(cpu: int) -> Iterator[None]:
    """This thread runs on one CPU only: so do the programs that it runs."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def words(raw: bytes | None) -> tuple[int, ...]:
    assert raw is not None
    return tuple(memoryview(raw).cast("Q"))
