/*
 * redis.h: the worker's two kinds of connection to Redis, and the one place that knows hiredis.
 *
 * A `redis_pipe` is a child's: it blocks, and sends what was put into it in one write.
 * A `redis_line` is the parent's: on a libuv loop, and reconnects by itself with backoff.
 *
 * Errors: JM_EREFUSED (Redis said no; the connection is fine), JM_ECARRIER (there is no connection;
 * nothing was sent), JM_EUNKNOWN (the connection broke; whether the command was done is not known).
 */
#ifndef WORKER_REDIS_H
#define WORKER_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "lib/attr.h"
#include "lib/span.h"

struct redis_address {
    char path[108]; /* of a unix socket; empty: TCP */
    char host[256];
    int port;
};

/* "unix:/path" or "host:port" ("[::1]:6379" too). False if it is neither. */
bool redis_parse_address(const char *text, struct redis_address *ret_address) JM_MUST_CHECK;

enum { REDIS_ERROR_BYTES = 160 };

/* ---- the blocking pipe ---- */

struct redis_pipe;

/* Connects. No call on the pipe waits longer than `timeout_ms`. Returns 0 or JM_ECARRIER. */
int redis_pipe_open(const struct redis_address *address, unsigned timeout_ms,
                    struct redis_pipe **ret_pipe) JM_MUST_CHECK;

/* Takes NULL. */
void redis_pipe_close(struct redis_pipe *pipe);

/* CLIENT ID, for a later CLIENT UNBLOCK. */
int redis_pipe_client_id(struct redis_pipe *pipe, uint64_t *ret_id) JM_MUST_CHECK;

/* Puts LPUSH `key` frames..., or BLMPOP over `keys`, RIGHT, COUNT `max_jobs`. Sent by the next
 * wait. Each put is answered by one wait, in order. */
int redis_pipe_put_push(struct redis_pipe *pipe, const char *key, const struct span *frames,
                        size_t count) JM_MUST_CHECK;
int redis_pipe_put_claim(struct redis_pipe *pipe, const char *const *keys, size_t key_count,
                         unsigned max_jobs, unsigned block_ms) JM_MUST_CHECK;

int redis_pipe_wait_push(struct redis_pipe *pipe) JM_MUST_CHECK;

/* What a claim brought; `frames` live until redis_claim_done. No frames: nothing came in time. */
struct redis_claim {
    size_t count;
    void *reply;
};
int redis_pipe_wait_claim(struct redis_pipe *pipe, struct redis_claim *ret_claim) JM_MUST_CHECK;
struct span redis_claim_frame(const struct redis_claim *claim, size_t index);
void redis_claim_done(struct redis_claim *claim);

/* The words of the last failure: Redis's own, or the connection's. */
const char *redis_pipe_error(const struct redis_pipe *pipe);

/* ---- the link on a loop ---- */

struct redis_line;
struct redis_command;

/* The answer: `error` is 0 or as above; `claim` holds the frames of a list pop (count 0: none). It
 * is lent for the call. */
typedef void (*redis_done_cb)(struct redis_command *command, int error,
                              const struct redis_claim *claim);

/* One command in flight. Embedded by the caller, zeroed before first use, untouched until `done`,
 * which comes exactly once for each successful redis_line_send, never from inside it. */
struct redis_command {
    redis_done_cb done;
    bool is_in_flight;
    char error[REDIS_ERROR_BYTES]; /* Redis's words, if error is JM_EREFUSED */
};

/* The link came up, or went down (with words for the log). */
typedef void (*redis_state_cb)(void *data, bool is_up, const char *words);

/* Returns 0 or JM_ENOMEM; the first attempt to connect is made at once. */
int redis_line_open(uv_loop_t *loop, const struct redis_address *address, redis_state_cb on_state,
                    void *data, struct redis_line **ret_link) JM_MUST_CHECK;

/* Ends it: commands in flight are done with JM_EUNKNOWN before this returns; memory goes when the
 * loop has closed its handles. Takes NULL. */
void redis_line_close(struct redis_line *link);

bool redis_line_is_up(const struct redis_line *link);

/* Breaks a connection that no longer answers; it will be made anew. */
void redis_line_break(struct redis_line *link, const char *words);

/* Sends a command of `count` words. Returns 0 or JM_ECARRIER (then `done` is not called). */
int redis_line_send(struct redis_line *link, struct redis_command *command,
                    const struct span *words, size_t count) JM_MUST_CHECK;

#endif
