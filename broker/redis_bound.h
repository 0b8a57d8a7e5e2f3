/*
 * redis_bound.h: how much of one answer is kept. hiredis gathers an answer as a whole before it
 * gives it, and a list holds what workers push: a hundred results of a megabyte, or what somebody
 * else has put there. So of an array whose request says so (carrier.h: max_bytes) only its end is
 * kept as it comes in, and of each of its strings only the beginning. A part of the wrapper around
 * hiredis; only redis_link.c makes one. Loop thread only.
 */
#ifndef BROKER_REDIS_BOUND_H
#define BROKER_REDIS_BOUND_H

#include <stddef.h>

struct redisAsyncContext;

struct redis_bound;

/* For a connection on which nothing was sent; NULL: no memory. It has to outlive the connection. */
struct redis_bound *redis_bound_new(struct redisAsyncContext *ac);
void redis_bound_free(struct redis_bound *b); /* also NULL */

/* Arrays that answer a command with this `data` are bounded from now on; of one at a time. */
void redis_bound_set(struct redis_bound *b, const void *data, size_t max_bytes);

#endif
