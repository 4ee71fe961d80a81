"""A string on a page that is not in memory yet is read all the same."""

from __future__ import annotations

import subprocess

from tests.live import Session
from tests.testprogs import build

PROGRAM = 'tracepoint:syscalls:sys_enter_openat /comm == "late_string"/ { printf("<%s>\\n", str(args->filename)); }'


def test_a_path_on_an_untouched_page() -> None:
    with Session("-e", PROGRAM) as session:
        session.wait_attached()
        with subprocess.Popen([str(build.program("late_string"))]) as traced:
            try:
                session.wait_for("<.*nowhere.*>")
            finally:
                traced.kill()
        outcome = session.interrupt()
    assert "</nowhere/on/a/page/of/its/own>" in outcome.lines
    assert "<>" not in outcome.lines
