/*
 * jobmill.h: the C client of jobmill, a job queue with compute workers.
 *
 *     struct jobmill *mill = NULL;
 *     struct jobmill_job *job = NULL;
 *     struct jobmill_submit_options options = {.task = "fib", .args_json = "{\"n\": 35}",
 *                                              .wait_ms = 10000};
 *
 *     if (jobmill_open(NULL, &mill) == 0 && jobmill_submit(mill, &options, &job) == 0)
 *         puts(jobmill_value_json(jobmill_job_result(job)));
 *
 * (with the checks that this leaves out: client/examples/submit.c). Link with -ljobmill; the static
 * library with libjobmill.a -lcurl -lm. The header is C99 and C++98.
 *
 * Threads: a handle, and what was got from it, belongs to one thread at a time; each thread may
 * have a handle of its own. Nothing here needs to be initialised.
 *
 * Errors: a function that can fail returns 0 or a negative enum jobmill_error, and leaves its
 * outputs untouched on failure. The handle then keeps the sentence, the broker's stable code and
 * the HTTP status of the failure until the next call on it. A handle stays usable after any error.
 *
 * Repeats: a connection that breaks is made again. A request is repeated, with a growing pause, no
 * sooner than the broker asks for and for at most `retry_ms`, if it never left (the connection was
 * refused), if it only reads, if it carries an idempotency key, or if it sets the limits of a queue
 * or task, pauses or resumes. Anything else that was sent and got no answer is never repeated: it
 * returns JOBMILL_EFATE, and only the caller can know what to do.
 *
 * Options structs: zero is the default of every member. Set `size` to sizeof the struct, so that
 * members that later versions add at the end are seen; 0 means the members of the first version,
 * which end where a struct says so.
 *
 * Times of day are RFC 3339 text ("2026-11-23T09:21:00Z"); durations are numbers, with their unit
 * in the name.
 *
 * Proxies (http_proxy and the like) are not used.
 */
#ifndef JOBMILL_H
#define JOBMILL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define JOBMILL_API __attribute__((visibility("default")))
#define JOBMILL_CHECK __attribute__((visibility("default"), warn_unused_result))
#else
#define JOBMILL_API
#define JOBMILL_CHECK
#endif

struct jobmill;       /* a handle: one broker, one connection */
struct jobmill_value; /* anything JSON can say, held as msgpack */
struct jobmill_job;   /* a job as the broker told it; does not change */
struct jobmill_page;  /* some jobs of a list */

struct jobmill_attempt; /* an attempt of a job that has ended */
struct jobmill_answer;  /* what the broker says of one item of a batch */

/* The numbers never change. Codes of the broker without a number of their own are JOBMILL_EREFUSED
 * (4xx) or JOBMILL_EBROKER (5xx); jobmill_error_code() tells them apart. */
enum jobmill_error {
    JOBMILL_OK = 0,

    /* Met by the library. */
    JOBMILL_EINVAL = -1,    /* an argument is not valid; nothing was sent */
    JOBMILL_ENOMEM = -2,    /* out of memory */
    JOBMILL_ECONNECT = -3,  /* the broker cannot be reached; nothing was done */
    JOBMILL_EFATE = -4,     /* sent, but no answer came: it may or may not have been done */
    JOBMILL_ETIMEDOUT = -5, /* no answer within request_timeout_ms */
    JOBMILL_EANSWER = -6,   /* the answer cannot be understood: not a jobmill broker? */
    JOBMILL_ELIMIT = -7,    /* the answer is larger than max_answer_bytes */

