"""What the user is told about a program: a code, a place, a reason, a hint.

The sentences live in `messages/`, each under a stable code. Passes report into a `Diagnostics` and go on; the
pipeline stops after a pass that reported errors.
"""

from __future__ import annotations

from bpftrace_py.record import field, record
from bpftrace_py.source import Source, Span

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import ClassVar


def harmless(text: str) -> str:
    """`text` with what could steer a terminal (control characters, changes of direction) and bytes that are not UTF-8 as
    \\xNN: a name of a file, a function or a process can have any."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


@record(frozen=True)
class Severity:
    """`ERROR` or `WARNING`. Not an `Enum`: that and what it imports would take more than 2 ms of each start."""

    value: str

    if TYPE_CHECKING:
        ERROR: ClassVar[Severity]
        WARNING: ClassVar[Severity]


Severity.ERROR, Severity.WARNING = Severity("error"), Severity("warning")


@record(frozen=True)
class Message:
    """One kind of diagnostic. `template` is a `str.format` template; `explanation` goes to docs/errors.md."""

    code: str
    template: str
    explanation: str = ""


@record(frozen=True)
class Note:
    """A second place that explains the first, such as where a map got its type."""

    text: str
    span: Span


@record(frozen=True)
class Diagnostic:
    """One thing that is told: a message with its names filled in, and where in the program it is."""

    severity: Severity
    code: str
    text: str
    span: Span | None = None
    hint: str | None = None
    notes: tuple[Note, ...] = ()
    source: Source | None = field(default=None, compare=False)

    def render(self, color: bool = False) -> str:
        """The diagnostic as lines for a terminal: place, sentence, source line, marker, hint."""
        red, cyan, bold, off = ("\033[31m", "\033[36m", "\033[1m", "\033[0m") if color else ("", "", "", "")
        label = f"{red if self.severity == Severity.ERROR else cyan}{self.severity.value}[{self.code}]{off}"
        if self.span is None or self.source is None:
            lines = [f"{label}: {bold}{harmless(self.text)}{off}"]
        else:
            line, column = self.source.position(self.span.start)
            place = f"{harmless(self.source.name)}:{line}:{column}:"
            lines = [f"{bold}{place}{off} {label}: {bold}{harmless(self.text)}{off}"]
            lines += _excerpt(self.source, self.span, red, off)
        for note in self.notes:
            assert self.source is not None
            line, column = self.source.position(note.span.start)
            lines.append(f"  {cyan}note:{off} {harmless(note.text)} ({harmless(self.source.name)}:{line}:{column})")
            lines += _excerpt(self.source, note.span, cyan, off)
        if self.hint:
            lines.append(f"  {cyan}hint:{off} {harmless(self.hint)}")
        return "\n".join(lines)


_EXCERPT_WIDTH = 160


def _excerpt(source: Source, span: Span, color: str, off: str) -> list[str]:
    """The source line of a span and a marker under it; a very long line is cut around the span."""
    line_number, column = source.position(span.start)
    text = source.line(line_number).removesuffix("\r")
    begin = column - 1
    length = max(1, min(span.end - span.start, len(text) - begin))
    first = max(0, begin - _EXCERPT_WIDTH // 2) if len(text) > _EXCERPT_WIDTH else 0
    shown = text[first : first + _EXCERPT_WIDTH]
    length = min(length, max(1, _EXCERPT_WIDTH - (begin - first)))
    # Tabs keep their width under the marker; control characters must not reach the terminal.
    before, marked = shown[: begin - first], shown[begin - first : begin - first + length]
    margin = "".join("\t" if c == "\t" else " " * _columns(c) for c in before)
    length += sum(map(_columns, marked)) - len(marked)
    shown = "".join(c if c == "\t" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in shown)
    return [f"    {shown}", f"    {margin}{color}{'^' + '~' * (length - 1)}{off}"]


def _columns(character: str) -> int:
    """The columns of a terminal that a character takes."""
    if character.isascii():
        return 1
    from unicodedata import combining, east_asian_width

    if not character.isprintable():
        return 1  # shown as another
    return 0 if combining(character) else 2 if east_asian_width(character) in "WF" else 1


class BpftraceError(Exception):
    """Anything that keeps a program from running. `diagnostics` says what, `exit_code` is the command's status."""

    exit_code = 1

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = tuple(diagnostics)
        super().__init__("\n".join(d.render() for d in self.diagnostics))


