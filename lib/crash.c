/*
 * crash.c: the environment is read at each arrival, which only a test build pays for; the arrivals
 * are counted over all threads.
 */
#include "lib/crash.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { WITHIN_NS = 2000000 };

static atomic_ulong arrivals; /* at the one point that is named */

static bool is_time_up(const char *name)
{
    const char *at = getenv("JM_CRASH_AT");
    size_t len = strlen(name);

    if (at == NULL || strncmp(at, name, len) != 0 || at[len] != ':')
        return false;
    return atomic_fetch_add(&arrivals, 1) + 1 == strtoul(at + len + 1, NULL, 10);
}

/* A log that cannot be written shows: the test waits for its line. */
static void leave_line(const char *name)
{
    const char *path = getenv("JM_CRASH_LOG");
    int fd = path != NULL ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;

    if (fd < 0)
        return;
    dprintf(fd, "%s %d\n", name, (int)getpid());
    (void)close(fd);
}

static void die(void)
{
    (void)kill(getpid(), SIGKILL);
    for (;;)
        (void)pause(); /* other threads run on until the signal has come */
}

void crash_point(const char *name)
{
    if (!is_time_up(name))
        return;
    leave_line(name);
    die();
}

void crash_within(const char *name)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};
    struct itimerspec after = {{0, 0}, {0, 0}};
    struct timespec now;
    timer_t timer = NULL;

    if (!is_time_up(name))
        return;
    leave_line(name);
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0 ||
        timer_create(CLOCK_MONOTONIC, &event, &timer) != 0)
        die();
    after.it_value.tv_nsec = 1 + now.tv_nsec % WITHIN_NS;
    if (timer_settime(timer, 0, &after, NULL) != 0)
        die();
}
