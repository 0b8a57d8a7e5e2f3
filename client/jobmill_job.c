/*
 * A job keeps the bytes of the answer and, out of it, the members that there are functions for: one
 * table says which, and where each goes. Members that are not in the table stay in the bytes.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "client/jobmill_job.h"
#include "client/jobmill_value.h"
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
    char *error_code;
    char *error_message;
    int64_t attempt;
    int64_t max_attempts;
    int64_t run_us;
};

enum kind { TEXT, NUMBER, VALUE, ERROR_MAP };

struct member {
    const char *name;
    enum kind kind;
    size_t offset;
};

static const struct member job_members[] = {
    {"id", TEXT, offsetof(struct jobmill_job, id)},
    {"task", TEXT, offsetof(struct jobmill_job, task)},
    {"queue", TEXT, offsetof(struct jobmill_job, queue)},
    {"state", TEXT, offsetof(struct jobmill_job, state_name)},
    {"stopped", TEXT, offsetof(struct jobmill_job, stopped)},
    {"created_at", TEXT, offsetof(struct jobmill_job, created_at)},
    {"begun_at", TEXT, offsetof(struct jobmill_job, begun_at)},
    {"finished_at", TEXT, offsetof(struct jobmill_job, finished_at)},
    {"attempt", NUMBER, offsetof(struct jobmill_job, attempt)},
    {"max_attempts", NUMBER, offsetof(struct jobmill_job, max_attempts)},
    {"run_us", NUMBER, offsetof(struct jobmill_job, run_us)},
    {"args", VALUE, offsetof(struct jobmill_job, args)},
    {"result", VALUE, offsetof(struct jobmill_job, result)},
    {"error", ERROR_MAP, 0},
};

static const struct member error_members[] = {
    {"code", TEXT, offsetof(struct jobmill_job, error_code)},
    {"message", TEXT, offsetof(struct jobmill_job, error_message)},
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

/* Text as it is, a bool as its word (`stopped` is either); null and other types are left out. */
static int set_text(struct span value, char **slot)
{
    struct mp_cursor c;
    struct mp_token token;
    char *copy;

    mp_open(&c, value);
    if (!mp_next(&c, &token) || (token.type != MP_STR && token.type != MP_BOOL))
        return 0;
    if (token.type == MP_BOOL)
        token.bytes = span_of_str(token.boolean ? "true" : "false");
    copy = strndup((const char *)token.bytes.data, token.bytes.len);
    if (copy == NULL)
        return JM_ENOMEM;
    free(*slot);
    *slot = copy;
    return 0;
}

static int set_number(struct span value, int64_t *slot)
{
    struct mp_cursor c;
    uint64_t number;

    mp_open(&c, value);
    if (mp_next_uint(&c, INT64_MAX, &number))
        *slot = (int64_t)number;
    return 0;
}

static int set_value(struct span bytes, struct jobmill_value **slot)
{
    struct jobmill_value *value = jobmill_value_new(bytes, NULL);

    if (value == NULL)
        return JM_ENOMEM;
    jobmill_value_free(*slot);
    *slot = value;
    return 0;
}

static int read_members(struct jobmill_job *job, struct span map, const struct member *table,
                        size_t rows);

static int set_member(struct jobmill_job *job, const struct member *m, struct span value)
{
    void *slot = (char *)job + m->offset;

    switch (m->kind) {
    case TEXT:
        return set_text(value, slot);
    case NUMBER:
        return set_number(value, slot);
    case VALUE:
        return set_value(value, slot);
    case ERROR_MAP:
        return value.len == 1 ? 0 /* null */
                              : read_members(job, value, error_members, JM_COUNT_OF(error_members));
    }
    return 0;
}

static int read_members(struct jobmill_job *job, struct span map, const struct member *table,
                        size_t rows)
{
    struct mp_cursor c;
    uint32_t count;
    int error = 0;

    mp_open(&c, map);
    if (!mp_next_map(&c, &count))
        return JM_EANSWER;
    for (; count > 0 && error == 0; count--) {
        struct span name, value;

        if (!mp_next_str(&c, &name) || !mp_skip(&c, JOBMILL_VALUE_DEPTH, &value))
            return JM_EANSWER;
        for (size_t i = 0; i < rows && error == 0; i++)
            if (span_is_str(name, table[i].name))
                error = set_member(job, &table[i], value);
    }
    return error;
}

int jobmill_job_parse(struct span msgpack, void *owned, struct jobmill_job **ret_job)
{
    struct jobmill_job *job = calloc(1, sizeof(*job));
    int error = JM_ENOMEM;

    if (job == NULL)
        return JM_ENOMEM;
    job->attempt = job->max_attempts = job->run_us = -1;
    job->whole = jobmill_value_new(msgpack, NULL);
    if (job->whole == NULL)
        goto fail;
    error = read_members(job, msgpack, job_members, JM_COUNT_OF(job_members));
    if (error != 0)
        goto fail;
    error = JM_EANSWER;
    if (job->id == NULL || job->task == NULL || job->queue == NULL || job->state_name == NULL)
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
    for (size_t i = 0; i < JM_COUNT_OF(job_members); i++)
        if (job_members[i].kind == TEXT)
            free(*(char **)(void *)((char *)job + job_members[i].offset));
    free(job->error_code);
    free(job->error_message);
    jobmill_value_free(job->args);
    jobmill_value_free(job->result);
    jobmill_value_free(job->whole);
    free(job);
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
    return job->state_name;
}

enum jobmill_state jobmill_job_state(const struct jobmill_job *job)
{
    for (size_t i = 0; i < JM_COUNT_OF(states); i++)
        if (strcmp(job->state_name, states[i].name) == 0)
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
