#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "worker/shm.h"

struct fixture {
    struct shm *shm; /* the parent's view */
    struct shm *child;
    int fd;
};

static int setup(void **state)
{
    static struct fixture f;

    if (shm_create(&f.shm, &f.fd) != 0 || shm_attach(f.fd, &f.child) != 0)
        return -1;
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    shm_unmap(f->child);
    shm_unmap(f->shm);
    close(f->fd);
    return 0;
}

static struct shm_held peek(struct shm *shm, uint64_t at)
{
    struct shm_held held = {0};

    assert_true(shm_peek(shm, at, &held));
    return held;
}

static void a_job_goes_through_all_its_states(void **state)
{
    struct fixture *f = *state;
    uint64_t at = shm_claim(f->child, 3, 77, 2, 1000, 50);
    struct shm_held held = peek(f->shm, at);

    assert_int_equal(held.state, SHM_CLAIMED);
    assert_int_equal(held.node, 3);
    assert_int_equal(held.id, 77);
    assert_int_equal(held.attempt, 2);
    assert_int_equal(held.timeout_ms, 1000);
    assert_int_equal(held.grace_ms, 50);
    assert_true(shm_begin(f->child, at, 12345, 678));
    held = peek(f->shm, at);
    assert_int_equal(held.state, SHM_BEGUN);
    assert_int_equal(held.begun_ns, 12345);
    assert_int_equal(held.begun_at_ms, 678);
    f->child->out[10] = 'x';
    shm_end(f->child, at, 10, 1);
    held = peek(f->shm, at);
    assert_int_equal(held.state, SHM_DONE);
    assert_int_equal(held.out.len, 1);
    assert_int_equal(held.out.data[0], 'x');
    assert_true(shm_send(f->child, at));
    assert_true(shm_send(f->child, at)); /* once more after a failure */
    assert_int_equal(peek(f->shm, at).state, SHM_SENDING);
    shm_free(f->child, at);
    assert_false(shm_peek(f->shm, at, &held));
    assert_int_equal(shm_free_count(f->child), SHM_JOBS);
}

static void a_job_that_the_parent_took_cannot_begin(void **state)
{
    struct fixture *f = *state;
    uint64_t at = shm_claim(f->child, 0, 1, 1, 0, 0);
    struct shm_held held = peek(f->shm, at);

    assert_true(shm_take(f->shm, at, &held));
    assert_false(shm_begin(f->child, at, 1, 1));
    shm_free(f->child, at);
    assert_false(shm_begin(f->child, at, 1, 1));
}

static void a_job_that_has_begun_cannot_be_taken(void **state)
{
    struct fixture *f = *state;
    uint64_t at = shm_claim(f->child, 0, 1, 1, 0, 0);
    struct shm_held held = peek(f->shm, at);

    assert_true(shm_begin(f->child, at, 1, 1));
    assert_false(shm_take(f->shm, at, &held));
    assert_int_equal(peek(f->shm, at).state, SHM_BEGUN);
}

static void an_end_that_the_parent_took_is_not_sent(void **state)
{
    struct fixture *f = *state;
    uint64_t at = shm_claim(f->child, 0, 1, 1, 0, 0);
    struct shm_held held;

    assert_true(shm_begin(f->child, at, 1, 1));
    shm_end(f->child, at, 0, 4);
    held = peek(f->shm, at);
    assert_true(shm_take(f->shm, at, &held));
    assert_false(shm_send(f->child, at));
}

static void a_copy_of_a_former_generation_takes_nothing(void **state)
{
    struct fixture *f = *state;
    uint64_t at = shm_claim(f->child, 0, 1, 1, 0, 0);
    struct shm_held old = peek(f->shm, at);

    assert_true(shm_begin(f->child, at, 1, 1));
    shm_end(f->child, at, 0, 0);
    assert_true(shm_send(f->child, at));
    shm_free(f->child, at);
    for (unsigned i = 1; i < SHM_JOBS; i++)
        shm_free(f->child, shm_claim(f->child, 0, 2, 1, 0, 0));
    at = shm_claim(f->child, 0, 3, 1, 0, 0);
    assert_int_equal(at % SHM_JOBS, 0); /* the same entry, claimed again */
    assert_false(shm_take(f->shm, at, &old));
    assert_int_equal(peek(f->shm, at).id, 3);
}

static void progress_is_that_of_the_job_that_runs(void **state)
{
    struct fixture *f = *state;
    uint64_t at = shm_claim(f->child, 0, 1, 1, 0, 0);
    uint64_t next = shm_claim(f->child, 0, 2, 1, 0, 0);
    struct shm_held held = peek(f->shm, at);
    struct shm_progress progress;

    assert_false(shm_read_progress(f->shm, &held, &progress));
    assert_true(shm_begin(f->child, at, 1, 1));
    held = peek(f->shm, at);
    assert_false(shm_read_progress(f->shm, &held, &progress));
    shm_report(f->child, at, 3, 8, span_of_str("three"));
    shm_report(f->child, at, 4, 8, span_of_str("four"));
    assert_true(shm_read_progress(f->shm, &held, &progress));
    assert_int_equal(progress.done, 4);
    assert_int_equal(progress.total, 8);
    assert_int_equal(progress.message_len, 4);
    assert_memory_equal(progress.message, "four", 4);
    shm_end(f->child, at, 0, 0);
    held = peek(f->shm, at);
    assert_false(shm_read_progress(f->shm, &held, &progress));
    assert_true(shm_begin(f->child, next, 1, 1));
    held = peek(f->shm, next);
    assert_false(shm_read_progress(f->shm, &held, &progress)); /* not its predecessor's */
}

