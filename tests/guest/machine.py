"""A Debian kernel in QEMU that sees this machine's files: what the guest tests run on.

The kernel's package is downloaded and unpacked under `build/guest`, never installed. The guest's root is the host's
root file system, read-only over 9p with a RAM overlay; one directory, the exchange, is shared for writing. QEMU
emulates (no KVM is assumed), so everything in there is some 10-20 times slower than outside: boot once and run many
things in that boot.
`BPFTRACE_PY_GUEST_ACCEL=kvm` asks for KVM where it works.

    python -m tests.guest.machine      downloads and builds what a boot needs, if it is not there
"""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from elftools.elf.elffile import ELFFile

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "guest"
META_PACKAGE = "linux-image-amd64"
# What the initial RAM disk must be able to do before it sees any file: virtio over PCI, 9p on it, overlays.
FIRST_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")

CRASH_WORDS = ("BUG: ", "Oops: ", "general protection fault", "Kernel panic", "soft lockup", "rcu_sched self-detected")


class GuestError(Exception):
    """The guest could not be built or booted, or it died; the text has what QEMU or the console said last."""


# --- the kernel


def kernel() -> Path:
    """The directory of an unpacked kernel package (`boot/vmlinuz-*`, `lib/modules/*`), downloaded if need be."""
    unpacked = BUILD / "kernel"
    if (unpacked / "complete").exists():
        return unpacked
    BUILD.mkdir(parents=True, exist_ok=True)
    package = _download()
    shutil.rmtree(unpacked, ignore_errors=True)
    (archive,) = BUILD.glob("linux-image-*.deb")
    _run(["dpkg-deb", "-x", str(archive), str(unpacked)])
    archive.unlink()
    (unpacked / "complete").write_text(f"{package}\n")
    return unpacked


def _download() -> str:
    """Fetch the kernel's package into BUILD; its name, such as linux-image-6.1.0-56-amd64."""
    for old in BUILD.glob("linux-image-*.deb"):
        old.unlink()
    for attempt in (1, 2):
        try:
            package = _concrete_package()
            print(f"==> Downloading {package}, to be unpacked under build/guest (it is not installed)", flush=True)
            _run(["apt-get", "-q", "download", package], cwd=BUILD)
            return package
        except GuestError as error:
            if attempt == 2:
                raise
            print(f"{error}\n==> Once more with fresh package lists", flush=True)
            _run([*([] if os.geteuid() == 0 else ["sudo"]), "apt-get", "-q", "update"])
    raise AssertionError("unreachable")


def _concrete_package() -> str:
    """What the meta package depends on: the kernel itself."""
    shown = subprocess.run(["apt-cache", "depends", META_PACKAGE], capture_output=True, text=True)
    for line in shown.stdout.splitlines():
        kind, _, package = line.strip().partition(": ")
        if kind == "Depends" and package.startswith("linux-image-"):
            return package
    raise GuestError(f"apt does not know a package {META_PACKAGE}: {shown.stderr}")


# --- the initial RAM disk


def initial_ram_disk(unpacked: Path) -> Path:
    """A cpio archive with our init and the modules it loads."""
    target = BUILD / "initrd.cpio"
    source = Path(__file__).with_name("init.c")
    newest = max(path.stat().st_mtime for path in (source, Path(__file__), unpacked / "complete"))
    if target.exists() and target.stat().st_mtime > newest:
        return target
    init = BUILD / "init"
    _run(["gcc", "-O2", "-Wall", "-static", "-o", str(init), str(source)])
    entries = [("dev", 0o040755, b""), ("modules", 0o040755, b""), ("init", 0o100755, init.read_bytes())]
    for number, module in enumerate(_load_order(unpacked)):
        entries.append((f"modules/{number:02}-{module.name}", 0o100644, module.read_bytes()))
    fresh = target.with_suffix(".new")
    fresh.write_bytes(b"".join(_cpio(entries)))
    fresh.replace(target)
    return target


def _load_order(unpacked: Path) -> list[Path]:
    """FIRST_MODULES and what they depend on, dependencies first."""
    found = {path.stem.replace("-", "_"): path for path in (unpacked / "lib" / "modules").rglob("*.ko")}
    order: list[Path] = []

    def add(name: str) -> None:
        path = found.get(name)
        if path is None or path in order:  # not among the files: built into the kernel
            return
        for dependency in _dependencies(path):
            add(dependency)
        order.append(path)

    for name in FIRST_MODULES:
        add(name)
    return order


def _dependencies(module: Path) -> list[str]:
    """The names in the `depends=` entry of a module's .modinfo section."""
    with module.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".modinfo")
        for entry in section.data().split(b"\0") if section else ():
            if entry.startswith(b"depends="):
                return [name.replace("-", "_") for name in entry[8:].decode().split(",") if name]
    return []


