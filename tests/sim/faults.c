/*
 * faults.c: what goes wrong in the world, and when. Each seed has some of the kinds only, so that
 * what one kind would excuse is seen where it cannot have been.
 */
#include "tests/sim/sim.h"

static const char *const words[SIM_FAULTS] = {
    [SIM_REDIS_FLUSHED] = "redis_flushed",
    [SIM_REDIS_SWAPPED] = "redis_swapped",
    [SIM_REDIS_FELL_BACK] = "redis_fell_back",
    [SIM_REDIS_REFUSED] = "redis_refused",
    [SIM_REDIS_LOADED] = "redis_loading",
    [SIM_REDIS_SLOW] = "redis_slow",
    [SIM_LINK_BROKEN] = "link_broken",
    [SIM_RAN_LATE] = "ran_late",
    [SIM_BROKER_KILLED] = "broker_killed",
    [SIM_BROKER_KILLED_IN_WRITE] = "broker_killed_in_write",
    [SIM_BROKER_STOPPED] = "broker_stopped",
    [SIM_POWER_LOST] = "power_lost",
    [SIM_POWER_LOST_IN_WRITE] = "power_lost_in_write",
    [SIM_SYNC_FAILED] = "sync_failed",
    [SIM_WRITE_FAILED] = "write_failed",
    [SIM_WRITE_SHORT] = "write_short",
    [SIM_READ_FAILED] = "read_failed",
    [SIM_DISK_FULL] = "disk_full",
    [SIM_CLOCK_STEPPED] = "clock_stepped",
    [SIM_HOST_KILLED] = "host_killed",
    [SIM_HOST_STOPPED] = "host_stopped",
    [SIM_CHILD_KILLED] = "child_killed",
    [SIM_CLAIM_LOST] = "claim_lost",
    [SIM_CLAIM_SLOW] = "claim_slow",
    [SIM_PUBLISHED_TWICE] = "published_twice",
};

const char *sim_fault_word(enum sim_fault fault)
{
    return words[fault];
}

bool sim_may(const struct sim *s, enum sim_fault fault)
{
    return (s->allowed >> fault & 1) != 0;
}

void sim_note(struct sim *s, enum sim_fault fault)
{
    s->faults[fault]++;
    s->acts++;
    sim_trace(s, "fault %s", words[fault]);
}

/* ---- what ends by itself ---- */

static void end_refusal(struct sim *s, void *arg)
{
    (void)arg;
    s->redis.refuses = false;
    s->redis.is_loading = false;
}

static void end_slowness(struct sim *s, void *arg)
{
    (void)arg;
    s->redis.is_slow = false;
}

static void end_fullness(struct sim *s, void *arg)
{
    (void)arg;
    s->disk.is_full = false;
}

static void fall_back(struct sim *s, void *arg)
{
    (void)arg;
    if (s->faults_on && s->redis.is_up)
        sim_redis_fall_back(s);
}

static void for_a_while(struct sim *s, uint64_t most_ms, void (*end)(struct sim *s, void *arg))
{
    sim_at(s, (1 + sim_random(s, most_ms)) * SIM_MS, end, NULL);
}

/* ---- strikes ---- */

static void strike_redis(struct sim *s, enum sim_fault fault)
{
    switch (fault) {
    case SIM_REDIS_FLUSHED:
        sim_redis_flush(s);
        break;
    case SIM_REDIS_SWAPPED:
        sim_redis_restart(s);
        break;
    case SIM_REDIS_FELL_BACK:
        sim_redis_copy(s);
        for_a_while(s, 1500, fall_back);
        break;
    case SIM_REDIS_REFUSED:
        s->redis.refuses = true;
        s->redis.lacks_memory = sim_chance(s, 50);
        for_a_while(s, 2000, end_refusal);
        break;
    case SIM_REDIS_LOADED:
        s->redis.is_loading = true;
        for_a_while(s, 2000, end_refusal);
        break;
    case SIM_REDIS_SLOW:
        s->redis.is_slow = true;
        for_a_while(s, 6000, end_slowness);
        break;
    default:
        sim_redis_break_link(s);
        break;
    }
}

