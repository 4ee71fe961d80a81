"""Output as people read it."""

from __future__ import annotations

import os

from bpftrace_py.codegen.unit import ScriptMap
from bpftrace_py.output.base import Output
from bpftrace_py.output.values import Value, encode, escape_control
from bpftrace_py.types import Type

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    from collections.abc import Iterable

    from bpftrace_py.output.maps import Element


class TextOutput(Output):
    """Output as text: what is printed to one file descriptor, what is told about it to standard error."""

    printf_as_it_is = True

    def attached(self, probes: int) -> None:
        self.writer.write(b"Attaching %d probe%s...\n" % (probes, b"" if probes == 1 else b"s"))

    def printf(self, texts: list[bytes]) -> None:
        self.writer.write(b"".join(texts))

    def time(self, text: bytes) -> None:
        self.writer.write(text)

    def join(self, text: bytes) -> None:
        self.writer.write(self._traced(text) + b"\n")

    def cat(self, content: bytes) -> None:
        self.writer.write(self._traced(content))

    def system(self, content: bytes, traced: bool = False) -> None:
        self.writer.write(self._traced(content) if traced else content)

    def value(self, type: Type, value: Value) -> None:
        self.writer.write(self.texts.of(type)(value) + b"\n")

    def map(self, script_map: ScriptMap, elements: Iterable[Element], top: int = 0, divisor: int = 0) -> None:
        from bpftrace_py.output.maps import map_text  # here: most sessions print their maps when all is over

        self.writer.write(map_text(script_map, elements, self.texts, top, divisor))

    def lost(self, events: int) -> None:
        self.warning(f"Lost {events} events")

    def warning(self, text: str) -> None:
        """To standard error, after what was printed before."""
        self.writer.flush()
        _write_error(encode(text) + b"\n")

    def helper_error(self, helper: str, error: int, line: int, column: int, text: str) -> None:
        self.writer.write(encode(text) + b"\n")

    def end_of_events(self) -> None:
        # The first newline ends the line on which a terminal echoes ^C.
        self.writer.write(b"\n\n")

    def _traced(self, text: bytes) -> bytes:
        return escape_control(text) if self.texts.escape else text


def _write_error(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(2, view) :]
