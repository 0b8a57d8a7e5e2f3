/*
 * store_inside.h: what the store's sources share. Nobody else includes it.
 *
 *     store.c          open, close, batches, sync, checkpoints
 *     store_load.c     what is kept in memory
 *     store_submit.c   STORE_SUBMIT
 *     store_job.c      what was asked of a job
 *     store_idem.c, store_unique.c, store_tags.c   what comes along with a submit
 *     store_change.c   STORE_CHANGE, RETRY
 *     store_cancel.c   STORE_CANCEL, EXPIRE
 *     store_bulk.c     STORE_BULK
 *     store_remove.c   STORE_DELETE
 *     store_purge.c    STORE_PURGE
 *     store_apply.c    STORE_APPLY: ends and other events (policy: verdict.c)
 *     store_backlog.c  STORE_TAKE, PUT_BACK, DUE
 *     store_conf.c     STORE_SET_CONF
 *     store_notes.c    STORE_LEARN, RESERVE_IDS, PROBE
 *     store_tally.c    counts by queue and state
 *     store_lanes.c    lanes of the backlog
 *     store_next.c     what is next in several of them
 *     store_db.c, store_migrate.c, store_query.h   SQLite
 *     store_check.c, store_mark.c, store_wal.c     whether a database may be served
 *
 * An operation's function checks first and writes then, so that one that fails has written nothing:
 * no savepoints are needed. It returns what belongs into op.status in `ret_status`, and itself
 * SQLite's code: an error there is not the operation's but the batch's.
 */
#ifndef BROKER_STORE_INSIDE_H
#define BROKER_STORE_INSIDE_H

#include <pthread.h>
#include <sqlite3.h>

#include "broker/store.h"
#include "broker/store_lanes.h"
#include "broker/store_query.h"
#include "broker/store_tally.h"
#include "broker/verdict.h"

/* Literals of states are those of states.def: a partial index is used only if the query repeats its
 * condition. store.c asserts them. */
