#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/json.h"
#include "worker/run.h"
#include "worker/redis.h"

struct fixture {
    struct task_call call;
    struct wire_job job;
    struct buf args;
};

static int setup(void **state)
{
    static struct fixture f;

    run_init(&f.call);
    buf_init(&f.args, 1 << 20);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    run_done(&f->call);
    buf_done(&f->args);
    return 0;
}

static struct task_call *open_call(struct fixture *f, const char *args)
{
    buf_clear(&f->args);
    if (args != NULL)
        assert_int_equal(json_to_msgpack(span_of_str(args), &JSON_DEFAULT_LIMITS, &f->args, NULL),
                         JSON_OK);
    f->job = (struct wire_job){
        .id = 5, .attempt = 2, .task = span_of_str("t"), .args = buf_span(&f->args)};
    run_open(&f->call, &f->job, NULL);
    return &f->call;
}

static void members_are_found_by_name(void **state)
{
    struct task_call *call = open_call(*state, "{\"a\": {\"n\": 9}, \"n\": 4, \"f\": -1.5, "
                                               "\"s\": \"text\"}");
    struct span text;
    char chars[5];
    double number;
    uint64_t n;

    assert_true(task_has_arg(call, "n"));
    assert_false(task_has_arg(call, "m"));
    assert_int_equal(task_arg_u64(call, "n", 4, 4, &n), 0);
    assert_int_equal(n, 4);
    assert_int_equal(task_arg_number(call, "f", -2, 2, &number), 0);
    assert_true(number == -1.5);
    assert_int_equal(task_arg_number(call, "n", 0, 10, &number), 0);
    assert_true(number == 4);
    assert_int_equal(task_arg_str(call, "s", &text), 0);
    assert_true(span_is_str(text, "text"));
    assert_int_equal(task_arg_text(call, "s", chars, sizeof(chars)), 0);
    assert_string_equal(chars, "text");
    assert_int_equal(call->outcome, RUN_SUCCEEDED);
}

static void expect_refusal(struct task_call *call, int error, const char *sentence)
{
    assert_int_not_equal(error, 0);
    assert_int_equal(call->outcome, RUN_FAILED);
    assert_string_equal(call->code, "bad_args");
    assert_string_equal(call->message, sentence);
}

static void a_refusal_names_the_parameter_and_the_bound(void **state)
{
    struct fixture *f = *state;
    struct task_call *call = open_call(f, "{\"n\": 51, \"s\": \"a\\u0000b\", \"l\": [1]}");
    struct span text;
    char chars[3];
    double number;
    uint64_t n;

    expect_refusal(call, task_arg_u64(call, "n", 0, 50, &n),
                   "parameter 'n' must be an integer from 0 to 50");
    expect_refusal(call, task_arg_u64(call, "x", 0, 50, &n), "parameter 'x' is missing");
    expect_refusal(call, task_arg_number(call, "s", 0, 1, &number),
                   "parameter 's' must be a number from 0 to 1");
    expect_refusal(call, task_arg_str(call, "l", &text), "parameter 'l' must be a string");
    expect_refusal(call, task_arg_bytes(call, "n", &text),
                   "parameter 'n' must be a string or bytes");
    expect_refusal(call, task_arg_text(call, "s", chars, sizeof(chars)),
                   "parameter 's' must have 1 to 2 bytes, none of them NUL");
}

static void arguments_that_are_no_map_have_no_members(void **state)
{
    struct fixture *f = *state;
    uint64_t n;

    assert_false(task_has_arg(open_call(f, NULL), "n"));
    assert_false(task_has_arg(open_call(f, "[\"n\", 1]"), "n"));
    assert_false(task_has_arg(open_call(f, "\"n\""), "n"));
    expect_refusal(&f->call, task_arg_u64(&f->call, "n", 0, 1, &n), "parameter 'n' is missing");
    assert_int_equal(task_args(open_call(f, NULL)).len, 1); /* nil */
}

static int give_nothing(struct task_call *call)
{
    (void)call;
    return 0;
}

static int give_two(struct task_call *call)
{
    msgpack_pack_int(task_result(call), 1);
    msgpack_pack_int(task_result(call), 2);
    return 0;
}

static int give_half(struct task_call *call)
{
    msgpack_pack_array(task_result(call), 2);
    msgpack_pack_int(task_result(call), 1);
    return 0;
}

