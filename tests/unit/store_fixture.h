/*
 * store_fixture.h: a store in a temporary directory, a clock that is turned by hand, and operations
 * in one line each, for the tests of the store. Failures of what a test takes for granted end it.
 */
#ifndef TESTS_STORE_FIXTURE_H
#define TESTS_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "broker/reader.h"
#include "broker/store.h"
#include "schema/errors.h"

struct fixture {
    struct clock clock;
    int64_t now_ms;
    char dir[256];
    char path[300];
    const char *vfs;
    struct store *store;
    struct reader *reader; /* opened when it is first needed */
};

static inline int64_t fixture_wall_ms(struct clock *clock)
{
    return JM_CONTAINER_OF(clock, struct fixture, clock)->now_ms;
}

static inline uint64_t fixture_mono_ns(struct clock *clock)
{
    return (uint64_t)fixture_wall_ms(clock) * 1000000;
}

static inline struct store_conf fixture_conf(struct fixture *f)
{
    return (struct store_conf){.path = f->path, .vfs = f->vfs, .clock = &f->clock};
}

static inline int fixture_try_open(struct fixture *f, char ret_sentence[256])
{
    struct store_conf conf = fixture_conf(f);

    return store_open(&conf, &f->store, ret_sentence);
}

static inline void fixture_open(struct fixture *f)
{
    char sentence[256];

    if (fixture_try_open(f, sentence) != 0)
        fail_msg("%s", sentence);
}

static inline void fixture_close(struct fixture *f)
{
    f->reader = reader_close(f->reader);
    f->store = store_close(f->store);
}

/* The working directory of the tests is in the build tree, which is on a real disk. */
static inline struct fixture *fixture_new(void)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    f->clock = (struct clock){.mono_ns = fixture_mono_ns, .wall_ms = fixture_wall_ms};
    f->now_ms = 1700000000000;
    snprintf(f->dir, sizeof(f->dir), "store-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof(f->path), "%s/jobs.db", f->dir);
    return f;
}

static inline void fixture_free(struct fixture *f)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-kept", ".lock", "-journal"};
    char path[400];

    fixture_close(f);
    for (size_t i = 0; i < JM_COUNT_OF(suffixes); i++) {
        snprintf(path, sizeof(path), "%s%s", f->path, suffixes[i]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(f->dir), 0);
    free(f);
}

static inline int fixture_setup(void **state)
{
    struct fixture *f = fixture_new();

    fixture_open(f);
    *state = f;
    return 0;
}

static inline int fixture_teardown(void **state)
{
    fixture_free(*state);
    return 0;
}

/* ---- operations ---- */

static inline int fixture_run(struct fixture *f, struct store_op *op, enum store_op_kind kind)
{
    struct list ops;
    int rc;

    list_init(&ops);
    op->kind = kind;
    op->status = 1;
    list_push_back(&ops, &op->link);
    rc = store_run(f->store, &ops);
    assert_ptr_equal(list_pop_front(&ops), &op->link);
    assert_true(list_is_empty(&ops));
    assert_int_not_equal(op->status, 1);
    if (rc != 0)
        assert_int_equal(op->status, rc);
    return op->status;
}

static const uint8_t fixture_args[] = {0x81, 0xa1, 'n', 0x07}; /* {"n": 7} */

static inline struct store_submit fixture_submit_of(uint64_t id, const char *queue,
                                                    enum job_state state)
{
    return (struct store_submit){.op.kind = STORE_SUBMIT,
                                 .id = id,
                                 .state = state,
                                 .due_ms = 1700000000000,
                                 .spec = {.queue = span_of_str(queue),
                                          .task = span_of_str("echo"),
                                          .args = span_of(fixture_args, sizeof(fixture_args)),
                                          .priority = JM_PRIORITY_DEFAULT,
                                          .max_attempts = JM_MAX_ATTEMPTS_DEFAULT,
                                          .timeout_ms = JM_TIMEOUT_DEFAULT_MS,
                                          .grace_ms = JM_GRACE_DEFAULT_MS}};
}

