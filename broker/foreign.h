/*
 * foreign.h: messages that speak another version of the protocol (schema/PROTOCOL.md). They are
 * refused as a whole and counted; the log tells of them at every doubling of that count, so that
 * rubbish that looks like them does not fill it. Loop thread only.
 */
#ifndef BROKER_FOREIGN_H
#define BROKER_FOREIGN_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/span.h"

struct foreign {
    uint64_t count;
};

/* For a message that could not be decoded: whether its version is why. `what` is who sends such. */
bool foreign_note(struct foreign *f, struct span frame, const char *what);

#endif
