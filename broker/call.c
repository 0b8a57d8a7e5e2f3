/*
 * call.c: the pool of calls and the ways in which one ends.
 */
#include "broker/call.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "broker/damage.h"
#include "broker/job_options.h"
#include "schema/errors.h"

enum {
    IDLE_CALLS = 512,         /* kept for the next requests */
    IDLE_BUF_BYTES = 8192,    /* of memory that each buffer of an idle call keeps */
    ANSWER_BYTES = 16 << 20,  /* of one answer, as msgpack */
    PROBLEM_BYTES = 8 * 1024, /* of a problem as msgpack */
};

/* ---- pool ---- */

static struct call *take(struct api *a)
{
    struct list *node = list_pop_front(&a->idle);
    struct call *call;

    if (node != NULL) {
        a->idle_count--;
        return LIST_ENTRY(node, struct call, link);
    }
    call = calloc(1, sizeof(*call));
    if (call == NULL)
        return NULL;
    list_init(&call->link);
    buf_init(&call->body_buf, 0);
    buf_init(&call->value, ANSWER_BYTES);
    buf_init(&call->submit.options, JOB_OPTIONS_BYTES);
    return call;
}

static void free_call(struct call *call)
{
    buf_done(&call->body_buf);
    buf_done(&call->value);
    buf_done(&call->submit.options);
    free(call);
}

/* Only what is read before it is written needs to be reset: the operations are filled in whole by
 * those who use them. */
struct call *call_open(struct api *a, struct http_exchange *x)
{
    struct call *call = take(a);

    if (call == NULL)
        return NULL;
    call->api = a;
    call->x = x;
    call->state = CALL_RUNNING;
    call->route = NULL;
    call->form = BODY_JSON;
    call->body = span_of(NULL, 0);
    call->body_buf.max = BODY_MSGPACK_BYTES(x->body.len);
    call->name = span_of(NULL, 0);
    call->id = 0;
    call->wait_ms = 0;
    call->fault.error = 0;
    call->status = 0;
    call->on_show = NULL;
    call->on_absent = NULL;
    call->may_have_ended = true;
    call->is_on_disk = false;
    call->shows_end = false;
    call->is_stored = false;
    call->is_unsynced = false;
    call->etag[0] = '\0';
    call->submit.is_task_unknown = false;
    call->waiter = (struct waiter){.is_registered = false};
    list_init(&call->waiter.marked);
    timer_init(&call->timer, NULL);
    list_init(&call->gate.link);
    list_init(&call->asker.link);
    list_push_back(&a->open, &call->link);
    x->user = call;
    return call;
}

static void close_call(struct call *call)
{
    struct api *a = call->api;

    list_remove(&call->link);
    call->x = NULL;
    buf_shrink(&call->body_buf, IDLE_BUF_BYTES);
    buf_shrink(&call->value, IDLE_BUF_BYTES);
    if (a->idle_count < IDLE_CALLS) {
        list_push_front(&a->idle, &call->link);
        a->idle_count++;
    } else {
        free_call(call);
    }
    api_check_stopped(a);
}

void call_free_idle(struct api *a)
{
    struct list *node;

    while ((node = list_pop_front(&a->idle)) != NULL)
        free_call(LIST_ENTRY(node, struct call, link));
    a->idle_count = 0;
}

/* ---- problems ---- */

static struct problem problem_of(const struct fault *f)
{
    return (struct problem){.error = f->error,
                            .detail = span_of_str(f->detail),
                            .field = span_of_str(f->field),
                            .limit = f->limit};
}

void call_read_accept(const struct http_exchange *x, struct body_wish *ret_wish)
{
    for (size_t i = 0; i < x->head.field_count; i++) {
        struct span name = http_exchange_field_name(x, i);

        if (name.len == 6 && strncasecmp((const char *)name.data, "accept", 6) == 0)
            body_add_accept(ret_wish, http_exchange_field_value(x, i));
    }
}

/* A problem in msgpack is its JSON form transcoded, so that there is one place that writes it. */
static bool write_msgpack_problem(struct http_exchange *x, const struct problem *problem)
{
    struct buf json;
    bool is_written;

    buf_init(&json, PROBLEM_BYTES);
    problem_format(&json, problem);
    buf_clear(&x->body_out);
    is_written = !buf_has_failed(&json) && body_convert(buf_span(&json), &x->body_out);
    buf_done(&json);
    return is_written;
}

