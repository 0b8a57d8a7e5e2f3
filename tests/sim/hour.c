/*
 * hour.c: a scripted hour under the fake clock: sim_hour SCRIPT [EXPECTED]. Retries, schedules,
 * expiry, limits, pauses, priorities and faults come together as SCRIPT says
 * (tests/cases/sim/README), with a host of three slots whose tasks end as a table says. The history
 * of ends is printed; with EXPECTED it is compared with that file, and with that of a second run.
 */
#include <assert.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/job_options.h"
#include "tests/sim/sim.h"

enum {
    SLOTS = 3,
    HOST = 7,
    TICK_MS = 100, /* the host looks at its slots */
    HOUR_MS = 3600 * 1000,
    KEEP_MS = 2 * HOUR_MS, /* the history is read in the end */
    JOBS = 512,
    LINE_BYTES = 256,
    HISTORY_BYTES = 1 << 18,
};

static const char *const queues[] = {"mail", "work"};

/* What a task does: how long it runs, how its first attempt ends, and how every later one. */
static const struct task {
    const char *name;
    uint64_t run_ms;
    enum wire_event_kind first;
    enum wire_event_kind later;
} tasks[] = {
    {"quick", 200, WIRE_SUCCEEDED, WIRE_SUCCEEDED},
    {"slow", 10000, WIRE_SUCCEEDED, WIRE_SUCCEEDED},
    {"long", 300000, WIRE_SUCCEEDED, WIRE_SUCCEEDED},
    {"report", 30000, WIRE_SUCCEEDED, WIRE_SUCCEEDED},
    {"fail_once", 300, WIRE_FAILED, WIRE_SUCCEEDED},
    {"fail", 300, WIRE_FAILED, WIRE_FAILED},
    {"crash_once", 300, WIRE_CRASHED, WIRE_SUCCEEDED},
};

struct slot {
    uint64_t id; /* 0: free */
    uint32_t attempt;
    const struct task *task;
    uint64_t begun_ms;
};

struct hour {
    struct sim sim;
    int64_t begin_wall_ms;
    struct slot slots[SLOTS];
    uint64_t seq;
    struct {
        uint64_t id;
        char name[32];
    } jobs[JOBS];
    size_t job_count;
    char *history;
    size_t history_len;
};

static void die(const char *what, const char *about)
{
    fprintf(stderr, "sim_hour: %s: %s\n", what, about);
    exit(1);
}

static uint64_t now_ms(const struct hour *h)
{
    return h->sim.now_ns / SIM_MS;
}

/* ---- the host ---- */

static void beat(struct hour *h)
{
    struct wire_beat b = {.host = HOST,
                          .seq = ++h->seq,
                          .pid = 1,
                          .started_at_ms = 1,
                          .slots = SLOTS,
                          .hostname = span_of_str("h"),
                          .version = span_of_str("0")};
    struct buf held, none, names, out;
    uint32_t busy = 0;

    buf_init(&held, 4096);
    buf_init(&none, 4096);
    buf_init(&names, 4096);
    buf_init(&out, 65536);
    for (unsigned i = 0; i < SLOTS; i++)
        busy += h->slots[i].id != 0;
    wire_encode_list(&held, busy);
    for (unsigned i = 0; i < SLOTS; i++)
        if (h->slots[i].id != 0)
            wire_encode_held(&held, &(struct wire_held){.id = h->slots[i].id,
                                                        .attempt = h->slots[i].attempt,
                                                        .has_begun = true,
                                                        .slot = i});
    wire_encode_list(&none, 0);
    wire_encode_list(&names, JM_COUNT_OF(queues));
    for (size_t i = 0; i < JM_COUNT_OF(queues); i++)
        wire_encode_name(&names, span_of_str(queues[i]));
    b.held = buf_span(&held);
    b.tasks = buf_span(&none);
    b.queues = buf_span(&names);
    wire_encode_beat(&out, &b);
    if (h->sim.redis.is_up)
        sim_redis_beat(&h->sim, HOST, buf_span(&out));
    buf_done(&held);
    buf_done(&none);
    buf_done(&names);
    buf_done(&out);
}

static const struct task *task_of(struct span name)
{
    for (size_t i = 0; i < JM_COUNT_OF(tasks); i++)
        if (span_is_equal(span_of_str(tasks[i].name), name))
            return &tasks[i];
    die("no such task", "look at hour.c");
    return NULL;
}

