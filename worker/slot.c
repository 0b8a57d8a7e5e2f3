/*
 * slot.c: a child is forked *and executed*: after a bare fork, a signal to the child would run the
 * parent's handlers. Between fork and exec all signals are blocked for the same reason.
 *
 * The child is the leader of a process group that nobody else is in but what it starts, so that a
 * signal to the group reaches a job's whole family. What left the group is found as an orphan when
 * the child has died (orphans.h).
 */
#include "worker/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/crash.h"
#include "lib/log.h"
#include "schema/errors.h"
#include "worker/child.h"

enum {
    SLOT_READ_BYTES = 16 << 10,
    SLOT_LOG_BYTES = 64 << 10, /* of a child's output that go on to the log, a second */
    SLOT_YOUNG_MS = 1000,
    SLOT_BACKOFF_FIRST_MS = 100,
    SLOT_BACKOFF_LAST_MS = 5000,
    SLOT_SPARE_FD = 10, /* above what the child expects to find */
};

static const uint64_t ms_ns = 1000000;

int slot_open(struct slot *slot, struct slot_env *env, uint32_t index)
{
    int error;

    *slot = (struct slot){.env = env, .index = index, .shm_fd = -1};
    buf_init(&slot->tail, 2 * JM_STDERR_TAIL_BYTES + SLOT_READ_BYTES);
    error = shm_create(&slot->shm, &slot->shm_fd);
    if (error != 0)
        return error;
    slot->shm->conf = env->conf;
    slot->shm->conf.slot = index;
    return 0;
}

static void on_pipe_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void close_errors(struct slot *slot)
{
    struct slot_pipe *pipe = slot->errors;

    if (pipe == NULL)
        return;
    slot->errors = NULL;
    uv_close((uv_handle_t *)&pipe->poll, on_pipe_closed); /* out of the loop's poll at once */
    (void)close(pipe->fd);
}

void slot_close(struct slot *slot)
{
    if (slot->env == NULL)
        return;
    slot_kill_hard(slot);
    close_errors(slot);
    buf_done(&slot->tail);
    shm_unmap(slot->shm);
    slot->shm = NULL;
    if (slot->shm_fd >= 0)
        (void)close(slot->shm_fd);
    slot->shm_fd = -1;
}

/* ---- start ---- */

static _Noreturn void become_child(struct slot *slot, int output_fd, pid_t parent)
{
    char name[64];
    char *argv[] = {name, CHILD_ARGUMENT, NULL};
    int shm_fd = fcntl(slot->shm_fd, F_DUPFD, SLOT_SPARE_FD);
    int wake_fd = fcntl(slot->env->wake_fd, F_DUPFD, SLOT_SPARE_FD);
    int error_fd = fcntl(output_fd, F_DUPFD, SLOT_SPARE_FD);
    int null_fd = open("/dev/null", O_RDONLY);
    sigset_t none;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127); /* the parent died before it could take us along */
    (void)setpgid(0, 0);
    (void)setpriority(PRIO_PROCESS, 0, slot->env->nice);
    if (dup2(null_fd, STDIN_FILENO) < 0 || dup2(error_fd, STDOUT_FILENO) < 0 ||
        dup2(error_fd, STDERR_FILENO) < 0 || dup2(shm_fd, CHILD_SHM_FD) < 0 ||
        dup2(wake_fd, CHILD_WAKE_FD) < 0)
        _exit(127);
    (void)close_range(CHILD_WAKE_FD + 1, ~0U, 0);
    for (int i = 1; i < NSIG; i++)
        (void)signal(i, SIG_DFL);
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    snprintf(name, sizeof(name), "jobmill-worker: slot %u", slot->index);
    execv("/proc/self/exe", argv);
    _exit(127);
}

static pid_t fork_child(struct slot *slot, int output_fd)
{
    sigset_t all, before;
    pid_t parent = getpid(), pid;

    sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, &before);
    pid = fork();
    if (pid == 0)
        become_child(slot, output_fd, parent);
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    if (pid > 0)
        (void)setpgid(pid, pid); /* whoever comes first; a signal may follow at once */
    return pid;
}

