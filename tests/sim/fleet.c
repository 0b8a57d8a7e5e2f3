/*
 * fleet.c: worker hosts as the broker sees them: each slot claims a job, runs it, publishes its
 * end; the host beats every second and names what its slots hold from the claim until the
 * publication. They stall, die, lose children, publish late and twice. Each has connections of its
 * own, so that a beat may arrive behind an end that was published after it. They do not read
 * orders: a kill that never arrives must do no harm either.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "schema/id.h"
#include "tests/sim/sim.h"

enum { BEAT_MS = 1000, YOUNG_MS = 5000, STEADY_MS = 1800 };

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

static bool has_jobs(struct sim *s)
{
    char key[KEYS_BYTES];

    for (size_t q = 0; q < SIM_QUEUES; q++) {
        keys_queue(key, sim_queues[q], strlen(sim_queues[q]));
        if (!list_is_empty(&sim_redis_key(s, key)->blobs))
            return true;
    }
    return false;
}

static void wake_slot(struct sim *s, struct sim_host *h, unsigned i);

struct beat {
    struct sim_host *host;
    uint64_t id;
    size_t len;
    uint8_t bytes[];
};

static void note_landed(struct sim *s, struct sim_host *h)
{
    if (h->steady_ns == 0 || s->now_ns - h->beat_ns > STEADY_MS * SIM_MS)
        h->steady_ns = s->now_ns;
    h->beat_ns = s->now_ns;
    for (unsigned i = 0; i < SIM_SLOTS && has_jobs(s); i++)
        wake_slot(s, h, i); /* a claim waits for its parent's beats too */
}

static void land_beat(struct sim *s, void *arg)
{
    struct beat *b = arg;

    if (s->redis.is_up && !sim_redis_refuses(s, CARRIER_PUSH)) {
        sim_redis_beat(s, b->id, span_of(b->bytes, b->len));
        if (b->id == b->host->id)
            note_landed(s, b->host);
    }
    free(b);
}

static void send_beat(struct sim *s, struct sim_host *h, struct span bytes)
{
    uint64_t at_ns = s->now_ns + sim_random(s, s->redis.is_slow ? 900 : 5) * SIM_MS;
    struct beat *b = malloc(sizeof(*b) + bytes.len);

    assert(b != NULL);
    *b = (struct beat){.host = h, .id = h->id, .len = bytes.len};
    memcpy(b->bytes, bytes.data, bytes.len);
    h->quiet_ns = at_ns > h->quiet_ns ? at_ns : h->quiet_ns;
    sim_at_owned(s, h->quiet_ns - s->now_ns, land_beat, b);
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
    put_beat(&out, &lists, h);
    send_beat(s, h, buf_span(&out));
    buf_done(&out);
    buf_done(&lists);
}

/* ---- a job's way through a slot ---- */

static void claim(struct sim *s, void *arg);
static void publish(struct sim *s, void *arg);
static void begin(struct sim *s, void *arg);

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

