// Generated from latency_histogram.bt

TABLE(1, "hash", u64, u64, start, 4096);
TABLE(2, "percpu_array", u32, u64, us, 65);
struct by_process_key {
	char part1[16];
	u64 bucket;
};
TABLE(3, "percpu_hash", struct by_process_key, u64, by_process, 4096);

RING(4, events, 262144);
TABLE(5, "array", u32, u64, want_wakeup, 1);
TABLE(6, "percpu_array", u32, u64, lost, 5); // events, each map's updates, stacks, each loop's stops
TABLE(7, "array", u32, u64, pending, 1);

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

// kprobe:vfs_read
int kprobe_vfs_read(void *ctx)
{
	u64 new_value;
	u64 key;

	// 2: @start[tid] = nsecs
	new_value = boot_ns();
	u32 tid = (u32)pid_tgid();
	key = (u64)tid;
	if (map_update(MAP(start), &key, &new_value, ANY))
		count_lost(1);
	return 0;
}

// kretprobe:vfs_read
int kretprobe_vfs_read(void *ctx)
{
	u64 us_2 = 0;
	u64 key;
	u32 slot;
	struct by_process_key key_2;
	u64 first;

	// 4: /@start[tid]/
	u32 tid = (u32)pid_tgid();
	key = (u64)tid;
	u64 *start_2 = map_lookup(MAP(start), &key);
	u64 value = start_2 ? *start_2 : 0;
	if (!(value))
		return 0;
	// 6: $us = (nsecs - @start[tid]) / 1000
	u64 left = boot_ns();
	key = (u64)tid;
	u64 *start_3 = map_lookup(MAP(start), &key);
	u64 value_2 = start_3 ? *start_3 : 0;
	us_2 = (u64)(left - value_2) / (u64)1000;
	// 7: @us = hist($us)
	slot = log2_bucket(us_2);
	u64 *us_3 = map_lookup(MAP(us), &slot);
	if (us_3)
		*us_3 += 1;
	// 8: @by_process[comm] = lhist($us, 0, 1000, 100)
	u64 bucket = linear_bucket(us_2, 0LL, 1000LL, 100);
	read_comm(key_2.part1);
	key_2.bucket = bucket;
	u64 *by_process_2 = map_lookup(MAP(by_process), &key_2);
	if (by_process_2) {
		*by_process_2 += 1;
	} else {
		first = 1;
		if (map_update(MAP(by_process), &key_2, &first, ANY))
			count_lost(3);
	}
	// 9: delete(@start[tid])
	key = (u64)tid;
	map_delete(MAP(start), &key);
	return 0;
}

// END
int END(void *ctx)
{
	// 12: clear(@start)
	send(0);
	return 0;
}
