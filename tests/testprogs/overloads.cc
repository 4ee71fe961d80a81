// C++ names: overloads, a namespace, members, a template, an operator.
#include <cstdio>
#include <string>

namespace shapes {

struct Square {
	int side;
	explicit Square(int s) : side(s) {}
	int area(int scale) const { return side * side * scale; }
	int area(const std::string &unit) const { return side * side + static_cast<int>(unit.size()); }
	static int count() { return 3; }
	int operator+(int more) const { return side + more; }
	int operator()(int turns) const { return side * turns; }
};

template <typename T> T twice(T value) { return value + value; }
template int twice<int>(int);

namespace {
int hidden(int value) { asm volatile(""); return value; }
}
int reached() { return hidden(3); }

}

int over(int a) { return a; }
int over(double d) { return static_cast<int>(d); }
extern "C" int plain_c(int a) { return a; }

int main()
{
	shapes::Square square(4);
	int sum = square.area(2) + square.area("cm") + over(1) + over(1.5) + plain_c(1) + shapes::Square::count();

	sum += shapes::twice(21) + (square + 1) + square(2) + shapes::reached();
	std::printf("%d\n", sum);
	return 0;
}
