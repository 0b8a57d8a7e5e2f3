/*
 * Many new jobs in one commit, or none.
 */
#include "tests/unit/store_fixture.h"

enum { MOST = 40 };

struct all {
    struct store_submit_all op;
    struct store_submit jobs[MOST];
    size_t count;
    size_t next;
    int fails_with; /* in the place of the job behind the last */
    int status[MOST];
    size_t told;
};

static int next_job(struct store_submit_all *op, struct store_submit **ret_submit)
{
    struct all *all = JM_CONTAINER_OF(op, struct all, op);

    if (all->next == all->count) {
        *ret_submit = NULL;
        return all->fails_with;
    }
    *ret_submit = &all->jobs[all->next++];
    return 0;
}

static void on_each(struct store_submit_all *op, struct store_submit *submit, int status)
{
    struct all *all = JM_CONTAINER_OF(op, struct all, op);

    assert_ptr_equal(submit, &all->jobs[all->told]);
    all->status[all->told++] = status;
}

/* Jobs from id `first` on, each in a lane and a queue of its own by turns. */
static void make(struct all *all, uint64_t first, size_t count)
{
    static const char *const keys[] = {"a", "b", "c"};
    static const char *const queues[] = {"q", "new"};

    *all = (struct all){.count = count};
    for (size_t i = 0; i < count; i++) {
        all->jobs[i] = fixture_submit_of(first + i, queues[i % 2], JOB_QUEUED);
        all->jobs[i].spec.limit_key = span_of_str(keys[i % 3]);
    }
}

static int run(struct fixture *f, struct all *all)
{
    all->op =
        (struct store_submit_all){.op = {.is_alone = true}, .next = next_job, .on_each = on_each};
    return fixture_run(f, &all->op.op, STORE_SUBMIT_ALL);
}

static void make_unique(struct store_submit *op, uint8_t place, enum unique_conflict conflict)
{
    op->unique.how = UNIQUE_UNFINISHED;
    op->unique.on_conflict = conflict;
    op->unique.digest[0] = place;
}

static int64_t jobs_in_lanes(struct fixture *f)
{
    return fixture_ask(f, "SELECT count(*) FROM live WHERE lane IN (SELECT lane FROM lanes)");
}

static void all_are_stored(void **state)
{
    struct fixture *f = *state;
    struct all all;

    make(&all, 10, MOST);
    all.jobs[3].key = span_of_str("key");
    assert_int_equal(run(f, &all), 0);
    assert_int_equal(all.told, MOST);
    for (size_t i = 0; i < MOST; i++)
        assert_int_equal(all.status[i], 0);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM live"), MOST);
    fixture_check_counts(f);
}

static void none_is_stored_if_one_is_refused(void **state)
{
    struct fixture *f = *state;
    struct store_submit plain = fixture_submit_of(1, "q", JOB_QUEUED);
    struct all all;

    make_unique(&plain, 7, UNIQUE_REJECT);
    assert_int_equal(fixture_run(f, &plain.op, STORE_SUBMIT), 0);
    make(&all, 10, MOST);
    all.jobs[2].key = span_of_str("key");
    make_unique(&all.jobs[4], 8, UNIQUE_REJECT);
    make_unique(&all.jobs[5], 7, UNIQUE_REJECT);
    assert_int_equal(run(f, &all), JM_EBATCH);
    assert_int_equal(all.told, MOST); /* the others are asked all the same */
    for (size_t i = 0; i < MOST; i++)
        assert_int_equal(all.status[i], i == 5 ? JM_EUNIQUE : 0);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM jobs"), 1);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM idem"), 0);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM uniques"), 1);
    fixture_check_counts(f);
}

/* What the store keeps in memory (counts, lanes) has to have gone back with the tables. */
static void behind_a_refusal_the_same_jobs_can_be_stored(void **state)
{
    struct fixture *f = *state;
    struct all all;

    make(&all, 10, MOST);
    make_unique(&all.jobs[0], 7, UNIQUE_REJECT);
    make_unique(&all.jobs[MOST - 1], 7, UNIQUE_REJECT);
    assert_int_equal(run(f, &all), JM_EBATCH);
    make(&all, 10, MOST);
    assert_int_equal(run(f, &all), 0);
    assert_int_equal(jobs_in_lanes(f), MOST);
    fixture_check_counts(f);
    fixture_close(f);
    fixture_open(f);
    fixture_submit(f, 500, "new", JOB_QUEUED);
    fixture_check_counts(f);
}

static void a_replaced_job_lives_on_if_the_batch_is_refused(void **state)
{
    struct fixture *f = *state;
    struct store_submit plain = fixture_submit_of(1, "q", JOB_QUEUED);
    struct all all;

    make_unique(&plain, 7, UNIQUE_REJECT);
    assert_int_equal(fixture_run(f, &plain.op, STORE_SUBMIT), 0);
    for (int is_refused = 1; is_refused >= 0; is_refused--) {
        make(&all, 10, 2);
        make_unique(&all.jobs[0], 7, UNIQUE_REPLACE);
        make_unique(&all.jobs[1], 7, is_refused ? UNIQUE_REJECT : UNIQUE_EXISTING);
        assert_int_equal(run(f, &all), is_refused ? JM_EBATCH : 0);
        assert_int_equal(all.jobs[0].ret_replaced_id, 1);
        assert_int_equal(fixture_get(f, 1).state, is_refused ? JOB_QUEUED : JOB_CANCELLED);
        fixture_check_counts(f);
    }
}

static void a_repeat_is_no_refusal(void **state)
{
    struct fixture *f = *state;
    struct all all;

    for (uint64_t first = 10; first <= 20; first += 10) {
        make(&all, first, 3);
        for (size_t i = 0; i < 3; i++)
            all.jobs[i].key = span_of_str(i == 0 ? "a" : i == 1 ? "b" : "c");
        assert_int_equal(run(f, &all), 0);
        assert_int_equal(all.jobs[2].ret_is_repeat, first == 20);
    }
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM jobs"), 3);
}

static void none_is_stored_if_the_next_cannot_be_had(void **state)
{
    struct fixture *f = *state;
    struct all all;

    make(&all, 10, 5);
    all.fails_with = JM_EIO;
    assert_int_equal(run(f, &all), JM_EIO);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM jobs"), 0);
    make(&all, 10, 0);
    assert_int_equal(run(f, &all), 0);
    fixture_check_counts(f);
}

#define BATCH_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BATCH_TEST(all_are_stored),
        BATCH_TEST(none_is_stored_if_one_is_refused),
        BATCH_TEST(behind_a_refusal_the_same_jobs_can_be_stored),
        BATCH_TEST(a_replaced_job_lives_on_if_the_batch_is_refused),
        BATCH_TEST(a_repeat_is_no_refusal),
        BATCH_TEST(none_is_stored_if_the_next_cannot_be_had),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
