/*
 * results.c: one round takes one list.
 *
 *   OFF ── link up ──▶ TAKING ── something ──▶ APPLYING ◀── slices ──▶ READING
 *    ▲                 ▲    │ nothing           │    │ last slice committed
 *    │ link down, from │    ▼                   │    ▼
 *    │ anywhere        │   WATCHING ◀───────────│────┘
 *    │          100 ms │    └── something ──────│──▶ (APPLYING)
 *                    PAUSED ◀───────────────────┘ refused by Redis or a full disk: then the same
 *                                                 number again, from its start
 *
 * A round is a rename and a read of the first slice right behind it, whatever the rename will say:
 * entries come back if list N+1 exists, be it new or left over from before a crash. The usual round
 * is one that waits in Redis until there is something (WATCHING), so that results come without
 * being asked for. One that does not wait (TAKING) follows a start of the link, a pause, and a
 * mark: the one under way is then hurried to its end, since it may have looked before the mark was
 * asked for. While it is under way no other is sent: both would take under the same number. The
 * removal of list N goes out together with the next round.
 *
 * How large entries are is known when they are there: the first slice of a list asks for 128, of
 * which the carrier keeps JM_EVENTS_BYTES at most, and the ones behind it for as many as fit into
 * RESULTS_SLICE_BYTES by the size of those before. A list after one of large entries begins with a
 * slice as small as its last one.
 *
 * Before a round that waits there may be a rest (RESTING), see may_rest; a mark, or somebody who
 * looks for an end or begins to wait for one, cuts it short.
 */
#include "broker/results.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core.h"
#include "lib/crash.h"
#include "lib/mp.h"
#include "schema/errors.h"
#include "schema/limits.h"

enum {
    RETRY_MS = 100,
    FIRST_JOBS = 128, /* of a new list, whose entries may be larger than those before */
    BYTES_MAX = JM_EVENTS_BYTES + JM_EVENT_BYTES,
    REST_MS = 100,
    REST_RUN_US = 1000, /* jobs that take so long keep the workers busy meanwhile */
};

static void begin_round(struct results *r);
static void watch(struct results *r);
static void on_read(struct carrier_req *req);
static void on_awaited(struct carrier_req *req);

/* ---- what follows from events ---- */

static void stop_superseded(struct core *core, const struct store_event *e)
{
    struct dispatch_job *job = dispatch_find(&core->dispatch, e->event.id);

    if (job != NULL && job->attempt != e->event.attempt)
        dispatch_stop(&core->dispatch, job);
}

static void note_running(struct core *core, const struct store_event *e)
{
    struct dispatch_job *job =
        dispatch_find_attempt(&core->dispatch, e->event.id, e->event.attempt);

    if (job == NULL)
        return;
    job->host = e->event.host;
    dispatch_note_begun(&core->dispatch, job);
}

/* A worker that gives it back without having begun it. */
static void note_handed_back(struct core *core, const struct store_event *e)
{
    struct dispatch_job *job =
        dispatch_find_attempt(&core->dispatch, e->event.id, e->event.attempt);

    if (job != NULL && !job->has_begun && !e->event.has_begun)
        dispatch_return_tokens(job);
}

static void follow(struct core *core, const struct store_event *e)
{
    bool is_applied = e->ret_outcome == STORE_APPLIED, was_limited;

    if (e->source == STORE_FROM_WORKER && e->event.kind == WIRE_RUNNING) {
        note_running(core, e);
        return;
    }
    if (is_applied && e->source == STORE_FROM_WORKER && e->event.kind == WIRE_HANDED_BACK)
        note_handed_back(core, e);
    was_limited = dispatch_on_end(&core->dispatch, e->event.id, e->event.attempt, e->event.run_us);
    if (was_limited || e->event.kind != WIRE_SUCCEEDED)
        core->results.may_rest = false; /* a job waits for its place, or a retry follows */
    if (is_applied && e->ret_supersedes)
        stop_superseded(core, e);
    if (is_applied && e->ret_state == JOB_SCHEDULED)
        schedule_note(&core->schedule, e->ret_due_ms);
    if (is_applied && !job_state_is_terminal(e->ret_state))
        expiry_note(&core->expiry, e->ret_expires_at_ms);
    if (is_applied && job_state_is_terminal(e->ret_state))
        waiters_mark(&core->waiters, e->event.id);
}