static void on_errors(uv_poll_t *poll, int status, int events);

static struct slot_pipe *pipe_new(struct slot *slot, int fd)
{
    struct slot_pipe *pipe = calloc(1, sizeof(*pipe));

    if (pipe == NULL)
        return NULL;
    pipe->slot = slot;
    pipe->fd = fd;
    pipe->poll.data = pipe;
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0 ||
        uv_poll_init(slot->env->loop, &pipe->poll, fd) != 0) {
        free(pipe);
        return NULL;
    }
    return pipe;
}

/* A new pipe for each child: what a former one left behind cannot write into it. */
static int open_errors(struct slot *slot, int *ret_theirs)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return JM_EIO;
    slot->errors = pipe_new(slot, ends[0]);
    if (slot->errors == NULL) {
        (void)close(ends[0]);
        (void)close(ends[1]);
        return JM_EIO;
    }
    *ret_theirs = ends[1];
    if (uv_poll_start(&slot->errors->poll, UV_READABLE, on_errors) == 0)
        return 0;
    close_errors(slot);
    (void)close(ends[1]);
    return JM_EIO;
}

static void delay_respawn(struct slot *slot, uint64_t now_ns)
{
    uint64_t delay_ms = SLOT_BACKOFF_FIRST_MS;

    for (unsigned i = 1; i < slot->failures && delay_ms < SLOT_BACKOFF_LAST_MS; i++)
        delay_ms *= 2;
    if (delay_ms > SLOT_BACKOFF_LAST_MS)
        delay_ms = SLOT_BACKOFF_LAST_MS;
    slot->respawn_ns = slot->failures == 0 ? now_ns : now_ns + delay_ms * ms_ns;
}

void slot_spawn(struct slot *slot, uint64_t now_ns)
{
    int output_fd;
    pid_t pid = -1;

    shm_reset(slot->shm);
    buf_clear(&slot->tail);
    slot->announced = 0;
    slot->kill = SLOT_KILL_NONE;
    slot->hard_ns = 0;
    if (open_errors(slot, &output_fd) == 0) {
        pid = fork_child(slot, output_fd);
        (void)close(output_fd);
    }
    if (pid < 0) {
        log_error("cannot start the child of slot %u: %s", slot->index, strerror(errno));
        close_errors(slot);
        slot->failures++;
        delay_respawn(slot, now_ns);
        return;
    }
    slot->pid = pid;
    slot->spawned_ns = now_ns;
}

/* ---- output ---- */

static uint64_t running_id(struct slot *slot)
{
    uint64_t tail, head;
    struct shm_held held;

    shm_range(slot->shm, &tail, &head);
    for (uint64_t at = tail; at != head; at++)
        if (shm_peek(slot->shm, at, &held) && held.state == SHM_BEGUN)
            return held.id;
    return 0;
}

/* To the log, but no more than a bounded rate: a job that prints without end must not fill the
 * journal. */
static void pass_on(struct slot *slot, const uint8_t *bytes, size_t len)
{
    uint64_t second = uv_now(slot->env->loop) / 1000;

    if (second != slot->passed_second) {
        if (slot->dropped_bytes > 0)
            log_warn("slot %u: %llu bytes of output were too much for the log", slot->index,
                     (unsigned long long)slot->dropped_bytes);
        slot->passed_second = second;
        slot->passed_bytes = 0;
        slot->dropped_bytes = 0;
    }
    if (slot->passed_bytes + len > SLOT_LOG_BYTES) {
        slot->dropped_bytes += len;
        return;
    }
    slot->passed_bytes += len;
    if (write(STDERR_FILENO, bytes, len) < 0)
        slot->dropped_bytes += len;
}

/* The tail is evidence about one job: it begins anew when another job is running. */
static void keep_tail(struct slot *slot, const uint8_t *bytes, size_t len)
{
    uint64_t id = running_id(slot);

    if (id != slot->tail_id)
        buf_clear(&slot->tail);
    slot->tail_id = id;
    buf_put(&slot->tail, bytes, len);
    if (slot->tail.len > JM_STDERR_TAIL_BYTES)
        buf_consume(&slot->tail, slot->tail.len - JM_STDERR_TAIL_BYTES);
}

