/*
 * What every generated program stands on. BCC force-includes a file of this name first; with its own helpers.h
 * and bpf.h switched off it is all that the compiler sees, so that no kernel headers are needed.
 *
 * Helpers have names of our own: BCC's rewriter and its symbol look-ups (60 ms a call) know only the kernel's names.
 */
#ifndef BPFTRACE_PY_PRELUDE
#define BPFTRACE_PY_PRELUDE

typedef signed char s8;
typedef unsigned char u8;
typedef short s16;
typedef unsigned short u16;
typedef int s32;
typedef unsigned int u32;
typedef long long s64;
typedef unsigned long long u64;

#define BCC_SEC(name) __attribute__((section(name), used)) /* BCC's footer uses it */
#define SEC(name) __attribute__((section(name)))
#define inline_ static inline __attribute__((always_inline, unused))
#define aligned8 __attribute__((aligned(8)))

/*
 * --- helpers, by their number in the kernel's interface. Macros, since BCC has clang read this text three times: what a program
 * does not use is not even parsed then.
 */

#define map_lookup(map, key) ((void *(*)(void *, const void *))1)(map, key)
#define map_update(map, key, value, flags) ((long (*)(void *, const void *, const void *, u64))2)(map, key, value, flags)
#define map_delete(map, key) ((long (*)(void *, const void *))3)(map, key)
#define ktime_ns() ((u64 (*)(void))5)()
#define random_u32() ((u32 (*)(void))7)()
#define cpu_id() ((u32 (*)(void))8)()
#define pid_tgid() ((u64 (*)(void))14)()
#define uid_gid() ((u64 (*)(void))15)()
#define current_comm(to, size) ((long (*)(void *, u32))16)(to, size)
#define stack_id(ctx, map, flags) ((long (*)(void *, void *, u64))27)(ctx, map, flags)
#define current_task() ((u64 (*)(void))35)()
#define numa_node_id() ((u32 (*)(void))42)()
#define override_return(ctx, value) ((long (*)(void *, u64))58)(ctx, value)
#define get_stack(ctx, to, size, flags) ((long (*)(void *, void *, u32, u64))67)(ctx, to, size, flags)
#define current_cgroup_id() ((u64 (*)(void))80)()
#define send_signal(signal) ((long (*)(u32))109)(signal)
#define read_user(to, size, from) ((long (*)(void *, u32, const void *))112)(to, size, from)
#define read_kernel(to, size, from) ((long (*)(void *, u32, const void *))113)(to, size, from)
#define read_user_str(to, size, from) ((long (*)(void *, u32, const void *))114)(to, size, from)
#define read_kernel_str(to, size, from) ((long (*)(void *, u32, const void *))115)(to, size, from)
#define boot_ns() ((u64 (*)(void))125)()
#define ring_reserve(ring, size, flags) ((void *(*)(void *, u64, u64))131)(ring, size, flags)
#define ring_submit(record, flags) ((void (*)(void *, u64))132)(record, flags)
#define path_of(path, to, size) ((long (*)(void *, char *, u32))147)(path, to, size)
#define current_task_btf() ((const char *(*)(void))158)()
#define function_ip(ctx) ((u64 (*)(void *))173)(ctx)
#define attach_cookie(ctx) ((u64 (*)(void *))174)(ctx)

/*
 * --- maps. `n` counts the tables of a program from 1: BCC gives them the file descriptors -1, -2, ... until they exist. What it
 * then creates is as small as can be, and thrown away: the loader creates the maps, with the room that `entries` and `bytes` say.
 */

