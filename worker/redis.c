/*
 * redis.c: hiredis, blocking for children and asynchronous for the parent.
 *
 * The asynchronous part watches hiredis's descriptor with one uv_poll_t per connection. hiredis
 * frees its context by itself after an error; `link->context` is NULL from that moment on, and a
 * timer makes the next attempt. The poll handle outlives the context until libuv has closed it, so
 * it is a small object of its own.
 */
#include "worker/redis.h"

#include <assert.h>
#include <errno.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "schema/errors.h"
#include "schema/limits.h"

enum {
    REDIS_WORDS = 2 * JM_CLAIM_JOBS + 2, /* the longest command: LPUSH key frames... */
    REDIS_BACKOFF_FIRST_MS = 50,
    REDIS_CONNECT_MS = 5000,
    REDIS_BACKOFF_LAST_MS = 2000,
};

bool redis_parse_address(const char *text, struct redis_address *ret_address)
{
    struct redis_address address = {0};
    const char *colon = strrchr(text, ':');
    size_t len;
    char *end;
    long port;

    if (strncmp(text, "unix:", 5) == 0) {
        len = strlen(text + 5);
        if (len == 0 || len >= sizeof(address.path))
            return false;
        memcpy(address.path, text + 5, len + 1);
        *ret_address = address;
        return true;
    }
    if (colon == NULL || colon == text || colon[1] < '0' || colon[1] > '9')
        return false;
    port = strtol(colon + 1, &end, 10);
    len = (size_t)(colon - text);
    if (text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    }
    if (*end != '\0' || port < 1 || port > 65535 || len == 0 || len >= sizeof(address.host))
        return false;
    memcpy(address.host, text, len);
    address.port = (int)port;
    *ret_address = address;
    return true;
}

/* ---- the blocking pipe ---- */

struct redis_pipe {
    redisContext *context;
    char error[REDIS_ERROR_BYTES];
};

static int fail_pipe(struct redis_pipe *pipe, int error)
{
    const char *words = pipe->context->errstr;

    /* hiredis leaves a time-out to errno. */
    if (pipe->context->err == REDIS_ERR_IO && errno != 0)
        words = errno == EAGAIN ? "no answer in time" : strerror(errno);
    snprintf(pipe->error, sizeof(pipe->error), "%s", words);
    return error;
}

int redis_pipe_open(const struct redis_address *address, unsigned timeout_ms,
                    struct redis_pipe **ret_pipe)
{
    struct timeval limit = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
    struct redis_pipe *pipe = calloc(1, sizeof(*pipe));

    if (pipe == NULL)
        return JM_ENOMEM;
    if (address->path[0] != '\0')
        pipe->context = redisConnectUnixWithTimeout(address->path, limit);
    else
        pipe->context = redisConnectWithTimeout(address->host, address->port, limit);
    if (pipe->context == NULL || pipe->context->err != 0 ||
        redisSetTimeout(pipe->context, limit) != REDIS_OK) {
        redis_pipe_close(pipe);
        return JM_ECARRIER;
    }
    *ret_pipe = pipe;
    return 0;
}

void redis_pipe_close(struct redis_pipe *pipe)
{
    if (pipe == NULL)
        return;
    if (pipe->context != NULL)
        redisFree(pipe->context);
    free(pipe);
}

const char *redis_pipe_error(const struct redis_pipe *pipe)
{
    return pipe->error;
}

static int put_words(struct redis_pipe *pipe, int count, const char **words, const size_t *lens)
{
    if (redisAppendCommandArgv(pipe->context, count, words, lens) != REDIS_OK)
        return fail_pipe(pipe, JM_EUNKNOWN);
    return 0;
}

int redis_pipe_put_push(struct redis_pipe *pipe, const char *key, const struct span *frames,
                        size_t count)
{
    const char *words[REDIS_WORDS] = {"LPUSH", key};
    size_t lens[REDIS_WORDS] = {5, strlen(key)};

    assert(count <= REDIS_WORDS - 2);
    for (size_t i = 0; i < count; i++) {
        words[2 + i] = (const char *)frames[i].data;
        lens[2 + i] = frames[i].len;
    }
    return put_words(pipe, (int)count + 2, words, lens);
}

