"""The compiler's front door: program text in, `Unit` out. Pure: what it knows of the machine comes through `Host`."""

from __future__ import annotations

from collections.abc import Callable

from bpftrace_py.config import Config
from bpftrace_py.diagnostics import Diagnostics
from bpftrace_py.source import Source

TYPE_CHECKING = False  # but for type checkers: a start has no time to import typing
if TYPE_CHECKING:
    from bpftrace_py.codegen.unit import Unit
    from bpftrace_py.host import Host
    from bpftrace_py.syntax import ast

OnPass = Callable[[str, "ast.Program"], None]


def parse_source(source: Source, diagnostics: Diagnostics) -> ast.Program:
    """The tree of a program. Raises `CompileError`."""
    from bpftrace_py import messages
    from bpftrace_py.source import Span
    from bpftrace_py.syntax.parser import parse

    program = parse(source, diagnostics)
    diagnostics.raise_errors()
    assert program is not None
    if not program.probes:
        last = program.declarations[-1] if program.declarations else None
        swallowed = last is not None and last.text.startswith("#") and "{" in last.text
        hint = "a `#` line goes on to its end: the probe belongs on a line of its own" if swallowed else None
        hint = hint or "a program is a probe and its block, such as `BEGIN { exit(); }`"
        diagnostics.error(messages.NO_PROBES, Span(0, len(source.text)) if source.text else None, hint=hint)
        diagnostics.raise_errors()
    return program


def compile_source(
    source: Source,
    config: Config,
    host: Host,
    *,
    on_pass: OnPass | None = None,
    on_warning: Callable[[Diagnostics], None] | None = None,
) -> Unit:
    """Compile a program. `on_pass(name, program)` sees the tree after each pass. Raises `CompileError`."""
    from bpftrace_py.analysis.pipeline import analyse
    from bpftrace_py.codegen.generate import Generator

    diagnostics = Diagnostics(source)
    program = parse_source(source, diagnostics)
    if on_pass:
        on_pass("parser", program)
    try:
        typed = analyse(program, config, host, diagnostics, on_pass)
        unit = Generator(typed, host, diagnostics).generate()
    except RecursionError:
        # The parser's limit is for trees in general; of calls in calls, or types in types, the passes can follow fewer.
        from bpftrace_py import messages
        from bpftrace_py.syntax.parser import deepest

        diagnostics.error(messages.TOO_DEEP, deepest(program).span)
        diagnostics.raise_errors()
        raise
    if on_warning:
        on_warning(diagnostics)
    return unit
