/*
 * redis.c: a Redis of lists and one hash. A request of the broker is carried out, and answered,
 * some time after it was sent, in order; when the link breaks, each open one was carried out or
 * not, and the broker does not learn which.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/errors.h"
#include "tests/sim/sim.h"

enum { ITEMS_MAX = 65536 };

struct sim_key *sim_redis_key(struct sim *s, const char *name)
{
    struct sim_key *key;

    LIST_EACH(node, &s->redis.keys)
    {
        key = LIST_ENTRY(node, struct sim_key, link);
        if (strcmp(key->name, name) == 0)
            return key;
    }
    key = calloc(1, sizeof(*key));
    assert(key != NULL);
    snprintf(key->name, sizeof(key->name), "%s", name);
    list_init(&key->blobs);
    list_push_back(&s->redis.keys, &key->link);
    return key;
}

static size_t key_len(const struct sim_key *key)
{
    size_t n = 0;

    LIST_EACH(node, &key->blobs)
    n++;
    return n;
}

static void key_clear(struct sim_key *key)
{
    struct list *node;

    while ((node = list_pop_front(&key->blobs)) != NULL)
        free(LIST_ENTRY(node, struct sim_blob, link));
}

static void ring(struct sim *s, void *arg)
{
    (void)arg;
    if (!s->redis.is_watching || !s->redis.is_link_up || s->core == NULL)
        return;
    s->redis.is_watching = false;
    s->redis.carrier.on_wake(s->redis.carrier.owner);
}

static struct sim_blob *blob_of(struct span value)
{
    struct sim_blob *blob = malloc(sizeof(*blob) + value.len);

    assert(blob != NULL);
    blob->len = value.len;
    memcpy(blob->bytes, value.data, value.len);
    return blob;
}

static void rpush(struct sim *s, const char *name, struct span value)
{
    list_push_back(&sim_redis_key(s, name)->blobs, &blob_of(value)->link);
}

void sim_redis_lpush(struct sim *s, const char *name, struct span value)
{
    struct sim_blob *blob = blob_of(value);

    list_push_front(&sim_redis_key(s, name)->blobs, &blob->link);
    if (s->redis.is_watching && strcmp(name, s->redis.watched) == 0)
        sim_at(s, SIM_MS / 10, ring, NULL);
}

struct sim_blob *sim_redis_rpop(struct sim *s, const char *name)
{
    struct sim_key *key = sim_redis_key(s, name);
    struct list *last = key->blobs.prev;

    if (last == &key->blobs)
        return NULL;
    list_remove(last);
    return LIST_ENTRY(last, struct sim_blob, link);
}

static void remove_beat(struct sim *s, uint64_t host)
{
    LIST_EACH_SAFE(node, &s->redis.beats)
    {
        struct sim_beat *beat = LIST_ENTRY(node, struct sim_beat, link);

        if (beat->host != host)
            continue;
        list_remove(node);
        free(beat);
    }
}

void sim_redis_beat(struct sim *s, uint64_t host, struct span bytes)
{
    struct sim_beat *beat = malloc(sizeof(*beat) + bytes.len);

    assert(beat != NULL);
    remove_beat(s, host);
    beat->host = host;
    keys_host_name(beat->name, host);
    beat->len = bytes.len;
    memcpy(beat->bytes, bytes.data, bytes.len);
    list_push_back(&s->redis.beats, &beat->link);
}

/* ---- verbs ---- */

static void recall(struct sim *s, struct carrier_req *req)
{
    struct sim_key *key = sim_redis_key(s, req->key);

    req->number = 0;
    LIST_EACH_SAFE(node, &key->blobs)
    {
        struct sim_blob *blob = LIST_ENTRY(node, struct sim_blob, link);

        if (!span_is_equal(span_of(blob->bytes, blob->len), req->values[0]))
            continue;
        list_remove(node);
        free(blob);
        req->number = 1;
        return;
    }
}

static void take(struct sim *s, struct carrier_req *req)
{
    struct sim_key *from = sim_redis_key(s, req->key), *to = sim_redis_key(s, req->other);

    if (list_is_empty(&from->blobs)) {
        req->number = -1;
    } else if (!list_is_empty(&to->blobs)) {
        req->number = 0;
    } else {
        list_splice_back(&to->blobs, &from->blobs);
        req->number = 1;
    }
}

