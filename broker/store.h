/*
 * store.h: everything that the broker remembers, in one SQLite database.
 *
 * The store is synchronous and belongs to one thread at a time: in the program to the writer thread
 * (writer.h), in the simulation to the test. It is given operations in batches; a batch is one
 * transaction. Reads have connections of their own (reader.h).
 *
 * An operation is a struct that starts with a struct store_op. Who makes it owns it and everything
 * that its spans point to; from handing it over until it comes back nobody else touches it.
 *
 * What stands where (schema/sql): `jobs` holds what was asked, written once; `live` one small row
 * for each job that has not ended; `ends` one row for each that has; `attempts` the ends of earlier
 * attempts. So a job on the fast path is two inserts, then one insert and one delete of a hot row.
 */
#ifndef BROKER_STORE_H
#define BROKER_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/backoff.h"
#include "lib/attr.h"
#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/list.h"
#include "lib/span.h"
#include "schema/limits.h"
#include "schema/states.h"
#include "schema/wire.h"

struct store;

struct store_conf {
    const char *path; /* the database file */
    const char *vfs;  /* SQLite VFS to open it with; NULL is the default one */
    struct clock *clock;
    uint64_t retain_ms;        /* how long an end is kept; 0 stands for JM_RETAIN_DEFAULT_MS */
    uint64_t retain_failed_ms; /* that of a failed job; 0 stands for JM_RETAIN_FAILED_MS */
    uint64_t idempotency_ms;   /* how long a key is kept; 0 stands for JM_IDEMPOTENCY_WINDOW_MS */
    /* SQLite found damage in a read; any thread; or NULL. */
    void (*on_damage)(void *damage_owner, const char *sentence);
    void *damage_owner;
};

/* What an error of a damaged database tells besides. */
#define STORE_DAMAGE_REMEDY                                                      \
    " The database is damaged: run `jobmill doctor --db FILE`, which explains, " \
    "and with --repair saves what can be saved."

/* Jobs of one queue by state, indexed by enum job_state (JOB_NONE is unused). */
struct store_counts {
    int64_t by_state[JOB_STATE_LIMIT];
};

/* ---- operations ---- */

enum store_op_kind {
    STORE_SUBMIT,
    STORE_SUBMIT_ALL,
    STORE_APPLY,
    STORE_TAKE,
    STORE_PUT_BACK,
    STORE_DUE,
    STORE_EXPIRE,
    STORE_CANCEL,
    STORE_CHANGE,
    STORE_RETRY,
    STORE_DELETE,
    STORE_BULK,
    STORE_PURGE,
    STORE_SET_CONF,
    STORE_LEARN,
    STORE_RESERVE_IDS,
    STORE_PROBE,
};

struct store_op {
    struct list link; /* in whatever list its present owner keeps */
    enum store_op_kind kind;
    int status; /* 0 or JM_E… once it is done; outputs are valid only with 0 */
    /* Called on the loop thread (by the simulation: its only thread), exactly once, when the batch
     * is committed and, if `wants_sync`, on disk; or when it was refused. */
    void (*on_done)(struct store_op *op);
    bool wants_sync; /* somebody is told of it: on disk before on_done. Read when it has run */
    bool is_alone;   /* it may be undone, so it shares its transaction with no other */
    size_t bytes;    /* roughly what it writes, for the size of a batch */
};

/* What a job is asked to be. Spans borrow. */
struct job_spec {
    struct span queue;
    struct span task;
    struct span args;      /* one msgpack value */
    struct span tags;      /* a msgpack array of str, or empty */
    uint32_t priority;     /* JM_PRIORITY_MIN … JM_PRIORITY_MAX */
    uint32_t max_attempts; /* ordinary failures until it fails */
    uint64_t timeout_ms;   /* of one attempt */
    uint64_t grace_ms;     /* between SIGTERM and SIGKILL */
    struct span options; /* a record of job_options.h, or empty; what follows repeats of it what the
                            store and the dispatch need at hand */
    struct span limit_key; /* or empty */
    int64_t expires_at_ms; /* 0: never */
    uint64_t retain_ms;    /* 0: as its queue or the broker says */
};

/* How long a unique job holds its place, and what becomes of another one meanwhile. */
enum unique_while { UNIQUE_NOT, UNIQUE_QUEUED, UNIQUE_UNFINISHED, UNIQUE_PERIOD };
enum unique_conflict { UNIQUE_EXISTING, UNIQUE_REJECT, UNIQUE_REPLACE };