static void count(struct results_stats *stats, const struct store_event *e)
{
    unsigned kind = e->source == STORE_LOST ? 0 : (unsigned)e->event.kind;

    switch (e->ret_outcome) {
    case STORE_APPLIED:
        assert(kind < JM_COUNT_OF(stats->applied));
        stats->applied[kind]++;
        break;
    case STORE_LATE:
        stats->late++;
        break;
    case STORE_UNKNOWN:
        stats->unknown++;
        break;
    case STORE_INVALID:
        stats->invalid++;
        break;
    }
}

void results_follow(struct core *core, const struct store_event *events, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        count(&core->results.stats, &events[i]);
        follow(core, &events[i]);
    }
}

/* ---- rounds ---- */

static void pause_round(struct results *r)
{
    struct core *core = r->core;

    if (r->state == RESULTS_OFF)
        return;
    r->state = RESULTS_PAUSED;
    timers_arm(core->seams.timers, &r->retry, clock_mono_ms(core->seams.clock) + RETRY_MS);
}

static void on_retry(struct timer *t)
{
    struct results *r = JM_CONTAINER_OF(t, struct results, retry);

    if (r->state == RESULTS_PAUSED)
        begin_round(r);
    else if (r->state == RESULTS_RESTING)
        watch(r);
}

/* A round for each end of a job of some milliseconds would cost more than a tenth of the job
 * (results one by one: a wake-up of each thread, a transaction, an fsync, a push of the next job).
 * If nobody waits for an end, several of them share one; the window grows until the workers have
 * enough to do meanwhile. Short jobs come in batches by themselves. */
static bool may_rest(const struct results *r)
{
    uint64_t run_us = 0;

    for (size_t i = 0; i < r->apply.event_count; i++)
        run_us += r->events[i].event.run_us;
    return r->may_rest && r->offset > 0 && waiters_count(&r->core->waiters) == 0 &&
           run_us >= r->apply.event_count * REST_RUN_US;
}

static void rest(struct results *r)
{
    const struct core_seams *seams = &r->core->seams;

    r->state = RESULTS_RESTING;
    timers_arm(seams->timers, &r->retry, clock_mono_ms(seams->clock) + REST_MS);
}

/* The round found the list empty, or has applied all of it. */
static void complete_round(struct results *r)
{
    bool has_read_all = r->take_number != 0;

    if (has_read_all) {
        r->completed = r->rounds;
        hosts_on_read(&r->core->hosts);
    }
    if (r->is_wanted || !has_read_all)
        begin_round(r);
    else if (may_rest(r))
        rest(r);
    else
        watch(r);
}

/* Which entries the next slice is, counted from the oldest. */
static void set_slice(const struct results *r, struct carrier_req *req)
{
    req->max_bytes = JM_EVENTS_BYTES;
    req->first = -(int64_t)(r->offset + r->slice_jobs);
    req->last = -(int64_t)r->offset - 1;
}

static void send_read(struct results *r)
{
    assert(!r->is_read_open);
    r->read = (struct carrier_req){.verb = CARRIER_READ, .on_done = on_read};
    keys_taken(r->read.key, r->core->conf.node, r->taken + 1);
    set_slice(r, &r->read);
    list_init(&r->read.link);
    r->is_read_open = true;
    carrier_send(r->core->seams.carrier, &r->read);
}

static void send_remove(struct results *r);

/* One list after the other: while the answer was on its way more of them may have come to their
 * end. If it failed the next round goes on with it; a connection that broke alone may be the cause.
 */
static void on_removed(struct carrier_req *req)
{
    struct results *r = JM_CONTAINER_OF(req, struct results, remove);

    CRASH_POINT("results-removed");
    r->is_remove_open = false;
    if (req->status == 0) {
        r->removed++;
        send_remove(r);
    }
}

static void send_remove(struct results *r)
{
    if (r->removed == r->taken || r->is_remove_open)
        return;
    r->remove = (struct carrier_req){.verb = CARRIER_REMOVE, .on_done = on_removed};
    keys_taken(r->remove.key, r->core->conf.node, r->removed + 1);
    list_init(&r->remove.link);
    r->is_remove_open = true;
    carrier_send(r->core->seams.carrier, &r->remove);
}

static void on_took(struct carrier_req *req)
{
    struct results *r = JM_CONTAINER_OF(req, struct results, take);

    CRASH_POINT("results-moved");
    r->is_take_open = false;
    r->take_number = req->number;
    r->take_failed = req->status != 0; /* the answer of the read comes next and looks at it */
}

static void enter_round(struct results *r, enum results_state state)
{
    send_remove(r);
    r->state = state;
    r->is_wanted = false;
    r->rounds++;
    r->may_rest = true;
    r->offset = 0;
    if (r->slice_jobs > FIRST_JOBS)
        r->slice_jobs = FIRST_JOBS;
}

