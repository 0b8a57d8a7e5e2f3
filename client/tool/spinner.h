/*
 * spinner.h: "⠙ 3.2 s  waiting for …" on stderr while something waits, if stderr is a terminal;
 * else nothing at all. With progress it is a bar: "⠙ 3.2 s  [██████░░░░░░░░░░]  37 %  3/8 reading".
 * It turns in a thread of its own, because the wait blocks.
 */
#ifndef CLIENT_TOOL_SPINNER_H
#define CLIENT_TOOL_SPINNER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { SPINNER_TEXT_BYTES = 256 };

struct spinner {
    char text[SPINNER_TEXT_BYTES]; /* under lock */
    uint64_t start_ms;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t stop;
    bool is_running;
    bool is_stopping; /* under lock */
};

void spinner_start(struct spinner *spinner, const char *words);

/* Whether there is one to be seen. */
bool spinner_is_shown(const struct spinner *spinner);

/* Shows a bar from now on. Below 0: not known; the message may be NULL. With nothing known at all
 * nothing changes. */
void spinner_set_progress(struct spinner *spinner, double done, double total, const char *message);

/* Wipes the line. */
void spinner_stop(struct spinner *spinner);

#endif
