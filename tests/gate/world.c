#include "tests/gate/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <valgrind/callgrind.h>

#include "schema/errors.h"

enum { STEP_NS = 100000, SLOTS = 2, HEARTBEAT_MS = 1000 };

#define START_WALL_MS INT64_C(1700000000000)
#define HOST UINT64_C(0x123456789abcdef0)

static const char *const queues[] = {"default", "limited", "paused"};

void world_die(const char *fmt, ...)
{
    va_list args;

    fputs("gate: ", stderr);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

static void must(int status, const char *what)
{
    if (status != 0)
        world_die("%s failed: %s", what, errors_title(status));
}

/* The broker's own work begins, and ends. */
static void count(void)
{
    CALLGRIND_TOGGLE_COLLECT;
}

static void rest(void)
{
    CALLGRIND_TOGGLE_COLLECT;
}

/* ---- clock and timers ---- */

static uint64_t mono_ns(struct clock *clock)
{
    return JM_CONTAINER_OF(clock, struct world, clock)->now_ns;
}

static int64_t wall_ms(struct clock *clock)
{
    return START_WALL_MS + (int64_t)(mono_ns(clock) / 1000000);
}

static void arm(struct timers *timers, struct timer *t, uint64_t at_ms)
{
    struct world *w = JM_CONTAINER_OF(timers, struct world, timers);
    struct list *at;

    list_remove(&t->link);
    t->at_ms = at_ms;
    at = w->armed.prev;
    while (at != &w->armed && LIST_ENTRY(at, struct timer, link)->at_ms > at_ms)
        at = at->prev;
    list_insert_before(at->next, &t->link);
}

static struct timer *due_timer(struct world *w)
{
    struct timer *t =
        list_is_empty(&w->armed) ? NULL : LIST_ENTRY(w->armed.next, struct timer, link);

    return t != NULL && t->at_ms * 1000000 <= w->now_ns ? t : NULL;
}

static bool run_timers(struct world *w)
{
    struct timer *t;
    bool has_some = false;

    while ((t = due_timer(w)) != NULL) {
        timer_disarm(t);
        count();
        t->on_time(t);
        rest();
        has_some = true;
    }
    return has_some;
}

/* ---- the runner ---- */

static void submit_op(struct runner *runner, struct store_op *op)
{
    list_push_back(&JM_CONTAINER_OF(runner, struct world, runner)->waiting, &op->link);
}

static bool is_synced(struct runner *runner)
{
    (void)runner;
    return true;
}

static void wait_synced(struct runner *runner, struct runner_gate *gate)
{
    list_push_back(&JM_CONTAINER_OF(runner, struct world, runner)->gates, &gate->link);
}

static bool open_gates(struct world *w)
{
    struct list *node = list_pop_front(&w->gates);

    if (node == NULL)
        return false;
    count();
    LIST_ENTRY(node, struct runner_gate, link)->on_open(LIST_ENTRY(node, struct runner_gate, link));
    rest();
    return true;
}

static void take_ops(struct world *w, struct list *ops)
{
    bool is_alone = false;

    list_init(ops);
    while (!list_is_empty(&w->waiting) && !is_alone) {
        struct store_op *op = LIST_ENTRY(w->waiting.next, struct store_op, link);

        is_alone = op->is_alone;
        if (is_alone && !list_is_empty(ops))
            return;
        list_remove(&op->link);
        list_push_back(ops, &op->link);
    }
}

static void on_counts(void *owner, struct span queue, const struct store_counts *counts)
{
    if (core_on_counts(owner, queue, counts) != 0)
        world_die("there is no memory");
}

static void on_lane(void *owner, const struct store_lane_view *lane)
{
    if (core_on_lane(owner, lane) != 0)
        world_die("there is no memory");
}

static bool run_batch(struct world *w)
{
    struct list ops;
    struct list *node;

    if (list_is_empty(&w->waiting))
        return false;
    take_ops(w, &ops);
    count();
    if (store_run(w->store, &ops) != 0 || store_sync(w->store) != 0)
        world_die("%s", store_last_error(w->store));
    store_changed_counts(w->store, &w->core, on_counts);
    store_changed_lanes(w->store, &w->core, on_lane);
    while ((node = list_pop_front(&ops)) != NULL)
        LIST_ENTRY(node, struct store_op, link)->on_done(LIST_ENTRY(node, struct store_op, link));
    rest();
    return true;
}

/* ---- the worker host ---- */

static void end_job(struct world *w, struct span frame)
{
    struct wire_event event = {.kind = WIRE_SUCCEEDED,
                               .host = HOST,
                               .pid = 1,
                               .has_begun = true,
                               .begun_at_ms = wall_ms(&w->clock),
                               .run_us = 12,
                               .result = span_of("\xc0", 1)};
    struct wire_job job;
    char key[KEYS_BYTES];
    struct buf out;

    must(wire_decode_job(frame, &job), "decoding a job");
    event.id = job.id;
    event.attempt = job.attempt;
    buf_init(&out, 1 << 16);
    wire_encode_event(&out, &event);
    keys_results(key, 0);
    redis_push(&w->redis, key, buf_span(&out));
    buf_done(&out);
}

static bool work(struct world *w)
{
    bool has_some = false;

    for (size_t i = 0; i < JM_COUNT_OF(queues); i++) {
        struct redis_value *value;
        char key[KEYS_BYTES];

        keys_queue(key, queues[i], strlen(queues[i]));
        while ((value = redis_pop(&w->redis, key)) != NULL) {
            end_job(w, span_of(value->bytes, value->len));
            free(value);
            has_some = true;
        }
    }
    return has_some;
}

static void beat(struct world *w)
{
    struct wire_task noop = {span_of_str("noop"), span_of_str("builtin"), span_of_str("Nothing.")};
    struct wire_beat beat = {.host = HOST,
                             .seq = ++w->beats,
                             .pid = 1,
                             .started_at_ms = START_WALL_MS,
                             .slots = SLOTS,
                             .hostname = span_of_str("gate"),
                             .version = span_of_str("0")};
    struct buf held, tasks, names, out;
    char field[17];

    buf_init(&held, 1 << 12);
    buf_init(&tasks, 1 << 12);
    buf_init(&names, 1 << 12);
    buf_init(&out, 1 << 14);
    wire_encode_list(&held, 0);
    wire_encode_list(&tasks, 1);
    wire_encode_task(&tasks, &noop);
    wire_encode_list(&names, JM_COUNT_OF(queues));
    for (size_t i = 0; i < JM_COUNT_OF(queues); i++)
        wire_encode_name(&names, span_of_str(queues[i]));
    beat.held = buf_span(&held);
    beat.tasks = buf_span(&tasks);
    beat.queues = buf_span(&names);
    wire_encode_beat(&out, &beat);
    keys_host_name(field, HOST);
    redis_set_host(&w->redis, field, buf_span(&out));
    buf_done(&held);
    buf_done(&tasks);
    buf_done(&names);
    buf_done(&out);
}

/* ---- clients ---- */

static void connect_client(struct client *client, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    buf_init(&client->in, ANSWER_BYTES);
    client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0 || connect(client->fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        world_die("a client cannot connect");
}

/* Whether the answer is all there; a chunked one ends with an empty chunk. */
static bool is_complete(struct client *client)
{
    static const char blank[] = "\r\n\r\n", length[] = "Content-Length: ", last[] = "\r\n0\r\n\r\n";
    struct span in = buf_span(&client->in);
    const uint8_t *end = memmem(in.data, in.len, blank, 4), *field;

    if (end == NULL)
        return false;
    client->body = (size_t)(end - in.data) + 4;
    client->status = atoi((const char *)in.data + 9);
    field = memmem(in.data, client->body, length, sizeof(length) - 1);
    if (field == NULL)
        return in.len >= client->body + 7 && memcmp(in.data + in.len - 7, last, 7) == 0;
    return in.len >= client->body + strtoull((const char *)field + sizeof(length) - 1, NULL, 10);
}

static bool receive(struct world *w, struct client *client)
{
    uint8_t *room = buf_reserve(&client->in, 1 << 16);
    ssize_t n = room != NULL ? recv(client->fd, room, 1 << 16, MSG_DONTWAIT) : 0;

    if (n == 0)
        world_die("the broker has closed a connection");
    if (n < 0)
        return false;
    buf_advance(&client->in, (size_t)n);
    if (is_complete(client)) {
        client->waits = false;
        w->waiting_clients--;
    }
    return true;
}

static bool collect(struct world *w)
{
    bool has_some = false;

    for (size_t i = 0; i < CLIENTS; i++)
        if (w->clients[i].waits && receive(w, &w->clients[i]))
            has_some = true;
    return has_some;
}

void world_ask(struct world *w, size_t n, const char *request, size_t len)
{
    struct client *client = &w->clients[n];

    if (client->waits)
        world_die("client %zu has no answer yet", n);
    buf_clear(&client->in);
    client->waits = true;
    w->waiting_clients++;
    while (len > 0) {
        ssize_t sent = send(client->fd, request, len, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (sent < 0 && w->loop.active_handles == 0)
            world_die("a client cannot send");
        if (sent < 0) { /* full: the broker is to read first */
            count();
            uv_run(&w->loop, UV_RUN_NOWAIT);
            rest();
            continue;
        }
        request += sent;
        len -= (size_t)sent;
    }
}

void world_call(struct world *w, int status, const char *head, const char *body)
{
    char request[4096];
    int len = snprintf(request, sizeof(request),
                       "%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                       "Content-Length: %zu\r\n\r\n%s",
                       head, strlen(body), body);

    world_ask(w, 0, request, (size_t)len);
    world_settle(w);
    if (w->clients[0].status != status)
        world_die("%s was answered with %d", head, w->clients[0].status);
}

/* ---- steps ---- */

/* What the loop has to do, however much that is; the pool is waited for if nothing else is left. */
static void turn(struct world *w, bool may_wait)
{
    count();
    uv_run(&w->loop, may_wait ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    rest();
}

static bool step(struct world *w)
{
    bool has_some;

    w->now_ns += STEP_NS;
    has_some = run_timers(w);
    has_some = run_batch(w) || has_some;
    has_some = open_gates(w) || has_some;
    has_some = redis_serve(&w->redis) || has_some;
    has_some = work(w) || has_some;
    return collect(w) || has_some;
}

/* A turn that led to nothing, twice, is the end: what is answered in one turn may be sent in the
 * next. */
void world_settle(struct world *w)
{
    unsigned quiet = 0;

    while (quiet < 3 || w->waiting_clients > 0) {
        turn(w, quiet >= 3);
        quiet = step(w) ? 0 : quiet + 1;
    }
}

void world_pass_ms(struct world *w, uint64_t ms)
{
    uint64_t until_ns = w->now_ns + ms * 1000000;

    while (w->now_ns < until_ns) {
        struct timer *t =
            list_is_empty(&w->armed) ? NULL : LIST_ENTRY(w->armed.next, struct timer, link);

        if (t == NULL || t->at_ms * 1000000 > until_ns)
            w->now_ns = until_ns;
        else if (t->at_ms * 1000000 > w->now_ns)
            w->now_ns = t->at_ms * 1000000;
        beat(w);
        world_settle(w);
    }
}

/* ---- beginning and end ---- */

/* As in broker.c, without the writer's inbox. */
static void on_turn(struct world *w)
{
    bool reads = waiters_has_marked(&w->core.waiters);

    if (reads)
        reader_begin(w->reader);
    core_turn(&w->core);
    if (reads)
        reader_end(w->reader);
    carrier_redis_flush(w->carrier);
    if (w->server != NULL)
        http_server_flush(w->server);
    carrier_redis_flush_late(w->carrier);
}

static void on_prepare(uv_prepare_t *prepare)
{
    on_turn(prepare->data);
}

static void on_check(uv_check_t *check)
{
    on_turn(check->data);
}

static void open_loop(struct world *w)
{
    must(uv_loop_init(&w->loop), "the loop");
    w->prepare.data = w->check.data = w;
    must(uv_prepare_init(&w->loop, &w->prepare), "the loop");
    must(uv_check_init(&w->loop, &w->check), "the loop");
    must(uv_prepare_start(&w->prepare, on_prepare), "the loop");
    must(uv_check_start(&w->check, on_check), "the loop");
}

static void open_seams(struct world *w)
{
    w->clock = (struct clock){.mono_ns = mono_ns, .wall_ms = wall_ms};
    w->timers.arm = arm;
    w->runner = (struct runner){submit_op, is_synced, wait_synced};
    list_init(&w->armed);
    list_init(&w->waiting);
    list_init(&w->gates);
}

static void open_store(struct world *w)
{
    char sentence[256];

    snprintf(w->db, sizeof(w->db), "%s/jobs.db", w->dir);
    w->store_conf = (struct store_conf){.path = w->db, .clock = &w->clock};
    if (store_open(&w->store_conf, &w->store, sentence) != 0)
        world_die("%s", sentence);
    must(reader_open(&w->store_conf, &w->reader), "opening the database to read");
}

static void open_core(struct world *w)
{
    struct core_conf conf = {.heartbeat_ms = HEARTBEAT_MS, .lease_ms = 15000, .seed = 1};
    struct core_seams seams;
    char address[100];

    snprintf(address, sizeof(address), "%s/redis", w->dir);
    redis_open(&w->redis, address);
    beat(w);
    snprintf(address, sizeof(address), "unix:%s/redis", w->dir);
    must(carrier_redis_open(&w->loop, address, &w->carrier), "the carrier");
    seams = (struct core_seams){.clock = &w->clock,
                                .carrier = carrier_redis_carrier(w->carrier),
                                .runner = &w->runner,
                                .timers = &w->timers};
    must(core_init(&w->core, &conf, &seams), "the core");
    must(core_start(&w->core, w->reader), "the core");
}

static void open_front(struct world *w)
{
    struct api_conf conf = {
        .core = &w->core, .reader = w->reader, .store = w->store_conf, .loop = &w->loop};
    struct http_conf http = {.clock = &w->clock, .max_body_bytes = ANSWER_BYTES};
    struct http_reason reason = {{0}};
    char address[100];

    must(api_init(&w->api, &conf), "the interface");
    must(api_start(&w->api), "the interface");
    must(http_server_open(&w->loop, &http, api_handler(&w->api), &w->server), "the server");
    snprintf(address, sizeof(address), "unix:%s/http", w->dir);
    if (http_server_listen(w->server, address, &reason) != 0)
        world_die("%s", reason.text);
    snprintf(address, sizeof(address), "%s/http", w->dir);
    for (size_t i = 0; i < CLIENTS; i++)
        connect_client(&w->clients[i], address);
}

void world_open(struct world *w)
{
    snprintf(w->dir, sizeof(w->dir), "gate-XXXXXX");
    if (mkdtemp(w->dir) == NULL)
        world_die("cannot make a directory here");
    CALLGRIND_TOGGLE_COLLECT; /* off */
    open_loop(w);
    open_seams(w);
    open_store(w);
    open_core(w);
    open_front(w);
    uv_update_time(&w->loop); /* the link's time limit counts from now */
    carrier_redis_start(w->carrier);
    world_settle(w);
    world_pass_ms(w, 2 * HEARTBEAT_MS);
}

/* ---- the end ---- */

static void on_stopped(void *owner)
{
    (void)owner;
}

static void stop(struct world *w)
{
    api_stop(&w->api, w, on_stopped);
    world_settle(w);
    http_server_stop(w->server, 0, on_stopped, w);
    carrier_redis_close(w->carrier, w, on_stopped);
    uv_close((uv_handle_t *)&w->prepare, NULL);
    uv_close((uv_handle_t *)&w->check, NULL);
    for (size_t i = 0; i < CLIENTS; i++) {
        (void)close(w->clients[i].fd);
        buf_done(&w->clients[i].in);
    }
    uv_run(&w->loop, UV_RUN_DEFAULT);
}

void world_close(struct world *w)
{
    static const char *const files[] = {"jobs.db", "jobs.db-wal", "jobs.db-shm",  "jobs.db.lock",
                                        "redis",   "http",        "jobs.db.spool"};
    char path[128];

    stop(w);
    w->server = http_server_free(w->server);
    core_close_carrier(&w->core);
    api_done(&w->api);
    core_done(&w->core);
    redis_close(&w->redis);
    w->reader = reader_close(w->reader);
    w->store = store_close(w->store);
    if (uv_loop_close(&w->loop) != 0)
        world_die("a handle is still open");
    for (size_t i = 0; i < JM_COUNT_OF(files); i++) {
        snprintf(path, sizeof(path), "%s/%s", w->dir, files[i]);
        (void)unlink(path);
    }
    (void)rmdir(w->dir);
}
