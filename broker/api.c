/*
 * api.c: a request on its way in. Behind its head it is routed; when it is complete, its parameters
 * and its body are read by what routes.def says of the route, and the route's function is called.
 */
#include "broker/api.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "broker/batch.h"
#include "broker/call.h"
#include "broker/show.h"
#include "schema/errors.h"
#include "schema/id.h"
#include "schema/name.h"

/* ---- head ---- */

static void answer_options(struct http_exchange *x, struct buf *allow)
{
    if (allow->len == 0) {
        http_exchange_answer_error(x, JM_ENOROUTE, "there is nothing at this path");
        return;
    }
    http_exchange_add_header(x, "Allow", buf_span(allow));
    http_exchange_answer(x, 204, NULL);
}

static void refuse_route(struct http_exchange *x, int error, struct buf *allow)
{
    struct fault fault;

    if (error == JM_EMETHOD) {
        http_exchange_add_header(x, "Allow", buf_span(allow));
        fault_set(&fault, error, span_of(NULL, 0), 0, "this path supports %.*s", (int)allow->len,
                  (const char *)allow->data);
    } else {
        fault_set(&fault, error, span_of(NULL, 0), 0,
                  "there is nothing at this path; /openapi.json tells what there is");
    }
    call_refuse_exchange(x, &fault);
}

static void answer_by_table(struct http_exchange *x, int error)
{
    struct buf allow;

    buf_init(&allow, 256);
    route_write_allow(x->path, &allow);
    if (x->method == HTTP_OPTIONS)
        answer_options(x, &allow);
    else
        refuse_route(x, error, &allow);
    buf_done(&allow);
}

static void on_head(void *owner, struct http_exchange *x, struct http_ruling *ruling)
{
    const struct route *route;
    struct span variable;
    int rc = route_find(x->method, x->path, &route, &variable);

    (void)owner;
    if (rc != 0) {
        answer_by_table(x, rc);
        return;
    }
    ruling->overlap = route->overlap;
    ruling->needs_body = route->body != ROUTE_NO_BODY;
    ruling->streams = route->body == ROUTE_STREAM;
    if (route->body == ROUTE_NO_BODY)
        ruling->max_body_bytes = 0;
}

/* ---- request ---- */

/* What a path gives beside JSON and msgpack. */
static const char *further_forms(unsigned offers)
{
    if (offers & 1u << BODY_OCTETS)
        return ", or application/octet-stream";
    return offers & 1u << BODY_LINES ? ", or application/x-ndjson" : "";
}

static int choose_form(struct call *call)
{
    struct body_wish wish = {.ranges = 0};
    struct fault *f = &call->fault;

    if (call->route->offers == 0)
        return 0;
    call_read_accept(call->x, &wish);
    if (body_choose(&wish, call->route->offers, &call->form) == 0)
        return 0;
    return fault_set(f, JM_EACCEPT, span_of_str("Accept"), 0,
                     "this path gives application/json and application/msgpack%s",
                     further_forms(call->route->offers));
}

static uint64_t preferred_wait_ms(const struct http_exchange *x)
{
    uint64_t wait_ms = 0;

    for (size_t i = 0; i < x->head.field_count && wait_ms == 0; i++) {
        struct span name = http_exchange_field_name(x, i);

        if (name.len == 6 && strncasecmp((const char *)name.data, "prefer", 6) == 0)
            wait_ms = query_parse_prefer(http_exchange_field_value(x, i));
    }
    return wait_ms;
}

/* The query says it for sure and Prefer only asks, so the query wins. */
static int read_query(struct call *call)
{
    char applied[32];
    int rc = query_parse(call->x->query, call->route->params, &call->query, &call->fault);

    if (rc != 0)
        return rc;
    call->wait_ms = call->query.wait_ms;
    if (call->wait_ms != 0 || !(call->route->params & 1u << QUERY_WAIT))
        return 0;
    call->wait_ms = preferred_wait_ms(call->x);
    if (call->wait_ms == 0)
        return 0;
    snprintf(applied, sizeof(applied), "wait=%" PRIu64, call->wait_ms / 1000);
    http_exchange_add_header(call->x, "Preference-Applied", span_of_str(applied));
    return 0;
}

static int read_variable(struct call *call, struct span variable)
{
    char text[CALL_NAME_BYTES];
    int len = query_decode(variable, sizeof(text), text);
    int missing = strncmp(call->route->path, "/v1/tasks", 9) == 0 ? JM_ENOTASK : JM_ENOQUEUE;
    struct span decoded = span_of(text, len > 0 ? (size_t)len : 0);

    if (variable.len == 0)
        return 0;
    if (strstr(call->route->path, "{id}") != NULL)
        return id_parse(decoded, &call->id)
                   ? 0
                   : fault_set(&call->fault, JM_EID, span_of_str("id"), 0,
                               "a job id is 13 letters and digits (Crockford's base32)");
    if (!name_is_valid(decoded, JM_QUEUE_NAME_BYTES))
        return fault_set(&call->fault, missing, span_of_str("name"), JM_QUEUE_NAME_BYTES,
                         "a name is 1 to %d letters, digits, '_', '-', '.' or ':'",
                         JM_QUEUE_NAME_BYTES);
    memcpy(call->name_text, text, decoded.len);
    call->name = span_of(call->name_text, decoded.len);
    return 0;
}

static int read_body(struct call *call)
{
    struct span type;
    enum body_form form;
    int rc;

    if (call->route->body == ROUTE_NO_BODY)
        return 0;
    rc = call_header_once(call, "Content-Type", &type);
    if (rc == 0 && call->route->body == ROUTE_STREAM)
        return body_parse_batch_type(type, &call->taken, &call->fault);
    if (rc == 0)
        rc = body_parse_content_type(type, &form, &call->fault);
    if (rc != 0)
        return rc;
    buf_clear(&call->body_buf);
    return body_read(form, call->x->body, &call->body_buf, &call->body, &call->fault);
}

