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


@pytest.fixture
def borrowing(tmp_path: Path) -> dict[str, str]:
    """Variables under which a fresh Python finds everything but the package itself where these tests have it."""
    borrowed = tmp_path / "borrowed"
    borrowed.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if entry.suffix != ".pth" and not entry.name.startswith(("bpftrace_py", "__editable__", "pip", "setuptools")):
            (borrowed / entry.name).symlink_to(entry)
    offline = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}  # 0 is pip's way of saying that it is on
    return {**os.environ, **offline, "PYTHONPATH": str(borrowed)}


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


def test_sdist_has_all_that_a_checkout_has_but_nothing_generated(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "pyproject.toml"} <= names
    assert {"scripts/setup", "tests/conftest.py", "bin/bpftrace-py", "docs/bpftrace-py.1"} <= names
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split("\n")
    assert {name for name in tracked if name and not name.startswith(".") and (ROOT / name).exists()} <= names
    assert "bpftrace_py/syntax/_parsetab.py" not in names
    assert not any("__pycache__" in name for name in names)


def test_metadata_is_complete(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        metadata = message_from_bytes(archive.read(f"bpftrace_py-{__version__}.dist-info/METADATA"))
        assert f"bpftrace_py-{__version__}.dist-info/LICENSE" in {
            n.replace("licenses/", "") for n in archive.namelist()
        }
    assert metadata["Requires-Python"] == ">=3.11"
    assert "Apache" in (metadata["License"] or metadata["License-Expression"])
    assert set(metadata.get_all("Provides-Extra")) >= {"prometheus", "pandas", "dev"}
    assert metadata["Summary"] and metadata["Keywords"] and metadata.get_payload().startswith("# bpftrace-py")
    assert len(metadata.get_all("Classifier")) >= 8


def test_installed_wheel_gives_a_command(built, borrowing, tmp_path):
    (wheel,) = built.glob("*.whl")
    run("/usr/bin/python3", "-m", "venv", "--system-site-packages", tmp_path / "venv")
    run(tmp_path / "venv/bin/pip", "install", "--no-index", "--no-deps", wheel)
    script = tmp_path / "venv/bin/bpftrace-py"
    assert script.read_text() == (ROOT / "bin/bpftrace-py").read_text()
    assert __version__ in run(script, "--version", env=borrowing, cwd=tmp_path)
    shown = run(script, "-d", "-e", 'BEGIN { printf("%d\\n", 42); exit(); }', env=borrowing, cwd=tmp_path)
    assert "42" in shown


def listing(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def test_make_install_and_uninstall(borrowing, tmp_path):
    """Into a staging directory, which a package's files must not remember; and away again to the last directory."""
    staging, prefix = tmp_path / "staging", "/opt/tracing"
    (staging / "opt").mkdir(parents=True)
    places = [f"DESTDIR={staging}", f"PREFIX={prefix}"]
    run("make", "install", *places, cwd=ROOT, env=borrowing)
    root = Path(f"{staging}{prefix}")
    assert (root / "share/man/man1/bpftrace-py.1").is_file()
    assert (root / "share/bash-completion/completions/bpftrace-py").is_file()
    assert (root / "share/zsh/site-functions/_bpftrace-py").is_file()
    naming = subprocess.run(["grep", "-rl", str(staging), root], capture_output=True, text=True).stdout
    assert naming == ""

    (root / "share/other").write_text("somebody else's")
    root.rename(tmp_path / "moved")
    command = tmp_path / "moved/bin/bpftrace-py"
    assert run(command, "--version", env=borrowing, cwd=tmp_path) == f"bpftrace-py {__version__}\n"
    shown = run(command, "-d", "-e", 'BEGIN { printf("%d\\n", 42); exit(); }', env=borrowing, cwd=tmp_path)
    assert "42" in shown

    (tmp_path / "moved").rename(root)
    run("make", "uninstall", *places, cwd=ROOT)
    assert listing(staging) == {"opt", "opt/tracing", "opt/tracing/share", "opt/tracing/share/other"}
    again = subprocess.run(["make", "uninstall", *places], cwd=ROOT, capture_output=True, text=True)
    assert (again.returncode != 0, "nothing is installed" in again.stderr) == (True, True)


def test_install_where_nobody_may_write_says_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    done = subprocess.run(
        ["make", "install", f"PREFIX={tmp_path}/file/below"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "run it as root, or name another place by PREFIX" in done.stderr
