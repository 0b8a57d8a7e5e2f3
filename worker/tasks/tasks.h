/*
 * tasks.h: the tasks that come with the worker, each in the file of its name. A new one is a line
 * here and a file that defines `const struct task task_is_NAME`.
 */
#ifndef WORKER_TASKS_TASKS_H
#define WORKER_TASKS_TASKS_H

#include "worker/task.h"

#define TASKS_BUILTIN(X) X(noop) X(echo) X(sleep) X(fib) X(sha256)
#define TASKS_TEST(X) X(fail) X(crash) X(spin) X(ledger)

#define X(name) extern const struct task task_is_##name;
TASKS_BUILTIN(X)
TASKS_TEST(X)
#undef X

#endif
