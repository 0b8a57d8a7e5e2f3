#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "client/tool/spinner.h"
#include "lib/attr.h"
#include "lib/clock.h"

enum { FRAME_MS = 100, QUIET_MS = 300 };

/* A wait that ends soon shows nothing. */
static void draw(const struct spinner *spinner, unsigned frame)
{
    static const char *const frames[] = {"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"};
    uint64_t ms = clock_mono_ms(clock_real()) - spinner->start_ms;

    if (ms >= QUIET_MS)
        fprintf(stderr, "\r%s %llu.%llu s  %s\x1b[K", frames[frame % JM_COUNT_OF(frames)],
                (unsigned long long)(ms / 1000), (unsigned long long)(ms / 100 % 10),
                spinner->words);
}

static void *run(void *context)
{
    struct spinner *spinner = context;
    struct timespec next;

    clock_gettime(CLOCK_MONOTONIC, &next);
    pthread_mutex_lock(&spinner->lock);
    for (unsigned frame = 0; !spinner->is_stopping; frame++) {
        draw(spinner, frame);
        next.tv_nsec += FRAME_MS * 1000000L;
        next.tv_sec += next.tv_nsec / 1000000000;
        next.tv_nsec %= 1000000000;
        (void)pthread_cond_timedwait(&spinner->stop, &spinner->lock, &next);
    }
    pthread_mutex_unlock(&spinner->lock);
    fputs("\r\x1b[K", stderr);
    return NULL;
}

void spinner_start(struct spinner *spinner, const char *words)
{
    pthread_condattr_t monotonic;

    *spinner = (struct spinner){.words = words, .start_ms = clock_mono_ms(clock_real())};
    if (!isatty(STDERR_FILENO) || pthread_condattr_init(&monotonic) != 0)
        return;
    /* What fails here costs the spinner, never the wait. */
    if (pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0 &&
        pthread_mutex_init(&spinner->lock, NULL) == 0 &&
        pthread_cond_init(&spinner->stop, &monotonic) == 0)
        spinner->is_running = pthread_create(&spinner->thread, NULL, run, spinner) == 0;
    (void)pthread_condattr_destroy(&monotonic);
}

void spinner_stop(struct spinner *spinner)
{
    if (!spinner->is_running)
        return;
    pthread_mutex_lock(&spinner->lock);
    spinner->is_stopping = true;
    pthread_cond_signal(&spinner->stop);
    pthread_mutex_unlock(&spinner->lock);
    (void)pthread_join(spinner->thread, NULL);
    (void)pthread_cond_destroy(&spinner->stop);
    (void)pthread_mutex_destroy(&spinner->lock);
    spinner->is_running = false;
}
