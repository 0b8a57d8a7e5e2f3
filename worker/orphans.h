/*
 * orphans.h: finds and kills what a job left behind. A subreaper (PR_SET_CHILD_SUBREAPER, prctl(2))
 * adopts each descendant whose parent has died, even one in a session of its own.
 */
#ifndef WORKER_ORPHANS_H
#define WORKER_ORPHANS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "lib/attr.h"

/* Whether this child of ours is to live. */
typedef bool (*orphans_keep_cb)(void *data, pid_t pid);

/* Sends SIGKILL to each child of the calling process's main thread but those kept, and says how
 * many that were. Their own children are adopted when they die: call again after each death. */
size_t orphans_kill(orphans_keep_cb is_kept, void *data);

/* Kills and reaps all children of the calling process until none is left. Blocks. */
void orphans_clear(void);

#endif
