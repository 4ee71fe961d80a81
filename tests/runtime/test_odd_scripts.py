"""Scripts as files come: with other line ends, marks and bytes, from pipes and from nowhere; and mistakes that are ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import command

HELLO = b'BEGIN { printf("hello\\n"); exit(); }'


def run(script: bytes, tmp_path: Path, *options: str) -> subprocess.CompletedProcess[bytes]:
    path = tmp_path / "script.bt"
    path.write_bytes(script)
    return subprocess.run([command(), "-q", *options, path], capture_output=True, timeout=60, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize(
    "script",
    [
        b"BEGIN {\r\n\tprintf(\"hello\\n\");\r\n\texit();\r\n}\r\n",
        b"\xef\xbb\xbf" + HELLO,
        HELLO + b" // no newline",
        b"#!/usr/bin/env bpftrace-py\n" + HELLO,
        b"\r" + HELLO.replace(b" ", b"\r") + b"\r",
        b"/* " + b"x" * (1 << 20) + b" */" + HELLO,
        b"\n" * 100_000 + HELLO,
    ],
    ids=["CRLF", "BOM", "no last newline", "#!", "CR", "a line of 1 MB", "100000 lines"],
)  # fmt: skip
def test_odd_but_right(script: bytes, tmp_path: Path) -> None:
    done = run(script, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"hello\n\n\n", b"")


@pytest.mark.parametrize("option", ["--no-cache", "-q"])
def test_bytes_that_are_not_utf8_are_printed_as_they_are(option: str, tmp_path: Path) -> None:
    done = run(b'BEGIN { printf("caf\xe9 %s\\n", "\xe9t\xe9"); @["\xe9"] = 1; exit(); } // \xe9', tmp_path, option)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"caf\xe9 \xe9t\xe9\n\n\n@[\xe9]: 1\n", b"")


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_from_standard_input(name: str) -> None:
    done = subprocess.run([command(), "-q", name], capture_output=True, timeout=60, input=HELLO)
    assert (done.returncode, done.stdout) == (0, b"hello\n\n\n")


def test_from_a_pipe_of_the_shell() -> None:
    done = subprocess.run(["bash", "-c", f"{command()} -q <(echo '{HELLO.decode()}')"], capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, b"hello\n\n\n")


@pytest.mark.parametrize("script", [b"", b"\n\n", b"// only this", b"\xef\xbb\xbf"])
def test_nothing_in_it(script: bytes, tmp_path: Path) -> None:
    done = run(script, tmp_path)
    assert done.returncode == 1 and b"error[E0120]: the program has no probes\n" in done.stderr


def test_a_script_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "script.bt"
    path.write_bytes(HELLO)
    path.chmod(0)
    rights = ["--reuid=65534", "--clear-groups", "--inh-caps=+bpf,+perfmon", "--ambient-caps=+bpf,+perfmon"]
    tmp_path.chmod(0o755)
    done = subprocess.run(
        ["setpriv", *rights, command(), "script.bt"], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (
        1,
        "error[E0803]: the script script.bt cannot be read: permission denied\n",
    )


# The generator with one wrong statement: what a bug of ours would be.
BROKEN = """
import sys
from bpftrace_py import cli
from bpftrace_py.codegen.generate import Generator
right = Generator.generate
def broken(self):
    unit = right(self)
    assert "x = 5;" in unit.c_source
    object.__setattr__(unit, "c_source", unit.c_source.replace("x = 5;", sys.argv[1]))
    return unit
Generator.generate = broken
sys.exit(cli.main(["--no-cache", *sys.argv[2:]]))
"""


@pytest.mark.parametrize(
    "statement, sentence, excerpt",
    [
        (
            "x = nothing;",
            "error[E0705]: clang refused the C that was generated for script.bt:3: this is a bug in bpftrace-py",
            "error: use of undeclared identifier 'nothing'",
        ),
        (
            "x = *(volatile u64 *)(x + 8);",
            "error[E0706]: the kernel refused the program that was generated for script.bt:2 (Permission denied): "
            "this is a bug in bpftrace-py",
            "invalid mem access 'scalar'",
        ),
    ],
    ids=["clang", "the verifier"],
)
def test_a_bug_of_ours_is_said_to_be_one(statement: str, sentence: str, excerpt: str, tmp_path: Path) -> None:
    (tmp_path / "script.bt").write_text("// a script\nBEGIN {\n\t$x = 5;\n\t@a = $x;\n}\n")
    words = [sys.executable, "-c", BROKEN, statement]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    def told(*options: str) -> str:
        done = subprocess.run(
            [*words, *options, "script.bt"], capture_output=True, text=True, timeout=60, cwd=tmp_path, env=environment
        )
        assert done.returncode == 1 and "Traceback" not in done.stderr
        return done.stderr

    plain, verbose = told(), told("-v")
    assert plain.startswith(sentence) and excerpt in plain
    assert len(plain.splitlines()) <= 12, "the last useful lines only"
    assert len(verbose.splitlines()) > len(plain.splitlines()), "and all of it with -v"
