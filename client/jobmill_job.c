/*
 * A job keeps the bytes of the answer and, out of it, the members that there are functions for.
 * Members that are not in the tables stay in the bytes.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "client/jobmill_attempt.h"
#include "client/jobmill_job.h"
#include "client/jobmill_value.h"
#include "client/record.h"
#include "lib/mp.h"
#include "schema/errors.h"

struct jobmill_job {
    struct jobmill_value *whole;
    struct jobmill_value *args;
    struct jobmill_value *result;
    char *id;
    char *task;
    char *queue;
    char *state_name;
    char *stopped;
    char *created_at;
    char *begun_at;
    char *finished_at;
    char *due_at;
    char *expires_at;
    char *limit_key;
    char *replaced;
    char *warning;
    char *error_code;
    char *error_message;
    char *task_code;
    char *progress_message;
    double progress_done;
    double progress_total;
    int64_t priority;
    int64_t attempt;
    int64_t max_attempts;
    int64_t run_us;
    int is_existing;
    int is_replay;
    struct span attempts; /* their bytes, before they are read */
    struct jobmill_attempt *history;
    size_t history_count;
};

#define MEMBER(name, kind, field)                             \
    {                                                         \
        name, kind, offsetof(struct jobmill_job, field), NULL \
    }

static const struct record_member error_members[] = {
    MEMBER("code", RECORD_TEXT, error_code),
    MEMBER("message", RECORD_TEXT, error_message),
    MEMBER("task_code", RECORD_TEXT, task_code),
    {0},
};

static const struct record_member progress_members[] = {
    MEMBER("done", RECORD_REAL, progress_done),
    MEMBER("total", RECORD_REAL, progress_total),
    MEMBER("message", RECORD_TEXT, progress_message),
    {0},
};

static const struct record_member job_members[] = {
    MEMBER("id", RECORD_TEXT, id),
    MEMBER("task", RECORD_TEXT, task),
    MEMBER("queue", RECORD_TEXT, queue),
    MEMBER("state", RECORD_TEXT, state_name),
    MEMBER("stopped", RECORD_TEXT, stopped),
    MEMBER("created_at", RECORD_TEXT, created_at),
    MEMBER("begun_at", RECORD_TEXT, begun_at),
    MEMBER("finished_at", RECORD_TEXT, finished_at),
    MEMBER("due_at", RECORD_TEXT, due_at),
    MEMBER("expires_at", RECORD_TEXT, expires_at),
    MEMBER("limit_key", RECORD_TEXT, limit_key),
    MEMBER("replaced", RECORD_TEXT, replaced),
    MEMBER("is_existing", RECORD_FLAG, is_existing),
    MEMBER("priority", RECORD_NUMBER, priority),
    MEMBER("attempt", RECORD_NUMBER, attempt),
    MEMBER("max_attempts", RECORD_NUMBER, max_attempts),
    MEMBER("run_us", RECORD_NUMBER, run_us),
    MEMBER("args", RECORD_VALUE, args),
    MEMBER("result", RECORD_VALUE, result),
    MEMBER("attempts", RECORD_BYTES, attempts),
    {"error", RECORD_MAP, 0, error_members},
    {"progress", RECORD_MAP, 0, progress_members},
    {0},
};

static const struct {
    const char *name;
    enum jobmill_state state;
} states[] = {
    {"scheduled", JOBMILL_SCHEDULED}, {"queued", JOBMILL_QUEUED}, {"running", JOBMILL_RUNNING},
    {"succeeded", JOBMILL_SUCCEEDED}, {"failed", JOBMILL_FAILED}, {"cancelled", JOBMILL_CANCELLED},
    {"expired", JOBMILL_EXPIRED},
};

/* ---- reading ---- */

static int read_history(struct jobmill_job *job)
{
    struct mp_cursor c;
    uint32_t count;
    int error = 0;

    mp_open(&c, job->attempts);
    if (!mp_next_array(&c, &count) || count > job->attempts.len)
        return 0;
    job->history = calloc((size_t)count + 1, sizeof(*job->history));
    if (job->history == NULL)
        return JM_ENOMEM;
    while (job->history_count < count && error == 0) {
        struct span bytes;

        if (!mp_skip(&c, JOBMILL_VALUE_DEPTH, &bytes))
            return JM_EANSWER;
        error = jobmill_attempt_parse(bytes, &job->history[job->history_count++]);
    }
    return error;
}

int jobmill_job_parse(struct span msgpack, void *owned, struct jobmill_job **ret_job)
{
    struct jobmill_job *job = calloc(1, sizeof(*job));
    int error = JM_ENOMEM;

    if (job == NULL)
        return JM_ENOMEM;
    job->attempt = job->max_attempts = job->run_us = job->priority = -1;
    job->progress_done = job->progress_total = -1;
    job->whole = jobmill_value_new(msgpack, NULL);
    if (job->whole == NULL)
        goto fail;
    error = record_read(job, msgpack, job_members);
    if (error == 0)
        error = read_history(job);
    if (error != 0)
        goto fail;
    error = JM_EANSWER;
    if (job->id == NULL || job->task == NULL || job->queue == NULL)
        goto fail;
    job->whole->owned = owned;
    *ret_job = job;
    return 0;
fail:
    jobmill_job_free(job);
    return error;
}

