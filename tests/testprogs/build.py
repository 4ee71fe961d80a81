"""Builds the programs that the tests trace: from the sources in this directory, with gcc, under `build/testprogs`.

A result is kept as long as its source and flags stay the same. Variants of a program (stripped, fixed addresses,
symbols in a separate file) are built from the same source, so that a test can compare them.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

SOURCES = Path(__file__).parent
OUTPUT = SOURCES.parent.parent / "build" / "testprogs"

# name -> (source, flags). The sources rely on -O1 and on functions that stay where they are.
_COMMON = ("-g", "-O1", "-fno-inline", "-fno-omit-frame-pointer", "-fno-ipa-ra", "-fcf-protection=none", "-Wall")
PROGRAMS: dict[str, tuple[str, tuple[str, ...]]] = {
    "functions": ("functions.c", ("-fno-ipa-sra", "-fno-ipa-cp")),
    "functions_fixed": ("functions.c", ("-fno-ipa-sra", "-fno-ipa-cp", "-no-pie", "-fno-pie")),
    "functions_static": ("functions.c", ("-fno-ipa-sra", "-fno-ipa-cp", "-static", "-no-pie")),
    "libtestprogs.so": ("library.c", ("-shared", "-fPIC")),
    "overloads": ("overloads.cc", ()),
    "arguments": ("arguments.c", ()),
    "arguments_dwarf2": ("arguments.c", ("-gdwarf-2", "-gstrict-dwarf")),
    "arguments_units": ("arguments.c", ("-O2", "-gdwarf-4", "-fdebug-types-section", "-gz")),
    "arguments_units5": ("arguments.c", ("-O2", "-gdwarf-5", "-fdebug-types-section")),
    "arguments_static": ("arguments.c", ("-static", "-no-pie")),
    "arguments_cpp": ("arguments.cc", ()),
    "late_string": ("late_string.c", ()),
    "producer": ("producer.c", ("-O2",)),
    "strange_names": ("strange_names.c", ()),
    "tick": ("tick.c", ()),
    "usdt_arguments": ("usdt_arguments.c", ("-O0",)),
}


def program(name: str) -> Path:
    """The path of a program, built if it has to be. Raises `CalledProcessError` with the compiler's output."""
    source, flags = PROGRAMS[name]
    compiler = "g++" if source.endswith(".cc") else "gcc"
    command = [compiler, *_COMMON, *flags, str(SOURCES / source)]
    key = _key(command, (SOURCES / source).read_bytes())
    return _cached(f"{key}/{name}", lambda path: _run([*command, "-o", str(path)]))


def stripped(name: str) -> Path:
    """The program without any symbol that the dynamic linker does not need."""
    original = str(program(name))
    relative = f"{program(name).parent.name}-stripped/{name}"
    return _cached(relative, lambda path: _run(["strip", "-s", "-o", str(path), original]))


def with_debug_file(name: str, build_id: bool = False) -> Path:
    """The program with its symbols in a file beside it (`NAME.debug`), to which a `.gnu_debuglink` leads."""
    original = program(name)

    def make(path: Path) -> None:
        debug = path.with_name(f"{name}.debug")
        options = [] if build_id else ["--remove-section", ".note.gnu.build-id"]
        _run(["objcopy", "--only-keep-debug", *options, str(original), str(debug)])
        _run(["objcopy", "--strip-all", *options, "--add-gnu-debuglink", str(debug), str(original), str(path)])

    return _cached(f"{original.parent.name}-debuglink{'-id' if build_id else ''}/{name}", make)


def copy(path: Path, name: str) -> Path:
    """The same file under another name, in a directory of its own."""
    return _cached(f"{path.parent.name}-{name}/{name}", lambda target: shutil.copy2(path, target))


def _key(command: list[str], source: bytes) -> str:
    return hashlib.sha256(repr(command[:-1]).encode() + source).hexdigest()[:16]


def _cached(relative: str, make: Callable[[Path], object]) -> Path:
    """The file, made once however many test processes ask for it at the same time."""
    path = OUTPUT / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.parent / ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            unfinished = path.with_name(f".{path.name}.{os.getpid()}")
            make(unfinished)
            debug = unfinished.with_name(f"{path.name}.debug")
            assert debug.exists() or "debuglink" not in relative
            unfinished.replace(path)
    return path


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)} failed:\n{done.stderr}")
