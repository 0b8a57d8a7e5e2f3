/*
 * hosts.c: polls, heartbeats, leases. What follows from them for jobs that are out is in lost.c.
 */
#include "broker/hosts.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core.h"
#include "broker/lost.h"
#include "broker/strangers.h"
#include "lib/mp.h"
#include "schema/errors.h"
#include "schema/limits.h"

enum { ABSENT_POLLS = 2 }; /* a field that two polls did not find was taken away by its owner */

/* ---- the table ---- */

struct host *hosts_find(const struct hosts *hs, uint64_t id)
{
    struct hash_node *node = hash_find(&hs->by_id, hash_of_u64(id));

    for (; node != NULL; node = hash_find_next(node)) {
        struct host *h = JM_CONTAINER_OF(node, struct host, by_id);

        if (h->id == id)
            return h;
    }
    return NULL;
}

static struct host *host_add(struct hosts *hs, uint64_t id)
{
    struct host *h;

    if (hs->by_id.len >= JM_HOSTS)
        return NULL;
    h = calloc(1, sizeof(*h));
    if (h == NULL || hash_insert(&hs->by_id, &h->by_id, hash_of_u64(id)) < 0) {
        free(h);
        return NULL;
    }
    h->id = id;
    h->seen_live_ms = hs->live_ms;
    buf_init(&h->copy, JM_BEAT_BYTES);
    list_push_back(&hs->all, &h->in_order);
    hs->is_changed = true;
    return h;
}

static void host_remove(struct hosts *hs, struct host *h)
{
    hash_remove(&hs->by_id, &h->by_id);
    list_remove(&h->in_order);
    buf_done(&h->copy);
    free(h);
    hs->is_changed = true;
}

size_t hosts_count(const struct hosts *hs)
{
    return hs->by_id.len;
}

uint64_t hosts_silent_ms(const struct hosts *hs, const struct host *h)
{
    return hs->live_ms - h->seen_live_ms;
}

static bool host_serves(const struct host *h, struct span queue)
{
    struct mp_cursor c;
    struct span name;

    wire_open_list(h->beat.queues, &c);
    while (wire_next_name(&c, &name))
        if (span_is_equal(name, queue))
            return true;
    return false;
}

uint32_t hosts_slots(const struct hosts *hs, struct span queue)
{
    uint32_t slots = 0;

    LIST_EACH(node, &hs->all)
    {
        const struct host *h = hosts_entry(node);

        if (!h->beat.is_draining && host_serves(h, queue))
            slots += h->beat.slots;
    }
    return slots;
}

static bool host_serves_task(const struct host *h, struct span task)
{
    struct mp_cursor c;
    struct wire_task said;

    wire_open_list(h->beat.tasks, &c);
    while (wire_next_task(&c, &said))
        if (span_is_equal(said.name, task))
            return true;
    return false;
}

bool hosts_serve_task(const struct hosts *hs, struct span task, struct span queue)
{
    LIST_EACH(node, &hs->all)
    {
        const struct host *h = hosts_entry(node);

        if (!h->beat.is_draining && host_serves(h, queue) && host_serves_task(h, task))
            return true;
    }
    return false;
}

/* ---- orders ---- */

struct order {
    struct carrier_req req;
    struct buf frame;
    struct span value;
};

static void on_ordered(struct carrier_req *req)
{
    struct order *o = JM_CONTAINER_OF(req, struct order, req);

    buf_done(&o->frame); /* if it failed: the next beat that names the job has it sent again */
    free(o);
}

static void send_kill(struct hosts *hs, uint64_t host, uint64_t id, uint32_t attempt)
{
    struct wire_order kill = {.kind = WIRE_KILL, .id = id, .attempt = attempt};
    struct order *o = calloc(1, sizeof(*o));

    if (o == NULL)
        return;
    buf_init(&o->frame, 256);
    wire_encode_order(&o->frame, &kill);
    o->value = buf_span(&o->frame);
    o->req = (struct carrier_req){.verb = CARRIER_ORDER,
                                  .values = &o->value,
                                  .value_count = 1,
                                  .last = JM_ORDERS - 1,
                                  .on_done = on_ordered};
    keys_control(o->req.key, host);
    list_init(&o->req.link);
    carrier_send(hs->core->seams.carrier, &o->req);
}

