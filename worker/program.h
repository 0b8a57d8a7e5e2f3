/*
 * program.h: runs an executable as a task: arguments as JSON on stdin, the result as JSON on stdout
 * (nothing means null), exit status 0 or a failure with the tail of stderr. The program finds
 * JOBMILL_TASK, JOBMILL_JOB_ID and JOBMILL_ATTEMPT in its environment and starts in the tasks
 * directory. JOBMILL_CONTROL_FD, which is 3, names a pipe that it may write control.h's lines to.
 * It has no other descriptor of the worker's. It belongs to the child's process group, so that what
 * is sent there at a timeout reaches it too; what it leaves running behind is killed.
 */
#ifndef WORKER_PROGRAM_H
#define WORKER_PROGRAM_H

#include "worker/run.h"

/* Runs `dir`/`file` for `call` and fills its outcome. Blocks; used by the child only. */
void program_run(struct task_call *call, const char *dir, const char *file);

#endif
