/*
 * http_stream.c: an answer that goes out while it is made. The handler puts bytes into body_out and
 * says push; when the connection can write, that buffer changes places with stream_out, the piece
 * that is on its way, and becomes one chunk (RFC 9112 section 7.1). So nothing is copied, and the
 * handler may go on writing while libuv holds the piece.
 */
#include <assert.h>

#include "broker/http_conn.h"

static size_t unsent_bytes(const struct http_exchange *x)
{
    return x->body_out.len + x->head_out.len + x->stream_out.len - x->sent_bytes;
}

bool http_stream_is_blocked(const struct http_exchange *x)
{
    return x->is_paused ||
           (x->is_streamed && unsent_bytes(x) > x->server->conf.max_answer_bytes / 4 * 3);
}

static bool is_chunked(const struct http_exchange *x)
{
    return x->head.minor > 0;
}

static void swap_out(struct http_exchange *x)
{
    struct buf full = x->body_out;

    x->body_out = x->stream_out;
    x->stream_out = full;
}

static void load_chunk(struct http_exchange *x)
{
    if (x->method == HTTP_HEAD)
        buf_clear(&x->body_out);
    if (x->body_out.len == 0)
        return;
    if (is_chunked(x))
        buf_printf(&x->head_out, "%zx\r\n", x->body_out.len);
    swap_out(x);
    if (is_chunked(x))
        buf_put(&x->stream_out, "\r\n", 2);
}

/* A broken request's answer has no last chunk: that is how its end differs from a good one. */
static void load_last(struct http_exchange *x)
{
    x->has_last = true;
    if (is_chunked(x) && !x->is_broken && x->method != HTTP_HEAD)
        buf_put(&x->stream_out, "0\r\n\r\n", 5);
}

void http_stream_load(struct http_exchange *x)
{
    if (x->sent_bytes == x->head_out.len + x->stream_out.len) {
        buf_clear(&x->head_out);
        buf_clear(&x->stream_out);
        x->sent_bytes = 0;
    }
    if (x->stream_out.len > 0 || x->has_last)
        return; /* on its way still */
    if (buf_has_failed(&x->body_out) || buf_has_failed(&x->lines_out)) {
        x->conn->is_dropped = true; /* bytes of it are missing: no end may look like a good one */
        return;
    }
    load_chunk(x);
    if (x->is_answered)
        load_last(x);
    if (buf_has_failed(&x->head_out) || buf_has_failed(&x->stream_out))
        x->conn->is_dropped = true;
}

void http_exchange_begin(struct http_exchange *x, int status, const char *content_type)
{
    assert(!x->is_answered && !x->is_streamed);
    x->is_streamed = true;
    x->has_continue = false;
    if (x->conn == NULL)
        return;
    if (!is_chunked(x))
        x->closes = true;
    buf_clear(&x->body_out);
    http_exchange_put_head(x, status, content_type);
    http_server_mark(x->server, x->conn);
}

void http_exchange_push(struct http_exchange *x)
{
    assert(x->is_streamed);
    if (x->conn == NULL)
        buf_clear(&x->body_out);
    else
        http_server_mark(x->server, x->conn);
}

void http_exchange_finish(struct http_exchange *x)
{
    assert(x->is_streamed);
    if (!http_exchange_leave(x))
        return;
    x->server->stats.requests++;
    x->is_answered = true;
    http_conn_take_answer(x->conn, x);
}

void http_exchange_renew(struct http_exchange *x)
{
    if (x->conn == NULL || x->conn->reading != x)
        return;
    http_deadline_clear(&x->conn->read_due);
    http_server_mark(x->server, x->conn);
}

void http_exchange_resume(struct http_exchange *x)
{
    x->is_paused = false;
    if (x->conn != NULL)
        http_server_mark(x->server, x->conn);
}
