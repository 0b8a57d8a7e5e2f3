/*
 * http_server.c: the listeners, the turn of the loop, the timer, and the stop.
 *
 * In each turn the poll phase brings bytes and answers, which mark connections. The check handle
 * behind it, and the prepare handle before the next poll (for what timers and closing handles have
 * brought), serve all that are marked. So a connection has its answers of one turn in one write.
 * One timer is armed for the earliest time limit of all connections; it is moved only when that one
 * is earlier than what it is armed for, which on a busy server is seldom. Whose time is over is
 * decided behind the poll phase: a process that stood still (a stopped one, a suspended machine) is
 * to read what came in time before it says that nothing came.
 */
#include "broker/http_server.h"

#include <assert.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "broker/http_conn.h"
#include "broker/http_listen.h"
#include "schema/errors.h"
#include "schema/limits.h"

enum {
    BACKLOG = 4096,             /* the kernel's own limit; a burst of 10,000 clients comes close */
    OTHER_FILES = 128,          /* descriptors of the process that are no connections */
    OVERFLOW_CONNECTIONS = 128, /* above the limit, that are told so */
    TIMER_STEP_MS = 5,          /* the timer is not armed for less */
    GIVE_BACK_BYTES = 64 << 20,
    GIVE_BACK_FIRST_MS = 1000,
    GIVE_BACK_LAST_MS = 16000,
};

void http_server_mark(struct http_server *s, struct http_conn *c)
{
    if (c->phase != HTTP_CLOSED && list_is_empty(&c->dirty))
        list_push_back(&s->dirty, &c->dirty);
}

const char *http_server_date(struct http_server *s)
{
    int64_t wall_ms;
    time_t seconds;
    struct tm utc;

    if (uv_now(s->loop) < s->date_until_ms)
        return s->date;
    wall_ms = clock_wall_ms(s->conf.clock);
    seconds = (time_t)(wall_ms / 1000);
    gmtime_r(&seconds, &utc);
    /* The C locale's names are the ones that RFC 9110 section 5.6.7 wants; nobody sets another. */
    strftime(s->date, sizeof(s->date), "%a, %d %b %Y %H:%M:%S GMT", &utc);
    s->date_until_ms = uv_now(s->loop) + (uint64_t)(1000 - wall_ms % 1000);
    return s->date;
}

/* ---- time limits ---- */

static void close_all(struct http_server *s)
{
    LIST_EACH_SAFE(node, &s->conns)
    http_conn_close(LIST_ENTRY(node, struct http_conn, link));
}

/* Not once only: requests of clients that are gone may be in work for long, and each frees its
 * part. */
static void give_back(struct http_server *s)
{
    s->give_back_after_ms *= 2;
    s->give_back_ms = s->give_back_after_ms <= GIVE_BACK_LAST_MS
                          ? uv_now(s->loop) + s->give_back_after_ms
                          : HTTP_DEADLINE_NEVER;
    (void)malloc_trim(0);
}

static void on_timer(uv_timer_t *timer)
{
    struct http_server *s = timer->data;

    s->timer_due_ms = HTTP_DEADLINE_NEVER;
    s->has_due = true;
}

static void expire(struct http_server *s)
{
    uint64_t now_ms = uv_now(s->loop);
    struct http_deadline *due;
    enum http_wait wait;

    s->has_due = false;
    while ((due = http_deadline_take_due(&s->deadlines, now_ms, &wait)) != NULL)
        http_conn_expire(due, wait);
    if (s->is_stopping && now_ms >= s->stop_due_ms) {
        s->stop_due_ms = HTTP_DEADLINE_NEVER;
        close_all(s);
    }
    if (now_ms >= s->give_back_ms)
        give_back(s);
}

