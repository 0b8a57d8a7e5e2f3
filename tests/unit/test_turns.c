/*
 * Who goes next: single choices row by row, and long random lives of queues whose takes bring less
 * than they asked for, in which nothing may leak, no limit may be passed, nobody may wait without a
 * reason, and no key may get more than its turn.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core.h"
#include "broker/dispatch_inside.h"
#include "lib/hash.h"

enum { NOW_US = 1 << 30, LANES = 64 };

/* A lane as the store has it. */
struct stored {
    int64_t number;
    char queue[8];
    char task[8];
    char key[8];
    uint32_t priority;
    uint64_t queued;
};

/* A core without seams: nothing here sends, waits or asks for the time. */
struct world {
    struct core core;
    struct stored lanes[LANES];
    size_t lane_count;
    uint64_t next_id;
};

static struct dispatch *dispatch_of(struct world *w)
{
    return &w->core.dispatch;
}

static struct queue *queue_of(struct world *w, const char *name)
{
    struct queue *q = queues_need(&w->core.queues, span_of_str(name));

    assert_non_null(q);
    return q;
}

static struct world *world_new(void)
{
    struct world *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    queues_init(&w->core.queues);
    dispatch_init(dispatch_of(w), &w->core);
    dispatch_of(w)->lanes.now_us = NOW_US;
    return w;
}

static void world_free(struct world *w)
{
    dispatch_done(dispatch_of(w));
    queues_done(&w->core.queues);
    free(w);
}

static void tell(struct world *w, const struct stored *lane)
{
    struct store_lane_view view = {.number = lane->number,
                                   .queue = span_of_str(lane->queue),
                                   .task = span_of_str(lane->task),
                                   .limit_key = span_of_str(lane->key),
                                   .priority = lane->priority,
                                   .queued = lane->queued};

    assert_int_equal(dispatch_note_lane(dispatch_of(w), queue_of(w, lane->queue), &view), 0);
}

static struct stored *add_lane(struct world *w, const char *queue, const char *task,
                               const char *key, uint32_t priority, uint64_t queued)
{
    struct stored *lane = &w->lanes[w->lane_count++];

    assert_true(w->lane_count <= LANES);
    *lane =
        (struct stored){.number = (int64_t)w->lane_count, .priority = priority, .queued = queued};
    snprintf(lane->queue, sizeof(lane->queue), "%s", queue);
    snprintf(lane->task, sizeof(lane->task), "%s", task);
    snprintf(lane->key, sizeof(lane->key), "%s", key);
    tell(w, lane);
    return lane;
}

/* "key/task/priority*count …", where "-" is no key. */
static void add_lanes(struct world *w, const char *text)
{
    char key[8], task[8];
    unsigned priority, queued;
    int len;

    for (; sscanf(text, " %7[^/]/%7[^/]/%u*%u%n", key, task, &priority, &queued, &len) == 4;
         text += len)
        (void)add_lane(w, "q", task, strcmp(key, "-") == 0 ? "" : key, priority, queued);
}

static void limit_task(struct world *w, const char *task, uint32_t concurrency)
{
    struct task_policy *p = dispatch_need_task(dispatch_of(w), span_of_str(task));

    assert_non_null(p);
    dispatch_set_task(dispatch_of(w), p, &(struct task_conf){.concurrency = concurrency});
}

static uint64_t put_out(struct world *w, struct queue *q, struct key *key, const char *task)
{
    struct dispatch_facts facts = {.queue = q,
                                   .key = key,
                                   .policy =
                                       lanes_policy(&dispatch_of(w)->lanes, span_of_str(task)),
                                   .id = ++w->next_id,
                                   .attempt = 1,
                                   .priority = 5};

    assert_non_null(dispatch_job_new(dispatch_of(w), &facts, span_of("f", 1)));
    return facts.id;
}

/* ---- single choices ---- */

struct row {
    const char *title;
    const char *lanes;
    struct queue_conf conf;
    uint32_t limit_t; /* of the task t; likewise u */
    uint32_t limit_u;
    uint32_t out_a; /* jobs of key a and task x that are out */
    size_t max_jobs;
    uint32_t above;
    const char *expected; /* "key priority*count …" */
};

