"""The passes of analysis, in their order: declarations, probes, constants, types."""

from __future__ import annotations

from collections.abc import Callable

from bpftrace_py import messages
from bpftrace_py.analysis.expand import Expander
from bpftrace_py.analysis.fold import Folder
from bpftrace_py.analysis.infer import Inference
from bpftrace_py.analysis.program import TypedProgram
from bpftrace_py.analysis.records import Records
from bpftrace_py.config import Config
from bpftrace_py.diagnostics import Diagnostics
from bpftrace_py.host import Host
from bpftrace_py.syntax import ast

OnPass = Callable[[str, ast.Program], None]


def analyse(
    program: ast.Program, config: Config, host: Host, diagnostics: Diagnostics, on_pass: OnPass | None = None
) -> TypedProgram:
    """The typed program. Raises `CompileError` with everything that is wrong; warnings stay in `diagnostics`."""
    declarations = None
    if program.declarations or config.include:
        from bpftrace_py.ktypes.c_declarations import parse_declarations

        declarations = parse_declarations(program.declarations, host.kernel_types(), config, diagnostics)
        diagnostics.raise_errors()
    records = Records(host, declarations)
    expander = Expander(host, config, records, diagnostics)
    instances = expander.expand(program)
    # A block whose probes are not there was left out: it may be what assigns a map that others read.
    left_out = bool(diagnostics.errors)
    folder = Folder(config, records, diagnostics)
    for instance in instances:
        folder.fold(instance.tree, instance.context.binary)
    shown = ast.Program(declarations=program.declarations, probes=[i.tree for i in instances], span=program.span)
    if on_pass:
        on_pass("probes and constants", shown)
    inference = Inference(diagnostics.source, config, records)
    found = inference.run(instances)
    if left_out:
        found.drop(messages.UNDEFINED_MAP)
    diagnostics.extend(found)
    if on_pass:
        on_pass("types", shown)
    diagnostics.raise_errors()
    return TypedProgram(diagnostics.source, config, records, instances, inference.maps, expander.probe_count)
