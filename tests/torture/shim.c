/*
 * shim.c: loaded into a program with LD_PRELOAD, it makes one call fail: the n-th of a kind since
 * the script armed the area (area.h) that JM_TORTURE_AREA names. Nothing happens before main or
 * after it, so that the C library and a sanitizer are left alone. What a kind is depends on the
 * descriptor, too: a socket breaks in other ways than a file. Calls on the standard descriptors and
 * on event descriptors never fail: there the kernel has no such failure, and libuv says so by
 * abort.
 *
 * Where the call was made is added to JM_TORTURE_AREA.trace.
 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/torture/area.h"

enum { FRAMES = 24, DEEP = 64, EARLY_BYTES = 256 << 10, EARLY_ALIGN = 16 };

static struct torture_area *area;
static char trace_path[512];
static bool is_begun; /* main was entered */
/* dlsym is at work: it has no malloc yet. (It is declared to call nothing of ours: hence volatile.)
 */
static __thread volatile bool is_finding;
static __thread volatile bool is_inside;              /* the shim's own calls do not count */
static _Alignas(EARLY_ALIGN) char early[EARLY_BYTES]; /* for dlsym, before there is a malloc */
static size_t early_used;

/* ---- which call fails ---- */

static void leave_trace(void)
{
    void *frames[FRAMES];
    int fd;

    is_inside = true;
    fd = (int)syscall(SYS_openat, AT_FDCWD, trace_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC,
                      0600);
    if (fd >= 0) {
        backtrace_symbols_fd(frames, backtrace(frames, FRAMES), fd);
        syscall(SYS_write, fd, "\n", 1);
        syscall(SYS_close, fd);
    }
    is_inside = false;
}

/* Of the callers, by where they are in their programs and libraries: the same in every process. */
static uint64_t stack_of_call(void)
{
    void *frames[DEEP];
    uint64_t id = 1469598103934665603U;
    int count;

    is_inside = true;
    count = backtrace(frames, DEEP);
    for (int i = 0; i < count; i++) {
        uint64_t address = (uint64_t)(uintptr_t)frames[i];
        struct dl_find_object found;

        if (_dl_find_object(frames[i], &found) == 0)
            address -= found.dlfo_link_map->l_addr;
        id = (id ^ address) * 1099511628211U;
        id ^= id >> 29;
    }
    is_inside = false;
    return id != 0 ? id : 1;
}

/* A full table is told by `order`. */
static void note_stack(uint64_t id)
{
    for (uint64_t i = id, tries = 0; tries < TORTURE_STACKS; i++, tries++) {
        struct torture_stack *stack = &area->stacks[i % TORTURE_STACKS];
        uint64_t old = 0;

        if (atomic_compare_exchange_strong(&stack->id, &old, id)) {
            atomic_fetch_add(&area->order, 1);
            old = id;
        }
        if (old == id) {
            atomic_fetch_add(&stack->seen, 1);
            return;
        }
    }
    atomic_fetch_add(&area->order, 1);
}

/* True if this call is to fail; errno is set then. */
static bool fails(enum torture_kind kind)
{
    uint64_t at, stack, id = 0;

    if (!is_begun || area == NULL || is_inside || atomic_load(&area->kind) != kind)
        return false;
    at = atomic_load(&area->at);
    stack = atomic_load(&area->stack);
    if (at == 0 || stack != 0)
        id = stack_of_call();
    if (at == 0)
        note_stack(id);
    if ((stack != 0 && stack != id) || atomic_fetch_add(&area->seen, 1) + 1 != at)
        return false;
    atomic_store(&area->fired, 1);
    leave_trace();
    errno = (int)atomic_load(&area->error);
    return true;
}

static bool is_counted(enum torture_kind a, enum torture_kind b, enum torture_kind c)
{
    uint32_t kind = area != NULL ? atomic_load(&area->kind) : TORTURE_NONE;

    return is_begun && kind != TORTURE_NONE && (kind == a || kind == b || kind == c);
}

