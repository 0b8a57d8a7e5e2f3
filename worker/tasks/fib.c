/*
 * fib.c: the naive recursion, on purpose: it is a yardstick of computing (TARGETS.md), so it has to
 * cost what the same lines cost in any C program. No attribute holds the compiler back: gcc -O2
 * unrolls some levels of the recursion, which halves the time and leaves it exponential; forbidding
 * that made fib(35) three times slower than the plain program that it is compared with.
 */
#include "worker/tasks/tasks.h"

enum { FIB_MAX_N = 50 };

static uint64_t fib(uint64_t n)
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
