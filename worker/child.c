/*
 * child.c: one turn of the loop is
 *
 *     put LPUSH of the ends that are not published ── put BLMPOP ── one write ── wait for both
 *     ── mark what was claimed in shared memory ── for each job: begin, run, end
 *
 * Rules of the order: a job is marked CLAIMED before `is_claiming` goes off, so that the parent
 * never sees a child that neither claims nor holds what it claimed. An end is in shared memory
 * before the job's word says DONE. A word becomes FREE only when Redis has confirmed the end. While
 * an end cannot be published nothing runs and nothing is claimed; what is claimed already waits.
 */
#include "worker/child.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/crash.h"
#include "lib/log.h"
#include "lib/mp.h"
#include "schema/errors.h"
#include "schema/keys.h"
#include "schema/wire.h"
#include "worker/run.h"
#include "worker/ends.h"
#include "worker/pace.h"
#include "worker/program.h"
#include "worker/redis.h"
#include "worker/registry.h"
#include "worker/serving.h"
#include "worker/shm.h"

enum {
    CHILD_BLOCK_MS = 2000,
    CHILD_ANSWER_MS = 5000, /* how long Redis may take beyond that */
    CHILD_BACKOFF_FIRST_MS = 20,
    CHILD_BACKOFF_LAST_MS = 1000,
    CHILD_PAUSE_MS = 20, /* while the parent's heartbeat is not young */
};

#define CHILD_END_WAITS_NS UINT64_C(2000000) /* an end waits that long for company */
#define CHILD_BEAT_AGE_NS (UINT64_C(1000000) * JM_LEASE_MS / 3)

/* One job of the claim at hand. */
struct claimed {
    uint64_t position;
    struct wire_job job;
    bool is_bad; /* only node, id and attempt could be read */
};

struct child {
    struct shm *shm;
    struct redis_address address;
    struct redis_pipe *pipe; /* NULL while there is no connection */
    struct registry registry;
    struct serving_queue queues[SERVING_QUEUES];
    char keys[SERVING_QUEUES][KEYS_BYTES];
    size_t queue_count;
    uint64_t seed; /* of the order of the next claim */
    struct pace pace;
    struct task_call call;
    struct ends ends;
    uint32_t pid;
    unsigned backoff_ms;

    struct claimed claimed[JM_CLAIM_JOBS];
    size_t claimed_count;
};

static uint64_t now_ns(void)
{
    return clock_mono_ns(clock_real());
}

static void sleep_ms(unsigned ms)
{
    struct timespec rest = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

    while (nanosleep(&rest, &rest) != 0 && errno == EINTR)
        continue;
}

/* ---- the connection ---- */

static void drop_pipe(struct child *child)
{
    atomic_store(&child->shm->client_id, 0);
    redis_pipe_close(child->pipe);
    child->pipe = NULL;
}

/* Something went wrong with Redis: told once per outage, and waited for. */
static void back_off(struct child *child, const char *what, const char *words)
{
    if (child->backoff_ms == CHILD_BACKOFF_FIRST_MS)
        log_warn("%s: %s", what, words);
    sleep_ms(child->backoff_ms);
    child->backoff_ms *= 2;
    if (child->backoff_ms > CHILD_BACKOFF_LAST_MS)
        child->backoff_ms = CHILD_BACKOFF_LAST_MS;
}

static bool connect_pipe(struct child *child)
{
    uint64_t id = 0;

    if (child->pipe != NULL)
        return true;
    if (redis_pipe_open(&child->address, CHILD_BLOCK_MS + CHILD_ANSWER_MS, &child->pipe) != 0) {
        back_off(child, "cannot connect to Redis", child->shm->conf.redis);
        return false;
    }
    if (redis_pipe_client_id(child->pipe, &id) != 0) {
        back_off(child, "Redis does not serve", redis_pipe_error(child->pipe));
        drop_pipe(child);
        return false;
    }
    atomic_store(&child->shm->client_id, id);
    return true;
}

