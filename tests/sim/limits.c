/*
 * limits.c: priorities, turns, limits and pauses, told step by step. Many of these were once a
 * defect.
 */
#include "tests/sim/story.h"

#include <stdio.h>
#include <stdlib.h>

#include "schema/errors.h"

#define LIVE "live"

/* A beat that says that "live" is served. */
static void serve(struct sim *s)
{
    story_beat_for(s, 3, LIVE, 0);
}

static size_t waiting(struct sim *s, const char *queue)
{
    return story_length(s, story_queue_of(s, queue)->key);
}

static bool is_of(const struct dispatch_job *job, const char *key)
{
    return span_is_equal(lanes_key_name(job->key), span_of_str(key));
}

static void submit_many(struct sim *s, unsigned count, struct story_job job)
{
    for (unsigned i = 0; i < count; i++)
        story_submit(s, job);
}

/* Nobody can take anything before this is over: what is submitted meanwhile waits in the backlog.
 */
static void close_redis(struct sim *s)
{
    s->redis.is_up = false;
    sim_redis_break_link(s);
}

static void open_redis(struct sim *s)
{
    s->redis.is_up = true;
    sim_redis_break_link(s);
    sim_run_ms(s, 5000);
    story_beat_for(s, 2, LIVE, 0);
}

/* ---- tasks ---- */

static void a_turn_rests_at_all_its_tasks_and_goes_with_the_first_that_has_room(void **state)
{
    struct sim *s = *state;
    struct story_claimed first, second;

    serve(s);
    story_set_task(s, "slow", (struct task_conf){.concurrency = 1});
    story_set_task(s, "quick", (struct task_conf){.concurrency = 1});
    submit_many(s, 2, (struct story_job){.task = "slow"});
    submit_many(s, 2, (struct story_job){.task = "quick"});
    sim_run_ms(s, 500);
    assert_int_equal(waiting(s, LIVE), 2); /* one of each */
    first = story_claim(s, LIVE);
    second = story_claim(s, LIVE);
    assert_true(first.id < second.id); /* so the second is quick, and ends; slow goes on for ever */
    story_end(s, second, WIRE_SUCCEEDED);
    sim_run_ms(s, 500);
    assert_int_equal(waiting(s, LIVE), 1);
    assert_int_equal(story_count(s, LIVE, JOB_QUEUED), 1);
}

static void a_queue_that_may_not_go_does_not_keep_others_from_the_place_of_a_task(void **state)
{
    struct sim *s = *state;
    struct story_claimed claimed;

    serve(s);
    story_set_task(s, "t", (struct task_conf){.concurrency = 1});
    story_set_queue(s, "full", (struct queue_conf){.concurrency = 1});
    submit_many(s, 1, (struct story_job){.queue = LIVE});
    sim_run_ms(s, 100);
    submit_many(s, 2, (struct story_job){.queue = "full"}); /* the first in line … */
    sim_run_ms(s, 100);
    submit_many(s, 1, (struct story_job){.queue = "full", .task = "u", .priority = 9});
    submit_many(s, 1, (struct story_job){.queue = "other"});
    sim_run_ms(s, 100);
    assert_int_equal(waiting(s, "full"), 1); /* … and full of something else */
    claimed = story_claim(s, LIVE);
    story_end(s, claimed, WIRE_SUCCEEDED);
    sim_run_ms(s, 500);
    assert_int_equal(waiting(s, "other"), 1);
}

static void queues_take_turns_at_the_places_of_a_task(void **state)
{
    static const char *const queues[] = {"live", "other", "third"};
    struct sim *s = *state;
    unsigned ends[JM_COUNT_OF(queues)] = {0};

    serve(s);
    story_set_task(s, "t", (struct task_conf){.concurrency = 1});
    for (size_t q = 0; q < JM_COUNT_OF(queues); q++)
        submit_many(s, 40, (struct story_job){.queue = queues[q]});
    sim_run_ms(s, 100);
    for (unsigned i = 0; i < 30; i++) {
        size_t out = 0;

        for (size_t q = 0; q < JM_COUNT_OF(queues); q++) {
            size_t n = story_end_all(s, queues[q]);

            ends[q] += (unsigned)n;
            out += n;
        }
        assert_int_equal(out, 1);
        story_beat(s, LIVE, 0);
        sim_run_ms(s, 50);
    }
    for (size_t q = 0; q < JM_COUNT_OF(queues); q++)
        assert_in_range(ends[q], 9, 11);
}

