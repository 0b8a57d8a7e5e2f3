/*
 * The records in which settings and the options of a job are kept: what is written is read back, at
 * all bounds and at random; what is no such record is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "broker/conf.h"
#include "broker/job_options.h"
#include "lib/hash.h"
#include "schema/limits.h"

static uint64_t random_state;

/* Mostly 0, 1 or the largest. */
static uint64_t pick(uint64_t max)
{
    random_state += UINT64_C(0x9e3779b97f4a7c15);
    switch (hash_of_u64(random_state) % 4) {
    case 0:
        return 0;
    case 1:
        return max;
    case 2:
        return 1;
    default:
        return hash_of_u64(random_state + 1) % (max + 1);
    }
}

static struct backoff pick_backoff(void)
{
    struct backoff b = {.kind = (uint32_t)pick(BACKOFF_EXPONENTIAL)};

    if (b.kind == BACKOFF_DEFAULT)
        return b; /* nothing was asked */
    b.jitter_milli = (uint32_t)pick(1000);
    b.factor_milli = (uint32_t)pick(JM_BACKOFF_FACTOR_LIMIT_MILLI);
    b.base_ms = pick(JM_BACKOFF_BASE_LIMIT_MS);
    b.ceiling_ms = pick(JM_BACKOFF_CEILING_LIMIT_MS);
    return b;
}

static struct conf_defaults pick_defaults(void)
{
    return (struct conf_defaults){.priority = (uint32_t)pick(JM_PRIORITY_MAX),
                                  .max_attempts = (uint32_t)pick(JM_MAX_ATTEMPTS_LIMIT),
                                  .timeout_ms = pick(JM_TIMEOUT_LIMIT_MS),
                                  .grace_ms = pick(JM_GRACE_LIMIT_MS),
                                  .backoff = pick_backoff()};
}

static void assert_same_backoff(const struct backoff *a, const struct backoff *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->jitter_milli, b->jitter_milli);
    assert_int_equal(a->factor_milli, b->factor_milli);
    assert_int_equal(a->base_ms, b->base_ms);
    assert_int_equal(a->ceiling_ms, b->ceiling_ms);
}

static void assert_same_defaults(const struct conf_defaults *a, const struct conf_defaults *b)
{
    assert_int_equal(a->priority, b->priority);
    assert_int_equal(a->max_attempts, b->max_attempts);
    assert_int_equal(a->timeout_ms, b->timeout_ms);
    assert_int_equal(a->grace_ms, b->grace_ms);
    assert_same_backoff(&a->backoff, &b->backoff);
}

static void assert_same_queue(const struct queue_conf *a, const struct queue_conf *b)
{
    assert_int_equal(a->is_paused, b->is_paused);
    assert_memory_equal(&a->rate, &b->rate, sizeof(a->rate));
    assert_memory_equal(&a->key_rate, &b->key_rate, sizeof(a->rate));
    assert_int_equal(a->concurrency, b->concurrency);
    assert_int_equal(a->key_concurrency, b->key_concurrency);
    assert_int_equal(a->max_queued, b->max_queued);
    assert_int_equal(a->retain_ms, b->retain_ms);
    assert_int_equal(a->retain_failed_ms, b->retain_failed_ms);
    assert_same_defaults(&a->defaults, &b->defaults);
}

static struct conf_rate pick_rate(void)
{
    struct conf_rate rate = {.limit = pick(JM_RATE_LIMIT)};

    if (rate.limit > 0)
        rate.period_ms = 1 + pick(JM_RATE_PERIOD_LIMIT_MS - 1);
    return rate;
}

static void settings_of_queues_are_read_as_they_were_written(void **state)
{
    (void)state;
    for (int i = 0; i < 20000; i++) {
        struct queue_conf conf = {.is_paused = pick(1) == 1}, read = {.concurrency = 77};
        struct buf out;

        conf.rate = pick_rate();
        conf.key_rate = pick_rate();
        conf.concurrency = (uint32_t)pick(JM_CONCURRENCY_LIMIT);
        conf.key_concurrency = (uint32_t)pick(JM_CONCURRENCY_LIMIT);
        conf.max_queued = pick(JM_QUEUED_LIMIT);
        conf.defaults = pick_defaults();
        conf.retain_ms = pick(JM_DELAY_LIMIT_MS);
        conf.retain_failed_ms = pick(JM_DELAY_LIMIT_MS);
        buf_init(&out, CONF_BYTES);
        conf_encode_queue(&out, &conf);
        assert_false(buf_has_failed(&out));
        assert_true(conf_decode_queue(buf_span(&out), &read));
        assert_same_queue(&read, &conf);
        buf_done(&out);
    }
}

