"""Kernel lockdown, for real. It cannot be left but by a reboot, so the guest runs these tests after all others, in their order."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.live import Outcome, run_command, trace

LOCKDOWN = Path("/sys/kernel/security/lockdown")
READS_KERNEL = 'BEGIN { printf("%d\\n", ((struct task_struct *)curtask)->tgid == pid); exit(); }'
READS_NONE = 'BEGIN { printf("%s\\n", comm); exit(); }'
KPROBE = "kprobe:vfs_read { @ = count(); } BEGIN { exit(); }"


def lock_down(mode: str) -> None:
    if not LOCKDOWN.exists():
        subprocess.run(["mount", "-t", "securityfs", "none", "/sys/kernel/security"], check=True)
    if f"[{mode}]" not in LOCKDOWN.read_text():
        LOCKDOWN.write_text(mode)
    assert f"[{mode}]" in LOCKDOWN.read_text()


def begin(program: str) -> Outcome:
    return run_command("-q", "-e", program)


def test_integrity_takes_nothing_away() -> None:
    lock_down("integrity")
    assert begin(READS_KERNEL).lines[:1] == ["1"]
    kprobe = begin(KPROBE)
    assert (kprobe.status, kprobe.stderr) == (0, "")


def test_confidentiality_forbids_to_read_kernel_memory() -> None:
    lock_down("confidentiality")
    done = begin(READS_KERNEL)
    sentence = "error[E0715]: this kernel does not let programs read its memory\n  hint: kernel lockdown is on: confidentiality\n"
    assert (done.status, done.stdout, done.stderr) == (1, "", sentence)


def test_confidentiality_forbids_kprobes() -> None:
    lock_down("confidentiality")
    done = begin("kprobe:vfs_read { @ = count(); }")
    reason = "kernel lockdown is on (confidentiality), which forbids kprobes"
    assert (done.status, done.stderr) == (1, f"error[E0711]: cannot attach to kprobe:vfs_read: {reason}\n")


def test_what_needs_no_kernel_memory_goes_on() -> None:
    lock_down("confidentiality")
    assert begin(READS_NONE).lines[:1] == ["bpftrace-py"]
    program = 'tracepoint:syscalls:sys_enter_write /comm == "echo"/ { printf("%s", str(args->buf, args->count)); }'
    outcome = trace(program, lambda: subprocess.run(["/bin/echo", "told"], stdout=subprocess.DEVNULL), until="^told$")
    assert (outcome.status, outcome.stderr) == (0, "")
