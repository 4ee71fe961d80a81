"""Format strings: what conversions they have, and how a conversion prints its argument.

`check_format` reads a format as analysis needs it. `compile_format` makes of it a template for Python's `bytes %` and,
for each argument, the `struct` code that takes it out of a record and what must be done to it before it is formatted.
Most integers need nothing: the code alone reinterprets them as the conversion demands.

Differences from the peer: a 64-bit value is printed whole by `%d` and its kin (there, its low 32 bits), the flags `+`,
space, `#` and `0` are known, and so is a precision without digits.
"""

from __future__ import annotations

from bpftrace_py import types
from bpftrace_py.output.values import Texts, encode, item_decoder, struct_code
from bpftrace_py.types import Type

TYPE_CHECKING = False  # but for type checkers: a warm start has no time to import typing
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeAlias

INTEGER, STRING, BUFFER = "integer", "string", "buffer"  # what a conversion takes
_TAKES = {"s": STRING, "r": BUFFER} | dict.fromkeys("diuxXopc", INTEGER)
_LENGTHS = ("hh", "h", "ll", "l", "z", "j", "t")
_LENGTH_BITS = {"hh": 8, "h": 16, "l": 64, "ll": 64, "z": 64, "j": 64, "t": 64}
_SIZE_LIMIT = 4096  # of width and precision: a line of this length is a mistake, and would cost memory
_TEXTUAL = (
    types.StringType, types.KsymType, types.UsymType, types.StackType, types.InetType, types.MacAddressType,
    types.UsernameType, types.ProbeNameType, types.FunctionNameType, types.TimestampType, types.CgroupPathType,
    types.ErrorNameType,
)


class Conversion:
    """One `%` of a format: the half-open range [start, end) of its characters and what is in it.

    `letter` is "" and `problem` says why if it is no conversion; it is then printed as it stands. `letter` is "%" for
    `%%`. `suffix` is the `x` or `h` of `%rx` and `%rh`. `width` and `precision` are None if they are not given.
    """

    __slots__ = ("end", "flags", "length", "letter", "precision", "problem", "start", "suffix", "width")

    def __init__(
        self, start: int, end: int, flags: str = "", width: int | None = None, precision: int | None = None,
        length: str = "", letter: str = "", suffix: str = "", problem: str | None = None,
    ) -> None:
        self.start, self.end = start, end
        self.flags, self.width, self.precision, self.length = flags, width, precision, length
        self.letter, self.suffix, self.problem = letter, suffix, problem

    @property
    def takes(self) -> str | None:
        """`INTEGER`, `STRING` or `BUFFER`; None if no argument belongs to it."""
        return _TAKES.get(self.letter)

    def accepts(self, type: Type) -> bool:
        """Whether an argument of this type can be printed by this conversion."""
        if self.takes == INTEGER:
            return isinstance(type, (types.IntegerType, types.PointerType))
        if self.takes == STRING:
            return isinstance(type, _TEXTUAL)
        return self.takes == BUFFER and isinstance(type, types.BufferType)

    def __repr__(self) -> str:
        return f"Conversion({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__slots__)})"


def check_format(format: str, arguments: int | None = None) -> list[Conversion]:
    """All `%` of a format, in order; those that are no conversion have a `problem`.

    The peer takes `% i` or `%#x` for text, and scripts say "50% in use" without an argument for it. If `arguments` (how
    many there are) is what the format needs under that reading, and not under C's, then that reading is taken.
    """
    conversions = []
    at = format.find("%")
    while at >= 0:
        conversion = _scan(format, at)
        conversions.append(conversion)
        at = format.find("%", conversion.end)
    if arguments is not None and _argument_count(conversions) != arguments:
        narrow = [_as_text(c) if c.takes and _is_extension(format, c) else c for c in conversions]
        if _argument_count(narrow) == arguments:
            return narrow
    return conversions


def _argument_count(conversions: list[Conversion]) -> int:
    return sum(conversion.takes is not None for conversion in conversions)


def _is_extension(format: str, conversion: Conversion) -> bool:
    """Whether only we and C know this form."""
    dot_alone = conversion.precision == 0 and "0" not in format[format.find(".", conversion.start) : conversion.end]
    plain_length = bool(conversion.length) and conversion.letter in "cpsr"
    return conversion.flags.strip("-0") != "" or dot_alone or plain_length


def _as_text(conversion: Conversion) -> Conversion:
    return Conversion(conversion.start, conversion.start + 1, problem="could be a conversion, but then a value is missing")