static inline void fixture_submit(struct fixture *f, uint64_t id, const char *queue,
                                  enum job_state state)
{
    struct store_submit op = fixture_submit_of(id, queue, state);

    assert_int_equal(fixture_run(f, &op.op, STORE_SUBMIT), 0);
    assert_false(op.ret_is_repeat);
}

static inline struct store_event fixture_event_of(enum wire_event_kind kind, uint64_t id,
                                                  uint32_t attempt)
{
    struct store_event event = {.source = STORE_FROM_WORKER};

    event.event.kind = kind;
    event.event.id = id;
    event.event.attempt = attempt;
    event.event.host = 77;
    event.event.has_begun = true;
    return event;
}

static inline struct store_event fixture_loss_of(uint64_t id, uint32_t attempt, bool has_begun)
{
    struct store_event event = {.source = STORE_LOST};

    event.event.id = id;
    event.event.attempt = attempt;
    event.event.has_begun = has_begun;
    return event;
}

static inline enum store_outcome fixture_apply(struct fixture *f, struct store_event *event)
{
    struct store_apply op = {.events = event, .event_count = 1};

    assert_int_equal(fixture_run(f, &op.op, STORE_APPLY), 0);
    return event->ret_outcome;
}

static inline enum store_outcome fixture_happen(struct fixture *f, enum wire_event_kind kind,
                                                uint64_t id, uint32_t attempt)
{
    struct store_event event = fixture_event_of(kind, id, attempt);

    return fixture_apply(f, &event);
}

static inline enum store_outcome fixture_lose(struct fixture *f, uint64_t id, uint32_t attempt,
                                              bool has_begun)
{
    struct store_event event = fixture_loss_of(id, attempt, has_begun);

    return fixture_apply(f, &event);
}

enum { FIXTURE_LANES = 32 };

/* What a dispatch knows of a queue's lanes, read behind the store's back: one turn for each
 * priority, the highest first, of at most `max_jobs` jobs. */
struct fixture_lanes {
    struct store_turn turns[FIXTURE_LANES];
    struct store_turn_lane lanes[FIXTURE_LANES];
    size_t turn_count;
};

