"""The command line as far as it goes without the kernel: usage, statuses, dry runs, scripts that cannot be read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bpftrace_py import cli, command, messages
from bpftrace_py.diagnostics import HostError, host_error
from bpftrace_py.files import open_output
from bpftrace_py.live_host import LiveHost
from bpftrace_py.version import __version__

HELLO = 'BEGIN { printf("hello\\n"); }'


def run(*arguments: str, input: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bpftrace_py", *arguments], capture_output=True, text=True, timeout=60,
        stdin=subprocess.DEVNULL if input is None else None, input=input, env={**os.environ, "NO_COLOR": "1", **environment},
    )  # fmt: skip


def test_without_arguments_the_usage_is_shown() -> None:
    done = run()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == cli.USAGE
    assert done.stderr.startswith("USAGE:\n    bpftrace-py [options] filename\n")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help(option: str) -> None:
    done = run(option)
    assert (done.returncode, done.stdout, done.stderr) == (0, cli.USAGE, "")


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version(option: str) -> None:
    done = run(option)
    assert (done.returncode, done.stdout) == (0, f"bpftrace-py {__version__}\n")


@pytest.mark.parametrize("words", [["-d"], ["-q"], ["-p", "1"], ["-c", "true"]])
def test_options_without_a_program_are_bad_usage(words: list[str]) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error[E0802]: there is no program\n  hint: name the file")


@pytest.mark.parametrize("pid", ["abc", "0", "-3"])
def test_a_process_is_named_by_a_number(pid: str) -> None:
    done = run("-p", pid, "-e", HELLO)
    assert done.returncode == 2
    assert done.stderr.startswith("error[E0802]: invalid value for '-p': it takes the number of a process, not ")


@pytest.mark.parametrize(
    ("search", "hint"),
    [
        ("software:nonsense", "a name may have wildcards: -l 'software:*nonsense*'"),
        (
            "no_such_word_x",
            "functions of a program or library are listed by its name: -l 'uprobe:libc:*no_such_word_x*'",
        ),
        ("software:*nonsense*", None),
    ],
)
def test_a_search_without_a_match_is_told(search: str, hint: str | None) -> None:
    done = run("-l", search)
    assert (done.returncode, done.stdout) == (0, "")
    if ":" in search or os.geteuid() == 0:  # others are told that tracepoints are not listed
        expected = f"warning[W0801]: no probe matches `{search}`\n"
        assert done.stderr == expected + (f"  hint: {hint}\n" if hint else "")


@pytest.mark.parametrize("path", ["/no/such/file", "/etc/passwd"])
def test_types_from_a_file_that_has_none(path: str) -> None:
    done = run("-d", "-e", "BEGIN { $task = (struct task_struct *)curtask; print($task->pid); }", BPFTRACE_BTF=path)
    assert done.returncode == 1
    assert done.stderr == f"error[E0801]: BPFTRACE_BTF='{path}' is not a file with BTF that can be read\n"


def test_headers_from_a_directory_that_has_none(tmp_path: Path) -> None:
    program = "#include <linux/sched.h>\nBEGIN { print(1); }"
    done = run("-d", "-e", program, BPFTRACE_KERNEL_SOURCE=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"error[E0801]: BPFTRACE_KERNEL_SOURCE='{tmp_path}' is not a directory with a kernel's"
    )


def test_a_user_who_may_not_read_tracefs_is_told(tmp_path: Path) -> None:
    (warning,) = command._hidden_tracepoints(LiveHost(tracefs=str(tmp_path / "closed")))
    assert (warning.code, warning.hint) == ("W0802", "run it as root, or by sudo")
    assert command._hidden_tracepoints(LiveHost(tracefs=str(tmp_path))) == []


def test_every_option_is_in_the_usage() -> None:
    for parameter in cli.make_command().params:
        for name in parameter.opts:
            assert name == "arguments" or f" {name}" in cli.USAGE, name


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["-e", HELLO],
        ["script.bt", "1", "two"],
        ["-"],
        ["-v", "-v", "-d", "-q", "--quiet", "-e", HELLO, "x"],
        ["-B", "none", "-f", "json", "-o", "out", "a.bt"],
        ["-I", "a", "-I", "b", "--include", "c.h", "-c", "ls -l", "-k", "-k", "a.bt", "-v"],
        ["-e", "x", "--", "-v", "--nope"],
        ["--safe", "--unsafe", "--info", "--no-warnings", "--no-cache", "--usdt-file-activation", "-l", "-h", "-V"],
    ],
)
def test_plain_command_lines_mean_what_they_mean_to_click(words: list[str]) -> None:
    with cli.make_command().make_context(cli.NAME, list(words)) as context:
        assert cli.parse_plainly(words) == context.params


@pytest.mark.parametrize(
    "words",
    [
        ["-dd"],
        ["--include=a.h"],
        ["-p", "1"],
        ["-e"],
        ["-B", "often"],
        ["-B"],
        ["--nope"],
        ["-lv"],
        ["--qui"],
        ["-e", "-x"],
        ["-o", "-"],
    ],
)
def test_other_command_lines_are_left_to_click(words: list[str]) -> None:
    assert cli.parse_plainly(words) is None


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--nope"], "--nope"),
        (["-B", "often", "-e", HELLO], "'often' is not one of 'line', 'full', 'none'"),
        (["-f", "xml", "-e", HELLO], "'xml' is not one of"),
        (["-p", "abc", "-e", HELLO], "'abc'"),
        (["-p", "0", "-e", HELLO], "0"),
        (["-e"], "-e"),
        (["-l", "a", "b"], "one search term"),
    ],
)
def test_bad_usage_is_one_sentence_and_status_2(arguments: list[str], said: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    first, *hints = done.stderr.splitlines()
    assert first.startswith("error[E0802]: ")
    assert said in first
    assert all(line.startswith("  hint: ") for line in hints)


def test_an_option_of_the_script_gets_a_hint() -> None:
    assert "write -- before" in run("-e", HELLO, "-x").stderr


def test_the_dry_run_shows_the_tree_and_the_c() -> None:
    done = run("-d", "-e", HELLO)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Program\n BEGIN\n  call: printf\n   string: hello\\n\n")
    assert 'int BEGIN(void *ctx)\n{\n\t// 1: printf("hello\\n")\n' in done.stdout


def test_the_last_words_are_those_of_the_registry() -> None:
    error = host_error(messages.EXHAUSTED, reason="memory")
    assert cli.LAST_WORDS.decode() == f"{error}\n"


def test_the_verbose_dry_run_shows_every_pass_and_the_prelude() -> None:
    done = run("-dd", "-e", HELLO)
    assert done.returncode == 0
    assert done.stdout.startswith("AST after: parser\n-------------------\nProgram\n")
    assert done.stdout.count("AST after: ") == 3
    assert command.prelude() in done.stdout
    assert done.stdout.index(command.prelude()) < done.stdout.index("int BEGIN(")


def test_the_dry_run_is_the_same_every_time() -> None:
    assert run("-d", "-e", HELLO).stdout == run("-d", "-e", HELLO, PYTHONHASHSEED="1").stdout


def test_a_script_from_a_file_and_from_standard_input(tmp_path: Path) -> None:
    script = tmp_path / "hello.bt"
    script.write_text(f"#!/usr/bin/env bpftrace-py\n{HELLO}\n")
    expected = run("-d", str(script))
    assert expected.returncode == 0
    assert "hello" in expected.stdout
    piped = run("-d", "-", input=script.read_text())
    assert piped.stdout == expected.stdout.replace(str(script), "stdin")


def test_parameters_follow_the_script(tmp_path: Path) -> None:
    script = tmp_path / "parameters.bt"
    script.write_text("BEGIN { @ = $1 + $#; }")
    assert "value = 43;" in run("-d", str(script), "41", "--", "-q").stdout
    assert "value = 43;" in run("-d", "-e", "BEGIN { @ = $1 + $#; }", "41", "x").stdout


@pytest.mark.parametrize(
    "name, expected",
    [
        ("missing.bt", "error[E0803]: the script {} cannot be read: no such file or directory"),
        ("directory", "error[E0803]: the script {} cannot be read: is a directory"),
        ("binary", "error[E0804]: {} is not a script: it has a NUL byte"),
        ("missing.bt/x", "error[E0803]: the script {} cannot be read: no such file or directory"),
    ],
)
def test_scripts_that_cannot_be_read(name: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "binary").write_bytes(b"BEGIN\0{ }")
    path = str(tmp_path / name)
    done = run("-d", path)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", expected.format(path) + "\n")


@pytest.mark.parametrize("program", ["", "   \n", "// nothing"])
def test_an_empty_program(program: str) -> None:
    done = run("-d", "-e", program)
    assert done.returncode == 1
    assert "error[E0120]" in done.stderr


def test_an_error_points_at_its_place() -> None:
    done = run("-d", "-e", "BEGIN {\n  @x = nope;\n}")
    assert done.returncode == 1
    assert done.stderr.splitlines()[:3] == [
        "stdin:2:8: error[E0301]: `nope` is not a builtin, an enumerator or a constant", "      @x = nope;", "           ^~~~",
    ]  # fmt: skip


def test_bytes_that_are_not_utf8_are_shown_harmlessly(tmp_path: Path) -> None:
    script = tmp_path / "latin1.bt"
    script.write_bytes(b'BEGIN { printf("\xe9\x1b[31m"); nope(); }')
    done = subprocess.run([sys.executable, "-m", "bpftrace_py", "-d", str(script)], capture_output=True, timeout=60)
    assert done.returncode == 1
    assert b"E0401" in done.stderr
    assert b"\x1b" not in done.stderr


def test_an_environment_variable_that_makes_no_sense() -> None:
    done = run("-d", "-e", HELLO, BPFTRACE_STRLEN="many")
    assert (done.returncode, done.stderr) == (
        1,
        "error[E0801]: BPFTRACE_STRLEN='many' is not a number from 1 to 65536\n",
    )


def test_color_only_where_it_is_wanted() -> None:
    assert "\033" not in run("-d", "-e", "BEGIN { nope(); }").stderr


def test_without_a_reader_it_ends_quietly() -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m bpftrace_py -dd -e '{HELLO}' | true; echo ${{PIPESTATUS[0]}}"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize("stream", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_no_accident(stream: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m bpftrace_py -V {stream}"], capture_output=True, text=True, timeout=60
    )
    assert "Traceback" not in done.stderr
    if ">&-" not in stream or stream == "2>&-":
        assert (done.returncode, done.stdout) == (0, f"bpftrace-py {__version__}\n")


# --- #! lines: the kernel hands over all options as one word


@pytest.mark.parametrize(
    "line, words, expected",
    [
        ("#!/usr/bin/bpftrace-py -q", ["-q"], ["-q"]),
        ("#!/usr/bin/bpftrace-py -q -B none", ["-q -B none"], ["-q", "-B", "none"]),
        ("#!/usr/bin/bpftrace-py --include 'a b.h'", ["--include 'a b.h'"], ["--include", "a b.h"]),
        ("#!/usr/bin/bpftrace-py -q", ["-B none"], ["-B none"]),  # not from this line: left alone
        ("BEGIN { }", ["-q -v"], ["-q -v"]),
    ],
)
def test_options_in_a_shebang(line: str, words: list[str], expected: list[str], tmp_path: Path) -> None:
    script = tmp_path / "script.bt"
    script.write_text(f"{line}\n{HELLO}\n")
    assert cli.split_shebang([*words, str(script), "5"]) == [*expected, str(script), "5"]


@pytest.mark.parametrize("words", [[], ["-q"], ["-q -v"], ["-q -v", "/no/such/script"], ["-e", "BEGIN { }"]])
def test_what_is_no_shebang_is_left_alone(words: list[str]) -> None:
    assert cli.split_shebang(words) == words


# --- -o


def test_output_goes_over_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("old and long")
    fd = open_output(str(path))
    os.write(fd, b"new")
    os.close(fd)
    assert path.read_text() == "new"


def test_output_may_be_a_device() -> None:
    os.close(open_output("/dev/null"))
    os.close(open_output("/dev/stderr"))


@pytest.mark.parametrize("name", ["", "directory", "missing/out", "nul\0"])
def test_output_that_cannot_be_opened(name: str, tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(HostError) as error:
        open_output(f"{tmp_path}/{name}" if name else "")
    assert error.value.diagnostics[0].code == "E0806"
