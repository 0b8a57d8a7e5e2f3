#include "broker/http_deadline.h"

void http_deadline_init_all(struct http_deadlines *all)
{
    for (unsigned i = 0; i < HTTP_WAIT_COUNT; i++) {
        list_init(&all->waiting[i]);
        all->limit_ms[i] = 0;
    }
}

void http_deadline_init(struct http_deadline *d)
{
    list_init(&d->link);
    d->wait = HTTP_WAIT_NONE;
    d->due_ms = HTTP_DEADLINE_NEVER;
}

void http_deadline_set(struct http_deadlines *all, struct http_deadline *d, enum http_wait wait,
                       uint64_t now_ms)
{
    list_remove(&d->link);
    d->wait = wait;
    d->due_ms = now_ms + all->limit_ms[wait];
    list_push_back(&all->waiting[wait], &d->link);
}

void http_deadline_clear(struct http_deadline *d)
{
    list_remove(&d->link);
    d->wait = HTTP_WAIT_NONE;
}

static struct http_deadline *first_of(const struct http_deadlines *all, unsigned wait)
{
    const struct list *head = &all->waiting[wait];

    return list_is_empty(head) ? NULL : LIST_ENTRY(head->next, struct http_deadline, link);
}

uint64_t http_deadline_next(const struct http_deadlines *all)
{
    uint64_t next = HTTP_DEADLINE_NEVER;

    for (unsigned i = 0; i < HTTP_WAIT_COUNT; i++) {
        const struct http_deadline *first = first_of(all, i);

        if (first != NULL && first->due_ms < next)
            next = first->due_ms;
    }
    return next;
}

struct http_deadline *http_deadline_take_due(struct http_deadlines *all, uint64_t now_ms,
                                             enum http_wait *ret_wait)
{
    for (unsigned i = 0; i < HTTP_WAIT_COUNT; i++) {
        struct http_deadline *first = first_of(all, i);

        if (first == NULL || first->due_ms > now_ms)
            continue;
        *ret_wait = first->wait;
        http_deadline_clear(first);
        return first;
    }
    return NULL;
}
