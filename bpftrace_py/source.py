"""Where a piece of program text stands: `Source` (one text) and `Span` (a range in it)."""

from __future__ import annotations

from bpftrace_py.record import field, record


@record(frozen=True)
class Source:
    """One program text and the name it is reported under.

    The text is what the user wrote, unchanged: all spans are character offsets into it.
    """

    text: str
    name: str = "stdin"
    _line_starts: list[int] = field(default_factory=list, repr=False, compare=False)

    def __post_init__(self) -> None:
        starts = self._line_starts
        starts.append(0)
        at = self.text.find("\n")
        while at >= 0:
            starts.append(at + 1)
            at = self.text.find("\n", at + 1)

    def position(self, offset: int) -> tuple[int, int]:
        """The 1-based (line, column) of a character offset."""
        from bisect import bisect_right

        line = bisect_right(self._line_starts, min(max(offset, 0), len(self.text)))
        return line, offset - self._line_starts[line - 1] + 1

    def line(self, number: int) -> str:
        """The text of a 1-based line, without its newline."""
        start = self._line_starts[number - 1]
        end = self.text.find("\n", start)
        return self.text[start:] if end < 0 else self.text[start:end]


@record(frozen=True)
class Span:
    """The half-open range [start, end) of character offsets in a `Source`."""

    start: int
    end: int

    def to(self, other: Span) -> Span:
        """The smallest span that holds both."""
        return Span(min(self.start, other.start), max(self.end, other.end))


NOWHERE = Span(0, 0)
