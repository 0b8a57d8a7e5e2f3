/*
 * scenarios.c: single situations of the core, told step by step. Each was once a defect.
 */
#include "tests/sim/story.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- the stories ---- */

static void a_queue_that_nobody_serves_leaves_the_others_their_room(void **state)
{
    struct sim *s = *state;

    story_beat_for(s, 5, "live", 0);
    for (int i = 0; i < 20; i++)
        story_submit_bytes(s, "dead", JM_ARGS_BYTES);
    story_beat_for(s, 2, "live", 0);
    for (int i = 0; i < 5; i++)
        story_submit_bytes(s, "live", 100);
    story_beat_for(s, 2, "live", 0);
    assert_int_equal(story_count(s, "live", JOB_QUEUED), 0);
    assert_int_equal(story_count(s, "live", JOB_DISPATCHED), 5);
    assert_true(s->core->dispatch.bytes <= JM_WINDOW_BYTES / 4);
}

static void a_queue_that_found_no_room_goes_on_when_others_leave_some(void **state)
{
    struct sim *s = *state;

    story_beat_for(s, 5, "live", 0);
    for (int i = 0; i < 20; i++)
        story_submit_bytes(s, "live", JM_ARGS_BYTES);
    story_beat_for(s, 2, "live", 0);
    for (int i = 0; i < 3; i++)
        story_submit_bytes(s, "other", 100);
    story_beat_for(s, 2, "live", 0);
    assert_int_equal(story_count(s, "other", JOB_QUEUED), 3);
    for (int i = 0; i < 5; i++) {
        story_end_all(s, "live");
        story_beat_for(s, 1, "live", 0);
    }
    assert_int_equal(story_count(s, "live", JOB_SUCCEEDED), 20);
    assert_int_equal(story_count(s, "other", JOB_DISPATCHED), 3);
}

static void takes_under_way_count_as_taken_room(void **state)
{
    struct sim *s = *state;
    size_t most_bytes = 0;

    sim_run_ms(s, 3500);
    s->redis.is_up = false;
    sim_redis_break_link(s);
    for (int q = 0; q < 200; q++) {
        char *name = malloc(16);

        snprintf(name, 16, "q%d", q);
        for (int i = 0; i < 8; i++)
            story_submit_bytes(s, name, 256 << 10);
        sim_run_ms(s, 10); /* the spans of a submit have to stay until it is done */
        free(name);
    }
    s->redis.is_up = true;
    sim_redis_break_link(s);
    for (uint64_t end_ns = s->now_ns + 20000 * SIM_MS; s->now_ns < end_ns && sim_step(s);)
        if (s->core->dispatch.bytes > most_bytes)
            most_bytes = s->core->dispatch.bytes;
    assert_true(most_bytes > 0);
    assert_true(most_bytes <= JM_WINDOW_BYTES);
}

static void a_host_that_is_slow_to_come_back_to_an_emptied_redis_keeps_its_lease(void **state)
{
    struct sim *s = *state;
    uint64_t id;

    story_beat_for(s, 5, "live", 0);
    id = story_submit_bytes(s, "live", 100);
    sim_run_ms(s, 100);
    free(sim_redis_rpop(s, story_queue_of(s, "live")->key));
    story_beat_for(s, 5, "live", id);
    sim_redis_restart(s);
    sim_run_ms(s, 14000);
    assert_int_equal(hosts_count(&s->core->hosts), 1);
    assert_int_equal(s->core->hosts.stats.lost_charged + s->core->hosts.stats.lost_free, 0);
    story_beat_for(s, 5, "live", id);
    assert_int_equal(story_count(s, "live", JOB_DISPATCHED), 1);
    sim_run_ms(s, 30000); /* and now it is dead */
    assert_int_equal(hosts_count(&s->core->hosts), 0);
    assert_int_equal(s->core->hosts.stats.lost_charged, 1);
}

/* A job is claimed, no beat names it, and the broker is killed and started again. */
static void restart_with_a_claim(struct sim *s)
{
    story_beat_for(s, 5, "live", 0);
    (void)story_submit_bytes(s, "live", 100);
    sim_run_ms(s, 100);
    assert_int_not_equal(story_claim(s, "live").id, 0);
    sim_broker_crash(s);
    sim_broker_start(s);
}

