/*
 * http_fixture.h: a real HTTP server on a unix socket in a directory of its own, a tiny handler,
 * and clients on plain sockets. All in one thread: whoever waits for something turns the loop and
 * polls its sockets until it is there or a deadline is over.
 */
#ifndef TESTS_UNIT_HTTP_FIXTURE_H
#define TESTS_UNIT_HTTP_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "broker/http_server.h"
#include "lib/clock.h"
#include "schema/errors.h"

enum { DEADLINE_MS = 10000, BIG_BYTES = 4 << 20 };

struct fixture {
    uv_loop_t loop;
    char dir[64];
    char address[80];
    struct http_handler handler;
    struct http_server *server;
    struct list holding; /* exchanges by link, in the order in which they were given */
    unsigned given;
    unsigned gone;
    bool keeps_gone; /* on_gone leaves the exchange alone, else drops it */
    bool is_stopped;
};

struct client {
    struct fixture *f;
    int fd;
    struct buf got;
    bool has_end;
    bool is_reset;
};

/* ---- the handler: what it does is in the path ---- */

static inline bool path_starts(const struct http_exchange *x, const char *text)
{
    return x->path.len >= strlen(text) && memcmp(x->path.data, text, strlen(text)) == 0;
}

static inline void fixture_on_head(void *owner, struct http_exchange *x, struct http_ruling *ruling)
{
    (void)owner;
    if (path_starts(x, "/read"))
        ruling->overlap = HTTP_READS;
    if (path_starts(x, "/submit"))
        ruling->overlap = HTTP_SUBMITS;
    if (path_starts(x, "/none"))
        ruling->max_body_bytes = 0;
    if (path_starts(x, "/small"))
        ruling->max_body_bytes = 10;
    ruling->needs_body = path_starts(x, "/needs");
    if (path_starts(x, "/refuse"))
        http_exchange_answer_error(x, JM_EMEDIATYPE, "not %s", "that");
    else if (path_starts(x, "/headdrop"))
        http_exchange_drop(x);
}

static inline void answer_text(struct http_exchange *x, const char *text)
{
    buf_put_str(&x->body_out, text);
    http_exchange_answer(x, 200, "text/plain");
}

static inline void answer_big(struct http_exchange *x)
{
    uint8_t *room = buf_reserve(&x->body_out, BIG_BYTES);

    assert_non_null(room);
    memset(room, 'b', BIG_BYTES);
    buf_advance(&x->body_out, BIG_BYTES);
    http_exchange_answer(x, 200, "text/plain");
}

static inline void fixture_on_request(void *owner, struct http_exchange *x)
{
    struct fixture *f = owner;

    f->given++;
    if (path_starts(x, "/ping")) {
        answer_text(x, "pong");
    } else if (path_starts(x, "/big")) {
        answer_big(x);
    } else if (path_starts(x, "/drop")) {
        http_exchange_drop(x);
    } else if (path_starts(x, "/fail")) {
        (void)buf_reserve(&x->body_out, SIZE_MAX / 2);
        http_exchange_answer(x, 200, "text/plain");
    } else if (path_starts(x, "/empty")) {
        http_exchange_add_header(x, "Location", span_of_str("/a\r\nX: y"));
        http_exchange_answer(x, 204, NULL);
    } else if (path_starts(x, "/hold") || path_starts(x, "/read") || path_starts(x, "/submit")) {
        list_push_back(&f->holding, &x->link);
    } else {
        buf_put_span(&x->body_out, x->body);
        http_exchange_answer(x, 200, "text/plain");
    }
}

static inline void fixture_on_gone(void *owner, struct http_exchange *x)
{
    struct fixture *f = owner;

    assert_true(x->is_gone);
    f->gone++;
    if (f->keeps_gone)
        return;
    list_remove(&x->link);
    http_exchange_drop(x);
}

/* Answers the held exchange whose path ends with `mark` with that mark. */
static inline void release(struct fixture *f, char mark)
{
    LIST_EACH_SAFE(node, &f->holding)
    {
        struct http_exchange *x = LIST_ENTRY(node, struct http_exchange, link);
        char text[2] = {mark, '\0'};

        if (x->path.data[x->path.len - 1] != (uint8_t)mark)
            continue;
        list_remove(&x->link);
        answer_text(x, text);
        return;
    }
    fail_msg("no exchange %c is held", mark);
}