static void a_submit_does_not_go_before_others_that_wait_for_its_task(void **state)
{
    struct sim *s = *state;
    struct story_claimed claimed;

    serve(s);
    story_set_task(s, "t", (struct task_conf){.concurrency = 1});
    submit_many(s, 2, (struct story_job){.queue = LIVE});
    sim_run_ms(s, 100);
    claimed = story_claim(s, LIVE);
    assert_int_equal(waiting(s, LIVE), 0);
    story_end(s, claimed, WIRE_SUCCEEDED);
    while (s->core->dispatch.jobs > 0) /* its end frees the place … */
        assert_true(sim_step(s));
    submit_many(s, 1, (struct story_job){.queue = "other"}); /* … and this comes at that moment */
    sim_run_ms(s, 100);
    assert_int_equal(waiting(s, LIVE), 1);
    assert_int_equal(waiting(s, "other"), 0);
}

static void within_a_task_the_higher_priority_goes_first(void **state)
{
    struct sim *s = *state;
    uint64_t urgent;
    struct story_claimed claimed;

    serve(s);
    story_set_task(s, "t", (struct task_conf){.concurrency = 1});
    submit_many(s, 5, (struct story_job){.priority = 2});
    sim_run_ms(s, 100);
    claimed = story_claim(s, LIVE);
    urgent = story_submit(s, (struct story_job){.priority = 8});
    sim_run_ms(s, 100);
    story_end(s, claimed, WIRE_SUCCEEDED);
    sim_run_ms(s, 100);
    assert_true(story_claim(s, LIVE).id == urgent);
}

static void a_limit_that_comes_during_a_take_counts_what_it_brings(void **state)
{
    struct sim *s = *state;

    serve(s);
    close_redis(s);
    submit_many(s, 20, (struct story_job){.task = "t"});
    sim_run_ms(s, 200);
    s->redis.is_up = true;
    sim_redis_break_link(s);
    sim_run_ms(s, 10);
    while (!story_queue_of(s, LIVE)->is_taking)
        assert_true(sim_step(s));
    (void)dispatch_need_task(&s->core->dispatch, span_of_str("t"));
    sim_run_ms(s, 500);
    assert_int_equal(lanes_policy(&s->core->dispatch.lanes, span_of_str("t"))->out,
                     s->core->dispatch.jobs);
    assert_true(s->core->dispatch.jobs > 0);
}

/* ---- keys ---- */

static void a_key_limit_holds_over_its_priorities(void **state)
{
    struct sim *s = *state;
    size_t ended = 0;

    serve(s);
    story_set_queue(s, LIVE, (struct queue_conf){.key_concurrency = 2});
    submit_many(s, 5, (struct story_job){.key = "k", .priority = 5});
    submit_many(s, 5, (struct story_job){.key = "k", .priority = 9});
    submit_many(s, 3, (struct story_job){.key = "other", .priority = 1});
    submit_many(s, 3, (struct story_job){.priority = 1});
    sim_run_ms(s, 500);
    assert_int_equal(waiting(s, LIVE), 2 + 2 + 3);
    while (ended < 16) {
        size_t n = story_end_all(s, LIVE);

        assert_in_range(n, 1, 7);
        ended += n;
        story_beat(s, LIVE, 0);
        sim_run_ms(s, 100);
    }
    assert_int_equal(story_count(s, LIVE, JOB_SUCCEEDED), 16);
}

static void limits_hold_over_a_crash(void **state)
{
    struct sim *s = *state;

    serve(s);
    story_set_queue(s, LIVE, (struct queue_conf){.key_concurrency = 2, .concurrency = 5});
    story_set_task(s, "t", (struct task_conf){.concurrency = 4});
    submit_many(s, 3, (struct story_job){.key = "a"});
    submit_many(s, 3, (struct story_job){.key = "b"});
    submit_many(s, 3, (struct story_job){.task = "u"});
    sim_run_ms(s, 100);
    assert_int_equal(s->core->dispatch.jobs, 5);
    sim_broker_crash(s);
    sim_broker_start(s);
    assert_int_equal(s->core->dispatch.jobs, 5);
    sim_run_ms(s, 5000);
    assert_int_equal(s->core->dispatch.jobs, 5);
    assert_int_equal(lanes_policy(&s->core->dispatch.lanes, span_of_str("t"))->out, 4);
    assert_int_equal(story_end_all(s, LIVE), 5);
    story_beat_for(s, 2, LIVE, 0);
    assert_int_equal(story_end_all(s, LIVE), 4);
}

