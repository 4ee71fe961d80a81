"""Uprobes and static probes of real programs: what their arguments, results and names are when they fire."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import Outcome, Session, run, run_command
from tests.testprogs import build

FORMS = ["functions", "functions_fixed", "functions_static", "stripped of its table", "debug file"]


@pytest.fixture(params=FORMS)
def functions(request: pytest.FixtureRequest) -> Path:
    """The program with every form of symbols and addresses."""
    if request.param == "stripped of its table":
        return build.with_debug_file("functions", build_id=True)
    if request.param == "debug file":
        return build.with_debug_file("functions")
    return build.program(request.param)


def traced(path: Path, program: str, *options: str) -> Outcome:
    """The program's own command, traced from its first instruction to its end."""
    outcome = run(program.replace("PATH", str(path)), "-c", f"{path} 2", *options)
    assert outcome.status == 0, outcome.stderr
    return outcome


# --- uprobes


def test_arguments_and_results(functions):
    program = """
        uprobe:PATH:small_signed { printf("%d %d %d %d\\n", (int8)arg0, (uint8)arg1, (int16)arg2, (uint16)arg3); }
        uprobe:PATH:eight_arguments { printf("%d %d %d %d\\n", arg0, arg5, arg6, arg7); }
        uprobe:PATH:greet { printf("%s %d\\n", str(arg0), arg1); }
        uretprobe:PATH:greet { printf("%s\\n", str(retval)); }
        uretprobe:PATH:small_signed { printf("%d\\n", (int8)retval); }
        uprobe:PATH:local_function { printf("local %d\\n", arg0); }
    """
    lines = traced(functions, program).lines
    expected = ["-5 250 -30000 60000", "5", "1 6 70 80", "world 5", "hello from greet", "local 21"]
    assert [line for line in lines if line in (*expected, "local 22")] == [*expected, *expected[:-1], "local 22"]


def test_wildcard_names_the_function_that_fired(functions):
    out = traced(functions, "uprobe:PATH:wild_* { @[func, probe, arg0] = count(); }").stdout
    for name in ("wild_one", "wild_two", "wild_three"):
        for round_ in (0, 1):
            assert f"@[{name}, uprobe:{functions}:{name}, {round_}]: 1\n" in out


def test_recursion_and_its_results():
    out = traced(
        build.program("functions"),
        "uprobe:PATH:recursive { @calls[arg0] = count(); } uretprobe:PATH:recursive { @results[retval] = count(); }",
    ).stdout
    assert [f"@calls[{n}]: 2\n" in out for n in range(4)] == [True] * 4
    assert [f"@results[{n}]: 2\n" in out for n in (0, 1, 3, 6)] == [True] * 4


def test_place_in_a_function_and_address(functions):
    """A second instruction fires as often as the first; an address is one of the file."""
    code = subprocess.run(["objdump", "-d", _with_symbols(functions)], capture_output=True, text=True, check=True).stdout
    body = code.partition("<wild_two>:\n")[2].partition("\n\n")[0]
    addresses = [int(line.split(":")[0], 16) for line in body.splitlines()]
    offset = addresses[1] - addresses[0]
    program = f"uprobe:PATH:wild_two+{offset} {{ @inside = count(); }} uprobe:PATH:{addresses[0]:#x} {{ @start = count(); }}"
    out = traced(functions, program).stdout
    assert "@inside: 2\n" in out and "@start: 2\n" in out


def _with_symbols(path: Path) -> str:
    """The original of a program whose symbols were moved away."""
    return str(build.program("functions") if "debuglink" in str(path) else path)


def test_records_by_the_script_s_own_declaration():
    program = """
        struct point { int x; short y; unsigned char flags; char *label; int history[4]; };
        uprobe:PATH:take_point {
            $p = (struct point *)arg0;
            printf("%d %d %x %s %d\\n", $p->x, $p->y, $p->flags, str($p->label), $p->history[2]);
        }
    """
    assert "-7 300 a5 origin 30" in traced(build.program("functions"), program).lines


def test_variable_of_the_program(functions):
    program = 'uprobe:PATH:no_result { printf("%d\\n", *(int32 *)uaddr("global_counter")); }'
    assert "41" in traced(functions, program).lines


def test_cpp_names():
    path = build.program("overloads")
    out = run(
        f'uprobe:{path}:over {{ @any[func] = count(); }} uprobe:{path}:"over(int)" {{ @int = count(); }}'
        f' uprobe:{path}:"shapes::Square::area*" {{ @area = count(); }}',
        "-c", str(path),
    ).stdout  # fmt: skip
    assert "@any[over(int)]: 1\n" in out and "@any[over(double)]: 1\n" in out
    assert "@int: 1\n" in out and "@area: 2\n" in out
    out = run(
        f'uprobe:{path}:"shapes::twice<int>" {{ @template = arg0; }} uprobe:{path}:"shapes::Square::operator()" {{ @call = arg1; }}'
        f' uprobe:{path}:"shapes::(anonymous namespace)::hidden" {{ @hidden = arg0; }}'
        f' uprobe:{path}:"shapes::Square::Square" {{ @constructed = count(); }}',
        "-c", str(path),
    ).stdout  # fmt: skip
    assert {"@template: 21", "@call: 2", "@hidden: 3", "@constructed: 1"} <= set(out.splitlines())
    plain = run(
        f"uprobe:{path}:over {{ }}", "-c", str(path), env={"BPFTRACE_NO_CPP_DEMANGLE": "1"}
    )  # fmt: skip
    assert plain.status == 1 and "has no function `over`" in plain.stderr


