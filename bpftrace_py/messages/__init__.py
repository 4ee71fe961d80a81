"""Every sentence that bpftrace-py can say about a program or a machine, under its stable code: `messages.UNKNOWN_TYPE`.

E01 syntax, E02 probes, E03 names and types, E04 functions, E05 maps, E06 limits, E07 host and kernel, E08 options,
E09 run time; W the same for warnings. A code is never given a second meaning. `ALL` has all of them by their codes.

They are loaded when the first of them is asked for: most sessions say nothing, and should not wait for it.
"""

from __future__ import annotations

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    from bpftrace_py.messages.functions import *  # noqa: F403
    from bpftrace_py.messages.machine import *  # noqa: F403
    from bpftrace_py.messages.maps import *  # noqa: F403
    from bpftrace_py.messages.names import *  # noqa: F403
    from bpftrace_py.messages.options import *  # noqa: F403
    from bpftrace_py.messages.probes import *  # noqa: F403
    from bpftrace_py.messages.registry import ALL as ALL
    from bpftrace_py.messages.running import *  # noqa: F403
    from bpftrace_py.messages.syntax import *  # noqa: F403
else:

    def __getattr__(name):
        if name.isupper():
            _load()
            if name in globals():
                return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _load() -> None:
    from bpftrace_py.messages import functions, machine, maps, names, options, probes, registry, running, syntax

    for module in (functions, machine, maps, names, options, probes, registry, running, syntax):
        globals().update({name: value for name, value in vars(module).items() if name.isupper()})
