/*
 * submission.h: the body of a submit and of a patch as msgpack. Internal to libjobmill; pure
 * functions. Both return 0 or a public error, which is then remembered in `failure`.
 */
#ifndef CLIENT_SUBMISSION_H
#define CLIENT_SUBMISSION_H

#include "client/jobmill.h"
#include "client/jobmill_error.h"
#include "lib/attr.h"
#include "lib/buf.h"

/* Appends the body that `options` (of this version, no more unread members) describe; an item of a
 * batch holds its `item_key`, too (NULL: none), where a submit has a header. */
int submission_encode(const struct jobmill_submit_options *options, const char *item_key,
                      struct buf *ret_body, struct jobmill_failure *failure) JM_MUST_CHECK;

int submission_encode_patch(const struct jobmill_patch_options *options, struct buf *ret_body,
                            struct jobmill_failure *failure) JM_MUST_CHECK;

#endif
