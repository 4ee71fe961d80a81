"""Division and its remainder: by zero, by -1, of negative numbers. The same whatever the compiler knows of the operands."""

from __future__ import annotations

import pytest

from tests.live import run

MIN, MAX = -(1 << 63), (1 << 63) - 1

# (left, right, quotient, remainder), as int64
SIGNED = [
    (10, 3, 3, 1), (-10, 3, -3, -1), (10, -3, -3, 1), (-10, -3, 3, -1), (10, 0, 0, 10), (-10, 0, 0, -10), (0, 0, 0, 0),
    (MIN, -1, MIN, 0), (MIN, 1, MIN, 0), (MIN, MIN, 1, 0), (MAX, -1, -MAX, 0), (MAX, MIN, 0, MAX), (-1, MAX, 0, -1), (MIN, 0, 0, MIN),
]  # fmt: skip
# the same, as uint64
UNSIGNED = [
    (10, 3, 3, 1),
    (10, 0, 0, 10),
    ((1 << 64) - 1, 0, 0, (1 << 64) - 1),
    ((1 << 64) - 1, 10, (1 << 64) // 10, 5),
    (0, 0, 0, 0),
]


def written(number: int) -> str:
    """A number as an expression: there is no literal for the most negative one."""
    return f"({number + 1} - 1)" if number == MIN else f"({number})"


def quotients(programs: list[str]) -> list[str]:
    done = run("BEGIN { " + " ".join(programs) + " exit(); }")
    assert done.status == 0, done.stderr
    return [line for line in done.lines if line.startswith("= ")]


def test_signed_numbers_that_the_compiler_knows():
    printed = quotients(
        [f'$a = {written(a)}; $b = {written(b)}; printf("= %d %d\\n", $a / $b, $a % $b);' for a, b, _, _ in SIGNED]
    )
    assert printed == [f"= {q} {r}" for _, _, q, r in SIGNED]


def test_signed_numbers_in_maps():
    printed = quotients(
        [f'@a = {written(a)}; @b = {written(b)}; printf("= %d %d\\n", @a / @b, @a % @b);' for a, b, _, _ in SIGNED]
    )
    assert printed == [f"= {q} {r}" for _, _, q, r in SIGNED]


def test_signed_numbers_in_assignments():
    printed = quotients(
        [
            f"@q = {written(a)}; @r = @q; @b = {written(b)}; @q /= @b; @r %= @b; $q = {written(a)}; $r = $q; $q /= @b; $r %= @b;"
            f'printf("= %d %d %d %d\\n", @q, @r, $q, $r);'
            for a, b, _, _ in SIGNED
        ]
    )
    assert printed == [f"= {q} {r} {q} {r}" for _, _, q, r in SIGNED]


@pytest.mark.parametrize("place", ["$", "@"])
def test_unsigned_numbers(place: str):
    a, b = f"{place}a", f"{place}b"
    printed = quotients(
        [
            f'{a} = (uint64){left}; {b} = (uint64){right}; printf("= %lu %lu\\n", {a} / {b}, {a} % {b});'
            for left, right, _, _ in UNSIGNED
        ]
    )
    assert printed == [f"= {q} {r}" for _, _, q, r in UNSIGNED]


def test_narrow_numbers():
    printed = quotients(
        [
            '$a = (int8)-128; $b = (int8)-1; printf("= %d %d\\n", $a / $b, $a % $b);',
            '$c = (uint8)200; $d = (uint8)0; printf("= %d %d\\n", $c / $d, $c % $d);',
            '$e = (int32)-7; $f = (uint16)2; printf("= %d %d\\n", $e / (int64)$f, $e % (int64)$f);',
        ]
    )
    assert printed == ["= 128 0", "= 0 200", "= -3 -1"]


def test_a_divisor_that_no_one_knows():
    """Zero as the run finds it: `rand` is used so that no compiler can know."""
    printed = quotients(['@z = rand; $z = @z - @z; $n = -7; printf("= %d %d %d\\n", 7 / $z, 7 % $z, $n / $z);'])
    assert printed == ["= 0 7 0"]


def test_a_quotient_that_is_only_compared():
    """C may take `a / b == 0` for `a < b`, which is another question where b is 0."""
    done = run(
        'BEGIN { @c = 5; @s = "ab"; $zero = @s != @s; print(((uint32)@c / $zero) == 0); print(((uint32)@c % $zero) == 5);'
        " print(((uint64)@c / (@c - 5)) < 1); exit(); }"
    )
    assert done.lines[1:4] == ["1", "1", "1"]
