/*
 * dispatch_plan.c: who goes next. Highest priority first; within one the key that has the fewest
 * jobs out, which counts those that are chosen here, so that keys take turns job by job. Whoever
 * may not go rests (lanes.h). What is chosen is held at its key, task and buckets until the take is
 * over, since only the store can say how many there really were.
 */
#include "broker/dispatch_inside.h"

#include "broker/core.h"
#include "schema/limits.h"

enum { PLAN_BYTES = 4 << 20 };

void dispatch_plan_init(struct plan *p)
{
    *p = (struct plan){.jobs = 0};
    buf_init(&p->turns, PLAN_BYTES);
    buf_init(&p->lanes, PLAN_BYTES);
    buf_init(&p->held_turns, PLAN_BYTES);
    buf_init(&p->held_lanes, PLAN_BYTES);
}

void dispatch_plan_done(struct plan *p)
{
    buf_done(&p->turns);
    buf_done(&p->lanes);
    buf_done(&p->held_turns);
    buf_done(&p->held_lanes);
}

static size_t lesser(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* ---- may it go? ---- */

/* How many of the turn's jobs are of tasks that have room; the first task that has none. */
static size_t tasks_room(const struct turn *turn, struct task_policy **ret_full)
{
    size_t room = 0;

    *ret_full = NULL;
    LIST_EACH(node, &turn->lanes)
    {
        const struct lane *lane = LIST_ENTRY(node, struct lane, in_turn);
        size_t of_task = lanes_policy_room(lane->policy);

        if (of_task == 0 && *ret_full == NULL)
            *ret_full = lane->policy;
        room += lesser(of_task, (size_t)lane->queued);
    }
    return room;
}

static const struct conf_rate *rate_of(const struct turn *turn)
{
    const struct conf_rate *rate = &turn->key->queue->conf.key_rate;

    return rate->limit > 0 && turn->key->name_len > 0 ? rate : NULL;
}

/* How many more of the turn's jobs may go now; with 0 it rests, or is done for this plan. */
static size_t turn_room(struct dispatch *d, struct turn *turn)
{
    struct lanes *ls = &d->lanes;
    const struct conf_rate *rate = rate_of(turn);
    struct task_policy *full;
    size_t of_tasks = tasks_room(turn, &full), room = lanes_key_room(turn->key);

    if (of_tasks == 0) {
        lanes_enter(ls, turn, TURN_AT_TASK, 0, full);
        return 0;
    }
    if (room == 0) {
        lanes_enter(ls, turn, TURN_AT_KEY, 0, NULL);
        return 0;
    }
    room = lesser(room, of_tasks > turn->planned ? of_tasks - turn->planned : 0);
    if (rate == NULL)
        return room;
    if (bucket_wait_us(&turn->key->bucket, rate, ls->now_us) > 0) {
        lanes_enter(ls, turn, TURN_AT_RATE,
                    ls->now_us + bucket_wait_us(&turn->key->bucket, rate, ls->now_us), NULL);
        return 0;
    }
    return lesser(room, (size_t)bucket_room(&turn->key->bucket, rate, ls->now_us));
}

/* ---- choosing ---- */

struct choice {
    struct dispatch *dispatch;
    struct queue *queue;
    struct plan *plan;
    size_t left;
    struct list chosen; /* turn.in_plan, in the order in which they were first given */
};

static void give(struct choice *c, struct turn *turn, size_t count)
{
    const struct conf_rate *rate = rate_of(turn);

    if (turn->planned == 0)
        list_push_back(&c->chosen, &turn->in_plan);
    turn->planned += count;
    c->left -= count;
    turn->node.order = ++c->dispatch->lanes.order;
    if (rate != NULL)
        bucket_spend(&turn->key->bucket, rate, c->dispatch->lanes.now_us, count);
    lanes_key_take(&c->dispatch->lanes, turn->key, (uint32_t)count);
}

/* One priority. A turn that is alone gets all there is room for at once. */
static void choose(struct choice *c, struct heap *ready, struct list *set_aside)
{
    struct heap_node *first;

    while (c->left > 0 && (first = heap_first(ready)) != NULL) {
        struct turn *turn = JM_CONTAINER_OF(first, struct turn, node);
        size_t room = turn_room(c->dispatch, turn);

        if (turn->place != TURN_READY)
            continue; /* it rests now */
        if (room > 0) {
            give(c, turn, ready->len == 1 ? lesser(room, c->left) : 1);
            continue;
        }
        /* All that it has is chosen already. */
        lanes_enter(&c->dispatch->lanes, turn, TURN_NOWHERE, 0, NULL);
        list_push_back(set_aside, &turn->rest);
    }
}

static void bring_back(struct choice *c, struct list *set_aside)
{
    struct list *node;

    while ((node = list_pop_front(set_aside)) != NULL)
        lanes_enter(&c->dispatch->lanes, LIST_ENTRY(node, struct turn, rest), TURN_READY, 0, NULL);
}

/* ---- writing it down ---- */

static void put_lanes(struct plan *p, const struct turn *turn)
{
    LIST_EACH(node, &turn->lanes)
    {
        const struct lane *lane = LIST_ENTRY(node, struct lane, in_turn);
        size_t count = lesser(turn->planned, lanes_policy_room(lane->policy));
        struct store_turn_lane row = {.number = lane->number, .max_jobs = count};
        struct plan_lane held = {.policy = lane->policy, .count = (uint32_t)count};

        buf_put(&p->lanes, &row, sizeof(row));
        buf_put(&p->held_lanes, &held, sizeof(held));
        if (lane->policy != NULL)
            lanes_policy_take(lane->policy, held.count);
    }
}

static size_t lanes_of(const struct turn *turn)
{
    size_t n = 0;

    LIST_EACH(node, &turn->lanes)
    n++;
    return n;
}

static bool reserve_rows(struct plan *p, size_t lanes)
{
    return buf_reserve(&p->turns, sizeof(struct store_turn)) != NULL &&
           buf_reserve(&p->held_turns, sizeof(struct plan_turn)) != NULL &&
           buf_reserve(&p->lanes, lanes * sizeof(struct store_turn_lane)) != NULL &&
           buf_reserve(&p->held_lanes, lanes * sizeof(struct plan_lane)) != NULL;
}

static void write_turn(struct choice *c, struct turn *turn)
{
    struct plan *p = c->plan;
    struct store_turn row = {.first_lane = p->lanes.len / sizeof(struct store_turn_lane),
                             .lane_count = lanes_of(turn),
                             .max_jobs = turn->planned};
    struct plan_turn held = {
        .key = turn->key, .priority = turn->priority, .count = (uint32_t)turn->planned};

    if (reserve_rows(p, row.lane_count)) {
        put_lanes(p, turn);
        buf_put(&p->turns, &row, sizeof(row));
        buf_put(&p->held_turns, &held, sizeof(held));
        p->jobs += turn->planned;
    } else {
        const struct conf_rate *rate = rate_of(turn);

        if (rate != NULL)
            bucket_return(&turn->key->bucket, rate, turn->planned);
        lanes_key_give(&c->dispatch->lanes, turn->key, held.count);
    }
    turn->planned = 0;
}

void dispatch_plan_make(struct dispatch *d, struct queue *q, size_t max_jobs, uint32_t above,
                        struct plan *p)
{
    struct choice c = {.dispatch = d, .queue = q, .plan = p, .left = max_jobs};
    struct list set_aside;
    struct list *node;

    list_init(&c.chosen);
    list_init(&set_aside);
    for (uint32_t priority = JM_PRIORITY_MAX; priority > above; priority--)
        choose(&c, &q->ready[priority], &set_aside);
    bring_back(&c, &set_aside);
    while ((node = list_pop_front(&c.chosen)) != NULL)
        write_turn(&c, LIST_ENTRY(node, struct turn, in_plan));
    p->is_rated = q->conf.rate.limit > 0;
    if (p->is_rated && p->jobs > 0)
        bucket_spend(&q->bucket, &q->conf.rate, d->lanes.now_us, p->jobs);
}

/* ---- afterwards ---- */

static void mark_queue(void *dispatch, struct queue *q)
{
    dispatch_mark(dispatch, q);
}

static void settle_tasks(struct dispatch *d, const struct plan *p)
{
    const struct plan_lane *lanes = (const struct plan_lane *)(const void *)p->held_lanes.data;

    for (size_t i = 0; i < p->held_lanes.len / sizeof(*lanes); i++)
        if (lanes[i].policy != NULL)
            lanes_policy_give(&d->lanes, lanes[i].policy, lanes[i].count, d, mark_queue);
}

/* The rates may have been set anew meanwhile; then there is nothing to give back to. */
void dispatch_plan_settle(struct dispatch *d, struct queue *q, struct plan *p,
                          const uint32_t *brought)
{
    const struct plan_turn *turns = (const struct plan_turn *)(const void *)p->held_turns.data;
    const struct conf_rate *key_rate = &q->conf.key_rate;
    size_t came = 0;

    for (size_t i = 0; i < p->held_turns.len / sizeof(*turns); i++) {
        struct key *key = turns[i].key;

        if (key_rate->limit > 0 && key->name_len > 0)
            bucket_return(&key->bucket, key_rate, turns[i].count - brought[i]);
        lanes_key_give(&d->lanes, key, turns[i].count);
        came += brought[i];
    }
    if (p->is_rated && q->conf.rate.limit > 0)
        bucket_return(&q->bucket, &q->conf.rate, p->jobs - came);
    settle_tasks(d, p);
}

/* ---- tokens ---- */

void dispatch_watch_tokens(struct dispatch *d, struct queue *q)
{
    struct heap_node *first;
    uint64_t wait_us = UINT64_MAX;

    first = heap_first(&q->resting);
    if (first != NULL)
        wait_us = first->rank - d->lanes.now_us;
    if (q->conf.rate.limit > 0 && dispatch_has_backlog(q)) {
        uint64_t own_us = bucket_wait_us(&q->bucket, &q->conf.rate, d->lanes.now_us);

        if (own_us > 0 && own_us < wait_us)
            wait_us = own_us;
    }
    if (wait_us != UINT64_MAX)
        timers_arm(d->core->seams.timers, &q->tokens, dispatch_now_ms(d) + wait_us / 1000 + 1);
}
