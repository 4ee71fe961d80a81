"""The BTF number of a kernel function: what a tracing program (fentry, fexit) is loaded for.

libbpf reads BTF; it comes with BCC.
"""

from __future__ import annotations

import ctypes
from functools import cache

_KIND_FUNC = 12


class BtfFunction:
    """`type_id` in the kernel's BTF, or in that of `module`."""

    __slots__ = ("type_id", "module")

    def __init__(self, type_id: int, module: str | None) -> None:
        self.type_id, self.module = type_id, module


@cache
def _libbpf() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libbpf.so.1")
    except OSError:
        return None
    library.libbpf_set_print(None)  # it would report to stderr what we report ourselves
    library.btf__load_vmlinux_btf.restype = ctypes.c_void_p
    library.btf__load_module_btf.restype = ctypes.c_void_p
    library.btf__load_module_btf.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
    library.btf__find_by_name_kind.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32]
    library.btf__type_cnt.argtypes = [ctypes.c_void_p]
    library.btf__type_cnt.restype = ctypes.c_uint32
    library.btf__type_by_id.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    library.btf__type_by_id.restype = ctypes.POINTER(ctypes.c_uint32)
    library.btf__name_by_offset.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    library.btf__name_by_offset.restype = ctypes.c_char_p
    return library


@cache
def _kernel_btf() -> int | None:
    library = _libbpf()
    return library.btf__load_vmlinux_btf() if library is not None else None


@cache
def _module_btf(module: str) -> int | None:
    library, base = _libbpf(), _kernel_btf()
    return library.btf__load_module_btf(module.encode(), base) if library is not None else None


def function_id(function: str, module: str = "") -> BtfFunction | None:
    """Where BTF has `function` of the kernel, or of a module; None without BTF, libbpf or such a function."""
    library, base = _libbpf(), _kernel_btf()
    if library is None or not base:
        return None
    if not module:
        found = library.btf__find_by_name_kind(base, function.encode(), _KIND_FUNC)
        return BtfFunction(found, None) if found > 0 else None
    return _in_module(library, base, function, module)


def _in_module(library: ctypes.CDLL, base: int, function: str, module: str) -> BtfFunction | None:
    """As `function_id`. The module's types continue the kernel's, among which libbpf finds the name first."""
    btf = _module_btf(module)
    if not btf:
        return None
    for number in range(library.btf__type_cnt(base), library.btf__type_cnt(btf)):
        record = library.btf__type_by_id(btf, number)
        name, info = record[0], record[1]
        if info >> 24 & 31 == _KIND_FUNC and library.btf__name_by_offset(btf, name) == function.encode():
            return BtfFunction(number, module)
    return None
