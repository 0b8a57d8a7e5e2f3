/*
 * From the map that a client sends to what the core and the store are asked for: submits, what
 * makes them unique, changes, and what is set for queues and tasks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "broker/conf_fields.h"
#include "broker/job_change.h"
#include "broker/job_options.h"
#include "broker/job_read.h"
#include "lib/json.h"
#include "schema/errors.h"

#define NOW_MS INT64_C(1800000000000) /* 2027-01-15T08:00:00Z */

struct fixture {
    struct digest *digest;
    struct conf_defaults defaults;
    struct span asked_queue; /* for which the defaults were asked last */
    struct span asked_task;
    struct buf body;
    struct buf options;
    struct core_submit submit;
    struct fault fault;
};

static void get_defaults(void *owner, struct span queue, struct span task,
                         struct conf_defaults *ret_defaults)
{
    struct fixture *x = owner;

    x->asked_queue = queue;
    x->asked_task = task;
    *ret_defaults = x->defaults;
}

static struct job_reader reader_of(struct fixture *x)
{
    return (struct job_reader){
        .digest = x->digest, .now_ms = NOW_MS, .owner = x, .get_defaults = get_defaults};
}

static struct span msgpack_of(struct fixture *x, const char *json)
{
    buf_clear(&x->body);
    assert_int_equal(json_to_msgpack(span_of_str(json), &JSON_DEFAULT_LIMITS, &x->body, NULL),
                     JSON_OK);
    return buf_span(&x->body);
}

static int read_job(struct fixture *x, const char *json, const char *key)
{
    struct job_reader r = reader_of(x);

    x->submit = (struct core_submit){.delay_ms = 0};
    return job_read(&r, msgpack_of(x, json), span_of_str(key), &x->options, &x->submit, &x->fault);
}

static int setup(void **state)
{
    struct fixture *x = calloc(1, sizeof(*x));

    x->digest = digest_new();
    x->defaults = (struct conf_defaults){
        .priority = 5, .max_attempts = 3, .timeout_ms = 1000, .grace_ms = 500};
    buf_init(&x->body, 1 << 16);
    buf_init(&x->options, JOB_OPTIONS_BYTES);
    *state = x;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *x = *state;

    buf_done(&x->body);
    buf_done(&x->options);
    digest_free(x->digest);
    free(x);
    return 0;
}

/* ---- submit ---- */

static void what_a_job_does_not_say_it_gets(void **state)
{
    struct fixture *x = *state;
    const struct job_spec *spec = &x->submit.op.spec;

    x->defaults.backoff = (struct backoff){.kind = BACKOFF_FIXED, .base_ms = 7};
    assert_int_equal(read_job(x, "{\"task\":\"t\"}", ""), 0);
    assert_true(span_is_str(x->asked_queue, "default") && span_is_str(x->asked_task, "t"));
    assert_int_equal(spec->priority, 5);
    assert_int_equal(spec->max_attempts, 3);
    assert_int_equal(spec->timeout_ms, 1000);
    assert_int_equal(spec->grace_ms, 500);
    assert_int_equal(spec->args.len, 1);
    assert_true(spec->options.len > 0); /* a backoff that was set for others is the job's own now */
    assert_int_equal(x->submit.op.unique.how, UNIQUE_NOT);
    assert_int_equal(read_job(x,
                              "{\"task\":\"t\",\"queue\":\"q\",\"priority\":9,\"max_attempts\":1,"
                              "\"timeout_ms\":2,\"grace_ms\":3}",
                              ""),
                     0);
    assert_true(span_is_str(x->asked_queue, "q"));
    assert_int_equal(spec->priority, 9);
    assert_int_equal(spec->max_attempts, 1);
    assert_int_equal(spec->timeout_ms, 2);
    assert_int_equal(spec->grace_ms, 3);
}

static void a_plain_job_has_no_record_of_options(void **state)
{
    struct fixture *x = *state;

    assert_int_equal(read_job(x, "{\"task\":\"t\",\"priority\":1,\"delay_ms\":5}", ""), 0);
    assert_int_equal(x->submit.op.spec.options.len, 0);
    assert_int_equal(x->submit.delay_ms, 5);
}

