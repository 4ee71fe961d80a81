// Generated from records.bt

struct printf_event {
	u32 action;
	char arg1[16];
	char arg2[64];
	u64 arg3;
	s32 arg4;
};

RING(1, events, 8388608);
TABLE(2, "array", u32, u64, want_wakeup, 1);
TABLE(3, "percpu_array", u32, u64, lost, 2); // events, each map's updates, stacks, each loop's stops

/* Memory at an address that itself tells where it is: the upper half of the addresses is the kernel's. */
inline_ long read_any(void *to, u32 size, const void *from)
{
	return (s64)from < 0 ? read_kernel(to, size, from) : read_user(to, size, from);
}

/* The string at an address that itself tells where it is: the upper half of the addresses is the kernel's. */
inline_ long read_any_str(void *to, u32 size, const void *from)
{
	return (s64)from < 0 ? read_kernel_str(to, size, from) : read_user_str(to, size, from);
}

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

struct registers {
	u64 r15;
	u64 r14;
	u64 r13;
	u64 r12;
	u64 bp;
	u64 bx;
	u64 r11;
	u64 r10;
	u64 r9;
	u64 r8;
	u64 ax;
	u64 cx;
	u64 dx;
	u64 si;
	u64 di;
	u64 orig_ax;
	u64 ip;
	u64 cs;
	u64 flags;
	u64 sp;
	u64 ss;
};

// kprobe:vfs_open
int kprobe_vfs_open(struct registers *ctx)
{
	u64 di = ctx->di;
	keep(di);
	u64 path = 0;
	u64 task_ = 0;
	char name[64] aligned8;
	u64 value;
	u64 value_2;
	u64 value_3;
	u64 value_4;
	s32 value_5;
	zero_fill(name, 64);

	// 4: $path = (struct path *)arg0
	path = di;
	// 5: $name = str($path->dentry->d_name.name)
	value = 0;
	read_any(&value, sizeof(value), (void *)(path + 8));
	value_2 = 0;
	read_any(&value_2, sizeof(value_2), (void *)(((void *)(value + 32)) + 8));
	zero_fill(name, 64);
	read_any_str(name, 64, (void *)(value_2));
	// 6: $task = (struct task_struct *)curtask
	u64 task = current_task();
	task_ = task;
	// 7: printf("%s opens %s, inode %lu, prio %d\n", $task->comm, $name, $path->dentry->d_inode->i_ino, $t...
	struct printf_event *event = ring_reserve(MAP(events), sizeof(*event), 0);
	if (event) {
		event->action = 0;
		zero_fill(event->arg1, 16);
		read_kernel_str(event->arg1, 16, (void *)(task_ + 1832));
		read_kernel(event->arg2, 64, (void *)(name));
		value = 0;
		read_any(&value, sizeof(value), (void *)(path + 8));
		value_3 = 0;
		read_any(&value_3, sizeof(value_3), (void *)(value + 48));
		value_4 = 0;
		read_any(&value_4, sizeof(value_4), (void *)(value_3 + 64));
		event->arg3 = value_4;
		value_5 = 0;
		read_kernel(&value_5, sizeof(value_5), (void *)(task_ + 124));
		event->arg4 = value_5;
		ring_submit(event, wakeup());
	} else {
		count_lost(0);
	}
	return 0;
}