/* A job that was claimed, and in no beat when its host died: whether the broker was started again
 * meanwhile makes no difference. Where no host died it is nobody's fault. */
static void a_job_that_may_have_killed_its_host_is_charged_also_behind_a_restart(void **state)
{
    struct sim *s = *state;

    for (int dies = 0; dies < 2; dies++) {
        const struct hosts_stats *stats;

        restart_with_a_claim(s);
        if (dies)
            sim_run_ms(s, 30000);
        else
            story_beat_for(s, 30, "live", 0);
        stats = &s->core->hosts.stats;
        assert_int_equal(stats->died, dies);
        assert_int_equal(stats->lost_charged, dies);
        assert_int_equal(stats->lost_free, 1 - dies);
        (void)story_end_all(s, "live");
        sim_run_ms(s, 1000);
    }
}

/* What is out when the broker starts went out before, so the first poll searches for it; two beats
 * later it is lost. Redis is back after 0 to 3 s, so several starts are tried. */
static void what_was_out_at_a_start_and_is_nowhere_is_lost_at_the_third_poll(void **state)
{
    struct sim *s = *state;

    for (int start = 0; start < 8; start++) {
        const struct hosts *hs;

        restart_with_a_claim(s);
        hs = &s->core->hosts;
        for (int i = 0; i < 10 && hs->stats.lost_free == 0; i++)
            story_beat_for(s, 1, "live", 0);
        assert_int_equal(hs->stats.lost_free, 1);
        assert_int_equal(hs->poll, 3);
        assert_int_equal(story_length(s, story_queue_of(s, "live")->key), 1);
        (void)story_end_all(s, "live");
        sim_run_ms(s, 1000);
    }
}

static void a_job_that_kills_its_host_before_any_beat_is_charged_in_the_end(void **state)
{
    struct sim *s = *state;

    story_beat_for(s, 5, "live", 0);
    story_submit_bytes(s, "live", 100);
    for (int i = 0; i < JM_DEATH_LIMIT; i++) {
        sim_run_ms(s, 100);
        free(sim_redis_rpop(s, story_queue_of(s, "live")->key));
        sim_run_ms(s, 20000); /* its host is silent from now on */
        story_beat_for(s, 3, "live", 0);
    }
    assert_int_equal(story_count(s, "live", JOB_FAILED), 1);
}

static void a_new_queue_learns_at_once_who_serves_it(void **state)
{
    struct sim *s = *state;

    story_beat_for(s, 5, "new", 0);
    story_submit_bytes(s, "new", 100);
    sim_run_ms(s, 100);
    assert_int_equal(story_queue_of(s, "new")->window.floor, STORY_SLOTS * WINDOW_FLOOR_PER_SLOT);
}

static void a_cancel_that_a_restart_forgot_is_ordered_by_the_heartbeats(void **state)
{
    struct sim *s = *state;
    char orders[KEYS_BYTES];
    uint64_t id;

    story_beat_for(s, 5, "live", 0);
    id = story_submit_bytes(s, "live", 100);
    sim_run_ms(s, 100);
    free(sim_redis_rpop(s, story_queue_of(s, "live")->key));
    story_beat_for(s, 3, "live", id);
    story_cancel(s, id);
    while (list_is_empty(&s->runner.committed))
        assert_true(sim_step(s));
    sim_broker_crash(s); /* between the commit and the order to kill */
    sim_broker_start(s);
    story_beat_for(s, 10, "live", id);
    keys_control(orders, STORY_HOST);
    assert_true(story_length(s, orders) > 0);
}

static void a_recall_that_was_cut_off_is_done_again(void **state)
{
    struct sim *s = *state;
    uint64_t id;

    story_beat_for(s, 5, "live", 0);
    id = story_submit_bytes(s, "live", 100);
    sim_run_ms(s, 100);
    assert_int_equal(story_length(s, story_queue_of(s, "live")->key), 1);
    s->redis.refuses = true;
    story_cancel(s, id);
    sim_run_ms(s, 500);
    s->redis.refuses = false;
    assert_int_equal(story_length(s, story_queue_of(s, "live")->key), 1);
    story_beat_for(s, 30, "live", 0);
    assert_int_equal(story_length(s, story_queue_of(s, "live")->key), 0);
    assert_int_equal(s->core->dispatch.jobs, 0);
}

