#include "broker/job_read.h"

#include <stddef.h>

#include "broker/fields.h"
#include "lib/mp.h"
#include "schema/errors.h"

#define KEY_FIELD "idempotency_key"

struct asked {
    struct span task;
    struct span args;
    struct span queue;
    struct span tags;
    uint64_t timeout_ms;
    uint64_t max_attempts;
    struct span key;
};

/* The key comes last: only items have it in the map, and it is no part of what it is the key of. */
static const struct field fields[] = {
#define FIELD(name, type, is_required, min, max, item_max) \
    {#name, type, is_required, offsetof(struct asked, name), min, max, item_max},
#include "broker/job_fields.def"
#undef FIELD
    {KEY_FIELD, FIELD_ANY, false, offsetof(struct asked, key), 0, UINT64_MAX, 0},
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
 * its name and its msgpack value. So neither the order of the members nor JSON or msgpack matters,
 * and a field that a later version adds does not change what older requests were. */
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

static int read_fields(struct span body, size_t count, struct asked *asked, struct span *raw,
                       struct store_submit *op, struct fault *f)
{
    static const uint8_t nil = 0xc0;
    int rc;

    *asked = (struct asked){
        .args = span_of(&nil, 1),
        .queue = span_of_str("default"),
        .timeout_ms = JM_TIMEOUT_DEFAULT_MS,
        .max_attempts = JM_MAX_ATTEMPTS_DEFAULT,
    };
    rc = fields_read(fields, count, body, asked, raw, f);
    if (rc != 0)
        return rc;
    op->spec = (struct job_spec){
        .queue = asked->queue,
        .task = asked->task,
        .args = asked->args,
        .tags = asked->tags,
        .priority = JM_PRIORITY_DEFAULT,
        .max_attempts = (uint32_t)asked->max_attempts,
        .timeout_ms = asked->timeout_ms,
        .grace_ms = JM_GRACE_DEFAULT_MS,
    };
    return 0;
}

int job_read(struct span body, struct span key, struct digest *digest, struct store_submit *ret_op,
             struct fault *ret_fault)
{
    struct span raw[BODY_FIELDS];
    struct asked asked;
    int rc = read_fields(body, BODY_FIELDS, &asked, raw, ret_op, ret_fault);

    if (rc != 0)
        return rc;
    ret_op->key = key;
    return key.len == 0 ? 0 : digest_fields(digest, raw, ret_op, ret_fault);
}

/* The text of the key, which is a msgpack value still. */
static int read_item_key(struct span value, struct span *ret_key, struct fault *f)
{
    struct mp_cursor c;

    mp_open(&c, value);
    if (!mp_next_str(&c, ret_key))
        return fault_set(f, JM_EFIELD, span_of_str(KEY_FIELD), 0, KEY_FIELD ": must be a string");
    return job_read_check_key(*ret_key, JM_EFIELD, KEY_FIELD, f);
}

int job_read_item(struct span body, struct digest *digest, struct store_submit *ret_op,
                  struct fault *ret_fault)
{
    struct span raw[ITEM_FIELDS];
    struct asked asked;
    int rc = read_fields(body, ITEM_FIELDS, &asked, raw, ret_op, ret_fault);

    if (rc != 0)
        return rc;
    ret_op->key = span_of(NULL, 0);
    if (asked.key.len == 0)
        return 0;
    rc = read_item_key(asked.key, &ret_op->key, ret_fault);
    return rc != 0 ? rc : digest_fields(digest, raw, ret_op, ret_fault);
}
