/* Static probes with semaphores: the guide's tick:loop with a string and a number, tock:loop in another namespace, one
 * that only fires while its semaphore is raised, and one at two places whose arguments stand elsewhere at each.
 *
 * usage: tick [ROUNDS [MILLISECONDS]], as functions.c
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>

#define SEMAPHORE(name) __extension__ unsigned short name __attribute__((unused, section(".probes")))
SEMAPHORE(tick_loop_semaphore);
SEMAPHORE(tock_loop_semaphore);
SEMAPHORE(tick_twice_semaphore);
SEMAPHORE(tick_guarded_semaphore);

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 3, wait = argc > 2 ? atoi(argv[2]) : 0;

	puts("ready");
	fflush(stdout);
	for (int round = 0; rounds == 0 || round < rounds; round++) {
		DTRACE_PROBE2(tick, loop, "my string", round + 1);
		DTRACE_PROBE1(tock, loop, round * 2);
		DTRACE_PROBE2(tick, twice, round, "first place");
		if (*(volatile unsigned short *)&tick_guarded_semaphore)
			DTRACE_PROBE1(tick, guarded, round + 100);
		DTRACE_PROBE2(tick, twice, 1000L + round, argv[0]);
		if (wait)
			usleep(wait * 1000);
	}
	return 0;
}