static int give_too_much(struct task_call *call)
{
    static const uint8_t bytes[4096];

    msgpack_pack_bin(task_result(call), JM_RESULT_BYTES);
    for (int i = 0; i < JM_RESULT_BYTES / 4096; i++)
        msgpack_pack_bin_body(task_result(call), bytes, sizeof(bytes));
    return 0;
}

static int give_a_code(struct task_call *call)
{
    (void)call;
    return -7;
}

/* What the broker is told of a run. */
static struct wire_event run(struct fixture *f, int (*function)(struct task_call *))
{
    const struct task task = {.name = "t", .doc = "", .run = function};
    struct wire_event event;

    run_native(open_call(f, NULL), &task);
    run_describe(&f->call, &event);
    assert_int_equal(event.id, 5);
    assert_int_equal(event.attempt, 2);
    return event;
}

static void expect_code(struct wire_event event, const char *code)
{
    assert_int_equal(event.kind, WIRE_FAILED);
    assert_true(span_is_str(event.code, code));
    assert_true(event.message.len > 0);
}

static void a_result_is_one_value_within_the_limit(void **state)
{
    struct fixture *f = *state;
    struct wire_event event = run(f, give_nothing);

    assert_int_equal(event.kind, WIRE_SUCCEEDED);
    assert_int_equal(event.result.len, 1);
    assert_int_equal(event.result.data[0], 0xc0);
    expect_code(run(f, give_two), "bad_result");
    expect_code(run(f, give_half), "bad_result");
    expect_code(run(f, give_too_much), "result_too_large");
    expect_code(run(f, give_a_code), "task_failed");
    assert_int_equal(run(f, give_nothing).kind, WIRE_SUCCEEDED); /* nothing sticks */
}

static int give_up(struct task_call *call)
{
    return task_fail_for_good(call, "hopeless", "no use");
}

static int ask_for_later(struct task_call *call)
{
    return task_retry_after(call, 1500, NULL, "busy until %d", 9);
}

static int ask_for_much_later(struct task_call *call)
{
    return task_retry_after(call, UINT64_MAX, NULL, "busy");
}

static int think_again(struct task_call *call)
{
    (void)task_fail_for_good(call, NULL, "first");
    return task_fail(call, NULL, "second");
}

static void a_failure_says_what_is_to_follow(void **state)
{
    struct fixture *f = *state;
    struct wire_event event = run(f, give_up);

    expect_code(event, "hopeless");
    assert_int_equal(event.retry, WIRE_RETRY_NEVER);
    event = run(f, ask_for_later);
    expect_code(event, "task_failed");
    assert_true(span_is_str(event.message, "busy until 9"));
    assert_int_equal(event.retry, WIRE_RETRY_AFTER);
    assert_int_equal(event.retry_after_ms, 1500);
    assert_int_equal(run(f, ask_for_much_later).retry_after_ms, JM_RETRY_AFTER_LIMIT_MS);
    assert_int_equal(run(f, think_again).retry, WIRE_RETRY_DEFAULT);
    event = run(f, give_a_code);
    assert_int_equal(event.retry, WIRE_RETRY_DEFAULT);
    assert_int_equal(event.retry_after_ms, 0);
}

static void addresses_of_redis_are_read_strictly(void **state)
{
    struct redis_address a;

    (void)state;
    assert_true(redis_parse_address("unix:/run/x.sock", &a));
    assert_string_equal(a.path, "/run/x.sock");
    assert_true(redis_parse_address("localhost:6379", &a));
    assert_string_equal(a.host, "localhost");
    assert_int_equal(a.port, 6379);
    assert_int_equal(a.path[0], 0);
    assert_true(redis_parse_address("[::1]:1", &a));
    assert_string_equal(a.host, "::1");
    for (size_t i = 0; i < 10; i++) {
        static const char *const wrong[] = {"",    "host",    "host:", ":1",    "host:0",
                                            "h:x", "h:65536", "h:1x",  "unix:", "[]:1"};

        assert_false(redis_parse_address(wrong[i], &a));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(members_are_found_by_name),
        TEST(a_refusal_names_the_parameter_and_the_bound),
        TEST(arguments_that_are_no_map_have_no_members),
        TEST(a_result_is_one_value_within_the_limit),
        TEST(a_failure_says_what_is_to_follow),
        TEST(addresses_of_redis_are_read_strictly),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