static void what_is_rarely_asked_is_in_the_record(void **state)
{
    struct fixture *x = *state;
    struct job_options options;

    assert_int_equal(
        read_job(x,
                 "{\"task\":\"t\",\"limit_key\":\"k\",\"expires_at\":\"2027-01-15T08:00:01Z\","
                 "\"retain_ms\":9,\"backoff\":{\"factor\":1.5},\"unique\":{\"key\":\"u\"}}",
                 ""),
        0);
    assert_true(job_options_decode(x->submit.op.spec.options, &options));
    assert_true(span_is_str(options.limit_key, "k"));
    assert_int_equal(options.expires_at_ms, NOW_MS + 1000);
    assert_int_equal(options.retain_ms, 9);
    assert_int_equal(options.backoff.kind, BACKOFF_EXPONENTIAL);
    assert_int_equal(options.backoff.factor_milli, 1500);
    assert_int_equal(options.backoff.base_ms, 1000);
    assert_int_equal(options.unique.data[0], 0x81);
    assert_true(span_is_str(x->submit.op.spec.limit_key, "k"));
    assert_int_equal(x->submit.op.spec.expires_at_ms, NOW_MS + 1000);
    assert_int_equal(x->submit.op.spec.retain_ms, 9);
}

static void times_are_held_against_the_clock_and_one_another(void **state)
{
    static const struct {
        const char *json;
        const char *field; /* NULL: it is taken */
    } rows[] = {
        {"\"run_at\":\"2037-01-12T08:00:00Z\"", NULL}, /* 3,650 days */
        {"\"run_at\":\"2037-01-12T08:00:00.001Z\"", "run_at"},
        {"\"run_at\":\"2027-01-15T08:00:00Z\",\"delay_ms\":0", "delay_ms"},
        {"\"run_at\":\"2028-01-01T00:00:00Z\",\"expires_at\":\"2028-01-01T00:00:00.001Z\"", NULL},
        {"\"run_at\":\"2028-01-01T00:00:00Z\",\"expires_at\":\"2028-01-01T00:00:00Z\"",
         "expires_at"},
        {"\"expires_at\":\"1970-01-01T00:00:00Z\"", "expires_at"},
        {"\"expires_at\":\"1970-01-01T00:00:00.001Z\"",
         NULL}, /* the store refuses it, if it is new */
    };
    struct fixture *x = *state;
    char json[200];

    for (size_t i = 0; i < JM_COUNT_OF(rows); i++) {
        int rc;

        snprintf(json, sizeof(json), "{\"task\":\"t\",%s}", rows[i].json);
        rc = read_job(x, json, "");
        if (rc != (rows[i].field != NULL ? JM_EFIELD : 0) ||
            (rc != 0 && strcmp(x->fault.field, rows[i].field) != 0))
            fail_msg("%s gave %d %s", json, rc, x->fault.detail);
    }
}

/* ---- fingerprints ---- */

static void fingerprint_of(struct fixture *x, const char *json, uint8_t ret_digest[DIGEST_BYTES])
{
    assert_int_equal(read_job(x, json, "key"), 0);
    memcpy(ret_digest, x->submit.op.fingerprint, DIGEST_BYTES);
}

static void every_field_is_in_the_fingerprint_and_their_order_is_not(void **state)
{
    static const char *const bodies[] = {
        "{\"task\":\"t\"}",
        "{\"task\":\"t\",\"priority\":5}",
        "{\"task\":\"t\",\"priority\":6}",
        "{\"task\":\"t\",\"delay_ms\":5}",
        "{\"task\":\"t\",\"run_at\":\"2028-01-01T00:00:00Z\"}",
        "{\"task\":\"t\",\"expires_at\":\"2028-01-01T00:00:00Z\"}",
        "{\"task\":\"t\",\"grace_ms\":5}",
        "{\"task\":\"t\",\"backoff\":{}}",
        "{\"task\":\"t\",\"backoff\":{\"jitter\":0}}",
        "{\"task\":\"t\",\"limit_key\":\"5\"}",
        "{\"task\":\"t\",\"retain_ms\":5}",
        "{\"task\":\"t\",\"unique\":{}}",
        "{\"task\":\"t\",\"unique\":{\"key\":\"5\"}}",
    };
    struct fixture *x = *state;
    uint8_t digests[JM_COUNT_OF(bodies)][DIGEST_BYTES];
    uint8_t other[DIGEST_BYTES];

    for (size_t i = 0; i < JM_COUNT_OF(bodies); i++) {
        fingerprint_of(x, bodies[i], digests[i]);
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(digests[i], digests[j], DIGEST_BYTES);
    }
    fingerprint_of(x, "{\"priority\":5,\"task\":\"t\"}", other);
    assert_memory_equal(other, digests[1], DIGEST_BYTES);
    x->defaults.priority = 1; /* what others set since then makes it no other request */
    fingerprint_of(x, bodies[0], other);
    assert_memory_equal(other, digests[0], DIGEST_BYTES);
}

