/*
 * host.c: callbacks record and then call host_step, which is where everything is decided once: look
 * at the slots that want it, start children that are due, send what was told, move a drain on.
 *
 *     SERVING ──signal──▶ DRAINING ──grace over──▶ EVICTING
 *                             └──── no child left ────┴──▶ FLUSHING ──outbox empty, or time over──▶
 *     LEAVING ──heartbeat withdrawn, or time over──▶ CLOSED
 */
#include "worker/host.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/crash.h"
#include "lib/log.h"
#include "lib/notify.h"
#include "schema/errors.h"
#include "worker/orphans.h"
#include "worker/scan.h"

enum {
    HOST_FLUSH_MS = 5000, /* how long events may take to get out at the end */
    HOST_LEAVE_MS = 1000, /* likewise the withdrawal of the heartbeat */
    HOST_UNBLOCK_MS = 50, /* CLIENT UNBLOCK is repeated that often */
    HOST_EVICT_MS = 2000, /* from SIGTERM to SIGKILL of an evicted job */
};

static void host_step(struct host *host);

static uint64_t now_ns(void)
{
    return clock_mono_ns(clock_real());
}

/* ---- the drain ---- */

static void on_unblocked(struct redis_command *command, int error, const struct redis_claim *claim)
{
    (void)command;
    (void)error; /* asked again until the child says that it no longer claims */
    (void)claim;
}

/* A claim is never cut off, for Redis would pop to nobody: it is ended by Redis itself. */
static void unblock(struct host *host, struct slot *slot)
{
    struct span words[3] = {span_of_str("CLIENT"), span_of_str("UNBLOCK")};
    uint64_t id = atomic_load(&slot->shm->client_id);
    char text[24];

    if (slot->unblock.is_in_flight || id == 0 || atomic_load(&slot->shm->is_claiming) == 0)
        return;
    snprintf(text, sizeof(text), "%" PRIu64, id);
    words[2] = span_of_str(text);
    slot->unblock.done = on_unblocked;
    if (redis_line_send(host->link, &slot->unblock, words, 3) != 0)
        log_debug("slot %u is not unblocked: no link", slot->index);
}

/* Lets idle children go. True when none is left. */
static bool empty_slots(struct host *host)
{
    bool is_empty = true;

    for (uint32_t i = 0; i < host->slot_count; i++) {
        struct slot *slot = &host->slots[i];

        if (slot->pid == 0)
            continue;
        is_empty = false;
        if (host->state == HOST_DRAINING)
            unblock(host, slot);
        if (!slot_is_busy(slot))
            slot_kill_hard(slot);
    }
    return is_empty;
}

static void on_deadline(uv_timer_t *timer);

static void enter(struct host *host, enum host_state state, uint64_t limit_ms)
{
    host->state = state;
    (void)uv_timer_start(&host->drain, on_deadline, limit_ms, 0);
}

static void evict(struct host *host, uint64_t grace_ms)
{
    enter(host, HOST_EVICTING, HOST_FLUSH_MS + grace_ms);
    for (uint32_t i = 0; i < host->slot_count; i++)
        scan_evict(&host->slots[i], grace_ms, now_ns());
}

static void close_host(struct host *host)
{
    host->state = HOST_CLOSED;
    uv_stop(&host->loop);
}

static void on_withdrawn(struct redis_command *command, int error, const struct redis_claim *claim)
{
    struct host *host = JM_CONTAINER_OF(command, struct host, withdrawal);

    (void)claim;
    if (error != 0)
        log_warn("the heartbeat stays behind; brokers will see this host die");
    close_host(host);
}

static void leave(struct host *host)
{
    enter(host, HOST_LEAVING, HOST_LEAVE_MS);
    host->withdrawal.done = on_withdrawn;
    if (beat_withdraw(&host->beat, &host->withdrawal) != 0)
        on_withdrawn(&host->withdrawal, JM_ECARRIER, NULL);
}

