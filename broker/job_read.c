/*
 * job_read.c: reads the fields, checks what concerns more than one of them, fills in what is not
 * said, and puts what is rarely asked into the record of job_options.h.
 */
#include "broker/job_read.h"

#include <inttypes.h>
#include <stddef.h>

#include "broker/job_fields.h"
#include "broker/job_options.h"
#include "broker/unique.h"
#include "lib/mp.h"
#include "schema/errors.h"
#include "schema/id.h"

/* Zero is "not said", but for delay_ms and run_at, where it means the same. */
struct asked {
    struct span task;
    struct span args;
    struct span queue;
    struct span tags;
    uint64_t timeout_ms;
    uint32_t max_attempts;
    uint32_t priority;
    int64_t run_at;
    uint64_t delay_ms;
    int64_t expires_at;
    uint64_t grace_ms;
    struct backoff backoff;
    struct span limit_key;
    uint64_t retain_ms;
    struct unique_asked unique;
    struct span key;
};

/* The key comes last: only items have it in the map, and it is no part of what it is the key of. */
static const struct field fields[] = {
#define FIELD(name, type, is_required, min, max, item_max, words, object) \
    {#name,                                                               \
     type,                                                                \
     is_required ? FIELD_REQUIRED : FIELD_OPTIONAL,                       \
     offsetof(struct asked, name),                                        \
     min,                                                                 \
     max,                                                                 \
     item_max,                                                            \
     words,                                                               \
     object},
#include "broker/job_fields.def"
    {JOB_KEY_FIELD, FIELD_ANY, FIELD_OPTIONAL, offsetof(struct asked, key), 0, UINT64_MAX, 0, NULL,
     NULL},
};

enum {
#define FIELD(name, ...) AT_##name,
#include "broker/job_fields.def"
};

enum { ITEM_FIELDS = JM_COUNT_OF(fields), BODY_FIELDS = ITEM_FIELDS - 1 };

int job_read_check_key(struct span key, int error, const char *field, struct fault *ret_fault)
{
    bool is_good = key.len >= 1 && key.len <= JM_IDEMPOTENCY_KEY_BYTES;

    for (size_t i = 0; is_good && i < key.len; i++)
        is_good = key.data[i] > 0x20 && key.data[i] < 0x7f;
    if (is_good)
        return 0;
    return fault_set(ret_fault, error, span_of_str(field), JM_IDEMPOTENCY_KEY_BYTES,
                     "%s: must be 1 to %d visible ASCII characters", field,
                     JM_IDEMPOTENCY_KEY_BYTES);
}

/* What makes two maps the same request: the fields that are there, in the table's order, each with
 * its name and the bytes of its msgpack value. So the order of the members does not matter, nor
 * JSON or msgpack, as long as the msgpack is written as JSON is turned into it: each value in its
 * shortest form. And a field that a later version adds does not change what older requests were. */
static int digest_fields(struct digest *digest, const struct span *raw, struct store_submit *op,
                         struct fault *f)
{
    struct span parts[2 * BODY_FIELDS];
    size_t count = 0;
    int rc;

    for (size_t i = 0; i < BODY_FIELDS; i++) {
        if (raw[i].len == 0)
            continue;
        parts[count++] = span_of_str(fields[i].name);
        parts[count++] = raw[i];
    }
    rc = digest_parts(digest, parts, count, op->fingerprint);
    return rc == 0 ? 0 : fault_set(f, rc, span_of(NULL, 0), 0, "the body has no digest");
}

/* ---- what concerns more than one field ---- */

static int bad_time(const char *name, uint64_t limit, const char *sentence, struct fault *f)
{
    return fault_set(f, JM_EFIELD, span_of_str(name), limit, "%s: %s", name, sentence);
}

/* That expires_at is still to come is seen when the job is stored, behind the look at its key: a
 * repeat gets its answer also when that time is over. */
static int check_times(const struct asked *asked, const struct span *raw, int64_t now_ms,
                       struct fault *f)
{
    if (raw[AT_run_at].len > 0 && raw[AT_delay_ms].len > 0)
        return bad_time("delay_ms", 0, "not together with run_at", f);
    if (asked->run_at > now_ms + JM_DELAY_LIMIT_MS)
        return bad_time("run_at", JM_DELAY_LIMIT_MS, "at most ten years ahead", f);
    if (raw[AT_expires_at].len == 0)
        return 0;
    if (asked->expires_at <= 0 || asked->expires_at <= asked->run_at)
        return bad_time("expires_at", 0, "must be in the future, and later than run_at", f);
    return 0;
}

static uint64_t either(uint64_t said, uint64_t set)
{
    return said != 0 ? said : set;
}

static void fill_spec(const struct job_reader *r, const struct asked *asked, struct job_spec *spec,
                      struct backoff *ret_backoff)
{
    struct conf_defaults set;

    r->get_defaults(r->owner, asked->queue, asked->task, &set);
    *ret_backoff = asked->backoff.kind != BACKOFF_DEFAULT ? asked->backoff : set.backoff;
    *spec = (struct job_spec){
        .queue = asked->queue,
        .task = asked->task,
        .args = asked->args,
        .tags = asked->tags,
        .priority = (uint32_t)either(asked->priority, set.priority),
        .max_attempts = (uint32_t)either(asked->max_attempts, set.max_attempts),
        .timeout_ms = either(asked->timeout_ms, set.timeout_ms),
        .grace_ms = either(asked->grace_ms, set.grace_ms),
        .limit_key = asked->limit_key,
        .expires_at_ms = asked->expires_at,
        .retain_ms = asked->retain_ms,
    };
}

