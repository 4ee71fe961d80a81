"""A machine made of constants: what tests of the compiler use where the real one asks the kernel.

The formats are those of Linux 6.18 on x86-64; the types are a small part of its BTF.
"""

from __future__ import annotations

from collections.abc import Iterable

from bpftrace_py.host import UserTypes
from bpftrace_py.types import (
    INT32,
    INT64,
    UINT32,
    UINT64,
    VOID,
    ArrayType,
    Bitfield,
    Field,
    IntegerType,
    PointerType,
    RecordType,
    StringType,
    Type,
)

_HEADER = """name: {event}
ID: {id}
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

"""

# category, event, id, ((declaration, offset, size, signed), ...)
_TRACEPOINTS: tuple[tuple[str, str, int, tuple[tuple[str, int, int, int], ...]], ...] = (
    ("block", "block_rq_issue", 2104, (
        ("dev_t dev", 8, 4, 0),
        ("sector_t sector", 16, 8, 0),
        ("unsigned int nr_sector", 24, 4, 0),
        ("unsigned int bytes", 28, 4, 0),
        ("unsigned short ioprio", 32, 2, 0),
        ("char rwbs[10]", 34, 10, 0),
        ("char comm[16]", 44, 16, 0),
        ("__data_loc char[] cmd", 60, 4, 0),
    )),
    ("kmem", "kmalloc", 658, (
        ("unsigned long call_site", 8, 8, 0),
        ("const void * ptr", 16, 8, 0),
        ("size_t bytes_req", 24, 8, 0),
        ("size_t bytes_alloc", 32, 8, 0),
        ("unsigned long gfp_flags", 40, 8, 0),
        ("int node", 48, 4, 1),
    )),
    ("raw_syscalls", "sys_enter", 443, (
        ("long id", 8, 8, 1),
        ("unsigned long args[6]", 16, 48, 0),
    )),
    ("raw_syscalls", "sys_exit", 442, (
        ("long id", 8, 8, 1),
        ("long ret", 16, 8, 1),
    )),
    ("sched", "sched_process_exec", 365, (
        ("__data_loc char[] filename", 8, 4, 0),
        ("pid_t pid", 12, 4, 1),
        ("pid_t old_pid", 16, 4, 1),
    )),
    ("sched", "sched_switch", 372, (
        ("char prev_comm[16]", 8, 16, 0),
        ("pid_t prev_pid", 24, 4, 1),
        ("int prev_prio", 28, 4, 1),
        ("long prev_state", 32, 8, 1),
        ("char next_comm[16]", 40, 16, 0),
        ("pid_t next_pid", 56, 4, 1),
        ("int next_prio", 60, 4, 1),
    )),
    ("sched", "sched_wakeup", 374, (
        ("char comm[16]", 8, 16, 0),
        ("pid_t pid", 24, 4, 1),
        ("int prio", 28, 4, 1),
        ("int target_cpu", 32, 4, 1),
    )),
    ("sock", "inet_sock_set_state", 2287, (
        ("const void * skaddr", 8, 8, 0),
        ("int oldstate", 16, 4, 1),
        ("int newstate", 20, 4, 1),
        ("__u16 sport", 24, 2, 0),
        ("__u16 dport", 26, 2, 0),
        ("__u16 family", 28, 2, 0),
        ("__u16 protocol", 30, 2, 0),
        ("__u8 saddr[4]", 32, 4, 0),
        ("__u8 daddr[4]", 36, 4, 0),
        ("__u8 saddr_v6[16]", 40, 16, 0),
        ("__u8 daddr_v6[16]", 56, 16, 0),
    )),
    ("syscalls", "sys_enter_execve", 862, (
        ("int __syscall_nr", 8, 4, 1),
        ("const char * filename", 16, 8, 0),
        ("const char *const * argv", 24, 8, 0),
        ("const char *const * envp", 32, 8, 0),
    )),
    ("syscalls", "sys_enter_nanosleep", 469, (
        ("int __syscall_nr", 8, 4, 1),
        ("struct __kernel_timespec * rqtp", 16, 8, 0),
        ("struct __kernel_timespec * rmtp", 24, 8, 0),
    )),
    ("syscalls", "sys_enter_openat", 782, (
        ("int __syscall_nr", 8, 4, 1),
        ("int dfd", 16, 8, 0),
        ("const char * filename", 24, 8, 0),
        ("int flags", 32, 8, 0),
        ("umode_t mode", 40, 8, 0),
    )),
    ("syscalls", "sys_enter_read", 842, (
        ("int __syscall_nr", 8, 4, 1),
        ("unsigned int fd", 16, 8, 0),
        ("char * buf", 24, 8, 0),
        ("size_t count", 32, 8, 0),
    )),
    ("syscalls", "sys_exit_openat", 781, (
        ("int __syscall_nr", 8, 4, 1),
        ("long ret", 16, 8, 1),
    )),
    ("syscalls", "sys_exit_read", 841, (
        ("int __syscall_nr", 8, 4, 1),
        ("long ret", 16, 8, 1),
    )),
)  # fmt: skip


