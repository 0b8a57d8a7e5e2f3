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
    uint64_t since_us; /* it was full then, and some of it was spent; never since */
};

/* Tokens that it has now. */
uint64_t bucket_room(const struct bucket *b, const struct conf_rate *rate, uint64_t now_us);

/* Takes `count` tokens, of which there must be room. */
void bucket_spend(struct bucket *b, const struct conf_rate *rate, uint64_t now_us, uint64_t count);

/* Gives back unused what was spent at `spent_us`. If the bucket was full since then, they have come
 * back by themselves, and are not given twice. */
void bucket_return(struct bucket *b, const struct conf_rate *rate, uint64_t spent_us,
                   uint64_t count);

/* How long until it has one; 0 if it has. */
uint64_t bucket_wait_us(const struct bucket *b, const struct conf_rate *rate, uint64_t now_us);

#endif