static void keys_that_are_gone_are_forgotten(void **state)
{
    struct sim *s = *state;
    char key[16];

    serve(s);
    story_set_queue(s, LIVE, (struct queue_conf){.key_concurrency = 1});
    for (int i = 0; i < 500; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        story_submit(s, (struct story_job){.key = key});
        sim_run_ms(s, 20);
        story_end_all(s, LIVE);
        story_beat(s, LIVE, 0);
        sim_run_ms(s, 20);
    }
    assert_int_equal(story_count(s, LIVE, JOB_SUCCEEDED), 500);
    assert_true(s->core->dispatch.lanes.keys.len < 10);
}

static void a_higher_limit_holds_at_once(void **state)
{
    struct sim *s = *state;

    serve(s);
    story_set_queue(s, LIVE, (struct queue_conf){.key_concurrency = 1});
    story_set_task(s, "t", (struct task_conf){.concurrency = 2});
    submit_many(s, 10, (struct story_job){.key = "k"});
    sim_run_ms(s, 100);
    assert_int_equal(waiting(s, LIVE), 1);
    story_set_queue(s, LIVE, (struct queue_conf){.key_concurrency = 5});
    assert_int_equal(waiting(s, LIVE), 2);
    story_set_task(s, "t", (struct task_conf){.concurrency = 4});
    assert_int_equal(waiting(s, LIVE), 4);
    story_set_task(s, "t", (struct task_conf){.concurrency = 0});
    assert_int_equal(waiting(s, LIVE), 5);
    story_set_queue(s, LIVE, (struct queue_conf){.concurrency = 7});
    assert_int_equal(waiting(s, LIVE), 7);
    story_set_queue(s, LIVE, (struct queue_conf){.concurrency = 0});
    assert_int_equal(waiting(s, LIVE), 10);
}

/* ---- order ---- */

static void a_take_of_several_priorities_goes_out_by_priority(void **state)
{
    struct sim *s = *state;

    serve(s);
    close_redis(s);
    submit_many(s, 6, (struct story_job){.priority = 3, .key = "a"});
    submit_many(s, 6, (struct story_job){.priority = 3, .key = "b"});
    submit_many(s, 6, (struct story_job){.priority = 7, .key = "a"});
    sim_run_ms(s, 200);
    open_redis(s);
    assert_int_equal(waiting(s, LIVE), 18);
    for (int i = 0; i < 18; i++) {
        struct dispatch_job *job = dispatch_find(&s->core->dispatch, story_claim(s, LIVE).id);

        assert_int_equal(job->priority, i < 6 ? 7 : 3);
        if (i >= 6) /* and within one the key that has fewer out */
            assert_true(is_of(job, i < 12 ? "b" : "a"));
    }
}

/* The host has two of its slots at work on what it claims: so many jobs are run at once. */
static size_t run_round(struct sim *s, const char *key)
{
    struct story_claimed claimed[2];
    size_t of_key = 0;

    for (size_t i = 0; i < JM_COUNT_OF(claimed); i++) {
        struct dispatch_job *job;

        claimed[i] = story_claim(s, LIVE);
        job = dispatch_find(&s->core->dispatch, claimed[i].id);
        assert_non_null(job);
        of_key += is_of(job, key);
    }
    story_beat(s, LIVE, 0);
    sim_run_ms(s, 20);
    for (size_t i = 0; i < JM_COUNT_OF(claimed); i++)
        story_end(s, claimed[i], WIRE_SUCCEEDED);
    sim_run_ms(s, 20);
    return of_key;
}

static void an_urgent_job_goes_before_what_is_in_redis_although_the_window_is_full(void **state)
{
    struct sim *s = *state;
    uint64_t urgent[3], very_urgent;

    serve(s);
    submit_many(s, 500, (struct story_job){.priority = 5});
    sim_run_ms(s, 50);
    assert_int_equal(window_room(&story_queue_of(s, LIVE)->window), 0);
    for (int i = 0; i < 3; i++)
        urgent[i] = story_submit(s, (struct story_job){.priority = 7});
    sim_run_ms(s, 50);
    very_urgent = story_submit(s, (struct story_job){.priority = 9});
    sim_run_ms(s, 50);
    assert_true(story_claim(s, LIVE).id == very_urgent);
    for (int i = 0; i < 3; i++)
        assert_true(story_claim(s, LIVE).id == urgent[i]);
}

