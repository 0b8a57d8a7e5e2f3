/*
 * redis_faults.c: what can happen to Redis and to the link. When the link breaks, some of what was
 * sent was carried out, from the first on, and the broker does not learn how much; the rest may
 * still be on its way, and be carried out behind what the next link brings. A Redis that comes back
 * is empty, or as a replica last saw it.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/errors.h"
#include "tests/sim/sim.h"

/* ---- late requests ---- */

struct late {
    struct carrier_req req;
    unsigned run_id;
    struct span values[];
};

static struct late *late_of(struct sim *s, const struct carrier_req *req)
{
    size_t bytes = 0, head = sizeof(struct late) + req->value_count * sizeof(struct span);
    struct late *l;
    uint8_t *at;

    for (size_t i = 0; i < req->value_count; i++)
        bytes += req->values[i].len;
    l = malloc(head + bytes);
    assert(l != NULL);
    l->req = *req;
    l->req.values = l->values;
    l->run_id = s->redis.run_id;
    at = (uint8_t *)l + head;
    for (size_t i = 0; i < req->value_count; i++) {
        l->values[i] = span_of(at, req->values[i].len);
        memcpy(at, req->values[i].data, req->values[i].len);
        at += req->values[i].len;
    }
    return l;
}

static void excuse_key(struct sim *s, const struct sim_key *key)
{
    LIST_EACH(node, &key->blobs)
    {
        const struct sim_blob *blob = LIST_ENTRY(node, struct sim_blob, link);

        sim_ledger_excuse_frame(s, span_of(blob->bytes, blob->len));
    }
}

/* A late push is not undone by what came before it; and what a late take moves into a list that
 * counts as read is found by nobody: those jobs run once more. */
static void note_late(struct sim *s, const struct carrier_req *req)
{
    if (req->verb == CARRIER_PUSH || req->verb == CARRIER_PUSH_NEXT)
        s->redis.has_pushed_late = true;
    if (req->verb == CARRIER_TAKE)
        excuse_key(s, sim_redis_key(s, req->key));
}

static void run_late(struct sim *s, void *arg)
{
    struct late *l = arg;

    /* Another server knows nothing of the old connection. */
    if (s->redis.is_up && l->run_id == s->redis.run_id) {
        sim_note(s, SIM_RAN_LATE);
        note_late(s, &l->req);
        sim_redis_carry_out(s, &l->req);
    }
    free(l);
}

/* ---- the link ---- */

static void link_up(struct sim *s, void *arg)
{
    (void)arg;
    if (!sim_broker_is_up(s) || s->redis.is_link_up || !s->redis.is_up)
        return;
    s->redis.is_link_up = true;
    sim_redis_end_orphan(s);
    s->redis.carrier.on_link(s->redis.carrier.owner, true);
}

static size_t count_of(const struct list *reqs)
{
    size_t n = 0;

    LIST_EACH(node, reqs)
    n++;
    return n;
}

/* One of those that were open: carried out already, or later, or never. */
static void cut_off(struct sim *s, struct carrier_req *req, bool is_done, uint64_t *late_ns)
{
    for (size_t i = 0; i < req->value_count; i++)
        sim_ledger_excuse_frame(s, req->values[i]);
    if (is_done) {
        sim_redis_carry_out(s, req);
    } else if (*late_ns != 0) {
        *late_ns += sim_random(s, 3) * SIM_MS;
        sim_at_owned(s, *late_ns, run_late, late_of(s, req));
    }
}

void sim_redis_break_link(struct sim *s)
{
    struct sim_redis *r = &s->redis;
    bool was_up = r->is_link_up, can_run = was_up && r->is_up;
    size_t done = can_run ? sim_random(s, count_of(&r->open) + 1) : 0;
    uint64_t late_ns = 0;
    struct list cut, *node;

    if (can_run && s->faults_on && sim_may(s, SIM_RAN_LATE) && sim_chance(s, 30))
        late_ns = (1 + sim_random(s, 5000)) * SIM_MS;
    r->is_link_up = false;
    sim_redis_break_await(s);
    list_init(&cut);
    list_splice_back(&cut, &r->open); /* what is sent from now on has no link */
    while ((node = list_pop_front(&cut)) != NULL) {
        struct carrier_req *req = LIST_ENTRY(node, struct carrier_req, link);

        if (was_up)
            cut_off(s, req, done > 0, &late_ns);
        done -= done > 0;
        req->item_count = 0;
        req->status = was_up ? JM_EUNKNOWN : JM_ECARRIER;
        req->on_done(req);
    }
    if (was_up && s->core != NULL)
        r->carrier.on_link(r->carrier.owner, false);
    sim_at(s, (1 + sim_random(s, 3000)) * SIM_MS, link_up, NULL);
}

/* ---- what it forgets ---- */

static void forget(struct sim *s)
{
    LIST_EACH(node, &s->redis.keys)
    excuse_key(s, LIST_ENTRY(node, struct sim_key, link));
    sim_redis_clear(&s->redis.keys, &s->redis.beats);
    s->redis.epoch[0] = '\0';
    for (unsigned i = 0; i < SIM_HOSTS; i++)
        s->hosts[i].steady_ns = 0;
}

void sim_redis_flush(struct sim *s)
{
    forget(s);
}

static void come_up(struct sim *s, void *arg)
{
    (void)arg;
    s->redis.is_up = true;
    sim_at(s, sim_random(s, 1000) * SIM_MS, link_up, NULL);
}

static void go_away(struct sim *s)
{
    s->redis.is_up = false;
    s->redis.run_id++;
    sim_redis_break_link(s);
    s->redis.has_orphan = false;
    sim_at(s, sim_random(s, 5000) * SIM_MS, come_up, NULL);
}

void sim_redis_restart(struct sim *s)
{
    go_away(s);
    forget(s);
}

/* What a replica has: all up to some write. */
void sim_redis_copy(struct sim *s)
{
    struct sim_redis *r = &s->redis;

    sim_redis_clear(&r->old_keys, &r->old_beats);
    LIST_EACH(node, &r->keys)
    {
        const struct sim_key *key = LIST_ENTRY(node, struct sim_key, link);
        struct sim_key *copy = sim_redis_find(&r->old_keys, key->name);

        LIST_EACH(blob_node, &key->blobs)
        {
            const struct sim_blob *blob = LIST_ENTRY(blob_node, struct sim_blob, link);

            sim_redis_push_back(s, &copy->blobs, span_of(blob->bytes, blob->len));
        }
    }
    LIST_EACH(node, &r->beats)
    {
        const struct sim_beat *beat = LIST_ENTRY(node, struct sim_beat, link);

        sim_redis_add_beat(&r->old_beats, beat->host, span_of(beat->bytes, beat->len));
    }
    memcpy(r->old_epoch, r->epoch, sizeof(r->epoch));
}

void sim_redis_fall_back(struct sim *s)
{
    struct sim_redis *r = &s->redis;

    go_away(s);
    forget(s);
    LIST_EACH(node, &r->old_keys)
    {
        struct sim_key *copy = LIST_ENTRY(node, struct sim_key, link);

        list_splice_back(&sim_redis_key(s, copy->name)->blobs, &copy->blobs);
    }
    list_splice_back(&r->beats, &r->old_beats);
    memcpy(r->epoch, r->old_epoch, sizeof(r->epoch));
}
