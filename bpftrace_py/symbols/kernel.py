"""Kernel symbols: addresses to names and back, from /proc/kallsyms.

The text is read in one go (25 ms for 120,000 symbols, nearly all of it the kernel's) and never parsed as a whole: its
first part, the kernel's own symbols, is in order of address, since the kernel bisects the same table, so that we bisect
the bytes themselves. What follows (modules, ftrace and BPF programs) is in no order and is sorted when first needed.
"""

from __future__ import annotations

from bisect import bisect_right

_DIGITS = 16  # of an address; the columns are "address type name[\t[module]]"
_NAME = _DIGITS + 3
_CODE = frozenset(b"tTwWiI")  # the types of symbols that code can be in; the oracle, too, leaves data out
_HIDDEN = b"0" * _DIGITS


class KernelSymbols:
    """Symbols of the running kernel. Nothing is read before the first question.

    `hidden` says, once something has been asked, that the kernel shows zeros for addresses (kernel.kptr_restrict, or a
    user without CAP_SYSLOG) or no symbols at all: then no address has a name.
    """

    def __init__(self, path: str = "/proc/kallsyms") -> None:
        self.hidden = False
        self._path = path
        self._text: bytes | None = None
        self._core_end = 0
        self._others: list[bytes] = []
        self._found: dict[int, tuple[str, int] | None] = {}

    def find(self, address: int) -> tuple[str, int] | None:
        """The (name, offset in bytes) of the function that `address` lies in, or None.

        Where several names have one address, it is the last in the kernel's list, as in the oracle. The table has no
        sizes: an address behind a module's last function gets that function's name.
        """
        try:
            return self._found[address]
        except KeyError:
            pass
        found = self._search(address)
        if len(self._found) >= _CACHE_LIMIT:
            self._found.clear()
        self._found[address] = found
        return found

    def address_of(self, name: str) -> int | None:
        """The address of a symbol of any type, the first of that name; None if there is none or it is hidden."""
        text = self._read()
        if self.hidden or not name or not name.isprintable() or " " in name:
            return None
        wanted = b" " + name.encode()
        at = text.find(wanted)
        while at >= 0:
            end = at + len(wanted)
            if text[end : end + 1] in (b"\n", b"\t", b"") and at >= _NAME - 1:
                start = at - _NAME + 1
                return _number(text[start : start + _DIGITS])
            at = text.find(wanted, end)
        return None

    def _read(self) -> bytes:
        if self._text is not None:
            return self._text
        try:
            # Unbuffered and in one call: the kernel formats a page at a time anyway, but copies need not be joined.
            with open(self._path, "rb", buffering=0) as file:
                text = file.read()
        except OSError:
            text = b""
        first_module = text.find(b"\t[")
        core_end = text.rfind(b"\n", 0, first_module) + 1 if first_module >= 0 else len(text)
        self._text, self._core_end = text, core_end
        # Per-CPU symbols may stand at 0; what the kernel hides is all at 0, the last symbol of its own included.
        last = text[text.rfind(b"\n", 0, max(core_end - 1, 0)) + 1 : core_end]
        self.hidden = not text or last.startswith(_HIDDEN)
        self._others = sorted((line for line in text[core_end:].split(b"\n") if len(line) > _NAME), key=_address_column)
        return text

    def _search(self, address: int) -> tuple[str, int] | None:
        if not 0 <= address < 1 << 64:
            return None
        text = self._read()
        if self.hidden:
            return None
        key = b"%016x" % address
        core = self._core_line(text, key)
        at = bisect_right(self._others, key, key=_address_column)
        while at and self._others[at - 1][_DIGITS + 1] not in _CODE:
            at -= 1
        line = self._others[at - 1] if at else b""
        if core[:_DIGITS] > line[:_DIGITS]:
            line = core
        if not line or line.startswith(_HIDDEN):
            return None
        name, start = line[_NAME:].split(b"\t", 1)[0], _number(line[:_DIGITS])
        return None if start is None else (name.decode("utf-8", "replace"), address - start)

    def _core_line(self, text: bytes, key: bytes) -> bytes:
        """The last line of code in the ordered part whose address is not above `key`; empty if there is none."""
        low, high = 0, self._core_end
        while low < high:
            middle = (low + high) // 2
            start = text.rfind(b"\n", low, middle) + 1 or low
            if text[start : start + _DIGITS] <= key:
                low = text.find(b"\n", middle) + 1 or self._core_end
            else:
                high = start
        while low > 0:
            start = text.rfind(b"\n", 0, low - 1) + 1
            if low - start > _NAME and text[start + _DIGITS + 1] in _CODE:
                return text[start : low - 1] if text[low - 1 : low] == b"\n" else text[start:low]
            low = start
        return b""


_CACHE_LIMIT = 1 << 16  # addresses


def _number(digits: bytes) -> int | None:
    try:
        return int(digits, 16)
    except ValueError:  # the kernel writes nothing of the kind
        return None


def _address_column(line: bytes) -> bytes:
    return line[:_DIGITS]
