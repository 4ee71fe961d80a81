"""Script maps as kept by the kernel, filled by programs on each CPU, read, looked up, zeroed and cleared."""

from __future__ import annotations

import struct
import threading
from pathlib import Path

import pytest

from bpftrace_py import types
from bpftrace_py.codegen.unit import Unit
from bpftrace_py.runtime import kernel
from bpftrace_py.runtime.features import Features
from bpftrace_py.runtime.maps import Maps
from bpftrace_py.types import INT64, UINT64, LhistType, StringType, TupleType
from tests.runtime.small_units import BEGIN, FEATURES, loaded, on_cpu, program, script_map, unit

CPUS = FEATURES.online_cpus


def without_batch() -> Features:
    features = Features()
    features.__dict__["batch"] = False
    return features


WAYS = [pytest.param(FEATURES, id="batch"), pytest.param(without_batch(), id="one-by-one")]


def one_map(spec, key: str, value: str, *statements: str, declarations: str = "") -> Unit:
    """A unit with one map and a program for each statement; `k` is a zeroed key, `v` a value."""
    source = f"{declarations}\nTABLE(1, \"{spec.storage}\", {key}, {value}, map_x, {spec.max_entries});\n"
    for i, statement in enumerate(statements):
        source += (
            f"int p{i}(void *ctx) {{ {key} k; {value} v; zero_fill(&k, sizeof(k)); zero_fill(&v, sizeof(v)); "
            f"{statement} return 0; }}\n"
        )
    return unit(source, *(program(f"p{i}", *BEGIN) for i in range(len(statements))), maps=(spec,))


def run_on_each_cpu(result, *functions: str) -> None:
    for cpu in CPUS:
        with on_cpu(cpu):
            for function in functions:
                result.run(function)


PAIR = "struct pair { s64 a; u64 b; };"


def test_a_scalar_is_there_once_it_is_set():
    spec = script_map(INT64, storage="array", max_entries=1)
    of = one_map(spec, "u32", "struct pair", "v.a = -5; v.b = 1; map_update(MAP(map_x), &k, &v, 0);", declarations=PAIR)
    with loaded(of) as result:
        maps = Maps(result)
        assert maps.read("x") == []
        maps.zero("x")
        assert maps.read("x") == []
        result.run("p0")
        assert maps.read("x") == [((), -5)]
        assert maps.lookup("x", ()) == -5
        maps.zero("x")
        assert maps.read("x") == [((), 0)]
        maps.clear("x")
        assert maps.read("x") == []
        assert maps.lookup("x", ()) is None
        result.run("p0")
        maps.delete("x", ())
        assert maps.read("x") == []


def test_a_scalar_string():
    spec = script_map(StringType(20), storage="array", max_entries=1)
    of = one_map(
        spec, "u32", "struct text", 'v.text[0] = \'h\'; v.text[1] = \'i\'; v.set = 1; map_update(MAP(map_x), &k, &v, 0);',
        declarations="struct text { char text[20]; u64 set; };",
    )  # fmt: skip
    with loaded(of) as result:
        maps = Maps(result)
        result.run("p0")
        assert maps.read("x") == [((), b"hi")]


AGGREGATES = [
    # type, C of the value, what one run on a CPU does to it, the value of n CPUs
    (types.COUNT, "u64", "*w += 1;", lambda cpus: len(cpus)),
    (types.SumType(True), "struct pair", "w->a += -7; w->b = 1;", lambda cpus: -7 * len(cpus)),
    (types.MinType(True), "struct pair", "w->a = -(s64)cpu_id() - 3; w->b = 1;", lambda cpus: -max(cpus) - 3),
    (types.MaxType(True), "struct pair", "w->a = -(s64)cpu_id() - 3; w->b = 1;", lambda cpus: -min(cpus) - 3),
    (types.MaxType(False), "struct pair", "w->a = -1; w->b = 1;", lambda cpus: 2**64 - 1),
    (types.AvgType(True), "struct pair", "w->a += 1; w->b += -20;", lambda cpus: (len(cpus), -20 * len(cpus))),
    (types.StatsType(False), "struct pair", "w->a += 2; w->b += 5;", lambda cpus: (2 * len(cpus), 5 * len(cpus))),
]


