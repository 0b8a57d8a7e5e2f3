/*
 * http_listen.h: opens the sockets that the HTTP front listens on: loopback addresses and unix
 * sockets, and nothing else until there are keys. Plain system calls, no loop.
 */
#ifndef BROKER_HTTP_LISTEN_H
#define BROKER_HTTP_LISTEN_H

#include <stdbool.h>
#include <stddef.h>

#include "broker/http_server.h"
#include "lib/attr.h"

struct http_listen {
    int fd; /* bound, not listening yet unless it was inherited; close-on-exec, non-blocking */
    bool is_unix;
    char path[108];    /* of the socket file that was made here; else empty */
    char address[160]; /* as a client writes it */
};

/* The forms of http_server_listen. JM_EINVAL (an address that is not allowed) or JM_EIO (the system
 * refuses it) with a sentence. */
int http_listen_open(const char *address, struct http_listen *ret_listen,
                     struct http_reason *ret_reason) JM_MUST_CHECK;

/* How many sockets the service manager has handed over to this process: LISTEN_PID, LISTEN_FDS. */
unsigned http_listen_inherited(void);

/* The n-th of them, if it is a listening stream socket on an address that is allowed. */
int http_listen_adopt(unsigned n, struct http_listen *ret_listen,
                      struct http_reason *ret_reason) JM_MUST_CHECK;

#endif
