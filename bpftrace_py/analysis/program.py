"""What analysis hands to code generation: the typed program."""

from __future__ import annotations

from bpftrace_py.analysis.records import Records
from bpftrace_py.codegen.unit import Target
from bpftrace_py.config import Config
from bpftrace_py.record import field, record
from bpftrace_py.source import Source, Span
from bpftrace_py.syntax import ast
from bpftrace_py.types import UNKNOWN, Field, RecordType, Type


@record(frozen=True)
class Context:
    """What a probe's program is given: one of these for each kind of context of a probe block.

    `program` is `ProgramSpec.kind`. `space` is where an address that the script makes from a number points:
    `user`, or `any` if the address itself has to tell. `arguments` is the record behind `args`.
    """

    probe_type: str
    program: str
    space: str
    offers: frozenset[str]
    arguments: RecordType | None = None
    argument_fields: tuple[Field, ...] = ()
    return_type: Type | None = None  # of `retval`, where it is known
    binary: str = ""  # whose types the block may speak of, besides the kernel's
    unreadable: dict[str, str] = field(default_factory=dict)  # argument -> the reason why it cannot be read
    syscalls: str = ""  # `sys_enter` or `sys_exit`: one raw tracepoint stands for the targets, which are system calls


@record
class ProbeInstance:
    """One probe block in one context, with all the targets that share it. `tree` is this instance's own copy."""

    tree: ast.Probe
    context: Context
    targets: list[Target]
    variables: dict[str, Type] = field(default_factory=dict)


@record
class MapInfo:
    """What the script does with one `@map`, gathered over all probes."""

    name: str
    keys: tuple[Type, ...] | None = None  # None: not seen with certainty yet
    value: Type = UNKNOWN
    keys_span: Span | None = None
    value_span: Span | None = None
    assigned: bool = False


@record
class TypedProgram:
    """The tree with a type on every expression, as instances of its blocks, and what was gathered on the way."""

    source: Source
    config: Config
    records: Records
    instances: list[ProbeInstance]
    maps: dict[str, MapInfo]
    probe_count: int  # as the user counts them: every attach point
