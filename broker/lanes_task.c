/*
 * lanes_task.c: the tasks that have a limit, over all queues, and the turns that rest at them. Such
 * a turn stands in the line of each of its tasks, since any may be the first to have room; the
 * lines are kept apart by queue, since a queue chooses among its own.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/lanes_inside.h"
#include "broker/queues.h"

/* ---- tasks ---- */

struct task_policy *lanes_policy(const struct lanes *ls, struct span task)
{
    struct hash_node *node = hash_find(&ls->policies, hash_of_span(task));

    for (; node != NULL; node = hash_find_next(node)) {
        struct task_policy *p = JM_CONTAINER_OF(node, struct task_policy, by_name);

        if (span_is_equal(span_of(p->name, p->name_len), task))
            return p;
    }
    return NULL;
}

struct task_policy *lanes_need_policy(struct lanes *ls, struct span task)
{
    struct task_policy *p = lanes_policy(ls, task);

    if (p != NULL || ls->policies.len >= JM_TASKS)
        return p;
    p = calloc(1, sizeof(*p) + task.len);
    if (p == NULL || hash_insert(&ls->policies, &p->by_name, hash_of_span(task)) != 0) {
        free(p);
        return NULL;
    }
    p->name_len = task.len;
    memcpy(p->name, task.data, task.len);
    list_init(&p->setting);
    list_init(&p->rests);
    list_push_back(&ls->all_policies, &p->in_all);
    LIST_EACH(node, &ls->all)
    {
        struct lane *lane = LIST_ENTRY(node, struct lane, in_all);

        if (span_is_equal(span_of(lane->task, lane->task_len), task))
            lane->policy = p;
    }
    return p;
}

size_t lanes_policy_room(const struct task_policy *p)
{
    if (p == NULL || p->conf.concurrency == 0)
        return SIZE_MAX;
    return p->out < p->conf.concurrency ? p->conf.concurrency - p->out : 0;
}

void lanes_policy_take(struct task_policy *p, uint32_t count)
{
    p->out += count;
}

void lanes_policy_wake(const struct task_policy *p, void *owner, lanes_mark_cb mark)
{
    if (lanes_policy_room(p) == 0)
        return;
    LIST_EACH(node, &p->rests)
    mark(owner, LIST_ENTRY(node, struct task_rest, in_policy)->queue);
}

void lanes_policy_give(struct task_policy *p, uint32_t count, void *owner, lanes_mark_cb mark)
{
    bool had_room = lanes_policy_room(p) > 0;

    assert(p->out >= count);
    p->out -= count;
    if (!had_room)
        lanes_policy_wake(p, owner, mark);
}

/* ---- turns that rest at them ---- */

void lanes_reorder_at_tasks(struct turn *turn)
{
    LIST_EACH(node, &turn->lanes)
    {
        struct lane *lane = LIST_ENTRY(node, struct lane, in_turn);

        if (lane->rest != NULL)
            heap_move(&lane->rest->lanes, &lane->at_task, lanes_rank(turn), turn->order);
    }
}

static struct task_rest *need_rest(struct task_policy *p, struct queue *q)
{
    struct task_rest *rest;

    LIST_EACH(node, &q->at_task)
    {
        rest = LIST_ENTRY(node, struct task_rest, in_queue);
        if (rest->policy == p)
            return rest;
    }
    rest = calloc(1, sizeof(*rest));
    if (rest == NULL)
        return NULL;
    rest->policy = p;
    rest->queue = q;
    list_push_back(&p->rests, &rest->in_policy);
    list_push_back(&q->at_task, &rest->in_queue);
    return rest;
}

static void drop_rest_if_empty(struct task_rest *rest)
{
    if (heap_first(&rest->lanes) != NULL)
        return;
    list_remove(&rest->in_policy);
    list_remove(&rest->in_queue);
    heap_done(&rest->lanes);
    free(rest);
}

void lanes_leave_task(struct lane *lane)
{
    struct task_rest *rest = lane->rest;

    if (rest == NULL)
        return;
    lane->rest = NULL;
    heap_remove(&rest->lanes, &lane->at_task);
    drop_rest_if_empty(rest);
}

static bool rest_at_task(struct lane *lane)
{
    struct turn *turn = lane->turn;
    struct task_rest *rest =
        lane->policy != NULL ? need_rest(lane->policy, turn->key->queue) : NULL;

    if (rest == NULL)
        return false;
    if (heap_insert(&rest->lanes, &lane->at_task, lanes_rank(turn), turn->order) != 0) {
        drop_rest_if_empty(rest);
        return false;
    }
    lane->rest = rest;
    return true;
}

void lanes_leave_tasks(struct turn *turn)
{
    LIST_EACH(node, &turn->lanes)
    lanes_leave_task(LIST_ENTRY(node, struct lane, in_turn));
}

/* At each of them, since any may be the first to have room. */
bool lanes_rest_at_tasks(struct turn *turn)
{
    LIST_EACH(node, &turn->lanes)
    if (!rest_at_task(LIST_ENTRY(node, struct lane, in_turn))) {
        lanes_leave_tasks(turn);
        return false;
    }
    return true;
}

/* The first of the turns that rest there, if there is room for one. */
static struct turn *first_of(struct list *in_queue)
{
    const struct task_rest *rest = LIST_ENTRY(in_queue, struct task_rest, in_queue);

    if (lanes_policy_room(rest->policy) == 0)
        return NULL;
    return JM_CONTAINER_OF(heap_first(&rest->lanes), struct lane, at_task)->turn;
}

struct turn *lanes_first_at_task(const struct queue *q, uint32_t priority)
{
    struct turn *first = NULL;

    LIST_EACH(node, &q->at_task)
    {
        struct turn *turn = first_of(node);

        if (turn != NULL && turn->priority == priority &&
            (first == NULL || lanes_is_before(turn, first)))
            first = turn;
    }
    return first;
}

bool lanes_has_ready(const struct queue *q, uint32_t above)
{
    for (uint32_t priority = above + 1; priority <= JM_PRIORITY_MAX; priority++)
        if (heap_first(&q->ready[priority]) != NULL)
            return true;
    LIST_EACH(node, &q->at_task)
    {
        const struct turn *turn = first_of(node);

        if (turn != NULL && turn->priority > above)
            return true;
    }
    return false;
}
