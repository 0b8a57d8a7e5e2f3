/*
 * clock_shim.c: preloaded into broker and workers, it steps their wall clock: to CLOCK_REALTIME it
 * adds the milliseconds (a signed 64-bit integer) that stand in the file JM_CLOCK_FILE, which is
 * mapped, so that a step is one store by the test. Without that file it changes nothing.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { MS_PER_S = 1000, NS_PER_MS = 1000000, NS_PER_US = 1000 };

static _Atomic int64_t *offset_ms;

__attribute__((constructor)) static void map_offset(void)
{
    const char *path = getenv("JM_CLOCK_FILE");
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    void *page;

    if (fd < 0)
        return;
    page = mmap(NULL, sizeof(*offset_ms), PROT_READ, MAP_SHARED, fd, 0);
    if (page != MAP_FAILED)
        offset_ms = page;
    close(fd);
}

static void add_offset(struct timespec *ts)
{
    int64_t ms = offset_ms == NULL ? 0 : atomic_load(offset_ms);
    int64_t all_ms = (int64_t)ts->tv_sec * MS_PER_S + ts->tv_nsec / NS_PER_MS + ms;

    ts->tv_nsec = ts->tv_nsec % NS_PER_MS + all_ms % MS_PER_S * NS_PER_MS;
    ts->tv_sec = (time_t)(all_ms / MS_PER_S);
}

int clock_gettime(clockid_t which, struct timespec *ts)
{
    int status = (int)syscall(SYS_clock_gettime, which, ts);

    if (status == 0 && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE))
        add_offset(ts);
    return status;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
    struct timespec ts;

    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &ts) != 0)
        return -1;
    tv->tv_sec = ts.tv_sec;
    tv->tv_usec = ts.tv_nsec / NS_PER_US;
    return 0;
}

time_t time(time_t *ret_now)
{
    struct timespec ts;

    if (clock_gettime(CLOCK_REALTIME, &ts) != 0)
        return (time_t)-1;
    if (ret_now != NULL)
        *ret_now = ts.tv_sec;
    return ts.tv_sec;
}
