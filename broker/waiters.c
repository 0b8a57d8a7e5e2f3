#include "broker/waiters.h"

#include "schema/errors.h"
#include "schema/limits.h"

void waiters_init(struct waiters *ws)
{
    *ws = (struct waiters){0};
    list_init(&ws->marked);
}

void waiters_done(struct waiters *ws)
{
    hash_done(&ws->by_id);
}

int waiters_add(struct waiters *ws, struct waiter *w, uint64_t id)
{
    if (ws->by_id.len >= JM_WAITERS)
        return JM_EBUSYWAIT;
    if (hash_insert(&ws->by_id, &w->by_id, hash_of_u64(id)) < 0)
        return JM_ENOMEM;
    w->id = id;
    w->is_registered = true;
    list_init(&w->marked);
    return 0;
}

void waiters_remove(struct waiters *ws, struct waiter *w)
{
    if (!w->is_registered)
        return;
    hash_remove(&ws->by_id, &w->by_id);
    list_remove(&w->marked);
    w->is_registered = false;
}

void waiters_mark(struct waiters *ws, uint64_t id)
{
    struct hash_node *node = hash_find(&ws->by_id, hash_of_u64(id));

    for (; node != NULL; node = hash_find_next(node)) {
        struct waiter *w = JM_CONTAINER_OF(node, struct waiter, by_id);

        if (w->id == id && list_is_empty(&w->marked))
            list_push_back(&ws->marked, &w->marked);
    }
}

bool waiters_has_marked(const struct waiters *ws)
{
    return !list_is_empty(&ws->marked);
}

void waiters_turn(struct waiters *ws)
{
    struct list *node;

    while ((node = ws->marked.next) != &ws->marked) {
        struct waiter *w = LIST_ENTRY(node, struct waiter, marked);

        waiters_remove(ws, w);
        w->on_end(w);
    }
}

size_t waiters_count(const struct waiters *ws)
{
    return ws->by_id.len;
}