static void note_end(struct waiter *w)
{
    w->id = 0;
}

/* Ends one claimed job of 5 ms every 2 ms; returns in how many slices their ends were applied. */
static uint64_t end_one_by_one(struct sim *s, int jobs)
{
    uint64_t before = s->core->results.stats.slices;

    for (int i = 0; i < jobs; i++) {
        struct story_claimed claimed = story_claim(s, "live");

        assert_int_not_equal(claimed.id, 0);
        story_end_after(s, claimed, 5000);
        sim_run_ms(s, 2);
    }
    return s->core->results.stats.slices - before;
}

static void ends_that_nobody_waits_for_share_a_round_and_a_waiter_ends_the_rest(void **state)
{
    enum { JOBS = 12 };
    struct sim *s = *state;
    struct waiter waiter = {.on_end = note_end};
    uint64_t last = 0;

    story_beat_for(s, 5, "live", 0);
    for (int i = 0; i < 2 * JOBS; i++)
        last = story_submit_bytes(s, "live", 100);
    sim_run_ms(s, 100);
    assert_in_range(end_one_by_one(s, JOBS), 1, JOBS / 4);
    assert_int_equal(s->core->results.state, RESULTS_RESTING);
    assert_int_equal(core_wait(s->core, &waiter, last), 0);
    assert_int_not_equal(s->core->results.state, RESULTS_RESTING);
    assert_in_range(end_one_by_one(s, JOBS), JOBS / 2, JOBS + 1);
    sim_run_ms(s, 20);
    assert_int_equal(waiter.id, 0);
}

/* A clock that has stepped is not believed in what cannot be undone, so that what should have begun
 * by now stays where it is for a while. */
static void what_cannot_expire_yet_is_not_looked_for_all_the_time(void **state)
{
    struct sim *s = *state;
    uint64_t before;

    story_beat_for(s, 5, "live", 0);
    story_set_queue(s, "live", (struct queue_conf){.is_paused = true});
    (void)story_submit(s, (struct story_job){.expires_in_ms = 5000});
    sim_run_ms(s, 100);
    s->wall_ms += 120000;
    story_beat_for(s, 10, "live", 0);
    assert_int_equal(story_count(s, "live", JOB_QUEUED), 1);
    story_set_queue(s, "live", (struct queue_conf){.is_paused = false});
    before = s->runner.started_seq;
    story_beat_for(s, 5, "live", 0);
    assert_in_range(s->runner.started_seq - before, 1, 20);
    assert_int_equal(story_count(s, "live", JOB_QUEUED), 1);
    (void)story_submit_bytes(s, "live", 100);
    sim_run_ms(s, 100);
    assert_int_equal(story_count(s, "live", JOB_DISPATCHED), 1);
    sim_run_ms(s, 700000);
    assert_int_equal(story_count(s, "live", JOB_QUEUED), 0);
}

/* Its next job waits for the place, and would run once in a rest. */
static void under_a_limit_of_concurrency_no_end_waits_for_company(void **state)
{
    enum { JOBS = 12 };
    struct sim *s = *state;

    story_beat_for(s, 5, "live", 0);
    story_set_queue(s, "live", (struct queue_conf){.concurrency = 1});
    for (int i = 0; i < JOBS; i++)
        (void)story_submit_bytes(s, "live", 100);
    sim_run_ms(s, 100);
    for (int i = 0; i < JOBS; i++) {
        struct story_claimed claimed = story_claim(s, "live");

        assert_int_not_equal(claimed.id, 0);
        story_end_after(s, claimed, 5000);
        sim_run_ms(s, 15);
    }
    assert_int_equal(story_count(s, "live", JOB_SUCCEEDED), JOBS);
}

