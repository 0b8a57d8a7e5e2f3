/*
 * strangers.h: fields of the hash of heartbeats that no worker host can have written. They would be
 * read again at every poll, however many and large they are, so they are removed: one by one if
 * they are few, else with the whole hash, into which every host writes anew within a second.
 *
 *     struct strangers *found = NULL;
 *     for each such field: strangers_add(&found, name);
 *     strangers_remove(found, carrier);
 *
 * Loop thread only.
 */
#ifndef BROKER_STRANGERS_H
#define BROKER_STRANGERS_H

#include "broker/carrier.h"

struct strangers;

/* Copies the name. What there is no memory for is met again at the next poll. */
void strangers_add(struct strangers **found, struct span name);

/* Takes `found`; NULL: nothing to do. */
void strangers_remove(struct strangers *found, struct carrier *carrier);

#endif
