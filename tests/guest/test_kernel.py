"""The guest is what the other guest tests take it for: the downloaded kernel, with kprobes, fentry and BTF."""

import os
from pathlib import Path

from tests.guest.machine import BUILD


def test_it_is_the_downloaded_kernel():
    (package,) = (BUILD / "kernel" / "complete").read_text().split()
    assert f"linux-image-{os.uname().release}" == package


def test_it_has_kprobes_and_btf():
    assert Path("/sys/kernel/tracing/kprobe_events").exists()
    assert Path("/sys/kernel/btf/vmlinux").stat().st_size > 1 << 20