int redis_pipe_put_claim(struct redis_pipe *pipe, const char *const *keys, size_t key_count,
                         unsigned max_jobs, unsigned block_ms)
{
    const char *words[REDIS_WORDS];
    size_t lens[REDIS_WORDS];
    char block[16], count[16], key_count_text[16];
    size_t n = 0;

    assert(key_count <= REDIS_WORDS - 6);
    snprintf(block, sizeof(block), "%u.%03u", block_ms / 1000, block_ms % 1000);
    snprintf(count, sizeof(count), "%u", max_jobs);
    snprintf(key_count_text, sizeof(key_count_text), "%zu", key_count);
    words[n++] = "BLMPOP";
    words[n++] = block;
    words[n++] = key_count_text;
    for (size_t i = 0; i < key_count; i++)
        words[n++] = keys[i];
    words[n++] = "RIGHT";
    words[n++] = "COUNT";
    words[n++] = count;
    for (size_t i = 0; i < n; i++)
        lens[i] = strlen(words[i]);
    return put_words(pipe, (int)n, words, lens);
}

/* One reply; the caller frees it. An error reply is consumed and told as JM_EREFUSED. */
static int wait_reply(struct redis_pipe *pipe, redisReply **ret_reply)
{
    void *reply = NULL;
    redisReply *r;

    errno = 0;
    if (redisGetReply(pipe->context, &reply) != REDIS_OK || reply == NULL)
        return fail_pipe(pipe, JM_EUNKNOWN);
    r = reply;
    if (r->type == REDIS_REPLY_ERROR) {
        snprintf(pipe->error, sizeof(pipe->error), "%s", r->str);
        freeReplyObject(r);
        return JM_EREFUSED;
    }
    *ret_reply = r;
    return 0;
}

int redis_pipe_client_id(struct redis_pipe *pipe, uint64_t *ret_id)
{
    const char *words[] = {"CLIENT", "ID"};
    const size_t lens[] = {6, 2};
    redisReply *reply;
    int error = put_words(pipe, 2, words, lens);

    if (error == 0)
        error = wait_reply(pipe, &reply);
    if (error != 0)
        return error;
    *ret_id = (uint64_t)reply->integer;
    freeReplyObject(reply);
    return 0;
}

int redis_pipe_wait_push(struct redis_pipe *pipe)
{
    redisReply *reply;
    int error = wait_reply(pipe, &reply);

    if (error == 0)
        freeReplyObject(reply);
    return error;
}

/* A pop's answer is nil or [key, [element...]]. */
static void open_claim(redisReply *reply, struct redis_claim *ret_claim)
{
    *ret_claim = (struct redis_claim){0};
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        reply->element[1]->type != REDIS_REPLY_ARRAY)
        return;
    ret_claim->count = reply->element[1]->elements;
    ret_claim->reply = reply;
}

int redis_pipe_wait_claim(struct redis_pipe *pipe, struct redis_claim *ret_claim)
{
    redisReply *reply;
    int error = wait_reply(pipe, &reply);

    if (error != 0)
        return error;
    open_claim(reply, ret_claim);
    if (ret_claim->reply == NULL)
        freeReplyObject(reply);
    return 0;
}

struct span redis_claim_frame(const struct redis_claim *claim, size_t index)
{
    const redisReply *reply = claim->reply;
    const redisReply *frame = reply->element[1]->element[index];

    if (frame->type != REDIS_REPLY_STRING)
        return span_of(NULL, 0);
    return span_of(frame->str, frame->len);
}

void redis_claim_done(struct redis_claim *claim)
{
    if (claim->reply != NULL)
        freeReplyObject(claim->reply);
    *claim = (struct redis_claim){0};
}

/* ---- the link on a loop ---- */

/* The watch on one connection's descriptor. */
struct redis_watch {
    uv_poll_t poll;
    redisAsyncContext *context; /* NULL once hiredis has let go of it */
    int events;
};

