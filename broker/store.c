/*
 * The store's life, its batches, and how they reach the disk.
 *
 * A commit writes to the WAL and is not synced by SQLite: `PRAGMA synchronous` acts when it is
 * prepared and is refused in a transaction, and a FULL commit that wrote no page syncs nothing, so
 * the connection stays at NORMAL and store_sync syncs the WAL file itself. What was answered is on
 * disk; a batch that was committed but not synced may be gone after a power cut, and nobody was
 * told of it.
 *
 * Checkpoints are explicit, because an automatic one swallows a failed fsync of the database file.
 * Their errors are final: after a failed fsync the kernel may have dropped the dirty pages, and a
 * second try would succeed without having written them. A full disk is no such error: it shows at
 * write(2), the pages stay in the WAL, and a later checkpoint goes on. In steady state the WAL is
 * not truncated but overwritten from its start once all of it is moved and nobody reads from it.
 *
 * Between opening and the first batch the WAL of an earlier life is moved into the database
 * (TRUNCATE), so that what was committed but perhaps never synced is on disk before anybody sees
 * it.
 */
#include "broker/store_inside.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "broker/store_check.h"
#include "broker/store_db.h"
#include "broker/store_mark.h"
#include "broker/store_wal.h"
#include "lib/crash.h"
#include "schema/errors.h"

/* How long a checkpoint that is to reset the WAL waits for readers. */
enum { RESTART_WAIT_MS = 100, LOG_PIECE_BYTES = 64 << 10 };

/* A map of evidence (a message, a tail, and a few numbers), or a record of options; and what stands
 * in a row of `jobs` beside its args. */
enum {
    SCRATCH_BYTES = JM_ERROR_MESSAGE_BYTES + JM_STDERR_TAIL_BYTES + 1024,
    ROW_BYTES = 16 << 10,
};

/* The literals in the SQL. */
_Static_assert(JOB_SCHEDULED == 1 && JOB_QUEUED == 2 && JOB_DISPATCHED == 3 && JOB_RUNNING == 4,
               "store_inside.h and schema/sql say so");
_Static_assert(JOB_FAILED == 11, "schema/sql says so");

static const char *const statements[STORE_SQL_COUNT] = {
#define X(name, text) [name] = text,
    STORE_STATEMENTS(X)
#undef X
};

/* Keeps the first final error for the log. Checkpoints may fail on another thread. */
static int fail(struct store *s, sqlite3 *db, const char *what, int rc)
{
    pthread_mutex_lock(&s->error_lock);
    s->is_broken = true;
    if (s->error[0] == '\0')
        snprintf(s->error, sizeof(s->error), "The database failed at %s: %s (SQLite code %d).%s",
                 what, db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(rc), rc,
                 store_db_error(rc) == JM_ECORRUPT ? STORE_DAMAGE_REMEDY : "");
    pthread_mutex_unlock(&s->error_lock);
    return JM_ESTORE;
}

static bool is_broken(struct store *s)
{
    bool broken;

    pthread_mutex_lock(&s->error_lock);
    broken = s->is_broken;
    pthread_mutex_unlock(&s->error_lock);
    return broken;
}

const char *store_last_error(const struct store *s)
{
    return s->error;
}

/* ---- opening and closing ---- */

static int on_wal(void *store, sqlite3 *db, const char *name, int pages)
{
    struct store *s = store;

    (void)db;
    (void)name;
    s->wal_bytes =
        (size_t)pages * (4096 + 24) + 32; /* page and frame header; sqlite.org/fileformat2 */
    return SQLITE_OK;
}

static int run_statement(struct store *s, enum store_sql which)
{
    struct store_query q = store_use(s, which);

    return store_query_run(&q);
}

static sqlite3_file *log_of(struct store *s)
{
    sqlite3_file *wal = NULL;

    if (sqlite3_file_control(s->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal) != SQLITE_OK ||
        wal == NULL || wal->pMethods == NULL)
        return NULL; /* nothing was ever written */
    return wal;
}

/* What an earlier life could not sync is in the kernel's cache, and reads well; but the kernel
 * calls those pages clean and will never write them. A checkpoint would move them into the database
 * from a log that is not on disk, and a power cut in the middle of it leave neither. So the log is
 * written once more as it is, and is on disk before anything is moved. */
