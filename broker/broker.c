/*
 * broker.c: wires the parts, runs the loop, and takes the parts down again.
 *
 * A loop turn: the loop calls whatever is ready (sockets, Redis, finished batches), each of which
 * only records and marks; before the loop sleeps again, turn() does once what was marked: pushes,
 * takes, waiters; and writes what that brought: to Redis, to clients, to the writer's inbox. That
 * is said here, since libuv does not promise in which order it calls the hooks of others.
 */
#include "broker/broker.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "lib/crash.h"
#include "lib/log.h"
#include "lib/notify.h"
#include "schema/errors.h"

/* ---- the store and its thread ---- */

/* Nothing more may be acknowledged, not even by an orderly stop. The next start recovers. */
static void on_fatal(void *owner, const char *sentence)
{
    (void)owner;
    log_error(
        "the database failed, and the broker ends so that nothing is acknowledged that is not on "
        "disk: %s",
        sentence);
    _exit(1);
}

/* To go on would forget jobs; the next start finds them in the database. */
static void give_up_for_memory(void)
{
    log_error("there is no memory for what waits in the database, and the broker ends");
    _exit(1);
}

static void on_counts(void *owner, struct span queue, const struct store_counts *counts)
{
    struct broker *b = owner;

    if (core_on_counts(&b->core, queue, counts) != 0)
        give_up_for_memory();
}

static void on_lane(void *owner, const struct store_lane_view *lane)
{
    struct broker *b = owner;

    if (core_on_lane(&b->core, lane) != 0)
        give_up_for_memory();
}

static void on_writer_closed(void *owner);

static int start_store(struct broker *b)
{
    struct store_conf conf = {.path = b->conf.db,
                              .clock = clock_real(),
                              .retain_ms = b->conf.retain_ms,
                              .retain_failed_ms = b->conf.retain_failed_ms,
                              .idempotency_ms = b->conf.idempotency_ms,
                              .on_damage = damage_note,
                              .damage_owner = &b->damage};
    struct writer_callbacks callbacks = {.owner = b,
                                         .on_fatal = on_fatal,
                                         .on_counts = on_counts,
                                         .on_lane = on_lane,
                                         .on_closed = on_writer_closed};
    char sentence[256];
    int status = store_open(&conf, &b->store, sentence);

    if (status != 0) {
        log_error("%s", sentence);
        return status;
    }
    status = reader_open(&conf, &b->reader);
    if (status == 0)
        status = writer_start(&b->loop, b->store, &callbacks, &b->writer);
    if (status != 0)
        log_error("the database %s cannot be used: %s", b->conf.db, errors_title(status));
    return status;
}

/* ---- the core ---- */

/* The waiters of a turn read their jobs, as one read: they were marked behind the commits, so that
 * the moment that begins here shows every end. Then what the turn has brought leaves the loop, and
 * in this order: an answer lets the next request of its connection begin, which submits. */
static void turn(struct broker *b)
{
    bool reads = waiters_has_marked(&b->core.waiters);

    if (reads)
        reader_begin(b->reader);
    core_turn(&b->core);
    if (reads)
        reader_end(b->reader);
    carrier_redis_flush(b->carrier);
    http_server_flush(b->server);
    carrier_redis_flush_late(b->carrier);
    writer_flush(b->writer);
}

static void on_prepare(uv_prepare_t *prepare)
{
    turn(prepare->data);
}

static void on_check(uv_check_t *check)
{
    turn(check->data);
}

