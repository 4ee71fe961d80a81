// Generated from typed_arguments.bt

struct bytes_key {
	char part[6];
};
TABLE(1, "percpu_hash", struct bytes_key, u64, bytes, 4096);
TABLE(2, "percpu_hash", u64, u64, errors, 4096);

TABLE(3, "percpu_array", u32, u64, lost, 4); // events, each map's updates, stacks, each loop's stops

inline_ void count_lost(u32 slot)
{
	u64 *lost_here = map_lookup(MAP(lost), &slot);
	if (lost_here)
		*lost_here += 1;
}

// kfunc:vmlinux:vfs_read
int kfunc_vmlinux_vfs_read(void *ctx)
{
	u64 count = ((u64 *)ctx)[2];
	keep(count);
	struct bytes_key key;
	u64 first;

	// 2: @bytes[args->count > 4096 ? "large" : "small"] = count()
	if (count > 4096) {
		copy_text(key.part, "large", 6);
	} else {
		copy_text(key.part, "small", 6);
	}
	u64 *bytes_2 = map_lookup(MAP(bytes), &key);
	if (bytes_2) {
		add_to(bytes_2, 1);
	} else {
		first = 1;
		if (map_update(MAP(bytes), &key, &first, ANY))
			count_lost(1);
	}
	return 0;
}

// kretfunc:vmlinux:vfs_read
int kretfunc_vmlinux_vfs_read(void *ctx)
{
	u64 result = ((u64 *)ctx)[4];
	keep(result);
	u64 key;
	u64 first;

	// 3: /retval < 0/
	if (!((s64)result < 0))
		return 0;
	// 3: @errors[strerror(-retval)] = count()
	key = ((-(s64)result));
	u64 *errors_2 = map_lookup(MAP(errors), &key);
	if (errors_2) {
		add_to(errors_2, 1);
	} else {
		first = 1;
		if (map_update(MAP(errors), &key, &first, ANY))
			count_lost(2);
	}
	return 0;
}
