"""Compiling and loading: cold through BCC, warm through the cache, and what happens when clang or the kernel refuse."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bpftrace_py.codegen.unit import Tracepoint
from bpftrace_py.compiler import compile_source
from bpftrace_py.config import Config
from bpftrace_py.diagnostics import HostError, InternalError
from bpftrace_py.live_host import LiveHost
from bpftrace_py.runtime import bcc_backend, kallsyms_scan, kernel, maps_ahead
from bpftrace_py.runtime.cache import Cache
from bpftrace_py.runtime.image import MapSpec
from bpftrace_py.runtime.loader import load
from bpftrace_py.runtime.maps_ahead import MapsAhead, costly_maps
from bpftrace_py.source import Source
from tests.runtime.small_units import BEGIN, FEATURES, LIBC, loaded, program, unit, words

SOURCE = """
TABLE(1, "array", u32, u64, seen, 1);
TABLE(2, "percpu_hash", u64, u64, counts, 100);
// test.bt:1: BEGIN { @ = pid }
int begin(void *ctx)
{
	u32 key = 0;
	u64 *value = map_lookup(MAP(seen), &key);
	if (value)
		*value = pid_tgid() >> 32;
	return 0;
}
"""

BAD = SOURCE.replace("u32 key = 0;", "u64 key = 0;").replace("MAP(seen)", "MAP(counts)").replace("if (value)\n", "")


@pytest.fixture
def begin():
    return unit(SOURCE, program("begin", *BEGIN))


COMM = """
TABLE(1, "hash", struct { char comm[16]; }, u64, names, 10);
TABLE(2, "array", u32, struct { char odd; char comm[16]; }, odd_places, 1);
// Generated from test.bt
int begin(void *ctx)
{
	char comm[16] aligned8;
	u32 first = 0;
	u64 one = 1;
	read_comm(comm);
	map_update(MAP(names), comm, &one, ANY);
	char *odd = map_lookup(MAP(odd_places), &first);
	if (odd)
		read_comm(odd + 1);
	return comm[0] == 'a' && comm[1] == 0;
}
"""
PR_SET_NAME = 15  # of prctl(2)
BEYOND = 1 << 20  # no task_struct has anything there


@pytest.mark.parametrize("name", [b"a", b"", b"seven77", b"eight888", b"nine99999", b"fifteen15151515"])
@pytest.mark.parametrize("way", ["task_struct", "refused", "helper"])
def test_comm(way, name):
    """The name in whole, and zeros behind it: from the task_struct, and by the helper where the verifier refuses that."""
    text = unit(COMM, program("begin", *BEGIN))
    text.__dict__["task_comm"] = {"task_struct": LiveHost().task_comm(), "refused": BEYOND, "helper": None}[way]
    results = []

    def run():
        for own in (b"a longer name 1", name):
            LIBC.prctl(PR_SET_NAME, own)
        with load(text, FEATURES) as result:
            results.append(("comm_of_task" in result.unit.c_source, result.run("begin")))
            results.append(kernel.map_next_key(result.map_fd("names"), None, 16))
            results.append(kernel.map_lookup(result.map_fd("odd_places"), bytes(4), 17))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    padded = name.ljust(16, b"\0")
    assert results == [(way == "task_struct", int(name == b"a")), padded, b"\0" + padded]


def test_cold_and_warm_do_the_same(begin, tmp_path):
    cache = Cache(str(tmp_path / "cache"))
    for from_cache in (False, True):
        with load(begin, FEATURES, cache=cache) as result:
            assert result.from_cache is from_cache, cache.note
            assert result.run("begin") == 0
            assert words(kernel.map_lookup(result.map_fd("seen"), bytes(4), 8)) == (os.getpid(),)
            spec = result.maps["counts"].spec
            assert (spec.key_size, spec.value_size, spec.max_entries) == (8, 8, 100)
            assert list(result.image.programs) == ["begin"]
            if not from_cache:
                cold = result.image.plain()
            else:
                assert result.image.plain() == cold


def test_a_warm_start_needs_no_bcc(begin, tmp_path):
    cache = Cache(str(tmp_path / "cache"))
    load(begin, FEATURES, cache=cache).close()
    (tmp_path / "unit").write_bytes(pickle.dumps(begin))
    script = (
        "import pickle, sys\n"
        "from bpftrace_py.runtime.cache import Cache\n"
        "from bpftrace_py.runtime.features import Features\n"
        "from bpftrace_py.runtime.loader import load\n"
        "unit = pickle.load(open(sys.argv[1], 'rb'))\n"
        "loaded = load(unit, Features(), cache=Cache(sys.argv[2]))\n"
        "print(loaded.run('begin'), loaded.from_cache, 'bcc' in sys.modules)\n"
        "print([line for line in open('/proc/self/maps') if 'LLVM' in line])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "unit", tmp_path / "cache"], capture_output=True, text=True, check=True
    )
    assert result.stdout == "0 True False\n[]\n"


def fields_of(fd: int) -> dict[str, str]:
    """What the kernel says of a file descriptor."""
    lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


RING = MapSpec("events", kernel.MAP_TYPE_RINGBUF, 0, 0, 1 << 16, 0)
HASHES = [MapSpec(name, kernel.MAP_TYPE_PERCPU_HASH, 8, 8, 4096, 0) for name in ("a", "b", "c")]


def begun(specs: list[MapSpec], monkeypatch: pytest.MonkeyPatch, cpus: int = 2) -> MapsAhead:
    """With as many threads as a machine with so many CPUs has for it; all are begun, if there is a thread."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cpus)))
    ahead = MapsAhead(specs)
    while cpus > 1 and ahead._waiting:
        time.sleep(0.001)
    return ahead


