#include "broker/core.h"

#include "lib/crash.h"
#include "lib/log.h"
#include "schema/errors.h"
#include "schema/id.h"
#include "schema/limits.h"

uint64_t core_random(struct core *c)
{
    c->random_state += UINT64_C(0x9e3779b97f4a7c15); /* Weyl sequence, mixed: splitmix64's shape */
    return hash_of_u64(c->random_state);
}

static void on_link(void *owner, bool is_up)
{
    struct core *c = owner;

    dispatch_on_link(&c->dispatch, is_up);
    results_on_link(&c->results, is_up);
    hosts_on_link(&c->hosts, is_up);
}

int core_init(struct core *c, const struct core_conf *conf, const struct core_seams *seams)
{
    *c = (struct core){.conf = *conf, .seams = *seams, .random_state = conf->seed};
    ids_init(&c->ids, seams->clock, seams->runner, conf->node);
    queues_init(&c->queues);
    dispatch_init(&c->dispatch, c);
    hosts_init(&c->hosts, c);
    wall_watch_init(&c->wall, seams->clock);
    schedule_init(&c->schedule, c);
    expiry_init(&c->expiry, c);
    purge_init(&c->purge, c);
    waiters_init(&c->waiters);
    core_close_init(&c->close);
    seams->carrier->owner = c;
    seams->carrier->on_link = on_link;
    return results_init(&c->results, c);
}

void core_done(struct core *c)
{
    core_close_all(c);
    waiters_done(&c->waiters);
    hosts_done(&c->hosts);
    results_done(&c->results);
    dispatch_done(&c->dispatch);
    queues_done(&c->queues);
}

struct queue *core_need_queue(struct core *c, struct span name)
{
    struct queue *q = queues_find(&c->queues, name);

    if (q != NULL)
        return q;
    q = queues_need(&c->queues, name);
    if (q != NULL)
        window_set_slots(&q->window, hosts_slots(&c->hosts, name));
    return q;
}

/* ---- start ---- */

struct restore {
    struct core *core;
    int status;
};

static void on_restored_job(void *owner, const struct job_view *job, struct span frame)
{
    struct restore *r = owner;

    if (r->status == 0)
        r->status = dispatch_restore(&r->core->dispatch, job, frame);
}

static void on_restored_lane(void *owner, const struct store_lane_view *lane)
{
    struct restore *r = owner;

    if (r->status == 0)
        r->status = core_on_lane(r->core, lane);
}

static void on_restored_conf(void *owner, bool is_task, struct span name, struct span record)
{
    struct restore *r = owner;

    if (r->status == 0)
        r->status = confs_restore(r->core, is_task, name, record);
}

static void on_restored_rate(void *owner, struct span queue, const struct store_rate *rate)
{
    struct restore *r = owner;
    struct queue *q = queues_find(&r->core->queues, queue);

    if (q != NULL)
        dispatch_note_rate(&r->core->dispatch, q, rate);
}

static void on_restored_counts(void *owner, struct span queue, const struct store_counts *counts)
{
    struct restore *r = owner;

    if (r->status == 0)
        r->status = core_on_counts(r->core, queue, counts);
}

/* An id above the mark is no damage. Before the store raised the mark with such an id, a full disk
 * could refuse a batch with the mark in it and take the next one with the ids that it was for. */
static void start_ids(struct core *c, const struct reader_start *start)
{
    if (start->id_high_water > 0 && start->last_id > start->id_high_water)
        log_info(
            "the newest job is above the mark of the ids, as an earlier version could leave it "
            "behind a full disk; ids go on above it");
    ids_start(&c->ids,
              start->last_id > start->id_high_water ? start->last_id : start->id_high_water);
}

int core_start(struct core *c, struct reader *reader)
{
    struct restore restore = {.core = c};
    struct reader_start start;
    int status = reader_start(reader, &start);

    c->reader = reader;

    if (status == 0)
        status = reader_counts(reader, &restore, on_restored_counts);
    if (status == 0)
        status = reader_confs(reader, &restore, on_restored_conf);
    if (status == 0)
        status = reader_rates(reader, &restore, on_restored_rate);
    if (status == 0)
        status = reader_lanes(reader, &restore, on_restored_lane);
    if (status == 0)
        status = reader_dispatched(reader, c->conf.node, &restore, on_restored_job);
    if (status == 0)
        status = restore.status;
    if (status != 0)
        return status;
    start_ids(c, &start);
    results_start(&c->results, start.last_taken);
    schedule_start(&c->schedule, start.next_due_ms);
    expiry_look(&c->expiry);
    purge_start(&c->purge);
    hosts_start(&c->hosts);
    return 0;
}

void core_turn(struct core *c)
{
    dispatch_turn(&c->dispatch);
    waiters_turn(&c->waiters);
}

