/*
 * clients.c: submits and cancels, and what they were promised. A call that is open when the broker
 * crashes has an unknown fate; with an Idempotency-Key it is made again.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/errors.h"
#include "tests/sim/sim.h"

struct sim_call {
    struct list link;
    struct sim *sim;
    struct core_submit submit;
    struct core_cancel cancel;
    char key[24]; /* empty: none */
};

static void submit(struct sim *s, const char *key);

static void call_free(struct sim_call *call)
{
    list_remove(&call->link);
    free(call);
}

static void promise(struct sim *s, uint64_t id)
{
    for (size_t i = 0; i < s->promise_count; i++)
        if (s->promises[i].id == id)
            return; /* the repeat of a key */
    s->promises = realloc(s->promises, (s->promise_count + 1) * sizeof(*s->promises));
    assert(s->promises != NULL);
    s->promises[s->promise_count++] = (struct sim_promise){.id = id};
}

static void again(struct sim *s, void *arg)
{
    char *key = arg;

    if (s->core == NULL)
        return sim_at_owned(s, 100 * SIM_MS, again, key);
    submit(s, key);
    free(key);
}

static void on_submitted(struct core_submit *x, int status)
{
    struct sim_call *call = JM_CONTAINER_OF(x, struct sim_call, submit);
    struct sim *s = call->sim;

    if (status == 0)
        promise(s, x->op.ret_is_repeat ? x->op.ret_existing_id : x->op.id);
    else if (status == JM_EIDEMPOTENCY)
        sim_fail(s, "the same submit was taken for another one");
    else if (call->key[0] != '\0')
        sim_at_owned(s, 500 * SIM_MS, again, strdup(call->key));
    call_free(call);
}

static void submit(struct sim *s, const char *key)
{
    static const char *const queues[] = {"a", "b"};
    struct sim_call *call = calloc(1, sizeof(*call));
    const char *queue =
        queues[key[0] != '\0' ? (uint8_t)key[strlen(key) - 1] % 2 : sim_random(s, 2)];

    assert(call != NULL);
    call->sim = s;
    list_push_back(&s->calls, &call->link);
    snprintf(call->key, sizeof(call->key), "%s", key);
    call->submit.op.key = span_of_str(call->key);
    call->submit.op.spec = (struct job_spec){.queue = span_of_str(queue),
                                             .task = span_of_str("noop"),
                                             .args = span_of("\xc0", 1),
                                             .priority = 5,
                                             .max_attempts = 3,
                                             .timeout_ms = 3600000,
                                             .grace_ms = 5000};
    call->submit.on_done = on_submitted;
    if (core_submit(s->core, &call->submit) != 0)
        call_free(call);
}

static void on_cancelled(struct core_cancel *x, int status)
{
    struct sim_call *call = JM_CONTAINER_OF(x, struct sim_call, cancel);
    struct sim *s = call->sim;

    for (size_t i = 0; i < s->promise_count; i++)
        if (status == 0 && s->promises[i].id == x->op.id)
            s->promises[i].is_cancelled = true;
    call_free(call);
}

static void cancel_one(struct sim *s)
{
    struct sim_call *call;

    if (s->promise_count == 0)
        return;
    call = calloc(1, sizeof(*call));
    assert(call != NULL);
    call->sim = s;
    list_push_back(&s->calls, &call->link);
    call->cancel.op.id = s->promises[sim_random(s, s->promise_count)].id;
    call->cancel.on_done = on_cancelled;
    core_cancel(s->core, &call->cancel);
}

static void act(struct sim *s, void *arg)
{
    char key[24] = "";

    (void)arg;
    if (s->to_submit == 0)
        return;
    sim_at(s, sim_random(s, 600) * SIM_MS, act, NULL);
    if (s->core == NULL)
        return;
    if (sim_chance(s, 5)) {
        cancel_one(s);
        return;
    }
    if (sim_chance(s, 50))
        snprintf(key, sizeof(key), "key-%zu", s->to_submit);
    s->to_submit--;
    submit(s, key);
}

void sim_clients_init(struct sim *s)
{
    sim_at(s, 100 * SIM_MS, act, NULL);
}