static int start_core(struct broker *b)
{
    struct core_conf conf = {.node = (unsigned)b->conf.node,
                             .heartbeat_ms = b->conf.heartbeat_ms,
                             .lease_ms = b->conf.lease_ms};
    struct core_seams seams;
    int status = carrier_redis_open(&b->loop, b->conf.redis, &b->carrier);

    if (status != 0) {
        log_error("--redis is unix:PATH or HOST:PORT, not '%s'", b->conf.redis);
        return status;
    }
    if (getrandom(&conf.seed, sizeof(conf.seed), 0) != sizeof(conf.seed))
        return JM_EIO;
    seams = (struct core_seams){.clock = clock_real(),
                                .carrier = carrier_redis_carrier(b->carrier),
                                .runner = writer_runner(b->writer),
                                .timers = &b->timers.timers};
    status = core_init(&b->core, &conf, &seams);
    if (status == 0)
        status = core_start(&b->core, b->reader);
    if (status != 0)
        log_error("the jobs in %s cannot be read: %s.%s", b->conf.db, errors_title(status),
                  status == JM_ECORRUPT ? " See `jobmill doctor --db FILE`." : "");
    return status;
}

/* ---- the HTTP side ---- */

static void on_metrics(void *outside, struct metrics_outside *ret_metrics)
{
    struct broker *b = outside;
    const struct carrier_stats *redis = carrier_redis_stats(b->carrier);
    const struct http_stats *http = http_server_stats(b->server);

    writer_stats(b->writer, &ret_metrics->writer);
    ret_metrics->http_connections = http->connections;
    ret_metrics->http_requests = http->requests;
    ret_metrics->http_rejected = http->rejected;
    ret_metrics->http_framing_errors = http->framing_errors;
    ret_metrics->http_timeouts = http->timeouts;
    ret_metrics->http_stalled = http->stalled;
    ret_metrics->http_unread_bytes = http->unread_bytes;
    ret_metrics->damaged_reads = damage_reads(&b->damage);
    ret_metrics->redis_requests = redis->answered;
    ret_metrics->redis_strange_keys = redis->strange_keys;
    ret_metrics->redis_round_trip_ns_sum = redis->round_trip_ns_sum;
    ret_metrics->redis_round_trip_ns_max = redis->round_trip_ns_max;
}

static int start_api(struct broker *b)
{
    struct api_conf conf = {.core = &b->core,
                            .reader = b->reader,
                            .store = {.path = b->conf.db,
                                      .clock = clock_real(),
                                      .on_damage = damage_note,
                                      .damage_owner = &b->damage},
                            .loop = &b->loop,
                            .max_item_bytes = b->conf.max_body_bytes,
                            .outside = b,
                            .on_metrics = on_metrics};
    int status = api_init(&b->api, &conf);

    if (status == 0)
        status = api_start(&b->api);
    if (status != 0)
        log_error("the HTTP interface cannot start: %s", errors_title(status));
    return status;
}

static int start_server(struct broker *b)
{
    struct http_conf conf = {.max_body_bytes = b->conf.max_body_bytes};
    struct http_reason reason = {{0}};
    unsigned inherited = 0;
    int status = http_server_open(&b->loop, &conf, api_handler(&b->api), &b->server);

    if (status == 0)
        status = http_server_listen_inherited(b->server, &inherited, &reason);
    if (status == 0 && inherited == 0)
        status = http_server_listen(b->server, b->conf.listen, &reason);
    if (status != 0)
        log_error("%s", reason.text[0] != '\0' ? reason.text : errors_title(status));
    return status;
}

/* ---- stop, step by step ---- */

static void on_timers_closed(void *owner)
{
    (void)owner; /* the last handle: the loop ends */
}

static void on_writer_closed(void *owner)
{
    struct broker *b = owner;

    loop_timer_close(&b->timers, b, on_timers_closed);
}

static void on_carrier_closed(void *owner)
{
    struct broker *b = owner;

    core_close_carrier(&b->core);
    writer_close(b->writer);
}

static void on_server_stopped(void *owner)
{
    struct broker *b = owner;

    uv_close((uv_handle_t *)&b->prepare, NULL);
    uv_close((uv_handle_t *)&b->check, NULL);
    uv_close((uv_handle_t *)&b->sigterm, NULL);
    uv_close((uv_handle_t *)&b->sigint, NULL);
    uv_close((uv_handle_t *)&b->watchdog, NULL);
    carrier_redis_close(b->carrier, b, on_carrier_closed);
}