struct store_unique {
    enum unique_while how;
    enum unique_conflict on_conflict;
    uint64_t period_ms; /* with UNIQUE_PERIOD */
    uint8_t digest[32]; /* of what makes it unique */
};

/* Inserts a job. With a `key` that is known (within its window, whatever has become of the job) it
 * inserts nothing: is_repeat, and existing_id (is_existing too, if that was the answer), if the
 * fingerprint is the same, else status JM_EIDEMPOTENCY. If a unique job's place is held, then by
 * on_conflict: nothing is inserted, is_existing and existing_id; or status JM_EUNIQUE, with
 * existing_id; or the holder is cancelled in the same commit (replaced_id), unless it has begun,
 * which is JM_EUNIQUE too. One that would expire before it is due is JM_EFIELD. But for a new job
 * that replaces none, op.wants_sync is set, whatever was asked. */
struct store_submit {
    struct store_op op;
    uint64_t id;
    struct job_spec spec;
    enum job_state state; /* SCHEDULED, QUEUED, or DISPATCHED when a place is reserved for it */
    int64_t due_ms;       /* wall clock */
    struct span key;      /* Idempotency-Key, or empty */
    uint8_t fingerprint[32];
    struct store_unique unique;
    bool is_repeat_only; /* no new job is made of it: JM_EQUEUEFULL */
    bool ret_is_repeat;
    bool ret_is_existing;
    uint64_t ret_existing_id;
    enum job_state ret_existing_state; /* of a unique one; JOB_NONE: it has ended and been removed,
                                          and its period is not over */
    uint64_t ret_replaced_id;          /* 0: none */
};

/* Inserts many jobs, or none of them. `next` is called by the thread that runs the store, for each
 * in turn: it gives one, filled in as for STORE_SUBMIT, or NULL behind the last, or fails with
 * JM_E…; what it gives is left alone until the next call. `on_each` tells what became of it (its
 * outputs, and the status). If one has a status other than 0, all others are asked all the same,
 * and then all is undone: the status of the whole is JM_EBATCH. Set op.is_alone. */
struct store_submit_all {
    struct store_op op;
    int (*next)(struct store_submit_all *op, struct store_submit **ret_submit);
    void (*on_each)(struct store_submit_all *op, struct store_submit *submit, int status);
};

/* One thing that happened to an attempt. */
enum store_event_source {
    STORE_FROM_WORKER, /* event.kind says what */
    STORE_LOST,        /* given up as lost; event.has_begun charges a host death */
};

enum store_outcome {
    STORE_APPLIED,
    STORE_LATE,    /* another attempt is the current one, the job has ended, or the state table does
                    * not allow it where the job is now (a repeat, a job put back): dropped */
    STORE_UNKNOWN, /* no such job: dropped */
    STORE_INVALID, /* an event that no state can take: dropped */
};

struct store_event {
    enum store_event_source source;
    struct wire_event event; /* spans borrow from the frame */
    enum store_outcome ret_outcome;
    enum job_state ret_state; /* after it, also when it was dropped (JOB_NONE: unknown) */
    uint32_t ret_attempt;     /* the current attempt after it; with ret_supersedes the newer one */
    /* It ended an attempt that was given up as lost, while a newer one is current: that one is to
     * be recalled or killed. */
    bool ret_supersedes;
    int64_t ret_due_ms;        /* with JOB_SCHEDULED */
    int64_t ret_expires_at_ms; /* of a job that waits again; 0: never */
};

/* Applies events in their order, exactly once each. `taken` > 0 is the number of the results list
 * that they complete: it is kept in the same commit. `bad` are frames that could not be decoded:
 * they go into the bounded quarantine. */
struct store_apply {
    struct store_op op;
    struct store_event *events;
    size_t event_count;
    uint64_t taken;
    const struct span *bad;
    size_t bad_count;
};

/* One job on its way to Redis. */
struct store_taken {
    uint64_t id;
    uint32_t attempt;
    size_t turn; /* by which it came, and from which of all the lanes */
    size_t lane;
    size_t offset; /* of its wire_job frame in `frames` */
    size_t len;
};

/* Up to `max_jobs` of what waits in some lanes together, by (due, id). */
struct store_turn {
    size_t first_lane; /* index into the take's lanes */
    size_t lane_count;
    size_t max_jobs;
};

/* One of them, by its number, and how many may come from it at most. */
struct store_turn_lane {
    int64_t number;
    size_t max_jobs;
};

/* How far a token bucket is spent, to be kept over a restart. */
struct store_rate {
    struct span limit_key; /* empty: the queue's own */
    int64_t full_at_us;    /* wall clock */
};

