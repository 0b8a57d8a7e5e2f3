/*
 * The reader of hiredis makes its objects by functions that can be others. An element that came
 * earlier stands at a lower index, and a range of a list begins with the youngest entry: to keep
 * the end of the answer is to keep the oldest. All of it still has to be received, and a string is
 * in the reader's buffer as a whole before it becomes an object.
 */
#include "broker/redis_bound.h"

#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdlib.h>

#include "schema/limits.h"

struct redis_bound {
    redisReplyObjectFunctions functions; /* the reader's own, but for strings */
    void *(*create_string)(const redisReadTask *task, char *text, size_t len);
    redisAsyncContext *ac;
    const void *data; /* whose answers are bounded: what its command was sent with */
    size_t max_bytes;
    size_t kept_bytes; /* of the array that is coming in */
    size_t dropped;    /* of its elements, which are NULL */
};

/* Only the oldest command that is not answered can be what an object belongs to. */
static bool is_bounded(const struct redis_bound *b, const redisReadTask *task)
{
    const redisCallback *next = b->ac->replies.head;

    return b->max_bytes > 0 && task->parent != NULL && next != NULL && next->privdata == b->data;
}

static void drop_first(struct redis_bound *b, redisReply *array)
{
    redisReply *first = array->element[b->dropped];

    b->kept_bytes -= first->len;
    b->functions.freeObject(first);
    array->element[b->dropped++] = NULL;
}

static void *create_string(const redisReadTask *task, char *text, size_t len)
{
    struct redis_bound *b = task->privdata;
    void *made;

    if (!is_bounded(b, task))
        return b->create_string(task, text, len);
    if (task->idx == 0)
        b->kept_bytes = b->dropped = 0;
    if (len > JM_EVENT_BYTES)
        len = JM_EVENT_BYTES + 1; /* enough to see that it is too long */
    made = b->create_string(task, text, len);
    if (made == NULL)
        return NULL;
    b->kept_bytes += len;
    while (b->kept_bytes > b->max_bytes && b->dropped < (size_t)task->idx)
        drop_first(b, task->parent->obj);
    return made;
}

struct redis_bound *redis_bound_new(redisAsyncContext *ac)
{
    struct redis_bound *b = calloc(1, sizeof(*b));

    if (b == NULL)
        return NULL;
    b->ac = ac;
    b->functions = *ac->c.reader->fn;
    b->create_string = b->functions.createString;
    b->functions.createString = create_string;
    ac->c.reader->fn = &b->functions;
    ac->c.reader->privdata = b;
    return b;
}

void redis_bound_free(struct redis_bound *b)
{
    free(b);
}

void redis_bound_set(struct redis_bound *b, const void *data, size_t max_bytes)
{
    b->data = data;
    b->max_bytes = max_bytes;
}
