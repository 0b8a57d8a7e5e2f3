#include "broker/backoff.h"

#include <assert.h>

#include "lib/hash.h"
#include "schema/limits.h"

int64_t backoff_ms(uint64_t id, uint32_t attempt, uint32_t nth)
{
    int64_t wait_ms = JM_BACKOFF_BASE_MS;
    int64_t spread_ms;
    uint64_t word;

    assert(nth >= 1);
    while (--nth > 0 && wait_ms < JM_BACKOFF_CEILING_MS)
        wait_ms *= 2;
    if (wait_ms > JM_BACKOFF_CEILING_MS)
        wait_ms = JM_BACKOFF_CEILING_MS;
    spread_ms = wait_ms / 5;
    word = hash_of_u64(hash_of_u64(id) + attempt);
    return wait_ms - spread_ms / 2 + (int64_t)(word % (uint64_t)(spread_ms + 1));
}
