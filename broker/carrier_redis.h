/*
 * carrier_redis.h: the carrier that is Redis (carrier.h): the broker's only use of hiredis. One
 * connection for commands and one for the request that waits; both reconnect by themselves, with
 * growing pauses. A command that is unanswered for CARRIER_STALL_MS breaks the link. Loop thread
 * only.
 */
#ifndef BROKER_CARRIER_REDIS_H
#define BROKER_CARRIER_REDIS_H

#include <stdint.h>
#include <uv.h>

#include "broker/carrier.h"
#include "lib/attr.h"

struct carrier_redis;

enum { CARRIER_STALL_MS = 5000 };

struct carrier_stats {
    uint64_t answered;
    uint64_t round_trip_ns_sum;
    uint64_t round_trip_ns_max;
    uint64_t links;        /* connections that were made */
    uint64_t strange_keys; /* removed, because they were of another type */
};

/* `address` is "unix:/path/of/socket" or "HOST:PORT". Connects once carrier_redis_start is called,
 * and from then on whenever it has to. Returns 0, JM_EINVAL for another address, JM_ENOMEM. */
int carrier_redis_open(uv_loop_t *loop, const char *address,
                       struct carrier_redis **ret_carrier) JM_MUST_CHECK;

/* The carrier to give to the core. */
struct carrier *carrier_redis_carrier(struct carrier_redis *r);

/* Behind core_init, which sets the callbacks. */
void carrier_redis_start(struct carrier_redis *r);

/* Writes what was sent in this turn of the loop; to be called at the end of each. What nobody waits
 * for (the removal of a list, and the next wait for one) goes later than answers to clients. */
void carrier_redis_flush(struct carrier_redis *r);
void carrier_redis_flush_late(struct carrier_redis *r);

const struct carrier_stats *carrier_redis_stats(const struct carrier_redis *r);

/* Answers what is open with JM_EUNKNOWN or JM_ECARRIER, closes the connections, frees, and calls
 * on_closed, from the loop. */
void carrier_redis_close(struct carrier_redis *r, void *owner, void (*on_closed)(void *owner));

#endif