/* A host that is not known any more, as after a restart, is no reason to leave the job to the
 * others. */
void hosts_order_kill(struct hosts *hs, uint64_t host, uint64_t id, uint32_t attempt)
{
    if (host != 0 && hosts_find(hs, host) != NULL) {
        send_kill(hs, host, id, attempt);
        return;
    }
    LIST_EACH(node, &hs->all)
    send_kill(hs, hosts_entry(node)->id, id, attempt);
}

static void on_dropped(struct carrier_req *req)
{
    free(req); /* if it failed: a short list of a host that is gone stays behind */
}

/* Nobody reads the orders of a host that is gone. */
static void drop_orders(struct hosts *hs, uint64_t host)
{
    struct carrier_req *req = calloc(1, sizeof(*req));

    if (req == NULL)
        return;
    *req = (struct carrier_req){.verb = CARRIER_REMOVE, .on_done = on_dropped};
    keys_control(req->key, host);
    list_init(&req->link);
    carrier_send(hs->core->seams.carrier, req);
}

/* ---- what hosts say of their tasks ---- */

struct learn {
    struct store_learn op;
    struct hosts *hosts;
    uint64_t host;
    struct buf copy;
    struct wire_task tasks[];
};

static void learn_free(struct learn *l)
{
    buf_done(&l->copy);
    free(l);
}

static void on_learned(struct store_op *op)
{
    struct learn *l = JM_CONTAINER_OF(op, struct learn, op.op);

    struct host *h = hosts_find(l->hosts, l->host);

    l->hosts->is_learning = false;
    if (op->status != 0 && h != NULL)
        h->learned_hash = 0; /* not stored: once more at its next beat */
    learn_free(l);
}

static size_t count_tasks(struct span list)
{
    struct mp_cursor c;
    struct wire_task task;
    size_t n = 0;

    wire_open_list(list, &c);
    while (wire_next_task(&c, &task))
        n++;
    return n;
}

/* Stores the tasks of a host if they are not what was stored of it before. One at a time; the next
 * poll goes on with the next host. */
static void learn_tasks(struct hosts *hs, struct host *h)
{
    uint64_t hash = hash_of_span(h->beat.tasks);
    size_t n = count_tasks(h->beat.tasks);
    struct mp_cursor c;
    struct learn *l;

    if (hs->is_learning || h->learned_hash == hash || n == 0)
        return;
    l = calloc(1, sizeof(*l) + n * sizeof(struct wire_task));
    if (l == NULL)
        return;
    l->hosts = hs;
    l->host = h->id;
    buf_init(&l->copy, JM_BEAT_BYTES);
    buf_put_span(&l->copy, h->beat.tasks);
    if (buf_has_failed(&l->copy)) {
        learn_free(l);
        return;
    }
    wire_open_list(buf_span(&l->copy), &c);
    while (wire_next_task(&c, &l->tasks[l->op.count]))
        l->op.count++;
    l->op.tasks = l->tasks;
    l->op.op = (struct store_op){.kind = STORE_LEARN, .on_done = on_learned, .bytes = l->copy.len};
    list_init(&l->op.op.link);
    hs->is_learning = true;
    h->learned_hash = hash;
    runner_submit(hs->core->seams.runner, &l->op.op);
}

/* ---- heartbeats ---- */

static void host_beat(struct hosts *hs, struct host *h, struct span bytes)
{
    struct wire_beat beat;

    buf_clear(&h->copy);
    buf_put_span(&h->copy, bytes);
    if (buf_has_failed(&h->copy) || wire_decode_beat(buf_span(&h->copy), &beat) != 0) {
        h->beat = (struct wire_beat){0};
        return;
    }
    if (beat.slots != h->beat.slots || beat.is_draining != h->beat.is_draining || h->seq == 0)
        hs->is_changed = true;
    h->beat = beat;
    h->seq = beat.seq;
    h->beat_poll[1] = h->beat_poll[0];
    h->beat_poll[0] = hs->poll;
    h->seen_live_ms = hs->live_ms;
    learn_tasks(hs, h);
}