def test_static_position_independent_program(tmp_path):
    path = tmp_path / "static_pie"
    source = build.SOURCES / "functions.c"
    subprocess.run(["gcc", "-O1", "-fno-inline", "-static-pie", "-o", str(path), str(source)], check=True)
    assert "world" in traced(path, 'uprobe:PATH:greet { printf("%s\\n", str(arg0)); }').lines


def test_library_and_command_by_name():
    child = "/bin/bash -c 'exec /usr/bin/python3 -c \"import os; os.getppid()\"'"
    program = "uprobe:libc:getppid /pid == cpid/ { @library[comm] = count(); } uprobe:bash:main /pid == cpid/ { @command = count(); }"
    out = run(program, "-c", child).stdout
    assert "@library[python3]: 1\n" in out and "@command: 1\n" in out


def test_what_a_command_starts_is_traced_too():
    path = build.program("functions")
    out = run(f'uprobe:{path}:greet {{ @[pid == cpid, comm] = count(); }}', "-c", f"/bin/sh -c '{path} 2; true'").stdout
    assert re.search(r"^@\[0, functions\]: [1-9]", out, re.M), out


def test_stripped_program_is_refused():
    outcome = run(f"uprobe:{build.stripped('functions')}:greet {{ }}")
    assert outcome.status == 1
    assert "is stripped: of its functions only those that it exports have names, and `greet` is not one" in outcome.stderr


def test_one_process_of_two():
    path = build.program("functions")
    with subprocess.Popen([path, "0", "1"], stdout=subprocess.PIPE) as other:
        with subprocess.Popen([path, "0", "1"], stdout=subprocess.PIPE) as one:
            program = f"uprobe:{path}:greet {{ @[pid] = count(); }} interval:ms:200 {{ @ticks = count(); }}"
            with Session("-p", str(one.pid), "-e", program + ' uprobe:libc:usleep { printf("slept\\n"); }') as session:
                session.wait_for("^slept$")
                outcome = session.interrupt()
            one.kill()
        other.kill()
    assert re.findall(r"^@\[(\d+)\]", outcome.stdout, re.M) == [str(one.pid)]


def test_every_function_of_a_library_in_one_process():
    with subprocess.Popen(["sleep", "1000"]) as process:
        outcome = run("uprobe:libc:* { @ = count(); } BEGIN { exit(); }", "-p", str(process.pid))
        process.kill()
    assert outcome.status == 0
    attached = re.search(r"Attaching (\d+) probes", outcome.stdout)
    assert attached and int(attached.group(1)) > 500


