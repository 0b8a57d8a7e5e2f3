/*
 * check.c: reads the database behind the broker's back, after every step, and compares it with what
 * the workers reported and the clients were promised:
 *   - a terminal state never changes, but by a retry that somebody asked for, with a new attempt;
 *   - an attempt number never falls;
 *   - whatever the database says of an attempt's end, a worker reported of that very attempt;
 *   - at the end every promised job has ended, a confirmed cancel stands, and the counts are right.
 */
#include <assert.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

struct seen {
    uint64_t id;
    uint32_t attempt;
    uint32_t highest; /* attempt ever seen */
    unsigned rebirths;
    int state;
};

struct sim_check {
    sqlite3 *db;
    sqlite3_stmt *ends;
    sqlite3_stmt *attempts;
    sqlite3_stmt *live;
    sqlite3_stmt *version;
    int64_t data_version;
    struct seen *seen;
    size_t seen_count;
};

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt;

    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK) {
        fprintf(stderr, "%s: %s\n", sql, sqlite3_errmsg(db));
        abort();
    }
    return stmt;
}

void sim_check_init(struct sim *s)
{
    struct sim_check *c = calloc(1, sizeof(*c));

    assert(c != NULL);
    if (sqlite3_open_v2(s->db, &c->db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK)
        abort();
    c->ends = prepare(c->db, "SELECT id, attempt, state FROM ends");
    c->attempts = prepare(c->db, "SELECT id, attempt, outcome FROM attempts");
    c->live = prepare(c->db, "SELECT id, attempt, state FROM live");
    c->version = prepare(c->db, "PRAGMA data_version");
    s->check = c;
}

void sim_check_done(struct sim *s)
{
    sqlite3_finalize(s->check->ends);
    sqlite3_finalize(s->check->attempts);
    sqlite3_finalize(s->check->live);
    sqlite3_finalize(s->check->version);
    sqlite3_close(s->check->db);
    free(s->check->seen);
    free(s->check);
}

void sim_check_report(struct sim *s, uint64_t id, uint32_t attempt, enum wire_event_kind kind)
{
    s->reports = realloc(s->reports, (s->report_count + 1) * sizeof(*s->reports));
    assert(s->reports != NULL);
    s->reports[s->report_count++] = (struct sim_report){.id = id, .attempt = attempt, .kind = kind};
}

static bool was_reported(const struct sim *s, uint64_t id, uint32_t attempt,
                         enum wire_event_kind kind)
{
    for (size_t i = s->report_count; i-- > 0;)
        if (s->reports[i].id == id && s->reports[i].attempt == attempt &&
            s->reports[i].kind == kind)
            return true;
    return false;
}

static struct seen *seen_of(struct sim_check *c, uint64_t id)
{
    for (size_t i = c->seen_count; i-- > 0;)
        if (c->seen[i].id == id)
            return &c->seen[i];
    c->seen = realloc(c->seen, (c->seen_count + 1) * sizeof(*c->seen));
    assert(c->seen != NULL);
    c->seen[c->seen_count] = (struct seen){.id = id};
    return &c->seen[c->seen_count++];
}

/* It was at an end, and is not, or is at another one. */
static void check_rebirth(struct sim *s, struct seen *seen, uint32_t attempt, int state)
{
    const struct sim_promise *p = sim_clients_find(s, seen->id);

    seen->rebirths++;
    if (attempt <= seen->highest)
        sim_fail(s, "job %llu was %s and is %s by attempt %u, which is no new one",
                 (unsigned long long)seen->id, job_state_word((enum job_state)seen->state),
                 job_state_word((enum job_state)state), attempt);
    if (p == NULL || seen->rebirths > p->retries)
        sim_fail(s, "job %llu was %s and is %s, and nobody asked for it",
                 (unsigned long long)seen->id, job_state_word((enum job_state)seen->state),
                 job_state_word((enum job_state)state));
}

static void check_move(struct sim *s, uint64_t id, uint32_t attempt, int state)
{
    struct seen *seen = seen_of(s->check, id);

    if (job_state_is_terminal((enum job_state)seen->state) &&
        (seen->state != state || seen->attempt != attempt))
        check_rebirth(s, seen, attempt, state);
    else if (!job_state_is_terminal((enum job_state)state) && attempt < seen->attempt)
        sim_fail(s, "job %llu went back from attempt %u to %u", (unsigned long long)id,
                 seen->attempt, attempt);
    seen->attempt = attempt;
    if (attempt > seen->highest)
        seen->highest = attempt;
    seen->state = state;
}

static void check_end(struct sim *s, uint64_t id, uint32_t attempt, int state)
{
    bool is_fair = true;

    if (state == JOB_SUCCEEDED)
        is_fair = was_reported(s, id, attempt, WIRE_SUCCEEDED);
    else if (state == JOB_FAILED) /* or five hosts died of it, which no worker reports */
        is_fair = was_reported(s, id, attempt, WIRE_FAILED) ||
                  was_reported(s, id, attempt, WIRE_CRASHED) || attempt >= JM_DEATH_LIMIT;
    if (!is_fair)
        sim_fail(s, "job %llu is %s by attempt %u, of which no worker said so",
                 (unsigned long long)id, job_state_word((enum job_state)state), attempt);
    check_move(s, id, attempt, state);
}

static void check_attempt(struct sim *s, uint64_t id, uint32_t attempt, const char *outcome)
{
    static const struct {
        const char *outcome;
        enum wire_event_kind kind;
        enum wire_event_kind or_kind; /* of an end that was tried again */
    } ends[] = {{"failed", WIRE_FAILED, WIRE_CRASHED},
                {"crashed", WIRE_CRASHED, WIRE_CRASHED},
                {"succeeded", WIRE_SUCCEEDED, WIRE_SUCCEEDED},
                {"handed_back", WIRE_HANDED_BACK, WIRE_HANDED_BACK}};

    for (size_t i = 0; i < JM_COUNT_OF(ends); i++)
        if (strcmp(outcome, ends[i].outcome) == 0 && !was_reported(s, id, attempt, ends[i].kind) &&
            !was_reported(s, id, attempt, ends[i].or_kind) &&
            (attempt < JM_DEATH_LIMIT || ends[i].kind != WIRE_FAILED))
            sim_fail(s, "attempt %u of job %llu is on record as %s, of which no worker said so",
                     attempt, (unsigned long long)id, outcome);
}

static bool has_changed(struct sim_check *c)
{
    int64_t version;

    sqlite3_step(c->version);
    version = sqlite3_column_int64(c->version, 0);
    sqlite3_reset(c->version);
    if (version == c->data_version)
        return false;
    c->data_version = version;
    return true;
}

void sim_check_step(struct sim *s)
{
    struct sim_check *c = s->check;

    if (!has_changed(c))
        return;
    while (sqlite3_step(c->live) == SQLITE_ROW)
        check_move(s, (uint64_t)sqlite3_column_int64(c->live, 0),
                   (uint32_t)sqlite3_column_int(c->live, 1), sqlite3_column_int(c->live, 2));
    while (sqlite3_step(c->ends) == SQLITE_ROW)
        check_end(s, (uint64_t)sqlite3_column_int64(c->ends, 0),
                  (uint32_t)sqlite3_column_int(c->ends, 1), sqlite3_column_int(c->ends, 2));
    while (sqlite3_step(c->attempts) == SQLITE_ROW)
        check_attempt(s, (uint64_t)sqlite3_column_int64(c->attempts, 0),
                      (uint32_t)sqlite3_column_int(c->attempts, 1),
                      (const char *)sqlite3_column_text(c->attempts, 2));
    sqlite3_reset(c->live);
    sqlite3_reset(c->ends);
    sqlite3_reset(c->attempts);
}

/* As they are kept, and as counting gives them. */
static void check_counts(struct sim *s)
{
    sqlite3_stmt *stmt = prepare(
        s->check->db,
        "SELECT (SELECT sum(scheduled + queued + dispatched + running) FROM counts)"
        " = (SELECT count(*) FROM live) AND (SELECT sum(succeeded + failed + cancelled + expired)"
        " FROM counts) = (SELECT count(*) FROM ends) AND (SELECT count(*) FROM jobs)"
        " = (SELECT count(*) FROM live) + (SELECT count(*) FROM ends)");

    if (sqlite3_step(stmt) != SQLITE_ROW || sqlite3_column_int(stmt, 0) != 1)
        sim_fail(s, "the counts are not what is there");
    sqlite3_finalize(stmt);
}

void sim_check_end(struct sim *s)
{
    check_counts(s);
    for (size_t i = 0; i < s->promise_count; i++) {
        const struct sim_promise *p = &s->promises[i];
        const struct seen *seen = seen_of(s->check, p->id);

        if (!job_state_is_terminal((enum job_state)seen->state))
            sim_fail(s, "job %llu was accepted and is lost (%s)", (unsigned long long)p->id,
                     job_state_word((enum job_state)seen->state));
        if (p->is_cancelled && seen->state != JOB_CANCELLED)
            sim_fail(s, "the cancel of job %llu was confirmed, and it is %s",
                     (unsigned long long)p->id, job_state_word((enum job_state)seen->state));
    }
}
