/*
 * store_bench: what the store costs by itself, without threads, network or Redis: CPU and wall time
 * a job of submits, applies and takes in batches, all committed to a real file.
 *
 *     store_bench [JOBS] [BATCH] [sync]      100000 100; "sync" syncs each batch, as a client's
 * would
 *
 * Runs in the current directory and removes its database. The yardstick is a bare SQLite table with
 * the same page cache and log: one row inserted and later updated.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "broker/store.h"
#include "schema/errors.h"

static const char path[] = "store_bench.db";
static const uint8_t args[] = {0x81, 0xa1, 'n', 0x07};

struct bench {
    struct store *store;
    size_t jobs;
    size_t batch;
    bool syncs;
    struct store_submit *submits;
    struct store_event *events;
    uint64_t next_id;
};

struct stopwatch {
    uint64_t wall_ns;
    uint64_t cpu_ns;
};

static void die(const char *what)
{
    fprintf(stderr, "store_bench: %s\n", what);
    exit(1);
}

static uint64_t ns_of(struct timeval t)
{
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_usec * 1000;
}

static struct stopwatch now(void)
{
    struct rusage usage;

    if (getrusage(RUSAGE_SELF, &usage) != 0)
        die("getrusage failed");
    return (struct stopwatch){clock_mono_ns(clock_real()),
                              ns_of(usage.ru_utime) + ns_of(usage.ru_stime)};
}

static void say(const char *what, struct stopwatch begin, size_t jobs)
{
    struct stopwatch end = now();

    printf("%-34s %7.2f us CPU %7.2f us wall\n", what,
           (double)(end.cpu_ns - begin.cpu_ns) / 1000 / (double)jobs,
           (double)(end.wall_ns - begin.wall_ns) / 1000 / (double)jobs);
}

/* Runs one batch, and checkpoints as the writer does. */
static void run(struct bench *b, struct list *ops)
{
    if (store_run(b->store, ops) != 0)
        die(store_last_error(b->store));
    LIST_EACH(node, ops)
    if (LIST_ENTRY(node, struct store_op, link)->status != 0)
        die("an operation failed");
    if (b->syncs && store_sync(b->store) != 0)
        die(store_last_error(b->store));
    if (store_wal_bytes(b->store) > (16u << 20) && store_checkpoint(b->store, true) != 0)
        die(store_last_error(b->store));
}

static void submit_batch(struct bench *b, enum job_state state)
{
    struct list ops;

    list_init(&ops);
    for (size_t i = 0; i < b->batch; i++) {
        b->submits[i] = (struct store_submit){.op.kind = STORE_SUBMIT,
                                              .id = b->next_id++,
                                              .state = state,
                                              .due_ms = 1700000000000,
                                              .spec = {.queue = span_of_str("default"),
                                                       .task = span_of_str("noop"),
                                                       .args = span_of(args, sizeof(args)),
                                                       .priority = JM_PRIORITY_DEFAULT,
                                                       .max_attempts = JM_MAX_ATTEMPTS_DEFAULT,
                                                       .timeout_ms = JM_TIMEOUT_DEFAULT_MS,
                                                       .grace_ms = JM_GRACE_DEFAULT_MS}};
        list_push_back(&ops, &b->submits[i].op.link);
    }
    run(b, &ops);
}

static void apply_batch(struct bench *b, uint64_t first_id)
{
    struct store_apply op = {
        .op.kind = STORE_APPLY, .events = b->events, .event_count = b->batch, .taken = first_id};
    struct list ops;

    memset(b->events, 0, b->batch * sizeof(*b->events));
    for (size_t i = 0; i < b->batch; i++) {
        struct wire_event *event = &b->events[i].event;

        event->kind = WIRE_SUCCEEDED;
        event->id = first_id + i;
        event->attempt = 1;
        event->host = UINT64_C(0x123456789abcdef0);
        event->begun_at_ms = 1700000000000;
        event->run_us = 12;
        event->result = span_of("\xc0", 1);
    }
    list_init(&ops);
    list_push_back(&ops, &op.op.link);
    run(b, &ops);
    for (size_t i = 0; i < b->batch; i++)
        if (b->events[i].ret_outcome != STORE_APPLIED)
            die("an end was not applied");
}

/* As at full speed: while a batch of new jobs comes in, an earlier one ends. */
static void bench_straight(struct bench *b)
{
    struct stopwatch begin = now();
    uint64_t first = b->next_id;

    submit_batch(b, JOB_DISPATCHED);
    for (size_t done = b->batch; done < b->jobs; done += b->batch) {
        submit_batch(b, JOB_DISPATCHED);
        apply_batch(b, first);
        first += b->batch;
    }
    apply_batch(b, first);
    say("submit + end, each in its batch", begin, b->jobs);
}

static void take_batch(struct bench *b, struct store_taken *taken, struct buf *frames)
{
    /* The one lane of this store has the first number. */
    struct store_turn_lane lane = {.number = 1, .max_jobs = b->batch};
    struct store_turn turn = {.lane_count = 1, .max_jobs = b->batch};
    struct store_take op = {.op.kind = STORE_TAKE,
                            .queue = span_of_str("default"),
                            .turns = &turn,
                            .turn_count = 1,
                            .lanes = &lane,
                            .max_bytes = SIZE_MAX,
                            .ret_jobs = taken,
                            .frames = frames};
    struct list ops;

    buf_clear(frames);
    list_init(&ops);
    list_push_back(&ops, &op.op.link);
    run(b, &ops);
    if (op.ret_count != b->batch)
        die("a take found too few jobs");
}

