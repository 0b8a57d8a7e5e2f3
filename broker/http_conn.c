/*
 * http_conn.c: one connection: its stream and its phases.
 *
 * Events (bytes, end of stream, an answer, a write that is done, a time limit) only record what
 * happened and mark the connection; http_conn_flush, once at the end of the loop turn, writes all
 * answers whose turn has come (http_write.c), begins what has waited for them, and sets what is to
 * be waited for next (settle).
 */
#include "broker/http_conn.h"

#include <assert.h>
#include <stdlib.h>

#include "schema/errors.h"

enum {
    IN_BYTES = HTTP_HEAD_BYTES + 2 * HTTP_READ_BYTES,
    LINGER_BYTES = 8 * 1024 * 1024, /* thrown away for a client that does not stop sending */
};

void http_conn_enter(struct http_conn *c, enum http_phase phase)
{
    assert(phase >= c->phase);
    c->phase = phase;
}

/* ---- memory ---- */

/* What an exchange has allocated for its answer. */
static size_t answer_bytes(const struct http_exchange *x)
{
    return x->head_out.cap + x->body_out.cap + x->stream_out.cap;
}

/* What is kept until the client reads, or until an answer before it is there. Most connections hold
 * nothing between two turns. */
static void count_held(struct http_conn *c)
{
    size_t bytes = 0;

    if (c->phase != HTTP_CLOSED && (c->is_writing || c->unsent_bytes > 0)) {
        bytes = c->in.cap;
        LIST_EACH(node, &c->exchanges)
        bytes += answer_bytes(LIST_ENTRY(node, struct http_exchange, turn));
    }
    c->server->stats.unread_bytes += bytes;
    c->server->stats.unread_bytes -= c->held_bytes;
    c->held_bytes = bytes;
    if (bytes == 0)
        list_remove(&c->laden);
    else if (list_is_empty(&c->laden))
        list_push_back(&c->server->laden, &c->laden);
}

/* ---- the end ---- */

static void on_closed(uv_handle_t *handle)
{
    struct http_conn *c = handle->data;
    struct http_server *s = c->server;

    list_remove(&c->link);
    s->stats.connections--;
    buf_done(&c->in);
    free(c);
    http_server_poke(s);
}

static void tell_gone(struct http_exchange *x)
{
    const struct http_handler *handler = x->server->handler;

    if (!x->is_given || x->is_answered || x->is_told_gone)
        return;
    x->is_told_gone = true;
    x->is_gone = true;
    if (handler->on_gone != NULL)
        handler->on_gone(handler->owner, x);
}

/* Lets an exchange go whose connection is closed: back to the pool, or left to the handler. */
static void detach(struct http_exchange *x)
{
    list_remove(&x->turn);
    if (x->is_given && !x->is_answered) {
        x->conn = NULL;
        x->is_gone = true;
        tell_gone(x); /* it may complete it, and x is gone */
    } else {
        http_exchange_free(x);
    }
}

void http_conn_close(struct http_conn *c)
{
    struct list *node;

    if (c->phase == HTTP_CLOSED)
        return;
    http_conn_enter(c, HTTP_CLOSED);
    list_remove(&c->dirty);
    http_deadline_clear(&c->read_due);
    http_deadline_clear(&c->write_due);
    c->reading = NULL;
    c->held = NULL;
    count_held(c);
    while ((node = list_pop_front(&c->exchanges)) != NULL)
        detach(LIST_ENTRY(node, struct http_exchange, turn));
    uv_close(&c->io.handle, on_closed);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    (void)req;
    (void)status; /* whether it worked or not, the time limit ends it */
}

/* The last answer is written: ends our side, and waits for the client's end. */
static void linger(struct http_conn *c)
{
    http_conn_enter(c, HTTP_LINGERING);
    c->is_deaf = false;
    http_deadline_clear(&c->read_due);
    if (c->has_eof || uv_shutdown(&c->shutdown, &c->io.stream, on_shutdown) != 0)
        http_conn_close(c);
}

void http_conn_end(struct http_conn *c)
{
    if (c->phase != HTTP_OPEN)
        return;
    if (c->exchange_count == 0) {
        http_conn_close(c);
        return;
    }
    http_conn_enter(c, HTTP_ENDING);
    LIST_ENTRY(c->exchanges.prev, struct http_exchange, turn)->closes = true;
    http_server_mark(c->server, c);
}

/* ---- receiving ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    struct http_conn *c = handle->data;

    (void)suggested;
    /* One for all: libuv calls on_read before it asks again. */
    *ret_buf = uv_buf_init((char *)c->server->read_bytes, HTTP_READ_BYTES);
}

static void stop_receiving(struct http_conn *c)
{
    c->is_receiving = false;
    (void)uv_read_stop(&c->io.stream); /* cannot fail, says its documentation */
}

