#include "broker/job_change.h"

#include <stddef.h>

#include "broker/job_fields.h"
#include "schema/errors.h"

struct asked {
    uint32_t priority;
    int64_t run_at;
    uint64_t delay_ms;
    struct span args;
    int64_t expires_at;
    uint64_t timeout_ms;
    uint32_t max_attempts;
    struct span tags;
    uint64_t retain_ms;
    struct backoff backoff;
};

static const struct field fields[] = {
#define CHANGE_FIELD(name, type, need, min, max, item_max, object, flag) \
    {#name, type, FIELD_##need, offsetof(struct asked, name), min, max, item_max, NULL, object},
#include "broker/job_fields.def"
};

static const unsigned flags[] = {
#define CHANGE_FIELD(name, type, need, min, max, item_max, object, flag) flag,
#include "broker/job_fields.def"
};

enum {
#define CHANGE_FIELD(name, ...) AT_##name,
#include "broker/job_fields.def"
    FIELDS
};

static int bad(const char *name, uint64_t limit, const char *sentence, struct fault *f)
{
    return fault_set(f, JM_EFIELD, span_of_str(name), limit, "%s: %s", name, sentence);
}

/* `due_ms` is 0 if that is not to be changed. */
static int check_times(const struct asked *asked, const struct span *raw, int64_t due_ms,
                       int64_t now_ms, struct fault *f)
{
    if (raw[AT_run_at].len > 0 && raw[AT_delay_ms].len > 0)
        return bad("delay_ms", 0, "not together with run_at", f);
    if (asked->run_at > now_ms + JM_DELAY_LIMIT_MS)
        return bad("run_at", JM_DELAY_LIMIT_MS, "at most ten years ahead", f);
    if (raw[AT_expires_at].len > 1 && (asked->expires_at <= now_ms || asked->expires_at <= due_ms))
        return bad("expires_at", 0, "must be in the future, and later than the job is due", f);
    return 0;
}

int job_change_read(struct span body, int64_t now_ms, struct store_change *ret_change,
                    struct fault *ret_fault)
{
    struct asked asked = {.priority = 0};
    struct span raw[FIELDS];
    unsigned what = 0;
    int64_t due_ms;
    int rc = fields_read(fields, FIELDS, body, &asked, raw, ret_fault);

    if (rc != 0)
        return rc;
    due_ms = raw[AT_delay_ms].len > 0 ? now_ms + (int64_t)asked.delay_ms : asked.run_at;
    rc = check_times(&asked, raw, due_ms, now_ms, ret_fault);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < FIELDS; i++)
        what |= raw[i].len > 0 ? flags[i] : 0;
    ret_change->what = what;
    ret_change->due_ms = due_ms;
    ret_change->backoff = asked.backoff;
    ret_change->spec = (struct job_spec){.priority = asked.priority,
                                         .args = asked.args,
                                         .tags = asked.tags,
                                         .timeout_ms = asked.timeout_ms,
                                         .max_attempts = asked.max_attempts,
                                         .expires_at_ms = asked.expires_at,
                                         .retain_ms = asked.retain_ms};
    return 0;
}
