/*
 * submission.h: the body of a submit as msgpack, and the targets of requests. Internal to
 * libjobmill; pure functions.
 */
#ifndef CLIENT_SUBMISSION_H
#define CLIENT_SUBMISSION_H

#include <stdint.h>

#include "client/jobmill.h"
#include "client/jobmill_error.h"
#include "lib/attr.h"
#include "lib/buf.h"

/* Appends the body that `options` (of this version, no more unread members) describe. Returns 0 or
 * a public error, which is then remembered in `failure`. */
int submission_encode(const struct jobmill_submit_options *options, struct buf *ret_body,
                      struct jobmill_failure *failure) JM_MUST_CHECK;

/* Appends `text` with everything but RFC 3986's unreserved characters percent-encoded. */
void submission_put_encoded(struct buf *ret_target, const char *text);

/* Appends "wait=S.mmm" after `separator`, if there is anything to wait. */
void submission_put_wait(struct buf *ret_target, char separator, int64_t wait_ms);

#endif