static void settings_of_tasks_are_read_as_they_were_written(void **state)
{
    (void)state;
    for (int i = 0; i < 20000; i++) {
        struct task_conf conf = {.concurrency = (uint32_t)pick(JM_CONCURRENCY_LIMIT)};
        struct task_conf read = {.concurrency = 77};
        struct buf out;

        conf.defaults = pick_defaults();
        buf_init(&out, CONF_BYTES);
        conf_encode_task(&out, &conf);
        assert_false(buf_has_failed(&out));
        assert_true(conf_decode_task(buf_span(&out), &read));
        assert_int_equal(read.concurrency, conf.concurrency);
        assert_same_defaults(&read.defaults, &conf.defaults);
        buf_done(&out);
    }
}

static const struct {
    const char *title;
    size_t len;
    const char *bytes;
} damaged[] = {
    {"nothing", 0, ""},
    {"another type", 1, "\xc0"},
    {"no version", 1, "\x80"},
    {"another version", 3, "\x81\x00\x02"},
    {"bytes behind it", 4, "\x81\x00\x01\x00"},
    {"cut off", 4, "\x82\x00\x01\x01"},
    {"paused by a number", 5, "\x82\x00\x01\x01\x01"},
    {"a rate without a period", 5, "\x82\x00\x01\x02\x05"},
    {"a period without a rate", 5, "\x82\x00\x01\x03\x05"},
    {"a rate of keys without a period", 5, "\x82\x00\x01\x04\x05"},
    {"a limit above the largest", 9, "\x82\x00\x01\x06\xce\x7f\xff\xff\xff"},
    {"a negative limit", 5, "\x82\x00\x01\x06\xff"},
    {"a priority of 10", 5, "\x82\x00\x01\x0b\x0a"},
    {"a kind of backoff that is none", 5, "\x82\x00\x01\x0f\x07"},
    {"a key twice", 7, "\x83\x00\x01\x06\x01\x06\x01"},
};

static void what_is_no_record_of_a_queue_is_refused(void **state)
{
    struct queue_conf read = {.concurrency = 77};

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(damaged); i++) {
        print_message("  %s\n", damaged[i].title);
        assert_false(conf_decode_queue(span_of(damaged[i].bytes, damaged[i].len), &read));
        assert_int_equal(read.concurrency, 77);
    }
    assert_true(conf_decode_queue(span_of("\x81\x00\x01", 3), &read));
    assert_int_equal(read.concurrency, 0);
}

static void options_of_a_job_are_read_as_they_were_written(void **state)
{
    static char key[JM_LIMIT_KEY_BYTES];
    static const char unique[] = "\x81\xa3key\xa1x";

    (void)state;
    memset(key, 'k', sizeof(key));
    for (int i = 0; i < 20000; i++) {
        struct job_options options = {.limit_key = span_of(key, pick(sizeof(key))),
                                      .expires_at_ms = (int64_t)pick(INT64_MAX),
                                      .retain_ms = pick(JM_DELAY_LIMIT_MS),
                                      .backoff = pick_backoff()};
        struct job_options read = {.retain_ms = 77};
        struct buf out;

        if (pick(1) == 1)
            options.unique = span_of(unique, sizeof(unique) - 1);
        buf_init(&out, JOB_OPTIONS_BYTES);
        job_options_encode(&out, &options);
        assert_false(buf_has_failed(&out));
        assert_true(job_options_decode(buf_span(&out), &read));
        assert_true(span_is_equal(read.limit_key, options.limit_key));
        assert_true(span_is_equal(read.unique, options.unique));
        assert_int_equal(read.expires_at_ms, options.expires_at_ms);
        assert_int_equal(read.retain_ms, options.retain_ms);
        assert_same_backoff(&read.backoff, &options.backoff);
        buf_done(&out);
    }
}

static void a_job_that_asks_nothing_has_no_options(void **state)
{
    struct job_options none = {.retain_ms = 0}, read = {.retain_ms = 77};
    struct buf out;

    (void)state;
    buf_init(&out, JOB_OPTIONS_BYTES);
    job_options_encode(&out, &none);
    assert_int_equal(out.len, 0);
    assert_true(job_options_decode(buf_span(&out), &read));
    assert_int_equal(read.retain_ms, 0);
    assert_false(job_options_decode(span_of("\xc0", 1), &read));
    assert_false(job_options_decode(span_of("\x81\x00\x02", 3), &read));
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_of_queues_are_read_as_they_were_written),
        cmocka_unit_test(settings_of_tasks_are_read_as_they_were_written),
        cmocka_unit_test(what_is_no_record_of_a_queue_is_refused),
        cmocka_unit_test(options_of_a_job_are_read_as_they_were_written),
        cmocka_unit_test(a_job_that_asks_nothing_has_no_options),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