static void arm_timer(struct http_server *s)
{
    uint64_t next_ms = http_deadline_next(&s->deadlines);
    uint64_t now_ms = uv_now(s->loop);

    if (s->is_stopping && s->stop_due_ms < next_ms)
        next_ms = s->stop_due_ms;
    if (s->give_back_ms < next_ms)
        next_ms = s->give_back_ms;
    if (next_ms >= s->timer_due_ms || uv_is_closing((uv_handle_t *)&s->timer))
        return;
    if (next_ms < now_ms + TIMER_STEP_MS)
        next_ms = now_ms + TIMER_STEP_MS;
    if (uv_timer_start(&s->timer, on_timer, next_ms - now_ms, 0) == 0)
        s->timer_due_ms = next_ms;
}

/* ---- the turn ---- */

/* Cuts off clients that do not read, who has read nothing for the longest time first, until there
 * is room for the others. Each step closes one, or puts one that has read on behind the others. */
static void shed(struct http_server *s)
{
    while (s->stats.unread_bytes > s->conf.max_unread_bytes && !list_is_empty(&s->laden))
        http_conn_shed(LIST_ENTRY(s->laden.next, struct http_conn, laden));
}

/* malloc keeps what was freed, and after a flood of large bodies and answers that is much. It goes
 * back to the system a little later, when the handler has let go of its part too. */
static void note_peak(struct http_server *s)
{
    size_t bytes = s->stats.unread_bytes + s->bodies_bytes;

    if (bytes > s->peak_bytes)
        s->peak_bytes = bytes;
    if (s->peak_bytes < GIVE_BACK_BYTES || bytes > s->peak_bytes / 8)
        return;
    s->peak_bytes = bytes;
    s->give_back_after_ms = GIVE_BACK_FIRST_MS;
    s->give_back_ms = uv_now(s->loop) + GIVE_BACK_FIRST_MS;
}

void http_server_flush(struct http_server *s)
{
    struct list *node;

    while ((node = list_pop_front(&s->dirty)) != NULL)
        http_conn_flush(LIST_ENTRY(node, struct http_conn, dirty));
    if (s->stats.unread_bytes > s->conf.max_unread_bytes)
        shed(s);
    note_peak(s);
}

static void accept_pending(struct http_server *s)
{
    s->has_pending = false;
    for (unsigned i = 0; i < s->listener_count; i++)
        if (s->listeners[i].has_pending && s->listeners[i].is_open)
            http_conn_accept(s, &s->listeners[i]);
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct http_server *s = prepare->data;

    if (s->has_pending)
        accept_pending(s);
    http_server_flush(s);
    arm_timer(s);
}

static void on_check(uv_check_t *check)
{
    struct http_server *s = check->data;

    http_server_flush(s); /* also moves the time limits of those that were read from */
    if (!s->has_due)
        return;
    expire(s);
    http_server_flush(s);
}

/* ---- listening ---- */

static void on_connection(uv_stream_t *stream, int status)
{
    struct http_listener *listener = stream->data;

    if (status == 0)
        http_conn_accept(listener->server, listener);
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct http_listener *listener = handle->data;

    listener->server->open_listeners--;
    http_server_poke(listener->server);
}

static int open_stream(struct http_listener *l, int fd)
{
    int error;

    error = l->is_pipe ? uv_pipe_init(l->server->loop, &l->io.pipe, 0)
                       : uv_tcp_init(l->server->loop, &l->io.tcp);
    if (error != 0)
        return error;
    l->io.handle.data = l;
    l->is_open = true;
    l->server->open_listeners++;
    error = l->is_pipe ? uv_pipe_open(&l->io.pipe, fd) : uv_tcp_open(&l->io.tcp, fd);
    if (error != 0)
        close(fd); /* libuv has not taken it */
    else
        error = uv_listen(&l->io.stream, BACKLOG, on_connection);
    if (error != 0) {
        l->is_open = false;
        uv_close(&l->io.handle, on_listener_closed);
    }
    return error;
}

static int add_listener(struct http_server *s, const struct http_listen *opened,
                        struct http_reason *reason)
{
    struct http_listener *l = &s->listeners[s->listener_count];
    int error;

