"""CPUs that go offline take with them what was attached to them: the kernel does not give it back with the CPU."""

from __future__ import annotations

import errno
from _socket import SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, socket  # `socket` itself takes milliseconds to import

from bpftrace_py import messages
from bpftrace_py.diagnostics import Diagnostic, Severity

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    from collections.abc import Callable

_AF_NETLINK, _KOBJECT_UEVENT, _FROM_KERNEL = 16, 15, 1
_GONE = b"offline@/devices/system/cpu/cpu"


class CpuWatch:
    """Warns of each CPU that goes offline. `fd` is readable when the kernel has said something about its devices.

    Raises `OSError` if it may not be listened to.
    """

    def __init__(self, warn: Callable[[Diagnostic], None]) -> None:
        self._warn = warn
        self._socket = socket(_AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, _KOBJECT_UEVENT)
        try:
            self._socket.bind((0, _FROM_KERNEL))
        except OSError:
            self._socket.close()
            raise
        self.fd = self._socket.fileno()
        self._told: set[bytes] = set()

    def read(self) -> None:
        while True:
            try:
                event = self._socket.recv(1 << 12).partition(b"\0")[0]
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    continue  # there were too many for the socket: what follows can be read
                return
            cpu = event.removeprefix(_GONE)
            if cpu != event and cpu.isdigit() and cpu not in self._told:
                self._told.add(cpu)
                text = messages.CPU_GONE.template.format(cpu=int(cpu))
                self._warn(Diagnostic(Severity.WARNING, messages.CPU_GONE.code, text))

    def close(self) -> None:
        self._socket.close()