static void send_take(struct results *r, struct carrier_req *req, bool *is_open)
{
    unsigned node = r->core->conf.node;

    keys_results(req->key, node);
    keys_taken(req->other, node, r->taken + 1);
    list_init(&req->link);
    *is_open = true;
    carrier_send(r->core->seams.carrier, req);
}

static void begin_round(struct results *r)
{
    if (r->is_await_open || r->is_take_open || r->is_read_open || r->is_applying) {
        r->is_wanted = true; /* the rest of a round that a broken link cut off */
        return;
    }
    enter_round(r, RESULTS_TAKING);
    r->take = (struct carrier_req){.verb = CARRIER_TAKE, .on_done = on_took};
    send_take(r, &r->take, &r->is_take_open);
    send_read(r);
}

static void watch(struct results *r)
{
    enter_round(r, RESULTS_WATCHING);
    r->await = (struct carrier_req){.verb = CARRIER_AWAIT, .on_done = on_awaited};
    set_slice(r, &r->await);
    send_take(r, &r->await, &r->is_await_open);
}

/* ---- slices ---- */

static void halve_slice(struct results *r)
{
    if (r->slice_jobs > 1)
        r->slice_jobs /= 2;
}

/* Aims the next slice at RESULTS_SLICE_BYTES by the size of this one's entries. */
static void adapt_slice(struct results *r, const struct span *items, size_t n)
{
    size_t bytes = 0, fits;

    for (size_t i = 0; i < n; i++)
        bytes += items[i].len;
    fits = RESULTS_SLICE_BYTES / (bytes / n + 1);
    if (fits > r->slice_jobs * 4)
        fits = r->slice_jobs * 4;
    if (fits > RESULTS_SLICE_JOBS)
        fits = RESULTS_SLICE_JOBS;
    r->slice_jobs = fits > 0 ? fits : 1;
}

static void on_applied(struct store_op *op)
{
    struct results *r = JM_CONTAINER_OF(op, struct results, apply.op);
    bool is_off = r->state == RESULTS_OFF;

    CRASH_POINT("results-applied");
    r->is_applying = false;
    if (op->status != 0) {
        pause_round(r);
        if (is_off && r->core->dispatch.is_link_up)
            begin_round(r);
        return;
    }
    r->stats.slices++;
    r->stats.entries += r->apply.event_count;
    r->stats.quarantined += r->apply.bad_count;
    results_follow(r->core, r->events, r->apply.event_count);
    r->offset += r->apply.event_count + r->apply.bad_count;
    if (r->apply.taken != 0) {
        r->taken = r->apply.taken;
        r->stats.lists++;
    }
    if (is_off) {
        if (r->core->dispatch.is_link_up)
            results_on_link(r, true);
        return;
    }
    if (r->apply.taken == 0) {
        r->state = RESULTS_READING;
        send_read(r);
        return;
    }
    send_remove(r);
    complete_round(r);
}

static void apply_slice(struct results *r, bool is_last)
{
    CRASH_POINT("results-read");
    r->state = RESULTS_APPLYING;
    r->is_applying = true;
    r->apply.op = (struct store_op){.kind = STORE_APPLY,
                                    .on_done = on_applied,
                                    .wants_sync = true,
                                    .bytes = r->bytes.len + 128 * r->apply.event_count};
    list_init(&r->apply.op.link);
    r->apply.events = r->events;
    r->apply.bad = r->bad;
    r->apply.taken = is_last ? r->taken + 1 : 0;
    runner_submit(r->core->seams.runner, &r->apply.op);
}

/* Copies the frames, since the carrier's answer is gone when on_read returns; cuts what no honest
 * worker can have sent. False when there is no room. */
static bool copy_frames(struct results *r, const struct span *items, size_t n)
{
    size_t bytes = 0;

    for (size_t i = 0; i < n; i++)
        bytes += items[i].len <= JM_EVENT_BYTES ? items[i].len : JM_QUARANTINE_ENTRY_BYTES;
    buf_shrink(&r->bytes, RESULTS_SLICE_BYTES * 2);
    return buf_reserve(&r->bytes, bytes) != NULL;
}

/* A result that is no value would break every answer that shows it: such an attempt has failed. */
static void judge_result(struct wire_event *event)
{
    struct mp_cursor c;
    struct span value;

    if (event->kind != WIRE_SUCCEEDED || event->result.len == 0)
        return;
    mp_open(&c, event->result);
    if (mp_skip(&c, JM_JSON_DEPTH, &value) && mp_is_at_end(&c))
        return;
    event->kind = WIRE_FAILED;
    event->code = span_of_str(errors_code(JM_ETASKRESULT));
    event->message = span_of_str("the worker's result is not one msgpack value, or nests too deep");
    event->result = span_of(NULL, 0);
}

