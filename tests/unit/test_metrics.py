"""Metrics of maps: their names, labels, kinds and bounds, made of maps that a test makes up."""

from __future__ import annotations

import select
import threading
import urllib.error
import urllib.request
from concurrent.futures import CancelledError
from typing import Any

import pytest

from bpftrace_py import messages, types
from bpftrace_py.codegen.unit import BoundedLoop, ScriptMap, Unit
from bpftrace_py.diagnostics import HostError, host_error
from bpftrace_py.export.families import Exported, Family
from bpftrace_py.export.names import COUNTER, GAUGE, HISTOGRAM, SUMMARY, MetricNames, label_names
from bpftrace_py.export.server import MetricsServer, parse
from bpftrace_py.output.values import Texts
from bpftrace_py.runtime.totals import totals
from bpftrace_py.symbols.resolver import Resolver
from bpftrace_py.types import INT64, UINT64, HistType, LhistType

WORD = types.StringType(16)


class Maps:
    """The maps of a session, as far as metrics read them."""

    def __init__(self, **elements: Any) -> None:
        self.elements = elements

    def read(self, name: str) -> Any:
        return self.elements[name]

    histograms = read


def exported(*maps: ScriptMap, most: int = 1000, **unit: Any) -> Exported:
    return Exported(Unit("test.bt", "", (), maps, (), **unit), Texts(Resolver()), most)


def a_map(
    name: str, value: types.Type, *keys: types.Type, names: tuple[str, ...] = (), with_sum: bool = False
) -> ScriptMap:
    return ScriptMap(name, name or "unnamed", keys, value, "hash", 4096, names, with_sum)


def collect(source: Exported, **elements: Any) -> dict[str, Family]:
    unit = Unit("test.bt", "", (), tuple(e._map for e in source._maps), ())
    run = totals(unit, [0] * 10, 0, seconds=1.5, failed=0, events=3)
    return {family.name: family for family in source.collect(Maps(**elements), run)}  # type: ignore[arg-type]


def lines(family: Family) -> list[str]:
    return [
        family.name + suffix + "{" + ",".join(f'{k}="{v}"' for k, v in labels.items()) + "} " + str(value)
        for suffix, labels, value in family.samples
    ]


# --- names


def test_every_metric_has_a_name_of_its_own() -> None:
    names = MetricNames()
    assert names.take("calls", COUNTER) == "bpftrace_calls"
    assert names.take("calls_total", COUNTER) == "bpftrace_calls_map"  # both would be bpftrace_calls_total
    assert names.take("", COUNTER) == "bpftrace_unnamed"
    assert names.take("unnamed", GAUGE) == "bpftrace_unnamed_map"
    assert names.take("time", SUMMARY) == "bpftrace_time"
    assert names.take("time_sum", GAUGE) == "bpftrace_time_sum_map"
    assert names.take("time_count", HISTOGRAM) == "bpftrace_time_count_map"
    assert names.take("time_count", HISTOGRAM) == "bpftrace_time_count_map2"


def test_a_map_does_not_take_the_name_of_what_we_tell_of_the_run() -> None:
    found = collect(exported(a_map("lost_events", types.COUNT)), lost_events=[((), 5)])
    assert lines(found["bpftrace_lost_events"]) == ["bpftrace_lost_events_total{} 0"]
    assert lines(found["bpftrace_lost_events_map"]) == ["bpftrace_lost_events_map_total{} 5"]


def test_labels_are_named_after_the_keys() -> None:
    assert label_names(("pid", "", "comm"), 3) == ("pid", "key1", "comm")
    assert label_names((), 2) == ("key0", "key1")
    assert label_names(("pid", "pid"), 2) == ("pid", "key1")
    assert label_names(("key1", ""), 2) == ("key1", "key1_")
    assert label_names(("le", "__x", "äb"), 3, ("le",)) == ("key0", "key1", "_b")


def test_a_map_with_an_underscore_is_not_shown() -> None:
    unit = Unit("t", "", (), (a_map("_start", UINT64, INT64), a_map("x", types.COUNT)), ())
    source = Exported(unit, Texts(Resolver()), 10)
    run = totals(unit, [0], 0, seconds=0, failed=0, events=0)
    names = {family.name for family in source.collect(Maps(x=[((), 1)]), run)}  # type: ignore[arg-type]
    assert "bpftrace_x" in names
    assert not [name for name in names if "start" in name]


# --- kinds