class CompileError(BpftraceError):
    """The program text is wrong."""


class HostError(BpftraceError):
    """The program is right but this machine, kernel or user cannot run it."""


class InternalError(BpftraceError):
    """We made a program that clang or the kernel refused: our bug, never the user's."""

    log = ""  # all that clang or the verifier said


def host_error(message: Message, *, hint: str | None = None, **values: object) -> HostError:
    """An error that has no place in the program text."""
    return HostError([Diagnostic(Severity.ERROR, message.code, message.template.format(**values), hint=hint)])


def warning(message: Message, *, hint: str | None = None, **values: object) -> Diagnostic:
    """A warning that has no place in the program text."""
    return Diagnostic(Severity.WARNING, message.code, message.template.format(**values), hint=hint)


def reason_of(error: OSError) -> str:
    """What the kernel's error says, to stand within a sentence."""
    reason = error.strerror or str(error)
    return reason[:1].lower() + reason[1:]


_LONG_TEXT = 2000  # of a sentence: then its values are cut
_LONG_VALUE = 200


def _shortened(value: object) -> object:
    text = str(value)
    return value if len(text) <= _LONG_VALUE else f"{text[: _LONG_VALUE - 3]}..."


class Diagnostics:
    """Collects what the passes report about one source."""

    LIMIT = 50  # a script that is wrong everywhere is told so often, no more

    def __init__(self, source: Source) -> None:
        self.source = source
        self.reported: list[Diagnostic] = []
        self._seen: set[tuple[str, Span | None, str]] = set()

    def error(
        self,
        message: Message,
        span: Span | None,
        *,
        hint: str | None = None,
        notes: tuple[Note, ...] = (),
        **values: object,
    ) -> None:
        """What keeps the program from running. `values` fill in the message's template; no `span`: of the program as a whole."""
        self._report(Severity.ERROR, message, span, hint, notes, values)

    def warning(
        self,
        message: Message,
        span: Span | None,
        *,
        hint: str | None = None,
        notes: tuple[Note, ...] = (),
        **values: object,
    ) -> None:
        """What is told, and the program runs all the same."""
        self._report(Severity.WARNING, message, span, hint, notes, values)

    def _report(
        self,
        severity: Severity,
        message: Message,
        span: Span | None,
        hint: str | None,
        notes: tuple[Note, ...],
        values: dict[str, object],
    ) -> None:
        text = message.template.format(**values)
        if len(text) > _LONG_TEXT:  # a name or type of a megabyte
            text = message.template.format(**{name: _shortened(value) for name, value in values.items()})
        if hint is not None and len(hint) > _LONG_TEXT:
            hint = None  # it would repeat that name
        # One place is told a thing once, however many probes the block expands to.
        key = (message.code, span, "" if span is not None else text)
        if key in self._seen or len(self.reported) >= self.LIMIT:
            return
        self._seen.add(key)
        self.reported.append(Diagnostic(severity, message.code, text, span, hint, notes, self.source))

    def as_warnings(self) -> Diagnostics:
        """The same, but nothing of it is an error."""
        result = Diagnostics(self.source)
        result.reported = [
            Diagnostic(Severity.WARNING, d.code, d.text, d.span, d.hint, d.notes, d.source) for d in self.reported
        ]
        return result

    def drop(self, message: Message) -> None:
        """Forget all reports of one kind."""
        self.reported = [d for d in self.reported if d.code != message.code]

    def extend(self, other: Diagnostics) -> None:
        """Take over what was reported into another one for the same source."""
        self.reported += [d for d in other.reported if d not in self.reported]

    @property
    def errors(self) -> list[Diagnostic]:
        """The errors that were reported, in the order of reporting."""
        return [d for d in self.reported if d.severity == Severity.ERROR]

    @property
    def warnings(self) -> list[Diagnostic]:
        """The warnings that were reported, in the order of reporting."""
        return [d for d in self.reported if d.severity == Severity.WARNING]

    def raise_errors(self) -> None:
        """Raise `CompileError` with everything reported if any of it is an error."""
        if self.errors:
            raise CompileError(sorted(self.reported, key=lambda d: d.span.start if d.span else -1))


def did_you_mean(name: str, known: Iterable[str], form: str = "{}") -> str | None:
    """The hint "did you mean ...?" if something known is near to `name`."""
    if len(name) > _LONG_VALUE:
        return None
    from difflib import get_close_matches

    close = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean `{form.format(close[0])}`?" if close else None
