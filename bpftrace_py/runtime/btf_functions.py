"""The BTF number of a kernel function: what a tracing program (fentry, fexit) is loaded for.

libbpf reads BTF; it comes with BCC. The kernel's own BTF is asked first, then each loaded module's.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache

_BTF_DIRECTORY = "/sys/kernel/btf"
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
    return library


@cache
def _kernel_btf() -> int | None:
    library = _libbpf()
    return library.btf__load_vmlinux_btf() if library is not None else None


@cache
def _module_btf(module: str) -> int | None:
    library, base = _libbpf(), _kernel_btf()
    return library.btf__load_module_btf(module.encode(), base) if library is not None else None


def function_id(function: str) -> BtfFunction | None:
    """Where BTF has `function`; None without BTF, libbpf or such a function."""
    library, base = _libbpf(), _kernel_btf()
    if library is None or not base:
        return None
    found = library.btf__find_by_name_kind(base, function.encode(), _KIND_FUNC)
    if found > 0:
        return BtfFunction(found, None)
    for module in sorted(os.listdir(_BTF_DIRECTORY)):
        btf = _module_btf(module) if module != "vmlinux" else None
        if btf:
            found = library.btf__find_by_name_kind(btf, function.encode(), _KIND_FUNC)
            if found >= library.btf__type_cnt(base):  # not one of the kernel's, which a module's BTF continues
                return BtfFunction(found, module)
    return None