#define STORE_STATEMENTS(X)                                                                       \
    X(SQL_BEGIN, "BEGIN IMMEDIATE")                                                               \
    X(SQL_COMMIT, "COMMIT")                                                                       \
    X(SQL_ROLLBACK, "ROLLBACK")                                                                   \
    X(SQL_JOB_INSERT, "INSERT INTO jobs (id, queue, task, priority, max_attempts, timeout_ms,"    \
                      " grace_ms, options, tags, args) VALUES (?,?,?,?,?,?,?,?,?,?)")             \
    X(SQL_LANE_INSERT, "INSERT INTO lanes (lane, queue, task, priority, limit_key)"               \
                       " VALUES (?,?,?,?,?)")                                                     \
    X(SQL_LANE_DELETE, "DELETE FROM lanes WHERE lane = ?")                                        \
    X(SQL_LANES_ALL, "SELECT lane, queue, task, priority, limit_key FROM lanes")                  \
    X(SQL_LIVE_LANES, "SELECT lane, state FROM live")                                             \
    X(SQL_LIVE_INDEXES,                                                                           \
      "SELECT (SELECT count(*) FROM live INDEXED BY live_out WHERE state IN (3, 4)),"             \
      " (SELECT count(*) FROM live INDEXED BY live_backlog WHERE state = 2),"                     \
      " (SELECT count(*) FROM live INDEXED BY live_scheduled WHERE state = 1)")                   \
    X(SQL_RATE_PUT, "INSERT OR REPLACE INTO rates (queue, limit_key, full_at_us)"                 \
                    " VALUES (?,?,?)")                                                            \
    X(SQL_RATES_CLEAN, "DELETE FROM rates WHERE (queue, limit_key) IN"                            \
                       " (SELECT queue, limit_key FROM rates WHERE full_at_us < ? LIMIT ?)")      \
    X(SQL_JOB_GET, "SELECT timeout_ms, grace_ms, args FROM jobs WHERE id = ?")                    \
    X(SQL_JOB_OPTIONS, "SELECT options FROM jobs WHERE id = ?")                                   \
    X(SQL_JOB_DELETE, "DELETE FROM jobs WHERE id = ?")                                            \
    X(SQL_JOB_SPEC, "SELECT priority, max_attempts, timeout_ms, grace_ms, queue, task, options,"  \
                    " tags FROM jobs WHERE id = ?")                                               \
    X(SQL_JOB_CHANGE, "UPDATE jobs SET priority = ?, max_attempts = ?, timeout_ms = ?,"           \
                      " options = ?, tags = ? WHERE id = ?")                                      \
    X(SQL_JOB_ARGS, "UPDATE jobs SET args = ? WHERE id = ?")                                      \
    X(SQL_LIVE_INSERT, "INSERT INTO live (id, lane, state, due_ms, attempt,"                      \
                       " max_attempts, failures, crashes, deaths, lost_from, host, begun_at_ms,"  \
                       " expires_at_ms, retain_ms) VALUES (?,?,?,?,?,?,0,0,0,0,0,0,?,?)")         \
    X(SQL_LIVE_GET, "SELECT lane, state, due_ms, attempt, max_attempts, failures, crashes,"       \
                    " deaths, lost_from, host, begun_at_ms, retain_ms, expires_at_ms"             \
                    " FROM live WHERE id = ?")                                                    \
    X(SQL_LIVE_CHANGE, "UPDATE live SET state = ?, lane = ?, due_ms = ?, max_attempts = ?,"       \
                       " expires_at_ms = ?, retain_ms = ?, attempt = ?, lost_from = ?"            \
                       " WHERE id = ? AND state = ? AND attempt = ?")                             \
    X(SQL_LIVE_EXPIRING, "SELECT id, expires_at_ms FROM live INDEXED BY live_expiring"            \
                         " WHERE expires_at_ms > 0 AND state IN (1, 2)"                           \
                         " ORDER BY expires_at_ms, id LIMIT 1")                                   \
    X(SQL_LIVE_EXPIRING_OUT, "SELECT id, expires_at_ms FROM live INDEXED BY live_expiring_out"    \
                             " WHERE expires_at_ms > 0 AND state = 3"                             \
                             " AND (expires_at_ms, id) > (?, ?) AND expires_at_ms <= ?"           \
                             " ORDER BY expires_at_ms, id LIMIT ?")                               \
    X(SQL_LIVE_MOVE, "UPDATE live SET state = ?, due_ms = ?, attempt = ?, failures = ?,"          \
                     " crashes = ?, deaths = ?, lost_from = ?, host = ?, begun_at_ms = ?"         \
                     " WHERE id = ? AND state = ? AND attempt = ?")                               \
    X(SQL_LIVE_STATE, "UPDATE live SET state = ? WHERE id = ? AND state = ? AND attempt = ?")     \
    X(SQL_LIVE_DELETE, "DELETE FROM live WHERE id = ? AND state = ? AND attempt = ?")             \
    X(SQL_LIVE_BACKLOG, "SELECT id, attempt, due_ms, expires_at_ms"                               \
                        " FROM live INDEXED BY live_backlog"                                      \
                        " WHERE state = 2 AND lane = ? AND (due_ms, id) > (?, ?)"                 \
                        " ORDER BY due_ms, id LIMIT ?")                                           \
    X(SQL_LIVE_DUE, "SELECT id, due_ms FROM live INDEXED BY live_scheduled WHERE state = 1"       \
                    " ORDER BY due_ms, id LIMIT 1")                                               \
    X(SQL_END_INSERT, "INSERT INTO ends (id, state, attempt, failures, crashes, deaths, due_ms,"  \
                      " host, begun_at_ms, finished_at_ms, run_us, last_attempt, purge_at_ms,"    \
                      " error, result) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)")                   \
    X(SQL_END_GET, "SELECT state, attempt FROM ends WHERE id = ?")                                \
    X(SQL_END_MOVE, "INSERT OR REPLACE INTO attempts (id, attempt, outcome, host, begun_at_ms,"   \
                    " ended_at_ms, run_us, error) SELECT id, attempt, ?, host, begun_at_ms,"      \
                    " finished_at_ms, run_us, error FROM ends WHERE id = ?")                      \
    X(SQL_END_LAST, "SELECT last_attempt FROM ends WHERE id = ?")                                 \
    X(SQL_END_DELETE, "DELETE FROM ends WHERE id = ?")                                            \
    X(SQL_ATTEMPT_INSERT, "INSERT INTO attempts (id, attempt, outcome, host, begun_at_ms,"        \
                          " ended_at_ms, run_us, error) VALUES (?,?,?,?,?,?,?,?)")                \
    X(SQL_ATTEMPTS_TRIM, "DELETE FROM attempts WHERE id = ? AND attempt <= ?")                    \
    X(SQL_ATTEMPTS_DELETE, "DELETE FROM attempts WHERE id = ?")                                   \
    X(SQL_IDEM_GET, "SELECT created_at_ms, fingerprint, id, existing_id FROM idem"                \
                    " WHERE key = ?")                                                             \
    X(SQL_IDEM_PUT, "INSERT OR REPLACE INTO idem (key, fingerprint, id, created_at_ms,"           \
                    " existing_id) VALUES (?,?,?,?,?)")                                           \
    X(SQL_IDEM_OLDEST, "SELECT id, created_at_ms FROM idem INDEXED BY idem_job"                   \
                       " ORDER BY id LIMIT 1")                                                    \
    X(SQL_IDEM_DELETE, "DELETE FROM idem WHERE id = ?")                                           \
    X(SQL_ENDS_DUE, "SELECT id, purge_at_ms, 0 FROM ends INDEXED BY ends_purge"                   \
                    " WHERE purge_at_ms > 0 ORDER BY purge_at_ms, id LIMIT ?")                    \
    X(SQL_ENDS_WALK, "SELECT id, purge_at_ms, finished_at_ms FROM ends WHERE id > ?"              \
                     " ORDER BY id LIMIT ?")                                                      \
    X(SQL_END_PURGE_AT, "UPDATE ends SET purge_at_ms = ? WHERE id = ?")                           \
    X(SQL_JOB_BYTES, "SELECT coalesce((SELECT length(args) FROM jobs WHERE id = ?1), 0)"          \
                     " + coalesce((SELECT length(result) FROM ends WHERE id = ?1), 0)")           \
    X(SQL_UNIQUES_NEXT, "SELECT until_ms FROM uniques INDEXED BY uniques_period"                  \
                        " WHERE until_ms > 0 ORDER BY until_ms LIMIT 1")                          \
    X(SQL_UNIQUES_PURGE, "DELETE FROM uniques WHERE digest IN (SELECT digest FROM uniques"        \
                         " INDEXED BY uniques_period WHERE until_ms > 0 AND until_ms <= ?"        \
                         " ORDER BY until_ms LIMIT ?)")                                           \
    X(SQL_FREE_PAGES, "PRAGMA freelist_count")                                                    \
    X(SQL_PAGES, "PRAGMA page_count")                                                             \
    X(SQL_SHRINK, "PRAGMA incremental_vacuum(64)")                                                \
    X(SQL_AUTO_VACUUM, "PRAGMA auto_vacuum")                                                      \
    X(SQL_UNIQUE_GET, "SELECT id, how, until_ms FROM uniques WHERE digest = ?")                   \
    X(SQL_UNIQUE_PUT, "INSERT OR REPLACE INTO uniques (digest, id, how, until_ms)"                \
                      " VALUES (?,?,?,?)")                                                        \
    X(SQL_UNIQUE_DELETE, "DELETE FROM uniques WHERE id = ? AND until_ms <= ?")                    \
    X(SQL_TAG_PUT, "INSERT OR IGNORE INTO tags (tag, id) VALUES (?,?)")                           \
    X(SQL_TAG_DELETE, "DELETE FROM tags WHERE tag = ? AND id = ?")                                \
    X(SQL_COUNTS_PUT, "INSERT OR REPLACE INTO counts (queue, scheduled, queued, dispatched,"      \
                      " running, succeeded, failed, cancelled, expired)"                          \
                      " VALUES (?,?,?,?,?,?,?,?,?)")                                              \
    X(SQL_COUNTS_ALL, "SELECT queue, scheduled, queued, dispatched, running, succeeded, failed,"  \
                      " cancelled, expired FROM counts")                                          \
    X(SQL_META_GET, "SELECT value FROM meta WHERE name = ?")                                      \
    X(SQL_META_PUT, "INSERT OR REPLACE INTO meta (name, value) VALUES (?,?)")                     \
    X(SQL_META_RAISE, "INSERT INTO meta (name, value) VALUES (?,?) ON CONFLICT (name)"            \
                      " DO UPDATE SET value = excluded.value WHERE value < excluded.value")       \
    X(SQL_TASK_PUT, "INSERT INTO tasks (name, kind, doc, seen_at_ms) SELECT ?1, ?2, ?3, ?4"       \
                    " WHERE (SELECT count(*) FROM tasks) < ?5"                                    \
                    " OR EXISTS (SELECT 1 FROM tasks WHERE name = ?1)"                            \
                    " ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, doc = excluded.doc," \
                    " seen_at_ms = excluded.seen_at_ms"                                           \
                    " WHERE kind <> excluded.kind OR doc <> excluded.doc"                         \
                    " OR seen_at_ms < excluded.seen_at_ms - 60000")                               \
    X(SQL_QUEUE_CONFS, "SELECT queue, conf FROM queue_confs")                                     \
    X(SQL_QUEUE_CONF_PUT, "INSERT OR REPLACE INTO queue_confs (queue, conf) VALUES (?,?)")        \
    X(SQL_TASK_CONF_PUT, "INSERT OR REPLACE INTO task_confs (task, conf) VALUES (?,?)")           \
    X(SQL_BAD_INSERT, "INSERT INTO quarantine (found_at_ms, length_bytes, bytes) VALUES (?,?,?)") \
    X(SQL_BAD_TRIM, "DELETE FROM quarantine WHERE number <="                                      \
                    " (SELECT max(number) FROM quarantine) - ?")

