"""Scripts of a megabyte, and deep ones: they run or are refused, in time linear in their length.

No time is asserted: the limit is against a hang.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bpftrace_py.compiler import compile_source
from bpftrace_py.config import Config
from bpftrace_py.diagnostics import BpftraceError
from bpftrace_py.source import Source
from tests.fake_host import FakeHost
from tests.fuzz.guard import limited
from tests.fuzz.run_atheris import ROOT

SECONDS = 300  # the slowest takes 10 on an idle machine
M = 1_000_000
K = 100_000  # where every byte is a token, which take 10 us each
DEEP, SYNTAX, MANY = ["E0108"], ["E0101"], ["E0105"]
ACCEPTED: list[str] = []
LARGE: dict[str, tuple[str, list[str] | None]] = {  # the codes of what is said, each once; None: whatever it is
    "brackets": ("(" * M, SYNTAX),
    "brackets in a block": ("BEGIN { print(" + "(" * M, DEEP),
    "braces": ("BEGIN " + "{" * M, DEEP),
    "a comment": (f"/*{'x' * M}*/ BEGIN {{ exit(); }}", ACCEPTED),
    "a comment without end": ("BEGIN { exit(); } /*" + " /*" * (M // 3), ["E0104"]),
    "a string": (f'BEGIN {{ print("{"x" * M}"); }}', ACCEPTED),
    "a string without end": (f'BEGIN {{ print("{"x" * M}', ["E0103"]),
    "escapes": (f'BEGIN {{ print("{chr(92) + "q"}"); }}'.replace("\\q", "\\q" * (M // 2)), ["E0107"]),
    "10,000 probes": ("".join(f"interval:s:{n + 1} {{ @[probe] = count(); }}\n" for n in range(10_000)), ACCEPTED),
    "100,000 statements": (f"BEGIN {{ {'@x = 1; ' * 100_000} }}", ACCEPTED),
    "20,000 variables": (f"BEGIN {{ {''.join(f'$x{n} = {n}; ' for n in range(20_000))} }}", ACCEPTED),
    "10,000 nested blocks": (f"BEGIN {{ {'if (pid) { ' * 10_000} {'}' * 10_000} }}", DEEP),
    "else if": (f"BEGIN {{ if (pid) {{ }} {'else if (pid) { } ' * (K // 18)} }}", DEEP),
    "an identifier": ("x" * M, MANY),
    "an identifier in a block": (f"BEGIN {{ {'x' * M} }}", ["E0301"]),
    "a variable": (f"BEGIN {{ ${'x' * M} = 1; }}", ACCEPTED),
    "a field": (f"BEGIN {{ print(curtask->{'x' * M}); }}", None),
    "a number": (f"BEGIN {{ print({'1' * M}); }}", ["E0106"]),
    "operators": (f"BEGIN {{ print(1{'+1' * (K // 2)}); }}", DEEP),
    "prefixes": (f"BEGIN {{ print({'!' * K}pid); }}", DEEP),
    "a pointer to pointers": (f"BEGIN {{ print((int8{'*' * K})1); }}", DEEP),
    "dimensions": (f"BEGIN {{ print((int8{'[1]' * (K // 3)})1); }}", DEEP),
    "calls": (f"BEGIN {{ print({'str(' * 190}0{')' * 190}); }}", DEEP),
    "attach points": ("a," * (K // 2), MANY),
    "parts of an attach point": ("a:" * (K // 2), MANY),
    "keys": (f"BEGIN {{ @[{'1,' * (K // 4)}1] = 1; }}", None),
    "errors": ("BEGIN { " + ") ; " * (M // 4) + "}", SYNTAX),
    "NUL bytes": ("\0" * M, ["E0102"]),
    "NUL bytes in a block": (f"BEGIN {{ {chr(0) * M} }}", ["E0102"]),
    "no UTF-8": ("\udcff" * M, ["E0102"]),
    "no UTF-8 in a string": (f'BEGIN {{ print("{chr(0xDCFF) * M}"); }}', ACCEPTED),
    "an open struct": ("struct a { " * (M // 11), MANY),
    "macros": ("".join(f"#define X{n} X{n + 1}\n" for n in range(M // 20)) + "BEGIN { print(pid); }", ACCEPTED),
    "a tuple of tuples": ("BEGIN { $x0 = 1; " + "".join(f"$x{n + 1} = ($x{n}, $x{n}); " for n in range(60)) + "}", ["E0339"]),
    "tuples in a key": (f"BEGIN {{ @[{'(1, ' * 150}1{')' * 150}] = 1; }}", None),
}  # fmt: skip


@pytest.mark.parametrize("name", LARGE)
def test_large(name: str) -> None:
    text, codes = LARGE[name]
    with limited(SECONDS):
        try:
            compile_source(Source(text), Config(), FakeHost())
            said = []
        except BpftraceError as error:
            said = sorted({diagnostic.code for diagnostic in error.diagnostics})
            assert len(str(error)) < 100_000
    assert codes is None or said == codes


def test_macros_without_end(tmp_path: Path) -> None:
    """libclang would follow them for ever and take all memory. In a process of its own, which it leaves damaged."""
    script = tmp_path / "script.bt"
    script.write_text(
        "#define X0 1\n" + "".join(f"#define X{n + 1} (X{n}+X{n})\n" for n in range(60)) + "BEGIN { print(X60); }"
    )
    program = (
        "import resource, sys; from tests.fuzz.targets import compiler; compiler(open(sys.argv[1], 'rb').read()); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(script)], cwd=ROOT, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1500  # MiB


def test_a_wildcard_with_sixty_thousand_functions() -> None:
    host = FakeHost()
    host.functions = [f"f{n}" for n in range(60_000)]
    with limited(SECONDS):
        unit = compile_source(Source("kprobe:* { @[probe, func] = count(); }"), Config(), host)
    assert len(set(unit.probe_names)) == 60_000 == len(unit.programs[0].attachments)