/* ---- publishing ---- */

/* Publishes, again and again, until it is done. Publishing twice does no harm: the broker drops an
 * end that it has. */
static void publish(struct child *child)
{
    for (;;) {
        int error;

        if (!connect_pipe(child))
            continue;
        error = ends_put(&child->ends, child->pipe);
        if (error == 0)
            error = ends_wait(&child->ends, child->pipe);
        if (error == 0)
            break;
        back_off(child, "cannot publish results", redis_pipe_error(child->pipe));
        if (error != JM_EREFUSED)
            drop_pipe(child);
    }
    child->backoff_ms = CHILD_BACKOFF_FIRST_MS;
}

/* ---- running ---- */

static void wake_parent(struct child *child, enum shm_watch lowest)
{
    uint32_t watch;

    (void)atomic_fetch_add(&child->shm->steps, 1);
    watch = atomic_load(&child->shm->watch);
    if (watch < (uint32_t)lowest)
        return;
    /* Woken once: until it has looked it needs no second byte. */
    if (!atomic_compare_exchange_strong(&child->shm->watch, &watch, SHM_WATCH_ALL))
        return;
    if (write(CHILD_WAKE_FD, "", 1) < 0 && errno != EAGAIN)
        log_warn("cannot wake the parent: %s", strerror(errno));
}

static void run_task(struct child *child, const struct claimed *claimed)
{
    struct task_call *call = &child->call;
    const struct task *task = registry_find(&child->registry, claimed->job.task);
    char file[REGISTRY_FILE_BYTES];

    if (claimed->is_bad)
        (void)task_fail(call, errors_code(JM_EWIRE), "the worker cannot decode the job's message");
    else if (task != NULL)
        run_native(call, task);
    else if (registry_find_program(&child->registry, call->name, file))
        program_run(call, child->registry.tasks_dir, file);
    else
        (void)task_fail(call, errors_code(JM_ETASKUNKNOWN), "there is no task '%s' here",
                        call->name);
}

static void encode_end(struct child *child, uint64_t begun_ns, int64_t begun_at_ms, uint64_t end_ns)
{
    const struct shm_conf *conf = &child->shm->conf;
    struct wire_event event;

    run_describe(&child->call, &event);
    event.host = conf->host;
    event.slot = conf->slot;
    event.pid = child->pid;
    event.begun_at_ms = begun_at_ms;
    event.run_us = (end_ns - begun_ns) / 1000;
    if (!ends_encode(&child->ends, &event)) {
        log_error("no memory for a result");
        abort(); /* the parent tells the crash; to go on would lose the job */
    }
}

/* Into shared memory if there is room, else straight on. */
static void keep_end(struct child *child, uint64_t position, uint64_t end_ns)
{
    if (ends_needs_room(&child->ends))
        publish(child);
    if (!ends_keep(&child->ends, position, end_ns))
        publish(child);
}

static void run_one(struct child *child, const struct claimed *claimed)
{
    uint64_t begun_ns = now_ns(), end_ns;
    int64_t begun_at_ms;

    if (child->ends.first_ns != 0 && begun_ns - child->ends.first_ns >= CHILD_END_WAITS_NS) {
        publish(child);
        begun_ns = now_ns();
    }
    CRASH_POINT("before-begun");
    begun_at_ms = clock_wall_ms(clock_real());
    run_open(&child->call, &claimed->job,
             child->shm->conf.file_root[0] != '\0' ? child->shm->conf.file_root : NULL);
    child->call.shm = child->shm;
    child->call.position = claimed->position;
    if (!shm_begin(child->shm, claimed->position, begun_ns, begun_at_ms)) {
        shm_free(child->shm, claimed->position); /* taken back by the parent */
        return;
    }
    wake_parent(child, SHM_WATCH_NONE);
    CRASH_POINT("begun");
    run_task(child, claimed);
    CRASH_POINT("task-done");
    end_ns = now_ns();
    pace_note(&child->pace, end_ns - begun_ns);
    encode_end(child, begun_ns, begun_at_ms, end_ns);
    keep_end(child, claimed->position, end_ns);
    CRASH_POINT("end-kept");
}

