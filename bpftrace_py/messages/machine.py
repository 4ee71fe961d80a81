"""Messages about the machine, its kernel and BCC: E07."""

from __future__ import annotations

from bpftrace_py.messages.registry import message

BCC_MISSING = message(
    "E0701", "BCC's Python bindings are not installed",
    "Programs are compiled by BCC, which comes from the distribution: on Debian the package python3-bpfcc.",
)
BCC_OTHER_PYTHON = message(
    "E0702", "this Python ({executable}) does not see BCC's bindings, which are installed in {path}",
    "BCC's bindings belong to the system's Python. A virtual environment sees them if it was made with "
    "/usr/bin/python3 -m venv --system-site-packages.",
)
BCC_WRONG_PACKAGE = message(
    "E0703", "the module `bcc` in {path} is not the BPF Compiler Collection",
    "PyPI has an unrelated package of the same name, which hides the system's.",
)
BCC_UNUSABLE = message("E0704", "BCC's Python bindings cannot be used: {reason}")
COMPILER_CRASHED = message(
    "E0719", "the compiler crashed ({reason}): this is a bug in bpftrace-py, in BCC or in LLVM",
    "It runs in a process of its own, so that nothing else was harmed. A script that is shorter or simpler may get by.",
)
COMPILE_REFUSED = message(
    "E0705", "clang refused the C that was generated for {place}: this is a bug in bpftrace-py{excerpt}",
    "The script is right. Please report it, with the output of the same command with -v.",
)
VERIFIER_REFUSED = message(
    "E0706", "the kernel refused the program that was generated for {place} ({reason}): this is a bug in bpftrace-py{excerpt}",
    "The script is right. Please report it, with the output of the same command with -v.",
)
NOT_PERMITTED = message(
    "E0707", "the kernel does not let this user load BPF programs",
    "It takes root, or the capabilities CAP_BPF and CAP_PERFMON; kernel lockdown and some containers forbid it even to root.",
)
MAP_NOT_CREATED = message("E0708", "the kernel cannot create the map `{map}`{room}: {reason}")
TRACEFS_MISSING = message(
    "E0709", "tracefs is not mounted, and mounting it failed: {reason}",
    "The numbers of tracepoints are read from /sys/kernel/tracing.",
)
MAP_UNREADABLE = message("E0710", "the map @{map} cannot be read: {reason}")
ATTACH_FAILED = message("E0711", "cannot attach to {probe}: {reason}")
KERNEL_WITHOUT_BPF = message("E0713", "this kernel was built without the bpf system call (CONFIG_BPF_SYSCALL)")
TRACEFS_CLOSED = message(
    "E0714", "this user may not read tracefs ({path}), where the tracepoints of this kernel are",
    "The kernel knows a tracepoint by a number, which is in tracefs. Capabilities to load programs do not open it: its permissions"
    " do. Raw tracepoints, uprobes, profile and interval do without it.",
)
KERNEL_UNREADABLE = message(
    "E0715", "this kernel does not let programs read its memory",
    "Kernel lockdown in the mode `confidentiality` forbids it, to root as well; kernels before 5.5 have no such function. What needs"
    " no kernel memory, such as counting system calls by process, may still work.",
)
HELPER_MISSING = message(
    "E0718", "this kernel does not offer what `{feature}` needs",
    "Kernels differ in the functions that programs may call: some came with a later version, some are left out when a kernel is"
    " built, and some may be called in few places only.",
)
BLOCK_TOO_LARGE = message(
    "E0717", "the block at {place} is more than the kernel's verifier can follow",
    "Before a program may run, the kernel walks along every way through it, and gives up after a million instructions or 8192 open"
    " branches. Each branch doubles the ways; comparing strings takes as many steps as they have bytes.",
)