@pytest.mark.parametrize("value, c, body, expected", AGGREGATES, ids=lambda p: str(p) if isinstance(p, types.Type) else "")
def test_an_aggregate_without_keys(value, c, body, expected):
    spec = script_map(value, storage="percpu_array", max_entries=1)
    of = one_map(spec, "u32", c, f"{c} *w = map_lookup(MAP(map_x), &k); if (w) {{ {body} }}", declarations=PAIR)
    nothing = (0, 0) if isinstance(value, (types.AvgType, types.StatsType)) else 0
    with loaded(of) as result:
        maps = Maps(result)
        untouched = [((), 0)] if value == types.COUNT else []
        assert maps.read("x") == untouched
        with on_cpu(CPUS[-1]):
            result.run("p0")
        assert maps.read("x") == [((), expected(CPUS[-1:]))]
        maps.clear("x")
        assert maps.read("x") == untouched
        run_on_each_cpu(result, "p0")
        assert maps.read("x") == [((), expected(CPUS))]
        maps.zero("x")
        assert maps.read("x") == [((), nothing)]
        run_on_each_cpu(result, "p0")
        assert maps.read("x") == [((), expected(CPUS))]


@pytest.mark.parametrize("features", WAYS)
@pytest.mark.parametrize("value, c, body, expected", AGGREGATES, ids=lambda p: str(p) if isinstance(p, types.Type) else "")
def test_an_aggregate_by_key(value, c, body, expected, features):
    spec = script_map(value, UINT64, storage="percpu_hash")
    add = f"map_update(MAP(map_x), &k, &v, NOEXIST); {c} *w = map_lookup(MAP(map_x), &k); if (w) {{ {body} }}"
    of = one_map(spec, "u64", c, f"k = 7; {add}", f"k = cpu_id() + 100; {add}", declarations=PAIR)
    nothing = (0, 0) if isinstance(value, (types.AvgType, types.StatsType)) else 0
    with loaded(of, features) as result:
        maps = Maps(result)
        assert maps.read("x") == []
        run_on_each_cpu(result, "p0", "p1")
        everything = {(7,): expected(CPUS)} | {(100 + cpu,): expected([cpu]) for cpu in CPUS}
        assert dict(maps.read("x")) == everything
        assert len(maps.read("x")) == len(everything)
        assert maps.lookup("x", (7,)) == expected(CPUS)
        assert maps.lookup("x", (8,)) is None
        maps.delete("x", (7,))
        maps.delete("x", (7,))
        assert set(dict(maps.read("x"))) == set(everything) - {(7,)}
        maps.zero("x")
        assert dict(maps.read("x")) == {(100 + cpu,): nothing for cpu in CPUS}
        maps.clear("x")
        assert maps.read("x") == []


def test_a_histogram_without_keys():
    lhist = LhistType(0, 50, 10)
    for value, buckets in ((types.HIST, 65), (lhist, 7)):
        spec = script_map(value, storage="percpu_array", max_entries=buckets)
        of = one_map(
            spec, "u32", "u64", *(f"k = {b}; u64 *w = map_lookup(MAP(map_x), &k); if (w) *w += 1;" for b in (0, buckets - 1))
        )
        with loaded(of) as result:
            maps = Maps(result)
            assert maps.read("x") == []
            run_on_each_cpu(result, "p0", "p0", "p1")
            expected = [2 * len(CPUS), *[0] * (buckets - 2), len(CPUS)]
            assert maps.read("x") == [((), expected)]
            maps.zero("x")
            assert maps.read("x") == [((), [0] * buckets)]
            maps.clear("x")
            assert maps.read("x") == []


@pytest.mark.parametrize("features", WAYS)
def test_a_histogram_by_key(features):
    spec = script_map(types.HIST, INT64, StringType(8), storage="percpu_hash")
    step = "map_update(MAP(map_x), &k, &v, NOEXIST); u64 *w = map_lookup(MAP(map_x), &k); if (w) *w += 1;"
    of = one_map(
        spec, "struct key", "u64",
        f"k.n = -1; k.text[0] = 'a'; k.bucket = 3; {step}",
        f"k.n = -1; k.text[0] = 'a'; k.bucket = 64; {step}",
        f"k.n = 5; k.bucket = 0; {step}",
        declarations="struct key { s64 n; char text[8]; u64 bucket; };",
    )  # fmt: skip
    with loaded(of, features) as result:
        maps = Maps(result)
        run_on_each_cpu(result, "p0", "p0", "p1", "p2")
        n = len(CPUS)
        first = [2 * n if b == 3 else n if b == 64 else 0 for b in range(65)]
        second = [n, *[0] * 64]
        assert dict(maps.read("x")) == {(-1, b"a"): first, (5, b""): second}
        assert maps.lookup("x", (-1, b"a")) == first
        assert maps.lookup("x", (-2, b"a")) is None
        maps.zero("x")
        assert dict(maps.read("x")) == {(-1, b"a"): [0] * 65, (5, b""): [0] * 65}
        maps.delete("x", (5, b""))
        assert maps.read("x") == [((-1, b"a"), [0] * 65)]


