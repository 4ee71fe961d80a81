"""`Output`: what a session says to its user, whatever the form. `Writer`: how that reaches a file descriptor."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod

from bpftrace_py.codegen.unit import ScriptMap
from bpftrace_py.output.values import Texts, Value
from bpftrace_py.types import Type

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    from collections.abc import Iterable

    from bpftrace_py.output.maps import Element
    from bpftrace_py.runtime.totals import Totals

_FULL = 1 << 16  # bytes; a pipe holds this much


class Writer:
    """One buffer before one file descriptor, which stays the caller's.

    `mode` is that of `-B`: `none` writes at once, `line` at the end of a batch of events (`settle`), `full` what does
    not fit the buffer. Errors of write(2) surface as `BrokenPipeError` or another `OSError`, and what could not be
    written is dropped.
    """

    def __init__(self, fd: int = 1, mode: str = "line") -> None:
        assert mode in ("line", "full", "none")
        self.fd = fd
        self.mode = mode
        self.waiting: list[bytes] = []  # to be written
        self._size = 0

    def write(self, data: bytes) -> None:
        self.waiting.append(data)
        self._size += len(data)
        if self._size >= _FULL or self.mode == "none":
            self.flush()

    def settle(self) -> None:
        """A batch of events is through: nothing more may come for long."""
        if self.mode != "full":
            self.flush()

    def flush(self) -> None:
        """Write all there is."""
        if not self.waiting:
            return
        data = memoryview(self.waiting[0] if len(self.waiting) == 1 else b"".join(self.waiting))
        self.waiting, self._size = [], 0
        while data:
            try:
                data = data[os.write(self.fd, data) :]
            except BlockingIOError:  # somebody else made our standard output non-blocking
                import select

                select.select((), (self.fd,), ())


class Output(ABC):
    """The interface. All text is bytes: traced strings need not be UTF-8. Methods write to `writer` and do not flush.

    `texts` prints values; its `escape` says whether control characters of traced text are made harmless, which is for
    output that goes to a terminal. A script's own text always goes as it is, and so does what its `system()` commands print,
    unless they were given traced text.
    """

    wants_totals = False  # whether `totals` says anything
    printf_as_it_is = False  # whether `printf` writes its texts, one behind the other, and does nothing else

    def __init__(self, writer: Writer, texts: Texts) -> None:
        self.writer = writer
        self.texts = texts

    @abstractmethod
    def attached(self, probes: int) -> None:
        """Before attaching: how many probes there are."""

    @abstractmethod
    def printf(self, texts: list[bytes]) -> None:
        """Formatted text of consecutive `printf` events."""

    @abstractmethod
    def time(self, text: bytes) -> None:
        """What `time()` made, its newline included if it has one."""

    @abstractmethod
    def join(self, text: bytes) -> None:
        """Joined strings, unescaped and without a newline."""

    @abstractmethod
    def cat(self, content: bytes) -> None:
        """The content of a file, unescaped."""

    @abstractmethod
    def system(self, content: bytes, traced: bool = False) -> None:
        """What a command printed. `traced`: it was given text of what is traced, and may have printed that."""

    @abstractmethod
    def value(self, type: Type, value: Value) -> None:
        """`print(expression)`."""

    @abstractmethod
    def map(self, script_map: ScriptMap, elements: Iterable[Element], top: int = 0, divisor: int = 0) -> None:
        """`print(@map, top, divisor)`, and every map at the end; with one element also `print(@map[key])`."""

    @abstractmethod
    def lost(self, events: int) -> None:
        """So many events found no room since this was last said."""

    @abstractmethod
    def warning(self, text: str) -> None:
        """A warning of the run: rendered lines without a last newline."""

    @abstractmethod
    def helper_error(self, helper: str, error: int, line: int, column: int, text: str) -> None:
        """`-k`: a helper returned the negative errno `error`. `text` is the diagnostic, rendered."""

    @abstractmethod
    def end_of_events(self) -> None:
        """Probes are detached; what follows are the maps."""

    def totals(self, totals: Totals) -> None:
        """How the run went, after the maps."""
        raise AssertionError("not wanted")

    def finish(self) -> None:
        """Nothing follows."""
        self.writer.flush()
