/*
 * job_attempts.c: the store keeps the ends of attempts that did not end their job; that of the last
 * one is the job's own end, which is told here in the same way. It is written aside first, since
 * the job's spans do not outlive the next read.
 */
#include "broker/job_attempts.h"

#include "broker/evidence.h"
#include "lib/buf.h"
#include "schema/errors.h"
#include "schema/keys.h"

enum { END_BYTES = 64 << 10 }; /* of the last one; its error is the largest part */

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

static const char *bad_outcome(struct span error)
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
            return rows[i].outcome;
    return "failed";
}

/* What became of the attempt with which the job ended; NULL: none had begun, as far as is known. */
static const char *last_outcome(const struct job_view *job)
{
    switch (job->state) {
    case JOB_SUCCEEDED:
        return "succeeded";
    case JOB_FAILED:
        return bad_outcome(job->error);
    case JOB_CANCELLED:
        return job->host != 0 && job->begun_at_ms != 0 ? "killed" : NULL;
    default:
        return NULL;
    }
}

static void put_end(struct buf *out, const struct job_view *job)
{
    const char *outcome = last_outcome(job);

    if (outcome != NULL)
        put_attempt(out, &(struct attempt_view){.attempt = job->attempt,
                                                .outcome = span_of_str(outcome),
                                                .host = job->host,
                                                .begun_at_ms = job->begun_at_ms,
                                                .ended_at_ms = job->finished_at_ms,
                                                .run_us = job->run_us,
                                                .error = job->error});
}

static void on_attempt(void *owner, const struct attempt_view *attempt)
{
    struct render_array *attempts = owner;

    render_item(attempts);
    put_attempt(attempts->out, attempt);
}

int job_attempts_render(struct render_map *m, const struct job_view *job, struct reader *reader)
{
    struct render_array attempts;
    struct buf end;
    int rc;

    buf_init(&end, END_BYTES);
    put_end(&end, job);
    render_key(m, "attempts");
    render_open_array(&attempts, m->out);
    rc = reader_attempts(reader, job->id, &attempts, on_attempt);
    if (end.len > 0) {
        render_item(&attempts);
        buf_put_span(m->out, buf_span(&end));
    }
    render_close_array(&attempts);
    if (rc == 0 && buf_has_failed(&end))
        rc = JM_ENOMEM;
    buf_done(&end);
    return rc;
}
