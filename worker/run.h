/*
 * run.h: one run of a task, as the child keeps it: what goes in, and how it ended. task.h is the
 * task's view of it.
 */
#ifndef WORKER_RUN_H
#define WORKER_RUN_H

#include <msgpack.h>
#include <sys/resource.h>

#include "lib/buf.h"
#include "schema/limits.h"
#include "schema/wire.h"
#include "worker/shm.h"
#include "worker/task.h"

enum run_outcome { RUN_SUCCEEDED, RUN_FAILED, RUN_CRASHED };

struct task_call {
    const struct wire_job *job;
    const char *file_root;
    struct shm *shm; /* where progress goes, NULL: nowhere; and of which job there */
    uint64_t position;
    char name[JM_TASK_NAME_BYTES + 1];

    enum run_outcome outcome;
    struct buf result; /* msgpack; empty means nil */
    msgpack_packer packer;
    char code[JM_TASK_NAME_BYTES + 1];
    char message[JM_ERROR_MESSAGE_BYTES];
    enum wire_retry retry; /* of the failure */
    uint64_t retry_after_ms;

    /* What a program left behind besides. */
    struct buf stderr_tail;
    struct rusage usage;
    int signal;
    int exit_status;
};

void run_init(struct task_call *call);
void run_done(struct task_call *call);

/* Prepares the call for another job, which it borrows. Its progress goes nowhere yet. */
void run_open(struct task_call *call, const struct wire_job *job, const char *file_root);

/* Runs a native task and judges what it left. */
void run_native(struct task_call *call, const struct task *task);

/* Checks that a successful call's result is one whole msgpack value within the limit, else fails
 * it. */
void run_check_result(struct task_call *call);

/* The event that tells the end; its spans borrow from the call. The caller adds who and when. */
void run_describe(const struct task_call *call, struct wire_event *ret_event);

#endif
