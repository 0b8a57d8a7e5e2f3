/*
 * runner.c: the seam "when X is done" on a real store, as the writer thread has it (writer.h) but
 * in events: a batch is committed; then, if somebody waits for it or the last sync is too long ago,
 * synced; then its operations come back and gates open; then the log may be moved into the
 * database. Between any two of these the broker can crash, and readers see what is committed and
 * not on disk yet.
 */
#include <assert.h>
#include <stdlib.h>

#include "schema/errors.h"
#include "tests/sim/sim.h"

/* The program's thresholds, for smaller databases. */
enum { SYNC_AFTER_MS = 5, LOG_WORTH_BYTES = 64 << 10, LOG_RESTART_BYTES = 256 << 10 };

static struct sim *sim_of(struct runner *r)
{
    return JM_CONTAINER_OF(r, struct sim_runner, runner)->sim;
}

/* An event of the present broker; one of an earlier life finds another number, and is void. */
static void plan(struct sim *s, uint64_t most_us, void (*run)(struct sim *s, void *arg))
{
    sim_at(s, sim_random(s, most_us) * 1000, run, (void *)(uintptr_t)s->crashes);
}

static bool is_void(const struct sim *s, const void *arg)
{
    return s->core == NULL || (uintptr_t)arg != s->crashes;
}

static void give_back(struct sim *s, struct list *ops)
{
    struct list *node;

    while ((node = list_pop_front(ops)) != NULL) {
        struct store_op *op = LIST_ENTRY(node, struct store_op, link);

        if (s->ledger != NULL)
            sim_ledger_told(s, op);
        op->on_done(op);
    }
}

/* ---- the disk ---- */

static bool sync_store(struct sim *s)
{
    struct sim_runner *r = &s->runner;

    if (store_sync(s->store) != 0) {
        sim_broker_fail(s);
        return false;
    }
    r->synced_seq = r->started_seq;
    r->unsynced_since_ns = 0;
    if (s->check != NULL)
        sim_check_synced(s);
    return true;
}

static void open_gates(struct sim *s)
{
    struct sim_runner *r = &s->runner;
    struct list open;

    list_init(&open);
    while (!list_is_empty(&r->gates) &&
           LIST_ENTRY(r->gates.next, struct runner_gate, link)->seq <= r->synced_seq)
        list_push_back(&open, list_pop_front(&r->gates));
    while (!list_is_empty(&open)) {
        struct runner_gate *gate = LIST_ENTRY(list_pop_front(&open), struct runner_gate, link);

        gate->on_open(gate);
    }
}

static void checkpoint(struct sim *s)
{
    size_t bytes = store_wal_bytes(s->store);
    int rc = 0;

    if (bytes > LOG_RESTART_BYTES)
        rc = store_checkpoint(s->store, true);
    else if (bytes > LOG_WORTH_BYTES && sim_chance(s, 20))
        rc = store_checkpoint(s->store, false);
    if (rc == JM_ESTORE)
        sim_broker_fail(s);
}

static void sync_idle(struct sim *s, void *arg)
{
    if (is_void(s, arg) || s->runner.is_busy)
        return;
    if (s->runner.unsynced_since_ns != 0 && !sync_store(s))
        return;
    open_gates(s);
}

/* ---- a batch ---- */

static void schedule_batch(struct sim *s);

static void on_counts(void *owner, struct span queue, const struct store_counts *counts)
{
    struct sim *s = owner;

    if (core_on_counts(s->core, queue, counts) != 0)
        s->runner.is_starved = true;
}

static void on_lane(void *owner, const struct store_lane_view *lane)
{
    struct sim *s = owner;

    if (core_on_lane(s->core, lane) != 0)
        s->runner.is_starved = true;
}

bool sim_runner_tell(struct sim *s)
{
    s->runner.is_starved = false;
    store_changed_counts(s->store, s, on_counts);
    store_changed_lanes(s->store, s, on_lane);
    if (s->runner.is_starved && !s->may_starve)
        sim_fail(s, "there is no memory");
    if (s->runner.is_starved)
        sim_broker_fail(s);
    return !s->runner.is_starved;
}

static void finish_batch(struct sim *s, void *arg)
{
    struct sim_runner *r = &s->runner;
    struct list done;

    if (is_void(s, arg))
        return;
    if (r->is_applied && !sim_runner_tell(s))
        return;
    list_init(&done);
    list_splice_back(&done, &r->committed);
    give_back(s, &done);
    open_gates(s);
    r->is_busy = false;
    if (r->is_applied)
        checkpoint(s);
    if (is_void(s, arg))
        return;
    if (r->unsynced_since_ns != 0)
        sim_at(s, SYNC_AFTER_MS * SIM_MS, sync_idle, arg);
    schedule_batch(s);
}