int core_on_counts(struct core *c, struct span queue, const struct store_counts *counts)
{
    struct queue *q = core_need_queue(c, queue);

    if (q == NULL)
        return JM_ENOMEM;
    q->counts = *counts;
    dispatch_mark(&c->dispatch, q);
    return 0;
}

int core_on_lane(struct core *c, const struct store_lane_view *lane)
{
    struct queue *q = core_need_queue(c, lane->queue);
    int status = q != NULL ? dispatch_note_lane(&c->dispatch, q, lane) : JM_ENOMEM;

    if (status == 0)
        dispatch_mark(&c->dispatch, q);
    return status;
}

/* ---- submit ---- */

/* The job whose place was taken has ended: whatever it still does, nothing of it will be applied.
 */
void core_stop_replaced(struct core *c, uint64_t id)
{
    struct dispatch_job *job = dispatch_find(&c->dispatch, id);

    waiters_mark(&c->waiters, id);
    if (job != NULL)
        dispatch_stop(&c->dispatch, job);
}

/* A repeat of an Idempotency-Key, or a unique job whose place is held, inserted nothing, so its
 * place in the window is free again, as after a refusal. */
static void on_submitted(struct store_op *op)
{
    struct core_submit *s = JM_CONTAINER_OF(op, struct core_submit, op.op);
    struct core *c = s->core;
    bool is_new = op->status == 0 && !s->op.ret_is_repeat && !s->op.ret_is_existing;

    CRASH_POINT("submit-back");
    c->submits--;
    c->submits_bytes -= op->bytes;
    if (s->op.state == JOB_QUEUED)
        s->queue->submits_queued--;
    else if (s->op.state == JOB_SCHEDULED)
        s->queue->submits_scheduled--;
    if (s->op.state == JOB_SCHEDULED && is_new)
        schedule_note(&c->schedule, s->op.due_ms);
    else if (s->job != NULL && is_new)
        dispatch_commit(&c->dispatch, s->job);
    else if (s->job != NULL)
        dispatch_release(&c->dispatch, s->job);
    if (op->status == JM_EQUEUEFULL)
        c->stats.queue_full++;
    if (op->status == JM_EOVERLOAD)
        s->ret_limit = JM_LANES;
    if (is_new)
        expiry_note(&c->expiry, s->op.spec.expires_at_ms);
    if (is_new && s->op.ret_replaced_id != 0)
        core_stop_replaced(c, s->op.ret_replaced_id);
    dispatch_mark(&c->dispatch, s->queue);
    s->on_done(s, op->status);
}

int64_t core_submit_due_ms(const struct core_submit *s, int64_t made_ms)
{
    if (s->delay_ms > 0)
        return made_ms + (int64_t)s->delay_ms;
    return s->run_at_ms > made_ms ? s->run_at_ms : 0;
}

/* Ids go on from where a clock that was set back has left them, maybe an hour ahead: a job is put
 * off from now then, not from the time in its id. */
int64_t core_submit_made_ms(uint64_t id, int64_t now_ms)
{
    int64_t told_ms = id_wall_ms(id);

    return told_ms < now_ms ? told_ms : now_ms;
}

/* Where it begins: what is not due yet needs no place. */
static void place(struct core *c, struct core_submit *s)
{
    int64_t now_ms = clock_wall_ms(c->seams.clock);
    int64_t due_ms = core_submit_due_ms(s, core_submit_made_ms(s->op.id, now_ms));

    s->job = due_ms == 0 && !s->op.is_repeat_only
                 ? dispatch_reserve(&c->dispatch, s->queue, s->op.id, &s->op.spec)
                 : NULL;
    s->op.due_ms = due_ms != 0 ? due_ms : now_ms;
    s->op.state = due_ms != 0 ? JOB_SCHEDULED : s->job != NULL ? JOB_DISPATCHED : JOB_QUEUED;
    if (s->op.state == JOB_QUEUED)
        s->queue->submits_queued++;
    else if (s->op.state == JOB_SCHEDULED)
        s->queue->submits_scheduled++;
}

/* What has not begun, as of the last commit, with what is on its way. Whatever is out and not known
 * to run counts as waiting. */
bool core_is_queue_full(const struct queue *q)
{
    const int64_t *by_state = q->counts.by_state;
    uint64_t running = (uint64_t)by_state[JOB_RUNNING], out = q->window.used;
    uint64_t waiting = (uint64_t)(by_state[JOB_SCHEDULED] + by_state[JOB_QUEUED]);

    waiting += q->submits_queued + q->submits_scheduled + (out > running ? out - running : 0);
    return q->conf.max_queued > 0 && waiting >= q->conf.max_queued;
}

