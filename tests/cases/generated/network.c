// Generated from network.bt

struct inet_address {
	u32 family;
	u8 bytes[16];
};

struct printf_event {
	u32 action;
	struct inet_address arg1;
	u16 arg2;
	struct inet_address arg3;
	u16 arg4;
};

RING(1, events, 8388608);
TABLE(2, "array", u32, u64, want_wakeup, 1);
TABLE(3, "percpu_array", u32, u64, lost, 2); // events, each map's updates, stacks, each loop's stops

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

struct tracepoint_sock_inet_sock_set_state_args {
	u8 skip_0[20];
	s32 newstate;
	u16 sport;
	u16 dport;
	u16 family;
};

// tracepoint:sock:inet_sock_set_state
int tracepoint_sock_inet_sock_set_state(struct tracepoint_sock_inet_sock_set_state_args *ctx)
{
	s64 newstate = ctx->newstate;
	keep(newstate);
	u64 sport = ctx->sport;
	keep(sport);
	u64 family = ctx->family;
	keep(family);
	u64 dport = ctx->dport;
	keep(dport);

	// 2: /args->newstate == TCP_ESTABLISHED/
	if (!((s64)newstate == 1))
		return 0;
	// 4: printf("%s:%d -> %s:%d\n", ntop(args->saddr), args->sport, ntop(args->family, args->daddr_v6), ar...
	struct printf_event *event = ring_reserve(MAP(events), sizeof(*event), 0);
	if (event) {
		event->action = 0;
		zero_fill(&event->arg1, sizeof(event->arg1));
		event->arg1.family = 2;
		read_kernel(event->arg1.bytes, 4, (void *)((char *)ctx + 32));
		event->arg2 = sport;
		zero_fill(&event->arg3, sizeof(event->arg3));
		event->arg3.family = family;
		read_kernel(event->arg3.bytes, 16, (void *)((char *)ctx + 56));
		event->arg4 = dport;
		ring_submit(event, wakeup());
	} else {
		count_lost(0);
	}
	return 0;
}
