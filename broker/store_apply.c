/*
 * Applying what happened to attempts. For each event: read the job's live row; let verdict.c say
 * what the event does to it; write that down. An event that does not count writes nothing, and
 * because the attempt rises (or the row goes) in the same commit that applies an end, applying the
 * same events again changes nothing: that is what makes taking a results list twice harmless.
 */
#include "broker/store_inside.h"

#include "broker/evidence.h"
#include "broker/job_options.h"
#include "schema/errors.h"

/* What the event says of the run; or what is known from before. */
static void learn_run(const struct store_live *live, const struct wire_event *event,
                      uint64_t *ret_host, int64_t *ret_begun_at_ms)
{
    *ret_host = event->host != 0 ? event->host : live->host;
    *ret_begun_at_ms = event->begun_at_ms != 0 ? event->begun_at_ms : live->begun_at_ms;
}

/* The error map of a bad end, in the scratch buffer; empty if it was none. */
static struct span encode_error(struct store *s, int error, const struct wire_event *event)
{
    buf_clear(&s->scratch);
    if (error != 0)
        evidence_encode(&s->scratch, error, event);
    return buf_span(&s->scratch);
}

static int write_end(struct store *s, const struct store_live *live, const struct verdict *v,
                     const struct wire_event *event)
{
    struct store_end end = {.job = v->after, .run_us = event->run_us};

    end.job.attempt = v->ended_attempt;
    learn_run(live, event, &end.host, &end.begun_at_ms);
    end.error = encode_error(s, v->error, event);
    if (buf_has_failed(&s->scratch))
        return SQLITE_NOMEM;
    if (v->after.state == JOB_SUCCEEDED)
        end.result = event->result;
    return store_live_end(s, live, &end);
}

static int write_attempt(struct store *s, const struct store_live *live, const struct verdict *v,
                         const struct store_event *event)
{
    struct store_query q = store_use(s, SQL_ATTEMPT_INSERT);
    struct span error = encode_error(s, v->error, &event->event);
    const char *word = verdict_word(event);
    uint64_t host;
    int64_t begun_at_ms;

    if (buf_has_failed(&s->scratch))
        return SQLITE_NOMEM;
    learn_run(live, &event->event, &host, &begun_at_ms);
    store_query_put_int(&q, (int64_t)live->id);
    store_query_put_int(&q, v->ended_attempt);
    store_query_put_text(&q, span_of_str(word));
    store_query_put_int(&q, (int64_t)host);
    store_query_put_int(&q, begun_at_ms);
    store_query_put_int(&q, clock_wall_ms(s->conf.clock));
    store_query_put_int(&q, (int64_t)event->event.run_us);
    store_query_put_blob(&q, error);
    return store_query_run(&q);
}

/* The due time orders the backlog, so a job that comes back keeps it, and its place. */
static int64_t due_after(struct store *s, const struct store_live *live, const struct verdict *v)
{
    if (v->after.state != JOB_SCHEDULED)
        return live->due_ms;
    return clock_wall_ms(s->conf.clock) + v->wait_ms;
}

static int write_move(struct store *s, const struct store_live *live, const struct verdict *v,
                      const struct wire_event *event, int64_t due_ms)
{
    struct store_query q = store_use(s, SQL_LIVE_MOVE);
    uint64_t host;
    int64_t begun_at_ms;
    int rc;

    learn_run(live, event, &host, &begun_at_ms);
    if (v->after.attempt != live->job.attempt) { /* the new one is nobody's, and has not begun */
        host = 0;
        begun_at_ms = 0;
    }
    store_query_put_int(&q, v->after.state);
    store_query_put_int(&q, due_ms);
    store_query_put_int(&q, v->after.attempt);
    store_query_put_int(&q, v->after.failures);
    store_query_put_int(&q, v->after.crashes);
    store_query_put_int(&q, v->after.deaths);
    store_query_put_int(&q, v->after.lost_from);
    store_query_put_int(&q, (int64_t)host);
    store_query_put_int(&q, begun_at_ms);
    store_query_put_int(&q, (int64_t)live->id);
    store_query_put_int(&q, live->job.state);
    store_query_put_int(&q, live->job.attempt);
    rc = store_query_run(&q);
    if (rc == SQLITE_OK && sqlite3_changes(s->db) != 1)
        rc = SQLITE_CORRUPT;
    if (rc == SQLITE_OK)
        store_lane_move(s, live->lane, live->job.state, v->after.state);
    return rc;
}

static int write_verdict(struct store *s, const struct store_live *live, const struct verdict *v,
                         struct store_event *event)
{
    int rc = SQLITE_OK;

