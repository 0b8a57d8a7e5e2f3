/*
 * http_exchange.c: the answer of an exchange becomes bytes here. The head is composed into
 * head_out; a small body is joined to it, so that most answers are one piece for the kernel, a
 * large one is written from where the handler left it. The handler's answer only marks the
 * connection; nothing is written before the end of the loop turn.
 */
#include "broker/http_exchange.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/http_conn.h"
#include "schema/errors.h"

enum {
    JOIN_BYTES = 2048, /* a body up to this size is copied behind the head */
    HEAD_OUT_BYTES = 16384,
    LINES_OUT_BYTES = 8192,
    POOL_EXCHANGES = 256,
    /* Memory that a free exchange keeps. */
    KEEP_HEAD_BYTES = 1024,
    KEEP_BODY_BYTES = 2048,
    KEEP_LINES_BYTES = 256,
};

/* ---- pool ---- */

static struct http_exchange *make(struct http_server *s)
{
    struct http_exchange *x = calloc(1, sizeof(*x));

    if (x == NULL)
        return NULL;
    x->server = s;
    list_init(&x->turn);
    list_init(&x->link);
    buf_init(&x->head_in, HTTP_HEAD_BYTES);
    buf_init(&x->body_in, s->conf.max_body_bytes);
    buf_init(&x->body_out, s->conf.max_answer_bytes);
    buf_init(&x->lines_out, LINES_OUT_BYTES);
    buf_init(&x->head_out, HEAD_OUT_BYTES);
    buf_init(&x->stream_out, s->conf.max_answer_bytes);
    return x;
}

struct http_exchange *http_exchange_new(struct http_conn *c)
{
    struct list *node = list_pop_front(&c->server->pool);
    struct http_exchange *x;

    if (node != NULL) {
        x = LIST_ENTRY(node, struct http_exchange, turn);
        c->server->pool_count--;
    } else {
        x = make(c->server);
        if (x == NULL)
            return NULL;
    }
    x->conn = c;
    http_head_init(&x->head);
    list_push_back(&c->exchanges, &x->turn);
    c->exchange_count++;
    return x;
}

static void destroy(struct http_exchange *x)
{
    buf_done(&x->head_in);
    buf_done(&x->body_in);
    buf_done(&x->body_out);
    buf_done(&x->lines_out);
    buf_done(&x->head_out);
    buf_done(&x->stream_out);
    free(x);
}

static void reset(struct http_exchange *x)
{
    x->method = HTTP_OTHER;
    x->method_name = x->path = x->query = x->body = span_of(NULL, 0);
    x->user = NULL;
    x->on_released = NULL;
    x->conn = NULL;
    x->sent_bytes = x->counted_bytes = 0;
    x->has_body = x->is_gone = x->is_read = x->is_given = x->is_told_gone = false;
    x->is_answered = x->has_continue = x->closes = false;
    x->is_paused = x->is_streamed = x->is_broken = x->has_last = false;
    buf_shrink(&x->head_in, KEEP_HEAD_BYTES);
    buf_shrink(&x->body_in, KEEP_BODY_BYTES);
    buf_shrink(&x->body_out, KEEP_BODY_BYTES);
    buf_shrink(&x->lines_out, KEEP_LINES_BYTES);
    buf_shrink(&x->head_out, KEEP_BODY_BYTES);
    buf_shrink(&x->stream_out, 0);
}

void http_exchange_free(struct http_exchange *x)
{
    struct http_server *s = x->server;

    assert(list_is_empty(&x->link)); /* the handler still has it in a list of its own */
    if (x->on_released != NULL)
        x->on_released(x->released_owner);
    s->bodies_bytes -= x->body_in.len;
    list_remove(&x->turn);
    if (s->pool_count >= POOL_EXCHANGES) {
        destroy(x);
        return;
    }
    reset(x);
    s->pool_count++;
    list_push_front(&s->pool, &x->turn); /* the warmest is used first */
}

void http_exchange_free_pool(struct http_server *s)
{
    struct list *node;

    while ((node = list_pop_front(&s->pool)) != NULL)
        destroy(LIST_ENTRY(node, struct http_exchange, turn));
    s->pool_count = 0;
}

/* ---- the request ---- */

bool http_exchange_header(const struct http_exchange *x, const char *name, struct span *ret_value)
{
    return http_head_find(&x->head, x->head_in.data, name, ret_value);
}

struct span http_exchange_field_name(const struct http_exchange *x, size_t n)
{
    struct http_piece piece;

    assert(n < x->head.field_count);
    piece = x->head.fields[n].name;
    return span_of(x->head_in.data + piece.at, piece.len);
}

struct span http_exchange_field_value(const struct http_exchange *x, size_t n)
{
    struct http_piece piece;

    assert(n < x->head.field_count);
    piece = x->head.fields[n].value;
    return span_of(x->head_in.data + piece.at, piece.len);
}

/* ---- the answer ---- */

