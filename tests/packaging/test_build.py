"""sdist and wheel build, hold what they must, and a wheel gives a command that works outside the checkout.

Nothing is fetched: the build runs with the tools of this environment, and the fresh virtual environment borrows its
dependencies.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from bpftrace_py.version import __version__

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)  # type: ignore
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the sdist and the wheel that is made out of that sdist."""
    target = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", target, ROOT)
    return target


def test_wheel_holds_what_the_command_needs(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "bpftrace_py").rglob("*.py")}
    assert modules <= names | {"bpftrace_py/syntax/_parsetab.py"}
    assert "bpftrace_py/syntax/_parsetab.py" in names
    assert "bpftrace_py/py.typed" in names
    headers = {str(path.relative_to(ROOT)) for path in (ROOT / "bpftrace_py").rglob("*.h")}
    assert headers and headers <= names
    assert not any(name.startswith(("tests/", "bench/", "scripts/")) for name in names)


def test_wheel_does_not_require_the_other_bcc(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        metadata = message_from_bytes(archive.read(f"bpftrace_py-{__version__}.dist-info/METADATA"))
    assert metadata["Name"] == "bpftrace-py"
    assert metadata["Version"] == __version__
    required = {re.match(r"[\w.-]+", line)[0] for line in metadata.get_all("Requires-Dist", [])}
    assert {"ply", "pyelftools", "click"} <= required
    assert "bcc" not in required


def test_sdist_has_the_tests_but_nothing_generated(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "Makefile", "scripts/setup", "tests/conftest.py", "bin/bpftrace-py"} <= names
    assert "bpftrace_py/syntax/_parsetab.py" not in names


def test_installed_wheel_gives_a_command(built, tmp_path):
    (wheel,) = built.glob("*.whl")
    run("/usr/bin/python3", "-m", "venv", "--system-site-packages", tmp_path / "venv")
    run(tmp_path / "venv/bin/pip", "install", "--no-index", "--no-deps", wheel)
    script = tmp_path / "venv/bin/bpftrace-py"
    assert script.read_text() == (ROOT / "bin/bpftrace-py").read_text()
    # Everything but the package itself comes from the environment that runs the tests.
    borrowed = tmp_path / "borrowed"
    borrowed.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if entry.suffix != ".pth" and not entry.name.startswith("bpftrace_py"):
            (borrowed / entry.name).symlink_to(entry)
    environment = {**os.environ, "PYTHONPATH": str(borrowed)}
    assert __version__ in run(script, "--version", env=environment, cwd=tmp_path)
    shown = run(script, "-d", "-e", 'BEGIN { printf("%d\\n", 42); exit(); }', env=environment, cwd=tmp_path)
    assert "42" in shown
