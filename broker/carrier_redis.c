/*
 * carrier_redis.c: typed requests as Redis commands, on two links (redis_link.h).
 *
 * A request is at any time in one of three places: `failed` (it could not be sent; answered from
 * the loop's next turn, since a request never completes inside carrier_send), with hiredis (then
 * `sent` tells how long the oldest one waits), or answered. Two of the verbs are two commands;
 * their request is answered with the second one, and fails if either does.
 */
#include "broker/carrier_redis.h"

#include <assert.h>
#include <hiredis/async.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/redis_link.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "schema/errors.h"

enum {
    TICK_MS = 1000,
    RING_AGAIN_MS = 100, /* instead of a wake-up that the watching link cannot give */
    WATCH_SECONDS = 5,   /* one blocking move */
    ARGS_MAX = 1100,     /* values of one push, and what comes with them */
    NUMBER_BYTES = 24,
};

struct carrier_redis {
    struct carrier carrier;
    uv_loop_t *loop;
    struct redis_address address;
    struct redis_link commands;
    struct redis_link watch;
    uv_timer_t tick; /* looks for a stall */
    uv_timer_t ring; /* stands in for the watching link */
    uv_async_t fail; /* answers `failed` */
    struct list sent;
    struct list failed;
    struct carrier_req *half; /* the first of its two commands is answered */
    char epoch[64];           /* that answer, for CARRIER_EPOCH */
    int half_status;
    char watched_key[KEYS_BYTES];
    bool is_watching; /* the core waits for on_wake */
    bool is_blocked;  /* a blocking move is out */
    struct span *items;
    size_t item_cap;
    const char **argv;
    size_t *argv_len;
    struct carrier_stats stats;
    unsigned open_handles;
    void *closed_owner;
    void (*on_closed)(void *owner);
};

/* ---- answers ---- */

static void complete(struct carrier_redis *r, struct carrier_req *req)
{
    uint64_t took_ns = clock_mono_ns(clock_real()) - req->sent_ns;

    list_remove(&req->link);
    if (req->status == 0 || req->status == JM_EREFUSED) {
        r->stats.answered++;
        r->stats.round_trip_ns_sum += took_ns;
        if (took_ns > r->stats.round_trip_ns_max)
            r->stats.round_trip_ns_max = took_ns;
    }
    req->on_done(req);
}

static bool items_fit(struct carrier_redis *r, size_t n)
{
    struct span *items;

    if (n <= r->item_cap)
        return true;
    items = realloc(r->items, n * sizeof(*items));
    if (items == NULL)
        return false;
    r->items = items;
    r->item_cap = n;
    return true;
}

static int read_array(struct carrier_redis *r, struct carrier_req *req, const redisReply *reply)
{
    if (!items_fit(r, reply->elements))
        return JM_ENOMEM;
    for (size_t i = 0; i < reply->elements; i++) {
        const redisReply *element = reply->element[i];

        if (element->type != REDIS_REPLY_STRING)
            return JM_EREFUSED;
        r->items[i] = span_of(element->str, element->len);
    }
    req->items = r->items;
    req->item_count = reply->elements;
    return 0;
}

/* The list that is to be taken does not exist: for us an answer, for Redis an error. */
static bool is_no_key(const struct carrier_req *req, const redisReply *reply)
{
    return req->verb == CARRIER_TAKE && strcmp(reply->str, "ERR no such key") == 0;
}

static int read_reply(struct carrier_redis *r, struct carrier_req *req, const redisReply *reply)
{
    if (reply == NULL)
        return JM_EUNKNOWN;
    switch (reply->type) {
    case REDIS_REPLY_INTEGER:
        req->number = reply->integer;
        return 0;
    case REDIS_REPLY_ARRAY:
        return read_array(r, req, reply);
    case REDIS_REPLY_STATUS:
        return 0;
    case REDIS_REPLY_ERROR:
        req->number = -1;
        if (is_no_key(req, reply))
            return 0;
        log_warn("Redis refused a command on %s: %s", req->key, reply->str);
        return JM_EREFUSED;
    default:
        return JM_EREFUSED;
    }
}

static void on_reply(redisAsyncContext *ac, void *reply, void *data)
{
    struct carrier_req *req = data;
    struct redis_link *link = ac->data;
    struct carrier_redis *r = link->owner;

    if (reply == NULL)
        link->is_up = false; /* nothing more can be sent on it */
    req->status = read_reply(r, req, reply);
    complete(r, req);
}

