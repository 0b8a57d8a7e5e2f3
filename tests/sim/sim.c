#include "tests/sim/sim.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "schema/id.h"

enum { MAX_STEPS = 200000, QUIET_LIMIT_S = 600 };

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

/* The planted bug: the dispatch decides as if nothing were set. */
static void turn_without_limits(struct sim *s)
{
    struct queue_conf kept[SIM_QUEUES];
    struct queue *queues[SIM_QUEUES];

    for (size_t i = 0; i < SIM_QUEUES; i++) {
        queues[i] = queues_find(&s->core->queues, span_of_str(sim_queues[i]));
        if (queues[i] == NULL)
            continue;
        kept[i] = queues[i]->conf;
        queues[i]->conf = (struct queue_conf){.is_paused = kept[i].is_paused};
    }
    core_turn(s->core);
    for (size_t i = 0; i < SIM_QUEUES; i++)
        if (queues[i] != NULL)
            queues[i]->conf = kept[i];
}

static void turn(struct sim *s)
{
    if (s->plant == SIM_PLANT_NO_LIMITS)
        turn_without_limits(s);
    else
        core_turn(s->core);
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
    if (s->core != NULL)
        turn(s);
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

/* ---- the broker ---- */

static void on_counts(void *owner, struct span queue, const struct store_counts *counts)
{
    struct sim *s = owner;

    if (core_on_counts(s->core, queue, counts) != 0)
        sim_fail(s, "there is no memory");
}

static void on_lane(void *owner, const struct store_lane_view *lane)
{
    struct sim *s = owner;

    if (core_on_lane(s->core, lane) != 0)
        sim_fail(s, "there is no memory");
}

void sim_broker_start(struct sim *s)
{
    struct store_conf conf = {
        .path = s->db, .clock = &s->clock, .retain_ms = 20000, .retain_failed_ms = 30000};
    struct core_conf core_conf = {
        .heartbeat_ms = 1000, .lease_ms = 15000, .seed = sim_random(s, ID_MAX)};
    struct core_seams seams = {.clock = &s->clock,
                               .carrier = &s->redis.carrier,
                               .runner = &s->runner.runner,
                               .timers = &s->timers};
    char sentence[256];

    s->core = calloc(1, sizeof(*s->core));
    if (store_open(&conf, &s->store, sentence) != 0 || reader_open(&conf, &s->reader) != 0 ||
        core_init(s->core, &core_conf, &seams) != 0 || core_start(s->core, s->reader) != 0) {
        fprintf(stderr, "the simulated broker cannot start: %s\n", sentence);
        abort();
    }
    store_changed_counts(s->store, s, on_counts);
    store_changed_lanes(s->store, s, on_lane);
    s->runner.is_dead = false;
    s->redis.is_link_up = false;
    sim_redis_break_link(s); /* it comes up soon */
}

/* Nothing of what is under way is carried out any more; everything is only given back so that it
 * can be freed. What the database holds at this moment is what the next start finds. */
void sim_broker_crash(struct sim *s)
{
    s->crashes++;
    s->runner.is_dead = true;
    sim_redis_break_link(s);
    core_close_carrier(s->core);
    sim_runner_crash(s);
    while (!list_is_empty(&s->armed))
        list_remove(s->armed.next);
    core_done(s->core);
    free(s->core);
    s->core = NULL;
    s->reader = reader_close(s->reader);
    s->store = store_close(s->store);
}

/* ---- faults ---- */

/* By less than jobs are kept: none ends and is purged in one batch, unseen. */
static void step_clock(struct sim *s)
{
    s->wall_ms += (int64_t)sim_random(s, 38000) - 19000;
}

static void stop_refusing(struct sim *s, void *arg)
{
    (void)arg;
    s->redis.refuses = false;
}

static void stop_being_full(struct sim *s, void *arg)
{
    (void)arg;
    s->runner.is_full = false;
}

static void fault(struct sim *s, void *arg)
{
    (void)arg;
    if (!s->faults_on)
        return;
    switch (sim_random(s, 8)) {
    case 0:
        sim_redis_flush(s);
        break;
    case 1:
        sim_redis_break_link(s);
        break;
    case 2:
        sim_redis_restart(s);
        break;
    case 3:
        sim_broker_crash(s);
        sim_broker_start(s);
        break;
    case 4:
        step_clock(s);
        break;
    case 5:
        s->redis.refuses = true;
        sim_at(s, (1 + sim_random(s, 2000)) * SIM_MS, stop_refusing, NULL);
        break;
    case 6:
        s->runner.is_full = true;
        sim_at(s, (1 + sim_random(s, 3000)) * SIM_MS, stop_being_full, NULL);
        break;
    default:
        break; /* the hosts have faults of their own (fleet.c) */
    }
    sim_at(s, (1 + sim_random(s, 8000)) * SIM_MS, fault, NULL);
}

/* ---- a run ---- */

void sim_open(struct sim *s, uint64_t seed)
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
    /* A broker that crashes here loses nothing that it wrote, so the disk need not be a real one.
     */
    snprintf(s->dir, sizeof(s->dir), "%s/jobmill-sim-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (mkdtemp(s->dir) == NULL)
        abort();
    snprintf(s->db, sizeof(s->db), "%s/jobs.db", s->dir);
    sim_redis_init(s);
    sim_runner_init(s);
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
    static const char *const ends[] = {"", "-wal", "-shm", ".lock"};
    char path[128];

    for (size_t i = 0; i < JM_COUNT_OF(ends); i++) {
        snprintf(path, sizeof(path), "%s%s", s->db, ends[i]);
        (void)unlink(path);
    }
    if (rmdir(s->dir) != 0)
        fprintf(stderr, "%s is not empty\n", s->dir);
}

void sim_close(struct sim *s)
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
    remove_files(s);
}

static bool is_quiet(struct sim *s)
{
    if (s->to_submit > 0 || !list_is_empty(&s->calls))
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

bool sim_run(uint64_t seed, enum sim_plant plant, size_t jobs, char ret_failure[256])
{
    struct sim *s = calloc(1, sizeof(*s));
    uint64_t calm_ns = 0;
    bool is_good;

    assert(s != NULL);
    sim_open(s, seed);
    s->plant = plant;
    s->faults_on = true;
    s->to_submit = jobs;
    sim_check_init(s);
    sim_check_limits_init(s);
    sim_fleet_init(s);
    sim_clients_init(s);
    sim_at(s, 2000 * SIM_MS, fault, NULL);
    while (s->failure[0] == '\0' && sim_step(s)) {
        sim_check_step(s);
        sim_check_limits_step(s);
        if (s->to_submit == 0 && s->faults_on && s->now_ns > 30000 * SIM_MS) {
            s->faults_on = false;
            calm_ns = s->now_ns;
        }
        if (!s->faults_on && is_quiet(s))
            break;
        if (s->steps > MAX_STEPS ||
            (!s->faults_on && s->now_ns - calm_ns > QUIET_LIMIT_S * 1000 * SIM_MS))
            sim_fail(s, "jobs are still live %d s after the last fault", QUIET_LIMIT_S);
    }
    if (s->failure[0] == '\0')
        sim_check_end(s);
    memcpy(ret_failure, s->failure, sizeof(s->failure));
    is_good = s->failure[0] == '\0';
    sim_check_limits_done(s);
    sim_check_done(s);
    sim_close(s);
    free(s->promises);
    free(s->reports);
    free(s);
    return is_good;
}