static void on_api_stopped(void *owner)
{
    struct broker *b = owner;

    http_server_stop(b->server, (unsigned)b->conf.stop_ms, on_server_stopped, b);
}

static void on_signal(uv_signal_t *signal, int number)
{
    struct broker *b = signal->data;

    if (b->is_stopping)
        return;
    b->is_stopping = true;
    log_info("stopping on %s", number == SIGTERM ? "SIGTERM" : "SIGINT");
    (void)notify_send("STOPPING=1");
    CRASH_POINT("stopping");
    api_stop(&b->api, b, on_api_stopped);
}

/* ---- start ---- */

static void on_watchdog(uv_timer_t *timer)
{
    (void)timer; /* fed by the loop: a loop that hangs feeds nothing */
    (void)notify_send("WATCHDOG=1");
}

static int start_watchdog(struct broker *b)
{
    uint64_t every_ms = notify_watchdog_ms() / 2;

    b->watchdog.data = b;
    if (uv_timer_init(&b->loop, &b->watchdog) != 0)
        return JM_ENOMEM;
    if (every_ms > 0 && uv_timer_start(&b->watchdog, on_watchdog, every_ms, every_ms) != 0)
        return JM_ENOMEM;
    return 0;
}

static int start_signal(struct broker *b, uv_signal_t *signal, int number)
{
    signal->data = b;
    if (uv_signal_init(&b->loop, signal) != 0 || uv_signal_start(signal, on_signal, number) != 0)
        return JM_EIO;
    return 0;
}

static int start_turns(struct broker *b)
{
    b->prepare.data = b->check.data = b;
    if (uv_prepare_init(&b->loop, &b->prepare) != 0 || uv_check_init(&b->loop, &b->check) != 0 ||
        uv_prepare_start(&b->prepare, on_prepare) != 0 || uv_check_start(&b->check, on_check) != 0)
        return JM_EIO;
    return 0;
}

static int start_loop(struct broker *b)
{
    int status;

    if (uv_loop_init(&b->loop) != 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return JM_EIO;
    status = start_turns(b);
    if (status == 0)
        status = start_signal(b, &b->sigterm, SIGTERM);
    if (status == 0)
        status = start_signal(b, &b->sigint, SIGINT);
    if (status == 0)
        status = start_watchdog(b);
    if (status == 0)
        status = loop_timer_init(&b->timers, &b->loop, clock_real());
    return status;
}

static void tell_ready(struct broker *b)
{
    char state[512];

    snprintf(state, sizeof(state), "STATUS=listening on %s\nREADY=1",
             http_server_address(b->server));
    log_info("listening on %s", http_server_address(b->server));
    if (http_server_max_connections(b->server) < JM_CONNECTIONS)
        log_warn("only %zu connections at a time, since the limit of open files is low; raise it "
                 "(ulimit -n, LimitNOFILE=) for %d",
                 http_server_max_connections(b->server), JM_CONNECTIONS);
    if (notify_send(state) != 0)
        log_warn("the service manager could not be told that the broker is ready");
}

int broker_start(struct broker *b, const struct broker_conf *conf)
{
    int status;

    b->conf = *conf;
    status = start_loop(b);
    if (status != 0) {
        log_error("the event loop cannot start: %s", errors_title(status));
        return status;
    }
    status = start_store(b);
    if (status == 0)
        status = start_core(b);
    if (status == 0)
        status = start_api(b);
    if (status == 0)
        status = start_server(b);
    if (status != 0)
        return status;
    carrier_redis_start(b->carrier);
    tell_ready(b);
    return 0;
}

int broker_run(struct broker *b)
{
    int error = uv_run(&b->loop, UV_RUN_DEFAULT);

    assert(error == 0);
    b->server = http_server_free(b->server);
    api_done(&b->api);
    core_done(&b->core);
    b->reader = reader_close(b->reader);
    error = uv_loop_close(&b->loop);
    assert(error == 0); /* every handle was closed above */
    log_info("stopped");
    return error;
}
