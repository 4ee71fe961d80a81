"""The files that a command line names: the script that is read, the output that is written."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from stat import S_ISFIFO, S_ISREG, S_IWOTH

from bpftrace_py import messages
from bpftrace_py.diagnostics import HostError, Message, host_error, reason_of

SCRIPT_LIMIT = 64 << 20  # bytes


def read_script(name: str) -> str:
    """The text of a script, `-` for standard input. Bytes that are not UTF-8 become surrogate escapes. Raises `HostError`
    for a file that cannot be read or is no script."""
    try:
        fd = 0 if name == "-" else os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = _read_all(fd, SCRIPT_LIMIT + 1)
        finally:
            if fd:
                os.close(fd)
    except (OSError, ValueError) as error:
        shown = "on standard input" if name == "-" else name or '""'
        hint = "-e goes before a program that is not in a file" if "{" in name else None
        raise _refused(messages.SCRIPT_UNREADABLE, shown, error, hint) from error
    if len(data) > SCRIPT_LIMIT:
        raise host_error(messages.SCRIPT_TOO_LARGE, name=name, limit=SCRIPT_LIMIT)
    if b"\0" in data:
        raise host_error(messages.SCRIPT_NOT_TEXT, name=name)
    return data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")  # the byte order mark of some editors


def _read_all(fd: int, limit: int) -> bytes:
    parts, size = [], 0
    while size < limit and (part := os.read(fd, 1 << 20)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def open_output(name: str) -> int:
    """A file descriptor for `-o`. Raises `HostError` if the file cannot be written.

    For root, a symbolic link or a file that another user has put into a directory which all may write to is not touched.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
    try:
        with suppress(FileNotFoundError):
            if S_ISFIFO((found := os.lstat(name)).st_mode):
                _check_planted(found, name)  # now: opening one waits for a reader
        try:
            fd = os.open(name, flags | os.O_NOFOLLOW, 0o666)
        except OSError:
            # /dev/stdout and the like are links, too, but not somebody else's.
            if not os.path.islink(name) or os.lstat(name).st_uid not in (0, os.geteuid()):
                raise
            fd = os.open(name, flags, 0o666)
        try:
            _check_and_empty(fd, name)
        except BaseException:
            os.close(fd)
            raise
    except (OSError, ValueError) as error:
        raise _refused(messages.OUTPUT_UNWRITABLE, name, error) from error
    return fd


def _check_and_empty(fd: int, name: str) -> None:
    status = os.fstat(fd)
    _check_planted(status, name)
    if S_ISREG(status.st_mode):
        os.ftruncate(fd, 0)


def _check_planted(status: os.stat_result, name: str) -> None:
    """Refuse what others can have put into a directory which all may write to: a file or a FIFO of theirs, and a hard link
    to a file of ours. The kernel refuses most of that by itself where fs.protected_* are set; not everywhere they are."""
    if not (S_ISREG(status.st_mode) or S_ISFIFO(status.st_mode)):
        return
    directory = os.stat(os.path.dirname(name) or ".")
    if not directory.st_mode & S_IWOTH:
        return
    if status.st_uid not in (os.geteuid(), directory.st_uid):
        raise PermissionError(errno.EPERM, "it is another user's, in a directory that all may write to")
    if S_ISREG(status.st_mode) and status.st_nlink > 1:
        raise PermissionError(errno.EPERM, "it has another name elsewhere, and is in a directory that all may write to")


def _refused(message: Message, name: str, error: OSError | ValueError, hint: str | None = None) -> HostError:
    reason = reason_of(error) if isinstance(error, OSError) else "its name has a NUL character"
    return host_error(message, hint=hint, name=name, reason=reason)


@contextmanager
def in_root() -> Iterator[None]:
    """Out of a current directory that has been deleted, for a while. No file can be named by where it is from there."""
    deleted = os.open(".", os.O_PATH | os.O_CLOEXEC)
    os.chdir("/")
    try:
        yield
    finally:
        os.fchdir(deleted)
        os.close(deleted)