void http_exchange_add_header(struct http_exchange *x, const char *name, struct span value)
{
    buf_put_str(&x->lines_out, name);
    buf_put_str(&x->lines_out, ": ");
    for (size_t i = 0; i < value.len; i++)
        buf_put_u8(&x->lines_out, http_head_is_value(value.data[i]) ? value.data[i] : ' ');
    buf_put_str(&x->lines_out, "\r\n");
}

static const char *phrase_of(int status)
{
    static const struct {
        int status;
        const char *phrase;
    } phrases[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };

    for (size_t i = 0; i < JM_COUNT_OF(phrases); i++)
        if (phrases[i].status == status)
            return phrases[i].phrase;
    return "";
}

static void put_number(struct buf *out, size_t number)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    buf_put(out, digits + at, sizeof(digits) - at);
}

/* No vsnprintf here: it would cost as much as the rest of the answer. */
void http_exchange_put_head(struct http_exchange *x, int status, const char *content_type)
{
    struct buf *out = &x->head_out;
    bool has_no_body = status == 204 || status == 304;

    buf_put(out, "HTTP/1.1 ", 9);
    put_number(out, (size_t)status);
    buf_put_u8(out, ' ');
    buf_put_str(out, phrase_of(status));
    buf_put(out, "\r\nDate: ", 8);
    buf_put(out, http_server_date(x->server), HTTP_DATE_BYTES - 1);
    if (content_type != NULL && !has_no_body) {
        buf_put(out, "\r\nContent-Type: ", 16);
        buf_put_str(out, content_type);
    }
    if (x->is_streamed && x->head.minor > 0) {
        buf_put_str(out, "\r\nTransfer-Encoding: chunked");
    } else if (!has_no_body && !x->is_streamed) {
        buf_put(out, "\r\nContent-Length: ", 18);
        put_number(out, x->body_out.len);
    }
    if (x->closes)
        buf_put_str(out, "\r\nConnection: close");
    else if (x->head.minor == 0)
        buf_put_str(out, "\r\nConnection: keep-alive");
    buf_put(out, "\r\n", 2);
    buf_put_span(out, buf_span(&x->lines_out));
    buf_put(out, "\r\n", 2);
    if (has_no_body || x->method == HTTP_HEAD)
        buf_clear(&x->body_out);
}

/* Whether what the handler wrote had room; if not, an error takes its place. */
static bool has_room(struct http_exchange *x)
{
    return !buf_has_failed(&x->body_out) && !buf_has_failed(&x->lines_out) &&
           !buf_has_failed(&x->head_out);
}

static void put_failure(struct http_exchange *x)
{
    static const char body[] =
        "{\"type\":\"urn:jobmill:error:limit\",\"title\":\"A size limit was "
        "reached\",\"status\":500,\"code\":\"limit\",\"detail\":\"the answer is "
        "larger than the server's limit, or memory ran out\"}";

    buf_clear(&x->head_out);
    buf_clear(&x->lines_out);
    buf_clear(&x->body_out);
    buf_put(&x->body_out, body, sizeof(body) - 1);
    http_exchange_put_head(x, 500, PROBLEM_MEDIA_TYPE);
}

/* Out of the handler's hands, with the connection closed long ago or not. */
bool http_exchange_leave(struct http_exchange *x)
{
    struct http_server *s = x->server;

    assert(!x->is_answered); /* completed twice */
    if (x->is_given)
        s->stats.outstanding--;
    if (x->conn != NULL)
        return true;
    http_exchange_free(x);
    http_server_poke(s);
    return false;
}

void http_exchange_answer(struct http_exchange *x, int status, const char *content_type)
{
    assert(!x->is_streamed);
    if (!http_exchange_leave(x))
        return;
    if (x->is_given && !x->is_read)
        x->closes = true; /* the rest of a streamed body is not wanted */
    http_exchange_put_head(x, status, content_type);
    if (!has_room(x))
        put_failure(x);
    if (x->body_out.len <= JOIN_BYTES) {
        buf_put_span(&x->head_out, buf_span(&x->body_out));
        buf_clear(&x->body_out);
    }
    if (!has_room(x)) {
        http_conn_take_drop(x->conn, x); /* not even the failure finds memory */
        return;
    }
    x->server->stats.requests++;
    x->is_answered = true;
    http_conn_take_answer(x->conn, x);
}

void http_exchange_answer_problem(struct http_exchange *x, const struct problem *problem)
{
    buf_clear(&x->body_out);
    problem_format(&x->body_out, problem);
    http_exchange_answer(x, errors_http_status(problem->error), PROBLEM_MEDIA_TYPE);
}

void http_exchange_answer_error(struct http_exchange *x, int error, const char *fmt, ...)
{
    struct problem problem = {.error = error};
    char detail[512];
    va_list args;
    int len;

    va_start(args, fmt);
    len = vsnprintf(detail, sizeof(detail), fmt, args);
    va_end(args);
    assert(len >= 0);
    problem.detail =
        span_of(detail, (size_t)len < sizeof(detail) ? (size_t)len : sizeof(detail) - 1);
    http_exchange_answer_problem(x, &problem);
}

void http_exchange_drop(struct http_exchange *x)
{
    if (http_exchange_leave(x))
        http_conn_take_drop(x->conn, x);
}