/* The first of two commands. */
static void on_first_reply(redisAsyncContext *ac, void *reply, void *data)
{
    struct carrier_req *req = data;
    struct redis_link *link = ac->data;
    struct carrier_redis *r = link->owner;
    const redisReply *answer = reply;

    r->half = req;
    r->half_status = 0;
    if (answer == NULL) {
        link->is_up = false;
        r->half_status = JM_EUNKNOWN;
    } else if (answer->type == REDIS_REPLY_ERROR) {
        log_warn("Redis refused a command on %s: %s", req->key, answer->str);
        r->half_status = JM_EREFUSED;
    } else if (req->verb == CARRIER_EPOCH) {
        struct span set = req->values[0];

        if (answer->type == REDIS_REPLY_STRING)
            set = span_of(answer->str, answer->len);
        snprintf(r->epoch, sizeof(r->epoch), "%.*s", (int)set.len, (const char *)set.data);
    }
}

/* INFO answers lines "name:value\r\n". */
static struct span find_run_id(const redisReply *info)
{
    const char *at = strstr(info->str, "run_id:");

    if (at == NULL)
        return span_of("", 0);
    at += strlen("run_id:");
    return span_of(at, strcspn(at, "\r\n"));
}

static void on_second_reply(redisAsyncContext *ac, void *reply, void *data)
{
    struct carrier_req *req = data;
    struct redis_link *link = ac->data;
    struct carrier_redis *r = link->owner;
    const redisReply *answer = reply;

    assert(r->half == req);
    r->half = NULL;
    if (r->half_status == 0 && answer != NULL && answer->type == REDIS_REPLY_STRING &&
        req->verb == CARRIER_EPOCH && items_fit(r, 2)) {
        r->items[0] = span_of_str(r->epoch);
        r->items[1] = find_run_id(answer);
        req->items = r->items;
        req->item_count = 2;
        complete(r, req);
        return;
    }
    if (answer == NULL)
        link->is_up = false;
    req->status = r->half_status != 0 ? r->half_status : read_reply(r, req, answer);
    complete(r, req);
}

/* ---- commands ---- */

struct command {
    struct carrier_redis *r;
    size_t argc;
};

static void add(struct command *c, const void *bytes, size_t len)
{
    assert(c->argc < ARGS_MAX);
    c->r->argv[c->argc] = bytes;
    c->r->argv_len[c->argc++] = len;
}

static void add_str(struct command *c, const char *text)
{
    add(c, text, strlen(text));
}

static void add_values(struct command *c, const struct carrier_req *req)
{
    for (size_t i = 0; i < req->value_count; i++)
        add(c, req->values[i].data, req->values[i].len);
}

static int send_command(struct command *c, redis_reply_cb reply, struct carrier_req *req)
{
    return redis_link_send(&c->r->commands, reply, req, c->argc, c->r->argv, c->r->argv_len);
}

