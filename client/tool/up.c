/*
 * up.c: `jobmill up`. Three parts (Redis, broker, worker), one loop:
 *
 *     up_step()  policy: starts, restarts, gives up, stops; called once per turn
 *     poll()     for a signal (SIGCHLD, SIGINT, SIGTERM), a notification, a log line, or a time
 *     handlers   record what happened in the part it happened to
 *
 * Start: Redis; when it answers, broker and worker together; when all are ready, the one line on
 * stdout. Stop, in the order worker, broker, Redis, each given a time: so that the worker can hand
 * back what it holds, and the broker take it. A part that dies is started again after a pause,
 * under the address it had; one that dies before it was ever ready (a port in use, a bad option) or
 * keeps dying ends everything.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/tool/part.h"
#include "client/tool/tool.h"
#include "client/tool/up.h"
#include "client/tool/up_parts.h"
#include "client/tool/up_place.h"
#include "client/tool/up_ready.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/notify.h"
#include "schema/limits.h"

enum {
    START_MS = 60000,     /* a part has this long to become ready: a broker may have to recover */
    PROBE_MS = 10,        /* between two questions to a Redis that starts */
    FIRST_PAUSE_MS = 100, /* before a part is started again; doubles with each death */
    LONGEST_PAUSE_MS = 2000,
    DEATHS = 5, /* so many in this time are too many */
    DEATHS_MS = 30000,
    ORPHAN_MS = 2000,
    STOP_MS = 10000, /* for broker and Redis; for the worker on top of its grace */
};

struct up {
    struct up_conf conf;
    struct up_place place;
    struct part parts[UP_PARTS];
    int signal_fd;
    int notify_fd;
    char notify_name[UP_READY_NAME_BYTES];
    char address[256];          /* of the broker, as it said */
    uint64_t deaths_ms[DEATHS]; /* when the last ones were, in a ring */
    size_t death_count;
    unsigned stop_requests;
    bool is_stopping;
    bool is_announced;
    int exit;
};

#define ROW(option, field, kind, ...)                                                        \
    {                                                                                        \
        .name = option, .type = kind, .offset = offsetof(struct up_conf, field), __VA_ARGS__ \
    }

static const struct opt opts[] = {
    ROW("data", data, OPT_STR, .fallback = "jobmill-data", .value = "DIR",
        .help = "Where the database is kept; made if it isn't there."),
    ROW("listen", listen, OPT_STR, .fallback = "127.0.0.1:7878", .value = "ADDR:PORT",
        .help = "Where the broker listens: a loopback address (port 0 chooses one), or "
                "unix:PATH."),
    ROW("slots", slots, OPT_U64, .min = 1, .max = JM_SLOTS,
        .help = "Jobs that run at the same time; one per processor unless told."),
    ROW("queues", queues, OPT_STR, .value = "NAME,…",
        .help = "The queues that the worker serves, an earlier one first, or by weights as in "
                "critical:6,low:1; `default` alone unless told."),
    ROW("tasks-dir", tasks_dir, OPT_STR, .value = "DIR",
        .help = "Executables that are tasks by their file names."),
    ROW("file-root", file_root, OPT_STR, .fallback = ".", .value = "DIR",
        .help = "Tasks read files below this directory only."),
    ROW("drain-grace", drain_grace_ms, OPT_DURATION, .fallback = "5s", .min = 0,
        .max = 24 * 3600 * 1000,
        .help = "How long running jobs may go on after Ctrl-C before they are handed back."),
    ROW("test-tasks", has_test_tasks, OPT_BOOL,
        .help = "Also offer the tasks that jobmill's own tests need (fail, crash, spin, ledger)."),
};

static uint64_t now_ms(void)
{
    return clock_mono_ms(clock_real());
}

/* ---- policy ---- */

static void request_stop(struct up *up, int exit)
{
    if (!up->is_stopping)
        up->exit = exit;
    up->is_stopping = true;
}

static void start_part(struct up *up, struct part *part)
{
    const char *notify = part == &up->parts[UP_REDIS] ? NULL : up->notify_name;
    int error = part_start(part, notify, now_ms() + START_MS);

    if (error == 0)
        return;
    log_error("cannot start the %s: %s", part->name, strerror(-error));
    request_stop(up, TOOL_BAD_END);
}

/* True if the last DEATHS deaths, this one included, all lie within DEATHS_MS. */
static bool has_died_too_often(struct up *up)
{
    uint64_t now = now_ms();
    uint64_t oldest;

    up->deaths_ms[up->death_count++ % DEATHS] = now;
    if (up->death_count < DEATHS)
        return false;
    oldest = up->deaths_ms[up->death_count % DEATHS];
    return now - oldest <= DEATHS_MS;
}

static uint64_t pause_ms(const struct part *part)
{
    uint64_t pause = FIRST_PAUSE_MS;

    for (unsigned i = 1; i < part->deaths && pause < LONGEST_PAUSE_MS; i++)
        pause *= 2;
    return pause < LONGEST_PAUSE_MS ? pause : LONGEST_PAUSE_MS;
}

