"""What analysis accepts, clang and the verifier accept: random well-typed programs, compiled, loaded, and BEGIN run.

FUZZ_PROGRAMS raises the number of programs (150 in `make test`). A failing program is printed with its BPFTRACE_STRLEN.
"""

from __future__ import annotations

import os
from functools import cache

import pytest
from hypothesis import HealthCheck, given, note, settings

from bpftrace_py.compiler import compile_source
from bpftrace_py.config import Config
from bpftrace_py.diagnostics import CompileError
from bpftrace_py.live_host import LiveHost
from bpftrace_py.runtime.features import Features
from bpftrace_py.runtime.loader import load
from bpftrace_py.source import Source
from tests.fuzz.programs import ProgramText, from_seed, programs

pytestmark = pytest.mark.live

PROGRAMS = int(os.environ.get("FUZZ_PROGRAMS", "150"))
SHRUNK = PROGRAMS // 10  # programs that hypothesis chooses: it is slower, but makes a counterexample small


@cache
def host() -> LiveHost:
    return LiveHost()


@cache
def features() -> Features:
    return Features()


def loads(text: str, strlen: int = 64) -> bool:
    """Whether analysis accepts a program. Raises what clang or the verifier says of one that it accepts."""
    try:
        unit = compile_source(Source(text), Config(strlen=strlen), host())
    except CompileError:
        return False
    with load(unit, features()) as loaded:
        if text.lstrip().startswith("BEGIN") or "\nBEGIN" in text:
            loaded.run("BEGIN")
    return True


def test_many():
    accepted = 0
    for seed in range(PROGRAMS):
        program = from_seed(seed)
        try:
            accepted += loads(program.text, program.strlen)
        except Exception as error:
            raise AssertionError(f"seed {seed}, BPFTRACE_STRLEN={program.strlen}:\n{program.text}\n{error}") from error
    assert accepted > 0.75 * PROGRAMS  # or the generator no longer writes what the language is


@settings(
    max_examples=SHRUNK, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)  # fmt: skip
@given(programs())
def test_any(program: ProgramText):
    note(f"BPFTRACE_STRLEN={program.strlen}\n{program.text}")
    loads(program.text, program.strlen)


# What the generator found, made small, and the limits that are known to be narrow.
FOUND = {
    "index of an array on the stack": "BEGIN { $a = (uint8[8])(uint64)nsecs; print($a[rand]); }",
    "index of an array in a map": 'BEGIN { @a[1] = pton("127.0.0.1"); print(@a[1][rand % 5]); }',
    "length that is only known when it runs": "BEGIN { print(str(curtask, rand)); print(buf(curtask, -rand)); @[str(0, nsecs)] = 1; }",
    "loop on a map": "BEGIN { while (@x < 10) { @x++ } }",
    "loop without end": "BEGIN { while (1) { @x = count(); if (rand == 1) { break; } } }",
    "loop in a loop": "BEGIN { $i = 0; while ($i < 30) { $j = 0; while ($j < 20) { $j++; @[$i] = sum($j); } $i++; } }",
    "loop with a stack": "BEGIN { while (rand) { @[kstack, ustack] = count(); } }",
    "names of C and of the compiler": "BEGIN { $typeof = 1; $__x = 2; @bool = 3; @__y[1] = 4; @linux = 5; $key_2 = (1, comm); @a[$key_2, comm] = 1; }",
    "context as a number": "BEGIN { print((uint64)ctx & 7); @[ctx] = 1; print(ctx - 1); }",
    "context chosen by a branch": "rawtracepoint:sched_switch { @ = rand ? arg1 : arg2; print(@ ? arg0 : arg1); }",
    "large key": 'BEGIN { @[str(0), str(1), str(2), comm, buf(0, 60)] = hist(1); delete(@[str(0), "b", "c", comm, buf(0, 60)]); }',
    "packed record": "struct a { char c; int i; short s[3]; } __attribute__((packed)); BEGIN { $a = *(struct a *)curtask; print(($a.i, $a.s[1])); }",
    "string at an odd place of a tuple": 'BEGIN { $t = ("ab", (uint8)1, comm, "xyz"); print($t.2 == "init"); print($t.3 == "xyz"); print($t.0 == "ab"); }',
    "literal compared by bytes": 'BEGIN { $s = rand ? "" : "abc"; print(strncmp($s, rand ? "x" : "yz", 64)); }',
    "sixty arguments": 'BEGIN { printf("' + "%d " * 60 + '"' + ", pid" * 60 + "); }",
    "thirty parts of a key": "BEGIN { @[" + ", ".join(f"{i}, comm" for i in range(15)) + "] = count(); }",
    "unroll": 'BEGIN { unroll(100) { @[comm, rand] = count(); printf("%d %s\\n", rand, comm); } }',
    "long literal": f'BEGIN {{ printf("%s", "{"x" * 10000}"); $a = "{"y" * 3000}"; print($a); }}',
    "deep": "BEGIN { print(" + "(" * 60 + "rand" + " + 1)" * 60 + "); " + "if (rand) { " * 30 + "@ = 1;" + " }" * 30 + " }",
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
@pytest.mark.parametrize("strlen", [64, 4096])
def test_found(name: str, strlen: int):
    assert loads(FOUND[name], strlen)


def test_many_probes():
    body = '{ @[probe, comm] = count(); printf("%s\\n", str(arg0)); }'
    text = "BEGIN { }\n" + "\n".join(f"rawtracepoint:sys_enter /arg1 == {i}/ {body}" for i in range(500))
    assert loads(text)
