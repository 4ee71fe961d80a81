// The guest's first process: makes the host's root file system the guest's, runs one command there, powers off.
//
// It comes from an initial RAM disk that holds this program (static) and, in /modules, the kernel modules that the
// file systems need, named so that their sorted order is the order to load them in. The kernel hands `name=value`
// words of its command line to us as environment: EXCHANGE is the one directory that guest and host share for
// writing, MODULES the host's copy of the guest kernel's modules. The command is the shell script EXCHANGE/command;
// its exit status goes to EXCHANGE/status.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void power_off(void) {
    sync();
    reboot(RB_POWER_OFF);
    for (;;)
        pause();
}

static void die(const char *format, ...) {
    int error = errno;
    va_list arguments;
    va_start(arguments, format);
    printf("guest init: ");
    vprintf(format, arguments);
    printf(": %s\n", strerror(error));
    fflush(stdout);
    power_off();
}

static void make_directories(const char *path) {
    char partial[4096];
    snprintf(partial, sizeof partial, "%s", path);
    for (char *p = partial + 1; *p; p++)
        if (*p == '/') {
            *p = 0;
            mkdir(partial, 0755);
            *p = '/';
        }
    mkdir(partial, 0755);
}

static void mount_at(const char *source, const char *target, const char *type, unsigned long flags, const char *data) {
    make_directories(target);
    if (mount(source, target, type, flags, data) < 0)
        die("mount %s on %s (%s)", source, target, type);
}

static void load_modules(void) {
    struct dirent **entries;
    int count = scandir("/modules", &entries, NULL, alphasort);
    if (count < 0)
        die("/modules");
    for (int i = 0; i < count; i++) {
        char path[512];
        if (entries[i]->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/modules/%s", entries[i]->d_name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST))
            die("load %s", path);
        close(fd);
    }
}

static void enter_root(const char *exchange, const char *modules) {
    char target[4096];
    mount_at("root", "/lower", "9p", MS_RDONLY, "trans=virtio,version=9p2000.L,msize=512000,cache=loose");
    mount_at("tmpfs", "/upper", "tmpfs", 0, "mode=0755");
    make_directories("/upper/data");
    make_directories("/upper/work");
    mount_at("overlay", "/new", "overlay", 0, "lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work");
    // No cache here: the host reads while the guest writes.
    snprintf(target, sizeof target, "/new%s", exchange);
    mount_at("exchange", target, "9p", 0, "trans=virtio,version=9p2000.L,msize=512000,cache=none");
    if (modules) {
        char from[4096];
        snprintf(from, sizeof from, "/new%s", modules);
        mount_at(from, "/new/lib/modules", NULL, MS_BIND, NULL);
    }
    if (chdir("/new") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0)
        die("switch to the new root");
}

static void mount_kernel_filesystems(void) {
    mount_at("proc", "/proc", "proc", 0, NULL);
    mount_at("sys", "/sys", "sysfs", 0, NULL);
    mount_at("dev", "/dev", "devtmpfs", 0, NULL);
    mount_at("devpts", "/dev/pts", "devpts", 0, NULL);
    mount_at("shm", "/dev/shm", "tmpfs", 0, NULL);
    mount_at("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL);
    mount_at("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
    mount_at("bpf", "/sys/fs/bpf", "bpf", 0, NULL);
    mount_at("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, NULL);
    symlink("/proc/self/fd", "/dev/fd");
    symlink("/proc/self/fd/0", "/dev/stdin");
    symlink("/proc/self/fd/1", "/dev/stdout");
    symlink("/proc/self/fd/2", "/dev/stderr");
}

static void raise_loopback(void) {
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (s < 0 || ioctl(s, SIOCSIFFLAGS, &request) < 0)
        die("raise lo");
    close(s);
}

static int run_command(const char *exchange) {
    char script[4096];
    snprintf(script, sizeof script, "%s/command", exchange);
    pid_t child = fork();
    if (child == 0) {
        setsid();
        ioctl(0, TIOCSCTTY, 1);
        execl("/bin/sh", "sh", script, NULL);
        die("run /bin/sh");
    }
    if (child < 0)
        die("fork");
    for (;;) { // orphans are ours to reap, too
        int status;
        pid_t gone = wait(&status);
        if (gone == child)
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        if (gone < 0 && errno != EINTR)
            die("wait");
    }
}

int main(void) {
    const char *exchange = getenv("EXCHANGE");
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!exchange) {
        errno = EINVAL;
        die("EXCHANGE is not on the kernel's command line");
    }
    load_modules();
    enter_root(exchange, getenv("MODULES"));
    mount_kernel_filesystems();
    sethostname("guest", 5);
    raise_loopback();
    setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
    setenv("HOME", "/root", 1);
    int status = run_command(exchange);

    char path[4096];
    snprintf(path, sizeof path, "%s/status", exchange);
    FILE *file = fopen(path, "w");
    if (!file || fprintf(file, "%d\n", status) < 0 || fclose(file) != 0)
        die("write %s", path);
    power_off();
}
