/*
 * starved.c: the n-th allocation inside the libraries fails, for every n, in this process: the same
 * as torture.py does with whole programs, but of the pure parts and much faster. Each call either
 * does what it does with memory, or says that memory is missing; its outputs are whole either way.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/body.h"
#include "broker/split.h"
#include "lib/buf.h"
#include "lib/json.h"
#include "lib/opt.h"
#include "schema/errors.h"
#include "schema/limits.h"
#include "schema/wire.h"
#include "tests/torture/starve.h"
#include "worker/program.h"
#include "worker/run.h"

/* ---- JSON ---- */

enum { MEMBERS = 300 }; /* more than the table of names holds without memory of its own */

static char *object;
static struct span object_msgpack;

static void make_object(void)
{
    char *to = object = malloc(MEMBERS * 32 + 3);
    struct buf msgpack;

    assert_non_null(object);
    *to++ = '{';
    for (int i = 0; i < MEMBERS; i++)
        to += sprintf(to, "%s\"name-%d\":\"%d\"", i > 0 ? "," : "", i, i);
    strcpy(to, "}");
    buf_init(&msgpack, SIZE_MAX);
    assert_int_equal(json_to_msgpack(span_of_str(object), &JSON_DEFAULT_LIMITS, &msgpack, NULL),
                     JSON_OK);
    object_msgpack = buf_span(&msgpack);
}

static void read_object(void)
{
    struct buf out;
    enum json_problem problem;

    buf_init(&out, SIZE_MAX);
    problem = json_to_msgpack(span_of_str(object), &JSON_DEFAULT_LIMITS, &out, NULL);
    assert_int_equal(problem, starve_has_failed() ? JSON_MEMORY : JSON_OK);
    if (problem == JSON_OK)
        assert_true(span_is_equal(buf_span(&out), object_msgpack));
    else
        assert_int_equal(out.len, 0);
    buf_done(&out);
}

static void write_object(void)
{
    struct buf out;
    enum json_problem problem;

    buf_init(&out, SIZE_MAX);
    problem = json_from_msgpack(object_msgpack, &out, NULL);
    assert_int_equal(problem, starve_has_failed() ? JSON_MEMORY : JSON_OK);
    if (problem == JSON_OK)
        assert_true(span_is_str(buf_span(&out), object));
    buf_done(&out);
}

static void check_object(void)
{
    enum json_problem problem = json_check_msgpack(object_msgpack, &JSON_DEFAULT_LIMITS, NULL);

    assert_int_equal(problem, starve_has_failed() ? JSON_MEMORY : JSON_OK);
}

static void json_says_that_memory_is_missing(void **state)
{
    (void)state;
    assert_in_range(starve_every(read_object), 5, 50);
    assert_in_range(starve_every(write_object), 5, 50);
    assert_in_range(starve_every(check_object), 1, 50);
}

/* ---- a request's body ---- */

static void read_body(void)
{
    static const enum body_form forms[] = {BODY_JSON, BODY_MSGPACK};

    for (size_t i = 0; i < JM_COUNT_OF(forms); i++) {
        struct span body = forms[i] == BODY_JSON ? span_of_str(object) : object_msgpack;
        struct span value;
        struct fault fault = {0};
        struct buf scratch;
        int rc;

        buf_init(&scratch, SIZE_MAX);
        rc = body_read(forms[i], body, &scratch, &value, &fault);
        if (rc != 0) {
            assert_true(starve_has_failed());
            assert_int_equal(rc, JM_ENOMEM);
            assert_int_equal(fault.error, JM_ENOMEM);
        }
        buf_done(&scratch);
    }
}

static void write_body(void)
{
    struct fault fault = {0};
    struct buf out;
    int rc;

    buf_init(&out, SIZE_MAX);
    rc = body_write(BODY_JSON, object_msgpack, &out, &fault);
    assert_int_equal(rc, starve_has_failed() ? JM_ENOMEM : 0);
    buf_done(&out);
    buf_init(&out, SIZE_MAX);
    rc = body_write(BODY_MSGPACK, object_msgpack, &out, &fault);
    if (rc != 0)
        assert_int_equal(rc, JM_ENOMEM);
    buf_done(&out);
}

static void a_body_is_never_called_wrong_or_too_large_for_it(void **state)
{
    (void)state;
    assert_in_range(starve_every(read_body), 5, 50);
    assert_in_range(starve_every(write_body), 5, 50);
}

