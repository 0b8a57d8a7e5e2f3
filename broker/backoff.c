#include "broker/backoff.h"

#include <assert.h>

#include "lib/hash.h"
#include "schema/limits.h"

const struct backoff BACKOFF_USUAL = {.kind = BACKOFF_EXPONENTIAL,
                                      .jitter_milli = JM_BACKOFF_JITTER_MILLI,
                                      .factor_milli = JM_BACKOFF_FACTOR_MILLI,
                                      .base_ms = JM_BACKOFF_BASE_MS,
                                      .ceiling_ms = JM_BACKOFF_CEILING_MS};

/* Factor and ceiling have limits (schema/limits.h) that keep the product far below 2^64. A factor
 * of one, or a base of zero, would never reach the ceiling. */
static uint64_t exponential_ms(const struct backoff *b, uint32_t nth)
{
    uint64_t wait_ms = b->base_ms;

    if (b->factor_milli > 1000)
        while (--nth > 0 && wait_ms > 0 && wait_ms < b->ceiling_ms) {
            uint64_t next_ms = wait_ms * b->factor_milli / 1000;

            wait_ms = next_ms > wait_ms ? next_ms : wait_ms + 1;
        }
    return wait_ms < b->ceiling_ms ? wait_ms : b->ceiling_ms;
}

int64_t backoff_ms(const struct backoff *b, uint64_t id, uint32_t attempt, uint32_t nth)
{
    uint64_t wait_ms, spread_ms, word;

    assert(nth >= 1);
    if (b->kind == BACKOFF_DEFAULT)
        b = &BACKOFF_USUAL;
    wait_ms = b->kind == BACKOFF_FIXED ? b->base_ms : exponential_ms(b, nth);
    spread_ms = wait_ms * b->jitter_milli / 500;
    word = hash_of_u64(hash_of_u64(id) + attempt);
    return (int64_t)(wait_ms - spread_ms / 2 + word % (spread_ms + 1));
}
