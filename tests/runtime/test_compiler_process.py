"""C is compiled in a process beside ours, and nothing is lost if that cannot be or goes wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpftrace_py.diagnostics import InternalError
from bpftrace_py.runtime import bcc_backend
from bpftrace_py.runtime.compiler_process import CompilerProcess
from tests.live import Session, run_command, wait_until

SOURCE = """
TABLE(1, "hash", u64, u64, counts, 1234);
RING(2, events, 65536);
int begin(void *ctx)
{
	u64 key = 1, value = log2_bucket(pid_tgid());
	return map_update(MAP(counts), &key, &value, ANY);
}
"""
FUNCTIONS = ["begin"]


@pytest.fixture
def compiler() -> Iterator[CompilerProcess]:
    made = CompilerProcess()
    yield made
    made.close()


def child_of(compiler: CompilerProcess) -> int:
    return compiler._pid


def test_what_comes_back_is_what_bcc_makes_in_this_process(compiler: CompilerProcess) -> None:
    image, log = compiler.compile(SOURCE, FUNCTIONS)
    here, here_log = bcc_backend.compile_image(SOURCE, FUNCTIONS)
    assert (image.plain(), log) == (here.plain(), here_log)
    assert [(spec.name, spec.max_entries) for spec in image.maps] == [("counts", 1234), ("events", 65536)]
    assert len(image.programs["begin"].instructions) > 8 * 10  # with the function that it calls


def test_what_was_begun_is_not_compiled_again(compiler: CompilerProcess) -> None:
    compiler.begin(SOURCE, FUNCTIONS)
    os.kill(child_of(compiler), 0)
    other, _ = compiler.compile(SOURCE.replace("1234", "99"), FUNCTIONS)  # not what was begun
    assert other.maps[0].max_entries == 99
    compiler.begin(SOURCE, FUNCTIONS)
    compiler.dismiss()  # no further request reaches the child
    image, _ = compiler.compile(SOURCE, FUNCTIONS)
    assert image.maps[0].max_entries == 1234


def test_a_child_that_dies_is_done_without(compiler: CompilerProcess) -> None:
    compiler.begin_loading()
    os.kill(child_of(compiler), signal.SIGKILL)
    image, _ = compiler.compile(SOURCE, FUNCTIONS)
    assert image.maps[0].name == "counts"
    compiler.begin(SOURCE, FUNCTIONS)
    os.kill(child_of(compiler), signal.SIGKILL)
    image, _ = compiler.compile(SOURCE, FUNCTIONS)
    assert image.maps[0].name == "counts"


def test_a_crash_is_not_tried_again_here(compiler: CompilerProcess) -> None:
    before = os.listdir("/proc/self/fd")
    compiler.begin_loading()
    os.kill(child_of(compiler), signal.SIGTRAP)  # as SIGSEGV, but that pytest does not handle it
    with pytest.raises(InternalError) as caught:
        compiler.compile(SOURCE, FUNCTIONS)
    assert caught.value.diagnostics[0].code == "E0719"
    assert os.listdir("/proc/self/fd") == before


def test_no_process_can_be_made(compiler: CompilerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(os, "fork", refuse)
    image, _ = compiler.compile(SOURCE, FUNCTIONS)
    assert image.maps[0].name == "counts"
    compiler.close()
    assert os.listdir("/proc/self/fd") == before


def test_what_clang_refuses_is_told_as_ever(compiler: CompilerProcess, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InternalError) as caught:
        compiler.compile(SOURCE.replace("&key", "&nonsense"), FUNCTIONS)
    assert "use of undeclared identifier 'nonsense'" in caught.value.log
    assert capfd.readouterr() == ("", "")


def test_it_leaves_nothing(compiler: CompilerProcess) -> None:
    before = os.listdir("/proc/self/fd")
    compiler.compile(SOURCE, FUNCTIONS)
    pid, ended = child_of(compiler), compiler.ended_fd
    assert ended is not None
    compiler.dismiss()
    assert os.read(ended, 1) == b""  # its end closes the pipe
    compiler.close()
    compiler.close()
    assert not Path(f"/proc/{pid}").exists()
    assert os.listdir("/proc/self/fd") == before


def test_the_session_is_small_and_the_compiler_is_gone() -> None:
    """While a session that had to compile runs: no LLVM in it, and no child, not even one that has ended."""
    program = "tracepoint:syscalls:sys_enter_swapoff { @ = count(); }"
    with Session("--no-cache", "-e", program).wait_attached() as session:
        maps = Path(f"/proc/{session.pid}/maps").read_text()
        assert "libLLVM" not in maps and "libbcc.so" not in maps
        children = Path(f"/proc/{session.pid}/task/{session.pid}/children")
        wait_until(lambda: children.read_text() == "")


def test_it_ends_with_a_session_that_is_killed() -> None:
    code = (
        "import os, sys, time\n"
        "from bpftrace_py.runtime.compiler_process import CompilerProcess\n"
        "compiler = CompilerProcess()\n"
        "compiler.begin_loading()\n"
        "print(compiler._pid, flush=True)\n"
        "time.sleep(100)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.kill()
    # Whoever reaps orphans here may take its time: what has ended counts.
    wait_until(lambda: ended(child))


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_script_that_is_wrong_ends_well_while_the_library_is_loaded() -> None:
    for _ in range(5):
        done = run_command("--no-cache", "-e", "BEGIN { x }")
        assert done.status == 1
        assert "Traceback" not in done.stderr
