"""Every code block of README and docs, run. What the blocks mean is in CONTRIBUTING.md, how they are read in doc_blocks."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from bpftrace_py.runtime.features import Features
from tests.doc_blocks import (
    GENERATED,
    INTERRUPT,
    ROOT,
    Block,
    Command,
    anchors,
    commands,
    documents,
    find_output,
    links,
    read_blocks,
    without_blocks,
)
from tests.live import TIME_LIMIT, Session
from tests.live import command as installed

BLOCKS = {block.name: block for path in documents() for block in read_blocks(path)}
NOT_RUN = [block for block in BLOCKS.values() if "not run" in block.options]
PATH = {"PATH": f"{Path(installed()).parent}:{os.environ['PATH']}"}


def _named(language: str) -> list[str]:
    return [name for name, block in BLOCKS.items() if block.language == language and "not run" not in block.options]


def _shell(text: str, directory: Path) -> Session:
    """The command as a person types it, both streams as one. bpftrace-py gets the signals itself."""
    assignments = re.match(r"(?:\w+=\S* )*", text)
    assert assignments
    if text[assignments.end() :].startswith("bpftrace-py") and "|" not in re.sub(r"'[^']*'", "", text):
        text = f"{assignments.group()}exec {text[assignments.end() :]}"
    return Session("-c", f"exec 2>&1\n{text}", tool="/bin/sh", cwd=directory, env=PATH)


def _output_of(command: Command, block: Block, directory: Path) -> str:
    """Runs the command, with what its block asks for, and compares what it prints. Returns that."""
    some = "some" in block.options
    before, _, after = ("\n".join(command.output)).partition(
        f"\n{INTERRUPT}" if command.output[:1] != [INTERRUPT] else INTERRUPT
    )
    interrupted = INTERRUPT in command.output
    with _shell(command.text, directory) as session:
        if "while" in block.options or interrupted:
            session.wait_attached()
        if "while" in block.options:
            done = subprocess.run(
                ["/bin/bash", "-c", block.options["while"]], capture_output=True, text=True, cwd=directory,
                env={**os.environ, **PATH}, timeout=TIME_LIMIT,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
        if interrupted:
            expected = before.splitlines() + ([] if some else ["..."])
            session._wait_until(
                lambda: find_output(expected, session._decoded("stdout"), some=some) is None,
                "it had printed that",
                None,
            )
            outcome = session.interrupt()
        else:
            outcome = session.wait()
    assert outcome.status == int(block.options.get("status", "0")), outcome.stdout
    expected = [*before.splitlines(), *(["..."] if interrupted and not some else []), *after.splitlines()]
    missing = find_output(expected, outcome.stdout, some=some)
    assert missing is None, f"{block.name}: not printed: {missing}\nprinted:\n{outcome.stdout}"
    return outcome.stdout


def _skip_without_feature(block: Block) -> None:
    features = Features()
    for name in block.needs:
        if not getattr(features, name):
            pytest.skip(f"this kernel has no {name.replace('_', ' ')}")


@pytest.mark.parametrize("name", _named("console"))
def test_console(name: str, tmp_path: Path) -> None:
    block = BLOCKS[name]
    (tmp_path / "examples").symlink_to(ROOT / "examples")  # the reader is in a clone
    for saved in BLOCKS.values():  # and has saved what the page said before
        if "save" in saved.options and saved.path == block.path and saved.line < block.line:
            (tmp_path / saved.options["save"]).write_text(saved.text + "\n")
    for command in commands(block):
        if block.needs and command.text.startswith("bpftrace-py -e"):  # at least it must compile
            done = _shell(command.text.replace("bpftrace-py", "bpftrace-py -d", 1), tmp_path)
            with done:
                assert done.wait().status == 0
    _skip_without_feature(block)
    for command in commands(block):
        _output_of(command, block, tmp_path)


@pytest.mark.parametrize("name", _named("python"))
def test_python(name: str, tmp_path: Path) -> None:
    block = BLOCKS[name]
    names = list(BLOCKS)
    following = names[names.index(name) + 1 :][:1]
    done = subprocess.run(
        [sys.executable, "-c", block.text], capture_output=True, text=True, cwd=tmp_path, timeout=TIME_LIMIT,
        env={**os.environ, **PATH, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    if following and BLOCKS[following[0]].language == "output":
        missing = find_output(BLOCKS[following[0]].text.splitlines(), done.stdout, some=False)
        assert missing is None, f"not printed: {missing}\nprinted:\n{done.stdout}"


@pytest.mark.parametrize("name", _named("bpftrace"))
def test_bpftrace(name: str, tmp_path: Path) -> None:
    """A program by itself compiles; one that ends by itself also runs."""
    block = BLOCKS[name]
    script = tmp_path / "program.bt"
    script.write_text(block.text + "\n")
    compiled = subprocess.run([installed(), "-d", str(script)], capture_output=True, text=True, timeout=TIME_LIMIT)
    assert (compiled.returncode, compiled.stderr) == (0, "")
    _skip_without_feature(block)
    if "exit()" in block.text:
        done = subprocess.run([installed(), str(script)], capture_output=True, text=True, timeout=TIME_LIMIT)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", _named("c"))
def test_c(name: str, tmp_path: Path) -> None:
    """Generated C that is shown is what the command before it prints."""
    block = BLOCKS[name]
    before = list(BLOCKS.values())[: list(BLOCKS).index(name)]
    source = next(b for b in reversed(before) if b.language == "console" and b.path == block.path)
    command = commands(source)[-1]
    with _shell(command.text, tmp_path) as session:
        printed = [line.rstrip() for line in session.wait().stdout.splitlines()]
    shown = [line.rstrip() for line in block.text.splitlines()]
    starts = [i for i, line in enumerate(printed) if line == shown[0]]
    assert any(printed[i : i + len(shown)] == shown for i in starts), "\n".join(printed)


@pytest.mark.parametrize("name", _named("sh"))
def test_sh(name: str) -> None:
    """Commands that change the machine or take long are not run, but what they name is there."""
    subprocess.run(["bash", "-n"], input=BLOCKS[name].text, text=True, check=True)
    for line in BLOCKS[name].text.splitlines():
        typed = shlex.split(line, comments=True)
        program, *words = itertools.dropwhile(lambda word: re.match(r"\w+=", word), typed)
        if program == "make":
            dry = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True, timeout=TIME_LIMIT)
            assert dry.returncode == 0, f"{line}\n{dry.stderr}"
        elif program == ".venv/bin/python":
            names = [words[1].replace(".", "/")] if words[0] == "-m" else [words[0]]
            for named in [*names, *(word for word in words[1:] if word.startswith("tests/"))]:
                assert (ROOT / named).exists() or find_spec(named), line
        else:
            raise AssertionError(f"{name}: this test does not know {program}; can the block be a `console` block?")


def test_few_blocks_are_not_run() -> None:
    """Each has its reason, and another test that does what it shows."""
    assert all(block.options["not run"] for block in NOT_RUN)
    assert len(NOT_RUN) <= 8


def test_no_block_is_overlooked() -> None:
    """Each fence of each document is a block of a language that has its test above, or a picture."""
    for path in documents():
        fences = re.findall(r"^\s*```", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(fences) == 2 * len(read_blocks(path)), path.name
    outputs = [name for name, block in BLOCKS.items() if block.language == "output"]
    names = list(BLOCKS)
    for name in outputs:
        assert BLOCKS[names[names.index(name) - 1]].language == "python", f"{name}: nothing prints this"


@pytest.mark.parametrize(
    "path", [*documents(), *(ROOT / "docs" / name for name in GENERATED)], ids=lambda path: path.name
)
def test_links_lead_somewhere(path: Path) -> None:
    for file, anchor in links(path):
        target = path.parent / file if file else path
        assert target.exists(), file
        assert not anchor or target.suffix != ".md" or anchor in anchors(target), f"{file}#{anchor}"


def test_modules_that_are_named_exist() -> None:
    """The documentation does not speak of what has been renamed or removed."""
    files = {
        f"/{path.relative_to(ROOT)}"
        for top in ("bpftrace_py", "tests", "bench", "scripts")
        for path in (ROOT / top).rglob("*.py")
    }
    for path in documents():
        if path.name != "CHANGELOG.md":
            for name in re.findall(r"\b[a-z][\w/]*\.py\b", path.read_text(encoding="utf-8")):
                assert any(file.endswith(f"/{name}") for file in files), f"{path.name}: {name}"


def test_no_code_stands_outside_a_fence() -> None:
    """Indented code would escape these tests."""
    for path in documents():
        code = re.search(r"(?:^|\n)\n {4,}\S.*", without_blocks(path.read_text(encoding="utf-8")))
        assert not code, f"{path.name}: {code and code[0]}"