static void sync_batch(struct sim *s, void *arg)
{
    if (!is_void(s, arg) && sync_store(s))
        plan(s, 1000, finish_batch);
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

static bool is_sync_wanted(const struct sim *s)
{
    const struct sim_runner *r = &s->runner;

    if (!list_is_empty(&r->gates) || s->now_ns - r->unsynced_since_ns >= SYNC_AFTER_MS * SIM_MS)
        return true;
    LIST_EACH(node, &r->committed)
    if (LIST_ENTRY(node, struct store_op, link)->wants_sync)
        return true;
    return false;
}

static void refuse(struct sim *s, struct list *ops)
{
    s->runner.refused++;
    LIST_EACH(node, ops)
    LIST_ENTRY(node, struct store_op, link)->status = JM_EFULL;
}

/* 0, JM_EFULL (refused) or JM_ESTORE. */
static int run_ops(struct sim *s, struct list *ops)
{
    struct sim_runner *r = &s->runner;
    int rc = JM_EFULL;

    r->started_seq++;
    if (r->is_full)
        refuse(s, ops);
    else
        rc = store_run(s->store, ops);
    LIST_EACH(node, ops)
    sim_trace(s, "store runs operation %d: %d", (int)LIST_ENTRY(node, struct store_op, link)->kind,
              LIST_ENTRY(node, struct store_op, link)->status);
    r->is_applied = rc == 0;
    if (rc == 0 && r->unsynced_since_ns == 0)
        r->unsynced_since_ns = s->now_ns;
    if (rc == JM_EFULL && r->unsynced_since_ns == 0)
        r->synced_seq = r->started_seq;
    if (rc == 0 && s->ledger != NULL)
        LIST_EACH(node, ops)
    sim_ledger_ran(s, LIST_ENTRY(node, struct store_op, link));
    return rc;
}

static void run_batch(struct sim *s, void *arg)
{
    struct sim_runner *r = &s->runner;
    int rc;

    if (is_void(s, arg))
        return;
    take_ops(&r->committed, &r->waiting);
    rc = run_ops(s, &r->committed);
    if (rc != 0 && rc != JM_EFULL)
        sim_broker_fail(s);
    else if (rc == 0 && is_sync_wanted(s))
        plan(s, 2000, sync_batch);
    else
        plan(s, 1000, finish_batch);
}

static void schedule_batch(struct sim *s)
{
    if (s->runner.is_busy || list_is_empty(&s->runner.waiting))
        return;
    s->runner.is_busy = true;
    plan(s, 500, run_batch);
}

/* ---- the seam ---- */

static void fake_submit(struct runner *runner, struct store_op *op)
{
    struct sim *s = sim_of(runner);

    list_push_back(&s->runner.waiting, &op->link);
    if (!s->runner.is_dead)
        schedule_batch(s);
}

static bool fake_is_synced(struct runner *runner)
{
    const struct sim_runner *r = &sim_of(runner)->runner;

    return r->synced_seq >= r->started_seq;
}

static void fake_wait_synced(struct runner *runner, struct runner_gate *gate)
{
    struct sim *s = sim_of(runner);

    gate->seq = s->runner.started_seq;
    list_push_back(&s->runner.gates, &gate->link);
    plan(s, 500, sync_idle);
}

/* ---- ends ---- */

void sim_runner_crash(struct sim *s)
{
    struct sim_runner *r = &s->runner;
    struct list *node;

    list_splice_back(&r->committed, &r->waiting);
    while (!list_is_empty(&r->gates))
        list_remove(r->gates.next); /* nobody is told any more */
    while ((node = list_pop_front(&r->committed)) != NULL ||
           (node = list_pop_front(&r->waiting)) != NULL) {
        struct store_op *op = LIST_ENTRY(node, struct store_op, link);

        op->status = JM_ESTORE;
        op->on_done(op);
    }
    r->is_busy = false;
}

bool sim_runner_drain(struct sim *s)
{
    struct sim_runner *r = &s->runner;
    unsigned life = s->crashes;

    while (s->core != NULL && life == s->crashes &&
           (!list_is_empty(&r->committed) || !list_is_empty(&r->waiting))) {
        void *arg = (void *)(uintptr_t)life;

        if (list_is_empty(&r->committed))
            run_batch(s, arg);
        if (life == s->crashes && r->unsynced_since_ns != 0 && !sync_store(s))
            return false;
        finish_batch(s, arg);
    }
    return life == s->crashes;
}

void sim_runner_start(struct sim *s)
{
    s->runner.is_dead = false;
    s->runner.is_busy = false;
    s->runner.unsynced_since_ns = 0;
    s->runner.synced_seq = s->runner.started_seq;
}

void sim_runner_init(struct sim *s)
{
    s->runner = (struct sim_runner){.sim = s};
    s->runner.runner.submit = fake_submit;
    s->runner.runner.is_synced = fake_is_synced;
    s->runner.runner.wait_synced = fake_wait_synced;
    list_init(&s->runner.waiting);
    list_init(&s->runner.committed);
    list_init(&s->runner.gates);
}
