"""Keeps BCC from parsing all of /proc/kallsyms each time it compiles (120-190 ms).

BCC up to 0.28 checks there, in every `BPF()`, whether the kernel has a bug that an old `bpf_probe_read` needs a
workaround for; our programs call no such helper. The scan gives up at once if the effective uid is not 0, since
kallsyms shows no addresses to others. So while BCC compiles, this thread (and no other) gets another effective uid and
keeps every capability: SECBIT_NO_SETUID_FIXUP parts the two. If anything of this fails the scan is merely slow.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bpftrace_py.runtime import kernel

TYPE_CHECKING = False  # but for type checkers
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # `signal` makes enumerations of all its numbers: 2 ms

_PR_SET_PDEATHSIG, _PR_GET_PDEATHSIG, _PR_GET_DUMPABLE, _PR_SET_DUMPABLE = 1, 2, 3, 4
_PR_GET_SECUREBITS, _PR_SET_SECUREBITS = 27, 28
_SECBIT_NO_SETUID_FIXUP = 4
_NOBODY = 65534
# A Python signal handler that raised between the two changes of uid could leave the wrong one behind.
_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGALRM, signal.SIGCHLD})


@contextmanager
def avoided() -> Iterator[bool]:
    """Within it BCC does not scan kallsyms; the value says whether that worked. Everything is restored at the end.

    The signals that end a program wait meanwhile. Files must not be created here: they would belong to nobody.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        before = _drop()
        try:
            yield before is not None
        finally:
            if before is not None:
                _restore(before)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class _Before:
    """What changing the effective uid changes with it."""

    __slots__ = ("security_bits", "dumpable", "death_signal")

    def __init__(self) -> None:
        self.security_bits, self.dumpable = kernel.prctl(_PR_GET_SECUREBITS), kernel.prctl(_PR_GET_DUMPABLE)
        signal_number = kernel.buffer(4)
        kernel.prctl(_PR_GET_PDEATHSIG, kernel.address_of(signal_number))
        self.death_signal = int.from_bytes(signal_number.raw, sys.byteorder)


def _drop() -> _Before | None:
    """Change the thread's effective uid: what was there before, None if it stays root."""
    if os.getuid() != 0 or os.geteuid() != 0:
        return None
    try:
        before = _Before()
        kernel.prctl(_PR_SET_SECUREBITS, before.security_bits | _SECBIT_NO_SETUID_FIXUP)
    except OSError:
        return None
    try:
        kernel.set_thread_euid(_NOBODY)
    except OSError:
        kernel.prctl(_PR_SET_SECUREBITS, before.security_bits)
        return None
    return before


def _restore(before: _Before) -> None:
    kernel.set_thread_euid(0)
    kernel.prctl(_PR_SET_SECUREBITS, before.security_bits)
    if before.dumpable in (0, 1):  # 2 cannot be set by a process
        kernel.prctl(_PR_SET_DUMPABLE, before.dumpable)
    if before.death_signal:
        kernel.prctl(_PR_SET_PDEATHSIG, before.death_signal)
