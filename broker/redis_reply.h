/*
 * redis_reply.h: reads an answer of Redis into the request that it answers. A part of the wrapper
 * around hiredis. Pure but for the array of items, which grows as needed and is used again.
 */
#ifndef BROKER_REDIS_REPLY_H
#define BROKER_REDIS_REPLY_H

#include <stddef.h>

#include "broker/carrier.h"
#include "lib/attr.h"

struct redisReply;

/* Zeroed at first. */
struct redis_items {
    struct span *items;
    size_t cap;
};

void redis_items_done(struct redis_items *items);

/* What req->status has to become: 0, JM_EREFUSED, JM_EUNKNOWN (no reply: the link broke),
 * JM_ENOMEM. The spans point into the reply. */
int redis_reply_read(struct redis_items *items, struct carrier_req *req,
                     const struct redisReply *reply) JM_MUST_CHECK;

/* The two answers of CARRIER_EPOCH: the word that is set, and INFO's run_id. JM_EREFUSED if `info`
 * is no such text. */
int redis_reply_read_epoch(struct redis_items *items, struct carrier_req *req, const char *word,
                           const struct redisReply *info) JM_MUST_CHECK;

#endif
