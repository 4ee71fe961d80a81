// Generated from tuples.bt

struct tuple_1 {
	s32 e0;
	char e1[16];
};

struct tuple_2 {
	s32 e0;
	char e1[16];
	u64 e2;
};

struct tuple_3 {
	s64 e0;
	s64 e1;
};

struct last_value {
	struct tuple_1 value;
};
TABLE(1, "hash", u64, struct last_value, last, 4096);
struct switches_key {
	char part1[16];
	struct tuple_3 part2;
};
TABLE(2, "percpu_hash", struct switches_key, u64, switches, 4096);

struct print_event {
	u32 action;
	struct tuple_2 arg1;
};

RING(3, events, 8388608);
TABLE(4, "array", u32, u64, want_wakeup, 1);
TABLE(5, "percpu_array", u32, u64, lost, 4); // events, each map's updates, stacks, each loop's stops

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

struct tracepoint_sched_sched_switch_args {
	u8 skip_0[24];
	s32 prev_pid;
	s32 prev_prio;
	u8 skip_32[28];
	s32 next_prio;
};

// tracepoint:sched:sched_switch
int tracepoint_sched_sched_switch(struct tracepoint_sched_sched_switch_args *ctx)
{
	s64 prev_pid = ctx->prev_pid;
	keep(prev_pid);
	s64 prev_prio = ctx->prev_prio;
	keep(prev_prio);
	s64 next_prio = ctx->next_prio;
	keep(next_prio);
	struct tuple_1 pair aligned8;
	struct tuple_1 new_value aligned8;
	u64 key;
	struct switches_key key_2;
	u64 first;
	zero_fill(&pair, 20);

	// 4: $pair = (args->prev_pid, args->prev_comm)
	pair.e0 = prev_pid;
	zero_fill(pair.e1, 16);
	read_kernel_str(pair.e1, 16, ((char *)ctx + 8));
	// 5: @last[cpu] = $pair
	__builtin_memcpy(&new_value, &pair, 20);
	u32 cpu = cpu_id();
	key = (u64)cpu;
	if (map_update(MAP(last), &key, &new_value, ANY))
		count_lost(1);
	// 6: @switches[args->next_comm, (args->prev_prio, args->next_prio)] = count()
	zero_fill(key_2.part1, 16);
	read_kernel_str(key_2.part1, 16, ((char *)ctx + 40));
	key_2.part2.e0 = prev_prio;
	key_2.part2.e1 = next_prio;
	u64 *switches_2 = map_lookup(MAP(switches), &key_2);
	if (switches_2) {
		*switches_2 += 1;
	} else {
		first = 1;
		if (map_update(MAP(switches), &key_2, &first, ANY))
			count_lost(2);
	}
	// 7: print(($pair.0, $pair.1, cpu))
	struct print_event *event = ring_reserve(MAP(events), sizeof(*event), 0);
	if (event) {
		event->action = 0;
		event->arg1.e0 = *(s32 *)(&pair);
		__builtin_memcpy(event->arg1.e1, ((char *)(&pair) + 4), 16);
		event->arg1.e2 = cpu;
		ring_submit(event, wakeup());
	} else {
		count_lost(0);
	}
	return 0;
}