static void take_bytes(struct http_conn *c, struct span bytes)
{
    c->server->stats.in_bytes += bytes.len;
    if (c->phase == HTTP_LINGERING) {
        c->lingered_bytes += bytes.len;
        if (c->lingered_bytes > LINGER_BYTES)
            http_conn_close(c);
        return;
    }
    if (c->phase == HTTP_ENDING && c->reading == NULL)
        c->is_deaf = true; /* more than it announced */
    if (!http_read_take(c, bytes)) {
        http_conn_close(c);
        return;
    }
    /* Now, since libuv would read on up to 32 times: more than c->in may hold, or so much of one
     * body that others wait long for their turn. */
    c->turn_bytes += bytes.len;
    if (http_read_is_blocked(c) || (c->turn_bytes >= HTTP_TURN_BYTES && c->reading != NULL))
        stop_receiving(c);
    http_server_mark(c->server, c);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *bytes)
{
    struct http_conn *c = stream->data;

    if (n > 0) {
        take_bytes(c, span_of(bytes->base, (size_t)n));
    } else if (n == UV_EOF && c->phase != HTTP_LINGERING) {
        c->has_eof = true;
        http_server_mark(c->server, c);
    } else if (n < 0) {
        http_conn_close(c);
    }
}

static void set_receiving(struct http_conn *c, bool wanted)
{
    if (wanted == c->is_receiving)
        return;
    if (!wanted) {
        stop_receiving(c);
        return;
    }
    c->is_receiving = true;
    if (uv_read_start(&c->io.stream, on_alloc, on_read) != 0)
        http_conn_close(c);
}

static void give_up_reading(struct http_conn *c)
{
    struct http_exchange *x = c->reading;

    c->reading = NULL;
    http_conn_enter(c, HTTP_ENDING);
    c->exchange_count--;
    http_exchange_free(x);
}

/* The client has closed its side. What it sent before is answered if it is complete; the handler is
 * told, because most clients that do so have gone. */
static void settle_eof(struct http_conn *c)
{
    bool is_blocked = http_read_is_blocked(c);

    if (c->phase == HTTP_OPEN && !is_blocked)
        http_conn_enter(c, HTTP_ENDING); /* all complete requests are taken */
    if (c->reading != NULL && c->reading->is_given) {
        if (!is_blocked) {
            c->reading->is_broken = true;
            http_read_abandon(c);
        }
    } else if (c->reading != NULL && c->reading != c->held) {
        give_up_reading(c);
    }
    LIST_EACH_SAFE(node, &c->exchanges)
    {
        struct http_exchange *x = LIST_ENTRY(node, struct http_exchange, turn);

        if (x != c->reading) /* of that one, what has come is handed over first */
            tell_gone(x);
    }
}

/* Which wait is due on the receiving side. */
static enum http_wait wait_of(const struct http_conn *c)
{
    if (c->phase == HTTP_LINGERING)
        return HTTP_WAIT_LINGER;
    if (c->reading != NULL && c->is_receiving)
        return c->reading->head.len == 0 ? HTTP_WAIT_HEAD : HTTP_WAIT_BODY;
    return c->exchange_count == 0 ? HTTP_WAIT_IDLE : HTTP_WAIT_NONE;
}

/* What this connection waits for from now on. */
static void settle(struct http_conn *c)
{
    enum http_wait wait;

    if (c->has_eof)
        settle_eof(c);
    if (c->is_dropped || (c->phase == HTTP_ENDING && c->exchange_count == 0 && c->has_eof)) {
        http_conn_close(c);
        return;
    }
    if (c->phase == HTTP_ENDING && c->exchange_count == 0)
        linger(c);
    if (c->phase == HTTP_CLOSED)
        return;
    set_receiving(c, !c->has_eof && !c->is_deaf && !http_read_is_blocked(c));
    if (c->phase == HTTP_CLOSED)
        return;
    wait = wait_of(c);
    if (wait == HTTP_WAIT_NONE)
        http_deadline_clear(&c->read_due);
    else if (wait != c->read_due.wait)
        http_deadline_set(&c->server->deadlines, &c->read_due, wait, uv_now(c->server->loop));
}

/* ---- answering ---- */

void http_conn_take_answer(struct http_conn *c, struct http_exchange *x)
{
    if (x->is_given)
        c->open_count--;
    if (c->reading == x && x->is_given)
        http_read_abandon(c);
    x->counted_bytes = x->head_out.len + x->body_out.len;
    c->unsent_bytes += x->counted_bytes;
    http_server_mark(c->server, c);
}

void http_conn_take_drop(struct http_conn *c, struct http_exchange *x)
{
    if (x->is_given)
        c->open_count--;
    x->is_answered = true; /* completed: the close frees it */
    c->is_dropped = true;
    http_server_mark(c->server, c);
}

