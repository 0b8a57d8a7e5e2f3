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

static void wake_waiting(struct sim *s, const char *name);

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
    wake_waiting(s, name);
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
    case CARRIER_AWAIT: /* has an answer of its own */
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

/* ---- what waits ---- */

/* What belongs to one request, and finds out whether that is still under way. */
struct await_turn {
    uint64_t number;
};

static void at_await(struct sim *s, uint64_t in_ns, void (*run)(struct sim *s, void *arg))
{
    struct await_turn *turn = malloc(sizeof(*turn));

    assert(turn != NULL);
    turn->number = s->redis.await_turn;
    sim_at_owned(s, in_ns, run, turn);
}

static bool is_of_present(struct sim *s, void *arg)
{
    struct await_turn *turn = arg;
    bool is_present = turn->number == s->redis.await_turn && s->redis.await != NULL;

    free(turn);
    return is_present;
}

static void complete_await(struct sim *s, int status)
{
    struct carrier_req *req = s->redis.await;

    s->redis.await = NULL;
    s->redis.is_blocked = false;
    s->redis.await_turn++;
    req->status = status;
    req->on_done(req);
}

static void answer_await(struct sim *s, void *arg)
{
    struct carrier_req *req = s->redis.await;

    if (!is_of_present(s, arg))
        return;
    memcpy(req->key, req->other, sizeof(req->key));
    read_range(s, req);
    complete_await(s, s->redis.refuses ? JM_EREFUSED : 0);
}

/* It waits no longer: the list is taken now, and the answer is on its way. */
static void end_waiting(struct sim *s)
{
    if (!s->redis.is_blocked)
        return;
    s->redis.is_blocked = false;
    if (!s->redis.refuses)
        take(s, s->redis.await);
    at_await(s, (20 + sim_random(s, 500)) * 1000, answer_await);
}

static void end_orphan(struct sim *s)
{
    if (s->redis.has_orphan)
        take(s, &s->redis.orphan);
    s->redis.has_orphan = false;
}

static void wake_waiting(struct sim *s, const char *name)
{
    if (s->redis.has_orphan && strcmp(name, s->redis.orphan.key) == 0)
        end_orphan(s);
    if (s->redis.is_blocked && strcmp(name, s->redis.await->key) == 0)
        end_waiting(s);
}

static void stop_waiting(struct sim *s, void *arg)
{
    if (is_of_present(s, arg))
        end_waiting(s);
}

/* It has come to Redis. */
static void begin_waiting(struct sim *s, void *arg)
{
    if (!is_of_present(s, arg))
        return;
    s->redis.is_blocked = true;
    if (s->redis.refuses || !list_is_empty(&sim_redis_key(s, s->redis.await->key)->blobs))
        end_waiting(s);
    else
        at_await(s, 5000 * SIM_MS, stop_waiting);
}

static void refuse_await(struct sim *s, void *arg)
{
    if (is_of_present(s, arg))
        complete_await(s, JM_ECARRIER);
}

static void send_await(struct sim *s, struct carrier_req *req)
{
    assert(s->redis.await == NULL);
    s->redis.await = req;
    s->redis.await_turn++;
    at_await(s, (20 + sim_random(s, 2000)) * 1000,
             s->redis.is_link_up ? begin_waiting : refuse_await);
}

static void fake_hurry(struct carrier *carrier)
{
    struct sim *s = JM_CONTAINER_OF(carrier, struct sim_redis, carrier)->sim;

    if (s->redis.await != NULL)
        at_await(s, (2000 + sim_random(s, 2000)) * 1000, stop_waiting);
}

/* The client that is left behind in Redis may wait on; the next link ends that first. */
static void break_await(struct sim *s)
{
    struct sim_redis *r = &s->redis;

    if (r->await == NULL)
        return;
    if (r->is_blocked && r->is_up) {
        r->orphan = *r->await;
        r->has_orphan = true;
    }
    complete_await(s, JM_EUNKNOWN);
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

    req->status = 0;
    req->number = 0;
    req->item_count = 0;
    if (req->verb == CARRIER_AWAIT) {
        send_await(s, req);
        return;
    }
    if (at_ns < s->redis.quiet_ns)
        at_ns = s->redis.quiet_ns;
    s->redis.quiet_ns = at_ns;
    list_push_back(&s->redis.open, &req->link);
    sim_at(s, at_ns - s->now_ns, answer_first, NULL);
}

static void link_up(struct sim *s, void *arg)
{
    (void)arg;
    if (s->core == NULL || s->redis.is_link_up || !s->redis.is_up)
        return;
    s->redis.is_link_up = true;
    end_orphan(s);
    s->redis.carrier.on_link(s->redis.carrier.owner, true);
}

void sim_redis_break_link(struct sim *s)
{
    struct sim_redis *r = &s->redis;
    bool was_up = r->is_link_up;
    struct list *node;

    r->is_link_up = false;
    break_await(s);
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
    s->redis.has_orphan = false;
    sim_redis_flush(s);
    sim_at(s, sim_random(s, 5000) * SIM_MS, come_up, NULL);
}

void sim_redis_init(struct sim *s)
{
    s->redis = (struct sim_redis){.sim = s, .is_up = true};
    s->redis.carrier.send = fake_send;
    s->redis.carrier.hurry = fake_hurry;
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