static void on_deadline(uv_timer_t *timer)
{
    struct host *host = JM_CONTAINER_OF(timer, struct host, drain);

    if (host->state == HOST_DRAINING) {
        evict(host, HOST_EVICT_MS);
    } else if (host->state == HOST_EVICTING) {
        log_warn("a child does not die"); /* in a system call that cannot be interrupted */
        close_host(host);
        return;
    } else if (host->state == HOST_FLUSHING) {
        log_warn("%zu events did not reach Redis; brokers will find the jobs lost",
                 host->outbox.count);
        close_host(host);
        return;
    } else if (host->state == HOST_LEAVING) {
        close_host(host);
        return;
    }
    host_step(host);
}

void host_drain(struct host *host)
{
    if (host->state == HOST_DRAINING) {
        evict(host, 0);
    } else if (host->state == HOST_SERVING) {
        log_info("draining: claims stop, running jobs have %" PRIu64 " ms to end",
                 host->conf->drain_grace_ms);
        (void)notify_send("STOPPING=1\nSTATUS=draining"); /* the manager's loss */
        host->env.is_draining = true;
        for (uint32_t i = 0; i < host->slot_count; i++)
            atomic_store(&host->slots[i].shm->is_draining, 1);
        CRASH_POINT("draining");
        enter(host, HOST_DRAINING, host->conf->drain_grace_ms);
        beat_now(&host->beat);
    }
    host_step(host);
}

static void step_drain(struct host *host)
{
    if ((host->state == HOST_DRAINING || host->state == HOST_EVICTING) && empty_slots(host))
        enter(host, HOST_FLUSHING, HOST_FLUSH_MS);
    if (host->state == HOST_FLUSHING && outbox_is_empty(&host->outbox))
        leave(host);
}

/* ---- the step ---- */

static void on_tick(uv_timer_t *timer)
{
    host_step(JM_CONTAINER_OF(timer, struct host, tick));
}

/* Whole milliseconds upwards: a timer that fires early would spin. */
static void set_tick(struct host *host, uint64_t next_ns, uint64_t now)
{
    uint64_t ms = next_ns > now ? (next_ns - now + 999999) / 1000000 : 1;

    if (host->state == HOST_DRAINING && ms > HOST_UNBLOCK_MS)
        ms = HOST_UNBLOCK_MS;
    else if (next_ns == SCAN_NEVER) {
        (void)uv_timer_stop(&host->tick);
        return;
    }
    uv_update_time(&host->loop);
    (void)uv_timer_start(&host->tick, on_tick, ms, 0);
}

static void host_step(struct host *host)
{
    uint64_t now = now_ns(), next_ns = SCAN_NEVER;

    for (uint32_t i = 0; i < host->slot_count; i++) {
        struct slot *slot = &host->slots[i];
        uint64_t at;

        if (slot->pid == 0 && !host->env.is_draining && now >= slot->respawn_ns)
            slot_spawn(slot, now);
        at = scan_slot(slot, now);
        if (at < next_ns)
            next_ns = at;
    }
    outbox_flush(&host->outbox);
    step_drain(host);
    if (host->state < HOST_FLUSHING)
        set_tick(host, next_ns, now);
    else
        (void)uv_timer_stop(&host->tick);
}

/* ---- what happens ---- */

static void on_wake(uv_poll_t *poll, int status, int events)
{
    struct host *host = JM_CONTAINER_OF(poll, struct host, wake);
    uint8_t bytes[256];

    (void)status;
    (void)events;
    while (read(host->wake_fds[0], bytes, sizeof(bytes)) == sizeof(bytes))
        continue;
    host_step(host);
}

static void on_link(void *data, bool is_up, const char *words)
{
    struct host *host = data;

    if (!is_up) {
        log_warn("Redis at %s: %s", host->conf->redis, words);
        return;
    }
    log_info("connected to Redis at %s", host->conf->redis);
    beat_now(&host->beat);
    outbox_flush(&host->outbox);
}

