/*
 * http_write.c: answers on their way out: all whose turn has come with one call. A write is tried
 * at once; only what the socket does not take is left to uv_write, and nothing else is written
 * until that is done.
 */
#include "broker/http_conn.h"

#include "lib/crash.h"

enum { WRITE_PIECES = 64 }; /* in one writev(2) */

static const char continue_line[] = "HTTP/1.1 100 Continue\r\n\r\n";

static const struct buf *body_of(const struct http_exchange *x)
{
    return x->is_streamed ? &x->stream_out : &x->body_out;
}

static size_t left_of(const struct http_exchange *x)
{
    return x->head_out.len + body_of(x)->len - x->sent_bytes;
}

static bool is_ready(const struct http_exchange *x)
{
    if (x->is_streamed)
        return x->has_last || left_of(x) > 0;
    return x->is_answered && x->is_read;
}

/* Whether nothing will follow what can be written of it now. */
static bool is_whole(const struct http_exchange *x)
{
    return !x->is_streamed || x->has_last;
}

static void add_piece(uv_buf_t *pieces, unsigned *count, const struct buf *b, size_t skip)
{
    if (b->len > skip)
        pieces[(*count)++] = uv_buf_init((char *)b->data + skip, (unsigned)(b->len - skip));
}

/* The answers whose turn has come, as pieces. Returns their number. */
static unsigned gather(struct http_conn *c, uv_buf_t *pieces, unsigned *ret_exchanges)
{
    unsigned count = 0;

    *ret_exchanges = 0;
    LIST_EACH(node, &c->exchanges)
    {
        struct http_exchange *x = LIST_ENTRY(node, struct http_exchange, turn);
        size_t sent = x->sent_bytes;

        if (x->is_streamed) {
            http_stream_load(x);
            sent = x->sent_bytes;
        }
        if (!is_ready(x) || count + 2 > WRITE_PIECES)
            break;
        add_piece(pieces, &count, &x->head_out, sent);
        add_piece(pieces, &count, body_of(x), sent > x->head_out.len ? sent - x->head_out.len : 0);
        (*ret_exchanges)++;
        if (!is_whole(x))
            break;
    }
    return count;
}

/* The answer of x is out. */
static void finish(struct http_conn *c, struct http_exchange *x)
{
    bool closes = x->closes;

    c->unsent_bytes -= x->counted_bytes;
    c->exchange_count--;
    http_exchange_free(x);
    http_deadline_clear(&c->read_due); /* idleness counts from here */
    if (closes && c->phase == HTTP_OPEN)
        http_conn_enter(c, HTTP_ENDING);
}

/* `sent` bytes of the front answers are out; frees those that are complete. Returns whether all
 * `exchanges` are. */
static bool settle_sent(struct http_conn *c, size_t sent, unsigned exchanges)
{
    c->server->stats.out_bytes += sent;
    while (exchanges > 0) {
        struct http_exchange *x = LIST_ENTRY(c->exchanges.next, struct http_exchange, turn);
        size_t left = left_of(x);

        if (sent < left) {
            x->sent_bytes += sent;
            return false;
        }
        sent -= left;
        exchanges--;
        if (is_whole(x))
            finish(c, x);
        else
            x->sent_bytes += left; /* more of a streamed answer will come */
    }
    return true;
}

static void on_written(uv_write_t *req, int status)
{
    struct http_conn *c = req->data;

    c->is_writing = false;
    if (c->phase == HTTP_CLOSED)
        return;
    http_deadline_clear(&c->write_due);
    if (status != 0) {
        http_conn_close(c);
        return;
    }
    (void)settle_sent(c, c->writing_bytes, c->writing);
    c->writing = 0;
    if (c->held_bytes > 0) {
        list_remove(&c->laden); /* the client reads */
        list_push_back(&c->server->laden, &c->laden);
    }
    http_server_mark(c->server, c);
}

/* The socket is full: libuv writes the rest when the client reads on. */
static void write_rest(struct http_conn *c)
{
    uv_buf_t pieces[WRITE_PIECES];
    unsigned count = gather(c, pieces, &c->writing);

    c->writing_bytes = 0;
    for (unsigned i = 0; i < count; i++)
        c->writing_bytes += pieces[i].len;
    c->write.data = c;
    if (uv_write(&c->write, &c->io.stream, pieces, count, on_written) != 0) {
        http_conn_close(c);
        return;
    }
    c->is_writing = true;
    c->queue_bytes = uv_stream_get_write_queue_size(&c->io.stream);
    c->sent_mark = c->body_bytes;
    http_deadline_set(&c->server->deadlines, &c->write_due, HTTP_WAIT_WRITE,
                      uv_now(c->server->loop));
}

bool http_write_ready(struct http_conn *c)
{
    uv_buf_t pieces[WRITE_PIECES];
    unsigned exchanges;
    unsigned count = gather(c, pieces, &exchanges);
    int sent = 0;

    if (exchanges == 0)
        return false;
    CRASH_POINT("before-answer");
    if (count > 0) /* else it is the end of an answer that needs no bytes */
        sent = uv_try_write(&c->io.stream, pieces, count);
    if (sent < 0 && sent != UV_EAGAIN) {
        http_conn_close(c);
        return false;
    }
    CRASH_POINT("after-answer");
    if (settle_sent(c, sent > 0 ? (size_t)sent : 0, exchanges))
        return true;
    write_rest(c);
    return false;
}

/* It is 25 bytes into an empty socket buffer; a client that leaves no room for them is not worth a
 * state of its own. */
void http_write_continue(struct http_conn *c)
{
    struct http_exchange *x = c->reading;
    uv_buf_t piece = uv_buf_init((char *)continue_line, sizeof(continue_line) - 1);

    if (x == NULL || !x->has_continue || c->exchanges.next != &x->turn ||
        (x->ruling.streams && !x->is_given))
        return;
    x->has_continue = false;
    if (uv_try_write(&c->io.stream, &piece, 1) != (int)piece.len)
        http_conn_close(c);
}
