/*
 * up_ready.h: how `jobmill up` learns that a part is ready: Redis is asked; the broker and the
 * worker say so as they would to a service manager (sd_notify(3)).
 */
#ifndef CLIENT_TOOL_UP_READY_H
#define CLIENT_TOOL_UP_READY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "lib/attr.h"

enum { UP_READY_NAME_BYTES = 32, UP_READY_TEXT_BYTES = 2048 };

/* True if the Redis on this socket answers PING. Waits at most a second. */
bool up_ready_ping(const char *socket_path);

/* Opens the socket that parts notify, under a name that the kernel chooses ("@…", abstract).
 * Returns the descriptor or a negative errno. */
int up_ready_listen(char ret_name[UP_READY_NAME_BYTES]) JM_MUST_CHECK;

/* Takes one notification, as text, with the process that the kernel says it is from. False when
 * none waits. */
bool up_ready_take(int fd, pid_t *ret_sender, char ret_text[UP_READY_TEXT_BYTES]);

/* Copies what follows `name` ("STATUS=") on a line of `text`. False if there is no such line or no
 * room. */
bool up_ready_find(const char *text, const char *name, char *ret_value, size_t size);

#endif
