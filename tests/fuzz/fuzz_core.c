/*
 * Any bytes as a history of the broker's core: the world of tests/sim (clients that submit, change,
 * cancel, limit and pause; a fleet of workers; Redis; a real store) takes each of its decisions
 * from the input instead of from its generator, and its invariants are checked after every step.
 *
 * A world costs more than an input, so it lives on from input to input, until WORLD_BYTES were
 * used; then all is left to come to its end, and that is checked. What the world has used so far is
 * in a file (JM_FUZZ_HISTORY, if that is set), which is removed at a good end: given to the target
 * as one input, it makes a new world do the same (and tells each step, if JM_FUZZ_TRACE is set).
 * What an input lacks is zeros.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/sim/sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    WORLD_BYTES = 20000,
    HISTORY_BYTES = 1 << 20,
    QUIET_S = 600, /* of the world's time, in which everything must have come to an end */
};

static struct sim *world;
static struct span input;
static uint8_t *history;
static size_t history_len;
static char history_path[256];

/* ---- decisions ---- */

static uint8_t take_byte(void)
{
    uint8_t byte = 0;

    if (input.len > 0) {
        byte = input.data[0];
        input = span_of(input.data + 1, input.len - 1);
    }
    if (history_len < HISTORY_BYTES)
        history[history_len++] = byte;
    return byte;
}

static uint64_t choose(struct sim *s, uint64_t below)
{
    uint64_t value = take_byte();

    (void)s;
    for (uint64_t reach = 256; reach < below && reach <= UINT64_C(1) << 24; reach <<= 8)
        value = value << 8 | take_byte();
    return value % below;
}

static void fault(struct sim *s, void *arg)
{
    (void)arg;
    switch (sim_random(s, 64)) { /* a start of the broker costs a hundred other steps */
    case 0:
    case 4:
    case 5:
        sim_redis_flush(s);
        break;
    case 1:
    case 6:
    case 7:
        sim_redis_break_link(s);
        break;
    case 2:
    case 8:
        sim_redis_restart(s);
        break;
    case 3:
        sim_broker_crash(s);
        sim_broker_start(s);
        break;
    default:
        break;
    }
    sim_at(s, (1 + sim_random(s, 4000)) * SIM_MS, fault, NULL);
}

/* ---- the world ---- */

static void require_good(struct sim *s)
{
    if (s->failure[0] == '\0')
        return;
    fprintf(stderr, "%s\nthe history is in %s\n", s->failure, history_path);
    abort();
}

static void step(struct sim *s)
{
    if (!sim_step(s))
        return;
    sim_check_step(s);
    sim_check_limits_step(s);
    require_good(s);
}

static void open_world(void)
{
    struct sim *s = world = calloc(1, sizeof(*s));

    assert(s != NULL);
    history_len = 0;
    memset(history, 0, HISTORY_BYTES);
    sim_open(s, 1);
    s->is_traced = getenv("JM_FUZZ_TRACE") != NULL;
    s->choose = choose;
    s->max_acts = UINT64_MAX;
    s->faults_on = true;
    s->allowed = UINT64_MAX;
    sim_ledger_init(s);
    sim_check_init(s);
    sim_check_limits_init(s);
    sim_check_open(s);
    sim_fleet_init(s);
    sim_clients_init(s);
    sim_at(s, 2000 * SIM_MS, fault, NULL);
}

static void close_world(void)
{
    struct sim *s = world;

    sim_check_limits_done(s);
    sim_check_done(s);
    sim_close(s);
    sim_ledger_done(s);
    free(s->promises);
    free(s);
    world = NULL;
}

/* From here on the generator decides, without faults. */
static void finish_world(void)
{
    struct sim *s = world;
    uint64_t end_ns = s->now_ns + QUIET_S * 1000 * SIM_MS;

    s->choose = NULL;
    s->max_acts = 0;
    sim_faults_end(s);
    while (!sim_is_idle(s) && s->now_ns < end_ns)
        step(s);
    sim_check_end(s);
    require_good(s);
    close_world();
}

/* ---- the target ---- */

static void at_exit(void)
{
    if (world != NULL)
        close_world();
    if (history_path[0] != '\0')
        (void)unlink(history_path);
}

static void open_history(void)
{
    const char *path = getenv("JM_FUZZ_HISTORY");
    int fd = -1, flags = MAP_SHARED;

    if (path != NULL) {
        snprintf(history_path, sizeof(history_path), "%s.%d", path, (int)getpid());
        fd = open(history_path, O_RDWR | O_CREAT | O_TRUNC, 0600);
        if (fd < 0 || ftruncate(fd, HISTORY_BYTES) != 0)
            abort();
    } else {
        flags |= MAP_ANONYMOUS;
    }
    history = mmap(NULL, HISTORY_BYTES, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (history == MAP_FAILED || atexit(at_exit) != 0)
        abort();
    if (fd >= 0)
        (void)close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (history == NULL)
        open_history();
    input = span_of(data, size); /* also for the decisions of the beginning, as in a replay */
    if (world == NULL)
        open_world();
    while (input.len > 0)
        step(world);
    if (history_len >= WORLD_BYTES)
        finish_world();
    return 0;
}
