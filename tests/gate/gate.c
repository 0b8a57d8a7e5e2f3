/*
 * gate.c: a fixed script of requests to a whole broker (world.h), in parts. Under callgrind each
 * part leaves a file that tells how many instructions it took, function by function; gate.py runs
 * it, and compares with what is recorded in counts.json.
 *
 * usage: gate            in a directory that may be written to
 *        gate versions   what the counts depend on, besides the sources
 */
#include <gnu/libc-version.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/callgrind.h>

#include "schema/id.h"
#include "tests/gate/world.h"

enum {
    ROUNDS = 8,
    BULK = 1000,
    DRAINED = CLIENTS + ROUNDS * CLIENTS + BULK, /* one round is the warming up */
    LIMITED = (2 + ROUNDS) * CLIENTS + BULK,
    WHOLE = (1 + ROUNDS) * CLIENTS,
    RICH = 4 * CLIENTS,
    DELAYED = 3 * CLIENTS,
    CANCELLED = 2 * CLIENTS,
    ENDED = WHOLE + RICH + DELAYED,            /* of the queue that is named by nobody */
    PURGED = DRAINED + LIMITED + ENDED + RICH, /* with the keys of those */
    LISTS = 32,
    KEYS = 100,
    REQUEST_BYTES = 1 << 19,
};

/* ---- requests ---- */

#define ARGS                                                                                  \
    "\"args\":{\"user\":4711,\"name\":\"somebody\",\"text\":\"a body of about 120 bytes, as " \
    "usual\"}"

struct request {
    char text[1024];
    size_t len;
};

JM_PRINTF(3, 4)
static void compose(struct request *r, const char *head, const char *fmt, ...)
{
    char body[512];
    va_list args;
    int len;

    va_start(args, fmt);
    len = vsnprintf(body, sizeof(body), fmt, args);
    va_end(args);
    len = snprintf(r->text, sizeof(r->text),
                   "%s HTTP/1.1\r\nHost: 127.0.0.1:7878\r\nContent-Type: application/json\r\n"
                   "Content-Length: %d\r\n\r\n%s",
                   head, len, body);
    r->len = (size_t)len;
}

static void get(struct request *r, const char *path)
{
    int len = snprintf(r->text, sizeof(r->text),
                       "GET %s HTTP/1.1\r\nHost: 127.0.0.1:7878\r\nAccept: */*\r\n\r\n", path);

    r->len = (size_t)len;
}

/* A request of every client, `rounds` times; `make` composes the n-th. */
static void ask_all(struct world *w, size_t rounds, int status,
                    void (*make)(struct world *w, struct request *r, size_t n))
{
    struct request r;

    for (size_t n = 0; n < rounds * CLIENTS; n++) {
        make(w, &r, n);
        world_ask(w, n % CLIENTS, r.text, r.len);
        if (n % CLIENTS < CLIENTS - 1)
            continue;
        world_settle(w);
        for (size_t i = 0; i < CLIENTS; i++)
            if (w->clients[i].status != status)
                world_die("an answer is %d: %.*s", w->clients[i].status, (int)w->clients[i].in.len,
                          (const char *)w->clients[i].in.data);
    }
}

/* Ids of jobs that were made, to read and to cancel. */
static char ids[ROUNDS * CLIENTS][ID_TEXT_BYTES];

/* What was answered last, by all clients. */
static void note_id(struct world *w, size_t n)
{
    const struct client *client = &w->clients[n % CLIENTS];
    const char *body = (const char *)client->in.data + client->body;
    const char *at = memmem(body, client->in.len - client->body, "\"id\":\"", 6);

    if (at == NULL)
        world_die("an answer has no id");
    snprintf(ids[n], sizeof(ids[n]), "%.13s", at + 6);
}

/* That the script has done what its parts say, so that nothing cheap is counted by mistake. */
static void must_hold(struct world *w, const char *name, enum job_state state, int64_t count)
{
    const struct queue *q = queues_find(&w->core.queues, span_of_str(name));

    if (q == NULL || q->counts.by_state[state] != count)
        world_die("%s has %lld jobs of state %d, not %lld", name,
                  q == NULL ? -1LL : (long long)q->counts.by_state[state], (int)state,
                  (long long)count);
}

/* ---- the parts ---- */

static void make_ping(struct world *w, struct request *r, size_t n)
{
    (void)w;
    (void)n;
    get(r, "/ping");
}

static void make_submit(struct world *w, struct request *r, size_t n)
{
    (void)w;
    (void)n;
    compose(r, "POST /v1/jobs", "{\"task\":\"noop\",\"queue\":\"paused\"," ARGS "}");
}