@pytest.mark.parametrize("size", [1 << 16, 1 << 12])
def test_maps_may_have_been_begun(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are used if they are what the image asks for, and stay their maker's otherwise."""
    sends = unit(f"{SOURCE}\nRING(3, events, {1 << 16});\n", program("begin", *BEGIN))
    cache = Cache(str(tmp_path / "cache"))
    load(sends, FEATURES, cache=cache).close()
    ring = MapSpec("events", kernel.MAP_TYPE_RINGBUF, 0, 0, size, 0)
    ahead = begun([ring], monkeypatch)
    with load(sends, FEATURES, cache=cache, ahead=ahead) as warm:
        assert warm.from_cache
        fields = fields_of(warm.map_fd("events"))
        assert fields["map_type"] == str(kernel.MAP_TYPE_RINGBUF) and fields["max_entries"] == str(1 << 16)
        left = ahead.take(ring)
        assert (left is None) == (size == 1 << 16)
        if left is not None:
            os.close(left)
        ahead.close()
        assert warm.run("begin") == 0


def test_a_map_that_was_begun_is_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = begun([RING, *HASHES], monkeypatch)
    other = MapSpec("b", kernel.MAP_TYPE_PERCPU_HASH, 8, 16, 4096, 0)
    assert ahead.take(other) is None
    fd = ahead.take(HASHES[1])
    assert fd is not None and fields_of(fd)["max_entries"] == "4096"
    os.close(fd)
    assert ahead.take(HASHES[1]) is None
    ahead.close()


@pytest.mark.parametrize("cpus", [1, 2, 9])
def test_maps_that_nobody_took_are_given_up(cpus: int, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.listdir("/proc/self/fd")
    ahead = begun(HASHES, monkeypatch, cpus)
    assert cpus > 1 or ahead.take(HASHES[0]) is None  # with one CPU the loader makes them all
    ahead.close()
    assert os.listdir("/proc/self/fd") == before
    MapsAhead(HASHES).close()  # whatever was begun until then
    assert os.listdir("/proc/self/fd") == before


def test_a_map_that_cannot_be_is_left_to_the_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = MapSpec("events", kernel.MAP_TYPE_RINGBUF, 0, 0, 1000, 0)  # no power of two
    ahead = begun([ring], monkeypatch)
    assert ahead.take(ring) is None
    ahead.close()


@pytest.mark.parametrize("key", ["pid", "comm", "pid, comm", "kstack", "ustack, pid", 'str($1), (int8)1, "ab"'])
def test_costly_maps_are_those_of_the_image(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or they would be made in vain."""
    monkeypatch.setattr(maps_ahead, "_MOST", 100)
    values = ("count()", "sum(cpu)", "min(cpu)", "max(cpu)", "avg(cpu)", "stats(cpu)", "hist(cpu)", "lhist(cpu, 0, 9, 1)")
    updates = " ".join(f"@m{i}[{key}] = {value};" for i, value in enumerate(values))
    script = Source(f'BEGIN {{ {updates} @x[{key}] = 1; @y = hist(1); printf("x"); }}')
    compiled = compile_source(script, Config(parameters=("x",)), LiveHost())
    with load(compiled, FEATURES) as made:
        plain = [spec.plain() for spec in made.image.maps]
    specs = costly_maps(compiled)
    assert [spec.name for spec in specs] == ["events", *[f"m{i}" for i in range(len(values))]]
    assert [spec.plain() for spec in specs if spec.plain() not in plain] == []


def test_compiling_leaves_the_process_as_it_was(begin, capfd):
    def state():
        status = Path("/proc/self/status").read_text()
        return (
            os.getresuid(), kernel.prctl(27), kernel.prctl(3), signal.pthread_sigmask(signal.SIG_BLOCK, []), os.getcwd(),
            [line for line in status.splitlines() if line.startswith("Cap")], dict(os.environ),
            set(os.listdir("/proc/self/fd")),
        )  # fmt: skip

    with loaded(begin):  # what is loaded once stays: the library, LLVM
        pass
    before = state()
    with loaded(begin):
        pass
    assert state() == before
    assert capfd.readouterr() == ("", "")


def test_only_the_compiling_thread_changes_its_user():
    seen = []
    with kallsyms_scan.avoided() as changed:
        thread = threading.Thread(target=lambda: seen.append(os.geteuid()))
        assert changed
        assert os.geteuid() == 65534
        # A thread inherits its starter's; the main thread's own status shows that others keep theirs.
        thread.start()
        thread.join()
    assert os.geteuid() == 0
    with pytest.raises(ZeroDivisionError), kallsyms_scan.avoided():
        raise ZeroDivisionError
    assert os.getresuid() == (0, 0, 0)


def test_other_threads_keep_their_user():
    inside, done, seen = threading.Event(), threading.Event(), []

    def other():
        inside.wait()
        seen.append(os.geteuid())
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with kallsyms_scan.avoided():
        inside.set()
        done.wait()
    thread.join()
    assert seen == [0]


def test_what_clang_refuses_is_our_bug_at_the_line_of_the_script(capfd):
    source = SOURCE.replace("*value = pid_tgid() >> 32;", "\n\t\t// 7: @ = nonsense\n\t\t*value = nonsense;")
    source = f"// Generated from test.bt\n{source}"
    with pytest.raises(InternalError) as caught, loaded(unit(source, program("begin", *BEGIN))):
        pass
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E0705"
    first, *log = diagnostic.text.splitlines()
    assert first == "clang refused the C that was generated for test.bt:7: this is a bug in bpftrace-py"
    assert "use of undeclared identifier 'nonsense'" in log[0]
    assert "use of undeclared identifier 'nonsense'" in caught.value.log
    assert capfd.readouterr() == ("", "")


def test_what_the_verifier_refuses_is_our_bug(capfd):
    with pytest.raises(InternalError) as caught, loaded(unit(BAD, program("begin", *BEGIN, line=3))):
        pass
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E0706"
    lines = diagnostic.text.splitlines()
    assert lines[0].startswith("the kernel refused the program that was generated for test.bt:3 (Permission denied)")
    assert "invalid mem access 'map_value_or_null'" in diagnostic.text
    assert lines[-1].strip().endswith("with -v)")
    assert len(caught.value.log.splitlines()) > len(lines)
    assert capfd.readouterr() == ("", "")


def test_nothing_stays_open_when_loading_fails():
    bad = unit(BAD, program("begin", *BEGIN))
    for _ in range(2):
        before = os.listdir("/proc/self/fd")
        with pytest.raises(InternalError):
            load(bad, FEATURES)
    assert os.listdir("/proc/self/fd") == before


def test_a_map_that_is_too_large_is_told_by_name(begin, tmp_path, capfd):
    huge = unit(SOURCE.replace("counts, 100", "counts, 4000000000"), program("begin", *BEGIN))
    with pytest.raises(HostError) as caught:
        load(huge, FEATURES)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E0708"
    assert "`counts` (4000000000 keys" in diagnostic.text
    # The same from the cache, where we create the maps.
    cache = Cache(str(tmp_path / "cache"))
    result = load(begin, FEATURES, cache=cache)
    next(spec for spec in result.image.maps if spec.name == "counts").max_entries = 4_000_000_000
    key = os.listdir(tmp_path / "cache")[0]
    cache.store_image(key, result.image)
    result.close()
    before = os.listdir("/proc/self/fd")
    with pytest.raises(HostError) as caught:
        load(begin, FEATURES, cache=cache)
    assert caught.value.diagnostics[0].code == "E0708"
    assert "`counts`" in caught.value.diagnostics[0].text
    assert os.listdir("/proc/self/fd") == before
    assert capfd.readouterr() == ("", "")


def test_a_damaged_entry_is_compiled_again(begin, tmp_path):
    cache = Cache(str(tmp_path / "cache"))
    load(begin, FEATURES, cache=cache).close()
    (entry,) = (tmp_path / "cache").iterdir()
    data = bytearray(entry.read_bytes())
    data[-1] ^= 1
    entry.write_bytes(data)
    with load(begin, FEATURES, cache=cache) as result:
        assert not result.from_cache
    with load(begin, FEATURES, cache=cache) as result:
        assert result.from_cache


def test_every_kind_of_program_loads():
    source = "".join(f"int p{i}(void *ctx) {{ return 0; }}\n" for i in range(4))
    kinds = ("raw_tracepoint", "tracepoint", "kprobe", "perf_event")
    specs = [program(f"p{i}", Tracepoint("t", "c", "e"), kind=kind) for i, kind in enumerate(kinds)]
    with loaded(unit(source, *specs)) as result:
        assert len({result.program(f"p{i}") for i in range(4)}) == 4
        # One program, loaded once more for another kind of link.
        if FEATURES.uprobe_multi:
            assert result.program("p2", kernel.ATTACH_UPROBE_MULTI) != result.program("p2")


@pytest.mark.parametrize("name", ["kprobe__x", "tracepoint__a__b"])
def test_names_that_bcc_would_attach_are_refused(name):
    with pytest.raises(AssertionError, match="by itself"):
        bcc_backend.compile_image(f"int {name}(void *ctx) {{ return 0; }}", [name])


def test_a_lattice_library_is_not_taken_for_bcc(tmp_path):
    (tmp_path / "bcc").mkdir()
    (tmp_path / "bcc" / "__init__.py").write_text("raise SystemExit('it was imported')")
    code = (
        "from bpftrace_py.runtime import bcc_backend\n"
        "from bpftrace_py.diagnostics import HostError\n"
        "try: bcc_backend.compile_image('', [])\n"
        "except HostError as e: print(e)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(tmp_path)}
    )
    assert result.stdout.startswith("error[E0703]: the module `bcc` in "), result
    assert "apt-get install python3-bpfcc" in result.stdout


def test_bcc_outside_this_python_is_named():
    code = (
        "import sys\n"
        "from bpftrace_py.runtime import bcc_backend\n"
        "from bpftrace_py.diagnostics import HostError\n"
        "sys.path = [p for p in sys.path if 'dist-packages' not in p]\n"
        "for there in (True, False):\n"
        "    if not there: bcc_backend._SYSTEM_BINDINGS = '/nonexistent'\n"
        "    try: bcc_backend.compile_image('', [])\n"
        "    except HostError as e: print(e)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, _, second, hint = result.stdout.splitlines()
    assert first.startswith("error[E0702]: this Python (")
    assert second == "error[E0701]: BCC's Python bindings are not installed"
    assert hint == "  hint: apt-get install python3-bpfcc"


def test_without_the_trick_compiling_is_only_slower(begin, monkeypatch):
    def fail(uid):
        raise OSError(1, "no")

    monkeypatch.setattr(kernel, "set_thread_euid", fail)
    bits = kernel.prctl(27)
    with loaded(begin) as result:
        assert result.run("begin") == 0
    assert kernel.prctl(27) == bits


def test_what_llvm_dies_of_is_told():
    """LLVM calls exit() for what it cannot make code of, such as too much on the stack."""
    source = "int begin(void *ctx)\n{\n\tchar a[900];\n\tread_kernel(a, 900, ctx);\n\treturn a[3];\n}\n"
    code = f"from bpftrace_py.runtime import bcc_backend; bcc_backend.compile_image({source!r}, ['begin']); print('alive')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert (done.returncode, done.stdout) == (1, "")
    assert "E0705" in done.stderr and "BPF stack limit" in done.stderr


def test_a_program_that_the_verifier_gives_up_on_gets_shorter_loops():
    from bpftrace_py.codegen.unit import BoundedLoop

    source = SOURCE.replace(
        "\tif (value)",
        "\tu32 rounds = 0;\n\tu64 sum = 0;\n\twhile (1) {\n\t\tif (++rounds > ROUNDS(100000))\n\t\t\tbreak;\n"
        + "\t\tsum += ktime_ns();\n" * 20 + "\t}\n\tif (value)",
    )  # fmt: skip
    large = unit("// Generated from a test\n" + source, program("begin", *BEGIN))
    large.__dict__["bounded_loops"] = (BoundedLoop(3, 100000),)
    with loaded(large) as made:
        (loop,) = made.unit.bounded_loops
        assert loop.line == 3 and loop.rounds < 100000 and 100000 // made.unit.loop_divisor == loop.rounds
        assert made.run("begin") == 0
