/* Functions with known arguments and results, for uprobes.
 *
 * usage: functions [ROUNDS [MILLISECONDS]]: calls each function once a round, waiting between rounds. With ROUNDS 0 it
 * goes on until it is killed. It prints "ready" before the first round.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct point {
	int32_t x;
	int16_t y;
	uint8_t flags;
	const char *label;
	int32_t history[4];
};

union number {
	uint32_t whole;
	uint8_t bytes[4];
};

volatile int sink;
int global_counter = 41;
const char *global_name = "global name";

int8_t small_signed(int8_t a, uint8_t b, int16_t c, uint16_t d) { sink += a + b + c + d; return (int8_t)-a; }
uint64_t large_unsigned(uint64_t a, int64_t b, uint32_t c, int32_t d) { sink += (int)(a + b + c + d); return a + 1; }
int eight_arguments(int a, int b, int c, int d, int e, int f, int g, int h) { sink += a + h; return a + b + c + d + e + f + g + h; }
const char *greet(const char *name, size_t length) { sink += (int)length + name[0]; return "hello from greet"; }
int take_point(struct point *p) { sink += p->x; return p->x + p->y; }
int take_array(int32_t *numbers, size_t count) { sink += numbers[count - 1]; return numbers[0]; }
int take_union(union number *n) { sink += n->bytes[0]; return (int)n->whole; }
void no_result(void) { sink++; }
static int local_function(int a) { sink += a; return a * 2; }
int recursive(int n) { sink += n; return n ? n + recursive(n - 1) : 0; }
int wild_one(int a) { sink += a; return 1; }
int wild_two(int a) { sink += a; return 2; }
int wild_three(int a) { sink += a; return 3; }

static void round_of_calls(int round)
{
	struct point p = { -7, 300, 0xa5, "origin", { 10, 20, 30, 40 } };
	int32_t numbers[5] = { 5, 4, 3, 2, -1 };
	union number n = { 0x01020304 };

	small_signed(-5, 250, -30000, 60000);
	large_unsigned(0xfedcba9876543210u, -1234567890123, 4000000000u, -2000000000);
	eight_arguments(1, 2, 3, 4, 5, 6, 70, 80);
	greet("world", 5);
	take_point(&p);
	take_array(numbers, 5);
	take_union(&n);
	no_result();
	local_function(round + 21);
	recursive(3);
	wild_one(round);
	wild_two(round);
	wild_three(round);
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 1, wait = argc > 2 ? atoi(argv[2]) : 0;

	puts("ready");
	fflush(stdout);
	for (int round = 0; rounds == 0 || round < rounds; round++) {
		round_of_calls(round);
		if (wait)
			usleep(wait * 1000);
	}
	return 0;
}
