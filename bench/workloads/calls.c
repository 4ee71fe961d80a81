/*
 * Makes system calls that the benchmarks trace:   calls KIND COUNT PRODUCERS [RATE]
 *
 * KIND   read   read(/dev/zero, 1 byte)
 *        keys   lseek(-1, i): key i comes 1 + i % 7 times, COUNT keys in all
 *        stamp  lseek(-1, CLOCK_MONOTONIC in ns)
 *        open   openat(/dev/null) and close
 * COUNT  calls in all, shared by the producers; 0: without end
 * RATE   calls a second of each producer; 0, the default: as fast as it goes
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void pause_until(long when)
{
	struct timespec t = { when / 1000000000L, when % 1000000000L };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL))
		;
}

static void produce(const char *kind, long count, long rate)
{
	int zero = open("/dev/zero", O_RDONLY);
	long start = now();
	char byte;

	for (long i = 0; !count || i < count; i++) {
		if (rate && i % (1 + rate / 1000) == 0) /* high rates in bursts: timers come up to 50 us late */
			pause_until(start + i * (1000000000L / rate));
		if (!strcmp(kind, "read")) {
			if (read(zero, &byte, 1) != 1)
				_exit(1);
		} else if (!strcmp(kind, "keys")) {
			for (long again = 0; again <= i % 7; again++)
				lseek(-1, i, SEEK_SET);
		} else if (!strcmp(kind, "stamp")) {
			lseek(-1, now(), SEEK_SET);
		} else {
			close(open("/dev/null", O_RDONLY));
		}
	}
}

int main(int argc, char **argv)
{
	if (argc < 4) {
		fprintf(stderr, "usage: calls KIND COUNT PRODUCERS [RATE]\n");
		return 2;
	}
	long count = atol(argv[2]), producers = atol(argv[3]), rate = argc > 4 ? atol(argv[4]) : 0;
	int status, failed = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (producers == 1) {
		produce(argv[1], count, rate);
		return 0;
	}
	for (long i = 0; i < producers; i++) {
		if (!fork()) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			produce(argv[1], count / producers, rate);
			_exit(0);
		}
	}
	while (wait(&status) > 0)
		failed |= status;
	return failed != 0;
}
