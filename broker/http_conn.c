/*
 * http_conn.c: one connection: its bytes in and out, its end.
 *
 * Callbacks of libuv and answers of the handler only record and mark the connection dirty; what
 * follows is decided in http_conn_flush, once per loop turn: begin what was held, read on in what
 * is here, write what is answered, receive or not, end or not.
 */
#include "broker/http_conn.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "schema/errors.h"

enum { KEEP_IN_BYTES = 4096, IN_BYTES = HTTP_HEAD_BYTES + 2 * HTTP_READ_BYTES };

static const char continue_line[] = "HTTP/1.1 100 Continue\r\n\r\n";

static uint64_t now_ms(const struct http_conn *c)
{
    return uv_now(c->server->loop);
}

/* ---- close ---- */

static void free_exchange(struct http_conn *c, struct http_exchange *x)
{
    c->exchange_count--;
    http_exchange_free(x);
}

static void on_closed(uv_handle_t *handle)
{
    struct http_conn *c = handle->data;
    struct http_server *s = c->server;

    while (!list_is_empty(&c->exchanges))
        free_exchange(c, LIST_ENTRY(c->exchanges.next, struct http_exchange, turn));
    buf_done(&c->in);
    list_remove(&c->link);
    s->stats.connections--;
    free(c);
    http_server_poke(s);
}

static void tell_gone(struct http_exchange *x)
{
    const struct http_handler *handler = x->server->handler;

    x->is_gone = true;
    if (x->is_told_gone || handler->on_gone == NULL)
        return;
    x->is_told_gone = true;
    handler->on_gone(handler->owner, x);
}

/* What the handler holds is let go; the rest stays until the handle is closed, since a write may
 * still point into it. */
void http_conn_close(struct http_conn *c)
{
    if (c->phase == HTTP_CLOSED)
        return;
    c->phase = HTTP_CLOSED;
    c->reading = NULL;
    c->held = NULL;
    http_deadline_clear(&c->read_due);
    http_deadline_clear(&c->write_due);
    list_remove(&c->dirty);
    LIST_EACH_SAFE(node, &c->exchanges)
    {
        struct http_exchange *x = LIST_ENTRY(node, struct http_exchange, turn);

        if (!x->is_given || x->is_answered)
            continue;
        list_remove(node);
        c->exchange_count--;
        x->conn = NULL;
        tell_gone(x);
    }
    uv_close(&c->io.handle, on_closed);
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    (void)req; /* the client sees our end; LINGERING waits for its own */
    (void)status;
}

/* The last answer is written. Closing at once would reset the connection if the client has sent
 * more, and could destroy that answer on its way; so our side is shut, and theirs is waited for. */
static void linger(struct http_conn *c)
{
    if (c->has_eof || uv_shutdown(&c->shutdown, &c->io.stream, on_shutdown) != 0) {
        http_conn_close(c);
        return;
    }
    c->phase = HTTP_LINGERING;
    http_deadline_clear(&c->write_due);
    http_deadline_set(&c->server->deadlines, &c->read_due, HTTP_WAIT_LINGER, now_ms(c));
}

void http_conn_end(struct http_conn *c)
{
    if (c->phase != HTTP_OPEN)
        return;
    if (c->exchange_count == 0) {
        http_conn_close(c);
        return;
    }
    c->phase = HTTP_ENDING;
    http_server_mark(c->server, c);
}

/* ---- answers ---- */

/* The exchange was completed while its request was still being read, or held. */
static void forget_reading(struct http_conn *c, struct http_exchange *x)
{
    if (c->reading == x) {
        c->reading = NULL;
        http_deadline_clear(&c->read_due);
    }
    if (x->is_given)
        c->open_count--;
}

void http_conn_take_answer(struct http_conn *c, struct http_exchange *x)
{
    forget_reading(c, x);
    c->unsent_bytes += x->head_out.len + x->body_out.len;
    if (x->closes && c->phase == HTTP_OPEN)
        c->phase = HTTP_ENDING;
    http_server_mark(c->server, c);
}

void http_conn_take_drop(struct http_conn *c, struct http_exchange *x)
{
    forget_reading(c, x);
    x->is_answered = true; /* out of the handler's hands */
    c->is_dropped = true;
    http_server_mark(c->server, c);
}

/* ---- writing ---- */

static size_t add_rest(uv_buf_t *pieces, size_t count, struct buf *bytes, size_t *skip)
{
    if (*skip >= bytes->len) {
        *skip -= bytes->len;
        return count;
    }
    pieces[count] = uv_buf_init((char *)bytes->data + *skip, (unsigned)(bytes->len - *skip));
    *skip = 0;
    return count + 1;
}

/* What is to be sent now, in the order of the requests, up to the first that is not answered. */
static size_t collect(struct http_conn *c, uv_buf_t *pieces)
{
    size_t count = 0;

    LIST_EACH(node, &c->exchanges)
    {
        struct http_exchange *x = LIST_ENTRY(node, struct http_exchange, turn);
        size_t skip = x->sent_bytes;

        if (!x->is_answered || count + 2 > HTTP_WRITE_PIECES)
            break;
        count = add_rest(pieces, count, &x->head_out, &skip);
        count = add_rest(pieces, count, &x->body_out, &skip);
    }
    return count;
}