static void claim(struct hour *h, struct slot *slot)
{
    struct sim_blob *blob = NULL;
    struct wire_job job;
    char key[KEYS_BYTES];

    for (size_t q = 0; q < JM_COUNT_OF(queues) && blob == NULL; q++) {
        keys_queue(key, queues[q], strlen(queues[q]));
        blob = sim_redis_rpop(&h->sim, key);
    }
    if (blob == NULL)
        return;
    if (wire_decode_job(span_of(blob->bytes, blob->len), &job) != 0)
        die("a frame cannot be decoded", key);
    *slot = (struct slot){
        .id = job.id, .attempt = job.attempt, .task = task_of(job.task), .begun_ms = now_ms(h)};
    free(blob);
}

static void publish(struct hour *h, struct slot *slot)
{
    struct wire_event end = {.kind = slot->attempt == 1 ? slot->task->first : slot->task->later,
                             .id = slot->id,
                             .attempt = slot->attempt,
                             .host = HOST,
                             .pid = 1,
                             .has_begun = true,
                             .begun_at_ms = h->sim.wall_ms + (int64_t)slot->begun_ms,
                             .run_us = slot->task->run_ms * 1000,
                             .result = span_of("\xc0", 1),
                             .code = span_of_str("task_failed"),
                             .message = span_of_str("so it goes"),
                             .signal = 9};
    char key[KEYS_BYTES];
    struct buf out;

    buf_init(&out, 4096);
    wire_encode_event(&out, &end);
    keys_results(key, 0);
    sim_redis_lpush(&h->sim, key, buf_span(&out));
    buf_done(&out);
    *slot = (struct slot){.id = 0};
}

static void run_until(struct hour *h, uint64_t at_ms)
{
    while (now_ms(h) < at_ms) {
        if (now_ms(h) % 1000 == 0)
            beat(h);
        for (unsigned i = 0; i < SLOTS && h->sim.redis.is_up; i++) {
            struct slot *slot = &h->slots[i];

            if (slot->id != 0 && now_ms(h) >= slot->begun_ms + slot->task->run_ms)
                publish(h, slot);
            if (slot->id == 0)
                claim(h, slot);
        }
        sim_run_ms(&h->sim, TICK_MS);
    }
}

/* ---- the script ---- */

/* The text of `name=` in the line, or `usual`. */
static const char *text_of(char *const *words, const char *name, const char *usual)
{
    size_t len = strlen(name);

    for (; *words != NULL; words++)
        if (strncmp(*words, name, len) == 0 && (*words)[len] == '=')
            return *words + len + 1;
    return usual;
}

static uint64_t number_of(char *const *words, const char *name, uint64_t usual)
{
    const char *text = text_of(words, name, NULL);

    return text != NULL ? strtoull(text, NULL, 10) : usual;
}

static struct conf_rate rate_of(char *const *words, const char *name)
{
    const char *text = text_of(words, name, "0/0");
    struct conf_rate rate = {.limit = strtoull(text, NULL, 10)};

    if (rate.limit > 0)
        rate.period_ms = strtoull(strchr(text, '/') + 1, NULL, 10) * 1000;
    return rate;
}

struct call {
    struct core_submit submit;
    struct buf options;
    char texts[3][32]; /* queue, task, key */
};

static void on_submitted(struct core_submit *x, int status)
{
    struct call *call = JM_CONTAINER_OF(x, struct call, submit);

    if (status != 0)
        die("a submit was refused", call->texts[0]);
    buf_done(&call->options);
    free(call);
}

static void submit_one(struct hour *h, char *const *words, const char *name, unsigned number)
{
    struct call *call = calloc(1, sizeof(*call));
    struct job_options options = {.retain_ms = KEEP_MS};
    uint64_t expires_s = number_of(words, "expires", 0);

    assert(call != NULL && h->job_count < JOBS);
    snprintf(call->texts[0], sizeof(call->texts[0]), "%s", text_of(words, "queue", "work"));
    snprintf(call->texts[1], sizeof(call->texts[1]), "%s", text_of(words, "task", "quick"));
    snprintf(call->texts[2], sizeof(call->texts[2]), "%s", text_of(words, "key", ""));
    options.limit_key = span_of_str(call->texts[2]);
    if (expires_s > 0)
        options.expires_at_ms = clock_wall_ms(&h->sim.clock) + (int64_t)expires_s * 1000;
    buf_init(&call->options, JOB_OPTIONS_BYTES);
    job_options_encode(&call->options, &options);
    call->submit.op.spec = (struct job_spec){.queue = span_of_str(call->texts[0]),
                                             .task = span_of_str(call->texts[1]),
                                             .limit_key = options.limit_key,
                                             .expires_at_ms = options.expires_at_ms,
                                             .retain_ms = options.retain_ms,
                                             .options = buf_span(&call->options),
                                             .args = span_of("\xc0", 1),
                                             .priority = (uint32_t)number_of(words, "priority", 5),
                                             .max_attempts = 3,
                                             .timeout_ms = HOUR_MS,
                                             .grace_ms = 5000};
    call->submit.delay_ms = number_of(words, "delay", 0) * 1000;
    call->submit.on_done = on_submitted;
    if (core_submit(h->sim.core, &call->submit) != 0)
        die("a submit was refused", name);
    h->jobs[h->job_count].id = call->submit.op.id;
    snprintf(h->jobs[h->job_count++].name, 32, "%.20s-%u", name, number);
}

