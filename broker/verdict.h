/*
 * verdict.h: what an event does to a job: the policy of attempts, retries and limits, as a pure
 * function over a few numbers. store_apply.c writes down what it says.
 */
#ifndef BROKER_VERDICT_H
#define BROKER_VERDICT_H

#include "broker/store.h"

/* What has to be known of a live job. */
struct verdict_job {
    enum job_state state;
    uint32_t attempt;
    uint32_t max_attempts;
    uint32_t failures;
    uint32_t crashes;
    uint32_t deaths;
    /* Every attempt from this one to attempt - 1 was given up as lost; 0: the last one was not. */
    uint32_t lost_from;
};

struct verdict {
    enum store_outcome outcome; /* unless it is STORE_APPLIED, nothing below counts */
    enum job_event event;
    struct verdict_job after;
    uint32_t ended_attempt; /* the attempt that the event is about, if it ends one; or 0 */
    bool supersedes;        /* that is an older one than the current */
    int64_t wait_ms;        /* with JOB_SCHEDULED */
    int error;              /* JM_E… that tells how the attempt ended badly; 0: it did not */
};

/* Whether the verdict depends on the job's backoff: after failures and crashes, which are rare. */
bool verdict_needs_backoff(const struct store_event *event);

/* `backoff` is the job's own, or BACKOFF_DEFAULT. */
void verdict_of(const struct verdict_job *job, const struct backoff *backoff,
                const struct store_event *event, struct verdict *ret_verdict);

/* A word for the event in the record of an attempt: those of the wire, or "lost". Static. */
const char *verdict_word(const struct store_event *event);

#endif