/* Jobs that are accepted, and a sync that fails over cancels of half of them. */
static void fail_a_sync(struct sim *s, uint64_t ret_ids[8])
{
    for (size_t i = 0; i < 8; i++)
        ret_ids[i] =
            story_submit(s, (struct story_job){.bytes = 3000, .delay_ms = UINT64_C(3600000000)});
    sim_run_ms(s, 100);
    disk_arm(&s->disk, DISK_SYNC_FAILS, 1);
    for (size_t i = 0; i < 4; i++)
        story_cancel(s, ret_ids[i]);
    while (s->core != NULL)
        assert_true(sim_step(s));
}

/* The log that the start moves reads well, but the kernel will not write what the sync has lost. */
static void a_power_cut_while_a_start_mends_a_failed_sync_loses_nothing(void **state)
{
    struct sim *s = *state;

    for (uint64_t change = 1; change <= 120; change++) {
        struct job_view job;
        uint64_t ids[8];

        fail_a_sync(s, ids);
        disk_arm(&s->disk, DISK_POWER, change);
        sim_run_ms(s, 5000);
        disk_disarm_all(&s->disk);
        while (s->core == NULL && s->failure[0] == '\0')
            assert_true(sim_step(s));
        assert_string_equal(s->failure, "");
        for (size_t i = 0; i < 8; i++)
            assert_int_equal(reader_get(s->reader, ids[i], true, &job), 0);
    }
}

struct told {
    struct waiter waiter;
    bool is_told;
};

static void on_end(struct waiter *w)
{
    JM_CONTAINER_OF(w, struct told, waiter)->is_told = true;
}

static void give_room_after_ms(struct sim *s, uint64_t ms)
{
    sim_run_ms(s, ms);
    s->runner.is_full = false;
    sim_run_ms(s, 500);
}

/* The end came, or the job was due, while every write was refused, for a moment or for long. */
static void when_a_full_disk_has_room_again_who_waits_is_served_within_half_a_second(void **state)
{
    static const uint64_t full_ms[] = {1, 90, 1000, 5000};
    struct sim *s = *state;

    story_beat_for(s, 5, "live", 0);
    for (size_t i = 0; i < JM_COUNT_OF(full_ms); i++) {
        struct told told = {.waiter.on_end = on_end};
        uint64_t id = story_submit(s, (struct story_job){.delay_ms = 50});
        struct story_claimed claimed;

        assert_int_equal(waiters_add(&s->core->waiters, &told.waiter, id), 0);
        sim_run_ms(s, 20);
        s->runner.is_full = true;
        give_room_after_ms(s, full_ms[i]);
        claimed = story_claim(s, "live");
        assert_int_equal(claimed.id, id);
        s->runner.is_full = true;
        story_end(s, claimed, WIRE_SUCCEEDED);
        sim_run_ms(s, full_ms[i]);
        assert_false(told.is_told);
        give_room_after_ms(s, 0);
        assert_true(told.is_told);
        story_beat_for(s, 1, "live", 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORY(when_a_full_disk_has_room_again_who_waits_is_served_within_half_a_second),
        STORY(a_queue_that_nobody_serves_leaves_the_others_their_room),
        STORY(a_queue_that_found_no_room_goes_on_when_others_leave_some),
        STORY(takes_under_way_count_as_taken_room),
        STORY(a_host_that_is_slow_to_come_back_to_an_emptied_redis_keeps_its_lease),
        STORY(a_job_that_may_have_killed_its_host_is_charged_also_behind_a_restart),
        STORY(what_was_out_at_a_start_and_is_nowhere_is_lost_at_the_third_poll),
        STORY(a_job_that_kills_its_host_before_any_beat_is_charged_in_the_end),
        STORY(a_new_queue_learns_at_once_who_serves_it),
        STORY(a_cancel_that_a_restart_forgot_is_ordered_by_the_heartbeats),
        STORY(a_recall_that_was_cut_off_is_done_again),
        STORY(ends_that_nobody_waits_for_share_a_round_and_a_waiter_ends_the_rest),
        STORY(what_cannot_expire_yet_is_not_looked_for_all_the_time),
        STORY(a_power_cut_while_a_start_mends_a_failed_sync_loses_nothing),
        STORY(under_a_limit_of_concurrency_no_end_waits_for_company),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
