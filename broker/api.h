/*
 * api.h: the HTTP interface: what stands between the HTTP server (http_server.h) and the core
 * (core.h). It routes a request, reads its body and its parameters, asks the core or the store, and
 * writes the answer as JSON or msgpack. schema/openapi.yaml is its reference. Loop thread only.
 *
 * Start: api_init, api_start (behind core_start), then give api_handler to the server. Stop:
 * api_stop ends every wait, then on_stopped; the server, the runner and the timers must still work
 * until then. api_done frees.
 */
#ifndef BROKER_API_H
#define BROKER_API_H

#include <stdbool.h>
#include <uv.h>

#include "broker/core.h"
#include "broker/digest.h"
#include "broker/http_server.h"
#include "broker/job_read.h"
#include "broker/metrics.h"
#include "broker/probe.h"
#include "broker/reads.h"
#include "broker/tasks.h"
#include "lib/attr.h"
#include "lib/list.h"

struct api_conf {
    struct core *core;
    struct reader *reader; /* for the loop thread; borrowed */
    struct store_conf
        store; /* to open more readers with, for the thread pool; strings are borrowed */
    uv_loop_t *loop;
    size_t max_item_bytes; /* of one job of a batch; 0: JM_BODY_BYTES */
    /* Fills in what the core does not know, for /metrics; NULL leaves it zero. */
    void *outside;
    void (*on_metrics)(void *outside, struct metrics_outside *ret_metrics);
};

struct api {
    struct api_conf conf;
    struct reads reads;
    struct list open; /* api_call.link: requests that are not answered yet */
    struct list idle; /* api_call.link: kept for the next requests */
    size_t idle_count;
    size_t bulks;           /* changes of many that are under way */
    struct list idle_items; /* batch_item.link: likewise */
    size_t idle_item_count;
    size_t batch_count;   /* under way, or with an answer that is not all written yet */
    uint64_t spool_bytes; /* in which atomic ones wait */
    struct tasks tasks;
    struct probe probe;
    struct digest *digest;
    struct http_handler handler;
    struct timer stopped; /* armed when the last request is answered */
    bool is_stopping;
    void *stop_owner;
    void (*on_stopped)(void *owner);
};

/* Returns 0 or JM_ENOMEM. `a` is the caller's memory and stays where it is. */
int api_init(struct api *a, const struct api_conf *conf) JM_MUST_CHECK;

/* Reads which tasks are known. Returns 0 or JM_E…. */
int api_start(struct api *a) JM_MUST_CHECK;

/* What a job that a client sends is read with, for now. */
struct job_reader api_job_reader(struct api *a);

/* What the server calls with each request; valid until api_done. */
const struct http_handler *api_handler(struct api *a);

/* Answers whoever waits with the job as it is, refuses new requests (503 shutting_down), and calls
 * on_stopped from the loop once every request is answered. */
void api_stop(struct api *a, void *owner, void (*on_stopped)(void *owner));

/* For call.c: a request is answered; perhaps it was the last one. */
void api_check_stopped(struct api *a);

/* After on_stopped, or after api_init when nothing was started. */
void api_done(struct api *a);

#endif
