/*
 * query.c: one reader function for each parameter, in a table.
 */
#include "broker/query.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "lib/rfc3339.h"
#include "lib/utf8.h"
#include "schema/errors.h"
#include "schema/id.h"
#include "schema/name.h"
#include "schema/states.h"

enum { VALUE_BYTES = 256, NAME_BYTES = 32, WORKER_DIGITS = 16 };

static const char *const words[] = {
#define X(name, word) word,
    QUERY_PARAMS(X)
#undef X
};

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (uint8_t)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int query_decode(struct span text, size_t room, char *ret_text)
{
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++) {
        int byte = text.data[i];

        if (byte == '%') {
            if (text.len - i < 3 || hex_value(text.data[i + 1]) < 0 ||
                hex_value(text.data[i + 2]) < 0)
                return -1;
            byte = hex_value(text.data[i + 1]) << 4 | hex_value(text.data[i + 2]);
            i += 2;
        }
        if (len == room)
            return -1;
        ret_text[len++] = (char)byte;
    }
    return (int)len;
}

/* Cuts `text` at the first `separator`: returns what stands before it, leaves what stands behind.
 */
static struct span cut(struct span *text, char separator)
{
    const uint8_t *at = text->len > 0 ? memchr(text->data, separator, text->len) : NULL;
    struct span head = *text;

    if (at == NULL) {
        *text = span_of(NULL, 0);
        return head;
    }
    head.len = (size_t)(at - text->data);
    *text = span_of(at + 1, text->len - head.len - 1);
    return head;
}

static int bad(struct fault *f, enum query_param param, uint64_t limit, const char *sentence)
{
    return fault_set(f, JM_EQUERY, span_of_str(words[param]), limit, "%s: %s", words[param],
                     sentence);
}

static bool parse_number(struct span text, uint64_t max, uint64_t *ret_value)
{
    uint64_t value = 0;

    if (text.len == 0 || text.len > 9)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    *ret_value = value;
    return value <= max;
}

/* Seconds with an optional fraction, in ms; what is finer than a millisecond is rounded up. */
static bool parse_seconds(struct span text, uint64_t *ret_ms)
{
    struct span fraction = text;
    struct span whole = cut(&fraction, '.');
    bool has_point = whole.len < text.len;
    uint64_t seconds;
    uint64_t ms = 0;
    uint64_t unit = 100;
    bool is_finer = false;

    if (!parse_number(whole, JM_WAIT_LIMIT_S, &seconds) || (has_point && fraction.len == 0))
        return false;
    for (size_t i = 0; i < fraction.len; i++, unit /= 10) {
        if (fraction.data[i] < '0' || fraction.data[i] > '9')
            return false;
        ms += (uint64_t)(fraction.data[i] - '0') * unit;
        is_finer = is_finer || (unit == 0 && fraction.data[i] != '0');
    }
    *ret_ms = seconds * 1000 + ms + is_finer;
    return *ret_ms > 0 && *ret_ms <= JM_WAIT_LIMIT_S * 1000;
}

static int read_wait(struct span value, struct query *q, struct fault *f)
{
    if (parse_seconds(value, &q->wait_ms))
        return 0;
    return bad(f, QUERY_WAIT, JM_WAIT_LIMIT_S, "seconds, more than 0 and at most 60");
}

static int read_state(struct span value, struct query *q, struct fault *f)
{
    do {
        unsigned set = job_state_parse_shown(cut(&value, ','));

        if (set == 0)
            return bad(f, QUERY_STATE, 0,
                       "one or more of scheduled, queued, running, succeeded, failed, cancelled, "
                       "expired, joined by commas");
        q->filter.states |= set;
    } while (value.data != NULL);
    return 0;
}

static void keep(struct span value, char *text, struct span *ret_value)
{
    memcpy(text, value.data, value.len);
    *ret_value = span_of(text, value.len);
}

static int read_name(struct span value, enum query_param param, char *text, struct span *ret_name,
                     struct fault *f)
{
    if (!name_is_valid(value, JM_QUEUE_NAME_BYTES))
        return bad(f, param, JM_QUEUE_NAME_BYTES, "1 to 64 letters, digits, '_', '-', '.' or ':'");
    keep(value, text, ret_name);
    return 0;
}