static int send_words(struct carrier_redis *r, redis_reply_cb reply, struct carrier_req *req,
                      const char *const *words, bool has_values)
{
    struct command c = {.r = r};

    for (; *words != NULL; words++)
        add_str(&c, *words);
    if (has_values)
        add_values(&c, req);
    return send_command(&c, reply, req);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static int send_range(struct carrier_redis *r, struct carrier_req *req)
{
    char first[NUMBER_BYTES], last[NUMBER_BYTES];

    snprintf(first, sizeof(first), "%lld", (long long)req->first);
    snprintf(last, sizeof(last), "%lld", (long long)req->last);
    return send_words(r, on_reply, req, WORDS("LRANGE", req->key, first, last), false);
}

static int send_order(struct carrier_redis *r, struct carrier_req *req)
{
    char last[NUMBER_BYTES];
    int status = send_words(r, on_first_reply, req, WORDS("LPUSH", req->key), true);

    snprintf(last, sizeof(last), "%lld", (long long)req->last);
    if (status != 0)
        return status;
    return send_words(r, on_second_reply, req, WORDS("LTRIM", req->key, "0", last), false);
}

static int send_epoch(struct carrier_redis *r, struct carrier_req *req)
{
    struct command c = {.r = r};
    int status;

    add_str(&c, "SET");
    add_str(&c, req->key);
    add_values(&c, req);
    add_str(&c, "NX");
    add_str(&c, "GET");
    status = send_command(&c, on_first_reply, req);
    if (status != 0)
        return status;
    return send_words(r, on_second_reply, req, WORDS("INFO", "server"), false);
}

static int send_verb(struct carrier_redis *r, struct carrier_req *req)
{
    switch (req->verb) {
    case CARRIER_PUSH:
        return send_words(r, on_reply, req, WORDS("LPUSH", req->key), true);
    case CARRIER_RECALL:
        return send_words(r, on_reply, req, WORDS("LREM", req->key, "1"), true);
    case CARRIER_TAKE:
        return send_words(r, on_reply, req, WORDS("RENAMENX", req->key, req->other), false);
    case CARRIER_READ:
        return send_range(r, req);
    case CARRIER_REMOVE:
        return send_words(r, on_reply, req, WORDS("UNLINK", req->key), false);
    case CARRIER_HOSTS:
        return send_words(r, on_reply, req, WORDS("HGETALL", KEYS_HOSTS), false);
    case CARRIER_FORGET:
        return send_words(r, on_reply, req, WORDS("HDEL", KEYS_HOSTS), true);
    case CARRIER_ORDER:
        return send_order(r, req);
    case CARRIER_EPOCH:
        return send_epoch(r, req);
    }
    return JM_EINVAL;
}

static void redis_send(struct carrier *carrier, struct carrier_req *req)
{
    struct carrier_redis *r = JM_CONTAINER_OF(carrier, struct carrier_redis, carrier);

    req->status = 0;
    req->number = 0;
    req->items = NULL;
    req->item_count = 0;
    req->sent_ns = clock_mono_ns(clock_real());
    list_push_back(&r->sent, &req->link);
    if (send_verb(r, req) == 0)
        return;
    req->status = JM_ECARRIER;
    list_remove(&req->link);
    list_push_back(&r->failed, &req->link);
    uv_async_send(&r->fail); /* fails only on a closing handle, and close answers them itself */
}

static void answer_failed(struct carrier_redis *r)
{
    struct list failed;
    struct list *node;

    list_init(&failed);
    list_splice_back(&failed, &r->failed);
    while ((node = list_pop_front(&failed)) != NULL)
        complete(r, LIST_ENTRY(node, struct carrier_req, link));
}

static void on_fail(uv_async_t *async)
{
    answer_failed(async->data);
}

/* ---- watching ---- */

static void wake(struct carrier_redis *r)
{
    if (!r->is_watching)
        return;
    r->is_watching = false;
    r->carrier.on_wake(r->carrier.owner);
}

static void on_ring(uv_timer_t *timer)
{
    wake(timer->data);
}

static void ring_later(struct carrier_redis *r)
{
    int error = uv_timer_start(&r->ring, on_ring, RING_AGAIN_MS, 0);

    assert(error == 0);
    (void)error;
}

static void block(struct carrier_redis *r);

static void on_moved(redisAsyncContext *ac, void *reply, void *data)
{
    struct carrier_redis *r = data;
    const redisReply *answer = reply;

    (void)ac;
    r->is_blocked = false;
    if (answer == NULL)
        r->watch.is_up = false;
    if (answer == NULL || answer->type == REDIS_REPLY_ERROR)
        ring_later(r);
    else if (answer->type == REDIS_REPLY_STRING)
        wake(r);
    else if (r->is_watching)
        block(r); /* its time was over */
}

/* Moves the oldest entry to where it is: nothing changes, and it blocks while there is none. */
static void block(struct carrier_redis *r)
{
    char seconds[NUMBER_BYTES];
    struct command c = {.r = r};

    if (r->is_blocked)
        return;
    snprintf(seconds, sizeof(seconds), "%d", WATCH_SECONDS);
    add_str(&c, "BLMOVE");
    add_str(&c, r->watched_key);
    add_str(&c, r->watched_key);
    add_str(&c, "RIGHT");
    add_str(&c, "RIGHT");
    add_str(&c, seconds);
    if (redis_link_send(&r->watch, on_moved, r, c.argc, r->argv, r->argv_len) == 0)
        r->is_blocked = true;
    else
        ring_later(r);
}

static void redis_watch(struct carrier *carrier, const char *key)
{
    struct carrier_redis *r = JM_CONTAINER_OF(carrier, struct carrier_redis, carrier);

    snprintf(r->watched_key, sizeof(r->watched_key), "%s", key);
    r->is_watching = true;
    block(r);
}

static void on_watch_up(struct redis_link *l)
{
    struct carrier_redis *r = l->owner;

    if (r->is_watching)
        block(r);
}

static void on_watch_down(struct redis_link *l)
{
    (void)l; /* the answer NULL has set the timer that stands in */
}

/* ---- links ---- */

/* A stall is a link that is up and does not answer: a stopped Redis, a network that swallows. */
static void on_tick(uv_timer_t *timer)
{
    struct carrier_redis *r = timer->data;
    uint64_t now_ns = clock_mono_ns(clock_real());
    struct carrier_req *oldest;

    if (list_is_empty(&r->sent))
        return;
    oldest = LIST_ENTRY(r->sent.next, struct carrier_req, link);
    if (now_ns - oldest->sent_ns < (uint64_t)CARRIER_STALL_MS * 1000000)
        return;
    redis_link_break(&r->commands, "it does not answer");
    redis_link_break(&r->watch, "the other link does not answer");
}

static void on_policy(redisAsyncContext *ac, void *reply, void *data)
{
    const redisReply *answer = reply;

    (void)ac;
    (void)data;
    if (answer == NULL || answer->type != REDIS_REPLY_ARRAY || answer->elements != 2)
        return;
    if (strcmp(answer->element[1]->str, "noeviction") != 0)
        log_warn(
            "Redis may evict keys when it is full (maxmemory-policy %s): jobs are sent again when "
            "that happens, but noeviction is better",
            answer->element[1]->str);
}

static void on_commands_up(struct redis_link *l)
{
    struct carrier_redis *r = l->owner;
    static const char *const words[] = {"CONFIG", "GET", "maxmemory-policy"};
    struct command c = {.r = r};

    r->stats.links++;
    for (size_t i = 0; i < JM_COUNT_OF(words); i++)
        add_str(&c, words[i]);
    if (redis_link_send(l, on_policy, NULL, c.argc, r->argv, r->argv_len) == 0)
        r->carrier.on_link(r->carrier.owner, true);
}

static void on_commands_down(struct redis_link *l)
{
    struct carrier_redis *r = l->owner;

    answer_failed(r);
    r->carrier.on_link(r->carrier.owner, false);
}

static void free_carrier(struct carrier_redis *r)
{
    free(r->items);
    free(r->argv);
    free(r->argv_len);
    free(r);
}

static void count_closed(struct carrier_redis *r)
{
    void (*on_closed)(void *owner) = r->on_closed;
    void *owner = r->closed_owner;

    if (--r->open_handles > 0)
        return;
    free_carrier(r);
    if (on_closed != NULL)
        on_closed(owner);
}

static void on_link_closed(struct redis_link *l)
{
    count_closed(l->owner);
}

static void on_handle_closed(uv_handle_t *handle)
{
    count_closed(handle->data);
}

/* ---- outside ---- */

static int init_link(struct carrier_redis *r, struct redis_link *l, const char *purpose)
{
    int status = redis_link_init(l, r->loop, &r->address);

    l->owner = r;
    l->purpose = purpose;
    l->on_closed = on_link_closed;
    r->open_handles += status == 0;
    return status;
}

/* libuv's init functions for timers cannot fail; uv_async_init can, when descriptors are used up.
 */
static int init_handles(struct carrier_redis *r)
{
    if (uv_async_init(r->loop, &r->fail, on_fail) != 0)
        return JM_ENOMEM;
    if (uv_timer_init(r->loop, &r->tick) != 0 || uv_timer_init(r->loop, &r->ring) != 0)
        return JM_ENOMEM;
    r->fail.data = r->tick.data = r->ring.data = r;
    r->open_handles += 3;
    return 0;
}

int carrier_redis_open(uv_loop_t *loop, const char *address, struct carrier_redis **ret_carrier)
{
    struct carrier_redis *r = calloc(1, sizeof(*r));
    int status;

    if (r == NULL)
        return JM_ENOMEM;
    r->loop = loop;
    list_init(&r->sent);
    list_init(&r->failed);
    r->carrier.send = redis_send;
    r->carrier.watch = redis_watch;
    r->argv = calloc(ARGS_MAX, sizeof(*r->argv));
    r->argv_len = calloc(ARGS_MAX, sizeof(*r->argv_len));
    status = redis_address_parse(address, &r->address);
    if (status == 0 && (r->argv == NULL || r->argv_len == NULL))
        status = JM_ENOMEM;
    if (status == 0)
        status = init_handles(r);
    if (status != 0) {
        free_carrier(r);
        return status;
    }
    if (init_link(r, &r->commands, "commands") != 0 || init_link(r, &r->watch, "wake-ups") != 0)
        abort(); /* uv_timer_init does not fail */
    r->commands.on_up = on_commands_up;
    r->commands.on_down = on_commands_down;
    r->watch.on_up = on_watch_up;
    r->watch.on_down = on_watch_down;
    *ret_carrier = r;
    return 0;
}

struct carrier *carrier_redis_carrier(struct carrier_redis *r)
{
    return &r->carrier;
}

void carrier_redis_start(struct carrier_redis *r)
{
    int error = uv_timer_start(&r->tick, on_tick, TICK_MS, TICK_MS);

    assert(error == 0);
    (void)error;
    redis_link_start(&r->commands);
    redis_link_start(&r->watch);
}

const struct carrier_stats *carrier_redis_stats(const struct carrier_redis *r)
{
    return &r->stats;
}

void carrier_redis_close(struct carrier_redis *r, void *owner, void (*on_closed)(void *owner))
{
    r->on_closed = on_closed;
    r->closed_owner = owner;
    r->is_watching = false;
    redis_link_close(&r->commands);
    redis_link_close(&r->watch);
    answer_failed(r);
    uv_close((uv_handle_t *)&r->fail, on_handle_closed);
    uv_close((uv_handle_t *)&r->tick, on_handle_closed);
    uv_close((uv_handle_t *)&r->ring, on_handle_closed);
}