def test_kinds() -> None:
    maps = (
        a_map("count", types.COUNT, WORD, names=("comm",)), a_map("sum", types.SumType(), INT64),
        a_map("avg", types.AvgType()), a_map("min", types.MinType()), a_map("number", UINT64), a_map("text", WORD, INT64, names=("pid",)),
    )  # fmt: skip
    found = collect(
        exported(*maps), count=[((b"a\"b\\c\n",), 2), ((b"\xff",), 1)], sum=[((-1,), 7)], avg=[((), (2, 9))], min=[((), -4)],
        number=[((), 1 << 60)], text=[((12,), b"bash")],
    )  # fmt: skip
    assert {name: found[f"bpftrace_{name}"].kind for name in ("count", "sum", "avg", "min", "number", "text")} == {
        "count": COUNTER, "sum": COUNTER, "avg": SUMMARY, "min": GAUGE, "number": GAUGE, "text": GAUGE,
    }  # fmt: skip
    assert [s.labels for s in found["bpftrace_count"].samples] == [{"comm": 'a"b\\c\n'}, {"comm": "\\xff"}]
    assert lines(found["bpftrace_sum"]) == ['bpftrace_sum_total{key0="-1"} 7']
    assert lines(found["bpftrace_avg"]) == ["bpftrace_avg_count{} 2", "bpftrace_avg_sum{} 9"]
    assert lines(found["bpftrace_min"]) == ["bpftrace_min{} -4"]
    assert lines(found["bpftrace_number"]) == [f"bpftrace_number{{}} {1 << 60}"]
    assert lines(found["bpftrace_text"]) == ['bpftrace_text{pid="12",value="bash"} 1']