def _scan(format: str, start: int) -> Conversion:
    """The conversion at the `%` at `start`."""
    at = start + 1
    while format[at : at + 1] in ("-", "+", " ", "#", "0"):
        at += 1
    flags = "".join(sorted(set(format[start + 1 : at])))
    width, at = _number(format, at)
    precision = None
    if format[at : at + 1] == ".":
        precision, at = _number(format, at + 1)
        precision = precision or 0
    length = next((text for text in _LENGTHS if format.startswith(text, at)), "")
    at += len(length)
    letter = format[at : at + 1]
    # A `%` that is no conversion is one character of text: what follows may be a conversion.
    text_end = start + 1
    if letter == "%":
        if at == start + 1:
            return Conversion(start, at + 1, letter="%")
        return Conversion(start, text_end, problem="has flags or a width before its second `%`")
    if letter not in _TAKES or not letter:
        return Conversion(start, text_end, problem=_why_not(letter, format[at : at + 1]))
    if max(width or 0, precision or 0) > _SIZE_LIMIT:
        return Conversion(start, text_end, problem=f"has a width or precision over {_SIZE_LIMIT}")
    suffix = format[at + 1 : at + 2] if letter == "r" and format[at + 1 : at + 2] in ("x", "h") else ""
    return Conversion(start, at + 1 + len(suffix), flags, width, precision, length, letter, suffix)


def _number(format: str, at: int) -> tuple[int | None, int]:
    end = at
    while "0" <= format[end : end + 1] <= "9":
        end += 1
    return (int(format[at : min(end, at + 9)]) if end > at else None), end


def _why_not(letter: str, found: str) -> str:
    if not letter:
        return "ends before its conversion letter"
    if letter in "aAeEfFgG":
        return "is for floating point, which BPF does not have"
    if letter == "*":
        return "takes its width from an argument, which is not supported"
    if letter == "n":
        return "would write to memory, which is not supported"
    return f"has no conversion letter: {f'`{found}`' if found.isprintable() else repr(found)} is none"


# --- formatting


class Formatter:
    """A format compiled for arguments of certain types.

    `template` is for `bytes %`; the arguments' values come from records by `codes` (one `struct` code each), and
    `converters[i]`, if not None, makes of a value what the template's i-th conversion formats. `memoize[i]` tells that
    the converter's result depends on the value alone and is worth keeping.
    `literals` are the texts between the conversions: one more than there are arguments.
    """

    __slots__ = ("_pieces", "codes", "converters", "literals", "memoize", "template")

    def __init__(self) -> None:
        self.template = b""
        self.literals: list[bytes] = [b""]
        self.codes: list[str] = []
        self.converters: list[Callable[[Any], Any] | None] = []
        self.memoize: list[bool] = []
        self._pieces: list[bytes] = []

    def format(self, items: Sequence[Any]) -> bytes:
        """The whole text; `items` are what `struct` took out by `codes`."""
        return self.template % tuple(
            [convert(item) if convert else item for convert, item in zip(self.converters, items, strict=True)]
        )

    def texts(self, items: Sequence[Any]) -> list[bytes]:
        """Each conversion's text by itself: what goes between the `literals`."""
        return [
            piece % (convert(item) if convert else item,)
            for piece, convert, item in zip(self._pieces, self.converters, items, strict=True)
        ]

    def _literal(self, text: str) -> None:
        raw = encode(text)
        self.literals[-1] += raw
        self.template += raw.replace(b"%", b"%%")

    def _argument(self, piece: bytes, code: str, convert: Callable[[Any], Any] | None, memoize: bool) -> None:
        self.template += piece
        self._pieces.append(piece)
        self.codes.append(code)
        self.converters.append(convert)
        self.memoize.append(memoize)
        self.literals.append(b"")


def compile_format(format: str, arguments: Sequence[Type], texts: Texts) -> Formatter:
    """The formatter of a format that analysis accepted for these arguments."""
    result = Formatter()
    at, rest = 0, list(arguments)
    for conversion in check_format(format, len(arguments)):
        result._literal(format[at : conversion.start])
        at = conversion.end
        if conversion.letter == "%":
            result._literal("%")
        elif conversion.takes is None:
            result._literal(format[conversion.start : conversion.end])
        else:
            type = rest.pop(0)
            assert conversion.accepts(type), f"{conversion} of {type}"
            result._argument(*_compile_conversion(conversion, type, texts))
    result._literal(format[at:])
    assert not rest, "more arguments than conversions"
    return result


_Compiled: TypeAlias = "tuple[bytes, str, Callable[[Any], Any] | None, bool]"


def _compile_conversion(conversion: Conversion, type: Type, texts: Texts) -> _Compiled:
    if conversion.takes == INTEGER:
        return _compile_integer(conversion, type, texts.escape)
    piece = _padded(conversion)
    if conversion.takes == BUFFER:
        # As the peer does, and C would not: width and precision count the escaped text.
        decode = item_decoder(type)
        assert decode
        show = {"x": _hex_escapes, "h": _hex_bytes}.get(conversion.suffix) or texts.of(type)
        return piece, struct_code(type), lambda item: show(decode(item)), False
    decode, show = item_decoder(type), texts.of(type)
    constant = isinstance(type, (types.StringType, types.InetType, types.MacAddressType))
    if isinstance(type, types.StringType) and not texts.escape:
        return piece, struct_code(type), decode, constant
    if decode is None:
        return piece, struct_code(type), show, constant
    return piece, struct_code(type), lambda item: show(decode(item)), constant