static void read_range(struct sim *s, struct carrier_req *req)
{
    struct sim_key *key = sim_redis_key(s, req->key);
    int64_t len = (int64_t)key_len(key), first = req->first, last = req->last, at = 0;

    first = first < 0 ? first + len : first;
    last = last < 0 ? last + len : last;
    req->item_count = 0;
    req->items = s->redis.items;
    LIST_EACH(node, &key->blobs)
    {
        struct sim_blob *blob = LIST_ENTRY(node, struct sim_blob, link);

        if (at >= first && at <= last && req->item_count < ITEMS_MAX)
            s->redis.items[req->item_count++] = span_of(blob->bytes, blob->len);
        at++;
    }
}

static void forget_drawn(struct sim *s)
{
    struct list *node;

    while ((node = list_pop_front(&s->redis.drawn)) != NULL)
        free(LIST_ENTRY(node, struct sim_blob, link));
}

static void draw(struct sim *s, struct carrier_req *req)
{
    struct sim_key *key = sim_redis_key(s, req->key);
    struct list *node;

    forget_drawn(s);
    req->item_count = 0;
    req->items = s->redis.items;
    while ((int64_t)req->item_count < req->first && (node = list_pop_front(&key->blobs)) != NULL) {
        struct sim_blob *blob = LIST_ENTRY(node, struct sim_blob, link);

        list_push_back(&s->redis.drawn, node);
        s->redis.items[req->item_count++] = span_of(blob->bytes, blob->len);
    }
}

static void read_beats(struct sim *s, struct carrier_req *req)
{
    req->item_count = 0;
    req->items = s->redis.items;
    LIST_EACH(node, &s->redis.beats)
    {
        struct sim_beat *beat = LIST_ENTRY(node, struct sim_beat, link);

        s->redis.items[req->item_count++] = span_of_str(beat->name);
        s->redis.items[req->item_count++] = span_of(beat->bytes, beat->len);
    }
}

static void read_epoch(struct sim *s, struct carrier_req *req)
{
    static char run_id[24];

    if (s->redis.epoch[0] == '\0')
        snprintf(s->redis.epoch, sizeof(s->redis.epoch), "%.*s", (int)req->values[0].len,
                 (const char *)req->values[0].data);
    snprintf(run_id, sizeof(run_id), "run-%u", s->redis.run_id);
    s->redis.items[0] = span_of_str(s->redis.epoch);
    s->redis.items[1] = span_of_str(run_id);
    req->items = s->redis.items;
    req->item_count = 2;
}

static void carry_out(struct sim *s, struct carrier_req *req)
{
    uint64_t host;

    switch (req->verb) {
    case CARRIER_PUSH:
    case CARRIER_ORDER: /* the fleet here does not read its orders */
        for (size_t i = 0; i < req->value_count; i++)
            sim_redis_lpush(s, req->key, req->values[i]);
        req->number = (int64_t)key_len(sim_redis_key(s, req->key));
        break;
    case CARRIER_PUSH_NEXT:
        for (size_t i = 0; i < req->value_count; i++)
            rpush(s, req->key, req->values[i]);
        req->number = (int64_t)key_len(sim_redis_key(s, req->key));
        break;
    case CARRIER_DRAW:
        draw(s, req);
        break;
    case CARRIER_RECALL:
        recall(s, req);
        break;
    case CARRIER_TAKE:
        take(s, req);
        break;
    case CARRIER_READ:
        read_range(s, req);
        break;
    case CARRIER_REMOVE:
        key_clear(sim_redis_key(s, req->key));
        break;
    case CARRIER_HOSTS:
        read_beats(s, req);
        break;
    case CARRIER_FORGET:
        host = strtoull((const char *)req->values[0].data, NULL, 16);
        remove_beat(s, host);
        break;
    case CARRIER_EPOCH:
        read_epoch(s, req);
        break;
    }
}

static bool is_write(enum carrier_verb verb)
{
    return verb == CARRIER_PUSH || verb == CARRIER_PUSH_NEXT || verb == CARRIER_DRAW ||
           verb == CARRIER_TAKE || verb == CARRIER_RECALL || verb == CARRIER_ORDER;
}

/* ---- the link ---- */

