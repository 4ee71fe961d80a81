"""`func` is one key for a function, whichever of its probes fires: what `@start[tid, func]` needs."""

from __future__ import annotations

from bpftrace_py.symbols.elf import ElfFile
from tests.live import run_command
from tests.testprogs import build

FUNCTIONS = str(build.program("functions"))


def test_a_place_in_a_function_and_an_address_have_the_name_of_the_function() -> None:
    (symbol,) = ElfFile(FUNCTIONS).functions_named("take_point")
    program = f"""
        uprobe:{FUNCTIONS}:take_point {{ @[func, "entry"] = count(); }}
        uprobe:{FUNCTIONS}:{symbol.address:#x} {{ @[func, "address"] = count(); }}
        uprobe:{FUNCTIONS}:take_point+0, uprobe:{FUNCTIONS}:eight_arguments {{ @[func, "several"] = count(); }}
    """
    lines = run_command("-e", program, "-c", FUNCTIONS).lines
    for where in ("entry", "address", "several"):
        assert [line for line in lines if line.startswith(f"@[take_point, {where}]: ")], lines
    assert not [line for line in lines if str(symbol.address) in line]


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