/* Redis answers newest first; they are applied oldest first. */
static void decode_frames(struct results *r, const struct span *items, size_t n)
{
    r->apply.event_count = 0;
    r->apply.bad_count = 0;
    for (size_t i = n; i-- > 0;) {
        bool is_too_long = items[i].len > JM_EVENT_BYTES;
        size_t len = is_too_long ? JM_QUARANTINE_ENTRY_BYTES : items[i].len;
        struct span frame = span_of(r->bytes.data + r->bytes.len, len);
        struct store_event *e = &r->events[r->apply.event_count];

        buf_put(&r->bytes, items[i].data, len); /* has room: it does not move */
        *e = (struct store_event){.source = STORE_FROM_WORKER};
        if (!is_too_long && wire_decode_event(frame, &e->event) == 0) {
            judge_result(&e->event);
            r->apply.event_count++;
        } else {
            (void)foreign_note(&r->foreign, frame, "a worker that sends results");
            r->bad[r->apply.bad_count++] = frame;
        }
    }
}

/* Also when nothing was read at the end of a list whose last slice was just full: then only its
 * number has to be committed. */
static void take_slice(struct results *r, const struct span *items, size_t n, bool is_cut)
{
    bool is_last = !is_cut && n < r->slice_jobs;

    if (n > 0 && !copy_frames(r, items, n)) {
        halve_slice(r);
        pause_round(r); /* from the list's start again, in smaller slices */
        return;
    }
    if (n > 0)
        decode_frames(r, items, n);
    else
        r->apply.event_count = r->apply.bad_count = 0;
    if (n > 0)
        adapt_slice(r, items, n);
    apply_slice(r, is_last);
}

static void follow_read(struct results *r, const struct carrier_req *req, bool has_failed)
{
    if (r->state == RESULTS_OFF) {
        if (r->is_wanted && r->core->dispatch.is_link_up)
            begin_round(r);
        return;
    }
    if (has_failed) {
        halve_slice(r); /* if it was too much to read before the link was given up */
        pause_round(r);
        return;
    }
    assert(req->item_count <= r->slice_jobs);
    if (req->item_count == 0 && r->offset == 0)
        complete_round(r);
    else
        take_slice(r, req->items, req->item_count, req->is_cut);
}

static void on_read(struct carrier_req *req)
{
    struct results *r = JM_CONTAINER_OF(req, struct results, read);

    r->is_read_open = false;
    follow_read(r, req, req->status != 0 || r->take_failed);
}

static void on_awaited(struct carrier_req *req)
{
    struct results *r = JM_CONTAINER_OF(req, struct results, await);

    CRASH_POINT("results-moved");
    r->is_await_open = false;
    r->take_number = req->number;
    follow_read(r, req, req->status != 0);
}

/* ---- outside ---- */

int results_init(struct results *r, struct core *core)
{
    *r = (struct results){.core = core, .slice_jobs = FIRST_JOBS};
    timer_init(&r->retry, on_retry);
    buf_init(&r->bytes, BYTES_MAX);
    r->events = calloc(RESULTS_SLICE_JOBS, sizeof(*r->events));
    r->bad = calloc(RESULTS_SLICE_JOBS, sizeof(*r->bad));
    return r->events != NULL && r->bad != NULL ? 0 : JM_ENOMEM;
}

void results_done(struct results *r)
{
    free(r->events);
    free(r->bad);
    buf_done(&r->bytes);
}

void results_start(struct results *r, uint64_t last_taken)
{
    r->taken = last_taken;
    r->removed = last_taken > 0 ? last_taken - 1 : 0; /* a crash may have come in between */
}

void results_on_link(struct results *r, bool is_up)
{
    if (!is_up) {
        r->state = RESULTS_OFF;
        timer_disarm(&r->retry);
        return;
    }
    /* The last list once more: another Redis may have it again. */
    if (r->removed == r->taken && r->taken > 0 && !r->is_remove_open)
        r->removed--;
    begin_round(r);
}

uint64_t results_mark(struct results *r)
{
    uint64_t mark = r->rounds + 1;

    r->is_wanted = true;
    if (r->state == RESULTS_WATCHING)
        carrier_hurry(r->core->seams.carrier);
    if (r->state == RESULTS_RESTING)
        begin_round(r);
    return mark;
}

void results_hurry(struct results *r)
{
    if (r->state == RESULTS_RESTING)
        watch(r);
}

bool results_has_read(const struct results *r, uint64_t mark)
{
    return r->completed >= mark;
}
