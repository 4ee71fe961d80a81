"""libbcc is loaded by a thread while the script is compiled, if it will be needed."""

from __future__ import annotations

import subprocess
import sys


def in_new_interpreter(text: str) -> str:
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


MAPPED = "any('libbcc.so' in line for line in open('/proc/self/maps'))"


def test_the_library_comes_without_an_import() -> None:
    text = f"""
import sys, time
from bpftrace_py.runtime.preload import preload
preload()
deadline = time.monotonic() + 30
while not {MAPPED} and time.monotonic() < deadline:
    time.sleep(0.01)
print({MAPPED}, "bcc" in sys.modules)
import bcc
print(bcc.BPF.__name__)
"""
    assert in_new_interpreter(text).split() == ["True", "False", "BPF"]


def test_a_script_that_is_wrong_ends_well_while_the_library_is_loaded() -> None:
    text = """
import subprocess, sys
for _ in range(5):
    done = subprocess.run([sys.executable, "-m", "bpftrace_py", "--no-cache", "-e", "BEGIN { x }"], capture_output=True)
    print(done.returncode, b"Traceback" in done.stderr)
"""
    assert set(in_new_interpreter(text).splitlines()) == {"1 False"}
