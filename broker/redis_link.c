/*
 * redis_link.c: hiredis' asynchronous context on the loop.
 *
 * What is sent in a turn is written at its end, by redis_link_flush, in one go; the loop is asked
 * to tell of a socket that takes more only while connecting, and behind a write that it did not
 * take whole. So a command costs no change of what the loop waits for, of which the adapter that
 * comes with hiredis makes five, and another round of the loop before the write.
 *
 *     (pause) ──timer──▶ connecting ──▶ up ──break──▶ (pause)
 *        ▲                   │ refused, or CONNECT_MS over
 *        └───────────────────┘
 *
 * hiredis frees its context by itself on every error, behind the callbacks of all open commands; so
 * `ac` is forgotten in the callbacks below and never freed twice.
 */
#include "broker/redis_link.h"

#include <assert.h>
#include <errno.h>
#include <hiredis/async.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/redis_bound.h"
#include "lib/attr.h"
#include "lib/log.h"
#include "schema/errors.h"

enum { FIRST_PAUSE_MS = 20, LAST_PAUSE_MS = 1000, CONNECT_MS = 5000 };

static void try_connect(struct redis_link *l);

/* The watch on one connection's descriptor; outlives it until libuv has closed the handle. */
struct redis_poll {
    uv_poll_t poll;
    struct redis_link *link;
    redisAsyncContext *ac; /* NULL once hiredis has let go of it */
    struct redis_bound *bound;
    int events;
};

int redis_address_parse(const char *text, struct redis_address *ret_address)
{
    struct redis_address address = {0};
    const char *colon;
    char *end;
    long port;

    if (strncmp(text, "unix:", 5) == 0) {
        if (text[5] == '\0' || strlen(text + 5) >= sizeof(address.path))
            return JM_EINVAL;
        strcpy(address.path, text + 5);
        *ret_address = address;
        return 0;
    }
    colon = strrchr(text, ':');
    if (colon == NULL || colon == text || (size_t)(colon - text) >= sizeof(address.host))
        return JM_EINVAL;
    errno = 0;
    port = strtol(colon + 1, &end, 10);
    if (errno != 0 || *end != '\0' || port < 1 || port > 65535)
        return JM_EINVAL;
    memcpy(address.host, text, (size_t)(colon - text));
    address.port = (int)port;
    *ret_address = address;
    return 0;
}

static void on_timer(uv_timer_t *timer)
{
    struct redis_link *l = timer->data;

    if (l->ac == NULL)
        try_connect(l);
    else
        redis_link_break(l, "no connection in time");
}

static void arm(struct redis_link *l, uint64_t in_ms)
{
    int error = uv_timer_start(&l->timer, on_timer, in_ms, 0);

    assert(error == 0); /* fails only without a callback or on a closing handle */
    (void)error;
}

static void pause_then_retry(struct redis_link *l)
{
    if (l->is_closing)
        return;
    arm(l, l->pause_ms);
    l->pause_ms = l->pause_ms * 2 < LAST_PAUSE_MS ? l->pause_ms * 2 : LAST_PAUSE_MS;
}

static void note_failure(struct redis_link *l, const char *why)
{
    l->ac = NULL;
    if (!l->was_told && !l->is_closing)
        log_warn("Redis (%s) cannot be reached: %s; it is tried again until it can", l->purpose,
                 why);
    l->was_told = true;
    pause_then_retry(l);
}

static void on_connected(const redisAsyncContext *ac, int status)
{
    struct redis_link *l = ac->data;

    if (status != REDIS_OK) {
        note_failure(l, ac->c.errstr[0] != '\0' ? ac->c.errstr : "connection refused");
        return;
    }
    if (l->was_told)
        log_info("Redis (%s) is reached again", l->purpose);
    l->was_told = false;
    l->is_up = true;
    l->pause_ms = FIRST_PAUSE_MS;
    uv_timer_stop(&l->timer);
    l->on_up(l);
}

static void on_disconnected(const redisAsyncContext *ac, int status)
{
    struct redis_link *l = ac->data;

    l->ac = NULL;
    l->is_up = false;
    if (status != REDIS_OK && !l->is_closing)
        log_warn("the link to Redis (%s) broke: %s", l->purpose, ac->c.errstr);
    l->on_down(l);
    pause_then_retry(l);
}

/* ---- what hiredis asks of the loop ---- */

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct redis_poll *p = JM_CONTAINER_OF(poll, struct redis_poll, poll);

    /* An error of the poll shows itself to hiredis in the read. */
    if (p->ac != NULL && (status != 0 || (events & UV_READABLE)))
        redisAsyncHandleRead(p->ac);
    if (p->ac != NULL && (events & UV_WRITABLE))
        redisAsyncHandleWrite(p->ac);
}

static void set_events(struct redis_poll *p, int events)
{
    if (events == p->events)
        return;
    p->events = events;
    if (events == 0)
        (void)uv_poll_stop(&p->poll); /* always returns 0 */
    else if (uv_poll_start(&p->poll, events, on_poll) != 0)
        p->events = 0; /* no memory: the limit of a connection or of an answer ends it */
}

static void add_read(void *data)
{
    struct redis_poll *p = data;

    set_events(p, p->events | UV_READABLE);
}

static void del_read(void *data)
{
    struct redis_poll *p = data;

    set_events(p, p->events & ~UV_READABLE);
}