    event->ret_due_ms = due_after(s, live, v);
    if (job_state_is_terminal(v->after.state))
        return write_end(s, live, v, &event->event);
    if (v->ended_attempt != 0)
        rc = write_attempt(s, live, v, event);
    if (rc == SQLITE_OK)
        rc = store_attempts_trim(s, live->id, v->ended_attempt);
    if (rc == SQLITE_OK)
        rc = write_move(s, live, v, &event->event, event->ret_due_ms);
    return rc;
}

/* Of a job that isn't live: it ended before, or was never there. */
static int drop_event(struct store *s, struct store_event *event)
{
    int rc = store_end_get(s, event->event.id, &event->ret_state, &event->ret_attempt);

    event->ret_outcome = event->ret_state == JOB_NONE ? STORE_UNKNOWN : STORE_LATE;
    return rc;
}

/* The job's own, which stands with its options, away from what the fast path reads. */
static int read_backoff(struct store *s, uint64_t id, struct backoff *ret_backoff)
{
    struct store_query q = store_use(s, SQL_JOB_OPTIONS);
    struct job_options options;
    bool found = false;
    int rc;

    store_query_put_int(&q, (int64_t)id);
    rc = store_query_next(&q, &found);
    if (rc != SQLITE_OK)
        return rc;
    if (!found)
        return SQLITE_CORRUPT;
    if (job_options_decode(store_query_bytes(&q), &options))
        *ret_backoff = options.backoff;
    else
        rc = SQLITE_CORRUPT;
    store_query_end(&q);
    return rc;
}

static int apply_event(struct store *s, struct store_event *event)
{
    struct backoff backoff = {.kind = BACKOFF_DEFAULT};
    struct store_live live;
    struct verdict v;
    bool found = false;
    int rc = store_live_get(s, event->event.id, &live, &found);

    event->ret_state = JOB_NONE;
    event->ret_attempt = 0;
    event->ret_supersedes = false;
    event->ret_due_ms = 0;
    event->ret_expires_at_ms = 0;
    if (rc != SQLITE_OK)
        return rc;
    if (!found)
        return drop_event(s, event);
    if (verdict_needs_backoff(event))
        rc = read_backoff(s, live.id, &backoff);
    if (rc != SQLITE_OK)
        return rc;
    verdict_of(&live.job, &backoff, event, &v);
    event->ret_outcome = v.outcome;
    event->ret_state = live.job.state;
    event->ret_attempt = live.job.attempt;
    if (v.outcome != STORE_APPLIED)
        return SQLITE_OK;
    event->ret_state = v.after.state;
    event->ret_attempt = v.after.attempt;
    event->ret_supersedes = v.supersedes;
    event->ret_expires_at_ms = live.expires_at_ms;
    return write_verdict(s, &live, &v, event);
}

static int quarantine(struct store *s, struct span bytes)
{
    struct store_query q = store_use(s, SQL_BAD_INSERT);
    struct span kept = bytes;

    if (kept.len > JM_QUARANTINE_ENTRY_BYTES)
        kept.len = JM_QUARANTINE_ENTRY_BYTES;
    if (kept.len == 0)
        kept = span_of("", 1); /* the column is NOT NULL; length_bytes tells the truth */
    store_query_put_int(&q, clock_wall_ms(s->conf.clock));
    store_query_put_int(&q, (int64_t)bytes.len);
    store_query_put_blob(&q, kept);
    return store_query_run(&q);
}

static int quarantine_all(struct store *s, const struct span *bad, size_t count)
{
    struct store_query q = store_use(s, SQL_BAD_TRIM);
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < count; i++)
        rc = quarantine(s, bad[i]);
    if (rc != SQLITE_OK || count == 0)
        return rc;
    store_query_put_int(&q, JM_QUARANTINE_ENTRIES);
    return store_query_run(&q);
}

/* A list that was applied in full before is being applied again: its events are late by themselves,
 * and what could not be decoded is in the quarantine already. */
static int is_repeat(struct store *s, const struct store_apply *op, bool *ret_is_repeat)
{
    int64_t last = 0;
    int rc = SQLITE_OK;

    if (op->taken > 0)
        rc = store_meta_get(s, "last_taken", &last);
    *ret_is_repeat = op->taken > 0 && (int64_t)op->taken <= last;
    return rc;
}

int store_apply(struct store *s, struct store_apply *op, int *ret_status)
{
    bool repeat = false;
    int rc = is_repeat(s, op, &repeat);

    for (size_t i = 0; rc == SQLITE_OK && i < op->event_count; i++)
        rc = apply_event(s, &op->events[i]);
    if (rc == SQLITE_OK && !repeat)
        rc = quarantine_all(s, op->bad, op->bad_count);
    if (rc == SQLITE_OK && op->taken > 0)
        rc = store_meta_raise(s, "last_taken", (int64_t)op->taken);
    *ret_status = 0;
    return rc;
}