static int read_queue(struct span value, struct query *q, struct fault *f)
{
    return read_name(value, QUERY_QUEUE, q->queue_text, &q->filter.queue, f);
}

static int read_task(struct span value, struct query *q, struct fault *f)
{
    return read_name(value, QUERY_TASK, q->task_text, &q->filter.task, f);
}

static int read_error(struct span value, struct query *q, struct fault *f)
{
    return read_name(value, QUERY_ERROR, q->error_text, &q->filter.error, f);
}

/* Text as a job's tags and limit_key are: UTF-8 without control characters. */
static bool is_text(struct span value, size_t max_bytes)
{
    for (size_t i = 0; i < value.len; i++)
        if (value.data[i] < 0x20 || value.data[i] == 0x7f)
            return false;
    return value.len > 0 && value.len <= max_bytes && utf8_is_valid(value);
}

static int read_tag(struct span value, struct query *q, struct fault *f)
{
    if (!is_text(value, JM_TAG_BYTES))
        return bad(f, QUERY_TAG, JM_TAG_BYTES, "1 to 64 bytes of UTF-8 without control characters");
    keep(value, q->tag_text, &q->filter.tag);
    return 0;
}

static int read_limit_key(struct span value, struct query *q, struct fault *f)
{
    if (!is_text(value, JM_LIMIT_KEY_BYTES))
        return bad(f, QUERY_LIMIT_KEY, JM_LIMIT_KEY_BYTES,
                   "1 to 128 bytes of UTF-8 without control characters");
    keep(value, q->limit_key_text, &q->filter.limit_key);
    return 0;
}

static int read_worker(struct span value, struct query *q, struct fault *f)
{
    uint64_t host = 0;

    for (size_t i = 0; i < value.len && i < WORKER_DIGITS; i++) {
        if (hex_value(value.data[i]) < 0)
            value.len = 0;
        else
            host = host << 4 | (uint64_t)hex_value(value.data[i]);
    }
    if (value.len != WORKER_DIGITS || host == 0)
        return bad(f, QUERY_WORKER, WORKER_DIGITS, "16 hexadecimal digits, as /v1/workers has it");
    q->filter.worker = host;
    return 0;
}

/* The first id of a moment. No id is as large as ID_MAX, which stands for what comes behind the
 * last moment that ids know. */
static int read_moment(struct span value, enum query_param param, uint64_t *ret_id, struct fault *f)
{
    int64_t wall_ms;

    if (!rfc3339_parse(value, &wall_ms))
        return bad(f, param, 0,
                   "a time by RFC 3339, as 2026-11-23T09:21:00.123Z ('+' of an offset as %2B)");
    *ret_id = wall_ms > id_wall_ms(ID_MAX) ? ID_MAX : id_make(wall_ms, 0);
    return 0;
}

static int read_created_after(struct span value, struct query *q, struct fault *f)
{
    return read_moment(value, QUERY_CREATED_AFTER, &q->filter.from, f);
}

/* A time and a cursor bound the same: the lower one counts. 0 would be no bound, and 1 is none that
 * a job can be below. */
static void bound(struct query *q, uint64_t id)
{
    if (id == 0)
        id = 1;
    if (q->filter.below == 0 || id < q->filter.below)
        q->filter.below = id;
}

static int read_created_before(struct span value, struct query *q, struct fault *f)
{
    uint64_t id = 0;
    int rc = read_moment(value, QUERY_CREATED_BEFORE, &id, f);

    if (rc == 0)
        bound(q, id);
    return rc;
}

static int read_limit(struct span value, struct query *q, struct fault *f)
{
    if (parse_number(value, JM_PAGE_LIMIT, &q->limit) && q->limit > 0)
        return 0;
    return bad(f, QUERY_LIMIT, JM_PAGE_LIMIT, "a number from 1 to 1000");
}