enum store_sql {
#define X(name, text) name,
    STORE_STATEMENTS(X)
#undef X
        STORE_SQL_COUNT
};

struct store {
    struct store_conf conf;
    char *path;
    int lock_fd;
    sqlite3 *db;
    sqlite3_stmt *stmts[STORE_SQL_COUNT];
    struct store_tally tally;
    struct store_lanes lanes;
    int64_t rates_cleaned_ms;  /* wall clock */
    struct buf scratch;        /* the error map, or the options, that are being written */
    struct buf row;            /* what store_job_get has read */
    uint64_t purged_to;        /* how far the purge's walk over `ends` has come */
    uint64_t purged_to_before; /* the batch that runs */
    uint64_t id_mark;          /* as it is stored: no id above it was given out */
    uint64_t id_mark_before;   /* the batch that runs */
    bool is_undone;            /* it is to be rolled back, and is no error */
    bool can_shrink;           /* the database can give pages back */
    bool has_set_conf;         /* the batch that runs has changed the settings of a queue */
    size_t wal_bytes;
    const char *damage; /* found at start; borrowed, or NULL */
    bool is_broken;     /* an error was final; nothing is written any more */

    sqlite3 *checkpoint_db; /* for whoever calls store_checkpoint without `wait` */
    pthread_mutex_t checkpoint_lock;
    pthread_mutex_t error_lock;
    char error[400]; /* the first final error; never changed once it is set */
};