/* What a drain may wait for. */
static void on_outbox_empty(struct outbox *outbox)
{
    struct host *host = JM_CONTAINER_OF(outbox, struct host, outbox);

    if (host->state == HOST_FLUSHING)
        host_step(host);
}

static void on_order(void *data, const struct wire_order *order)
{
    struct host *host = data;

    if (order->kind == WIRE_DRAIN && host->state == HOST_SERVING) {
        host_drain(host);
        return;
    }
    for (uint32_t i = 0; order->kind == WIRE_KILL && i < host->slot_count; i++)
        if (scan_kill(&host->slots[i], order->id, order->attempt, now_ns()))
            break;
    host_step(host);
}

static struct slot *find_slot(struct host *host, pid_t pid)
{
    for (uint32_t i = 0; i < host->slot_count; i++)
        if (host->slots[i].pid == pid)
            return &host->slots[i];
    return NULL;
}

static bool is_slot(void *data, pid_t pid)
{
    return find_slot(data, pid) != NULL;
}

/* Each dead child. Its group is killed before it is reaped, while its number still is its own. */
static void reap(struct host *host)
{
    for (;;) {
        siginfo_t info = {0};
        struct rusage usage;
        struct slot *slot;
        int status;

        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
            break;
        slot = find_slot(host, info.si_pid);
        if (slot != NULL)
            slot_kill_hard(slot);
        if (wait4(info.si_pid, &status, 0, &usage) != info.si_pid)
            continue;
        if (slot != NULL)
            slot_bury(slot, status, &usage, now_ns());
    }
    (void)orphans_kill(is_slot, host);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct host *host = handle->data;

    if (number != SIGCHLD) {
        host_drain(host);
        return;
    }
    reap(host);
    host_step(host);
}

static void on_watchdog(uv_timer_t *timer)
{
    (void)timer;
    (void)notify_send("WATCHDOG=1"); /* a manager that does not listen ends us by itself */
}

/* ---- opening and closing ---- */

static int make_conf(struct host *host)
{
    const struct host_conf *conf = host->conf;
    struct shm_conf *shared = &host->env.conf;

    *shared = (struct shm_conf){.log_level = (uint32_t)conf->log_level,
                                .has_test_tasks = conf->has_test_tasks};
    if (getrandom(&shared->host, sizeof(shared->host), 0) != (ssize_t)sizeof(shared->host))
        return JM_EIO;
    snprintf(shared->redis, sizeof(shared->redis), "%s", conf->redis);
    snprintf(shared->queues, sizeof(shared->queues), "%s", conf->queues);
    snprintf(shared->tasks_dir, sizeof(shared->tasks_dir), "%s", conf->tasks_dir);
    snprintf(shared->file_root, sizeof(shared->file_root), "%s", conf->file_root);
    host->registry =
        (struct registry){.has_test_tasks = conf->has_test_tasks, .tasks_dir = conf->tasks_dir};
    return 0;
}

static int open_signal(struct host *host, uv_signal_t *handle, int number)
{
    if (uv_signal_init(&host->loop, handle) != 0)
        return JM_EIO;
    handle->data = host;
    return uv_signal_start(handle, on_signal, number) == 0 ? 0 : JM_EIO;
}

