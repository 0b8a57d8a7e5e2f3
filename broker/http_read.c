/*
 * http_read.c: from received bytes to requests in the handler's hands.
 *
 *   begin (an exchange) → head → on_head → body → complete → give (on_request) or hold
 *
 * A request is parsed where the bytes were received; once its head is complete it is copied into
 * the exchange, so that the spans a handler gets do not depend on what the connection does later.
 * What cannot be used yet stays in c->in: the beginning of a head, or requests that must wait for
 * answers to be written first (http_read_is_blocked), and then nothing is received either.
 *
 * The handler is called from here and may answer at once; that only marks the connection.
 */
#include <assert.h>
#include <stdio.h>

#include "broker/http_conn.h"
#include "schema/errors.h"

bool http_read_is_blocked(const struct http_conn *c)
{
    return c->held != NULL ||
           (c->reading == NULL && (c->exchange_count >= c->server->conf.max_outstanding ||
                                   c->unsent_bytes > HTTP_UNSENT_BYTES));
}

void http_read_refuse(struct http_conn *c, int error, const char *detail, uint64_t limit)
{
    struct http_exchange *x = c->reading;
    struct problem problem = {.error = error, .detail = span_of_str(detail), .limit = limit};

    c->reading = NULL;
    http_conn_enter(c, HTTP_ENDING);
    x->is_read = true;
    x->has_continue = false;
    if (x->is_answered) { /* the handler refused it, and then its body was wrong too */
        http_server_mark(c->server, c);
        return;
    }
    x->closes = true;
    x->method = x->head.method; /* to a HEAD no body is sent, however wrong it is */
    http_exchange_answer_problem(x, &problem);
}

static void refuse_chunk(struct http_conn *c, enum http_problem problem)
{
    c->server->stats.framing_errors++;
    http_read_refuse(c, http_head_error(problem), http_head_words(problem),
                     http_head_limit(problem));
}

/* In a head the place helps to find what is wrong. */
static void refuse_head(struct http_conn *c, const struct http_head *head)
{
    char detail[192];

    c->server->stats.framing_errors++;
    snprintf(detail, sizeof(detail), "%s (byte %zu of the head)", http_head_words(head->problem),
             head->problem_at);
    http_read_refuse(c, http_head_error(head->problem), detail, http_head_limit(head->problem));
}

static void refuse_body_size(struct http_conn *c)
{
    size_t limit = c->reading->ruling.max_body_bytes;
    char detail[96];

    if (limit == 0)
        snprintf(detail, sizeof(detail), "this request takes no body");
    else
        snprintf(detail, sizeof(detail), "the body is larger than %zu bytes", limit);
    http_read_refuse(c, JM_EBODYSIZE, detail, limit);
}

/* ---- into the handler's hands ---- */

static bool may_begin(const struct http_conn *c, const struct http_exchange *x)
{
    return c->open_count == 0 ||
           (x->ruling.overlap != HTTP_ALONE && x->ruling.overlap == c->open_class);
}

static void give(struct http_conn *c, struct http_exchange *x)
{
    const struct http_handler *handler = c->server->handler;

    x->is_given = true;
    c->open_count++;
    c->open_class = x->ruling.overlap;
    c->server->stats.outstanding++;
    handler->on_request(handler->owner, x);
}

void http_read_begin_held(struct http_conn *c)
{
    struct http_exchange *x = c->held;

    if (x == NULL || c->is_dropped || !may_begin(c, x))
        return;
    c->held = NULL;
    give(c, x);
}

static void complete(struct http_conn *c, struct http_exchange *x)
{
    c->reading = NULL;
    x->is_read = true;
    x->has_continue = false;
    x->body = buf_span(&x->body_in);
    if (x->closes)
        http_conn_enter(c, HTTP_ENDING);
    if (x->is_answered)
        http_server_mark(c->server, c);
    else if (may_begin(c, x))
        give(c, x);
    else
        c->held = x;
}

/* ---- the head ---- */

