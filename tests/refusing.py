"""Runs a command for which the kernel refuses some system calls: `python refusing.py RULE... -- COMMAND ARGUMENT...`

A rule is `NAME=ERRNO`, or `NAME:NUMBER=ERRNO` for calls whose first argument is that number (a command of bpf(2), say).
The refusal is the kernel's own, by a seccomp filter, and holds for libraries and children, too. So a kernel that lacks a
feature, a container or a lockdown can be had on any machine.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

_NUMBERS = {
    "x86_64": {"bpf": 321, "perf_event_open": 298, "pidfd_open": 434, "mount": 165, "ptrace": 101},
    "aarch64": {"bpf": 280, "perf_event_open": 241, "pidfd_open": 434, "mount": 40, "ptrace": 117},
}
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, _PR_SET_NO_NEW_PRIVS = 22, 2, 38
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_CALL, _FIRST_ARGUMENT = 0, 16  # offsets in struct seccomp_data


def instructions(rules: list[str]) -> bytes:
    """The filter, an array of struct sock_filter."""
    parts = []
    for rule in rules:
        what, _, error = rule.partition("=")
        name, _, argument = what.partition(":")
        refuse = (_RETURN, 0, 0, _ERRNO | getattr(errno, error))
        checks = [(_LOAD, 0, 0, _FIRST_ARGUMENT), (_JUMP_EQUAL, 0, 1, int(argument))] if argument else []
        number = _NUMBERS[os.uname().machine][name]
        parts += [(_LOAD, 0, 0, _CALL), (_JUMP_EQUAL, 0, len(checks) + 1, number), *checks, refuse]
    parts.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *part) for part in parts)


def main(words: list[str]) -> None:
    rules, command = words[: words.index("--")], words[words.index("--") + 1 :]
    code = instructions(rules)
    memory = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(code) // 8, ctypes.addressof(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    holder = ctypes.create_string_buffer(program, len(program))
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(holder), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
