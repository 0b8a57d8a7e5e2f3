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

#include "broker/redis_await.h"
#include "broker/redis_command.h"
#include "broker/redis_link.h"
#include "broker/redis_reply.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "schema/errors.h"

enum {
    TICK_MS = 1000,
};

struct carrier_redis {
    struct carrier carrier;
    uv_loop_t *loop;
    struct redis_address address;
    struct redis_link commands;
    struct redis_await await; /* with the other */
    uv_timer_t tick;          /* looks for a stall */
    uv_async_t fail;          /* answers `failed` */
    struct list sent;
    struct list failed;
    struct carrier_req *half; /* the first of its two commands is answered */
    char epoch[64];           /* that answer, for CARRIER_EPOCH */
    int half_status;
    struct redis_items items;
    struct redis_command command;
    struct carrier_stats stats;
    unsigned open_handles;
    void *closed_owner;
    void (*on_closed)(void *owner);
};

/* ---- keys of another type ---- */

/* All keys that are used here are jobmill's own, so one that is no list, hash or string as it
 * should be was put there by a stranger, and everything that needs it would fail for ever. What is
 * lost with it is as if Redis had been emptied of it. */
static void remove_if_strange(struct carrier_redis *r, const char *key, const redisReply *reply)
{
    if (reply == NULL || reply->type != REDIS_REPLY_ERROR ||
        strncmp(reply->str, "WRONGTYPE", 9) != 0)
        return;
    if (redis_command_send_words(&r->command, &r->commands, NULL, NULL,
                                 REDIS_WORDS("UNLINK", key)) != 0)
        return; /* at the next such error */
    log_warn("%s in Redis is of another type than jobmill's: it is removed", key);
    r->stats.strange_keys++;
}

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

static void on_reply(redisAsyncContext *ac, void *reply, void *data)
{
    struct carrier_req *req = data;
    struct redis_link *link = ac->data;
    struct carrier_redis *r = link->owner;

    if (reply == NULL)
        link->is_up = false; /* nothing more can be sent on it */
    remove_if_strange(r, req->verb == CARRIER_HOSTS ? KEYS_HOSTS : req->key, reply);
    req->status = redis_reply_read(&r->items, req, reply);
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
        remove_if_strange(r, req->key, answer);
        r->half_status = JM_EREFUSED;
    } else if (req->verb == CARRIER_EPOCH) {
        struct span set = req->values[0];

        if (answer->type == REDIS_REPLY_STRING)
            set = span_of(answer->str, answer->len);
        snprintf(r->epoch, sizeof(r->epoch), "%.*s", (int)set.len, (const char *)set.data);
    }
}

static void on_second_reply(redisAsyncContext *ac, void *reply, void *data)
{
    struct carrier_req *req = data;
    struct redis_link *link = ac->data;
    struct carrier_redis *r = link->owner;

    assert(r->half == req);
    r->half = NULL;
    if (reply == NULL)
        link->is_up = false;
    if (r->half_status != 0)
        req->status = r->half_status;
    else if (req->verb == CARRIER_EPOCH)
        req->status = redis_reply_read_epoch(&r->items, req, r->epoch, reply);
    else
        req->status = redis_reply_read(&r->items, req, reply);
    complete(r, req);
}

/* ---- requests ---- */

static const struct redis_callbacks callbacks = {
    .on_reply = on_reply, .on_first = on_first_reply, .on_second = on_second_reply};

/* A removal goes with the next wait in one write, when that is to come. */
static struct redis_link *link_for(struct carrier_redis *r, const struct carrier_req *req)
{
    bool goes_late = req->verb == CARRIER_REMOVE && redis_await_is_free(&r->await);

    return goes_late ? &r->await.link : &r->commands;
}

static int send_it(struct carrier_redis *r, struct carrier_req *req)
{
    int status;

    if (req->verb == CARRIER_AWAIT)
        return redis_await_send(&r->await, req);
    list_push_back(&r->sent, &req->link);
    status = redis_command_send(&r->command, link_for(r, req), req, &callbacks);
    if (status != 0)
        list_remove(&req->link);
    else if (req->max_bytes > 0)
        redis_link_bound(&r->commands, req, req->max_bytes);
    return status;
}

