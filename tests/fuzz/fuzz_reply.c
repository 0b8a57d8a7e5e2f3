/*
 * Any bytes as an answer of Redis to each of the broker's requests: what hiredis makes of them is
 * taken, or refused, and what the request then points to can be read. The first byte is the verb.
 */
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "broker/redis_reply.h"
#include "lib/log.h"
#include "schema/errors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void read_items(const struct carrier_req *req)
{
    unsigned sum = 0;

    for (size_t i = 0; i < req->item_count; i++)
        for (size_t j = 0; j < req->items[i].len; j++)
            sum += req->items[i].data[j];
    require(sum < UINT32_MAX);
}

static void try_reply(enum carrier_verb verb, const redisReply *reply)
{
    struct redis_items items = {.items = NULL};
    struct carrier_req req = {.verb = verb, .key = "key"};
    int rc = redis_reply_read(&items, &req, reply);

    require(rc == 0 || rc == JM_EREFUSED || rc == JM_EUNKNOWN);
    if (rc == 0)
        read_items(&req);
    req = (struct carrier_req){.verb = CARRIER_EPOCH, .key = "key"};
    rc = redis_reply_read_epoch(&items, &req, "word", reply);
    require(rc == 0 || rc == JM_EREFUSED);
    if (rc == 0)
        read_items(&req);
    redis_items_done(&items);
}

/* hiredis makes room for as many elements as an array says it has, before there is one. */
static bool promises_too_much(const uint8_t *data, size_t size)
{
    size_t digits = 0;

    for (size_t i = 0; i < size; i++) {
        digits = data[i] >= '0' && data[i] <= '9' ? digits + 1 : 0;
        if (digits > 5)
            return true;
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    redisReader *reader;
    void *reply = NULL;

    if (size < 1 || promises_too_much(data + 1, size - 1))
        return 0;
    log_setup("fuzz", LOG_LEVEL_ERROR);
    reader = redisReaderCreate();
    require(reader != NULL);
    if (redisReaderFeed(reader, (const char *)data + 1, size - 1) == REDIS_OK)
        while (redisReaderGetReply(reader, &reply) == REDIS_OK && reply != NULL) {
            try_reply((enum carrier_verb)(data[0] % (CARRIER_EPOCH + 1)), reply);
            freeReplyObject(reply);
            reply = NULL;
        }
    redisReaderFree(reader);
    return 0;
}