static int put_options(const struct asked *asked, const struct backoff *backoff, struct span unique,
                       struct buf *options, struct job_spec *spec, struct fault *f)
{
    buf_clear(options);
    job_options_encode(options, &(struct job_options){.limit_key = asked->limit_key,
                                                      .expires_at_ms = asked->expires_at,
                                                      .retain_ms = asked->retain_ms,
                                                      .backoff = *backoff,
                                                      .unique = unique});
    if (buf_has_failed(options))
        return fault_set(f, JM_ENOMEM, span_of(NULL, 0), 0, "out of memory");
    spec->options = buf_span(options);
    return 0;
}

/* ---- one job ---- */

static int read_fields(const struct job_reader *r, struct span body, size_t count,
                       struct buf *options, struct asked *asked, struct span *raw,
                       struct core_submit *s, struct fault *f)
{
    static const uint8_t nil = 0xc0;
    struct store_submit *op = &s->op;
    struct backoff backoff;
    int rc;

    *asked = (struct asked){.args = span_of(&nil, 1), .queue = span_of_str("default")};
    rc = fields_read(fields, count, body, asked, raw, f);
    if (rc == 0)
        rc = check_times(asked, raw, r->now_ms, f);
    if (rc != 0)
        return rc;
    fill_spec(r, asked, &op->spec, &backoff);
    op->unique.how = UNIQUE_NOT;
    if (raw[AT_unique].len > 0)
        rc = unique_read(&asked->unique, &op->spec, r->digest, &op->unique, f);
    if (rc == 0)
        rc = put_options(asked, &backoff, raw[AT_unique], options, &op->spec, f);
    s->run_at_ms = asked->run_at;
    s->delay_ms = asked->delay_ms;
    return rc;
}

int job_read(const struct job_reader *r, struct span body, struct span key, struct buf *options,
             struct core_submit *ret_submit, struct fault *ret_fault)
{
    struct span raw[BODY_FIELDS];
    struct asked asked;
    int rc = read_fields(r, body, BODY_FIELDS, options, &asked, raw, ret_submit, ret_fault);

    if (rc != 0)
        return rc;
    ret_submit->op.key = key;
    return key.len == 0 ? 0 : digest_fields(r->digest, raw, &ret_submit->op, ret_fault);
}

/* The text of the key, which is a msgpack value still. */
static int read_item_key(struct span value, struct span *ret_key, struct fault *f)
{
    struct mp_cursor c;

    mp_open(&c, value);
    if (!mp_next_str(&c, ret_key))
        return fault_set(f, JM_EFIELD, span_of_str(JOB_KEY_FIELD), 0,
                         JOB_KEY_FIELD ": must be a string");
    return job_read_check_key(*ret_key, JM_EFIELD, JOB_KEY_FIELD, f);
}

int job_read_item(const struct job_reader *r, struct span body, struct buf *options,
                  struct core_submit *ret_submit, struct fault *ret_fault)
{
    struct span raw[ITEM_FIELDS];
    struct asked asked;
    int rc = read_fields(r, body, ITEM_FIELDS, options, &asked, raw, ret_submit, ret_fault);

    if (rc != 0)
        return rc;
    ret_submit->op.key = span_of(NULL, 0);
    if (asked.key.len == 0)
        return 0;
    rc = read_item_key(asked.key, &ret_submit->op.key, ret_fault);
    return rc != 0 ? rc : digest_fields(r->digest, raw, &ret_submit->op, ret_fault);
}

/* ---- refusals ---- */

static int tell_conflict(const struct store_submit *op, struct fault *f)
{
    char id[ID_TEXT_BYTES];

    id_format(op->ret_existing_id, id);
    fault_set(f, JM_EUNIQUE, span_of_str("unique"), 0, "the job %s holds the place of this one%s",
              id, op->unique.on_conflict == UNIQUE_REPLACE ? ", and runs" : "");
    f->id = op->ret_existing_id;
    return f->error;
}

static int tell_overload(uint64_t limit, struct fault *f)
{
    static const struct {
        uint64_t limit;
        const char *of;
    } rows[] = {{JM_QUEUES, " queues"},
                {JM_SUBMITS, " submits on their way to the disk"},
                {JM_SUBMITS_BYTES, " bytes of submits on their way to the disk"},
                {JM_LANES, " kinds of jobs (queue, task, priority, limit_key) that wait"}};

    for (size_t i = 0; i < JM_COUNT_OF(rows); i++)
        if (limit == rows[i].limit)
            return fault_set(f, JM_EOVERLOAD, span_of(NULL, 0), limit,
                             "the broker holds %" PRIu64 "%s, and no more", limit, rows[i].of);
    return fault_set(f, JM_EOVERLOAD, span_of(NULL, 0), limit,
                     "the broker has more work than it can hold");
}

int job_read_tell_refusal(const struct core_submit *s, int status, const char *key_field,
                          struct fault *ret_fault)
{
    static const struct span none;
    struct fault *f = ret_fault;

    switch (status) {
    case JM_EUNIQUE:
        return tell_conflict(&s->op, f);
    case JM_EFIELD:
        return bad_time("expires_at", 0, "must be in the future, and later than the job is due", f);
    case JM_EIDEMPOTENCY:
        return fault_set(f, status, span_of_str(key_field), 0,
                         "this %s came with another body before", key_field);
    case JM_EQUEUEFULL:
        return fault_set(f, status, span_of_str("queue"), s->ret_limit,
                         "as many jobs wait in the queue %.*s as it may hold: %" PRIu64,
                         (int)s->op.spec.queue.len, (const char *)s->op.spec.queue.data,
                         s->ret_limit);
    case JM_EFULL:
        return fault_set(f, status, none, 0, "nothing was stored; try again when there is room");
    case JM_EOVERLOAD:
        return tell_overload(s->ret_limit, f);
    default:
        return fault_set(f, status, none, 0, "the job was not stored");
    }
}
