#include "broker/lanes_inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/queues.h"
#include "schema/errors.h"
#include "schema/limits.h"

enum { IDLE_LOOKS = 8 }; /* idle keys that are looked at when one more is made */

/* ---- keys ---- */

static uint64_t hash_of_key(const struct queue *q, struct span name)
{
    return hash_of_u64(hash_of_u64((uint64_t)(uintptr_t)q) ^ hash_of_span(name));
}

static void note_idle(struct lanes *ls, struct key *key)
{
    bool is_idle = key->out == 0 && list_is_empty(&key->turns);

    if (is_idle)
        key->credit = LANES_CREDIT;
    if (key->name_len == 0)
        return;
    list_remove(&key->in_idle);
    if (is_idle)
        list_push_back(&ls->idle_keys, &key->in_idle);
}

/* Those that are kept only for their bucket go when it has come to be full, or is none any more; or
 * when there are too many of them. */
static void drop_idle(struct lanes *ls)
{
    for (int i = 0; i < IDLE_LOOKS; i++) {
        struct list *node = list_pop_front(&ls->idle_keys);
        struct key *key;

        if (node == NULL)
            return;
        key = LIST_ENTRY(node, struct key, in_idle);
        if (key->queue->conf.key_rate.limit > 0 && key->bucket.full_at_us > ls->now_us &&
            ls->keys.len < JM_LIMIT_KEYS) {
            list_push_back(&ls->idle_keys, &key->in_idle);
            continue;
        }
        hash_remove(&ls->keys, &key->by_name);
        free(key);
    }
}

struct key *lanes_find_key(const struct lanes *ls, const struct queue *q, struct span name)
{
    struct hash_node *node = hash_find(&ls->keys, hash_of_key(q, name));

    for (; node != NULL; node = hash_find_next(node)) {
        struct key *key = JM_CONTAINER_OF(node, struct key, by_name);

        if (key->queue == q && span_is_equal(lanes_key_name(key), name))
            return key;
    }
    return NULL;
}

struct key *lanes_key(struct lanes *ls, struct queue *q, struct span name)
{
    struct key *key = lanes_find_key(ls, q, name);

    if (key != NULL)
        return key;
    drop_idle(ls);
    key = calloc(1, sizeof(*key) + name.len);
    if (key == NULL)
        return NULL;
    if (hash_insert(&ls->keys, &key->by_name, hash_of_key(q, name)) != 0) {
        free(key);
        return NULL;
    }
    key->queue = q;
    key->name_len = name.len;
    if (name.len > 0)
        memcpy(key->name, name.data, name.len);
    list_init(&key->turns);
    list_init(&key->in_idle);
    if (name.len == 0)
        list_push_back(&ls->kept_keys, &key->in_idle);
    note_idle(ls, key);
    return key;
}

size_t lanes_key_room(const struct key *key)
{
    uint32_t limit = key->queue->conf.key_concurrency;

    if (limit == 0 || key->name_len == 0)
        return SIZE_MAX;
    return key->out < limit ? limit - key->out : 0;
}

static void reorder_ready(struct turn *turn)
{
    struct queue *q = turn->key->queue;

    heap_move(&q->ready[turn->priority], &turn->node, turn->key->out, turn->order);
    if (heap_has(&turn->fresh))
        heap_move(&q->fresh, &turn->fresh, lanes_rank(turn), turn->order);
}

/* The turns of a key stand where the number of its jobs that are out puts them. */
static void reorder(struct lanes *ls, struct key *key)
{
    bool has_room = lanes_key_room(key) > 0;

    LIST_EACH(node, &key->turns)
    {
        struct turn *turn = LIST_ENTRY(node, struct turn, in_key);

        if (turn->place == TURN_READY)
            reorder_ready(turn);
        else if (turn->place == TURN_AT_TASK)
            lanes_reorder_at_tasks(turn);
        else if (turn->place == TURN_AT_KEY && has_room)
            lanes_enter(turn, TURN_READY, 0);
    }
    note_idle(ls, key);
}

void lanes_key_take(struct lanes *ls, struct key *key, uint32_t count)
{
    key->out += count;
    reorder(ls, key);
}

void lanes_key_give(struct lanes *ls, struct key *key, uint32_t count)
{
    assert(key->out >= count);
    key->out -= count;
    reorder(ls, key);
}