static int write_log_again(struct store *s)
{
    sqlite3_file *wal = log_of(s);
    sqlite3_int64 size = 0;
    uint8_t *bytes;
    int rc = wal != NULL ? wal->pMethods->xFileSize(wal, &size) : SQLITE_OK;

    if (rc != SQLITE_OK || size == 0)
        return rc;
    bytes = malloc(LOG_PIECE_BYTES);
    if (bytes == NULL)
        return SQLITE_NOMEM;
    for (sqlite3_int64 at = 0; rc == SQLITE_OK && at < size; at += LOG_PIECE_BYTES) {
        int len = size - at < LOG_PIECE_BYTES ? (int)(size - at) : LOG_PIECE_BYTES;

        rc = wal->pMethods->xRead(wal, bytes, len, at);
        if (rc == SQLITE_OK)
            rc = wal->pMethods->xWrite(wal, bytes, len, at);
    }
    free(bytes);
    return rc == SQLITE_OK ? wal->pMethods->xSync(wal, SQLITE_SYNC_NORMAL) : rc;
}

/* A first commit, so that the log has a head that is on disk: from then on it has to be there
 * (store_mark.h). Where there is no room for it, nothing is claimed. */
static int begin_log(struct store *s)
{
    int rc = run_statement(s, SQL_BEGIN);

    if (rc == SQLITE_OK)
        rc = store_meta_put(s, "opened_at_ms", clock_wall_ms(s->conf.clock));
    if (rc == SQLITE_OK)
        rc = run_statement(s, SQL_COMMIT);
    if (rc != SQLITE_OK && sqlite3_get_autocommit(s->db) == 0 &&
        run_statement(s, SQL_ROLLBACK) != SQLITE_OK)
        return SQLITE_IOERR;
    if (store_db_error(rc) == JM_EFULL)
        return SQLITE_OK;
    if (rc != SQLITE_OK)
        return rc;
    if (store_sync(s) != 0)
        return SQLITE_IOERR;
    store_wal_keep_index(s->path);
    rc = store_mark_write(s->lock_fd, STORE_MARK_SERVING);
    return rc == 0 || rc == JM_EFULL ? SQLITE_OK : SQLITE_IOERR;
}

/* A store on another VFS is in a test, with no such files. */
static bool has_files(const struct store *s)
{
    return s->conf.vfs == NULL;
}

static int check_files(struct store *s, char ret_sentence[256])
{
    struct store_mark mark;
    int rc;

    if (!has_files(s))
        return 0;
    store_mark_read(s->lock_fd, &mark);
    rc = store_check_files(s->path, &mark, ret_sentence);
    if (rc == JM_ECORRUPT)
        store_wal_drop_index(s->path);
    if (rc != 0)
        return rc;
    rc = store_mark_write(s->lock_fd, STORE_MARK_MOVING);
    if (rc != 0)
        store_db_say(s->path, rc, "its lock file cannot be written", ret_sentence);
    return rc;
}

static int say(const struct store *s, sqlite3 *db, int rc, const char *detail,
               char ret_sentence[256])
{
    int error = store_db_error(rc);

    if (detail == NULL) /* it may be us who have found it */
        detail = sqlite3_errcode(db) == SQLITE_OK ? sqlite3_errstr(rc) : sqlite3_errmsg(db);
    if (error != 0)
        store_db_say(s->path, error, detail, ret_sentence);
    return error;
}

static int open_connections(struct store *s, char ret_sentence[256])
{
    char complaint[128] = "";
    int rc = store_db_open(&s->conf, STORE_DB_WRITER, &s->db);

    if (rc == SQLITE_OK) {
        int error = store_db_migrate(s->db, s->path, ret_sentence);

        if (error != 0)
            return error;
        (void)sqlite3_wal_hook(s->db, on_wal, s);
        rc = write_log_again(s);
    }
    if (rc == SQLITE_OK)
        rc = sqlite3_wal_checkpoint_v2(s->db, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    if (rc == SQLITE_OK && has_files(s)) {
        rc = store_check_pages(s->db, complaint);
        s->damage = complaint[0] != '\0' && rc != SQLITE_OK ? complaint : NULL;
    }
    if (rc == SQLITE_OK) {
        rc = store_db_prepare(s->db, statements, STORE_SQL_COUNT, s->stmts);
        if (rc == SQLITE_ERROR) {
            s->damage = "its tables are not those of its schema";
            rc = SQLITE_CORRUPT;
        }
    }
    if (rc == SQLITE_OK)
        rc = store_load(s);
    if (rc == SQLITE_OK)
        rc = begin_log(s);
    if (rc != SQLITE_OK)
        return say(s, s->db, rc, s->damage, ret_sentence);
    rc = store_db_open(&s->conf, STORE_DB_CHECKPOINT, &s->checkpoint_db);
    return say(s, s->checkpoint_db, rc, NULL, ret_sentence);
}

static void default_to(uint64_t *value, uint64_t usual)
{
    if (*value == 0)
        *value = usual;
}

int store_open(const struct store_conf *conf, struct store **ret_store, char ret_sentence[256])
{
    struct store *s = calloc(1, sizeof(*s));
    int rc = JM_ENOMEM;

    /* SQLite's statistics of its own memory take a mutex at each malloc: 10 % of a job's cost. It
     * is too late for that, and no harm, once the library is in use. */
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);

    snprintf(ret_sentence, 256, "Out of memory.");
    if (s == NULL)
        return JM_ENOMEM;
    s->lock_fd = -1;
    store_tally_init(&s->tally);
    store_lanes_init(&s->lanes);
    buf_init(&s->scratch, SCRATCH_BYTES);
    buf_init(&s->row, ROW_BYTES);
    pthread_mutex_init(&s->checkpoint_lock, NULL);
    pthread_mutex_init(&s->error_lock, NULL);
    s->path = strdup(conf->path);
    if (s->path == NULL)
        goto fail;
    s->conf = *conf;
    s->conf.path = s->path;
    default_to(&s->conf.retain_ms, JM_RETAIN_DEFAULT_MS);
    default_to(&s->conf.retain_failed_ms, JM_RETAIN_FAILED_MS);
    default_to(&s->conf.idempotency_ms, JM_IDEMPOTENCY_WINDOW_MS);
    rc = store_db_lock(s->path, &s->lock_fd, ret_sentence);
    if (rc == 0)
        rc = check_files(s, ret_sentence);
    if (rc == 0)
        rc = open_connections(s, ret_sentence);
    if (rc != 0)
        goto fail;
    ret_sentence[0] = '\0';
    *ret_store = s;
    return 0;
fail:
    s->is_broken = true; /* nothing to save */
    store_close(s);
    return rc;
}

