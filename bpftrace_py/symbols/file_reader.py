"""Files that may be anything, read without trusting them: what `ElfFile` and pyelftools read through.

Nothing is mapped (a file cut short under a mapping kills the process), neither a FIFO nor a device is waited for, and a
part is only read once the file is seen to be long enough to have it.
"""

from __future__ import annotations

import io
import os
import stat

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_LARGEST_PART = 1 << 29  # bytes; the string table of a browser's debug file is about a fifth of this


class ElfError(Exception):
    """A file that cannot be used; the text is a reason that can follow "because"."""


class FileReader(io.RawIOBase):
    """One plain file as a raw stream. What goes wrong is an `ElfError`. The descriptor can be let go of in between:
    the next read opens the file again, if it is still the same."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.length = 0
        self._descriptor: int | None = None
        self._identity: tuple[int, ...] | None = None
        self._position = 0
        self._open()

    def release(self) -> None:
        """Let go of the file, which would keep its file system busy."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def close(self) -> None:
        self.release()
        super().close()

    def _open(self) -> int:
        descriptor = _open_regular(self.path)
        status = os.fstat(descriptor)
        found = identity(status)
        if self._identity not in (None, found):
            os.close(descriptor)
            raise ElfError("it changed while it was read")
        self._descriptor, self._identity, self.length = descriptor, found, status.st_size
        return descriptor

    def read_at(self, offset: int, size: int) -> bytes:
        """All of a part of the file, which must have it."""
        if size > _LARGEST_PART:
            raise ElfError(f"it has a part of {size} bytes, which is too large")
        if offset < 0 or size < 0 or offset + size > self.length:
            raise ElfError("it is cut short or damaged")
        pieces = []
        while size:
            piece = self._read(offset, size)
            if not piece:
                raise ElfError("it is cut short or damaged")
            pieces.append(piece)
            offset += len(piece)
            size -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read(self, offset: int, size: int) -> bytes:
        """What one call gives: at least a byte, except at the end of the file."""
        descriptor = self._open() if self._descriptor is None else self._descriptor
        try:
            return os.pread(descriptor, size, offset)
        except OSError as error:
            raise ElfError(f"it cannot be read: {error.strerror}") from None

    # --- as a stream

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        piece = self._read(self._position, len(view))
        view[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.length}[whence]
        return self._position

    def tell(self) -> int:
        return self._position


def identity(status: os.stat_result) -> tuple[int, ...]:
    """What is another when a path leads to another file, or its file was written to."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _open_regular(path: str) -> int:
    """Open for reading; neither a FIFO nor a device may make us wait or do something."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening alone may do something: a watchdog starts
            raise ElfError("it is not a file")
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise ElfError(f"it cannot be opened: {error.strerror}") from None
    except ValueError:
        raise ElfError("its name has a NUL character") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ElfError("it is not a file")
    return descriptor
