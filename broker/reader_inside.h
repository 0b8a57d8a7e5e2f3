/*
 * reader_inside.h: what reader.c (one job, and what a start has to know), reader_find.c (which jobs
 * fit a filter) and reader_list.c (many jobs) share. Nobody else includes it.
 */
#ifndef BROKER_READER_INSIDE_H
#define BROKER_READER_INSIDE_H

#include "broker/reader.h"
#include "broker/store_db.h"
#include "broker/store_query.h"
#include "schema/errors.h"

/* What a job row shows; args and result last, or not at all; of both, none that is over ?2 bytes.
 * An attempt that has ended has made the number rise, so that the first one has none before it. */
#define JOB_COLUMNS                                                                          \
    "SELECT j.id, j.queue, j.task, j.priority, j.max_attempts, j.timeout_ms, j.grace_ms,"    \
    " j.options, j.tags, coalesce(l.state, e.state), coalesce(l.attempt, e.attempt),"        \
    " coalesce(l.failures, e.failures), coalesce(l.crashes, e.crashes),"                     \
    " coalesce(l.deaths, e.deaths), coalesce(l.due_ms, e.due_ms), coalesce(l.host, e.host)," \
    " coalesce(l.begun_at_ms, e.begun_at_ms), coalesce(e.finished_at_ms, 0),"                \
    " coalesce(e.run_us, 0), coalesce(l.attempt, e.last_attempt) > 1, e.error"
#define JOB_BLOBS                                                    \
    ", coalesce(length(j.args), 0) + coalesce(length(e.result), 0)," \
    " iif(length(j.args) <= ?2, j.args, NULL), iif(length(e.result) <= ?2, e.result, NULL)"
#define JOB_TABLES " FROM jobs j LEFT JOIN live l ON l.id = j.id LEFT JOIN ends e ON e.id = j.id"

/* Walks of reader_find.c: newest first, below ?1 and from ?2 on. One over what was asked gives id,
 * queue, task, options; one over states gives id, state, host and, if it is at hand, queue; the one
 * over a tag gives the id alone. */
#define WALK_LIVE \
    "SELECT id, state, host, (SELECT a.queue FROM lanes a WHERE a.lane = live.lane) FROM live"
#define WALK_ENDS "SELECT id, state, host, NULL FROM ends"
#define WALK_RANGE " id < ?1 AND id >= ?2"
#define WALK_ORDER " ORDER BY id DESC"

#define READER_WALKS(X)                                                                         \
    X(SQL_WALK_JOBS, "SELECT id, queue, task, options FROM jobs WHERE" WALK_RANGE WALK_ORDER)   \
    X(SQL_WALK_LIVE, WALK_LIVE " NOT INDEXED WHERE" WALK_RANGE WALK_ORDER)                      \
    X(SQL_WALK_OUT,                                                                             \
      WALK_LIVE " INDEXED BY live_out WHERE state IN (3, 4) AND" WALK_RANGE WALK_ORDER)         \
    X(SQL_WALK_ENDS, WALK_ENDS " NOT INDEXED WHERE" WALK_RANGE WALK_ORDER)                      \
    X(SQL_WALK_FAILED,                                                                          \
      WALK_ENDS " INDEXED BY ends_failed WHERE state = 11 AND" WALK_RANGE WALK_ORDER)           \
    X(SQL_WALK_ALL, WALK_LIVE " NOT INDEXED WHERE" WALK_RANGE " UNION ALL " WALK_ENDS           \
                              " NOT INDEXED WHERE" WALK_RANGE WALK_ORDER)                       \
    X(SQL_WALK_TAG, "SELECT id FROM tags WHERE tag = ?3 AND" WALK_RANGE WALK_ORDER)             \
    X(SQL_SEEK_TAG, "SELECT id FROM tags WHERE id <= ?1 AND tag = ?2 ORDER BY id DESC LIMIT 1") \
    X(SQL_FIND_SPEC, "SELECT queue, task, options FROM jobs WHERE id = ?")                      \
    X(SQL_FIND_STATE, "SELECT state, host FROM live WHERE id = ?1"                              \
                      " UNION ALL SELECT state, host FROM ends WHERE id = ?1")                  \
    X(SQL_FIND_ERROR, "SELECT error FROM ends WHERE id = ?")

/* What waits in the lanes of the queue ?1. */
#define READER_AHEAD                                                                     \
    "SELECT 1 FROM lanes a CROSS JOIN live l INDEXED BY live_backlog ON l.lane = a.lane" \
    " WHERE l.state = 2 AND a.queue = ?1"

