"""What analysis accepts, clang and the verifier accept, and the kernel runs: random well-typed programs.

Each is compiled and loaded, and its BEGIN run; some are loaded a second time as on a kernel without may_goto, some are
attached and run for a moment. FUZZ_PROGRAMS is their number (200 in `make test`), FUZZ_SEED the first seed. A failing
program is printed with the configuration that it was compiled with.
"""

from __future__ import annotations

import os
from functools import cache

import pytest
from hypothesis import HealthCheck, given, note, settings

from bpftrace_py.codegen.unit import Special, Unit
from bpftrace_py.compiler import compile_source
from bpftrace_py.config import Config
from bpftrace_py.diagnostics import CompileError, HostError
from bpftrace_py.live_host import LiveHost
from bpftrace_py.output.text import TextOutput
from bpftrace_py.runtime.features import Features
from bpftrace_py.runtime.loader import load
from bpftrace_py.runtime.session import Session, SessionWriter
from bpftrace_py.source import Source
from tests.fuzz.programs import ProgramText, from_seed, programs

pytestmark = pytest.mark.live

PROGRAMS = int(os.environ.get("FUZZ_PROGRAMS", "200"))
FIRST = int(os.environ.get("FUZZ_SEED", "0"))
SHRUNK = PROGRAMS // 20  # programs that hypothesis chooses: it is slower, but makes a counterexample small
OLDER, ATTACHED = 8, 20  # one program in so many is loaded as on an older kernel; attached and run


class OlderFeatures(Features):
    """Of a kernel that has no may_goto: the verifier follows every round of a loop."""

    may_goto = False


@cache
def host() -> LiveHost:
    return LiveHost()


@cache
def features(older: bool = False) -> Features:
    return OlderFeatures() if older else Features()


def accepted(text: str, config: Config) -> Unit | None:
    try:
        return compile_source(Source(text), config, host())
    except CompileError:
        return None


def loads(unit: Unit, older: bool = False) -> None:
    """Raises what clang or the verifier says of a program that analysis has accepted."""
    with load(unit, features(older)) as loaded:
        for program in unit.programs:
            if any(isinstance(a.target, Special) and a.target.name == "BEGIN" for a in program.attachments):
                loaded.run(program.function)


def runs(unit: Unit, config: Config) -> bool:
    """Attach a program, let it run for a moment, print its maps. False if this kernel has none of its probes."""
    with open(os.devnull, "wb") as nowhere:
        session = Session(unit, config, lambda texts: TextOutput(SessionWriter(nowhere.fileno()), texts))
        try:
            session.start(quiet=True)
            session.run(0.02)
            session.finish()
        except HostError:
            return False
        finally:
            session.close()
    return True


def check(program: ProgramText, number: int) -> bool:
    """Whether analysis accepts a program. Raises if it does, and something behind it does not."""
    unit = accepted(program.text, program.config)
    if unit is None:
        return False
    loads(unit)
    if number % OLDER == 0 and unit.bounded_loops:
        loads(unit, older=True)
    if number % ATTACHED == 0 and not program.acts:
        runs(unit, program.config)
    return True


def test_many():
    count = 0
    for seed in range(FIRST, FIRST + PROGRAMS):
        program = from_seed(seed)
        try:
            count += check(program, seed)
        except Exception as error:
            raise AssertionError(f"seed {seed}, {program.config}:\n{program.text}\n{error}") from error
    print(f"seeds {FIRST} to {FIRST + PROGRAMS - 1}: {count} of {PROGRAMS} programs accepted, all of them loaded")
    assert count > 0.75 * PROGRAMS  # or the generator no longer writes what the language is


@settings(
    max_examples=SHRUNK, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)  # fmt: skip
@given(programs())
def test_any(program: ProgramText):
    note(f"{program.config}\n{program.text}")
    check(program, 1)


_PART = '(((uint8[8])(uint64)$i, *(struct q *)tid, *(struct q *)curtask, (uint64 *)curtask, buf(0, cpu)), buf("abc", 32), pton("::1"), cgroup)'
_ELEMENT = f"@d[comm, (uint32)$i, *(struct r *)curtask, %s, {_PART}, $i, str(7), $i]"
_NESTED = _ELEMENT % (_ELEMENT % (_ELEMENT % 1))

# What the generator found, made small, and the limits that are known to be narrow.
FOUND = {
    "many addresses in a loop": f"struct r {{ long a; short b[2]; }}; struct q {{ long *a; }}; BEGIN {{ $i = 0; while ($i < 1000) {{ $i++; while (rand) {{ {_NESTED} <<= 7; }} }} }}",
    "index of an array on the stack": "BEGIN { $a = (uint8[8])(uint64)nsecs; print($a[rand]); }",
    "literal in one branch, string of a tuple in the other": 'kretprobe:vfs_read { $z = (1, "_?", comm, (38, "abc")); $z = (1, (((struct task_struct *)curtask)->signal->rlim[3].rlim_cur ? $z.1 : "some text"), str(1), ((15, "abcdefghi"))); @[1, retval] = numaid; }',
    "stack that a helper is the first to use": 'struct r0 { char m0[1]; int m1; int m2; long m3; }; BEGIN { $s = *(struct r0 *)gid; $s = (@b ? $s : *(struct r0 *)7); $s.m3 ? print(1) : print(1); @c[$s.m3 ? str(1) : comm, $s.m0, $s.m2, buf(comm)] = count(); @b++; }',
    "functions whose names begin with underscores": "kprobe:__x64_sys_read, kretprobe:__x64_sys_read { @[probe] = count(); } kprobe:*x64_sys_getp* { @x++; }",
    "kprobe with an early wildcard": "kprobe:*_x64_sys_getppid { @[func] = count(); }",
    "index of an array at an odd place": "struct r { char a; short m[3]; long b; } __attribute__((packed)); BEGIN { $s = *(struct r *)curtask; print($s.m[-cpu]); @a = $s; print(@a.m[cpu]); print(($s, 1).0.m[cpu]); }",
    "index of an array in a map": 'BEGIN { @a[1] = pton("127.0.0.1"); print(@a[1][rand % 5]); }',
    "index that the compiler knows to be small": "BEGIN { $t = 6 / @e; print(((uint8[8])(uint64)nsecs)[$t & 7]); @e = 1; }",
    "stacks in a long unroll": "BEGIN { unroll(100) { @x[kstack] = count(); if (rand) { @y[ustack] = count(); } @z = hist(rand); } }",
    "record chosen in a long unroll": "struct r { int m[1]; long l; char c[9]; }; BEGIN { unroll(100) { $v = rand ? *(struct r *)curtask : *(struct r *)7; @[rand ? comm : \"\"] = 1; } @x = $v.l; }",
    "length that is only known when it runs": "BEGIN { print(str(curtask, rand)); print(buf(curtask, -rand)); @[str(0, nsecs)] = 1; }",
    "comparison that looks like one for overflow": "BEGIN { @b = nsecs; @x = pid > (uint64)(-1) / (uint64)@b; @y = ((uint64)@b * 10) / 10 == (uint64)@b; }",
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
    unit = accepted(FOUND[name], Config(strlen=strlen))
    assert unit is not None
    loads(unit)
    if unit.bounded_loops:
        loads(unit, older=True)


def test_many_probes():
    body = '{ @[probe, comm] = count(); printf("%s\\n", str(arg0)); }'
    text = "BEGIN { }\n" + "\n".join(f"rawtracepoint:sys_enter /arg1 == {i}/ {body}" for i in range(500))
    unit = accepted(text, Config())
    assert unit is not None
    loads(unit)
