#include "client/jobmill_attempt.h"
#include "client/record.h"

static const struct record_member error_members[] = {
    {"code", RECORD_TEXT, offsetof(struct jobmill_attempt, error_code), NULL},
    {"message", RECORD_TEXT, offsetof(struct jobmill_attempt, error_message), NULL},
    {"task_code", RECORD_TEXT, offsetof(struct jobmill_attempt, task_code), NULL},
    {0},
};

static const struct record_member members[] = {
    {"attempt", RECORD_NUMBER, offsetof(struct jobmill_attempt, number), NULL},
    {"run_us", RECORD_NUMBER, offsetof(struct jobmill_attempt, run_us), NULL},
    {"outcome", RECORD_TEXT, offsetof(struct jobmill_attempt, outcome), NULL},
    {"worker", RECORD_TEXT, offsetof(struct jobmill_attempt, worker), NULL},
    {"begun_at", RECORD_TEXT, offsetof(struct jobmill_attempt, begun_at), NULL},
    {"ended_at", RECORD_TEXT, offsetof(struct jobmill_attempt, ended_at), NULL},
    {"error", RECORD_MAP, 0, error_members},
    {0},
};

int jobmill_attempt_parse(struct span msgpack, struct jobmill_attempt *ret_attempt)
{
    *ret_attempt = (struct jobmill_attempt){.number = -1, .run_us = -1};
    return record_read(ret_attempt, msgpack, members);
}

void jobmill_attempt_done(struct jobmill_attempt *attempt)
{
    record_done(attempt, members);
}

int64_t jobmill_attempt_number(const struct jobmill_attempt *attempt)
{
    return attempt->number;
}

const char *jobmill_attempt_outcome(const struct jobmill_attempt *attempt)
{
    return attempt->outcome;
}

const char *jobmill_attempt_worker(const struct jobmill_attempt *attempt)
{
    return attempt->worker;
}

const char *jobmill_attempt_begun_at(const struct jobmill_attempt *attempt)
{
    return attempt->begun_at;
}

const char *jobmill_attempt_ended_at(const struct jobmill_attempt *attempt)
{
    return attempt->ended_at;
}

int64_t jobmill_attempt_run_us(const struct jobmill_attempt *attempt)
{
    return attempt->run_us;
}

const char *jobmill_attempt_error_code(const struct jobmill_attempt *attempt)
{
    return attempt->error_code;
}

const char *jobmill_attempt_error_message(const struct jobmill_attempt *attempt)
{
    return attempt->error_message;
}

const char *jobmill_attempt_task_code(const struct jobmill_attempt *attempt)
{
    return attempt->task_code;
}
