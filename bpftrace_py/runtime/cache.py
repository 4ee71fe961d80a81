"""The compile cache: what BCC made of a unit, kept so that the same script starts without LLVM the next time.

Entries are files in a private directory. Each is magic, SHA-256 of the rest, then marshalled plain data; marshal (not
pickle) has no way to run code, and an entry is believed only if the directory and the file are ours and nobody else's
to write, and the digest fits. Nothing here ever fails: a cache that cannot be used is a cache that is empty.
"""

from __future__ import annotations

import marshal
import os
import stat
import sys

from bpftrace_py.runtime.image import Image

try:  # the modules behind hashlib, of Python 3.11 and 3.12: it would load OpenSSL (7 ms)
    from _sha256 import sha256  # type: ignore[import-not-found]
except ImportError:
    try:
        from _sha2 import sha256  # type: ignore[import-not-found]
    except ImportError:
        from hashlib import sha256

MAGIC = b"bpftrace-py unit 1\n"
_DIGEST_SIZE = 32
MAX_BYTES, MAX_ENTRIES = 64 << 20, 1000
_MAX_ENTRY = 16 << 20
_SWEEP_EVERY = 16  # stores: one in so many looks at the size of the whole directory
_LIBRARY = "libbcc.so.0"


def digest(*parts: object) -> str:
    """A key: the hex SHA-256 of the parts, each with its length."""
    state = sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
        state.update(b"%d:" % len(data))
        state.update(data)
    text: str = state.hexdigest()
    return text


def image_key(c_source: str, headers: str, flags: object) -> str:
    """The key of a compiled unit: everything that reaches the compiler, and the kernel that will take the result."""
    system = os.uname()
    return digest(
        c_source, *_header_texts(headers), compiler_identity(), system.release, system.version, system.machine, flags,
        marshal.version, sys.byteorder,
    )  # fmt: skip


def _header_texts(directory: str) -> list[bytes]:
    texts = []
    for path, directories, names in os.walk(os.path.join(directory, "include")):
        directories.sort()
        for name in sorted(names):
            with open(os.path.join(path, name), "rb") as file:
                texts += [name.encode(), file.read()]
    return texts


def compiler_identity() -> str:
    """Which BCC would compile, without importing it: where its bindings and its library are, their size and age."""
    multiarch = getattr(sys.implementation, "_multiarch", "")
    libraries = ("/usr/local/lib", f"/usr/lib/{multiarch}", "/usr/lib64", "/usr/lib")
    found = []
    for name, directories in (("bcc/version.py", sys.path), (_LIBRARY, libraries)):
        for directory in directories:
            path = os.path.join(directory, name)
            try:
                status = os.stat(path)
            except OSError:
                continue
            found.append(f"{os.path.realpath(path)} {status.st_size} {status.st_mtime_ns}")
            break
    return "\n".join(found)


def default_directory() -> str | None:
    """`$XDG_CACHE_HOME/bpftrace-py`, or in the home directory of the effective user. None if there is none."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        home = _home()
        if home is None:
            return None
        base = os.path.join(home, ".cache")
    return os.path.join(base, "bpftrace-py")


def _home() -> str | None:
    """The effective user's home. Under sudo, HOME may be another's, in whose way root's files would be."""
    home = os.environ.get("HOME", "")
    try:
        if os.path.isabs(home) and os.stat(home).st_uid == os.geteuid():
            return home
        import pwd

        return pwd.getpwuid(os.geteuid()).pw_dir
    except (OSError, KeyError):
        return None


class Cache:
    """Entries by key. `note` holds why the cache could not be used, for -v."""

    def __init__(
        self, directory: str | None = None, max_bytes: int = MAX_BYTES, max_entries: int = MAX_ENTRIES
    ) -> None:
        self.directory = directory if directory is not None else default_directory()
        self.max_bytes, self.max_entries = max_bytes, max_entries
        self.note = "" if self.directory else "neither XDG_CACHE_HOME nor HOME is set"

    # --- plain data

    def load(self, key: str) -> object | None:
        """The data stored under `key`, None if there is none that can be believed."""
        try:
            directory = self._open_directory(create=False)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                self.note = str(error)
            return None
        try:
            return self._read(directory, key)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError, TypeError) as error:
            self.note = f"{key}: {error}"
            return None
        finally:
            os.close(directory)

    def store(self, key: str, data: object) -> None:
        """Keep marshallable data under `key`, atomically."""
        payload = marshal.dumps(data)  # type: ignore[arg-type]
        if len(payload) > _MAX_ENTRY:
            return
        try:
            directory = self._open_directory(create=True)
        except OSError as error:
            self.note = str(error)
            return
        try:
            self._write(directory, key, MAGIC + sha256(payload).digest() + payload)
            if int(key[:8], 16) % _SWEEP_EVERY == 0:
                self._sweep(directory)
        except OSError as error:
            self.note = str(error)
        finally:
            os.close(directory)

    # --- images

    def load_image(self, key: str) -> Image | None:
        data = self.load(key)
        if data is None:
            return None
        try:
            return Image.from_plain(data)
        except ValueError as error:
            self.note = f"{key}: {error}"
            return None

    def store_image(self, key: str, image: Image) -> None:
        self.store(key, image.plain())

    # --- files

    def _open_directory(self, create: bool) -> int:
        """The cache directory as a file descriptor. `PermissionError` if others own it or may write to it."""
        if self.directory is None:
            raise FileNotFoundError(self.note)
        if create:
            os.makedirs(os.path.dirname(self.directory), mode=0o700, exist_ok=True)
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
        directory = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _check_private(os.fstat(directory), self.directory)
        except OSError:
            os.close(directory)
            raise
        return directory

    def _read(self, directory: int, key: str) -> object:
        fd = os.open(key, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
        try:
            status = os.fstat(fd)
            _check_private(status, key)
            if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_ENTRY + 4096:
                raise ValueError("not a cache entry")
            with open(fd, "rb", closefd=False) as file:
                data = file.read()
            start = len(MAGIC) + _DIGEST_SIZE
            if not data.startswith(MAGIC) or sha256(data[start:]).digest() != data[len(MAGIC) : start]:
                raise ValueError("damaged")
            result: object = marshal.loads(data[start:])
            os.utime(fd)  # the sweep throws away what was not used for longest
            return result
        finally:
            os.close(fd)

    def _write(self, directory: int, key: str, data: bytes) -> None:
        temporary = f"{key}.{os.getpid()}.{os.urandom(4).hex()}"
        fd = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory
        )
        try:
            with open(fd, "wb") as file:
                file.write(data)
            os.replace(temporary, key, src_dir_fd=directory, dst_dir_fd=directory)
        except OSError:
            os.unlink(temporary, dir_fd=directory)
            raise

    def _sweep(self, directory: int) -> None:
        """Remove the entries used longest ago until the rest is within the bounds."""
        entries = []
        with os.scandir(directory) as listing:
            for entry in listing:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(status.st_mode):
                    entries.append((status.st_mtime_ns, status.st_size, entry.name))
        entries.sort(reverse=True)
        total = 0
        for count, (_, size, name) in enumerate(entries, 1):
            total += size
            if total > self.max_bytes or count > self.max_entries:
                _unlink(name, directory)


def _unlink(name: str, directory: int) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        return  # another instance sweeps, too


def _check_private(status: os.stat_result, name: str) -> None:
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise PermissionError(f"{name}: not ours alone")