static void an_urgent_job_that_redis_refused_is_still_urgent(void **state)
{
    struct sim *s = *state;
    uint64_t urgent;

    serve(s);
    submit_many(s, 20, (struct story_job){.priority = 5});
    sim_run_ms(s, 50);
    s->redis.refuses = true;
    urgent = story_submit(s, (struct story_job){.priority = 7});
    sim_run_ms(s, 50);
    s->redis.refuses = false;
    sim_run_ms(s, 500);
    assert_int_equal(waiting(s, LIVE), 21);
    assert_true(story_claim(s, LIVE).id == urgent);
}

static void a_few_jobs_of_one_key_go_before_the_many_of_another(void **state)
{
    struct sim *s = *state;

    serve(s);
    submit_many(s, 300, (struct story_job){.key = "big"});
    sim_run_ms(s, 100);
    for (int i = 0; i < 5; i++)
        assert_int_equal(run_round(s, "big"), 2);
    for (int again = 0; again < 3; again++) {
        submit_many(s, 10, (struct story_job){.key = "small"});
        sim_run_ms(s, 20);
        for (int i = 0; i < 5; i++)
            assert_int_equal(run_round(s, "small"), 2);
    }
    submit_many(s, 10, (struct story_job){.key = "small", .priority = 4});
    sim_run_ms(s, 20);
    for (int i = 0; i < 5; i++)
        assert_int_equal(run_round(s, "big"), 2);
}

static void where_all_keys_are_new_nobody_is_favoured(void **state)
{
    struct sim *s = *state;
    char key[16];

    serve(s);
    for (int i = 0; i < 200; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        story_submit(s, (struct story_job){.key = key});
    }
    sim_run_ms(s, 100);
    for (int i = 0; i < 100; i++) {
        LIST_EACH(node, &story_queue_of(s, LIVE)->jobs)
        assert_false(LIST_ENTRY(node, struct dispatch_job, in_queue)->is_favoured);
        (void)run_round(s, "none");
    }
    assert_int_equal(story_queue_of(s, LIVE)->favours, LANES_FAVOURS);
}

static void favours_leave_the_others_half_of_the_places(void **state)
{
    struct sim *s = *state;
    size_t of_big = 0;
    char key[16];

    serve(s);
    submit_many(s, 300, (struct story_job){.key = "big"});
    sim_run_ms(s, 100);
    for (int i = 0; i < 400; i++) { /* two keys that are new in each round, and two slots */
        snprintf(key, sizeof(key), "k%d", i);
        story_submit(s, (struct story_job){.key = key});
        if (i % 2 == 1)
            of_big += run_round(s, "big");
    }
    assert_in_range(of_big, 130, 200);
}

/* One at a time, as people would; the slots are busy with long jobs. */
static void what_waits_behind_long_jobs_goes_by_priority(void **state)
{
    static const uint32_t given[] = {5, 9, 1, 7, 3, 7, 9, 2};
    static const uint32_t expected[] = {9, 9, 7, 7, 5, 3, 2, 1};
    struct sim *s = *state;
    struct story_claimed busy[STORY_SLOTS];

    serve(s);
    submit_many(s, STORY_SLOTS, (struct story_job){.priority = 5});
    sim_run_ms(s, 100);
    for (size_t i = 0; i < STORY_SLOTS; i++) {
        busy[i] = story_claim(s, LIVE);
        story_end(s, busy[i], WIRE_RUNNING);
    }
    sim_run_ms(s, 200);
    for (size_t i = 0; i < JM_COUNT_OF(given); i++) {
        story_submit(s, (struct story_job){.priority = given[i]});
        sim_run_ms(s, 300);
    }
    for (size_t i = 0; i < JM_COUNT_OF(expected); i++) {
        struct story_claimed next = story_claim(s, LIVE);

        assert_int_equal(dispatch_find(&s->core->dispatch, next.id)->priority, expected[i]);
        story_end(s, next, WIRE_SUCCEEDED);
        sim_run_ms(s, 300);
    }
}

/* ---- pauses ---- */

static void a_paused_queue_gets_back_what_is_in_redis(void **state)
{
    struct sim *s = *state;
    struct story_claimed claimed;

    serve(s);
    submit_many(s, 30, (struct story_job){.key = "k"});
    sim_run_ms(s, 100);
    claimed = story_claim(s, LIVE);
    story_set_queue(s, LIVE, (struct queue_conf){.is_paused = true});
    sim_run_ms(s, 200);
    assert_int_equal(waiting(s, LIVE), 0);
    assert_int_equal(story_count(s, LIVE, JOB_QUEUED), 29);
    submit_many(s, 5, (struct story_job){.priority = 9});
    story_end(s, claimed, WIRE_SUCCEEDED);
    serve(s);
    assert_int_equal(waiting(s, LIVE), 0);
    assert_int_equal(s->core->dispatch.jobs, 0);
    story_set_queue(s, LIVE, (struct queue_conf){.is_paused = false});
    sim_run_ms(s, 200);
    assert_int_equal(waiting(s, LIVE), 34);
    assert_int_equal(story_count(s, LIVE, JOB_SUCCEEDED), 1);
}

