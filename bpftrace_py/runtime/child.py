"""The processes that a session belongs to: the command of `-c`, and the process of `-p`.

The command is traced by ptrace(2) until `Child.start` lets it go. It stands still before it is executed, so that probes see
the execve(2), too; or, for probes that are looked for in it, at the first instruction of its image, when its files are
mapped and none of its code has run.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shlex
import signal
import time
from contextlib import suppress

from bpftrace_py import messages
from bpftrace_py.diagnostics import HostError, host_error, reason_of

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from typing import NoReturn

_PTRACE_TRACEME, _PTRACE_CONT, _PTRACE_DETACH, _PTRACE_SETOPTIONS = 0, 7, 17, 0x4200
_PTRACE_O_EXITKILL = 1 << 20
_PR_SET_PDEATHSIG = 1
_GRACE = 1.0  # seconds that a command has to end after it was told to
_HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
_NOT_TRACED = 0  # in place of an error number: ptrace(2) itself was refused


def probes_look_into(program: str) -> bool:
    """Whether a program may have probes on user-space code, which are looked for in the command's files and memory."""
    import re

    return re.search(r"\b(usdt|U|u(ret)?probe|ur?)\s*:", program) is not None


class Child:
    """A command that was started and stands still until `start()`.

    `pid` is its process id, `pidfd` becomes readable when it ends. Not thread-safe: ptrace(2) belongs to one thread, so
    `start` must be called by the thread that made the object.
    """

    def __init__(self, command: str, *, executed: bool = True) -> None:
        """Start `command`, split into words as a shell would. Raises `HostError` if that is not possible.

        Unless `executed`, it stands before its execve(2), if that is sure to work.
        """
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise host_error(messages.COMMAND_SYNTAX, command=command, reason=str(error).lower().rstrip(".")) from error
        if not words:
            raise host_error(messages.COMMAND_EMPTY)
        path = _executable(words[0])
        self._words, self._path = words, path or words[0]
        # Looked up now: another thread may hold the dynamic loader's lock when the process is made.
        libc = ctypes.CDLL(None, use_errno=True)
        self._prctl, self._ptrace = libc.prctl, libc.ptrace
        self._ptrace.restype = ctypes.c_long
        self._ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        self._stopped = True
        self._signalled = False
        self._status: int | None = None  # as from waitpid(2), once it has ended
        self.pidfd = -1
        self._errors = self._fork()
        try:
            self._wait_for_stop()
            self._ptrace(_PTRACE_SETOPTIONS, self.pid, None, _PTRACE_O_EXITKILL)
            if executed or path is None:
                self._ptrace(_PTRACE_CONT, self.pid, None, None)
                self._wait_for_stop()
            self.pidfd = self._open_pidfd(words[0])
        except BaseException:
            self._kill()
            self._wait()
            os.close(self._errors)
            raise

    def _fork(self) -> int:
        """Make the process: a pipe on which it tells why it could not be executed, and that is closed when it is."""
        errors, written = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            self._execute(written)
        os.close(written)
        return errors

    def _execute(self, errors: int) -> NoReturn:
        """In the forked process. Little may be done here: other threads' locks may be held in this copy of the memory."""
        try:
            os.closerange(3, errors)
            os.closerange(errors + 1, os.sysconf("SC_OPEN_MAX"))
            for number in _HANDLED:
                if callable(signal.getsignal(number)):
                    signal.signal(number, signal.SIG_DFL)
            for number in _IGNORED_BY_PYTHON:
                signal.signal(number, signal.SIG_DFL)
            self._prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)  # nothing is left behind if we are killed
            if self._ptrace(_PTRACE_TRACEME, 0, None, None) == 0:
                os.kill(os.getpid(), signal.SIGSTOP)  # until `start`, or until the image is wanted
                os.execvp(self._path, self._words)
            os.write(errors, b"%d" % _NOT_TRACED)
        except OSError as error:
            os.write(errors, b"%d" % (error.errno or errno.EIO))
        finally:
            os._exit(127)

    def _wait_for_stop(self) -> None:
        """Until it stands still. Raises `HostError` if it ends instead."""
        _, status = os.waitpid(self.pid, 0)
        if not os.WIFSTOPPED(status):
            self._status = status
            self._check_executed()
            raise host_error(
                messages.COMMAND_NOT_STARTED, command=self._words[0], reason="it ended before its first instruction"
            )

    def _check_executed(self) -> None:
        """Raises `HostError` if execve(2) has failed; waits until it has done one or the other."""
        told = os.read(self._errors, 16)
        if not told:
            return
        reason = _why_not_executed(self._path, int(told))
        raise host_error(messages.COMMAND_NOT_STARTED, command=self._words[0], reason=reason)

    def _open_pidfd(self, name: str) -> int:
        try:
            return os.pidfd_open(self.pid)
        except OSError as error:
            reason = f"it cannot be watched: {_lowered(os.strerror(error.errno or 0))}"
            raise host_error(messages.COMMAND_NOT_STARTED, command=name, reason=reason) from error

    def start(self) -> None:
        """Let the command run. A second call does nothing. Raises `HostError` if it turns out that it cannot be executed."""
        if self._stopped:
            self._stopped = False
            self._ptrace(_PTRACE_DETACH, self.pid, None, None)
            self._check_executed()

    @property
    def ended(self) -> bool:
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = status
        return self._status is not None

    @property
    def exit_status(self) -> int | None:
        """How it ended by itself: its exit status, or the negative number of a signal that was not ours. None as long as it
        runs, and if we told it to end."""
        if self._stopped or self._signalled or not self.ended or self._status is None:
            return None
        return os.waitstatus_to_exitcode(self._status)

    def signal(self, number: int) -> None:
        """Pass a signal on; nothing happens if the command has ended. `close` then waits for what it makes of it."""
        if not self._stopped:
            self._signalled = True
            self._send(number)

    def _send(self, number: int) -> None:
        if not self.ended:  # and its id is nobody else's
            os.kill(self.pid, number)

    def _kill(self) -> None:
        self._send(signal.SIGKILL)

    def _wait(self) -> None:
        if self._status is None:
            self._status = os.waitpid(self.pid, 0)[1]

    def close(self) -> None:
        """End the command if it still runs: SIGTERM, and SIGKILL if it has not ended a second later.

        One that was just passed a signal has a second before that.
        """
        if self._stopped and not self.ended:
            self._kill()  # it has not run yet: it cannot have anything to clean up
        elif not (self._signalled and self._ends_soon()) and not self.ended:
            self._signalled = True
            others = descendants(self.pid)
            self._send(signal.SIGTERM)
            signal_each(others, signal.SIGTERM)
            if not self._ends_soon():
                self._kill()
        self._wait()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            os.close(self._errors)
            self.pidfd = -1

    def _ends_soon(self) -> bool:
        deadline = time.monotonic() + _GRACE
        while not self.ended and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.ended