/* Takes the turns' jobs out of the backlog, turn by turn, but for those that should have begun by
 * now, marks them dispatched and gives their frames. Stops behind the job with which max_bytes is
 * reached (so that one job larger than max_bytes still gets through), or before the one for which
 * `frames` has no room (then it is marked failed; JM_ENOMEM if that is the first). */
struct store_take {
    struct store_op op;
    struct span queue;
    unsigned node; /* written into the frames */
    const struct store_turn *turns;
    size_t turn_count;
    const struct store_turn_lane *lanes;
    const struct store_rate *rates;
    size_t rate_count;
    size_t max_bytes;
    struct store_taken *ret_jobs; /* room for the jobs of all turns, given by the caller */
    size_t ret_count;
    struct buf *frames; /* given by the caller, empty */
};

struct store_ref {
    uint64_t id;
    uint32_t attempt;
    bool ret_is_back;
};

/* Dispatched jobs that are known not to be in Redis go back into the backlog; one that is no longer
 * dispatched with that attempt is passed over (ret_is_back is false). */
struct store_put_back {
    struct store_op op;
    struct store_ref *jobs;
    size_t count;
};

/* Moves up to `max_jobs` scheduled jobs whose time has come into the backlog. */
struct store_due {
    struct store_op op;
    int64_t now_ms;
    size_t max_jobs;
    size_t ret_moved;
    int64_t ret_next_due_ms; /* of the next one, or -1 */
};

/* Where a walk over jobs by the time of their expiry has come. */
struct store_expiry {
    int64_t at_ms;
    uint64_t id;
};

/* Ends up to `max_jobs` scheduled or queued jobs that should have begun by now. Dispatched ones are
 * only named, up to `max_out` of them, to be taken back from Redis first: what has begun meanwhile
 * does not expire. */
struct store_expire {
    struct store_op op;
    int64_t now_ms;
    size_t max_jobs;
    size_t max_out;
    struct store_expiry out_after; /* the last one that was named before; zeroed: none */
    uint64_t *ret_ids;             /* array of max_jobs, given by the caller */
    size_t ret_count;
    uint64_t *ret_out_ids; /* array of max_out, likewise, of the dispatched ones */
    size_t ret_out_count;
    struct store_expiry ret_out_after; /* for the next time; zeroed: no more were due */
    int64_t ret_next_ms;               /* when the next one expires that was not named, or -1 */
};

/* What is known of an attempt that has begun, though no worker's event has told the store yet. */
struct store_begun {
    uint32_t attempt; /* 0: nothing */
    uint64_t host;
    int64_t at_ms;
};

/* Status 0, JM_ENOJOB, or JM_EFINISHED (ret_state says how it ended). */
struct store_cancel {
    struct store_op op;
    uint64_t id;
    struct store_begun begun;
    enum job_state ret_was; /* where it was before */
    enum job_state ret_state;
    uint32_t ret_attempt;
};

/* What a person changes of a job that waits: the members of `spec` and `options` that `what` names.
 * Status 0, JM_ENOJOB, JM_EFINISHED, or JM_ERUNNING if it is dispatched or running (ret_state says
 * what it is). */
enum store_change_what {
    CHANGE_PRIORITY = 1 << 0,
    CHANGE_DUE = 1 << 1, /* due_ms; in the past: at once */
    CHANGE_ARGS = 1 << 2,
    CHANGE_TAGS = 1 << 3,
    CHANGE_TIMEOUT = 1 << 4,
    CHANGE_MAX_ATTEMPTS = 1 << 5,
    CHANGE_EXPIRES = 1 << 6, /* 0: never */
    CHANGE_RETAIN = 1 << 7,
    CHANGE_BACKOFF = 1 << 8,
};

/* With other arguments the attempt number rises, so that nothing sent before counts. */
struct store_change {
    struct store_op op;
    uint64_t id;
    unsigned what;
    struct job_spec
        spec; /* priority, args, tags, timeout_ms, max_attempts, expires_at_ms, retain_ms */
    struct backoff backoff;
    int64_t due_ms;
    int64_t now_ms;
    enum job_state ret_state; /* after it */
    int64_t ret_due_ms;
};

/* A person's retry of a finished job: a new attempt, queued now, with all budgets anew; its end
 * goes into the history. Status 0, JM_ENOJOB, or JM_ENOTFINISHED. */
struct store_retry {
    struct store_op op;
    uint64_t id;
    enum job_state ret_was;
    uint32_t ret_attempt;
};

