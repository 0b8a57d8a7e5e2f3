#include "broker/queues.h"

#include <stdlib.h>
#include <string.h>

#include "broker/lanes.h"
#include "schema/limits.h"

void queues_init(struct queues *qs)
{
    *qs = (struct queues){0};
    list_init(&qs->all);
    list_init(&qs->by_served);
}

void queues_done(struct queues *qs)
{
    struct list *node;

    while ((node = list_pop_front(&qs->all)) != NULL) {
        struct queue *q = queues_entry(node);

        for (size_t i = 0; i < JM_COUNT_OF(q->ready); i++)
            heap_done(&q->ready[i]);
        heap_done(&q->fresh);
        heap_done(&q->resting);
        free(q);
    }
    hash_done(&qs->by_name);
}

struct queue *queues_find(const struct queues *qs, struct span name)
{
    struct hash_node *node = hash_find(&qs->by_name, hash_of_span(name));

    for (; node != NULL; node = hash_find_next(node)) {
        struct queue *q = JM_CONTAINER_OF(node, struct queue, by_name);

        if (span_is_equal(q->name, name))
            return q;
    }
    return NULL;
}

static struct queue *queue_new(struct span name)
{
    struct queue *q = calloc(1, sizeof(*q) + name.len);
    char *copy = (char *)(q + 1);

    if (q == NULL)
        return NULL;
    memcpy(copy, name.data, name.len);
    q->name = span_of(copy, name.len);
    keys_queue(q->key, copy, name.len);
    window_init(&q->window);
    q->favours = LANES_FAVOURS;
    list_init(&q->setting);
    list_init(&q->jobs);
    list_init(&q->turns);
    list_init(&q->outbox);
    list_init(&q->urgent);
    list_init(&q->at_task);
    timer_init(&q->tokens, NULL);
    list_init(&q->in_served);
    list_init(&q->marked);
    list_init(&q->waiting);
    return q;
}

struct queue *queues_need(struct queues *qs, struct span name)
{
    struct queue *q = queues_find(qs, name);

    if (q != NULL || qs->by_name.len >= JM_QUEUES)
        return q;
    q = queue_new(name);
    if (q == NULL || hash_insert(&qs->by_name, &q->by_name, hash_of_span(name)) < 0) {
        free(q);
        return NULL;
    }
    list_push_back(&qs->all, &q->in_order);
    list_push_front(&qs->by_served, &q->in_served);
    return q;
}

void queues_note_served(struct queues *qs, struct queue *q)
{
    q->served = ++qs->served;
    list_remove(&q->in_served);
    list_push_back(&qs->by_served, &q->in_served);
}

size_t queues_count(const struct queues *qs)
{
    return qs->by_name.len;
}