static void an_item_has_its_key_in_the_map_and_the_same_fingerprint(void **state)
{
    struct fixture *x = *state;
    struct job_reader r = reader_of(x);
    uint8_t alone[DIGEST_BYTES];

    fingerprint_of(x, "{\"task\":\"t\",\"delay_ms\":5}", alone);
    x->submit = (struct core_submit){.delay_ms = 0};
    assert_int_equal(
        job_read_item(&r,
                      msgpack_of(x, "{\"idempotency_key\":\"k\",\"delay_ms\":5,\"task\":\"t\"}"),
                      &x->options, &x->submit, &x->fault),
        0);
    assert_true(span_is_str(x->submit.op.key, "k"));
    assert_memory_equal(x->submit.op.fingerprint, alone, DIGEST_BYTES);
    assert_int_equal(job_read_item(&r,
                                   msgpack_of(x, "{\"idempotency_key\":\"a b\",\"task\":\"t\"}"),
                                   &x->options, &x->submit, &x->fault),
                     JM_EFIELD);
    assert_string_equal(x->fault.field, "idempotency_key");
}

/* ---- unique ---- */

static void unique_of(struct fixture *x, const char *fields, uint8_t ret_digest[DIGEST_BYTES])
{
    char json[512];

    snprintf(json, sizeof(json), "{%s}", fields);
    if (read_job(x, json, "") != 0)
        fail_msg("%s: %s", json, x->fault.detail);
    memcpy(ret_digest, x->submit.op.unique.digest, DIGEST_BYTES);
}

static void jobs_that_are_alike_have_one_digest(void **state)
{
    static const char *const pairs[][2] = {
        {"\"task\":\"a\",\"unique\":{\"key\":\"k\"}",
         "\"task\":\"b\",\"queue\":\"q\",\"args\":1,\"unique\":{\"key\":\"k\",\"while\":"
         "\"queued\"}"},
        {"\"task\":\"a\",\"args\":{\"x\":1,\"y\":2},\"unique\":{}",
         "\"unique\":{\"on_conflict\":\"reject\"},\"args\":{\"y\":2,\"x\":1},\"task\":\"a\","
         "\"queue\":\"default\",\"priority\":1"},
        {"\"task\":\"a\",\"args\":{\"x\":1,\"y\":2},\"unique\":{\"args\":[\"x\"]}",
         "\"task\":\"a\",\"args\":{\"y\":3,\"x\":1},\"unique\":{\"args\":[\"x\",\"x\"]}"},
        {"\"task\":\"a\",\"args\":{\"x\":1,\"y\":2},\"unique\":{\"args\":[\"x\",\"y\"]}",
         "\"task\":\"a\",\"args\":{\"x\":1,\"y\":2,\"z\":3},\"unique\":{\"args\":[\"y\",\"x\"]}"},
        {"\"task\":\"a\",\"args\":{\"x\":1},\"unique\":{\"args\":[\"x\",\"n\"]}",
         "\"task\":\"a\",\"args\":{\"x\":1,\"y\":2},\"unique\":{\"args\":[\"n\",\"x\"]}"},
        {"\"task\":\"a\",\"unique\":{}", "\"task\":\"a\",\"args\":null,\"unique\":{}"},
    };
    struct fixture *x = *state;
    uint8_t a[DIGEST_BYTES], b[DIGEST_BYTES];

    for (size_t i = 0; i < JM_COUNT_OF(pairs); i++) {
        unique_of(x, pairs[i][0], a);
        unique_of(x, pairs[i][1], b);
        assert_memory_equal(a, b, DIGEST_BYTES);
    }
}

