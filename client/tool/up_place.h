/*
 * up_place.h: where things are: the data directory and its lock, the socket of the private Redis,
 * the programs. The functions that can fail say why on stderr, with the remedy.
 */
#ifndef CLIENT_TOOL_UP_PLACE_H
#define CLIENT_TOOL_UP_PLACE_H

#include <stdbool.h>
#include <limits.h>

#include "lib/attr.h"

enum { UP_PLACE_SOCKET_BYTES = 108 }; /* sun_path with its NUL, unix(7) */

struct up_place {
    char data[PATH_MAX];                /* absolute */
    char socket[UP_PLACE_SOCKET_BYTES]; /* of Redis, absolute */
    char socket_dir[64];                /* made for the socket alone, or "" */
    int lock_fd;
};

/* Makes the data directory (its parent must exist) and takes its lock. */
bool up_place_open(struct up_place *place, const char *data) JM_MUST_CHECK;

/* Removes the socket and its directory; gives the lock back. Takes a place that failed to open. */
void up_place_close(struct up_place *place);

/* The program beside our own, if it is there, else its bare name for PATH. */
void up_place_find_program(const char *name, char ret_path[PATH_MAX]);

#endif
