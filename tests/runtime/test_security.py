"""What SECURITY.md promises, tried by those against whom it is promised: each test is the attack."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bpftrace_py.diagnostics import HostError
from bpftrace_py.files import open_output
from tests.live import TIME_LIMIT, Session, command, run_command
from tests.testprogs.build import program as built

MALLORY = 65534
HELLO = 'BEGIN { printf("hello\\n"); exit(); }'
# What a process may call itself: it sets the terminal's title, and the second begins with C1's CSI in UTF-8.
TITLE, C1 = b"\033]0;owned\007", b"\xc2\x9b31mred"
NAMED = f"""
import ctypes, os, sys, time
libc = ctypes.CDLL(None)
for name in ({TITLE!r}, {C1!r}):
    libc.prctl(15, name, 0, 0, 0)
    os.getppid()
sys.stdin.read()
"""
SHOWN = """tracepoint:syscalls:sys_enter_getppid /pid == cpid/ {
    printf("<%s>\\n", comm); @[comm] = count(); @v = comm; print(comm); print((1, comm)); printf("%r|%rx\\n", buf(comm), buf(comm));
    printf("%c\\n", 27); cat("%s", comm); system("echo system %s", comm); print(@v);
    @n++; if (@n == 2) { exit(); }
}"""


def on_a_terminal(*words: str, typed: bytes = b"", **options: object) -> bytes:
    """What a command writes where all of its standard streams are a terminal."""
    master, slave = pty.openpty()
    process = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, **options)  # type: ignore[call-overload]
    os.close(slave)
    parts = []
    deadline = time.monotonic() + TIME_LIMIT
    try:
        while select.select([master], [], [], max(0.0, deadline - time.monotonic()))[0]:
            try:
                parts.append(os.read(master, 1 << 16))
            except OSError:  # the last one who had it open has gone
                break
    finally:
        process.kill()
        process.wait()
        os.close(master)
    return b"".join(parts)


# --- traced text and the terminal


def test_escape_sequences_of_traced_text_do_not_reach_a_terminal(tmp_path: Path) -> None:
    script = tmp_path / "named.py"
    script.write_text(NAMED)
    shown = on_a_terminal(
        command(), "-q", "-c", f"/usr/bin/python3 {script}", "-e", SHOWN, env={**os.environ, "NO_COLOR": "1"}
    )
    assert b"\033" not in shown and b"\007" not in shown and b"\xc2\x9b" not in shown, shown
    for expected in (
        b"<\\x1b]0;owned\\x07>", b"<\\xc2\\x9b31mred>", b"@v: \\xc2\\x9b31mred", b"(1, \\x1b]0;owned\\x07)", b"system \\x1b]0;owned\\x07",
        b"cat() cannot read \\x1b]0;owned\\x07: no such file",
    ):  # fmt: skip
        assert expected in shown, shown


def test_they_do_reach_a_pipe_and_a_file(tmp_path: Path) -> None:
    """What is not shown to anybody is kept as it was."""
    script = tmp_path / "named.py"
    script.write_text(NAMED)
    words = [command(), "-q", "-c", f"/usr/bin/python3 {script}", "-e", SHOWN]
    done = subprocess.run(words, capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    assert b"<\033]0;owned\007>\n" in done.stdout and b"system \033]0;owned\007\n" in done.stdout
    subprocess.run([*words, "-o", tmp_path / "out"], check=True, timeout=60, stdin=subprocess.DEVNULL)
    assert b"<\033]0;owned\007>\n" in (tmp_path / "out").read_bytes()


def test_json_never_has_them(tmp_path: Path) -> None:
    script = tmp_path / "named.py"
    script.write_text(NAMED)
    words = [command(), "-q", "-f", "json", "-c", f"/usr/bin/python3 {script}", "-e", SHOWN]
    done = subprocess.run(words, capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    assert b"\033" not in done.stdout and b"\xc2\x9b" not in done.stdout
    assert b"\\u001b]0;owned\\u0007" in done.stdout and b"\\u009b31mred" in done.stdout


def test_a_scripts_own_sequences_go_through() -> None:
    """`system("clear")`, colours in a format: that is what the script's author wants."""
    program = 'BEGIN { printf("\\033[1mbold\\033[0m\\n"); system("printf \'\\033[7m\'"); exit(); }'
    shown = on_a_terminal(command(), "-q", "-e", program)
    assert b"\033[1mbold\033[0m" in shown and b"\033[7m" in shown