static bool read_fails(int fd)
{
    struct stat st;

    if (fd <= STDERR_FILENO || !is_counted(TORTURE_FILE_READ, TORTURE_RECEIVE, TORTURE_NONE) ||
        fstat(fd, &st) != 0)
        return false;
    return (S_ISREG(st.st_mode) && fails(TORTURE_FILE_READ)) ||
           (S_ISSOCK(st.st_mode) && fails(TORTURE_RECEIVE));
}

static bool write_fails(int fd)
{
    struct stat st;

    if (fd <= STDERR_FILENO || !is_counted(TORTURE_FILE_WRITE, TORTURE_SEND, TORTURE_PIPE) ||
        fstat(fd, &st) != 0)
        return false;
    return (S_ISREG(st.st_mode) && fails(TORTURE_FILE_WRITE)) ||
           (S_ISSOCK(st.st_mode) && fails(TORTURE_SEND)) ||
           (S_ISFIFO(st.st_mode) && fails(TORTURE_PIPE));
}

/* ---- the real calls ---- */

/* POSIX lets a function's address pass through void *, ISO C does not: by way of its bytes. */
static void find(const char *name, void *ret_function)
{
    void *found;

    is_finding = true;
    found = dlsym(RTLD_NEXT, name);
    is_finding = false;
    if (found == NULL)
        abort();
    memcpy(ret_function, &found, sizeof(found));
}

