/*
 * query.c: one reader function for each parameter, in a table.
 */
#include "broker/query.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "broker/queues.h"
#include "schema/errors.h"
#include "schema/id.h"
#include "schema/states.h"
#include "schema/name.h"

enum { VALUE_BYTES = 256, NAME_BYTES = 32 };

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
        q->states |= set;
    } while (value.data != NULL);
    return 0;
}

static int read_name(struct span value, enum query_param param, char *text, struct span *ret_name,
                     struct fault *f)
{
    if (!name_is_valid(value, JM_QUEUE_NAME_BYTES))
        return bad(f, param, JM_QUEUE_NAME_BYTES, "1 to 64 letters, digits, '_', '-', '.' or ':'");
    memcpy(text, value.data, value.len);
    *ret_name = span_of(text, value.len);
    return 0;
}

static int read_queue(struct span value, struct query *q, struct fault *f)
{
    return read_name(value, QUERY_QUEUE, q->queue_text, &q->queue, f);
}

static int read_task(struct span value, struct query *q, struct fault *f)
{
    return read_name(value, QUERY_TASK, q->task_text, &q->task, f);
}

static int read_limit(struct span value, struct query *q, struct fault *f)
{
    if (parse_number(value, JM_PAGE_LIMIT, &q->limit) && q->limit > 0)
        return 0;
    return bad(f, QUERY_LIMIT, JM_PAGE_LIMIT, "a number from 1 to 1000");
}

static int read_cursor(struct span value, struct query *q, struct fault *f)
{
    if (id_parse(value, &q->below))
        return 0;
    return bad(f, QUERY_CURSOR, 0, "not a next_cursor of an earlier page");
}

typedef int (*read_cb)(struct span value, struct query *q, struct fault *f);

static const read_cb readers[QUERY_PARAM_COUNT] = {
    [QUERY_WAIT] = read_wait, [QUERY_STATE] = read_state, [QUERY_QUEUE] = read_queue,
    [QUERY_TASK] = read_task, [QUERY_LIMIT] = read_limit, [QUERY_CURSOR] = read_cursor,
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