/* As after a Redis that came back with an older state of itself, behind which the broker sent the
 * jobs again. */
static void a_message_that_lies_there_twice_is_drawn_once(void **state)
{
    struct sim *s = *state;
    struct sim_key *list;
    struct list *first;
    char name[KEYS_BYTES];

    keys_queue(name, LIVE, strlen(LIVE));
    serve(s);
    submit_many(s, 3, (struct story_job){.key = "k"});
    sim_run_ms(s, 100);
    list = sim_redis_key(s, name);
    first = list->blobs.next;
    for (struct list *node = first; node != &list->blobs; node = node->next) {
        struct sim_blob *blob = LIST_ENTRY(node, struct sim_blob, link);

        sim_redis_lpush(s, name, span_of(blob->bytes, blob->len));
    }
    assert_int_equal(waiting(s, LIVE), 6);
    story_set_queue(s, LIVE, (struct queue_conf){.is_paused = true});
    sim_run_ms(s, 500);
    assert_int_equal(waiting(s, LIVE), 0);
    assert_int_equal(s->core->dispatch.jobs, 0);
    assert_int_equal(story_count(s, LIVE, JOB_QUEUED), 3);
}

static void a_pause_after_a_resume_takes_back_what_went_out_in_between(void **state)
{
    struct sim *s = *state;

    for (unsigned wait = 0; wait < 60; wait++) { /* at each moment of the first one's work */
        serve(s);
        submit_many(s, 3, (struct story_job){.key = "k"});
        sim_run_ms(s, 100);
        story_ask_queue(s, LIVE, (struct queue_conf){.is_paused = true});
        for (unsigned i = 0; i < wait; i++)
            (void)sim_step(s);
        story_ask_queue(s, LIVE, (struct queue_conf){.is_paused = false});
        submit_many(s, 2, (struct story_job){.key = "l"});
        for (unsigned i = 0; i < 3; i++)
            (void)sim_step(s);
        story_ask_queue(s, LIVE, (struct queue_conf){.is_paused = true});
        sim_run_ms(s, 500);
        assert_int_equal(waiting(s, LIVE), 0);
        assert_int_equal(s->core->dispatch.jobs, 0);
        story_set_queue(s, LIVE, (struct queue_conf){.is_paused = false});
        sim_run_ms(s, 500);
        assert_int_equal(story_end_all(s, LIVE), 5);
        serve(s);
    }
}

static void a_pause_that_redis_refuses_is_done_when_it_no_longer_does(void **state)
{
    struct sim *s = *state;

    serve(s);
    submit_many(s, 10, (struct story_job){.key = "k"});
    sim_run_ms(s, 100);
    s->redis.refuses = true;
    story_set_queue(s, LIVE, (struct queue_conf){.is_paused = true});
    sim_run_ms(s, 1000);
    assert_int_equal(waiting(s, LIVE), 10);
    s->redis.refuses = false;
    sim_run_ms(s, 1000);
    assert_int_equal(waiting(s, LIVE), 0);
    assert_int_equal(story_count(s, LIVE, JOB_QUEUED), 10);
}

static void a_full_disk_is_not_asked_over_and_over_by_a_paused_queue(void **state)
{
    struct sim *s = *state;
    uint64_t before;

    serve(s);
    submit_many(s, 10, (struct story_job){.key = "k"});
    sim_run_ms(s, 100);
    story_set_queue(s, LIVE, (struct queue_conf){.is_paused = false});
    story_ask_queue(s, LIVE, (struct queue_conf){.is_paused = true});
    while (!story_queue_of(s, LIVE)->conf.is_paused)
        assert_true(sim_step(s));
    s->runner.is_full = true; /* when they come back from Redis */
    before = s->runner.refused;
    sim_run_ms(s, 2000);
    assert_in_range(s->runner.refused - before, 2, 20);
    s->runner.is_full = false;
    sim_run_ms(s, 1000);
    assert_int_equal(story_count(s, LIVE, JOB_QUEUED), 10);
}

