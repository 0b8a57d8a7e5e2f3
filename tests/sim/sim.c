#include "tests/sim/sim.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_STEPS = 400000, QUIET_LIMIT_S = 6000 };

/* ---- generator, timeline ---- */

uint64_t sim_random(struct sim *s, uint64_t below)
{
    if (s->choose != NULL)
        return s->choose(s, below);
    s->random_state += UINT64_C(0x9e3779b97f4a7c15);
    return hash_of_u64(s->random_state) % below;
}

bool sim_chance(struct sim *s, unsigned percent)
{
    return sim_random(s, 100) < percent;
}

static struct sim_event *add_event(struct sim *s, uint64_t in_ns,
                                   void (*run)(struct sim *s, void *arg), void *arg)
{
    struct sim_event *e = calloc(1, sizeof(*e));
    struct list *at = s->events.prev;

    assert(e != NULL);
    e->at_ns = s->now_ns + in_ns;
    e->run = run;
    e->arg = arg;
    while (at != &s->events && LIST_ENTRY(at, struct sim_event, link)->at_ns > e->at_ns)
        at = at->prev;
    list_insert_before(at->next, &e->link);
    return e;
}

void sim_at(struct sim *s, uint64_t in_ns, void (*run)(struct sim *s, void *arg), void *arg)
{
    (void)add_event(s, in_ns, run, arg);
}

void sim_at_owned(struct sim *s, uint64_t in_ns, void (*run)(struct sim *s, void *arg), void *arg)
{
    add_event(s, in_ns, run, arg)->is_arg_owned = true;
}

static uint64_t sim_mono_ns(struct clock *clock)
{
    return JM_CONTAINER_OF(clock, struct sim, clock)->now_ns;
}

static int64_t sim_wall_ms(struct clock *clock)
{
    struct sim *s = JM_CONTAINER_OF(clock, struct sim, clock);

    return s->wall_ms + (int64_t)(s->now_ns / SIM_MS);
}

static void sim_arm(struct timers *timers, struct timer *t, uint64_t at_ms)
{
    struct sim *s = JM_CONTAINER_OF(timers, struct sim, timers);
    struct list *at;

    list_remove(&t->link);
    t->at_ms = at_ms;
    at = s->armed.prev;
    while (at != &s->armed && LIST_ENTRY(at, struct timer, link)->at_ms > at_ms)
        at = at->prev;
    list_insert_before(at->next, &t->link);
}

static struct sim_event *first_event(const struct sim *s)
{
    return list_is_empty(&s->events) ? NULL : LIST_ENTRY(s->events.next, struct sim_event, link);
}

static struct timer *first_timer(const struct sim *s)
{
    return list_is_empty(&s->armed) ? NULL : LIST_ENTRY(s->armed.next, struct timer, link);
}

/* Whatever comes first: an event or a timer of the core. */
bool sim_step(struct sim *s)
{
    struct sim_event *e = first_event(s);
    struct timer *t = first_timer(s);

    if (e == NULL && t == NULL)
        return false;
    if (t != NULL && (e == NULL || t->at_ms * SIM_MS <= e->at_ns)) {
        if (t->at_ms * SIM_MS > s->now_ns)
            s->now_ns = t->at_ms * SIM_MS;
        timer_disarm(t);
        t->on_time(t);
    } else {
        s->now_ns = e->at_ns;
        list_remove(&e->link);
        e->run(s, e->arg);
        free(e);
    }
    if (s->core != NULL && s->disk.is_dead)
        sim_broker_fail(s); /* killed while it did something */
    if (s->core != NULL)
        core_turn(s->core);
    s->steps++;
    return true;
}

void sim_fail(struct sim *s, const char *fmt, ...)
{
    va_list args;

    if (s->failure[0] != '\0')
        return;
    va_start(args, fmt);
    vsnprintf(s->failure, sizeof(s->failure), fmt, args);
    va_end(args);
}

void sim_trace(const struct sim *s, const char *fmt, ...)
{
    va_list args;

    if (!s->is_traced)
        return;
    fprintf(stderr, "%10.6f ", (double)s->now_ns / 1e9);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
}

/* ---- a world ---- */

static void open_disk(struct sim *s)
{
    static bool is_registered;

    if (!is_registered)
        disk_register();
    is_registered = true;
    s->disk_random_state = ~s->seed;
    disk_init(&s->disk, &s->disk_random_state);
    sqlite3_randomness(0, NULL); /* from the disk's generator again */
}