def _executable(name: str) -> str | None:
    """The path of a command that execve(2) is sure to take; None if it may refuse it, or if there is none."""
    import shutil

    path = shutil.which(name)
    try:
        with open(path or "", "rb") as file, open("/proc/self/exe", "rb") as ours:
            head, native = file.read(128), ours.read(20)
    except OSError:
        return None
    if head[:2] == b"#!":
        interpreter = head[2:].split(b"\n")[0].split()[:1]
        return path if interpreter and os.access(interpreter[0], os.X_OK) and os.path.isfile(interpreter[0]) else None
    if len(head) < 64 or head[:6] != native[:6] or head[18:20] != native[18:20]:  # ELF, its class and order; the machine
        return None
    return path


def _why_not_executed(path: str, number: int) -> str:
    if number == _NOT_TRACED:
        return "it cannot be traced"
    if number == errno.EACCES and os.path.exists(path):
        return "it is a directory" if os.path.isdir(path) else "it is not executable"
    if number == errno.ENOEXEC:
        return "it is neither a program for this machine nor a script that begins with `#!` (`-c 'sh SCRIPT'` runs one that does not)"
    if number == errno.ENOENT and "/" not in path:
        return "there is no such command in PATH"
    if number == errno.ENOENT and os.path.exists(path):
        with suppress(OSError), open(path, "rb") as file:
            first = file.readline(256)
            if first.startswith(b"#!"):
                return f"its interpreter {os.fsdecode(first[2:].strip())} does not exist"
            return "the loader of programs that it asks for does not exist"
    return _lowered(os.strerror(number))


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
    return host_error(messages.PROCESS_UNUSABLE, pid=pid, reason=reason_of(error))


def _status(pid: int, key: str) -> str:
    """An entry of /proc/PID/status, which threads have, too; empty if there is none."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            return next((line.partition(":")[2].strip() for line in file if line.startswith(f"{key}:")), "")
    except OSError:
        return ""


def _lowered(reason: str) -> str:
    return reason[:1].lower() + reason[1:]
