"""Where the bits of a bit-field are, in bytes that a program can load."""

from __future__ import annotations

from bpftrace_py.types import Bitfield, Field, IntegerType


def bitfield(name: str, declared: IntegerType, first_bit: int, width: int, record_size: int) -> Field | None:
    """The field of `width` bits that starts `first_bit` bits into a record of `record_size` bytes (little-endian).

    The bytes to load are the aligned unit of the declared type, or, where the field crosses one (packed records) or the
    unit ends behind the record, the fewest bytes that hold it. None if no integer of 8 bytes holds it all.
    """
    if not 0 < width <= 64:
        return None
    unit = declared.width
    offset = first_bit // (8 * unit) * unit
    shift = first_bit - 8 * offset
    if shift + width > 8 * unit or offset + unit > record_size:
        offset, shift = divmod(first_bit, 8)
        unit = next((size for size in (1, 2, 4, 8) if shift + width <= 8 * size), 0)
        if offset + unit > record_size:  # move the load back so that it ends where the record does
            back = min(offset, offset + unit - record_size)
            offset, shift = offset - back, shift + 8 * back
        if unit == 0 or shift + width > 8 * unit:
            return None
    return Field(name, IntegerType(unit, declared.signed, declared.enum), offset, Bitfield(shift, width))
