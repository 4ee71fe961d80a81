"""Options and `BPFTRACE_*` variables, parsed once into one frozen record."""

from __future__ import annotations

from bpftrace_py import messages
from bpftrace_py.diagnostics import host_error
from bpftrace_py.record import record
from bpftrace_py.types import STACK_MODES

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    from collections.abc import Mapping


@record(frozen=True)
class Config:
    """What shapes the compiled program and the session. The defaults are bpftrace's, unless a comment says otherwise."""

    strlen: int = 64  # BPFTRACE_STRLEN: bytes a str(), its NUL included
    map_keys_max: int = 4096  # BPFTRACE_MAP_KEYS_MAX
    cat_bytes_max: int = 10240  # BPFTRACE_CAT_BYTES_MAX
    max_probes: int = 100_000  # BPFTRACE_MAX_PROBES; bpftrace's 512 is there because attaching is slow there
    log_size: int = 1 << 24  # BPFTRACE_LOG_SIZE: of the verifier's log
    ring_bytes: int = 8 << 20  # BPFTRACE_RING_BYTES: ours; room for events that wait to be printed
    demangle: bool = True  # BPFTRACE_NO_CPP_DEMANGLE=1 turns it off
    stack_mode: str = "bpftrace"  # BPFTRACE_STACK_MODE
    print_maps_on_exit: bool = True  # BPFTRACE_PRINT_MAPS_ON_EXIT
    btf_path: str | None = None  # BPFTRACE_BTF
    kernel_source: str | None = None  # BPFTRACE_KERNEL_SOURCE
    safe: bool = False  # --safe: refuse system() and what else acts on the machine
    helper_errors: int = 0  # -k: 1, -kk: 2
    parameters: tuple[str, ...] = ()  # $1, $2, ...
    pid: int | None = None  # -p
    command: bool = True  # whether there is a command of -c, whose process is `cpid`
    include: tuple[str, ...] = ()  # --include
    include_directories: tuple[str, ...] = ()  # -I
    export_labels_max: int = 1000  # BPFTRACE_EXPORT_LABELS_MAX: label sets of an exported map
    histogram_sums: bool = False  # --export: histograms keep the sum of what they count


_NUMBERS = {
    "BPFTRACE_STRLEN": ("strlen", 1, 1 << 16),
    "BPFTRACE_MAP_KEYS_MAX": ("map_keys_max", 1, 1 << 26),
    "BPFTRACE_CAT_BYTES_MAX": ("cat_bytes_max", 0, 1 << 31),
    "BPFTRACE_MAX_PROBES": ("max_probes", 1, 1 << 26),
    "BPFTRACE_LOG_SIZE": ("log_size", 1 << 10, 1 << 28),
    "BPFTRACE_EXPORT_LABELS_MAX": ("export_labels_max", 1, 1 << 20),
    "BPFTRACE_RING_BYTES": ("ring_bytes", 1 << 12, 1 << 30),
}
_NEWER_NAMES = {  # of bpftrace since 0.20
    "BPFTRACE_STRLEN": "BPFTRACE_MAX_STRLEN",
    "BPFTRACE_MAP_KEYS_MAX": "BPFTRACE_MAX_MAP_KEYS",
    "BPFTRACE_CAT_BYTES_MAX": "BPFTRACE_MAX_CAT_BYTES",
}
_PATHS = {
    "BPFTRACE_BTF": "btf_path",
    "BPFTRACE_KERNEL_SOURCE": "kernel_source",
}
_SWITCHES = {
    "BPFTRACE_NO_CPP_DEMANGLE": ("demangle", True),
    "BPFTRACE_PRINT_MAPS_ON_EXIT": ("print_maps_on_exit", False),
}


def from_environment(environment: Mapping[str, str], **options: object) -> Config:
    """The configuration of a command: `options` are `Config` fields that the command line set."""
    values: dict[str, object] = {}
    for variable, (name, low, high) in _NUMBERS.items():
        if variable not in environment:
            variable = _NEWER_NAMES.get(variable, variable)
        text = environment.get(variable)
        if text is None:
            continue
        if not text.isascii() or not text.isdigit() or not low <= int(text[:40]) <= high or len(text) > 40:
            raise host_error(messages.BAD_VARIABLE, name=variable, text=text, expected=f"a number from {low} to {high}")
        values[name] = int(text)
    for variable, (name, inverted) in _SWITCHES.items():
        text = environment.get(variable)
        if text is None:
            continue
        if text not in ("0", "1"):
            raise host_error(messages.BAD_VARIABLE, name=variable, text=text, expected="0 or 1")
        values[name] = (text == "1") != inverted
    for variable, name in _PATHS.items():
        if environment.get(variable):
            values[name] = environment[variable]
    mode = environment.get("BPFTRACE_STACK_MODE")
    if mode is not None:
        if mode not in STACK_MODES:
            raise host_error(
                messages.BAD_VARIABLE, name="BPFTRACE_STACK_MODE", text=mode, expected="bpftrace, perf or raw"
            )
        values["stack_mode"] = mode
    if "ring_bytes" in values:  # the kernel takes powers of two only
        values["ring_bytes"] = 1 << (int(str(values["ring_bytes"])) - 1).bit_length()
    return Config(**{**values, **options})  # type: ignore[arg-type]