/* Each of these is another job than all the others, however alike they look. */
static void jobs_that_differ_have_their_own_digests(void **state)
{
    static const char *const rows[] = {
        "\"task\":\"a\",\"unique\":{\"key\":\"k\"}",
        "\"task\":\"a\",\"unique\":{\"key\":\"K\"}",
        "\"task\":\"a\",\"unique\":{\"key\":\"a\"}",
        "\"task\":\"a\",\"unique\":{}",
        "\"task\":\"k\",\"unique\":{}",
        "\"task\":\"a\",\"queue\":\"k\",\"unique\":{}",
        "\"task\":\"default\",\"queue\":\"a\",\"unique\":{}",
        "\"task\":\"a\",\"args\":\"k\",\"unique\":{}",
        "\"task\":\"a\",\"args\":{},\"unique\":{}",
        "\"task\":\"a\",\"args\":[],\"unique\":{}",
        "\"task\":\"a\",\"args\":{\"x\":1},\"unique\":{}",
        "\"task\":\"a\",\"args\":{\"x\":1},\"unique\":{\"args\":[\"x\"]}",
        "\"task\":\"a\",\"args\":{\"x\":null},\"unique\":{\"args\":[\"x\"]}",
        "\"task\":\"a\",\"args\":{\"y\":1},\"unique\":{\"args\":[\"x\"]}",
        "\"task\":\"a\",\"args\":{\"y\":1},\"unique\":{\"args\":[\"y\"]}",
        "\"task\":\"a\",\"args\":{\"xy\":1},\"unique\":{\"args\":[\"xy\"]}",
        "\"task\":\"a\",\"args\":{\"x\":\"1\"},\"unique\":{}",
        "\"task\":\"a\",\"args\":{\"x\":1,\"y\":2},\"unique\":{}",
        "\"task\":\"a\",\"args\":{\"x\":2,\"y\":1},\"unique\":{}",
        "\"task\":\"a\",\"args\":[\"x\",1],\"unique\":{}",
    };
    struct fixture *x = *state;
    uint8_t digests[JM_COUNT_OF(rows)][DIGEST_BYTES];

    for (size_t i = 0; i < JM_COUNT_OF(rows); i++) {
        unique_of(x, rows[i], digests[i]);
        for (size_t j = 0; j < i; j++)
            if (memcmp(digests[i], digests[j], DIGEST_BYTES) == 0)
                fail_msg("%s and %s have the same digest", rows[i], rows[j]);
    }
}

static void how_a_job_is_unique_is_kept(void **state)
{
    struct fixture *x = *state;
    const struct store_unique *u = &x->submit.op.unique;
    uint8_t digest[DIGEST_BYTES];

    unique_of(x, "\"task\":\"a\",\"unique\":{}", digest);
    assert_int_equal(u->how, UNIQUE_UNFINISHED);
    assert_int_equal(u->on_conflict, UNIQUE_EXISTING);
    unique_of(x, "\"task\":\"a\",\"unique\":{\"while\":\"queued\",\"on_conflict\":\"replace\"}",
              digest);
    assert_int_equal(u->how, UNIQUE_QUEUED);
    assert_int_equal(u->on_conflict, UNIQUE_REPLACE);
    unique_of(x, "\"task\":\"a\",\"unique\":{\"while\":\"period\",\"period_ms\":7}", digest);
    assert_int_equal(u->how, UNIQUE_PERIOD);
    assert_int_equal(u->period_ms, 7);
}

static void the_arguments_of_the_largest_object_are_all_digested(void **state)
{
    struct fixture *x = *state;
    struct buf json;
    uint8_t a[DIGEST_BYTES], b[DIGEST_BYTES];

    buf_init(&json, 1 << 16);
    for (int last = 0; last < 2; last++) {
        buf_clear(&json);
        buf_put_str(&json, "{\"task\":\"a\",\"unique\":{},\"args\":{");
        for (int i = 1; i < JM_JSON_MEMBERS; i++)
            buf_printf(&json, "\"m%d\":%d,", i, i);
        buf_printf(&json, "\"last\":%d}}", last);
        buf_put_u8(&json, 0);
        assert_int_equal(read_job(x, (const char *)json.data, ""), 0);
        memcpy(last == 0 ? a : b, x->submit.op.unique.digest, DIGEST_BYTES);
    }
    assert_memory_not_equal(a, b, DIGEST_BYTES);
    buf_done(&json);
}

/* ---- changes ---- */

static int read_change(struct fixture *x, const char *json, struct store_change *ret_change)
{
    *ret_change = (struct store_change){.id = 7};
    return job_change_read(msgpack_of(x, json), NOW_MS, ret_change, &x->fault);
}

static void a_change_names_what_it_changes(void **state)
{
    static const struct {
        const char *json;
        unsigned what;
    } rows[] = {
        {"{}", 0},
        {"{\"priority\":1}", CHANGE_PRIORITY},
        {"{\"run_at\":null}", CHANGE_DUE},
        {"{\"delay_ms\":0}", CHANGE_DUE},
        {"{\"args\":null}", CHANGE_ARGS},
        {"{\"expires_at\":null}", CHANGE_EXPIRES},
        {"{\"timeout_ms\":1}", CHANGE_TIMEOUT},
        {"{\"max_attempts\":1}", CHANGE_MAX_ATTEMPTS},
        {"{\"tags\":null}", CHANGE_TAGS},
        {"{\"retain_ms\":null}", CHANGE_RETAIN},
        {"{\"backoff\":null}", CHANGE_BACKOFF},
        {"{\"tags\":[\"a\"],\"priority\":9}", CHANGE_TAGS | CHANGE_PRIORITY},
    };
    struct fixture *x = *state;
    struct store_change change;

    for (size_t i = 0; i < JM_COUNT_OF(rows); i++) {
        assert_int_equal(read_change(x, rows[i].json, &change), 0);
        assert_int_equal(change.what, rows[i].what);
        assert_int_equal(change.id, 7);
    }
}

