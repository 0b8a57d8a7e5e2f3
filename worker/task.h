/*
 * task.h: what a native task is. This is the contract for whoever writes one; it needs no other
 * header of jobmill.
 *
 * A task is a C function that runs in a worker child, one call at a time, on the process's only
 * thread. It may block and may burn CPU as long as the job's time limit allows: the parent process
 * watches the time and kills. It may crash: the job is charged, the child replaced. It must not
 * keep state that another call relies on, and not change the process's signal handling, descriptors
 * it did not open, or children it did not start.
 *
 *     static int run(struct task_call *call)
 *     {
 *         uint64_t n;
 *         int error = task_arg_u64(call, "n", 0, 50, &n);
 *
 *         if (error != 0)
 *             return error;
 *         msgpack_pack_uint64(task_result(call), fib(n));
 *         return 0;
 *     }
 */
#ifndef WORKER_TASK_H
#define WORKER_TASK_H

#include <msgpack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/attr.h"
#include "lib/span.h"

struct task_call;

struct task {
    const char *name; /* letters, digits, '_', '-', '.', ':'; at most JM_TASK_NAME_BYTES */
    const char *doc;  /* one sentence: what it does, its parameters, its result */

    /* Returns 0 (success; the result is what was packed, nil if nothing was), or what task_fail or
     * a task_arg function returned. */
    int (*run)(struct task_call *call);
};

/* Who is asking. The text lives as long as the call. */
uint64_t task_job_id(const struct task_call *call);
uint32_t task_attempt(const struct task_call *call);
const char *task_name(const struct task_call *call);

/* Where tasks may read files, or NULL if nowhere (option --file-root). */
const char *task_file_root(const struct task_call *call);

/* The arguments as they came: one msgpack value, usually a map. */
struct span task_args(const struct task_call *call);

/* Whether the arguments are a map with that member. */
bool task_has_arg(const struct task_call *call, const char *name);

/* Read one member of the arguments. On 0 it is in the output; else the call has been failed with
 * the code bad_args and a sentence that names the parameter and its bounds: return what you got. */
int task_arg_u64(struct task_call *call, const char *name, uint64_t min, uint64_t max,
                 uint64_t *ret_value) JM_MUST_CHECK;
int task_arg_number(struct task_call *call, const char *name, double min, double max,
                    double *ret_value) JM_MUST_CHECK;
int task_arg_str(struct task_call *call, const char *name, struct span *ret_text) JM_MUST_CHECK;
/* A string or bin. */
int task_arg_bytes(struct task_call *call, const char *name, struct span *ret_bytes) JM_MUST_CHECK;
/* Any value, as msgpack. */
int task_arg_value(struct task_call *call, const char *name, struct span *ret_value) JM_MUST_CHECK;
/* A string as a C string of less than `size` bytes, without NULs inside. */
int task_arg_text(struct task_call *call, const char *name, char *ret_text,
                  size_t size) JM_MUST_CHECK;

/* Tells how far the call is: `done` of `total` (0: not known) and a few words, cut at
 * JM_PROGRESS_MESSAGE_BYTES, or NULL. Cheap: a write into memory, without a system call; who asks
 * for the job sees the last one, a second or so later. */
void task_progress(struct task_call *call, uint64_t done, uint64_t total, const char *fmt, ...)
    JM_PRINTF(4, 5);

/* Where to pack the result: one value of at most JM_RESULT_BYTES. */
msgpack_packer *task_result(struct task_call *call);

/* Puts a whole msgpack value as the result. */
void task_put_result(struct task_call *call, struct span value);

/* Fails the call; the last one counts. `code` is a word by the rule of task names (task_failed if
 * NULL), shown as the error's task_code if it is none of jobmill's own; the sentence is for people
 * and cut at JM_ERROR_MESSAGE_BYTES. Returns what run returns. */
int task_fail(struct task_call *call, const char *code, const char *fmt, ...) JM_PRINTF(3, 4);

/* task_fail, and no attempt follows: it would fail again. */
int task_fail_for_good(struct task_call *call, const char *code, const char *fmt, ...)
    JM_PRINTF(3, 4);

/* task_fail, and the next attempt, if the job has one left, comes `ms` milliseconds after this one
 * (at most JM_RETRY_AFTER_LIMIT_MS; more counts as that). */
int task_retry_after(struct task_call *call, uint64_t ms, const char *code, const char *fmt, ...)
    JM_PRINTF(4, 5);

/* task_fail with the code bad_args. */
int task_refuse(struct task_call *call, const char *fmt, ...) JM_PRINTF(2, 3);

#endif