bool core_is_overloaded(const struct core *c)
{
    return c->submits >= JM_SUBMITS || c->submits_bytes >= JM_SUBMITS_BYTES;
}

static int refuse_overload(struct core *c, struct core_submit *s, uint64_t limit)
{
    s->ret_limit = limit;
    c->stats.overloaded++;
    return JM_EOVERLOAD;
}

bool core_may_be_known(const struct core_submit *s)
{
    return s->op.key.len > 0 || s->op.unique.how != UNIQUE_NOT;
}

/* A full queue makes no new job, but a repeat of an Idempotency-Key, and a unique job that is there
 * already, are answered all the same. */
int core_submit(struct core *c, struct core_submit *s)
{
    struct queue *q = core_need_queue(c, s->op.spec.queue);
    uint64_t id;

    s->ret_limit = q != NULL ? q->conf.max_queued : 0;
    s->op.is_repeat_only = q != NULL && core_is_queue_full(q);
    if (s->op.is_repeat_only && !core_may_be_known(s)) {
        c->stats.queue_full++;
        return JM_EQUEUEFULL;
    }
    if (q == NULL)
        return refuse_overload(c, s, JM_QUEUES);
    if (core_is_overloaded(c))
        return refuse_overload(c, s, c->submits >= JM_SUBMITS ? JM_SUBMITS : JM_SUBMITS_BYTES);
    id = ids_next(&c->ids);
    if (id == 0)
        return refuse_overload(c, s, 0);
    s->core = c;
    s->queue = q;
    s->op.id = id;
    place(c, s);
    s->op.op = (struct store_op){.kind = STORE_SUBMIT,
                                 .on_done = on_submitted,
                                 .wants_sync = !s->is_told_later,
                                 .bytes = 256 + s->op.spec.args.len + s->op.spec.options.len};
    list_init(&s->op.op.link);
    c->submits++;
    c->submits_bytes += s->op.op.bytes;
    runner_submit(c->seams.runner, &s->op.op);
    return 0;
}

/* ---- cancel ---- */

static void on_recalled(struct dispatch_recall *r)
{
    struct core_cancel *x = JM_CONTAINER_OF(r, struct core_cancel, recall);
    struct core *c = x->core;
    struct dispatch_job *job = dispatch_find_attempt(&c->dispatch, r->id, r->attempt);
    uint64_t host = job != NULL ? job->host : 0;

    if (r->number != 1)
        hosts_order_kill(&c->hosts, host, r->id, r->attempt);
    if (r->number == 1 || job == NULL) /* it ended meanwhile, or a pause took it out of its list */
        x->stopped = CORE_STOPPED_YES;
    else
        x->stopped = r->number == 0 && host != 0 ? CORE_STOPPED_NO : CORE_STOPPED_UNKNOWN;
    x->on_done(x, 0);
}

/* The commit has fenced the attempt: whatever it still does, nothing of it will be applied. */
static void on_cancelled(struct store_op *op)
{
    struct core_cancel *x = JM_CONTAINER_OF(op, struct core_cancel, op.op);
    struct core *c = x->core;
    struct dispatch_job *job;

    CRASH_POINT("cancel-back");
    if (op->status != 0) {
        x->on_done(x, op->status);
        return;
    }
    waiters_mark(&c->waiters, x->op.id);
    job = dispatch_find_attempt(&c->dispatch, x->op.id, x->op.ret_attempt);
    x->stopped = job == NULL ? CORE_STOPPED_YES : CORE_STOPPED_UNKNOWN;
    x->recall.on_done = on_recalled;
    if (job != NULL && dispatch_recall(&c->dispatch, job, &x->recall) == 0)
        return;
    x->on_done(x, 0);
}

struct store_begun core_begun(const struct core *c, uint64_t id)
{
    const struct dispatch_job *job = dispatch_find(&c->dispatch, id);

    if (job == NULL || !job->has_begun || job->host == 0)
        return (struct store_begun){.attempt = 0};
    return (struct store_begun){.attempt = job->attempt,
                                .host = job->host,
                                .at_ms = clock_wall_ms(c->seams.clock) - (int64_t)job->run_ms};
}

void core_cancel(struct core *c, struct core_cancel *x)
{
    x->core = c;
    x->op.begun = core_begun(c, x->op.id);
    x->op.op = (struct store_op){
        .kind = STORE_CANCEL, .on_done = on_cancelled, .wants_sync = true, .bytes = 256};
    list_init(&x->op.op.link);
    runner_submit(c->seams.runner, &x->op.op);
}

/* ---- wait ---- */

void core_look(struct core *c)
{
    results_hurry(&c->results);
}

int core_wait(struct core *c, struct waiter *w, uint64_t id)
{
    core_look(c);
    return waiters_add(&c->waiters, w, id);
}
