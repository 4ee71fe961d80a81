/* A function whose name can steer a terminal, and a static probe's string that does so.
 *
 * usage: strange_names [ROUNDS [MILLISECONDS]], as functions.c. The name is patched into the file by the test: an
 * assembler would not take it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

volatile int sink;

void strange_XX31mname(void) { sink++; }

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 3, wait = argc > 2 ? atoi(argv[2]) : 0;

	for (int round = 0; rounds == 0 || round < rounds; round++) {
		strange_XX31mname();
		if (wait)
			usleep(wait * 1000);
	}
	return 0;
}
