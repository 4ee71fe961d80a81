"""The C text of a whole program: what functions need of tables and small routines, then the functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bpftrace_py.codegen.ctypes_text import Structs
from bpftrace_py.config import Config
from bpftrace_py.record import record

STACKS_MAX = 131072  # distinct stacks that are kept
PERCPU_LIMIT = 32000  # bytes of a value of a per-CPU map: the kernel's limit is 32 KB
TASKS_BYTES = 128 << 20  # of all of those together
TASKS_MAX = 4096  # threads that may be inside one preemptible program at the same time
NO_PREALLOC = 1
SMALL_RING = 1 << 18  # bytes

_READ_ANY = """/* {what} at an address that itself tells where it is: the upper half of the addresses is the kernel's. */
inline_ long {name}(void *to, u32 size, const void *from)
{{
	return (s64)from < 0 ? {kernel}(to, size, from) : {user}(to, size, from);
}}"""

_COUNT_LOST = """inline_ void count_lost(u32 slot)
{
	u64 *lost_here = map_lookup(MAP(lost), &slot);
	if (lost_here)
		*lost_here += 1;
}"""

_WAKEUP = """/* User space asks to be woken when it has nothing to do; while it works, no event pays for a wake-up. */
inline_ u64 wakeup(void)
{
	u32 zero = 0;
	u64 *wanted = map_lookup(MAP(want_wakeup), &zero);
	if (!wanted || !*wanted)
		return NO_WAKEUP;
	*wanted = 0;
	return FORCE_WAKEUP;
}"""

_READ_LATER = """/* Leave word of a string that could not be read, as a rule since its page is not there yet: user space reads it. */
inline_ u64 read_later(char *to, u32 size, u64 address)
{
	u32 process = pid_tgid() >> 32;
	__builtin_memcpy(to, "\\0late\\0s\\1", 8);
	__builtin_memcpy(to + 8, &address, 8);
	__builtin_memcpy(to + 16, &process, 4);
	__builtin_memcpy(to + 20, &size, 4);
	return 1;
}"""

_TOLD = """/* -k: tell user space of a helper that failed. Before Linux 6.4, some set no more than the int. */
inline_ int told(u32 action, int result)
{
	if (result < 0) {
		s64 *record = ring_reserve(MAP(events), 16, 0);
		if (record) {
			record[0] = action;
			record[1] = result;
			ring_submit(record, wakeup());
		} else {
			count_lost(0);
		}
	}
	return result;
}"""

_LOOP_TIME = """/*
 * `loops_paid` is the moment at which this CPU's loops will have taken their share of its time and no more. A loop does not begin
 * while that is too far ahead. An interrupt may come in between and its update be lost: one loop then costs nothing.
 */
inline_ u64 enter_loop(volatile struct loop_run *run)
{
	u32 zero = 0;
	u64 now = ktime_ns(), *paid = map_lookup(MAP(loops_paid), &zero);
	run->took = 0;
	run->seen = paid && *paid <= now + LOOP_CREDIT ? now : 0;
	return run->seen;
}

inline_ u64 took_until(u64 now, volatile struct loop_run *run)
{
	u64 step = now - run->seen;
	return run->took + (step < LOOP_STEP ? step : LOOP_STEP);
}

inline_ u64 may_go_on(volatile struct loop_run *run)
{
	u64 now = ktime_ns();
	run->took = took_until(now, run);
	run->seen = run->took < LOOP_RUN ? now : 0;
	return run->seen;
}

inline_ int leave_loop(volatile struct loop_run *run)
{
	u32 zero = 0;
	u64 now = ktime_ns(), *paid = map_lookup(MAP(loops_paid), &zero);
	u64 took = run->seen ? took_until(now, run) : run->took;
	if (paid && took)
		*paid = (*paid > now - took ? *paid : now - took) + LOOP_PRICE * took;
	return 0;
}"""

_SEND = """/* Ask for an action without arguments. Where there is no room for it, it stays pending, out of order but not lost. User
 * space wakes for it: what an exit() is late for still runs. */
inline_ void send(u32 action)
{
	u32 *record = ring_reserve(MAP(events), 8, 0);
	if (record) {
		record[0] = action;
		record[1] = 0;
		ring_submit(record, FORCE_WAKEUP);
	} else {
		u64 *waiting = map_lookup(MAP(pending), &action);
		if (waiting)
			add_to(waiting, 1);
		count_lost(0);
	}
}"""

_KEEP_STACK = """/*
 * The id of the current stack; 0 if there is none. The frames are kept once, under a hash of them: equal stacks are one.
 * Another program, or this one in another thread, may come in between and use the same memory: `owner` tells, and we start again.
 */
