/*
 * clients_read.c: clients that look at a job, or wait for its end, as call.c and api_jobs.c do it:
 * who waits is registered before he reads; and an end is shown once it is on disk. What was shown
 * is remembered: it has to be what is found on disk at that moment, and later on.
 */
#include <assert.h>
#include <stdlib.h>

#include "tests/sim/sim.h"

struct read {
    struct list link; /* sim.reads */
    struct sim *sim;
    uint64_t id;
    uint64_t number;   /* of all reads */
    bool is_of_submit; /* nobody has been told of the job yet */
    struct waiter waiter;
    struct runner_gate gate;
    bool is_told; /* that it has ended */
    enum job_state state;
    uint32_t attempt;
};

static void read_free(struct read *r)
{
    list_remove(&r->link);
    free(r);
}

static void show_end(struct read *r)
{
    uint32_t attempt = 0;
    enum job_state kept = sim_check_kept(r->sim, r->id, &attempt);

    if (attempt < r->attempt || (attempt == r->attempt && kept != r->state))
        sim_fail(r->sim, "job %llu was shown as %s, and on disk it is %s",
                 (unsigned long long)r->id, job_state_word(r->state),
                 kept == JOB_NONE ? "not there" : job_state_word(kept));
}

static void show(struct read *r)
{
    if (r->is_of_submit)
        sim_clients_promise(r->sim, r->id);
    if (job_state_is_terminal(r->state))
        show_end(r);
    read_free(r);
}

static void on_open(struct runner_gate *gate)
{
    show(JM_CONTAINER_OF(gate, struct read, gate));
}

/* As the gate is passed or not. */
static void show_on_disk(struct read *r, bool is_on_disk)
{
    struct sim *s = r->sim;

    if (is_on_disk || runner_is_synced(&s->runner.runner)) {
        show(r);
        return;
    }
    r->gate.on_open = on_open;
    runner_wait_synced(&s->runner.runner, &r->gate);
}

/* Shows what is there, now or soon: of a submit in any case, else an end. Otherwise, or if it is
 * gone or the disk cannot be read, nothing. */
static void look(struct read *r, bool is_on_disk)
{
    struct job_view job;

    if (reader_get(r->sim->reader, r->id, false, &job) != 0 ||
        (!job_state_is_terminal(job.state) && !r->is_of_submit)) {
        read_free(r);
        return;
    }
    r->state = job.state;
    r->attempt = job.attempt;
    show_on_disk(r, is_on_disk);
}

/* The waiter is called behind the end's fsync; but what is there by now may be another end. */
static void on_end(struct waiter *w)
{
    struct read *r = JM_CONTAINER_OF(w, struct read, waiter);

    if (r->is_told)
        sim_fail(r->sim, "who waited for job %llu was told twice", (unsigned long long)r->id);
    r->is_told = true;
    look(r, true);
}

/* Whether there is something to be waited for. */
static bool is_live(struct sim *s, uint64_t id)
{
    struct job_view job;

    return reader_get(s->reader, id, false, &job) == 0 && !job_state_is_terminal(job.state);
}

static struct read *wait_for(struct sim *s, uint64_t id)
{
    struct read *r = calloc(1, sizeof(*r));

    assert(r != NULL);
    r->sim = s;
    r->id = id;
    r->number = ++s->read_number;
    r->waiter.on_end = on_end;
    list_init(&r->gate.link);
    list_push_back(&s->reads, &r->link);
    if (core_wait(s->core, &r->waiter, id) != 0)
        sim_fail(s, "nobody can wait for job %llu", (unsigned long long)id);
    return r;
}

static void stop_waiting(struct read *r)
{
    waiters_remove(&r->sim->core->waiters, &r->waiter);
    look(r, false);
}

void sim_clients_read(struct sim *s)
{
    struct read *r;

    if (s->promise_count == 0)
        return;
    r = wait_for(s, s->promises[sim_random(s, s->promise_count)].id);
    if (!is_live(s, r->id))
        stop_waiting(r);
}

static void time_over(struct sim *s, void *arg)
{
    uint64_t number = (uint64_t)(uintptr_t)arg;

    LIST_EACH(node, &s->reads)
    {
        struct read *r = LIST_ENTRY(node, struct read, link);

        if (r->number != number)
            continue;
        if (r->waiter.is_registered)
            stop_waiting(r);
        return;
    }
}

void sim_clients_wait(struct sim *s, uint64_t id)
{
    struct read *r = wait_for(s, id);

    r->is_of_submit = true;
    if (!is_live(s, id))
        stop_waiting(r);
    else
        sim_at(s, sim_random(s, 3000) * SIM_MS, time_over, (void *)(uintptr_t)r->number);
}

void sim_clients_hang_up(struct sim *s)
{
    while (!list_is_empty(&s->reads)) {
        struct read *r = LIST_ENTRY(s->reads.next, struct read, link);

        waiters_remove(&s->core->waiters, &r->waiter);
        list_remove(&r->gate.link);
        read_free(r);
    }
}