struct redis_line {
    uv_timer_t retry;
    struct redis_address address;
    redis_state_cb on_state;
    void *data;
    redisAsyncContext *context; /* NULL while there is no connection */
    bool is_up;
    bool is_closing;
    unsigned backoff_ms;
    char broken_words[REDIS_ERROR_BYTES]; /* why we broke it ourselves */
};

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct redis_watch *watch = JM_CONTAINER_OF(poll, struct redis_watch, poll);

    /* A poll error shows itself to hiredis in the read. */
    if (watch->context != NULL && (status != 0 || (events & (UV_READABLE | UV_DISCONNECT))))
        redisAsyncHandleRead(watch->context);
    if (watch->context != NULL && (events & UV_WRITABLE))
        redisAsyncHandleWrite(watch->context);
}

static void set_events(struct redis_watch *watch, int events)
{
    if (events == watch->events)
        return;
    watch->events = events;
    if (events == 0)
        (void)uv_poll_stop(&watch->poll); /* cannot fail: uv_poll_stop(3) always returns 0 */
    else if (uv_poll_start(&watch->poll, events, on_poll) != 0)
        watch->events = 0;
}

static void add_read(void *data)
{
    struct redis_watch *watch = data;

    set_events(watch, watch->events | UV_READABLE);
}

static void del_read(void *data)
{
    struct redis_watch *watch = data;

    set_events(watch, watch->events & ~UV_READABLE);
}

static void add_write(void *data)
{
    struct redis_watch *watch = data;

    set_events(watch, watch->events | UV_WRITABLE);
}

static void del_write(void *data)
{
    struct redis_watch *watch = data;

    set_events(watch, watch->events & ~UV_WRITABLE);
}

static void on_watch_closed(uv_handle_t *handle)
{
    free(JM_CONTAINER_OF((uv_poll_t *)handle, struct redis_watch, poll));
}

static void clean_up(void *data)
{
    struct redis_watch *watch = data;

    watch->context = NULL;
    uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
}

static bool attach_watch(struct redis_line *link)
{
    redisAsyncContext *context = link->context;
    struct redis_watch *watch = calloc(1, sizeof(*watch));

    if (watch == NULL)
        return false;
    if (uv_poll_init(link->retry.loop, &watch->poll, context->c.fd) != 0) {
        free(watch);
        return false;
    }
    watch->context = context;
    context->ev.data = watch;
    context->ev.addRead = add_read;
    context->ev.delRead = del_read;
    context->ev.addWrite = add_write;
    context->ev.delWrite = del_write;
    context->ev.cleanup = clean_up;
    return true;
}

static void on_retry(uv_timer_t *timer);

/* The connection is gone, or was never made: tell it, and try again later. */
static void enter_down(struct redis_line *link, const char *words)
{
    bool was_up = link->is_up;

    link->context = NULL;
    link->is_up = false;
    if (link->is_closing)
        return;
    if (was_up || link->backoff_ms == REDIS_BACKOFF_FIRST_MS)
        link->on_state(link->data, false, words);
    (void)uv_timer_start(&link->retry, on_retry, link->backoff_ms, 0);
    link->backoff_ms *= 2;
    if (link->backoff_ms > REDIS_BACKOFF_LAST_MS)
        link->backoff_ms = REDIS_BACKOFF_LAST_MS;
}

static void on_connected(const redisAsyncContext *context, int status)
{
    struct redis_line *link = context->data;

    if (status != REDIS_OK) {
        enter_down(link, context->errstr != NULL ? context->errstr : "cannot connect");
        return;
    }
    (void)uv_timer_stop(&link->retry); /* the limit of this try */
    link->is_up = true;
    link->backoff_ms = REDIS_BACKOFF_FIRST_MS;
    link->on_state(link->data, true, "connected");
}

static void on_disconnected(const redisAsyncContext *context, int status)
{
    struct redis_line *link = context->data;
    const char *words = status != REDIS_OK && context->errstr != NULL ? context->errstr : "closed";

    enter_down(link, link->broken_words[0] != '\0' ? link->broken_words : words);
    link->broken_words[0] = '\0';
}

static void connect_link(struct redis_line *link)
{
    const struct redis_address *address = &link->address;
    redisAsyncContext *context = address->path[0] != '\0'
                                     ? redisAsyncConnectUnix(address->path)
                                     : redisAsyncConnect(address->host, address->port);
    char words[REDIS_ERROR_BYTES];

    snprintf(words, sizeof(words), "%s",
             context == NULL           ? "out of memory"
             : context->errstr != NULL ? context->errstr
                                       : "");
    link->context = context;
    if (context == NULL || context->err != 0 || !attach_watch(link)) {
        if (context != NULL)
            redisAsyncFree(context);
        enter_down(link, words);
        return;
    }
    context->data = link;
    (void)redisAsyncSetConnectCallback(context, on_connected); /* fails only if set already */
    (void)redisAsyncSetDisconnectCallback(context, on_disconnected);
    (void)uv_timer_start(&link->retry, on_retry, REDIS_CONNECT_MS, 0);
}

