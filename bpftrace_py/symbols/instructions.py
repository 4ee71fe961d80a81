"""Where instructions start, told by LLVM's disassembler: the library is there because BCC is linked to it."""

from __future__ import annotations

import ctypes
from functools import lru_cache

# Our names of machines -> LLVM's (target for the initializers, triple).
_TARGETS = {
    "x86_64": ("X86", "x86_64-linux-gnu"),
    "i386": ("X86", "i386-linux-gnu"),
    "aarch64": ("AArch64", "aarch64-linux-gnu"),
}


def instruction_starts(code: bytes, until: int, machine: str) -> frozenset[int] | None:
    """The offsets at which instructions of `code` start, from 0 up to the first one behind `until`.

    None if there is no disassembler for the machine, or it does not understand what it finds before `until`.
    """
    if machine not in _TARGETS:
        return None
    library = _library()
    context = _context(machine)
    if library is None or context is None:
        return None
    buffer = (ctypes.c_uint8 * len(code)).from_buffer_copy(code)
    text = ctypes.create_string_buffer(128)
    starts, at = {0}, 0
    while at <= until and at < len(code):
        rest = ctypes.cast(ctypes.addressof(buffer) + at, ctypes.POINTER(ctypes.c_uint8))
        size = library.LLVMDisasmInstruction(context, rest, len(code) - at, at, text, len(text))
        if not size:
            return None
        at += size
        starts.add(at)
    return frozenset(starts)


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL | None:
    from bpftrace_py.probes.library_cache import libraries

    names = [path for name, path in libraries() if name.startswith(("libLLVM-", "libLLVM.so"))]
    for name in names:
        try:
            library = ctypes.CDLL(name)
            library.LLVMCreateDisasm.restype = ctypes.c_void_p
            library.LLVMDisasmInstruction.restype = ctypes.c_size_t
        except (OSError, AttributeError):
            continue
        library.LLVMCreateDisasm.argtypes = [ctypes.c_char_p, *[ctypes.c_void_p] * 4]
        library.LLVMDisasmInstruction.argtypes = [
            ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint8), ctypes.c_uint64, ctypes.c_uint64, ctypes.c_char_p, ctypes.c_size_t,
        ]  # fmt: skip
        return library
    return None


@lru_cache(maxsize=len(_TARGETS))
def _context(machine: str) -> int | None:
    library = _library()
    target, triple = _TARGETS[machine]
    if library is None:
        return None
    for part in ("TargetInfo", "Target", "TargetMC", "Disassembler"):
        initialize = getattr(library, f"LLVMInitialize{target}{part}", None)
        if initialize is None:
            return None
        initialize()
    context: int | None = library.LLVMCreateDisasm(triple.encode(), None, None, None, None)
    return context
