#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <signal.h>
#include <unistd.h>

#include "broker/spool.h"
#include "schema/errors.h"

struct world {
    uv_loop_t loop;
    char dir[32];
    char db_path[64];
    struct spool spool;
    unsigned written;
};

static void on_written(void *owner)
{
    ((struct world *)owner)->written++;
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    snprintf(w->dir, sizeof(w->dir), "spool-test-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->db_path, sizeof(w->db_path), "%s/jobs.db", w->dir);
    assert_int_equal(spool_open(&w->spool, &w->loop, w->db_path, w, on_written), 0);
    *state = w;
    return 0;
}

/* The directory is empty: the file never had a name, or has it no more. */
static int teardown(void **state)
{
    struct world *w = *state;

    spool_close(&w->spool);
    assert_int_equal(rmdir(w->dir), 0);
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    free(w);
    return 0;
}

static void flush(struct world *w)
{
    while (!spool_flush(&w->spool) && w->spool.status == 0)
        (void)uv_run(&w->loop, UV_RUN_ONCE);
}

static void what_was_put_is_read(void **state)
{
    enum { PIECES = 3000, LARGEST = 3000 };
    static uint8_t piece[LARGEST];
    struct world *w = *state;
    struct spool_reader r;
    struct span bytes;
    uint64_t total = 0;

    for (size_t i = 0; i < PIECES; i++) {
        size_t len = i * 7919 % LARGEST;

        memset(piece, (int)i, len);
        spool_put(&w->spool, span_of(piece, len));
        total += len;
        while (spool_is_behind(&w->spool))
            (void)uv_run(&w->loop, UV_RUN_ONCE);
    }
    assert_int_equal(spool_bytes(&w->spool), total);
    flush(w);
    assert_int_equal(w->spool.bytes, total);
    assert_true(w->written > 1);
    spool_reader_init(&r, &w->spool);
    for (size_t i = 0; i < PIECES; i++) {
        size_t len = i * 7919 % LARGEST;

        memset(piece, (int)i, len);
        assert_int_equal(spool_read(&r, len, &bytes), 0);
        assert_int_equal(bytes.len, len);
        assert_memory_equal(bytes.data, piece, len);
    }
    assert_int_equal(spool_read(&r, 1, &bytes), JM_EIO); /* there is no more */
    spool_reader_done(&r);
}

static void a_piece_may_be_larger_than_one_write(void **state)
{
    enum { LARGE = 3 << 20 };
    struct world *w = *state;
    uint8_t *large = malloc(LARGE);
    struct spool_reader r;
    struct span bytes;

    assert_non_null(large);
    memset(large, 'x', LARGE);
    spool_put(&w->spool, span_of("a", 1));
    spool_put(&w->spool, span_of(large, LARGE));
    flush(w);
    spool_reader_init(&r, &w->spool);
    assert_int_equal(spool_read(&r, 1, &bytes), 0);
    assert_int_equal(spool_read(&r, LARGE, &bytes), 0);
    assert_memory_equal(bytes.data, large, LARGE);
    spool_reader_done(&r);
    free(large);
}

static void what_is_discarded_takes_up_no_room(void **state)
{
    static uint8_t piece[1 << 20];
    struct world *w = *state;
    struct stat now;

    spool_put(&w->spool, span_of(piece, sizeof(piece)));
    flush(w);
    spool_put(&w->spool, span_of(piece, sizeof(piece)));
    assert_true(w->spool.is_writing);
    spool_discard(&w->spool);
    spool_put(&w->spool, span_of(piece, sizeof(piece)));
    assert_int_equal(spool_bytes(&w->spool), 0);
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
    assert_false(w->spool.is_writing);
    assert_int_equal(fstat(w->spool.fd, &now), 0);
    assert_int_equal(now.st_size, 0);
}

static void nothing_needs_no_write(void **state)
{
    struct world *w = *state;

    assert_true(spool_flush(&w->spool));
    assert_int_equal(w->written, 0);
}

static void a_file_that_can_grow_no_more_is_told(void **state)
{
    static uint8_t piece[1 << 20];
    struct world *w = *state;
    struct rlimit before;
    struct rlimit low;

    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    low = before;
    low.rlim_cur = 100000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    spool_put(&w->spool, span_of(piece, sizeof(piece)));
    flush(w);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(w->spool.status, JM_EFULL);
    assert_false(spool_flush(&w->spool));
}

static void without_a_directory_there_is_no_spool(void **state)
{
    struct world *w = *state;
    struct spool other;

    assert_int_equal(spool_open(&other, &w->loop, "no-such-directory/jobs.db", w, on_written),
                     JM_EIO);
}

#define SPOOL_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SPOOL_TEST(what_was_put_is_read),
        SPOOL_TEST(a_piece_may_be_larger_than_one_write),
        SPOOL_TEST(what_is_discarded_takes_up_no_room),
        SPOOL_TEST(nothing_needs_no_write),
        SPOOL_TEST(a_file_that_can_grow_no_more_is_told),
        SPOOL_TEST(without_a_directory_there_is_no_spool),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
