/*
 * store_mark.h: what the lock file "PATH.lock" says: who holds it, and how the last broker left the
 * database. From that a start knows whether the log has to be there and how much of it may be torn.
 * Two lines: the pid, and a word with the id of the boot of the machine.
 */
#ifndef BROKER_STORE_MARK_H
#define BROKER_STORE_MARK_H

#include <stdbool.h>

#include "lib/attr.h"

enum store_mark_state {
    STORE_MARK_NONE,      /* nothing is known */
    STORE_MARK_MOVING,    /* a start or a stop was under way: the log may be full or empty */
    STORE_MARK_SERVING,   /* not closed in order: the log is there, and its head is on disk */
    STORE_MARK_STOPPED,   /* closed in order: nothing is in the log that is not in the database */
    STORE_MARK_REPAIRING, /* "PATH.salvaged" is complete and takes the database's place */
};

struct store_mark {
    enum store_mark_state state;
    bool is_same_boot; /* since it was written the machine has not been down */
};

void store_mark_read(int fd, struct store_mark *ret_mark);

/* Writes pid and mark, and syncs them. A disk without room is no error for a file that is new: then
 * nothing is known. Returns 0, JM_EFULL or JM_EIO; then the old mark is still there. */
int store_mark_write(int fd, enum store_mark_state state) JM_MUST_CHECK;

/* Writes the pid alone in front of what is there. */
int store_mark_write_pid(int fd) JM_MUST_CHECK;

#endif