/* A field whose value cannot be decoded, or is about another host than its name, is some
 * stranger's: it neither lives nor names anything. One of another protocol version is left to those
 * who can read it. */
static bool is_own(struct hosts *hs, struct span name, struct span bytes,
                   struct wire_beat *ret_beat, struct strangers **strangers)
{
    char own[17];

    if (wire_decode_beat(bytes, ret_beat) == 0) {
        keys_host_name(own, ret_beat->host);
        if (span_is_str(name, own))
            return true;
    } else if (foreign_note(&hs->foreign, bytes, "a worker host")) {
        return false;
    }
    hs->stats.strange++;
    strangers_add(strangers, name);
    return false;
}

static void read_field(struct hosts *hs, struct span name, struct span bytes,
                       struct strangers **strangers)
{
    struct wire_beat beat;
    struct host *h;

    if (!is_own(hs, name, bytes, &beat, strangers))
        return;
    h = hosts_find(hs, beat.host);
    if (h == NULL)
        h = host_add(hs, beat.host);
    if (h == NULL) {
        hs->stats.no_room++;
        return;
    }
    h->seen_poll = hs->poll;
    h->absent_polls = 0;
    if (beat.seq != h->seq)
        host_beat(hs, h, bytes);
    lost_note_beat(hs, h);
}

/* Removes the field of a dead host. */
struct forget {
    struct carrier_req req;
    struct span value;
    char name[17];
};

static void on_forgotten(struct carrier_req *req)
{
    free(JM_CONTAINER_OF(req, struct forget, req));
}

static void forget(struct hosts *hs, uint64_t id)
{
    struct forget *f = calloc(1, sizeof(*f));

    if (f == NULL)
        return;
    keys_host_name(f->name, id);
    f->value = span_of_str(f->name);
    f->req = (struct carrier_req){
        .verb = CARRIER_FORGET, .values = &f->value, .value_count = 1, .on_done = on_forgotten};
    snprintf(f->req.key, sizeof(f->req.key), "%s", KEYS_HOSTS);
    list_init(&f->req.link);
    carrier_send(hs->core->seams.carrier, &f->req);
}

static void judge_hosts(struct hosts *hs)
{
    LIST_EACH_SAFE(node, &hs->all)
    {
        struct host *h = hosts_entry(node);

        /* Only a field that this Redis has held can have been taken away by its owner. */
        bool is_absent = h->seen_poll != hs->poll && h->seen_poll >= hs->since_poll;

        if (is_absent && ++h->absent_polls >= ABSENT_POLLS) {
            hs->stats.left++;
            drop_orders(hs, h->id);
            host_remove(hs, h);
        } else if (hosts_silent_ms(hs, h) > hs->core->conf.lease_ms) {
            hs->stats.died++;
            hs->died_ms = clock_mono_ms(hs->core->seams.clock);
            forget(hs, h->id);
            drop_orders(hs, h->id);
            host_remove(hs, h);
        }
    }
}

static void set_windows(struct hosts *hs)
{
    if (!hs->is_changed)
        return;
    hs->is_changed = false;
    LIST_EACH(node, &hs->core->queues.all)
    {
        struct queue *q = queues_entry(node);

        window_set_slots(&q->window, hosts_slots(hs, q->name));
        dispatch_mark(&hs->core->dispatch, q);
    }
}

/* ---- polls ---- */

/* Whatever was counted so far may have been about another Redis. */
static void begin_counts(struct hosts *hs)
{
    hs->since_poll = hs->poll;
    hs->last_ok_ms = 0;
    LIST_EACH(node, &hs->all)
    {
        struct host *h = hosts_entry(node);

        h->seen_live_ms = hs->live_ms;
        h->absent_polls = 0;
    }
    lost_forget_counts(hs);
}

