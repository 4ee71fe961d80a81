"""Separate debug files: where distributions put the symbols that they take out of a program.

Two ways lead from a program to its file: the build id (`/usr/lib/debug/.build-id/ab/cdef.debug`) and the section
`.gnu_debuglink`, which has a file name and a checksum.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from bpftrace_py.symbols.elf import ElfFile

_DIRECTORY = "/usr/lib/debug"


def candidates(file: ElfFile) -> Iterator[str]:
    """The paths at which the debug file of `file` may be, the likeliest first."""
    build_id = file.build_id
    if build_id is not None and len(build_id) > 4:
        yield f"{file.root}{_DIRECTORY}/.build-id/{build_id[:2]}/{build_id[2:]}.debug"
    link = file.debug_link
    if link is None or not link[0] or "/" in link[0]:
        return
    inside = file.path.removeprefix(file.root) if file.root else file.path
    directory = os.path.dirname(os.path.realpath(file.path) if not file.root else inside)
    for place in (directory, f"{directory}/.debug", _DIRECTORY + directory):
        path = f"{file.root}{place}/{link[0]}"
        if path != file.path:
            yield path


def belongs_to(candidate: ElfFile, file: ElfFile) -> bool:
    """Whether a debug file was made from `file`: build ids agree, or, without them, the checksum in the link."""
    if candidate.machine != file.machine:
        return False
    if file.build_id is not None and candidate.build_id is not None:
        return file.build_id == candidate.build_id
    return file.debug_link is not None and _checksum(candidate) == file.debug_link[1]


def _checksum(file: ElfFile) -> int:
    import zlib

    value = 0
    for piece in file.contents():
        value = zlib.crc32(piece, value)
    return value
