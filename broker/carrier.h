/*
 * carrier.h: the seam to Redis. The core says what it wants as typed requests; the program's
 * carrier (carrier_redis.c, the only file that includes hiredis) sends them, the simulation's fake
 * one keeps lists in memory and drops, delays, forgets and repeats.
 *
 * A request is embedded in the struct that needs it and belongs to the carrier until on_done, which
 * is called exactly once, never from inside carrier_send. Values and keys must stay until then.
 * Requests of one carrier are carried out, and answered, in the order they were sent; but for
 * CARRIER_AWAIT, of which one may be under way, beside the others. What a link that broke might
 * still do of it is done before the first request of the next link, and before its own answer.
 * Loop thread only.
 */
#ifndef BROKER_CARRIER_H
#define BROKER_CARRIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/list.h"
#include "lib/span.h"
#include "schema/keys.h"

enum carrier_verb {
    CARRIER_PUSH,      /* LPUSH key values…            → number: length of the list after it */
    CARRIER_PUSH_NEXT, /* RPUSH key values…        → likewise; the last value is popped first */
    CARRIER_DRAW,      /* LPOP key first           → items: up to `first` of the youngest */
    CARRIER_RECALL,    /* LREM key 1 values[0]         → number: how many were removed, 0 or 1 */
    CARRIER_TAKE, /* RENAMENX key other           → number: 1 taken, 0 `other` exists, -1 no key */
    CARRIER_AWAIT,  /* waits until `key` has something, then CARRIER_TAKE and, of `other`,
                       CARRIER_READ: number and items. At the latest after some seconds, or when
                       carrier_hurry wants it, without waiting any longer */
    CARRIER_READ,   /* LRANGE key first last        → items; see max_bytes */
    CARRIER_REMOVE, /* UNLINK key                   → number */
    CARRIER_HOSTS,  /* HGETALL KEYS_HOSTS           → items: field, value, field, value … */
    CARRIER_FORGET, /* HDEL KEYS_HOSTS values[0]    → number */
    CARRIER_ORDER,  /* LPUSH key values[0], LTRIM key 0 last → number */
    CARRIER_EPOCH,  /* SET KEYS_EPOCH values[0] NX GET, INFO server → items[0]: epoch, items[1]:
                       run_id */
};

struct carrier_req {
    struct list link; /* the carrier's */
    enum carrier_verb verb;
    char key[KEYS_BYTES];
    char other[KEYS_BYTES];
    const struct span *values;
    size_t value_count;
    int64_t first;
    int64_t last;
    size_t max_bytes; /* of READ and AWAIT: the last items that are not longer together, at least
                         one, and of each what shows that it is no event; 0: all. For one request
                         at a time */
    uint64_t sent_ns; /* the carrier's, for the round-trip time */

    /* The answer, valid inside on_done only. `status` is 0; JM_ECARRIER: never sent, so surely not
     * done; JM_EREFUSED: Redis said no, so surely not done; JM_EUNKNOWN: sent, and the link broke
     * before the answer: done or not. */
    int status;
    int64_t number;
    const struct span *items;
    size_t item_count;
    bool is_cut; /* items before these did not fit into max_bytes */

    void (*on_done)(struct carrier_req *req);
};

struct carrier {
    void (*send)(struct carrier *c, struct carrier_req *req);
    void (*hurry)(struct carrier *c);

    /* Set by the core, called by the carrier on the loop thread. */
    void *owner;
    void (*on_link)(void *owner,
                    bool is_up); /* on a change; down: after all open requests failed */
};

static inline void carrier_send(struct carrier *c, struct carrier_req *req)
{
    c->send(c, req);
}

/* The CARRIER_AWAIT under way waits no longer; nothing if there is none. */
static inline void carrier_hurry(struct carrier *c)
{
    c->hurry(c);
}

#endif
