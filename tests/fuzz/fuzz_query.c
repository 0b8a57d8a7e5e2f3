/*
 * fuzz_query.c: any bytes as a query string, with every parameter allowed. What is refused is
 * explained by a parameter; what is taken keeps its limits, and written down again it is read as
 * the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/query.h"
#include "lib/buf.h"
#include "lib/rfc3339.h"
#include "lib/utf8.h"
#include "schema/errors.h"
#include "schema/id.h"
#include "schema/states.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ALL = (1 << QUERY_PARAM_COUNT) - 1 };

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void put_text(struct buf *out, const char *name, struct span value)
{
    char digits[4];

    if (value.len == 0)
        return;
    buf_put_str(out, name);
    for (size_t i = 0; i < value.len; i++) {
        snprintf(digits, sizeof(digits), "%%%02X", value.data[i]);
        buf_put_str(out, digits);
    }
}

static void put_states(struct buf *out, unsigned states)
{
    const char *before = "&state=";

    for (int state = 1; state < JOB_STATE_LIMIT; state++)
        if ((states & 1u << state) != 0) {
            buf_put_str(out, before);
            buf_put_str(out, job_state_shown((enum job_state)state));
            before = ",";
        }
}

static void put_bounds(struct buf *out, const struct job_filter *filter)
{
    char id[ID_TEXT_BYTES];
    char time[RFC3339_BYTES];

    id_format(filter->below, id);
    rfc3339_format(id_wall_ms(filter->from), time);
    if (filter->below != 0)
        put_text(out, "&cursor=", span_of_str(id));
    if (filter->from != 0)
        put_text(out, "&created_after=", span_of_str(time));
}

static void put_query(struct buf *out, const struct query *q)
{
    char text[64];

    put_states(out, q->filter.states);
    put_text(out, "&queue=", q->filter.queue);
    put_text(out, "&task=", q->filter.task);
    put_text(out, "&tag=", q->filter.tag);
    put_text(out, "&limit_key=", q->filter.limit_key);
    put_text(out, "&error=", q->filter.error);
    put_bounds(out, &q->filter);
    snprintf(text, sizeof(text), "&worker=%016llx", (unsigned long long)q->filter.worker);
    if (q->filter.worker != 0)
        buf_put_str(out, text);
    snprintf(text, sizeof(text), "&limit=%llu&dry_run=%s", (unsigned long long)q->limit,
             q->is_dry_run ? "true" : "false");
    buf_put_str(out, text);
}

static void check_limits(const struct query *q)
{
    const struct job_filter *f = &q->filter;

    require(f->queue.len <= JM_QUEUE_NAME_BYTES && f->task.len <= JM_TASK_NAME_BYTES);
    require(f->tag.len <= JM_TAG_BYTES && utf8_is_valid(f->tag));
    require(f->limit_key.len <= JM_LIMIT_KEY_BYTES && utf8_is_valid(f->limit_key));
    require(f->error.len <= JM_ERROR_CODE_BYTES);
    require(f->from <= ID_MAX && f->below <= ID_MAX);
    require(q->limit >= 1 && q->limit <= JM_PAGE_LIMIT);
    require(q->wait_ms <= JM_WAIT_LIMIT_S * 1000);
    require((q->given & 1u << QUERY_CREATED_BEFORE) == 0 || f->below != 0);
}

/* No query says ID_MAX as a time: it stands for all that is behind the last one. */
static void check_again(const struct query *q)
{
    struct query again;
    struct fault fault;
    struct buf text;

    buf_init(&text, 1 << 16);
    put_query(&text, q);
    require(query_parse(buf_span(&text), ALL, &again, &fault) == 0);
    require(again.filter.states == q->filter.states && again.filter.worker == q->filter.worker);
    require(span_is_equal(again.filter.queue, q->filter.queue));
    require(span_is_equal(again.filter.task, q->filter.task));
    require(span_is_equal(again.filter.tag, q->filter.tag));
    require(span_is_equal(again.filter.limit_key, q->filter.limit_key));
    require(span_is_equal(again.filter.error, q->filter.error));
    require(again.filter.below == q->filter.below);
    require(again.filter.from == q->filter.from || q->filter.from == ID_MAX);
    require(again.limit == q->limit && again.is_dry_run == q->is_dry_run);
    buf_done(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fault fault = {.error = 0};
    struct query q;

    require(query_parse_prefer(span_of(data, size)) <= JM_WAIT_LIMIT_S * 1000);
    if (query_parse(span_of(data, size), ALL, &q, &fault) != 0) {
        require(fault.error == JM_EQUERY && fault.detail[0] != '\0');
        return 0;
    }
    check_limits(&q);
    check_again(&q);
    return 0;
}
