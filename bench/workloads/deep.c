/* Burns CPU at the end of many stacks:   deep DEPTH PRODUCERS.  Ends when it is killed. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile long sink;

__attribute__((noinline)) static void work_in_user_space(void)
{
	for (int i = 0; i < 2000; i++)
		sink += i;
}

__attribute__((noinline)) static void work_in_kernel(void)
{
	for (int i = 0; i < 20; i++)
		sink += getppid();
}

/* Not a tail call: the addition comes after it. */
__attribute__((noinline)) static long descend(int depth, int odd)
{
	if (depth <= 0) {
		if (odd)
			work_in_kernel();
		else
			work_in_user_space();
		return sink;
	}
	return descend(depth - 1, odd) + depth;
}

int main(int argc, char **argv)
{
	int depth = argc > 1 ? atoi(argv[1]) : 20, producers = argc > 2 ? atoi(argv[2]) : 1;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 1; i < producers; i++) {
		if (!fork()) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			break;
		}
	}
	for (unsigned turn = 0;; turn++)
		sink += descend(depth - turn % 8, turn & 1);
}