u64 bpf_pseudo_fd(u64, u64) asm("llvm.bpf.pseudo");
#define MAP(name) ((void *)bpf_pseudo_fd(1, fd_of_##name))
#define TABLE_FLAGS(n, type, K, V, name, entries, map_flags)                                                           \
	struct name##_table_t { K key; V leaf; V *(*lookup)(K *); int (*update)(K *, V *);                                  \
		int (*insert)(K *, V *); int (*delete)(K *); u32 max_entries; int flags; };                                     \
	static SEC("maps/" type) struct name##_table_t name = { .max_entries = 1, .flags = (map_flags) };                  \
	enum { fd_of_##name = -(n) }
#define TABLE(n, type, K, V, name, entries) TABLE_FLAGS(n, type, K, V, name, entries, 0)
#define RING(n, name, bytes)                                                                                            \
	struct name##_table_t { int key; u32 leaf; u32 max_entries; };                                                      \
	static SEC("maps/ringbuf") struct name##_table_t name = { .max_entries = 4096 };                                   \
	enum { fd_of_##name = -(n) }

enum { ANY = 0, NOEXIST = 1, EXIST = 2 }; /* flags of map_update */
enum { NO_WAKEUP = 1, FORCE_WAKEUP = 2 }; /* flags of ring_submit */

#define add_to(place, n) __sync_fetch_and_add(place, n) /* other CPUs may add at the same moment */

/* --- small things that many programs need. A function is there if the program calls it (USES_, which the backend defines). */

/* The compiler knows nothing of a number any more, and does not work it out anew behind a check that the verifier follows. */
#define keep(n) asm volatile("" : "+r"(n))
/* All that a program may have. Some verifiers (seen in 6.18) trip over a part that is used for the first time by a helper: EFAULT. */
#define use_whole_stack() asm volatile("*(u64 *)(r10 - 512) = %0" ::"r"(0ULL) : "memory")
#define barrier() asm volatile("" ::: "memory")

/* Stores of some size are kept apart: the compiler would make one call of memset() of several, which BPF does not have. */
#define zero_fill(to, size)                                                                                             \
	do {                                                                                                            \
		if ((size) > 32)                                                                                        \
			barrier();                                                                                      \
		__builtin_memset(to, 0, size);                                                                          \
		if ((size) > 32)                                                                                        \
			barrier();                                                                                      \
	} while (0)
/* Helper 113 fills with zeros what it cannot read: one call instead of a store for every 8 bytes. */
#define zero_fill_large(to, size) read_kernel(to, size, 0)

/*
 * A literal, which becomes stores of constants. The `asm` keeps the compiler from making one copy of this and another branch's: it
 * would choose between their addresses, and a literal has none, since BPF programs have no data.
 */
#define copy_text(to, text, size)                                                                                       \
	do {                                                                                                            \
		__builtin_memcpy(to, text, size);                                                                       \
		asm volatile("");                                                                                       \
	} while (0)

/* The name of the current thread, with zeros behind its end, which not every kernel's helper writes (seen with 6.1). */
#define read_comm(to)                                                                                                   \
	do {                                                                                                            \
		zero_fill(to, 16);                                                                                      \
		current_comm(to, 16);                                                                                   \
	} while (0)
/*
 * The same from the task_struct, for a third of the time: BTF tells where it is there, a kernel since 5.11 lets programs look.
 * Behind the first NUL may be the rest of an older, longer name; the last byte is a NUL. `end`: see aligned_strings_differ.
 */
#ifdef USES_comm_of_task
inline_ void comm_of_task(char *to, u32 offset)
{
	const u64 ones = 0x0101010101010101ULL;
	const char *task = current_task_btf() + offset;
	u64 first = *(const volatile u64 *)task, last = *(const volatile u64 *)(task + 8) << 8 >> 8, end;
	end = (first - ones) & ~first & (ones << 7);
	end = (end & -end) - 1; /* ones before the end; all, and the highest, too, if there is none */
	first &= end;
	last &= (s64)end >> 63;
	end = (last - ones) & ~last & (ones << 7);
	last &= (end & -end) - 1;
	__builtin_memcpy(to, &first, 8);
	__builtin_memcpy(to + 8, &last, 8);
}
#endif

/*
 * Whether a loop has to be left; the verifier must see an end. It follows a loop round by round and bears no more than some:
 * `rounds` counts up to them. Where it gives up all the same, the program is compiled with fewer.
 */
#define LOOP_DIVISOR 1
#define ROUNDS(n) ((n) >= LOOP_DIVISOR ? (n) / LOOP_DIVISOR : 1)
#define out_of_rounds(rounds, most, left) (++rounds > ROUNDS(most))
/*
 * A kernel that has the instruction may_goto (6.9) ends loops by itself, at the latest after 8 million rounds. `left` ends them
 * sooner: it counts down for all loops of a program, in memory, since the verifier would follow a register.
 */
#define out_of_kernel_rounds(rounds, most, left)                                                                        \
	({                                                                                                              \
		__label__ over, decided;                                                                                \
		u32 out = --left < 0;                                                                                   \
		asm volatile goto("1: .byte 0xe5, 0; .long ((%l[over] - 1b - 8) / 8) & 0xffff; .short 0" ::::over);     \
		goto decided;                                                                                           \
	over:                                                                                                           \
		out = 1;                                                                                                \
	decided:                                                                                                        \
		out;                                                                                                    \
	})

/*
 * The loops of events get a share of each CPU's time and no more, whatever the script and the events are: a nanosecond in them
 * costs LOOP_PRICE, so that at 2 they take half. They may be LOOP_CREDIT ns ahead, and one run goes on for no more than LOOP_RUN.
 * What comes between two looks at the clock (another thread, another virtual machine) counts for no more than LOOP_STEP.
 */
enum { LOOP_PRICE = 2, LOOP_CREDIT = 20000000, LOOP_RUN = 8000000, LOOP_STEP = 4000000, LOOP_ROUNDS_A_LOOK = 32 };
/* Where the verifier follows each round there are so few that the clock is looked at before and behind them only. */
#define out_of_time(rounds, left, run) (rounds == 1 && !(run)->seen)
#define out_of_kernel_time(rounds, left, run) (left % LOOP_ROUNDS_A_LOOK == 0 && !may_go_on(run) && !(left = 0))

/*
 * Division by zero is 0 to BPF, and what is left is all; to C it is anything, so that the compiler must not see the zero. Nor may it
 * see what is divided and what comes out: it takes a comparison of the two for a question about a and b, or about an overflow.
 */
#ifdef USES_unsigned_div
inline_ u64 unsigned_div(u64 a, u64 b)
{
	keep(a);
	keep(b);
	a /= b;
	keep(a);
	return a;
}
#endif

#ifdef USES_unsigned_mod
inline_ u64 unsigned_mod(u64 a, u64 b)
{
	keep(b);
	a %= b;
	keep(a);
	return a;
}
#endif

/* C's division, which BPF has for unsigned numbers only. Dividing by zero gives 0, as BPF does. */
#ifdef USES_signed_div
inline_ s64 signed_div(s64 a, s64 b)
{
	u64 n = a < 0 ? -(u64)a : a, d = b < 0 ? -(u64)b : b;
	u64 q = d ? n / d : 0;
	return (a < 0) != (b < 0) ? -q : q;
}
#endif

#ifdef USES_signed_mod
inline_ s64 signed_mod(s64 a, s64 b)
{
	u64 n = a < 0 ? -(u64)a : a, d = b < 0 ? -(u64)b : b;
	u64 r = d ? n % d : n;
	return a < 0 ? -r : r;
}
#endif

/* The same number, but the verifier no longer knows anything about it: it would follow each of some few values on its own. */
#define forget(n, any)                                                                                                  \
	do {                                                                                                            \
		n ^= any;                                                                                               \
		keep(n);                                                                                                \
		n ^= any;                                                                                               \
	} while (0)

/* The bucket of a log2 histogram: 0 below zero, 1 for 0, 2 for 1, n + 2 from 2^n on. Six halvings instead of 63 tests. */
#ifdef USES_log2_bucket
inline_ u64 log2_bucket(s64 value)
{
	u64 v = value, bucket = 2;
	if (value < 0)
		return 0;
	if (v == 0)
		return 1;
	if (v >> 32) { v >>= 32; bucket += 32; }
	if (v >> 16) { v >>= 16; bucket += 16; }
	if (v >> 8) { v >>= 8; bucket += 8; }
	if (v >> 4) { v >>= 4; bucket += 4; }
	if (v >> 2) { v >>= 2; bucket += 2; }
	bucket += v >> 1;
	forget(bucket, value);
	return bucket;
}
#endif

/* The bucket of a linear histogram: 0 below `low`, the last one from `high` on. */
#ifdef USES_linear_bucket
inline_ u64 linear_bucket(s64 value, s64 low, s64 high, u64 step)
{
	if (value < low)
		return 0;
	if (value >= high)
		return (u64)(high - low) / step + 1;
	return (u64)(value - low) / step + 1;
}
#endif

/* A register as the int that it may hold: its upper half is then whatever was there. */
#ifdef USES_as_int
inline_ s64 as_int(u64 value)
{
	return value >> 32 ? (s64)value : (s64)(s32)value;
}
#endif

/*
 * 0 if the first `n` bytes of two strings are equal up to their end, else 1. Without a branch for every byte: the verifier
 * follows each of them.
 */
#if defined USES_strings_differ || defined USES_aligned_strings_differ
inline_ s64 strings_differ(const char *a, const char *b, u32 n)
{
	u64 differ = 0, live = 1; /* live: 1 until the end of `a`. No mask of ones: the verifier would try ones and zeros */
	keep(a); /* or a literal would be compared where it is not: in data that BPF programs do not have */
	keep(b);
	#pragma clang loop unroll(disable)
	for (u32 i = 0; i < n; i++) {
		u64 x = (u8)a[i];
		keep(x);
		differ |= (x ^ (u8)b[i]) * live;
		live &= ((x - 1) >> 63) ^ 1;
		if (i % 8 == 7 && (differ | (live ^ 1)))
			break;
	}
	return differ != 0;
}
#endif

/*
 * The same for strings at multiples of 8, on a little-endian machine: 8 bytes at a time. `ends` has the highest bit of the first
 * byte that is 0 in `a` (and may have some above it).
 */
#ifdef USES_aligned_strings_differ
inline_ s64 aligned_strings_differ(const char *a, const char *b, u32 n)
{
	const u64 ones = 0x0101010101010101ULL;
	u64 x, difference = 0, ends = 0;
	keep(a);
	keep(b);
	#pragma clang loop unroll(disable)
	for (u32 i = 0; i + 8 <= n; i += 8) {
		x = *(const u64 *)(a + i);
		difference = x ^ *(const u64 *)(b + i);
		ends = (x - ones) & ~x & (ones << 7);
		if (difference | ends)
			break;
	}
	if (ends) // then what counts is whether a byte up to there is different
		return difference && (difference & -difference) <= (ends & -ends);
	if (difference || n % 8 == 0)
		return difference != 0;
	return strings_differ(a + n / 8 * 8, b + n / 8 * 8, n % 8);
}
#endif

#endif
