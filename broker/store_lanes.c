#include "broker/store_lanes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void store_lanes_init(struct store_lanes *ls)
{
    *ls = (struct store_lanes){.next_number = 1};
    list_init(&ls->all);
    list_init(&ls->touched);
    list_init(&ls->idle);
}

void store_lanes_done(struct store_lanes *ls)
{
    LIST_EACH_SAFE(node, &ls->all)
    free(LIST_ENTRY(node, struct store_lane, in_all));
    hash_done(&ls->by_name);
    hash_done(&ls->by_number);
}

static uint64_t hash_of(const struct store_queue *queue, struct span task, uint32_t priority,
                        struct span key)
{
    uint64_t hash = hash_of_u64((uint64_t)(uintptr_t)queue + priority);

    return hash_of_u64(hash ^ hash_of_span(task) ^
                       (key.len > 0 ? hash_of_u64(hash_of_span(key)) : 0));
}

static struct store_lane *find(const struct store_lanes *ls, const struct store_queue *queue,
                               struct span task, uint32_t priority, struct span key, uint64_t hash)
{
    struct hash_node *node = hash_find(&ls->by_name, hash);

    for (; node != NULL; node = hash_find_next(node)) {
        struct store_lane *lane = JM_CONTAINER_OF(node, struct store_lane, by_name);

        if (lane->queue == queue && lane->priority == priority &&
            span_is_equal(store_lane_task(lane), task) && span_is_equal(store_lane_key(lane), key))
            return lane;
    }
    return NULL;
}

static struct store_lane *lane_new(struct store_queue *queue, struct span task, uint32_t priority,
                                   struct span key)
{
    struct store_lane *lane = calloc(1, sizeof(*lane) + task.len + key.len);

    if (lane == NULL)
        return NULL;
    lane->queue = queue;
    lane->priority = priority;
    lane->task_len = task.len;
    lane->key_len = key.len;
    memcpy(lane->texts, task.data, task.len);
    if (key.len > 0)
        memcpy(lane->texts + task.len, key.data, key.len);
    list_init(&lane->in_touched);
    list_init(&lane->in_idle);
    return lane;
}

static struct store_lane *add(struct store_lanes *ls, struct store_lane *lane, uint64_t hash)
{
    if (lane == NULL)
        return NULL;
    if (hash_insert(&ls->by_name, &lane->by_name, hash) != 0) {
        free(lane);
        return NULL;
    }
    if (hash_insert(&ls->by_number, &lane->by_number, hash_of_u64((uint64_t)lane->number)) != 0) {
        hash_remove(&ls->by_name, &lane->by_name);
        free(lane);
        return NULL;
    }
    list_push_back(&ls->all, &lane->in_all);
    return lane;
}

struct store_lane *store_lanes_need(struct store_lanes *ls, struct store_queue *queue,
                                    struct span task, uint32_t priority, struct span key)
{
    uint64_t hash = hash_of(queue, task, priority, key);
    struct store_lane *lane = find(ls, queue, task, priority, key, hash);

    if (lane != NULL)
        return lane;
    lane = lane_new(queue, task, priority, key);
    if (lane != NULL)
        lane->number = ls->next_number++;
    return add(ls, lane, hash);
}

struct store_lane *store_lanes_restore(struct store_lanes *ls, int64_t number,
                                       struct store_queue *queue, struct span task,
                                       uint32_t priority, struct span key)
{
    struct store_lane *lane = lane_new(queue, task, priority, key);

    if (lane != NULL) {
        lane->number = number;
        lane->is_stored = true;
    }
    if (number >= ls->next_number)
        ls->next_number = number + 1;
    return add(ls, lane, hash_of(queue, task, priority, key));
}

struct store_lane *store_lanes_find(const struct store_lanes *ls, int64_t number)
{
    struct hash_node *node = hash_find(&ls->by_number, hash_of_u64((uint64_t)number));

    for (; node != NULL; node = hash_find_next(node)) {
        struct store_lane *lane = JM_CONTAINER_OF(node, struct store_lane, by_number);

        if (lane->number == number)
            return lane;
    }
    return NULL;
}

void store_lanes_remove(struct store_lanes *ls, struct store_lane *lane)
{
    assert(lane->live + lane->live_delta == 0);
    hash_remove(&ls->by_name, &lane->by_name);
    hash_remove(&ls->by_number, &lane->by_number);
    list_remove(&lane->in_all);
    list_remove(&lane->in_touched);
    list_remove(&lane->in_idle);
    free(lane);
}

static bool is_live(enum job_state state)
{
    return state != JOB_NONE && !job_state_is_terminal(state);
}

void store_lanes_move(struct store_lanes *ls, struct store_lane *lane, enum job_state from,
                      enum job_state to)
{
    if (list_is_empty(&lane->in_touched))
        list_push_back(&ls->touched, &lane->in_touched);
    lane->live_delta += (is_live(to) ? 1 : 0) - (is_live(from) ? 1 : 0);
    lane->queued_delta += (to == JOB_QUEUED ? 1 : 0) - (from == JOB_QUEUED ? 1 : 0);
}

static void forget_touched(struct store_lanes *ls)
{
    while (list_pop_front(&ls->touched) != NULL)
        ;
}

void store_lanes_begin(struct store_lanes *ls)
{
    forget_touched(ls);
}

static void note_idle(struct store_lanes *ls, struct store_lane *lane, int64_t now_ms)
{
    list_remove(&lane->in_idle);
    if (lane->live > 0)
        return;
    lane->idle_since_ms = now_ms;
    list_push_back(&ls->idle, &lane->in_idle);
}

/* What the dispatch needs to hear of stays in the list: lanes whose backlog changed. */
void store_lanes_commit(struct store_lanes *ls, int64_t now_ms)
{
    LIST_EACH_SAFE(node, &ls->touched)
    {
        struct store_lane *lane = LIST_ENTRY(node, struct store_lane, in_touched);

        lane->live += lane->live_delta;
        lane->queued += lane->queued_delta;
        lane->is_stored_by_batch = false;
        note_idle(ls, lane, now_ms);
        if (lane->queued_delta == 0)
            list_remove(&lane->in_touched);
        lane->live_delta = lane->queued_delta = 0;
    }
}

void store_lanes_rollback(struct store_lanes *ls)
{
    LIST_EACH_SAFE(node, &ls->touched)
    {
        struct store_lane *lane = LIST_ENTRY(node, struct store_lane, in_touched);

        if (lane->is_stored_by_batch)
            lane->is_stored = lane->is_stored_by_batch = false;
        lane->live_delta = lane->queued_delta = 0;
        if (!lane->is_stored)
            store_lanes_remove(ls, lane);
    }
    forget_touched(ls);
}

void store_lanes_note_idle(struct store_lanes *ls, int64_t now_ms)
{
    LIST_EACH(node, &ls->all)
    note_idle(ls, LIST_ENTRY(node, struct store_lane, in_all), now_ms);
}