/* Which exchanges the handler holds, by the last byte of their paths. */
static inline void assert_held(struct fixture *f, const char *marks)
{
    char held[65] = "";
    size_t n = 0;

    LIST_EACH(node, &f->holding)
    {
        struct http_exchange *x = LIST_ENTRY(node, struct http_exchange, link);

        assert_true(n < 64);
        held[n++] = (char)x->path.data[x->path.len - 1];
        held[n] = '\0';
    }
    assert_string_equal(held, marks);
}

/* ---- the server ---- */

static inline struct fixture *fixture_open(const struct http_conf *conf)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct http_reason reason = {{0}};

    assert_non_null(f);
    snprintf(f->dir, sizeof(f->dir), "/tmp/jm-http-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->address, sizeof(f->address), "unix:%s/s", f->dir);
    list_init(&f->holding);
    f->handler = (struct http_handler){.owner = f,
                                       .on_head = fixture_on_head,
                                       .on_request = fixture_on_request,
                                       .on_gone = fixture_on_gone};
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(http_server_open(&f->loop, conf, &f->handler, &f->server), 0);
    if (http_server_listen(f->server, f->address, &reason) != 0)
        fail_msg("%s", reason.text);
    return f;
}

static inline void fixture_on_stopped(void *owner)
{
    struct fixture *f = owner;

    assert_false(f->is_stopped);
    f->is_stopped = true;
}

/* One turn of the loop; waits for at most 50 ms for it or for `fd` (-1: none). */
static inline void fixture_turn(struct fixture *f, int fd)
{
    struct pollfd fds[2] = {{.fd = uv_backend_fd(&f->loop), .events = POLLIN},
                            {.fd = fd, .events = POLLIN}};
    int timeout_ms;

    uv_run(&f->loop, UV_RUN_NOWAIT);
    timeout_ms = uv_backend_timeout(&f->loop);
    if (timeout_ms < 0 || timeout_ms > 50)
        timeout_ms = 50;
    assert_true(poll(fds, fd >= 0 ? 2 : 1, timeout_ms) >= 0 || errno == EINTR);
}

/* Lets the server do all that it can do now. */
static inline void fixture_settle(struct fixture *f)
{
    for (int i = 0; i < 20; i++)
        uv_run(&f->loop, UV_RUN_NOWAIT);
}

/* Turns the loop until `condition` holds, or fails. */
#define WAIT_FOR(f, condition)                                         \
    do {                                                               \
        uint64_t until_ms = clock_mono_ms(clock_real()) + DEADLINE_MS; \
        while (!(condition)) {                                         \
            if (clock_mono_ms(clock_real()) > until_ms)                \
                fail_msg("waited in vain for: " #condition);           \
            fixture_turn(f, -1);                                       \
        }                                                              \
    } while (0)

static inline void fixture_stop(struct fixture *f, unsigned deadline_ms)
{
    http_server_stop(f->server, deadline_ms, fixture_on_stopped, f);
    assert_false(f->is_stopped); /* never from inside the call */
}

/* Every test ends here: nothing is held, nothing leaks, no handle is open. */
static inline void fixture_close(struct fixture *f)
{
    char path[80];

    if (http_server_stats(f->server)->outstanding == 0 && !f->is_stopped)
        fixture_stop(f, 1000);
    WAIT_FOR(f, f->is_stopped);
    assert_int_equal(http_server_stats(f->server)->connections, 0);
    assert_int_equal(http_server_stats(f->server)->outstanding, 0);
    assert_null(http_server_free(f->server));
    assert_int_equal(uv_loop_close(&f->loop), 0);
    snprintf(path, sizeof(path), "%s/s", f->dir);
    assert_int_equal(access(path, F_OK), -1); /* the socket file is removed */
    assert_int_equal(rmdir(f->dir), 0);
    free(f);
}

/* ---- clients ---- */

static inline void client_open(struct client *c, struct fixture *f)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    *c = (struct client){.f = f};
    buf_init(&c->got, 64 << 20);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", f->address + 5);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(c->fd >= 0);
    assert_int_equal(connect(c->fd, (struct sockaddr *)&address, sizeof(address)), 0);
}

static inline void client_close(struct client *c)
{
    close(c->fd);
    buf_done(&c->got);
}

/* Reads once. False if there was nothing to read. */
static inline bool client_sip(struct client *c)
{
    uint8_t bytes[65536];
    ssize_t n = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

    if (n > 0)
        buf_put(&c->got, bytes, (size_t)n);
    c->has_end = c->has_end || n == 0;
    c->is_reset = c->is_reset || (n < 0 && errno != EAGAIN);
    return n > 0;
}