static void open_world(struct sim *s, uint64_t seed)
{
    *s = (struct sim){.seed = seed, .random_state = seed};
    s->wall_ms = INT64_C(1767225600000); /* 2026-01-01 */
    s->now_ns = 1000 * SIM_MS;
    s->clock.mono_ns = sim_mono_ns;
    s->clock.wall_ms = sim_wall_ms;
    s->timers.arm = sim_arm;
    list_init(&s->armed);
    list_init(&s->events);
    list_init(&s->calls);
    list_init(&s->reads);
    /* The database lies on the disk in memory; here, only the lock beside it. */
    snprintf(s->dir, sizeof(s->dir), "%s/jobmill-sim-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (mkdtemp(s->dir) == NULL)
        abort();
    snprintf(s->db, sizeof(s->db), "%s/jobs.db", s->dir);
    open_disk(s);
    sim_redis_init(s);
    sim_runner_init(s);
}

/* What a first start leaves on the disk: made once in a process. */
static void copy_made(struct sim *s)
{
    static struct disk made;
    static bool is_made;
    struct store_conf conf = {.path = s->db, .vfs = "sim", .clock = &s->clock};
    char sentence[256];
    struct store *store;

    if (!is_made) {
        struct disk fresh;
        uint64_t random_state = 0;

        disk_init(&fresh, &random_state);
        if (store_open(&conf, &store, sentence) != 0)
            abort();
        store_close(store);
        disk_init(&made, &random_state);
        disk_copy(&made, &fresh);
        disk_done(&fresh);
        is_made = true;
    }
    disk_shown = &s->disk;
    disk_copy(&s->disk, &made);
}

void sim_open(struct sim *s, uint64_t seed)
{
    open_world(s, seed);
    copy_made(s);
    sim_broker_start(s);
}

/* Whether something happens before that time. */
static bool is_before(const struct sim *s, uint64_t end_ns)
{
    const struct sim_event *e = first_event(s);
    const struct timer *t = first_timer(s);

    return (e != NULL && e->at_ns < end_ns) || (t != NULL && t->at_ms * SIM_MS < end_ns);
}

void sim_run_ms(struct sim *s, uint64_t ms)
{
    uint64_t end_ns = s->now_ns + ms * SIM_MS;

    while (is_before(s, end_ns))
        (void)sim_step(s);
    s->now_ns = end_ns;
}

static void remove_files(struct sim *s)
{
    char path[128];

    snprintf(path, sizeof(path), "%s.lock", s->db);
    (void)unlink(path);
    if (rmdir(s->dir) != 0)
        fprintf(stderr, "%s is not empty\n", s->dir);
}

static void close_world(struct sim *s)
{
    struct list *node;

    sim_broker_crash(s);
    sim_redis_done(s);
    while ((node = list_pop_front(&s->events)) != NULL) {
        struct sim_event *e = LIST_ENTRY(node, struct sim_event, link);

        if (e->is_arg_owned)
            free(e->arg);
        free(e);
    }
    disk_done(&s->disk);
    remove_files(s);
}

void sim_close(struct sim *s)
{
    close_world(s);
}

/* ---- a run ---- */

bool sim_is_idle(const struct sim *s)
{
    if (!sim_broker_is_up(s) || !list_is_empty(&s->calls) || !list_is_empty(&s->reads))
        return false;
    LIST_EACH(node, &s->core->queues.all)
    {
        const int64_t *counts = queues_entry(node)->counts.by_state;

        if (counts[JOB_SCHEDULED] + counts[JOB_QUEUED] + counts[JOB_DISPATCHED] +
                counts[JOB_RUNNING] >
            0)
            return false;
    }
    return true;
}

static void begin_run(struct sim *s, uint64_t seed, uint64_t acts)
{
    open_world(s, seed);
    s->max_acts = acts;
    sim_ledger_init(s);
    sim_faults_init(s);
    if (sim_chance(s, 95))
        copy_made(s);
    else if (sim_may(s, SIM_POWER_LOST_IN_WRITE))
        disk_arm(&s->disk, DISK_POWER, 1 + sim_random(s, 300)); /* in the first start */
    sim_check_init(s);
    sim_check_limits_init(s);
    sim_fleet_init(s);
    sim_clients_init(s);
    sim_broker_start_soon(s, 0);
}

/* Until all is done, or something is wrong. */
static void live(struct sim *s)
{
    uint64_t calm_ns = 0;

    while (s->failure[0] == '\0' && sim_step(s)) {
        sim_check_step(s);
        sim_check_limits_step(s);
        if (s->acts >= s->max_acts && s->faults_on) {
            sim_faults_end(s);
            calm_ns = s->now_ns;
        }
        if (!s->faults_on && s->is_closing && sim_is_idle(s))
            return;
        if (s->steps > MAX_STEPS ||
            (!s->faults_on && s->now_ns - calm_ns > QUIET_LIMIT_S * 1000 * SIM_MS))
            sim_fail(s, "jobs are still live %d s after the last fault", QUIET_LIMIT_S);
    }
}

static void tell(struct sim *s, struct sim_result *ret_result)
{
    *ret_result = (struct sim_result){.acts = s->acts,
                                      .steps = s->steps,
                                      .accepted = s->promise_count,
                                      .finished = sim_check_finished(s),
                                      .crashes = s->crashes};
    memcpy(ret_result->faults, s->faults, sizeof(s->faults));
    memcpy(ret_result->failure, s->failure, sizeof(s->failure));
}

void sim_run(uint64_t seed, uint64_t acts, bool is_traced, struct sim_result *ret_result)
{
    struct sim *s = calloc(1, sizeof(*s));

    assert(s != NULL);
    begin_run(s, seed, acts);
    s->is_traced = is_traced;
    live(s);
    if (s->failure[0] == '\0')
        sim_check_end(s);
    tell(s, ret_result);
    sim_check_limits_done(s);
    sim_check_done(s);
    close_world(s);
    sim_ledger_done(s);
    free(s->promises);
    free(s);
}