/* True if there may be more; else `ret_is_over` says whether there will never be any. */
static bool read_errors(struct slot *slot, bool *ret_is_over)
{
    uint8_t bytes[SLOT_READ_BYTES];
    ssize_t n = read(slot->errors->fd, bytes, sizeof(bytes));

    *ret_is_over = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
    if (n <= 0)
        return n < 0 && errno == EINTR;
    keep_tail(slot, bytes, (size_t)n);
    pass_on(slot, bytes, (size_t)n);
    return true;
}

static void on_errors(uv_poll_t *poll, int status, int events)
{
    struct slot *slot = ((struct slot_pipe *)poll->data)->slot;

    bool is_over = status != 0;

    (void)events;
    if (!is_over)
        (void)read_errors(slot, &is_over);
    /* At the end of the pipe the poll would fire for ever; the death of the child closes it. */
    if (is_over)
        (void)uv_poll_stop(poll);
}

/* ---- killing ---- */

static void signal_group(const struct slot *slot, int number)
{
    if (slot->pid > 0 && kill(-slot->pid, number) != 0 && errno != ESRCH)
        log_error("cannot send signal %d to slot %u: %s", number, slot->index, strerror(errno));
}

void slot_kill_hard(struct slot *slot)
{
    signal_group(slot, SIGKILL);
    slot->hard_ns = 0;
}

void slot_kill(struct slot *slot, enum slot_kill reason, const struct shm_held *held,
               uint64_t grace_ms, uint64_t now_ns)
{
    if (slot->kill != SLOT_KILL_NONE)
        return;
    slot->kill = reason;
    slot->kill_id = held->id;
    slot->kill_attempt = held->attempt;
    slot->hard_ns = now_ns + grace_ms * ms_ns;
    signal_group(slot, SIGTERM);
    if (grace_ms == 0)
        slot_kill_hard(slot);
}

/* ---- death ---- */

static uint64_t to_us(struct timeval time)
{
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_usec;
}

/* What the death says about the job that was running. Killed for another job, that job is not at
 * fault: it goes back free of charge. */
static enum wire_event_kind judge(const struct slot *slot, const struct shm_held *held)
{
    if (slot->kill == SLOT_KILL_NONE)
        return WIRE_CRASHED;
    if (slot->kill == SLOT_KILL_DRAIN || slot->kill_id != held->id ||
        slot->kill_attempt != held->attempt)
        return WIRE_HANDED_BACK;
    return slot->kill == SLOT_KILL_TIMEOUT ? WIRE_TIMED_OUT : WIRE_KILLED;
}

