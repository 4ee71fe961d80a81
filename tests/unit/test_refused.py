"""What is said when clang, the verifier or the kernel refuse."""

import errno
import resource
import signal

import pytest

from bpftrace_py.diagnostics import HostError, InternalError
from bpftrace_py.runtime import refused

C = """// Generated from tool.bt

int f(void *ctx)
{
	// 12: @x = 1
	u64 v = 1;
	v = nope;
}
"""


def test_the_line_of_the_script_is_in_the_comment_above():
    assert refused.script_place(C, 7) == "tool.bt:12"
    assert refused.script_place(C, 2) is None
    assert refused.script_place("// Generated from a/b: c.bt\n// 3: y\n// see: x\n", 3) == "a/b: c.bt:3"


def test_clang():
    log = "warning: x\n/virtual/main.c:7:6: error: use of undeclared identifier 'nope'\n\tv = nope;\n\t    ^\n" + "more\n" * 20
    error = refused.by_clang(C, log)
    assert isinstance(error, InternalError)
    lines = error.diagnostics[0].text.splitlines()
    assert lines[0] == "clang refused the C that was generated for tool.bt:12: this is a bug in bpftrace-py"
    assert lines[1] == "    | /virtual/main.c:7:6: error: use of undeclared identifier 'nope'"
    assert lines[-1] == "    | (15 more lines with -v)"
    assert len(lines) == refused.EXCERPT_LINES + 2
    assert error.log == log


def test_clang_without_a_word():
    error = refused.by_clang(C, "")
    assert error.diagnostics[0].text == "clang refused the C that was generated for the script: this is a bug in bpftrace-py"


def test_a_map_that_bcc_could_not_create():
    error = refused.by_clang(C, "could not open bpf map: map_x, error: Cannot allocate memory\n")
    assert isinstance(error, HostError)
    assert error.diagnostics[0].text == "the kernel cannot create the map `map_x`: Cannot allocate memory"
    assert refused.by_clang(C, "could not open bpf map: x, error: Operation not permitted").diagnostics[0].code == "E0707"


def test_the_verifiers_last_lines_without_its_statistics():
    log = "".join(f"{i}: (95) exit\n" for i in range(30)) + "R1 is bad\nprocessed 30 insns (limit 1000000)\n"
    error = refused.by_verifier("tool.bt", 3, errno.EACCES, log)
    assert isinstance(error, InternalError)
    lines = error.diagnostics[0].text.splitlines()
    assert lines[0].startswith("the kernel refused the program that was generated for tool.bt:3 (Permission denied)")
    assert lines[-2:] == ["    | R1 is bad", "    | (23 more lines with -v)"]


@pytest.mark.parametrize(
    ("log", "feature"),
    [
        ("program of this type cannot use helper bpf_override_return#58\n", "override()"),
        ("unknown func bpf_send_signal#109\n", "signal()"),
        ("3: (85) call bpf_d_path#147\nhelper call is not allowed in probe\n", "path()"),
    ],
)
def test_a_helper_that_this_kernel_lacks_is_no_bug_of_ours(log, feature):
    error = refused.by_verifier("tool.bt", 3, errno.EINVAL, log)
    assert isinstance(error, HostError)
    (diagnostic,) = error.diagnostics
    assert (diagnostic.code, diagnostic.text) == ("E0718", f"this kernel does not offer what `{feature}` needs")
    assert diagnostic.hint.startswith(feature)


def test_users_without_permission():
    error = refused.by_verifier("tool.bt", 3, errno.EPERM, "")
    assert isinstance(error, HostError)
    assert error.diagnostics[0].code == "E0707"
    assert refused.map_not_created("x", 16, 10, errno.EPERM).diagnostics[0].code == "E0707"
    assert refused.map_not_created("x", 16, 10, errno.ENOSYS).diagnostics[0].code == "E0713"


def test_maps_that_are_too_large():
    (diagnostic,) = refused.map_not_created("x", 16, 10, errno.ENOMEM).diagnostics
    assert diagnostic.text == "the kernel cannot create the map `x` (10 keys, 16 bytes each with its value): Cannot allocate memory"
    assert "BPFTRACE_MAP_KEYS_MAX" in diagnostic.hint


@pytest.mark.parametrize(
    "log",
    [
        "BPF program is too large. Processed 1000001 insn\n",
        "The sequence of 8193 jumps is too complex.\n",
        "jump out of range from insn 9 to -5877\n",
    ],
)
def test_a_block_that_is_too_large_is_no_bug_of_ours(log: str):
    error = refused.by_verifier("tool.bt", 3, errno.E2BIG, log)
    assert isinstance(error, HostError)
    assert error.diagnostics[0].code == "E0717"
    assert "the block at tool.bt:3" in error.diagnostics[0].text


def test_a_crash_of_the_compiler():
    before = resource.getrlimit(resource.RLIMIT_AS)
    unlimited = refused.compiler_crashed(signal.SIGSEGV)
    assert isinstance(unlimited, InternalError)
    assert "[E0719]: the compiler crashed (segmentation fault): this is a bug in bpftrace-py" in str(unlimited)
    resource.setrlimit(resource.RLIMIT_AS, (1 << 40, before[1]))
    try:
        limited = refused.compiler_crashed(signal.SIGABRT)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert isinstance(limited, HostError)
    assert str(limited).startswith("error[E0905]: there is not enough of what this takes: memory\n  hint: ")
