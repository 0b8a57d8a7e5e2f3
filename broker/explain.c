#include "broker/explain.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

static const char *const words[] = {
#define X(name, word) word,
    EXPLAIN_CODES(X)
#undef X
};

const char *explain_word(enum explain_code code)
{
    return words[code];
}

static struct explain_reason *add(struct explanation *why, enum explain_code code, const char *fmt,
                                  ...) JM_PRINTF(3, 4);

static struct explain_reason *add(struct explanation *why, enum explain_code code, const char *fmt,
                                  ...)
{
    struct explain_reason *reason = &why->reasons[why->count++];
    va_list args;

    *reason = (struct explain_reason){.code = code};
    va_start(args, fmt);
    vsnprintf(reason->message, sizeof(reason->message), fmt, args);
    va_end(args);
    return reason;
}

/* ---- limits ---- */

static void explain_rate(const struct core *c, const struct bucket *b, const struct conf_rate *rate,
                         enum explain_code code, struct explanation *why)
{
    struct clock *clock = c->seams.clock;
    uint64_t wait_us;
    struct explain_reason *reason;

    if (rate->limit == 0)
        return;
    wait_us = bucket_wait_us(b, rate, clock_mono_ns(clock) / 1000);
    if (wait_us == 0)
        return;
    reason = add(why, code,
                 "the rate of %" PRIu64 " jobs in %" PRIu64 " ms is used up; the next may go in"
                 " %" PRIu64 " ms",
                 rate->limit, rate->period_ms, wait_us / 1000 + 1);
    reason->limit = rate->limit;
    reason->until_ms = clock_wall_ms(clock) + (int64_t)(wait_us / 1000) + 1;
}

static void explain_key(const struct core *c, const struct queue *q, struct span name,
                        struct explanation *why)
{
    const struct key *key = name.len > 0 ? lanes_find_key(&c->dispatch.lanes, q, name) : NULL;

    if (key == NULL)
        return;
    if (lanes_key_room(key) == 0)
        add(why, EXPLAIN_KEY_CONCURRENCY,
            "as many jobs of its limit_key are out as may be (%" PRIu32 "); one of them has to end",
            q->conf.key_concurrency)
            ->limit = q->conf.key_concurrency;
    explain_rate(c, &key->bucket, &q->conf.key_rate, EXPLAIN_KEY_RATE, why);
}

static void explain_limits(const struct core *c, const struct queue *q, const struct job_view *job,
                           struct explanation *why)
{
    const struct task_policy *policy = lanes_policy(&c->dispatch.lanes, job->spec.task);

    if (q->conf.is_paused)
        add(why, EXPLAIN_PAUSED, "its queue is paused; resume it");
    if (q->conf.concurrency > 0 && q->window.used >= q->conf.concurrency)
        add(why, EXPLAIN_QUEUE_CONCURRENCY,
            "as many jobs of its queue are out as may be (%" PRIu32 "); one of them has to end",
            q->conf.concurrency)
            ->limit = q->conf.concurrency;
    if (lanes_policy_room(policy) == 0)
        add(why, EXPLAIN_TASK_CONCURRENCY,
            "as many jobs of its task are out as may be (%" PRIu32 "); one of them has to end",
            policy->conf.concurrency)
            ->limit = policy->conf.concurrency;
    explain_rate(c, &q->bucket, &q->conf.rate, EXPLAIN_QUEUE_RATE, why);
    explain_key(c, q, job->spec.limit_key, why);
}

/* ---- the way out ---- */

static void explain_way(const struct core *c, const struct job_view *job, struct explanation *why)
{
    if (!c->dispatch.is_link_up)
        add(why, EXPLAIN_REDIS_UNREACHABLE,
            "the broker cannot reach Redis; the job is kept, and goes out when it can");
    if (hosts_slots(&c->hosts, job->spec.queue) == 0)
        add(why, EXPLAIN_NO_WORKER_QUEUE, "no live worker serves its queue; start one that does");
    if (!hosts_serve_task(&c->hosts, job->spec.task, job->spec.queue))
        add(why, EXPLAIN_NO_WORKER_TASK,
            "no live worker serves its task in its queue; start one that does");
}

static void explain_scheduled(const struct job_view *job, struct explanation *why)
{
    bool is_retry = job->failures > 0 || job->crashes > 0;

    add(why, is_retry ? EXPLAIN_RETRY_WAIT : EXPLAIN_DUE_LATER,
        is_retry ? "its last attempt ended badly, and it waits before it is tried again"
                 : "its time has not come yet")
        ->until_ms = job->due_ms;
}

static void explain_dispatched(const struct core *c, const struct job_view *job,
                               struct explanation *why)
{
    const struct dispatch_job *out = dispatch_find(&c->dispatch, job->id);

    if (out != NULL && out->attempt == job->attempt && out->has_begun)
        add(why, EXPLAIN_RUNNING, "it has begun");
    else
        add(why, EXPLAIN_DISPATCHED,
            "it waits in Redis, or in a worker's hands, for the next free slot");
    explain_way(c, job, why);
}

static void explain_queued(const struct core *c, const struct job_view *job,
                           struct explanation *why)
{
    const struct queue *q = queues_find(&c->queues, job->spec.queue);

    if (q != NULL)
        explain_limits(c, q, job, why);
    explain_way(c, job, why);
    if (why->count == 0)
        add(why, EXPLAIN_BEHIND_OTHERS,
            "the workers have as much before them as keeps them busy; it goes when its turn comes");
}

void explain_job(const struct core *c, const struct job_view *job, struct explanation *ret_why)
{
    ret_why->count = 0;
    if (job_state_is_terminal(job->state))
        add(ret_why, EXPLAIN_FINISHED, "it has ended: %s", job_state_shown(job->state));
    else if (job->state == JOB_RUNNING)
        add(ret_why, EXPLAIN_RUNNING, "it has begun");
    else if (job->state == JOB_SCHEDULED)
        explain_scheduled(job, ret_why);
    else if (job->state == JOB_DISPATCHED)
        explain_dispatched(c, job, ret_why);
    else
        explain_queued(c, job, ret_why);
}
