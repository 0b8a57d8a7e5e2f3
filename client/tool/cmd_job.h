/*
 * cmd_job.h: the commands about one job: get, result, wait, cancel, delete.
 */
#ifndef CLIENT_TOOL_CMD_JOB_H
#define CLIENT_TOOL_CMD_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "client/jobmill.h"

/* A wait of this length is without end. */
#define CMD_JOB_FOREVER "365d"
#define CMD_JOB_FOREVER_MS (UINT64_C(365) * 24 * 3600 * 1000)

int cmd_job_get(int argc, char **argv);
int cmd_job_result(int argc, char **argv);
int cmd_job_wait(int argc, char **argv);
int cmd_job_cancel(int argc, char **argv);
int cmd_job_delete(int argc, char **argv);

/* Waits for the job, with the spinner, and shows how it ended: the result on stdout, or a failure
 * on stderr; with `is_json` the whole job. Survives a restart of the broker. Returns the exit code.
 */
int cmd_job_await(struct jobmill *mill, const char *id, uint64_t wait_ms, bool is_json);

#endif