/* The pause before a try is over; or the try has taken too long, as when the machine is down: TCP
 * by itself would wait for minutes, longer than a lease. */
static void on_retry(uv_timer_t *timer)
{
    struct redis_line *link = JM_CONTAINER_OF(timer, struct redis_line, retry);

    if (link->context != NULL) {
        redisAsyncFree(link->context); /* had not connected, so no callback comes */
        enter_down(link, "no connection in time");
        return;
    }
    connect_link(link);
}

int redis_line_open(uv_loop_t *loop, const struct redis_address *address, redis_state_cb on_state,
                    void *data, struct redis_line **ret_link)
{
    struct redis_line *link = calloc(1, sizeof(*link));

    if (link == NULL)
        return JM_ENOMEM;
    *link = (struct redis_line){.address = *address,
                                .on_state = on_state,
                                .data = data,
                                .backoff_ms = REDIS_BACKOFF_FIRST_MS};
    if (uv_timer_init(loop, &link->retry) != 0) {
        free(link);
        return JM_EIO;
    }
    *ret_link = link;
    (void)uv_timer_start(&link->retry, on_retry, 0, 0); /* fails only on a closing handle */
    return 0;
}

static void on_link_closed(uv_handle_t *handle)
{
    free(JM_CONTAINER_OF((uv_timer_t *)handle, struct redis_line, retry));
}

void redis_line_close(struct redis_line *link)
{
    if (link == NULL)
        return;
    link->is_closing = true;
    if (link->context != NULL)
        redisAsyncFree(link->context);
    uv_close((uv_handle_t *)&link->retry, on_link_closed);
}

bool redis_line_is_up(const struct redis_line *link)
{
    return link->is_up;
}

void redis_line_break(struct redis_line *link, const char *words)
{
    if (link->context == NULL)
        return;
    snprintf(link->broken_words, sizeof(link->broken_words), "%s", words);
    redisAsyncFree(link->context);
}

static void on_reply(redisAsyncContext *context, void *reply, void *data)
{
    struct redis_command *command = data;
    redisReply *r = reply;
    struct redis_claim claim = {0};
    int error = 0;

    (void)context;
    command->is_in_flight = false;
    if (r == NULL) {
        error = JM_EUNKNOWN;
    } else if (r->type == REDIS_REPLY_ERROR) {
        error = JM_EREFUSED;
        snprintf(command->error, sizeof(command->error), "%s", r->str);
    } else {
        open_claim(r, &claim);
    }
    command->done(command, error, &claim);
}

/* hiredis 0.14 sends a command for whose callback there was no memory, and would give its answer to
 * the next one. A connection with an error neither writes nor reads: it breaks in its next turn,
 * and the command is surely not sent. */
static bool has_callback(redisAsyncContext *context, const redisCallback *last)
{
    if (context->replies.tail != last)
        return true;
    context->c.err = REDIS_ERR_OOM;
    snprintf(context->c.errstr, sizeof(context->c.errstr), "out of memory");
    return false;
}

int redis_line_send(struct redis_line *link, struct redis_command *command,
                    const struct span *words, size_t count)
{
    const char *argv[REDIS_WORDS];
    size_t lens[REDIS_WORDS];
    const redisCallback *last;

    assert(count <= REDIS_WORDS && !command->is_in_flight);
    if (!link->is_up || link->context->c.err != 0)
        return JM_ECARRIER;
    for (size_t i = 0; i < count; i++) {
        argv[i] = (const char *)words[i].data;
        lens[i] = words[i].len;
    }
    last = link->context->replies.tail;
    if (redisAsyncCommandArgv(link->context, on_reply, command, (int)count, argv, lens) !=
            REDIS_OK ||
        !has_callback(link->context, last))
        return JM_ECARRIER;
    command->is_in_flight = true;
    return 0;
}