/* `n` more bytes are with the kernel: exchanges that are sent to their end go. */
static void advance(struct http_conn *c, size_t n)
{
    c->unsent_bytes -= n;
    c->server->stats.out_bytes += n;
    while (!list_is_empty(&c->exchanges)) {
        struct http_exchange *x = LIST_ENTRY(c->exchanges.next, struct http_exchange, turn);
        size_t left = x->head_out.len + x->body_out.len - x->sent_bytes;

        if (!x->is_answered)
            return;
        if (n < left) {
            x->sent_bytes += n;
            return;
        }
        n -= left;
        free_exchange(c, x);
    }
}

static void on_written(uv_write_t *req, int status)
{
    struct http_conn *c = req->data;

    c->is_writing = false;
    http_deadline_clear(&c->write_due);
    if (c->phase == HTTP_CLOSED)
        return;
    if (status != 0) {
        http_conn_close(c);
        return;
    }
    advance(c, c->writing);
    http_server_mark(c->server, c);
}

/* What the kernel would not take at once. The client's reading has a time limit from now on. */
static bool write_rest(struct http_conn *c, uv_buf_t *pieces, size_t count)
{
    c->writing = 0;
    for (size_t i = 0; i < count; i++)
        c->writing += pieces[i].len;
    if (uv_write(&c->write, &c->io.stream, pieces, (unsigned)count, on_written) != 0)
        return false;
    c->is_writing = true;
    c->queue_bytes = uv_stream_get_write_queue_size(&c->io.stream);
    http_deadline_set(&c->server->deadlines, &c->write_due, HTTP_WAIT_WRITE, now_ms(c));
    return true;
}

static bool write_answers(struct http_conn *c)
{
    uv_buf_t pieces[HTTP_WRITE_PIECES];

    while (!c->is_writing) {
        size_t count = collect(c, pieces);
        int n;

        if (count == 0)
            return true;
        n = uv_try_write(&c->io.stream, pieces, (unsigned)count);
        if (n < 0 && n != UV_EAGAIN)
            return false;
        if (n > 0)
            advance(c, (size_t)n);
        if (n <= 0) {
            count = collect(c, pieces);
            return write_rest(c, pieces, count);
        }
    }
    return true;
}

/* The interim answer comes in its turn too: only when every earlier request is answered and sent.
 */
static bool write_continue(struct http_conn *c)
{
    uv_buf_t line = uv_buf_init((char *)(uintptr_t)continue_line, sizeof(continue_line) - 1);
    struct http_exchange *x = c->reading;

    if (x == NULL || !x->has_continue || c->is_writing || c->exchanges.next != &x->turn)
        return true;
    x->has_continue = false;
    return uv_try_write(&c->io.stream, &line, 1) == (int)line.len;
}

/* ---- receiving ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    struct http_conn *c = handle->data;

    (void)suggested;
    *ret_buf = uv_buf_init((char *)c->server->read_bytes, HTTP_READ_BYTES);
}

/* The client will send no more. It may have closed for good, or only its sending side. */
static void take_eof(struct http_conn *c)
{
    c->has_eof = true;
    if (c->phase == HTTP_LINGERING || c->exchange_count == 0 || c->reading != NULL) {
        http_conn_close(c);
        return;
    }
    c->phase = HTTP_ENDING;
    LIST_EACH_SAFE(node, &c->exchanges)
    {
        struct http_exchange *x = LIST_ENTRY(node, struct http_exchange, turn);

        if (x->is_given && !x->is_answered)
            tell_gone(x);
    }
    http_server_mark(c->server, c);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *bytes)
{
    struct http_conn *c = stream->data;

    if (n == 0)
        return; /* libuv's word for "try again" */
    if (n == UV_EOF) {
        (void)uv_read_stop(stream);
        c->is_receiving = false;
        take_eof(c);
        return;
    }
    if (n < 0) {
        http_conn_close(c);
        return;
    }
    c->server->stats.in_bytes += (size_t)n;
    if (c->phase == HTTP_LINGERING) {
        c->lingered_bytes += (size_t)n;
        if (c->lingered_bytes > HTTP_LINGER_BYTES)
            http_conn_close(c);
        return;
    }
    if (!http_read_take(c, span_of(bytes->base, (size_t)n)))
        http_conn_close(c);
    else
        http_server_mark(c->server, c);
}

/* One place decides whether to read more: not while requests wait that cannot be begun, nor past
 * the limits of what a client may have outstanding. */
static bool steer_receiving(struct http_conn *c)
{
    bool wants = !c->has_eof &&
                 (c->phase == HTTP_LINGERING || c->reading != NULL || !http_read_is_blocked(c));

    if (wants == c->is_receiving)
        return true;
    c->is_receiving = wants;
    if (!wants)
        return uv_read_stop(&c->io.stream) == 0;
    return uv_read_start(&c->io.stream, on_alloc, on_read) == 0;
}