/* Publishing is repeated until Redis is known to have taken it. */
static void publish(struct sim *s, void *arg)
{
    struct sim_host *h;
    unsigned i;
    struct sim_slot *slot = arrive(s, arg, publish, &h, &i);

    if (slot == NULL)
        return;
    if (!s->redis.is_up || sim_redis_refuses(s, CARRIER_PUSH)) {
        send_errand(s, 200 * SIM_MS, publish, h, i);
        return;
    }
    s->acts++;
    sim_ledger_report(s, slot->id, slot->attempt, slot->kind);
    sim_trace(s, "worker says that attempt %u of job %llu %s", slot->attempt,
              (unsigned long long)slot->id, wire_event_word(slot->kind));
    push_event(s, h, slot, i);
    if (s->faults_on && sim_may(s, SIM_PUBLISHED_TWICE) && sim_chance(s, 5)) {
        sim_note(s, SIM_PUBLISHED_TWICE);
        send_errand(s, sim_random(s, 2000) * SIM_MS, publish, h, i);
        return;
    }
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

static struct sim_blob *pop(struct sim *s, const struct sim_host *h)
{
    struct sim_blob *blob = NULL;
    char key[KEYS_BYTES];

    if (!s->redis.is_up || sim_redis_refuses(s, CARRIER_DRAW) ||
        s->now_ns - h->beat_ns >= YOUNG_MS * SIM_MS || h->beat_ns == 0)
        return NULL;
    for (size_t q = 0; q < SIM_QUEUES && blob == NULL; q++) {
        keys_queue(key, sim_queues[q], strlen(sim_queues[q]));
        blob = sim_redis_rpop(s, key);
    }
    return blob;
}

/* The answer has come: from now on its host names the job. */
static void hold(struct sim *s, void *arg)
{
    struct sim_host *h;
    unsigned i;
    struct sim_slot *slot = arrive(s, arg, hold, &h, &i);

    if (slot == NULL)
        return;
    slot->is_busy = true;
    send_errand(s, sim_random(s, 2000) * 1000, begin, h, i);
}

/* How long the answer of a claim takes; UINT64_MAX: for ever. */
static uint64_t answer_in_us(struct sim *s, const struct sim_slot *slot)
{
    if (s->faults_on && sim_may(s, SIM_CLAIM_LOST) && sim_chance(s, 2)) {
        sim_note(s, SIM_CLAIM_LOST);
        sim_ledger_excuse(s, slot->id, slot->attempt);
        return UINT64_MAX;
    }
    if (s->faults_on && sim_may(s, SIM_CLAIM_SLOW) && (s->redis.is_slow || sim_chance(s, 2))) {
        sim_note(s, SIM_CLAIM_SLOW);
        sim_ledger_excuse(s, slot->id, slot->attempt);
        return sim_random(s, 3000000);
    }
    return 20 + sim_random(s, 500);
}

static void claim(struct sim *s, void *arg)
{
    struct sim_host *h;
    unsigned i;
    struct sim_slot *slot = arrive(s, arg, claim, &h, &i);
    struct sim_blob *blob;
    struct wire_job job;
    uint64_t in_us;

    if (slot == NULL)
        return;
    blob = pop(s, h);
    slot->is_waiting = blob == NULL;
    if (blob == NULL)
        return;
    if (wire_decode_job(span_of(blob->bytes, blob->len), &job) != 0)
        sim_fail(s, "a frame in Redis cannot be decoded");
    free(blob);
    s->acts++;
    slot->id = job.id;
    slot->attempt = job.attempt;
    slot->claimed_ns = s->now_ns;
    sim_limits_claimed(s, job.id, job.attempt);
    sim_trace(s, "worker claims attempt %u of job %llu", job.attempt, (unsigned long long)job.id);
    in_us = answer_in_us(s, slot);
    if (in_us == UINT64_MAX)
        free_slot(s, h, i);
    else
        send_errand(s, in_us * 1000, hold, h, i);
}

static void wake_slot(struct sim *s, struct sim_host *h, unsigned i)
{
    if (!h->slots[i].is_waiting)
        return;
    h->slots[i].is_waiting = false;
    send_errand(s, sim_random(s, 1000) * 1000, claim, h, i);
}

void sim_fleet_wake(struct sim *s)
{
    unsigned first = (unsigned)sim_random(s, SIM_HOSTS);

    for (unsigned n = 0; n < SIM_HOSTS * SIM_SLOTS; n++) {
        struct sim_host *h = &s->hosts[(first + n) % SIM_HOSTS];
        unsigned i = n / SIM_HOSTS;

        if (!h->is_alive || h->is_stopped || !h->slots[i].is_waiting)
            continue;
        wake_slot(s, h, i);
        return;
    }
}

/* ---- faults ---- */

/* What it held, or was about to, is gone, or named by nobody for as long as it stands still. */
static void excuse_slots(struct sim *s, const struct sim_host *h)
{
    for (unsigned i = 0; i < SIM_SLOTS; i++)
        if (h->slots[i].id != 0)
            sim_ledger_excuse(s, h->slots[i].id, h->slots[i].attempt);
}

static void start_host(struct sim *s, struct sim_host *h)
{
    h->id = (1 + sim_random(s, ID_MAX >> 16)) << 16 | ++s->hosts_started;
    h->seq = 0;
    h->beat_ns = 0;
    h->steady_ns = 0;
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

    excuse_slots(s, h);
    h->is_stopped = false;
    h->steady_ns = 0;
}

/* Its parent says so. */
static void kill_child(struct sim *s, struct sim_host *h)
{
    unsigned i = (unsigned)sim_random(s, SIM_SLOTS);
    struct sim_slot *slot = &h->slots[i];

    if (!slot->is_busy || !slot->has_begun)
        return;
    sim_note(s, SIM_CHILD_KILLED);
    slot->turn++; /* the errands of the run are void */
    slot->kind = WIRE_CRASHED;
    send_errand(s, SIM_MS, publish, h, i);
}

void sim_fleet_fault(struct sim *s, enum sim_fault fault)
{
    struct sim_host *h = &s->hosts[sim_random(s, SIM_HOSTS)];

    if (!h->is_alive || h->is_stopped)
        return;
    if (fault == SIM_CHILD_KILLED) {
        kill_child(s, h);
        return;
    }
    sim_note(s, fault);
    excuse_slots(s, h);
    sim_ledger_host_down(s);
    if (fault == SIM_HOST_KILLED) {
        h->is_alive = false;
        sim_at(s, (1 + sim_random(s, 5000)) * SIM_MS, restart_host, h);
    } else {
        h->is_stopped = true;
        sim_at(s, (1 + sim_random(s, 40000)) * SIM_MS, go_on, h);
    }
}

void sim_fleet_heal(struct sim *s)
{
    for (unsigned i = 0; i < SIM_HOSTS; i++)
        if (s->hosts[i].is_stopped)
            go_on(s, &s->hosts[i]);
}

void sim_fleet_init(struct sim *s)
{
    for (unsigned i = 0; i < SIM_HOSTS; i++) {
        s->hosts[i].sim = s;
        start_host(s, &s->hosts[i]);
        sim_at(s, sim_random(s, BEAT_MS) * SIM_MS, beat, &s->hosts[i]);
    }
}