static void word_death(enum wire_event_kind kind, const struct shm_held *held, int status,
                       char *ret_message, size_t size)
{
    if (kind == WIRE_TIMED_OUT)
        snprintf(ret_message, size, "killed after its time limit of %llu ms",
                 (unsigned long long)held->timeout_ms);
    else if (kind == WIRE_CRASHED && WIFSIGNALED(status))
        snprintf(ret_message, size, "the process was killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else if (kind == WIRE_CRASHED)
        snprintf(ret_message, size, "the process ended with exit status %d", WEXITSTATUS(status));
    else
        ret_message[0] = '\0';
}

static void tell_begun(struct slot *slot, const struct shm_held *held, int status,
                       const struct rusage *usage, uint64_t now_ns)
{
    char message[128];
    struct wire_event event = {
        .kind = judge(slot, held),
        .has_begun = true,
        .signal = WIFSIGNALED(status) ? (uint32_t)WTERMSIG(status) : 0,
        .exit_status = WIFEXITED(status) ? (uint32_t)WEXITSTATUS(status) : 0,
        .user_us = to_us(usage->ru_utime),
        .system_us = to_us(usage->ru_stime),
        .maxrss_bytes = (uint64_t)usage->ru_maxrss * 1024,
    };

    word_death(event.kind, held, status, message, sizeof(message));
    event.message = span_of_str(message);
    if (slot->tail_id == held->id)
        event.stderr_tail = buf_span(&slot->tail);
    slot_tell(slot, held, &event, now_ns);
}

static void tell_back(struct slot *slot, const struct shm_held *held, bool has_begun,
                      uint64_t now_ns)
{
    struct wire_event event = {.kind = WIRE_HANDED_BACK, .has_begun = has_begun};

    slot_tell(slot, held, &event, now_ns);
}

static void tell_fates(struct slot *slot, int status, const struct rusage *usage, uint64_t now_ns)
{
    uint64_t tail, head;
    struct shm_held held;

    shm_range(slot->shm, &tail, &head);
    for (uint64_t at = tail; at != head; at++) {
        if (!shm_peek(slot->shm, at, &held) || held.state == SHM_TAKEN)
            continue;
        if (held.state == SHM_BEGUN)
            tell_begun(slot, &held, status, usage, now_ns);
        else if (held.state == SHM_CLAIMED)
            tell_back(slot, &held, false, now_ns);
        else if (!slot_tell_end(slot, &held, now_ns))
            tell_back(slot, &held, true, now_ns);
    }
}

void slot_bury(struct slot *slot, int status, const struct rusage *usage, uint64_t now_ns)
{
    bool is_over;
    bool was_useful =
        atomic_load(&slot->shm->claims) > 0 || now_ns - slot->spawned_ns >= SLOT_YOUNG_MS * ms_ns;

    while (slot->errors != NULL && read_errors(slot, &is_over))
        continue;
    close_errors(slot);
    if (slot->kill == SLOT_KILL_NONE && !slot->env->is_draining)
        log_warn("the child of slot %u (pid %d) %s %d", slot->index, (int)slot->pid,
                 WIFSIGNALED(status) ? "was killed by signal" : "ended with status",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    CRASH_POINT("child-dead");
    tell_fates(slot, status, usage, now_ns);
    shm_reset(slot->shm);
    slot->pid = 0;
    slot->kill = SLOT_KILL_NONE;
    slot->hard_ns = 0;
    slot->failures = was_useful ? 0 : slot->failures + 1;
    delay_respawn(slot, now_ns);
}

/* ---- telling ---- */

bool slot_is_busy(struct slot *slot)
{
    uint64_t tail, head;

    if (slot->pid == 0)
        return false;
    if (atomic_load(&slot->shm->is_claiming) != 0)
        return true;
    shm_range(slot->shm, &tail, &head);
    return tail != head;
}

struct wire_held slot_describe(const struct slot *slot, const struct shm_held *held,
                               uint64_t now_ns)
{
    bool has_begun = held->state != SHM_CLAIMED;

    return (struct wire_held){
        .node = held->node,
        .id = held->id,
        .attempt = held->attempt,
        .has_begun = has_begun,
        .run_ms = has_begun && now_ns > held->begun_ns ? (now_ns - held->begun_ns) / ms_ns : 0,
        .slot = slot->index,
    };
}

void slot_tell(struct slot *slot, const struct shm_held *held, struct wire_event *event,
               uint64_t now_ns)
{
    struct wire_held described = slot_describe(slot, held, now_ns);

    event->id = held->id;
    event->attempt = held->attempt;
    event->host = slot->env->conf.host;
    event->slot = slot->index;
    event->pid = (uint32_t)slot->pid;
    if (event->has_begun) {
        event->begun_at_ms = held->begun_at_ms;
        event->run_us = now_ns > held->begun_ns ? (now_ns - held->begun_ns) / 1000 : 0;
    }
    (void)outbox_put(slot->env->outbox, &described, event); /* a failure is told and survived */
}

bool slot_tell_end(struct slot *slot, const struct shm_held *held, uint64_t now_ns)
{
    struct wire_held described = slot_describe(slot, held, now_ns);
    struct wire_event event;

    if (held->out.len == 0 || wire_decode_event(held->out, &event) != 0 || event.id != held->id ||
        event.attempt != held->attempt)
        return false;
    return outbox_put_frame(slot->env->outbox, &described, held->out);
}
