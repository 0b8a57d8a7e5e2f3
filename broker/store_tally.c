#include "broker/store_tally.h"

#include <stdlib.h>

void store_tally_init(struct store_tally *t)
{
    *t = (struct store_tally){0};
    list_init(&t->all);
    list_init(&t->touched);
}

void store_tally_done(struct store_tally *t)
{
    LIST_EACH_SAFE(node, &t->all)
    free(LIST_ENTRY(node, struct store_queue, in_all));
    hash_done(&t->by_name);
}

static struct store_queue *find(const struct store_tally *t, struct span name, uint64_t hash)
{
    struct hash_node *node = hash_find(&t->by_name, hash);

    for (; node != NULL; node = hash_find_next(node)) {
        struct store_queue *q = JM_CONTAINER_OF(node, struct store_queue, by_name);

        if (span_is_equal(store_tally_name(q), name))
            return q;
    }
    return NULL;
}

struct store_queue *store_tally_need(struct store_tally *t, struct span name)
{
    uint64_t hash = hash_of_span(name);
    struct store_queue *q = find(t, name, hash);

    if (q != NULL)
        return q;
    q = calloc(1, sizeof(*q) + name.len);
    if (q == NULL)
        return NULL;
    q->name_len = name.len;
    memcpy(q->name, name.data, name.len);
    list_init(&q->in_touched);
    if (hash_insert(&t->by_name, &q->by_name, hash) != 0) {
        free(q);
        return NULL;
    }
    list_push_back(&t->all, &q->in_all);
    return q;
}

void store_tally_move(struct store_tally *t, struct store_queue *q, enum job_state from,
                      enum job_state to)
{
    if (list_is_empty(&q->in_touched))
        list_push_back(&t->touched, &q->in_touched);
    q->delta.by_state[from]--;
    q->delta.by_state[to]++;
}

void store_tally_new(const struct store_queue *q, struct store_counts *ret_counts)
{
    for (size_t i = 0; i < JOB_STATE_LIMIT; i++)
        ret_counts->by_state[i] = q->now.by_state[i] + q->delta.by_state[i];
    ret_counts->by_state[JOB_NONE] = 0;
}

static void drop_deltas(struct store_tally *t, bool is_counted)
{
    LIST_EACH(node, &t->touched)
    {
        struct store_queue *q = LIST_ENTRY(node, struct store_queue, in_touched);
        struct store_counts counts;

        store_tally_new(q, &counts);
        if (is_counted)
            q->now = counts;
        q->delta = (struct store_counts){0};
    }
}

static void forget_touched(struct store_tally *t)
{
    while (list_pop_front(&t->touched) != NULL)
        ;
}

void store_tally_begin(struct store_tally *t)
{
    forget_touched(t);
}

void store_tally_commit(struct store_tally *t)
{
    drop_deltas(t, true);
}

void store_tally_rollback(struct store_tally *t)
{
    drop_deltas(t, false);
    forget_touched(t);
}