@pytest.mark.parametrize("features", WAYS)
def test_keys_of_several_kinds(features):
    keys = (INT64, StringType(16), types.BufferType(6), TupleType((types.INT32, UINT64)), types.USYM, types.INET)
    spec = script_map(StringType(12), *keys, storage="hash")
    of = one_map(
        spec, "struct key", "struct value",
        "k.n = -3; current_comm(k.comm, 16); k.length = 2; k.bytes[0] = 0; k.bytes[1] = 255; k.a = -9; k.b = 1ULL << 63;"
        "k.address = 4096; k.pid = 1; k.probe = 2; k.family = 2; k.ip[0] = 127; k.ip[3] = 1; v.text[0] = 'x';"
        "map_update(MAP(map_x), &k, &v, 0);",
        declarations="struct key { s64 n; char comm[16]; u32 length; u8 bytes[8]; int pad; s32 a; int pad2; u64 b;"
        "u64 address; u32 pid, probe; u32 family; u8 ip[16]; u32 end; }; struct value { char text[12]; };",
    )  # fmt: skip
    with loaded(of, features) as result:
        result.run("p0")
        comm = Path("/proc/self/comm").read_bytes().strip()
        key = (-3, comm, b"\0\xff", (-9, 1 << 63), (4096, 1, 2), (2, bytes([127, 0, 0, 1]).ljust(16, b"\0")))
        maps = Maps(result)
        assert maps.read("x") == [(key, b"x")]
        assert maps.lookup("x", key) == b"x"
        maps.zero("x")
        assert maps.read("x") == [(key, b"")]
        maps.delete("x", key)
        assert maps.read("x") == []


def test_a_large_map_is_read_and_cleared_whole():
    entries = 100_000
    spec = script_map(INT64, INT64, storage="hash", max_entries=entries)
    with loaded(one_map(spec, "u64", "s64", "")) as result:
        fd = result.map_fd("map_x")
        for i in range(entries):
            kernel.map_update(fd, struct.pack("=q", i), struct.pack("=q", -i))
        maps = Maps(result)
        assert sorted(maps.read("x")) == [((i,), -i) for i in range(entries)]
        maps.clear("x")
        assert maps.read("x") == []


@pytest.mark.parametrize("features", WAYS)
def test_a_map_that_changes_while_it_is_read(features):
    entries = 2000
    spec = script_map(INT64, INT64, storage="hash", max_entries=entries)
    with loaded(one_map(spec, "u64", "s64", ""), features) as result:
        fd, stop = result.map_fd("map_x"), threading.Event()
        for i in range(500):  # these stay
            kernel.map_update(fd, struct.pack("=q", -i - 1), struct.pack("=q", i))

        def churn():
            i = 0
            while not stop.is_set():
                kernel.map_update(fd, struct.pack("=q", i % 1000), struct.pack("=q", i))
                kernel.map_delete(fd, struct.pack("=q", (i * 7) % 1000))
                i += 1

        thread = threading.Thread(target=churn)
        thread.start()
        try:
            maps = Maps(result)
            for _ in range(20):
                keys = [key for (key,), _ in maps.read("x")]
                assert len(set(keys)) == len(keys)
                assert set(range(-500, 0)) <= set(keys)
            maps.zero("x")
        finally:
            stop.set()
            thread.join()


def test_a_batch_smaller_than_a_bucket_of_the_hash_table_grows():
    spec = script_map(INT64, INT64, storage="hash", max_entries=4096)
    with loaded(one_map(spec, "u64", "s64", "")) as result:
        fd = result.map_fd("map_x")
        for i in range(4096):
            kernel.map_update(fd, struct.pack("=q", i), bytes(8))
        maps = Maps(result)
        maps._access("x")._reader = kernel.BatchReader(fd, 8, 8, 1)
        assert sorted(maps.read("x")) == [((i,), 0) for i in range(4096)]


def test_lost_and_pending():
    source = """
TABLE(1, "percpu_array", u32, u64, lost, 3);
TABLE(2, "array", u32, u64, pending, 5);
int lose(void *ctx) { u32 k = 1; u64 *v = map_lookup(MAP(lost), &k); if (v) *v += 2; return 0; }
int pend(void *ctx) { u32 k = 4; u64 *v = map_lookup(MAP(pending), &k); if (v) *v = 1; return 0; }
"""
    of = unit(source, program("lose", *BEGIN), program("pend", *BEGIN), lost="lost", pending="pending")
    with loaded(of) as result:
        maps = Maps(result)
        assert maps.lost() == [0, 0, 0]
        run_on_each_cpu(result, "lose")
        assert maps.lost() == [0, 2 * len(CPUS), 0]
        assert maps.take_pending() == []
        result.run("pend")
        assert maps.take_pending() == [4]
        assert maps.take_pending() == []
