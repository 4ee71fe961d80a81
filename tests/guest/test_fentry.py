"""kfunc and kretfunc (fentry and fexit): arguments by name, return values together with arguments."""

from __future__ import annotations

import os

from tests.guest.test_kprobe import ME, SIZE, read_zero
from tests.live import run_command, trace


def test_arguments_by_name():
    outcome = trace("kfunc:vfs_read /pid == $1/ { @[args->count] = count(); }", lambda: read_zero(3), ME)
    assert f"@[{SIZE}]: 3" in outcome.lines


def test_return_value_and_arguments():
    outcome = trace("kretfunc:vfs_read /pid == $1/ { @[args->count, retval] = count(); }", lambda: read_zero(2), ME)
    assert f"@[{SIZE}, {SIZE}]: 2" in outcome.lines


def test_record_argument(tmp_path):
    program = 'kfunc:vfs_open /pid == $1/ { printf("%s\\n", str(args->path->dentry->d_name.name)); }'
    trace(program, (tmp_path / "opened_by_this_test").touch, ME, until="^opened_by_this_test$")


def test_several():
    def workload() -> None:
        read_zero()
        with open("/dev/null", "wb", buffering=0) as file:
            file.write(b"x" * SIZE)

    program = "kfunc:vfs_read, kfunc:vfs_write /pid == $1 && args->count == 12345/ { @[probe] = count(); }"
    outcome = trace(program, workload, ME)
    # The peer names the module, too.
    assert {"@[kfunc:vmlinux:vfs_read]: 1", "@[kfunc:vmlinux:vfs_write]: 1"} <= set(outcome.lines)


def test_unknown_argument_is_refused():
    outcome = run_command("-e", "kfunc:vfs_read { @[args->no_such_argument] = count(); }")
    assert outcome.status == 1
    assert "no_such_argument" in outcome.stderr


def test_listing_with_arguments():
    outcome = run_command("-lv", "kfunc:vfs_read")
    assert outcome.lines[0].startswith("kfunc:") and outcome.lines[0].endswith("vfs_read")
    assert "    size_t count" in outcome.lines
    assert os.path.exists("/sys/kernel/btf/vmlinux")
