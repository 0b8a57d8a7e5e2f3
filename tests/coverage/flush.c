/*
 * flush.c: linked into the programs of the coverage tree, so that their counters are not lost where
 * a program does not end by exit: the broker that gives up by _exit writes them first, and a
 * worker's child, which its parent kills in the end, writes them while it lives. A counter file is
 * written with one write(2), which a kill does not cut.
 */
#include <gcov.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

_Noreturn void __real__exit(int code);
_Noreturn void __wrap__exit(int code);

static void flush(void)
{
    __gcov_dump();
    __gcov_reset(); /* or they would count twice */
}

_Noreturn void __wrap__exit(int code)
{
    flush();
    __real__exit(code);
}

static void *flush_again_and_again(void *unused)
{
    static const struct timespec pause = {.tv_nsec = 200000000};

    (void)unused;
    for (;;) {
        (void)nanosleep(&pause, NULL);
        flush();
    }
    return NULL;
}

static __attribute__((constructor)) void start(int argc, char **argv)
{
    sigset_t all, before;
    pthread_t thread;

    if (argc != 2 || strcmp(argv[1], "--child") != 0)
        return;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    (void)pthread_create(&thread, NULL, flush_again_and_again, NULL);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}