/* ---- a task's result ---- */

static int run_echo(struct task_call *call)
{
    task_put_result(call, object_msgpack);
    return 0;
}

static void judge_task(const struct task_call *call)
{
    if (starve_has_failed() && call->outcome != RUN_SUCCEEDED) {
        assert_int_equal(call->outcome, RUN_FAILED);
        assert_string_equal(call->code, errors_code(JM_ENOMEM));
        assert_int_equal(call->retry, WIRE_RETRY_DEFAULT);
    } else {
        assert_int_equal(call->outcome, RUN_SUCCEEDED);
        assert_true(span_is_equal(buf_span(&call->result), object_msgpack));
    }
}

static void run_task(void)
{
    static const struct task task = {.name = "echo", .run = run_echo};
    struct wire_job job = {.task = span_of("echo", 4)};
    struct task_call call;

    run_init(&call);
    run_open(&call, &job, NULL);
    run_native(&call, &task);
    assert_int_equal(call.outcome == RUN_SUCCEEDED, !starve_has_failed());
    judge_task(&call);
    run_done(&call);
}

/* Its arguments come back as its result. */
static void run_cat(void)
{
    struct wire_job job = {.task = span_of("cat", 3), .args = object_msgpack};
    struct task_call call;

    run_init(&call);
    run_open(&call, &job, NULL);
    program_run(&call, "/bin", "cat");
    judge_task(&call);
    run_done(&call);
}

static void a_result_without_memory_is_tried_again(void **state)
{
    (void)state;
    assert_in_range(starve_every(run_task), 1, 10);
    assert_in_range(starve_every(run_cat), 5, 60);
}

/* ---- messages ---- */

static void encode_messages(void)
{
    struct wire_job job = {
        .id = 1, .attempt = 1, .queue = span_of("q", 1), .task = span_of("t", 1)};
    struct wire_event event = {.kind = WIRE_SUCCEEDED, .id = 1, .attempt = 1};
    struct buf out;

    job.args = event.result = object_msgpack;
    buf_init(&out, JM_FRAME_BYTES);
    wire_encode_job(&out, &job);
    assert_int_equal(buf_has_failed(&out), starve_has_failed());
    assert_int_equal(buf_is_starved(&out), starve_has_failed());
    buf_done(&out);
    buf_init(&out, JM_FRAME_BYTES);
    wire_encode_event(&out, &event);
    if (!buf_has_failed(&out))
        assert_int_equal(wire_decode_event(buf_span(&out), &event), 0);
    buf_done(&out);
}

static void a_message_is_whole_or_none(void **state)
{
    (void)state;
    assert_in_range(starve_every(encode_messages), 2, 50);
}

/* ---- the command line ---- */

static void refuse_words(void)
{
    static const struct opt opts[] = {{"n", 0, OPT_U64, 0, "1", 0, 9, .help = "A number."}};
    static const struct opt_program program = {.name = "starved",
                                               .usage = "",
                                               .summary = "",
                                               .version = "0",
                                               .opts = opts,
                                               .opt_count = 1};
    char *argv[] = {(char[]){"starved"}, (char[]){"--n=12"}, NULL};
    uint64_t n = 0;
    struct opt_rest rest;
    struct buf text;

    buf_init(&text, 65536);
    assert_int_equal(opt_parse(&program, 2, argv, &n, &rest, &text), OPT_REFUSED);
    assert_int_equal(buf_is_starved(&text), starve_has_failed());
    buf_done(&text);
    assert_int_equal(opt_start(&program, 2, argv, &n, &rest), 2);
    opt_done(&rest);
}

static void a_wrong_command_line_is_refused_in_any_case(void **state)
{
    (void)state;
    assert_in_range(starve_every(refuse_words), 1, 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_says_that_memory_is_missing),
        cmocka_unit_test(a_body_is_never_called_wrong_or_too_large_for_it),
        cmocka_unit_test(a_result_without_memory_is_tried_again),
        cmocka_unit_test(a_message_is_whole_or_none),
        cmocka_unit_test(a_wrong_command_line_is_refused_in_any_case),
    };
    int failed;

    make_object();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(object);
    free((void *)(uintptr_t)object_msgpack.data);
    return failed;
}
