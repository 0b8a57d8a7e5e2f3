/*
 * jobmill_batch against a scripted server: items out, answers in, and all the ways to stop between.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <cmocka.h>

#include "client/jobmill.h"
#include "lib/attr.h"
#include "tests/unit/scripted_http.h"

#define MSGPACK "application/msgpack"
#define NDJSON "application/x-ndjson"
#define PROBLEM "application/problem+json"
#define STORED "\x82\xa2id\xa2" /* two characters of an id, then … */
#define QUEUED "\xa5state\xa6queued"
#define REFUSED     \
    "\x81\xa5"      \
    "error\x82\xa4" \
    "code\xa9"      \
    "bad_field\xa6" \
    "detail\xa3"    \
    "why"

enum { ITEMS = 3 };

struct fixture {
    struct scripted_http server;
    struct jobmill *mill;
    struct jobmill_batch_options options;
    size_t next;         /* item to be given */
    bool is_late;        /* each says so once, before it comes */
    bool is_asked_again; /* after that */
    bool is_slow;        /* each but the first takes longer than items are gathered */
    size_t give_up_at;   /* 0: never */
    size_t wrong_at;     /* 0: nowhere */
    const char *lines;   /* what is left to be read */
    char answers[1024];  /* "0:01 1:bad_field …" */
    uint64_t refused;
};

static int next(void *context, struct jobmill_submit_options *ret_options)
{
    static const char *const tasks[ITEMS] = {"a", "b", "c"};
    struct fixture *f = context;

    if (f->next == ITEMS)
        return 0;
    if (f->is_slow && f->next > 0)
        (void)nanosleep(&(struct timespec){.tv_nsec = 250000000}, NULL);
    if (f->is_late && !f->is_asked_again) {
        f->is_asked_again = true;
        return JOBMILL_BATCH_LATER;
    }
    f->is_asked_again = false;
    *ret_options = (struct jobmill_submit_options){.size = sizeof(*ret_options),
                                                   .task = tasks[f->next],
                                                   .idempotency_key = f->next == 1 ? "k" : NULL};
    f->next++;
    if (f->next == f->wrong_at)
        ret_options->args_json = "{";
    return f->next == f->give_up_at ? -1 : 1;
}

/* A few bytes at a time, so that lines are cut anywhere. */
static int64_t read_lines(void *context, char *bytes, size_t room)
{
    struct fixture *f = context;
    size_t len = strnlen(f->lines, room < 5 ? room : 5);

    f->is_asked_again = f->is_late && !f->is_asked_again;
    if (f->is_asked_again)
        return JOBMILL_BATCH_LATER;
    memcpy(bytes, f->lines, len);
    f->lines += len;
    return (int64_t)len;
}

static void on_answer(void *context, uint64_t index, struct jobmill_answer *answer)
{
    struct fixture *f = context;
    size_t len = strlen(f->answers);
    const char *id = jobmill_answer_id(answer);

    snprintf(f->answers + len, sizeof(f->answers) - len, "%d:%s ", (int)index,
             id != NULL ? id : jobmill_answer_error_code(answer));
    if (id != NULL) {
        assert_int_equal(jobmill_answer_error(answer), 0);
        assert_string_equal(jobmill_answer_error_text(answer), "");
    } else if (strcmp(jobmill_answer_error_code(answer), "bad_field") == 0) {
        assert_int_equal(jobmill_answer_error(answer), JOBMILL_EFIELD);
        assert_string_equal(jobmill_answer_error_text(answer), "why");
        assert_non_null(strstr(jobmill_value_json(jobmill_answer_value(answer)), "bad_field"));
    }
}

static void open_mill(struct fixture *f, int64_t timeout_ms, const struct scripted_step *steps,
                      size_t count)
{
    struct jobmill_options options = {.request_timeout_ms = timeout_ms, .retry_ms = 2000};

    memset(f, 0, sizeof(*f));
    memcpy(f->server.steps, steps, count * sizeof(steps[0]));
    scripted_start(&f->server);
    options.url = f->server.url;
    assert_int_equal(jobmill_open(&options, &f->mill), 0);
    f->options = (struct jobmill_batch_options){
        .size = sizeof(f->options), .next = next, .on_answer = on_answer, .context = f};
    f->refused = 77;
}

