"""How diagnostics look: the marker, long and odd lines, colour; what is told once; the registry of messages."""

from __future__ import annotations

import os
import pty
import re
from pathlib import Path

import pytest

import bpftrace_py
from bpftrace_py import messages
from bpftrace_py.analysis.wording import counted, keys_shown, shown
from bpftrace_py.command import print_diagnostics
from bpftrace_py.diagnostics import CompileError, Diagnostic, Diagnostics, Message, Note, Severity, did_you_mean
from bpftrace_py.source import Source, Span
from bpftrace_py.types import COUNT, INT64, LhistType, PointerType, RecordType, StackType


def diagnostic(text: str, marked: str, **values: object) -> Diagnostic:
    start = text.index(marked)
    diagnostics = Diagnostics(Source(text, "a.bt"))
    diagnostics.error(messages.UNKNOWN_IDENTIFIER, Span(start, start + len(marked)), name=marked, **values)  # type: ignore[arg-type]
    return diagnostics.errors[0]


def test_place_line_marker_and_hint() -> None:
    assert diagnostic("BEGIN {\n\tprint(foo);\n}", "foo", hint="try bar").render() == (
        "a.bt:2:8: error[E0301]: `foo` is not a builtin, an enumerator or a constant\n"
        "    \tprint(foo);\n"
        "    \t      ^~~\n"
        "  hint: try bar"
    )


def test_a_note_has_its_own_place() -> None:
    text = "BEGIN { @x = foo; }"
    lines = diagnostic(text, "foo", notes=(Note("it is here", Span(8, 10)),)).render().split("\n")
    assert lines[3:] == ["  note: it is here (a.bt:1:9)", f"    {text}", "            ^~"]


def test_a_long_line_is_cut_around_the_marker() -> None:
    text = "x" * 5000 + " foo " + "y" * 5000
    _, line, marker = diagnostic(text, "foo").render().split("\n")
    assert len(line) <= 164
    assert line[marker.index("^") : marker.index("^") + 3] == "foo"


def test_a_marker_ends_with_its_line() -> None:
    text = "BEGIN {\n  exit()\n}"
    span = Span(0, len(text))
    shown_lines = Diagnostic(Severity.ERROR, "E0101", "all", span, source=Source(text)).render().split("\n")
    assert shown_lines[1:] == ["    BEGIN {", "    ^~~~~~~"]


def test_control_characters_do_not_reach_the_terminal() -> None:
    rendered = diagnostic("\x1b[31m \x07 foo", "foo").render()
    assert "\x1b" not in rendered and "\x07" not in rendered
    assert "\N{REPLACEMENT CHARACTER}[31m" in rendered


def test_colour_only_adds_to_the_text() -> None:
    told = diagnostic("BEGIN { print(foo); }", "foo", hint="try bar", notes=(Note("here", Span(0, 5)),))
    colored = told.render(color=True)
    assert "\033[31merror[E0301]\033[0m" in colored and "\033[31m^~~\033[0m" in colored
    assert re.sub(r"\033\[\d+m", "", colored) == told.render()


