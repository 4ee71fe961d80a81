/* Makes events with numbers: calls getpgid(1), getpgid(2), ... and says at its end how many.
 *
 * usage: producer [COUNT]   so many, or until SIGTERM. It starts when it has read a line.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile sig_atomic_t stopped;

static void stop(int number)
{
	(void)number;
	stopped = 1;
}

int main(int argc, char **argv)
{
	long wanted = argc > 1 ? atol(argv[1]) : 0, made = 0;
	char go;

	signal(SIGTERM, stop);
	if (read(0, &go, 1) != 1)
		return 1;
	while (!stopped && (!wanted || made < wanted)) {
		made++;
		syscall(SYS_getpgid, (int)(made & 0x3fffffff) | 0x40000000);  /* no process has such an id */
	}
	printf("%ld\n", made);
	return 0;
}
