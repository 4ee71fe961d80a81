"""Where the C declarations of a script find their headers, and the headers that we bring.

Scripts are written for machines with the kernel's header tree. Here there may be none: the types then come from BTF,
and what remains of a header such as <net/sock.h> are its constants. UAPI headers (linux-libc-dev) have most; the few
that scripts use and that only the kernel's own headers define are below.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from bpftrace_py import messages
from bpftrace_py.config import Config
from bpftrace_py.diagnostics import host_error

KERNEL_DIRECTORY = "/bpftrace-py/kernel"  # of virtual files: nothing is there on the disk
COMPILER_DIRECTORY = "/bpftrace-py/compiler"
_SYSTEM_DIRECTORIES = ("/usr/local/include", "/usr/include/{architecture}-linux-gnu", "/usr/include")
# Headers that the kernel exports to programs: their types are the kernel's, so BTF has the same or knows better.
_UAPI_DIRECTORIES = ("linux", "asm", "asm-generic", "uapi", "rdma", "sound", "scsi", "mtd", "drm", "xen", "video")

_ADDRESS_FAMILIES = (
    "UNSPEC LOCAL:1 UNIX:1 INET:2 AX25 IPX APPLETALK NETROM BRIDGE ATMPVC X25 INET6 ROSE DECnet NETBEUI SECURITY KEY"
    " NETLINK ROUTE:16 PACKET:17 ASH ECONET ATMSVC RDS SNA IRDA PPPOX WANPIPE LLC IB MPLS CAN TIPC BLUETOOTH IUCV RXRPC"
    " ISDN PHONET IEEE802154 CAIF ALG NFC VSOCK KCM QIPCRTR SMC XDP MCTP"
)


def _define(name: str, value: str) -> str:
    return f"#ifndef {name}\n#define {name} {value}\n#endif\n"


def _next(name: str) -> str:
    return f"#if __has_include_next(<{name}>)\n#include_next <{name}>\n#endif\n"


def _families() -> str:
    text, value = "", 0
    for word in _ADDRESS_FAMILIES.split():
        name, _, number = word.partition(":")
        value = int(number or value)
        text += _define(f"AF_{name}", str(value)) + _define(f"PF_{name}", str(value))
        value += 1
    return text


_TIME = "".join(
    _define(f"{unit}_PER_{per}", value)
    for unit, per, value in (
        ("MSEC", "SEC", "1000L"), ("USEC", "MSEC", "1000L"), ("NSEC", "USEC", "1000L"), ("NSEC", "MSEC", "1000000L"),
        ("USEC", "SEC", "1000000L"), ("NSEC", "SEC", "1000000000L"),
    )
)  # fmt: skip
_DEVICES = (
    _define("MINORBITS", "20")
    + _define("MINORMASK", "((1U << MINORBITS) - 1)")
    + "#undef MAJOR\n#undef MINOR\n#undef MKDEV\n"
    + "#define MAJOR(dev) ((unsigned int)((dev) >> MINORBITS))\n"
    + "#define MINOR(dev) ((unsigned int)((dev) & MINORMASK))\n"
    + "#define MKDEV(ma, mi) (((ma) << MINORBITS) | (mi))\n"
)
# Those that have had these values in every kernel that has BPF.
_TASKS = "".join(
    _define(name, value)
    for name, value in (
        ("TASK_RUNNING", "0x0"), ("TASK_INTERRUPTIBLE", "0x1"), ("TASK_UNINTERRUPTIBLE", "0x2"),
        ("__TASK_STOPPED", "0x4"), ("__TASK_TRACED", "0x8"), ("PF_EXITING", "0x4"), ("PF_KTHREAD", "0x200000"),
    )
)  # fmt: skip


def kernel_headers() -> dict[str, str]:
    """The constants of headers that only the kernel's own tree has, and what UAPI headers of the same name lack."""
    socket = "#include <linux/socket.h>\n"
    return {
        "linux/socket.h": _next("linux/socket.h") + _families(),
        **{name: _next(name) + socket for name in (
            "net/sock.h", "net/inet_sock.h", "net/tcp.h", "linux/net.h", "linux/skbuff.h", "linux/tcp.h", "linux/udp.h",
            "linux/netdevice.h",
        )},
        "linux/time.h": _next("linux/time.h") + _TIME,
        "linux/time64.h": _TIME,
        "linux/kdev_t.h": _next("linux/kdev_t.h") + _DEVICES,
        "linux/fs.h": _next("linux/fs.h") + "#include <linux/kdev_t.h>\n#include <linux/stat.h>\n",
        "linux/sched.h": _next("linux/sched.h") + _TASKS,
        "linux/blkdev.h": "#include <linux/kdev_t.h>\n",
        "linux/genhd.h": "#include <linux/kdev_t.h>\n",
    }  # fmt: skip


