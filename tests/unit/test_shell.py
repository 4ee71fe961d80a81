"""The references that `language.shell` writes, tried in real shells with values that want to be code."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpftrace_py.language.shell import Hole, Refused, plan, prologue

SHELLS = [path for name in ("dash", "bash") if (path := shutil.which(name))]
NASTY = [
    "; touch CANARY",
    "$(touch CANARY)",
    "`touch CANARY`",
    "' ; touch CANARY ; '",
    '" ; touch CANARY ; "',
    "'\"; touch CANARY #",
    "a\ntouch CANARY\n",
    "| touch CANARY",
    "&& touch CANARY",
    "> CANARY",
    "}; touch CANARY; {",
    "${x:-$(touch CANARY)}",
    "\\",
    "\\'; touch CANARY; \\'",
    "*",
    "  two  spaces  ",
    "",
    "a[$(touch CANARY)]",
    ")); touch CANARY; ((",
]


def script_of(format: str) -> tuple[str, int]:
    """The script for a format in which %s is text and %d the number 7."""
    pieces: list[str | Hole] = []
    for piece in re.split("(%s|%d)", format):
        pieces.append({"%s": Hole.TEXT, "%d": Hole.NUMBER}.get(piece, piece))
    references = plan(pieces)
    left = iter(references)
    body = "".join(next(left) if p is Hole.TEXT else "7" if p is Hole.NUMBER else str(p) for p in pieces)
    return prologue(len(references)) + body, len(references)


def run(shell: str, format: str, values: list[str], cwd: Path) -> str:
    script, count = script_of(format)
    assert count == len(values)
    done = subprocess.run([shell, "-c", script, "sh", *values], cwd=cwd, capture_output=True, text=True, timeout=10)
    assert not (cwd / "CANARY").exists(), f"{script!r} ran {values}"
    return done.stdout


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("value", NASTY)
@pytest.mark.parametrize("format", ["printf '<>' %s %d", "printf %s", "printf '<%s>'", 'echo x > /dev/null; printf "%s"'])
def test_no_value_is_code_in_any_quotes(shell: str, value: str, format: str, tmp_path: Path) -> None:
    run(shell, format, [value], tmp_path)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("value", [v for v in NASTY if "\\" not in v])
@pytest.mark.parametrize("format", ["echo %s", 'echo "%s"', "echo '%s'", "x=%s; echo \"$x\"", 'echo "$(echo %s)"', "{ echo %s; }",
                                    "if true; then echo %s; fi", "echo %s # %d", "for x in %s; do echo \"$x\"; done",
                                    "f() { echo %s; }; f other", "echo %s | cat", "timeout 5 echo %s", "env A=b echo %s"])  # fmt: skip
def test_the_value_is_printed_as_it_is(shell: str, value: str, format: str, tmp_path: Path) -> None:
    printed = run(shell, format, [value], tmp_path)
    assert printed.rstrip("\n") == value.rstrip("\n")


@pytest.mark.parametrize("shell", SHELLS)
def test_several_values_beside_text(shell: str, tmp_path: Path) -> None:
    values = ["a b", "$HOME", "c'"]
    assert run(shell, "echo pre%spost \"q %s q\" 'r %s' %d $#", values, tmp_path) == "prea bpost q $HOME q r c' 7 0\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_more_than_nine_values(shell: str, tmp_path: Path) -> None:
    assert run(shell, "echo" + " %s" * 12, [f"v{n}" for n in range(12)], tmp_path) == " ".join(f"v{n}" for n in range(12)) + "\n"


REFUSED = [
    "%s", "%s -v", "/bin/%s", "eval %s", "sh -c 'echo %s'", 'sh -c "echo %s"', "echo %s | sh", "echo %s | sudo bash", "bash -s < %s",
    "x=%s; eval $x", "x=%s; $x", "timeout 5 sh -c '%s'", "timeout 5 %s", "nice -n 5 %s", "env %s", "sudo -u bob %s", "exec %s",
    "nsenter -t 1 -m sh -c 'echo %s'", "find . -exec sh -c 'echo %s' ';'", "xargs sh -c %s", "python3 -c 'print(\"%s\")'",
    "echo %s | python3", "awk '/%s/' /proc/uptime", "sed 's/%s//' x", "ssh host ls %s", "su - bob -c 'ls %s'", ". %s", "trap %s EXIT",
    "echo `echo %s`", "cat <<E\n%s\nE", "echo $((%s + 1))", "x=%s; echo $((x))", "x=%s; ((x))", "echo ${x:-%s}", "echo \\%s", "echo $%s",
    "echo \"$%s\"", "echo $'%s'", "PATH=%s ls", "export %s", "env LD_PRELOAD=%s ls", "env -S '%s'", "echo 'open %s", 'echo "open %s',
    "echo $(echo %s", "if %s; then :; fi", "x=1 %s", "echo ok; %s", "echo ok && %s", "(%s)", "echo $(%s)", "! %s", "let %s",
    "[[ %s -eq 0 ]]",
]  # fmt: skip


@pytest.mark.parametrize("format", REFUSED)
def test_what_cannot_be_made_safe_is_refused(format: str) -> None:
    with pytest.raises(Refused):
        script_of(format)


@pytest.mark.parametrize("format", ["eval x%d", "sh -c 'echo %d'", "echo `ps -p %d`", "awk '{print $1}' /proc/%d/stat", "%d"])
def test_scripts_with_numbers_only_are_left_alone(format: str) -> None:
    assert script_of(format) == (format.replace("%d", "7"), 0)


@pytest.mark.parametrize("format", ["sh /opt/hook.sh %s", "python3 tool.py %s %d", "kill -9 %d; echo %s", "grep %s file > out 2>&1",
                                    "echo $((%d * 2)) %s", "logger -t x -- %s &", "test -e /proc/%d && cat %s"])  # fmt: skip
def test_everyday_scripts_are_accepted(format: str) -> None:
    script_of(format)


PIECES = st.sampled_from(
    ["echo ", "'", '"', "$(", ")", " ", ";", "%s", "%s", "%d", "x", "$y", "|", "cat ", "\\", "# ", "\n", "{ ", "}", "&& "]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=10), st.sampled_from([v for v in NASTY if "CANARY" in v]))
def test_random_scripts_never_run_a_value(tmp_path_factory: pytest.TempPathFactory, pieces: list[str], value: str) -> None:
    format = "".join(pieces)
    try:
        _, count = script_of(format)
    except Refused:
        return
    directory = tmp_path_factory.mktemp("random")
    for shell in SHELLS:
        run(shell, "x=1; y=2; " + format, [value] * count, directory)
