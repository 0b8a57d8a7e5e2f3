/*
 * evidence.h: what is kept of a bad end, as the msgpack map that a client sees as `error`: code,
 * message and, as far as they are known, task_code, signal, exit_status, stderr, user_us,
 * system_us, maxrss_bytes. Pure.
 */
#ifndef BROKER_EVIDENCE_H
#define BROKER_EVIDENCE_H

#include "broker/store.h"

/* Appends the map for an end with `error` (JM_E…). Without a message of its own it gets the error's
 * title. The code of a failed task is its task_code, if it is none of ours. Texts are cut to their
 * limits and made valid UTF-8. */
void evidence_encode(struct buf *out, int error, const struct wire_event *event);

/* The text of one member of such a map, for instance its code; empty if it is not there. */
struct span evidence_text(struct span evidence, const char *member);

#endif
