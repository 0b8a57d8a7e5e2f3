/*
 * ledger.c: what workers reported, which ends were applied, and what excuses a loss. An attempt may
 * be given up as lost only if something has happened that can have lost this very one: Redis forgot
 * its frame or its end, the fate of its push is unknown, the broker crashed before that or took it
 * back, its host died or stood still, its claim was cut off. It may never be if its end lies in a
 * Redis that has forgotten nothing since, or if a host that beats all the time holds it; and it is
 * charged to the job only if a host died.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/index.h"
#include "tests/sim/sim.h"

/* A host that holds a job for so long, and has been well for so long, has been heard. */
enum { HEARD_MS = 8000, DEATH_MS = 120000 };

struct report {
    uint64_t id;
    uint32_t attempt;
    enum wire_event_kind kind;
    bool is_forgotten; /* by Redis */
};

struct attempt {
    uint64_t id;
    uint32_t attempt;
    bool is_loss;  /* of an applied end */
    bool is_there; /* of what was pushed */
};

struct attempts {
    struct attempt *all;
    size_t count;
    size_t room;
    struct sim_index by_id;
};

struct sim_ledger {
    struct report *reports;
    size_t report_count;
    size_t report_room;
    struct sim_index reports_by_id;
    struct attempts applied; /* in the order of commits */
    size_t applied_kept;     /* so many of them are on disk */
    struct attempts made;    /* new jobs that the core has been told of */
    struct attempts excused;
    struct attempts pushed; /* to Redis; is_there: and not taken back by the broker since */
    uint64_t down_ns;       /* when a host was last known to be down */
};

void sim_ledger_init(struct sim *s)
{
    s->ledger = calloc(1, sizeof(*s->ledger));
    assert(s->ledger != NULL);
}

static void done(struct attempts *as)
{
    free(as->all);
    sim_index_done(&as->by_id);
}

void sim_ledger_done(struct sim *s)
{
    free(s->ledger->reports);
    sim_index_done(&s->ledger->reports_by_id);
    done(&s->ledger->applied);
    done(&s->ledger->made);
    done(&s->ledger->excused);
    done(&s->ledger->pushed);
    free(s->ledger);
    s->ledger = NULL;
}

static void add(struct attempts *as, struct attempt a)
{
    if (as->count == as->room) {
        as->room = as->room * 2 + 16;
        as->all = realloc(as->all, as->room * sizeof(*as->all));
        assert(as->all != NULL);
    }
    as->all[as->count++] = a;
    sim_index_add(&as->by_id, a.id);
}

/* The newest that is so. */
static struct attempt *find(const struct attempts *as, uint64_t id, uint32_t attempt)
{
    size_t i = sim_index_find(&as->by_id, id);

    while (i != SIM_INDEX_NONE && as->all[i].attempt != attempt)
        i = sim_index_find_older(&as->by_id, i);
    return i != SIM_INDEX_NONE ? &as->all[i] : NULL;
}

/* ---- reports ---- */

void sim_ledger_report(struct sim *s, uint64_t id, uint32_t attempt, enum wire_event_kind kind)
{
    struct sim_ledger *l = s->ledger;

    if (l->report_count == l->report_room) {
        l->report_room = l->report_room * 2 + 16;
        l->reports = realloc(l->reports, l->report_room * sizeof(*l->reports));
        assert(l->reports != NULL);
    }
    l->reports[l->report_count++] = (struct report){.id = id, .attempt = attempt, .kind = kind};
    sim_index_add(&l->reports_by_id, id);
}

/* What was reported of a job: the newest, and what came before that; NULL: no more. */
static struct report *report_at(const struct sim_ledger *l, size_t at)
{
    return at != SIM_INDEX_NONE ? &l->reports[at] : NULL;
}

static struct report *newest_report(const struct sim_ledger *l, uint64_t id)
{
    return report_at(l, sim_index_find(&l->reports_by_id, id));
}