void jobmill_job_free(struct jobmill_job *job)
{
    if (job == NULL)
        return;
    for (size_t i = 0; i < job->history_count; i++)
        jobmill_attempt_done(&job->history[i]);
    free(job->history);
    record_done(job, job_members);
    free(job->warning);
    jobmill_value_free(job->whole);
    free(job);
}

static int note(char **slot, const char *text)
{
    if (*text == '\0')
        return 0;
    free(*slot);
    *slot = strdup(text);
    return *slot == NULL ? JM_ENOMEM : 0;
}

int jobmill_job_note_submit(struct jobmill_job *job, const char *replaced, const char *warning,
                            const char *replayed)
{
    int error = note(&job->replaced, replaced);

    job->is_replay = strcmp(replayed, "true") == 0;
    return error != 0 ? error : note(&job->warning, warning);
}

static void move(char **from, char **to)
{
    free(*to);
    *to = *from;
    *from = NULL;
}

void jobmill_job_move_submit(struct jobmill_job *from, struct jobmill_job *to)
{
    to->is_existing = from->is_existing;
    to->is_replay = from->is_replay;
    move(&from->replaced, &to->replaced);
    move(&from->warning, &to->warning);
}

/* ---- asking ---- */

const char *jobmill_job_id(const struct jobmill_job *job)
{
    return job->id;
}

const char *jobmill_job_task(const struct jobmill_job *job)
{
    return job->task;
}

const char *jobmill_job_queue(const struct jobmill_job *job)
{
    return job->queue;
}

const char *jobmill_job_state_name(const struct jobmill_job *job)
{
    return job->state_name != NULL ? job->state_name : "unknown";
}

enum jobmill_state jobmill_job_state(const struct jobmill_job *job)
{
    for (size_t i = 0; i < JM_COUNT_OF(states); i++)
        if (strcmp(jobmill_job_state_name(job), states[i].name) == 0)
            return states[i].state;
    return JOBMILL_UNKNOWN;
}

int jobmill_job_is_finished(const struct jobmill_job *job)
{
    switch (jobmill_job_state(job)) {
    case JOBMILL_SUCCEEDED:
    case JOBMILL_FAILED:
    case JOBMILL_CANCELLED:
    case JOBMILL_EXPIRED:
        return 1;
    case JOBMILL_UNKNOWN:
    case JOBMILL_SCHEDULED:
    case JOBMILL_QUEUED:
    case JOBMILL_RUNNING:
        return 0;
    }
    return 0;
}

const char *jobmill_job_stopped(const struct jobmill_job *job)
{
    return job->stopped;
}

const char *jobmill_job_created_at(const struct jobmill_job *job)
{
    return job->created_at;
}

const char *jobmill_job_begun_at(const struct jobmill_job *job)
{
    return job->begun_at;
}

const char *jobmill_job_finished_at(const struct jobmill_job *job)
{
    return job->finished_at;
}

const char *jobmill_job_due_at(const struct jobmill_job *job)
{
    return job->due_at;
}

const char *jobmill_job_expires_at(const struct jobmill_job *job)
{
    return job->expires_at;
}

const char *jobmill_job_limit_key(const struct jobmill_job *job)
{
    return job->limit_key;
}

const char *jobmill_job_replaced(const struct jobmill_job *job)
{
    return job->replaced;
}

int jobmill_job_is_existing(const struct jobmill_job *job)
{
    return job->is_existing;
}

int jobmill_job_is_replay(const struct jobmill_job *job)
{
    return job->is_replay;
}

const char *jobmill_job_warning(const struct jobmill_job *job)
{
    return job->warning;
}

int64_t jobmill_job_priority(const struct jobmill_job *job)
{
    return job->priority;
}

int64_t jobmill_job_attempt(const struct jobmill_job *job)
{
    return job->attempt;
}

int64_t jobmill_job_max_attempts(const struct jobmill_job *job)
{
    return job->max_attempts;
}

int64_t jobmill_job_run_us(const struct jobmill_job *job)
{
    return job->run_us;
}

const char *jobmill_job_error_code(const struct jobmill_job *job)
{
    return job->error_code;
}

const char *jobmill_job_error_message(const struct jobmill_job *job)
{
    return job->error_message;
}

const char *jobmill_job_task_code(const struct jobmill_job *job)
{
    return job->task_code;
}

double jobmill_job_progress_done(const struct jobmill_job *job)
{
    return job->progress_done;
}

double jobmill_job_progress_total(const struct jobmill_job *job)
{
    return job->progress_total;
}

const char *jobmill_job_progress_message(const struct jobmill_job *job)
{
    return job->progress_message;
}

size_t jobmill_job_history_count(const struct jobmill_job *job)
{
    return job->history_count;
}

const struct jobmill_attempt *jobmill_job_history(const struct jobmill_job *job, size_t index)
{
    return index < job->history_count ? &job->history[index] : NULL;
}

struct jobmill_value *jobmill_job_args(struct jobmill_job *job)
{
    return job->args;
}

struct jobmill_value *jobmill_job_result(struct jobmill_job *job)
{
    return job->result;
}

struct jobmill_value *jobmill_job_value(struct jobmill_job *job)
{
    return job->whole;
}