/* A part ended without being told to. */
static void bury(struct up *up, struct part *part, int status)
{
    char end[128];

    part_format_end(status, end, sizeof(end));
    part->deaths++;
    if (!part->was_ready && WIFEXITED(status)) {
        log_error("the %s %s before it was ready; see %s", part->name, end,
                  part == &up->parts[UP_REDIS] ? "redis.log in the data directory"
                                               : "its last lines above");
        request_stop(up, TOOL_BAD_END);
    } else if (has_died_too_often(up)) {
        log_error("the %s %s; %d deaths within %d s are too many, giving up", part->name, end,
                  DEATHS, DEATHS_MS / 1000);
        request_stop(up, TOOL_BAD_END);
    } else {
        uint64_t pause = pause_ms(part);

        log_warn("the %s %s; starting it again in %" PRIu64 " ms", part->name, end, pause);
        part_set_paused(part, now_ms() + pause);
    }
}

static void step_part(struct up *up, struct part *part)
{
    bool is_redis = part == &up->parts[UP_REDIS];

    switch (part->state) {
    case PART_IDLE:
        if (is_redis || up->parts[UP_REDIS].was_ready)
            start_part(up, part);
        break;
    case PART_PAUSED:
        if (now_ms() >= part->until_ms)
            start_part(up, part);
        break;
    case PART_STARTING:
        if (is_redis && up_ready_ping(up->place.socket)) {
            part_set_ready(part);
        } else if (now_ms() >= part->until_ms) {
            log_error("the %s was not ready after %d s", part->name, START_MS / 1000);
            request_stop(up, TOOL_BAD_END);
        }
        break;
    case PART_READY:
    case PART_STOPPING:
        break;
    }
}

/* Stops one part after the other. Returns true when none is left. */
static bool step_stop(struct up *up)
{
    static const int order[UP_PARTS] = {UP_WORKER, UP_BROKER, UP_REDIS};
    bool is_hurried = up->stop_requests > 1, is_empty = true;

    for (size_t i = 0; i < UP_PARTS; i++) {
        struct part *part = &up->parts[order[i]];
        uint64_t patience = STOP_MS + (order[i] == UP_WORKER ? up->conf.drain_grace_ms : 0);

        if (part->pid == 0)
            continue;
        is_empty = false;
        if (is_hurried) {
            part_stop(part, SIGKILL, UINT64_MAX);
        } else if (part->state != PART_STOPPING) {
            part_stop(part, SIGTERM, now_ms() + patience);
        } else if (now_ms() >= part->until_ms) {
            log_warn("the %s did not stop within %" PRIu64 " s and is killed", part->name,
                     patience / 1000);
            part_stop(part, SIGKILL, UINT64_MAX);
        }
        if (!is_hurried)
            break;
    }
    return is_empty;
}

static void announce(struct up *up)
{
    for (size_t i = 0; i < UP_PARTS; i++)
        if (up->parts[i].state != PART_READY)
            return;
    up->is_announced = true;
    printf("ready %s\n", up->address);
    if (fflush(stdout) != 0)
        log_warn("cannot write to stdout: %s", strerror(errno));
    (void)notify_send("READY=1");
}

/* Returns false when all is over. */
static bool up_step(struct up *up)
{
    for (size_t i = 0; i < UP_PARTS && !up->is_stopping; i++)
        step_part(up, &up->parts[i]);
    if (!up->is_stopping && !up->is_announced)
        announce(up);
    return !up->is_stopping || !step_stop(up);
}

/* ---- what happens ---- */

/* What a dead worker leaves behind (a program that was a job) is ours, because we are the subreaper
 * of all that the parts start: it must not compute on for nobody. */
static void kill_orphans(struct up *up)
{
    char path[64];
    FILE *file;
    int pid;

    snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
    file = fopen(path, "re");
    if (file == NULL)
        return; /* a kernel without CONFIG_PROC_CHILDREN */
    while (fscanf(file, "%d", &pid) == 1) {
        bool is_part = false;

        for (size_t i = 0; i < UP_PARTS; i++)
            is_part = is_part || up->parts[i].pid == pid;
        if (!is_part)
            (void)kill(pid, SIGKILL);
    }
    fclose(file);
}

/* When all parts have ended: the orphans are killed and waited for (one of them may leave another),
 * so that nobody finds a process of ours after our own end. */
static void end_orphans(struct up *up)
{
    struct pollfd fd = {.fd = up->signal_fd, .events = POLLIN};
    struct signalfd_siginfo info;
    uint64_t end_ms = now_ms() + ORPHAN_MS;
    pid_t pid;

    for (;;) {
        kill_orphans(up);
        while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
            ;
        if (pid < 0 || now_ms() >= end_ms)
            return;
        if (poll(&fd, 1, PROBE_MS) > 0)
            (void)!read(up->signal_fd, &info, sizeof(info));
    }
}