inline_ u64 keep_stack(void *ctx, void *stacks, u32 limit, u64 flags, u64 program)
{
	u32 zero = 0;
	volatile struct stack_frames *s = map_lookup(MAP(stack_scratch), &zero);
	u64 owner = pid_tgid() ^ (program << 54), id = 0;
	#pragma clang loop unroll(disable)
	for (u32 attempt = 0; s && attempt < 3; attempt++) {
		s->owner = owner;
		long bytes = get_stack(ctx, (void *)s->frames, limit * 8, flags);
		if (bytes <= 0)
			break;
		s->depth = (u64)bytes / 8; // in memory, since the verifier follows a number in a register
		u64 hash = s->depth ^ 0x2545f4914f6cdd1dULL;
		#pragma clang loop unroll(disable)
		for (u32 i = 0; i < limit; i++) {
			if (!(i & 7) && i >= s->depth)
				break; // the frames behind the last one are zeros
			hash = (hash ^ s->frames[i]) * 0x9e3779b97f4a7c15ULL;
			hash ^= hash >> 29;
		}
		hash |= 1;
		if (s->owner != owner)
			continue;
		if (attempt > 0 || !map_lookup(stacks, &hash))
			if (map_update(stacks, &hash, (void *)&s->depth, ANY))
				count_lost(%d);
		if (s->owner == owner) {
			id = hash;
			break;
		}
	}
	forget(id, owner);
	return id;
}"""


@record(frozen=True)
class Scratch:
    """Memory of one program that its stack has no room for, of `size` bytes. `by_thread`: the program may lose the CPU
    to another run of itself, so that each thread needs its own."""

    name: str
    members: tuple[str, ...]
    by_thread: bool
    size: int
    cpus: int

    @property
    def large(self) -> bool:
        """Whether it is more than the kernel gives a value of a per-CPU map: an array has an element for each CPU then."""
        return self.size > PERCPU_LIMIT


class Tables:
    """Writes the tables in the order that gives them their numbers."""

    def __init__(self, needs: set[str], config: Config, maps: int, actions: int, stack_frames: dict[bool, int], loops: int) -> None:
        self._needs = needs
        self._config = config
        self._maps = maps
        self._actions = actions
        self._frames = stack_frames
        self._loops = loops
        self._number = 0

    def _next(self) -> int:
        self._number += 1
        return self._number

    def text(
        self,
        name: str,
        structs: Structs,
        maps: Sequence[Callable[[int], list[str]]],
        records: list[str],
        contexts: list[str],
        scratches: list[Scratch],
        functions: list[str],
    ) -> str:
        tables = [line for table in maps for line in table(self._next())]
        own = self._own_tables() + [line for scratch in scratches for line in self._scratch(scratch)]
        parts = [
            f"// Generated from {_clean(name)}",
            *structs.definitions,
            "\n".join(tables),
            *records,
            "\n".join(own),
            *self._routines(scratches),
            *contexts,
            *functions,
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    @property
    def ring_bytes(self) -> int:
        """The size of the ring buffer, 0 if there is none."""
        if "events" not in self._needs:
            return 0
        # The kernel takes 2 ms to make a large ring; requests without arguments need little room.
        return self._config.ring_bytes if "records" in self._needs else min(self._config.ring_bytes, SMALL_RING)

    def _own_tables(self) -> list[str]:
        needs, lines = self._needs, []
        if "events" in needs:
            lines.append(f"RING({self._next()}, events, {self.ring_bytes});")
            lines.append(f'TABLE({self._next()}, "array", u32, u64, want_wakeup, 1);')
        if needs & {"events", "lost"}:
            lines.append(
                f'TABLE({self._next()}, "percpu_array", u32, u64, lost, {self._maps + 2 + self._loops}); '
                "// events, each map's updates, stacks, each loop's stops"
            )
        if "control" in needs:
            lines.append(f'TABLE({self._next()}, "array", u32, u64, pending, {self._actions});')
        if "session" in needs:
            lines.append(
                f'TABLE({self._next()}, "array", u32, u64, session_values, 2); // start time, pid of the command'
            )
        if "join" in needs:
            lines.append("struct join_event {\n\tu32 action;\n\tu32 count;\n\tchar strings[16][1024];\n};")
        if "loop_run" in needs:
            lines.append(
                "struct loop_run {\n\tu64 seen; // when the clock was looked at; 0: there is no time left\n"
                "\tu64 took; // until then\n};"
            )
            lines.append(f'TABLE({self._next()}, "percpu_array", u32, u64, loops_paid, 1);')
        if "stacks" in needs:
            lines += self._stack_tables()
        return lines

    def _stack_tables(self) -> list[str]:
        frames = max(self._frames.values())
        lines = [
            f"struct stack_frames {{\n\tu64 owner;\n\tu64 depth;\n\tu64 frames[{frames}];\n}};",
            f'TABLE({self._next()}, "percpu_array", u32, struct stack_frames, stack_scratch, 1);',
            f"struct kept_stack {{\n\tu64 depth;\n\tu64 frames[{frames}];\n}};",
        ]
        for user, table in ((False, "kernel_stacks"), (True, "user_stacks")):
            if self._frames[user]:
                lines.append(
                    f'TABLE_FLAGS({self._next()}, "hash", u64, struct kept_stack, {table}, {STACKS_MAX}, {NO_PREALLOC});'
                )
        return lines

    def _scratch(self, scratch: Scratch) -> list[str]:
        members = "\n\t".join(scratch.members)
        lines = [f"struct {scratch.name} {{\n\t{members}\n}};"]
        if scratch.by_thread:
            kind, entries, key = "lru_hash", max(64, min(TASKS_MAX, TASKS_BYTES // max(scratch.size, 1))), "u64"
        else:
            kind, entries, key = ("array", scratch.cpus, "u32") if scratch.large else ("percpu_array", 1, "u32")
        lines.append(
            f'TABLE({self._next()}, "{kind}", {key}, struct {scratch.name}, memory_of_{scratch.name}, {entries});'
        )
        if scratch.by_thread:
            lines.append(f'TABLE({self._next()}, "array", u32, struct {scratch.name}, empty_{scratch.name}, 1);')
        return lines

    def _routines(self, scratches: list[Scratch]) -> list[str]:
        needs, parts = self._needs, []
        if "read_any" in needs:
            parts.append(_READ_ANY.format(what="Memory", name="read_any", kernel="read_kernel", user="read_user"))
        if "read_any_str" in needs:
            parts.append(
                _READ_ANY.format(what="The string", name="read_any_str", kernel="read_kernel_str", user="read_user_str")
            )
        if needs & {"events", "lost"}:
            parts.append(_COUNT_LOST)
        if "events" in needs:
            parts.append(_WAKEUP)
        if "loop_run" in needs:
            parts.append(_LOOP_TIME)
        if "told" in needs:
            parts.append(_TOLD)
        if "late" in needs:
            parts.append(_READ_LATER)
        if "control" in needs:
            parts.append(_SEND)
        if "stacks" in needs:
            parts.append(_KEEP_STACK % (self._maps + 1))
        parts += [_own_scratch(s) if s.by_thread else _cpu_scratch(s) for s in scratches]
        return parts


def _cpu_scratch(scratch: Scratch) -> str:
    return f"""inline_ struct {scratch.name} *get_{scratch.name}(void)
{{
	u32 index = {"cpu_id()" if scratch.large else "0"};
	return map_lookup(MAP(memory_of_{scratch.name}), &index);
}}"""


def _own_scratch(scratch: Scratch) -> str:
    return f"""/* Another thread may run the same program on this CPU before this one is through: memory goes by thread. */
inline_ struct {scratch.name} *get_{scratch.name}(void)
{{
	u32 zero = 0;
	u64 thread = pid_tgid();
	struct {scratch.name} *own = map_lookup(MAP(memory_of_{scratch.name}), &thread), *empty;
	if (own)
		return own;
	empty = map_lookup(MAP(empty_{scratch.name}), &zero);
	if (!empty)
		return 0;
	map_update(MAP(memory_of_{scratch.name}), &thread, empty, ANY);
	return map_lookup(MAP(memory_of_{scratch.name}), &thread);
}}"""


def _clean(text: str) -> str:
    return "".join(c if 32 <= ord(c) < 127 else "?" for c in text).rstrip("\\")
