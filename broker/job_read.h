/*
 * job_read.h: one map that a client has sent, a job to submit, becomes what the store is asked for.
 * The body of POST /v1/jobs and each item of a batch are read by the same table (job_fields.def).
 * Pure, apart from the digest.
 */
#ifndef BROKER_JOB_READ_H
#define BROKER_JOB_READ_H

#include "broker/digest.h"
#include "broker/fault.h"
#include "broker/store.h"
#include "lib/attr.h"
#include "lib/span.h"

/* Fills in spec, key and fingerprint of `ret_op`, and nothing else of it. `body` is one msgpack
 * value that json.h's rules have passed; the spans borrow from it. `key` is the request's
 * Idempotency-Key, passed by job_read_check_key, or empty. Returns 0, or JM_E… with `ret_fault`. */
int job_read(struct span body, struct span key, struct digest *digest, struct store_submit *ret_op,
             struct fault *ret_fault) JM_MUST_CHECK;

/* The same of an item of a batch, which may have its key in a field `idempotency_key`. */
int job_read_item(struct span body, struct digest *digest, struct store_submit *ret_op,
                  struct fault *ret_fault) JM_MUST_CHECK;

/* Whether an idempotency key is good; else `error` with `ret_fault`, told of `field`. */
int job_read_check_key(struct span key, int error, const char *field,
                       struct fault *ret_fault) JM_MUST_CHECK;

#endif
