/* A shared library: exported, hidden and local functions, two versions of one name by alias. */
int library_function(int a) { return a + 1; }
__attribute__((visibility("hidden"))) int hidden_function(int a) { return a * 2; }
static __attribute__((noinline)) int local_in_library(int a) { return a * 3 + library_function(a); }
int library_caller(int a) { return local_in_library(a) + hidden_function(a); }
extern int library_alias(int) __attribute__((alias("library_function")));

/* Chosen by the dynamic linker: calls go to implementation_one, the symbol is the function that chooses. */
static int implementation_one(int a) { return a - 1; }
static int (*choose(void))(int) { return implementation_one; }
int indirect_function(int) __attribute__((ifunc("choose")));
int library_variable = 5;
