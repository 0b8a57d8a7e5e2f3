#include "worker/tasks/tasks.h"

#include <signal.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/mp.h"

static int parse_signal(const char *word)
{
    if (strncasecmp(word, "SIG", 3) == 0)
        word += 3;
    for (int i = 1; i < SIGRTMIN; i++)
        if (sigabbrev_np(i) != NULL && strcasecmp(sigabbrev_np(i), word) == 0)
            return i;
    return 0;
}

static int read_signal(struct task_call *call, int *ret_signal)
{
    struct mp_cursor c;
    struct span value;
    uint64_t number;
    char word[16];

    if (!task_has_arg(call, "signal"))
        return 0;
    if (task_arg_value(call, "signal", &value) != 0)
        return -1;
    mp_open(&c, value);
    if (mp_next_uint(&c, (uint64_t)SIGRTMAX, &number))
        *ret_signal = (int)number;
    else if (task_arg_text(call, "signal", word, sizeof(word)) == 0)
        *ret_signal = parse_signal(word);
    else
        *ret_signal = 0;
    if (*ret_signal == 0)
        return task_refuse(call, "parameter 'signal' must be a signal's number or name");
    return 0;
}

static int run(struct task_call *call)
{
    struct rlimit none = {0, 0};
    int signal_number = SIGSEGV;
    int error = read_signal(call, &signal_number);

    if (error != 0)
        return error;
    /* A core that goes to a pipe ignores the limit and minds the other (core(5)). */
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)prctl(PR_SET_DUMPABLE, 0);
    (void)signal(signal_number, SIG_DFL);
    (void)raise(signal_number);
    return task_fail(call, NULL, "signal %d does not kill", signal_number);
}

const struct task task_is_crash = {
    .name = "crash",
    .doc = "Dies by `signal`, a number or a name (SIGSEGV by default).",
    .run = run,
};
