"""`Spec`: an attach point whose probe type is known and whose parts have names, before its family looks at it."""

from __future__ import annotations

from bpftrace_py import messages
from bpftrace_py.config import Config
from bpftrace_py.diagnostics import Diagnostics, Message, Note
from bpftrace_py.host import Host
from bpftrace_py.language.probe_types import ProbeType
from bpftrace_py.record import record
from bpftrace_py.source import Span
from bpftrace_py.syntax import ast


class SpecError(Exception):
    """A spec is wrong; what is wrong was reported to the diagnostics."""


@record(frozen=True)
class Spec:
    """The parts of one attach point by name, positional parameters filled in. A part that was left out is None."""

    probe_type: ProbeType
    point: ast.AttachPoint
    parts: dict[str, str | None]
    spans: dict[str, Span]
    host: Host
    config: Config
    diagnostics: Diagnostics

    def text(self, part: str) -> str:
        """A part that the spec is known to have."""
        value = self.parts[part]
        assert value is not None
        return value

    def error(
        self, message: Message, at: str | None, *, hint: str | None = None, notes: tuple[Note, ...] = (),
        **values: object,
    ) -> SpecError:
        """Report an error at a part (None: at the whole spec); the caller raises what this returns."""
        span = self.point.span if at is None else self.spans.get(at, self.point.span)
        self.diagnostics.error(message, span, hint=hint, notes=notes, **values)
        return SpecError()

    def number(self, part: str, low: int = 1, high: int = (1 << 63) - 1) -> int:
        """A part as a number within [low, high]: decimal, 0x..., 1_000 or 1e6."""
        text = self.text(part).strip()
        value = parse_number(text.removeprefix("-"))
        if value is None:
            raise self.error(messages.BAD_PROBE_NUMBER, part, part=part, text=text)
        if text.startswith("-"):
            value = -value
        if value < low:
            reason = "it must be greater than zero" if low == 1 else f"it must be {low} or more"
        elif value > high:
            reason = f"the largest is {high}"
        else:
            return value
        raise self.error(messages.PROBE_NUMBER_RANGE, part, part=part, text=text[:40], reason=reason)


def parse_number(text: str) -> int | None:
    """An unsigned integer as the language writes them (12, 0x0c, 1_000, 1e6), or None."""
    if not text.isascii() or len(text) > 400:
        return None
    digits = text.replace("_", "")
    if digits.isdigit():
        return int(digits)
    if digits[:2] in ("0x", "0X"):
        try:
            return int(digits, 16)
        except ValueError:
            return None
    mantissa, e, exponent = digits.partition("e")
    if e and mantissa.isdigit() and exponent.isdigit() and len(exponent) <= 3:
        return int(mantissa + "0" * int(exponent))
    return None


def make_spec(
    probe_type: ProbeType, point: ast.AttachPoint, host: Host, config: Config, diagnostics: Diagnostics
) -> Spec:
    """Name the parts of an attach point. Raises `SpecError` if their number is wrong or one that is needed is empty."""
    texts = [
        _fill_in_parameters(text, _written(point, index, diagnostics), _span(point, index), config, diagnostics)
        for index, text in enumerate(point.parts)
    ][1:]
    spans = [_span(point, index) for index in range(1, len(point.parts))]
    known = list(probe_type.parts)
    spec = Spec(probe_type, point, {part.name: None for part in known}, {}, host, config, diagnostics)
    if len(texts) > len(known) or len(texts) < probe_type.required:
        raise spec.error(
            messages.WRONG_PROBE_PARTS, None, type=probe_type.name, syntax=probe_type.syntax,
            hint=_parts_hint(spec, texts),
        )
    left_out = len(known) - len(texts)
    for part in [part for part in reversed(known) if part.optional][:left_out]:
        known.remove(part)
    for part, text, span in zip(known, texts, spans, strict=True):
        spec.spans[part.name] = span
        if text:
            spec.parts[part.name] = text
        elif not part.optional and not (part.of_process and config.pid is not None):
            written = diagnostics.source.text[span.start : span.end]
            hint = f"the parameter {written} was not given" if written.startswith("$") else None
            raise spec.error(messages.EMPTY_PROBE_PART, part.name, part=part.name, type=probe_type.name, hint=hint)
        if "*" in text and not part.wildcard:
            raise spec.error(messages.NO_WILDCARD_HERE, part.name, part=part.name, type=probe_type.name)
    return spec


def _parts_hint(spec: Spec, texts: list[str]) -> str | None:
    """What was probably meant by a spec with too many or too few parts."""
    name, known = spec.probe_type.name, spec.probe_type.parts
    if "" in texts[1:-1] and len(texts) > len(known) >= 2:  # a C++ name: ns::function
        at = texts.index("", 1) - 1
        names = ":".join(texts[at:])
        return f'put the name in quotes: {":".join((name, *texts[:at]))}:"{names}"'
    if name == "tracepoint" and len(texts) == 1:
        events = spec.host.tracepoint_events()
        found = next((f"{name}:{c}:{e}" for c, e in events if e == texts[0]), None)
        if found is None and any(c == texts[0] for c, _ in spec.host.tracepoint_events()):
            found = f"{name}:{texts[0]}:*"
        if found is not None:
            return f"did you mean `{found}`?"
    if name == "rawtracepoint" and len(texts) == 2:
        return f"did you mean `{name}:{texts[1]}`?"
    return f"for example: {spec.probe_type.example}" if len(texts) < len(known) else None


def _span(point: ast.AttachPoint, index: int) -> Span:
    return point.part_spans[index] if index < len(point.part_spans) else point.span


def _written(point: ast.AttachPoint, index: int, diagnostics: Diagnostics) -> str:
    """The part as it stands in the source, with its quotes; without quotes if it is not from there."""
    text = point.parts[index]
    if "$" not in text or index >= len(point.part_spans):
        return text
    source, span = diagnostics.source.text, point.part_spans[index]
    for start, end in ((span.start, span.end), (span.start - 1, span.end + 1)):
        written = source[max(start, 0) : end]
        if '"' in written and written.replace('"', "") == text:
            return written
    return text


def _fill_in_parameters(text: str, written: str, span: Span, config: Config, diagnostics: Diagnostics) -> str:
    """Put positional parameters in place of `$1` and the like, except inside quotes. One not given is empty."""
    if "$" not in text:
        return text
    result = ""
    for index, segment in enumerate(written.split('"')):
        dollar = segment.find("$")
        if index % 2 or dollar < 0 or not segment[dollar + 1 : dollar + 2].isdecimal():
            result += segment
            continue
        rest = segment[dollar + 1 :].lstrip("0123456789")
        parameter = segment[dollar : len(segment) - len(rest)]
        if rest:
            diagnostics.error(
                messages.TEXT_AFTER_PARAMETER, span, text=rest, parameter=parameter,
                hint=f'put the text in quotes: {parameter}"{rest}"',
            )
            raise SpecError
        number = int(parameter[1:6])
        result += segment[:dollar]
        if 0 < number <= len(config.parameters):
            result += config.parameters[number - 1]
    return result