    s->listener_count++;
    l->server = s;
    l->is_pipe = opened->is_unix;
    memcpy(l->path, opened->path, sizeof(l->path));
    error = open_stream(l, opened->fd);
    if (error != 0) {
        snprintf(reason->text, sizeof(reason->text), "cannot listen on %s: %s", opened->address,
                 uv_strerror(error));
        return JM_EIO;
    }
    if (s->address[0] == '\0')
        memcpy(s->address, opened->address, sizeof(s->address));
    return 0;
}

static int check_room(const struct http_server *s, unsigned more, struct http_reason *reason)
{
    if (s->listener_count + more <= HTTP_LISTENERS)
        return 0;
    snprintf(reason->text, sizeof(reason->text), "cannot listen on more than %d addresses",
             (int)HTTP_LISTENERS);
    return JM_EINVAL;
}

int http_server_listen(struct http_server *s, const char *address, struct http_reason *ret_reason)
{
    struct http_listen opened;
    int error = check_room(s, 1, ret_reason);

    if (error == 0)
        error = http_listen_open(address, &opened, ret_reason);
    return error != 0 ? error : add_listener(s, &opened, ret_reason);
}

int http_server_listen_inherited(struct http_server *s, unsigned *ret_count,
                                 struct http_reason *ret_reason)
{
    unsigned count = http_listen_inherited();
    int error = check_room(s, count, ret_reason);

    for (unsigned i = 0; error == 0 && i < count; i++) {
        struct http_listen opened;

        error = http_listen_adopt(i, &opened, ret_reason);
        if (error == 0)
            error = add_listener(s, &opened, ret_reason);
    }
    if (error == 0)
        *ret_count = count;
    return error;
}

const char *http_server_address(const struct http_server *s)
{
    return s->address;
}

size_t http_server_max_connections(const struct http_server *s)
{
    return s->conf.max_connections;
}

const struct http_stats *http_server_stats(const struct http_server *s)
{
    return &s->stats;
}

/* ---- beginning ---- */

/* The soft limit of 1,024 that most processes start with is far below max_connections. Returns how
 * many files there may be in the end, at most `need`. */
static size_t raise_file_limit(size_t need)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= need)
        return need;
    files.rlim_cur = need < files.rlim_max ? need : files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) != 0 && getrlimit(RLIMIT_NOFILE, &files) != 0)
        return need;
    return files.rlim_cur;
}

/* Where the hard limit is too low, there are fewer connections: clients must not be able to take
 * the descriptors that the database and Redis need, and one too many is to be told so. */
static void fit_to_file_limit(struct http_server *s)
{
    size_t need = s->conf.max_connections + OVERFLOW_CONNECTIONS + OTHER_FILES;
    size_t files = raise_file_limit(need);

    s->max_overflow = OVERFLOW_CONNECTIONS;
    if (files >= need)
        return;
    files -= files / 4 < OTHER_FILES ? files / 4 : OTHER_FILES;
    s->max_overflow = files / 16 < OVERFLOW_CONNECTIONS ? files / 16 : OVERFLOW_CONNECTIONS;
    s->conf.max_connections = files - s->max_overflow;
}

static size_t or_default(size_t value, size_t if_zero)
{
    return value != 0 ? value : if_zero;
}

static unsigned or_default_ms(unsigned value, unsigned if_zero)
{
    return value != 0 ? value : if_zero;
}

