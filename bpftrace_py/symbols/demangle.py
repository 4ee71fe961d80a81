"""C++ names, demangled by libstdc++'s own demangler (`__cxa_demangle`), which BCC's library brings with it.

A mangled name can be made to unfold without bound: each reference to an earlier part may double the text. A name with
few references cannot, and is demangled here. One with many goes to a child process with a limit on memory and time, so
that a hostile file costs us that name, not the session.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache

_LONGEST = 16384  # characters of a mangled name
# References in a name: n of them unfold to at most 3 ** (n / 3) times its length.
_FEW_REFERENCES = 18
_RUST_HASH = len("::h0123456789abcdef")
_HEXADECIMAL = frozenset("0123456789abcdef")


@lru_cache(maxsize=1 << 16)
def demangle(name: str) -> str | None:
    """The C++ name behind a mangled one, with parameters; None if it is no mangled name or cannot be demangled.

    A suffix that the compiler added behind a dot (`.cold`, `.part.0`) stays, in libstdc++'s form (` [clone .cold]`).
    """
    if not name.startswith("_Z") or len(name) > _LONGEST:
        return None
    if name.count("S") + name.count("T") + name.count("p") > _FEW_REFERENCES:
        return _worker().demangle(name)
    return _in_process()(name)


def spellings(demangled: str) -> tuple[str, ...]:
    """The ways to write a demangled function's name: all of it first, the plainest last, without the parameters and what a
    template returns: `int ns::f<int>(int)` is also `int ns::f<int>`, `ns::f<int>(int)` and `ns::f<int>`. Rust mangles names as
    C++ does, with a hash behind them: `krate::f::h0123456789abcdef` is also `krate::f`."""
    name = without_parameters(demangled)
    behind = demangled[len(name) :]
    plain = name[_return_type(name) :]
    found: tuple[str, ...] = (demangled, plain + behind, name, plain)
    if plain[-_RUST_HASH : -_RUST_HASH + 3] == "::h" and set(plain[-16:]) <= _HEXADECIMAL:
        found += (plain[:-_RUST_HASH],)
    return tuple(dict.fromkeys(found))


def without_parameters(demangled: str) -> str:
    """`ns::(anonymous namespace)::f(int) const` as `ns::(anonymous namespace)::f`: what stands before the last parentheses."""
    depth = 0
    for at in range(demangled.rfind(")"), -1, -1):
        depth += {")": 1, "(": -1}.get(demangled[at], 0)
        if depth <= 0:
            return demangled[:at]
    return demangled


def _return_type(name: str) -> int:
    """How long the return type before a name is, which only templates have: up to the last space outside of brackets."""
    operator = name.rfind("operator")
    if operator > 0 and name[operator - 1] not in " :":
        operator = -1
    if not name.endswith(">") or (operator >= 0 and name[operator + 8 :].strip() in (">", ">>", "->", "<=>")):
        return 0
    depth = 0
    for at in range((operator if operator >= 0 else len(name)) - 1, -1, -1):
        depth += {">": 1, ")": 1, "}": 1, "<": -1, "(": -1, "{": -1}.get(name[at], 0)
        if depth == 0 and name[at] == " ":
            return at + 1
    return 0


@lru_cache(maxsize=1)
def _in_process() -> Callable[[str], str | None]:
    try:
        library = ctypes.CDLL("libstdc++.so.6")
        libc = ctypes.CDLL(None)
        function = library.__cxa_demangle
    except (OSError, AttributeError):
        return lambda name: None
    function.restype = ctypes.c_void_p
    function.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int)]
    libc.free.argtypes = [ctypes.c_void_p]
    status = ctypes.c_int()

    def call(name: str) -> str | None:
        try:
            text = name.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            return None
        address = function(text, None, None, ctypes.byref(status))
        if not address:
            return None
        try:
            return ctypes.string_at(address).decode("utf-8", "surrogateescape")
        finally:
            libc.free(address)

    return call


# The child's program. An alarm or the memory limit ends it in the middle of a name that unfolds; the parent sees the
# end of the pipe and starts another for the next name.
_CHILD = """
import ctypes, resource, signal, sys
resource.setrlimit(resource.RLIMIT_AS, (256 << 20, 256 << 20))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
demangle = ctypes.CDLL("libstdc++.so.6").__cxa_demangle
demangle.restype = ctypes.c_void_p
free = ctypes.CDLL(None).free
free.argtypes = [ctypes.c_void_p]
for line in sys.stdin.buffer:
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    address = demangle(ctypes.c_char_p(line[:-1]), None, None, None)
    text = b""
    if address:
        text = ctypes.string_at(address)
        free(address)
    signal.setitimer(signal.ITIMER_REAL, 0)
    sys.stdout.buffer.write((text if len(text) < 1 << 20 else b"") + b"\\n")
    sys.stdout.buffer.flush()
"""


class _Worker:
    """The child process that demangles names with many references, one line each way."""

    _GIVE_UP = 20  # deaths: then names stay mangled

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._deaths = 0
        atexit.register(self.close)

    def demangle(self, name: str) -> str | None:
        text = name.encode("utf-8", "surrogateescape")
        if b"\n" in text or b"\0" in text or self._deaths >= self._GIVE_UP:
            return None
        if self._process is None or self._owner != os.getpid():
            self._start()
        assert self._process is not None and self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(text + b"\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except OSError:
            answer = b""
        if not answer.endswith(b"\n"):
            self._deaths += 1
            self.close()
            return None
        return answer[:-1].decode("utf-8", "surrogateescape") or None

    def _start(self) -> None:
        # Its own session: Ctrl-C in the terminal is for us, who still have stacks to print.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )
        self._owner = os.getpid()

    def close(self) -> None:
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # an unsent line in its buffer
                    continue


@lru_cache(maxsize=1)
def _worker() -> _Worker:
    return _Worker()
