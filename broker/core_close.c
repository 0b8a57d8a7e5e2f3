#include "broker/core_close.h"

#include "broker/core.h"
#include "schema/errors.h"

static void send(struct carrier *carrier, struct carrier_req *req)
{
    struct core_close *cc = JM_CONTAINER_OF(carrier, struct core_close, carrier);

    req->status = JM_ECARRIER;
    req->number = 0;
    req->item_count = 0;
    list_push_back(&cc->reqs, &req->link);
}

static void hurry(struct carrier *carrier)
{
    (void)carrier;
}

static void submit(struct runner *runner, struct store_op *op)
{
    struct core_close *cc = JM_CONTAINER_OF(runner, struct core_close, runner);

    op->status = JM_ESHUTDOWN;
    list_push_back(&cc->ops, &op->link);
}

static void arm(struct timers *timers, struct timer *t, uint64_t at_ms)
{
    (void)timers;
    (void)at_ms;
    timer_disarm(t);
}

/* Nobody is left who would be told what is on disk, so the runner has no gates. */
void core_close_init(struct core_close *cc)
{
    *cc = (struct core_close){
        .carrier = {.send = send, .hurry = hurry}, .runner.submit = submit, .timers.arm = arm};
    list_init(&cc->reqs);
    list_init(&cc->ops);
}

void core_close_carrier(struct core *c)
{
    c->seams.carrier = &c->close.carrier;
}

static bool complete_one(struct core *c)
{
    struct list *node;

    if ((node = list_pop_front(&c->close.reqs)) != NULL) {
        struct carrier_req *req = LIST_ENTRY(node, struct carrier_req, link);

        req->on_done(req);
    } else if ((node = list_pop_front(&c->close.ops)) != NULL) {
        struct store_op *op = LIST_ENTRY(node, struct store_op, link);

        op->on_done(op);
    } else {
        return dispatch_finish_one(&c->dispatch);
    }
    return true;
}

void core_close_all(struct core *c)
{
    core_close_carrier(c);
    c->seams.runner = &c->close.runner;
    c->seams.timers = &c->close.timers;
    while (complete_one(c))
        continue;
}
