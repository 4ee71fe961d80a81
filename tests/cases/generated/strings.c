// Generated from strings.bt

struct tools_key {
	char part[64];
};
TABLE(1, "percpu_hash", struct tools_key, u64, tools, 4096);

struct printf_event {
	u32 action;
	char arg1[16];
	char arg2[64];
};

RING(2, events, 8388608);
TABLE(3, "array", u32, u64, want_wakeup, 1);
TABLE(4, "percpu_array", u32, u64, lost, 3); // events, each map's updates, stacks, each loop's stops
struct join_event {
	u32 action;
	u32 count;
	char strings[16][1024];
};

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

struct tracepoint_syscalls_sys_enter_execve_args {
	u8 skip_0[16];
	u64 filename;
	u64 argv;
};

// tracepoint:syscalls:sys_enter_execve
int tracepoint_syscalls_sys_enter_execve(struct tracepoint_syscalls_sys_enter_execve_args *ctx)
{
	u64 filename = ctx->filename;
	keep(filename);
	u64 argv = ctx->argv;
	keep(argv);
	char comm[16] aligned8;
	char file[64] aligned8;
	struct tools_key key aligned8;
	u64 first;
	zero_fill(file, 64);

	// 2: /comm != "sshd"/
	read_comm(comm);
	if (!(!(*(u32 *)comm == 0x64687373 && comm[4] == 0)))
		return 0;
	// 4: $file = str(args->filename)
	zero_fill(file, 64);
	read_user_str(file, 64, (void *)filename);
	// 5: if (strncmp("/usr/bin/", $file, 9) == 0)
	if ((!(*(u64 *)file == 0x6e69622f7273752fULL && file[8] == 47)) == 0) {
		// 6: @tools[$file] = count()
		read_kernel(key.part, 64, (void *)(file));
		u64 *tools_2 = map_lookup(MAP(tools), &key);
		if (tools_2) {
			*tools_2 += 1;
		} else {
			first = 1;
			if (map_update(MAP(tools), &key, &first, ANY))
				count_lost(1);
		}
	}
	// 8: if ($file == "/bin/sh")
	if (*(u64 *)file == 0x68732f6e69622fULL) {
		// 9: printf("%s runs a shell: %s\n", comm, $file)
		struct printf_event *event = ring_reserve(MAP(events), sizeof(*event), 0);
		if (event) {
			event->action = 0;
			__builtin_memcpy(event->arg1, comm, 16);
			read_kernel(event->arg2, 64, (void *)(file));
			ring_submit(event, wakeup());
		} else {
			count_lost(0);
		}
	}
	// 11: join(args->argv)
	struct join_event *event_2 = ring_reserve(MAP(events), sizeof(*event_2), 0);
	if (event_2) {
		event_2->action = 1;
		event_2->count = 0;
		for (u32 i = 0; i < 16; i++) {
			u64 string = 0;
			if (read_user(&string, 8, (void *)(argv + 8 * i)) || !string)
				break;
			if (read_user_str(event_2->strings[i], 1024, (void *)string) < 0)
				break;
			event_2->count = i + 1;
		}
		ring_submit(event_2, wakeup());
	} else {
		count_lost(0);
	}
	return 0;
}