/* ---- claiming ---- */

/* What can be read of a frame that cannot be decoded: enough to fail the job rather than lose it
 * again and again. The numbers are those of wire.h's job message, which never change. */
static bool read_identity(struct span frame, struct wire_job *ret_job)
{
    struct mp_cursor c;
    struct span value;
    uint64_t key, numbers[4] = {0};
    uint32_t count;

    mp_open(&c, frame);
    if (!mp_next_map(&c, &count))
        return false;
    while (count-- > 0) {
        bool is_known = mp_next_uint(&c, UINT64_MAX, &key) && key >= 1 && key <= 3;

        if (is_known && mp_next_uint(&c, UINT64_MAX, &numbers[key]))
            continue;
        if (!mp_skip(&c, JM_JSON_DEPTH, &value))
            break;
    }
    if (numbers[1] >= JM_NODES || numbers[2] == 0 || numbers[2] > INT64_MAX || numbers[3] == 0 ||
        numbers[3] > UINT32_MAX)
        return false;
    *ret_job = (struct wire_job){
        .node = (uint32_t)numbers[1], .id = numbers[2], .attempt = (uint32_t)numbers[3]};
    return true;
}

/* Once for 1, 2, 4, 8 … of them, so that a list full of rubbish does not become a log full of it.
 */
static void tell_bad_frame(struct child *child, struct span frame, bool has_identity)
{
    uint32_t count = (uint32_t)atomic_fetch_add(&child->shm->bad_frames, 1) + 1, version;

    if ((count & (count - 1)) != 0)
        return;
    if (wire_peek_version(frame, &version) && version != WIRE_VERSION)
        log_error("a job speaks version %u of the protocol and this worker version %d: %s; brokers "
                  "and workers of one Redis have to speak the same (number %u)",
                  (unsigned)version, WIRE_VERSION, has_identity ? "it fails" : "it is dropped",
                  (unsigned)count);
    else
        log_error("a message of %zu bytes cannot be decoded%s (number %u)", frame.len,
                  has_identity ? "; its job fails" : " and is dropped", (unsigned)count);
}

static void keep_frame(struct child *child, struct span frame)
{
    struct claimed *claimed = &child->claimed[child->claimed_count];
    struct wire_job *job = &claimed->job;

    *claimed = (struct claimed){0};
    if (wire_decode_job(frame, job) != 0) {
        claimed->is_bad = read_identity(frame, job);
        tell_bad_frame(child, frame, claimed->is_bad);
        if (!claimed->is_bad)
            return;
    }
    if (job->timeout_ms == 0)
        job->timeout_ms = JM_TIMEOUT_DEFAULT_MS;
    claimed->position =
        shm_claim(child->shm, job->node, job->id, job->attempt, job->timeout_ms, job->grace_ms);
    child->claimed_count++;
}

static void mark_claimed(struct child *child, const struct redis_claim *claim)
{
    if (claim->count > 0)
        CRASH_POINT("claimed");
    child->claimed_count = 0;
    for (size_t i = 0; i < claim->count && i < JM_CLAIM_JOBS; i++)
        keep_frame(child, redis_claim_frame(claim, i));
    if (claim->count > 0)
        (void)atomic_fetch_add(&child->shm->claims, 1);
    if (child->claimed_count > 1)
        wake_parent(child, SHM_WATCH_BEGUN);
}

/* The flag goes up before the look at is_draining and the parent looks the other way round: one of
 * the two sees the other. */
static bool may_claim(struct child *child)
{
    uint64_t beat_ns;

    atomic_store(&child->shm->is_claiming, 1);
    beat_ns = atomic_load(&child->shm->beat_ns);
    if (atomic_load(&child->shm->is_draining) == 0 && beat_ns != 0 &&
        now_ns() - beat_ns < CHILD_BEAT_AGE_NS)
        return true;
    atomic_store(&child->shm->is_claiming, 0);
    return false;
}

