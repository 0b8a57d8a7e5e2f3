/*
 * batch_atomic.h: a batch that is stored as a whole or not at all (?atomic=true). Its items are
 * read and checked as they come and wait in a spool (spool.h), so that a slow sender holds nothing
 * up; when the last one is there, all are stored in one commit (core_batch.h), and one answer tells
 * what has become of each. The first bad item decides the end: what follows is checked and not
 * kept. Loop thread only.
 */
#ifndef BROKER_BATCH_ATOMIC_H
#define BROKER_BATCH_ATOMIC_H

#include <stdbool.h>

#include "broker/batch.h"

/* Makes b->atomic. False: no memory, or no file. */
bool batch_atomic_open(struct batch *b) JM_MUST_CHECK;

/* Frees it, if there is one. */
void batch_atomic_close(struct batch *b);

/* Whether it can take an item now. */
bool batch_atomic_has_room(const struct batch *b);

/* The next item is good, as far as can be seen now; or it is not. */
void batch_atomic_take(struct batch *b, struct batch_item *item);
void batch_atomic_refuse(struct batch *b, const struct fault *f);

/* Goes on: more of the body, or the commit, or the answer. `b` may be gone afterwards. */
void batch_atomic_step(struct batch *b);

#endif