static void redis_send(struct carrier *carrier, struct carrier_req *req)
{
    struct carrier_redis *r = JM_CONTAINER_OF(carrier, struct carrier_redis, carrier);

    req->status = 0;
    req->number = 0;
    req->items = NULL;
    req->item_count = 0;
    req->is_cut = false;
    req->sent_ns = clock_mono_ns(clock_real());
    if (send_it(r, req) == 0)
        return;
    req->status = JM_ECARRIER;
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

static void redis_hurry(struct carrier *carrier)
{
    redis_await_hurry(&JM_CONTAINER_OF(carrier, struct carrier_redis, carrier)->await);
}

/* ---- links ---- */

/* A stall is a link that is up and does not answer: a stopped Redis, a network that swallows. */
static bool is_stalled(const struct carrier_redis *r)
{
    uint64_t now_ns = clock_mono_ns(clock_real());

    return !list_is_empty(&r->sent) &&
           now_ns - LIST_ENTRY(r->sent.next, struct carrier_req, link)->sent_ns >=
               CARRIER_STALL_MS * UINT64_C(1000000);
}

static void on_tick(uv_timer_t *timer)
{
    struct carrier_redis *r = timer->data;

    if (redis_await_is_stalled(&r->await))
        redis_link_break(&r->await.link, "it does not answer");
    if (is_stalled(r))
        redis_link_break(&r->commands, "it does not answer");
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

    r->stats.links++;
    redis_await_on_commands_up(&r->await);
    if (redis_command_send_words(&r->command, l, on_policy, NULL,
                                 REDIS_WORDS("CONFIG", "GET", "maxmemory-policy")) == 0)
        r->carrier.on_link(r->carrier.owner, true);
}

static void on_commands_down(struct redis_link *l)
{
    struct carrier_redis *r = l->owner;

    /* What waits there would be answered late, and the next link begins with what it left. */
    redis_link_break(&r->await.link, NULL);
    answer_failed(r);
    r->carrier.on_link(r->carrier.owner, false);
}

static void on_await_up(struct redis_link *l)
{
    redis_await_on_up(&((struct carrier_redis *)l->owner)->await);
}

static void on_await_down(struct redis_link *l)
{
    (void)l; /* what was under way is answered */
}

static void free_carrier(struct carrier_redis *r)
{
    redis_items_done(&r->items);
    redis_await_done(&r->await);
    redis_command_done(&r->command);
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
    if (uv_timer_init(r->loop, &r->tick) != 0)
        return JM_ENOMEM;
    r->fail.data = r->tick.data = r;
    r->open_handles += 2;
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
    r->carrier.hurry = redis_hurry;
    status = redis_address_parse(address, &r->address);
    if (status == 0)
        status = redis_command_init(&r->command);
    if (status == 0)
        status = init_handles(r);
    if (status != 0) {
        free_carrier(r);
        return status;
    }
    if (init_link(r, &r->commands, "commands") != 0 || init_link(r, &r->await.link, "results") != 0)
        abort(); /* uv_timer_init does not fail */
    r->commands.on_up = on_commands_up;
    r->commands.on_down = on_commands_down;
    r->await.link.on_up = on_await_up;
    r->await.link.on_down = on_await_down;
    redis_await_init(&r->await, &r->commands, &r->command);
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
    redis_link_start(&r->await.link);
}

void carrier_redis_flush(struct carrier_redis *r)
{
    redis_link_flush(&r->commands);
}

void carrier_redis_flush_late(struct carrier_redis *r)
{
    redis_link_flush(&r->await.link);
}

const struct carrier_stats *carrier_redis_stats(const struct carrier_redis *r)
{
    return &r->stats;
}

void carrier_redis_close(struct carrier_redis *r, void *owner, void (*on_closed)(void *owner))
{
    r->on_closed = on_closed;
    r->closed_owner = owner;
    redis_link_close(&r->commands);
    redis_link_close(&r->await.link);
    answer_failed(r);
    uv_close((uv_handle_t *)&r->fail, on_handle_closed);
    uv_close((uv_handle_t *)&r->tick, on_handle_closed);
}
