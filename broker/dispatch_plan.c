/*
 * dispatch_plan.c: who goes next. Highest priority first; within one the key that has the fewest
 * jobs out, which counts those that are chosen here, so that keys take turns job by job. Whoever
 * may not go rests (lanes.h). What is chosen is held at its key, tasks and buckets until the take
 * is over, since only the store can say how many there really were, and of which tasks.
 */
#include "broker/dispatch_inside.h"

#include "broker/core.h"
#include "schema/limits.h"

enum {
    PLAN_BYTES = 4 << 20,
    TURN_LANES = 256, /* of one turn in one plan; a turn that has more goes round */
};

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

/* How many jobs of the lane its task lets go, with those that are held for it already. */
static size_t lane_room(const struct lane *lane)
{
    size_t room = lanes_policy_room(lane->policy);

    return room == SIZE_MAX ? (size_t)lane->queued
                            : lesser(lane->held + room, (size_t)lane->queued);
}

static size_t tasks_room(const struct turn *turn)
{
    size_t room = 0;

    LIST_EACH(node, &turn->lanes)
    {
        room += lane_room(LIST_ENTRY(node, struct lane, in_turn));
        if (room >= turn->planned + BATCH_JOBS)
            break; /* more is not taken at once */
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
    const struct lanes *ls = &d->lanes;
    const struct conf_rate *rate = rate_of(turn);
    size_t of_tasks = tasks_room(turn), room = lanes_key_room(turn->key);

    if (of_tasks == 0) {
        lanes_enter(turn, TURN_AT_TASK, 0);
        if (turn->place != TURN_AT_TASK)
            dispatch_try_later(d);
        return 0;
    }
    if (room == 0) {
        lanes_enter(turn, TURN_AT_KEY, 0);
        return 0;
    }
    room = lesser(room, of_tasks > turn->planned ? of_tasks - turn->planned : 0);
    if (rate == NULL)
        return room;
    if (bucket_wait_us(&turn->key->bucket, rate, ls->now_us) > 0) {
        lanes_enter(turn, TURN_AT_RATE,
                    ls->now_us + bucket_wait_us(&turn->key->bucket, rate, ls->now_us));
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
    struct list chosen;    /* turn.in_plan, in the order in which they were first given */
    struct list set_aside; /* turn.set_aside */
};

/* Which of the turn's lanes the jobs will come from, the store knows: so each is held for. */
static void hold_tasks(const struct lanes *ls, struct turn *turn)
{
    if (ls->policies.len == 0)
        return;
    LIST_EACH(node, &turn->lanes)
    {
        struct lane *lane = LIST_ENTRY(node, struct lane, in_turn);
        size_t count = lesser(turn->planned, lane_room(lane));

        if (lane->policy == NULL || count <= lane->held)
            continue;
        lanes_policy_take(lane->policy, (uint32_t)(count - lane->held));
        lane->held = count;
    }
}

static void give(struct choice *c, struct turn *turn, size_t count)
{
    const struct conf_rate *rate = rate_of(turn);

    if (turn->planned == 0) {
        turn->before = turn->key->out;
        list_push_back(&c->chosen, &turn->in_plan);
    }
    turn->planned += count;
    c->left -= count;
    turn->order = ++c->dispatch->lanes.order;
    hold_tasks(&c->dispatch->lanes, turn);
    if (rate != NULL)
        bucket_spend(&turn->key->bucket, rate, c->dispatch->lanes.now_us, count);
    lanes_key_spend(turn->key, (uint32_t)count);
    lanes_key_take(&c->dispatch->lanes, turn->key, (uint32_t)count);
}

/* The next of that priority, or NULL. One that rests at a task which has room is made ready, so
 * that it is looked at as any other. */
static struct turn *next_of(const struct queue *q, uint32_t priority)
{
    struct heap_node *first = heap_first(&q->ready[priority]);
    struct turn *turn = first != NULL ? JM_CONTAINER_OF(first, struct turn, node) : NULL;
    struct turn *rested = lanes_first_at_task(q, priority);

    if (rested == NULL || (turn != NULL && lanes_is_before(turn, rested)))
        return turn;
    lanes_enter(rested, TURN_READY, 0);
    return rested;
}

/* All that it has is chosen already. */
static void set_aside(struct choice *c, struct turn *turn)
{
    lanes_enter(turn, TURN_NOWHERE, 0);
    list_push_back(&c->set_aside, &turn->set_aside);
}

/* One priority. A turn that is alone gets all there is room for at once. */
static void choose(struct choice *c, uint32_t priority)
{
    struct queue *q = c->queue;
    struct turn *turn;

    while (c->left > 0 && (turn = next_of(q, priority)) != NULL) {
        size_t room = turn_room(c->dispatch, turn);
        bool is_alone = q->ready[priority].len == 1 && lanes_first_at_task(q, priority) == NULL;

        if (turn->place != TURN_READY)
            continue; /* it rests now */
        if (room == 0)
            set_aside(c, turn);
        else
            give(c, turn, is_alone ? lesser(room, c->left) : 1);
    }
}

static void choose_favoured(struct choice *c, uint32_t above)
{
    struct queue *q = c->queue;
    struct heap_node *first;

    while (c->left > 0 && q->favours > 0 && (first = heap_first(&q->fresh)) != NULL) {
        struct turn *turn = JM_CONTAINER_OF(first, struct turn, fresh);
        size_t room = turn->priority > above ? turn_room(c->dispatch, turn) : 0;

        if (turn->priority <= above)
            return;
        if (turn->place != TURN_READY)
            continue;
        if (room == 0) {
            set_aside(c, turn);
            continue;
        }
        give(c, turn, 1);
        q->favours--;
    }
}

static void bring_back(struct choice *c)
{
    struct list *node;

    while ((node = list_pop_front(&c->set_aside)) != NULL)
        lanes_enter(LIST_ENTRY(node, struct turn, set_aside), TURN_READY, 0);
}

/* ---- writing it down ---- */

static void put_lane(struct plan *p, const struct lane *lane, size_t count)
{
    struct store_turn_lane row = {.number = lane->number, .max_jobs = count};
    struct plan_lane held = {.policy = lane->policy, .count = (uint32_t)count};

    buf_put(&p->lanes, &row, sizeof(row));
    buf_put(&p->held_lanes, &held, sizeof(held));
}

static void release_lane(struct dispatch *d, struct lane *lane)
{
    if (lane->policy != NULL)
        lanes_policy_give(lane->policy, (uint32_t)lane->held, d, dispatch_on_room);
    lane->held = 0;
}

/* A turn of more lanes than TURN_LANES brings some of them this time, and the others next time. */
static size_t put_lanes(struct dispatch *d, struct plan *p, struct turn *turn)
{
    struct list *last = turn->lanes.prev;
    size_t put = 0;

    LIST_EACH_SAFE(node, &turn->lanes)
    {
        struct lane *lane = LIST_ENTRY(node, struct lane, in_turn);
        size_t count =
            lane->policy != NULL ? lane->held : lesser(turn->planned, (size_t)lane->queued);

        if (put < TURN_LANES && count > 0) {
            put_lane(p, lane, count);
            lane->held = 0;
            put++;
            list_remove(node);
            list_push_back(&turn->lanes, node);
        } else {
            release_lane(d, lane);
        }
        if (node == last)
            break;
    }
    return put;
}

static bool reserve_rows(struct plan *p, size_t lanes)
{
    return buf_reserve(&p->turns, sizeof(struct store_turn)) != NULL &&
           buf_reserve(&p->held_turns, sizeof(struct plan_turn)) != NULL &&
           buf_reserve(&p->lanes, lanes * sizeof(struct store_turn_lane)) != NULL &&
           buf_reserve(&p->held_lanes, lanes * sizeof(struct plan_lane)) != NULL;
}

/* There was no memory to write it down. */
static void take_back(struct choice *c, struct turn *turn)
{
    const struct conf_rate *rate = rate_of(turn);

    LIST_EACH(node, &turn->lanes)
    release_lane(c->dispatch, LIST_ENTRY(node, struct lane, in_turn));
    if (rate != NULL)
        bucket_return(&turn->key->bucket, rate, c->dispatch->lanes.now_us, turn->planned);
    lanes_key_give(&c->dispatch->lanes, turn->key, (uint32_t)turn->planned);
}

static void write_turn(struct choice *c, struct turn *turn)
{
    struct plan *p = c->plan;
    struct store_turn row = {.first_lane = p->lanes.len / sizeof(struct store_turn_lane),
                             .max_jobs = turn->planned};
    struct plan_turn held = {.key = turn->key,
                             .priority = turn->priority,
                             .count = (uint32_t)turn->planned,
                             .before = turn->before};

    if (reserve_rows(p, TURN_LANES)) {
        row.lane_count = put_lanes(c->dispatch, p, turn);
        buf_put(&p->turns, &row, sizeof(row));
        buf_put(&p->held_turns, &held, sizeof(held));
        p->jobs += turn->planned;
    } else {
        take_back(c, turn);
    }
    turn->planned = 0;
}

void dispatch_plan_make(struct dispatch *d, struct queue *q, size_t max_jobs, uint32_t above,
                        struct plan *p)
{
    struct choice c = {.dispatch = d, .queue = q, .plan = p, .left = max_jobs};
    struct list *node;

    list_init(&c.chosen);
    list_init(&c.set_aside);
    if (p->is_favoured)
        choose_favoured(&c, above);
    for (uint32_t priority = JM_PRIORITY_MAX; !p->is_favoured && priority > above; priority--)
        choose(&c, priority);
    bring_back(&c);
    if (!p->is_favoured)
        q->favours = (uint32_t)lesser(LANES_FAVOURS, q->favours + (max_jobs - c.left));
    while ((node = list_pop_front(&c.chosen)) != NULL)
        write_turn(&c, LIST_ENTRY(node, struct turn, in_plan));
    p->rate = q->conf.rate;
    p->key_rate = q->conf.key_rate;
    p->spent_us = d->lanes.now_us;
    if (p->rate.limit > 0 && p->jobs > 0)
        bucket_spend(&q->bucket, &p->rate, d->lanes.now_us, p->jobs);
}

bool dispatch_plan_is_starved(const struct plan *p)
{
    return buf_is_starved(&p->turns) || buf_is_starved(&p->held_turns) ||
           buf_is_starved(&p->lanes) || buf_is_starved(&p->held_lanes);
}

/* ---- afterwards ---- */

static void settle_tasks(struct dispatch *d, const struct plan *p)
{
    const struct plan_lane *lanes = (const struct plan_lane *)(const void *)p->held_lanes.data;

    for (size_t i = 0; i < p->held_lanes.len / sizeof(*lanes); i++)
        if (lanes[i].policy != NULL)
            lanes_policy_give(lanes[i].policy, lanes[i].count, d, dispatch_on_room);
}

/* The tokens go back as they were spent, by the rates of that time. */
void dispatch_plan_settle(struct dispatch *d, struct queue *q, struct plan *p,
                          const uint32_t *brought)
{
    const struct plan_turn *turns = (const struct plan_turn *)(const void *)p->held_turns.data;
    size_t came = 0;

    for (size_t i = 0; i < p->held_turns.len / sizeof(*turns); i++) {
        struct key *key = turns[i].key;
        uint32_t count = brought != NULL ? brought[i] : 0;

        if (p->key_rate.limit > 0 && key->name_len > 0 && count < turns[i].count) {
            bucket_return(&key->bucket, &p->key_rate, p->spent_us, turns[i].count - count);
            lanes_wake_key(key);
        }
        lanes_key_give(&d->lanes, key, turns[i].count);
        came += count;
    }
    if (p->rate.limit > 0)
        bucket_return(&q->bucket, &p->rate, p->spent_us, p->jobs - came);
    settle_tasks(d, p);
}

/* ---- what comes by time ---- */

static void on_tokens(struct timer *t)
{
    struct queue *q = JM_CONTAINER_OF(t, struct queue, tokens);

    dispatch_mark(q->dispatch, q);
}

void dispatch_return_tokens(struct dispatch_job *job)
{
    const struct queue_conf *conf = &job->queue->conf;

    if (job->has_token && conf->rate.limit > 0)
        bucket_return(&job->queue->bucket, &conf->rate, job->token_us, 1);
    if (job->has_key_token && conf->key_rate.limit > 0) {
        bucket_return(&job->key->bucket, &conf->key_rate, job->token_us, 1);
        lanes_wake_key(job->key);
    }
    job->has_token = job->has_key_token = false;
}

static void wait_until(const struct dispatch *d, uint64_t at_ms, uint64_t *wait_us)
{
    if (at_ms > dispatch_now_ms(d) && *wait_us > at_ms * 1000 - d->lanes.now_us)
        *wait_us = at_ms * 1000 - d->lanes.now_us;
}

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
    wait_until(d, q->swap_at_ms, &wait_us);
    wait_until(d, q->take_at_ms, &wait_us);
    if (wait_us == UINT64_MAX)
        return;
    q->dispatch = d;
    q->tokens.on_time = on_tokens;
    timers_arm(d->core->seams.timers, &q->tokens, dispatch_now_ms(d) + wait_us / 1000 + 1);
}
