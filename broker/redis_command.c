#include "broker/redis_command.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/errors.h"

enum {
    WORDS_MAX = 1100, /* values of one push, and what comes with them */
    NUMBER_BYTES = 24,
};

int redis_command_init(struct redis_command *c)
{
    c->words = calloc(WORDS_MAX, sizeof(*c->words));
    c->lens = calloc(WORDS_MAX, sizeof(*c->lens));
    return c->words != NULL && c->lens != NULL ? 0 : JM_ENOMEM;
}

void redis_command_done(struct redis_command *c)
{
    free(c->words);
    free(c->lens);
}

static void add(struct redis_command *c, const void *bytes, size_t len)
{
    assert(c->count < WORDS_MAX);
    c->words[c->count] = bytes;
    c->lens[c->count++] = len;
}

static void set_words(struct redis_command *c, const char *const *words)
{
    c->count = 0;
    for (; *words != NULL; words++)
        add(c, *words, strlen(*words));
}

static void add_values(struct redis_command *c, const struct carrier_req *req)
{
    for (size_t i = 0; i < req->value_count; i++)
        add(c, req->values[i].data, req->values[i].len);
}

static int send_it(struct redis_command *c, struct redis_link *link, redis_reply_cb on_reply,
                   void *data)
{
    return redis_link_send(link, on_reply, data, c->count, c->words, c->lens);
}

int redis_command_send_words(struct redis_command *c, struct redis_link *link,
                             redis_reply_cb on_reply, void *data, const char *const *words)
{
    set_words(c, words);
    return send_it(c, link, on_reply, data);
}

static int send_with_values(struct redis_command *c, struct redis_link *link,
                            redis_reply_cb on_reply, struct carrier_req *req,
                            const char *const *words)
{
    set_words(c, words);
    add_values(c, req);
    return send_it(c, link, on_reply, req);
}

static int send_range(struct redis_command *c, struct redis_link *link, redis_reply_cb on_reply,
                      struct carrier_req *req)
{
    char first[NUMBER_BYTES], last[NUMBER_BYTES];

    snprintf(first, sizeof(first), "%lld", (long long)req->first);
    snprintf(last, sizeof(last), "%lld", (long long)req->last);
    return redis_command_send_words(c, link, on_reply, req,
                                    REDIS_WORDS("LRANGE", req->key, first, last));
}

static int send_draw(struct redis_command *c, struct redis_link *link, redis_reply_cb on_reply,
                     struct carrier_req *req)
{
    char count[NUMBER_BYTES];

    snprintf(count, sizeof(count), "%lld", (long long)req->first);
    return redis_command_send_words(c, link, on_reply, req, REDIS_WORDS("LPOP", req->key, count));
}

/* Behind a first command that was just taken only memory can be missing; and then the request is
 * half out, with an answer to come that would find it gone. */
static void send_second(struct redis_command *c, struct redis_link *link, struct carrier_req *req,
                        const struct redis_callbacks *callbacks, const char *const *words)
{
    if (redis_command_send_words(c, link, callbacks->on_second, req, words) != 0)
        abort();
}

static int send_order(struct redis_command *c, struct redis_link *link, struct carrier_req *req,
                      const struct redis_callbacks *callbacks)
{
    char last[NUMBER_BYTES];
    int status =
        send_with_values(c, link, callbacks->on_first, req, REDIS_WORDS("LPUSH", req->key));

    snprintf(last, sizeof(last), "%lld", (long long)req->last);
    if (status != 0)
        return status;
    send_second(c, link, req, callbacks, REDIS_WORDS("LTRIM", req->key, "0", last));
    return 0;
}

static int send_epoch(struct redis_command *c, struct redis_link *link, struct carrier_req *req,
                      const struct redis_callbacks *callbacks)
{
    int status;

    set_words(c, REDIS_WORDS("SET", req->key));
    add_values(c, req);
    add(c, "NX", 2);
    add(c, "GET", 3);
    status = send_it(c, link, callbacks->on_first, req);
    if (status != 0)
        return status;
    send_second(c, link, req, callbacks, REDIS_WORDS("INFO", "server"));
    return 0;
}

int redis_command_send(struct redis_command *c, struct redis_link *link, struct carrier_req *req,
                       const struct redis_callbacks *callbacks)
{
    redis_reply_cb on_reply = callbacks->on_reply;

    switch (req->verb) {
    case CARRIER_PUSH:
        return send_with_values(c, link, on_reply, req, REDIS_WORDS("LPUSH", req->key));
    case CARRIER_PUSH_NEXT:
        return send_with_values(c, link, on_reply, req, REDIS_WORDS("RPUSH", req->key));
    case CARRIER_DRAW:
        return send_draw(c, link, on_reply, req);
    case CARRIER_RECALL:
        return send_with_values(c, link, on_reply, req, REDIS_WORDS("LREM", req->key, "1"));
    case CARRIER_FORGET:
        return send_with_values(c, link, on_reply, req, REDIS_WORDS("HDEL", KEYS_HOSTS));
    case CARRIER_TAKE:
        return redis_command_send_words(c, link, on_reply, req,
                                        REDIS_WORDS("RENAMENX", req->key, req->other));
    case CARRIER_REMOVE:
        return redis_command_send_words(c, link, on_reply, req, REDIS_WORDS("UNLINK", req->key));
    case CARRIER_HOSTS:
        return redis_command_send_words(c, link, on_reply, req, REDIS_WORDS("HGETALL", KEYS_HOSTS));
    case CARRIER_READ:
        return send_range(c, link, on_reply, req);
    case CARRIER_ORDER:
        return send_order(c, link, req, callbacks);
    case CARRIER_EPOCH:
        return send_epoch(c, link, req, callbacks);
    case CARRIER_AWAIT:
        break; /* redis_await.c's */
    }
    return JM_EINVAL;
}