    /* Said by the broker. */
    JOBMILL_EREFUSED = -20,      /* the request is wrong in some other way */
    JOBMILL_EBROKER = -21,       /* the broker failed in some other way */
    JOBMILL_ENOJOB = -22,        /* there is no such job */
    JOBMILL_ENOTFINISHED = -23,  /* the job has not finished yet */
    JOBMILL_EFINISHED = -24,     /* the job has already finished */
    JOBMILL_ENORESULT = -25,     /* the job ended without a result */
    JOBMILL_EFIELD = -26,        /* a field has a wrong value */
    JOBMILL_EUNKNOWNFIELD = -27, /* a field is not known: the broker is older than this library */
    JOBMILL_EMISSING = -28,      /* a required field is missing */
    JOBMILL_EIDEMPOTENCY = -29,  /* the idempotency key was used with another request */
    JOBMILL_EBODYSIZE = -30,     /* the request is larger than the broker allows */
    JOBMILL_EBUSYWAIT = -31,     /* too many requests are waiting for jobs */
    JOBMILL_EOVERLOAD = -32,     /* the broker has more work than it can hold */
    JOBMILL_ESHUTDOWN = -33,     /* the broker is shutting down */
    JOBMILL_EFULL = -34,         /* the broker's database has no room left */
    JOBMILL_ERUNNING = -35,      /* the job is running: that is not possible now */
    JOBMILL_EUNIQUE = -36,       /* another job has the same unique key */
    JOBMILL_EQUEUEFULL = -37,    /* the queue holds as many jobs as it may */
    JOBMILL_EBATCHSIZE = -38,    /* the batch has more items than are allowed */
    JOBMILL_EBATCHREFUSED = -39, /* an atomic batch was refused: nothing of it is stored */
    JOBMILL_ENOQUEUE = -40,      /* there is no such queue */
    JOBMILL_ENOTASK = -41,       /* there is no such task */
    JOBMILL_ENOFILTER = -42      /* a change of many jobs needs a filter */
};

/* The version of the library, "0.1.0". */
JOBMILL_API const char *jobmill_version(void);

/* One general sentence for an error number, without a full stop; for a number that is none, the one
 * for JOBMILL_EBROKER. Static. */
JOBMILL_API const char *jobmill_error_title(int error);

/* ---- the handle ---- */

struct jobmill_options {
    size_t size;
    const char *url;            /* http://HOST:PORT, https://…, or unix:/PATH of a socket; NULL:
                                   http://127.0.0.1:7878 */
    int64_t connect_timeout_ms; /* 0: 5,000 */
    int64_t request_timeout_ms; /* for an answer, beyond what was asked to wait; 0: 30,000 */
    int64_t retry_ms;        /* how long requests are repeated (see above); 0: 5,000; < 0: never */
    size_t max_answer_bytes; /* 0: 64 MiB */
};

/* Makes a handle; nothing is sent yet. `options` may be NULL and is copied. JOBMILL_EINVAL: the URL
 * is not one of the forms above, or its path is longer than a socket's address can be (107 bytes).
 */
JOBMILL_CHECK int jobmill_open(const struct jobmill_options *options, struct jobmill **ret_mill);

/* Frees the handle (NULL: nothing). Jobs, values and pages got from it live on. */
JOBMILL_API void jobmill_close(struct jobmill *mill);

/* Changes retry_ms from now on. */
JOBMILL_API void jobmill_set_retry_ms(struct jobmill *mill, int64_t retry_ms);

/* Of the last call on the handle: the sentence ("" after a success), the broker's stable code word
 * ("no_such_job", "unknown_fate"; "ok" after a success), the HTTP status (0 if none came). Borrowed
 * until the next call. */
JOBMILL_API const char *jobmill_error_text(const struct jobmill *mill);
JOBMILL_API const char *jobmill_error_code(const struct jobmill *mill);
JOBMILL_API int jobmill_error_http_status(const struct jobmill *mill);

/* ---- jobs ---- */

/* The pause before the next attempt: base_ms · factorⁿ after n + 1 failures, at most ceiling_ms. */
struct jobmill_backoff {
    size_t size;
    const char *kind;   /* "exponential" or "fixed"; NULL: exponential */
    int64_t base_ms;    /* 0: 1,000; < 0: no pause */
    double factor;      /* 0: 2 */
    int64_t ceiling_ms; /* 0: 3,600,000 */
    double jitter;      /* the part of the pause that is left to chance; 0: 0.1; < 0: none */
};

