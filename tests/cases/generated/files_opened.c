// Generated from files_opened.bt

TABLE(1, "hash", u64, u64, name, 4096);

struct printf_event {
	u32 action;
	u32 arg1;
	char arg2[16];
	s64 arg3;
	char arg4[64];
};

RING(2, events, 8388608);
TABLE(3, "array", u32, u64, want_wakeup, 1);
TABLE(4, "percpu_array", u32, u64, lost, 3); // events, each map's updates, stacks, each loop's stops

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

/* Leave word of a string that could not be read, as a rule since its page is not there yet: user space reads it. */
inline_ u64 read_later(char *to, u32 size, u64 address)
{
	u32 process = pid_tgid() >> 32;
	__builtin_memcpy(to, "\0late\0s\1", 8);
	__builtin_memcpy(to + 8, &address, 8);
	__builtin_memcpy(to + 16, &process, 4);
	__builtin_memcpy(to + 20, &size, 4);
	return 1;
}

struct tracepoint_syscalls_sys_enter_openat_args {
	u8 skip_0[24];
	u64 filename;
};

struct tracepoint_syscalls_sys_exit_openat_args {
	u8 skip_0[16];
	s64 ret;
};

// tracepoint:syscalls:sys_enter_openat
int tracepoint_syscalls_sys_enter_openat(struct tracepoint_syscalls_sys_enter_openat_args *ctx)
{
	u64 filename = ctx->filename;
	keep(filename);
	u64 new_value;
	u64 key;

	// 2: @name[tid] = args->filename
	new_value = filename;
	u32 tid = (u32)pid_tgid();
	key = (u64)tid;
	if (map_update(MAP(name), &key, &new_value, ANY))
		count_lost(1);
	return 0;
}

// tracepoint:syscalls:sys_exit_openat
int tracepoint_syscalls_sys_exit_openat(struct tracepoint_syscalls_sys_exit_openat_args *ctx)
{
	s64 ret = ctx->ret;
	keep(ret);
	u64 late = 0;
	u64 key;

	// 4: /@name[tid]/
	u32 tid = (u32)pid_tgid();
	key = (u64)tid;
	u64 *name_2 = map_lookup(MAP(name), &key);
	u64 value = name_2 ? *name_2 : 0;
	if (!(value))
		return 0;
	// 6: printf("%-6d %-16s %4d %s\n", pid, comm, args->ret, str(@name[tid]))
	struct printf_event *event = ring_reserve(MAP(events), sizeof(*event), 0);
	if (event) {
		event->action = 0;
		late = 0;
		u32 pid = pid_tgid() >> 32;
		event->arg1 = pid;
		read_comm(event->arg2);
		event->arg3 = ret;
		key = (u64)tid;
		u64 *name_3 = map_lookup(MAP(name), &key);
		u64 value_2 = name_3 ? *name_3 : 0;
		if (read_user_str(event->arg4, 64, (void *)value_2) < 0)
			late = read_later(event->arg4, 64, value_2);
		ring_submit(event, late ? FORCE_WAKEUP : wakeup());
	} else {
		count_lost(0);
	}
	// 7: delete(@name[tid])
	key = (u64)tid;
	map_delete(MAP(name), &key);
	return 0;
}