static void make_whole(struct world *w, struct request *r, size_t n)
{
    if (n >= CLIENTS)
        note_id(w, n - CLIENTS);
    compose(r, "POST /v1/jobs?wait=10", "{\"task\":\"noop\"," ARGS "}");
}

static void make_limited(struct world *w, struct request *r, size_t n)
{
    (void)w;
    compose(r, "POST /v1/jobs?wait=10",
            "{\"task\":\"noop\",\"queue\":\"limited\",\"limit_key\":\"customer %zu\"," ARGS "}",
            n * 7 % KEYS);
}

static void make_read(struct world *w, struct request *r, size_t n)
{
    char path[64];

    (void)w;
    snprintf(path, sizeof(path), "/v1/jobs/%s", ids[n % ((ROUNDS - 1) * CLIENTS)]);
    get(r, path);
}

static void make_result(struct world *w, struct request *r, size_t n)
{
    char path[64];

    (void)w;
    snprintf(path, sizeof(path), "/v1/jobs/%s/result", ids[n % ((ROUNDS - 1) * CLIENTS)]);
    get(r, path);
}

static void make_list(struct world *w, struct request *r, size_t n)
{
    (void)w;
    (void)n;
    get(r, "/v1/jobs?state=succeeded&limit=20");
}

/* Everything that a submit may bring along and that needs rows of its own. */
static void make_rich(struct world *w, struct request *r, size_t n)
{
    char head[128];

    (void)w;
    snprintf(head, sizeof(head),
             "POST /v1/jobs HTTP/1.1\r\nIdempotency-Key: order-%zu\r\nX-Unused: 1\r\nX-Rest:", n);
    compose(r, head,
            "{\"task\":\"noop\",\"delay_ms\":3600000,\"tags\":[\"order\",\"n%zu\"],"
            "\"unique\":{\"key\":\"order %zu\",\"while\":\"unfinished\"},\"max_attempts\":5," ARGS
            "}",
            n % 10, n);
}

static void make_delayed(struct world *w, struct request *r, size_t n)
{
    if (n >= CLIENTS)
        note_id(w, n - CLIENTS);
    compose(r, "POST /v1/jobs", "{\"task\":\"noop\",\"delay_ms\":3600000," ARGS "}");
}

static void make_cancel(struct world *w, struct request *r, size_t n)
{
    char head[64];

    (void)w;
    snprintf(head, sizeof(head), "POST /v1/jobs/%s/cancel", ids[n]);
    compose(r, head, "%s", "");
}

static void part_ping(struct world *w)
{
    ask_all(w, ROUNDS, 200, make_ping);
}

static void part_submit(struct world *w)
{
    ask_all(w, ROUNDS, 201, make_submit);
}

static void part_whole(struct world *w)
{
    ask_all(w, ROUNDS, 200, make_whole);
}

static void part_limited(struct world *w)
{
    ask_all(w, ROUNDS, 200, make_limited);
}

/* A batch of BULK jobs; `fmt` has the number of the job's key. */
static void ask_batch(struct world *w, const char *fmt)
{
    static char request[REQUEST_BYTES];
    static char body[REQUEST_BYTES - 256];
    size_t len = 0;
    int head;

    for (size_t i = 0; i < BULK; i++) {
        body[len++] = i == 0 ? '[' : ',';
        len += (size_t)snprintf(body + len, sizeof(body) - len, fmt, (int)(i * 7 % KEYS));
    }
    body[len++] = ']';
    head = snprintf(request, sizeof(request),
                    "POST /v1/jobs/batch HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: "
                    "application/json\r\nContent-Length: %zu\r\n\r\n%.*s",
                    len, (int)len, body);
    world_ask(w, 0, request, (size_t)head);
    world_settle(w);
    if (w->clients[0].status != 200)
        world_die("a batch was answered with %d", w->clients[0].status);
}

static void part_bulk(struct world *w)
{
    ask_batch(w, "{\"task\":\"noop\",\"queue\":\"paused\"," ARGS "}");
}

static void part_keyed_bulk(struct world *w)
{
    world_call(w, 200, "POST /v1/queues/limited/pause", "");
    ask_batch(w,
              "{\"task\":\"noop\",\"queue\":\"limited\",\"limit_key\":\"customer %d\"," ARGS "}");
}

