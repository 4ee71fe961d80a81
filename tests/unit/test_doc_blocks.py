"""How the documentation's blocks are read and compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.doc_blocks import anchors, commands, find_output, links, read_blocks

DOCUMENT = """Text.

<!-- test: while cat x -->
<!-- test: some -->
```console
# bpftrace-py -e 'BEGIN {
    exit(); }'
@[a]: 1
# date
```
"""


def test_blocks_have_options_commands_and_output(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(DOCUMENT)
    (block,) = read_blocks(tmp_path / "a.md")
    assert (block.name, block.language, block.options) == ("a.md:5", "console", {"while": "cat x", "some": ""})
    first, second = commands(block)
    assert (first.text, first.output) == ("bpftrace-py -e 'BEGIN {\n    exit(); }'", ["@[a]: 1"])
    assert (second.text, second.output) == ("date", [])


def test_anchors_and_links(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text(
        "# kstack() and [ustack()](x.md)\n## A-B, c_d\n## A-B, c_d\n```c\n# no(t)\n```\n[a](#b) [c](https://d#e) [f](g.md#h-i)\n"
    )
    assert anchors(path) == {"kstack-and-ustack", "a-b-c_d", "a-b-c_d-1"}
    assert links(path) == [("x.md", ""), ("", "b"), ("g.md", "h-i")]


@pytest.mark.parametrize(
    "text", ["```ruby\n```\n", "```console\n", "<!-- test: nope -->\n```c\n```\n", "<!-- test: some -->\ntext\n"]
)
def test_what_breaks_the_convention_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(text)
    with pytest.raises(ValueError, match=r"a\.md:\d"):
        read_blocks(tmp_path / "a.md")


def test_numbers_bars_and_spaces_may_differ() -> None:
    shown = ["@[dd]: 4711", "[16, 32)   3 |@@@   |", "address 0xffff12", "...", "end"]
    assert find_output(shown, "@[dd]: 1\n[1K, 2K) 12 |@|\naddress 0x1\nmore\n\nand more\nend\n", some=False) is None
    assert find_output(shown, "@[cp]: 1\n[1K, 2K) 12 |@|\naddress 0x1\nend\n", some=False) == "@[dd]: 4711"


def test_all_lines_in_order_or_some_in_any() -> None:
    assert find_output(["a", "b"], "a\nx\nb\n", some=False) == "b"
    assert find_output(["a"], "a\nx\n", some=False) == "(nothing more, but there is 'x')"
    assert find_output(["b", "a"], "a\nx\nb\n", some=True) is None
    assert find_output(["b", "c"], "a\nx\nb\n", some=True) == "c"
