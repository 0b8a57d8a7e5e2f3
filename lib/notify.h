/*
 * notify.h: tells the service manager how we are, by the datagram protocol of sd_notify(3). Without
 * NOTIFY_SOCKET in the environment every call does nothing and succeeds. Any thread may call it.
 */
#ifndef LIB_NOTIFY_H
#define LIB_NOTIFY_H

#include <stdint.h>

#include "lib/attr.h"

/* Sends assignments, one a line: "READY=1", "STOPPING=1\nSTATUS=draining". Never blocks. Returns 0
 * or a negative errno (a program may well go on: the manager's socket is not its business). */
int notify_send(const char *state);

/* How often the manager wants "WATCHDOG=1" at the latest, in ms; 0 if it does not. Send it twice as
 * often (sd_watchdog_enabled(3)). */
uint64_t notify_watchdog_ms(void) JM_MUST_CHECK;

#endif
