"""The file that the first part of a `uprobe` or `usdt` spec means.

A path, with wildcards or without; a command (looked for in PATH); a library (`libc`, from the dynamic linker's cache or
from what the process of `-p` has mapped). A process in another mount namespace sees other files under the same names:
its paths are looked up under `/proc/PID/root`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from bpftrace_py import messages
from bpftrace_py.config import Config
from bpftrace_py.diagnostics import host_error
from bpftrace_py.probes.spec import Spec
from bpftrace_py.probes.wildcard import has_wildcard, matcher, nearest
from bpftrace_py.record import record
from bpftrace_py.symbols.elf import ElfError, ElfFile, open_elf

_MAX_FILES = 4096  # that a wildcard may match
_MAX_PLACES = 50_000  # that it may lead through: below /proc and /sys there is no end of them
_MAX_LINKS = 40  # as the kernel


@record(frozen=True)
class Binary:
    """`name` is how probe names show the file, `path` what we open; they differ for a process with another root."""

    name: str
    path: str
    root: str = ""

    @property
    def absolute(self) -> str:
        """The path to attach to, whatever the directory is by then."""
        return self.path if self.path.startswith("/") else os.path.join(os.getcwd(), self.path.removeprefix("./"))

    def open(self) -> ElfFile:
        """Raises `ElfError`."""
        return open_elf(self.path, self.root)


def find(spec: Spec) -> list[Binary]:
    """The files of a spec's `binary` part, at least one. Files that are not ELF are left out of a wildcard only."""
    written = spec.text("binary")
    found = list(matching(written, spec.config))
    if not has_wildcard(written):
        if not found:
            reason, hint = why_missing(written, spec.config)
            raise spec.error(messages.NO_BINARY, "binary", name=written, reason=reason, hint=hint)
        return found[:1]
    if not found:
        raise spec.error(messages.NO_PROBE_MATCHES, "binary", what="ELF file", pattern=written)
    return found


def open_binary(spec: Spec, binary: Binary) -> ElfFile:
    """The ELF file, or the diagnostic that says why there is none."""
    try:
        file = binary.open()
    except ElfError as error:
        raise spec.error(messages.BAD_BINARY, "binary", name=binary.name, reason=error) from None
    if file.machine != spec.host.architecture and (file.machine, spec.host.architecture) != ("i386", "x86_64"):
        raise spec.error(
            messages.BAD_BINARY, "binary", name=binary.name,
            reason=f"it is for {file.machine}, and this machine is {spec.host.architecture}",
        )
    pid = spec.config.pid
    if pid is not None and not spec.config.command and _replaced(binary, pid):
        hint = f"its program is /proc/{pid}/exe, and a library is what it has mapped once it is started again"
        spec.diagnostics.warning(messages.BINARY_REPLACED, spec.spans.get("binary"), name=binary.name, pid=pid, hint=hint)
    return file


def _replaced(binary: Binary, pid: int) -> bool:
    """Whether a process has mapped a file that had this name, and is deleted by now, and not the one that has it now."""
    name = os.path.realpath(binary.name) if not binary.root else binary.name
    mapped = mapped_files(pid)
    return f"{name} (deleted)" in mapped and name not in mapped


def matching(written: str, config: Config) -> Iterator[Binary]:
    """The files that a path, pattern, command or library name stands for, in the order of preference."""
    root = root_of(config.pid)
    if has_wildcard(written):
        yield from _expand(written, config, root)
    elif "/" in written:
        binary = _at(written, root)
        if os.path.isfile(binary.path):
            yield binary
    else:
        yield from _by_name(written, config, root)


def root_of(pid: int | None) -> str:
    """`/proc/PID/root` if the process sees other files than we do, else ""."""
    if pid is None:
        return ""
    root = f"/proc/{pid}/root"
    try:
        same_namespace = os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt")
        theirs, ours = os.stat(root + "/"), os.stat("/")
    except OSError:
        return ""
    return "" if same_namespace and (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino) else root


def _at(path: str, root: str) -> Binary:
    """The file at a path; a relative path is always relative to our directory."""
    if not root or not path.startswith("/"):
        return Binary(path, path)
    return Binary(path, inside(root, path), root)


def inside(root: str, path: str) -> str:
    """`path` below `root` with its symbolic links followed as a process with that root would: the kernel, asked by us,
    would start an absolute link at our own root."""
    done: list[str] = []
    rest = [piece for piece in reversed(path.split("/")) if piece not in ("", ".")]
    links = 0
    while rest:
        piece = rest.pop()
        if piece == "..":
            del done[-1:]
            continue
        here = "/".join([root, *done, piece])
        try:
            target = os.readlink(here)
        except OSError:
            done.append(piece)
            continue
        links += 1
        if links > _MAX_LINKS:
            return here
        if target.startswith("/"):
            done = []
        rest += [p for p in reversed(target.split("/")) if p not in ("", ".")]
    return "/".join([root, *done])


