"""`-f folded` and `-f flamegraph` on real stacks; the picture as a renderer and a browser see it."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.live import TIME_LIMIT, command, run_command, tool

SVG = "{http://www.w3.org/2000/svg}"
PROGRAM = "profile:hz:997 /pid == cpid/ { @[comm, ustack, kstack] = count(); }"
SOURCE = """
#include <sys/stat.h>
static volatile unsigned long sink;
__attribute__((noinline)) void compute(void) { for (int i = 0; i < 3000000; i++) sink += i; }
__attribute__((noinline)) void second(void) { for (int i = 0; i < 1000000; i++) sink -= i; }
__attribute__((noinline)) void look(void) { struct stat s; for (int i = 0; i < 3000; i++) stat("/proc/self/status", &s); }
__attribute__((noinline)) void work(void) { compute(); second(); look(); sink++; }
int main(void) { for (int i = 0; i < 40; i++) work(); return 0; }
"""


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("workload")
    (directory / "burner.c").write_text(SOURCE)
    options = ["-O0", "-fno-omit-frame-pointer"]  # optimised functions that call none have no frame of their own
    subprocess.run(["gcc", *options, "-o", str(directory / "burner"), str(directory / "burner.c")], check=True)
    return str(directory / "burner")


@pytest.fixture(scope="module")
def picture(workload: str) -> Path:
    path = Path(workload).with_name("stacks.svg")
    done = run_command("-q", "-f", "flamegraph", "-o", str(path), "-c", workload, "-e", PROGRAM)
    assert (done.status, done.stdout, done.stderr) == (0, "", "")
    return path


def test_folded_stacks(workload: str) -> None:
    done = run_command("-f", "folded", "-c", workload, "-e", PROGRAM)
    assert done.status == 0
    lines = done.lines
    assert lines == sorted(lines)
    # The command has our name until it is executed, and that may take some samples' time.
    assert all(re.fullmatch(r"(burner|bpftrace-py);.* [1-9]\d*", line) for line in lines), lines
    assert done.stderr == "Attaching 1 probe...\n"
    compute = [line for line in lines if re.search(r";main;work;compute( \d+$|;)", line)]
    look = [
        line for line in lines if re.search(r";main;work;\S*stat\S*;.*_\[k\] \d+$", line)
    ]  # libc keeps no frame of look()
    assert compute
    assert look
    assert not [line for line in lines if re.search(r"\+\d", line.rpartition(" ")[0])]


def test_other_output_goes_to_standard_error() -> None:
    done = run_command(
        "-q", "-f", "folded", "-e", 'BEGIN { @s[kstack(3)] = sum(7); @n = 5; printf("hello\\n"); exit(); }'
    )
    assert done.stderr == "hello\n@n: 5\n"
    (line,) = done.lines
    assert re.fullmatch(r"\S+_\[k\];\S+_\[k\];\S+_\[k\] 7", line)


def test_the_flame_graph_has_the_functions(picture: Path) -> None:
    root = ElementTree.parse(picture).getroot()
    titles = [title.text or "" for title in root.iter(f"{SVG}title")]
    for name in ("all", "burner", "main", "work", "compute", "second"):
        assert [title for title in titles if title.startswith(f"{name} (")], name
    assert [title for title in titles if " [kernel] (" in title]
    assert (root.findtext(f"{SVG}title") or "") == PROGRAM


def test_a_renderer_without_scripts_draws_it(picture: Path) -> None:
    out = picture.with_suffix(".png")
    subprocess.run([tool("rsvg-convert"), "-o", str(out), str(picture)], check=True, timeout=TIME_LIMIT)
    assert out.read_bytes()[:4] == b"\x89PNG"


CLICKS = """
var named = function (name) {
  var is = function (f) { return f.querySelector("title").textContent.indexOf(name + " (") === 0; };
  return [].filter.call(document.querySelectorAll(".f"), is)[0];
};
var fire = function (element, kind) { element.dispatchEvent(new MouseEvent(kind, {bubbles: true})); };
var shown = function () { return [].filter.call(document.querySelectorAll(".f"), function (f) { return f.style.display !== "none"; }); };
var report = [];
var before = shown().length, rect = function (name) { return named(name).querySelector("rect"); };
fire(rect("compute"), "mouseover"); report.push(document.getElementById("details").textContent);
fire(rect("compute"), "click");
report.push(named("compute").getAttribute("width"), named("second").style.display, named("main").getAttribute("width"));
fire(document.getElementById("unzoom"), "click"); report.push(shown().length === before);
window.prompt = function () { return "^compute$"; };
fire(document.getElementById("search"), "click");
report.push(document.querySelectorAll(".match").length, document.getElementById("matched").textContent);
var result = document.createElementNS("http://www.w3.org/2000/svg", "desc");
result.setAttribute("id", "report"); result.textContent = JSON.stringify(report); document.documentElement.appendChild(result);
"""


def test_a_browser_zooms_and_searches(picture: Path, tmp_path: Path) -> None:
    text = picture.read_text()
    page = tmp_path / "page.svg"
    page.write_text(text[: text.rindex("</svg>")] + f"<script><![CDATA[{CLICKS}]]></script></svg>")
    done = subprocess.run(
        [
            tool("chromium"), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile", "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True, text=True, timeout=TIME_LIMIT,
    )  # fmt: skip
    found = re.search(r'<desc id="report">(.*?)</desc>', done.stdout)
    assert found, done.stderr
    details, width, other, caller, all_back, matches, share = json.loads(found[1])
    assert re.fullmatch(r"compute \([\d,]+ of [\d,]+, [\d.]+ %\)", details)
    assert (width, other, caller, all_back) == ("1180", "none", "1180", True)
    assert matches >= 1
    assert re.fullmatch(r"matched: \d+\.\d\d %", share)


# --- what can go wrong


@pytest.mark.parametrize("does", ["@ = count();", 'printf("%s", kstack);', "@[kstack] = max(1);"])
@pytest.mark.parametrize("format_", ["folded", "flamegraph"])
def test_a_program_without_a_map_of_stacks(does: str, format_: str, tmp_path: Path) -> None:
    done = run_command("-f", format_, "-o", str(tmp_path / "out"), "-e", f"BEGIN {{ {does} exit(); }}")
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr == (
        f"error[E0830]: -f {format_} shows maps of stacks, and this program has none\n"
        "  hint: count stacks in a map, such as `@[ustack, kstack] = count();`\n"
    )
    assert not (tmp_path / "out").exists()


def test_nothing_counted_is_told(tmp_path: Path) -> None:
    program = "BEGIN { exit(); } profile:hz:1 /0/ { @[kstack] = count(); }"
    done = run_command("-q", "-f", "flamegraph", "-o", str(tmp_path / "out"), "-e", program)
    assert (done.status, done.stderr) == (0, "warning[W0951]: no stack was counted\n")
    assert ElementTree.parse(tmp_path / "out").getroot().tag == f"{SVG}svg"


def on_a_terminal(*words: str) -> tuple[str, int]:
    """What a command shows a user who redirects nothing, and its status."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(words[0], words)
    parts = []
    while True:
        try:
            part = os.read(fd, 1 << 16)
        except OSError:
            break
        if not part:
            break
        parts.append(part)
    os.close(fd)
    return b"".join(parts).decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_no_picture_into_a_terminal() -> None:
    text, status = on_a_terminal(command(), "-f", "flamegraph", "-e", "BEGIN { @[kstack] = count(); exit(); }")
    assert status == 1
    assert "E0831" in text
    assert "-o stacks.svg" in text
    assert "<svg" not in text


def test_progress_is_shown_on_a_terminal_alone() -> None:
    """What takes half a second otherwise is told at once here."""
    impatient = "import sys, bpftrace_py.progress as p; p.DELAY = p.EVERY = 0; from bpftrace_py.cli import main; sys.exit(main())"
    points = ", ".join(f"tracepoint:sched:sched_{name}" for name in ("waking", "wakeup", "wakeup_new"))
    program = points + " { @[args->pid] = count(); } BEGIN { exit(); }"
    arguments = [sys.executable, "-c", impatient, "-e", program]
    shown, status = on_a_terminal(*arguments)
    assert status == 0
    assert re.search(r"Attaching probes: \d+ of \d+\r\x1b\[K", shown)
    assert "probes:" not in on_a_terminal(*arguments, "-q")[0]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=TIME_LIMIT)
    assert "probes:" not in done.stdout + done.stderr
