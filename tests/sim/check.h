/*
 * check.h: what check.c and check_limits.c share. Nobody else includes it.
 */
#ifndef TESTS_SIM_CHECK_H
#define TESTS_SIM_CHECK_H

#include <sqlite3.h>

#include "tests/sim/index.h"
#include "tests/sim/sim.h"

enum { CHECK_EXPECTED = 1024 };

/* What was seen of a job. */
struct view {
    uint32_t attempt;
    uint32_t highest; /* attempt ever seen */
    unsigned rebirths;
    int state;
    uint64_t out_ns; /* when the attempt was first seen dispatched */
};

struct seen {
    uint64_t id;
    struct view now;
    struct view kept; /* what of it is on disk */
    bool is_kept;
    uint64_t look; /* the last one that met it */
};

struct sim_check {
    sqlite3 *db; /* NULL: no broker is there */
    sqlite3_stmt *end;
    sqlite3_stmt *ends;
    sqlite3_stmt *attempts;
    sqlite3_stmt *live;
    sqlite3_stmt *version;
    int64_t data_version;
    uint64_t changes;
    uint64_t look;
    uint64_t expected[CHECK_EXPECTED]; /* jobs made or retried in this batch, perhaps ended too */
    size_t expected_count;
    struct seen *seen;
    size_t seen_count;
    size_t seen_room;
    struct sim_index seen_by_id;
};

#define CHECK_ENDS "SELECT id, attempt, state, failures, crashes, deaths FROM ends"

/* The limits count the same rows: id, attempt, state, failures, crashes, queue, task, limit_key. */
void sim_limits_begin(struct sim *s);
void sim_limits_count(struct sim *s, sqlite3_stmt *live);

/* The attempt is over without a run, if no worker has claimed it: its tokens are there again. */
void sim_limits_left(struct sim *s, uint64_t id, uint32_t attempt);

#endif