def _by_name(name: str, config: Config, root: str) -> Iterator[Binary]:
    if "\0" in name:
        return
    if name.startswith("lib"):
        if config.pid is not None:
            for path in mapped_files(config.pid):
                if _is_library(os.path.basename(path), name):
                    yield _at(path, root)
        from bpftrace_py.probes.library_cache import libraries

        for library, path in libraries(root):
            if _is_library(library, name) and os.path.isfile(_at(path, root).path):
                yield _at(path, root)
    for directory in _path(root):
        candidate = _at(f"{directory}/{name}", root)
        if os.access(candidate.path, os.X_OK) and os.path.isfile(candidate.path):
            yield candidate
    # bpftrace takes a bare name in the current directory for a path.
    if not root and os.path.isfile(name):
        yield Binary(name, name)


def _is_library(file_name: str, wanted: str) -> bool:
    """Whether `wanted` is a library's name, with or without version: libc is libc.so.6 and libc-2.31.so."""
    if file_name == wanted:
        return True
    rest = file_name.removeprefix(wanted)
    if rest == file_name:
        return False
    if ".so" in wanted:
        return rest.startswith(".")
    return rest.startswith(".so") or (rest[:1] == "-" and rest[1:2].isdigit() and ".so" in rest)


def _path(root: str) -> list[str]:
    default = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    text = default if root else os.environ.get("PATH", default)
    return list(dict.fromkeys(directory for directory in text.split(":") if directory.startswith("/")))


def _expand(pattern: str, config: Config, root: str) -> Iterator[Binary]:
    """The ELF files that match. `*` does not match a `/`. Without any `/`: commands, or what the process has mapped."""
    if "/" in pattern:
        candidates: Iterator[str] = _glob(pattern, root)
    elif config.pid is not None:
        matches = matcher(pattern)
        candidates = (path for path in mapped_files(config.pid) if matches(os.path.basename(path)))
    else:
        candidates = (path for directory in _path(root) for path in _glob(f"{directory}/{pattern}", root))
    seen: set[tuple[int, int]] = set()
    for path in candidates:
        binary = _at(path, root)
        try:
            status = os.stat(binary.path)
        except (OSError, ValueError):
            continue
        # One file under several names (/bin is /usr/bin) would count everything twice.
        if not stat.S_ISREG(status.st_mode) or (status.st_dev, status.st_ino) in seen or not _is_elf(binary.path):
            continue
        seen.add((status.st_dev, status.st_ino))
        yield binary
        if len(seen) >= _MAX_FILES:
            return


def _glob(pattern: str, root: str) -> Iterator[str]:
    """The paths that match, sorted within each directory. Only `*` is special."""
    *directories, last = pattern.split("/")
    places = [""]
    for index, piece in enumerate([*directories, last]):
        joined = [f"{place}/{piece}" if index else piece for place in places]
        if not has_wildcard(piece):
            places = joined
            continue
        matches = matcher(piece)
        found: list[str] = []
        for place in places:
            found += (
                f"{place}/{name}" if index else name
                for name in _names(_at(place + "/" if index else ".", root).path)
                if matches(name) and (piece.startswith(".") or not name.startswith("."))
            )
            if len(found) > _MAX_PLACES:
                raise host_error(messages.PATTERN_TOO_WIDE, pattern=pattern, limit=_MAX_PLACES)
        places = found
    yield from places


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (OSError, ValueError):
        return []


def _is_elf(path: str) -> bool:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False


def mapped_files(pid: int) -> list[str]:
    """The files of which a process has code mapped, in the order of their addresses; paths as the process sees them."""
    found: dict[str, None] = {}
    try:
        # Below another root, but in our mount namespace, the kernel shows us paths as we see them.
        other_root = os.readlink(f"/proc/{pid}/root").rstrip("/")
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as maps:
            for line in maps:
                fields = line.split(None, 5)
                if len(fields) == 6 and "x" in fields[1] and fields[5].startswith("/"):
                    path = fields[5].rstrip("\n").replace("\\012", "\n")
                    found[path.removeprefix(other_root) if path.startswith(f"{other_root}/") else path] = None
    except OSError:
        return []
    return list(found)


def why_missing(written: str, config: Config) -> tuple[str, str | None]:
    """Why a name stands for no file, as "does not exist", and a hint: a file of nearly the same name."""
    if "/" not in written:
        from bpftrace_py.probes.library_cache import libraries

        names = [name.partition(".so")[0] for name, _ in libraries()] if written.startswith("lib") else []
        hint = nearest(written, dict.fromkeys(names))
        if hint is None:
            hint = nearest(written, [name for directory in _path("") for name in _names(directory)])
        return "is neither a command in PATH nor a library of the system", hint
    path = _at(written, root_of(config.pid)).path
    if written.startswith("~"):
        return "does not exist", f"`~` is the shell's: write {os.path.expanduser(written)}"
    if os.path.isdir(path):
        return "is a directory", None
    if os.path.exists(path):
        return "is not a file", None
    directory, _, name = written.rpartition("/")
    return "does not exist", nearest(name, _names(_at(directory or "/", root_of(config.pid)).path), f"{directory}/{{}}")
