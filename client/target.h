/*
 * target.h: the targets of requests: a path, and a query of encoded parameters. Internal to
 * libjobmill; pure functions. Whoever makes a target ends it with buf_done, or gives it to
 * jobmill_call, which uses it up.
 */
#ifndef CLIENT_TARGET_H
#define CLIENT_TARGET_H

#include <stdint.h>

#include "lib/buf.h"

/* Begins with `path`, which needs no encoding. */
void target_init(struct buf *target, const char *path);

/* Appends `text` with everything but RFC 3986's unreserved characters percent-encoded. */
void target_put_encoded(struct buf *target, const char *text);

/* Appends "name=value" behind '?' or '&'. NULL, 0 and a wait that is over append nothing. */
void target_put_text(struct buf *target, const char *name, const char *value);
void target_put_number(struct buf *target, const char *name, uint64_t number);
void target_put_wait(struct buf *target, int64_t wait_ms);

#endif