/* A row of `live`. */
struct store_live {
    uint64_t id;
    struct store_lane *lane;
    struct verdict_job job;
    int64_t due_ms;
    uint64_t host;
    int64_t begun_at_ms;
    uint64_t retain_ms;
    int64_t expires_at_ms;
};

static inline struct store_query store_use(struct store *s, enum store_sql which)
{
    return store_query_of(s->stmts[which]);
}

/* The lane for a job of that kind, with its row; NULL in ret_lane above JM_LANES. */
int store_lane_need(struct store *s, struct span queue, struct span task, uint32_t priority,
                    struct span limit_key, struct store_lane **ret_lane) JM_MUST_CHECK;

/* One job of a lane went from one state to another: for the counts of lane and queue. */
void store_lane_move(struct store *s, struct store_lane *lane, enum job_state from,
                     enum job_state to);

/* Removes the rows of up to `max_rows` lanes that have had no job for a minute; when there may be
 * more of them, or -1. Likewise of rates. */
int store_lanes_clean(struct store *s, int64_t now_ms, size_t max_rows, size_t *ret_rows,
                      int64_t *ret_next_ms) JM_MUST_CHECK;
int store_rates_clean(struct store *s, int64_t now_ms, size_t max_rows) JM_MUST_CHECK;

/* The row of a live job, if it is one. */
int store_live_get(struct store *s, uint64_t id, struct store_live *ret_live,
                   bool *ret_found) JM_MUST_CHECK;