void lanes_key_spend(struct key *key, uint32_t count)
{
    key->credit -= count < key->credit ? count : key->credit;
    if (key->credit > 0)
        return;
    LIST_EACH(node, &key->turns)
    heap_remove(&key->queue->fresh, &LIST_ENTRY(node, struct turn, in_key)->fresh);
}

/* ---- turns ---- */

bool lanes_is_before(const struct turn *a, const struct turn *b)
{
    return a->key->out != b->key->out ? a->key->out < b->key->out : a->order < b->order;
}

static void leave(struct turn *turn)
{
    struct queue *q = turn->key->queue;

    heap_remove(&q->fresh, &turn->fresh);
    if (turn->place == TURN_READY)
        heap_remove(&q->ready[turn->priority], &turn->node);
    else if (turn->place == TURN_AT_RATE)
        heap_remove(&q->resting, &turn->node);
    else if (turn->place == TURN_AT_TASK)
        lanes_leave_tasks(turn);
    turn->place = TURN_NOWHERE;
}

/* Each heap has room for every turn (reserve_places): one that found no place would be forgotten,
 * with its jobs. */
static void put(struct heap *heap, struct heap_node *node, uint64_t rank, uint64_t order)
{
    int rc = heap_insert(heap, node, rank, order);

    assert(rc == 0);
    (void)rc;
}

void lanes_enter(struct turn *turn, enum turn_place place, uint64_t until_us)
{
    struct queue *q = turn->key->queue;

    leave(turn);
    if (place == TURN_AT_TASK && !lanes_rest_at_tasks(turn))
        place = TURN_READY;
    if (place == TURN_READY)
        put(&q->ready[turn->priority], &turn->node, turn->key->out, turn->order);
    else if (place == TURN_AT_RATE)
        put(&q->resting, &turn->node, until_us, turn->order);
    turn->place = place;
    if (place == TURN_READY && turn->key->credit > 0)
        put(&q->fresh, &turn->fresh, lanes_rank(turn), turn->order);
}

static bool reserve_places(struct queue *q, uint32_t priority)
{
    return heap_reserve(&q->ready[priority], q->turns_at[priority] + 1) == 0 &&
           heap_reserve(&q->resting, q->turn_count + 1) == 0 &&
           heap_reserve(&q->fresh, q->turn_count + 1) == 0;
}

static void count_turn(const struct turn *turn, int by)
{
    turn->key->queue->turn_count += (uint32_t)by;
    turn->key->queue->turns_at[turn->priority] += (uint32_t)by;
}

static struct turn *need_turn(struct lanes *ls, struct key *key, uint32_t priority)
{
    struct turn *turn;

    LIST_EACH(node, &key->turns)
    {
        turn = LIST_ENTRY(node, struct turn, in_key);
        if (turn->priority == priority)
            return turn;
    }
    turn = reserve_places(key->queue, priority) ? calloc(1, sizeof(*turn)) : NULL;
    if (turn == NULL)
        return NULL;
    turn->key = key;
    turn->priority = priority;
    turn->order = ++ls->order;
    list_init(&turn->lanes);
    list_init(&turn->in_plan);
    list_init(&turn->set_aside);
    list_push_back(&key->turns, &turn->in_key);
    list_push_back(&key->queue->turns, &turn->in_queue);
    count_turn(turn, 1);
    note_idle(ls, key);
    return turn;
}

static void drop_turn(struct lanes *ls, struct turn *turn)
{
    lanes_enter(turn, TURN_NOWHERE, 0);
    list_remove(&turn->in_key);
    list_remove(&turn->in_queue);
    count_turn(turn, -1);
    note_idle(ls, turn->key);
    free(turn);
}

void lanes_wake_queue(struct queue *q)
{
    LIST_EACH(node, &q->turns)
    {
        struct turn *turn = LIST_ENTRY(node, struct turn, in_queue);

        if (turn->place != TURN_READY)
            lanes_enter(turn, TURN_READY, 0);
    }
}

void lanes_wake_key(struct key *key)
{
    LIST_EACH(node, &key->turns)
    {
        struct turn *turn = LIST_ENTRY(node, struct turn, in_key);

        if (turn->place == TURN_AT_RATE)
            lanes_enter(turn, TURN_READY, 0);
    }
}

