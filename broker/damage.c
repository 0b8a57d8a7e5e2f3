#include "broker/damage.h"

#include <inttypes.h>

#include "lib/clock.h"
#include "lib/log.h"

enum { TELL_AGAIN_MS = 60000 };

void damage_note(void *damage_owner, const char *sentence)
{
    struct damage *d = damage_owner;
    uint64_t reads = atomic_fetch_add(&d->reads, 1) + 1;
    uint_fast64_t told_ms = atomic_load(&d->told_ms);
    uint64_t now_ms = clock_mono_ms(clock_real());

    if (told_ms != 0 && now_ms < told_ms + TELL_AGAIN_MS)
        return;
    if (atomic_compare_exchange_strong(&d->told_ms, &told_ms,
                                       now_ms)) /* else another thread does */
        log_error("damage was met %" PRIu64
                  " times so far, what asked for it is refused, and the rest "
                  "is served: %s",
                  reads, sentence);
}

uint64_t damage_reads(const struct damage *d)
{
    return atomic_load(&d->reads);
}
