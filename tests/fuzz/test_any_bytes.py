"""Any bytes give a result or a diagnostic: what fuzzing found before, mutations of it, and scripts of a megabyte.

`make fuzz` looks for more, guided by coverage. What it finds is fixed and becomes a file of `corpus/TARGET`, named after
what it was.
"""

from __future__ import annotations

import random
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bpftrace_py.compiler import compile_source
from bpftrace_py.config import Config
from bpftrace_py.diagnostics import BpftraceError
from bpftrace_py.source import Source
from tests.fake_host import FakeHost
from tests.fuzz.guard import limited
from tests.fuzz.run_atheris import CORPUS, saved
from tests.fuzz.seeds import seeds, words
from tests.fuzz.targets import TARGETS

MUTATIONS = 40  # of each target, several edits each
LARGE_SECONDS = 300  # against a hang only: the slowest takes 10 on an idle machine
INTERESTING = tuple(
    number.to_bytes(size, "little") for size in (1, 2, 4, 8) for number in (0, 1, 0x7F, 0x80, (1 << 8 * size - 1) - 1, (1 << 8 * size) - 1)
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
@settings(max_examples=MUTATIONS, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 1 << 32))
def test_mutations(target: str, seed: int) -> None:
    rng = random.Random(seed)
    data = mutated(rng.choice(inputs(target)), inputs(target), rng)
    with limited():
        TARGETS[target](data)


# --- scripts of a megabyte, and deep ones

M = 1_000_000
K = 100_000  # where every byte is a token, which take 10 us each
DEEP, SYNTAX, MANY = ["E0108"], ["E0101"], ["E0105"]
ACCEPTED: list[str] = []
LARGE: dict[str, tuple[str, list[str] | None]] = {  # the codes of what is said, each once; None: whatever it is
    "brackets": ("(" * M, SYNTAX),
    "brackets in a block": ("BEGIN { print(" + "(" * M, DEEP),
    "braces": ("BEGIN " + "{" * M, DEEP),
    "a comment": (f"/*{'x' * M}*/ BEGIN {{ exit(); }}", ACCEPTED),
    "a comment without end": ("BEGIN { exit(); } /*" + " /*" * (M // 3), ["E0104"]),
    "a string": (f'BEGIN {{ print("{"x" * M}"); }}', ACCEPTED),
    "a string without end": (f'BEGIN {{ print("{"x" * M}', ["E0103"]),
    "escapes": (f'BEGIN {{ print("{chr(92) + "q"}"); }}'.replace("\\q", "\\q" * (M // 2)), ["E0107"]),
    "10,000 probes": ("".join(f"interval:s:{n + 1} {{ @[probe] = count(); }}\n" for n in range(10_000)), ACCEPTED),
    "100,000 statements": (f"BEGIN {{ {'@x = 1; ' * 100_000} }}", ACCEPTED),
    "20,000 variables": (f"BEGIN {{ {''.join(f'$x{n} = {n}; ' for n in range(20_000))} }}", ACCEPTED),
    "10,000 nested blocks": (f"BEGIN {{ {'if (pid) { ' * 10_000} {'}' * 10_000} }}", DEEP),
    "else if": (f"BEGIN {{ if (pid) {{ }} {'else if (pid) { } ' * (K // 18)} }}", DEEP),
    "an identifier": ("x" * M, MANY),
    "an identifier in a block": (f"BEGIN {{ {'x' * M} }}", ["E0301"]),
    "a variable": (f"BEGIN {{ ${'x' * M} = 1; }}", ACCEPTED),
    "a field": (f"BEGIN {{ print(curtask->{'x' * M}); }}", None),
    "a number": (f"BEGIN {{ print({'1' * M}); }}", ["E0106"]),
    "operators": (f"BEGIN {{ print(1{'+1' * (K // 2)}); }}", DEEP),
    "prefixes": (f"BEGIN {{ print({'!' * K}pid); }}", DEEP),
    "a pointer to pointers": (f"BEGIN {{ print((int8{'*' * K})1); }}", DEEP),
    "dimensions": (f"BEGIN {{ print((int8{'[1]' * (K // 3)})1); }}", DEEP),
    "calls": (f"BEGIN {{ print({'str(' * 190}0{')' * 190}); }}", DEEP),
    "attach points": ("a," * (K // 2), MANY),
    "parts of an attach point": ("a:" * (K // 2), MANY),
    "keys": (f"BEGIN {{ @[{'1,' * (K // 4)}1] = 1; }}", None),
    "errors": ("BEGIN { " + ") ; " * (M // 4) + "}", SYNTAX),
    "NUL bytes": ("\0" * M, ["E0102"]),
    "NUL bytes in a block": (f"BEGIN {{ {chr(0) * M} }}", ["E0102"]),
    "no UTF-8": ("\udcff" * M, ["E0102"]),
    "no UTF-8 in a string": (f'BEGIN {{ print("{chr(0xDCFF) * M}"); }}', ACCEPTED),
    "an open struct": ("struct a { " * (M // 11), MANY),
    "macros": ("".join(f"#define X{n} X{n + 1}\n" for n in range(M // 20)) + "BEGIN { print(pid); }", ACCEPTED),
    "a macro that doubles 40 times": ("".join(f"#define X{n + 1} (X{n}+X{n})\n" for n in range(40)) + "#define X0 1\nBEGIN { print(X40); }", ["E0356"]),
    "a tuple of tuples": ("BEGIN { $x0 = 1; " + "".join(f"$x{n + 1} = ($x{n}, $x{n}); " for n in range(60)) + "}", ["E0339"]),
    "tuples in a key": (f"BEGIN {{ @[{'(1, ' * 150}1{')' * 150}] = 1; }}", None),
}  # fmt: skip


@pytest.mark.parametrize("name", LARGE)
def test_large(name: str) -> None:
    text, codes = LARGE[name]
    with limited(LARGE_SECONDS):
        try:
            compile_source(Source(text), Config(), FakeHost())
            said = []
        except BpftraceError as error:
            said = sorted({diagnostic.code for diagnostic in error.diagnostics})
            assert len(str(error)) < 100_000
    assert codes is None or said == codes
