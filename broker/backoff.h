/*
 * backoff.h: how long a job waits before it is tried again. Pure functions: the same job and
 * attempt wait the same time in every replay, and different jobs spread out.
 */
#ifndef BROKER_BACKOFF_H
#define BROKER_BACKOFF_H

#include <stdint.h>

enum backoff_kind {
    BACKOFF_DEFAULT, /* nothing was asked: BACKOFF_USUAL holds */
    BACKOFF_FIXED,
    BACKOFF_EXPONENTIAL,
};

struct backoff {
    uint32_t kind;         /* enum backoff_kind */
    uint32_t jitter_milli; /* thousandths: the wait is spread by ± that part */
    uint32_t factor_milli; /* thousandths: of each wait to the one before (EXPONENTIAL) */
    uint64_t base_ms;      /* the first wait; with FIXED every one */
    uint64_t ceiling_ms;   /* none is longer, but for the jitter (EXPONENTIAL) */
};

/* Exponential by JM_BACKOFF_…. */
extern const struct backoff BACKOFF_USUAL;

/* The wait after the `nth` failure (nth ≥ 1) of a job, spread by (id, attempt). */
int64_t backoff_ms(const struct backoff *b, uint64_t id, uint32_t attempt, uint32_t nth);

#endif