def slots(type_: HistType | LhistType, *values: int) -> list[int]:
    """What the kernel has after these values: the rule of the prelude's functions, written once more."""
    count = HistType.BUCKETS if isinstance(type_, HistType) else type_.buckets
    result = [0] * count
    for value in values:
        if isinstance(type_, LhistType):
            bucket = 0 if value < type_.low else min(1 + (value - type_.low) // type_.step, count - 1)
        else:
            bucket = 0 if value < 0 else 1 + value.bit_length()
        result[bucket] += 1
    return result


def bounds(family: Family, **labels: str) -> dict[str, int | float]:
    return {
        s.labels["le"]: s.value for s in family.samples if s.suffix == "_bucket" and labels.items() <= s.labels.items()
    }


def test_a_log2_histogram_has_exact_bounds() -> None:
    values = (0, 1, 1, 2, 3, 4, 7, 8, 1023, 1024)
    source = exported(a_map("h", HistType(), with_sum=True))
    family = collect(source, h=[((), slots(HistType(), *values), sum(values))])["bpftrace_h"]
    shown = bounds(family)
    assert list(shown) == ["0", *[str((1 << n) - 1) for n in range(1, 17)], "+Inf"]
    for bound, count in shown.items():
        assert count == sum(value <= float(bound) for value in values), bound
    assert lines(family)[-2:] == [f"bpftrace_h_count{{}} {len(values)}", f"bpftrace_h_sum{{}} {sum(values)}"]


def test_a_linear_histogram_has_exact_bounds() -> None:
    values = (-5, 0, 2, 3, 8, 9, 10, 11)
    type_ = LhistType(0, 10, 3)  # the step does not divide the range
    family = collect(exported(a_map("h", type_, with_sum=True)), h=[((), slots(type_, *values), sum(values))])[
        "bpftrace_h"
    ]
    shown = bounds(family)
    assert list(shown) == ["-1", "2", "5", "8", "+Inf"]
    for bound, count in shown.items():
        assert count == sum(value <= float(bound) for value in values), bound


def test_bounds_only_ever_grow() -> None:
    source = exported(a_map("h", HistType(), INT64, with_sum=True))

    def shown(*values: int) -> list[str]:
        return list(bounds(collect(source, h=[((1,), slots(HistType(), *values), sum(values))])["bpftrace_h"]))

    assert len(shown(5)) == 18
    assert len(shown(1 << 16)) == 34
    assert len(shown(5)) == 34
    assert shown(-5)[0] == "-1"
    assert shown(5)[0] == "-1"
    assert len(shown((1 << 63) - 1)) == 65  # all there are: -1, 0, 1 ... 2^62 - 1, +Inf
    assert shown((1 << 63) - 1)[-2:] == [str((1 << 62) - 1), "+Inf"]


# --- label sets


def test_label_sets_are_bounded_and_the_rest_is_counted() -> None:
    source = exported(a_map("c", types.COUNT, INT64), most=3)

    def shown(**counts: int) -> set[str]:
        found = collect(source, c=[((int(key[1:]),), value) for key, value in counts.items()])
        left_out = found["bpftrace_label_sets_left_out"].samples[0]
        assert left_out.labels == {"map": "@c"}
        assert left_out.value == max(0, len(counts) - 3)
        return {s.labels["key0"] for s in found["bpftrace_c"].samples}

    assert shown(k1=1, k2=9, k3=5, k4=7) == {"2", "3", "4"}  # the largest
    assert shown(k1=100, k2=9, k3=5, k4=7) == {"2", "3", "4"}  # stay
    assert shown(k1=100, k2=9, k5=1, k4=7, k6=2) == {"1", "2", "4"}  # as long as they are there
    assert shown(k6=2) == {"6"}


def test_keys_that_look_alike_are_one_label_set() -> None:
    name = types.StringType(8)
    maps = (
        a_map("c", types.COUNT, name), a_map("s", types.StatsType(), name), a_map("least", types.MinType(), name),
        a_map("most", types.MaxType(), name), a_map("h", HistType(), name, with_sum=True),
    )  # fmt: skip
    twice = (b"\xfe",), (b"\\xfe",)
    one, other = slots(HistType(), 1), slots(HistType(), 5)
    found = collect(
        exported(*maps), c=[(k, 2) for k in twice], s=[(k, (1, 4)) for k in twice], least=[(twice[0], 3), (twice[1], 2)],
        most=[(twice[0], 3), (twice[1], 2)], h=[(twice[0], one, 1), (twice[1], other, 5)],
    )  # fmt: skip
    values = {name: [s.value for s in family.samples] for name, family in found.items()}
    assert values["bpftrace_c"] == [4]
    assert values["bpftrace_s"] == [2, 8]
    assert (values["bpftrace_least"], values["bpftrace_most"]) == ([2], [3])
    assert values["bpftrace_h"][-2:] == [2, 6]


def test_what_the_run_loses_is_told() -> None:
    unit = Unit(
        "t",
        "",
        (),
        (a_map("x", types.COUNT),),
        (),
        bounded_loops=(BoundedLoop(7, 10), BoundedLoop(7, 10)),
        probe_count=3,
    )
    run = totals(unit, [4, 5, 6, 1, 2], 8, seconds=2.0, failed=1, events=9)
    lost = run.lost_events, run.missed_events, run.lost_updates, run.lost_stacks, run.stopped_loops
    assert (run.probes, lost) == (2, (4, 8, {"x": 5}, 6, {7: 3}))
    source = Exported(unit, Texts(Resolver()), 10)
    found = {f.name: lines(f) for f in source.collect(Maps(x=[((), 1)]), run)}  # type: ignore[arg-type]
    assert found["bpftrace_missed_events"] == ["bpftrace_missed_events_total{} 8"]
    assert found["bpftrace_lost_map_updates"] == ['bpftrace_lost_map_updates_total{map="@x"} 5']
    assert found["bpftrace_stopped_loops"] == ['bpftrace_stopped_loops_total{line="7"} 3']
    assert found["bpftrace_events"] == ["bpftrace_events_total{} 9"]


# --- where they are served


def test_addresses() -> None:
    assert parse("prometheus:9435") == ("127.0.0.1", 9435)
    assert parse("prometheus:0.0.0.0:1") == ("0.0.0.0", 1)
    assert parse("prometheus:[::1]:80") == ("::1", 80)
    assert parse("prometheus:host.example:0") == ("host.example", 0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "prometheus",
        "prometheus:",
        "prometheus:x",
        "statsd:1",
        "prometheus:70000",
        "prometheus::1:80",
        "prometheus::80",
        "9435",
    ],
)
def test_bad_addresses(text: str) -> None:
    with pytest.raises(HostError) as error:
        parse(text)
    assert (error.value.diagnostics[0].code, error.value.exit_code) == ("E0832", 2)


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (TimeoutError(), 503, "The session is busy, or about to end."),
        (CancelledError(), 503, "The session is busy, or about to end."),
        (host_error(messages.MAP_UNREADABLE, map="x", reason="no reason"), 500, "no reason"),
        (ZeroDivisionError("oh"), 500, "ZeroDivisionError: oh: this is a bug in bpftrace-py"),
    ],
)
def test_a_scrape_that_fails_says_why(error: BaseException, status: int, said: str) -> None:
    def collect() -> list[Family]:
        raise error

    pytest.importorskip("prometheus_client")
    with MetricsServer("127.0.0.1", 0) as server:
        server._collect = collect
        accepting = threading.Thread(target=lambda: select.select([server], [], [], 60) and server.handle_request())
        accepting.start()
        with pytest.raises(urllib.error.HTTPError) as failure:
            urllib.request.urlopen(server.url, timeout=60)
        accepting.join()
    assert failure.value.code == status
    assert said in failure.value.read().decode()