static void take_conf(struct http_server *s, const struct http_conf *conf)
{
    unsigned *limit_ms = s->deadlines.limit_ms;

    s->conf = *conf;
    s->conf.max_connections = or_default(conf->max_connections, JM_CONNECTIONS);
    s->conf.max_body_bytes = or_default(conf->max_body_bytes, JM_BODY_BYTES);
    s->conf.max_answer_bytes = or_default(conf->max_answer_bytes, 16 << 20);
    s->conf.max_bodies_bytes = or_default(conf->max_bodies_bytes, 256 << 20);
    s->conf.max_unread_bytes = or_default(conf->max_unread_bytes, 256 << 20);
    s->conf.max_outstanding = (unsigned)or_default(conf->max_outstanding, 32);
    if (conf->clock == NULL)
        s->conf.clock = clock_real();
    http_deadline_init_all(&s->deadlines);
    limit_ms[HTTP_WAIT_IDLE] = or_default_ms(conf->idle_ms, 75000);
    limit_ms[HTTP_WAIT_HEAD] = or_default_ms(conf->head_ms, 10000);
    limit_ms[HTTP_WAIT_BODY] = or_default_ms(conf->body_ms, 30000);
    limit_ms[HTTP_WAIT_WRITE] = or_default_ms(conf->write_ms, 30000);
    limit_ms[HTTP_WAIT_LINGER] = or_default_ms(conf->linger_ms, 2000);
}

/* The three handles of the loop. None of these calls can fail with a valid loop and callback. */
static void open_handles(struct http_server *s)
{
    int error = uv_timer_init(s->loop, &s->timer);

    error = error != 0 ? error : uv_prepare_init(s->loop, &s->prepare);
    error = error != 0 ? error : uv_check_init(s->loop, &s->check);
    s->timer.data = s->prepare.data = s->check.data = s;
    error = error != 0 ? error : uv_prepare_start(&s->prepare, on_prepare);
    error = error != 0 ? error : uv_check_start(&s->check, on_check);
    assert(error == 0);
    /* They serve connections and keep no loop alive by themselves. */
    uv_unref((uv_handle_t *)&s->prepare);
    uv_unref((uv_handle_t *)&s->check);
    s->open_handles = 3;
}

int http_server_open(uv_loop_t *loop, const struct http_conf *conf,
                     const struct http_handler *handler, struct http_server **ret_server)
{
    struct http_server *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return JM_ENOMEM;
    s->loop = loop;
    s->handler = handler;
    take_conf(s, conf);
    fit_to_file_limit(s);
    list_init(&s->conns);
    list_init(&s->dirty);
    list_init(&s->laden);
    list_init(&s->pool);
    s->timer_due_ms = s->give_back_ms = HTTP_DEADLINE_NEVER;
    open_handles(s);
    *ret_server = s;
    return 0;
}

/* ---- end ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct http_server *s = handle->data;

    if (--s->open_handles == 0)
        s->on_stopped(s->stop_owner);
}

void http_server_poke(struct http_server *s)
{
    if (!s->is_stopping || s->open_listeners > 0 || s->stats.connections > 0 ||
        s->stats.outstanding > 0 || uv_is_closing((uv_handle_t *)&s->timer))
        return;
    uv_close((uv_handle_t *)&s->timer, on_handle_closed);
    uv_close((uv_handle_t *)&s->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&s->check, on_handle_closed);
}

static void close_listener(struct http_listener *l)
{
    if (!l->is_open)
        return;
    l->is_open = false;
    if (l->path[0] != '\0')
        (void)unlink(l->path); /* a left-over is replaced by the next start anyway */
    uv_close(&l->io.handle, on_listener_closed);
}

void http_server_stop(struct http_server *s, unsigned deadline_ms,
                      void (*on_stopped)(void *stop_owner), void *stop_owner)
{
    assert(!s->is_stopping);
    s->is_stopping = true;
    s->on_stopped = on_stopped;
    s->stop_owner = stop_owner;
    s->stop_due_ms = uv_now(s->loop) + deadline_ms;
    for (unsigned i = 0; i < s->listener_count; i++)
        close_listener(&s->listeners[i]);
    LIST_EACH_SAFE(node, &s->conns)
    http_conn_end(LIST_ENTRY(node, struct http_conn, link));
    http_server_poke(s);
}

struct http_server *http_server_free(struct http_server *s)
{
    if (s == NULL)
        return NULL;
    assert(s->open_handles == 0);
    http_exchange_free_pool(s);
    free(s);
    return NULL;
}
