#include "broker/redis_reply.h"

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "schema/errors.h"

static bool items_fit(struct redis_items *all, size_t n)
{
    struct span *items;

    if (n <= all->cap)
        return true;
    items = realloc(all->items, n * sizeof(*items));
    if (items == NULL)
        return false;
    all->items = items;
    all->cap = n;
    return true;
}

void redis_items_done(struct redis_items *all)
{
    free(all->items);
    *all = (struct redis_items){0};
}

static int read_array(struct redis_items *all, struct carrier_req *req, const redisReply *reply)
{
    size_t dropped = 0;

    if (!items_fit(all, reply->elements))
        return JM_ENOMEM;
    while (dropped < reply->elements && reply->element[dropped] == NULL)
        dropped++; /* by redis_bound.c */
    for (size_t i = dropped; i < reply->elements; i++) {
        const redisReply *element = reply->element[i];

        if (element->type != REDIS_REPLY_STRING)
            return JM_EREFUSED;
        all->items[i - dropped] = span_of(element->str, element->len);
    }
    req->items = all->items;
    req->item_count = reply->elements - dropped;
    req->is_cut = dropped > 0;
    return 0;
}

/* The list that is to be taken does not exist: for us an answer, for Redis an error. */
static bool is_no_key(const struct carrier_req *req, const redisReply *reply)
{
    return (req->verb == CARRIER_TAKE || req->verb == CARRIER_AWAIT) &&
           strcmp(reply->str, "ERR no such key") == 0;
}

int redis_reply_read(struct redis_items *items, struct carrier_req *req, const redisReply *reply)
{
    if (reply == NULL)
        return JM_EUNKNOWN;
    switch (reply->type) {
    case REDIS_REPLY_INTEGER:
        req->number = reply->integer;
        return 0;
    case REDIS_REPLY_ARRAY:
        return read_array(items, req, reply);
    case REDIS_REPLY_STATUS:
        return 0;
    case REDIS_REPLY_NIL:
        return req->verb == CARRIER_DRAW ? 0 : JM_EREFUSED; /* LPOP of a list that is not there */
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

/* INFO answers lines "name:value\r\n". */
static struct span find_run_id(const redisReply *info)
{
    const char *at = strstr(info->str, "run_id:");

    if (at == NULL)
        return span_of("", 0);
    at += strlen("run_id:");
    return span_of(at, strcspn(at, "\r\n"));
}

int redis_reply_read_epoch(struct redis_items *all, struct carrier_req *req, const char *word,
                           const redisReply *info)
{
    if (info == NULL)
        return JM_EUNKNOWN;
    if (info->type != REDIS_REPLY_STRING)
        return JM_EREFUSED;
    if (!items_fit(all, 2))
        return JM_ENOMEM;
    all->items[0] = span_of_str(word);
    all->items[1] = find_run_id(info);
    req->items = all->items;
    req->item_count = 2;
    return 0;
}
