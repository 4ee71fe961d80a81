"""What integer and string literals stand for."""

from __future__ import annotations

from bpftrace_py import messages
from bpftrace_py.diagnostics import Diagnostics
from bpftrace_py.source import Span

_SUFFIXES = frozenset(("", "u", "l", "ul", "ll", "ull"))
_DECIMAL, _OCTAL, _HEXADECIMAL = frozenset("0123456789"), frozenset("01234567"), frozenset("0123456789abcdef")


def parse_integer(text: str, span: Span, diagnostics: Diagnostics) -> int:
    """The value of a literal: decimal (`1_000`, `1e6`), octal (`017`) or hexadecimal (`0x1f`), with C's suffixes.

    What is not a number, or needs more than 64 bits, is reported and counts as 0.
    """
    if text.isdigit() and text[0] != "0" and len(text) < 19:
        return int(text)
    reason = ""
    value = 0
    lowered = text.lower()
    if lowered.startswith("0x"):
        digits = lowered[2:].rstrip("ul")
        suffix = lowered[2 + len(digits) :]
        if digits and _HEXADECIMAL.issuperset(digits):
            value = int(digits, 16)
        else:
            reason = "hexadecimal digits are 0-9 and a-f"
    else:
        digits = lowered.rstrip("ul")
        suffix = lowered[len(digits) :]
        mantissa, e, exponent = digits.partition("e")
        number = mantissa.replace("_", "")
        if not _DECIMAL.issuperset(number + exponent) or mantissa.endswith("_") or (e and not exponent):
            reason = "there is a letter in it that is no suffix"
        elif e and len(number) > 1:
            reason = "before `e` there must be one digit"
        elif e:
            # Nothing with a longer exponent fits.
            value = int(number) * 10 ** int(exponent) if len(exponent) < 3 else int(number) << 64
            value = value if value < 1 << 63 else 1 << 64
        elif number[0] == "0" and not _OCTAL.issuperset(number):
            reason = "a leading 0 makes it octal, and octal digits are 0-7"
        else:
            # Python refuses to convert thousands of digits; these are too many anyway.
            value = int(number, 8 if number[0] == "0" else 10) if len(number) < 100 else 1 << 64
    if not reason and suffix not in _SUFFIXES:
        reason = f"there is no suffix `{text[len(text) - len(suffix) :]}`"
    if reason:
        diagnostics.error(messages.BAD_INTEGER, span, text=_shorten(text), reason=reason)
        return 0
    if value >= 1 << 64:
        diagnostics.error(messages.INTEGER_TOO_LARGE, span, text=_shorten(text))
        return 0
    return value


def _shorten(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


_SIMPLE_ESCAPES = {"n": b"\n", "t": b"\t", "r": b"\r", '"': b'"', "\\": b"\\"}


def unescape(body: str, start: int, diagnostics: Diagnostics) -> str:
    """The characters that the inside of a string literal stands for.

    `start` is the offset of `body` in the program. Escapes give bytes, which may be parts of a UTF-8 sequence; bytes
    that are not UTF-8 become surrogate escapes. An unknown escape is reported and left out.
    """
    if "\\" not in body:
        return body
    pieces: list[bytes] = []
    at = 0
    while True:
        backslash = body.find("\\", at)
        if backslash < 0:
            break
        pieces.append(body[at:backslash].encode("utf-8", "surrogateescape"))
        value, at = _escape(body, backslash + 1)
        if value is None:
            span = Span(start + backslash, start + at)
            diagnostics.error(messages.INVALID_ESCAPE, span, text=body[backslash:at])
        else:
            pieces.append(value)
    pieces.append(body[at:].encode("utf-8", "surrogateescape"))
    return b"".join(pieces).decode("utf-8", "surrogateescape")


def _escape(body: str, at: int) -> tuple[bytes | None, int]:
    """The byte that the escape whose backslash is before `at` stands for, None if it is none; and where it ends."""
    character = body[at]
    simple = _SIMPLE_ESCAPES.get(character)
    if simple is not None:
        return simple, at + 1
    if character == "x":
        end = at + 1
        while end < len(body) and end < at + 3 and body[end].lower() in _HEXADECIMAL:
            end += 1
        return (bytes([int(body[at + 1 : end], 16)]) if end > at + 1 else None), end
    if character in _OCTAL:
        end = at + 1
        while end < len(body) and end < at + 3 and body[end] in _OCTAL:
            end += 1
        value = int(body[at:end], 8)
        return (bytes([value]) if value < 256 else None), end
    return None, at + 1


def quote(value: str) -> str:
    """A string literal that stands for `value`: the reverse of `unescape`."""
    pieces = ['"']
    for character in value:
        simple = _QUOTED.get(character)
        if simple is not None:
            pieces.append(simple)
        elif character.isprintable():
            pieces.append(character)
        else:
            pieces += (f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
    pieces.append('"')
    return "".join(pieces)


_QUOTED = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
