/*
 * http_deadline.h: the time limits of all connections. Each kind of wait has one length for all, so
 * that a list to which the newest is appended is in the order of the ends: setting, clearing and
 * finding the next cost constant time, and one timer serves everybody. No I/O, no clock of its own.
 */
#ifndef BROKER_HTTP_DEADLINE_H
#define BROKER_HTTP_DEADLINE_H

#include <stdint.h>

#include "lib/list.h"

enum http_wait {
    HTTP_WAIT_NONE,
    HTTP_WAIT_IDLE,   /* for the next request */
    HTTP_WAIT_HEAD,   /* for the end of a head */
    HTTP_WAIT_BODY,   /* for more of a body */
    HTTP_WAIT_WRITE,  /* for the client to read */
    HTTP_WAIT_LINGER, /* for the client to read the last answer and close */
    HTTP_WAIT_COUNT
};

/* Embedded by who waits. */
struct http_deadline {
    struct list link;
    enum http_wait wait;
    uint64_t due_ms;
};

struct http_deadlines {
    struct list waiting[HTTP_WAIT_COUNT];
    unsigned limit_ms[HTTP_WAIT_COUNT]; /* set by the owner before use */
};

#define HTTP_DEADLINE_NEVER UINT64_MAX

void http_deadline_init_all(struct http_deadlines *all);
void http_deadline_init(struct http_deadline *d);

/* Starts the wait anew at `now_ms`, which never falls from call to call. */
void http_deadline_set(struct http_deadlines *all, struct http_deadline *d, enum http_wait wait,
                       uint64_t now_ms);
void http_deadline_clear(struct http_deadline *d);

/* The earliest end of any wait, or HTTP_DEADLINE_NEVER. */
uint64_t http_deadline_next(const struct http_deadlines *all);

/* Takes out one whose time is over and tells its kind; NULL if there is none. It is cleared. */
struct http_deadline *http_deadline_take_due(struct http_deadlines *all, uint64_t now_ms,
                                             enum http_wait *ret_wait);

#endif