def test_names_in_a_hostile_binary_do_not_steer_the_terminal(tmp_path: Path) -> None:
    hostile = tmp_path / "hostile"
    content = built("strange_names").read_bytes()
    assert b"strange_XX31mname" in content
    hostile.write_bytes(content.replace(b"strange_XX31mname", b"strange_\033[31mname"))
    hostile.chmod(0o755)
    listed = on_a_terminal(command(), "-l", f"uprobe:{hostile}:strange*")
    assert b"\033" not in listed and b"strange_\\x1b[31mname" in listed
    program = f"uprobe:{hostile}:strange* {{ @[probe, func, ustack(1)] = count(); }}"
    shown = on_a_terminal(command(), "-v", "-c", str(hostile), "-e", program, env={**os.environ, "NO_COLOR": "1"})
    assert b"\033" not in shown and shown.count(b"strange_\\x1b[31mname") >= 3
    piped = subprocess.run([command(), "-l", f"uprobe:{hostile}:strange*"], capture_output=True, timeout=60)
    assert b"strange_\033[31mname" in piped.stdout, "in a pipe it is the name"


def test_memory_that_looks_like_our_own_mark_is_not_read_from_elsewhere(tmp_path: Path) -> None:
    """Strings that a program could not read are read later, by user space, which finds a mark in their place. Traced memory
    that has the same bytes must not make us read another process's memory for it."""
    script = tmp_path / "forge.py"
    script.write_text(
        "import ctypes, os, struct\n"
        "secret = ctypes.create_string_buffer(b'TOP SECRET')\n"
        "mark = struct.pack('=8sQII', b'\\0late\\0s\\1', ctypes.addressof(secret), os.getpid(), 64).ljust(64, b'A')\n"
        "ctypes.CDLL(None).getenv(ctypes.create_string_buffer(mark, 64))\n"
    )
    program = """struct x { char name[64]; };
        uprobe:libc:getenv /pid == cpid/ { $x = (struct x *)arg0; @n = count(); print(*$x); printf("<%s>", $x->name); @[$x->name] = 1; }"""
    done = run_command("-q", "-c", f"/usr/bin/python3 {script}", "-e", program)
    assert done.status == 0 and int(done.stdout.partition("@n: ")[2].split()[0]) > 0
    assert "SECRET" not in done.stdout


# --- system() and cat()


def test_a_traced_name_is_not_run(tmp_path: Path) -> None:
    """The process calls itself a shell command, in several kinds of quotes."""
    for name in (
        "; touch CAN",
        "$(touch CAN)",
        "`touch CAN`",
        "'; touch CAN'",
        '";touch CAN"',
        "| touch CAN",
        "-e touch CAN",
    ):
        script = tmp_path / "named.py"
        script.write_text(
            f"import os\nopen('/proc/self/comm', 'w').write({name!r})\nos.getppid()\nimport sys; sys.stdin.read()\n"
        )
        program = """tracepoint:syscalls:sys_enter_getppid /pid == cpid/ {
            system("echo %s", comm); system("echo '%s' \\"%s\\"", comm, comm); cat("%s", comm); exit(); }"""
        done = run_command("-q", "-c", f"/usr/bin/python3 {script}", "-e", program, cwd=tmp_path)
        assert done.status == 0 and name[:15] in done.stdout, done.stderr
        assert not (tmp_path / "CAN").exists(), name


def test_safe_mode_acts_on_nothing(tmp_path: Path) -> None:
    for statement in (f'system("touch {tmp_path}/made")', "signal(9)"):
        done = run_command("--safe", "-e", f"tracepoint:raw_syscalls:sys_enter {{ {statement}; exit(); }}")
        assert (done.status, done.stdout) == (1, "") and "--safe refuses" in done.stderr
    assert list(tmp_path.iterdir()) == []


# --- files of others


