"""A text of many programs is compiled in parts, side by side, each by a process that has LLVM already.

LLVM takes some 10 ms for each program of a script, and one CPU. All parts have the same tables, so that what comes of them is what
comes of the whole.
"""

from __future__ import annotations

import os
import re

from bpftrace_py.runtime import bcc_backend, child_messages
from bpftrace_py.runtime.image import Image

PROGRAMS_WORTH_IT = 4  # in a part; with fewer, forking and reading the text once more take what is won
_MOST_PARTS = 8


def compile_parts(c_source: str, functions: tuple[str, ...]) -> tuple[Image, str]:
    """As `bcc_backend.compile_image`, for a process without other threads. Raises `EOFError` if a process beside it has ended."""
    parts = split(c_source, functions, len(os.sched_getaffinity(0)))
    beside: list[_Beside] = []
    try:
        for part in parts[1:]:
            beside.append(_Beside(*part))
        image, log = bcc_backend.compile_image(*parts[0])
        programs = dict(image.programs)
        for other in beside:
            other_image, other_log = other.result()
            assert [spec.plain() for spec in other_image.maps] == [spec.plain() for spec in image.maps]
            programs.update(other_image.programs)
            log += other_log
    finally:
        for other in beside:
            other.close()
    return Image(image.maps, {function: programs[function] for function in functions}, image.license), log


def split(c_source: str, functions: tuple[str, ...], cpus: int) -> list[tuple[str, tuple[str, ...]]]:
    """Texts of about the same length, each with some of the functions and all else; together they have every function."""
    texts = {function: _text(c_source, function) for function in functions}
    count = min(cpus, _MOST_PARTS, len(functions) // PROGRAMS_WORTH_IT)
    if count < 2 or None in texts.values():
        return [(c_source, functions)]
    lengths = [0] * count
    chosen: list[set[str]] = [set() for _ in range(count)]
    for function in sorted(functions, key=lambda function: -len(texts[function] or "")):
        part = lengths.index(min(lengths))
        chosen[part].add(function)
        lengths[part] += len(texts[function] or "")
    parts = []
    for mine in chosen:
        text = c_source
        for function in functions:
            if function not in mine:
                text = text.replace(texts[function] or "", "\n", 1)
        parts.append((text, tuple(function for function in functions if function in mine)))
    return parts


def _text(c_source: str, function: str) -> str | None:
    """The definition of a function: up to the first brace that is not indented."""
    found = re.search(rf"^int {re.escape(function)}\(.*?^}}\n", c_source, re.MULTILINE | re.DOTALL)
    return found[0] if found else None


class _Beside:
    """A process that compiles one part."""

    def __init__(self, c_source: str, functions: tuple[str, ...]) -> None:
        self._replies, reply = os.pipe2(os.O_CLOEXEC)
        parent = os.getpid()
        self._pid = os.fork()
        if not self._pid:
            try:
                child_messages.end_with(parent)
                image, log = bcc_backend.compile_image(c_source, functions)
                child_messages.send(reply, (image.plain(), log))
            finally:
                os._exit(0)
        os.close(reply)

    def result(self) -> tuple[Image, str]:
        image, log = child_messages.receive(self._replies)
        return Image.from_plain(image), log

    def close(self) -> None:
        os.close(self._replies)
        os.waitpid(self._pid, 0)
