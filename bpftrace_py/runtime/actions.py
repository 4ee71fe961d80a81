"""`SessionActions`: what user space does for a program apart from printing texts; see `decoder.Actions`."""

from __future__ import annotations

import os
import time

from bpftrace_py import messages
from bpftrace_py.codegen import unit
from bpftrace_py.diagnostics import Diagnostic, warning
from bpftrace_py.output.values import Value, encode

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    import signal
    import subprocess
    from collections.abc import Callable, Mapping, Sequence

    from bpftrace_py.output.base import Output
    from bpftrace_py.runtime.maps import Maps
else:
    import _signal as signal  # `signal` makes enumerations of all its numbers: 2 ms

_CHUNK = 1 << 16  # bytes of a command's output that are taken at a time
_ONE_EVENT = 1 << 20  # bytes of a command's output that make one event, where output has events
_LOOK_EVERY = 200  # milliseconds; so often it is checked whether a silent command has ended or must
_TERMINATED = 1.0  # seconds that the commands of system() have to end when the session ends


def plan_systems(table: Sequence[unit.Action]) -> dict[unit.System, ShellCommand]:
    """The shell commands of all `system()` in a unit. Analysis has refused those that cannot be made safe."""
    return {action: ShellCommand(action) for action in table if isinstance(action, unit.System)}


class ShellCommand:
    """A `system()` of the script, with references for its traced strings: see `language.shell`."""

    def __init__(self, action: unit.System) -> None:
        from bpftrace_py.language import shell
        from bpftrace_py.output.shell_command import command_pieces

        pieces = command_pieces(action.format, len(action.arguments))
        self._is_text = [piece is shell.Hole.TEXT for piece in pieces if isinstance(piece, shell.Hole)]
        self._references = [encode(reference) for reference in shell.plan(pieces)]
        self.has_text = bool(self._references)  # of what is traced
        self._prologue = encode(shell.prologue(len(self._references)))

    def arguments(self, literals: Sequence[bytes], texts: list[bytes]) -> list[bytes]:
        """What /bin/sh is started with for these texts of the format's arguments."""
        references = iter(self._references)
        script, values = [self._prologue, literals[0]], [b"sh"]
        for is_text, text, literal in zip(self._is_text, texts, literals[1:], strict=True):
            if is_text:
                values.append(text.split(b"\0", 1)[0])  # %c may give a NUL, which no argument can have
            script += (next(references) if is_text else text, literal)
        return [b"sh", b"-c", b"".join(script), *values]


