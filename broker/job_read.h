/*
 * job_read.h: one map that a client has sent, a job to submit, becomes what the core is asked for.
 * The body of POST /v1/jobs and each item of a batch are read by the same table (job_fields.def).
 * Pure, apart from the digest and from what is set for queues and tasks.
 */
#ifndef BROKER_JOB_READ_H
#define BROKER_JOB_READ_H

#include "broker/conf.h"
#include "broker/core.h"
#include "broker/digest.h"
#include "broker/fault.h"
#include "lib/attr.h"
#include "lib/buf.h"
#include "lib/span.h"

#define JOB_KEY_FIELD "idempotency_key" /* of an item of a batch */

/* What a read needs beside the map. */
struct job_reader {
    struct digest *digest;
    int64_t now_ms; /* wall clock */
    void *owner;
    /* What a job of that task in that queue gets that does not say it itself: all members. */
    void (*get_defaults)(void *owner, struct span queue, struct span task,
                         struct conf_defaults *ret_defaults);
};

/* Fills in spec, key, fingerprint, unique, run_at_ms and delay_ms of `ret_submit`, and nothing else
 * of it. `body` is one msgpack value that json.h's rules have passed; the spans borrow from it, and
 * from `options`, which is cleared first and has to stay as it is until the submit is done (its
 * maximum: JOB_OPTIONS_BYTES). `key` is the request's Idempotency-Key, passed by
 * job_read_check_key, or empty. Returns 0, or JM_E… with `ret_fault`. */
int job_read(const struct job_reader *r, struct span body, struct span key, struct buf *options,
             struct core_submit *ret_submit, struct fault *ret_fault) JM_MUST_CHECK;

/* The same of an item of a batch, which may have its key in a field `idempotency_key`. */
int job_read_item(const struct job_reader *r, struct span body, struct buf *options,
                  struct core_submit *ret_submit, struct fault *ret_fault) JM_MUST_CHECK;

/* Whether an idempotency key is good; else `error` with `ret_fault`, told of `field`. */
int job_read_check_key(struct span key, int error, const char *field,
                       struct fault *ret_fault) JM_MUST_CHECK;

/* Why what was read well was refused all the same: `status` of core_submit or of its end. Returns
 * `status`. `key_field` is where its key was: a header field or a field. */
int job_read_tell_refusal(const struct core_submit *s, int status, const char *key_field,
                          struct fault *ret_fault);

#endif