def test_process_in_another_mount_namespace(tmp_path):
    """It has a file where we have none: its paths are its own."""
    place = tmp_path / "place"
    place.mkdir()
    script = 'mount -t tmpfs none "$1" && cp "$2" "$1/inside" && exec "$1/inside" 0 1'
    command = ["unshare", "-m", "sh", "-c", script, "sh", str(place), str(build.program("functions"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        assert not (place / "inside").exists()
        program = f'uprobe:{place}/inside:greet {{ printf("%s %s\\n", str(arg0), probe); exit(); }}'
        outcome = run(program, "-p", str(process.pid))
        listed = run_command("-p", str(process.pid), "-l", f"uprobe:{place}/inside:wild*").lines
        process.kill()
    assert f"world uprobe:{place}/inside:greet" in outcome.lines
    assert listed == [f"uprobe:{place}/inside:{name}" for name in ("wild_one", "wild_three", "wild_two")]


# --- static probes


def test_sizes_and_signs():
    path = build.program("usdt_arguments")
    program = """
        usdt:PATH:sizes:all { printf("%d %u %d %u %d %u %d %u\\n", arg0, arg1, arg2, arg3, arg4, arg5, arg6, arg7); }
        usdt:PATH:sizes:constants { printf("%d %d %d %c\\n", arg0, arg1, arg2, arg3); }
        usdt:PATH:sizes:twelve { printf("%d %d\\n", arg0, arg9); }
        usdt:PATH:sizes:none { printf("none\\n"); }
    """
    lines = traced(path, program).lines
    assert "-1 200 -2 60000 -4 4000000000 -8 18000000000000000000" in lines
    assert "-3 250 -5000000000 A" in lines
    assert "1 10" in lines and "none" in lines


@pytest.mark.skipif(__import__("os").uname().machine != "x86_64", reason="the operands are those of x86-64")
def test_places():
    path = build.program("usdt_arguments")
    program = """
        usdt:PATH:places:high_byte { printf("high %d %d %d %d %x\\n", arg0, arg1, arg2, arg3, arg4); }
        usdt:PATH:places:numbered { printf("numbered %x %x %d %x\\n", arg0, arg1, arg2, arg3); }
        usdt:PATH:places:indexed { printf("indexed %d %d %d %d\\n", arg0, arg1, arg2, arg3); }
        usdt:PATH:places:symbols { printf("symbols %d %d %d %d\\n", arg0, arg1, arg2, arg3); }
        usdt:PATH:places:constants { printf("constants %d %u %d %d\\n", arg0, arg1, arg2, arg3); }
        usdt:PATH:places:unreadable { printf("beside %d\\n", arg1); }
        usdt:PATH:places:text { printf("text %s %s\\n", str(arg0), str(arg1)); }
    """
    lines = traced(path, program).lines
    for expected in (
        f"high {0xFD} {0xFC} {0xFDFC} {0xFFFEFDFC - (1 << 32)} 11223344fffefdfc",
        "numbered 81 8081 -2147450751 8000000080008081",
        "indexed 33 44 22 22",
        "symbols -77 5 -6 -6",
        "constants -7 4294967289 255 16",
        "beside 99",
        "text some text e text",
    ):
        assert expected in lines, lines


def test_an_argument_that_cannot_be_read():
    path = build.program("usdt_arguments")
    outcome = run(f"usdt:{path}:places:unreadable {{ print(arg0); }}")
    assert outcome.status == 1 and "argument 0 is at a place that cannot be read" in outcome.stderr


@pytest.fixture
def tick() -> Iterator[subprocess.Popen[bytes]]:
    """Runs until it is killed."""
    with subprocess.Popen([build.program("tick"), "0", "1"], stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_namespaces_semaphores_and_places():
    path = build.program("tick")
    program = """
        usdt:PATH:tick:loop { printf("tick %s %d\\n", str(arg0), arg1); }
        usdt:PATH:tock:loop { printf("tock %d\\n", arg0); }
        usdt:PATH:guarded { printf("guarded %d\\n", arg0); }
        usdt:PATH:tick:twice { @[arg0] = count(); }
    """
    outcome = traced(path, program)
    wanted = [line for line in outcome.lines if line.startswith(("tick", "tock", "guarded"))]
    assert wanted == [
        line for n in (0, 1) for line in (f"tick my string {n + 1}", f"tock {2 * n}", f"guarded {n + 100}")
    ]
    for first_argument in (0, 1, 1000, 1001):
        assert f"@[{first_argument}]: 1\n" in outcome.stdout
    assert "Attaching 5 probes..." in outcome.stdout  # `twice` is at two places


def test_wildcard_over_namespaces():
    path = build.program("tick")
    out = traced(path, "usdt:PATH:*:loop { @[probe] = count(); }").stdout
    assert f"@[usdt:{path}:tick:loop]: 2\n" in out and f"@[usdt:{path}:tock:loop]: 2\n" in out


@pytest.mark.parametrize("spec", ["usdt:PATH:tick:guarded", "usdt::tick:guarded", "usdt:*:tick:guarded"])
def test_a_running_process_s_semaphore_is_raised(tick, spec):
    """`guarded` only fires while somebody listens; the process may be told to be the one, or its files be looked for."""
    program = spec.replace("PATH", str(build.program("tick"))) + ' { printf("%s\\n", probe); exit(); }'
    outcome = run(program, "-p", str(tick.pid))
    assert f"usdt:{build.program('tick')}:tick:guarded" in outcome.lines


def test_static_probe_of_a_library(tmp_path):
    """libstdc++ has some, of its own namespace. It is found by name, by pattern or for itself in what a process has mapped."""
    source = tmp_path / "throws.cc"
    source.write_text(
        "#include <cstdio>\n#include <unistd.h>\n"
        'int main() { puts("ready"); fflush(stdout); for (;; usleep(1000)) try { throw 1; } catch (int) { } }\n'
    )
    path = tmp_path / "throws"
    subprocess.run(["g++", "-o", str(path), str(source)], check=True)
    with subprocess.Popen([path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        for binary in ("libstdc++", "*libstdc++*", ""):
            program = f'usdt:{binary}:libstdcxx:throw {{ printf("%s\\n", probe); exit(); }}'
            outcome = run(program, "-p", str(process.pid))
            assert re.search(r"^usdt:/.*/libstdc\+\+\.so\.\S*:libstdcxx:throw$", outcome.stdout, re.M), outcome
        process.kill()


def test_python_s_own_probes():
    """Debian's Python has static probes. `gc__start` has the generation that is collected as its argument."""
    python = Path("/usr/bin/python3").resolve()
    probe = f"usdt:{python}:python:gc__start"
    if probe not in run_command("-l", f"usdt:{python}:*").lines:
        pytest.skip("the system's Python was built without static probes (--with-dtrace)")
    child = f"{python} -S -c 'import gc; gc.disable(); gc.collect(1); gc.collect(1); gc.collect(0)'"
    out = run(f"{probe} {{ @[arg0] = count(); }}", "-c", child).stdout
    assert "@[1]: 2\n" in out and "@[0]: " in out  # it collects on its own account when it ends
