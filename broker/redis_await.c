#include "broker/redis_await.h"

#include <assert.h>
#include <hiredis/async.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/carrier_redis.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "schema/errors.h"

#define AWAIT_SECONDS "5"
enum {
    AWAIT_STALL_MS = 5000 + CARRIER_STALL_MS,
    HURRIES = 2, /* the first may overtake what it is to unblock; the second finds it answered */
    NUMBER_BYTES = 24,
};

void redis_await_init(struct redis_await *a, struct redis_link *commands,
                      struct redis_command *command)
{
    a->commands = commands;
    a->command = command;
}

void redis_await_done(struct redis_await *a)
{
    redis_items_done(&a->items);
}

/* ---- unblocking ---- */

static void unblock(struct redis_await *a, uint64_t client_id);

static void on_unblocked(redisAsyncContext *ac, void *reply, void *data)
{
    struct redis_await *a = data;
    const redisReply *answer = reply;

    (void)ac;
    if (answer == NULL)
        a->commands->is_up = false; /* nothing more can be sent on it */
    else if (answer->type == REDIS_REPLY_INTEGER && answer->integer == 0 && a->hurries > 0)
        unblock(a, a->client_id);
}

static void unblock(struct redis_await *a, uint64_t client_id)
{
    char id[NUMBER_BYTES];

    snprintf(id, sizeof(id), "%" PRIu64, client_id);
    a->hurries -= a->hurries > 0;
    if (redis_command_send_words(a->command, a->commands, on_unblocked, a,
                                 REDIS_WORDS("CLIENT", "UNBLOCK", id)) != 0)
        a->hurries = 0; /* the link is down, which breaks this one too */
}

void redis_await_hurry(struct redis_await *a)
{
    if (a->req == NULL)
        return;
    a->hurries = HURRIES;
    unblock(a, a->client_id);
}

void redis_await_on_commands_up(struct redis_await *a)
{
    if (a->orphan_id != 0)
        unblock(a, a->orphan_id);
    a->orphan_id = 0;
}

static void leave_orphan(struct redis_await *a)
{
    a->orphan_id = a->client_id;
    if (a->commands->is_up)
        redis_await_on_commands_up(a);
}

/* ---- the request ---- */

static void on_blocked(redisAsyncContext *ac, void *reply, void *data)
{
    struct redis_await *a = data;
    const redisReply *answer = reply;

    (void)ac;
    a->status = 0;
    if (answer == NULL) {
        a->link.is_up = false;
        a->status = JM_EUNKNOWN;
        leave_orphan(a);
    } else if (answer->type == REDIS_REPLY_ERROR) {
        log_warn("Redis refused to wait on %s: %s", a->req->key, answer->str);
        a->status = JM_EREFUSED;
    }
}

static void on_taken(redisAsyncContext *ac, void *reply, void *data)
{
    struct redis_await *a = data;

    (void)ac;
    if (a->status == 0)
        a->status = redis_reply_read(&a->items, a->req, reply);
}

static void on_read(redisAsyncContext *ac, void *reply, void *data)
{
    struct redis_await *a = data;
    struct carrier_req *req = a->req;

    (void)ac;
    if (reply == NULL)
        a->link.is_up = false;
    if (a->status == 0)
        a->status = redis_reply_read(&a->items, req, reply);
    req->status = a->status;
    a->req = NULL;
    a->hurries = 0;
    req->on_done(req);
}

static int send_part(struct redis_await *a, redis_reply_cb on_reply, const char *const *words)
{
    return redis_command_send_words(a->command, &a->link, on_reply, a, words);
}

int redis_await_send(struct redis_await *a, struct carrier_req *req)
{
    char first[NUMBER_BYTES], last[NUMBER_BYTES];

    assert(a->req == NULL);
    if (a->client_id == 0 ||
        send_part(a, on_blocked,
                  REDIS_WORDS("BLMOVE", req->key, req->key, "RIGHT", "RIGHT", AWAIT_SECONDS)) != 0)
        return JM_ECARRIER;
    snprintf(first, sizeof(first), "%" PRId64, req->first);
    snprintf(last, sizeof(last), "%" PRId64, req->last);
    /* Behind a command that was just taken only memory can be missing (redis_command.c). */
    if (send_part(a, on_taken, REDIS_WORDS("RENAMENX", req->key, req->other)) != 0 ||
        send_part(a, on_read, REDIS_WORDS("LRANGE", req->other, first, last)) != 0)
        abort();
    redis_link_bound(&a->link, a, req->max_bytes);
    a->req = req;
    return 0;
}

/* ---- the link ---- */

bool redis_await_is_free(const struct redis_await *a)
{
    return a->link.is_up && a->req == NULL;
}

static void on_id(redisAsyncContext *ac, void *reply, void *data)
{
    struct redis_await *a = data;
    const redisReply *answer = reply;

    (void)ac;
    if (answer == NULL)
        a->link.is_up = false;
    else if (answer->type == REDIS_REPLY_INTEGER)
        a->client_id = (uint64_t)answer->integer;
    else
        log_warn("Redis does not tell CLIENT ID: %s", answer->str != NULL ? answer->str : "");
}

void redis_await_on_up(struct redis_await *a)
{
    a->client_id = 0;
    if (send_part(a, on_id, REDIS_WORDS("CLIENT", "ID")) != 0)
        log_warn("Redis cannot be asked for CLIENT ID"); /* no memory; until the next link */
}

bool redis_await_is_stalled(const struct redis_await *a)
{
    return a->req != NULL &&
           clock_mono_ns(clock_real()) - a->req->sent_ns >= AWAIT_STALL_MS * UINT64_C(1000000);
}