/* For a quick next start, so that an error (or a reader) changes nothing. If all of the log has
 * been moved, that start need not look for it; while it is being moved, nothing is claimed. */
static void move_log(struct store *s)
{
    int rc = SQLITE_OK;

    if (has_files(s) && store_mark_write(s->lock_fd, STORE_MARK_MOVING) != 0)
        return;
    rc = sqlite3_wal_checkpoint_v2(s->db, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    if (rc == SQLITE_OK && has_files(s))
        rc = store_mark_write(s->lock_fd, STORE_MARK_STOPPED);
    store_wal_drop_index(s->path);
    (void)rc; /* else still nothing is claimed */
}

struct store *store_close(struct store *s)
{
    if (s == NULL)
        return NULL;
    if (!s->is_broken)
        move_log(s);
    store_db_finalize(s->stmts, STORE_SQL_COUNT);
    (void)sqlite3_close(s->checkpoint_db); /* cannot be busy: all statements are finalized */
    (void)sqlite3_close(s->db);
    if (s->lock_fd >= 0)
        (void)close(s->lock_fd);
    store_lanes_done(&s->lanes);
    store_tally_done(&s->tally);
    buf_done(&s->scratch);
    buf_done(&s->row);
    pthread_mutex_destroy(&s->checkpoint_lock);
    pthread_mutex_destroy(&s->error_lock);
    free(s->path);
    free(s);
    return NULL;
}

/* ---- batches ---- */

static int write_counts(struct store *s)
{
    int rc = SQLITE_OK;

    LIST_EACH(node, &s->tally.touched)
    {
        struct store_queue *queue = LIST_ENTRY(node, struct store_queue, in_touched);
        struct store_query q = store_use(s, SQL_COUNTS_PUT);
        struct store_counts counts;

        store_tally_new(queue, &counts);
        store_query_put_text(&q, store_tally_name(queue));
        for (int state = JOB_SCHEDULED; state <= JOB_EXPIRED; state++)
            if (state <= JOB_RUNNING || state >= JOB_SUCCEEDED)
                store_query_put_int(&q, counts.by_state[state]);
        rc = store_query_run(&q);
        if (rc != SQLITE_OK)
            return rc;
    }
    return rc;
}

static int run_transaction(struct store *s, struct list *ops)
{
    int rc;

    CRASH_POINT("before-begin");
    rc = run_statement(s, SQL_BEGIN);
    LIST_EACH(node, ops)
    {
        if (rc != SQLITE_OK)
            return rc;
        rc = store_ops_run(s, LIST_ENTRY(node, struct store_op, link));
    }
    if (rc == SQLITE_OK && s->is_undone)
        return run_statement(s, SQL_ROLLBACK);
    if (rc == SQLITE_OK)
        rc = write_counts(s);
    CRASH_POINT("before-commit");
    CRASH_WITHIN("in-commit");
    if (rc == SQLITE_OK)
        rc = run_statement(s, SQL_COMMIT);
    CRASH_POINT("after-commit");
    return rc;
}

/* What is kept in memory is again as it was before the batch. */
static void forget(struct store *s)
{
    store_tally_rollback(&s->tally);
    store_lanes_rollback(&s->lanes);
    s->purged_to = s->purged_to_before;
    s->id_mark = s->id_mark_before;
}

static void set_status(struct list *ops, int status)
{
    LIST_EACH(node, ops)
    LIST_ENTRY(node, struct store_op, link)->status = status;
}

/* Nothing of the batch holds. SQLite may have rolled back by itself. */
static int refuse(struct store *s, struct list *ops, int rc)
{
    int error = store_db_error(rc) == JM_EFULL ? JM_EFULL : fail(s, s->db, "a write", rc);

    forget(s);
    set_status(ops, error);
    if (sqlite3_get_autocommit(s->db) == 0) {
        rc = run_statement(s, SQL_ROLLBACK);
        if (rc != SQLITE_OK && error == JM_EFULL)
            error = fail(s, s->db, "a rollback", rc);
    }
    if (s->has_set_conf && error == JM_EFULL && (rc = store_conf_load(s)) != SQLITE_OK)
        error = fail(s, s->db, "reading the settings", rc);
    set_status(ops, error);
    return error;
}

int store_run(struct store *s, struct list *ops)
{
    int rc;

    if (is_broken(s)) {
        set_status(ops, JM_ESTORE);
        return JM_ESTORE;
    }
    store_tally_begin(&s->tally);
    store_lanes_begin(&s->lanes);
    s->purged_to_before = s->purged_to;
    s->id_mark_before = s->id_mark;
    s->has_set_conf = false;
    s->is_undone = false;
    rc = run_transaction(s, ops);
    if (rc != SQLITE_OK)
        return refuse(s, ops, rc);
    if (s->is_undone) {
        forget(s);
        return 0;
    }
    store_tally_commit(&s->tally);
    store_lanes_commit(&s->lanes, clock_wall_ms(s->conf.clock));
    return 0;
}

void store_changed_counts(struct store *s, void *owner, store_counts_cb on_queue)
{
    LIST_EACH(node, &s->tally.touched)
    {
        struct store_queue *q = LIST_ENTRY(node, struct store_queue, in_touched);

        on_queue(owner, store_tally_name(q), &q->now);
    }
}

void store_changed_lanes(struct store *s, void *owner, store_lane_cb on_lane)
{
    LIST_EACH(node, &s->lanes.touched)
    {
        struct store_lane *lane = LIST_ENTRY(node, struct store_lane, in_touched);
        struct store_lane_view view = {.number = lane->number,
                                       .queue = store_tally_name(lane->queue),
                                       .task = store_lane_task(lane),
                                       .limit_key = store_lane_key(lane),
                                       .priority = lane->priority,
                                       .queued = (uint64_t)lane->queued};

        on_lane(owner, &view);
    }
}

/* ---- the disk ---- */

int store_sync(struct store *s)
{
    sqlite3_file *wal = log_of(s);
    int rc;

    if (is_broken(s))
        return JM_ESTORE;
    if (wal == NULL)
        return 0; /* nothing was ever written */
    CRASH_WITHIN("in-sync");
    rc = wal->pMethods->xSync(wal, SQLITE_SYNC_NORMAL);
    CRASH_POINT("after-sync");
    return rc == SQLITE_OK ? 0 : fail(s, NULL, "the sync of its log", rc);
}

size_t store_wal_bytes(const struct store *s)
{
    return s->wal_bytes;
}

static int judge_checkpoint(struct store *s, sqlite3 *db, int rc)
{
    if (rc == SQLITE_OK || (rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_LOCKED)
        return 0;
    if (store_db_error(rc) == JM_EFULL)
        return JM_EFULL;
    return fail(s, db, "a checkpoint", rc);
}

/* Waits for readers, but not for long: the writer has more to do, and the next time will do. */
static int restart_log(struct store *s)
{
    int rc = sqlite3_busy_timeout(s->db, RESTART_WAIT_MS);

    if (rc == SQLITE_OK)
        rc = sqlite3_wal_checkpoint_v2(s->db, "main", SQLITE_CHECKPOINT_RESTART, NULL, NULL);
    rc = judge_checkpoint(s, s->db, rc);
    if (sqlite3_busy_timeout(s->db, STORE_DB_BUSY_MS) != SQLITE_OK)
        rc = fail(s, s->db, "setting a time limit", SQLITE_MISUSE);
    return rc;
}

int store_checkpoint(struct store *s, bool wait)
{
    int rc;

    if (is_broken(s))
        return JM_ESTORE;
    /* SQLite lets only one checkpoint run and turns the second away at once, however long it would
     * wait for a reader. */
    pthread_mutex_lock(&s->checkpoint_lock);
    CRASH_WITHIN("in-checkpoint");
    if (wait)
        rc = restart_log(s);
    else
        rc = judge_checkpoint(s, s->checkpoint_db,
                              sqlite3_wal_checkpoint_v2(s->checkpoint_db, "main",
                                                        SQLITE_CHECKPOINT_PASSIVE, NULL, NULL));
    pthread_mutex_unlock(&s->checkpoint_lock);
    return rc;
}