static const struct row rows[] = {
    {.title = "nobody waits", .lanes = "", .max_jobs = 5, .expected = ""},
    {.title = "one gets all", .lanes = "a/t/5*9", .max_jobs = 4, .expected = "a5*4 "},
    {.title = "and no more than it has", .lanes = "a/t/5*3", .max_jobs = 9, .expected = "a5*3 "},
    {.title = "two take turns",
     .lanes = "a/t/5*9 b/t/5*9",
     .max_jobs = 4,
     .expected = "a5*2 b5*2 "},
    {.title = "the odd one", .lanes = "a/t/5*9 b/t/5*9", .max_jobs = 5, .expected = "a5*3 b5*2 "},
    {.title = "one is short", .lanes = "a/t/5*1 b/t/5*9", .max_jobs = 6, .expected = "a5*1 b5*5 "},
    {.title = "jobs without a key are one of them",
     .lanes = "-/t/5*9 a/t/5*9 b/t/5*9",
     .max_jobs = 6,
     .expected = "-5*2 a5*2 b5*2 "},
    {.title = "a key with fewer out catches up",
     .lanes = "a/t/5*9 b/t/5*9",
     .out_a = 3,
     .max_jobs = 5,
     .expected = "b5*4 a5*1 "},
    {.title = "all tasks of a key are one turn",
     .lanes = "a/t/5*9 a/u/5*9 b/t/5*9",
     .max_jobs = 4,
     .expected = "a5*2 b5*2 "},
    {.title = "the highest priority first",
     .lanes = "a/t/5*9 b/t/7*2 c/t/1*9",
     .max_jobs = 4,
     .expected = "b7*2 a5*2 "},
    {.title = "what is out counts for each priority",
     .lanes = "a/t/7*2 a/t/5*9 b/t/5*9",
     .max_jobs = 6,
     .expected = "a7*2 b5*3 a5*1 "},
    {.title = "only what is above",
     .lanes = "a/t/5*9 b/t/6*2",
     .above = 5,
     .max_jobs = 9,
     .expected = "b6*2 "},
    {.title = "nothing is above", .lanes = "a/t/5*9", .above = 5, .max_jobs = 9, .expected = ""},
    {.title = "a limit of keys",
     .lanes = "a/t/5*9 b/t/5*9 b/t/6*9 -/t/4*9",
     .conf = {.key_concurrency = 2},
     .max_jobs = 9,
     .expected = "b6*2 a5*2 -4*5 "},
    {.title = "a key that has reached it",
     .lanes = "a/t/5*9",
     .conf = {.key_concurrency = 2},
     .out_a = 2,
     .max_jobs = 9,
     .expected = ""},
    {.title = "a limit that was lowered",
     .lanes = "a/t/5*9",
     .conf = {.key_concurrency = 2},
     .out_a = 5,
     .max_jobs = 9,
     .expected = ""},
    {.title = "a rate of keys",
     .lanes = "a/t/5*9 b/t/5*1 -/t/5*4",
     .conf = {.key_rate = {2, 1000}},
     .max_jobs = 9,
     .expected = "a5*2 b5*1 -5*4 "},
    {.title = "a limit of a task over keys",
     .lanes = "a/t/5*9 b/t/5*9",
     .limit_t = 3,
     .max_jobs = 9,
     .expected = "a5*2 b5*1 "},
    {.title = "a limit of a task over priorities",
     .lanes = "a/t/5*9 b/t/7*9",
     .limit_t = 3,
     .max_jobs = 9,
     .expected = "b7*3 "},
    {.title = "a turn with a task that has a limit and one that has none",
     .lanes = "a/t/5*9 a/u/5*2",
     .limit_t = 1,
     .max_jobs = 9,
     .expected = "a5*3 "},
    {.title = "two tasks with limits in one turn",
     .lanes = "a/t/5*9 a/u/5*9",
     .limit_t = 1,
     .limit_u = 2,
     .max_jobs = 9,
     .expected = "a5*3 "},
    {.title = "a task that is held for another turn",
     .lanes = "a/t/5*9 b/t/5*9 b/u/5*1",
     .limit_t = 1,
     .max_jobs = 9,
     .expected = "a5*1 b5*1 "},
    {.title = "no more than there are jobs of the task",
     .lanes = "a/t/5*1 b/t/5*9",
     .limit_t = 5,
     .max_jobs = 9,
     .expected = "a5*1 b5*4 "},
};

static void put_plan(const struct plan *p, char text[256])
{
    const struct plan_turn *turns = (const struct plan_turn *)(const void *)p->held_turns.data;
    size_t len = 0;

    text[0] = '\0';
    for (size_t i = 0; i < p->held_turns.len / sizeof(*turns); i++) {
        struct span name = lanes_key_name(turns[i].key);

        if (name.len == 0)
            name = span_of_str("-");
        len += (size_t)snprintf(text + len, 256 - len, "%.*s%u*%u ", (int)name.len,
                                (const char *)name.data, turns[i].priority, turns[i].count);
    }
}

