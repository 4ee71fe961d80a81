"""A flame graph of folded stacks, as one SVG file (`-f flamegraph`).

The picture stands by itself: it loads nothing, and is readable without its script, which adds zooming (click), searching,
and a line that tells what the pointer is on. Each frame is a nested `<svg>`, so that its text is cut at its borders
whatever the font. Fonts are monospaced, which is why text can be cut to fit here, too. The outermost frames are on top,
beside the title, where every viewer begins: one deep stack would push them far down otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.resources import files
from zlib import crc32

from bpftrace_py.output.folded import KERNEL, KEY, USER, Frame, Stacks

WIDTH, MARGIN = 1200, 10  # px; the frames are between the margins
ROW, HEAD, FOOT = 17, 76, 12  # px: a row of frames, what is above and what is below them
LETTER = 7.25  # px, the width of a letter of 12 px; none of the usual monospaced fonts is wider
NARROWEST = 0.1  # px; narrower frames are left out
_INDENT = 6  # px of a frame's box that its text does not take

_TITLE_SPACE = (WIDTH - 2 * MARGIN) * 12 / 17  # px, as if its letters of 17 px were as wide as the others

_ROOT = "root"
# Hue, saturation and lightness in per cent; the hue may differ by the fourth number from name to name.
_COLORS = {_ROOT: (0, 0, 85, 0), KEY: (90, 32, 77, 30), USER: (40, 92, 68, 22), KERNEL: (205, 62, 76, 18)}
_LEGEND = {KEY: "keys", USER: "user", KERNEL: "kernel"}


class _Node:
    """A frame and those that it called, with the sum of what was counted in them."""

    __slots__ = ("called", "total")

    def __init__(self) -> None:
        self.called: dict[Frame, _Node] = {}
        self.total = 0


def _grow(stacks: Stacks) -> _Node:
    root = _Node()
    for frames, count in stacks.items():
        node = root
        node.total += count
        for frame in frames:
            node = node.called.setdefault(frame, _Node())
            node.total += count
    return root


def draw(stacks: Stacks, title: str) -> bytes:
    """The SVG file. Frames beside each other are in alphabetical order: their place says nothing, only their width."""
    root = _grow(stacks)
    boxes = list(_boxes(root))
    rows = 1 + max(depth for _, depth, _, _ in boxes)
    height = HEAD + rows * ROW + FOOT
    kinds = [kind for kind in _LEGEND if any(frame[0] == kind for frame, *_ in boxes)]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">\n',
        f"<title>{escape(title)}</title>\n<style>{_resource('flamegraph.css')}</style>\n",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>\n',
        f'<text class="title" x="{WIDTH / 2:g}" y="24" text-anchor="middle">{escape(cut(title, _TITLE_SPACE))}</text>\n',
        f'<text class="quiet" id="details" x="{WIDTH / 2:g}" y="44" text-anchor="middle">{_summary(stacks, root.total)}</text>\n',
        f'<text class="button" id="unzoom" x="{MARGIN}" y="44">Reset zoom</text>\n',
        f'<text class="button" id="search" x="{WIDTH - MARGIN}" y="44" text-anchor="end">Search</text>\n',
        f'<text class="quiet" id="matched" x="{WIDTH - MARGIN}" y="64" text-anchor="end"></text>\n',
        *_legend(kinds),
        f'<g id="frames" data-total="{root.total}" data-letter="{LETTER}" data-indent="{_INDENT}">\n',
        *[_box(root.total, *box) for box in boxes],
        "</g>\n",
        f"<script><![CDATA[\n{_resource('flamegraph.js')}]]></script>\n</svg>\n",
    ]
    return "".join(parts).encode("utf-8", "backslashreplace")


def _resource(name: str) -> str:
    return files("bpftrace_py.output").joinpath(name).read_text(encoding="utf-8")


def _summary(stacks: Stacks, total: int) -> str:
    if not stacks:
        return "nothing was counted"
    return f"{total:,} in {len(stacks):,} stack{'' if len(stacks) == 1 else 's'}"


def _boxes(root: _Node) -> Iterator[tuple[Frame, int, int, int]]:
    """(frame, row, begin, length) of all that can be seen; begin and length in what was counted."""
    scale = (WIDTH - 2 * MARGIN) / (root.total or 1)
    waiting: list[tuple[Frame, _Node, int, int]] = [((_ROOT, "all"), root, 0, 0)]
    while waiting:
        frame, node, depth, begin = waiting.pop()
        yield frame, depth, begin, node.total
        for called, below in sorted(node.called.items(), key=_by_frame):
            if below.total * scale >= NARROWEST:
                waiting.append((called, below, depth + 1, begin))
            begin += below.total


def _by_frame(item: tuple[Frame, _Node]) -> Frame:
    return item[0]


def _box(total: int, frame: Frame, depth: int, begin: int, length: int) -> str:
    kind, name = frame
    scale = (WIDTH - 2 * MARGIN) / (total or 1)
    wide = length * scale if total else WIDTH - 2 * MARGIN
    y = HEAD + depth * ROW
    label = cut(name or "[empty]", wide - _INDENT)
    share = f"{length:,} of {total:,}, {100 * length / total:.2f} %" if total else "nothing"
    return (
        f'<svg class="f" x="{MARGIN + begin * scale:.2f}" y="{y}" width="{wide:.2f}" height="{ROW - 1}"'
        f' data-row="{depth}" data-begin="{begin}" data-length="{length}"><g>'
        f"<title>{escape(name or '[empty]')}{' [kernel]' if kind == KERNEL else ''} ({share})</title>"
        f'<rect width="100%" height="100%" rx="1" fill="{color(kind, name)}"/>'
        f'<text x="{_INDENT // 2}" y="12">{escape(label)}</text></g></svg>\n'
    )


def _legend(kinds: list[str]) -> Iterator[str]:
    x = float(MARGIN)
    for kind in kinds:
        yield f'<rect x="{x:.1f}" y="54" width="12" height="12" rx="1" fill="{color(kind, "")}"/>\n'
        yield f'<text class="quiet" x="{x + 18:.1f}" y="64">{_LEGEND[kind]}</text>\n'
        x += 34 + LETTER * len(_LEGEND[kind])


def cut(text: str, space: float) -> str:
    """As much of a text as fits so many px; nothing rather than one or two letters."""
    most = int(space / LETTER)
    if len(text) <= most:
        return text
    return text[: most - 2] + ".." if most >= 3 else ""


def color(kind: str, name: str) -> str:
    """A light color, always the same for a name: dark text is readable on it."""
    hue, saturation, lightness, spread = _COLORS[kind]
    number = crc32(name.encode("utf-8", "surrogateescape"))
    hue += number % 101 * spread // 100 - spread // 2
    lightness += number // 101 % 9 - 4
    return _hexadecimal(hue % 360, saturation / 100, lightness / 100)


def _hexadecimal(hue: int, saturation: float, lightness: float) -> str:
    """HSL as #rrggbb, which every renderer knows."""
    reach = saturation * min(lightness, 1 - lightness)

    def channel(n: int) -> int:
        k = (n + hue / 30) % 12
        return round(255 * (lightness - reach * max(-1, min(k - 3, 9 - k, 1))))

    return "#" + "".join([f"{channel(n):02x}" for n in (0, 8, 4)])


def escape(text: str) -> str:
    """Text for XML. What no XML file may hold (most control characters) is shown as \\xNN."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    return "".join(
        [c if _allowed(c) else f"\\x{ord(c) & 0xFF if 0xDC80 <= ord(c) <= 0xDCFF else ord(c):02x}" for c in text]
    )


def _allowed(character: str) -> bool:
    number = ord(character)
    return 0x20 <= number < 0x7F or 0xA0 <= number < 0xD800 or 0xE000 <= number < 0xFFFE or number > 0xFFFF


def renderer(title: str) -> Callable[[Stacks], bytes]:
    """What draws stacks under a title."""
    return lambda stacks: draw(stacks, title)
