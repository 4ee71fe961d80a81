/* Static probes whose arguments are of every size and sign and in every place: constants, registers, memory relative to
 * a register, to a symbol, and with an index. No semaphores. The assembler's constraints say where a value goes.
 *
 * usage: usdt_arguments [ROUNDS [MILLISECONDS]], as functions.c
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/sdt.h>

struct pair {
	int32_t first;
	int64_t second;
};

int64_t global_number = -77;
static uint32_t global_array[4] = { 11, 22, 33, 44 };
struct pair global_pair = { 5, -6 };

/* A probe as sys/sdt.h makes it, with an argument string of our own: the operands that compilers choose change with
 * their versions, these do not. */
#define PROBE(name, arguments, ...) \
	__asm__ __volatile__( \
		"990: nop\n" \
		".pushsection .note.stapsdt,\"\",\"note\"\n" \
		".balign 4\n" \
		".4byte 992f-991f, 994f-993f, 3\n" \
		"991: .asciz \"stapsdt\"\n" \
		"992: .balign 4\n" \
		"993: .8byte 990b\n" \
		".8byte _.stapsdt.base\n" \
		".8byte 0\n" \
		".asciz \"places\"\n" \
		".asciz \"" #name "\"\n" \
		".asciz \"" arguments "\"\n" \
		"994: .balign 4\n" \
		".popsection\n" \
		:: __VA_ARGS__)

static void sizes(void)
{
	int8_t s1 = -1;
	uint8_t u1 = 200;
	int16_t s2 = -2;
	uint16_t u2 = 60000;
	int32_t s4 = -4;
	uint32_t u4 = 4000000000u;
	int64_t s8 = -8;
	uint64_t u8 = 18000000000000000000u;

	DTRACE_PROBE8(sizes, all, s1, u1, s2, u2, s4, u4, s8, u8);
	DTRACE_PROBE4(sizes, constants, -3, 250u, (int64_t)-5000000000, (char)'A');
	DTRACE_PROBE12(sizes, twelve, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
	DTRACE_PROBE(sizes, none);
}

static void places(const char *text)
{
#ifdef __x86_64__
	uint64_t index = 2;
	const uint32_t *base = global_array;
	register uint64_t r10 __asm__("r10") = 0x8000000080008081ULL;

	PROBE(high_byte, "1@%%ah 1@%%al 2@%%ax -4@%%eax 8@%%rax", "a"(0x11223344fffefdfcULL));
	__asm__ __volatile__("" : "+r"(r10));
	PROBE(numbered, "1@%%r10b 2@%%r10w -4@%%r10d 8@%%r10", "r"(r10));
	PROBE(indexed, "4@(%%rbx,%%rcx,4) 4@4(%%rbx,%%rcx,4) 4@-4(%%rbx,%%rcx,4) 4@4(%%rbx)", "b"(base), "c"(index));
	PROBE(symbols, "-8@global_number(%%rip) -4@global_pair(%%rip) -8@global_pair+8(%%rip) -8@8+global_pair(%%rip)", "r"(0));
	PROBE(constants, "-4@$-7 4@$-7 1@$511 8@$0x10", "r"(0));
	PROBE(unreadable, "8f@%%xmm0 4@%%edx", "d"(99));
#endif
	DTRACE_PROBE2(places, text, text, text + 3);
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 1, wait = argc > 2 ? atoi(argv[2]) : 0;

	puts("ready");
	fflush(stdout);
	for (int round = 0; rounds == 0 || round < rounds; round++) {
		sizes();
		places("some text");
		if (wait)
			usleep(wait * 1000);
	}
	return 0;
}
