"""`transpile()` without root, without BCC, without Linux: in a process from which all of that has been taken away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import TIME_LIMIT

ROOT = Path(__file__).resolve().parents[2]

# What other systems do not have, and BCC.
ELSEWHERE = """
import os, select, sys
missing = set(sys.argv[2].split())
class Hook:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in missing:
            raise ImportError(f"{name} is not here")
for name in list(sys.modules):
    if name.partition(".")[0] in missing:
        del sys.modules[name]
sys.meta_path.insert(0, Hook())
sys.platform = sys.argv[1]
for module, name in ((os, "eventfd"), (os, "EFD_CLOEXEC"), (os, "pidfd_open"), (os, "sched_getaffinity"), (select, "epoll")):
    delattr(module, name)

from bpftrace_py import CompileError, NoHost, transpile
assert os.getuid() == 65534 and os.listdir("/sys") == os.listdir("/proc") == []
program = '''
    struct point { int x; char name[8]; };
    BEGIN { @x[comm] = count(); printf("%d %s", pid, kstack); @h = hist(nsecs); $p = (struct point *)1; @p = $p->x; }
    profile:hz:99 { @[ustack] = count(); } kprobe:vfs_read { @r[tid] = arg0; } software:faults:1 { @f++; } END { clear(@x); }
'''
texts = [transpile(program, host=host).c_source for host in (NoHost(), NoHost(), None)]
assert texts[0] == texts[1] and "int BEGIN(void *ctx)" in texts[0] and "int BEGIN(void *ctx)" in texts[2]
assert "aarch64" not in transpile(program, host=NoHost("aarch64", 8)).c_source
try:
    transpile("tracepoint:syscalls:sys_enter_open { @ = args->flags; }", host=NoHost())
except CompileError as error:
    print(error.diagnostics[0].code)
print(sorted(name for name in sys.modules if name.startswith("bpftrace_py.runtime.")))
"""


@pytest.mark.parametrize(
    ("platform", "missing"), [("darwin", "bcc"), ("win32", "bcc resource fcntl pwd grp termios tty pty")]
)
def test_without_root_bcc_and_linux(platform: str, missing: str) -> None:
    hidden = 'mount -t tmpfs none /sys && mount -t tmpfs none /proc && exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", hidden, "sh", sys.executable, "-c", ELSEWHERE, platform, missing],
        capture_output=True, text=True, cwd=ROOT, timeout=TIME_LIMIT,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    code, modules = done.stdout.splitlines()
    assert code.startswith("E")
    assert modules == "[]"
