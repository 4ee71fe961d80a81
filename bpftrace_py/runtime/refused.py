"""What the user is told when clang or the kernel's verifier refuses what we generated: our sentence first, the place in
the script, the lines of the log that matter, and how many were left out. The whole log goes with the exception."""

from __future__ import annotations

import errno
import os

from bpftrace_py import messages
from bpftrace_py.diagnostics import BpftraceError, Diagnostic, InternalError, Message, Severity, host_error

EXCERPT_LINES = 8
_C_FILE = "/virtual/main.c:"  # the name under which BCC gives the text to clang
_NOISE = ("processed ", "verification time", "stack depth", "mark_precise", "WARNING: ", "program of this loader")


def by_clang(c_source: str, log: str) -> BpftraceError:
    """`HostError` if BCC could not create a map, else `InternalError`."""
    lines = [line for line in log.splitlines() if line.strip()]
    for line in lines:
        if line.startswith("could not open bpf map"):  # BCC's words: "could not open bpf map: <name>, error: <reason>"
            name, _, reason = line.partition(":")[2].partition(", error:")
            if reason.strip() == os.strerror(errno.EPERM):
                return _not_permitted()
            return _map_not_created(name.strip(), "", reason.strip(), too_large=True)
    first = next((i for i, line in enumerate(lines) if "error:" in line), 0)
    line_number = _c_line(lines[first]) if lines else None
    place = script_place(c_source, line_number) if line_number else None
    return _internal(messages.COMPILE_REFUSED, lines[first:], 0, log, place or "the script")


def by_verifier(script: str, line: int, number: int, log: str) -> BpftraceError:
    """`HostError` if the user may not load programs at all, else `InternalError`."""
    if number in (errno.EPERM, errno.EACCES) and not log.strip():
        return _not_permitted()
    if number == errno.ENOSYS:
        return host_error(messages.KERNEL_WITHOUT_BPF)
    lines = [text for text in log.splitlines() if text.strip() and not text.startswith(_NOISE)]
    skipped = max(0, len(lines) - EXCERPT_LINES)
    return _internal(
        messages.VERIFIER_REFUSED, lines[skipped:], skipped, log, f"{script}:{line}", reason=os.strerror(number)
    )


def map_not_created(name: str, size: int, entries: int, number: int) -> BpftraceError:
    """`size`: bytes of a key and a value."""
    if number == errno.EPERM:
        return _not_permitted()
    if number == errno.ENOSYS:
        return host_error(messages.KERNEL_WITHOUT_BPF)
    room = f" ({entries} keys, {size} bytes each with its value)"
    return _map_not_created(name, room, os.strerror(number), too_large=number in (errno.ENOMEM, errno.E2BIG))


def _map_not_created(name: str, room: str, reason: str, too_large: bool) -> BpftraceError:
    hint = "a smaller BPFTRACE_MAP_KEYS_MAX or BPFTRACE_STRLEN takes less memory" if too_large else None
    return host_error(messages.MAP_NOT_CREATED, map=name, room=room, reason=reason, hint=hint)


def script_place(c_source: str, line_number: int) -> str | None:
    """The `script:line` of a 1-based line of the generated C: that of the comment `// script:line: ...` above it."""
    for text in reversed(c_source.splitlines()[:line_number]):
        comment = text.partition("// ")[2]
        parts = comment.split(":", 2)
        if len(parts) >= 2 and parts[1].isdigit():
            return f"{parts[0]}:{parts[1]}"
    return None


def _c_line(message: str) -> int | None:
    """The line of the C text that a message of clang names."""
    number = message.partition(_C_FILE)[2].partition(":")[0]
    return int(number) if number.isdigit() else None


def _not_permitted() -> BpftraceError:
    return host_error(
        messages.NOT_PERMITTED, hint="run as root" if os.geteuid() else "is kernel lockdown on, or a container around?"
    )


def _internal(message: Message, lines: list[str], before: int, log: str, place: str, **values: object) -> InternalError:
    shown = lines[:EXCERPT_LINES]
    left_out = before + len(lines) - len(shown)
    excerpt = "".join(f"\n    | {line}" for line in shown)
    if left_out:
        excerpt += f"\n    | ({left_out} more line{'s' * (left_out > 1)} with -v)"
    text = message.template.format(place=place, excerpt=excerpt, **values)
    error = InternalError([Diagnostic(Severity.ERROR, message.code, text)])
    error.log = log
    return error
