/*
 * broker.c: the broker's life. A crash closes everything over a disk that does nothing any more, so
 * that what is on it at that moment is what the next start finds; a start that the disk refuses is
 * tried again.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/id.h"
#include "tests/sim/sim.h"

static void close_all(struct sim *s)
{
    if (s->core != NULL)
        core_done(s->core);
    free(s->core);
    s->core = NULL;
    s->reader = reader_close(s->reader);
    s->store = store_close(s->store);
}

/* Returns 0, or not, and `ret_sentence` may say why. */
static int try_start(struct sim *s, char ret_sentence[256])
{
    struct store_conf conf = {.path = s->db,
                              .vfs = "sim",
                              .clock = &s->clock,
                              .retain_ms = 20000,
                              .retain_failed_ms = 30000};
    struct core_conf core_conf = {
        .heartbeat_ms = 1000, .lease_ms = 15000, .seed = sim_random(s, ID_MAX)};
    struct core_seams seams = {.clock = &s->clock,
                               .carrier = &s->redis.carrier,
                               .runner = &s->runner.runner,
                               .timers = &s->timers};
    int rc = store_open(&conf, &s->store, ret_sentence);

    if (rc == 0)
        rc = reader_open(&conf, &s->reader);
    if (rc != 0)
        return rc;
    s->core = calloc(1, sizeof(*s->core));
    assert(s->core != NULL);
    sim_runner_start(s);
    s->redis.is_link_up = false;
    rc = core_init(s->core, &core_conf, &seams);
    if (rc == 0)
        rc = core_start(s->core, s->reader);
    if (rc != 0)
        snprintf(ret_sentence, 256, "The core says %d.", rc);
    return rc;
}

/* Whether a fault has struck meanwhile. */
static bool has_struck(const struct disk *d, const uint64_t before[DISK_FAULTS])
{
    for (size_t i = 0; i < DISK_FAULTS; i++)
        if (d->struck[i] != before[i])
            return true;
    return d->is_full;
}

/* The process is gone, whatever it was doing. */
static void end(struct sim *s)
{
    s->runner.is_dead = true;
    sim_trace(s, "the broker ends%s", s->disk.has_lost_power ? ", and the power is lost" : "");
    if (s->core != NULL) {
        sim_clients_hang_up(s);
        core_close_carrier(s->core); /* of what it sends from here on nothing gets through */
        sim_redis_break_link(s);
        sim_runner_crash(s);
    }
    while (!list_is_empty(&s->armed))
        list_remove(s->armed.next);
    close_all(s);
    if (s->disk.has_lost_power)
        sim_check_power_lost(s);
    disk_restart(&s->disk);
}

static void start(struct sim *s, void *arg)
{
    uint64_t before[DISK_FAULTS];
    char sentence[256] = "It cannot be read.";

    (void)arg;
    if (s->core != NULL)
        return;
    memcpy(before, s->disk.struck, sizeof(before));
    if (try_start(s, sentence) == 0) {
        sim_trace(s, "the broker has started");
        sim_runner_tell(s);
        sim_check_open(s);
        sim_redis_break_link(s); /* it comes up soon */
        return;
    }
    if (!has_struck(&s->disk, before) && !s->may_starve)
        sim_fail(s, "the broker does not start: %.200s", sentence);
    s->crashes++;
    end(s);
    sim_broker_start_soon(s, 100 + sim_random(s, 1000));
}

void sim_broker_start(struct sim *s)
{
    start(s, NULL);
    if (s->failure[0] != '\0') {
        fprintf(stderr, "%s\n", s->failure);
        abort();
    }
}

void sim_broker_start_soon(struct sim *s, uint64_t in_ms)
{
    sim_at(s, in_ms * SIM_MS, start, NULL);
}

static void check_requests(struct sim *s)
{
    LIST_EACH(node, &s->calls)
    if (!LIST_ENTRY(node, struct sim_request, link)->is_back)
        sim_fail(s, "a request has never come back");
}

void sim_broker_crash(struct sim *s)
{
    if (s->core == NULL)
        return;
    s->crashes++;
    s->disk.is_dead = true;
    sim_check_note_out(s);
    sim_check_close(s);
    end(s);
    check_requests(s);
}

void sim_broker_stop(struct sim *s)
{
    if (s->core == NULL || !sim_runner_drain(s))
        return;
    s->crashes++;
    sim_check_step(s);
    sim_check_note_out(s);
    sim_check_close(s);
    end(s);
    check_requests(s);
}

void sim_broker_fail(struct sim *s)
{
    sim_broker_crash(s);
    sim_broker_start_soon(s, sim_random(s, 1000));
}
