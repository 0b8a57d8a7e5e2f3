#include "peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

uint64_t peer_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void peer_die(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

void peer_begin(struct peer_run *run, double seconds)
{
    *run = (struct peer_run){.begun_ns = peer_now_ns()};
    run->until_ns = run->begun_ns + (uint64_t)(seconds * 1e9);
    run->times_us = calloc(PEER_TIMES, sizeof(*run->times_us));
    if (run->times_us == NULL)
        peer_die("memory", "none");
}

int peer_goes_on(const struct peer_run *run)
{
    return peer_now_ns() < run->until_ns;
}

void peer_note(struct peer_run *run, uint64_t begun_ns)
{
    run->done++;
    if (run->time_count < PEER_TIMES)
        run->times_us[run->time_count++] = (uint32_t)((peer_now_ns() - begun_ns) / 1000);
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

void peer_tell(struct peer_run *run)
{
    double seconds = (double)(peer_now_ns() - run->begun_ns) / 1e9;
    size_t n = run->time_count;

    if (n == 0)
        peer_die("nothing", "was done");
    qsort(run->times_us, n, sizeof(*run->times_us), compare);
    printf("{\"rate\": %.1f, \"p50_ms\": %.3f, \"p99_ms\": %.3f}\n", (double)run->done / seconds,
           run->times_us[n / 2] / 1000.0, run->times_us[n * 99 / 100] / 1000.0);
    free(run->times_us);
}
