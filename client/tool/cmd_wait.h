/*
 * cmd_wait.h: `jobmill wait`, and the wait of `submit --wait`.
 */
#ifndef CLIENT_TOOL_CMD_WAIT_H
#define CLIENT_TOOL_CMD_WAIT_H

#include <stdbool.h>
#include <stdint.h>

#include "client/jobmill.h"

/* A wait of this length is without end. */
#define CMD_WAIT_FOREVER "365d"
#define CMD_WAIT_FOREVER_MS (UINT64_C(365) * 24 * 3600 * 1000)

int cmd_wait_run(int argc, char **argv);

/* Waits for the job, with the spinner, and shows how it ended: the result on stdout, or a failure
 * on stderr; with `is_json` the whole job. Survives a restart of the broker. Returns the exit code.
 */
int cmd_wait_for(struct jobmill *mill, const char *id, uint64_t wait_ms, bool is_json);

#endif
