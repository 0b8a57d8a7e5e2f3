/*
 * job_change.h: the body of PATCH /v1/jobs/{id} becomes what the store is asked to change. Pure.
 */
#ifndef BROKER_JOB_CHANGE_H
#define BROKER_JOB_CHANGE_H

#include "broker/fault.h"
#include "broker/store.h"
#include "lib/attr.h"
#include "lib/span.h"

/* Fills in `what` and what that names, and nothing else of `ret_change`. `body` is one msgpack
 * value that json.h's rules have passed; the spans borrow from it. `now_ms` is the wall clock.
 * Returns 0, or JM_E… with `ret_fault`. */
int job_change_read(struct span body, int64_t now_ms, struct store_change *ret_change,
                    struct fault *ret_fault) JM_MUST_CHECK;

#endif