static void a_pause_holds_at_every_moment_of_a_submit_or_a_take(void **state)
{
    struct sim *s = *state;

    for (unsigned wait = 0; wait < 40; wait++) {
        serve(s);
        if (wait % 2 == 1)
            close_redis(s);
        submit_many(s, 4, (struct story_job){.key = "k"});
        if (wait % 2 == 1) {
            sim_run_ms(s, 100);
            s->redis.is_up = true;
            sim_redis_break_link(s);
        }
        for (unsigned i = 0; i < wait; i++)
            (void)sim_step(s);
        story_ask_queue(s, LIVE, (struct queue_conf){.is_paused = true});
        sim_run_ms(s, 5000);
        assert_int_equal(waiting(s, LIVE), 0);
        assert_int_equal(story_count(s, LIVE, JOB_QUEUED), 4);
        story_set_queue(s, LIVE, (struct queue_conf){.is_paused = false});
        sim_run_ms(s, 500);
        assert_int_equal(story_end_all(s, LIVE), 4);
        serve(s);
    }
}

static void a_pause_is_kept_over_a_crash(void **state)
{
    struct sim *s = *state;

    serve(s);
    submit_many(s, 10, (struct story_job){.key = "k"});
    sim_run_ms(s, 100);
    story_ask_queue(s, LIVE, (struct queue_conf){.is_paused = true});
    while (list_is_empty(&s->runner.committed))
        assert_true(sim_step(s));
    sim_broker_crash(s);
    sim_broker_start(s);
    sim_run_ms(s, 5000);
    assert_int_equal(waiting(s, LIVE), 0);
    assert_int_equal(story_count(s, LIVE, JOB_QUEUED), 10);
}

static void a_cancelled_job_that_a_pause_takes_out_is_told_to_be_stopped(void **state)
{
    struct sim *s = *state;

    for (unsigned wait = 0; wait < 30; wait++) {
        uint64_t id;

        serve(s);
        id = story_submit(s, (struct story_job){.key = "k"});
        sim_run_ms(s, 100);
        story_ask_queue(s, LIVE, (struct queue_conf){.is_paused = true});
        for (unsigned i = 0; i < wait; i++)
            (void)sim_step(s);
        story_cancel(s, id);
        sim_run_ms(s, 200);
        assert_int_equal(story_stopped(), CORE_STOPPED_YES);
        assert_int_equal(s->core->dispatch.jobs, 0);
        assert_int_equal(waiting(s, LIVE), 0);
        assert_int_equal(story_count(s, LIVE, JOB_QUEUED), 0);
        story_set_queue(s, LIVE, (struct queue_conf){.is_paused = false});
    }
}

/* ---- rates ---- */

/* How many begin in the next `ms`, if each begins as soon as it is there. */
static size_t begin_for(struct sim *s, uint64_t ms)
{
    size_t count = 0;

    for (uint64_t i = 0; i < ms; i += 50) {
        story_beat(s, LIVE, 0);
        sim_run_ms(s, 50);
        count += story_end_all(s, LIVE);
    }
    return count;
}

static void a_rate_lets_a_burst_go_and_then_so_many_in_each_period(void **state)
{
    struct sim *s = *state;

    serve(s);
    story_set_queue(s, LIVE, (struct queue_conf){.rate = {.limit = 10, .period_ms = 1000}});
    submit_many(s, 200, (struct story_job){.key = "k"});
    assert_in_range(begin_for(s, 200), 10, 12);
    assert_in_range(begin_for(s, 5000), 49, 51);
    sim_broker_crash(s);
    sim_broker_start(s);
    /* No new burst, and no long wait either; the link takes up to 3 s. */
    assert_in_range(begin_for(s, 5000), 18, 51);
    s->wall_ms -= 3600000;
    assert_in_range(begin_for(s, 2000), 19, 21);
    sim_broker_crash(s);
    s->wall_ms -= 3600000; /* the hours that the clock lost are not waited for */
    sim_broker_start(s);
    assert_in_range(begin_for(s, 5000), 18, 51);
}

static void a_rate_of_each_key_is_its_own(void **state)
{
    struct sim *s = *state;

    serve(s);
    story_set_queue(s, LIVE, (struct queue_conf){.key_rate = {.limit = 2, .period_ms = 1000}});
    submit_many(s, 50, (struct story_job){.key = "a"});
    submit_many(s, 50, (struct story_job){.key = "b"});
    submit_many(s, 7, (struct story_job){.priority = 1});
    assert_in_range(begin_for(s, 100), 2 + 2 + 7, 2 + 2 + 7);
    assert_in_range(begin_for(s, 5000), 19, 21);
    story_set_queue(s, LIVE, (struct queue_conf){.key_rate = {.limit = 0}});
    assert_in_range(begin_for(s, 500), 70, 80);
}