/* The form comes first, so that whatever else is wrong is told in it. */
static int read_request(struct call *call)
{
    struct span variable;
    int rc = route_find(call->x->method, call->x->path, &call->route, &variable);

    assert(rc == 0); /* on_head has refused the others */
    rc = choose_form(call);
    if (rc == 0)
        rc = read_query(call);
    if (rc == 0)
        rc = read_variable(call, variable);
    if (rc == 0)
        rc = read_body(call);
    return rc;
}

static void on_request(void *owner, struct http_exchange *x)
{
    struct api *a = owner;
    struct call *call;

    if (a->is_stopping) {
        http_exchange_add_header(x, "Retry-After", span_of_str("1"));
        http_exchange_answer_error(x, JM_ESHUTDOWN, "the broker is shutting down");
        return;
    }
    call = call_open(a, x);
    if (call == NULL) {
        http_exchange_answer_error(x, JM_ENOMEM, "out of memory");
        return;
    }
    if (read_request(call) == 0)
        call->route->run(call);
    else
        call_refuse(call);
}

static size_t on_body(void *owner, struct http_exchange *x, struct span data)
{
    struct call *call = x->user;

    (void)owner;
    return call->stream->on_body(call, data);
}

static void on_end(void *owner, struct http_exchange *x, const struct problem *broken)
{
    struct call *call = x->user;

    (void)owner;
    call->stream->on_end(call, broken);
}

/* What only waits is given up; the others come to their end by themselves. */
static void on_gone(void *owner, struct http_exchange *x)
{
    struct call *call = x->user;

    (void)owner;
    if (call->state == CALL_WAITING) {
        show_give_up(call);
    } else if (call->state == CALL_GATED) {
        list_remove(&call->gate.link);
        call_drop(call);
    } else if (call->state == CALL_STREAMING) {
        call->stream->on_gone(call);
    } else if (call->state == CALL_READING && x->conn == NULL && x->method == HTTP_GET &&
               reads_cancel(&call->read)) {
        call_drop(call); /* nobody will see it, and others wait for a reader */
    }
}

/* ---- start and stop ---- */

static void on_stopped(struct timer *t)
{
    struct api *a = JM_CONTAINER_OF(t, struct api, stopped);

    a->on_stopped(a->stop_owner);
}

void api_check_stopped(struct api *a)
{
    struct core_seams *seams = &a->conf.core->seams;

    if (a->is_stopping && list_is_empty(&a->open) && !a->probe.is_running)
        timers_arm(seams->timers, &a->stopped, clock_mono_ms(seams->clock));
}

static void on_probe_idle(void *owner)
{
    api_check_stopped(owner);
}

int api_init(struct api *a, const struct api_conf *conf)
{
    *a = (struct api){.conf = *conf, .digest = digest_new()};
    if (a->conf.max_item_bytes == 0)
        a->conf.max_item_bytes = JM_BODY_BYTES;
    list_init(&a->open);
    list_init(&a->idle);
    list_init(&a->idle_items);
    reads_init(&a->reads, conf->loop, &conf->store);
    tasks_init(&a->tasks, conf->core, conf->reader);
    probe_init(&a->probe, conf->core, a, on_probe_idle);
    timer_init(&a->stopped, on_stopped);
    a->handler = (struct http_handler){.owner = a,
                                       .on_head = on_head,
                                       .on_request = on_request,
                                       .on_gone = on_gone,
                                       .on_body = on_body,
                                       .on_end = on_end};
    return a->digest != NULL ? 0 : JM_ENOMEM;
}

int api_start(struct api *a)
{
    return tasks_refresh(&a->tasks);
}

static void get_defaults(void *owner, struct span queue, struct span task,
                         struct conf_defaults *ret_defaults)
{
    *ret_defaults = core_defaults(owner, queue, task);
}

struct job_reader api_job_reader(struct api *a)
{
    return (struct job_reader){
        .digest = a->digest,
        .now_ms = clock_wall_ms(a->conf.core->seams.clock),
        .owner = a->conf.core,
        .get_defaults = get_defaults,
    };
}

const struct http_handler *api_handler(struct api *a)
{
    return &a->handler;
}

/* Showing one may end another in no way, but each leaves the list of open calls, so the walk starts
 * over whenever one was ended. */
static bool end_one_wait(struct api *a)
{
    LIST_EACH(node, &a->open)
    {
        struct call *call = LIST_ENTRY(node, struct call, link);

        if (call->state == CALL_WAITING) {
            show_now(call);
            return true;
        }
    }
    return false;
}

/* A stream may or may not have left the list when it was told. */
static void stop_streams(struct api *a)
{
    LIST_EACH_SAFE(node, &a->open)
    {
        struct call *call = LIST_ENTRY(node, struct call, link);

        if (call->state == CALL_STREAMING)
            call->stream->on_stop(call);
    }
}

void api_stop(struct api *a, void *owner, void (*on_stopped_cb)(void *owner))
{
    a->is_stopping = true;
    a->stop_owner = owner;
    a->on_stopped = on_stopped_cb;
    while (end_one_wait(a))
        continue;
    stop_streams(a);
    api_check_stopped(a);
}

void api_done(struct api *a)
{
    assert(list_is_empty(&a->open));
    timer_disarm(&a->stopped);
    timer_disarm(&a->probe.limit);
    call_free_idle(a);
    batch_free_idle(a);
    tasks_done(&a->tasks);
    reads_done(&a->reads);
    a->digest = digest_free(a->digest);
}