static void on_set(struct core_set_conf *x, int status)
{
    if (status != 0)
        die("a setting was refused", "by the store");
    free(x);
}

static void set_queue(struct hour *h, char *const *words, const char *name)
{
    struct core_set_conf *x = calloc(1, sizeof(*x));

    assert(x != NULL);
    x->queue_conf =
        (struct queue_conf){.is_paused = number_of(words, "paused", 0) != 0,
                            .concurrency = (uint32_t)number_of(words, "concurrency", 0),
                            .key_concurrency = (uint32_t)number_of(words, "key_concurrency", 0),
                            .rate = rate_of(words, "rate"),
                            .key_rate = rate_of(words, "key_rate")};
    x->on_done = on_set;
    if (core_set_queue_conf(h->sim.core, x, span_of_str(name)) != 0)
        die("a setting was refused", name);
}

static void set_task(struct hour *h, char *const *words, const char *name)
{
    struct core_set_conf *x = calloc(1, sizeof(*x));

    assert(x != NULL);
    x->task_conf.concurrency = (uint32_t)number_of(words, "concurrency", 0);
    x->on_done = on_set;
    if (core_set_task_conf(h->sim.core, x, span_of_str(name)) != 0)
        die("a setting was refused", name);
}

static void on_cancelled(struct core_cancel *x, int status)
{
    if (status != 0)
        die("a cancel was refused", "by the store");
    free(x);
}

static void cancel(struct hour *h, const char *name)
{
    struct core_cancel *x = calloc(1, sizeof(*x));

    assert(x != NULL);
    for (size_t i = 0; i < h->job_count; i++)
        if (strcmp(h->jobs[i].name, name) == 0)
            x->op.id = h->jobs[i].id;
    x->on_done = on_cancelled;
    core_cancel(h->sim.core, x);
}

static void come_back(struct sim *s, void *arg)
{
    (void)arg;
    s->redis.is_up = true;
    sim_redis_break_link(s);
}

static void fault(struct hour *h, const char *verb, const char *seconds)
{
    struct sim *s = &h->sim;

    if (strcmp(verb, "crash") == 0) {
        sim_broker_crash(s);
        sim_broker_start(s);
    } else if (strcmp(verb, "flush") == 0) {
        sim_redis_flush(s);
    } else if (strcmp(verb, "away") == 0 && seconds != NULL) {
        s->redis.is_up = false;
        sim_redis_break_link(s);
        sim_at(s, strtoull(seconds, NULL, 10) * 1000 * SIM_MS, come_back, NULL);
    } else {
        die("no such verb", verb);
    }
}

static void act(struct hour *h, char *const *words)
{
    const char *verb = words[0], *name = words[0] != NULL ? words[1] : NULL;

    if (verb == NULL)
        die("a line without a verb", "in the script");
    if (name != NULL && strcmp(verb, "submit") == 0)
        for (unsigned i = 1; i <= number_of(words, "count", 1); i++)
            submit_one(h, words, name, i);
    else if (name != NULL && strcmp(verb, "queue") == 0)
        set_queue(h, words, name);
    else if (name != NULL && strcmp(verb, "task") == 0)
        set_task(h, words, name);
    else if (name != NULL && strcmp(verb, "cancel") == 0)
        cancel(h, name);
    else
        fault(h, verb, name);
}

