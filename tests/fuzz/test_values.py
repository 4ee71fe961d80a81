"""Random expressions on integers and strings: what print() prints is what a small evaluator in Python says.

The evaluator knows the language's rules and nothing of the product: a number is (value, width, signed).
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass

import pytest

from tests.live import Session

pytestmark = pytest.mark.live

PROGRAMS = int(os.environ.get("FUZZ_PROGRAMS", "150")) // 15
PRINTS = 40  # in one program
MASK = (1 << 64) - 1
MAPS = {"a": -8, "b": 3, "c": 0, "d": (1 << 63) - 1, "e": -(1 << 63), "f": 1 << 40, "g": -1, "h": 200}
TEXTS = {"s": "abcdefgh", "t": "abcdefghi", "u": "", "v": "x" * 63}


@dataclass(frozen=True)
class Number:
    text: str
    value: int
    width: int = 8
    signed: bool = True
    literal: bool = False


def fit(value: int, width: int, signed: bool) -> int:
    value &= (1 << 8 * width) - 1
    return value - (1 << 8 * width) if signed and value >> (8 * width - 1) else value


def leaf(rng: random.Random) -> Number:
    if rng.random() < 0.35:
        value = rng.choice((0, 1, 2, 7, 63, 64, 255, 65536, (1 << 31) - 1, 1 << 31, (1 << 63) - 1, rng.randrange(1000)))
        return Number(str(value), value, literal=True)
    name = rng.choice(list(MAPS))
    return Number(f"@{name}", MAPS[name])


def truth(rng: random.Random) -> Number:
    """A comparison of strings."""
    (a, x), (b, y) = (rng.choice(list(TEXTS.items())) for _ in range(2))
    if rng.random() < 0.3:
        n = rng.choice((0, 1, 8, 9, 64))
        return Number(f"strncmp(@{a}, @{b}, {n})", int(x[:n] != y[:n]))
    right = f'"{y}"' if rng.random() < 0.5 else f"@{b}"
    return (
        Number(f"(@{a} == {right})", int(x == y)) if rng.random() < 0.5 else Number(f"(@{a} != {right})", int(x != y))
    )


def expression(rng: random.Random, depth: int) -> Number:
    if depth == 0 or rng.random() < 0.1:
        return leaf(rng) if rng.random() < 0.9 else truth(rng)
    form = rng.randrange(10)
    if form == 0:
        return cast(expression(rng, depth - 1), rng.choice((1, 2, 4, 8)), rng.random() < 0.5)
    if form == 1:
        operand = expression(rng, depth - 1)
        if operand.width < 8:
            return operand
        return Number(f"!{paren(operand)}", int(not operand.value))
    if form == 2:
        condition, then, otherwise = (expression(rng, depth - 1) for _ in range(3))
        same = then.width == otherwise.width
        signed = then.signed if same else then.signed or otherwise.signed
        width = then.width if same else 8
        chosen = then if condition.value else otherwise
        return Number(
            f"({condition.text} ? {then.text} : {otherwise.text})", fit(chosen.value, width, signed), width, signed
        )
    return binary(rng, expression(rng, depth - 1), expression(rng, depth - 1))


def paren(number: Number) -> str:
    return number.text if number.text[0] in "(@" else f"({number.text})"


def cast(number: Number, width: int, signed: bool) -> Number:
    text = f"(({'' if signed else 'u'}int{8 * width}){paren(number)})"
    # A wider type is filled up by its own sign, not by that of the number.
    narrow = fit(number.value, min(number.width, width), signed)
    return Number(text, fit(narrow, width, signed), width, signed)


def binary(rng: random.Random, a: Number, b: Number) -> Number:
    operator = rng.choice(("+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>", "==", "!=", "<", "<=", ">", ">=", "&&", "||"))
    signed = (a.signed or (a.literal and not b.signed)) and (b.signed or (b.literal and not a.signed))
    if a.literal and not b.literal:
        signed = b.signed
    elif b.literal and not a.literal:
        signed = a.signed
    text = f"({a.text} {operator} {b.text})"
    x, y = fit(a.value, 8, signed), fit(b.value, 8, signed)
    if operator in ("&&", "||"):
        return Number(text, int(bool(x and y) if operator == "&&" else bool(x or y)))
    if operator in ("==", "!=", "<", "<=", ">", ">="):
        compared = {"==": x == y, "!=": x != y, "<": x < y, "<=": x <= y, ">": x > y, ">=": x >= y}
        return Number(text, int(compared[operator]))
    if operator == "<<":
        return Number(text, fit(a.value << (b.value & 63), 8, a.signed), 8, a.signed)
    if operator == ">>":
        return Number(text, fit(a.value, 8, a.signed) >> (b.value & 63), 8, a.signed)
    if operator in ("/", "%"):
        if y == 0 and "@" not in b.text:
            return a  # refused by the compiler
        quotient = abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1) if y else 0
        return Number(text, fit(quotient if operator == "/" else x - quotient * y, 8, signed), 8, signed)
    value = {"+": x + y, "-": x - y, "*": x * y, "&": x & y, "|": x | y, "^": x ^ y}[operator]
    return Number(text, fit(value, 8, signed), 8, signed)


@pytest.mark.parametrize("seed", range(max(1, PROGRAMS)))
def test_values(seed: int):
    rng = random.Random(seed)
    numbers = [expression(rng, rng.randrange(1, 5)) for _ in range(PRINTS)]
    setup = "".join(f"@{name} = {value}; " for name, value in MAPS.items())
    setup += "".join(f'@{name} = "{text}"; ' for name, text in TEXTS.items())
    prints = "".join(f"print(({number.text}, 0)); " for number in numbers)
    with Session("-e", f'BEGIN {{ {setup} {prints} print((1, "end")); exit(); }}') as session:
        done = session.wait()
    lines = done.stdout.splitlines()
    assert len(lines) > PRINTS, done.stderr
    printed = lines[1 : 1 + PRINTS]
    wrong = [
        f"{number.text} is {number.value}, printed {line}"
        for number, line in zip(numbers, printed, strict=True)
        if f"({number.value}, 0)" != line
    ]
    assert not wrong, "\n".join(wrong)
