/*
 * redis.c: a Redis of lists and one hash. A request of the broker is carried out, and answered,
 * some time after it was sent, in order.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/errors.h"
#include "tests/sim/sim.h"

enum { ITEMS_MAX = 65536, KEPT_BYTES = 500 };

struct sim_key *sim_redis_find(struct list *keys, const char *name)
{
    struct sim_key *key;

    LIST_EACH(node, keys)
    {
        key = LIST_ENTRY(node, struct sim_key, link);
        if (strcmp(key->name, name) == 0)
            return key;
    }
    key = calloc(1, sizeof(*key));
    assert(key != NULL);
    snprintf(key->name, sizeof(key->name), "%s", name);
    list_init(&key->blobs);
    list_push_back(keys, &key->link);
    return key;
}

struct sim_key *sim_redis_key(struct sim *s, const char *name)
{
    return sim_redis_find(&s->redis.keys, name);
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

/* Whoever waits for it, broker or worker, learns of it. */
static void on_push(struct sim *s, const char *name)
{
    sim_redis_wake_broker(s, name);
    sim_fleet_wake(s);
}

static struct sim_blob *blob_of(struct span value)
{
    struct sim_blob *blob = malloc(sizeof(*blob) + value.len);

    assert(blob != NULL);
    blob->len = value.len;
    memcpy(blob->bytes, value.data, value.len);
    return blob;
}

void sim_redis_push_back(struct sim *s, struct list *blobs, struct span value)
{
    (void)s;
    list_push_back(blobs, &blob_of(value)->link);
}

static void rpush(struct sim *s, const char *name, struct span value)
{
    sim_redis_push_back(s, &sim_redis_key(s, name)->blobs, value);
    on_push(s, name);
}

