"""`func` is one key for a function, whichever of its probes fires: what `@start[tid, func]` needs."""

from __future__ import annotations

from tests.live import run_command
from tests.testprogs import build

FUNCTIONS = str(build.program("functions"))


def test_entry_and_return_of_several_functions_have_the_same_key() -> None:
    program = f"""
        uprobe:{FUNCTIONS}:eight_arguments, uprobe:{FUNCTIONS}:take_point {{ @start[tid, func] = nsecs; }}
        uretprobe:{FUNCTIONS}:eight_arguments, uretprobe:{FUNCTIONS}:take_point /@start[tid, func]/ {{
            @ended[func, probe] = count();
            delete(@start[tid, func]);
        }}
        END {{ clear(@start); }}
    """
    out = run_command("-e", program, "-c", FUNCTIONS).stdout
    for function in ("eight_arguments", "take_point"):
        assert f"@ended[{function}, uretprobe:{FUNCTIONS}:{function}]: " in out
