// Generated from own_types.bt

struct printf_event {
	u32 action;
	u32 arg1;
	char arg2[12];
	u32 arg3;
	u64 arg4;
};

RING(1, events, 8388608);
TABLE(2, "array", u32, u64, want_wakeup, 1);
TABLE(3, "percpu_array", u32, u64, lost, 2); // events, each map's updates, stacks, each loop's stops

/* Memory at an address that itself tells where it is: the upper half of the addresses is the kernel's. */
inline_ long read_any(void *to, u32 size, const void *from)
{
	return (s64)from < 0 ? read_kernel(to, size, from) : read_user(to, size, from);
}

inline_ void count_lost(u32 slot)
{
	u64 *lost_here = map_lookup(MAP(lost), &slot);
	if (lost_here)
		*lost_here += 1;
}

/* User space asks to be woken when it has nothing to do; while it works, no event pays for a wake-up. */
inline_ u64 wakeup(void)
{
	u32 zero = 0;
	u64 *wanted = map_lookup(MAP(want_wakeup), &zero);
	if (!wanted || !*wanted)
		return NO_WAKEUP;
	*wanted = 0;
	return FORCE_WAKEUP;
}

struct registers {
	u64 r15;
	u64 r14;
	u64 r13;
	u64 r12;
	u64 bp;
	u64 bx;
	u64 r11;
	u64 r10;
	u64 r9;
	u64 r8;
	u64 ax;
	u64 cx;
	u64 dx;
	u64 si;
	u64 di;
	u64 orig_ax;
	u64 ip;
	u64 cs;
	u64 flags;
	u64 sp;
	u64 ss;
};

// kprobe:do_nanosleep
int kprobe_do_nanosleep(struct registers *ctx)
{
	u64 di = ctx->di;
	keep(di);
	u64 r = 0;
	s8 value;
	u32 value_2;
	u64 value_3;
	u32 value_4;

	// 12: $r = (struct request *)arg0
	r = di;
	// 13: if ($r->kind == WRITE)
	value = 0;
	read_any(&value, sizeof(value), (void *)(r + 4));
	if (((s64)((u64)value << 60) >> 60) == 5) {
		// 14: printf("%u %s next %u, %d bytes\n", $r->id, $r->name, $r->next->id, sizeof(struct request))
		struct printf_event *event = ring_reserve(MAP(events), sizeof(*event), 0);
		if (event) {
			event->action = 0;
			value_2 = 0;
			read_any(&value_2, sizeof(value_2), (void *)r);
			event->arg1 = value_2;
			read_any(event->arg2, 12, (void *)(void *)(r + 5));
			value_3 = 0;
			read_any(&value_3, sizeof(value_3), (void *)(r + 24));
			value_4 = 0;
			read_any(&value_4, sizeof(value_4), (void *)(value_3));
			event->arg3 = value_4;
			event->arg4 = 32;
			ring_submit(event, wakeup());
		} else {
			count_lost(0);
		}
	}
	return 0;
}