static int open_handles(struct host *host)
{
    uint64_t watchdog_ms = notify_watchdog_ms() / 2;

    if (pipe2(host->wake_fds, O_CLOEXEC | O_NONBLOCK) != 0 ||
        uv_timer_init(&host->loop, &host->tick) != 0 ||
        uv_timer_init(&host->loop, &host->drain) != 0 ||
        uv_timer_init(&host->loop, &host->watchdog) != 0 ||
        uv_poll_init(&host->loop, &host->wake, host->wake_fds[0]) != 0 ||
        uv_poll_start(&host->wake, UV_READABLE, on_wake) != 0 ||
        open_signal(host, &host->on_term, SIGTERM) != 0 ||
        open_signal(host, &host->on_int, SIGINT) != 0 ||
        open_signal(host, &host->on_child, SIGCHLD) != 0)
        return JM_EIO;
    if (watchdog_ms > 0 &&
        uv_timer_start(&host->watchdog, on_watchdog, watchdog_ms, watchdog_ms) != 0)
        return JM_EIO;
    host->env.wake_fd = host->wake_fds[1];
    return 0;
}

static int open_redis(struct host *host)
{
    struct redis_address address;
    int error;

    if (!redis_parse_address(host->conf->redis, &address))
        return JM_EINVAL;
    error = redis_line_open(&host->loop, &address, on_link, host, &host->link);
    if (error == 0)
        error = outbox_open(&host->outbox, &host->loop, host->link, on_outbox_empty);
    if (error == 0)
        error = beat_open(&host->beat, host);
    if (error == 0)
        error =
            orders_open(&host->orders, &host->loop, &address, host->env.conf.host, on_order, host);
    return error;
}

static int open_slots(struct host *host)
{
    uint32_t count = (uint32_t)host->conf->slots;
    int error = 0;

    if (count == 0)
        count = uv_available_parallelism();
    if (count > JM_SLOTS)
        count = JM_SLOTS;
    host->slots = calloc(count, sizeof(*host->slots));
    if (host->slots == NULL)
        return JM_ENOMEM;
    for (uint32_t i = 0; i < count && error == 0; i++) {
        error = slot_open(&host->slots[i], &host->env, i);
        host->slot_count += error == 0;
    }
    return error;
}

int host_open(struct host *host, const struct host_conf *conf)
{
    int error;

    *host = (struct host){.conf = conf, .wake_fds = {-1, -1}};
    (void)signal(SIGPIPE, SIG_IGN);
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (uv_loop_init(&host->loop) != 0) {
        log_error("cannot start: there is no memory or descriptor for the event loop");
        return JM_EIO;
    }
    host->env.loop = &host->loop;
    host->env.outbox = &host->outbox;
    host->env.nice = (int)conf->nice;
    error = make_conf(host);
    if (error == 0)
        error = open_handles(host);
    if (error == 0)
        error = open_redis(host);
    if (error == 0)
        error = open_slots(host);
    if (error != 0)
        log_error("cannot start: %s", errors_title(error));
    return error;
}

int host_run(struct host *host)
{
    host_step(host);
    (void)notify_send("READY=1");
    log_info("host %016" PRIx64 " serves %s with %u slots", host->env.conf.host, host->conf->queues,
             host->slot_count);
    (void)uv_run(&host->loop, UV_RUN_DEFAULT); /* until uv_stop: handles are still open */
    log_info("stopped");
    return host->state == HOST_CLOSED ? 0 : 1;
}

static void close_any(uv_handle_t *handle, void *data)
{
    (void)data;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void host_close(struct host *host)
{
    if (host->env.loop == NULL)
        return; /* not even that was there */
    for (uint32_t i = 0; i < host->slot_count; i++)
        slot_close(&host->slots[i]);
    if (host->orders.link != NULL)
        orders_close(&host->orders);
    redis_line_close(host->link);
    if (host->beat.host != NULL)
        beat_close(&host->beat);
    if (host->outbox.link != NULL)
        outbox_close(&host->outbox);
    uv_walk(&host->loop, close_any, NULL);
    while (uv_run(&host->loop, UV_RUN_DEFAULT) != 0)
        continue;
    for (int i = 0; i < 2; i++)
        if (host->wake_fds[i] >= 0)
            (void)close(host->wake_fds[i]);
    if (uv_loop_close(&host->loop) != 0)
        log_error("a handle was left open");
    free(host->slots);
}