void http_conn_flush(struct http_conn *c)
{
    c->turn_bytes = 0;
    while (!c->is_writing && !c->is_dropped && http_write_ready(c))
        ;
    if (c->phase == HTTP_CLOSED)
        return;
    if (!c->is_writing)
        http_write_continue(c);
    if (c->phase == HTTP_CLOSED)
        return;
    http_read_begin_held(c);
    if (c->in.len > 0 && !http_read_take(c, span_of(NULL, 0))) {
        http_conn_close(c);
        return;
    }
    settle(c);
    if (c->is_writing || c->unsent_bytes > 0 || c->held_bytes > 0)
        count_held(c);
}

/* Whether the client has taken something since the last look; then it has its time anew. */
static bool has_read_on(struct http_conn *c)
{
    size_t queue_bytes = uv_stream_get_write_queue_size(&c->io.stream);

    if (!c->is_writing || queue_bytes >= c->queue_bytes)
        return false;
    c->queue_bytes = queue_bytes;
    http_deadline_set(&c->server->deadlines, &c->write_due, HTTP_WAIT_WRITE,
                      uv_now(c->server->loop));
    return true;
}

/* Whether it has sent more of its request instead: many clients read only behind its end, and how
 * long that may take is limited already. */
static bool has_sent_on(struct http_conn *c)
{
    if (c->body_bytes == c->sent_mark)
        return false;
    c->sent_mark = c->body_bytes;
    http_deadline_set(&c->server->deadlines, &c->write_due, HTTP_WAIT_WRITE,
                      uv_now(c->server->loop));
    return true;
}

static void cut_off(struct http_conn *c)
{
    c->server->stats.stalled++;
    http_conn_close(c);
}

void http_conn_shed(struct http_conn *c)
{
    list_remove(&c->laden);
    if (has_read_on(c))
        list_push_back(&c->server->laden, &c->laden);
    else
        cut_off(c);
}

void http_conn_expire(struct http_deadline *d, enum http_wait wait)
{
    struct http_conn *c;

    if (wait == HTTP_WAIT_WRITE) {
        c = JM_CONTAINER_OF(d, struct http_conn, write_due);
        if (!has_read_on(c) && !has_sent_on(c))
            cut_off(c);
        return;
    }
    c = JM_CONTAINER_OF(d, struct http_conn, read_due);
    if (wait != HTTP_WAIT_HEAD && wait != HTTP_WAIT_BODY) {
        http_conn_close(c);
        return;
    }
    c->server->stats.timeouts++;
    http_read_refuse(c, JM_ETIMEOUT,
                     wait == HTTP_WAIT_HEAD ? "the request head did not arrive in time"
                                            : "the request body did not arrive in time",
                     0);
}

/* ---- the beginning ---- */

static int init_stream(struct http_server *s, struct http_conn *c, bool is_pipe)
{
    return is_pipe ? uv_pipe_init(s->loop, &c->io.pipe, 0) : uv_tcp_init(s->loop, &c->io.tcp);
}

static struct http_conn *make(struct http_server *s, bool is_pipe)
{
    struct http_conn *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return NULL;
    c->server = s;
    list_init(&c->dirty);
    list_init(&c->laden);
    list_init(&c->exchanges);
    buf_init(&c->in, IN_BYTES);
    http_deadline_init(&c->read_due);
    http_deadline_init(&c->write_due);
    if (init_stream(s, c, is_pipe) != 0) {
        free(c);
        return NULL;
    }
    c->io.handle.data = c;
    list_push_back(&s->conns, &c->link);
    s->stats.connections++;
    return c;
}

/* Above the limit: the answer is an exchange as any other, without a request. */
static void reject(struct http_conn *c)
{
    c->server->stats.rejected++;
    c->reading =
        c->server->stats.connections <= c->server->conf.max_connections + c->server->max_overflow
            ? http_exchange_new(c)
            : NULL;
    if (c->reading == NULL)
        http_conn_close(c);
    else
        http_read_refuse(c, JM_EOVERLOAD, "the server has as many connections as it can hold",
                         c->server->conf.max_connections);
}

void http_conn_accept(struct http_server *s, struct http_listener *listener)
{
    struct http_conn *c = make(s, listener->is_pipe);

    listener->has_pending = c == NULL;
    if (c == NULL) {
        s->has_pending = true; /* libuv does not ask again by itself */
        return;
    }
    if (uv_accept(&listener->io.stream, &c->io.stream) != 0) {
        http_conn_close(c);
        return;
    }
    s->stats.accepted++;
    if (!listener->is_pipe)
        (void)uv_tcp_nodelay(&c->io.tcp, 1); /* only slower if it fails */
    if (s->is_stopping)
        http_conn_close(c);
    else if (s->stats.connections > s->conf.max_connections)
        reject(c);
    else
        http_server_mark(s, c);
}