static void on_part_end(struct up *up, struct part *part, int status)
{
    bool was_told = part->state == PART_STOPPING;
    char end[128];

    part_set_ended(part);
    if (!was_told && !up->is_stopping) {
        bury(up, part, status);
    } else if (status != 0) {
        part_format_end(status, end, sizeof(end));
        log_warn("the %s %s while stopping", part->name, end);
    }
}

static void reap(struct up *up)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (size_t i = 0; i < UP_PARTS; i++)
            if (up->parts[i].pid == pid)
                on_part_end(up, &up->parts[i], status);
    if (up->parts[UP_WORKER].pid == 0)
        kill_orphans(up);
}

static void on_signals(struct up *up)
{
    struct signalfd_siginfo info;

    while (read(up->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGCHLD) {
            reap(up);
            continue;
        }
        up->stop_requests++;
        log_info(up->stop_requests == 1 ? "stopping; once more to kill" : "killing");
        request_stop(up, TOOL_OK);
    }
}

static void on_broker_address(struct up *up, const char *address)
{
    snprintf(up->address, sizeof(up->address), "%s", address);
    up_parts_set_address(up->parts, address);
}

static void on_notifications(struct up *up)
{
    char text[UP_READY_TEXT_BYTES], value[256];
    pid_t sender;

    while (up_ready_take(up->notify_fd, &sender, text)) {
        for (size_t i = UP_BROKER; i < UP_PARTS; i++) {
            struct part *part = &up->parts[i];

            if (part->pid != sender)
                continue;
            if (i == UP_BROKER && up_ready_find(text, "STATUS=listening on ", value, sizeof(value)))
                on_broker_address(up, value);
            if (part->state == PART_STARTING && up_ready_find(text, "READY=1", value, 1))
                part_set_ready(part);
        }
    }
}

/* Until the next thing that only time brings. */
static int timeout_ms(const struct up *up)
{
    uint64_t now = now_ms(), next = UINT64_MAX;

    for (size_t i = 0; i < UP_PARTS; i++) {
        const struct part *part = &up->parts[i];
        bool has_time =
            part->state == PART_STOPPING ||
            (!up->is_stopping && (part->state == PART_STARTING || part->state == PART_PAUSED));

        if (has_time && part->until_ms < next)
            next = part->until_ms;
    }
    if (!up->is_stopping && up->parts[UP_REDIS].state == PART_STARTING && now + PROBE_MS < next)
        next = now + PROBE_MS;
    if (next == UINT64_MAX)
        return -1;
    return next <= now ? 0 : (int)(next - now < 60000 ? next - now : 60000);
}

static void run_loop(struct up *up)
{
    while (up_step(up)) {
        struct pollfd fds[2 + UP_PARTS] = {{.fd = up->signal_fd, .events = POLLIN},
                                           {.fd = up->notify_fd, .events = POLLIN}};

        for (size_t i = 0; i < UP_PARTS; i++)
            fds[2 + i] = (struct pollfd){.fd = up->parts[i].log_fd, .events = POLLIN};
        if (poll(fds, JM_COUNT_OF(fds), timeout_ms(up)) < 0 && errno != EINTR)
            request_stop(up, TOOL_FAILED);
        /* Logs first: what a part said last stands before the word that it is dead. */
        for (size_t i = 0; i < UP_PARTS; i++)
            if (fds[2 + i].revents != 0)
                part_pump_log(&up->parts[i]);
        on_notifications(up);
        on_signals(up);
    }
}

/* ---- from start to end ---- */

static bool open_signals(struct up *up)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR ||
        prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
        return false;
    up->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    up->notify_fd = up_ready_listen(up->notify_name);
    return up->signal_fd >= 0 && up->notify_fd >= 0;
}

static void close_all(struct up *up)
{
    for (size_t i = 0; i < UP_PARTS; i++)
        part_done(&up->parts[i]);
    if (up->signal_fd >= 0)
        close(up->signal_fd);
    if (up->notify_fd >= 0)
        close(up->notify_fd);
}

static int run(struct up *up)
{
    if (!up_parts_init(up->parts, &up->conf, &up->place))
        return TOOL_FAILED;
    snprintf(up->address, sizeof(up->address), "%s%s",
             strncmp(up->conf.listen, "unix:", 5) == 0 ? "" : "http://", up->conf.listen);
    if (!open_signals(up)) {
        up->exit = tool_say(TOOL_FAILED, "up: cannot set up signals: %s", strerror(errno));
    } else {
        run_loop(up);
        end_orphans(up);
    }
    close_all(up);
    return up->exit;
}

int up_run(int argc, char **argv)
{
    struct up up = {.signal_fd = -1, .notify_fd = -1};
    struct opt_rest rest;
    int exit = tool_read_options(argc, argv, opts, JM_COUNT_OF(opts), 0, 0, &up.conf, &rest);

    if (exit < 0) {
        log_setup("jobmill", LOG_LEVEL_INFO);
        exit = up_place_open(&up.place, up.conf.data) ? run(&up) : TOOL_FAILED;
        up_place_close(&up.place);
    }
    opt_done(&rest);
    return exit;
}
