/*
 * jobmill_answer.h: what the broker says of one item of a batch. Internal to libjobmill.
 */
#ifndef CLIENT_JOBMILL_ANSWER_H
#define CLIENT_JOBMILL_ANSWER_H

#include "client/jobmill.h"
#include "client/jobmill_error.h"
#include "client/jobmill_value.h"
#include "lib/attr.h"
#include "lib/span.h"

struct jobmill_answer {
    struct jobmill_value value;
    struct jobmill_failure failure;
    char *id;
    char *replaced;
    int is_existing;
    int is_replay;
    struct span error; /* its bytes; empty: none */
};

/* Reads {"id", …} or {"error": {…}} from bytes that outlive the answer. It is to be ended with
 * jobmill_answer_done in any case. JM_EANSWER: it is neither. JM_ENOMEM. */
int jobmill_answer_parse(struct span msgpack, struct jobmill_answer *ret_answer) JM_MUST_CHECK;
void jobmill_answer_done(struct jobmill_answer *answer);

#endif
