"""Each module can be imported by itself: what only type checkers import must not be needed when it runs."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import bpftrace_py


def test_every_module_is_whole() -> None:
    names = [m.name for m in pkgutil.walk_packages(bpftrace_py.__path__, "bpftrace_py.") if not m.name.endswith("__main__")]
    assert len(names) > 100
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
