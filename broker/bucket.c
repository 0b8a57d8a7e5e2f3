#include "broker/bucket.h"

#include <assert.h>

/* A bucket that is full some time ahead of now lacks what comes back in that time. Token number n
 * (from 0) of the period comes back n × period / limit after its begin, so that the rounding of one
 * token's time adds up to nothing. */
static uint64_t time_of(const struct conf_rate *rate, uint64_t count)
{
    return (count * rate->period_ms * 1000 + rate->limit - 1) / rate->limit;
}

static uint64_t debt_us(const struct bucket *b, const struct conf_rate *rate, uint64_t now_us)
{
    uint64_t debt = b->full_at_us > now_us ? b->full_at_us - now_us : 0;
    uint64_t period = rate->period_ms * 1000;

    return debt < period ? debt : period; /* of a rate that was lowered meanwhile */
}

uint64_t bucket_room(const struct bucket *b, const struct conf_rate *rate, uint64_t now_us)
{
    uint64_t free_us = rate->period_ms * 1000 - debt_us(b, rate, now_us);

    return free_us * rate->limit / (rate->period_ms * 1000);
}

void bucket_spend(struct bucket *b, const struct conf_rate *rate, uint64_t now_us, uint64_t count)
{
    assert(count <= rate->limit);
    if (b->full_at_us <= now_us)
        b->since_us = now_us;
    b->full_at_us = now_us + debt_us(b, rate, now_us) + time_of(rate, count);
}

void bucket_return(struct bucket *b, const struct conf_rate *rate, uint64_t spent_us,
                   uint64_t count)
{
    uint64_t time = time_of(rate, count);

    if (spent_us < b->since_us)
        return;
    b->full_at_us = b->full_at_us > time ? b->full_at_us - time : 0;
}

uint64_t bucket_wait_us(const struct bucket *b, const struct conf_rate *rate, uint64_t now_us)
{
    uint64_t need_us = time_of(rate, 1);
    uint64_t free_us = rate->period_ms * 1000 - debt_us(b, rate, now_us);

    return free_us >= need_us ? 0 : need_us - free_us;
}
