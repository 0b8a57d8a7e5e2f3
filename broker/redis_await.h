/*
 * redis_await.h: the one request that blocks, CARRIER_AWAIT, on a connection of its own. A part of
 * the wrapper around hiredis; only carrier_redis.c uses it. Loop thread only.
 *
 * It is three commands in one write: BLMOVE waits until the list has something (and moves its
 * oldest entry to where it is), RENAMENX takes the list, LRANGE reads it. Redis keeps the other two
 * until the first is done, and then carries out all of them at once, so that what a worker pushes
 * is with us after one wake-up and no round trip more.
 *
 * A connection that breaks leaves behind a client of Redis that may still wait there and take the
 * list under a number that is over by then. So it is unblocked, by its id, before anything else is
 * sent: what it still does it does then, and the next round finds it. (Behind a broker that is
 * killed its kernel closes the connection, and Redis forgets what has come of it. When the machine
 * goes down without a word, Redis on another one knows of nothing: for the rest of the 5 s it still
 * may take a list for nobody, if the broker is back by then. PROTOCOL.md says what becomes of it.)
 */
#ifndef BROKER_REDIS_AWAIT_H
#define BROKER_REDIS_AWAIT_H

#include "broker/redis_command.h"
#include "broker/redis_link.h"
#include "broker/redis_reply.h"

struct redis_await {
    struct redis_link link;
    struct redis_link *commands;   /* borrowed; for UNBLOCK */
    struct redis_command *command; /* borrowed */
    struct redis_items items;
    struct carrier_req *req; /* under way, or NULL */
    int status;              /* of its parts that are answered */
    uint64_t client_id;      /* of this connection; 0: not known yet, and it is not used */
    uint64_t orphan_id;      /* of one that broke under a request; 0: none */
    unsigned hurries;        /* UNBLOCKs left to try; an answer of 0 says that it does not block */
};

/* The link is initialised by the caller. */
void redis_await_init(struct redis_await *a, struct redis_link *commands,
                      struct redis_command *command);
void redis_await_done(struct redis_await *a);

/* Returns 0, and the request will be completed; or JM_ECARRIER, and it is not sent. */
int redis_await_send(struct redis_await *a, struct carrier_req *req) JM_MUST_CHECK;

/* Whether its link is up, and would carry out another command at once. */
bool redis_await_is_free(const struct redis_await *a);

/* The request under way, if there is one, is to be answered now. */
void redis_await_hurry(struct redis_await *a);

/* A link has come up: of this one the id is asked for; of the commands, an orphan is unblocked. */
void redis_await_on_up(struct redis_await *a);
void redis_await_on_commands_up(struct redis_await *a);

/* Whether the request under way should have been answered, if only with nothing. */
bool redis_await_is_stalled(const struct redis_await *a);

#endif
