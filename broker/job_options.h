/*
 * job_options.h: what is rarely asked of a job, kept as one small msgpack record in its row, which
 * is empty for a job that asks none of it. Pure functions.
 */
#ifndef BROKER_JOB_OPTIONS_H
#define BROKER_JOB_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/backoff.h"
#include "lib/attr.h"
#include "lib/buf.h"
#include "lib/span.h"

enum { JOB_OPTIONS_BYTES = 8192 }; /* no record is longer */

/* A zeroed struct asks nothing. */
struct job_options {
    struct span limit_key;  /* or empty */
    int64_t expires_at_ms;  /* wall clock; 0: never */
    uint64_t retain_ms;     /* 0: as its queue or the broker says */
    struct backoff backoff; /* BACKOFF_DEFAULT: as ever */
    struct span unique;     /* the msgpack map as the client gave it, to be shown; or empty */
};

/* Appends the record, or nothing if nothing is asked. */
void job_options_encode(struct buf *out, const struct job_options *options);

/* Reads a record, or an empty span. Spans borrow from it. False if it is neither: the database is
 * damaged. */
bool job_options_decode(struct span record, struct job_options *ret_options) JM_MUST_CHECK;

#endif