#define OPEN(f, ...)                                       \
    open_mill(f, 0, (struct scripted_step[]){__VA_ARGS__}, \
              sizeof((struct scripted_step[]){__VA_ARGS__}) / sizeof(struct scripted_step))

static void close_mill(struct fixture *f)
{
    jobmill_close(f->mill);
    scripted_stop(&f->server);
}

static int run(struct fixture *f)
{
    return jobmill_batch(f->mill, &f->options, &f->refused);
}

static void use_lines(struct fixture *f, const char *lines)
{
    f->options.next = NULL;
    f->options.read = read_lines;
    f->lines = lines;
}

/* The chunks of a request's body, put together. */
static void get_body(struct fixture *f, char *ret_body, size_t size)
{
    const char *at = strstr(f->server.requests[0], "\r\n\r\n") + 4;
    size_t len = 0;

    for (;;) {
        char *data;
        size_t chunk = strtoul(at, &data, 16);

        if (chunk == 0)
            break;
        assert_true(len + chunk < size);
        memcpy(ret_body + len, data + 2, chunk);
        len += chunk;
        at = data + 2 + chunk + 2;
    }
    ret_body[len] = '\0';
}

/* ---- what goes well ---- */

static void items_go_as_msgpack_and_each_is_answered_in_order(void **state)
{
    static const enum scripted_kind ways[] = {SCRIPTED_ANSWER, SCRIPTED_DRIP};

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(ways); i++) {
        struct fixture f;
        char body[256];

        OPEN(&f, {.kind = ways[i],
                  .status = 200,
                  .type = MSGPACK,
                  .body = STORED "01" QUEUED REFUSED STORED "03" QUEUED});
        assert_int_equal(run(&f), 0);
        assert_int_equal(f.refused, 1);
        assert_string_equal(f.answers, "0:01 1:bad_field 2:03 ");
        assert_ptr_equal(strstr(f.server.requests[0], "POST /v1/jobs/batch HTTP/1.1\r\n"),
                         f.server.requests[0]);
        assert_non_null(strstr(f.server.requests[0], "Content-Type: " MSGPACK "\r\n"));
        assert_non_null(strstr(f.server.requests[0], "Accept: " MSGPACK ","));
        get_body(&f, body, sizeof(body));
        assert_string_equal(body, "\x81\xa4task\xa1"
                                  "a\x82\xa4task\xa1"
                                  "b\xafidempotency_key\xa1k\x81\xa4task\xa1"
                                  "c");
        close_mill(&f);
    }
}

static void lines_go_as_they_are_and_come_back_as_lines(void **state)
{
    static const char lines[] = "{\"task\":\"a\"}\n\nnot JSON\r\n{\"task\":\"c\"}";
    static const enum scripted_kind ways[] = {SCRIPTED_ANSWER, SCRIPTED_DRIP};

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(ways); i++) {
        struct fixture f;
        char body[256];

        OPEN(&f, {.kind = ways[i],
                  .status = 200,
                  .type = NDJSON "; charset=utf-8",
                  .body = "{\"id\":\"01\",\"error\":null}\r\n\n"
                          "{\"error\":{\"code\":\"bad_field\",\"detail\":\"why\"}}\n"
                          "{\"id\":\"03\"}"});
        use_lines(&f, lines);
        assert_int_equal(run(&f), 0);
        assert_int_equal(f.refused, 1);
        assert_string_equal(f.answers, "0:01 1:bad_field 2:03 ");
        assert_non_null(strstr(f.server.requests[0], "Content-Type: " NDJSON "\r\n"));
        get_body(&f, body, sizeof(body));
        assert_string_equal(body, lines);
        close_mill(&f);
    }
}

static void check_unique(void *context, uint64_t index, struct jobmill_answer *answer)
{
    (void)context;
    assert_int_equal(jobmill_answer_is_existing(answer), index == 0);
    assert_int_equal(jobmill_answer_is_replay(answer), index == 1);
    if (index == 2)
        assert_string_equal(jobmill_answer_replaced(answer), "02");
    else
        assert_null(jobmill_answer_replaced(answer));
}

static void an_answer_tells_of_earlier_jobs(void **state)
{
    struct fixture f;

    (void)state;
    OPEN(&f, {.kind = SCRIPTED_ANSWER,
              .status = 200,
              .type = NDJSON,
              .body = "{\"id\":\"01\",\"is_existing\":true}\n{\"id\":\"02\",\"is_replay\":true}\n"
                      "{\"id\":\"03\",\"replaced\":\"02\"}\n"});
    use_lines(&f, "{}\n{}\n{}\n");
    f.options.on_answer = check_unique;
    assert_int_equal(run(&f), 0);
    close_mill(&f);
}