static void lose_power(struct sim *s)
{
    s->disk.has_lost_power = true;
    sim_broker_crash(s);
    sim_broker_start_soon(s, sim_random(s, 2000));
}

/* Mostly by less than jobs are kept, so that none ends and is purged in one batch, unseen; or by so
 * much that it is noticed (broker/wall_watch.h), and nothing is purged. */
static void step_clock(struct sim *s)
{
    int64_t most_ms = sim_chance(s, 90) ? 19000 : 3600000;
    int64_t step_ms = (int64_t)sim_random(s, (uint64_t)most_ms);

    step_ms += most_ms > 60000 ? 61000 : 0;
    s->wall_ms += sim_chance(s, 50) ? step_ms : -step_ms;
}

static void strike_broker(struct sim *s, enum sim_fault fault)
{
    switch (fault) {
    case SIM_BROKER_KILLED:
        sim_broker_crash(s);
        sim_broker_start_soon(s, sim_chance(s, 50) ? 0 : sim_random(s, 3000));
        break;
    case SIM_BROKER_STOPPED:
        sim_broker_stop(s);
        sim_broker_start_soon(s, sim_random(s, 1000));
        break;
    case SIM_POWER_LOST:
        lose_power(s);
        break;
    default:
        step_clock(s);
        break;
    }
}

/* At one of the next changes of a file, whenever that is. */
static void strike_disk(struct sim *s, enum sim_fault fault)
{
    static const enum disk_fault of[SIM_FAULTS] = {
        [SIM_BROKER_KILLED_IN_WRITE] = DISK_KILL, [SIM_POWER_LOST_IN_WRITE] = DISK_POWER,
        [SIM_SYNC_FAILED] = DISK_SYNC_FAILS,      [SIM_WRITE_FAILED] = DISK_WRITE_FAILS,
        [SIM_WRITE_SHORT] = DISK_SHORT_WRITE,     [SIM_READ_FAILED] = DISK_READ_FAILS};

    if (fault == SIM_DISK_FULL) {
        s->disk.is_full = true;
        for_a_while(s, 3000, end_fullness);
        return;
    }
    disk_arm(&s->disk, of[fault], 1 + sim_random(s, sim_chance(s, 80) ? 30 : 600));
}

static void strike(struct sim *s, void *arg)
{
    enum sim_fault fault = (enum sim_fault)sim_random(s, SIM_FAULTS);

    (void)arg;
    if (!s->faults_on)
        return;
    sim_at(s, (1 + sim_random(s, 1500)) * SIM_MS, strike, NULL);
    if (!sim_may(s, fault))
        return;
    if (fault >= SIM_HOST_KILLED && fault <= SIM_CHILD_KILLED) {
        sim_fleet_fault(s, fault);
        return;
    }
    if (fault == SIM_RAN_LATE || fault >= SIM_CLAIM_LOST)
        return; /* they happen of themselves */
    sim_note(s, fault);
    if (fault <= SIM_LINK_BROKEN)
        strike_redis(s, fault);
    else if (fault >= SIM_BROKER_KILLED_IN_WRITE && fault <= SIM_DISK_FULL &&
             fault != SIM_BROKER_STOPPED && fault != SIM_POWER_LOST)
        strike_disk(s, fault);
    else
        strike_broker(s, fault);
}

void sim_faults_init(struct sim *s)
{
    s->faults_on = true;
    s->allowed = sim_random(s, UINT64_C(1) << SIM_FAULTS);
    if (sim_chance(s, 40))
        s->allowed |= sim_random(s, UINT64_C(1) << SIM_FAULTS);
    if (sim_chance(s, 20))
        s->allowed &= sim_random(s, UINT64_C(1) << SIM_FAULTS);
    sim_at(s, 1500 * SIM_MS, strike, NULL);
}

void sim_faults_end(struct sim *s)
{
    s->faults_on = false;
    s->redis.refuses = false;
    s->redis.is_loading = false;
    s->redis.is_slow = false;
    disk_disarm_all(&s->disk);
    sim_fleet_heal(s);
}