static void what_comes_back_without_having_begun_brings_its_token_back(void **state)
{
    static const struct conf_rate one_an_hour = {.limit = 1, .period_ms = 3600 * 1000};
    struct sim *s = *state;
    struct queue_conf conf = {.rate = one_an_hour, .key_rate = one_an_hour}, paused = conf;

    paused.is_paused = true;
    serve(s);
    story_set_queue(s, LIVE, conf);
    submit_many(s, 3, (struct story_job){.key = "k"});
    sim_run_ms(s, 100);
    assert_int_equal(waiting(s, LIVE), 1);
    for (int i = 0; i < 3; i++) { /* by a pause, and by a Redis that refuses it */
        story_set_queue(s, LIVE, paused);
        sim_run_ms(s, 100);
        assert_int_equal(waiting(s, LIVE), 0);
        s->redis.refuses = true;
        story_set_queue(s, LIVE, conf);
        sim_run_ms(s, 500);
        assert_int_equal(waiting(s, LIVE), 0);
        s->redis.refuses = false;
        sim_run_ms(s, 1000);
        assert_int_equal(waiting(s, LIVE), 1);
    }
    (void)story_end_all(s, LIVE);
    story_beat_for(s, 5, LIVE, 0);
    assert_int_equal(waiting(s, LIVE), 0);
}

static void what_a_limit_keeps_back_does_not_widen_the_window(void **state)
{
    struct sim *s = *state;

    serve(s);
    story_set_queue(s, LIVE, (struct queue_conf){.concurrency = 2});
    submit_many(s, 60, (struct story_job){.key = "k"});
    assert_int_equal(begin_for(s, 1000), 40);
    assert_int_equal(story_queue_of(s, LIVE)->window.limit, WINDOW_FIRST_JOBS);
}

static void the_length_limit_counts_what_is_on_its_way(void **state)
{
    struct sim *s = *state;
    struct core_submit refused = {.on_done = NULL};

    serve(s);
    story_set_queue(s, LIVE, (struct queue_conf){.max_queued = 3});
    submit_many(s, 3, (struct story_job){.delay_ms = 5000});
    refused.op.spec = (struct job_spec){.queue = span_of_str(LIVE), .task = span_of_str("t")};
    assert_int_equal(core_submit(s->core, &refused), JM_EQUEUEFULL);
    sim_run_ms(s, 100);
    assert_int_equal(core_submit(s->core, &refused), JM_EQUEUEFULL);
    assert_int_equal(begin_for(s, 6000), 3);
    submit_many(s, 3, (struct story_job){.delay_ms = 5000});
    sim_run_ms(s, 100);
}

/* ---- who is looked at first ---- */

static void whoever_was_served_longest_ago_is_looked_at_first(void **state)
{
    enum { QUEUES = 50 };
    struct sim *s = *state;
    struct dispatch *d = &s->core->dispatch;
    struct queue *queues[QUEUES];
    uint64_t last = 0;
    size_t count = 0;
    char name[8];

    for (unsigned i = 0; i < QUEUES; i++) {
        snprintf(name, sizeof(name), "q%u", i);
        queues[i] = core_need_queue(s->core, span_of_str(name));
    }
    for (size_t i = 0; i < 1000; i++)
        queues_note_served(&s->core->queues, queues[sim_random(s, QUEUES - 5)]);
    for (size_t i = 0; i < 10; i++) /* some are marked already */
        dispatch_mark(d, queues[sim_random(s, QUEUES)]);
    dispatch_on_link(d, d->is_link_up);
    LIST_EACH(node, &d->marked)
    {
        const struct queue *q = LIST_ENTRY(node, struct queue, marked);

        assert_true(q->served >= last);
        last = q->served;
        count++;
    }
    assert_int_equal(count, queues_count(&s->core->queues));
}

/* ---- settings ---- */

struct setting {
    struct core_set_conf set;
    struct sim *sim;
    int status;
};

static void on_set(struct core_set_conf *x, int status)
{
    struct setting *set = JM_CONTAINER_OF(x, struct setting, set);

    set->status = status;
    set->sim->runner.is_full = false; /* for the next one */
}

