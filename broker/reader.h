/*
 * reader.h: reads of the store, on a read-only connection of its own. One reader belongs to one
 * thread at a time. A reader sees what is committed, which may not be on disk yet: who shows a
 * terminal state to anybody has to wait for the writer's sync first (writer_gate).
 */
#ifndef BROKER_READER_H
#define BROKER_READER_H

#include "broker/job_filter.h"
#include "broker/store.h"

struct reader;

/* A job as it is. Spans point into the reader and are valid until its next call. */
struct job_view {
    uint64_t id;
    struct job_spec spec;
    enum job_state state;
    uint32_t attempt;  /* the current or last one; 1 is the first */
    uint32_t failures; /* charged so far, by cause */
    uint32_t crashes;
    uint32_t deaths;
    bool may_have_attempts; /* that ended before the last one, see reader_attempts */
    int64_t due_ms;
    uint64_t host;       /* that runs it or ran it, or 0 */
    int64_t begun_at_ms; /* of the last attempt that is known to have begun, or 0 */
    int64_t finished_at_ms;
    uint64_t run_us;
    struct span result; /* one msgpack value; empty if there is none */
    struct span error; /* a msgpack map {code, message, signal, …} of a bad end, or of the last bad
                        * attempt while the job lives; or empty */
    const struct progress *progress; /* NULL from the reader; who shows the job may know it */
};

int reader_open(const struct store_conf *conf, struct reader **ret_reader) JM_MUST_CHECK;
struct reader *reader_close(struct reader *r);

/* The reads between these two see one moment, and cost half as much each: a read by itself takes
 * and drops the locks of a transaction. Hold it within one callback only: a held moment keeps the
 * WAL from starting anew, and does not see what is committed meanwhile. May be nested. */
void reader_begin(struct reader *r);
void reader_end(struct reader *r);

/* JM_ENOJOB if there is none. `with_blobs` false leaves args and result out. */
int reader_get(struct reader *r, uint64_t id, bool with_blobs,
               struct job_view *ret_job) JM_MUST_CHECK;

/* The same with blobs, if args, result and earlier attempts are not over `max_bytes` together; else
 * ret_is_small is false, and the blobs are not for use. Lets the loop leave large jobs to the pool.
 */
int reader_get_small(struct reader *r, uint64_t id, size_t max_bytes, struct job_view *ret_job,
                     bool *ret_is_small) JM_MUST_CHECK;

/* What one page may hold and cost. The time is that of the store's clock, looked at between rows;
 * 0 is no bound. At least one row is looked at, so that a caller gets on. */
struct reader_bounds {
    size_t jobs;
    size_t rows; /* looked at, whether they fit or not */
    uint64_t time_ms;
};

/* Calls `on_job` for the jobs that fit the filter, newest first, without args and result, as far as
 * the bounds go. `ret_next` is the id to go on below (the filter's `below`), or 0 when there is
 * nothing more. Whoever goes on like that meets each job at most once, and every job that fits all
 * the time, whatever happens in between. */
typedef void (*reader_job_cb)(void *owner, const struct job_view *job);
int reader_list(struct reader *r, const struct job_filter *filter,
                const struct reader_bounds *bounds, void *owner, reader_job_cb on_job,
                uint64_t *ret_next) JM_MUST_CHECK;

/* The same, with their ids alone, for less. */
typedef void (*reader_id_cb)(void *owner, uint64_t id);
int reader_find(struct reader *r, const struct job_filter *filter,
                const struct reader_bounds *bounds, void *owner, reader_id_cb on_id,
                uint64_t *ret_next) JM_MUST_CHECK;

/* How many jobs of its queue stand before a job in the backlog, by priority, due time and id; keys
 * that take turns may let it go earlier. Counts up to `limit`: then there are at least that many. 0
 * for a job that is not in the backlog, or not there. */
int reader_before(struct reader *r, uint64_t id, size_t limit, size_t *ret_count) JM_MUST_CHECK;

/* What a start has to know: every dispatched or running job with its frame, each queue's counts,
 * the next due time (-1: none), the number of the last results list applied, the ids given out. */
typedef void (*reader_dispatched_cb)(void *owner, const struct job_view *job, struct span frame);
int reader_dispatched(struct reader *r, unsigned node, void *owner,
                      reader_dispatched_cb on_job) JM_MUST_CHECK;
int reader_counts(struct reader *r, void *owner, store_counts_cb on_queue) JM_MUST_CHECK;
struct reader_start {
    int64_t next_due_ms;
    uint64_t last_taken;
    uint64_t id_high_water;
    uint64_t last_id; /* the largest that is there; it may be above the mark (ids.c) */
};
int reader_start(struct reader *r, struct reader_start *ret_start) JM_MUST_CHECK;

/* Every lane that has a backlog, and how far the buckets of rates are spent. */
int reader_lanes(struct reader *r, void *owner, store_lane_cb on_lane) JM_MUST_CHECK;
typedef void (*reader_rate_cb)(void *owner, struct span queue, const struct store_rate *rate);
int reader_rates(struct reader *r, void *owner, reader_rate_cb on_rate) JM_MUST_CHECK;

/* Every queue and every task for which something is set. */
typedef void (*reader_conf_cb)(void *owner, bool is_task, struct span name, struct span record);
int reader_confs(struct reader *r, void *owner, reader_conf_cb on_conf) JM_MUST_CHECK;

/* The attempts of a job that ended without ending it, oldest first. Spans are valid inside the
 * call. */
struct attempt_view {
    uint32_t attempt;
    struct span outcome; /* a word of the wire's events, or "lost"; of one that a person had tried
                            again, that of its end */
    uint64_t host;
    int64_t begun_at_ms;
    int64_t ended_at_ms;
    uint64_t run_us;
    struct span error; /* as in job_view */
};
typedef void (*reader_attempt_cb)(void *owner, const struct attempt_view *attempt);
int reader_attempts(struct reader *r, uint64_t id, void *owner,
                    reader_attempt_cb on_attempt) JM_MUST_CHECK;

typedef void (*reader_task_cb)(void *owner, const struct wire_task *task, int64_t seen_at_ms);
int reader_tasks(struct reader *r, void *owner, reader_task_cb on_task) JM_MUST_CHECK;

#endif
