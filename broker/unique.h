/*
 * unique.h: what makes a job unique, from what a client has said of it to the digest that the store
 * compares. Pure, apart from the digest.
 */
#ifndef BROKER_UNIQUE_H
#define BROKER_UNIQUE_H

#include "broker/digest.h"
#include "broker/fault.h"
#include "broker/store.h"
#include "lib/attr.h"

/* The fields of job_fields_unique (job_fields.h). */
struct unique_asked {
    struct span key;      /* or empty: it is made of task, queue and arguments */
    struct span args;     /* a msgpack array of str, the arguments that count; empty: all */
    uint32_t how;         /* enum unique_while */
    uint64_t period_ms;   /* 0: not said */
    uint32_t on_conflict; /* enum unique_conflict */
};

/* What is not said: while unfinished, and the existing job is the answer. */
extern const struct unique_asked unique_usual;

/* Two jobs have the same digest if they have the same key; or, without one, the same task, queue
 * and arguments, whose order does not matter. One with a key never has that of one without, nor one
 * that chooses arguments that of one that does not. Returns 0, JM_EFIELD or JM_EMISSING. */
int unique_read(const struct unique_asked *asked, const struct job_spec *spec,
                struct digest *digest, struct store_unique *ret_unique,
                struct fault *ret_fault) JM_MUST_CHECK;

#endif