static int limit_concurrency(struct core_set_conf *x)
{
    x->queue_conf.concurrency += 2;
    x->task_conf.concurrency += 2;
    return 0;
}

static int limit_length(struct core_set_conf *x)
{
    x->queue_conf.max_queued = 9;
    return 0;
}

static int refuse(struct core_set_conf *x)
{
    (void)x;
    return JM_EFIELD;
}

/* Nothing builds on what was refused, and nobody is told that what holds does not. */
static void settings_are_changed_one_after_another(void **state)
{
    static int (*const changes[])(struct core_set_conf * x) = {
        limit_concurrency, limit_length, refuse, limit_concurrency, limit_concurrency};
    static const int statuses[] = {JM_EFULL, 0, JM_EFIELD, 0, 0};
    struct sim *s = *state;
    struct setting settings[JM_COUNT_OF(changes)];

    serve(s);
    for (int is_task = 0; is_task < 2; is_task++) {
        s->runner.is_full = true;
        for (size_t i = 0; i < JM_COUNT_OF(changes); i++) {
            settings[i] = (struct setting){.sim = s, .status = 1};
            settings[i].set.change = changes[i];
            settings[i].set.on_done = on_set;
            assert_int_equal(
                is_task ? core_set_task_conf(s->core, &settings[i].set, span_of_str("t"))
                        : core_set_queue_conf(s->core, &settings[i].set, span_of_str(LIVE)),
                0);
        }
        sim_run_ms(s, 100);
        for (size_t i = 0; i < JM_COUNT_OF(changes); i++)
            assert_int_equal(settings[i].status, statuses[i]);
        assert_int_equal(is_task ? settings[3].set.task_conf.concurrency
                                 : settings[3].set.queue_conf.concurrency,
                         2);
    }
    sim_broker_crash(s);
    sim_broker_start(s);
    assert_int_equal(story_queue_of(s, LIVE)->conf.concurrency, 4);
    assert_int_equal(story_queue_of(s, LIVE)->conf.max_queued, 9);
    assert_int_equal(lanes_policy(&s->core->dispatch.lanes, span_of_str("t"))->conf.concurrency, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(a_turn_rests_at_all_its_tasks_and_goes_with_the_first_that_has_room),
        STORY(a_queue_that_may_not_go_does_not_keep_others_from_the_place_of_a_task),
        STORY(queues_take_turns_at_the_places_of_a_task),
        STORY(a_submit_does_not_go_before_others_that_wait_for_its_task),
        STORY(within_a_task_the_higher_priority_goes_first),
        STORY(a_limit_that_comes_during_a_take_counts_what_it_brings),
        STORY(a_key_limit_holds_over_its_priorities),
        STORY(limits_hold_over_a_crash),
        STORY(keys_that_are_gone_are_forgotten),
        STORY(a_higher_limit_holds_at_once),
        STORY(a_take_of_several_priorities_goes_out_by_priority),
        STORY(an_urgent_job_goes_before_what_is_in_redis_although_the_window_is_full),
        STORY(an_urgent_job_that_redis_refused_is_still_urgent),
        STORY(a_few_jobs_of_one_key_go_before_the_many_of_another),
        STORY(where_all_keys_are_new_nobody_is_favoured),
        STORY(favours_leave_the_others_half_of_the_places),
        STORY(what_waits_behind_long_jobs_goes_by_priority),
        STORY(a_paused_queue_gets_back_what_is_in_redis),
        STORY(a_message_that_lies_there_twice_is_drawn_once),
        STORY(a_pause_after_a_resume_takes_back_what_went_out_in_between),
        STORY(a_pause_that_redis_refuses_is_done_when_it_no_longer_does),
        STORY(a_full_disk_is_not_asked_over_and_over_by_a_paused_queue),
        STORY(a_pause_holds_at_every_moment_of_a_submit_or_a_take),
        STORY(a_pause_is_kept_over_a_crash),
        STORY(a_cancelled_job_that_a_pause_takes_out_is_told_to_be_stopped),
        STORY(a_rate_lets_a_burst_go_and_then_so_many_in_each_period),
        STORY(a_rate_of_each_key_is_its_own),
        STORY(what_comes_back_without_having_begun_brings_its_token_back),
        STORY(what_a_limit_keeps_back_does_not_widen_the_window),
        STORY(the_length_limit_counts_what_is_on_its_way),
        STORY(whoever_was_served_longest_ago_is_looked_at_first),
        STORY(settings_are_changed_one_after_another),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
