/*
 * fleet.c: worker hosts as the broker sees them: each slot claims a job, runs it, publishes its
 * end; the host beats every second and names what its slots hold from the claim until the
 * publication. They stall, die, lose children, publish late and twice. They do not read orders: a
 * kill that never arrives must do no harm either.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "schema/id.h"
#include "tests/sim/sim.h"

enum { BEAT_MS = 1000, YOUNG_MS = 5000, IDLE_MS = 20 };

/* What an event has to carry to find its slot again, or to find that the slot has moved on. */
struct errand {
    struct sim_host *host;
    unsigned slot;
    uint64_t turn;
};

static void send_errand(struct sim *s, uint64_t in_ns, void (*run)(struct sim *s, void *arg),
                        struct sim_host *h, unsigned slot)
{
    struct errand *e = calloc(1, sizeof(*e));

    assert(e != NULL);
    *e = (struct errand){.host = h, .slot = slot, .turn = h->slots[slot].turn};
    sim_at_owned(s, in_ns, run, e);
}

/* The slot, unless the host died or the slot was freed since; frees the errand. A stopped host does
 * the errand when it runs again: then NULL, and the errand is sent anew. */
static struct sim_slot *arrive(struct sim *s, struct errand *e,
                               void (*run)(struct sim *s, void *arg), struct sim_host **ret_host,
                               unsigned *ret_slot)
{
    struct sim_slot *slot = &e->host->slots[e->slot];
    bool is_current = e->host->is_alive && slot->turn == e->turn;

    *ret_host = e->host;
    *ret_slot = e->slot;
    if (is_current && e->host->is_stopped)
        send_errand(s, 500 * SIM_MS, run, e->host, e->slot);
    is_current = is_current && !e->host->is_stopped;
    free(e);
    return is_current ? slot : NULL;
}

/* ---- beats ---- */

static void put_held(struct buf *out, const struct sim_host *h)
{
    uint32_t n = 0;

    for (unsigned i = 0; i < SIM_SLOTS; i++)
        n += h->slots[i].is_busy;
    wire_encode_list(out, n);
    for (unsigned i = 0; i < SIM_SLOTS; i++) {
        struct wire_held held = {.id = h->slots[i].id,
                                 .attempt = h->slots[i].attempt,
                                 .has_begun = h->slots[i].has_begun,
                                 .slot = i};

        if (h->slots[i].is_busy)
            wire_encode_held(out, &held);
    }
}

static void put_beat(struct buf *out, struct buf *lists, const struct sim_host *h)
{
    struct wire_beat beat = {.host = h->id,
                             .seq = h->seq,
                             .pid = 1,
                             .started_at_ms = 1,
                             .slots = SIM_SLOTS,
                             .hostname = span_of_str("sim"),
                             .version = span_of_str("0")};
    size_t held_len, tasks_len;

    put_held(lists, h);
    held_len = lists->len;
    wire_encode_list(lists, 0);
    tasks_len = lists->len - held_len;
    wire_encode_list(lists, 2);
    wire_encode_name(lists, span_of_str("a"));
    wire_encode_name(lists, span_of_str("b"));
    assert(!buf_has_failed(lists));
    beat.held = span_of(lists->data, held_len);
    beat.tasks = span_of(lists->data + held_len, tasks_len);
    beat.queues = span_of(lists->data + held_len + tasks_len, lists->len - held_len - tasks_len);
    wire_encode_beat(out, &beat);
}

static void beat(struct sim *s, void *arg)
{
    struct sim_host *h = arg;
    struct buf out, lists;

    sim_at(s, BEAT_MS * SIM_MS, beat, h);
    if (!h->is_alive || h->is_stopped || !s->redis.is_up)
        return;
    buf_init(&out, 1 << 16);
    buf_init(&lists, 1 << 16);
    h->seq++;
    h->beat_ns = s->now_ns;
    put_beat(&out, &lists, h);
    sim_redis_beat(s, h->id, buf_span(&out));
    buf_done(&out);
    buf_done(&lists);
}

/* ---- a job's way through a slot ---- */

static void claim(struct sim *s, void *arg);
static void publish(struct sim *s, void *arg);

static void free_slot(struct sim *s, struct sim_host *h, unsigned i)
{
    uint64_t turn = h->slots[i].turn + 1;

    h->slots[i] = (struct sim_slot){.turn = turn};
    send_errand(s, sim_random(s, 2000) * 1000, claim, h, i);
}

static void push_event(struct sim *s, const struct sim_host *h, const struct sim_slot *slot,
                       unsigned i)
{
    struct wire_event event = {.kind = slot->kind,
                               .id = slot->id,
                               .attempt = slot->attempt,
                               .host = h->id,
                               .slot = i,
                               .pid = 1,
                               .has_begun = true,
                               .begun_at_ms = 1,
                               .run_us = (s->now_ns - slot->begun_ns) / 1000,
                               .result = span_of("\xc3", 1),
                               .code = span_of_str("task_failed"),
                               .message = span_of_str("so it goes"),
                               .signal = 9};
    char key[KEYS_BYTES];
    struct buf out;

    buf_init(&out, 1 << 16);
    wire_encode_event(&out, &event);
    keys_results(key, 0);
    sim_redis_lpush(s, key, buf_span(&out));
    buf_done(&out);
}

