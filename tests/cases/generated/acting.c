// Generated from acting.bt

struct printf_event {
	u32 action;
	u64 arg1;
};

struct system_event {
	u32 action;
	u32 arg1;
};

RING(1, events, 8388608);
TABLE(2, "array", u32, u64, want_wakeup, 1);
TABLE(3, "percpu_array", u32, u64, lost, 2); // events, each map's updates, stacks, each loop's stops
TABLE(4, "array", u32, u64, pending, 3);

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

// tracepoint:sched:sched_process_exec
int tracepoint_sched_sched_process_exec(void *ctx)
{
	char comm[16] aligned8;

	// 2: /comm == "victim"/
	read_comm(comm);
	if (!(*(u32 *)comm == 0x74636976 && *(u16 *)(comm + 4) == 0x6d69 && comm[6] == 0))
		return 0;
	// 4: time("%H:%M:%S ")
	send(0);
	// 5: printf("%s\n", strftime("%Y-%m-%d", nsecs))
	struct printf_event *event = ring_reserve(MAP(events), sizeof(*event), 0);
	if (event) {
		event->action = 1;
		event->arg1 = boot_ns();
		ring_submit(event, wakeup());
	} else {
		count_lost(0);
	}
	// 6: system("echo process %d is stopped", pid)
	struct system_event *event_2 = ring_reserve(MAP(events), sizeof(*event_2), 0);
	if (event_2) {
		event_2->action = 2;
		u32 pid = pid_tgid() >> 32;
		event_2->arg1 = pid;
		ring_submit(event_2, wakeup());
	} else {
		count_lost(0);
	}
	// 7: signal("STOP")
	send_signal(19);
	return 0;
}
