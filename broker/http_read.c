/*
 * http_read.c: from received bytes to requests in the handler's hands.
 *
 *   begin (an exchange) → head → on_head → body → complete → give (on_request) or hold
 *
 * or, if its body is streamed,
 *
 *   begin → head → on_head → give or hold → body (on_body, with pauses) → complete (on_end)
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
    if (c->held != NULL)
        return true;
    if (c->reading != NULL)
        return http_stream_is_blocked(c->reading);
    return c->exchange_count >= c->server->conf.max_outstanding ||
           c->unsent_bytes > HTTP_UNSENT_BYTES;
}

void http_read_abandon(struct http_conn *c)
{
    struct http_exchange *x = c->reading;

    c->reading = NULL;
    http_conn_enter(c, HTTP_ENDING);
    x->is_read = true;
    x->has_continue = false;
    x->closes = true;
}

/* Of a request that the handler has: it is told, and completes it. */
static void break_stream(struct http_conn *c, const struct problem *problem)
{
    const struct http_handler *handler = c->server->handler;
    struct http_exchange *x = c->reading;

    http_read_abandon(c);
    x->is_broken = true;
    http_server_mark(c->server, c);
    handler->on_end(handler->owner, x, problem);
}

void http_read_refuse(struct http_conn *c, int error, const char *detail, uint64_t limit)
{
    struct http_exchange *x = c->reading;
    struct problem problem = {.error = error, .detail = span_of_str(detail), .limit = limit};

    if (x->is_given) {
        break_stream(c, &problem);
        return;
    }
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
    if (errors_http_status(error) == 503)
        http_exchange_add_header(x, "Retry-After", span_of_str("1"));
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

/* The body of a streamed request has been handed over. */
static void complete_stream(struct http_conn *c, struct http_exchange *x)
{
    const struct http_handler *handler = c->server->handler;

    c->reading = NULL;
    x->is_read = true;
    x->has_continue = false;
    if (x->closes)
        http_conn_enter(c, HTTP_ENDING);
    handler->on_end(handler->owner, x, NULL);
}

static void begin_stream(struct http_conn *c, struct http_exchange *x)
{
    give(c, x);
    http_server_mark(c->server, c); /* an interim answer may be due */
    if (c->reading == x && !x->head.is_chunked && x->head.content_length == 0)
        complete_stream(c, x);
}

void http_read_begin_held(struct http_conn *c)
{
    struct http_exchange *x = c->held;

    if (x == NULL || c->is_dropped || !may_begin(c, x))
        return;
    c->held = NULL;
    if (x->ruling.streams)
        begin_stream(c, x);
    else
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

/* Such a request begins before its body is read. */
static void open_stream(struct http_conn *c, struct http_exchange *x, bool has_more)
{
    http_chunk_init(&c->chunk);
    x->has_continue = x->head.expects_continue && !has_more;
    if (may_begin(c, x))
        begin_stream(c, x);
    else
        c->held = x;
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
        else if (x->ruling.streams && !x->is_answered)
            open_stream(c, x, true);
        else
            complete(c, x);
    } else if (x->is_answered) {
        take_refusal(c, x);
    } else if (x->ruling.streams) {
        open_stream(c, x, has_more);
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

static void count_body(struct http_conn *c, struct http_exchange *x, size_t bytes)
{
    x->has_continue = false; /* it did not wait for it */
    c->body_bytes += bytes;
    if (c->body_bytes < c->body_mark)
        return;
    c->body_mark = c->body_bytes + HTTP_BODY_STEP_BYTES;
    http_deadline_clear(&c->read_due);
}

/* Gives a run of body bytes to the handler, which may complete the exchange and may resume it
 * later. Returns how many it took. */
static size_t hand_over(struct http_conn *c, struct http_exchange *x, struct span data)
{
    const struct http_handler *handler = c->server->handler;
    size_t used;

    if (data.len == 0)
        return 0;
    x->is_paused = true;
    used = handler->on_body(handler->owner, x, data);
    assert(used <= data.len);
    if (used == data.len)
        x->is_paused = false;
    count_body(c, x, used);
    return used;
}

/* Keeps a run of body bytes. False if memory ran out; a refusal sets c->reading to NULL. */
static bool keep_body(struct http_conn *c, struct http_exchange *x, struct span data)
{
    struct http_server *s = c->server;

    count_body(c, x, data.len);
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

static void end_body(struct http_conn *c, struct http_exchange *x)
{
    if (x->is_given)
        complete_stream(c, x);
    else
        complete(c, x);
}

static bool step_length_body(struct http_conn *c, struct span input, size_t *ret_used)
{
    struct http_exchange *x = c->reading;
    uint64_t left = x->head.content_length - c->body_bytes;
    size_t take = input.len < left ? input.len : (size_t)left;

    if (x->is_given)
        take = hand_over(c, x, span_of(input.data, take));
    else if (!keep_body(c, x, span_of(input.data, take)))
        return false;
    *ret_used = take;
    if (c->reading == x && c->body_bytes == x->head.content_length)
        end_body(c, x);
    return true;
}

static bool step_chunked_body(struct http_conn *c, struct span input, size_t *ret_used)
{
    struct http_exchange *x = c->reading;
    struct span data;
    size_t left;

    switch (http_chunk_step(&c->chunk, input, ret_used, &data)) {
    case HTTP_BAD:
        refuse_chunk(c, c->chunk.problem);
        return true;
    case HTTP_MORE:
        if (!x->is_given)
            return keep_body(c, x, data);
        left = data.len - hand_over(c, x, data);
        http_chunk_put_back(&c->chunk, left);
        *ret_used -= left;
        break;
    case HTTP_DONE:
        end_body(c, x);
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
