/*
 * http_server.c: listeners, the loop's hooks, the stop.
 *
 * Dirty connections are flushed behind the callbacks of a turn (check) and before the loop sleeps
 * (prepare); whoever marks one after that keeps the loop awake, so that no answer ever waits for
 * the next event.
 */
#include "broker/http_server.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "broker/http_conn.h"
#include "broker/http_listen.h"
#include "schema/errors.h"
#include "schema/limits.h"

enum { BACKLOG = 1024, TIMER_SLACK_MS = 20 };

/* ---- the turn ---- */

void http_server_mark(struct http_server *s, struct http_conn *c)
{
    if (!list_is_empty(&c->dirty) || c->phase == HTTP_CLOSED)
        return;
    list_push_back(&s->dirty, &c->dirty);
}

static void on_awake(uv_idle_t *idle)
{
    (void)idle; /* being active is all it is for */
}

static void on_timer(uv_timer_t *timer);

/* Sets the one timer for the next time limit of any connection, a little late so that many end at
 * once. */
static void set_timer(struct http_server *s)
{
    uint64_t due_ms = http_deadline_next(&s->deadlines), now_ms = uv_now(s->loop);
    int error;

    if (s->is_stopping && s->stop_due_ms < due_ms)
        due_ms = s->stop_due_ms;
    if (due_ms == HTTP_DEADLINE_NEVER || (s->timer_due_ms <= due_ms + TIMER_SLACK_MS))
        return;
    s->timer_due_ms = due_ms + TIMER_SLACK_MS;
    error = uv_timer_start(&s->timer, on_timer,
                           s->timer_due_ms > now_ms ? s->timer_due_ms - now_ms : 0, 0);
    assert(error == 0); /* fails only without a callback or on a closing handle */
    (void)error;
}

static void flush(struct http_server *s)
{
    struct list dirty;
    struct list *node;
    int error = 0;

    list_init(&dirty);
    list_splice_back(&dirty, &s->dirty);
    while ((node = list_pop_front(&dirty)) != NULL)
        http_conn_flush(LIST_ENTRY(node, struct http_conn, dirty));
    if (s->open_handles == 0 || uv_is_closing((uv_handle_t *)&s->awake))
        return;
    if (list_is_empty(&s->dirty))
        error = uv_idle_stop(&s->awake);
    else if (!uv_is_active((uv_handle_t *)&s->awake))
        error = uv_idle_start(&s->awake, on_awake);
    assert(error == 0);
    (void)error;
    set_timer(s);
}

static void on_prepare(uv_prepare_t *prepare)
{
    flush(prepare->data);
}

static void on_check(uv_check_t *check)
{
    flush(check->data);
}

static void cut_off(struct http_server *s)
{
    LIST_EACH_SAFE(node, &s->conns)
    http_conn_close(LIST_ENTRY(node, struct http_conn, link));
}

static void on_timer(uv_timer_t *timer)
{
    struct http_server *s = timer->data;
    struct http_deadline *due;
    enum http_wait wait;

    s->timer_due_ms = HTTP_DEADLINE_NEVER;
    while ((due = http_deadline_take_due(&s->deadlines, uv_now(s->loop), &wait)) != NULL)
        http_conn_expire(due, wait);
    if (s->is_stopping && s->stop_due_ms <= uv_now(s->loop)) {
        s->stop_due_ms = HTTP_DEADLINE_NEVER;
        cut_off(s);
    }
    set_timer(s);
}

const char *http_server_date(struct http_server *s)
{
    uint64_t now_ms = uv_now(s->loop);
    int64_t wall_ms;
    time_t seconds;
    struct tm utc;

    if (now_ms < s->date_until_ms)
        return s->date;
    wall_ms = clock_wall_ms(s->conf.clock);
    seconds = (time_t)(wall_ms / 1000);
    gmtime_r(&seconds, &utc);
    strftime(s->date, sizeof(s->date), "%a, %d %b %Y %H:%M:%S GMT",
             &utc); /* the C locale's names */
    s->date_until_ms = now_ms + 1000 - (uint64_t)(wall_ms % 1000);
    return s->date;
}

/* ---- open ---- */

static void set_defaults(struct http_conf *conf)
{
    struct http_conf d = {.max_connections = JM_CONNECTIONS,
                          .max_body_bytes = JM_BODY_BYTES,
                          .max_answer_bytes = 16 << 20,
                          .max_bodies_bytes = 256 << 20,
                          .max_outstanding = 32,
                          .head_ms = 10000,
                          .body_ms = 30000,
                          .idle_ms = 75000,
                          .write_ms = 30000,
                          .linger_ms = 2000};

#define DEFAULT(field)    \
    if (conf->field == 0) \
    conf->field = d.field
    DEFAULT(max_connections);
    DEFAULT(max_body_bytes);
    DEFAULT(max_answer_bytes);
    DEFAULT(max_bodies_bytes);
    DEFAULT(max_outstanding);
    DEFAULT(head_ms);
    DEFAULT(body_ms);
    DEFAULT(idle_ms);
    DEFAULT(write_ms);
    DEFAULT(linger_ms);
#undef DEFAULT
    if (conf->clock == NULL)
        conf->clock = clock_real();
}

static void set_limits(struct http_server *s)
{
    unsigned *limits = s->deadlines.limit_ms;

    http_deadline_init_all(&s->deadlines);
    limits[HTTP_WAIT_IDLE] = s->conf.idle_ms;
    limits[HTTP_WAIT_HEAD] = s->conf.head_ms;
    limits[HTTP_WAIT_BODY] = s->conf.body_ms;
    limits[HTTP_WAIT_WRITE] = s->conf.write_ms;
    limits[HTTP_WAIT_LINGER] = s->conf.linger_ms;
}

