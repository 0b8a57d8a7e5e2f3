#include "broker/job_options.h"

#include <stddef.h>

#include "schema/limits.h"
#include "schema/record.h"

#define AT(member) offsetof(struct job_options, member)
static const struct record_field fields[] = {
    [1] = {RECORD_TEXT, RECORD_OPTIONAL, AT(limit_key), JM_LIMIT_KEY_BYTES, NULL},
    [2] = {RECORD_I64, RECORD_OPTIONAL, AT(expires_at_ms), INT64_MAX, NULL},
    [3] = {RECORD_U64, RECORD_OPTIONAL, AT(retain_ms), JM_DELAY_LIMIT_MS, NULL},
    [4] = {RECORD_U32, RECORD_OPTIONAL, AT(backoff.kind), BACKOFF_EXPONENTIAL, NULL},
    [5] = {RECORD_U32, RECORD_OPTIONAL, AT(backoff.jitter_milli), 1000, NULL},
    [6] = {RECORD_U32, RECORD_OPTIONAL, AT(backoff.factor_milli), JM_BACKOFF_FACTOR_LIMIT_MILLI,
           NULL},
    [7] = {RECORD_U64, RECORD_OPTIONAL, AT(backoff.base_ms), JM_BACKOFF_BASE_LIMIT_MS, NULL},
    [8] = {RECORD_U64, RECORD_OPTIONAL, AT(backoff.ceiling_ms), JM_BACKOFF_CEILING_LIMIT_MS, NULL},
    [9] = {RECORD_BYTES, RECORD_OPTIONAL, AT(unique), JOB_OPTIONS_BYTES / 2, NULL},
};
#undef AT

static const struct record record = {fields, JM_COUNT_OF(fields), 1};

void job_options_encode(struct buf *out, const struct job_options *options)
{
    if (options->limit_key.len > 0 || options->expires_at_ms != 0 || options->retain_ms != 0 ||
        options->backoff.kind != BACKOFF_DEFAULT || options->unique.len > 0)
        record_encode(out, &record, options);
}

bool job_options_decode(struct span bytes, struct job_options *ret_options)
{
    struct job_options options = {.expires_at_ms = 0};

    if (bytes.len > 0 && !record_decode(bytes, &record, &options))
        return false;
    *ret_options = options;
    return true;
}