/* What was asked of a job, but for its args; the spans stay until the next call. */
int store_job_get(struct store *s, uint64_t id, struct job_spec *ret_spec,
                  bool *ret_found) JM_MUST_CHECK;

/* How a job begins to live (`was` is JOB_NONE), or does so again, or goes on. */
struct store_birth {
    uint64_t id;
    const struct job_spec *spec;
    struct store_lane *lane; /* for what `spec` says */
    enum job_state was;
    enum job_state state;
    int64_t due_ms;
    uint32_t attempt;
    uint32_t lost_from;
};
int store_live_insert(struct store *s, const struct store_birth *birth) JM_MUST_CHECK;

/* A person changes it (JOB_ON_CHANGE, JOB_ON_NEW_ARGS): its lane, state, due time, attempt, and
 * what else `after->spec` says of it. */
int store_live_change(struct store *s, const struct store_live *live, enum job_event event,
                      const struct store_birth *after) JM_MUST_CHECK;

/* Moves it from its state to `to`, by an event that the state table allows, in nothing but the
 * state. */
int store_live_enter(struct store *s, const struct store_live *live, enum job_event event,
                     enum job_state to) JM_MUST_CHECK;

/* How a job ended. */
struct store_end {
    struct verdict_job job; /* with its terminal state and the attempt that ended it */
    uint64_t host;
    int64_t begun_at_ms;
    uint64_t run_us;
    struct span error;
    struct span result;
};

/* When such an end may be removed; 0: by the broker's default (store_purge.c). */
int64_t store_purge_at(const struct store *s, const struct store_live *live, enum job_state state,
                       int64_t now_ms);

/* Takes the job out of `live` and writes its end. */
int store_live_end(struct store *s, const struct store_live *live,
                   const struct store_end *end) JM_MUST_CHECK;

/* Cancels it. `begun` is what else is known of its attempt; or NULL. */
int store_live_cancel(struct store *s, const struct store_live *live,
                      const struct store_begun *begun) JM_MUST_CHECK;

/* Removes a finished job with all that belongs to it, but for its Idempotency-Key and for a unique
 * place that is held beyond `now_ms`. */
struct store_removed {
    bool is_there;
    enum job_state state; /* in which it was; JOB_NONE: it has not finished, and is left alone */
};
int store_remove_job(struct store *s, uint64_t id, int64_t now_ms,
                     struct store_removed *ret_removed) JM_MUST_CHECK;

/* Lets a job that ended as `was` live again. In `ret_status` JM_EOVERLOAD above JM_LANES. */
int store_retry_job(struct store *s, uint64_t id, enum job_state was, uint32_t *ret_attempt,
                    int *ret_status) JM_MUST_CHECK;

/* Of its history only the newest JM_ATTEMPTS_KEPT stay, `attempt` being the newest. */
int store_attempts_trim(struct store *s, uint64_t id, uint32_t attempt) JM_MUST_CHECK;

/* State and attempt of a job that has ended; JOB_NONE if none has. */
int store_end_get(struct store *s, uint64_t id, enum job_state *ret_state,
                  uint32_t *ret_attempt) JM_MUST_CHECK;

/* What is known of an Idempotency-Key within its window: fills in the answer of a repeat, or the
 * status of another request with the same key. */
int store_idem_find(struct store *s, struct store_submit *op, bool *ret_known,
                    int *ret_status) JM_MUST_CHECK;
