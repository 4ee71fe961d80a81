"""The flame graph: well-formed, to scale, nothing over the borders, escaped."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ElementTree

import pytest

from bpftrace_py.output.flamegraph import HEAD, LETTER, MARGIN, ROW, WIDTH, color, cut, draw
from bpftrace_py.output.folded import KERNEL, KEY, USER, Stacks

SVG = "{http://www.w3.org/2000/svg}"
STACKS: Stacks = {
    ((KEY, "app"), (USER, "main"), (USER, "read_everything_there_is"), (KERNEL, "vfs_read")): 60,
    ((KEY, "app"), (USER, "main"), (USER, "compute")): 30,
    ((KEY, "app"), (USER, "main")): 5,
    ((KEY, "sh<&\"'>\x01\udcff"), (USER, "std::vector<int>::operator[]")): 5,
}  # fmt: skip


class Box:
    def __init__(self, element: ElementTree.Element) -> None:
        self.x, self.y, self.width, self.height = (
            float(element.get(name, "")) for name in ("x", "y", "width", "height")
        )
        self.row = int(element.get("data-row", ""))
        title, rect, label = (element.find(f"{SVG}g/{SVG}{name}") for name in ("title", "rect", "text"))
        assert title is not None and title.text
        assert rect is not None
        assert label is not None
        self.name, _, self.share = title.text.rpartition(" (")
        self.fill, self.label = rect.get("fill", ""), label.text or ""


def boxes(stacks: Stacks) -> list[Box]:
    root = ElementTree.fromstring(draw(stacks, "title"))
    return [Box(element) for element in root.iter(f"{SVG}svg") if element.get("class") == "f"]


def by_name(stacks: Stacks) -> dict[str, Box]:
    return {box.name: box for box in boxes(stacks)}


def test_frames_are_to_scale_and_stand_under_their_callers() -> None:
    found = by_name(STACKS)
    space = WIDTH - 2 * MARGIN
    assert found["all"].share == "100 of 100, 100.00 %)"
    assert found["main"].share == "95 of 100, 95.00 %)"
    assert found["read_everything_there_is"].share == "60 of 100, 60.00 %)"
    for name, count, row in (
        ("all", 100, 0),
        ("app", 95, 1),
        ("main", 95, 2),
        ("compute", 30, 3),
        ("vfs_read [kernel]", 60, 4),
    ):
        assert found[name].width == pytest.approx(space * count / 100, abs=0.02)
        assert (found[name].row, found[name].y) == (row, HEAD + row * ROW)
    assert found["read_everything_there_is"].x == pytest.approx(found["compute"].x + found["compute"].width, abs=0.02)


def test_no_frame_overlaps_another_or_the_borders() -> None:
    found = boxes(STACKS)
    for one, other in itertools.combinations(found, 2):
        if one.row == other.row:
            assert one.x + one.width <= other.x + 0.02 or other.x + other.width <= one.x + 0.02
        else:
            assert one.y + one.height <= other.y or other.y + other.height <= one.y
    for box in found:
        assert box.x >= MARGIN
        assert box.x + box.width <= WIDTH - MARGIN + 0.02
        assert len(box.label) * LETTER <= box.width


def test_labels_are_cut_to_what_fits() -> None:
    assert cut("compute", 100) == "compute"
    assert cut("compute", 6 * LETTER) == "comp.."
    assert cut("compute", 2.5 * LETTER) == ""
    assert cut("f", LETTER) == "f"


def test_names_are_escaped() -> None:
    found = by_name(STACKS)
    assert "sh<&\"'>\\x01\\xff" in found
    assert "std::vector<int>::operator[]" in found


def test_it_loads_nothing() -> None:
    text = draw(STACKS, "x").decode()
    for loaded in ("href", "url(", "@import", "src="):
        assert loaded not in text
    assert text.count("http") == 1  # the name of the SVG language


@pytest.mark.parametrize("kind", [KEY, USER, KERNEL])
def test_dark_text_is_readable_on_every_color(kind: str) -> None:
    """A contrast of 7 to 1, the stricter demand of WCAG."""

    def luminance(text: str) -> float:
        parts = [int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, b = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    for number in range(1000):
        found = color(kind, f"function_{number}")
        assert (luminance(found) + 0.05) / (luminance("#111111") + 0.05) > 7, found


def test_names_keep_their_color_and_kinds_differ() -> None:
    assert color(USER, "main") == color(USER, "main")
    assert len({color(kind, "main") for kind in (KEY, USER, KERNEL)}) == 3
    assert len({color(USER, f"f{n}") for n in range(100)}) > 20


def test_the_thinnest_frames_are_left_out() -> None:
    thin = {((USER, "wide"),): 1_000_000, ((USER, "thin"),): 10}
    assert set(by_name(thin)) == {"all", "wide"}


def test_nothing_counted_is_a_picture_too() -> None:
    root = ElementTree.fromstring(draw({}, "nothing"))
    assert "nothing was counted" in "".join(root.itertext())


def test_deep_stacks() -> None:
    deep = {((USER, "f"),) * 5000: 1}
    assert max(box.row for box in boxes(deep)) == 5000