/* At most one job of a kind. All zero: of this task, queue and arguments, until it has ended. */
struct jobmill_unique {
    size_t size;
    const char *key;         /* what may be there once; NULL: task, queue and arguments */
    const char *const *args; /* names of the arguments that count; NULL: all */
    size_t arg_count;
    const char *while_state; /* "queued", "unfinished" or "period"; NULL: unfinished */
    int64_t period_ms;       /* needed with "period" */
    const char *on_conflict; /* "existing", "reject" or "replace"; NULL: existing */
};

struct jobmill_submit_options {
    size_t size;
    const char *task;         /* required */
    const char *args_json;    /* the arguments as JSON text, */
    const void *args_msgpack; /* or as one msgpack value; at most one of the two, neither: null */
    size_t args_msgpack_bytes;
    const char *queue;  /* NULL: "default" */
    int64_t timeout_ms; /* of one attempt; 0: the broker's default */
    unsigned max_attempts;
    const char *const *tags;
    size_t tag_count;
    const char
        *idempotency_key; /* 1 to 255 visible ASCII characters: makes the submit repeatable */
    int64_t wait_ms;      /* 0: return at once; < 0: wait without end for the job to finish */
    /* Here the first version ends. */
    unsigned priority;      /* 1 to 9, 9 goes first; 0: the queue's, or else 5 */
    const char *run_at;     /* not before; NULL: at once */
    int64_t delay_ms;       /* the same from now on; at most one of the two */
    const char *expires_at; /* an attempt that has not begun by then never begins */
    int64_t grace_ms;       /* from SIGTERM to SIGKILL; 0: the broker's; < 0: none */
    const struct jobmill_backoff *backoff;
    const char *limit_key; /* jobs of one key share the limits set for keys */
    int64_t retain_ms;     /* how long the ended job is kept; 0: the broker's; < 0: not at all */
    const struct jobmill_unique *unique;
};

/* Submits a job; on success it is on the broker's disk. With a wait the job comes back finished, or
 * as it is when the time is over: ask jobmill_job_is_finished(). The caller frees the job. A unique
 * job that is there already comes back in place of a new one (jobmill_job_is_existing()), or is
 * JOBMILL_EUNIQUE, as its on_conflict says. */
JOBMILL_CHECK int jobmill_submit(struct jobmill *mill, const struct jobmill_submit_options *options,
                                 struct jobmill_job **ret_job);

/* The job as it is now. */
JOBMILL_CHECK int jobmill_get(struct jobmill *mill, const char *id, struct jobmill_job **ret_job);

/* Waits until the job has finished or `timeout_ms` is over (< 0: without end), by long polls. Comes
 * back with the job either way: ask jobmill_job_is_finished(). */
JOBMILL_CHECK int jobmill_wait(struct jobmill *mill, const char *id, int64_t timeout_ms,
                               struct jobmill_job **ret_job);

/* Cancels a job that has not finished; jobmill_job_stopped() tells whether it still runs.
 * JOBMILL_EFINISHED: it had ended already. */
JOBMILL_CHECK int jobmill_cancel(struct jobmill *mill, const char *id,
                                 struct jobmill_job **ret_job);

/* Deletes a finished job with its result. */
JOBMILL_CHECK int jobmill_delete(struct jobmill *mill, const char *id);

/* Gives a finished job a new attempt, and its budget of attempts anew. JOBMILL_ENOTFINISHED. */
JOBMILL_CHECK int jobmill_retry(struct jobmill *mill, const char *id, struct jobmill_job **ret_job);

/* What is to be changed; what is zero stays. */
struct jobmill_patch_options {
    size_t size;
    unsigned priority;
    const char *run_at;
    int64_t delay_ms; /* < 0: due now */
    const char *args_json;
    const void *args_msgpack;
    size_t args_msgpack_bytes;
    const char *expires_at; /* "": it does not expire */
    int64_t timeout_ms;
    unsigned max_attempts;
    const char *const *tags; /* not NULL: the job's tags from now on, tag_count of them */
    size_t tag_count;
    int64_t retain_ms;                     /* < 0: the broker's default again */
    const struct jobmill_backoff *backoff; /* a kind of "": the default again */
};

