"""`CompilerProcess`: BCC and LLVM in a process of their own, beside this one.

Loading libbcc takes the dynamic loader some 20 ms, and its 100 MB stay with whoever has loaded it. A child does that on another CPU
while this process makes C of the script, compiles that, and goes: what traces for hours stays small, and cold and warm sessions
are the same but for where their bytecode comes from.

The child is a help, not a need: where there can be none, or somebody has killed it, this process compiles. What goes wrong in it
is told as if it had gone wrong here. A crash of LLVM takes the child along, and nothing else.
"""

from __future__ import annotations

import os

from bpftrace_py.runtime import child_messages
from bpftrace_py.runtime.image import Image

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    import signal
    from collections.abc import Sequence
    from typing import NoReturn

    from bpftrace_py.diagnostics import BpftraceError

    _Told = tuple[str, str, str, str | None]  # of a diagnostic: the kind of its error, code, text, hint
else:
    import _signal as signal  # `signal` makes enumerations of all its numbers: 2 ms


class CompilerProcess:
    """Compiles as `bcc_backend.compile_image` does. For the main thread of a process that has no others, before its signal
    handlers are set: the child starts with `begin_loading` or with the first text."""

    def __init__(self) -> None:
        self._pid = 0
        self._requests = self._replies = -1  # pipes to and from the child
        self._begun: tuple[str, tuple[str, ...]] | None = None  # the request whose reply was not read yet

    def begin_loading(self) -> None:
        """Start the child, if there is none, and return at once. Where there can be none, nothing happens."""
        if self._pid:
            return
        fds: list[int] = []
        try:
            fds += os.pipe2(os.O_CLOEXEC)
            fds += os.pipe2(os.O_CLOEXEC)
            parent = os.getpid()
            self._pid = os.fork()
        except OSError:
            _close(fds)
            return
        requests, self._requests, self._replies, replies = fds
        if not self._pid:
            _serve(requests, replies, parent)
        _close([requests, replies])

    def begin(self, c_source: str, functions: Sequence[str]) -> None:
        """Have the child compile this, and return at once: `compile` of the same text will find the work done."""
        self._request((c_source, tuple(functions)))

    def compile(self, c_source: str, functions: Sequence[str]) -> tuple[Image, str]:
        """See `bcc_backend.compile_image`. Raises `BpftraceError` as well if LLVM crashes."""
        request = c_source, tuple(functions)
        if self._begun is not None and self._begun != request:
            self._reply()
        if self._begun is None:
            self._request(request)
        reply = self._reply()
        if reply is not None:
            image, log, errors = reply
            if errors:
                raise _error(errors, log)
            return Image.from_plain(image), log
        from bpftrace_py.runtime import bcc_backend

        return bcc_backend.compile_image(c_source, functions)

    def _request(self, request: tuple[str, tuple[str, ...]]) -> None:
        self.begin_loading()
        if self._requests >= 0:
            try:
                child_messages.send(self._requests, request)
                self._begun = request
            except BrokenPipeError:
                self._check_crash()

    def _reply(self) -> tuple[object, str, list[_Told]] | None:
        """What became of the request: None if nothing did, since the child has ended."""
        if self._begun is None:
            return None
        self._begun = None
        try:
            reply: tuple[object, str, list[_Told]] = child_messages.receive(self._replies)
        except EOFError:
            self._check_crash()
            return None
        return reply

    def _check_crash(self) -> None:
        """The child has ended. If LLVM has crashed in it, or had no memory, it would do so here as well: raises `BpftraceError`."""
        pid, self._pid = self._pid, 0
        self.dismiss()
        os.close(self._replies)
        self._replies = -1
        _, status = os.waitpid(pid, 0)
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        if number != signal.SIGKILL:  # which others send, such as the OOM killer
            from bpftrace_py.runtime import refused

            if number or refused.addresses_are_limited():
                raise refused.compiler_crashed(number)

    @property
    def ended_fd(self) -> int | None:
        """Readable when the child has ended after `dismiss`; None if there is no child."""
        return self._replies if self._pid else None

    def dismiss(self) -> None:
        """There is nothing more to compile: the child ends, and meanwhile this process goes on. `close` has to follow."""
        if self._requests >= 0:
            os.close(self._requests)
            self._requests = -1

    def close(self) -> None:
        """End the child, whatever it is at; a second call does nothing."""
        self.dismiss()
        if self._pid:
            pid, self._pid = self._pid, 0
            os.close(self._replies)
            self._replies = -1
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _told(error: BpftraceError) -> list[_Told]:
    return [(type(error).__name__, d.code, d.text, d.hint) for d in error.diagnostics]


def _error(told: list[_Told], log: str) -> BpftraceError:
    """The error that a child has told of."""
    from bpftrace_py.diagnostics import Diagnostic, HostError, InternalError, Severity

    diagnostics = [Diagnostic(Severity.ERROR, code, text, hint=hint) for _, code, text, hint in told]
    if told[0][0] == HostError.__name__:
        return HostError(diagnostics)
    error = InternalError(diagnostics)
    error.log = log
    return error


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


# --- the child


def _serve(requests: int, replies: int, parent: int) -> NoReturn:
    """Compile what comes, until nothing more will. Does not return, and says nothing: see the module's text."""
    try:
        child_messages.end_with(parent)
        _leave_the_rest_to_the_parent(requests, replies)
        _compile_all(requests, replies)
    finally:
        os._exit(0)


def _leave_the_rest_to_the_parent(requests: int, replies: int) -> None:
    """Signals, standard streams, open files and the current directory are the parent's business."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT):  # a terminal sends them to both
        signal.signal(number, signal.SIG_IGN)
    first, second = sorted((requests, replies))
    os.closerange(3, first)
    os.closerange(first + 1, second)
    os.closerange(second + 1, os.sysconf("SC_OPEN_MAX"))
    os.chdir("/")  # BCC fails where the current directory has been deleted
    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        if fd != nowhere:
            os.dup2(nowhere, fd)


def _compile_all(requests: int, replies: int) -> None:
    import _thread
    import ctypes

    # On a third CPU while Python reads the modules. A foreign function runs without the interpreter's lock; `ctypes.CDLL` would
    # hold it all the while. Nothing waits for it: the import of the bindings does, and tells of a library that cannot be loaded.
    _thread.start_new_thread(ctypes.CDLL(None).dlopen, (b"libbcc.so.0", os.RTLD_NOW))
    from bpftrace_py.diagnostics import BpftraceError
    from bpftrace_py.runtime import bcc_backend, relocation_tables
    from bpftrace_py.runtime.compile_parts import compile_parts

    try:
        bcc_backend.bindings()
    except BpftraceError as error:
        child_messages.receive(requests)
        child_messages.send(replies, (None, "", _told(error)))
        return
    relocation_tables.give_back()
    while True:
        request = child_messages.receive(requests)
        try:
            image, log = compile_parts(*request)
            child_messages.send(replies, (image.plain(), log, []))
        except BpftraceError as error:
            child_messages.send(replies, (None, getattr(error, "log", ""), _told(error)))