/* None of these inits can fail in libuv (they only fill the struct); their results are looked at
 * all the same. */
static int init_handles(struct http_server *s)
{
    if (uv_timer_init(s->loop, &s->timer) != 0 || uv_prepare_init(s->loop, &s->prepare) != 0 ||
        uv_check_init(s->loop, &s->check) != 0 || uv_idle_init(s->loop, &s->awake) != 0)
        return JM_EIO;
    s->timer.data = s->prepare.data = s->check.data = s->awake.data = s;
    return 0;
}

int http_server_open(uv_loop_t *loop, const struct http_conf *conf,
                     const struct http_handler *handler, struct http_server **ret_server)
{
    struct http_server *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return JM_ENOMEM;
    s->loop = loop;
    s->conf = *conf;
    s->handler = handler;
    s->timer_due_ms = HTTP_DEADLINE_NEVER;
    set_defaults(&s->conf);
    set_limits(s);
    list_init(&s->conns);
    list_init(&s->dirty);
    list_init(&s->pool);
    *ret_server = s;
    return 0;
}

/* The hooks start with the first listener, so that a server that never listened is only memory. */
static int start_hooks(struct http_server *s)
{
    if (s->open_handles > 0)
        return 0;
    if (init_handles(s) != 0)
        return JM_EIO;
    s->open_handles = 4;
    if (uv_prepare_start(&s->prepare, on_prepare) != 0 || uv_check_start(&s->check, on_check) != 0)
        return JM_EIO;
    return 0;
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct http_listener *listener = stream->data;

    if (status == 0) /* else out of descriptors: the client is refused by the kernel's backlog */
        http_conn_accept(listener->server, listener);
}

/* Starts a listener that http_listen.c has bound. */
static int start_listener(struct http_server *s, struct http_listener *listener,
                          struct http_reason *ret_reason)
{
    int error;

    listener->server = s;
    listener->io.handle.data = listener;
    s->listener_count++;
    s->open_listeners++;
    listener->is_open = true;
    error = uv_listen(&listener->io.stream, BACKLOG, on_connection);
    if (error != 0) {
        http_listen_explain(ret_reason, "the address", error);
        return JM_EIO;
    }
    if (s->address[0] == '\0')
        http_listen_name(listener, s->address, sizeof(s->address));
    return start_hooks(s);
}

int http_server_listen(struct http_server *s, const char *address, struct http_reason *ret_reason)
{
    struct http_listener *listener = &s->listeners[s->listener_count];
    int status;

    if (s->listener_count == HTTP_LISTENERS)
        return JM_ELIMIT;
    status = http_listen_bind(s->loop, address, listener, ret_reason);
    return status != 0 ? status : start_listener(s, listener, ret_reason);
}

int http_server_listen_inherited(struct http_server *s, unsigned *ret_count,
                                 struct http_reason *ret_reason)
{
    unsigned count = http_listen_inherited_count();

    for (unsigned i = 0; i < count; i++) {
        struct http_listener *listener = &s->listeners[s->listener_count];
        int status;

        if (s->listener_count == HTTP_LISTENERS)
            return JM_ELIMIT;
        status = http_listen_adopt(s->loop, (int)i, listener, ret_reason);
        if (status == 0)
            status = start_listener(s, listener, ret_reason);
        if (status != 0)
            return status;
    }
    *ret_count = count;
    return 0;
}

const char *http_server_address(const struct http_server *s)
{
    return s->address;
}

const struct http_stats *http_server_stats(const struct http_server *s)
{
    return &s->stats;
}

/* ---- stop ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct http_server *s = handle->data;

    if (--s->open_handles == 0)
        s->on_stopped(s->stop_owner);
}

static void close_hooks(struct http_server *s)
{
    uv_close((uv_handle_t *)&s->timer, on_handle_closed);
    uv_close((uv_handle_t *)&s->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&s->check, on_handle_closed);
    uv_close((uv_handle_t *)&s->awake, on_handle_closed);
}

void http_server_poke(struct http_server *s)
{
    if (!s->is_stopping || s->open_listeners > 0 || !list_is_empty(&s->conns) ||
        s->stats.outstanding > 0 || uv_is_closing((uv_handle_t *)&s->timer))
        return;
    close_hooks(s);
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct http_listener *listener = handle->data;

    http_listen_remove(listener);
    listener->server->open_listeners--;
    http_server_poke(listener->server);
}

void http_server_stop(struct http_server *s, unsigned deadline_ms,
                      void (*on_stopped)(void *stop_owner), void *stop_owner)
{
    s->is_stopping = true;
    s->on_stopped = on_stopped;
    s->stop_owner = stop_owner;
    s->stop_due_ms = uv_now(s->loop) + deadline_ms;
    for (unsigned i = 0; i < s->listener_count; i++) {
        if (!s->listeners[i].is_open)
            continue;
        s->listeners[i].is_open = false;
        uv_close(&s->listeners[i].io.handle, on_listener_closed);
    }
    LIST_EACH_SAFE(node, &s->conns)
    http_conn_end(LIST_ENTRY(node, struct http_conn, link));
    set_timer(s);
}

struct http_server *http_server_free(struct http_server *s)
{
    if (s == NULL)
        return NULL;
    assert(list_is_empty(&s->conns));
    http_exchange_free_pool(s);
    free(s);
    return NULL;
}