class SessionActions:
    """Carries out actions by way of the session's output and maps. `commands` is what `plan_systems` made of the unit's.

    `request_stop` is called for `exit()`; `stopping` says whether the session is to end, which ends a running command,
    too, and leaves out those that have waited longer than a second (`not_run`); `warn` tells the user of what went wrong.
    """

    def __init__(
        self, program: unit.Unit, output: Output, maps: Maps, commands: Mapping[unit.System, ShellCommand], cat_bytes_max: int,
        request_stop: Callable[[], None], stopping: Callable[[], bool], warn: Callable[[Diagnostic], None],
    ) -> None:  # fmt: skip
        self._output = output
        self._maps = maps
        self._cat_bytes_max = cat_bytes_max
        self._request_stop = request_stop
        self._stopping = stopping
        self._stopped_at: float | None = None  # when a command was first told so
        self.not_run = 0
        self._running: subprocess.Popen[bytes] | None = None
        self._warn = warn
        self._script_maps = {script_map.name: script_map for script_map in program.maps}
        self._commands = commands

    # --- texts

    def time(self, action: unit.Time) -> None:
        self._output.time(encode(time.strftime(action.format)))

    def join(self, action: unit.Join, strings: list[bytes]) -> None:
        self._output.join(encode(action.delimiter).join(strings))

    def print_value(self, action: unit.PrintValue, value: Value) -> None:
        self._output.value(action.value, value)

    def helper_failed(self, action: unit.HelperFailed, error: int) -> None:
        reason = os.strerror(-error & 0x7FFFFFFF)  # a C int
        diagnostic = warning(
            messages.HELPER_FAILED, helper=action.helper, line=action.line, column=action.column, reason=reason
        )
        self._output.helper_error(action.helper, error, action.line, action.column, diagnostic.render())

    # --- maps

    def print_map(self, action: unit.PrintMap) -> None:
        script_map = self._script_maps[action.map]
        self._maps.show(
            action.map, lambda elements: self._output.map(script_map, elements, action.top, action.divisor)
        )

    def print_element(self, action: unit.PrintElement, key: tuple[Value, ...]) -> None:
        value = self._maps.lookup(action.map, key)
        self._output.map(self._script_maps[action.map], [] if value is None else [(key, value)])

    def clear(self, action: unit.Clear) -> None:
        self._maps.clear(action.map)

    def zero(self, action: unit.Zero) -> None:
        self._maps.zero(action.map)

    # --- the end

    def exit(self, action: unit.Exit) -> None:
        self._request_stop()

    # --- files and commands

    def cat(self, action: unit.Cat, path: bytes) -> None:
        try:
            # Not blocked by a FIFO that nobody writes to.
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            try:
                content = self._read(fd)
            finally:
                os.close(fd)
        except (OSError, ValueError) as error:
            reason = (error.strerror or "") if isinstance(error, OSError) else "it has a NUL byte"
            self._warn(warning(messages.CAT_FAILED, path=os.fsdecode(path), reason=reason[:1].lower() + reason[1:]))
            return
        self._output.cat(content)

    def _read(self, fd: int) -> bytes:
        parts, left = [], self._cat_bytes_max
        while left > 0:
            try:
                part = os.read(fd, min(left, _CHUNK))
            except BlockingIOError:
                break
            if not part:
                break
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def system(self, action: unit.System, literals: Sequence[bytes], texts: list[bytes]) -> bool:
        """Run the command and wait for it: what it prints comes between what was printed before and after it.

        True if the session is to end. A command may make the next event of its kind, so that a drain of the ring never ends.
        """
        if not self._has_time():
            self.not_run += 1
            return True
        import subprocess

        self._output.writer.flush()
        try:
            process = subprocess.Popen(
                self._commands[action].arguments(literals, texts), executable="/bin/sh", stdout=subprocess.PIPE, bufsize=0
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            self._warn(warning(messages.SYSTEM_FAILED, line=action.line, reason=reason[:1].lower() + reason[1:]))
            return self._stopping()
        assert process.stdout
        self._running = process
        try:
            self._collect(process, self._commands[action].has_text)
            if self._stopping():
                self.end_command(signal.SIGTERM)
            process.wait(_TERMINATED if self._stopping() else None)
        except subprocess.TimeoutExpired:
            self.end_command(signal.SIGKILL)
        finally:
            self._running = None
            process.stdout.close()
            if process.poll() is None:
                process.kill()
            process.wait()
        return self._stopping()

    def end_command(self, number: int) -> None:
        """Send a signal to the command that is running, if any, and to what it has started."""
        process = self._running
        if process is not None and process.poll() is None:
            from bpftrace_py.runtime.child import descendants, signal_each

            others = descendants(process.pid)
            process.send_signal(number)
            signal_each(others, number)

    def _has_time(self) -> bool:
        if not self._stopping():
            return True
        now = time.monotonic()
        self._stopped_at = self._stopped_at or now
        return now < self._stopped_at + _TERMINATED

    def at_end(self) -> None:
        """From now on it is END that asks for commands: they run as long as they take."""
        self._stopping = lambda: False

    def _collect(self, process: subprocess.Popen[bytes], traced: bool) -> None:
        """Pass on what a command prints until it closes its output or ends, or the session is to end.

        A command that prints in one go makes one event.
        """
        import select

        assert process.stdout
        fd = process.stdout.fileno()
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        parts: list[bytes] = []
        while True:
            ready = poll.poll(_LOOK_EVERY)
            part = os.read(fd, _CHUNK) if ready else b""
            parts.append(part)
            ended = bool(ready) and not part
            # What a command left in the background may keep its output open for ever.
            ended = ended or (not ready and (self._stopping() or process.poll() is not None)) or not self._has_time()
            if parts and (ended or not ready or len(parts) >= _ONE_EVENT // _CHUNK):
                content = b"".join(parts)
                parts.clear()
                if content:
                    self._output.system(content, traced)
                    self._output.writer.settle()
            if ended:
                return
