"""Maps as tables: key names, and pandas."""

from __future__ import annotations

import copy
import pickle

import pytest

from bpftrace_py import Bucket, Histogram, Table, trace

PROGRAM = """BEGIN {
    @calls[pid, comm] = count(); @ms["a"] = stats(3); @ms["a"] = stats(4); @plain[1] = 7;
    @h["x"] = hist(-1); @h["x"] = hist(5); @l = lhist(30, 0, 10, 5); @h["y"] = hist(1); @none[1] = 1; clear(@none); exit();
}"""


@pytest.fixture(scope="module")
def maps() -> dict[str, object]:
    with trace(PROGRAM) as session:
        session.run()
    return dict(session.maps)


def test_a_map_with_keys_is_a_dict_that_knows_its_keys(maps: dict[str, Table]) -> None:
    calls = maps["calls"]
    assert calls.key_names == ("pid", "comm")
    ((pid, comm),) = calls
    assert (isinstance(pid, int), isinstance(comm, str), calls) == (True, True, {(pid, comm): 1})
    assert maps["plain"].key_names == ("key0",)
    assert repr(maps["plain"]) == "{1: 7}"
    for other in (pickle.loads(pickle.dumps(calls)), copy.deepcopy(calls)):
        assert (other, other.key_names) == (calls, calls.key_names)


def test_pandas(maps: dict[str, Table]) -> None:
    pytest.importorskip("pandas", reason="needs pandas")
    calls = maps["calls"].to_pandas()
    assert list(calls.columns) == ["pid", "comm", "value"]
    assert calls["value"].sum() == 1
    assert maps["ms"].to_pandas().to_dict("records") == [{"key0": "a", "count": 2, "total": 7, "average": 3.5}]
    assert maps["plain"].to_pandas().to_dict("list") == {"key0": [1], "value": [7]}
    none = maps["none"].to_pandas()
    assert (list(none.columns), len(none)) == (["key0", "value"], 0)


def test_histograms_in_pandas(maps: dict[str, Table]) -> None:
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    frame = maps["h"].to_pandas()
    assert list(frame.columns) == ["key0", "low", "high", "events"]
    assert frame.groupby("key0")["events"].sum().to_dict() == {"x": 2, "y": 1}
    first = frame[frame["key0"] == "x"].iloc[0]
    assert (pandas.isna(first["low"]), first["high"], first["events"]) == (True, 0, 1)
    linear = maps["l"].to_pandas()
    assert linear["low"].tolist() == [10]
    assert pandas.isna(linear["high"].iloc[0])
    assert Histogram([Bucket(0, 1, 5)]).to_pandas().to_dict("list") == {"low": [0], "high": [1], "events": [5]}
