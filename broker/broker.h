/*
 * broker.h: the whole tree of objects of a running broker, on one page.
 *
 *     broker (loop thread)
 *       ├─ timers    loop_timer.h      "call me at T"
 *       ├─ store     store.h           given to the writer thread as soon as that runs
 *       ├─ writer    writer.h          the store's thread; gives the runner
 *       ├─ damage    damage.h          what reads have met; any thread
 *       ├─ reader    reader.h          point reads on the loop
 *       ├─ carrier   carrier_redis.h   Redis
 *       ├─ core      core.h            everything that decides; knows only the four above, as seams
 *       ├─ api       api.h             routes and handlers; owns more readers for the thread pool
 *       └─ server    http_server.h     connections
 *
 * Start from top to bottom, stop from bottom to top: each step of the stop waits for the callback
 * of the one before it.
 */
#ifndef BROKER_BROKER_H
#define BROKER_BROKER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "broker/api.h"
#include "broker/carrier_redis.h"
#include "broker/core.h"
#include "broker/damage.h"
#include "broker/http_server.h"
#include "broker/loop_timer.h"
#include "broker/reader.h"
#include "broker/store.h"
#include "broker/writer.h"

/* What the command line decides (main.c has the table). Strings are borrowed. */
struct broker_conf {
    const char *listen;
    const char *db;
    const char *redis;
    uint64_t node;
    uint64_t max_body_bytes;
    uint64_t heartbeat_ms;
    uint64_t lease_ms;
    uint64_t retain_ms;
    uint64_t retain_failed_ms;
    uint64_t idempotency_ms;
    uint64_t stop_ms; /* how long requests that have begun may take at a stop */
    unsigned log_level;

    bool is_doctor; /* do not serve, but look at the database; the rest is for that (doctor.h) */
    bool is_repair;
    bool rebuilds_redis;
    bool is_json;
};

struct broker {
    struct broker_conf conf;
    uv_loop_t loop;
    struct loop_timer timers;
    struct store *store;
    struct writer *writer;
    struct damage damage;
    struct reader *reader;
    struct carrier_redis *carrier;
    struct core core;
    struct api api;
    struct http_server *server;

    uv_prepare_t prepare; /* core_turn, before the loop sleeps */
    uv_check_t check;     /* core_turn, behind what the loop was woken for */
    uv_signal_t sigterm;
    uv_signal_t sigint;
    uv_timer_t watchdog;
    bool is_stopping;
};

/* Starts everything in `b` (the caller's memory, zeroed). On failure logs one sentence with the
 * remedy and returns JM_E…: the process then ends. */
int broker_start(struct broker *b, const struct broker_conf *conf) JM_MUST_CHECK;

/* Runs until SIGTERM or SIGINT, then stops in order. Returns the process's exit code. */
int broker_run(struct broker *b);

#endif
