"""Names in the generated C: the script's own where C lets us."""

from __future__ import annotations

_C = """auto break case char const continue default do double else enum extern float for goto if inline int long register
restrict return short signed sizeof static struct switch typedef union unsigned void volatile while asm
typeof bool true false"""
_PRELUDE = """s8 u8 s16 u16 s32 u32 s64 u64 BCC_SEC SEC MAP TABLE TABLE_FLAGS RING inline_ aligned8 map_lookup map_update
map_delete ktime_ns random_u32 cpu_id pid_tgid uid_gid current_comm read_comm comm_of_task
current_task_btf stack_id current_task numa_node_id override_return
get_stack current_cgroup_id send_signal read_user read_kernel read_user_str read_kernel_str boot_ns ring_reserve
ring_submit path_of function_ip attach_cookie ANY NOEXIST EXIST NO_WAKEUP FORCE_WAKEUP add_to keep use_whole_stack forget barrier ROUNDS
LOOP_DIVISOR out_of_rounds out_of_kernel_rounds LOOP_PRICE LOOP_CREDIT LOOP_RUN LOOP_STEP LOOP_ROUNDS_A_LOOK out_of_time
out_of_kernel_time enter_loop took_until may_go_on leave_loop zero_fill copy_text zero_fill_large
unsigned_div unsigned_mod signed_div signed_mod log2_bucket linear_bucket strings_differ aligned_strings_differ as_int
read_any read_any_str wakeup count_lost send
keep_stack told read_later bpf_pseudo_fd"""
_GENERATED = """ctx scratch events want_wakeup lost pending session_values loops_paid kernel_stacks user_stacks stack_scratch registers main
linux unix i386"""
RESERVED = frozenset((_C + " " + _PRELUDE + " " + _GENERATED).split())  # never a local's name
# Names that generated locals like to have, so that a script's variables leave them alone.
LOCALS = frozenset("key value event comm pid tid uid gid cpu task cgroup text tuple zero slot bucket first n".split())


def c_name(text: str) -> str:
    """Any text as a C identifier."""
    name = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in text)
    return f"_{name}" if not name or name[0].isdigit() else name
