/*
 * disk_bench.c: what today's disk takes for the fdatasync of 4 KiB that were appended to a file,
 * and of 4 KiB that were written over what is there: the yardstick of everything durable. In the
 * current directory; prints one JSON line.
 *
 * usage: disk_bench TIMES
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "tests/bench/histogram.h"

enum { BLOCK = 4096 };

static const char path[] = "disk_bench.tmp";

/* Writes and syncs so many blocks, from the front of the file. */
static int measure(int fd, size_t times, struct histogram *h)
{
    static const char block[BLOCK] = {1};

    for (size_t i = 0; i < times; i++) {
        uint64_t begin_ns = clock_mono_ns(clock_real());

        if (pwrite(fd, block, BLOCK, (off_t)(i * BLOCK)) != BLOCK || fdatasync(fd) != 0)
            return -1;
        histogram_add(h, clock_mono_ns(clock_real()) - begin_ns);
    }
    return 0;
}

static void print(const char *name, const struct histogram *h, const char *end)
{
    printf("\"%s\":{\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f}%s", name,
           (double)histogram_quantile(h, 0.5) / 1000, (double)histogram_quantile(h, 0.99) / 1000,
           (double)histogram_quantile(h, 0.999) / 1000, (double)h->max_ns / 1000, end);
}

int main(int argc, char **argv)
{
    static struct histogram appends, overwrites;
    size_t times = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0 || unlink(path) != 0 || times == 0)
        return 2;
    if (measure(fd, times, &appends) != 0 || measure(fd, times, &overwrites) != 0) {
        perror("disk_bench");
        return 1;
    }
    printf("{");
    print("append", &appends, ",");
    print("overwrite", &overwrites, "}\n");
    return close(fd) == 0 ? 0 : 1;
}
