/*
 * http_read.c: from received bytes to requests in the handler's hands.
 *
 *     head ──on_head──▶ body ──▶ complete ──▶ on_request
 *                                    │ another class is in work
 *                                    ▼
 *                                  held ── until that has been answered
 *
 * All bytes go through c->in, and what is used is taken out once per call; so a request that came
 * in one packet is parsed where it lies and only its head and body are copied to where they stay.
 */
#include <string.h>

#include "broker/http_conn.h"
#include "schema/errors.h"

void http_read_refuse(struct http_conn *c, int error, const char *detail, uint64_t limit)
{
    struct http_exchange *x = c->reading;
    struct problem problem = {.error = error, .detail = span_of_str(detail), .limit = limit};

    x->closes = true;
    http_exchange_answer_problem(x, &problem);
}

bool http_read_is_blocked(const struct http_conn *c)
{
    return c->held != NULL || c->exchange_count >= c->server->conf.max_outstanding ||
           c->unsent_bytes >= HTTP_UNSENT_BYTES;
}

static uint64_t now_ms(const struct http_conn *c)
{
    return uv_now(c->server->loop);
}

/* ---- to the handler ---- */

static bool may_begin(const struct http_conn *c, const struct http_exchange *x)
{
    return c->open_count == 0 ||
           (x->ruling.overlap == c->open_class && x->ruling.overlap != HTTP_ALONE);
}

static void give(struct http_conn *c, struct http_exchange *x)
{
    struct http_server *s = c->server;

    if (c->phase != HTTP_OPEN)
        x->closes = true; /* the server stops: this one is the last */
    x->is_given = true;
    s->stats.outstanding++;
    c->open_count++;
    c->open_class = x->ruling.overlap;
    s->handler->on_request(s->handler->owner, x);
}

void http_read_begin_held(struct http_conn *c)
{
    struct http_exchange *x = c->held;

    if (x == NULL || !may_begin(c, x))
        return;
    c->held = NULL;
    give(c, x);
}

static void complete(struct http_conn *c)
{
    struct http_exchange *x = c->reading;

    x->is_read = true;
    x->body = buf_span(&x->body_in);
    c->reading = NULL;
    if (x->closes && c->phase == HTTP_OPEN)
        c->phase = HTTP_ENDING;
    http_deadline_clear(&c->read_due);
    if (may_begin(c, x))
        give(c, x);
    else
        c->held = x;
}

/* ---- body ---- */

/* Appends to the body; answers and returns false if that is too much. */
static bool take_body(struct http_conn *c, struct span data)
{
    struct http_exchange *x = c->reading;
    struct http_server *s = c->server;

    if (data.len > x->ruling.max_body_bytes - x->body_in.len) {
        http_read_refuse(c, JM_EBODYSIZE, "the body is larger than this request may have",
                         x->ruling.max_body_bytes);
        return false;
    }
    if (s->bodies_bytes + data.len > s->conf.max_bodies_bytes) {
        http_read_refuse(c, JM_EOVERLOAD, "too many large bodies are being received",
                         s->conf.max_bodies_bytes);
        return false;
    }
    buf_put_span(&x->body_in, data);
    if (buf_has_failed(&x->body_in)) {
        http_read_refuse(c, JM_EOVERLOAD, "memory ran out", 0);
        return false;
    }
    s->bodies_bytes += data.len;
    if (x->body_in.len >= c->body_mark) {
        c->body_mark = x->body_in.len + HTTP_BODY_STEP_BYTES;
        http_deadline_set(&s->deadlines, &c->read_due, HTTP_WAIT_BODY, now_ms(c));
    }
    return true;
}

/* Each returns how many bytes of `input` it has used. */
static size_t read_sized_body(struct http_conn *c, struct span input)
{
    struct http_exchange *x = c->reading;
    uint64_t left = x->head.content_length - x->body_in.len;
    size_t n = input.len < left ? input.len : (size_t)left;

    if (n > 0 && !take_body(c, span_of(input.data, n)))
        return input.len;
    if (n == left)
        complete(c);
    return n;
}

static size_t read_chunked_body(struct http_conn *c, struct span input)
{
    size_t used_all = 0;

    for (;;) {
        size_t used;
        struct span data;
        enum http_progress progress = http_chunk_step(
            &c->chunk, span_of(input.data + used_all, input.len - used_all), &used, &data);

        if (progress == HTTP_BAD) {
            c->server->stats.framing_errors++;
            http_read_refuse(c, http_head_error(c->chunk.problem),
                             http_head_words(c->chunk.problem), 0);
            return input.len;
        }
        used_all += used;
        if (data.len > 0 && !take_body(c, data))
            return input.len;
        if (progress == HTTP_DONE) {
            complete(c);
            return used_all;
        }
        if (used_all == input.len)
            return used_all;
    }
}

/* ---- head ---- */

