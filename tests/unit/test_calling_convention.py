"""Where arguments are: cases from the conventions' own descriptions, and what compilers make of them."""

from __future__ import annotations

import pytest

from bpftrace_py.host import Leaf, UserParameter
from bpftrace_py.probes.calling_convention import places
from bpftrace_py.types import VOID


def value(*leaves: tuple[int, int, str], size: int = 0, by_reference: bool = False) -> UserParameter:
    found = tuple(Leaf(*leaf) for leaf in leaves)
    end = max((leaf.place + leaf.size for leaf in found), default=0)
    return UserParameter("x", VOID, size or end, max((leaf.size for leaf in found), default=1), found, by_reference)


INT = value((0, 4, "integer"))
DOUBLE = value((0, 8, "float"))
PAIR = value((0, 8, "integer"), (8, 8, "integer"))
INT128 = value((0, 16, "integer"))
MIXED = value((0, 8, "float"), (8, 8, "integer"))
ONE_WORD = value((0, 4, "float"), (4, 4, "integer"))
FLOATS = value((0, 4, "float"), (4, 4, "float"), (8, 4, "float"))
LARGE = value((0, 8, "integer"), (8, 8, "integer"), (16, 8, "integer"))
LONG_DOUBLE = value((0, 16, "extended"))
PACKED = value((0, 1, "integer"), (1, 8, "integer"))
OBJECT = value((0, 8, "integer"), by_reference=True)
EMPTY = UserParameter("x", VOID, 1, 1, ())


def shown(architecture: str, *parameters: UserParameter, result: UserParameter | None = None) -> list[object]:
    """The word of each argument; "*n" where there is an address, None where it cannot be read."""
    found = places(architecture, parameters, result)
    assert found is not None
    return [None if p.unreadable else f"*{p.word}" if p.by_address else p.word for p in found]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ([INT] * 9, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        ([INT, DOUBLE, INT], [0, None, 1]),
        ([DOUBLE] * 9 + [INT], [None] * 8 + [6, 0]),
        ([PAIR, INT], [0, 2]),
        ([INT] * 5 + [PAIR, INT], [0, 1, 2, 3, 4, 6, 5]),  # a record is not cut in two; what follows takes the register
        ([INT] * 6 + [INT, INT128], [0, 1, 2, 3, 4, 5, 6, 8]),  # aligned to 16 bytes
        ([ONE_WORD, INT], [0, 1]),
        ([MIXED, INT], [None, 1]),
        ([FLOATS, INT], [None, 0]),
        ([LARGE, INT], [6, 0]),
        ([LARGE, LARGE], [6, 9]),
        ([LONG_DOUBLE, INT, LARGE], [6, 0, 8]),
        ([PACKED, INT], [6, 0]),
        ([OBJECT, INT], ["*0", 1]),
        ([INT] * 6 + [OBJECT], [0, 1, 2, 3, 4, 5, "*6"]),
        ([EMPTY, INT], [None, 0]),
    ],
)
def test_x86_64(parameters, expected):
    assert shown("x86_64", *parameters) == expected


@pytest.mark.parametrize(
    ("result", "first"), [(None, 0), (INT, 0), (PAIR, 0), (DOUBLE, 0), (LARGE, 1), (OBJECT, 1), (PACKED, 1)]
)
def test_x86_64_result_in_memory(result, first):
    assert shown("x86_64", INT, result=result) == [first]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ([INT] * 10, list(range(10))),
        ([INT, DOUBLE, INT], [0, None, 1]),
        ([DOUBLE] * 9 + [INT], [None] * 8 + [8, 0]),
        ([INT, PAIR, INT], [0, 1, 3]),
        ([INT, INT128, INT], [0, 2, 4]),  # from an even register on
        ([INT] * 7 + [PAIR, INT], [0, 1, 2, 3, 4, 5, 6, 8, 10]),  # from then on all is on the stack
        ([MIXED, INT], [0, 2]),  # integer registers take anything that is not all floating-point
        ([FLOATS, INT], [None, 0]),
        ([LARGE, INT], ["*0", 1]),
        ([LONG_DOUBLE, INT], [None, 0]),
        ([OBJECT, INT], ["*0", 1]),
    ],
)
def test_aarch64(parameters, expected):
    assert shown("aarch64", *parameters) == expected


def test_aarch64_result_in_memory_has_its_own_register():
    assert shown("aarch64", INT, result=LARGE) == [0]


def test_other_architectures_are_not_known():
    assert places("s390x", [INT], None) is None
