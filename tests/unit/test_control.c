/* The lines that a program writes to descriptor 3: what they mean, and what is passed over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/log.h"
#include "worker/control.h"
#include "worker/run.h"

struct fixture {
    struct shm *shm;
    int fd;
    struct task_call call;
    struct wire_job job;
    struct control control;
};

static int setup(void **state)
{
    static struct fixture f;

    if (shm_create(&f.shm, &f.fd) != 0)
        return -1;
    log_setup("test", LOG_LEVEL_ERROR);
    f.job = (struct wire_job){.id = 1, .attempt = 1, .task = span_of_str("t")};
    run_init(&f.call);
    run_open(&f.call, &f.job, NULL);
    f.call.shm = f.shm;
    f.call.position = shm_claim(f.shm, 0, 1, 1, 0, 0);
    control_init(&f.control, &f.call);
    *state = &f;
    return shm_begin(f.shm, f.call.position, 1, 1) ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    run_done(&f->call);
    shm_unmap(f->shm);
    close(f->fd);
    return 0;
}

static bool read_progress(struct fixture *f, struct shm_progress *ret_progress)
{
    struct shm_held held;

    assert_true(shm_peek(f->shm, f->call.position, &held));
    return shm_read_progress(f->shm, &held, ret_progress);
}

static void expect_progress(struct fixture *f, uint64_t done, uint64_t total, const char *message)
{
    struct shm_progress progress;

    assert_true(read_progress(f, &progress));
    assert_true(progress.done == done && progress.total == total);
    assert_true(span_is_str(span_of(progress.message, progress.message_len), message));
}

static void say(struct fixture *f, const char *text)
{
    control_take(&f->control, span_of_str(text));
}

static void progress_has_a_number_and_may_have_more(void **state)
{
    struct fixture *f = *state;

    say(f, "progress 1\n");
    expect_progress(f, 1, 0, "");
    say(f, "progress 2 10\n");
    expect_progress(f, 2, 10, "");
    say(f, "progress 3 10 page three of 10\r\n");
    expect_progress(f, 3, 10, "page three of 10");
    say(f, "\t progress\t 18446744073709551615  18446744073709551615   100 % \n");
    expect_progress(f, UINT64_MAX, UINT64_MAX, "100 %");
    assert_int_equal(f->control.ignored, 0);
}

static void the_last_word_about_a_retry_counts(void **state)
{
    struct fixture *f = *state;

    say(f, "retry never\n");
    assert_int_equal(f->control.retry, WIRE_RETRY_NEVER);
    say(f, "retry after 604800000\n");
    assert_int_equal(f->control.retry, WIRE_RETRY_AFTER);
    assert_int_equal(f->control.retry_after_ms, 604800000);
    say(f, "retry after 0\n");
    assert_int_equal(f->control.retry_after_ms, 0);
    assert_int_equal(f->control.ignored, 0);
}

static void lines_come_in_pieces_and_the_last_needs_no_end(void **state)
{
    static const char text[] = "progress 5 9 half\n\nretry after 250";
    struct fixture *f = *state;
    struct shm_progress progress;

    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        assert_int_equal(read_progress(f, &progress), i > strlen("progress 5 9 half"));
        control_take(&f->control, span_of(text + i, 1));
    }
    assert_int_equal(f->control.retry, WIRE_RETRY_DEFAULT);
    control_finish(&f->control);
    assert_int_equal(f->control.retry, WIRE_RETRY_AFTER);
    assert_int_equal(f->control.retry_after_ms, 250);
    expect_progress(f, 5, 9, "half");
    assert_int_equal(f->control.ignored, 0);
}

static void what_is_not_understood_is_counted_and_changes_nothing(void **state)
{
    static const char *const wrong[] = {
        "hello\n",
        "progress\n",
        "progress half\n",
        "progress -1 2\n",
        "progress 1.5 2\n",
        "progress 1 files\n",
        "progress 18446744073709551616\n",
        "progress 1 99999999999999999999999\n",
        "Progress 1 2\n",
        "progress1 2\n",
        "retry\n",
        "retry soon\n",
        "retry never ever\n",
        "retry after\n",
        "retry after 604800001\n",
        "retry after 5s\n",
        "retry after 5 6\n",
        "retrynever\n",
    };
    struct fixture *f = *state;

    say(f, "progress 1 2 so far\nretry after 7\n");
    for (size_t i = 0; i < JM_COUNT_OF(wrong); i++) {
        say(f, wrong[i]);
        if (f->control.ignored != i + 1)
            fail_msg("taken: %s", wrong[i]);
    }
    say(f, "\n   \n\r\n"); /* nothing was said */
    assert_int_equal(f->control.ignored, JM_COUNT_OF(wrong));
    expect_progress(f, 1, 2, "so far");
    assert_int_equal(f->control.retry, WIRE_RETRY_AFTER);
    assert_int_equal(f->control.retry_after_ms, 7);
}

static void a_line_without_end_is_cut_and_the_next_is_read(void **state)
{
    struct fixture *f = *state;
    struct shm_progress progress;

    say(f, "progress 1 2 ");
    for (unsigned i = 0; i < 100000; i++)
        say(f, "long ");
    say(f, "\n");
    assert_true(read_progress(f, &progress));
    assert_int_equal(progress.message_len, SHM_MESSAGE_BYTES);
    assert_memory_equal(progress.message, "long long", 9);
    say(f, "progress 2 2\n");
    expect_progress(f, 2, 2, "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(progress_has_a_number_and_may_have_more),
        TEST(the_last_word_about_a_retry_counts),
        TEST(lines_come_in_pieces_and_the_last_needs_no_end),
        TEST(what_is_not_understood_is_counted_and_changes_nothing),
        TEST(a_line_without_end_is_cut_and_the_next_is_read),
    };

    return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
