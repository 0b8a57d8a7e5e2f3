/*
 * check.c: reads the database behind the broker's back, after every step, and compares it with what
 * the workers reported and the clients were promised:
 *   - no job that was there is gone, but one that had ended;
 *   - a terminal state never changes, but by a retry that somebody asked for, with a new attempt;
 *   - an attempt number never falls;
 *   - whatever the database says of an attempt's end, a worker reported of that very attempt, and a
 *     job is charged with no more ends than were reported;
 *   - at the end every promised job has ended, a confirmed cancel stands, and the counts are right.
 * Beside what it sees it keeps what of it is on disk: after a power cut that is what has to be
 * there at least. Each step looks at what lives; all the rest is looked at now and then.
 */
#include <assert.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/check.h"

enum { LOOK_AT_ALL_EVERY = 16 };

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt;

    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK) {
        fprintf(stderr, "%s: %s\n", sql, sqlite3_errmsg(db));
        abort();
    }
    return stmt;
}

static void look_at_all(struct sim *s);

void sim_check_open(struct sim *s)
{
    struct sim_check *c = s->check;

    if (c == NULL)
        return;
    s->disk.is_exempt = true;
    if (sqlite3_open_v2(s->db, &c->db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK)
        abort();
    c->end = prepare(c->db, CHECK_ENDS " WHERE id = ?");
    c->ends = prepare(c->db, CHECK_ENDS);
    c->attempts = prepare(c->db, "SELECT id, attempt, outcome FROM attempts");
    c->live = prepare(c->db, "SELECT l.id, l.attempt, l.state, l.failures, l.crashes, a.queue,"
                             " a.task, a.limit_key FROM live l JOIN lanes a ON a.lane = l.lane");
    c->version = prepare(c->db, "PRAGMA data_version");
    c->data_version = -1;
    look_at_all(s); /* the start has brought it to the disk */
    sim_check_synced(s);
    s->disk.is_exempt = false;
    sim_check_note_out(s); /* also what comes out of a commit that nobody had seen */
}

void sim_check_note_out(struct sim *s)
{
    const struct sim_check *c = s->check;

    for (size_t i = 0; c != NULL && i < c->seen_count; i++)
        if (c->seen[i].now.state == JOB_DISPATCHED || c->seen[i].now.state == JOB_RUNNING)
            sim_ledger_left(s, c->seen[i].id, c->seen[i].now.attempt);
}

void sim_check_close(struct sim *s)
{
    struct sim_check *c = s->check;

    if (c == NULL)
        return;
    sqlite3_finalize(c->end);
    sqlite3_finalize(c->ends);
    sqlite3_finalize(c->attempts);
    sqlite3_finalize(c->live);
    sqlite3_finalize(c->version);
    sqlite3_close(c->db);
    c->end = c->ends = c->attempts = c->live = c->version = NULL;
    c->db = NULL;
}

void sim_check_init(struct sim *s)
{
    s->check = calloc(1, sizeof(*s->check));
    assert(s->check != NULL);
}

void sim_check_done(struct sim *s)
{
    sim_check_close(s);
    free(s->check->seen);
    sim_index_done(&s->check->seen_by_id);
    free(s->check);
    s->check = NULL;
}

/* ---- what was seen ---- */

static struct seen *find(const struct sim_check *c, uint64_t id)
{
    size_t i = sim_index_find(&c->seen_by_id, id);

    return i != SIM_INDEX_NONE ? &c->seen[i] : NULL;
}

static struct seen *need(struct sim_check *c, uint64_t id)
{
    struct seen *seen = find(c, id);

    if (seen != NULL)
        return seen;
    if (c->seen_count == c->seen_room) {
        c->seen_room = c->seen_room * 2 + 64;
        c->seen = realloc(c->seen, c->seen_room * sizeof(*c->seen));
        assert(c->seen != NULL);
    }
    sim_index_add(&c->seen_by_id, id);
    c->seen[c->seen_count] = (struct seen){.id = id};
    return &c->seen[c->seen_count++];
}

void sim_check_synced(struct sim *s)
{
    sim_check_step(s);
    for (size_t i = 0; i < s->check->seen_count; i++) {
        s->check->seen[i].kept = s->check->seen[i].now;
        s->check->seen[i].is_kept = true;
    }
    sim_ledger_synced(s);
}

void sim_check_power_lost(struct sim *s)
{
    struct sim_check *c = s->check;
    size_t count = 0;

    if (c == NULL)
        return;
    c->expected_count = 0;
    sim_index_cut(&c->seen_by_id, 0);
    for (size_t i = 0; i < c->seen_count; i++) {
        if (!c->seen[i].is_kept)
            continue;
        c->seen[i].now = c->seen[i].kept;
        sim_index_add(&c->seen_by_id, c->seen[i].id);
        c->seen[count++] = c->seen[i];
    }
    c->seen_count = count;
    sim_ledger_power_lost(s);
}

enum job_state sim_check_kept(const struct sim *s, uint64_t id, uint32_t *ret_attempt)
{
    const struct seen *seen = find(s->check, id);

    if (seen == NULL || !seen->is_kept)
        return JOB_NONE;
    *ret_attempt = seen->kept.attempt;
    return (enum job_state)seen->kept.state;
}

uint64_t sim_check_finished(const struct sim *s)
{
    uint64_t n = 0;

    for (size_t i = 0; i < s->check->seen_count; i++)
        n += job_state_is_terminal((enum job_state)s->check->seen[i].now.state);
    return n;
}

uint64_t sim_check_out_ns(const struct sim *s, uint64_t id, uint32_t attempt)
{
    const struct seen *seen = find(s->check, id);

    return seen != NULL && seen->now.attempt == attempt ? seen->now.out_ns : 0;
}

/* ---- moves ---- */

/* It was at an end, and is not, or is at another one. */
static void check_rebirth(struct sim *s, struct seen *seen, uint32_t attempt, int state)
{
    const struct sim_promise *p = sim_clients_find(s, seen->id);

    seen->now.rebirths++;
    if (attempt <= seen->now.highest)
        sim_fail(s, "job %llu was %s and is %s by attempt %u, which is no new one",
                 (unsigned long long)seen->id, job_state_word((enum job_state)seen->now.state),
                 job_state_word((enum job_state)state), attempt);
    if (p == NULL || seen->now.rebirths > p->retries)
        sim_fail(s, "job %llu was %s and is %s, and nobody asked for it",
                 (unsigned long long)seen->id, job_state_word((enum job_state)seen->now.state),
                 job_state_word((enum job_state)state));
}

static void note_out(struct sim *s, struct seen *seen, uint32_t attempt, int state)
{
    bool was_out = seen->now.state == JOB_DISPATCHED || seen->now.state == JOB_RUNNING;

    if (state != JOB_DISPATCHED && state != JOB_RUNNING)
        return;
    if (!was_out || seen->now.attempt != attempt)
        seen->now.out_ns = s->now_ns;
}

static void check_move(struct sim *s, uint64_t id, uint32_t attempt, int state)
{
    struct seen *seen = need(s->check, id);

    if (job_state_is_terminal((enum job_state)seen->now.state) &&
        (seen->now.state != state || seen->now.attempt != attempt))
        check_rebirth(s, seen, attempt, state);
    else if (!job_state_is_terminal((enum job_state)state) && attempt < seen->now.attempt)
        sim_fail(s, "job %llu went back from attempt %u to %u", (unsigned long long)id,
                 seen->now.attempt, attempt);
    note_out(s, seen, attempt, state);
    if (seen->now.state != state || seen->now.attempt != attempt)
        sim_trace(s, "job %llu is %s by attempt %u", (unsigned long long)id,
                  job_state_word((enum job_state)state), attempt);
    seen->now.attempt = attempt;
    if (attempt > seen->now.highest)
        seen->now.highest = attempt;
    seen->now.state = state;
    seen->look = s->check->look;
}

static void check_charges(struct sim *s, uint64_t id, unsigned failures, unsigned crashes)
{
    if (failures > sim_ledger_count(s, id, WIRE_FAILED) ||
        crashes > sim_ledger_count(s, id, WIRE_CRASHED))
        sim_fail(s,
                 "job %llu is charged with %u failures and %u crashes; not so many were reported",
                 (unsigned long long)id, failures, crashes);
}

static void check_end(struct sim *s, sqlite3_stmt *stmt)
{
    uint64_t id = (uint64_t)sqlite3_column_int64(stmt, 0);
    uint32_t attempt = (uint32_t)sqlite3_column_int(stmt, 1);
    int state = sqlite3_column_int(stmt, 2);
    bool is_fair = true;

    if (state == JOB_SUCCEEDED)
        is_fair = sim_ledger_has(s, id, attempt, WIRE_SUCCEEDED);
    else if (state == JOB_FAILED) /* or five hosts died of it, which no worker reports */
        is_fair = sim_ledger_has(s, id, attempt, WIRE_FAILED) ||
                  sim_ledger_has(s, id, attempt, WIRE_CRASHED) ||
                  sqlite3_column_int(stmt, 5) >= JM_DEATH_LIMIT;
    if (!is_fair)
        sim_fail(s, "job %llu is %s by attempt %u, of which no worker said so",
                 (unsigned long long)id, job_state_word((enum job_state)state), attempt);
    check_charges(s, id, (unsigned)sqlite3_column_int(stmt, 3),
                  (unsigned)sqlite3_column_int(stmt, 4));
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
        if (strcmp(outcome, ends[i].outcome) == 0 &&
            !sim_ledger_has(s, id, attempt, ends[i].kind) &&
            !sim_ledger_has(s, id, attempt, ends[i].or_kind) &&
            (attempt < JM_DEATH_LIMIT || ends[i].kind != WIRE_FAILED))
            sim_fail(s, "attempt %u of job %llu is on record as %s, of which no worker said so",
                     attempt, (unsigned long long)id, outcome);
}

/* ---- looks ---- */

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

/* It is not among those that live any more. */
static void check_left(struct sim *s, struct seen *seen)
{
    struct sim_check *c = s->check;
    const struct sim_promise *p = sim_clients_find(s, seen->id);

    sqlite3_bind_int64(c->end, 1, (sqlite3_int64)seen->id);
    if (sqlite3_step(c->end) == SQLITE_ROW)
        check_end(s, c->end);
    else if (p == NULL || !p->is_deleted)
        sim_fail(s, "job %llu was %s by attempt %u and is gone", (unsigned long long)seen->id,
                 job_state_word((enum job_state)seen->now.state), seen->now.attempt);
    else
        seen->now.state = JOB_CANCELLED; /* ended and was deleted in one commit */
    sqlite3_reset(c->end);
    if (seen->now.state == JOB_CANCELLED || seen->now.state == JOB_EXPIRED)
        sim_limits_left(s, seen->id, seen->now.attempt);
}

void sim_check_expect(struct sim *s, uint64_t id)
{
    struct sim_check *c = s->check;

    if (c->expected_count < CHECK_EXPECTED)
        c->expected[c->expected_count++] = id;
}

static void look_at_expected(struct sim *s)
{
    struct sim_check *c = s->check;

    for (size_t i = 0; i < c->expected_count; i++) {
        struct seen *seen = need(c, c->expected[i]);

        if (seen->look != c->look) /* it lives not, and may have done so in between */
            check_left(s, seen);
    }
    c->expected_count = 0;
}

static void look_at_live(struct sim *s)
{
    struct sim_check *c = s->check;

    c->look++;
    sim_limits_begin(s);
    while (sqlite3_step(c->live) == SQLITE_ROW) {
        uint64_t id = (uint64_t)sqlite3_column_int64(c->live, 0);

        check_charges(s, id, (unsigned)sqlite3_column_int(c->live, 3),
                      (unsigned)sqlite3_column_int(c->live, 4));
        check_move(s, id, (uint32_t)sqlite3_column_int(c->live, 1), sqlite3_column_int(c->live, 2));
        sim_limits_count(s, c->live);
    }
    sqlite3_reset(c->live);
    for (size_t i = 0; i < c->seen_count; i++)
        if (c->seen[i].look != c->look &&
            !job_state_is_terminal((enum job_state)c->seen[i].now.state))
            check_left(s, &c->seen[i]);
    look_at_expected(s);
}

static void look_at_all(struct sim *s)
{
    struct sim_check *c = s->check;

    look_at_live(s);
    while (sqlite3_step(c->ends) == SQLITE_ROW)
        check_end(s, c->ends);
    sqlite3_reset(c->ends);
    while (sqlite3_step(c->attempts) == SQLITE_ROW)
        check_attempt(s, (uint64_t)sqlite3_column_int64(c->attempts, 0),
                      (uint32_t)sqlite3_column_int(c->attempts, 1),
                      (const char *)sqlite3_column_text(c->attempts, 2));
    sqlite3_reset(c->attempts);
}

void sim_check_step(struct sim *s)
{
    struct sim_check *c = s->check;

    if (c == NULL || c->db == NULL)
        return;
    s->disk.is_exempt = true;
    if (!has_changed(c))
        (void)0;
    else if (++c->changes % LOOK_AT_ALL_EVERY == 0)
        look_at_all(s);
    else
        look_at_live(s);
    s->disk.is_exempt = false;
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
    s->disk.is_exempt = true;
    look_at_all(s);
    if (s->promise_count > 0)
        check_counts(s);
    for (size_t i = 0; i < s->promise_count; i++) {
        const struct sim_promise *p = &s->promises[i];
        const struct seen *seen = need(s->check, p->id);

        if (!job_state_is_terminal((enum job_state)seen->now.state))
            sim_fail(s, "job %llu was accepted and is lost (%s)", (unsigned long long)p->id,
                     job_state_word((enum job_state)seen->now.state));
        if (p->is_cancelled && seen->now.state != JOB_CANCELLED)
            sim_fail(s, "the cancel of job %llu was confirmed, and it is %s",
                     (unsigned long long)p->id, job_state_word((enum job_state)seen->now.state));
    }
    s->disk.is_exempt = false;
}
