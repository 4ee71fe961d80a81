"""Any bytes give a result or a diagnostic: what fuzzing found before, mutations of it.

`make fuzz` looks for more, guided by coverage. What it finds is fixed and becomes a file of `corpus/TARGET`, named after
what it was.
"""

from __future__ import annotations

import marshal
import random
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.guard import limited
from tests.fuzz.run_atheris import CORPUS, saved
from tests.fuzz.seeds import seeds, words
from tests.fuzz.targets import TARGETS, claims_what_it_has

MUTATIONS = 40  # of each target, several edits each
INTERESTING = tuple(
    number.to_bytes(size, "little")
    for size in (1, 2, 4, 8)
    for number in (0, 1, 0x7F, 0x80, (1 << 8 * size - 1) - 1, (1 << 8 * size) - 1)
)


@cache
def inputs(target: str) -> list[bytes]:
    return [*seeds(target), *saved(target).values()]


def test_every_corpus_has_a_target() -> None:
    assert {path.stem for path in CORPUS.iterdir()} <= set(TARGETS)
    assert all(inputs(target) for target in TARGETS)


@pytest.mark.parametrize("target", TARGETS)
def test_corpus(target: str) -> None:
    for data in inputs(target):
        with limited():
            TARGETS[target](data)


def test_cache_entries_are_looked_at_unless_they_claim_more_than_they_have() -> None:
    assert all(claims_what_it_has(data) for data in seeds("cache_entry"))
    plain = marshal.dumps(((1, -(1 << 70), "x", "ä" * 300, b"b" * 300, None, True), "x"))
    assert claims_what_it_has(plain) and not claims_what_it_has(plain[:-1])
    for code in b"(lsu":  # a billion elements, digits, bytes
        assert not claims_what_it_has(bytes([code]) + (1 << 30).to_bytes(4, "little") + bytes(100))


def mutated(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """A few edits: pieces removed, repeated, taken from another input, replaced by bytes that are often badly handled."""
    for _ in range(rng.randrange(1, 5)):
        start = rng.randrange(len(data) + 1)
        end = min(len(data), start + rng.choice((0, 1, 1, 2, 4, 8, 32)))
        piece = data[start:end]
        other = rng.choice(others)
        at = rng.randrange(len(other) + 1)
        new = rng.choice((
            b"", piece * rng.choice((2, 3, 300)), other[at : at + rng.randrange(64)], rng.choice(INTERESTING),
            rng.choice(words()).encode() + b" ", rng.randbytes(len(piece)),
        ))  # fmt: skip
        data = data[:start] + new + data[end:]
    return data


@pytest.mark.parametrize("target", TARGETS)
@settings(
    max_examples=MUTATIONS, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)
@given(seed=st.integers(0, 1 << 32))
def test_mutations(target: str, seed: int) -> None:
    rng = random.Random(seed)
    data = mutated(rng.choice(inputs(target)), inputs(target), rng)
    with limited():
        TARGETS[target](data)
