#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/tool/spinner.h"
#include "client/tool/table.h"
#include "lib/attr.h"
#include "lib/clock.h"

enum { FRAME_MS = 100, QUIET_MS = 300, BAR_CELLS = 20, MESSAGE_BYTES = 32 };

/* A wait that ends soon shows nothing. */
static void draw(const struct spinner *spinner, unsigned frame)
{
    static const char *const frames[] = {"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"};
    uint64_t ms = clock_mono_ms(clock_real()) - spinner->start_ms;

    if (ms >= QUIET_MS)
        fprintf(stderr, "\r%s %llu.%llu s  %s\x1b[K", frames[frame % JM_COUNT_OF(frames)],
                (unsigned long long)(ms / 1000), (unsigned long long)(ms / 100 % 10),
                spinner->text);
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

    *spinner = (struct spinner){.start_ms = clock_mono_ms(clock_real())};
    snprintf(spinner->text, sizeof(spinner->text), "%s", words);
    if (!isatty(STDERR_FILENO) || pthread_condattr_init(&monotonic) != 0)
        return;
    /* What fails here costs the spinner, never the wait. */
    if (pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0 &&
        pthread_mutex_init(&spinner->lock, NULL) == 0 &&
        pthread_cond_init(&spinner->stop, &monotonic) == 0)
        spinner->is_running = pthread_create(&spinner->thread, NULL, run, spinner) == 0;
    (void)pthread_condattr_destroy(&monotonic);
}

bool spinner_is_shown(const struct spinner *spinner)
{
    return spinner->is_running;
}

static void put_bar(struct buf *out, double done, double total)
{
    double share = done < total ? done / total : 1;

    buf_put_u8(out, '[');
    for (int i = 0; i < BAR_CELLS; i++)
        buf_put_str(out, i < (int)(share * (double)BAR_CELLS) ? "█" : "░");
    buf_printf(out, "] %3d %%  %.15g/%.15g", (int)(share * 100), done, total);
}

/* A message is a line of the broker's, and the terminal is one line high. */
static void put_message(struct buf *out, const char *message)
{
    size_t len = strlen(message);

    if (len > MESSAGE_BYTES)
        for (len = MESSAGE_BYTES; len > 0 && (message[len] & 0xC0) == 0x80; len--)
            ;
    table_put_clean(out, span_of(message, len));
}

void spinner_set_progress(struct spinner *spinner, double done, double total, const char *message)
{
    bool has_message = message != NULL && *message != '\0';
    struct buf text;

    if (!spinner->is_running || (done < 0 && !has_message))
        return;
    buf_init(&text, SPINNER_TEXT_BYTES - 1);
    if (done >= 0 && total > 0)
        put_bar(&text, done, total);
    else if (done >= 0)
        buf_printf(&text, "%.15g done", done);
    if (has_message) {
        buf_put_str(&text, text.len > 0 ? "  " : "");
        put_message(&text, message);
    }
    pthread_mutex_lock(&spinner->lock);
    if (!buf_has_failed(&text))
        snprintf(spinner->text, sizeof(spinner->text), "%.*s", (int)text.len,
                 (const char *)text.data);
    pthread_mutex_unlock(&spinner->lock);
    buf_done(&text);
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