static void refuse_in(struct http_exchange *x, enum body_form form, const struct fault *fault)
{
    struct problem problem = problem_of(fault);
    int status = errors_http_status(fault->error);

    if (status == 429 || status == 503)
        http_exchange_add_header(x, "Retry-After", span_of_str("1"));
    if (form == BODY_MSGPACK && write_msgpack_problem(x, &problem))
        http_exchange_answer(x, status, body_problem_media_type(form));
    else
        http_exchange_answer_problem(x, &problem);
}

void call_refuse_exchange(struct http_exchange *x, const struct fault *fault)
{
    struct body_wish wish = {.ranges = 0};
    enum body_form form = BODY_JSON;

    call_read_accept(x, &wish);
    if (body_choose(&wish, 1u << BODY_JSON | 1u << BODY_MSGPACK, &form) != 0)
        form = BODY_JSON;
    refuse_in(x, form, fault);
}

void call_refuse(struct call *call)
{
    refuse_in(call->x, call->form, &call->fault);
    close_call(call);
}

void call_refuse_error(struct call *call, int error, const char *fmt, ...)
{
    char detail[FAULT_DETAIL_BYTES];
    va_list args;

    va_start(args, fmt);
    vsnprintf(detail, sizeof(detail), fmt, args);
    va_end(args);
    fault_set(&call->fault, error, span_of(NULL, 0), 0, "%s%s", detail,
              error == JM_ECORRUPT ? DAMAGE_DETAIL : "");
    call_refuse(call);
}

/* ---- answers ---- */

int call_transcode(struct call *call)
{
    struct buf *out = &call->x->body_out;

    buf_clear(out);
    if (buf_is_starved(&call->value))
        return fault_set(&call->fault, JM_ENOMEM, span_of(NULL, 0), 0, "no memory for the answer");
    if (buf_has_failed(&call->value))
        return fault_set(&call->fault, JM_ELIMIT, span_of(NULL, 0), call->value.max,
                         "the answer is larger than %zu bytes", call->value.max);
    return body_write(call->form, buf_span(&call->value), out, &call->fault);
}

void call_answer_text(struct call *call, int http_status, const char *content_type)
{
    http_exchange_answer(call->x, http_status, content_type);
    close_call(call);
}

void call_finish(struct call *call)
{
    http_exchange_finish(call->x);
    close_call(call);
}

void call_answer_bytes(struct call *call, int http_status)
{
    call_answer_text(call, http_status, body_media_type(call->form));
}

void call_answer(struct call *call, int http_status)
{
    if (call_transcode(call) == 0)
        call_answer_bytes(call, http_status);
    else
        call_refuse(call);
}

void call_answer_empty(struct call *call, int http_status)
{
    buf_clear(&call->x->body_out);
    call_answer_text(call, http_status, NULL);
}

void call_drop(struct call *call)
{
    http_exchange_drop(call->x);
    close_call(call);
}

/* ---- waits ---- */

static void on_gate_open(struct runner_gate *gate)
{
    struct call *call = JM_CONTAINER_OF(gate, struct call, gate);

    call->state = CALL_RUNNING;
    call->on_gate(call);
}

void call_hold(struct call *call, void (*on_open)(struct call *call))
{
    struct runner *runner = call_runner(call);

    if (runner_is_synced(runner)) {
        on_open(call);
        return;
    }
    call->state = CALL_GATED;
    call->on_gate = on_open;
    call->gate.on_open = on_gate_open;
    runner_wait_synced(runner, &call->gate);
}

/* ---- parts of the request ---- */

int call_header_once(struct call *call, const char *name, struct span *ret_value)
{
    size_t len = strlen(name);
    struct span value = span_of(NULL, 0);
    unsigned count = 0;

    for (size_t i = 0; i < call->x->head.field_count; i++) {
        struct span found = http_exchange_field_name(call->x, i);

        if (found.len != len || strncasecmp((const char *)found.data, name, len) != 0)
            continue;
        value = http_exchange_field_value(call->x, i);
        count++;
    }
    if (count > 1)
        return fault_set(&call->fault, JM_EHEADER, span_of_str(name), 1,
                         "%s: the header field comes %u times", name, count);
    *ret_value = value;
    return 0;
}
