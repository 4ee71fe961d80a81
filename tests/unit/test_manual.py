"""The man page against the command's own help."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from bpftrace_py.cli import USAGE

PAGE = Path(__file__).resolve().parents[2] / "docs" / "bpftrace-py.1"


def _described() -> str:
    return PAGE.read_text(encoding="utf-8").replace("\\-", "-")


def test_every_option_and_variable_is_described() -> None:
    text = _described()
    options, _, variables = USAGE.partition("OPTIONS:\n")[2].partition("ENVIRONMENT:\n")
    names = set(re.findall(r"^    (-\S+?)(?:,|\s|$)", options, re.MULTILINE)) | set(re.findall(r"--[a-z-]+", options))
    names |= set(re.findall(r"^    ([A-Z_]+) ", variables, re.MULTILINE))
    assert len(names) > 35
    for name in names:
        assert re.search(rf"(?<![\w-]){name}(?![\w-])", text), name


def test_nothing_else_is_described() -> None:
    for name in set(re.findall(r"^\.B[RI]? (-[\w-]*\w|[A-Z]+_[A-Z_]+)", _described(), re.MULTILINE)):
        assert re.search(rf"(?<![\w-]){name}(?![\w-])", USAGE), name


def test_defaults_are_those_of_the_help() -> None:
    text = _described()
    for name, default in re.findall(r"^    (\w+) +\[default: (\d+)\]", USAGE, re.MULTILINE):
        entry = text.partition(f".B {name}\n")[2].partition(".TP")[0]
        assert f"Default: {default}." in entry, name


def test_it_is_a_man_page_without_warnings() -> None:
    groff = shutil.which("groff")
    assert groff, "groff is not installed: run `make setup`"
    done = subprocess.run([groff, "-ww", "-man", "-Tutf8", str(PAGE)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "count" in done.stdout
