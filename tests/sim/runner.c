/*
 * runner.c: the seam "when X is done" on a real store: operations wait, a batch of them is run some
 * time later, and their on_done comes some time after that, as from the writer thread. A broker
 * that crashes in between has committed and told nobody.
 */
#include <assert.h>
#include <stdlib.h>

#include "schema/errors.h"
#include "tests/sim/sim.h"

struct batch {
    struct list ops;
    struct list link; /* runner.waiting's place is empty while one is under way */
};

/* The planted bug: what arrives is applied to whatever attempt is the current one. */
static void plant(struct sim *s, struct store_op *op)
{
    struct store_apply *apply = JM_CONTAINER_OF(op, struct store_apply, op);

    if (s->plant != SIM_PLANT_NO_ATTEMPT_CHECK || op->kind != STORE_APPLY)
        return;
    for (size_t i = 0; i < apply->event_count; i++) {
        struct job_view job;

        if (reader_get(s->reader, apply->events[i].event.id, false, &job) == 0)
            apply->events[i].event.attempt = job.attempt;
    }
}

static void on_counts(void *owner, struct span queue, const struct store_counts *counts)
{
    struct sim *s = owner;

    if (core_on_counts(s->core, queue, counts) != 0)
        sim_fail(s, "there is no memory");
}

static void on_lane(void *owner, const struct store_lane_view *lane)
{
    struct sim *s = owner;

    if (core_on_lane(s->core, lane) != 0)
        sim_fail(s, "there is no memory");
}

static void give_back(struct list *ops)
{
    struct list *node;

    while ((node = list_pop_front(ops)) != NULL) {
        struct store_op *op = LIST_ENTRY(node, struct store_op, link);

        op->on_done(op);
    }
}

static void schedule_batch(struct sim *s);

static void finish_batch(struct sim *s, void *arg)
{
    struct batch *b = arg;

    if (!list_is_empty(&b->link)) { /* else the broker crashed, and it was given back then */
        list_remove(&b->link);
        store_changed_counts(s->store, s, on_counts);
        store_changed_lanes(s->store, s, on_lane);
        give_back(&b->ops);
        s->runner.is_scheduled = false;
        schedule_batch(s);
    }
    free(b);
}

/* As the writer thread does: what may be undone has a transaction of its own. */
static void take_ops(struct list *to, struct list *from)
{
    bool is_alone = false;

    while (!list_is_empty(from) && !is_alone) {
        struct store_op *op = LIST_ENTRY(from->next, struct store_op, link);

        is_alone = op->is_alone;
        if (is_alone && !list_is_empty(to))
            return;
        list_remove(&op->link);
        list_push_back(to, &op->link);
    }
}

static void run_ops(struct sim *s, struct list *ops)
{
    LIST_EACH(node, ops)
    plant(s, LIST_ENTRY(node, struct store_op, link));
    /* No crash here takes the kernel along, so that a sync now and then will do. */
    if (store_run(s->store, ops) != 0 || (s->steps % 32 == 0 && store_sync(s->store) != 0))
        sim_fail(s, "the store failed: %s", store_last_error(s->store));
}

static void refuse(struct sim *s, struct list *ops)
{
    s->runner.refused++;
    LIST_EACH(node, ops)
    LIST_ENTRY(node, struct store_op, link)->status = JM_EFULL;
}

static void run_batch(struct sim *s, void *arg)
{
    struct batch *b;

    (void)arg;
    if (list_is_empty(&s->runner.waiting)) {
        s->runner.is_scheduled = false;
        return;
    }
    b = calloc(1, sizeof(*b));
    assert(b != NULL);
    list_init(&b->ops);
    list_init(&b->link);
    take_ops(&b->ops, &s->runner.waiting);
    if (s->runner.is_full)
        refuse(s, &b->ops);
    else
        run_ops(s, &b->ops);
    list_push_back(&s->runner.committed, &b->link);
    sim_at_owned(s, (50 + sim_random(s, 3000)) * 1000, finish_batch, b);
}

static void schedule_batch(struct sim *s)
{
    if (s->runner.is_scheduled || list_is_empty(&s->runner.waiting))
        return;
    s->runner.is_scheduled = true;
    sim_at(s, sim_random(s, 500) * 1000, run_batch, NULL);
}

static void fake_submit(struct runner *runner, struct store_op *op)
{
    struct sim *s = JM_CONTAINER_OF(runner, struct sim_runner, runner)->sim;

    list_push_back(&s->runner.waiting, &op->link);
    if (!s->runner.is_dead)
        schedule_batch(s);
}

static bool fake_is_synced(struct runner *runner)
{
    (void)runner;
    return true;
}

void sim_runner_crash(struct sim *s)
{
    struct list *node;

    while ((node = list_pop_front(&s->runner.committed)) != NULL)
        list_splice_back(&s->runner.waiting, &LIST_ENTRY(node, struct batch, link)->ops);
    while ((node = list_pop_front(&s->runner.waiting)) != NULL) {
        struct store_op *op = LIST_ENTRY(node, struct store_op, link);

        op->status = JM_ESTORE;
        op->on_done(op);
    }
    s->runner.is_scheduled = false;
}

void sim_runner_init(struct sim *s)
{
    s->runner = (struct sim_runner){.sim = s};
    s->runner.runner.submit = fake_submit;
    s->runner.runner.is_synced = fake_is_synced;
    list_init(&s->runner.waiting);
    list_init(&s->runner.committed);
}