/* Changes a job that does not run. JOBMILL_ERUNNING, JOBMILL_EFINISHED. */
JOBMILL_CHECK int jobmill_patch(struct jobmill *mill, const char *id,
                                const struct jobmill_patch_options *options,
                                struct jobmill_job **ret_job);

/* Why the job is where it is: {"id", "state", "reasons": [{"code", "message", …}], "jobs_before"}.
 * The caller frees the value. */
JOBMILL_CHECK int jobmill_explain(struct jobmill *mill, const char *id,
                                  struct jobmill_value **ret_value);

/* The bare result. JOBMILL_ENOTFINISHED, JOBMILL_ENORESULT. The caller frees the value. */
JOBMILL_CHECK int jobmill_result(struct jobmill *mill, const char *id,
                                 struct jobmill_value **ret_value);

struct jobmill_list_options {
    size_t size;
    const char *state; /* a state's name; NULL: any; likewise the next two */
    const char *queue;
    const char *task;
    const char *cursor; /* of the page before; NULL: the newest jobs */
    unsigned limit;     /* 0: the broker's default (50) */
    /* Here the first version ends; NULL is any in what follows, too. */
    const char *tag;
    const char *limit_key;
    const char *worker;         /* a worker host's id */
    const char *error;          /* an error's code */
    const char *created_after;  /* RFC 3339 */
    const char *created_before; /* likewise */
};

/* One page of jobs, newest first. `options` may be NULL. The caller frees the page. */
JOBMILL_CHECK int jobmill_list(struct jobmill *mill, const struct jobmill_list_options *options,
                               struct jobmill_page **ret_page);

/* Cancels, retries or deletes all jobs that the filter matches (at least one of its members is
 * needed; `cursor` and `limit` don't count): many requests, if they are many jobs. A job for which
 * it is not possible is matched and not changed. With `is_dry_run` nothing is. A failure on the way
 * leaves what was changed before it; the same call goes on from there. Either output may be NULL.
 * JOBMILL_ENOFILTER. */
JOBMILL_CHECK int jobmill_cancel_all(struct jobmill *mill,
                                     const struct jobmill_list_options *filter, int is_dry_run,
                                     uint64_t *ret_matched, uint64_t *ret_changed);
JOBMILL_CHECK int jobmill_retry_all(struct jobmill *mill, const struct jobmill_list_options *filter,
                                    int is_dry_run, uint64_t *ret_matched, uint64_t *ret_changed);
JOBMILL_CHECK int jobmill_delete_all(struct jobmill *mill,
                                     const struct jobmill_list_options *filter, int is_dry_run,
                                     uint64_t *ret_matched, uint64_t *ret_changed);

/* ---- many submits in one request ---- */

/* What the next two may return when they have waited for a moment and there is nothing yet: they
 * are called again, and answers that have come meanwhile are taken before. */
enum { JOBMILL_BATCH_LATER = -1000 };

/* Sets the next submission, whose members must live until the next call, and returns 1. Returns 0
 * when there are no more, JOBMILL_BATCH_LATER, or below 0 to give the batch up, which is
 * JOBMILL_EFATE then. */
typedef int (*jobmill_batch_next)(void *context, struct jobmill_submit_options *ret_options);

/* Writes at most `room` bytes of NDJSON, a submission a line, and returns how many; 0: the end;
 * JOBMILL_BATCH_LATER; else below 0 gives the batch up. */
typedef int64_t (*jobmill_batch_read)(void *context, char *bytes, size_t room);

/* What became of the item with this number, from 0 on; in order, while further items are asked for.
 * `answer` lives until the return. */
typedef void (*jobmill_batch_answer)(void *context, uint64_t index, struct jobmill_answer *answer);

struct jobmill_batch_options {
    size_t size;
    jobmill_batch_next next; /* either this */
    jobmill_batch_read read; /* or this */
    jobmill_batch_answer on_answer;
    void *context; /* for these three */
    int is_atomic; /* all or none */
};

