"""Resolves specs as the compiler does, for the tests of probe types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bpftrace_py.codegen import unit
from bpftrace_py.config import Config
from bpftrace_py.diagnostics import Diagnostic, Diagnostics
from bpftrace_py.probes.resolve import resolve_all
from bpftrace_py.source import Source
from bpftrace_py.syntax.parser import parse
from tests.fake_host import FakeHost


@dataclass
class Resolved:
    """What the attach points of one probe stand for, and what was said about them."""

    text: str
    targets: list[Any]
    types: list[str]
    diagnostics: list[Diagnostic]

    @property
    def names(self) -> list[str]:
        return [target.name for target in self.targets]

    @property
    def target(self) -> Any:
        (target,) = self.targets
        assert isinstance(target, unit.Target)
        return target

    @property
    def problem(self) -> tuple[str, str, str | None]:
        """(code, the text that is marked, hint) of the only diagnostic."""
        (diagnostic,) = self.diagnostics
        assert diagnostic.span is not None
        return diagnostic.code, self.text[diagnostic.span.start : diagnostic.span.end], diagnostic.hint


def resolve(spec: str, host: object | None = None, **options: Any) -> Resolved:
    """Resolve `spec` on a host (default: the fake one) with these `Config` fields."""
    source = Source(spec + " {}")
    diagnostics = Diagnostics(source)
    program = parse(source, diagnostics)
    assert program is not None and not diagnostics.reported, [d.render() for d in diagnostics.reported]
    found = [
        resolved
        for point in program.probes[0].attach_points
        for resolved in resolve_all(point, host or FakeHost(), Config(**options), diagnostics)  # type: ignore[arg-type]
    ]
    return Resolved(
        source.text, [t for r in found for t in r.targets], [r.probe_type.name for r in found], diagnostics.reported
    )
