"""The processes that a session belongs to: the command of `-c`, and the process of `-p`.

The command is started under ptrace(2), which stops it at the first instruction of its new image: its files are mapped
(so that probes in it can be found through /proc/PID/maps) and none of its code has run. `Child.start` lets it go.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import signal
import subprocess
import time
from contextlib import suppress

from bpftrace_py import messages
from bpftrace_py.diagnostics import HostError, host_error

_PTRACE_TRACEME, _PTRACE_DETACH, _PTRACE_SETOPTIONS = 0, 17, 0x4200
_PTRACE_O_EXITKILL = 1 << 20
_PR_SET_PDEATHSIG = 1
_GRACE = 1.0  # seconds that a command has to end after it was told to


class Child:
    """A command that was started and stands still until `start()`.

    `pid` is its process id, `pidfd` becomes readable when it ends. Not thread-safe: ptrace(2) belongs to one thread, so
    `start` must be called by the thread that made the object.
    """

    def __init__(self, command: str) -> None:
        """Start `command`, split into words as a shell would. Raises `HostError` if that is not possible."""
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise host_error(messages.COMMAND_SYNTAX, command=command, reason=str(error).lower().rstrip(".")) from error
        if not words:
            raise host_error(messages.COMMAND_EMPTY)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._ptrace = self._libc.ptrace
        self._ptrace.restype = ctypes.c_long
        self._ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        try:
            self._process = subprocess.Popen(words, preexec_fn=self._before_exec)
        except (OSError, subprocess.SubprocessError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "it cannot be traced"
            if isinstance(error, PermissionError) and os.path.exists(words[0]):
                reason = "it is a directory" if os.path.isdir(words[0]) else "it is not executable"
            raise host_error(messages.COMMAND_NOT_STARTED, command=words[0], reason=_lowered(reason)) from error
        self.pid = self._process.pid
        self._stopped = True
        self._signalled = False
        try:
            self._wait_for_exec(words[0])
            self.pidfd = self._open_pidfd(words[0])
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise

    def _before_exec(self) -> None:
        """In the forked process. Only two system calls: other threads' locks may be held in this copy of the memory."""
        self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)  # nothing is left behind if we are killed
        if self._ptrace(_PTRACE_TRACEME, 0, None, None) != 0:
            raise OSError(ctypes.get_errno(), "ptrace")

    def _wait_for_exec(self, name: str) -> None:
        _, status = os.waitpid(self.pid, 0)
        if not os.WIFSTOPPED(status):
            raise host_error(messages.COMMAND_NOT_STARTED, command=name, reason="it ended before its first instruction")
        self._ptrace(_PTRACE_SETOPTIONS, self.pid, None, _PTRACE_O_EXITKILL)

    def _open_pidfd(self, name: str) -> int:
        try:
            return os.pidfd_open(self.pid)
        except OSError as error:
            reason = f"it cannot be watched: {_lowered(os.strerror(error.errno or 0))}"
            raise host_error(messages.COMMAND_NOT_STARTED, command=name, reason=reason) from error

    def start(self) -> None:
        """Let the command run. A second call does nothing."""
        if self._stopped:
            self._stopped = False
            self._ptrace(_PTRACE_DETACH, self.pid, None, None)

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def signal(self, number: int) -> None:
        """Pass a signal on; nothing happens if the command has ended. `close` then waits for what it makes of it."""
        if not self._stopped:
            self._signalled = True
            self._process.send_signal(number)

    def close(self) -> None:
        """End the command if it still runs: SIGTERM, and SIGKILL if it has not ended a second later.

        One that was just passed a signal has a second before that.
        """
        if self._stopped and not self.ended:
            self._process.kill()  # it has not run yet: it cannot have anything to clean up
        elif not (self._signalled and self._ends_soon()) and not self.ended:
            others = descendants(self.pid)
            self._process.terminate()
            signal_each(others, signal.SIGTERM)
            if not self._ends_soon():
                self._process.kill()
        self._process.wait()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1

    def _ends_soon(self) -> bool:
        deadline = time.monotonic() + _GRACE
        while not self.ended and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.ended


def descendants(pid: int) -> list[int]:
    """The children of a process, and theirs: a shell that is ended does not end what it runs."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    parent = int(file.read().rpartition(b")")[2].split()[1])
            except (OSError, IndexError):
                continue  # it has gone
            children.setdefault(parent, []).append(int(name))
    found = list(children.get(pid, ()))
    for child in found:
        found += children.get(child, ())
    return found


def signal_each(pids: list[int], number: int) -> None:
    """Send a signal to each that is still there."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def open_process(pid: int) -> int:
    """A pidfd of a running process, readable when it ends. Raises `HostError` if there is no such process."""
    try:
        descriptor = os.pidfd_open(pid)
    except OverflowError as error:
        raise host_error(messages.NO_SUCH_PROCESS, pid=pid) from error
    except OSError as error:
        raise _no_process(pid, error) from error
    if _status(pid, "State")[:1] in ("Z", "X"):
        os.close(descriptor)
        raise host_error(messages.PROCESS_ENDED, pid=pid)
    return descriptor


def _no_process(pid: int, error: OSError) -> HostError:
    if isinstance(error, ProcessLookupError):
        return host_error(messages.NO_SUCH_PROCESS, pid=pid)
    leader = _status(pid, "Tgid")
    if leader not in ("", str(pid)):
        return host_error(messages.THREAD_NOT_PROCESS, pid=pid, hint=f"-p {leader} traces the process that it belongs to")
    return host_error(messages.PROCESS_UNUSABLE, pid=pid, reason=_lowered(error.strerror or str(error)))


def _status(pid: int, key: str) -> str:
    """An entry of /proc/PID/status, which threads have, too; empty if there is none."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            return next((line.partition(":")[2].strip() for line in file if line.startswith(f"{key}:")), "")
    except OSError:
        return ""


def _lowered(reason: str) -> str:
    return reason[:1].lower() + reason[1:]
