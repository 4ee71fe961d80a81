// Generated from count_by_process.bt

struct unnamed_key {
	char part[16];
};
TABLE(1, "percpu_hash", struct unnamed_key, u64, unnamed, 4096);

RING(2, events, 262144);
TABLE(3, "array", u32, u64, want_wakeup, 1);
TABLE(4, "percpu_array", u32, u64, lost, 3); // events, each map's updates, stacks, each loop's stops
TABLE(5, "array", u32, u64, pending, 1);

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

// tracepoint:raw_syscalls:sys_enter
int tracepoint_raw_syscalls_sys_enter(void *ctx)
{
	struct unnamed_key key aligned8;
	u64 first;

	// 2: @[comm] = count()
	read_comm(key.part);
	u64 *element = map_lookup(MAP(unnamed), &key);
	if (element) {
		*element += 1;
	} else {
		first = 1;
		if (map_update(MAP(unnamed), &key, &first, ANY))
			count_lost(1);
	}
	return 0;
}

// interval:s:3
int interval_s_3(void *ctx)
{
	// 3: exit()
	send(0);
	return 0;
}
