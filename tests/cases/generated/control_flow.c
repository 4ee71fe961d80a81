// Generated from control_flow.bt

TABLE(1, "hash", u64, u64, seen, 4096);
struct steps_value {
	s64 value;
	u64 set;
};
TABLE(2, "array", u32, struct steps_value, steps, 1);

RING(3, events, 262144);
TABLE(4, "array", u32, u64, want_wakeup, 1);
TABLE(5, "percpu_array", u32, u64, lost, 4); // events, each map's updates, stacks, each loop's stops
TABLE(6, "array", u32, u64, pending, 1);

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

// BEGIN
int BEGIN(void *ctx)
{
	s64 i = 0;
	u32 zero = 0;
	u64 new_value;
	u64 key;

	// 4: $i = 0
	i = 0;
	// 5: while ($i < 10)
	#pragma clang loop unroll(disable)
	while (i < 10) {
		// 6: $i++
		i++;
		// 7: if ($i == 3)
		if (i == 3) {
			// 8: continue
			continue;
		} else {
			// 9: if ($i == 7)
			if (i == 7) {
				// 10: break
				break;
			}
		}
		// 12: @seen[$i] = nsecs
		new_value = boot_ns();
		key = i;
		if (map_update(MAP(seen), &key, &new_value, ANY))
			count_lost(1);
	}
	// 14: unroll (3)
	#pragma clang loop unroll(disable)
	for (u32 round = 0; round < 3; round++) {
		// 15: @steps++
		struct steps_value *steps_2 = map_lookup(MAP(steps), &zero);
		if (steps_2) {
			add_to(&steps_2->value, 1);
			steps_2->set = 1;
		}
	}
	// 17: if (rand % 2)
	if ((u64)random_u32() % (u64)2) {
		// 18: return
		return 0;
	}
	// 20: exit()
	send(0);
	return 0;
}
