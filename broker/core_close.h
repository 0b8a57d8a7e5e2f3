/*
 * core_close.h: what the core speaks to when the carrier, the runner and the timers are gone: a
 * broker takes them down one after the other, and what the later ones still complete may ask
 * something of the earlier ones. It is kept, and answered as failed when all of them are gone, so
 * that every request is completed once, and none is sent to what is not there. A part of the core.
 * Loop thread only.
 */
#ifndef BROKER_CORE_CLOSE_H
#define BROKER_CORE_CLOSE_H

#include "broker/carrier.h"
#include "broker/runner.h"
#include "broker/timer.h"

struct core;

struct core_close {
    struct carrier carrier;
    struct runner runner;
    struct timers timers;
    struct list reqs; /* carrier_req.link */
    struct list ops;  /* store_op.link */
};

void core_close_init(struct core_close *cc);

/* The carrier is closed. */
void core_close_carrier(struct core *c);

/* The runner and the timers are, too: completes all that is left, and what that brings. */
void core_close_all(struct core *c);

#endif