/* Looked up when first called, which may be before any constructor of ours. */
#define REAL(name, type, params)        \
    typedef type name##_fn params;      \
    static name##_fn *real_##name(void) \
    {                                   \
        static name##_fn *found;        \
        if (found == NULL)              \
            find(#name, &found);        \
        return found;                   \
    }

REAL(malloc, void *, (size_t))
REAL(calloc, void *, (size_t, size_t))
REAL(realloc, void *, (void *, size_t))
REAL(posix_memalign, int, (void **, size_t, size_t))
REAL(aligned_alloc, void *, (size_t, size_t))
REAL(free, void, (void *))
REAL(read, ssize_t, (int, void *, size_t))
REAL(readv, ssize_t, (int, const struct iovec *, int))
REAL(pread, ssize_t, (int, void *, size_t, off_t))
REAL(pread64, ssize_t, (int, void *, size_t, off64_t))
REAL(recv, ssize_t, (int, void *, size_t, int))
REAL(recvmsg, ssize_t, (int, struct msghdr *, int))
REAL(write, ssize_t, (int, const void *, size_t))
REAL(writev, ssize_t, (int, const struct iovec *, int))
REAL(pwrite, ssize_t, (int, const void *, size_t, off_t))
REAL(pwrite64, ssize_t, (int, const void *, size_t, off64_t))
REAL(send, ssize_t, (int, const void *, size_t, int))
REAL(sendto, ssize_t, (int, const void *, size_t, int, const struct sockaddr *, socklen_t))
REAL(sendmsg, ssize_t, (int, const struct msghdr *, int))
REAL(fsync, int, (int))
REAL(fdatasync, int, (int))
REAL(connect, int, (int, const struct sockaddr *, socklen_t))
REAL(open, int, (const char *, int, ...))
REAL(open64, int, (const char *, int, ...))
REAL(fopen, FILE *, (const char *, const char *))
REAL(fopen64, FILE *, (const char *, const char *))
REAL(socket, int, (int, int, int))
REAL(socketpair, int, (int, int, int, int *))
REAL(pipe2, int, (int *, int))
REAL(eventfd, int, (unsigned, int))
REAL(epoll_create1, int, (int))
REAL(memfd_create, int, (const char *, unsigned))
REAL(dup, int, (int))
REAL(dup2, int, (int, int))
REAL(accept, int, (int, struct sockaddr *, socklen_t *))
REAL(accept4, int, (int, struct sockaddr *, socklen_t *, int))
REAL(epoll_ctl, int, (int, int, int, struct epoll_event *))
REAL(pthread_create, int, (pthread_t *, const pthread_attr_t *, void *(*)(void *), void *))
REAL(fork, pid_t, (void))
REAL(execv, int, (const char *, char *const *))
REAL(execve, int, (const char *, char *const *, char *const *))
REAL(mmap, void *, (void *, size_t, int, int, int, off_t))
REAL(mmap64, void *, (void *, size_t, int, int, int, off64_t))
REAL(fcntl, int, (int, int, ...))
REAL(fcntl64, int, (int, int, ...))
REAL(ftruncate, int, (int, off_t))
REAL(ftruncate64, int, (int, off64_t))
REAL(posix_fallocate, int, (int, off_t, off_t))
REAL(posix_fallocate64, int, (int, off64_t, off64_t))
REAL(unlink, int, (const char *))
REAL(rename, int, (const char *, const char *))

/* ---- memory ---- */

static bool is_early(const void *p)
{
    return (const char *)p >= early && (const char *)p < early + EARLY_BYTES;
}

/* Never given back; zeroed as all of it is used once. */
static void *take_early(size_t n)
{
    size_t at = early_used;

    n = (n + EARLY_ALIGN - 1) / EARLY_ALIGN * EARLY_ALIGN;
    if (n > EARLY_BYTES - at)
        abort();
    early_used = at + n;
    return early + at;
}

void *malloc(size_t n)
{
    if (is_finding)
        return take_early(n);
    return fails(TORTURE_ALLOC) ? NULL : real_malloc()(n);
}

void *calloc(size_t count, size_t n)
{
    if (is_finding)
        return take_early(count * n);
    return fails(TORTURE_ALLOC) ? NULL : real_calloc()(count, n);
}

/* Of an early block the size is not known: what lies behind it is copied, too. */
static void *move_early(const void *p, size_t n)
{
    void *moved = malloc(n);
    size_t rest = (size_t)(early + EARLY_BYTES - (const char *)p);

    if (moved != NULL)
        memcpy(moved, p, n < rest ? n : rest);
    return moved;
}

void *realloc(void *p, size_t n)
{
    if (is_early(p))
        return move_early(p, n);
    if (is_finding)
        return take_early(n);
    return n > 0 && fails(TORTURE_ALLOC) ? NULL : real_realloc()(p, n);
}

int posix_memalign(void **ret, size_t align, size_t n)
{
    return fails(TORTURE_ALLOC) ? ENOMEM : real_posix_memalign()(ret, align, n);
}

void *aligned_alloc(size_t align, size_t n)
{
    return fails(TORTURE_ALLOC) ? NULL : real_aligned_alloc()(align, n);
}

void free(void *p)
{
    if (!is_early(p) && !is_finding) /* else it is lost: a few bytes, once */
        real_free()(p);
}

/* ---- bytes in and out ---- */

ssize_t read(int fd, void *to, size_t n)
{
    return read_fails(fd) ? -1 : real_read()(fd, to, n);
}

ssize_t readv(int fd, const struct iovec *to, int count)
{
    return read_fails(fd) ? -1 : real_readv()(fd, to, count);
}

ssize_t pread(int fd, void *to, size_t n, off_t at)
{
    return read_fails(fd) ? -1 : real_pread()(fd, to, n, at);
}

ssize_t pread64(int fd, void *to, size_t n, off64_t at)
{
    return read_fails(fd) ? -1 : real_pread64()(fd, to, n, at);
}

ssize_t recv(int fd, void *to, size_t n, int flags)
{
    return read_fails(fd) ? -1 : real_recv()(fd, to, n, flags);
}

ssize_t recvmsg(int fd, struct msghdr *to, int flags)
{
    return read_fails(fd) ? -1 : real_recvmsg()(fd, to, flags);
}

ssize_t write(int fd, const void *from, size_t n)
{
    return write_fails(fd) ? -1 : real_write()(fd, from, n);
}

ssize_t writev(int fd, const struct iovec *from, int count)
{
    return write_fails(fd) ? -1 : real_writev()(fd, from, count);
}

ssize_t pwrite(int fd, const void *from, size_t n, off_t at)
{
    return write_fails(fd) ? -1 : real_pwrite()(fd, from, n, at);
}

ssize_t pwrite64(int fd, const void *from, size_t n, off64_t at)
{
    return write_fails(fd) ? -1 : real_pwrite64()(fd, from, n, at);
}

ssize_t send(int fd, const void *from, size_t n, int flags)
{
    return write_fails(fd) ? -1 : real_send()(fd, from, n, flags);
}

ssize_t sendto(int fd, const void *from, size_t n, int flags, const struct sockaddr *to,
               socklen_t len)
{
    return write_fails(fd) ? -1 : real_sendto()(fd, from, n, flags, to, len);
}

ssize_t sendmsg(int fd, const struct msghdr *from, int flags)
{
    return write_fails(fd) ? -1 : real_sendmsg()(fd, from, flags);
}

int fsync(int fd)
{
    return fails(TORTURE_SYNC) ? -1 : real_fsync()(fd);
}

int fdatasync(int fd)
{
    return fails(TORTURE_SYNC) ? -1 : real_fdatasync()(fd);
}

/* ---- descriptors ---- */

static int mode_of(int flags, va_list args)
{
    return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(args, int) : 0;
}

int open(const char *path, int flags, ...)
{
    va_list args;
    int mode;

    va_start(args, flags);
    mode = mode_of(flags, args);
    va_end(args);
    return fails(TORTURE_OPEN) ? -1 : real_open()(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list args;
    int mode;

    va_start(args, flags);
    mode = mode_of(flags, args);
    va_end(args);
    return fails(TORTURE_OPEN) ? -1 : real_open64()(path, flags, mode);
}

FILE *fopen(const char *path, const char *mode)
{
    return fails(TORTURE_OPEN) ? NULL : real_fopen()(path, mode);
}

FILE *fopen64(const char *path, const char *mode)
{
    return fails(TORTURE_OPEN) ? NULL : real_fopen64()(path, mode);
}

int socket(int domain, int type, int protocol)
{
    return fails(TORTURE_HANDLE) ? -1 : real_socket()(domain, type, protocol);
}

int socketpair(int domain, int type, int protocol, int ret_fds[2])
{
    return fails(TORTURE_HANDLE) ? -1 : real_socketpair()(domain, type, protocol, ret_fds);
}

int pipe2(int ret_fds[2], int flags)
{
    return fails(TORTURE_HANDLE) ? -1 : real_pipe2()(ret_fds, flags);
}

int eventfd(unsigned value, int flags)
{
    return fails(TORTURE_HANDLE) ? -1 : real_eventfd()(value, flags);
}

int epoll_create1(int flags)
{
    return fails(TORTURE_HANDLE) ? -1 : real_epoll_create1()(flags);
}

int memfd_create(const char *name, unsigned flags)
{
    return fails(TORTURE_HANDLE) ? -1 : real_memfd_create()(name, flags);
}

int dup(int fd)
{
    return fails(TORTURE_HANDLE) ? -1 : real_dup()(fd);
}

int dup2(int fd, int to)
{
    return fails(TORTURE_HANDLE) ? -1 : real_dup2()(fd, to);
}

int accept(int fd, struct sockaddr *ret_from, socklen_t *ret_len)
{
    return fails(TORTURE_ACCEPT) ? -1 : real_accept()(fd, ret_from, ret_len);
}

int accept4(int fd, struct sockaddr *ret_from, socklen_t *ret_len, int flags)
{
    return fails(TORTURE_ACCEPT) ? -1 : real_accept4()(fd, ret_from, ret_len, flags);
}

int connect(int fd, const struct sockaddr *to, socklen_t len)
{
    return fails(TORTURE_CONNECT) ? -1 : real_connect()(fd, to, len);
}

int epoll_ctl(int fd, int op, int of, struct epoll_event *event)
{
    return fails(TORTURE_POLL) ? -1 : real_epoll_ctl()(fd, op, of, event);
}

/* ---- threads and processes ---- */

int pthread_create(pthread_t *ret_thread, const pthread_attr_t *attr, void *(*run)(void *),
                   void *arg)
{
    return fails(TORTURE_THREAD) ? errno : real_pthread_create()(ret_thread, attr, run, arg);
}

pid_t fork(void)
{
    return fails(TORTURE_FORK) ? -1 : real_fork()();
}

int execv(const char *path, char *const *argv)
{
    return fails(TORTURE_EXEC) ? -1 : real_execv()(path, argv);
}

int execve(const char *path, char *const *argv, char *const *env)
{
    return fails(TORTURE_EXEC) ? -1 : real_execve()(path, argv, env);
}

/* ---- files ---- */

void *mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset)
{
    bool failed = fd >= 0 && fails(TORTURE_MAP);

    return failed ? MAP_FAILED : real_mmap()(at, n, protection, flags, fd, offset);
}

void *mmap64(void *at, size_t n, int protection, int flags, int fd, off64_t offset)
{
    bool failed = fd >= 0 && fails(TORTURE_MAP);

    return failed ? MAP_FAILED : real_mmap64()(at, n, protection, flags, fd, offset);
}

/* To give a lock back cannot fail. */
static bool lock_fails(int command, const struct flock *lock)
{
    return (command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK) &&
           lock->l_type != F_UNLCK && fails(TORTURE_LOCK);
}

int fcntl(int fd, int command, ...)
{
    va_list args;
    void *arg;

    va_start(args, command);
    arg = va_arg(args, void *); /* an int or a pointer: a register either way */
    va_end(args);
    return lock_fails(command, arg) ? -1 : real_fcntl()(fd, command, arg);
}

int fcntl64(int fd, int command, ...)
{
    va_list args;
    void *arg;

    va_start(args, command);
    arg = va_arg(args, void *);
    va_end(args);
    return lock_fails(command, arg) ? -1 : real_fcntl64()(fd, command, arg);
}

int ftruncate(int fd, off_t size)
{
    return fails(TORTURE_SIZE) ? -1 : real_ftruncate()(fd, size);
}

int ftruncate64(int fd, off64_t size)
{
    return fails(TORTURE_SIZE) ? -1 : real_ftruncate64()(fd, size);
}

int posix_fallocate(int fd, off_t at, off_t size)
{
    return fails(TORTURE_SIZE) ? errno : real_posix_fallocate()(fd, at, size);
}

int posix_fallocate64(int fd, off64_t at, off64_t size)
{
    return fails(TORTURE_SIZE) ? errno : real_posix_fallocate64()(fd, at, size);
}

int unlink(const char *path)
{
    return fails(TORTURE_NAME) ? -1 : real_unlink()(path);
}

int rename(const char *from, const char *to)
{
    return fails(TORTURE_NAME) ? -1 : real_rename()(from, to);
}

/* ---- the start ---- */

/* Of the leak sanitizer, if the program has it. */
void __lsan_disable(void) __attribute__((weak));
void __lsan_enable(void) __attribute__((weak));

static void open_area(int argc, char **argv)
{
    const char *path = getenv("JM_TORTURE_AREA");
    bool is_child = argc == 2 && strcmp(argv[1], "--child") == 0;
    void *frames[1];
    uint32_t role;
    void *page;
    int fd;

    if (path == NULL)
        return;
    snprintf(trace_path, sizeof(trace_path), "%s.trace", path);
    fd = real_open()(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        abort();
    page = real_mmap()(NULL, TORTURE_AREA_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        abort();
    close(fd);
    if (__lsan_disable != NULL)
        __lsan_disable();
    backtrace(frames, 1); /* the first one loads a library, which stays */
    if (__lsan_enable != NULL)
        __lsan_enable();
    area = page;
    role = atomic_load(&area->role);
    if (role != 0 && role != (is_child ? 2 : 1))
        area = NULL;
}

static int (*real_main)(int, char **, char **);

static int begin(int argc, char **argv, char **env)
{
    int code;

    open_area(argc, argv);
    is_begun = true;
    code = real_main(argc, argv, env);
    is_begun = false; /* what libraries do at the end of a process is theirs */
    return code;
}

int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void),
                      void (*fini)(void), void (*rtld_fini)(void), void *stack_end);

int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void),
                      void (*fini)(void), void (*rtld_fini)(void), void *stack_end)
{
    int (*start)(int (*)(int, char **, char **), int, char **, void (*)(void), void (*)(void),
                 void (*)(void), void *);

    find("__libc_start_main", &start);
    real_main = main;
    return start(begin, argc, argv, init, fini, rtld_fini, stack_end);
}
