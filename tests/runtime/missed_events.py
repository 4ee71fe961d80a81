"""A program that misses events, since they come while the CPU is in a program."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.runtime.small_units import FEATURES
from tests.testprogs.build import program as built

# An interrupt frees memory while the block is at work for memory that is freed: no program is run inside itself. Old kernels count
# that of functions (kfunc), new ones that of tracepoints, too.
PROBE = "kfunc:vmlinux:kmem_cache_free" if FEATURES.fentry else "tracepoint:kmem:kmem_cache_free"
PROGRAM = f"{PROBE} {{ @[kstack(30)] = count(); }}"


def counted(pid: int) -> int:
    """What the kernel says of the programs of a process: for how many events it did not run them."""
    count = 0
    for path in Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            found = re.search(r"^recursion_misses:\s*(\d+)$", path.read_text(), re.MULTILINE)
        except OSError:  # closed meanwhile
            continue
        count += int(found[1]) if found else 0
    return count


def bring_about(count: Callable[[], int]) -> None:
    """Until `count` says that there was one."""
    deadline = time.monotonic() + 120
    while not count():
        assert time.monotonic() < deadline, "no event was missed"
        subprocess.run([built("producer"), "200"], input=b"\n", check=True, stdout=subprocess.DEVNULL)