def _cpio(entries: list[tuple[str, int, bytes]]) -> Iterator[bytes]:
    """The "newc" archive that the kernel unpacks: (name, mode, content) each, all owned by root."""
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], start=1):
        encoded = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
        header = b"070701" + b"".join(b"%08X" % value for value in fields) + encoded
        yield header + b"\0" * (-len(header) % 4) + content + b"\0" * (-len(content) % 4)


# --- the machine


class Guest:
    """One boot that runs one shell command and powers off.

    `exchange` is the shared directory (same path inside and outside); it is emptied first, then gets `files`, name to
    text. `console` is the file with what kernel and command printed. The command finds the directory in $EXCHANGE.

    It has one CPU: QEMU's emulated CPUs run in threads of their own, and one may still run code that another has just
    patched. The kernel then takes a breakpoint of ftrace's for one of kprobes' and jumps to 0, about once an hour of
    attaching kprobes.
    """

    def __init__(
        self, command: str, *, files: Mapping[str, str] | None = None, cpus: int = 1, memory_mb: int = 2048
    ) -> None:
        if shutil.which("qemu-system-x86_64") is None:
            raise GuestError("qemu-system-x86_64 is not installed: apt-get install qemu-system-x86")
        unpacked = kernel()
        (image,) = (unpacked / "boot").glob("vmlinuz-*")
        ram_disk = initial_ram_disk(unpacked)
        self._lock = _the_only_one()
        self.exchange = BUILD / "exchange"
        shutil.rmtree(self.exchange, ignore_errors=True)
        self.exchange.mkdir(parents=True)
        self.console = BUILD / "console.log"
        self.console.write_bytes(b"")
        (self.exchange / "command").write_text(f"cd {shlex.quote(str(ROOT))}\n{command}\n")
        for name, text in (files or {}).items():
            (self.exchange / name).write_text(text)
        accelerator = os.environ.get("BPFTRACE_PY_GUEST_ACCEL", "tcg,thread=multi")
        cmdline = (
            f"console=ttyS0 panic=-1 oops=panic quiet loglevel=4 mitigations=off random.trust_cpu=on audit=0 "
            f"EXCHANGE={self.exchange} MODULES={unpacked / 'lib' / 'modules'}"
        )
        self._process = subprocess.Popen(
            [
                "qemu-system-x86_64", "-M", "pc", "-accel", accelerator, "-cpu", "max,la57=off",
                "-smp", str(cpus), "-m", str(memory_mb), "-nodefaults", "-display", "none", "-no-reboot",
                "-kernel", str(image), "-initrd", str(ram_disk), "-append", cmdline,
                "-serial", f"file:{self.console}",
                "-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap",
                "-device", "virtio-9p-pci,fsdev=root,mount_tag=root",
                "-fsdev", f"local,id=exchange,path={self.exchange},security_model=none",
                "-device", "virtio-9p-pci,fsdev=exchange,mount_tag=exchange",
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def last_words(self, lines: int = 40) -> str:
        """The last lines of the console, for an error message; of a kernel that crashed, from where it says so."""
        said = self.console.read_text(errors="replace").replace("\r", "").splitlines()
        crash = next((number for number, line in enumerate(said) if any(word in line for word in CRASH_WORDS)), len(said))
        return "its console ends:\n" + "\n".join(said[min(crash, max(len(said) - lines, 0)) :][: 3 * lines])

    def wait(self, timeout: float) -> int:
        """The command's exit status; `GuestError` if the guest died without one or is not done within `timeout` s."""
        deadline = time.monotonic() + timeout
        while self.running:
            if time.monotonic() > deadline:
                self.stop()
                raise GuestError(f"the guest was not done after {timeout:.0f} s; {self.last_words()}")
            time.sleep(0.05)
        return self.status()

    def status(self) -> int:
        """The exit status of a command that has ended; `GuestError` if there is none."""
        try:
            return int((self.exchange / "status").read_text())
        except (OSError, ValueError) as error:
            said = self._process.stderr.read() if self._process.stderr and not self.running else ""
            raise GuestError(f"the guest ended without a status: {said}\n{self.last_words()}") from error

    def stop(self) -> None:
        """End the guest at once, if it still runs."""
        if self.running:
            self._process.kill()
        self._process.wait()
        self._lock.close()


def _the_only_one() -> IO[str]:
    """Wait until no other guest uses the exchange (nor this machine's CPUs); closing what this returns lets the next in."""
    lock = (BUILD / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("==> Another guest is running: waiting for its end", file=sys.stderr, flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _run(command: list[str], cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode != 0:
        raise GuestError(f"{shlex.join(command)} failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":  # what the set-up does, so that the tests need not
    initial_ram_disk(kernel())
