/*
 * fib.c: the naive recursion, on purpose: it is a yardstick of computing (TARGETS.md), and so it is
 * to cost what two calls per step cost.
 */
#include "worker/tasks/tasks.h"

enum { FIB_MAX_N = 50 };

/* Without this the compiler unrolls many levels into one function or turns one of the two calls
 * into a loop, as it likes, and the figures of two builds could not be compared. */
#if defined(__clang__)
#define FIB_PLAIN __attribute__((noinline))
#else
#define FIB_PLAIN \
    __attribute__((noinline, noclone, optimize("no-optimize-sibling-calls", "no-inline")))
#endif

static uint64_t FIB_PLAIN fib(uint64_t n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static int run(struct task_call *call)
{
    uint64_t n;
    int error = task_arg_u64(call, "n", 0, FIB_MAX_N, &n);

    if (error != 0)
        return error;
    msgpack_pack_uint64(task_result(call), fib(n));
    return 0;
}

const struct task task_is_fib = {
    .name = "fib",
    .doc = "The Fibonacci number `n` (0 to 50) by naive recursion.",
    .run = run,
};