static struct span piece_of(const struct http_exchange *x, struct http_piece piece)
{
    return span_of(x->head_in.data + piece.at, piece.len);
}

static void set_request(struct http_exchange *x)
{
    x->method = x->head.method;
    x->method_name = piece_of(x, x->head.method_name);
    x->path = x->head.has_root_path ? span_of_str("/") : piece_of(x, x->head.path);
    x->query = piece_of(x, x->head.query);
    x->has_body = x->head.has_length || x->head.is_chunked;
    x->closes = !x->head.keeps_alive;
}

/* Asks the handler. An answer at this point ends the connection, unless the whole body is here
 * already and can be stepped over: `rest` is what was received behind the head. Returns how much of
 * it is stepped over; the request goes on if c->reading is still x. */
static size_t ask_ruling(struct http_conn *c, struct http_exchange *x, size_t rest)
{
    struct http_server *s = c->server;
    bool closes = x->closes;
    bool is_here = !x->head.is_chunked && x->head.content_length <= rest;

    x->ruling = (struct http_ruling){.max_body_bytes = s->conf.max_body_bytes};
    if (s->handler->on_head == NULL)
        return 0;
    x->closes = closes || !is_here;
    s->handler->on_head(s->handler->owner, x, &x->ruling);
    if (c->reading != x)
        return is_here ? (size_t)x->head.content_length : 0;
    x->closes = closes;
    return 0;
}

static void begin_body(struct http_conn *c, struct http_exchange *x, size_t rest)
{
    if (x->ruling.needs_body && !x->has_body) {
        http_read_refuse(c, JM_ELENGTH, "this request needs a body", 0);
        return;
    }
    if (x->head.has_length && x->head.content_length > x->ruling.max_body_bytes) {
        http_read_refuse(c, JM_EBODYSIZE,
                         x->ruling.max_body_bytes == 0
                             ? "this request takes no body"
                             : "Content-Length is larger than this request may have",
                         x->ruling.max_body_bytes);
        return;
    }
    x->has_continue = x->head.expects_continue && x->has_body && rest == 0;
    if (x->has_continue)
        http_server_mark(c->server, c);
    http_chunk_init(&c->chunk);
    c->body_mark = HTTP_BODY_STEP_BYTES;
    http_deadline_set(&c->server->deadlines, &c->read_due, HTTP_WAIT_BODY, now_ms(c));
    if (!x->head.is_chunked && x->head.content_length == 0)
        complete(c);
}

static size_t read_head(struct http_conn *c, struct span input)
{
    struct http_exchange *x = c->reading;
    size_t used;

    switch (http_head_parse(&x->head, input)) {
    case HTTP_MORE:
        return 0;
    case HTTP_BAD:
        c->server->stats.framing_errors++;
        http_read_refuse(c, http_head_error(x->head.problem), http_head_words(x->head.problem), 0);
        return input.len;
    case HTTP_DONE:
        break;
    }
    used = x->head.len;
    buf_put(&x->head_in, input.data, used);
    if (buf_has_failed(&x->head_in)) {
        http_read_refuse(c, JM_EOVERLOAD, "memory ran out", 0);
        return input.len;
    }
    set_request(x);
    used += ask_ruling(c, x, input.len - used);
    if (c->reading == x)
        begin_body(c, x, input.len - used);
    return used;
}

/* ---- all ---- */

static bool begin_request(struct http_conn *c)
{
    c->reading = http_exchange_new(c);
    if (c->reading == NULL)
        return false;
    http_deadline_set(&c->server->deadlines, &c->read_due, HTTP_WAIT_HEAD, now_ms(c));
    return true;
}

/* One step on: what it used of `input`, which is 0 when more has to come first. */
static size_t read_step(struct http_conn *c, struct span input)
{
    if (c->reading->head_in.len == 0)
        return read_head(c, input);
    if (c->reading->head.is_chunked)
        return read_chunked_body(c, input);
    return read_sized_body(c, input);
}

/* A connection that ends takes no further request; what was received of one is of no use. */
static bool may_go_on(const struct http_conn *c)
{
    if (c->reading != NULL)
        return c->phase == HTTP_OPEN || c->phase == HTTP_ENDING;
    return c->phase == HTTP_OPEN && !http_read_is_blocked(c);
}

bool http_read_take(struct http_conn *c, struct span input)
{
    size_t used = 0;

    buf_put_span(&c->in, input);
    if (buf_has_failed(&c->in))
        return false;
    while (used < c->in.len && may_go_on(c)) {
        size_t n;

        if (c->reading == NULL && !begin_request(c))
            return false;
        n = read_step(c, span_of(c->in.data + used, c->in.len - used));
        used += n;
        if (n == 0)
            break;
    }
    if (c->phase != HTTP_OPEN && c->reading == NULL)
        used = c->in.len;
    buf_consume(&c->in, used);
    return true;
}
