/* Opens a path that stands on a page which the process has never touched, and waits to be ended. */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define FAR __attribute__((aligned(65536)))
FAR const char before[4 * 65536] = {1}; /* the kernel maps the pages around a touched one, too */
FAR const char path[65536] = "/nowhere/on/a/page/of/its/own";
FAR const char after[4 * 65536] = {1};

int main(void)
{
	madvise((void *)path, sizeof(path), MADV_DONTNEED);
	open(path, O_RDONLY);
	pause();
	return 0;
}
