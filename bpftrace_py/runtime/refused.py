"""What the user is told when clang or the kernel's verifier refuses what we generated: our sentence first, the place in
the script, the lines of the log that matter, and how many were left out. The whole log goes with the exception."""

from __future__ import annotations

import errno
import os

from bpftrace_py import messages
from bpftrace_py.diagnostics import BpftraceError, Diagnostic, HostError, InternalError, Message, Severity, host_error
from bpftrace_py.runtime.features import lockdown

EXCERPT_LINES = 8
ORIGIN = "// Generated from "  # how generated C begins
_C_FILE = "/virtual/main.c:"  # the name under which BCC gives the text to clang
# What the verifier says of more instructions, more branches, or a longer way to jump than there may be.
_TOO_LARGE = ("BPF program is too large", "jumps is too complex", "jump out of range")
_NOISE = ("processed ", "verification time", "stack depth", "mark_precise", "WARNING: ", "program of this loader")
# What there is not enough of, in the words of strerror(3): clang and BCC tell us in no other form.
_EXHAUSTED = {os.strerror(number): number for number in (errno.EMFILE, errno.ENFILE)}
_BY_WORDS = {**_EXHAUSTED, **{os.strerror(n): n for n in (errno.EPERM, errno.ENOSYS, errno.ENOMEM, errno.E2BIG)}}
# Functions of the kernel that not every kernel or probe has: what the script used, and what it takes.
_OPTIONAL = {
    "bpf_override_return": ("override()", "a kernel that was built with CONFIG_BPF_KPROBE_OVERRIDE"),
    "bpf_send_signal": ("signal()", "Linux 5.3"),
    "bpf_d_path": ("path()", "Linux 5.10, and one of the few functions in which the kernel allows it"),
    "bpf_get_current_cgroup_id": ("cgroup", "Linux 4.18"),
}
ADDRESSES_HINT = "compiling takes 300 MB of addresses: `ulimit -v` shows and raises the limit"
_READS_KERNEL = ("bpf_probe_read_kernel", "bpf_probe_read_compat", "bpf_probe_read#")


def by_clang(c_source: str, log: str) -> BpftraceError:
    """`HostError` if BCC could not create a map, else `InternalError`."""
    lines = [line for line in log.splitlines() if line.strip()]
    for line in lines:
        if line.startswith("could not open bpf map"):  # BCC's words: "could not open bpf map: <name>, error: <reason>"
            name, _, reason = line.partition(":")[2].partition(", error:")
            return _map_not_created(name.strip(), "", reason.strip(), _BY_WORDS.get(reason.strip(), 0))
    for words, number in _EXHAUSTED.items():
        if words in log:
            return exhausted(number)
    first = next((i for i, line in enumerate(lines) if "error:" in line), 0)
    line_number = _c_line(lines[first]) if lines else None
    place = script_place(c_source, line_number) if line_number else None
    return _internal(messages.COMPILE_REFUSED, lines[first:], 0, log, place or "the script")


def addresses_are_limited() -> bool:
    """Whether there is a limit to the memory that this process may map (`ulimit -v`)."""
    import resource

    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def compiler_crashed(number: int) -> BpftraceError:
    """A signal (or what comes of too little memory) has ended the process that compiles. `HostError` if it may be memory."""
    import signal

    if addresses_are_limited():
        return host_error(messages.EXHAUSTED, reason="memory", hint=ADDRESSES_HINT)
    text = (signal.strsignal(number) or f"signal {number}").lower()
    message = messages.COMPILER_CRASHED
    return InternalError([Diagnostic(Severity.ERROR, message.code, message.template.format(reason=text))])