static struct span piece_span(const struct http_exchange *x, struct http_piece piece)
{
    return span_of(x->head_in.data + piece.at, piece.len);
}

/* A refused request whose body is too large to be thrown away, or perhaps never comes, ends the
 * connection. */
static bool is_last_if_refused(const struct http_exchange *x)
{
    return x->head.is_chunked || x->head.expects_continue ||
           x->head.content_length > HTTP_DISCARD_BYTES;
}

/* Shows the head to the handler, which may answer it already now: then the answer has to say
 * whether the connection goes on. */
static void ask_handler(struct http_conn *c, struct http_exchange *x)
{
    const struct http_handler *handler = c->server->handler;
    bool closes = x->closes;

    if (handler->on_head == NULL)
        return;
    x->closes = closes || is_last_if_refused(x);
    handler->on_head(handler->owner, x, &x->ruling);
    if (!x->is_answered)
        x->closes = closes;
}

/* Copies the head, and shows it to the handler. */
static bool take_head(struct http_conn *c, struct http_exchange *x, struct span input)
{
    buf_put(&x->head_in, input.data, x->head.len);
    if (buf_has_failed(&x->head_in))
        return false;
    x->method = x->head.method;
    x->method_name = piece_span(x, x->head.method_name);
    x->path = x->head.has_root_path ? span_of("/", 1) : piece_span(x, x->head.path);
    x->query = piece_span(x, x->head.query);
    x->has_body = x->head.has_length || x->head.is_chunked;
    x->closes = x->closes || !x->head.keeps_alive;
    x->ruling = (struct http_ruling){.max_body_bytes = c->server->conf.max_body_bytes};
    ask_handler(c, x);
    if (x->ruling.max_body_bytes > c->server->conf.max_body_bytes)
        x->ruling.max_body_bytes = c->server->conf.max_body_bytes;
    return true;
}

/* The handler has refused it in on_head. A small body is read and thrown away, so that the
 * connection can go on; else the connection ends. */
static void take_refusal(struct http_conn *c, struct http_exchange *x)
{
    if (!is_last_if_refused(x))
        return;
    c->reading = NULL;
    http_conn_enter(c, HTTP_ENDING);
    x->is_read = true;
    http_server_mark(c->server, c);
}

/* What the head promises about the body, judged before a byte of it is read. */
static void open_body(struct http_conn *c, struct http_exchange *x, bool has_more)
{
    struct http_server *s = c->server;

    c->body_bytes = 0;
    c->body_mark = HTTP_BODY_STEP_BYTES;
    http_deadline_clear(&c->read_due); /* from the head's to the body's */
    if (!x->has_body || (x->head.has_length && x->head.content_length == 0)) {
        if (!x->has_body && x->ruling.needs_body && !x->is_answered)
            http_read_refuse(c, JM_ELENGTH, "a body has to be sent with this request", 0);
        else
            complete(c, x);
    } else if (x->is_answered) {
        take_refusal(c, x);
    } else if (x->ruling.max_body_bytes == 0 || x->head.content_length > x->ruling.max_body_bytes) {
        refuse_body_size(c);
    } else if (x->head.content_length + s->bodies_bytes > s->conf.max_bodies_bytes) {
        http_read_refuse(c, JM_EOVERLOAD, "too many request bodies are in memory",
                         s->conf.max_bodies_bytes);
    } else {
        http_chunk_init(&c->chunk);
        x->has_continue = x->head.expects_continue && !has_more;
        if (x->has_continue)
            http_server_mark(s, c);
    }
}

static bool step_head(struct http_conn *c, struct span input, size_t *ret_used)
{
    struct http_exchange *x = c->reading;

    switch (http_head_parse(&x->head, input)) {
    case HTTP_MORE:
        return true;
    case HTTP_BAD:
        refuse_head(c, &x->head);
        return true;
    case HTTP_DONE:
        break;
    }
    *ret_used = x->head.len;
    if (!take_head(c, x, input))
        return false;
    if (!c->is_dropped)
        open_body(c, x, input.len > x->head.len);
    return true;
}