/* The chunks of the request, but for the one of nothing that ends it. */
static size_t count_chunks(struct fixture *f)
{
    const char *at = strstr(f->server.requests[0], "\r\n\r\n") + 4;
    size_t chunk, count = 0;

    for (char *data; (chunk = strtoul(at, &data, 16)) > 0; count++)
        at = data + 2 + chunk + 2;
    return count;
}

static void items_go_together_unless_they_come_slowly(void **state)
{
    (void)state;
    for (int is_slow = 0; is_slow <= 1; is_slow++) {
        struct fixture f;

        OPEN(&f, {.kind = SCRIPTED_ANSWER,
                  .status = 200,
                  .type = MSGPACK,
                  .body = STORED "01" QUEUED STORED "02" QUEUED STORED "03" QUEUED});
        f.is_slow = is_slow == 1;
        assert_int_equal(run(&f), 0);
        if (is_slow)
            assert_in_range(count_chunks(&f), 2, 3);
        else
            assert_int_equal(count_chunks(&f), 1);
        close_mill(&f);
    }
}

static void what_is_not_there_yet_is_asked_for_again(void **state)
{
    struct fixture f;

    (void)state;
    OPEN(&f, {.kind = SCRIPTED_ANSWER,
              .status = 200,
              .type = MSGPACK,
              .body = STORED "01" QUEUED STORED "02" QUEUED STORED "03" QUEUED});
    f.is_late = true;
    assert_int_equal(run(&f), 0);
    assert_int_equal(count_chunks(&f), 3);
    close_mill(&f);
    OPEN(&f, {.kind = SCRIPTED_ANSWER,
              .status = 200,
              .type = NDJSON,
              .body = "{\"id\":\"01\"}\n{\"id\":\"02\"}\n"});
    use_lines(&f, "{}\n{}\n");
    f.is_late = true;
    assert_int_equal(run(&f), 0);
    assert_string_equal(f.answers, "0:01 1:02 ");
    close_mill(&f);
}

static void a_handle_does_other_things_after_a_batch(void **state)
{
    struct jobmill_submit_options submit = {.task = "t"};
    struct jobmill_job *job = NULL;
    struct fixture f;

    (void)state;
    OPEN(&f, {.kind = SCRIPTED_ANSWER, .status = 200, .type = NDJSON, .body = ""},
         {.kind = SCRIPTED_ANSWER,
          .status = 201,
          .type = "application/json",
          .body = "{\"id\":\"1\",\"task\":\"t\",\"queue\":\"q\",\"state\":\"queued\"}"});
    use_lines(&f, "");
    assert_int_equal(run(&f), 0);
    assert_int_equal(f.refused, 0);
    assert_int_equal(jobmill_submit(f.mill, &submit, &job), 0);
    assert_null(strstr(f.server.requests[1], "chunked"));
    assert_non_null(strstr(f.server.requests[1], "Content-Length: 8\r\n"));
    jobmill_job_free(job);
    close_mill(&f);
}

/* ---- what does not ---- */

static void an_atomic_batch_is_refused_as_a_whole(void **state)
{
    struct fixture f;

    (void)state;
    OPEN(&f, {.kind = SCRIPTED_ANSWER, .status = 422, .type = MSGPACK, .body = REFUSED REFUSED});
    f.options.is_atomic = 1;
    assert_int_equal(run(&f), JOBMILL_EBATCHREFUSED);
    assert_string_equal(jobmill_error_code(f.mill), "batch_refused");
    assert_int_equal(jobmill_error_http_status(f.mill), 422);
    assert_string_equal(f.answers, "0:bad_field 1:bad_field ");
    assert_int_equal(f.refused, 77);
    assert_non_null(strstr(f.server.requests[0], "POST /v1/jobs/batch?atomic=true "));
    close_mill(&f);
}