void lanes_wake_rested(struct queue *q, uint64_t now_us)
{
    struct heap_node *node;

    while ((node = heap_first(&q->resting)) != NULL && node->rank <= now_us)
        lanes_enter(JM_CONTAINER_OF(node, struct turn, node), TURN_READY, 0);
}

/* ---- lanes ---- */

static struct lane *find_lane(const struct lanes *ls, int64_t number)
{
    struct hash_node *node = hash_find(&ls->by_number, hash_of_u64((uint64_t)number));

    for (; node != NULL; node = hash_find_next(node)) {
        struct lane *lane = JM_CONTAINER_OF(node, struct lane, by_number);

        if (lane->number == number)
            return lane;
    }
    return NULL;
}

static void drop_lane(struct lanes *ls, struct lane *lane)
{
    struct turn *turn = lane->turn;

    hash_remove(&ls->by_number, &lane->by_number);
    list_remove(&lane->in_all);
    list_remove(&lane->in_turn);
    lanes_leave_task(lane);
    free(lane);
    if (list_is_empty(&turn->lanes))
        drop_turn(ls, turn);
}

static struct lane *add_lane(struct lanes *ls, struct queue *q, const struct store_lane_view *view)
{
    struct key *key = lanes_key(ls, q, view->limit_key);
    struct turn *turn = key != NULL ? need_turn(ls, key, view->priority) : NULL;
    struct lane *lane = turn != NULL ? calloc(1, sizeof(*lane) + view->task.len) : NULL;

    if (lane != NULL &&
        hash_insert(&ls->by_number, &lane->by_number, hash_of_u64((uint64_t)view->number)) != 0) {
        free(lane);
        lane = NULL;
    }
    if (lane == NULL) {
        if (turn != NULL && list_is_empty(&turn->lanes))
            drop_turn(ls, turn);
        return NULL;
    }
    lane->number = view->number;
    lane->turn = turn;
    lane->policy = lanes_policy(ls, view->task);
    lane->task_len = view->task.len;
    memcpy(lane->task, view->task.data, view->task.len);
    list_push_back(&ls->all, &lane->in_all);
    list_push_back(&turn->lanes, &lane->in_turn);
    return lane;
}

int lanes_note(struct lanes *ls, struct queue *q, const struct store_lane_view *view)
{
    struct lane *lane = find_lane(ls, view->number);
    bool is_new = lane == NULL;

    if (view->queued == 0) {
        if (lane != NULL)
            drop_lane(ls, lane);
        return 0;
    }
    if (lane == NULL)
        lane = add_lane(ls, q, view);
    if (lane == NULL)
        return JM_ENOMEM;
    lane->queued = view->queued;
    /* A lane that is new to its turn may be of a task that has room. */
    if (lane->turn->place == TURN_NOWHERE || (is_new && lane->turn->place == TURN_AT_TASK))
        lanes_enter(lane->turn, TURN_READY, 0);
    return 0;
}

/* ---- all ---- */

void lanes_init(struct lanes *ls)
{
    *ls = (struct lanes){.order = 0};
    list_init(&ls->all);
    list_init(&ls->idle_keys);
    list_init(&ls->kept_keys);
    list_init(&ls->all_policies);
}

static void free_keys(struct lanes *ls, struct list *keys)
{
    struct list *node;

    while ((node = list_pop_front(keys)) != NULL) {
        struct key *key = LIST_ENTRY(node, struct key, in_idle);

        hash_remove(&ls->keys, &key->by_name);
        free(key);
    }
}

/* Keys go once nothing waits of them: the jobs that are out are gone already. */
void lanes_done(struct lanes *ls)
{
    struct list *node;

    while (!list_is_empty(&ls->all))
        drop_lane(ls, LIST_ENTRY(ls->all.next, struct lane, in_all));
    free_keys(ls, &ls->idle_keys);
    free_keys(ls, &ls->kept_keys);
    while ((node = list_pop_front(&ls->all_policies)) != NULL)
        free(LIST_ENTRY(node, struct task_policy, in_all));
    hash_done(&ls->by_number);
    hash_done(&ls->keys);
    hash_done(&ls->policies);
}