static void steer_idle(struct http_conn *c)
{
    bool is_idle = c->exchange_count == 0 && c->phase == HTTP_OPEN;

    if (is_idle && c->read_due.wait != HTTP_WAIT_IDLE) {
        buf_shrink(&c->in, c->in.len > 0 ? SIZE_MAX : KEEP_IN_BYTES);
        http_deadline_set(&c->server->deadlines, &c->read_due, HTTP_WAIT_IDLE, now_ms(c));
    } else if (!is_idle && c->read_due.wait == HTTP_WAIT_IDLE) {
        http_deadline_clear(&c->read_due);
    }
}

/* ---- the turn ---- */

static bool read_on(struct http_conn *c)
{
    http_read_begin_held(c);
    return c->in.len == 0 || http_read_take(c, span_of(NULL, 0));
}

void http_conn_flush(struct http_conn *c)
{
    if (c->phase == HTTP_CLOSED)
        return;
    if (c->is_dropped || !read_on(c) || !write_answers(c) || !write_continue(c)) {
        http_conn_close(c);
        return;
    }
    if (c->phase == HTTP_ENDING && c->exchange_count == 0) {
        linger(c);
        if (c->phase == HTTP_CLOSED)
            return;
    }
    if (!steer_receiving(c)) {
        http_conn_close(c);
        return;
    }
    steer_idle(c);
    /* Room that this turn's writes have made for bytes that are here already. */
    if (c->in.len > 0 && c->phase == HTTP_OPEN && c->reading == NULL && !http_read_is_blocked(c))
        http_server_mark(c->server, c);
}

void http_conn_expire(struct http_deadline *d, enum http_wait wait)
{
    struct http_conn *c = wait == HTTP_WAIT_WRITE ? JM_CONTAINER_OF(d, struct http_conn, write_due)
                                                  : JM_CONTAINER_OF(d, struct http_conn, read_due);
    size_t queue_bytes = uv_stream_get_write_queue_size(&c->io.stream);

    switch (wait) {
    case HTTP_WAIT_HEAD:
    case HTTP_WAIT_BODY:
        c->server->stats.timeouts++;
        http_read_refuse(c, JM_ETIMEOUT,
                         wait == HTTP_WAIT_HEAD ? "the head did not arrive in time"
                                                : "the body did not arrive in time",
                         0);
        break;
    case HTTP_WAIT_WRITE:
        if (queue_bytes < c->queue_bytes) { /* slow, but it reads */
            c->queue_bytes = queue_bytes;
            http_deadline_set(&c->server->deadlines, d, HTTP_WAIT_WRITE, now_ms(c));
            break;
        }
        c->server->stats.stalled++;
        http_conn_close(c);
        break;
    default: /* idle, or lingered long enough */
        http_conn_close(c);
        break;
    }
}

/* ---- accept ---- */

static struct http_conn *conn_new(struct http_server *s)
{
    struct http_conn *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return NULL;
    c->server = s;
    list_init(&c->link);
    list_init(&c->dirty);
    list_init(&c->exchanges);
    buf_init(&c->in, IN_BYTES);
    http_deadline_init(&c->read_due);
    http_deadline_init(&c->write_due);
    c->write.data = c;
    return c;
}

static int init_stream(struct http_server *s, struct http_conn *c, bool is_pipe)
{
    int error = is_pipe ? uv_pipe_init(s->loop, &c->io.pipe, 0) : uv_tcp_init(s->loop, &c->io.tcp);

    c->io.handle.data = c;
    return error;
}

static void reject(struct http_conn *c)
{
    static const char answer[] =
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
        "Connection: close\r\nRetry-After: 1\r\nContent-Length: 137\r\n\r\n"
        "{\"type\":\"urn:jobmill:error:overloaded\",\"title\":\"The broker has more work than it "
        "can "
        "hold\",\"status\":503,\"code\":\"overloaded\",\"detail\":\"connections\"}";
    uv_buf_t piece = uv_buf_init((char *)(uintptr_t)answer, sizeof(answer) - 1);

    c->server->stats.rejected++;
    (void)uv_try_write(&c->io.stream, &piece, 1); /* it goes in any case */
    http_conn_close(c);
}

void http_conn_accept(struct http_server *s, struct http_listener *listener)
{
    struct http_conn *c = conn_new(s);

    if (c == NULL)
        return; /* libuv offers the connection again with the next one */
    if (init_stream(s, c, listener->is_pipe) != 0) {
        free(c);
        return;
    }
    list_push_back(&s->conns, &c->link);
    s->stats.connections++;
    if (uv_accept(&listener->io.stream, &c->io.stream) != 0) {
        http_conn_close(c);
        return;
    }
    s->stats.accepted++;
    if (s->stats.connections > s->conf.max_connections || s->is_stopping) {
        reject(c);
        return;
    }
    if (!listener->is_pipe)
        (void)uv_tcp_nodelay(&c->io.tcp, 1); /* without it only slower */
    http_server_mark(s, c);
}