#define READER_STATEMENTS(X)                                                                 \
    X(SQL_BEGIN, "BEGIN")                                                                    \
    X(SQL_COMMIT, "COMMIT")                                                                  \
    X(SQL_GET, JOB_COLUMNS JOB_TABLES " WHERE j.id = ?")                                     \
    X(SQL_GET_BLOBS, JOB_COLUMNS JOB_BLOBS JOB_TABLES " WHERE j.id = ?1")                    \
    X(SQL_LAST_ERROR, "SELECT error FROM attempts WHERE id = ? AND error IS NOT NULL"        \
                      " ORDER BY attempt DESC LIMIT 1")                                      \
    X(SQL_ATTEMPTS_SIZE, "SELECT coalesce(sum(100 + coalesce(length(error), 0)), 0)"         \
                         " FROM attempts WHERE id = ?")                                      \
    X(SQL_DISPATCHED, "SELECT id FROM live INDEXED BY live_out WHERE state IN (3, 4)"        \
                      " ORDER BY id DESC")                                                   \
    READER_WALKS(X)                                                                          \
    X(SQL_COUNTS, "SELECT queue, scheduled, queued, dispatched, running, succeeded, failed," \
                  " cancelled, expired FROM counts ORDER BY queue")                          \
    X(SQL_NEXT_DUE, "SELECT due_ms FROM live INDEXED BY live_scheduled WHERE state = 1"      \
                    " ORDER BY due_ms LIMIT 1")                                              \
    X(SQL_LANES, "SELECT a.lane, a.queue, a.task, a.limit_key, a.priority, n.queued FROM"    \
                 " (SELECT lane, count(*) AS queued FROM live INDEXED BY live_backlog"       \
                 "  WHERE state = 2 GROUP BY lane) n JOIN lanes a ON a.lane = n.lane"        \
                 " ORDER BY a.lane")                                                         \
    X(SQL_PLACE, "SELECT a.queue, a.priority, l.due_ms FROM live l JOIN lanes a"             \
                 " ON a.lane = l.lane WHERE l.id = ? AND l.state = 2")                       \
    X(SQL_BEFORE, "SELECT count(*) FROM (" READER_AHEAD " AND a.priority > ?2"               \
                  " UNION ALL " READER_AHEAD " AND a.priority = ?2"                          \
                  " AND (l.due_ms, l.id) < (?3, ?4) LIMIT ?5)")                              \
    X(SQL_RATES, "SELECT queue, limit_key, full_at_us FROM rates")                           \
    X(SQL_QUEUE_CONFS, "SELECT queue, conf FROM queue_confs ORDER BY queue")                 \
    X(SQL_TASK_CONFS, "SELECT task, conf FROM task_confs ORDER BY task")                     \
    X(SQL_ATTEMPTS, "SELECT attempt, outcome, host, begun_at_ms, ended_at_ms, run_us, error" \
                    " FROM attempts WHERE id = ? ORDER BY attempt")                          \
    X(SQL_META, "SELECT value FROM meta WHERE name = ?")                                     \
    X(SQL_LAST_ID, "SELECT id FROM jobs ORDER BY id DESC LIMIT 1")                           \
    X(SQL_TASKS, "SELECT name, kind, doc, seen_at_ms FROM tasks ORDER BY name")

enum reader_sql {
#define X(name, text) name,
    READER_STATEMENTS(X)
#undef X
        READER_SQL_COUNT
};

struct reader {
    sqlite3 *db;
    struct clock *clock;
    void (*on_damage)(void *damage_owner, const char *sentence);
    void *damage_owner;
    sqlite3_stmt *stmts[READER_SQL_COUNT];
    unsigned depth;   /* of reader_begin */
    struct buf bytes; /* what the spans of the last view point into */
    struct buf frame;
};

static inline struct store_query reader_use(struct reader *r, enum reader_sql which)
{
    return store_query_of(r->stmts[which]);
}

/* A read that fails ends nothing, but it is never JM_EFULL, and damage is told. */
int reader_error(struct reader *r, int rc);

enum { READER_ANY_BYTES = INT32_MAX }; /* no blob of SQLite's is longer */

/* What reader_fetch reads of args and result. */
struct reader_blobs {
    bool wanted;
    size_t max_bytes; /* one that is longer is left out */
    size_t ret_bytes; /* of both together, as they are stored */
};

/* Reads a job into `ret_job`, whose spans then point into the reader. Returns SQLite's code. */
int reader_fetch(struct reader *r, uint64_t id, struct reader_blobs *blobs,
                 struct job_view *ret_job, bool *ret_found) JM_MUST_CHECK;

/* As reader_find, for the reader's own sources: `on_fit` may read, and returns SQLite's code. */
typedef int (*reader_fit_cb)(struct reader *r, void *owner, uint64_t id);
int reader_find_each(struct reader *r, const struct job_filter *filter,
                     const struct reader_bounds *bounds, void *owner, reader_fit_cb on_fit,
                     uint64_t *ret_next) JM_MUST_CHECK;

#endif