static struct report *report_before(const struct sim_ledger *l, const struct report *r)
{
    return report_at(l, sim_index_find_older(&l->reports_by_id, (size_t)(r - l->reports)));
}

bool sim_ledger_has(const struct sim *s, uint64_t id, uint32_t attempt, enum wire_event_kind kind)
{
    const struct report *r = newest_report(s->ledger, id);

    while (r != NULL && (r->attempt != attempt || r->kind != kind))
        r = report_before(s->ledger, r);
    return r != NULL;
}

unsigned sim_ledger_count(const struct sim *s, uint64_t id, enum wire_event_kind kind)
{
    const struct report *r = newest_report(s->ledger, id);
    unsigned n = 0;

    for (; r != NULL; r = report_before(s->ledger, r))
        n += r->kind == kind;
    return n;
}

/* ---- excuses ---- */

void sim_ledger_excuse(struct sim *s, uint64_t id, uint32_t attempt)
{
    if (s->ledger != NULL && find(&s->ledger->excused, id, attempt) == NULL)
        add(&s->ledger->excused, (struct attempt){.id = id, .attempt = attempt});
}

void sim_ledger_excuse_frame(struct sim *s, struct span frame)
{
    struct sim_ledger *l = s->ledger;
    struct wire_event event;
    struct wire_job job;

    if (l == NULL)
        return;
    if (wire_decode_job(frame, &job) == 0)
        sim_ledger_excuse(s, job.id, job.attempt);
    if (wire_decode_event(frame, &event) != 0)
        return;
    sim_ledger_excuse(s, event.id, event.attempt);
    for (struct report *r = newest_report(l, event.id); r != NULL; r = report_before(l, r))
        if (r->attempt == event.attempt)
            r->is_forgotten = true;
}

/* ---- what has reached Redis ---- */

void sim_ledger_pushed(struct sim *s, struct span frame, bool is_there)
{
    struct sim_ledger *l = s->ledger;
    struct attempt *before;
    struct wire_job job;

    if (l == NULL || wire_decode_job(frame, &job) != 0)
        return;
    if (!is_there)
        sim_ledger_excuse(s, job.id, job.attempt);
    before = find(&l->pushed, job.id, job.attempt);
    if (before != NULL)
        before->is_there = is_there;
    else if (is_there)
        add(&l->pushed, (struct attempt){.id = job.id, .attempt = job.attempt, .is_there = true});
}

void sim_ledger_left(struct sim *s, uint64_t id, uint32_t attempt)
{
    const struct attempt *pushed = find(&s->ledger->pushed, id, attempt);

    if (pushed == NULL || !pushed->is_there)
        sim_ledger_excuse(s, id, attempt);
}

void sim_ledger_host_down(struct sim *s)
{
    s->ledger->down_ns = s->now_ns;
}

static bool is_in_redis(const struct sim *s, uint64_t id, uint32_t attempt)
{
    const struct report *r = newest_report(s->ledger, id);

    while (r != NULL && (r->attempt != attempt || r->is_forgotten))
        r = report_before(s->ledger, r);
    return r != NULL;
}

static bool is_held(const struct sim *s, uint64_t id, uint32_t attempt)
{
    for (unsigned i = 0; i < SIM_HOSTS * SIM_SLOTS; i++) {
        const struct sim_host *h = &s->hosts[i / SIM_SLOTS];
        const struct sim_slot *slot = &h->slots[i % SIM_SLOTS];

        if (slot->is_busy && slot->id == id && slot->attempt == attempt && h->is_alive &&
            !h->is_stopped && h->steady_ns != 0 && s->now_ns - h->steady_ns > HEARD_MS * SIM_MS &&
            s->now_ns - slot->claimed_ns > HEARD_MS * SIM_MS)
            return true;
    }
    return false;
}