def format_text(event: str, identifier: int, fields: Iterable[tuple[str, int, int, int]]) -> str:
    """The text of a format file."""
    lines = [
        f"\tfield:{declaration};\toffset:{offset};\tsize:{size};\tsigned:{signed};\n"
        for declaration, offset, size, signed in fields
    ]
    return _HEADER.format(event=event, id=identifier) + "".join(lines) + '\nprint fmt: "", 0\n'


FORMATS = {(category, event): format_text(event, i, fields) for category, event, i, fields in _TRACEPOINTS}

INT8 = IntegerType(1, True)
UINT8 = IntegerType(1, False)
UINT16 = IntegerType(2, False)

PATH = RecordType("struct path", 16, 8)
DENTRY = RecordType("struct dentry", 192, 8)
QSTR = RecordType("struct qstr", 16, 8)
VFSMOUNT = RecordType("struct vfsmount", 32, 8)
INODE = RecordType("struct inode", 632, 8)
FILE = RecordType("struct file", 184, 8)
TASK = RecordType("struct task_struct", 9600, 64)
NSPROXY = RecordType("struct nsproxy", 72, 8)
TIMESPEC = RecordType("struct __kernel_timespec", 16, 8)
SOCK = RecordType("struct sock", 776, 8)
SOCK_COMMON = RecordType("struct sock_common", 136, 8)
LIST_HEAD = RecordType("struct list_head", 16, 8)
UNION = RecordType("union bpf_attr", 168, 8)

_FIELDS: dict[str, tuple[Field, ...]] = {
    "struct path": (Field("mnt", PointerType(VFSMOUNT), 0), Field("dentry", PointerType(DENTRY), 8)),
    "struct dentry": (
        Field("d_flags", UINT32, 0),
        Field("d_parent", PointerType(DENTRY), 24),
        Field("d_name", QSTR, 32),
        Field("d_inode", PointerType(INODE), 48),
    ),
    "struct qstr": (
        Field("hash", UINT32, 0),
        Field("len", UINT32, 4),
        Field("hash_len", UINT64, 0),
        Field("name", PointerType(UINT8), 8),
    ),
    "struct vfsmount": (
        Field("mnt_root", PointerType(DENTRY), 0),
        Field("mnt_flags", INT32, 16),
    ),
    "struct inode": (Field("i_mode", UINT16, 0), Field("i_ino", UINT64, 64), Field("i_size", INT64, 80)),
    "struct file": (Field("f_mode", UINT32, 4), Field("f_path", PATH, 64), Field("f_pos", INT64, 104)),
    "struct task_struct": (
        Field("__state", UINT32, 24),
        Field("stack", PointerType(VOID), 32),
        Field("prio", INT32, 124),
        Field("sched_reset_on_fork", UINT32, 1152, Bitfield(0, 1)),
        Field("in_execve", UINT32, 1156, Bitfield(1, 1)),
        Field("jobctl_bits", UINT32, 1156, Bitfield(4, 3)),
        Field("tasks", LIST_HEAD, 1040),
        Field("pid", INT32, 1256),
        Field("tgid", INT32, 1260),
        Field("real_parent", PointerType(TASK), 1272),
        Field("parent", PointerType(TASK), 1280),
        Field("start_time", UINT64, 1512),
        Field("comm", StringType(16), 1832),
        Field("nsproxy", PointerType(NSPROXY), 1904),
    ),
    "struct nsproxy": (Field("count", INT32, 0),),
    "struct __kernel_timespec": (Field("tv_sec", INT64, 0), Field("tv_nsec", INT64, 8)),
    "struct sock": (Field("__sk_common", SOCK_COMMON, 0), Field("sk_protocol", UINT16, 520)),
    "struct sock_common": (
        Field("skc_daddr", UINT32, 0),
        Field("skc_rcv_saddr", UINT32, 4),
        Field("skc_dport", UINT16, 12),
        Field("skc_num", UINT16, 14),
        Field("skc_family", UINT16, 16),
        Field("skc_state", UINT8, 18),
        Field("skc_v6_daddr", ArrayType(UINT8, 16), 56),
        Field("skc_v6_rcv_saddr", ArrayType(UINT8, 16), 72),
    ),
    "struct list_head": (
        Field("next", PointerType(LIST_HEAD), 0),
        Field("prev", PointerType(LIST_HEAD), 8),
    ),
    "union bpf_attr": (Field("map_type", UINT32, 0), Field("prog_type", UINT32, 0), Field("insns", UINT64, 8)),
}
_TYPES: dict[str, Type] = {
    **{t.name: t for t in (PATH, DENTRY, QSTR, VFSMOUNT, INODE, FILE, TASK, NSPROXY, TIMESPEC, SOCK, SOCK_COMMON,
                           LIST_HEAD, UNION)},
    "pid_t": INT32,
    "uid_t": UINT32,
    "size_t": UINT64,
    "loff_t": INT64,
    "u8": UINT8,
    "u16": UINT16,
    "u32": UINT32,
    "u64": UINT64,
    "enum pid_type": IntegerType(4, False, "enum pid_type"),
}  # fmt: skip
OVL_FILE = RecordType("struct ovl_file of overlay", 16)
_FUNCTIONS: dict[str, tuple[tuple[tuple[str, Type], ...], Type]] = {
    "vfs_open": ((("path", PointerType(PATH)), ("file", PointerType(FILE))), INT32),
    "vfs_read": (
        (
            ("file", PointerType(FILE)),
            ("buf", PointerType(INT8, "user")),
            ("count", UINT64),
            ("pos", PointerType(INT64)),
        ),
        INT64,
    ),
    "vfs_write": (
        (
            ("file", PointerType(FILE)),
            ("buf", PointerType(INT8, "user")),
            ("count", UINT64),
            ("pos", PointerType(INT64)),
        ),
        INT64,
    ),
    "do_nanosleep": ((("t", PointerType(VOID)), ("mode", UINT32)), INT32),
    "tcp_connect": ((("sk", PointerType(SOCK)),), INT32),
    "schedule": ((), VOID),
}
_ENUMERATORS = {
    "TCP_ESTABLISHED": 1,
    "TCP_SYN_SENT": 2,
    "TCP_CLOSE": 7,
    "PIDTYPE_PID": 0,
    "PIDTYPE_TGID": 1,
    "BPF_MAP_TYPE_HASH": 1,
}