/* Submits what `next` or `read` give, in one request and in bounded memory; the broker allows
 * 100,000 items. 0: it has judged each item, and *ret_refused (may be NULL) of them are not stored.
 * JOBMILL_EBATCHREFUSED: the batch is atomic and nothing is stored; the answers say why. If the
 * broker ends the batch before its end, that is the error of the last answer (JOBMILL_EBATCHSIZE:
 * it has too many items; JOBMILL_ESHUTDOWN), and that item and all behind it are not stored. Any
 * other error leaves open what became of the items without an answer, unless the batch is atomic:
 * then only JOBMILL_EFATE does. JOBMILL_EINVAL: an item of `next` cannot be sent; it ends the
 * batch. With idempotency keys a batch can be repeated. wait_ms has no effect. The callbacks must
 * not use the handle; request_timeout_ms is how long nothing may move. While one of them takes its
 * time, neither what it gave before nor an answer is seen to: a source that is slow does better to
 * return JOBMILL_BATCH_LATER. The broker ends a batch of which nothing comes for 30 s. */
JOBMILL_CHECK int jobmill_batch(struct jobmill *mill, const struct jobmill_batch_options *options,
                                uint64_t *ret_refused);

/* 0, or the error that the item met; its code word ("ok") and sentence (""). */
JOBMILL_API int jobmill_answer_error(const struct jobmill_answer *answer);
JOBMILL_API const char *jobmill_answer_error_code(const struct jobmill_answer *answer);
JOBMILL_API const char *jobmill_answer_error_text(const struct jobmill_answer *answer);

/* The job's id; NULL after an error. */
JOBMILL_API const char *jobmill_answer_id(const struct jobmill_answer *answer);

/* As of a job after jobmill_submit(): 1 if the job was there already, with the same unique key; 1
 * if the item's idempotency key was known and no second job was made; the id of the job that was
 * cancelled in favour of this one. Else 0, 0, NULL. */
JOBMILL_API int jobmill_answer_is_existing(const struct jobmill_answer *answer);
JOBMILL_API int jobmill_answer_is_replay(const struct jobmill_answer *answer);
JOBMILL_API const char *jobmill_answer_replaced(const struct jobmill_answer *answer);

/* The whole answer; borrowed. */
JOBMILL_API struct jobmill_value *jobmill_answer_value(struct jobmill_answer *answer);

/* ---- queues, workers, tasks: values as openapi.yaml tells; the caller frees them ---- */

/* {"queues": […]}, {"workers": […]}, {"tasks": […]}. */
JOBMILL_CHECK int jobmill_queues(struct jobmill *mill, struct jobmill_value **ret_value);
JOBMILL_CHECK int jobmill_workers(struct jobmill *mill, struct jobmill_value **ret_value);
JOBMILL_CHECK int jobmill_tasks(struct jobmill *mill, struct jobmill_value **ret_value);

/* One queue. JOBMILL_ENOQUEUE. */
JOBMILL_CHECK int jobmill_queue(struct jobmill *mill, const char *name,
                                struct jobmill_value **ret_value);

/* What is to be set; 0 (NULL) leaves a member as it is, and below 0 takes the limit or default
 * away, as a backoff whose kind is "" does. */
struct jobmill_queue_options {
    size_t size;
    int64_t rate_limit;     /* at most so many jobs begin */
    int64_t rate_period_ms; /* in this time, in which case both are needed */
    int64_t concurrency;    /* at most so many are out at once */
    int64_t key_rate_limit; /* the same for the jobs of each limit_key */
    int64_t key_rate_period_ms;
    int64_t key_concurrency;
    int64_t max_queued;       /* a submit to a queue that holds so many is JOBMILL_EQUEUEFULL */
    int64_t retain_ms;        /* how long jobs are kept that ended in any other way than */
    int64_t retain_failed_ms; /* by failing */
    int64_t priority;         /* of jobs that say nothing of it themselves; likewise below */
    int64_t max_attempts;
    int64_t timeout_ms;
    int64_t grace_ms;
    const struct jobmill_backoff *backoff;
};

