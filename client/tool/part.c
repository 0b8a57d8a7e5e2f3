#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/tool/part.h"

enum { PART_LINE_BYTES = 8192, PART_CANNOT_EXEC = 127 };

void part_init(struct part *part, const char *name)
{
    *part = (struct part){.name = name, .log_fd = -1};
    buf_init(&part->log, PART_LINE_BYTES);
}

void part_done(struct part *part)
{
    assert(part->pid == 0);
    if (part->log_fd >= 0)
        close(part->log_fd);
    for (size_t i = 0; i < part->arg_count; i++)
        free(part->args[i]);
    buf_done(&part->log);
}

/* ---- arguments ---- */

static char *format(struct part *part, const char *fmt, va_list args)
{
    char *text = NULL;

    if (vasprintf(&text, fmt, args) < 0) {
        part->has_failed_args = true;
        return NULL;
    }
    return text;
}

void part_add_arg(struct part *part, const char *fmt, ...)
{
    va_list args;

    assert(part->arg_count < PART_ARGS);
    va_start(args, fmt);
    part->args[part->arg_count] = format(part, fmt, args);
    part->arg_count += part->args[part->arg_count] != NULL;
    va_end(args);
}

void part_set_arg(struct part *part, size_t index, const char *fmt, ...)
{
    va_list args;
    char *text;

    assert(index < part->arg_count);
    va_start(args, fmt);
    text = format(part, fmt, args);
    va_end(args);
    if (text == NULL)
        return;
    free(part->args[index]);
    part->args[index] = text;
}

/* ---- starting ---- */

/* In the child, between fork and exec: undoes what `up` did to its own signals, and binds the
 * child's life to ours. The parent may have died before prctl took effect, hence the check. */
static void become_child(pid_t parent)
{
    sigset_t none;

    sigemptyset(&none);
    if (setpgid(0, 0) != 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent ||
        signal(SIGPIPE, SIG_DFL) == SIG_ERR || sigprocmask(SIG_SETMASK, &none, NULL) != 0)
        _exit(PART_CANNOT_EXEC);
}

static void redirect(int log_fd)
{
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 || dup2(log_fd, STDOUT_FILENO) < 0 ||
        dup2(log_fd, STDERR_FILENO) < 0)
        _exit(PART_CANNOT_EXEC);
}

static void set_environment(const char *notify_socket)
{
    /* What a service manager gave us is not theirs. */
    int error = unsetenv("WATCHDOG_USEC") | unsetenv("JOURNAL_STREAM");

    error |= notify_socket != NULL ? setenv("NOTIFY_SOCKET", notify_socket, 1)
                                   : unsetenv("NOTIFY_SOCKET");
    if (error != 0)
        _exit(PART_CANNOT_EXEC);
}

static void run_child(struct part *part, const char *notify_socket, pid_t parent, int log_fd)
    __attribute__((noreturn));

static void run_child(struct part *part, const char *notify_socket, pid_t parent, int log_fd)
{
    become_child(parent);
    redirect(log_fd);
    set_environment(notify_socket);
    execvp(part->args[0], part->args);
    dprintf(STDERR_FILENO, "cannot execute %s: %s\n", part->args[0], strerror(errno));
    _exit(PART_CANNOT_EXEC);
}

int part_start(struct part *part, const char *notify_socket, uint64_t until_ms)
{
    pid_t parent = getpid(), pid;
    int fds[2];

    assert(part->pid == 0);
    if (part->has_failed_args)
        return -ENOMEM;
    if (pipe2(fds, O_CLOEXEC) != 0)
        return -errno;
    pid = fork();
    if (pid == 0)
        run_child(part, notify_socket, parent, fds[1]);
    close(fds[1]);
    if (pid < 0 || fcntl(fds[0], F_SETFL, O_NONBLOCK) != 0) {
        close(fds[0]);
        return -EAGAIN;
    }
    if (part->log_fd >= 0)
        close(part->log_fd);
    part->log_fd = fds[0];
    part->pid = pid;
    part->state = PART_STARTING;
    part->until_ms = until_ms;
    return 0;
}

/* ---- ending ---- */

void part_stop(struct part *part, int signal, uint64_t until_ms)
{
    if (part->pid == 0)
        return;
    (void)kill(part->pid, signal); /* fails only if it has ended already: it is reaped soon */
    part->state = PART_STOPPING;
    part->until_ms = until_ms;
}

void part_set_ended(struct part *part)
{
    part_pump_log(part);
    part->pid = 0;
    part->state = PART_IDLE;
}

void part_set_ready(struct part *part)
{
    part->state = PART_READY;
    part->was_ready = true;
    part->deaths = 0;
}

void part_set_paused(struct part *part, uint64_t until_ms)
{
    part->state = PART_PAUSED;
    part->until_ms = until_ms;
}

void part_format_end(int status, char *ret_text, size_t size)
{
    if (WIFSIGNALED(status))
        snprintf(ret_text, size, "was killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(ret_text, size, "ended with exit status %d", WEXITSTATUS(status));
}

/* ---- its log ---- */

static void print_lines(struct part *part)
{
    uint8_t *end;

    while ((end = memchr(part->log.data, '\n', part->log.len)) != NULL ||
           part->log.len == PART_LINE_BYTES) {
        size_t len = end != NULL ? (size_t)(end - part->log.data) : part->log.len;

        fprintf(stderr, "%-6s | %.*s\n", part->name, (int)len, (const char *)part->log.data);
        buf_consume(&part->log, len + (end != NULL));
    }
}

void part_pump_log(struct part *part)
{
    for (;;) {
        size_t room = PART_LINE_BYTES - part->log.len;
        uint8_t *at = buf_reserve(&part->log, room);
        ssize_t n = at == NULL || part->log_fd < 0 ? 0 : read(part->log_fd, at, room);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0)
            break;
        buf_advance(&part->log, (size_t)n);
        print_lines(part);
    }
    /* Its end of the pipe is closed: nobody writes any more. */
    if (part->log.len > 0) {
        buf_put_u8(&part->log, '\n');
        print_lines(part);
    }
    if (part->log_fd >= 0)
        close(part->log_fd);
    part->log_fd = -1;
}
