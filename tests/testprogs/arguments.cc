// What C++ adds: `this`, references, objects that are handed over by their address, parts of base classes.
#include <string>

#define KEEP __attribute__((noinline, noipa))

namespace ns {

struct Base {
	int base;
	virtual KEEP int method(int n) { return n + base; }
	virtual ~Base() {}
};

struct Derived : Base {
	long own;
	KEEP int method(int n) override { return n - base + static_cast<int>(own); }
	static KEEP int counted(Derived &other, std::string text, double x, int last)
	{
		return other.base + last + static_cast<int>(text.size() + x);
	}
};

enum class Kind : unsigned char { one = 1, two };
struct Empty {};

KEEP int kinds(int n, Kind kind, Empty, bool flag, char16_t wide) { return n + static_cast<int>(kind) + flag + wide; }

}

int main()
{
	ns::Derived derived;
	derived.base = 3;
	derived.own = 77;
	derived.method(-9);
	ns::Derived::counted(derived, "some text", 2.5, 66);
	ns::kinds(12, ns::Kind::two, {}, true, u'x');
	return 0;
}