/* ---- the body ---- */

/* Keeps a run of body bytes. False if memory ran out; a refusal sets c->reading to NULL. */
static bool keep_body(struct http_conn *c, struct http_exchange *x, struct span data)
{
    struct http_server *s = c->server;

    x->has_continue = false; /* it did not wait for it */
    c->body_bytes += data.len;
    if (c->body_bytes >= c->body_mark) {
        c->body_mark = c->body_bytes + HTTP_BODY_STEP_BYTES;
        http_deadline_clear(&c->read_due);
    }
    if (x->is_answered)
        return true;
    if (c->body_bytes > x->ruling.max_body_bytes) {
        refuse_body_size(c);
        return true;
    }
    if (s->bodies_bytes + data.len > s->conf.max_bodies_bytes) {
        http_read_refuse(c, JM_EOVERLOAD, "too many request bodies are in memory",
                         s->conf.max_bodies_bytes);
        return true;
    }
    buf_put_span(&x->body_in, data);
    if (buf_has_failed(&x->body_in))
        return false;
    s->bodies_bytes += data.len;
    return true;
}

static bool step_length_body(struct http_conn *c, struct span input, size_t *ret_used)
{
    struct http_exchange *x = c->reading;
    uint64_t left = x->head.content_length - c->body_bytes;
    size_t take = input.len < left ? input.len : (size_t)left;

    *ret_used = take;
    if (!keep_body(c, x, span_of(input.data, take)))
        return false;
    if (c->reading == x && c->body_bytes == x->head.content_length)
        complete(c, x);
    return true;
}

static bool step_chunked_body(struct http_conn *c, struct span input, size_t *ret_used)
{
    struct http_exchange *x = c->reading;
    struct span data;

    switch (http_chunk_step(&c->chunk, input, ret_used, &data)) {
    case HTTP_BAD:
        refuse_chunk(c, c->chunk.problem);
        return true;
    case HTTP_MORE:
        return keep_body(c, x, data);
    case HTTP_DONE:
        complete(c, x);
        break;
    }
    return true;
}

/* ---- */

static bool step(struct http_conn *c, struct span input, size_t *ret_used)
{
    if (c->reading == NULL) {
        c->reading = http_exchange_new(c);
        if (c->reading == NULL)
            return false;
    }
    if (c->reading->head.len == 0)
        return step_head(c, input, ret_used);
    return c->reading->head.is_chunked ? step_chunked_body(c, input, ret_used)
                                       : step_length_body(c, input, ret_used);
}

/* Whether the next byte has somebody to go to. */
static bool can_step(const struct http_conn *c)
{
    return !c->is_dropped && !http_read_is_blocked(c) &&
           (c->phase == HTTP_OPEN || (c->phase == HTTP_ENDING && c->reading != NULL));
}

/* Uses up what it can of `input`. */
static bool take(struct http_conn *c, struct span input, size_t *ret_used)
{
    size_t used = 0;

    while (used < input.len && can_step(c)) {
        size_t n = 0;

        if (!step(c, span_of(input.data + used, input.len - used), &n))
            return false;
        if (n == 0 && c->reading != NULL)
            break; /* the beginning of a head */
        used += n;
    }
    *ret_used = used;
    return true;
}

bool http_read_take(struct http_conn *c, struct span input)
{
    size_t used = 0;

    if (c->in.len > 0) {
        buf_put_span(&c->in, input);
        if (buf_has_failed(&c->in) || !take(c, buf_span(&c->in), &used))
            return false;
        buf_consume(&c->in, used);
    } else {
        if (!take(c, input, &used))
            return false;
        if (used < input.len)
            buf_put(&c->in, input.data + used, input.len - used);
    }
    if (c->phase != HTTP_OPEN && c->reading == NULL)
        buf_clear(&c->in); /* nobody will read it */
    if (c->in.len == 0 && c->in.cap > 0)
        buf_done(&c->in); /* most connections are idle most of the time */
    return !buf_has_failed(&c->in);
}