@contextmanager
def sticky(tmp_path: Path) -> Iterator[Path]:
    """A directory like /tmp, where the kernel does not protect links and FIFOs itself (fs.protected_*)."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    names = [Path("/proc/sys/fs") / f"protected_{kind}" for kind in ("symlinks", "hardlinks", "regular", "fifos")]
    before = [path.read_text() for path in names]
    try:
        for path in names:
            path.write_text("0")
        yield shared
    finally:
        for path, value in zip(names, before, strict=True):
            path.write_text(value)


def planted(kind: str, shared: Path, precious: Path) -> Path:
    path = shared / kind
    if kind == "symbolic link":
        path.symlink_to(precious)
    elif kind == "dangling link":
        path.symlink_to(precious.with_name("new"))
    elif kind == "hard link":
        os.link(precious, path)
        return path
    elif kind == "FIFO":
        os.mkfifo(path, 0o666)
    else:
        path.write_text("bait")
        path.chmod(0o666)
    os.lchown(path, MALLORY, MALLORY)
    return path


@pytest.mark.parametrize("kind", ["symbolic link", "dangling link", "hard link", "FIFO", "file"])
def test_output_is_not_led_elsewhere(kind: str, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    with sticky(tmp_path) as shared:
        path = planted(kind, shared, precious)
        with pytest.raises(HostError) as error:
            os.close(open_output(str(path)))
        done = run_command("-o", str(path), "-e", HELLO)
    assert error.value.diagnostics[0].code == "E0806"
    assert done.status == 1 and f"error[E0806]: the output file {path} cannot be written: " in done.stderr
    assert precious.read_text() == "precious" and not (tmp_path / "new").exists()
    assert kind != "file" or path.read_text() == "bait"


def test_output_to_ones_own_files_is_as_ever(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "target")
    for path in (link, tmp_path / "plain"):
        assert run_command("-q", "-o", str(path), "-e", HELLO).status == 0
        assert path.read_text().startswith("hello\n")
    with sticky(tmp_path) as shared:
        assert run_command("-q", "-o", str(shared / "mine"), "-e", HELLO).status == 0


def planted_cache(kind: str, cache: Path) -> None:
    """Make a warm cache into one that somebody else has touched."""
    entries = sorted(path for path in cache.iterdir())
    if kind == "directory writable by all":
        cache.chmod(0o777)
    elif kind == "directory of another":
        os.chown(cache, MALLORY, MALLORY)
    elif kind == "directory behind a link":
        cache.rename(cache.with_name("moved"))
        cache.symlink_to(cache.with_name("moved"))
    for path in entries if kind.startswith("entry") else ():
        data = bytearray(path.read_bytes())
        if kind == "entry of another":
            os.chown(path, MALLORY, MALLORY)
        elif kind == "entry behind a link":
            path.rename(cache.with_name(path.name))
            path.symlink_to(cache.with_name(path.name))
        elif kind == "entry cut short":
            path.write_bytes(data[: len(data) // 2])
        elif kind == "entry with a flipped bit":
            data[-100] ^= 4
            path.write_bytes(data)


@pytest.mark.parametrize(
    "kind",
    ["directory writable by all", "directory of another", "directory behind a link", "entry of another", "entry behind a link",
     "entry cut short", "entry with a flipped bit"],
)  # fmt: skip
def test_a_cache_that_others_touched_is_not_believed(kind: str, tmp_path: Path) -> None:
    """The session compiles anew (which -v tells), and prints what it should."""
    cache = tmp_path / "bpftrace-py"
    environment = {"XDG_CACHE_HOME": str(tmp_path)}
    words = ("-v", "-e", HELLO)
    assert "The program was compiled:" in run_command(*words, env=environment).stderr
    assert "The program was taken from the compile cache:" in run_command(*words, env=environment).stderr
    planted_cache(kind, cache)
    done = run_command(*words, env=environment)
    assert (done.status, done.stdout) == (0, "Attaching 1 probe...\nhello\n\n\n")
    assert "The program was compiled:" in done.stderr


def opened(trace: Path) -> list[str]:
    return [line.split('"')[1] for line in trace.read_text(errors="replace").splitlines() if line.count('"') >= 2]


def test_no_world_writable_directory_is_read(tmp_path: Path) -> None:
    """BCC's /tmp/kheaders-RELEASE, which any user could make, was CVE-2024-2314: that code is never reached. Nor is anything
    else in /tmp, /var/tmp, /dev/shm or $TMPDIR asked for by any name."""
    headers = Path(f"/tmp/kheaders-{os.uname().release}")
    made = not headers.exists()
    (headers / "include" / "linux").mkdir(parents=True, exist_ok=True)
    (headers / "include" / "linux" / "kconfig.h").write_text("#error hostile headers\n")
    trace = tmp_path / "trace"
    try:
        done = subprocess.run(
            ["strace", "-f", "-qq", "-o", trace, "-e", "trace=%file", command(), "--no-cache", "-q", "-e", HELLO],
            capture_output=True, text=True, timeout=120, env={**os.environ, "TMPDIR": "/dev/shm"}, cwd="/",
        )  # fmt: skip
    finally:
        if made:
            (headers / "include" / "linux" / "kconfig.h").unlink()
            for directory in (headers / "include" / "linux", headers / "include", headers):
                directory.rmdir()
    assert (done.returncode, done.stdout) == (0, "hello\n\n\n"), done.stderr
    names = opened(trace)
    assert len(names) > 100
    shared = ("/tmp", "/var/tmp", "/dev/shm")
    checkout = Path(__file__).parents[2]  # it may be there itself
    ours = (str(Path(sys.prefix)), str(checkout))
    above = {str(directory) for directory in checkout.parents}
    assert [name for name in names if name.startswith(shared) and not name.startswith(ours) and name not in above] == []


def test_modules_in_the_current_directory_are_not_imported(tmp_path: Path) -> None:
    names = "bcc click sitecustomize usercustomize bpftrace_py ply clang elftools struct re os ctypes json".split()
    for name in names:
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'a').write({name!r})\n")
    (tmp_path / "include" / "linux").mkdir(parents=True)
    (tmp_path / "include" / "linux" / "kconfig.h").write_text("#error hostile headers\n")
    (tmp_path / "bcc").mkdir()
    for name in ("helpers.h", "proto.h", "bpf.h"):
        (tmp_path / "bcc" / name).write_text("#error hostile headers\n")
    declared = "struct pair { int a; int b; }; " + HELLO
    for words in (
        ["--no-cache", "-e", HELLO],
        ["--no-cache", "-e", declared],
        ["--info"],
        ["-l", "uprobe:/bin/sh:*"],
        ["-q=1"],
    ):
        done = run_command(*words, cwd=tmp_path)
        assert "hostile" not in done.stderr
        assert done.status == (2 if words == ["-q=1"] else 0), done.stderr
    assert not (tmp_path / "imported").exists()


def test_an_empty_part_of_the_module_path_is_not_the_current_directory(tmp_path: Path) -> None:
    """`PYTHONPATH=$PYTHONPATH:/opt/bcc`, as one writes it, has an empty part if there was none before."""
    for name in "bcc bpftrace_py encodings os re sitecustomize".split():
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'a').write({name!r})\n")
    for path in (":/opt/bcc", "/opt/bcc:", ":", "."):
        done = run_command("--no-cache", "-q", "-e", HELLO, cwd=tmp_path, env={"PYTHONPATH": path})
        assert (done.status, done.stdout, done.stderr) == (0, "hello\n\n\n", "")
    assert not (tmp_path / "imported").exists()


def test_variables_that_steer_python_do_not_break_it() -> None:
    for name, value in (("PYTHONHOME", "/nowhere"), ("PYTHONHASHSEED", "x"), ("PYTHONINSPECT", "1"), ("PYTHONPLATLIBDIR", "x")):
        done = run_command("-q", "-e", HELLO, env={name: value})
        assert (done.status, done.stdout, done.stderr) == (0, "hello\n\n\n", "")


def test_without_home_and_path_it_works(tmp_path: Path) -> None:
    """As cron or an init system may start it. The cache is then in the home that the user database names."""
    done = subprocess.run(
        [command(), "-q", "-e", HELLO], capture_output=True, text=True, timeout=60, env={}, cwd=tmp_path
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n\n\n", "")
    assert list(tmp_path.iterdir()) == []


def test_root_does_not_use_the_home_of_another(tmp_path: Path) -> None:
    """sudo may keep HOME: what root would write there could be swapped by its owner."""
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, MALLORY, MALLORY)
    environment = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"}
    done = subprocess.run(
        [command(), "-q", "-e", HELLO],
        capture_output=True,
        text=True,
        timeout=60,
        env={**environment, "HOME": str(home)},
    )
    assert done.returncode == 0 and list(home.iterdir()) == []


def test_what_is_attached_is_only_in_our_process() -> None:
    """Nothing is pinned: BPF file systems have nothing of ours while a session runs."""
    from tests.leftovers import pinned, tracefs_probes

    with Session("-q", "-e", "uprobe:libc:getppid, profile:hz:9 { @ = count(); }") as session:
        session.wait_attached()
        assert pinned() == [] and tracefs_probes() == []
        assert session.interrupt().status == 0


def test_a_parameter_is_part_of_a_command_and_a_map_value_is_not() -> None:
    program = 'BEGIN { system("echo %s", str($1)); @s = str($1); system("echo %s", @s); clear(@s); exit(); }'
    done = subprocess.run(
        [command(), "-q", "-e", program, "a; echo b"], capture_output=True, text=True, timeout=120
    )  # fmt: skip
    assert done.stdout.split("\n")[:3] == ["a", "b", "a; echo b"], done.stderr