static void bench_backlog(struct bench *b)
{
    struct store_taken *taken = calloc(b->batch, sizeof(*taken));
    uint64_t first = b->next_id;
    struct stopwatch begin = now();
    struct buf frames;

    if (taken == NULL)
        die("out of memory");
    buf_init(&frames, 64 << 20);
    for (size_t done = 0; done < b->jobs; done += b->batch)
        submit_batch(b, JOB_QUEUED);
    say("submit to the backlog", begin, b->jobs);
    begin = now();
    for (size_t done = 0; done < b->jobs; done += b->batch)
        take_batch(b, taken, &frames);
    say("take from the backlog", begin, b->jobs);
    begin = now();
    for (size_t done = 0; done < b->jobs; done += b->batch)
        apply_batch(b, first + done);
    say("end", begin, b->jobs);
    buf_done(&frames);
    free(taken);
}

static void sql(sqlite3 *db, const char *text)
{
    if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK)
        die(sqlite3_errmsg(db));
}

static void bare_step(sqlite3 *db, sqlite3_stmt *stmt, size_t id)
{
    if (sqlite3_bind_int64(stmt, 1, (sqlite3_int64)id) != SQLITE_OK ||
        sqlite3_step(stmt) != SQLITE_DONE || sqlite3_reset(stmt) != SQLITE_OK)
        die(sqlite3_errmsg(db));
}

static void bare_batches(struct bench *b, sqlite3 *db, sqlite3_stmt *stmt)
{
    for (size_t done = 0; done < b->jobs; done += b->batch) {
        sql(db, "BEGIN IMMEDIATE");
        for (size_t i = 0; i < b->batch; i++)
            bare_step(db, stmt, done + i + 1);
        sql(db, "COMMIT");
    }
}

static void bench_bare(struct bench *b)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *insert = NULL;
    sqlite3_stmt *update = NULL;
    struct stopwatch begin;

    if (sqlite3_open(path, &db) != SQLITE_OK)
        die("cannot open the yardstick's database");
    sql(db, "PRAGMA journal_mode = WAL");
    sql(db, b->syncs ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
    sql(db, "PRAGMA wal_autocheckpoint = 4096");
    sql(db, "CREATE TABLE bare (id INTEGER PRIMARY KEY, queue TEXT, task TEXT, state INTEGER,"
            " priority INTEGER, due_ms INTEGER, attempt INTEGER, timeout_ms INTEGER, args BLOB,"
            " host INTEGER, begun_at_ms INTEGER, finished_at_ms INTEGER, result BLOB)");
    if (sqlite3_prepare_v2(db,
                           "INSERT INTO bare VALUES (?, 'default', 'noop', 3, 5, 1700000000000, 1,"
                           " 3600000, x'81a16e07', NULL, NULL, NULL, NULL)",
                           -1, &insert, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(db,
                           "UPDATE bare SET state = 10, host = 1311768467463790320, begun_at_ms ="
                           " 1700000000000, finished_at_ms = 1700000000000, result = x'c0'"
                           " WHERE id = ? AND state = 3 AND attempt = 1",
                           -1, &update, NULL) != SQLITE_OK)
        die(sqlite3_errmsg(db));
    begin = now();
    bare_batches(b, db, insert);
    bare_batches(b, db, update);
    say("bare SQLite: insert + update", begin, b->jobs);
    sqlite3_finalize(insert);
    sqlite3_finalize(update);
    if (sqlite3_close(db) != SQLITE_OK)
        die("the yardstick's database is busy");
}

static void remove_database(void)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-kept", ".lock"};
    char name[64];

    for (size_t i = 0; i < JM_COUNT_OF(suffixes); i++) {
        snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
        (void)unlink(name);
    }
}

int main(int argc, char **argv)
{
    struct bench b = {.jobs = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000,
                      .batch = argc > 2 ? strtoul(argv[2], NULL, 10) : 100,
                      .syncs = argc > 3 && strcmp(argv[3], "sync") == 0,
                      .next_id = UINT64_C(1) << 55};
    struct store_conf conf = {.path = path, .clock = clock_real()};
    char sentence[256];

    if (b.batch == 0 || b.jobs < b.batch)
        die("JOBS must be at least BATCH, and BATCH at least 1");
    b.jobs -= b.jobs % b.batch;
    b.submits = calloc(b.batch, sizeof(*b.submits));
    b.events = calloc(b.batch, sizeof(*b.events));
    if (b.submits == NULL || b.events == NULL)
        die("out of memory");
    remove_database();
    if (store_open(&conf, &b.store, sentence) != 0)
        die(sentence);
    bench_straight(&b);
    bench_backlog(&b);
    b.store = store_close(b.store);
    remove_database();
    bench_bare(&b);
    remove_database();
    free(b.submits);
    free(b.events);
    return 0;
}