_RAW_ARGUMENTS = {
    "sched_switch": ["bool", "struct task_struct *", "struct task_struct *", "unsigned int"],
    "sys_enter": ["struct pt_regs *", "long int"],
    "sys_exit": ["struct pt_regs *", "long int"],
    "sched_wakeup": ["struct task_struct *"],
}


class FakeKernelTypes:
    """`host.KernelTypes` of the constants above."""

    def find(self, name: str) -> Type | None:
        return _TYPES.get(name)

    def fields(self, record: RecordType) -> tuple[Field, ...] | None:
        return _FIELDS.get(record.name)

    def enumerator(self, name: str) -> int | None:
        return _ENUMERATORS.get(name)

    def function(self, name: str) -> tuple[tuple[tuple[str, Type], ...], Type] | None:
        return _FUNCTIONS.get(name)

    def raw_tracepoint(self, event: str) -> list[str] | None:
        return _RAW_ARGUMENTS.get(event)

    def record_names(self) -> Iterable[str]:
        return list(_FIELDS)

    def named(self, keyword: str, name: str | None = None) -> dict[str, list[int]]:
        return {}


class FakeModuleTypes(FakeKernelTypes):
    """Those of a module that has one function and one record."""

    def fields(self, record: RecordType) -> tuple[Field, ...] | None:
        return (Field("flags", UINT32, 8),) if record == OVL_FILE else super().fields(record)

    def function(self, name: str) -> tuple[tuple[tuple[str, Type], ...], Type] | None:
        if name == "ovl_open":
            return (("inode", PointerType(INODE)), ("file", PointerType(OVL_FILE))), INT32
        return super().function(name)


class FakeHost:
    """`host.Host` of the constants above; `types=False` is a kernel without BTF."""

    def __init__(
        self, architecture: str = "x86_64", cpus: int = 4, types: bool = True,
        formats: dict[tuple[str, str], str] | None = None,
    ) -> None:  # fmt: skip
        self.architecture = architecture
        self._cpus = cpus
        self._types = FakeKernelTypes() if types else None
        self.formats = dict(FORMATS if formats is None else formats)
        self.has_fentry_only = False  # a kernel that was built without kprobes
        self.functions = ["schedule", "vfs_open", "vfs_read", "vfs_readv", "vfs_write", "do_nanosleep", "tcp_connect", "ovl_open"]
        self.symbols = {name: 0xFFFFFFFF81000000 + 0x1000 * i for i, name in enumerate(self.functions, 1)}
        self.symbols["jiffies"] = 0xFFFFFFFF82A00000
        self.cgroups = {"/sys/fs/cgroup/unified": 1, "/sys/fs/cgroup/unified/mycg": 4242}

    def cpu_count(self) -> int:
        return self._cpus

    def tracepoint_events(self) -> Iterable[tuple[str, str]]:
        return sorted(self.formats)

    def tracepoint_format(self, category: str, event: str) -> str | None:
        return self.formats.get((category, event))

    def syscall_number(self, event: str) -> int | None:
        return {"read": 0, "nanosleep": 35, "execve": 59, "openat": 257}.get(event)

    def kernel_types(self) -> FakeKernelTypes | None:
        return self._types

    def modules_with_types(self) -> Iterable[str]:
        return ["overlay"]

    def module_types(self, module: str) -> FakeKernelTypes | None:
        return FakeModuleTypes() if module == "overlay" else None

    def module_of(self, function: str) -> str:
        return "overlay" if function == "ovl_open" else ""

    def user_types(self, path: str) -> UserTypes | None:
        return None

    def kernel_functions(self) -> Iterable[str]:
        return list(self.functions)

    def kernel_symbol(self, name: str) -> int | None:
        return self.symbols.get(name)

    def task_comm(self) -> int | None:
        return None

    def fentry_for_kprobes(self) -> bool:
        return self.has_fentry_only

    def cgroup_id(self, path: str) -> int | None:
        return self.cgroups.get(path)