static void a_problem_is_the_whole_answer(void **state)
{
    struct fixture f;

    (void)state;
    OPEN(&f, {.kind = SCRIPTED_ANSWER,
              .status = 503,
              .type = PROBLEM,
              .body = "{\"code\":\"shutting_down\",\"detail\":\"soon\"}"});
    assert_int_equal(run(&f), JOBMILL_ESHUTDOWN);
    assert_string_equal(jobmill_error_text(f.mill), "soon");
    assert_string_equal(f.answers, "");
    close_mill(&f);
}

static void a_batch_that_breaks_is_not_repeated_and_keeps_its_answers(void **state)
{
    struct fixture f;

    (void)state;
    OPEN(&f, {.kind = SCRIPTED_HALF,
              .status = 200,
              .type = NDJSON,
              .body = "{\"id\":\"01\"}\n{\"id\":\"02\",\"some\":\"more bytes than before\"}"});
    use_lines(&f, "{}\n{}\n");
    assert_int_equal(run(&f), JOBMILL_EFATE);
    assert_string_equal(f.answers, "0:01 ");
    assert_int_equal(atomic_load(&f.server.count), 1);
    close_mill(&f);
}

#define ENDED(code) "{\"id\":\"01\"}\n{\"error\":{\"code\":\"" code "\",\"detail\":\"so it is\"}}\n"

static void a_batch_that_the_broker_ends_is_no_success(void **state)
{
    static const struct {
        const char *body;
        int error;
        const char *text;
    } ends[] = {
        {ENDED("batch_too_large"), JOBMILL_EBATCHSIZE, "ended the batch: so it is"},
        {ENDED("shutting_down"), JOBMILL_ESHUTDOWN, "ended the batch: so it is"},
        {"{\"id\":\"01\"}\n{\"id\":\"02\"}", JOBMILL_EFATE, "ended after 2 answers"},
        {"", JOBMILL_EFATE, "ended after 0 answers"},
        {"{\"id\":\"1\"}\n{\"id\":\"2\"}\n{\"id\":\"3\"}\n{\"id\":\"4\"}\n", JOBMILL_EANSWER,
         "more answers than items"},
    };

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(ends); i++) {
        struct fixture f;

        OPEN(&f, {.kind = SCRIPTED_ANSWER, .status = 200, .type = NDJSON, .body = ends[i].body});
        use_lines(&f, "{}\n \r\n{}\n\n\t{}");
        assert_int_equal(run(&f), ends[i].error);
        assert_non_null(strstr(jobmill_error_text(f.mill), ends[i].text));
        assert_int_equal(f.refused, 77);
        assert_int_equal(atomic_load(&f.server.count), 1);
        close_mill(&f);
    }
}

#define PADDING "                                                                              "

static void what_breaks_behind_the_last_answer_is_of_no_matter(void **state)
{
    static const struct {
        const char *lines;
        const char *body;
        int error;
        int refused;
    } breaks[] = {
        {"{}\n{}\n", "{\"id\":\"01\"}\n{\"id\":\"02\"}\n" PADDING, 0, 0},
        {"{}\n{}\n", ENDED("shutting_down") PADDING, 0, 1},
        {"{}\n{}\n{}\n", ENDED("shutting_down") PADDING, JOBMILL_ESHUTDOWN, 77},
        {"{}\n{}\n{}\n", "{\"id\":\"01\"}\n{\"id\":\"02\"}\n" PADDING, JOBMILL_EFATE, 77},
    };

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(breaks); i++) {
        struct fixture f;

        OPEN(&f, {.kind = SCRIPTED_HALF, .status = 200, .type = NDJSON, .body = breaks[i].body});
        use_lines(&f, breaks[i].lines);
        assert_int_equal(run(&f), breaks[i].error);
        assert_int_equal(f.refused, breaks[i].refused);
        if (breaks[i].error == 0)
            assert_string_equal(jobmill_error_text(f.mill), "");
        close_mill(&f);
    }
}

static void items_of_next_are_counted_too(void **state)
{
    struct fixture f;

    (void)state;
    OPEN(&f, {.kind = SCRIPTED_ANSWER, .status = 200, .type = MSGPACK, .body = STORED "01" QUEUED});
    assert_int_equal(run(&f), JOBMILL_EFATE);
    assert_string_equal(f.answers, "0:01 ");
    close_mill(&f);
}

static void a_caller_can_give_up(void **state)
{
    struct fixture f;

    (void)state;
    OPEN(&f, {.kind = SCRIPTED_END});
    f.give_up_at = 2;
    assert_int_equal(run(&f), JOBMILL_EFATE);
    assert_non_null(strstr(jobmill_error_text(f.mill), "given up"));
    close_mill(&f);
}