/* Sets limits and defaults of a queue, which need not be there; they outlast the broker's restart.
 * The value is the queue. */
JOBMILL_CHECK int jobmill_queue_configure(struct jobmill *mill, const char *name,
                                          const struct jobmill_queue_options *options,
                                          struct jobmill_value **ret_value);

/* No job of a paused queue begins; those that run go on. The value is the queue. */
JOBMILL_CHECK int jobmill_queue_pause(struct jobmill *mill, const char *name,
                                      struct jobmill_value **ret_value);
JOBMILL_CHECK int jobmill_queue_resume(struct jobmill *mill, const char *name,
                                       struct jobmill_value **ret_value);

/* As for a queue. */
struct jobmill_task_options {
    size_t size;
    int64_t concurrency;
    int64_t max_attempts;
    int64_t timeout_ms;
    int64_t grace_ms;
    const struct jobmill_backoff *backoff;
};

/* Sets limits and defaults of a task. The value is the task. JOBMILL_ENOTASK. */
JOBMILL_CHECK int jobmill_task_configure(struct jobmill *mill, const char *name,
                                         const struct jobmill_task_options *options,
                                         struct jobmill_value **ret_value);

/* ---- what a job is; everything returned is borrowed from the job ---- */

enum jobmill_state {
    JOBMILL_UNKNOWN = 0, /* a state that this library does not know */
    JOBMILL_SCHEDULED = 1,
    JOBMILL_QUEUED = 2,
    JOBMILL_RUNNING = 3,
    JOBMILL_SUCCEEDED = 4,
    JOBMILL_FAILED = 5,
    JOBMILL_CANCELLED = 6,
    JOBMILL_EXPIRED = 7
};

JOBMILL_API void jobmill_job_free(struct jobmill_job *job); /* NULL: nothing */
JOBMILL_API const char *jobmill_job_id(const struct jobmill_job *job);
JOBMILL_API const char *jobmill_job_task(const struct jobmill_job *job);
JOBMILL_API const char *jobmill_job_queue(const struct jobmill_job *job);
JOBMILL_API enum jobmill_state jobmill_job_state(const struct jobmill_job *job);
/* "unknown" if a submit was answered with a job that is not kept any more. */
JOBMILL_API const char *jobmill_job_state_name(const struct jobmill_job *job);

/* 1 if the job succeeded, failed, was cancelled or expired; else 0. */
JOBMILL_API int jobmill_job_is_finished(const struct jobmill_job *job);

/* After jobmill_cancel(): "true" if nothing runs any more, "false" if a worker is still being told,
 * "unknown"; else NULL. */
JOBMILL_API const char *jobmill_job_stopped(const struct jobmill_job *job);

/* RFC 3339 in UTC; NULL: not (known) yet. */
JOBMILL_API const char *jobmill_job_created_at(const struct jobmill_job *job);
JOBMILL_API const char *jobmill_job_begun_at(const struct jobmill_job *job);
JOBMILL_API const char *jobmill_job_finished_at(const struct jobmill_job *job);
JOBMILL_API const char *jobmill_job_due_at(const struct jobmill_job *job);
JOBMILL_API const char *jobmill_job_expires_at(const struct jobmill_job *job);

JOBMILL_API const char *jobmill_job_limit_key(const struct jobmill_job *job); /* NULL: none */

/* After jobmill_submit(): 1 if this is an earlier job, with the same unique key or by a repeat of
 * the submit with the same idempotency key; the id of the job that was cancelled in favour of this
 * one; a sentence about what may be wrong ("no worker serves this task yet"). Else 0, NULL. */
JOBMILL_API int jobmill_job_is_existing(const struct jobmill_job *job);
JOBMILL_API int jobmill_job_is_replay(const struct jobmill_job *job);
JOBMILL_API const char *jobmill_job_replaced(const struct jobmill_job *job);
JOBMILL_API const char *jobmill_job_warning(const struct jobmill_job *job);