static void judge_loss(struct sim *s, const struct store_event *e)
{
    const struct sim_ledger *l = s->ledger;
    uint64_t id = e->event.id, out_ns = sim_check_out_ns(s, id, e->event.attempt);
    const char *why = NULL;

    if (is_in_redis(s, id, e->event.attempt))
        why = "its end lies in Redis";
    else if (is_held(s, id, e->event.attempt))
        why = "a host that is well holds it";
    else if (find(&l->excused, id, e->event.attempt) == NULL)
        why = "nothing has happened that can have lost it";
    else if (e->event.has_begun && (l->down_ns == 0 || l->down_ns + DEATH_MS * SIM_MS < out_ns))
        why = "no host has died, and it is charged";
    if (why != NULL)
        sim_fail(s, "attempt %u of job %llu was given up as lost: %s", e->event.attempt,
                 (unsigned long long)id, why);
}

/* ---- what was applied ---- */

static void note_applied(struct sim *s, const struct store_event *e)
{
    struct sim_ledger *l = s->ledger;
    bool is_loss = e->source == STORE_LOST;
    const struct attempt *before = find(&l->applied, e->event.id, e->event.attempt);

    if (before != NULL && !(before->is_loss && e->ret_supersedes))
        sim_fail(s, "attempt %u of job %llu was applied twice", e->event.attempt,
                 (unsigned long long)e->event.id);
    if (is_loss)
        judge_loss(s, e);
    add(&l->applied,
        (struct attempt){.id = e->event.id, .attempt = e->event.attempt, .is_loss = is_loss});
}

static const struct store_submit *new_job_of(const struct store_op *op)
{
    const struct store_submit *submit = JM_CONTAINER_OF(op, const struct store_submit, op);

    if (op->kind != STORE_SUBMIT || op->status != 0 || submit->ret_is_repeat ||
        submit->ret_is_existing)
        return NULL;
    return submit;
}

/* From now on somebody may know of it: its id is not given out again, even if it does not survive.
 */
void sim_ledger_told(struct sim *s, const struct store_op *op)
{
    const struct store_submit *submit = new_job_of(op);

    if (submit == NULL)
        return;
    if (find(&s->ledger->made, submit->id, 0) != NULL)
        sim_fail(s, "id %llu was given out again", (unsigned long long)submit->id);
    add(&s->ledger->made, (struct attempt){.id = submit->id});
}

/* What was made or retried may have ended in the same commit. */
static void expect(struct sim *s, const struct store_op *op)
{
    const struct store_bulk *bulk = JM_CONTAINER_OF(op, const struct store_bulk, op);

    if (new_job_of(op) != NULL)
        sim_check_expect(s, new_job_of(op)->id);
    if (op->kind == STORE_RETRY)
        sim_check_expect(s, JM_CONTAINER_OF(op, const struct store_retry, op)->id);
    if (op->kind == STORE_BULK && bulk->verb == BULK_RETRY)
        for (size_t i = 0; i < bulk->count; i++)
            if (bulk->items[i].ret_is_changed)
                sim_check_expect(s, bulk->items[i].id);
}

void sim_ledger_ran(struct sim *s, struct store_op *op)
{
    struct store_apply *apply = JM_CONTAINER_OF(op, struct store_apply, op);

    if (op->status != 0)
        return;
    expect(s, op);
    if (op->kind != STORE_APPLY)
        return;
    for (size_t i = 0; i < apply->event_count; i++) {
        const struct store_event *e = &apply->events[i];
        bool is_end = e->source == STORE_LOST || e->event.kind != WIRE_RUNNING;

        if (is_end && e->ret_outcome == STORE_APPLIED)
            note_applied(s, e);
    }
}

void sim_ledger_synced(struct sim *s)
{
    s->ledger->applied_kept = s->ledger->applied.count;
}

/* What was not synced may be applied once more, if it has not survived. */
void sim_ledger_power_lost(struct sim *s)
{
    s->ledger->applied.count = s->ledger->applied_kept;
    sim_index_cut(&s->ledger->applied.by_id, s->ledger->applied_kept);
}