@pytest.mark.parametrize(
    ("environment", "colored"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colour_on_a_terminal_unless_it_is_not_wanted(
    environment: dict[str, str], colored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    master, slave = pty.openpty()
    kept = os.dup(2)
    try:
        os.dup2(slave, 2)
        print_diagnostics([diagnostic("foo", "foo")])
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(slave)
    written = os.read(master, 4096).decode()
    os.close(master)
    assert ("\033[" in written) == colored
    assert "E0301" in written


def test_one_place_is_told_a_thing_once() -> None:
    diagnostics = Diagnostics(Source("foo foo"))
    diagnostics.error(messages.UNKNOWN_FIELD, Span(0, 3), record="a", field="x")
    diagnostics.error(messages.UNKNOWN_FIELD, Span(0, 3), record="b", field="x")
    diagnostics.error(messages.UNKNOWN_FIELD, Span(4, 7), record="a", field="x")
    assert [d.span for d in diagnostics.errors] == [Span(0, 3), Span(4, 7)]


def test_all_errors_and_warnings_are_raised_in_the_order_of_the_text() -> None:
    diagnostics = Diagnostics(Source("a b c"))
    diagnostics.error(messages.DIVISION_BY_ZERO, Span(4, 5))
    diagnostics.warning(messages.BUF_CUT, Span(2, 3), limit=1, size=2)
    diagnostics.error(messages.DIVISION_BY_ZERO, Span(0, 1))
    with pytest.raises(CompileError) as raised:
        diagnostics.raise_errors()
    assert [d.span for d in raised.value.diagnostics] == [Span(0, 1), Span(2, 3), Span(4, 5)]
    assert raised.value.exit_code == 1


def test_no_more_than_the_limit() -> None:
    diagnostics = Diagnostics(Source("x" * 1000))
    for at in range(1000):
        diagnostics.error(messages.DIVISION_BY_ZERO, Span(at, at + 1))
    assert len(diagnostics.errors) == Diagnostics.LIMIT


def test_did_you_mean() -> None:
    assert did_you_mean("filenam", ["flags", "filename"], "args->{}") == "did you mean `args->filename`?"
    assert did_you_mean("zzz", ["flags", "filename"]) is None


def test_wording() -> None:
    assert shown(COUNT) == "count()"
    assert shown(LhistType(0, 10, 2)) == "lhist(n, 0, 10, 2)"
    assert shown(StackType(False, "perf")) == "kstack(perf)"
    assert shown(PointerType(RecordType("struct path"))) == "struct path *"
    assert shown(PointerType(RecordType("args of kfunc:f"))) == "args of kfunc:f"
    assert [counted(n, "argument") for n in (0, 1, 2)] == ["no arguments", "1 argument", "2 arguments"]
    assert keys_shown(()) == "no keys"
    assert keys_shown((INT64,)) == "the key [int64]"
    assert keys_shown((INT64, COUNT)) == "the keys [int64, count()]"


# --- the registry


def test_codes_have_one_form() -> None:
    assert all(re.fullmatch(r"[EW]0[1-9]\d\d", code) and message.code == code for code, message in messages.ALL.items())


def test_sentences_begin_in_lower_case_and_have_no_full_stop() -> None:
    for message in messages.ALL.values():
        first = message.template.lstrip("`")[0]
        assert not message.template.endswith(".") and (
            not first.isupper() or message.template.startswith(("BCC", "C "))
        ), message


def test_every_message_is_used() -> None:
    directory = Path(bpftrace_py.__file__).parent
    texts = [p.read_text() for p in directory.rglob("*.py") if p.parent.name != "messages"]
    used = {name for text in texts for name in re.findall(r"\b[A-Z][A-Z0-9_]+\b", text)}
    assert messages.ALL  # which loads them
    by_name = {name: value for name, value in vars(messages).items() if isinstance(value, Message)}
    assert len(by_name) == len(messages.ALL)
    assert set(by_name) - used == set()


def test_the_marker_stands_under_wide_characters_and_tabs() -> None:
    """As a terminal shows them: two columns for a CJK character, none for a combining one."""
    text = 'BEGIN {\tprintf("\N{CJK UNIFIED IDEOGRAPH-65E5}e\N{COMBINING ACUTE ACCENT}"); foo; }'
    _, line, marker = diagnostic(text, "foo").render().split("\n")
    assert line == f"    {text}"
    assert marker == "    " + " " * 7 + "\t" + " " * 8 + "  " + " " + '"); '.replace('"', " ").replace(")", " ").replace(";", " ") + "^~~"
    _, _, marker = diagnostic("\N{CJK UNIFIED IDEOGRAPH-65E5}", "\N{CJK UNIFIED IDEOGRAPH-65E5}").render().split("\n")
    assert marker == "    ^~"


def test_lines_of_a_dos_file_have_no_trace_of_their_end() -> None:
    assert diagnostic("BEGIN {\r\n  foo;\r\n}\r\n", "foo").render().split("\n")[1:] == ["      foo;", "      ^~~"]


def test_names_that_could_steer_a_terminal_are_harmless_in_messages() -> None:
    told = Diagnostic(
        Severity.ERROR, "E0101", "cannot read \033]0;owned\007 and \udce9", Span(0, 1), "try \x9b31m", source=Source("x", "a\033.bt")
    ).render(color=True)
    assert re.sub(r"\033\[\d+m", "", told).isprintable() or "\n" in told
    plain = re.sub(r"\033\[\d+m", "", told).split("\n")
    assert plain[0] == "a\\x1b.bt:1:1: error[E0101]: cannot read \\x1b]0;owned\\x07 and \\xe9"
    assert plain[3] == "  hint: try \\xc2\\x9b31m"
