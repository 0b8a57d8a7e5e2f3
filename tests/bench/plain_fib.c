/*
 * plain_fib.c: the yardstick of computing: fib(N) by the same naive recursion as the task fib, in a
 * plain C program, in as many processes as asked for, for some time. Prints one JSON line: calls a
 * second of all, and the CPU of one call.
 *
 * usage: plain_fib N PROCESSES MILLISECONDS
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"

struct tally {
    uint64_t calls;
    uint64_t ns;
    uint64_t cpu_ns;
};

static uint64_t fib(uint64_t n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static uint64_t cpu_ns(void)
{
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static struct tally compute(uint64_t n, uint64_t ms)
{
    struct tally tally = {0};
    uint64_t begin_ns = clock_mono_ns(clock_real());
    volatile uint64_t argument = n, result;

    while (tally.ns < ms * 1000000) {
        result = fib(argument);
        (void)result;
        tally.calls++;
        tally.ns = clock_mono_ns(clock_real()) - begin_ns;
    }
    tally.cpu_ns = cpu_ns();
    return tally;
}

static void run_child(int fd, uint64_t n, uint64_t ms)
{
    struct tally tally = compute(n, ms);

    _exit(write(fd, &tally, sizeof(tally)) == sizeof(tally) ? 0 : 1);
}

int main(int argc, char **argv)
{
    uint64_t n = argc == 4 ? strtoull(argv[1], NULL, 10) : 0;
    uint64_t processes = argc == 4 ? strtoull(argv[2], NULL, 10) : 0;
    uint64_t ms = argc == 4 ? strtoull(argv[3], NULL, 10) : 0;
    double rate = 0, cpu_us = 0;
    struct tally tally;
    int fds[2];

    if (n == 0 || n > 50 || processes == 0 || ms == 0 || pipe(fds) != 0)
        return 2;
    for (uint64_t i = 0; i < processes; i++)
        if (fork() == 0)
            run_child(fds[1], n, ms);
    for (uint64_t i = 0; i < processes; i++) {
        if (read(fds[0], &tally, sizeof(tally)) != sizeof(tally))
            return 1;
        rate += (double)tally.calls * 1e9 / (double)tally.ns;
        cpu_us += (double)tally.cpu_ns / 1000 / (double)tally.calls / (double)processes;
    }
    while (wait(NULL) > 0)
        continue;
    printf("{\"rate\":%.3f,\"cpu_us\":{\"fib\":%.1f}}\n", rate, cpu_us);
    return 0;
}