static void check_row(const struct row *row)
{
    struct world *w = world_new();
    struct queue *q = queue_of(w, "q");
    struct plan p;
    char text[256];

    print_message("  %s\n", row->title);
    dispatch_set_queue(dispatch_of(w), q, &row->conf);
    if (row->limit_t > 0)
        limit_task(w, "t", row->limit_t);
    if (row->limit_u > 0)
        limit_task(w, "u", row->limit_u);
    for (uint32_t i = 0; i < row->out_a; i++)
        (void)put_out(w, q, lanes_key(&dispatch_of(w)->lanes, q, span_of_str("a")), "x");
    add_lanes(w, row->lanes);
    for (int again = 0; again < 2; again++) { /* what is given back is as if it had not been */
        dispatch_plan_init(&p);
        dispatch_plan_make(dispatch_of(w), q, row->max_jobs, row->above, &p);
        put_plan(&p, text);
        if (again == 0)
            assert_string_equal(text, row->expected);
        else
            assert_int_equal(strlen(text), strlen(row->expected));
        dispatch_plan_settle(dispatch_of(w), q, &p, NULL);
        dispatch_plan_done(&p);
    }
    world_free(w);
}

static void who_goes_next(void **state)
{
    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(rows); i++)
        check_row(&rows[i]);
}

/* ---- long lives ---- */

static uint64_t random_state;

static uint64_t pick(uint64_t below)
{
    random_state += UINT64_C(0x9e3779b97f4a7c15);
    return hash_of_u64(random_state) % below;
}

/* Takes what was planned out of the store, or, by chance, less of it, as when its bytes are used
 * up; `brought` is how many of each turn. */
static void bring(struct world *w, struct queue *q, const struct plan *p, bool is_all,
                  uint32_t *brought)
{
    const struct plan_turn *held = (const struct plan_turn *)(const void *)p->held_turns.data;
    const struct store_turn *turns = (const struct store_turn *)(const void *)p->turns.data;
    const struct store_turn_lane *lanes =
        (const struct store_turn_lane *)(const void *)p->lanes.data;

    for (size_t t = 0; t < p->turns.len / sizeof(*turns); t++)
        for (size_t l = turns[t].first_lane; l < turns[t].first_lane + turns[t].lane_count; l++) {
            struct stored *lane = &w->lanes[lanes[l].number - 1];

            for (size_t n = 0; n < lanes[l].max_jobs && brought[t] < turns[t].max_jobs &&
                               lane->queued > 0 && (is_all || pick(4) > 0);
                 n++) {
                lane->queued--;
                brought[t]++;
                (void)put_out(w, q, held[t].key, lane->task);
            }
            tell(w, lane);
        }
}

static void end_some(struct world *w, unsigned percent)
{
    LIST_EACH(node, &w->core.queues.all)
    {
        LIST_EACH_SAFE(in_queue, &queues_entry(node)->jobs)
        {
            if (pick(100) < percent)
                dispatch_job_remove(dispatch_of(w),
                                    LIST_ENTRY(in_queue, struct dispatch_job, in_queue));
        }
    }
}

static uint32_t out_of_key(struct queue *q, const struct key *key)
{
    uint32_t count = 0;

    LIST_EACH(node, &q->jobs)
    count += LIST_ENTRY(node, struct dispatch_job, in_queue)->key == key;
    return count;
}

static void check_counts(struct world *w)
{
    struct lanes *ls = &dispatch_of(w)->lanes;
    size_t of_policies = 0;

    for (size_t i = 0; i < w->lane_count; i++) {
        struct queue *q = queue_of(w, w->lanes[i].queue);
        const struct key *key = lanes_find_key(ls, q, span_of_str(w->lanes[i].key));

        if (key == NULL)
            continue;
        assert_int_equal(key->out, out_of_key(q, key));
        if (q->conf.key_concurrency > 0 && key->name_len > 0)
            assert_true(key->out <= q->conf.key_concurrency);
    }
    LIST_EACH(node, &ls->all_policies)
    {
        const struct task_policy *p = LIST_ENTRY(node, struct task_policy, in_all);

        assert_true(p->conf.concurrency == 0 || p->out <= p->conf.concurrency);
        of_policies += p->out;
    }
    assert_true(of_policies <= dispatch_of(w)->jobs);
}

