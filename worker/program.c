/*
 * program.c: four pipes and a pidfd in one poll(2), so that neither side waits for the other
 * however much is written. The end of the program ends the reading, not the end of its pipes: a
 * process that it left behind may hold those open.
 *
 * SIGTERM stays blocked in the child meanwhile. A time limit sends it to the whole group: the
 * program dies or tidies up, and the child follows when it unblocks the signal, so that it never
 * reports an end which the parent is about to report as timed out.
 */
#include "worker/program.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/json.h"
#include "schema/errors.h"
#include "schema/id.h"
#include "worker/control.h"
#include "worker/orphans.h"

enum {
    PROGRAM_READ_BYTES = 16 << 10,
    PROGRAM_ENVIRONMENT = 1024,     /* variables that are passed on */
    PROGRAM_INPUT_BYTES = 8 << 20,  /* args as JSON: escapes and base64 make them longer */
    PROGRAM_STDERR_KEPT = 64 << 10, /* read before it is cut back to the tail */
};

enum { PIPE_IN, PIPE_OUT, PIPE_ERR, PIPE_CONTROL, PIPE_COUNT }; /* the program's descriptors */

struct program {
    struct task_call *call;
    const char *dir;
    const char *file;
    pid_t pid;
    int pidfd;
    int fds[PIPE_COUNT]; /* our ends, -1 once closed */
    struct buf input;
    size_t written;
    struct buf output;
    struct buf errors;
    struct control control;
    int status;
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

static void close_all(struct program *p)
{
    for (int i = 0; i < PIPE_COUNT; i++)
        close_fd(&p->fds[i]);
    close_fd(&p->pidfd);
}

/* ---- in the new process ---- */

static bool is_for_manager(const char *variable)
{
    static const char *const prefixes[] = {
        "NOTIFY_SOCKET=",   "WATCHDOG_",          "LISTEN_", "JOBMILL_TASK=", "JOBMILL_JOB_ID=",
        "JOBMILL_ATTEMPT=", "JOBMILL_CONTROL_FD="};

    for (size_t i = 0; i < JM_COUNT_OF(prefixes); i++)
        if (strncmp(variable, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

static _Noreturn void die(const char *what, const char *file)
{
    dprintf(STDERR_FILENO, "%s '%s': %s\n", what, file, strerror(errno));
    _exit(127);
}

static _Noreturn void execute(const struct program *p)
{
    char *variables[PROGRAM_ENVIRONMENT + 5];
    char task[96], job[64], attempt[64], control[32], path[4096], id[ID_TEXT_BYTES];
    char *argv[] = {path, NULL};
    size_t n = 0;

    id_format(task_job_id(p->call), id);
    snprintf(task, sizeof(task), "JOBMILL_TASK=%s", task_name(p->call));
    snprintf(job, sizeof(job), "JOBMILL_JOB_ID=%s", id);
    snprintf(attempt, sizeof(attempt), "JOBMILL_ATTEMPT=%" PRIu32, task_attempt(p->call));
    snprintf(control, sizeof(control), "JOBMILL_CONTROL_FD=%d", PIPE_CONTROL);
    variables[n++] = task;
    variables[n++] = job;
    variables[n++] = attempt;
    variables[n++] = control;
    for (char **at = environ; *at != NULL && n < PROGRAM_ENVIRONMENT + 4; at++)
        if (!is_for_manager(*at))
            variables[n++] = *at;
    variables[n] = NULL;
    if (chdir(p->dir) != 0)
        die("cannot enter", p->dir);
    snprintf(path, sizeof(path), "./%s", p->file);
    execve(path, argv, variables);
    die("cannot execute", p->file);
}

static _Noreturn void become(const struct program *p, const int theirs[PIPE_COUNT], pid_t parent)
{
    sigset_t none;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    for (int i = 0; i < PIPE_COUNT; i++)
        if (dup2(theirs[i], i) < 0)
            _exit(127);
    (void)close_range(PIPE_COUNT, ~0U, 0); /* the child's own: its connection, the memory */
    (void)signal(SIGPIPE, SIG_DFL);
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    execute(p);
}

/* ---- in the child ---- */

/* A pipe whose ends are both above the program's descriptors, ours non-blocking. */
static bool open_pipe(int direction, int *ret_ours, int *ret_theirs)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    *ret_ours = direction == PIPE_IN ? ends[1] : ends[0];
    *ret_theirs = direction == PIPE_IN ? ends[0] : ends[1];
    return fcntl(*ret_ours, F_SETFL, O_NONBLOCK) == 0;
}

static bool start(struct program *p)
{
    int theirs[PIPE_COUNT] = {-1, -1, -1, -1};
    pid_t parent = getpid();
    bool is_open = true;

    for (int i = 0; i < PIPE_COUNT; i++)
        is_open = is_open && open_pipe(i, &p->fds[i], &theirs[i]);
    if (is_open)
        p->pid = fork();
    if (is_open && p->pid == 0)
        become(p, theirs, parent);
    for (int i = 0; i < PIPE_COUNT; i++)
        close_fd(&theirs[i]);
    if (is_open && p->pid > 0)
        p->pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
    return p->pidfd >= 0;
}

static void write_input(struct program *p)
{
    ssize_t n = write(p->fds[PIPE_IN], p->input.data + p->written, p->input.len - p->written);

    if (n > 0)
        p->written += (size_t)n;
    /* A program may well ignore its input: a broken pipe is no failure. */
    if (p->written == p->input.len || (n < 0 && errno != EAGAIN && errno != EINTR))
        close_fd(&p->fds[PIPE_IN]);
}

/* Keeps the last bytes for the record and passes all on to our own stderr, which is the log. */
static void keep_errors(struct program *p, const uint8_t *bytes, size_t len)
{
    if (write(STDERR_FILENO, bytes, len) < 0)
        errno = 0; /* a log that is gone must not stop the job */
    buf_put(&p->errors, bytes, len);
    if (p->errors.len > PROGRAM_STDERR_KEPT / 2)
        buf_consume(&p->errors, p->errors.len - JM_STDERR_TAIL_BYTES);
}

/* Reads what is there now. False at the end of the pipe. */
static bool read_pipe(struct program *p, int which)
{
    uint8_t bytes[PROGRAM_READ_BYTES];
    ssize_t n = read(p->fds[which], bytes, sizeof(bytes));

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        close_fd(&p->fds[which]);
        return false;
    }
    if (which == PIPE_ERR)
        keep_errors(p, bytes, (size_t)n);
    else if (which == PIPE_CONTROL)
        control_take(&p->control, span_of(bytes, (size_t)n));
    else
        buf_put(&p->output, bytes, (size_t)n);
    return true;
}

static void serve(struct program *p, const struct pollfd *polled)
{
    if (polled[PIPE_IN].revents != 0)
        write_input(p);
    for (int which = PIPE_OUT; which < PIPE_COUNT; which++)
        if (polled[which].revents != 0)
            (void)read_pipe(p, which);
}

/* What the program wrote before it ended is in the pipes; no more is waited for. A pipe holds at
 * most 1 MiB (pipe(7)), so that this ends even if a survivor goes on writing. */
static void drain(struct program *p)
{
    for (int which = PIPE_OUT; which < PIPE_COUNT; which++)
        for (int i = 0; i < (1 << 20) / PROGRAM_READ_BYTES && p->fds[which] >= 0; i++)
            if (!read_pipe(p, which))
                break;
}

static void attend(struct program *p)
{
    bool has_ended = false;

    while (!has_ended) {
        struct pollfd polled[PIPE_COUNT + 1] = {
            {.fd = p->fds[PIPE_IN], .events = POLLOUT},
            {.fd = p->fds[PIPE_OUT], .events = POLLIN},
            {.fd = p->fds[PIPE_ERR], .events = POLLIN},
            {.fd = p->fds[PIPE_CONTROL], .events = POLLIN},
            {.fd = p->pidfd, .events = POLLIN},
        };

        if (poll(polled, PIPE_COUNT + 1, -1) < 0)
            continue; /* only EINTR: the arguments are our own */
        serve(p, polled);
        has_ended = polled[PIPE_COUNT].revents != 0;
        if (buf_has_failed(&p->output))
            (void)kill(p->pid, SIGKILL);
    }
    drain(p);
    control_finish(&p->control);
    while (wait4(p->pid, &p->status, 0, &p->call->usage) < 0 && errno == EINTR)
        continue;
}

static void put_tail(struct program *p)
{
    size_t len = p->errors.len < JM_STDERR_TAIL_BYTES ? p->errors.len : JM_STDERR_TAIL_BYTES;

    if (len > 0)
        buf_put(&p->call->stderr_tail, p->errors.data + p->errors.len - len, len);
}

/* The last line of stderr that is not empty: most programs say there what was wrong. */
static struct span last_line(const struct program *p)
{
    const uint8_t *text = p->errors.data;
    size_t end = p->errors.len, start_at;

    while (end > 0 && (text[end - 1] == '\n' || text[end - 1] == ' ' || text[end - 1] == '\r'))
        end--;
    start_at = end;
    while (start_at > 0 && text[start_at - 1] != '\n')
        start_at--;
    return end > 0 ? span_of(text + start_at, end - start_at) : span_of("", 0);
}

static void judge_output(struct program *p)
{
    struct json_error error;
    struct span text = buf_span(&p->output);
    enum json_problem problem;

    while (text.len > 0 && strchr(" \t\r\n", text.data[text.len - 1]) != NULL)
        text.len--;
    if (text.len == 0)
        return;
    problem = json_to_msgpack(text, &JSON_DEFAULT_LIMITS, &p->call->result, &error);
    if (problem == JSON_LIMIT)
        return; /* run_check_result says it */
    if (problem == JSON_MEMORY)
        (void)task_fail(p->call, errors_code(JM_ENOMEM), "no memory for the result");
    else if (problem != JSON_OK)
        (void)task_fail(p->call, errors_code(JM_ETASKRESULT),
                        "the program's output is not usable: %s at byte %zu",
                        json_problem_words(problem), error.offset);
}

static void judge(struct program *p)
{
    struct task_call *call = p->call;
    struct span line = last_line(p);

    put_tail(p);
    if (buf_is_starved(&p->output)) {
        (void)task_fail(call, errors_code(JM_ENOMEM), "no memory for the program's output");
    } else if (buf_has_failed(&p->output)) {
        (void)task_fail(call, errors_code(JM_ERESULTSIZE),
                        "the program wrote more than %d bytes of output", JM_RESULT_BYTES);
    } else if (WIFSIGNALED(p->status)) {
        call->outcome = RUN_CRASHED;
        call->signal = WTERMSIG(p->status);
        snprintf(call->message, sizeof(call->message), "the program was killed by signal %d (%s)",
                 call->signal, strsignal(call->signal));
    } else if (WEXITSTATUS(p->status) != 0) {
        call->exit_status = WEXITSTATUS(p->status);
        (void)task_fail(call, NULL, "exit status %d%s%.*s", call->exit_status,
                        line.len > 0 ? ": " : "", (int)line.len, (const char *)line.data);
    } else {
        judge_output(p);
    }
}

/* What it said about the next attempt counts when it fails, however it does. */
static void steer_retry(struct program *p)
{
    if (p->call->outcome != RUN_FAILED)
        return;
    p->call->retry = p->control.retry;
    p->call->retry_after_ms = p->control.retry_after_ms;
}

static void set_term_blocked(bool is_blocked)
{
    sigset_t term;

    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    (void)sigprocmask(is_blocked ? SIG_BLOCK : SIG_UNBLOCK, &term, NULL);
}

static void run_to_end(struct program *p)
{
    set_term_blocked(true);
    if (start(p)) {
        attend(p);
        orphans_clear();
        set_term_blocked(false);
        judge(p);
    } else {
        (void)task_fail(p->call, NULL, "cannot start '%s': %s", p->file, strerror(errno));
        orphans_clear();
        set_term_blocked(false);
    }
    run_check_result(p->call);
    steer_retry(p);
}

void program_run(struct task_call *call, const char *dir, const char *file)
{
    struct program p = {
        .call = call, .dir = dir, .file = file, .pidfd = -1, .fds = {-1, -1, -1, -1}};
    enum json_problem problem;

    buf_init(&p.input, PROGRAM_INPUT_BYTES);
    buf_init(&p.output, JM_RESULT_BYTES);
    buf_init(&p.errors, PROGRAM_STDERR_KEPT);
    control_init(&p.control, call);
    problem = json_from_msgpack(task_args(call), &p.input, NULL);
    if (problem == JSON_MEMORY)
        (void)task_fail(call, errors_code(JM_ENOMEM), "no memory for the arguments");
    else if (problem != JSON_OK)
        (void)task_refuse(call, "the arguments have no JSON form: %s", json_problem_words(problem));
    else
        run_to_end(&p);
    close_all(&p);
    buf_done(&p.input);
    buf_done(&p.output);
    buf_done(&p.errors);
}
