/*
 * backoff.h: how long a job waits before it is tried again. A pure function: the same job and
 * attempt wait the same time in every replay, and different jobs spread out.
 */
#ifndef BROKER_BACKOFF_H
#define BROKER_BACKOFF_H

#include <stdint.h>

/* JM_BACKOFF_BASE_MS doubled for each of the `nth` failures but the first (nth ≥ 1), at most
 * JM_BACKOFF_CEILING_MS, ±10 % by (id, attempt). */
int64_t backoff_ms(uint64_t id, uint32_t attempt, uint32_t nth);

#endif
