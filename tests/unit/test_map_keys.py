"""Keys as bytes and back, and per-CPU values reduced."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpftrace_py import types
from bpftrace_py.runtime.map_keys import compile_rows, encode_key
from bpftrace_py.runtime.maps import compile_reduce
from bpftrace_py.types import ArrayType, Bitfield, BufferType, Field, IntegerType, RecordType, StringType, TupleType

RECORD = RecordType("struct r", 8, 4)
FIELDS = {
    "struct r": (
        Field("low", types.UINT32, 0, Bitfield(0, 3)),
        Field("high", types.UINT32, 0, Bitfield(3, 29)),
        Field("n", types.INT32, 4),
    )
}


def integers(width, signed):
    bits = 8 * width
    return st.integers(-(1 << bits - 1), (1 << bits - 1) - 1) if signed else st.integers(0, (1 << bits) - 1)


def values_of(kind):
    """Values of a type as `output/values.py` decodes them."""
    if isinstance(kind, IntegerType):
        return integers(kind.width, kind.signed)
    if isinstance(kind, StringType):
        text = st.binary(max_size=kind.capacity - 1)
        return text.map(lambda raw: raw.replace(b"\0", b""))
    if isinstance(kind, BufferType):
        return st.binary(max_size=kind.capacity)
    if isinstance(kind, TupleType):
        return st.tuples(*map(values_of, kind.elements))
    if isinstance(kind, ArrayType):
        return st.tuples(*[values_of(kind.element)] * kind.count)
    if kind == types.INET:
        return st.tuples(integers(4, False), st.binary(min_size=16, max_size=16))
    if kind == RECORD:
        return st.tuples(st.integers(0, 7), st.integers(0, (1 << 29) - 1), integers(4, True))
    return st.tuples(integers(8, False), integers(4, False), integers(4, False))


SIMPLE = st.one_of(
    st.builds(IntegerType, st.sampled_from([1, 2, 4, 8]), st.booleans()),
    st.builds(StringType, st.integers(1, 20)),
    st.builds(BufferType, st.integers(1, 20)),
    st.sampled_from([types.INET, types.USYM, RECORD]),
)
KINDS = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.builds(TupleType, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(ArrayType, inner, st.integers(1, 3)),
    ),
    max_leaves=6,
)


@given(st.data())
def test_a_key_comes_back_as_it_went_in(data):
    kinds = data.draw(st.lists(KINDS, min_size=1, max_size=4))
    key = data.draw(st.tuples(*map(values_of, kinds)))
    raw = encode_key(kinds, key, FIELDS)
    assert len(raw) == TupleType(tuple(kinds)).size
    assert compile_rows(kinds, FIELDS)(memoryview(raw * 3)) == [key] * 3


def test_padding_is_zero_and_signedness_does_not_matter():
    assert encode_key((types.INT32, types.UINT64), (-1, -1)) == b"\xff" * 4 + bytes(4) + b"\xff" * 8
    assert encode_key((types.INT64,), (2**64 - 1,)) == b"\xff" * 8


WORDS = st.lists(st.tuples(integers(8, True), st.sampled_from([0, 1])), min_size=4, max_size=4)


@pytest.mark.parametrize("kind, function", [(types.MinType, min), (types.MaxType, max)])
@given(rows=st.lists(WORDS, max_size=5))
def test_min_and_max_count_only_cpus_that_have_a_value(kind, function, rows):
    memory = memoryview(b"".join(struct.pack("=qQ", *pair) for row in rows for pair in row))
    expected = [function([v for v, is_set in row if is_set], default=0) for row in rows]
    assert compile_reduce(kind(True), 4)(memory) == expected


@given(st.lists(st.lists(integers(8, True), min_size=3, max_size=3), max_size=5))
def test_sums_wrap_as_64_bits_do(rows):
    memory = memoryview(b"".join(struct.pack("=qQ", v, 1) for row in rows for v in row))
    wrapped = [struct.unpack("=q", struct.pack("=Q", sum(row) % 2**64))[0] for row in rows]
    assert compile_reduce(types.SumType(True), 3)(memory) == wrapped
    assert compile_reduce(types.SumType(False), 3)(memory) == [sum(row) % 2**64 for row in rows]
    pairs = memoryview(b"".join(struct.pack("=Qq", 2, v) for row in rows for v in row))
    assert compile_reduce(types.AvgType(True), 3)(pairs) == [(6, total) for total in wrapped]
