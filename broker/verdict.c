/*
 * An event counts if it is about the current attempt. The one exception, in the user's favour: a
 * success of an attempt that was given up as lost, if nothing but losses ended attempts since
 * (lost_from), because then the job's answer is at hand and no other end has been told.
 *
 * The target is chosen here and checked against the state table; what the table doesn't allow (an
 * event of a job that was put back, a second word that it runs) is late.
 */
#include "broker/verdict.h"

#include "broker/backoff.h"
#include "schema/errors.h"

static enum job_event event_of(const struct store_event *event)
{
    if (event->source == STORE_LOST)
        return JOB_ON_LOSS;
    switch (event->event.kind) {
    case WIRE_RUNNING:
        return JOB_ON_RUN;
    case WIRE_SUCCEEDED:
        return JOB_ON_SUCCESS;
    case WIRE_FAILED:
    case WIRE_TIMED_OUT:
        return JOB_ON_FAILURE;
    case WIRE_CRASHED:
        return JOB_ON_CRASH;
    case WIRE_KILLED: /* by an order that no longer holds, or the job would have ended */
    case WIRE_HANDED_BACK:
        return JOB_ON_HAND_BACK;
    }
    return JOB_EVENT_COUNT;
}

static bool is_about_current(const struct verdict_job *job, enum job_event event, uint32_t attempt)
{
    if (attempt == job->attempt)
        return true;
    return event == JOB_ON_SUCCESS && attempt < job->attempt && job->lost_from != 0 &&
           attempt >= job->lost_from;
}

/* The worker's own word, if it is one of those that a task can fail with. */
static int error_of_code(struct span code)
{
    char word[32];
    int error;

    if (code.len == 0 || code.len >= sizeof(word))
        return JM_ETASKFAILED;
    memcpy(word, code.data, code.len);
    word[code.len] = '\0';
    error = errors_parse_code(word);
    return error <= JM_ETASKFAILED && error >= JM_ERESULTSIZE ? error : JM_ETASKFAILED;
}

static int error_of(const struct store_event *event)
{
    if (event->source == STORE_LOST)
        return event->event.has_begun ? JM_EHOSTLOST : JM_ELOST;
    switch (event->event.kind) {
    case WIRE_FAILED:
        return error_of_code(event->event.code);
    case WIRE_TIMED_OUT:
        return JM_EJOBTIMEOUT;
    case WIRE_CRASHED:
        return JM_ECRASHED;
    default:
        return 0;
    }
}

/* What a task says about the next attempt goes before the job's own rules, but makes none more. */
static void judge_failure(struct verdict *v, const struct backoff *backoff,
                          const struct wire_event *event)
{
    struct verdict_job *job = &v->after;
    enum wire_retry retry = event->kind == WIRE_FAILED ? event->retry : WIRE_RETRY_DEFAULT;

    job->failures++;
    job->state = JOB_SCHEDULED;
    if (retry == WIRE_RETRY_AFTER)
        v->wait_ms = (int64_t)event->retry_after_ms;
    else
        v->wait_ms = backoff_ms(backoff, event->id, job->attempt, job->failures);
    /* A task that refuses its arguments will do so again. */
    if (v->error == JM_ETASKARGS || retry == WIRE_RETRY_NEVER || job->failures >= job->max_attempts)
        job->state = JOB_FAILED;
}

static void judge_crash(struct verdict *v, const struct backoff *backoff, uint64_t id)
{
    struct verdict_job *job = &v->after;

    job->crashes++;
    if (job->crashes >= JM_CRASH_LIMIT) {
        job->state = JOB_FAILED;
    } else if (job->crashes == 1) {
        job->state = JOB_QUEUED;
    } else {
        job->state = JOB_SCHEDULED;
        v->wait_ms = backoff_ms(backoff, id, job->attempt, job->crashes - 1);
    }
}

/* Only a job that had begun may have killed its host. */
static void judge_loss(struct verdict_job *job, bool has_begun)
{
    job->state = JOB_QUEUED;
    if (has_begun)
        job->deaths++;
    if (job->deaths >= JM_DEATH_LIMIT)
        job->state = JOB_FAILED;
}

static void judge(struct verdict *v, const struct backoff *backoff, const struct store_event *event)
{
    struct verdict_job *job = &v->after;

    switch (v->event) {
    case JOB_ON_RUN:
        job->state = JOB_RUNNING;
        break;
    case JOB_ON_SUCCESS:
        job->state = JOB_SUCCEEDED;
        break;
    case JOB_ON_FAILURE:
        judge_failure(v, backoff, &event->event);
        break;
    case JOB_ON_CRASH:
        judge_crash(v, backoff, event->event.id);
        break;
    case JOB_ON_LOSS:
        judge_loss(job, event->event.has_begun);
        break;
    default:
        job->state = JOB_QUEUED;
        break;
    }
}

void verdict_of(const struct verdict_job *job, const struct backoff *backoff,
                const struct store_event *event, struct verdict *ret_verdict)
{
    struct verdict v = {.outcome = STORE_APPLIED, .event = event_of(event), .after = *job};
    uint32_t attempt = event->event.attempt;

    if (v.event == JOB_EVENT_COUNT) {
        *ret_verdict = (struct verdict){.outcome = STORE_INVALID};
        return;
    }
    v.error = error_of(event);
    judge(&v, backoff, event);
    if (!is_about_current(job, v.event, attempt) ||
        !job_state_can_move(v.event, job->state, v.after.state)) {
        *ret_verdict = (struct verdict){.outcome = STORE_LATE};
        return;
    }
    v.supersedes = attempt < job->attempt;
    if (v.event != JOB_ON_RUN)
        v.ended_attempt = attempt;
    if (job_state_ends_attempt(v.event, job->state, v.after.state)) {
        if (v.event != JOB_ON_LOSS)
            v.after.lost_from = 0;
        else if (v.after.lost_from == 0)
            v.after.lost_from = job->attempt;
        v.after.attempt++;
    }
    *ret_verdict = v;
}

bool verdict_needs_backoff(const struct store_event *event)
{
    enum job_event what = event_of(event);

    return what == JOB_ON_FAILURE || what == JOB_ON_CRASH;
}

const char *verdict_word(const struct store_event *event)
{
    return event->source == STORE_LOST ? "lost" : wire_event_word(event->event.kind);
}
