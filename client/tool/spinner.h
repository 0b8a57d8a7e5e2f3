/*
 * spinner.h: "⠙ 3.2 s  waiting for …" on stderr while something waits, if stderr is a terminal;
 * else nothing at all. It turns in a thread of its own, because the wait blocks.
 */
#ifndef CLIENT_TOOL_SPINNER_H
#define CLIENT_TOOL_SPINNER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct spinner {
    const char *words;
    uint64_t start_ms;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t stop;
    bool is_running;
    bool is_stopping; /* under lock */
};

/* `words` must live until spinner_stop. */
void spinner_start(struct spinner *spinner, const char *words);

/* Wipes the line. */
void spinner_stop(struct spinner *spinner);

#endif
