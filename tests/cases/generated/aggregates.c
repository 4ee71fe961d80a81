// Generated from aggregates.bt

struct sum_value {
	s64 value;
	u64 set;
};
TABLE(1, "percpu_array", u32, struct sum_value, sum, 1);
struct avg_key {
	char part[16];
};
struct avg_value {
	u64 count;
	s64 total;
};
TABLE(2, "percpu_hash", struct avg_key, struct avg_value, avg, 4096);
struct min_key {
	char part[16];
};
struct min_value {
	s64 value;
	u64 set;
};
TABLE(3, "percpu_hash", struct min_key, struct min_value, min, 4096);
struct max_key {
	char part[16];
};
struct max_value {
	s64 value;
	u64 set;
};
TABLE(4, "percpu_hash", struct max_key, struct max_value, max, 4096);
struct stats_key {
	char part1[16];
	s64 part2;
};
struct stats_value {
	u64 count;
	s64 total;
};
TABLE(5, "percpu_hash", struct stats_key, struct stats_value, stats, 4096);

RING(6, events, 262144);
TABLE(7, "array", u32, u64, want_wakeup, 1);
TABLE(8, "percpu_array", u32, u64, lost, 7); // events, each map's updates, stacks, each loop's stops
TABLE(9, "array", u32, u64, pending, 3);

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

/* Ask for an action without arguments. Where there is no room for it, it stays pending, out of order but not lost. User
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
}

struct tracepoint_syscalls_sys_exit_read_args {
	u8 skip_0[16];
	s64 ret;
};

// tracepoint:syscalls:sys_exit_read
int tracepoint_syscalls_sys_exit_read(struct tracepoint_syscalls_sys_exit_read_args *ctx)
{
	s64 ret = ctx->ret;
	keep(ret);
	u32 zero = 0;
	struct avg_key key aligned8;
	struct avg_value first;
	struct min_key key_2 aligned8;
	struct min_value first_2;
	struct max_key key_3 aligned8;
	struct max_value first_3;
	struct stats_key key_4;
	struct stats_value first_4;

	// 2: /args->ret > 0/
	if (!(ret > 0))
		return 0;
	// 4: @sum = sum(args->ret)
	struct sum_value *sum_2 = map_lookup(MAP(sum), &zero);
	if (sum_2) {
		sum_2->value += ret;
		sum_2->set = 1;
	}
	// 5: @avg[comm] = avg(args->ret)
	read_comm(key.part);
	struct avg_value *avg_2 = map_lookup(MAP(avg), &key);
	if (avg_2) {
		avg_2->count += 1;
		avg_2->total += ret;
	} else {
		first = (struct avg_value){ .count = 1, .total = ret };
		if (map_update(MAP(avg), &key, &first, ANY))
			count_lost(2);
	}
	// 6: @min[comm] = min(args->ret)
	read_comm(key_2.part);
	struct min_value *min_2 = map_lookup(MAP(min), &key_2);
	if (min_2) {
		if (!min_2->set || (s64)ret < min_2->value)
			min_2->value = ret;
		min_2->set = 1;
	} else {
		first_2 = (struct min_value){ .set = 1, .value = ret };
		if (map_update(MAP(min), &key_2, &first_2, ANY))
			count_lost(3);
	}
	// 7: @max[comm] = max(args->ret)
	read_comm(key_3.part);
	struct max_value *max_2 = map_lookup(MAP(max), &key_3);
	if (max_2) {
		if (!max_2->set || (s64)ret > max_2->value)
			max_2->value = ret;
		max_2->set = 1;
	} else {
		first_3 = (struct max_value){ .set = 1, .value = ret };
		if (map_update(MAP(max), &key_3, &first_3, ANY))
			count_lost(4);
	}
	// 8: @stats[comm, cpu] = stats(args->ret)
	read_comm(key_4.part1);
	u32 cpu = cpu_id();
	key_4.part2 = (u64)cpu;
	struct stats_value *stats_2 = map_lookup(MAP(stats), &key_4);
	if (stats_2) {
		stats_2->count += 1;
		stats_2->total += ret;
	} else {
		first_4 = (struct stats_value){ .count = 1, .total = ret };
		if (map_update(MAP(stats), &key_4, &first_4, ANY))
			count_lost(5);
	}
	return 0;
}

// interval:s:1
int interval_s_1(void *ctx)
{
	// 10: print(@stats, 5)
	send(0);
	// 10: clear(@stats)
	send(1);
	// 10: zero(@sum)
	send(2);
	return 0;
}
