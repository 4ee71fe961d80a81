"""A process that has loaded LLVM gives back what the dynamic linker alone needed, and compiles all the same."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import os
from bpftrace_py.runtime import bcc_backend, relocation_tables
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE") >> 20
relocation_tables.give_back()  # there is nothing yet
bcc_backend.bindings()
before = resident()
relocation_tables.give_back()
print(before - resident())
image, log = bcc_backend.compile_image("int begin(void *ctx)\\n{\\n\\treturn pid_tgid() & 7;\\n}\\n", ["begin"])
print(len(image.programs["begin"].instructions) > 0, repr(log))
"""


def test_what_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60, check=True)
    megabytes, works = done.stdout.splitlines()
    assert 15 <= int(megabytes) <= 40
    assert works == "True ''"
