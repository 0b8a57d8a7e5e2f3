/*
 * jobmill_call.h: what a handle is, and one call on it: a request goes out, and whatever comes back
 * is made one msgpack value, or a failure that the handle remembers. Internal to libjobmill.
 *
 * All return 0 or a public error. Each uses up `target` (path and query), on failure too.
 */
#ifndef CLIENT_JOBMILL_CALL_H
#define CLIENT_JOBMILL_CALL_H

#include "client/jobmill.h"
#include "client/jobmill_error.h"
#include "client/transport.h"
#include "lib/attr.h"
#include "lib/buf.h"

struct jobmill {
    struct transport transport;
    struct jobmill_failure failure;
};

/* `more` holds the members of the request besides method and target, and may be NULL. On success
 * the caller ends the answer with transport_answer_done; its body is empty (204) or one msgpack
 * value. */
int jobmill_call(struct jobmill *mill, const char *method, struct buf *target,
                 const struct transport_request *more,
                 struct transport_answer *ret_answer) JM_MUST_CHECK;

int jobmill_call_for_job(struct jobmill *mill, const char *method, struct buf *target,
                         const struct transport_request *more,
                         struct jobmill_job **ret_job) JM_MUST_CHECK;

int jobmill_call_for_value(struct jobmill *mill, const char *method, struct buf *target,
                           const struct transport_request *more,
                           struct jobmill_value **ret_value) JM_MUST_CHECK;

/* Remembers that options_copy failed; returns the public error. */
int jobmill_call_refuse_newer(struct jobmill *mill);

#endif
