"""bpftrace-py: the bpftrace language on BCC.

    unit = bpftrace_py.transpile("BEGIN { @x = 1; }")     # pure: neither root nor BCC
    print(unit.c_source)

    with bpftrace_py.trace("interval:ms:100 { @ = count(); }") as session:
        session.run(seconds=1)
    print(session.maps[""])

Everything is imported when it is first used: `import bpftrace_py` alone costs nothing.
"""

from __future__ import annotations

from bpftrace_py.version import __version__

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    from bpftrace_py.asynchronous import AsyncTraceSession as AsyncTraceSession
    from bpftrace_py.config import Config as Config
    from bpftrace_py.diagnostics import BpftraceError as BpftraceError
    from bpftrace_py.diagnostics import CompileError as CompileError
    from bpftrace_py.diagnostics import Diagnostic as Diagnostic
    from bpftrace_py.diagnostics import HostError as HostError
    from bpftrace_py.diagnostics import InternalError as InternalError
    from bpftrace_py.host import Host as Host
    from bpftrace_py.host import NoHost as NoHost
    from bpftrace_py.library import TraceSession as TraceSession
    from bpftrace_py.library import trace as trace
    from bpftrace_py.library import transpile as transpile
    from bpftrace_py.results import Average as Average
    from bpftrace_py.results import Bucket as Bucket
    from bpftrace_py.results import Event as Event
    from bpftrace_py.results import Histogram as Histogram
    from bpftrace_py.results import Stats as Stats
    from bpftrace_py.results import Table as Table

_WHERE = {
    "AsyncTraceSession": "asynchronous", "Average": "results", "BpftraceError": "diagnostics", "Bucket": "results",
    "CompileError": "diagnostics", "Config": "config", "Diagnostic": "diagnostics", "Event": "results",
    "Histogram": "results", "Host": "host", "HostError": "diagnostics", "InternalError": "diagnostics", "NoHost": "host",
    "Stats": "results", "Table": "results", "TraceSession": "library", "trace": "library", "transpile": "library",
}  # fmt: skip

__all__ = [
    "AsyncTraceSession", "Average", "BpftraceError", "Bucket", "CompileError", "Config", "Diagnostic", "Event", "Histogram",
    "Host", "HostError", "InternalError", "NoHost", "Stats", "Table", "TraceSession", "__version__", "trace", "transpile",
]  # fmt: skip


if not TYPE_CHECKING:  # for a type checker, what is not named above is not there

    def __getattr__(name: str) -> object:
        module = _WHERE.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value: object = getattr(import_module(f"{__name__}.{module}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