static void answer_first(struct sim *s, void *arg)
{
    struct sim_redis *r = &s->redis;
    struct carrier_req *req;

    (void)arg;
    if (list_is_empty(&r->open))
        return; /* the link broke, and the request was answered then */
    req = LIST_ENTRY(list_pop_front(&r->open), struct carrier_req, link);
    if (!r->is_link_up)
        req->status = JM_ECARRIER;
    else if (r->refuses && is_write(req->verb))
        req->status = JM_EREFUSED;
    else
        carry_out(s, req);
    req->on_done(req);
}

static void fake_send(struct carrier *carrier, struct carrier_req *req)
{
    struct sim *s = JM_CONTAINER_OF(carrier, struct sim_redis, carrier)->sim;
    uint64_t at_ns = s->now_ns + (20 + sim_random(s, 2000)) * 1000;

    if (at_ns < s->redis.quiet_ns)
        at_ns = s->redis.quiet_ns;
    s->redis.quiet_ns = at_ns;
    req->status = 0;
    req->number = 0;
    req->item_count = 0;
    list_push_back(&s->redis.open, &req->link);
    sim_at(s, at_ns - s->now_ns, answer_first, NULL);
}

static void fake_watch(struct carrier *carrier, const char *key)
{
    struct sim *s = JM_CONTAINER_OF(carrier, struct sim_redis, carrier)->sim;

    snprintf(s->redis.watched, sizeof(s->redis.watched), "%s", key);
    s->redis.is_watching = true;
    if (!list_is_empty(&sim_redis_key(s, key)->blobs))
        sim_at(s, SIM_MS / 10, ring, NULL);
}

static void link_up(struct sim *s, void *arg)
{
    (void)arg;
    if (s->core == NULL || s->redis.is_link_up || !s->redis.is_up)
        return;
    s->redis.is_link_up = true;
    s->redis.carrier.on_link(s->redis.carrier.owner, true);
}

void sim_redis_break_link(struct sim *s)
{
    struct sim_redis *r = &s->redis;
    bool was_up = r->is_link_up;
    struct list *node;

    r->is_link_up = false;
    r->is_watching = false;
    while ((node = list_pop_front(&r->open)) != NULL) {
        struct carrier_req *req = LIST_ENTRY(node, struct carrier_req, link);

        if (was_up && r->is_up && sim_chance(s, 50))
            carry_out(s, req);
        req->item_count = 0;
        req->status = was_up ? JM_EUNKNOWN : JM_ECARRIER;
        req->on_done(req);
    }
    if (was_up && s->core != NULL)
        r->carrier.on_link(r->carrier.owner, false);
    sim_at(s, (1 + sim_random(s, 3000)) * SIM_MS, link_up, NULL);
}

/* ---- faults ---- */

void sim_redis_flush(struct sim *s)
{
    LIST_EACH(node, &s->redis.keys)
    key_clear(LIST_ENTRY(node, struct sim_key, link));
    while (!list_is_empty(&s->redis.beats))
        remove_beat(s, LIST_ENTRY(s->redis.beats.next, struct sim_beat, link)->host);
    s->redis.epoch[0] = '\0';
}

static void come_up(struct sim *s, void *arg)
{
    (void)arg;
    s->redis.is_up = true;
    sim_at(s, sim_random(s, 1000) * SIM_MS, link_up, NULL);
}

void sim_redis_restart(struct sim *s)
{
    s->redis.is_up = false;
    s->redis.run_id++;
    sim_redis_break_link(s);
    sim_redis_flush(s);
    sim_at(s, sim_random(s, 5000) * SIM_MS, come_up, NULL);
}

void sim_redis_init(struct sim *s)
{
    s->redis = (struct sim_redis){.sim = s, .is_up = true};
    s->redis.carrier.send = fake_send;
    s->redis.carrier.watch = fake_watch;
    s->redis.items = calloc(ITEMS_MAX, sizeof(struct span));
    assert(s->redis.items != NULL);
    list_init(&s->redis.keys);
    list_init(&s->redis.beats);
    list_init(&s->redis.open);
    list_init(&s->redis.drawn);
}

void sim_redis_done(struct sim *s)
{
    struct list *node;

    sim_redis_flush(s);
    forget_drawn(s);
    while ((node = list_pop_front(&s->redis.keys)) != NULL)
        free(LIST_ENTRY(node, struct sim_key, link));
    free(s->redis.items);
}
