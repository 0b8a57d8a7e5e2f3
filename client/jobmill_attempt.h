/*
 * jobmill_attempt.h: an attempt that has ended, as a job's history holds it. Internal to
 * libjobmill.
 */
#ifndef CLIENT_JOBMILL_ATTEMPT_H
#define CLIENT_JOBMILL_ATTEMPT_H

#include "client/jobmill.h"
#include "lib/attr.h"
#include "lib/span.h"

struct jobmill_attempt {
    int64_t number;
    int64_t run_us;
    char *outcome;
    char *worker;
    char *begun_at;
    char *ended_at;
    char *error_code;
    char *error_message;
    char *task_code;
};

/* Reads one; it is to be ended with jobmill_attempt_done in any case. JM_EANSWER, JM_ENOMEM. */
int jobmill_attempt_parse(struct span msgpack, struct jobmill_attempt *ret_attempt) JM_MUST_CHECK;
void jobmill_attempt_done(struct jobmill_attempt *attempt);

#endif
