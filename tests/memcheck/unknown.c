/*
 * unknown.c: linked into the worker of the memcheck tree, for what the valgrind of Debian 12 does
 * not know.
 *
 * It follows an exec by starting itself anew with the path that it is given; /proc/self/exe would
 * then be valgrind's own. It shows the right name to a readlink.
 *
 * openat2 does not get through. What it keeps beneath a directory is here looked at behind the
 * opening, which would not do where somebody else changes the directories meanwhile.
 *
 * Nor does pidfd_open, by which a child that runs jobs waits for its program, one at a time: a
 * signalfd of SIGCHLD stands in, which that child has blocked from its start.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int __real_execv(const char *path, char *const *argv);
int __wrap_execv(const char *path, char *const *argv);
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

int __wrap_execv(const char *path, char *const *argv)
{
    char own[PATH_MAX];
    ssize_t len;

    if (strcmp(path, "/proc/self/exe") != 0)
        return __real_execv(path, argv);
    len = readlink(path, own, sizeof(own) - 1);
    if (len < 0)
        return -1;
    own[len] = '\0';
    return __real_execv(own, argv);
}

static bool read_path(int fd, char *ret_path, size_t size)
{
    char link[64];
    ssize_t len;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    len = readlink(link, ret_path, size - 1);
    ret_path[len > 0 ? len : 0] = '\0';
    return len > 0;
}

static bool is_beneath(int dir, int fd)
{
    char root[PATH_MAX], file[PATH_MAX];
    size_t len;

    if (!read_path(dir, root, sizeof(root)) || !read_path(fd, file, sizeof(file)))
        return false;
    len = strlen(root);
    return strncmp(root, file, len) == 0 && file[len] == '/';
}

static long open_beneath(int dir, const char *path, const struct open_how *how)
{
    int fd = path[0] == '/' ? -1 : openat(dir, path, (int)how->flags);

    if (fd < 0 && path[0] != '/')
        return -1;
    if (fd >= 0 && is_beneath(dir, fd))
        return fd;
    if (fd >= 0)
        (void)close(fd);
    errno = EXDEV;
    return -1;
}

static sigset_t child_ended(void)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGCHLD);
    return set;
}

static __attribute__((constructor)) void start(int argc, char **argv)
{
    sigset_t set = child_ended();

    if (argc == 2 && strcmp(argv[1], "--child") == 0)
        (void)sigprocmask(SIG_BLOCK, &set, NULL);
}

/* The signal may be that of the program before, and then this one's has gone with it. */
static long open_pid(pid_t pid)
{
    static const struct timespec now;
    siginfo_t info = {.si_pid = 0};
    sigset_t set = child_ended();

    if (sigtimedwait(&set, NULL, &now) == SIGCHLD &&
        waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid)
        (void)raise(SIGCHLD);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

long __wrap_syscall(long number, ...)
{
    long words[6];
    va_list args;

    va_start(args, number);
    for (int i = 0; i < 6; i++)
        words[i] = va_arg(args, long);
    va_end(args);
    if (number == SYS_openat2)
        return open_beneath((int)words[0], (const char *)words[1],
                            (const struct open_how *)words[2]);
    if (number == SYS_pidfd_open)
        return open_pid((pid_t)words[0]);
    return __real_syscall(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}
