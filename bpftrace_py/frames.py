"""Maps as pandas data frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bpftrace_py.results import Average, Histogram, Table

if TYPE_CHECKING:
    import pandas


def histogram_frame(histogram: Histogram) -> pandas.DataFrame:
    """Columns `low`, `high`, `events`."""
    return _frame([_bucket(bucket) for bucket in histogram.buckets], ("low", "high", "events"))


def table_frame(table: Table) -> pandas.DataFrame:
    """See `Table.to_pandas`."""
    value_columns: Sequence[str] = ("value",)
    rows: list[tuple[Any, ...]] = []
    for key, value in table.items():
        parts = key if len(table.key_names) > 1 else (key,)
        if isinstance(value, Histogram):
            value_columns = ("low", "high", "events")
            rows += [(*parts, *_bucket(bucket)) for bucket in value.buckets]
        elif isinstance(value, Average):
            value_columns = ("count", "total", "average")
            rows.append((*parts, value.count, value.total, value.average))
        else:
            rows.append((*parts, value))
    return _frame(rows, (*table.key_names, *value_columns))


def _bucket(bucket: tuple[int | None, int | None, int]) -> tuple[Any, ...]:
    import pandas

    low, high, events = bucket
    return pandas.NA if low is None else low, pandas.NA if high is None else high, events


def _frame(rows: list[tuple[Any, ...]], columns: Sequence[str]) -> pandas.DataFrame:
    import pandas

    frame = pandas.DataFrame.from_records(rows, columns=list(columns))
    for bound in {"low", "high"} & set(columns):
        frame[bound] = frame[bound].astype("Int64")  # integers, of which some may be missing
    return frame