/* What still waits although the plan had room for more has a full key or a full task. */
static void check_reasons(struct world *w, const char *queue)
{
    struct lanes *ls = &dispatch_of(w)->lanes;

    for (size_t i = 0; i < w->lane_count; i++) {
        const struct stored *lane = &w->lanes[i];
        const struct key *key;

        if (lane->queued == 0 || strcmp(lane->queue, queue) != 0)
            continue;
        key = lanes_find_key(ls, queue_of(w, queue), span_of_str(lane->key));
        assert_non_null(key);
        assert_true(lanes_key_room(key) == 0 ||
                    lanes_policy_room(lanes_policy(ls, span_of_str(lane->task))) == 0);
    }
}

/* One take of the queue; with `is_all` it brings all that was planned. */
static void take(struct world *w, const char *queue, size_t max_jobs, bool is_all)
{
    struct queue *q = queue_of(w, queue);
    uint32_t brought[LANES] = {0};
    struct plan p;

    dispatch_plan_init(&p);
    dispatch_plan_make(dispatch_of(w), q, max_jobs, 0, &p);
    bring(w, q, &p, is_all, brought);
    dispatch_plan_settle(dispatch_of(w), q, &p, brought);
    dispatch_plan_done(&p);
    check_counts(w);
}

static void set_something(struct world *w, const char *queue)
{
    static const char *const tasks[] = {"t", "u"};

    end_some(w, 100); /* or a lower limit would be passed for a while */
    if (pick(2) == 0)
        limit_task(w, tasks[pick(2)], (uint32_t)pick(6));
    else
        dispatch_set_queue(dispatch_of(w), queue_of(w, queue),
                           &(struct queue_conf){.key_concurrency = (uint32_t)pick(5)});
}

static void fill_lanes(struct world *w)
{
    for (size_t i = 0; i < w->lane_count; i++)
        if (pick(4) == 0) {
            w->lanes[i].queued += pick(30);
            tell(w, &w->lanes[i]);
        }
}

static void nothing_leaks_and_nobody_waits_without_a_reason(void **state)
{
    static const char *const queues[] = {"p", "q"}, *const tasks[] = {"t", "u", "v"};
    static const char *const keys[] = {"", "a", "b"};
    struct world *w = world_new();

    (void)state;
    for (size_t i = 0; i < 2 * 3 * 3 * 3; i++)
        (void)add_lane(w, queues[i % 2], tasks[i / 2 % 3], keys[i / 6 % 3], 4 + (uint32_t)(i / 18),
                       pick(20));
    for (int step = 0; step < 3000; step++) {
        const char *queue = queues[pick(2)];

        if (pick(20) == 0)
            set_something(w, queue);
        fill_lanes(w);
        take(w, queue, 1 + pick(20), false);
        end_some(w, (unsigned)pick(60));
        for (int again = 0; step % 10 == 0 && again < 3; again++) /* a task is held too broadly */
            take(w, queue, 100000, true);
        if (step % 10 == 0)
            check_reasons(w, queue);
    }
    end_some(w, 100);
    check_counts(w);
    assert_int_equal(dispatch_of(w)->jobs, 0);
    world_free(w);
}

/* A key that gets a job has then no more than one more out than any that could have had it. */
static void no_key_gets_more_than_its_turn(void **state)
{
    static const char *const keys[] = {"", "a", "b", "c", "d", "e"};
    struct world *w = world_new();
    struct queue *q = queue_of(w, "q");

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(keys); i++)
        (void)add_lane(w, "q", "t", keys[i], 5, 1000000);
    for (int step = 0; step < 500; step++) {
        uint32_t before[JM_COUNT_OF(keys)], least = UINT32_MAX;
        const struct key *of[JM_COUNT_OF(keys)];

        for (size_t i = 0; i < JM_COUNT_OF(keys); i++) {
            of[i] = lanes_find_key(&dispatch_of(w)->lanes, q, span_of_str(keys[i]));
            before[i] = of[i]->out;
        }
        take(w, "q", 1 + pick(20), true);
        for (size_t i = 0; i < JM_COUNT_OF(keys); i++)
            least = of[i]->out < least ? of[i]->out : least;
        for (size_t i = 0; i < JM_COUNT_OF(keys); i++)
            assert_true(of[i]->out <= before[i] || of[i]->out <= least + 1);
        end_some(w, (unsigned)pick(40));
    }
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_goes_next),
        cmocka_unit_test(nothing_leaks_and_nobody_waits_without_a_reason),
        cmocka_unit_test(no_key_gets_more_than_its_turn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
