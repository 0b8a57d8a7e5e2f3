/*
 * progress.h: how far a running job is, as the last heartbeat that told of it said. Kept in memory
 * only, beside the job that is out, and copied for whoever shows it. Loop thread only.
 */
#ifndef BROKER_PROGRESS_H
#define BROKER_PROGRESS_H

#include <stddef.h>
#include <stdint.h>

#include "schema/limits.h"
#include "schema/wire.h"

struct progress {
    uint32_t attempt; /* that it is of; 0: nothing is known */
    uint64_t done;
    uint64_t total; /* 0: not known */
    size_t message_len;
    uint8_t message[JM_PROGRESS_MESSAGE_BYTES];
};

/* Keeps what `held` tells, if it tells of progress, in `*kept`, which is NULL before the first time
 * and is the caller's to free. Without memory the old stays. */
void progress_keep(struct progress **kept, const struct wire_held *held);

/* A copy of what is kept; nothing is known if `kept` is NULL. */
struct progress progress_copy(const struct progress *kept);

#endif