static void add_write(void *data)
{
    struct redis_poll *p = data;

    p->link->wants_flush = true;
    if (!p->link->is_up || p->link->is_flushing)
        set_events(p, p->events | UV_WRITABLE);
}

static void del_write(void *data)
{
    struct redis_poll *p = data;

    p->link->wants_flush = false;
    set_events(p, p->events & ~UV_WRITABLE);
}

static void free_poll(struct redis_poll *p)
{
    if (p != NULL)
        redis_bound_free(p->bound);
    free(p);
}

static void on_poll_closed(uv_handle_t *handle)
{
    free_poll(JM_CONTAINER_OF((uv_poll_t *)handle, struct redis_poll, poll));
}

static void clean_up(void *data)
{
    struct redis_poll *p = data;

    p->ac = NULL;
    uv_close((uv_handle_t *)&p->poll, on_poll_closed);
}

static int attach(struct redis_link *l, redisAsyncContext *ac)
{
    struct redis_poll *p = calloc(1, sizeof(*p));

    if (p != NULL)
        p->bound = redis_bound_new(ac);
    if (p == NULL || p->bound == NULL || uv_poll_init(l->loop, &p->poll, ac->c.fd) != 0) {
        free_poll(p);
        return JM_ENOMEM;
    }
    p->link = l;
    p->ac = ac;
    l->wants_flush = false;
    ac->ev.data = p;
    ac->ev.addRead = add_read;
    ac->ev.delRead = del_read;
    ac->ev.addWrite = add_write;
    ac->ev.delWrite = del_write;
    ac->ev.cleanup = clean_up;
    return 0;
}

void redis_link_bound(struct redis_link *l, const void *data, size_t max_bytes)
{
    struct redis_poll *p = l->ac != NULL ? l->ac->ev.data : NULL;

    if (p != NULL)
        redis_bound_set(p->bound, data, max_bytes);
}

void redis_link_flush(struct redis_link *l)
{
    if (!l->wants_flush || !l->is_up || l->ac == NULL)
        return;
    l->is_flushing = true;
    redisAsyncHandleWrite(l->ac);
    l->is_flushing = false;
}

/* ---- connecting ---- */

static redisAsyncContext *connect_to(const struct redis_address *address)
{
    if (address->path[0] != '\0')
        return redisAsyncConnectUnix(address->path);
    return redisAsyncConnect(address->host, address->port);
}

static void try_connect(struct redis_link *l)
{
    redisAsyncContext *ac = connect_to(l->address);

    if (ac == NULL) {
        note_failure(l, "out of memory");
        return;
    }
    ac->data = l;
    if (ac->err != 0 || attach(l, ac) != 0) {
        note_failure(l, ac->err != 0 ? ac->c.errstr : "out of memory");
        redisAsyncFree(ac);
        return;
    }
    l->ac = ac;
    redisAsyncSetConnectCallback(ac, on_connected);
    redisAsyncSetDisconnectCallback(ac, on_disconnected);
    arm(l, CONNECT_MS);
}

int redis_link_init(struct redis_link *l, uv_loop_t *loop, const struct redis_address *address)
{
    l->loop = loop;
    l->address = address;
    l->pause_ms = FIRST_PAUSE_MS;
    if (uv_timer_init(loop, &l->timer) != 0)
        return JM_ENOMEM;
    l->timer.data = l;
    return 0;
}

void redis_link_start(struct redis_link *l)
{
    try_connect(l);
}

/* hiredis 0.14 sends a command for whose callback there was no memory, and would give its answer to
 * the next one. A connection with an error neither writes nor reads: it breaks in its next turn,
 * and the command is surely not sent. */
static bool has_callback(redisAsyncContext *ac, const redisCallback *last)
{
    if (ac->replies.tail != last)
        return true;
    ac->c.err = REDIS_ERR_OOM;
    snprintf(ac->c.errstr, sizeof(ac->c.errstr), "out of memory");
    return false;
}

int redis_link_send(struct redis_link *l, redis_reply_cb on_reply, void *data, size_t argc,
                    const char **argv, const size_t *argv_len)
{
    const redisCallback *last;

    if (!l->is_up || l->ac == NULL || l->ac->c.err != 0)
        return JM_ECARRIER;
    last = l->ac->replies.tail;
    if (redisAsyncCommandArgv(l->ac, on_reply, data, (int)argc, argv, argv_len) != REDIS_OK)
        return JM_ECARRIER;
    return has_callback(l->ac, last) ? 0 : JM_ECARRIER;
}

/* redisAsyncFree calls the callbacks of open commands with NULL, then on_disconnected if it had
 * been connected. A try that was still connecting only goes. */
void redis_link_break(struct redis_link *l, const char *why)
{
    redisAsyncContext *ac = l->ac;
    bool was_up = l->is_up;

    if (ac == NULL)
        return;
    if (!l->is_closing && why != NULL)
        log_warn("the link to Redis (%s) is given up: %s", l->purpose, why);
    l->is_up = false;
    redisAsyncFree(ac);
    if (!was_up) {
        l->ac = NULL;
        pause_then_retry(l);
    }
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct redis_link *l = handle->data;

    l->on_closed(l);
}

void redis_link_close(struct redis_link *l)
{
    l->is_closing = true;
    redis_link_break(l, "the broker ends");
    uv_close((uv_handle_t *)&l->timer, on_timer_closed);
}