void sim_redis_lpush(struct sim *s, const char *name, struct span value)
{
    struct sim_blob *blob = blob_of(value);

    list_push_front(&sim_redis_key(s, name)->blobs, &blob->link);
    on_push(s, name);
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

static void remove_beat(struct list *beats, uint64_t host)
{
    LIST_EACH_SAFE(node, beats)
    {
        struct sim_beat *beat = LIST_ENTRY(node, struct sim_beat, link);

        if (beat->host != host)
            continue;
        list_remove(node);
        free(beat);
    }
}

void sim_redis_add_beat(struct list *beats, uint64_t host, struct span bytes)
{
    struct sim_beat *beat = malloc(sizeof(*beat) + bytes.len);

    assert(beat != NULL);
    beat->host = host;
    keys_host_name(beat->name, host);
    beat->len = bytes.len;
    memcpy(beat->bytes, bytes.data, bytes.len);
    list_push_back(beats, &beat->link);
}

void sim_redis_beat(struct sim *s, uint64_t host, struct span bytes)
{
    remove_beat(&s->redis.beats, host);
    sim_redis_add_beat(&s->redis.beats, host, bytes);
}

void sim_redis_clear(struct list *keys, struct list *beats)
{
    LIST_EACH(node, keys)
    key_clear(LIST_ENTRY(node, struct sim_key, link));
    while (!list_is_empty(beats))
        remove_beat(beats, LIST_ENTRY(beats->next, struct sim_beat, link)->host);
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
        sim_ledger_pushed(s, span_of(blob->bytes, blob->len), false);
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

/* Of what was asked for, as much as one answer may have; less than the real carrier's, since
 * entries are small here. */
static void keep_end(struct carrier_req *req)
{
    size_t kept = 0, n = 0;

    while (n < req->item_count &&
           (n == 0 || kept + req->items[req->item_count - n - 1].len <= KEPT_BYTES))
        kept += req->items[req->item_count - ++n].len;
    req->is_cut = n < req->item_count;
    req->items += req->item_count - n;
    req->item_count = n;
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
    if (req->max_bytes > 0)
        keep_end(req);
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

        sim_ledger_pushed(s, span_of(blob->bytes, blob->len), false);
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

void sim_redis_carry_out(struct sim *s, struct carrier_req *req)
{
    static const char *const words[] = {"push", "push_next", "draw",  "recall", "take",  "await",
                                        "read", "remove",    "hosts", "forget", "order", "epoch"};
    uint64_t host;

    if (req->verb != CARRIER_HOSTS && req->verb != CARRIER_EPOCH)
        sim_trace(s, "redis %s %s %s, %zu values", words[req->verb], req->key, req->other,
                  req->value_count);

    switch (req->verb) {
    case CARRIER_PUSH:
    case CARRIER_ORDER: /* the fleet here does not read its orders */
        for (size_t i = 0; i < req->value_count; i++) {
            sim_ledger_pushed(s, req->values[i], true);
            sim_redis_lpush(s, req->key, req->values[i]);
        }
        req->number = (int64_t)key_len(sim_redis_key(s, req->key));
        break;
    case CARRIER_PUSH_NEXT:
        for (size_t i = 0; i < req->value_count; i++) {
            sim_ledger_pushed(s, req->values[i], true);
            rpush(s, req->key, req->values[i]);
        }
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
    case CARRIER_AWAIT: /* redis_await.c */
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
        remove_beat(&s->redis.beats, host);
        break;
    case CARRIER_EPOCH:
        read_epoch(s, req);
        break;
    }
}

/* Without memory Redis refuses what needs some; a replica refuses every write. The probe of the
 * epoch is one (SET). */
bool sim_redis_refuses(const struct sim *s, enum carrier_verb verb)
{
    bool needs_memory = verb == CARRIER_PUSH || verb == CARRIER_PUSH_NEXT ||
                        verb == CARRIER_ORDER || verb == CARRIER_EPOCH;
    bool is_read = verb == CARRIER_READ || verb == CARRIER_HOSTS;

    if (s->redis.is_loading)
        return true;
    return s->redis.refuses && (needs_memory || (!s->redis.lacks_memory && !is_read));
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
    else if (sim_redis_refuses(s, req->verb))
        req->status = JM_EREFUSED;
    else
        sim_redis_carry_out(s, req);
    req->on_done(req);
}

static void fake_send(struct carrier *carrier, struct carrier_req *req)
{
    struct sim *s = JM_CONTAINER_OF(carrier, struct sim_redis, carrier)->sim;
    uint64_t at_ns = s->now_ns + (20 + sim_random(s, s->redis.is_slow ? 2500000 : 2000)) * 1000;

    req->status = 0;
    req->number = 0;
    req->item_count = 0;
    req->is_cut = false;
    if (req->verb == CARRIER_AWAIT) {
        sim_redis_await(s, req);
        return;
    }
    if (at_ns < s->redis.quiet_ns)
        at_ns = s->redis.quiet_ns;
    s->redis.quiet_ns = at_ns;
    list_push_back(&s->redis.open, &req->link);
    sim_at(s, at_ns - s->now_ns, answer_first, NULL);
}

void sim_redis_init(struct sim *s)
{
    s->redis = (struct sim_redis){.sim = s, .is_up = true};
    s->redis.carrier.send = fake_send;
    s->redis.carrier.hurry = sim_redis_hurry;
    s->redis.items = calloc(ITEMS_MAX, sizeof(struct span));
    assert(s->redis.items != NULL);
    list_init(&s->redis.keys);
    list_init(&s->redis.beats);
    list_init(&s->redis.old_keys);
    list_init(&s->redis.old_beats);
    list_init(&s->redis.open);
    list_init(&s->redis.drawn);
}

void sim_redis_done(struct sim *s)
{
    struct list *node;

    sim_redis_clear(&s->redis.keys, &s->redis.beats);
    sim_redis_clear(&s->redis.old_keys, &s->redis.old_beats);
    forget_drawn(s);
    while ((node = list_pop_front(&s->redis.keys)) != NULL ||
           (node = list_pop_front(&s->redis.old_keys)) != NULL)
        free(LIST_ENTRY(node, struct sim_key, link));
    free(s->redis.items);
}
