"""Two record types with all kinds of fields, for tests of what decodes and prints values."""

from __future__ import annotations

from bpftrace_py import types as t
from bpftrace_py.types import Bitfield, Field

POINT = t.RecordType("struct point", 12, 4)
LINE = t.RecordType("struct line", 40, 8)
FIELDS = {
    "struct point": (
        Field("x", t.INT32, 0),
        Field("low", t.UINT32, 4, Bitfield(0, 3)),
        Field("high", t.UINT32, 4, Bitfield(29, 3)),
        Field("c", t.StringType(4), 8),
    ),
    "struct line": (
        Field("ends", t.ArrayType(POINT, 2), 0),
        Field("p", t.PointerType(t.VOID), 24),
        Field("m", t.ArrayType(t.ArrayType(t.IntegerType(2, False), 2), 2), 32),
    ),
}