/* Redis takes from the first of the keys that is not empty. */
static int put_claim(struct child *child)
{
    size_t order[SERVING_QUEUES];
    const char *keys[SERVING_QUEUES];

    serving_order(child->queues, child->queue_count, &child->seed, order);
    for (size_t i = 0; i < child->queue_count; i++)
        keys[i] = child->keys[order[i]];
    return redis_pipe_put_claim(child->pipe, keys, child->queue_count, pace_claim(&child->pace),
                                CHILD_BLOCK_MS);
}

/* Publishes and claims in one write. Returns what failed; claimed jobs are marked all the same. */
static int exchange(struct child *child, bool is_claiming, struct redis_claim *ret_claim)
{
    int error = ends_put(&child->ends, child->pipe), claim_error = 0;

    if (error == 0 && is_claiming)
        error = put_claim(child);
    if (error != 0)
        return error;
    error = ends_wait(&child->ends, child->pipe);
    if (is_claiming && error != JM_EUNKNOWN)
        claim_error = redis_pipe_wait_claim(child->pipe, ret_claim);
    mark_claimed(child, ret_claim);
    return claim_error != 0 ? claim_error : error;
}

static void take_turn(struct child *child)
{
    struct redis_claim claim = {0};
    bool is_claiming;
    int error;

    if (!connect_pipe(child))
        return;
    is_claiming = may_claim(child);
    if (!is_claiming && child->ends.first_ns == 0) {
        sleep_ms(CHILD_PAUSE_MS);
        return;
    }
    error = exchange(child, is_claiming, &claim);
    atomic_store(&child->shm->is_claiming, 0);
    if (error == 0) {
        child->backoff_ms = CHILD_BACKOFF_FIRST_MS;
    } else {
        back_off(child, "Redis fails", redis_pipe_error(child->pipe));
        if (error != JM_EREFUSED)
            drop_pipe(child);
    }
    if (error != 0 && child->ends.first_ns != 0)
        publish(child);
    for (size_t i = 0; i < child->claimed_count; i++)
        run_one(child, &child->claimed[i]);
    child->claimed_count = 0;
    redis_claim_done(&claim);
}

/* ---- start ---- */

static bool read_queues(struct child *child)
{
    if (!serving_parse(child->shm->conf.queues, child->queues, &child->queue_count))
        return false;
    for (size_t i = 0; i < child->queue_count; i++) {
        struct span name = child->queues[i].name;

        keys_queue(child->keys[i], (const char *)name.data, name.len);
    }
    return getrandom(&child->seed, sizeof(child->seed), 0) == (ssize_t)sizeof(child->seed);
}

static int open_child(struct child *child)
{
    const struct shm_conf *conf;
    int error = shm_attach(CHILD_SHM_FD, &child->shm);

    if (error != 0)
        return error;
    conf = &child->shm->conf;
    log_setup("jobmill-worker", (enum log_level)conf->log_level);
    child->registry =
        (struct registry){.has_test_tasks = conf->has_test_tasks, .tasks_dir = conf->tasks_dir};
    child->backoff_ms = CHILD_BACKOFF_FIRST_MS;
    child->pid = (uint32_t)getpid();
    run_init(&child->call);
    ends_init(&child->ends, child->shm);
    if (!redis_parse_address(conf->redis, &child->address) || !read_queues(child))
        return JM_EINVAL;
    return 0;
}

int child_main(void)
{
    struct child *child = calloc(1, sizeof(*child));

    if (child == NULL || open_child(child) != 0) {
        fprintf(stderr, "jobmill-worker: %s is how a worker starts its own children\n",
                CHILD_ARGUMENT);
        free(child);
        return 2;
    }
    (void)signal(SIGPIPE, SIG_IGN); /* a broken connection is an error code, not a death */
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    for (;;)
        take_turn(child);
}