/* The same change of many jobs: those that it does not fit are passed over. */
enum store_bulk_verb { BULK_CANCEL, BULK_RETRY, BULK_DELETE };

struct store_bulk_item {
    uint64_t id;
    struct store_begun begun; /* for a cancel */
    bool ret_is_changed;
    enum job_state ret_was;
    uint32_t ret_attempt;
};

struct store_bulk {
    struct store_op op;
    enum store_bulk_verb verb;
    struct store_bulk_item *items;
    size_t count;
    size_t ret_changed;
};

/* Removes up to `max_rows` of what has been kept long enough: finished jobs with all that belongs
 * to them, Idempotency-Keys, periods of unique jobs; and gives free pages back to the disk. */
struct store_purge {
    struct store_op op;
    int64_t now_ms;
    size_t max_rows;
    size_t ret_rows;     /* removed, or given a time of their own */
    int64_t ret_next_ms; /* when there may be more to do, now_ms: at once; -1: not known */
};

/* Keeps what a person has set for a queue or a task, as a record of conf.h. */
struct store_set_conf {
    struct store_op op;
    bool is_task;
    struct span name;
    struct span record;
};

/* Removes a finished job. Status 0, JM_ENOJOB, or JM_ENOTFINISHED. */
struct store_delete {
    struct store_op op;
    uint64_t id;
};

/* Keeps what a host said of a task it serves (inserted, or updated if it changed or is a minute
 * old). Above JM_TASKS names a new one is passed over. */
struct store_learn {
    struct store_op op;
    const struct wire_task *tasks;
    size_t count;
};

/* Stores ahead that ids up to `high_water` may be given out. */
struct store_reserve_ids {
    struct store_op op;
    uint64_t high_water;
};

/* Writes one small row, so that a disk that refuses writes is noticed. */
struct store_probe {
    struct store_op op;
};

/* ---- the store ---- */

/* Opens or creates the database, takes the lock beside it (a second broker gets JM_ELOCKED),
 * applies the migrations, and checkpoints before anything is acknowledged. On failure
 * `ret_sentence` (256 bytes) says in one sentence what is wrong and what to do: JM_ESCHEMA for a
 * database newer than the program, JM_ELOCKED, JM_ECORRUPT, JM_EIO, JM_ESTORE. */
int store_open(const struct store_conf *conf, struct store **ret_store,
               char ret_sentence[256]) JM_MUST_CHECK;

/* Checkpoints and closes; NULL is fine. Returns NULL. */
struct store *store_close(struct store *s);

/* Runs all operations of `ops` (one that is_alone is the only one) in one transaction and sets
 * their status and outputs; does not call on_done and leaves the list as it is. Does not sync.
 * Returns 0; or JM_EFULL, and each op has that status and nothing was written; or JM_ESTORE, after
 * which the program has to end: nothing of the batch may be acknowledged. */
int store_run(struct store *s, struct list *ops) JM_MUST_CHECK;

/* Forces what is committed to the disk. An error is final: the program has to end. */
int store_sync(struct store *s) JM_MUST_CHECK;

/* Bytes in the WAL since the last checkpoint that reset it. */
size_t store_wal_bytes(const struct store *s);

/* Moves WAL pages into the database file. With `wait` it blocks readers' snapshots out until all is
 * moved, so that the WAL starts anew. Without, it has a connection of its own and is the one
 * function that may be called from a second thread, also while another one runs. JM_ESTORE is
 * final, as with store_sync; a busy reader is no error, and JM_EFULL (the disk is full; the pages
 * stay in the WAL) calls for another try later. */
int store_checkpoint(struct store *s, bool wait) JM_MUST_CHECK;

/* The counts of every queue that the last store_run changed, as they are now. Calls `on_queue` for
 * each, before the next store_run. */
typedef void (*store_counts_cb)(void *owner, struct span queue, const struct store_counts *counts);
void store_changed_counts(struct store *s, void *owner, store_counts_cb on_queue);

/* Likewise every lane whose backlog the last store_run changed. */
struct store_lane_view {
    int64_t number;
    struct span queue;
    struct span task;
    struct span limit_key;
    uint32_t priority;
    uint64_t queued; /* jobs that wait in it */
};
typedef void (*store_lane_cb)(void *owner, const struct store_lane_view *lane);
void store_changed_lanes(struct store *s, void *owner, store_lane_cb on_lane);

/* The sentence of the last JM_ESTORE, for the log. */
const char *store_last_error(const struct store *s);

#endif
