/*
 * bucket.h: a token bucket, kept as the one time at which it is full again (the generic cell rate
 * algorithm, ITU-T I.371 annex A, in its virtual scheduling form). It holds `limit` tokens and gets
 * them back evenly over `period_ms`. Pure; times are microseconds of any clock that does not step.
 */
#ifndef BROKER_BUCKET_H
#define BROKER_BUCKET_H

#include <stdint.h>

#include "broker/conf.h"

/* A zeroed bucket is a full one. */
struct bucket {
    uint64_t full_at_us;
};

/* Tokens that it has now. */
uint64_t bucket_room(const struct bucket *b, const struct conf_rate *rate, uint64_t now_us);

/* Takes `count` tokens, of which there must be room; gives them back unused. */
void bucket_spend(struct bucket *b, const struct conf_rate *rate, uint64_t now_us, uint64_t count);
void bucket_return(struct bucket *b, const struct conf_rate *rate, uint64_t count);

/* How long until it has one; 0 if it has. */
uint64_t bucket_wait_us(const struct bucket *b, const struct conf_rate *rate, uint64_t now_us);

#endif