static void a_change_of_time_is_told_from_now(void **state)
{
    struct fixture *x = *state;
    struct store_change change;

    assert_int_equal(read_change(x, "{\"delay_ms\":5}", &change), 0);
    assert_int_equal(change.due_ms, NOW_MS + 5);
    assert_int_equal(read_change(x, "{\"run_at\":null}", &change), 0);
    assert_int_equal(change.due_ms, 0);
    assert_int_equal(read_change(x, "{\"run_at\":\"2027-01-15T08:00:01Z\"}", &change), 0);
    assert_int_equal(change.due_ms, NOW_MS + 1000);
    assert_int_equal(
        read_change(x, "{\"delay_ms\":1000,\"expires_at\":\"2027-01-15T08:00:01Z\"}", &change),
        JM_EFIELD);
    assert_string_equal(x->fault.field, "expires_at");
    assert_int_equal(read_change(x, "{\"expires_at\":\"2027-01-15T08:00:00Z\"}", &change),
                     JM_EFIELD);
    assert_int_equal(read_change(x, "{\"expires_at\":\"2027-01-15T08:00:00.001Z\"}", &change), 0);
    assert_int_equal(change.spec.expires_at_ms, NOW_MS + 1);
}

/* ---- settings ---- */

static void settings_are_merged_and_a_rate_is_whole(void **state)
{
    struct fixture *x = *state;
    struct queue_conf conf = {.is_paused = true,
                              .rate = {5, 6},
                              .concurrency = 7,
                              .defaults = {.priority = 8, .timeout_ms = 9}};

    assert_int_equal(conf_fields_read_queue(msgpack_of(x, "{}"), &conf, &x->fault), 0);
    assert_true(conf.is_paused);
    assert_int_equal(conf.rate.period_ms, 6);
    assert_int_equal(
        conf_fields_read_queue(
            msgpack_of(x, "{\"paused\":null,\"concurrency\":null,\"defaults\":{\"priority\":null,"
                          "\"grace_ms\":3},\"key_rate\":{\"limit\":1,\"period_ms\":2}}"),
            &conf, &x->fault),
        0);
    assert_false(conf.is_paused);
    assert_int_equal(conf.concurrency, 0);
    assert_int_equal(conf.defaults.priority, 0);
    assert_int_equal(conf.defaults.grace_ms, 3);
    assert_int_equal(conf.defaults.timeout_ms, 9);
    assert_int_equal(conf.key_rate.limit, 1);
    assert_int_equal(
        conf_fields_read_queue(msgpack_of(x, "{\"rate\":{\"limit\":1}}"), &conf, &x->fault),
        JM_EMISSING);
    assert_string_equal(x->fault.field, "rate.period_ms");
}

static void a_task_has_no_priority_to_set(void **state)
{
    struct fixture *x = *state;
    struct task_conf conf = {.concurrency = 1};

    assert_int_equal(
        conf_fields_read_task(msgpack_of(x, "{\"defaults\":{\"priority\":1}}"), &conf, &x->fault),
        JM_EUNKNOWNFIELD);
    assert_int_equal(
        conf_fields_read_task(msgpack_of(x, "{\"defaults\":{\"backoff\":{\"kind\":\"fixed\"}}}"),
                              &conf, &x->fault),
        0);
    assert_int_equal(conf.defaults.backoff.kind, BACKOFF_FIXED);
    assert_int_equal(conf.defaults.backoff.base_ms, JM_BACKOFF_BASE_MS);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_a_job_does_not_say_it_gets),
        TEST(a_plain_job_has_no_record_of_options),
        TEST(what_is_rarely_asked_is_in_the_record),
        TEST(times_are_held_against_the_clock_and_one_another),
        TEST(every_field_is_in_the_fingerprint_and_their_order_is_not),
        TEST(an_item_has_its_key_in_the_map_and_the_same_fingerprint),
        TEST(jobs_that_are_alike_have_one_digest),
        TEST(jobs_that_differ_have_their_own_digests),
        TEST(how_a_job_is_unique_is_kept),
        TEST(the_arguments_of_the_largest_object_are_all_digested),
        TEST(a_change_names_what_it_changes),
        TEST(a_change_of_time_is_told_from_now),
        TEST(settings_are_merged_and_a_rate_is_whole),
        TEST(a_task_has_no_priority_to_set),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