_STDDEF = """
#ifndef __bpftrace_stddef
#define __bpftrace_stddef
typedef __SIZE_TYPE__ size_t;
typedef __PTRDIFF_TYPE__ ptrdiff_t;
typedef __WCHAR_TYPE__ wchar_t;
typedef struct { long long ll; long double ld; } max_align_t;
#endif
#ifdef __need_wint_t
typedef __WINT_TYPE__ wint_t;
#endif
#undef __need_wint_t
#undef __need_size_t
#undef __need_wchar_t
#undef __need_ptrdiff_t
#undef __need_NULL
#ifndef NULL
#define NULL ((void *)0)
#endif
#ifndef offsetof
#define offsetof(type, member) __builtin_offsetof(type, member)
#endif
"""
_STDARG = """
#ifndef __GNUC_VA_LIST
#define __GNUC_VA_LIST
typedef __builtin_va_list __gnuc_va_list;
#endif
#ifndef __need___va_list
typedef __builtin_va_list va_list;
#endif
#undef __need___va_list
"""
_LIMITS = "".join(
    f"#undef {name}\n#define {name} {value}\n"
    for name, value in (
        ("CHAR_BIT", "8"), ("SCHAR_MAX", "127"), ("SCHAR_MIN", "(-128)"), ("UCHAR_MAX", "255"),
        ("SHRT_MAX", "32767"), ("SHRT_MIN", "(-32768)"), ("USHRT_MAX", "65535"), ("INT_MAX", "__INT_MAX__"),
        ("INT_MIN", "(-__INT_MAX__ - 1)"), ("UINT_MAX", "(__INT_MAX__ * 2U + 1U)"), ("LONG_MAX", "__LONG_MAX__"),
        ("LONG_MIN", "(-__LONG_MAX__ - 1L)"), ("ULONG_MAX", "(__LONG_MAX__ * 2UL + 1UL)"),
        ("LLONG_MAX", "__LONG_LONG_MAX__"), ("LLONG_MIN", "(-__LONG_LONG_MAX__ - 1LL)"),
        ("ULLONG_MAX", "(__LONG_LONG_MAX__ * 2ULL + 1ULL)"),
    )
)  # fmt: skip


def compiler_headers() -> dict[str, str]:
    """The headers that belong to a compiler and not to a C library: the libclang of PyPI comes without."""
    return {
        "stddef.h": _STDDEF,
        "stdarg.h": _STDARG,
        "stdbool.h": "#ifndef bool\n#define bool _Bool\n#define true 1\n#define false 0\n#endif\n",
        "stdalign.h": "#define alignas _Alignas\n#define alignof _Alignof\n",
        "stdnoreturn.h": "#define noreturn _Noreturn\n",
        # glibc's limits.h wants to include this one in turn, unless it knows by the guard that it was here.
        "limits.h": "#ifndef _GCC_LIMITS_H_\n#define _GCC_LIMITS_H_\n" + _LIMITS + _next("limits.h") + "#endif\n",
        "float.h": "#define DBL_MAX __DBL_MAX__\n#define FLT_MAX __FLT_MAX__\n",
    }


def kernel_tree(config: Config) -> tuple[str, str] | None:
    """(source, build) directories of the running kernel's headers, or of BPFTRACE_KERNEL_SOURCE; None without.

    Debian splits a tree: `linux-headers-6.1.0-53-amd64` has what the build made, `linux-headers-6.1.0-53-common`
    beside it the rest.
    """
    build = config.kernel_source or f"/lib/modules/{os.uname().release}/build"
    common = os.path.realpath(build).rpartition("-")[0] + "-common"
    for source in (build, os.path.join(os.path.dirname(build), "source"), common):
        if os.path.isfile(f"{source}/include/linux/kconfig.h"):
            return source, build
    if config.kernel_source is not None:
        expected = "a directory with a kernel's source or headers (include/linux/kconfig.h is not there)"
        raise host_error(messages.BAD_VARIABLE, name="BPFTRACE_KERNEL_SOURCE", text=build, expected=expected)
    return None


def kernel_tree_arguments(source: str, build: str, architecture: str) -> list[str]:
    """clang's arguments for headers of a kernel tree, as the kernel's own build gives them."""
    arch = {"x86_64": "x86", "aarch64": "arm64", "riscv64": "riscv", "ppc64le": "powerpc", "s390x": "s390"}.get(
        architecture, architecture
    )
    directories = [
        f"{source}/arch/{arch}/include", f"{build}/arch/{arch}/include/generated", f"{source}/include",
        f"{build}/include", f"{source}/arch/{arch}/include/uapi", f"{build}/arch/{arch}/include/generated/uapi",
        f"{source}/include/uapi", f"{build}/include/generated/uapi",
    ]  # fmt: skip
    arguments = [part for directory in dict.fromkeys(directories) for part in ("-isystem", directory)]
    return [
        *arguments, "-include", f"{source}/include/linux/kconfig.h", "-D__KERNEL__", "-D__BPF_TRACING__",
        "-DKBUILD_MODNAME=\"bpftrace\"", "-Dasm_inline=asm", "-Dasm_volatile_goto(...)=",
        "-D__HAVE_BUILTIN_BSWAP16__", "-D__HAVE_BUILTIN_BSWAP32__", "-D__HAVE_BUILTIN_BSWAP64__",
    ]  # fmt: skip


def search_directories(config: Config, architecture: str) -> list[str]:
    """Where <...> is looked for on the disk, in order, without a kernel tree."""
    return [*config.include_directories, *(d.format(architecture=architecture) for d in _SYSTEM_DIRECTORIES)]


def is_uapi(path: str) -> bool:
    """Whether a header of the system is one that the kernel exports: what it declares is better taken from BTF."""
    if path.startswith(KERNEL_DIRECTORY):
        return True
    for directory in ("/usr/include/", "/usr/local/include/"):
        if path.startswith(directory):
            parts = path[len(directory) :].split("/")
            return (parts[1] if parts[0].endswith("-linux-gnu") and len(parts) > 1 else parts[0]) in _UAPI_DIRECTORIES
    return False


def is_kernel_header(name: str) -> bool:
    """Whether <name> looks like a header of the kernel's tree, whose types BTF has."""
    own = ("net", "trace", "crypto", "block", "kernel", "mm", "fs", "drivers")
    return name.partition("/")[0] in (*_UAPI_DIRECTORIES, *own)


def candidates(name: str, directories: list[str]) -> Iterator[str]:
    """The files that an #include could mean."""
    if os.path.isabs(name):
        yield name
    else:
        yield from (os.path.join(directory, name) for directory in directories)
