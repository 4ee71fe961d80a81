"""Functions of kernel modules: kfunc by module and without, kprobes, their arguments. `overlay` is loaded: it is the
guest's root."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live import run_command, trace


@pytest.mark.parametrize("spec", ["kfunc:overlay:ovl_open", "kfunc:ovl_open", "kfunc:over*:ovl_open", "kfunc:ovl_ope*"])
def test_arguments_of_a_module_s_function(spec, tmp_path):
    program = f'{spec} {{ printf("%s %s\\n", probe, str(args.file->f_path.dentry->d_name.name)); }}'
    own = Path(__file__)
    outcome = trace(program, own.read_bytes, until=f"{own.name}$")
    assert f"kfunc:overlay:ovl_open {own.name}" in outcome.lines


def test_return_value_of_a_module_s_function():
    program = 'kretfunc:overlay:ovl_open /str(args.file->f_path.dentry->d_name.name) == $1/ { @[retval] = count(); }'
    own = Path(__file__)
    outcome = trace(program.replace("$1", f'"{own.name}"'), own.read_bytes)
    assert "@[0]: 1" in outcome.lines


def test_a_record_that_only_the_module_has():
    """`struct ovl_fs` is overlay's own: its BTF has it, the kernel's does not."""
    program = "kfunc:overlay:ovl_statfs { @[((struct ovl_fs *)args.dentry->d_sb->s_fs_info)->numlayer] = count(); }"
    outcome = trace(program, lambda: __import__("os").statvfs("/etc"))
    assert "@[2]: 1" in outcome.lines  # the writable layer, and the host's files


def test_kprobe_in_a_module():
    program = 'kprobe:ovl_open { printf("%s\\n", str(((struct file *)arg1)->f_path.dentry->d_name.name)); }'
    own = Path(__file__)
    outcome = trace(program, own.read_bytes, until=f"^{own.name}$")
    assert own.name in outcome.lines


def test_listing():
    listed = run_command("-l", "kfunc:overlay:*").lines
    assert "kfunc:overlay:ovl_open" in listed
    assert all(line.startswith("kfunc:overlay:") for line in listed)
    verbose = run_command("-lv", "kfunc:overlay:ovl_open").lines
    assert verbose == ["kfunc:overlay:ovl_open", "    struct inode * inode", "    struct file * file", "    int retval"]
    assert "    struct file * file" in run_command("-lv", "kprobe:ovl_open").lines


def test_the_wrong_module():
    outcome = run_command("-e", "kfunc:vmlinux:ovl_open { exit(); }")
    assert outcome.status == 1
    assert "`ovl_open` is not in `vmlinux`" in outcome.stderr
    assert "did you mean `kfunc:overlay:ovl_open`?" in outcome.stderr
    outcome = run_command("-e", "kfunc:overlai:ovl_open { exit(); }")
    assert "no module `overlai` with type information" in outcome.stderr
    assert "did you mean `overlay`?" in outcome.stderr