static void progress_that_a_child_left_half_written_is_not_read(void **state)
{
    struct fixture *f = *state;
    uint64_t at = shm_claim(f->child, 0, 1, 1, 0, 0);
    struct shm_progress progress;
    struct shm_held held;

    assert_true(shm_begin(f->child, at, 1, 1));
    held = peek(f->shm, at);
    shm_report(f->child, at, 1, 2, span_of_str(""));
    (void)atomic_fetch_add(&f->child->progress.turn, 1);
    assert_false(shm_read_progress(f->shm, &held, &progress));
    shm_reset(f->shm);
    at = shm_claim(f->child, 0, 1, 2, 0, 0);
    assert_true(shm_begin(f->child, at, 1, 1));
    held = peek(f->shm, at);
    assert_false(shm_read_progress(f->shm, &held, &progress));
    shm_report(f->child, at, 1, 2, span_of_str(""));
    assert_true(shm_read_progress(f->shm, &held, &progress));
    f->child->progress.message_len = SHM_MESSAGE_BYTES + 1; /* spoilt */
    assert_false(shm_read_progress(f->shm, &held, &progress));
}

static void no_two_jobs_have_the_same_word(void **state)
{
    struct fixture *f = *state;
    uint64_t last = 0;

    for (int i = 0; i < 3 * SHM_JOBS; i++) {
        uint64_t at = shm_claim(f->child, 0, 1, 1, 0, 0), word;

        assert_true(shm_begin(f->child, at, 1, 1));
        word = peek(f->shm, at).word;
        assert_true(word > last);
        last = word;
        shm_end(f->child, at, 0, 0);
        shm_free(f->child, at);
    }
}

static void room_is_given_back_in_order(void **state)
{
    struct fixture *f = *state;
    uint64_t tail, head, first;

    first = shm_claim(f->child, 0, 1, 1, 0, 0);
    for (unsigned i = 1; i < SHM_JOBS; i++)
        (void)shm_claim(f->child, 0, 1 + i, 1, 0, 0);
    assert_int_equal(shm_free_count(f->child), 0);
    shm_free(f->child, first + 1);
    assert_int_equal(shm_free_count(f->child), 0);
    shm_free(f->child, first);
    assert_int_equal(shm_free_count(f->child), 2);
    shm_range(f->shm, &tail, &head);
    assert_int_equal(tail, first + 2);
    assert_int_equal(head, first + SHM_JOBS);
}

static void spoilt_memory_is_read_within_its_bounds(void **state)
{
    struct fixture *f = *state;
    uint64_t tail, head, at = shm_claim(f->child, 0, 1, 1, 0, 0);
    struct shm_held held;

    assert_true(shm_begin(f->child, at, 1, 1));
    shm_end(f->child, at, SHM_OUT_BYTES - 1, 2);
    assert_int_equal(peek(f->shm, at).out.len, 0);
    f->child->jobs[at].out_offset = UINT32_MAX;
    f->child->jobs[at].out_len = 1;
    assert_int_equal(peek(f->shm, at).out.len, 0);
    f->child->jobs[at].word = 0xffff;
    assert_false(shm_peek(f->shm, at, &held));
    f->child->tail = UINT64_MAX / 2;
    f->child->head = 3;
    shm_range(f->shm, &tail, &head);
    assert_int_equal(head - tail, SHM_JOBS);
}

static void the_child_cannot_change_the_size(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(ftruncate(f->fd, 0), -1);
    assert_int_equal(ftruncate(f->fd, 1 << 24), -1);
}

static void another_file_is_refused(void **state)
{
    struct shm *shm = NULL;
    int fd = memfd_create("other", MFD_CLOEXEC);

    (void)state;
    assert_int_not_equal(shm_attach(fd, &shm), 0);
    assert_int_equal(ftruncate(fd, sizeof(struct shm)), 0);
    assert_int_not_equal(shm_attach(fd, &shm), 0);
    assert_null(shm);
    close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_job_goes_through_all_its_states),
        TEST(a_job_that_the_parent_took_cannot_begin),
        TEST(a_job_that_has_begun_cannot_be_taken),
        TEST(an_end_that_the_parent_took_is_not_sent),
        TEST(a_copy_of_a_former_generation_takes_nothing),
        TEST(progress_is_that_of_the_job_that_runs),
        TEST(progress_that_a_child_left_half_written_is_not_read),
        TEST(no_two_jobs_have_the_same_word),
        TEST(room_is_given_back_in_order),
        TEST(spoilt_memory_is_read_within_its_bounds),
        TEST(the_child_cannot_change_the_size),
        TEST(another_file_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
