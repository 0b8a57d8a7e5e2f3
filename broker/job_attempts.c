/*
 * job_attempts.c: the store keeps the ends of attempts that did not end their job; that of the last
 * one is the job's own end, which is told here in the same way. Its error is put aside first, since
 * the job's spans do not outlive the next read.
 */
#include "broker/job_attempts.h"

#include "broker/evidence.h"
#include "lib/buf.h"
#include "schema/errors.h"
#include "schema/keys.h"

enum { END_BYTES = 64 << 10 }; /* no error is longer */

static void put_attempt(struct buf *out, const struct attempt_view *attempt)
{
    struct render_map m;
    char worker[17];

    render_open_map(&m, out);
    render_u64(&m, "attempt", attempt->attempt);
    render_str(&m, "outcome", attempt->outcome);
    if (attempt->host != 0) {
        keys_host_name(worker, attempt->host);
        render_word(&m, "worker", worker);
    }
    if (attempt->begun_at_ms != 0)
        render_time(&m, "begun_at", attempt->begun_at_ms);
    render_time(&m, "ended_at", attempt->ended_at_ms);
    render_u64(&m, "run_us", attempt->run_us);
    if (attempt->error.len > 0)
        render_value(&m, "error", attempt->error);
    render_close_map(&m);
}

/* A person's retry has left only the state in which the job had ended: the error says more. */
static struct span bad_outcome(struct span error)
{
    static const struct {
        int error;
        const char *outcome;
    } rows[] = {{JM_ECRASHED, "crashed"},
                {JM_EJOBTIMEOUT, "timed_out"},
                {JM_EHOSTLOST, "lost"},
                {JM_ELOST, "lost"}};
    struct span code = evidence_text(error, "code");

    for (size_t i = 0; i < JM_COUNT_OF(rows); i++)
        if (span_is_str(code, errors_code(rows[i].error)))
            return span_of_str(rows[i].outcome);
    return span_of_str("failed");
}

/* An attempt that never began, of a job that was cancelled or has expired, is passed over. */
static void show(struct render_array *attempts, const struct attempt_view *seen)
{
    struct attempt_view attempt = *seen;

    if (span_is_str(attempt.outcome, "expired"))
        return;
    if (span_is_str(attempt.outcome, "cancelled")) {
        if (attempt.begun_at_ms == 0)
            return;
        attempt.outcome = span_of_str("killed");
    }
    if (span_is_str(attempt.outcome, "failed"))
        attempt.outcome = bad_outcome(attempt.error);
    render_item(attempts);
    put_attempt(attempts->out, &attempt);
}

struct history {
    struct render_array attempts;
    uint32_t ended_as; /* the attempt that ended the job; 0: it has not ended */
};

/* An attempt that was given up as lost, and succeeded after all, has not been lost. */
static void on_attempt(void *owner, const struct attempt_view *attempt)
{
    struct history *h = owner;

    if (attempt->attempt != h->ended_as)
        show(&h->attempts, attempt);
}

/* What is to be kept of the job's error until the other attempts are read. */
static int keep_error(const struct job_view *job, struct buf *ret_error)
{
    buf_init(ret_error, END_BYTES);
    buf_put_span(ret_error, job->error);
    return buf_has_failed(ret_error) ? JM_ENOMEM : 0;
}

int job_attempts_render(struct render_map *m, const struct job_view *job, struct reader *reader)
{
    bool has_ended = job_state_is_terminal(job->state);
    struct history h = {.ended_as = has_ended ? job->attempt : 0};
    struct attempt_view end = {.attempt = job->attempt,
                               .outcome = span_of_str(job_state_shown(job->state)),
                               .host = job->host,
                               .begun_at_ms = job->begun_at_ms,
                               .ended_at_ms = job->finished_at_ms,
                               .run_us = job->run_us};
    struct buf error;
    int rc = keep_error(job, &error);

    render_key(m, "attempts");
    render_open_array(&h.attempts, m->out);
    if (rc == 0 && job->may_have_attempts)
        rc = reader_attempts(reader, job->id, &h, on_attempt);
    end.error = buf_span(&error);
    if (has_ended)
        show(&h.attempts, &end);
    render_close_array(&h.attempts);
    buf_done(&error);
    return rc;
}