static inline void client_drain(struct client *c)
{
    while (client_sip(c))
        ;
}

static inline void client_send_bytes(struct client *c, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    uint64_t until_ms = clock_mono_ms(clock_real()) + DEADLINE_MS;

    while (len > 0) {
        ssize_t n = send(c->fd, at, len, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n > 0) {
            at += n;
            len -= (size_t)n;
            continue;
        }
        if (n < 0 && errno != EAGAIN)
            return; /* the server has closed: the test looks at what it said */
        if (clock_mono_ms(clock_real()) > until_ms)
            fail_msg("the server does not read");
        fixture_turn(c->f, -1);
    }
}

static inline void client_send(struct client *c, const char *text)
{
    client_send_bytes(c, text, strlen(text));
}

/* Sends and lets the server work on it. */
static inline void client_say(struct client *c, const char *text)
{
    client_send(c, text);
    fixture_settle(c->f);
}

/* Removes each Date line, whose value nobody can know. */
static inline void strip_dates(struct buf *got)
{
    uint8_t *line;

    while (got->len > 0 && (line = memmem(got->data, got->len, "Date: ", 6)) != NULL) {
        size_t at = (size_t)(line - got->data);
        uint8_t *end = memchr(line, '\n', got->len - at);

        if (end == NULL)
            return;
        memmove(line, end + 1, got->len - (size_t)(end + 1 - got->data));
        got->len -= (size_t)(end + 1 - line);
    }
}

/* Waits until the client has got exactly `text` (but for the Date lines), and forgets it. */
static inline void client_hears(struct client *c, const char *text)
{
    uint64_t until_ms = clock_mono_ms(clock_real()) + DEADLINE_MS;

    for (;;) {
        client_drain(c);
        strip_dates(&c->got);
        if (span_is_equal(buf_span(&c->got), span_of_str(text)))
            break;
        if (c->has_end || c->is_reset || clock_mono_ms(clock_real()) > until_ms) {
            buf_put_u8(&c->got, 0);
            fail_msg("expected:\n%s\ngot (end %d, reset %d):\n%s", text, c->has_end, c->is_reset,
                     (char *)c->got.data);
        }
        fixture_turn(c->f, c->fd);
    }
    buf_clear(&c->got);
}

/* Nothing has come, though the server had time to write. */
static inline void client_hears_nothing(struct client *c)
{
    fixture_settle(c->f);
    client_drain(c);
    assert_int_equal(c->got.len, 0);
    assert_false(c->has_end);
}

/* The server closes, in order, and says nothing more. */
static inline void client_hears_end(struct client *c)
{
    uint64_t until_ms = clock_mono_ms(clock_real()) + DEADLINE_MS;

    while (!c->has_end) {
        client_drain(c);
        assert_false(c->is_reset);
        if (c->got.len > 0)
            fail_msg("more than an end: %.*s", (int)c->got.len, (char *)c->got.data);
        if (clock_mono_ms(clock_real()) > until_ms)
            fail_msg("the server does not close");
        if (!c->has_end)
            fixture_turn(c->f, c->fd);
    }
}

/* Waits for a problem with that status and code whose text holds `words`, and for the end. */
static inline void client_hears_problem(struct client *c, int status, const char *code,
                                        const char *words)
{
    uint64_t until_ms = clock_mono_ms(clock_real()) + DEADLINE_MS;
    char start[64];
    char member[80];
    char *text;

    while (!c->has_end && !c->is_reset) {
        if (clock_mono_ms(clock_real()) > until_ms)
            fail_msg("the server does not close");
        client_drain(c);
        if (!c->has_end && !c->is_reset)
            fixture_turn(c->f, c->fd);
    }
    assert_false(c->is_reset);
    buf_put_u8(&c->got, 0);
    text = (char *)c->got.data;
    snprintf(start, sizeof(start), "HTTP/1.1 %d ", status);
    snprintf(member, sizeof(member), "\"code\":\"%s\"", code);
    if (strncmp(text, start, strlen(start)) != 0 || strstr(text, member) == NULL ||
        strstr(text, words) == NULL || strstr(text, "application/problem+json") == NULL ||
        strstr(text, "\r\nConnection: close\r\n") == NULL)
        fail_msg("not %s with %s and '%s':\n%s", start, member, words, text);
    buf_clear(&c->got);
}

#endif