/* −1: not known (yet). run_us: how long the last attempt ran. */
JOBMILL_API int64_t jobmill_job_priority(const struct jobmill_job *job);
JOBMILL_API int64_t jobmill_job_attempt(const struct jobmill_job *job);
JOBMILL_API int64_t jobmill_job_max_attempts(const struct jobmill_job *job);
JOBMILL_API int64_t jobmill_job_run_us(const struct jobmill_job *job);

/* Why the job failed; NULL if it did not. task_code: the task's own word for it, NULL if the error
 * code says it all. */
JOBMILL_API const char *jobmill_job_error_code(const struct jobmill_job *job);
JOBMILL_API const char *jobmill_job_error_message(const struct jobmill_job *job);
JOBMILL_API const char *jobmill_job_task_code(const struct jobmill_job *job);

/* How far a running job says it is: so much done of so much; −1: it has not said. The message may
 * be NULL. */
JOBMILL_API double jobmill_job_progress_done(const struct jobmill_job *job);
JOBMILL_API double jobmill_job_progress_total(const struct jobmill_job *job);
JOBMILL_API const char *jobmill_job_progress_message(const struct jobmill_job *job);

/* The attempts that have ended, the first first; jobs of a list don't show theirs. Texts are NULL
 * and numbers −1 where nothing is known. */
JOBMILL_API size_t jobmill_job_history_count(const struct jobmill_job *job);
JOBMILL_API const struct jobmill_attempt *jobmill_job_history(const struct jobmill_job *job,
                                                              size_t index);
JOBMILL_API int64_t jobmill_attempt_number(const struct jobmill_attempt *attempt);
JOBMILL_API const char *jobmill_attempt_outcome(const struct jobmill_attempt *attempt);
JOBMILL_API const char *jobmill_attempt_worker(const struct jobmill_attempt *attempt);
JOBMILL_API const char *jobmill_attempt_begun_at(const struct jobmill_attempt *attempt);
JOBMILL_API const char *jobmill_attempt_ended_at(const struct jobmill_attempt *attempt);
JOBMILL_API int64_t jobmill_attempt_run_us(const struct jobmill_attempt *attempt);
JOBMILL_API const char *jobmill_attempt_error_code(const struct jobmill_attempt *attempt);
JOBMILL_API const char *jobmill_attempt_error_message(const struct jobmill_attempt *attempt);
JOBMILL_API const char *jobmill_attempt_task_code(const struct jobmill_attempt *attempt);

/* NULL: it has none. */
JOBMILL_API struct jobmill_value *jobmill_job_args(struct jobmill_job *job);
JOBMILL_API struct jobmill_value *jobmill_job_result(struct jobmill_job *job);

/* The whole job, with members that this library has no function for. */
JOBMILL_API struct jobmill_value *jobmill_job_value(struct jobmill_job *job);

/* ---- a page of jobs; what is returned is borrowed from the page ---- */

JOBMILL_API void jobmill_page_free(struct jobmill_page *page); /* NULL: nothing */
JOBMILL_API size_t jobmill_page_count(const struct jobmill_page *page);
JOBMILL_API struct jobmill_job *jobmill_page_job(struct jobmill_page *page, size_t index);

/* NULL: this is the last page. */
JOBMILL_API const char *jobmill_page_next_cursor(const struct jobmill_page *page);

/* The whole answer: {"jobs": […], "next_cursor": …}. */
JOBMILL_API struct jobmill_value *jobmill_page_value(struct jobmill_page *page);

/* ---- values ---- */

JOBMILL_API void jobmill_value_free(struct jobmill_value *value); /* NULL: nothing */

/* The msgpack bytes (exact; one value), borrowed. */
JOBMILL_API const void *jobmill_value_msgpack(const struct jobmill_value *value, size_t *ret_bytes);

/* As JSON text, made at the first call and borrowed from the value. Binary values become base64.
 * NULL for NULL, or if memory is short. */
JOBMILL_API const char *jobmill_value_json(struct jobmill_value *value);

#ifdef __cplusplus
}
#endif

#endif