static void an_item_that_cannot_be_sent_ends_the_batch_by_number(void **state)
{
    struct fixture f;

    (void)state;
    OPEN(&f, {.kind = SCRIPTED_END});
    f.wrong_at = 2;
    assert_int_equal(run(&f), JOBMILL_EINVAL);
    assert_non_null(strstr(jobmill_error_text(f.mill), "item 1: args, at byte 1: "));
    close_mill(&f);
}

static void answers_that_are_none_are_told_so(void **state)
{
    static const struct scripted_step wrong[] = {
        {SCRIPTED_ANSWER, 200, MSGPACK, "\x93"},
        {SCRIPTED_ANSWER, 200, MSGPACK, "\x01"},
        {SCRIPTED_ANSWER, 200, MSGPACK, "\x81\xa1x\x01"},
        {SCRIPTED_ANSWER, 200, MSGPACK, "\xc1"},
        {SCRIPTED_ANSWER, 200, "text/html", "<html>"},
        {SCRIPTED_ANSWER, 200, NDJSON, "{\"id\":\"1\"}\n"}, /* not what was sent */
    };

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(wrong); i++) {
        struct fixture f;

        OPEN(&f, wrong[i]);
        assert_int_equal(run(&f), JOBMILL_EANSWER);
        assert_string_equal(jobmill_error_code(f.mill), "bad_answer");
        assert_int_equal(f.refused, 77);
        close_mill(&f);
    }
}

static void lines_that_are_none_are_told_so(void **state)
{
    static const char *const wrong[] = {"{\n", "{}\n", "{\"id\":\"1\"}\n[", "{\"id\":1}"};

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(wrong); i++) {
        struct fixture f;

        OPEN(&f, {.kind = SCRIPTED_ANSWER, .status = 200, .type = NDJSON, .body = wrong[i]});
        use_lines(&f, "{}");
        assert_int_equal(run(&f), JOBMILL_EANSWER);
        close_mill(&f);
    }
}

static void a_batch_that_does_not_move_is_given_up(void **state)
{
    struct scripted_step silent = {.kind = SCRIPTED_SILENT};
    struct fixture f;

    (void)state;
    open_mill(&f, 50, &silent, 1);
    assert_int_equal(run(&f), JOBMILL_EFATE);
    assert_int_equal(atomic_load(&f.server.count), 1);
    close_mill(&f);
}

static void a_batch_has_one_source(void **state)
{
    struct fixture f;

    (void)state;
    OPEN(&f, {.kind = SCRIPTED_END});
    f.options.read = read_lines;
    assert_int_equal(run(&f), JOBMILL_EINVAL);
    f.options.read = NULL;
    f.options.next = NULL;
    assert_int_equal(run(&f), JOBMILL_EINVAL);
    assert_int_equal(atomic_load(&f.server.connections), 0);
    close_mill(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_go_as_msgpack_and_each_is_answered_in_order),
        cmocka_unit_test(lines_go_as_they_are_and_come_back_as_lines),
        cmocka_unit_test(an_answer_tells_of_earlier_jobs),
        cmocka_unit_test(items_go_together_unless_they_come_slowly),
        cmocka_unit_test(what_is_not_there_yet_is_asked_for_again),
        cmocka_unit_test(a_handle_does_other_things_after_a_batch),
        cmocka_unit_test(an_atomic_batch_is_refused_as_a_whole),
        cmocka_unit_test(a_problem_is_the_whole_answer),
        cmocka_unit_test(a_batch_that_breaks_is_not_repeated_and_keeps_its_answers),
        cmocka_unit_test(a_batch_that_the_broker_ends_is_no_success),
        cmocka_unit_test(what_breaks_behind_the_last_answer_is_of_no_matter),
        cmocka_unit_test(items_of_next_are_counted_too),
        cmocka_unit_test(a_caller_can_give_up),
        cmocka_unit_test(an_item_that_cannot_be_sent_ends_the_batch_by_number),
        cmocka_unit_test(answers_that_are_none_are_told_so),
        cmocka_unit_test(lines_that_are_none_are_told_so),
        cmocka_unit_test(a_batch_that_does_not_move_is_given_up),
        cmocka_unit_test(a_batch_has_one_source),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