static int read_cursor(struct span value, struct query *q, struct fault *f)
{
    uint64_t id;

    if (!id_parse(value, &id))
        return bad(f, QUERY_CURSOR, 0, "not a next_cursor of an earlier page");
    bound(q, id);
    return 0;
}

static int read_dry_run(struct span value, struct query *q, struct fault *f)
{
    q->is_dry_run = span_is_str(value, "true");
    if (q->is_dry_run || span_is_str(value, "false"))
        return 0;
    return bad(f, QUERY_DRY_RUN, 0, "true or false");
}

static int read_atomic(struct span value, struct query *q, struct fault *f)
{
    q->is_atomic = span_is_str(value, "true");
    if (q->is_atomic || span_is_str(value, "false"))
        return 0;
    return bad(f, QUERY_ATOMIC, 0, "true or false");
}

typedef int (*read_cb)(struct span value, struct query *q, struct fault *f);

static const read_cb readers[QUERY_PARAM_COUNT] = {
    [QUERY_WAIT] = read_wait,
    [QUERY_STATE] = read_state,
    [QUERY_QUEUE] = read_queue,
    [QUERY_TASK] = read_task,
    [QUERY_TAG] = read_tag,
    [QUERY_LIMIT_KEY] = read_limit_key,
    [QUERY_WORKER] = read_worker,
    [QUERY_ERROR] = read_error,
    [QUERY_CREATED_AFTER] = read_created_after,
    [QUERY_CREATED_BEFORE] = read_created_before,
    [QUERY_LIMIT] = read_limit,
    [QUERY_CURSOR] = read_cursor,
    [QUERY_DRY_RUN] = read_dry_run,
    [QUERY_ATOMIC] = read_atomic,
};

static enum query_param find_param(struct span name)
{
    for (int i = 0; i < QUERY_PARAM_COUNT; i++)
        if (span_is_str(name, words[i]))
            return (enum query_param)i;
    return QUERY_PARAM_COUNT;
}

static int read_pair(struct span pair, unsigned allowed, struct query *q, struct fault *f)
{
    struct span value = pair;
    struct span name = cut(&value, '=');
    char name_text[NAME_BYTES];
    char value_text[VALUE_BYTES];
    int name_len = query_decode(name, sizeof(name_text), name_text);
    enum query_param param = QUERY_PARAM_COUNT;
    int value_len;

    if (name_len >= 0)
        param = find_param(span_of(name_text, (size_t)name_len));
    if (param == QUERY_PARAM_COUNT || !(allowed & 1u << param))
        return fault_set(f, JM_EQUERY, name, 0, "the query parameter is not known here");
    if (q->given & 1u << param)
        return bad(f, param, 0, "the parameter comes twice");
    q->given |= 1u << param;
    value_len = query_decode(value, sizeof(value_text), value_text);
    if (value_len < 0)
        return bad(f, param, VALUE_BYTES, "malformed percent-encoding, or longer than 256 bytes");
    return readers[param](span_of(value_text, (size_t)value_len), q, f);
}

int query_parse(struct span text, unsigned allowed, struct query *ret_query,
                struct fault *ret_fault)
{
    *ret_query = (struct query){.limit = JM_PAGE_DEFAULT};
    while (text.len > 0) {
        struct span pair = cut(&text, '&');
        int rc;

        if (pair.len == 0)
            continue;
        rc = read_pair(pair, allowed, ret_query, ret_fault);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* The preferences are split at every comma, also at one in a quoted string: no number can hide
 * behind it that was not meant, since what is split off does not parse. */
uint64_t query_parse_prefer(struct span value)
{
    while (value.len > 0) {
        struct span preference = cut(&value, ',');
        struct span number = cut(&preference, ';');
        struct span name = span_trim(cut(&number, '='));
        uint64_t seconds;

        if (name.len != 4 || strncasecmp((const char *)name.data, "wait", 4) != 0)
            continue;
        if (!parse_number(span_unquote(span_trim(number)), UINT64_MAX, &seconds))
            return 0;
        return (seconds < JM_WAIT_LIMIT_S ? seconds : JM_WAIT_LIMIT_S) * 1000;
    }
    return 0;
}