/* Publishing is repeated until Redis takes it, and now and then once too often. */
static void publish(struct sim *s, void *arg)
{
    struct sim_host *h;
    unsigned i;
    struct sim_slot *slot = arrive(s, arg, publish, &h, &i);

    if (slot == NULL)
        return;
    if (!s->redis.is_up || s->redis.refuses) {
        send_errand(s, 200 * SIM_MS, publish, h, i);
        return;
    }
    sim_check_report(s, slot->id, slot->attempt, slot->kind);
    push_event(s, h, slot, i);
    if (sim_chance(s, 5))
        push_event(s, h, slot, i);
    free_slot(s, h, i);
}

static enum wire_event_kind pick_end(struct sim *s)
{
    uint64_t percent = sim_random(s, 100);

    if (percent < 85)
        return WIRE_SUCCEEDED;
    if (percent < 93)
        return WIRE_FAILED;
    return percent < 96 ? WIRE_CRASHED : WIRE_HANDED_BACK;
}

static void begin(struct sim *s, void *arg)
{
    struct sim_host *h;
    unsigned i;
    struct sim_slot *slot = arrive(s, arg, begin, &h, &i);

    if (slot == NULL)
        return;
    slot->has_begun = true;
    slot->begun_ns = s->now_ns;
    slot->kind = pick_end(s);
    send_errand(s, sim_random(s, sim_chance(s, 10) ? 8000 : 300) * SIM_MS, publish, h, i);
}

static void claim(struct sim *s, void *arg)
{
    struct sim_host *h;
    unsigned i;
    struct sim_slot *slot = arrive(s, arg, claim, &h, &i);
    struct sim_blob *blob = NULL;
    struct wire_job job;
    char key[KEYS_BYTES];

    if (slot == NULL)
        return;
    for (size_t q = 0; q < SIM_QUEUES && blob == NULL; q++) {
        keys_queue(key, sim_queues[q], strlen(sim_queues[q]));
        if (s->redis.is_up && s->now_ns - h->beat_ns < YOUNG_MS * SIM_MS)
            blob = sim_redis_rpop(s, key);
    }
    if (blob == NULL) {
        send_errand(s, (1 + sim_random(s, IDLE_MS)) * SIM_MS, claim, h, i);
        return;
    }
    if (wire_decode_job(span_of(blob->bytes, blob->len), &job) != 0)
        sim_fail(s, "a frame in Redis cannot be decoded");
    if (s->faults_on && sim_chance(s, 1)) { /* popped to a connection that broke */
        free(blob);
        send_errand(s, SIM_MS, claim, h, i);
        return;
    }
    slot->is_busy = true;
    slot->id = job.id;
    slot->attempt = job.attempt;
    free(blob);
    send_errand(s, sim_random(s, 2000) * 1000, begin, h, i);
}

/* ---- faults ---- */

static void start_host(struct sim *s, struct sim_host *h)
{
    h->id = 1 + sim_random(s, ID_MAX);
    h->seq = 0;
    h->beat_ns = 0;
    h->is_alive = true;
    h->is_stopped = false;
    for (unsigned i = 0; i < SIM_SLOTS; i++)
        free_slot(s, h, i);
}

static void restart_host(struct sim *s, void *arg)
{
    start_host(s, arg);
}

static void go_on(struct sim *s, void *arg)
{
    struct sim_host *h = arg;

    (void)s;
    h->is_stopped = false;
}

/* A child is killed: its parent says so. */
static void kill_child(struct sim *s, struct sim_host *h)
{
    unsigned i = (unsigned)sim_random(s, SIM_SLOTS);
    struct sim_slot *slot = &h->slots[i];

    if (!slot->is_busy || !slot->has_begun || h->is_stopped)
        return;
    slot->turn++; /* the errands of the run are void */
    slot->kind = WIRE_CRASHED;
    send_errand(s, SIM_MS, publish, h, i);
}

static void fault(struct sim *s, void *arg)
{
    struct sim_host *h = &s->hosts[sim_random(s, SIM_HOSTS)];

    (void)arg;
    if (!s->faults_on) {
        for (unsigned i = 0; i < SIM_HOSTS; i++)
            s->hosts[i].is_stopped = false;
        return;
    }
    sim_at(s, (1 + sim_random(s, 6000)) * SIM_MS, fault, NULL);
    if (!h->is_alive || h->is_stopped)
        return;
    switch (sim_random(s, 3)) {
    case 0:
        h->is_alive = false;
        sim_at(s, (1 + sim_random(s, 5000)) * SIM_MS, restart_host, h);
        break;
    case 1:
        h->is_stopped = true;
        sim_at(s, (1 + sim_random(s, 40000)) * SIM_MS, go_on, h);
        break;
    default:
        kill_child(s, h);
        break;
    }
}

void sim_fleet_init(struct sim *s)
{
    for (unsigned i = 0; i < SIM_HOSTS; i++) {
        s->hosts[i].sim = s;
        start_host(s, &s->hosts[i]);
        sim_at(s, sim_random(s, BEAT_MS) * SIM_MS, beat, &s->hosts[i]);
    }
    sim_at(s, 3000 * SIM_MS, fault, NULL);
}