static void part_keyed_drain(struct world *w)
{
    must_hold(w, "limited", JOB_QUEUED, BULK);
    world_call(w, 200, "POST /v1/queues/limited/resume", "");
    world_pass_ms(w, 50);
    must_hold(w, "limited", JOB_SUCCEEDED, LIMITED);
}

/* What waits since the parts before is run. */
static void part_drain(struct world *w)
{
    must_hold(w, "paused", JOB_QUEUED, DRAINED);
    world_call(w, 200, "POST /v1/queues/paused/resume", "");
    world_pass_ms(w, 50);
    must_hold(w, "paused", JOB_SUCCEEDED, DRAINED);
}

static void part_read(struct world *w)
{
    ask_all(w, ROUNDS, 200, make_read);
}

static void part_result(struct world *w)
{
    ask_all(w, ROUNDS, 200, make_result);
}

static void part_list(struct world *w)
{
    struct request r;

    for (size_t i = 0; i < LISTS; i++) {
        make_list(w, &r, i);
        world_ask(w, 0, r.text, r.len);
        world_settle(w);
    }
}

static void part_rich(struct world *w)
{
    ask_all(w, 4, 201, make_rich);
}

static void part_cancel(struct world *w)
{
    ask_all(w, 3, 201, make_delayed);
    ask_all(w, 2, 200, make_cancel);
}

/* What was delayed for an hour. */
static void part_due(struct world *w)
{
    w->now_ns += UINT64_C(3601) * 1000000000;
    world_pass_ms(w, 5000);
    must_hold(w, "default", JOB_SCHEDULED, 0);
    must_hold(w, "default", JOB_SUCCEEDED, ENDED - CANCELLED);
}

/* All that has ended is kept for a day. */
static void part_purge(struct world *w)
{
    w->now_ns += UINT64_C(24) * 3600 * 1000000000;
    world_pass_ms(w, 5000);
    if (w->core.purge.stats.rows != PURGED)
        world_die("%llu rows were purged, not %d", (unsigned long long)w->core.purge.stats.rows,
                  PURGED);
}

struct part {
    const char *name;
    size_t ops;
    void (*run)(struct world *w);
};

static const struct part parts[] = {
    {"ping", ROUNDS *CLIENTS, part_ping},
    {"submit", ROUNDS *CLIENTS, part_submit},
    {"end to end", ROUNDS *CLIENTS, part_whole},
    {"end to end, 100 keys with limits", ROUNDS *CLIENTS, part_limited},
    {"batch of 1,000", BULK, part_bulk},
    {"drain", DRAINED, part_drain},
    {"batch of 1,000, 100 keys", BULK, part_keyed_bulk},
    {"drain, 100 keys with limits", BULK, part_keyed_drain},
    {"job", ROUNDS *CLIENTS, part_read},
    {"result", ROUNDS *CLIENTS, part_result},
    {"list of 20", LISTS, part_list},
    {"submit with key, tags, unique", RICH, part_rich},
    {"3 delayed, 2 cancelled", CLIENTS, part_cancel},
    {"due", RICH + DELAYED - CANCELLED, part_due},
    {"purge", PURGED, part_purge},
};

static void run_part(struct world *w, const struct part *part)
{
    char name[128];

    snprintf(name, sizeof(name), "%zu %s", part->ops, part->name);
    CALLGRIND_ZERO_STATS;
    part->run(w);
    CALLGRIND_DUMP_STATS_AT(name);
}

static void warm_up(struct world *w)
{
    world_call(w, 200, "PATCH /v1/queues/paused", "{\"paused\":true}");
    world_call(w, 200, "PATCH /v1/queues/limited",
               "{\"concurrency\":1000000,\"rate\":{\"limit\":1000000,\"period_ms\":1000},"
               "\"key_concurrency\":1000000,\"key_rate\":{\"limit\":1000000,\"period_ms\":1000}}");
    ask_all(w, 1, 201, make_submit);
    ask_all(w, 1, 200, make_whole);
    ask_all(w, 2, 200, make_limited);
}

static void say_versions(void)
{
    printf("compiler %s\nlibc %s\nsqlite %s\nlibuv %s\n", __VERSION__, gnu_get_libc_version(),
           sqlite3_libversion(), uv_version_string());
}

int main(int argc, char **argv)
{
    static struct world w;

    if (argc > 1 && strcmp(argv[1], "versions") == 0) {
        say_versions();
        return 0;
    }
    world_open(&w);
    warm_up(&w);
    for (size_t i = 0; i < JM_COUNT_OF(parts); i++)
        run_part(&w, &parts[i]);
    world_close(&w);
    return 0;
}
