/*
 * redis_link.h: one connection to Redis that is kept up: connects, and again after a break, with
 * growing pauses. A part of the wrapper around hiredis; only carrier_redis.c uses it. Loop thread
 * only.
 */
#ifndef BROKER_REDIS_LINK_H
#define BROKER_REDIS_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "lib/attr.h"

struct redisAsyncContext;
struct redisReply;

/* Where Redis is: a path, or a host and a port. */
struct redis_address {
    char path[108]; /* as in sun_path; empty: host and port */
    char host[256];
    int port;
};

int redis_address_parse(const char *text, struct redis_address *ret_address) JM_MUST_CHECK;

struct redis_link {
    uv_loop_t *loop;
    const struct redis_address *address;
    const char *purpose; /* for the log: "commands" */
    void *owner;
    void (*on_up)(struct redis_link *l);
    void (*on_down)(struct redis_link *l); /* after all open commands were answered with NULL */
    void (*on_closed)(struct redis_link *l);

    struct redisAsyncContext *ac; /* NULL between two tries */
    uv_timer_t timer;             /* the pause before a try, or the limit of one */
    uint64_t pause_ms;
    bool is_up;
    bool is_closing;
    bool wants_flush; /* there is something to write */
    bool is_flushing;
    bool was_told; /* that it cannot connect: once per outage */
};

/* Returns 0 or JM_ENOMEM. `address` and `loop` are borrowed. */
int redis_link_init(struct redis_link *l, uv_loop_t *loop,
                    const struct redis_address *address) JM_MUST_CHECK;
void redis_link_start(struct redis_link *l);

/* Sends a command. `on_reply` is hiredis' callback: reply NULL when the link broke first; `data` is
 * given back. Returns 0, or JM_ECARRIER if the link is down. */
typedef void (*redis_reply_cb)(struct redisAsyncContext *ac, void *reply, void *data);
int redis_link_send(struct redis_link *l, redis_reply_cb on_reply, void *data, size_t argc,
                    const char **argv, const size_t *argv_len) JM_MUST_CHECK;

/* Of an array that answers a command with this `data` only the end is kept: as many bytes, or one
 * element. To be said behind sending it; of one command at a time. */
void redis_link_bound(struct redis_link *l, const void *data, size_t max_bytes);

/* Writes what was sent; to be called at the end of each turn of the loop. */
void redis_link_flush(struct redis_link *l);

/* Breaks a link that does not answer any more; it connects anew. Without `why` the log does not
 * tell. */
void redis_link_break(struct redis_link *l, const char *why);

/* Ends it for good, then on_closed from the loop. */
void redis_link_close(struct redis_link *l);

#endif
