// Generated from large_values.bt

struct buffer_64 {
	u32 length;
	u8 bytes[64];
};

struct unnamed_key {
	char part1[64];
	char part2[64];
	char part3[16];
	u64 part4;
};
struct unnamed_value {
	struct buffer_64 value;
};
TABLE(1, "hash", struct unnamed_key, struct unnamed_value, unnamed, 4096);

TABLE(2, "percpu_array", u32, u64, lost, 3); // events, each map's updates, stacks, each loop's stops

inline_ void count_lost(u32 slot)
{
	u64 *lost_here = map_lookup(MAP(lost), &slot);
	if (lost_here)
		*lost_here += 1;
}

struct tracepoint_syscalls_sys_enter_openat_args {
	u8 skip_0[24];
	u64 filename;
};

// tracepoint:syscalls:sys_enter_openat
int tracepoint_syscalls_sys_enter_openat(struct tracepoint_syscalls_sys_enter_openat_args *ctx)
{
	u64 filename = ctx->filename;
	keep(filename);
	struct buffer_64 new_value aligned8;
	struct unnamed_key key;

	// 4: @[str(args->filename), str(args->filename, 200), comm, probe] = buf(args->filename, 64)
	zero_fill(&new_value, 68);
	new_value.length = 64;
	read_user(new_value.bytes, 64, (void *)filename);
	zero_fill(key.part1, 64);
	read_user_str(key.part1, 64, (void *)filename);
	zero_fill(key.part2, 64);
	read_user_str(key.part2, 64, (void *)filename);
	read_comm(key.part3);
	key.part4 = 0;
	if (map_update(MAP(unnamed), &key, &new_value, ANY))
		count_lost(1);
	return 0;
}