def _hex_escapes(value: bytes) -> bytes:
    return b"".join([b"\\x%02x" % byte for byte in value])


def _hex_bytes(value: bytes) -> bytes:
    return value.hex(" ").encode()


def _padded(conversion: Conversion, precision: bool = True) -> bytes:
    """The `%s` that gives text its width and precision; no other flag means anything to it."""
    minus = "-" if "-" in conversion.flags else ""
    width = "" if conversion.width is None else str(conversion.width)
    cut = "" if conversion.precision is None or not precision else f".{conversion.precision}"
    return f"%{minus}{width}{cut}s".encode()


def _compile_integer(conversion: Conversion, type: Type, escape: bool) -> _Compiled:
    bits, signed = type.size * 8, isinstance(type, types.IntegerType) and type.signed
    letter, code = conversion.letter, struct_code(type)
    if letter == "c":
        return _padded(conversion, precision=False), code, _harmless_character if escape else _character, False
    if letter == "p":
        return _padded(conversion, precision=False), code, _pointer_text(conversion), False
    code, reinterpret = _reinterpretation(letter, _LENGTH_BITS.get(conversion.length), bits, signed)
    if "#" in conversion.flags or conversion.precision is not None:  # where Python's rules are not C's
        return b"%s", code, _c_integer(conversion, reinterpret), False
    flags = conversion.flags if letter in "di" else conversion.flags.replace("+", "").replace(" ", "")
    width = "" if conversion.width is None else str(conversion.width)
    return f"%{flags}{width}{'d' if letter in 'iu' else letter}".encode(), code, reinterpret, False


def _reinterpretation(
    letter: str, length_bits: int | None, bits: int, signed: bool
) -> tuple[str, Callable[[int], int] | None]:
    """The `struct` code by which a conversion reads an integer, and what that cannot do.

    `length_bits` is what a length modifier asks for. Without one, C's promotion holds: a narrower value is printed as
    an int or unsigned int, and so is a 64-bit one if it is a small negative number.
    """
    codes = {8: "b", 16: "h", 32: "i", 64: "q"}
    own = codes[bits] if signed else codes[bits].upper()
    if letter in "di":
        target = length_bits or max(32, bits)
        if target < bits:
            return own, _wrap_signed(target)
        return (codes[bits], None) if target == bits else (own, None)
    if length_bits is None:
        return own, _unsigned_by_size if signed else None
    if length_bits == bits:
        return codes[bits].upper(), None
    mask = (1 << length_bits) - 1
    return own, None if not signed and length_bits > bits else lambda value: value & mask


def _wrap_signed(bits: int) -> Callable[[int], int]:
    half, mask = 1 << (bits - 1), (1 << bits) - 1
    return lambda value: ((value + half) & mask) - half


def _unsigned_by_size(value: int) -> int:
    if value >= 0:
        return value
    return value & (0xFFFFFFFF if value >= -0x80000000 else 0xFFFFFFFFFFFFFFFF)


def _character(value: int) -> bytes:
    # The peer's text ends at a NUL, so that %c prints nothing of 0.
    byte = value & 0xFF
    return bytes([byte]) if byte else b""


def _harmless_character(value: int) -> bytes:
    """For a terminal. Bytes above 0x9f are parts of UTF-8 characters; those below it are control characters."""
    byte = value & 0xFF
    steers = (byte < 32 and byte not in b"\0\t\n") or 0x7F <= byte <= 0x9F
    return b"\\x%02x" % byte if steers else _character(value)


def _pointer_text(conversion: Conversion) -> Callable[[int], bytes]:
    zero_padded = conversion.width if "0" in conversion.flags and "-" not in conversion.flags else None
    digits = max(conversion.precision or 0, (zero_padded or 2) - 2 if conversion.precision is None else 0)
    return lambda value: b"0x%0*x" % (digits, value & 0xFFFFFFFFFFFFFFFF) if value else b"(nil)"


def _c_integer(conversion: Conversion, reinterpret: Callable[[int], int] | None) -> Callable[[int], bytes]:
    """An integer by all of C's rules."""
    letter, flags = conversion.letter, conversion.flags
    digits_of = {"x": "%x", "X": "%X", "o": "%o"}.get(letter, "%d")
    precision = conversion.precision
    width = conversion.width or 0

    def text(item: int) -> bytes:
        value = reinterpret(item) if reinterpret else item
        digits = digits_of % abs(value) if value or precision != 0 else ""
        digits = digits.rjust(precision or 0, "0")
        prefix = ""
        if letter in "di":
            prefix = "-" if value < 0 else "+" if "+" in flags else " " if " " in flags else ""
        elif "#" in flags:
            if letter == "o" and not digits.startswith("0"):
                digits = "0" + digits
            elif letter in "xX" and value:
                prefix = "0" + letter
        if "-" in flags:
            return (prefix + digits).ljust(width).encode()
        if "0" in flags and precision is None:
            digits = digits.rjust(width - len(prefix), "0")
        return (prefix + digits).rjust(width).encode()

    return text