/* One line; the hour goes on until its time. */
static void follow_line(struct hour *h, char *line, uint64_t begin_ms)
{
    char *words[16] = {NULL}, *rest = NULL;
    unsigned minute, second;
    size_t count = 0;

    if (sscanf(line, "%u:%u", &minute, &second) != 2)
        return; /* empty, or a comment */
    for (char *word = strtok_r(line, " \n", &rest); word != NULL && count < JM_COUNT_OF(words);
         word = strtok_r(NULL, " \n", &rest))
        if (count++ > 0)
            words[count - 2] = word;
    run_until(h, begin_ms + (minute * 60 + second) * 1000);
    act(h, words);
}

/* ---- the history ---- */

static const char *name_of(const struct hour *h, uint64_t id)
{
    for (size_t i = 0; i < h->job_count; i++)
        if (h->jobs[i].id == id)
            return h->jobs[i].name;
    return "?";
}

static void write_time(char text[16], const struct hour *h, int64_t wall_ms)
{
    int64_t s = (wall_ms - h->begin_wall_ms) / 1000;

    if (wall_ms == 0)
        snprintf(text, 16, "--:--");
    else
        snprintf(text, 16, "%02d:%02d", (int)(s / 60), (int)(s % 60));
}

static void write_row(struct hour *h, sqlite3_stmt *stmt)
{
    const char *outcome = (const char *)sqlite3_column_text(stmt, 2);
    char ended[16], begun[16];

    if (sqlite3_column_int(stmt, 5) != 0)
        outcome = job_state_word((enum job_state)sqlite3_column_int(stmt, 5));
    write_time(ended, h, sqlite3_column_int64(stmt, 4));
    write_time(begun, h, sqlite3_column_int64(stmt, 3));
    h->history_len += (size_t)snprintf(h->history + h->history_len, HISTORY_BYTES - h->history_len,
                                       "%s %s %s %d begun %s\n", ended,
                                       name_of(h, (uint64_t)sqlite3_column_int64(stmt, 0)), outcome,
                                       sqlite3_column_int(stmt, 1), begun);
}

static void write_history(struct hour *h)
{
    static const char sql[] =
        "SELECT id, attempt, outcome, begun_at_ms, ended_at_ms AS at, 0 FROM attempts UNION ALL"
        " SELECT id, attempt, '', begun_at_ms, finished_at_ms AS at, state FROM ends"
        " ORDER BY at, id, attempt";
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;

    if (sqlite3_open_v2(h->sim.db, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
        die("reading the history", sqlite3_errmsg(db));
    while (sqlite3_step(stmt) == SQLITE_ROW)
        write_row(h, stmt);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
}

/* ---- all ---- */

static char *live_through(const char *path)
{
    struct hour *h = calloc(1, sizeof(*h));
    FILE *script = fopen(path, "r");
    char line[LINE_BYTES], *history = calloc(1, HISTORY_BYTES);
    uint64_t begin_ms;

    assert(h != NULL && history != NULL);
    if (script == NULL)
        die("cannot be read", path);
    h->history = history;
    sim_open(&h->sim, 1);
    run_until(h, now_ms(h) + 4000); /* the host is known */
    begin_ms = now_ms(h);
    h->begin_wall_ms = clock_wall_ms(&h->sim.clock);
    while (fgets(line, sizeof(line), script) != NULL)
        follow_line(h, line, begin_ms);
    fclose(script);
    run_until(h, begin_ms + HOUR_MS);
    write_history(h);
    sim_close(&h->sim);
    free(h);
    return history;
}

/* Compares line by line; says the first that differs. */
static int compare(const char *is, const char *should, const char *what)
{
    unsigned line = 1;

    for (; *is != '\0' && *is == *should; is++, should++)
        line += *is == '\n';
    if (*is == *should)
        return 0;
    fprintf(stderr, "line %u is not as in %s: …%.60s… instead of …%.60s…\n", line, what, is,
            should);
    return 1;
}

static char *read_all(const char *path)
{
    char *text = calloc(1, HISTORY_BYTES);
    FILE *file = fopen(path, "r");

    assert(text != NULL);
    if (file == NULL)
        die("cannot be read", path);
    (void)!fread(text, 1, HISTORY_BYTES - 1, file);
    fclose(file);
    return text;
}

int main(int argc, char **argv)
{
    char *first, *second, *expected;
    int code;

    if (argc != 2 && argc != 3)
        die("usage", "sim_hour SCRIPT [EXPECTED]");
    first = live_through(argv[1]);
    if (argc == 2) {
        fputs(first, stdout);
        free(first);
        return 0;
    }
    second = live_through(argv[1]);
    expected = read_all(argv[2]);
    code = compare(second, first, "the first run") | compare(first, expected, argv[2]);
    free(first);
    free(second);
    free(expected);
    return code;
}