static void on_epoch(struct carrier_req *req)
{
    struct hosts *hs = JM_CONTAINER_OF(req, struct hosts, epoch_req);
    char epoch[sizeof(hs->epoch)];

    if (req->status != 0 || req->item_count != 2) {
        hs->has_failed = true;
        return;
    }
    snprintf(epoch, sizeof(epoch), "%.*s/%.*s", (int)req->items[0].len,
             (const char *)req->items[0].data, (int)req->items[1].len,
             (const char *)req->items[1].data);
    if (strcmp(epoch, hs->epoch) == 0)
        return;
    memcpy(hs->epoch, epoch, sizeof(epoch));
    hs->stats.epochs++;
    begin_counts(hs);
}

/* A stall of the broker itself is no time in which a host could have been seen to live, so no more
 * than two intervals count. */
static void advance_live_clock(struct hosts *hs)
{
    uint64_t now = clock_mono_ms(hs->core->seams.clock), passed = now - hs->last_ok_ms;
    uint64_t most = 2 * hs->core->conf.heartbeat_ms;

    if (hs->last_ok_ms != 0)
        hs->live_ms += passed < most ? passed : most;
    hs->last_ok_ms = now;
}

static void on_hosts(struct carrier_req *req)
{
    struct hosts *hs = JM_CONTAINER_OF(req, struct hosts, hosts_req);
    struct strangers *strangers = NULL;

    hs->is_polling = false;
    if (req->status != 0 || hs->has_failed) {
        hs->last_ok_ms = 0;
        return;
    }
    advance_live_clock(hs);
    for (size_t i = 1; i < req->item_count; i += 2)
        read_field(hs, req->items[i - 1], req->items[i], &strangers);
    strangers_remove(strangers, hs->core->seams.carrier);
    judge_hosts(hs);
    set_windows(hs);
    hs->stats.polls++;
    lost_search(hs);
    lost_judge(hs);
}

static void begin_poll(struct hosts *hs)
{
    struct core *core = hs->core;

    hs->poll++;
    hs->is_polling = true;
    hs->has_failed = false;
    snprintf(hs->epoch_proposed, sizeof(hs->epoch_proposed), "%016" PRIx64 "%016" PRIx64,
             core_random(core), core_random(core));
    hs->epoch_value = span_of_str(hs->epoch_proposed);
    hs->epoch_req = (struct carrier_req){
        .verb = CARRIER_EPOCH, .values = &hs->epoch_value, .value_count = 1, .on_done = on_epoch};
    hs->hosts_req = (struct carrier_req){.verb = CARRIER_HOSTS, .on_done = on_hosts};
    snprintf(hs->epoch_req.key, KEYS_BYTES, "%s", KEYS_EPOCH);
    snprintf(hs->hosts_req.key, KEYS_BYTES, "%s", KEYS_HOSTS);
    list_init(&hs->epoch_req.link);
    list_init(&hs->hosts_req.link);
    carrier_send(core->seams.carrier, &hs->epoch_req);
    carrier_send(core->seams.carrier, &hs->hosts_req);
}

static void on_tick(struct timer *t)
{
    struct hosts *hs = JM_CONTAINER_OF(t, struct hosts, tick);
    struct core *core = hs->core;

    if (hs->is_link_up && !hs->is_polling)
        begin_poll(hs);
    timers_arm(core->seams.timers, t, clock_mono_ms(core->seams.clock) + core->conf.heartbeat_ms);
}

void hosts_init(struct hosts *hs, struct core *core)
{
    *hs = (struct hosts){.core = core};
    list_init(&hs->all);
    timer_init(&hs->tick, on_tick);
}

void hosts_done(struct hosts *hs)
{
    while (!list_is_empty(&hs->all))
        host_remove(hs, hosts_entry(hs->all.next));
    hash_done(&hs->by_id);
}

void hosts_start(struct hosts *hs)
{
    timers_arm(hs->core->seams.timers, &hs->tick, clock_mono_ms(hs->core->seams.clock));
}

void hosts_on_link(struct hosts *hs, bool is_up)
{
    hs->is_link_up = is_up;
    begin_counts(hs);
    if (is_up)
        hosts_start(hs);
}

void hosts_on_read(struct hosts *hs)
{
    if (hs->awaits_read)
        lost_judge(hs);
}
