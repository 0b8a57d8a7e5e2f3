/*
 * redis_await.c: the one request that waits in Redis for results, beside the others (carrier.h).
 * Its link may break while it waits: then a client of that link is left behind in Redis, which
 * takes the list when something comes, unless the next link ends it first.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "schema/errors.h"
#include "tests/sim/sim.h"

enum { AWAIT_MS = 5000 };

/* What belongs to one request, and finds out whether that is still under way. */
struct await_turn {
    uint64_t number;
};

static void at_await(struct sim *s, uint64_t in_us, void (*run)(struct sim *s, void *arg))
{
    struct await_turn *turn = malloc(sizeof(*turn));

    assert(turn != NULL);
    turn->number = s->redis.await_turn;
    sim_at_owned(s, in_us * 1000, run, turn);
}

static bool is_of_present(struct sim *s, void *arg)
{
    struct await_turn *turn = arg;
    bool is_present = turn->number == s->redis.await_turn && s->redis.await != NULL;

    free(turn);
    return is_present;
}

static bool is_refused(const struct sim *s)
{
    return sim_redis_refuses(s, CARRIER_TAKE);
}

static void run_as(struct sim *s, struct carrier_req *req, enum carrier_verb verb)
{
    enum carrier_verb own = req->verb;

    req->verb = verb;
    sim_redis_carry_out(s, req);
    req->verb = own;
}

static void complete(struct sim *s, int status)
{
    struct carrier_req *req = s->redis.await;

    s->redis.await = NULL;
    s->redis.is_blocked = false;
    s->redis.await_turn++;
    req->status = status;
    req->on_done(req);
}

static void answer(struct sim *s, void *arg)
{
    struct carrier_req *req = s->redis.await;

    if (!is_of_present(s, arg))
        return;
    memcpy(req->key, req->other, sizeof(req->key));
    run_as(s, req, CARRIER_READ);
    complete(s, is_refused(s) ? JM_EREFUSED : 0);
}

/* It waits no longer: the list is taken now, and the answer is on its way. */
static void end_waiting(struct sim *s)
{
    if (!s->redis.is_blocked)
        return;
    s->redis.is_blocked = false;
    if (!is_refused(s))
        run_as(s, s->redis.await, CARRIER_TAKE);
    at_await(s, 20 + sim_random(s, s->redis.is_slow ? 2500000 : 500), answer);
}

void sim_redis_end_orphan(struct sim *s)
{
    if (s->redis.has_orphan)
        run_as(s, &s->redis.orphan, CARRIER_TAKE);
    s->redis.has_orphan = false;
}

void sim_redis_wake_broker(struct sim *s, const char *key)
{
    if (s->redis.has_orphan && strcmp(key, s->redis.orphan.key) == 0)
        sim_redis_end_orphan(s);
    if (s->redis.is_blocked && strcmp(key, s->redis.await->key) == 0)
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
    if (is_refused(s) || !list_is_empty(&sim_redis_key(s, s->redis.await->key)->blobs))
        end_waiting(s);
    else
        at_await(s, AWAIT_MS * 1000, stop_waiting);
}

static void refuse(struct sim *s, void *arg)
{
    if (is_of_present(s, arg))
        complete(s, JM_ECARRIER);
}

void sim_redis_await(struct sim *s, struct carrier_req *req)
{
    assert(s->redis.await == NULL);
    s->redis.await = req;
    s->redis.await_turn++;
    at_await(s, 20 + sim_random(s, s->redis.is_slow ? 2500000 : 2000),
             s->redis.is_link_up ? begin_waiting : refuse);
}

void sim_redis_hurry(struct carrier *carrier)
{
    struct sim *s = JM_CONTAINER_OF(carrier, struct sim_redis, carrier)->sim;

    if (s->redis.await != NULL)
        at_await(s, 2000 + sim_random(s, 2000), stop_waiting);
}

void sim_redis_break_await(struct sim *s)
{
    struct sim_redis *r = &s->redis;

    if (r->await == NULL)
        return;
    if (r->is_blocked && r->is_up) {
        r->orphan = *r->await;
        r->has_orphan = true;
    }
    complete(s, JM_EUNKNOWN);
}
