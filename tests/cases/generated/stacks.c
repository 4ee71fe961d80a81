// Generated from stacks.bt

struct user_address {
	u64 value;
	u32 pid;
	u32 probe;
};

struct unnamed_key {
	u64 part1;
	struct user_address part2;
	char part3[16];
};
TABLE(1, "percpu_hash", struct unnamed_key, u64, unnamed, 4096);

TABLE(2, "percpu_array", u32, u64, lost, 3); // events, each map's updates, stacks, each loop's stops
struct stack_frames {
	u64 owner;
	u64 depth;
	u64 frames[5];
};
TABLE(3, "percpu_array", u32, struct stack_frames, stack_scratch, 1);
struct kept_stack {
	u64 depth;
	u64 frames[5];
};
TABLE_FLAGS(4, "hash", u64, struct kept_stack, kernel_stacks, 131072, 1);
TABLE_FLAGS(5, "hash", u64, struct kept_stack, user_stacks, 131072, 1);

inline_ void count_lost(u32 slot)
{
	u64 *lost_here = map_lookup(MAP(lost), &slot);
	if (lost_here)
		*lost_here += 1;
}

/*
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
				count_lost(2);
		if (s->owner == owner) {
			id = hash;
			break;
		}
	}
	forget(id, owner);
	return id;
}

// profile:hz:99
int profile_hz_99(void *ctx)
{
	struct unnamed_key key;
	u64 first;

	// 2: /pid/
	u32 pid = pid_tgid() >> 32;
	if (!(pid))
		return 0;
	// 2: @[kstack(5), ustack(perf, 3), comm] = count()
	key.part1 = keep_stack(ctx, MAP(kernel_stacks), 5, 0, 0);
	key.part2.value = keep_stack(ctx, MAP(user_stacks), 3, 256, 0);
	key.part2.pid = pid;
	key.part2.probe = 0;
	read_comm(key.part3);
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
