/* Functions whose arguments are in registers and on the stack, small and large, by value and by address. Each is called
 * once. */
#include <stdio.h>

struct point {
	int x;
	long y;
	char name[16];
	struct point *next;
	unsigned int low : 3, high : 5;
};
struct small { int a, b; };
struct half { double f; long i; };
struct floats { float x, y; };
enum color { RED, GREEN = 5 };
typedef unsigned int word;

#define KEEP __attribute__((noinline, noipa))

KEEP long many(int x, const char *name, struct point *p, enum color c, word w, short s, signed char ch, long eighth)
{ return x + name[0] + p->y + c + w + s + ch + eighth; }
KEEP long large_by_value(struct point pt, int after) { return pt.y + after; }
KEEP long small_by_value(struct small pair, int after) { return pair.b + after; }
KEEP double floating(double d, int i, float f, struct floats two, struct half half) { return d + i + f + two.x + half.i; }
KEEP struct point large_result(int n) { struct point made = { n, n, "made", 0, 0, 0 }; return made; }
KEEP long wide(int a, __int128 b, int c, long d, long e, int f, struct small last) { return a + (long)b + c + d + e + f + last.a; }
KEEP int no_arguments(void) { return 1; }

int main(void)
{
	struct point second = { 7, 8, "second", 0, 1, 2 }, first = { 1, 2, "first", &second, 5, 17 };
	struct small pair = { 3, 4 };
	struct half half = { 1.5, 44 };
	struct floats two = { 1, 2 };

	many(-42, "hello", &first, GREEN, 4000000000u, -7, 'A', 99);
	large_by_value(first, 5);
	small_by_value(pair, 6);
	floating(1.5, 7, 2.5f, two, half);
	large_result(12);
	wide(1, 2, 3, 4, 5, 6, pair);
	return no_arguments() - 1;
}