int store_idem_put(struct store *s, const struct store_submit *op) JM_MUST_CHECK;

/* Removes the oldest key if its window is over, else says when it will be; 0: there is none. */
int store_idem_purge(struct store *s, int64_t now_ms, bool *ret_is_removed,
                     int64_t *ret_over_ms) JM_MUST_CHECK;

/* Whether a unique job may be inserted. If it replaces one, that is in `ret_replaced`, which else
 * is left alone; if it may not, the answer and the status are filled in. Writes nothing. */
int store_unique_ask(struct store *s, struct store_submit *op, struct store_live *ret_replaced,
                     bool *ret_goes_on, int *ret_status) JM_MUST_CHECK;
/* The state of the job that holds a place; JOB_NONE: it is not kept any more. */
int store_unique_state(struct store *s, uint64_t id, enum job_state *ret_state) JM_MUST_CHECK;
int store_unique_put(struct store *s, const struct store_submit *op) JM_MUST_CHECK;

/* The rows of a job's tags (a msgpack array of str, or empty). */
int store_tags_put(struct store *s, uint64_t id, struct span tags) JM_MUST_CHECK;
int store_tags_delete(struct store *s, uint64_t id, struct span tags) JM_MUST_CHECK;

/* A number of `meta`; 0 if it isn't there. */
int store_meta_get(struct store *s, const char *name, int64_t *ret_value) JM_MUST_CHECK;
int store_meta_put(struct store *s, const char *name, int64_t value) JM_MUST_CHECK;
/* Sets it, if it was smaller. */
int store_meta_raise(struct store *s, const char *name, int64_t value) JM_MUST_CHECK;

/* Reads what is kept in memory. SQLITE_CORRUPT, perhaps with words in `damage`, if the database
 * contradicts itself. */
int store_load(struct store *s) JM_MUST_CHECK;

/* Reads from the database how long queues keep their ends. */
int store_conf_load(struct store *s) JM_MUST_CHECK;

/* Runs one of them, by its kind. */
int store_ops_run(struct store *s, struct store_op *op) JM_MUST_CHECK;

/* The operations. */
int store_submit(struct store *s, struct store_submit *op, int *ret_status) JM_MUST_CHECK;
int store_submit_all(struct store *s, struct store_submit_all *op, int *ret_status) JM_MUST_CHECK;
int store_apply(struct store *s, struct store_apply *op, int *ret_status) JM_MUST_CHECK;
int store_take(struct store *s, struct store_take *op, int *ret_status) JM_MUST_CHECK;
int store_put_back(struct store *s, struct store_put_back *op, int *ret_status) JM_MUST_CHECK;
int store_due(struct store *s, struct store_due *op, int *ret_status) JM_MUST_CHECK;
int store_cancel(struct store *s, struct store_cancel *op, int *ret_status) JM_MUST_CHECK;
int store_change(struct store *s, struct store_change *op, int *ret_status) JM_MUST_CHECK;
int store_retry(struct store *s, struct store_retry *op, int *ret_status) JM_MUST_CHECK;
int store_expire(struct store *s, struct store_expire *op, int *ret_status) JM_MUST_CHECK;
int store_bulk(struct store *s, struct store_bulk *op, int *ret_status) JM_MUST_CHECK;
int store_purge(struct store *s, struct store_purge *op, int *ret_status) JM_MUST_CHECK;
int store_delete(struct store *s, struct store_delete *op, int *ret_status) JM_MUST_CHECK;
int store_set_conf(struct store *s, struct store_set_conf *op, int *ret_status) JM_MUST_CHECK;
int store_learn(struct store *s, struct store_learn *op, int *ret_status) JM_MUST_CHECK;
/* Sees to it that the mark is not below that id. */
int store_note_id(struct store *s, uint64_t id) JM_MUST_CHECK;
int store_reserve_ids(struct store *s, struct store_reserve_ids *op, int *ret_status) JM_MUST_CHECK;
int store_probe(struct store *s, struct store_probe *op, int *ret_status) JM_MUST_CHECK;

#endif