static inline void fixture_lanes(struct fixture *f, const char *queue, size_t max_jobs,
                                 struct fixture_lanes *ret_lanes)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    int64_t last = -1;
    size_t n = 0;

    *ret_lanes = (struct fixture_lanes){.turn_count = 0};
    assert_int_equal(sqlite3_open_v2(f->path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    assert_int_equal(sqlite3_prepare_v2(db,
                                        "SELECT lane, priority FROM lanes WHERE queue = ?"
                                        " ORDER BY priority DESC, lane",
                                        -1, &stmt, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_bind_text(stmt, 1, queue, -1, SQLITE_STATIC), SQLITE_OK);
    for (; sqlite3_step(stmt) == SQLITE_ROW; n++) {
        assert_true(n < FIXTURE_LANES);
        if (sqlite3_column_int64(stmt, 1) != last)
            ret_lanes->turns[ret_lanes->turn_count++] =
                (struct store_turn){.first_lane = n, .max_jobs = max_jobs};
        last = sqlite3_column_int64(stmt, 1);
        ret_lanes->turns[ret_lanes->turn_count - 1].lane_count++;
        ret_lanes->lanes[n] =
            (struct store_turn_lane){.number = sqlite3_column_int64(stmt, 0), .max_jobs = max_jobs};
    }
    sqlite3_finalize(stmt);
    sqlite3_close(db);
}

/* Runs a take of the op's queue with one turn for each priority, of at most `max_jobs` jobs. */
static inline int fixture_run_take(struct fixture *f, struct store_take *op, size_t max_jobs)
{
    struct fixture_lanes lanes;
    char queue[JM_QUEUE_NAME_BYTES + 1];
    int status;

    memcpy(queue, op->queue.data, op->queue.len);
    queue[op->queue.len] = '\0';
    fixture_lanes(f, queue, max_jobs, &lanes);
    op->turns = lanes.turns;
    op->turn_count = lanes.turn_count;
    op->lanes = lanes.lanes;
    status = fixture_run(f, &op->op, STORE_TAKE);
    op->turns = NULL;
    op->lanes = NULL;
    return status;
}

/* Takes one job of the queue, as the dispatch does; 0 if there is none. */
static inline uint64_t fixture_take(struct fixture *f, const char *queue, uint32_t *ret_attempt)
{
    struct store_taken taken;
    struct buf frames;
    struct fixture_lanes lanes;
    struct store_take op = {.queue = span_of_str(queue),
                            .turns = lanes.turns,
                            .turn_count = 1,
                            .lanes = lanes.lanes,
                            .max_bytes = 1 << 20,
                            .ret_jobs = &taken,
                            .frames = &frames};

    fixture_lanes(f, queue, 1, &lanes);
    op.ret_count = 0;
    for (size_t i = 0; op.ret_count == 0 && i < lanes.turn_count; i++) {
        op.turns = &lanes.turns[i];
        buf_init(&frames, 2 << 20);
        assert_int_equal(fixture_run(f, &op.op, STORE_TAKE), 0);
        buf_done(&frames);
    }
    if (op.ret_count == 0)
        return 0;
    *ret_attempt = taken.attempt;
    return taken.id;
}

static inline struct reader *fixture_reader(struct fixture *f)
{
    struct store_conf conf = fixture_conf(f);

    if (f->reader == NULL)
        assert_int_equal(reader_open(&conf, &f->reader), 0);
    return f->reader;
}

static inline void fixture_on_attempt(void *owner, const struct attempt_view *attempt)
{
    assert_true(attempt->attempt > 0);
    ++*(size_t *)owner;
}

/* Attempts that ended before are never overlooked by who asks only if there may be some. */
static inline struct job_view fixture_get(struct fixture *f, uint64_t id)
{
    struct job_view job;
    size_t attempts = 0;

    assert_int_equal(reader_attempts(fixture_reader(f), id, &attempts, fixture_on_attempt), 0);
    assert_int_equal(reader_get(fixture_reader(f), id, true, &job), 0);
    assert_true(attempts == 0 || job.may_have_attempts);
    return job;
}

/* ---- looking behind the scenes ---- */

/* The one number that a query gives, on a connection of its own. */
static inline int64_t fixture_ask(struct fixture *f, const char *sql)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    int64_t value;

    assert_int_equal(sqlite3_open_v2(f->path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    value = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return value;
}

/* Ends the test unless the kept counts are what counting gives, for every queue and state. */
static inline void fixture_check_counts(struct fixture *f)
{
    static const char sql[] =
        "WITH real (queue, state) AS (SELECT a.queue, l.state FROM live l"
        "  JOIN lanes a ON a.lane = l.lane UNION ALL"
        "  SELECT j.queue, e.state FROM ends e JOIN jobs j ON j.id = e.id),"
        " kept (queue, state, n) AS ("
        "  SELECT queue, 1, scheduled FROM counts UNION ALL SELECT queue, 2, queued FROM counts"
        "  UNION ALL SELECT queue, 3, dispatched FROM counts"
        "  UNION ALL SELECT queue, 4, running FROM counts"
        "  UNION ALL SELECT queue, 10, succeeded FROM counts"
        "  UNION ALL SELECT queue, 11, failed FROM counts"
        "  UNION ALL SELECT queue, 12, cancelled FROM counts"
        "  UNION ALL SELECT queue, 13, expired FROM counts),"
        " counted AS (SELECT queue, state, count(*) AS n FROM real GROUP BY 1, 2)"
        " SELECT (SELECT count(*) FROM kept k LEFT JOIN counted c USING (queue, state)"
        "         WHERE k.n <> coalesce(c.n, 0))"
        "      + (SELECT count(*) FROM counted c LEFT JOIN kept k USING (queue, state)"
        "         WHERE k.n IS NULL)";

    assert_int_equal(fixture_ask(f, sql), 0);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM jobs"),
                     fixture_ask(f, "SELECT (SELECT count(*) FROM live)"
                                    " + (SELECT count(*) FROM ends)"));
}

#endif
