/*
 * cmd_job.h: the commands that show one job: get, result, explain.
 */
#ifndef CLIENT_TOOL_CMD_JOB_H
#define CLIENT_TOOL_CMD_JOB_H

#include "client/jobmill.h"
#include "lib/attr.h"

int cmd_job_get(int argc, char **argv);
int cmd_job_result(int argc, char **argv);
int cmd_job_explain(int argc, char **argv);

/* Shows a job with the attempts that have ended, or, with `is_json`, as JSON. Returns a tool_exit.
 */
int cmd_job_print(struct jobmill_job *job, int is_json) JM_MUST_CHECK;

#endif