def by_verifier(script: str, line: int, number: int, log: str) -> BpftraceError:
    """`HostError` if the user may not load programs at all, else `InternalError`."""
    if number in (errno.EPERM, errno.EACCES) and not log.strip():
        return not_permitted()
    if number == errno.ENOSYS:
        return host_error(messages.KERNEL_WITHOUT_BPF)
    if _may_not_read_kernel(log):
        return host_error(messages.KERNEL_UNREADABLE, hint=_lockdown())
    missing = next((known for helper, known in _OPTIONAL.items() if _lacks(log, helper)), None)
    if missing is not None:
        feature, takes = missing
        return host_error(messages.HELPER_MISSING, feature=feature, hint=f"{feature} takes {takes}")
    if any(text in log for text in _TOO_LARGE):
        return host_error(
            messages.BLOCK_TOO_LARGE, place=f"{script}:{line}",
            hint="several blocks, shorter loops, or a smaller BPFTRACE_STRLEN where strings are compared make it less",
        )  # fmt: skip
    lines = [text for text in log.splitlines() if text.strip() and not text.startswith(_NOISE)]
    skipped = max(0, len(lines) - EXCERPT_LINES)
    return _internal(
        messages.VERIFIER_REFUSED, lines[skipped:], skipped, log, f"{script}:{line}", reason=os.strerror(number)
    )


def map_not_created(name: str, size: int, entries: int, number: int) -> BpftraceError:
    """`size`: bytes of a key and a value."""
    room = f" ({entries} keys, {size} bytes each with its value)"
    return _map_not_created(name, room, os.strerror(number), number)


def _map_not_created(name: str, room: str, reason: str, number: int) -> BpftraceError:
    if number == errno.EPERM:
        return not_permitted()
    if number == errno.ENOSYS:
        return host_error(messages.KERNEL_WITHOUT_BPF)
    if number in (errno.EMFILE, errno.ENFILE):
        return exhausted(number)
    too_large = number in (errno.ENOMEM, errno.E2BIG)
    hint = "a smaller BPFTRACE_MAP_KEYS_MAX or BPFTRACE_STRLEN takes less memory" if too_large else None
    return host_error(messages.MAP_NOT_CREATED, map=name, room=room, reason=reason, hint=hint)


def exhausted(number: int) -> HostError:
    """For EMFILE and ENFILE, wherever they come from."""
    hint = "`ulimit -n` shows and raises the limit of open files"
    return host_error(messages.EXHAUSTED, reason=os.strerror(number).lower(), hint=hint)


def _lacks(log: str, helper: str) -> bool:
    """Whether the verifier does not let the program call a helper."""
    call = f"{helper}#"
    if f"unknown func {call}" in log or f"cannot use helper {call}" in log:
        return True
    return "helper call is not allowed in probe" in log and call in log


def _may_not_read_kernel(log: str) -> bool:
    """Whether the verifier does not know the helper that reads kernel memory, in a program where it always has been."""
    refusals = [line for line in log.splitlines() if "unknown func " in line or "cannot use helper " in line]
    return any(helper in line for line in refusals for helper in _READS_KERNEL)


def _lockdown() -> str | None:
    mode = lockdown()
    return f"kernel lockdown is on: {mode}" if mode else None


def script_place(c_source: str, line_number: int) -> str | None:
    """The `script:line` of a 1-based line of the generated C: the line is in the comment `// line: ...` above it, the
    script in the text's first, `// Generated from script`."""
    lines = c_source.splitlines()
    script = lines[0].removeprefix(ORIGIN) if lines and lines[0].startswith(ORIGIN) else "line"
    for text in reversed(lines[:line_number]):
        number, colon, _ = text.strip().removeprefix("// ").partition(": ")
        if colon and number.isdigit():
            return f"{script}:{number}"
    return None


def _c_line(message: str) -> int | None:
    """The line of the C text that a message of clang names."""
    number = message.partition(_C_FILE)[2].partition(":")[0]
    return int(number) if number.isdigit() else None


def not_permitted() -> HostError:
    """This user may not load programs."""
    if os.geteuid():
        return host_error(messages.NOT_PERMITTED, hint="run it as root, or by sudo")
    hint = "root may do less than usual here: a container, its seccomp filter or a security module can forbid the bpf system call"
    return host_error(messages.NOT_PERMITTED, hint=_lockdown() or hint)


def _internal(message: Message, lines: list[str], before: int, log: str, place: str, **values: object) -> InternalError:
    shown = lines[:EXCERPT_LINES]
    left_out = before + len(lines) - len(shown)
    excerpt = "".join(f"\n    | {line}" for line in shown)
    if left_out:
        excerpt += f"\n    | ({left_out} more line{'s' * (left_out > 1)} with -v)"
    text = message.template.format(place=place, excerpt=excerpt, **values)
    error = InternalError([Diagnostic(Severity.ERROR, message.code, text)])
    error.log = log
    return error
