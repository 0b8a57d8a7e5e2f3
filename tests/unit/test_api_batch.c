/*
 * The flow of a batch (api_batch.c) with everything around it turned by hand.
 */
#pragma GCC diagnostic ignored "-Wunused-function" /* of api_world.h not all is used */
#include "tests/unit/api_world.h"

#define LINES "Content-Type: application/x-ndjson"
#define GOOD "{\"task\":\"echo\"}\n"
#define BAD "{\"task\":1}\n"

/* ---- */

static void open_batch(struct world *w, struct shot *s)
{
    ask(w, s, HTTP_POST, "/v1/jobs/batch", LINES, NULL);
    assert_true(s->ruling.streams);
}

static size_t feed(struct world *w, struct shot *s, const char *text)
{
    const struct http_handler *handler = api_handler(&w->api);

    return handler->on_body(handler->owner, &s->x, span_of_str(text));
}

static void end(struct world *w, struct shot *s)
{
    const struct http_handler *handler = api_handler(&w->api);

    handler->on_end(handler->owner, &s->x, NULL);
}

/* The pieces of a body that has `count` good items. */
static char *many(size_t count)
{
    char *text = calloc(count, sizeof(GOOD));

    assert_non_null(text);
    for (size_t i = 0; i < count; i++)
        memcpy(text + i * (sizeof(GOOD) - 1), GOOD, sizeof(GOOD) - 1);
    return text;
}

static size_t count_words(const struct shot *s, const char *words)
{
    const uint8_t *at = s->x.body_out.data;
    size_t left = s->x.body_out.len;
    size_t count = 0;
    const uint8_t *found;

    while (left > 0 && (found = memmem(at, left, words, strlen(words))) != NULL) {
        left -= (size_t)(found + strlen(words) - at);
        at = found + strlen(words);
        count++;
    }
    return count;
}

static size_t in_flight(struct world *w)
{
    size_t count = 0;

    LIST_EACH(node, &w->ops)
    if (LIST_ENTRY(node, struct store_op, link)->kind == STORE_SUBMIT)
        count++;
    return count;
}

/* ---- tests ---- */

static void answers_come_in_the_order_of_the_items(void **state)
{
    struct world *w = *state;
    struct shot s;

    open_batch(w, &s);
    assert_int_equal(feed(w, &s, BAD GOOD BAD GOOD), strlen(BAD GOOD BAD GOOD));
    assert_int_equal(count_words(&s, "bad_field"), 1); /* the second waits for what is before it */
    assert_int_equal(in_flight(w), 2);
    end(w, &s);
    check_open(&s);
    run_ops(w, 0);
    assert_int_equal(count_words(&s, "\"state\":\"queued\""), 2);
    assert_int_equal(count_words(&s, "bad_field"), 2);
    check(&s, 200, "");
}

static void what_the_store_refuses_is_told_of_each(void **state)
{
    struct world *w = *state;
    struct shot s;

    open_batch(w, &s);
    feed(w, &s, GOOD GOOD);
    run_ops(w, JM_EFULL);
    feed(w, &s, GOOD);
    run_ops(w, 0);
    assert_int_equal(count_words(&s, "storage_full"), 2);
    assert_int_equal(count_words(&s, "\"id\""), 1);
    end(w, &s);
    check(&s, 200, "");
}

static void no_more_is_taken_than_may_be_in_flight(void **state)
{
    struct world *w = *state;
    char *text = many(JM_BATCH_IN_FLIGHT + 500);
    size_t used;
    struct shot s;

    open_batch(w, &s);
    used = feed(w, &s, text);
    assert_int_equal(used, JM_BATCH_IN_FLIGHT * strlen(GOOD));
    assert_int_equal(in_flight(w), JM_BATCH_IN_FLIGHT);
    assert_int_equal(feed(w, &s, text + used), 0);
    s.x.is_paused = true;
    run_ops(w, 0);
    assert_false(s.x.is_paused);
    assert_int_equal(feed(w, &s, text + used), 500 * strlen(GOOD));
    end(w, &s);
    run_ops(w, 0);
    assert_int_equal(count_words(&s, "\"id\""), JM_BATCH_IN_FLIGHT + 500);
    check(&s, 200, "");
    free(text);
}

static void batches_share_what_may_be_in_flight(void **state)
{
    struct world *w = *state;
    char *text = many(JM_BATCH_IN_FLIGHT);
    struct shot s[4];

    for (size_t i = 0; i < 4; i++)
        open_batch(w, &s[i]);
    for (size_t i = 0; i < 4; i++)
        feed(w, &s[i], text);
    assert_int_equal(in_flight(w), JM_BATCH_IN_FLIGHT);
    for (size_t i = 0; i < 4; i++)
        end(w, &s[i]);
    run_ops(w, 0);
    for (size_t i = 0; i < 4; i++)
        check(&s[i], 200, "");
    free(text);
}

/* A piece of a body may hold thousands of them, and none waits for the disk. */
static void refused_items_leave_others_their_turn(void **state)
{
    struct world *w = *state;
    char text[600 * (sizeof(BAD) - 1) + 1];
    size_t used[2] = {0}, len = sizeof(text) - 1;
    struct shot s[2];

    for (size_t i = 0; i < 600; i++)
        memcpy(text + i * strlen(BAD), BAD, sizeof(BAD));
    for (size_t i = 0; i < 2; i++)
        open_batch(w, &s[i]);
    for (int turns = 0; used[0] < len || used[1] < len; turns++) {
        for (size_t i = 0; i < 2; i++) {
            size_t n = feed(w, &s[i], text + used[i]);

            assert_in_range(n, 1, 130 * strlen(BAD));
            used[i] += n;
            s[i].x.is_paused = used[i] < len;
            assert_int_equal(count_words(&s[i], "bad_field"), used[i] / strlen(BAD));
        }
        assert_in_range(turns, 0, 6);
        pass_time(w, 1);
        assert_false(s[0].x.is_paused || s[1].x.is_paused);
    }
    for (size_t i = 0; i < 2; i++) {
        end(w, &s[i]);
        check(&s[i], 200, "");
    }
}

static void large_items_pause_sooner(void **state)
{
    struct world *w = *state;
    char *text = calloc(1, 10 << 20);
    size_t len = 0;
    size_t used;
    struct shot s;

    assert_non_null(text);
    for (int i = 0; i < 10; i++) {
        len += (size_t)sprintf(text + len, "{\"task\":\"echo\",\"args\":\"");
        memset(text + len, 'x', 1000000);
        len += 1000000;
        len += (size_t)sprintf(text + len, "\"}\n");
    }
    open_batch(w, &s);
    used = feed(w, &s, text);
    assert_in_range(in_flight(w), 4, 6);
    s.x.is_paused = true;
    run_ops(w, 0);
    assert_false(s.x.is_paused);
    used += feed(w, &s, text + used);
    run_ops(w, 0);
    used += feed(w, &s, text + used);
    assert_int_equal(used, len);
    run_ops(w, 0);
    end(w, &s);
    check(&s, 200, "");
    free(text);
}

static void it_waits_while_the_submits_of_others_take_all_the_room(void **state)
{
    struct world *w = *state;
    struct shot s;

    open_batch(w, &s);
    w->core.submits = JM_SUBMITS;
    assert_int_equal(feed(w, &s, GOOD), 0);
    s.x.is_paused = true;
    pass_time(w, 1000);
    assert_true(s.x.is_paused);
    w->core.submits = 0;
    w->core.submits_bytes = JM_SUBMITS_BYTES;
    pass_time(w, 1000);
    assert_true(s.x.is_paused);
    w->core.submits_bytes = 0;
    pass_time(w, 1000);
    assert_false(s.x.is_paused);
    assert_int_equal(feed(w, &s, GOOD), strlen(GOOD));
    end(w, &s);
    run_ops(w, 0);
    check(&s, 200, "\"id\"");
}

static void an_item_has_the_limit_of_a_body(void **state)
{
    struct world *w = *state;
    struct shot s;

    w->api.conf.max_item_bytes = strlen(GOOD) - 1;
    open_batch(w, &s);
    feed(w, &s, GOOD "{\"task\":\"echo2\"}\n");
    end(w, &s);
    run_ops(w, 0);
    assert_int_equal(count_words(&s, "\"id\""), 1);
    check(&s, 200, "body_too_large");
}

static void one_batch_too_many_is_refused(void **state)
{
    struct world *w = *state;
    static struct shot s[JM_BATCHES];
    struct shot other;

    for (size_t i = 0; i < JM_BATCHES; i++)
        open_batch(w, &s[i]);
    open_batch(w, &other);
    check(&other, 503, "batches");
    for (size_t i = 0; i < JM_BATCHES; i++) {
        end(w, &s[i]);
        check(&s[i], 200, "");
    }
    open_batch(w, &other);
    end(w, &other);
    check(&other, 200, "");
}

static void a_batch_counts_until_its_answer_is_read(void **state)
{
    struct world *w = *state;
    struct shot s;

    open_batch(w, &s);
    s.is_unread = true;
    feed(w, &s, GOOD);
    end(w, &s);
    run_ops(w, 0);
    check(&s, 200, "\"id\"");
    assert_int_equal(w->api.batch_count, 1);
    s.x.on_released(s.x.released_owner);
    assert_int_equal(w->api.batch_count, 0);
}

static void each_whole_item_buys_time(void **state)
{
    struct world *w = *state;
    struct shot s;

    open_batch(w, &s);
    feed(w, &s, "\n\n \n{\"task\"");
    assert_int_equal(s.renewals, 0);
    feed(w, &s, ":\"echo\"}\n");
    assert_int_equal(s.renewals, 1);
    feed(w, &s, BAD);
    assert_int_equal(s.renewals, 2);
    end(w, &s);
    run_ops(w, 0);
    check(&s, 200, "\"id\"");
}

static void white_space_without_end_is_refused(void **state)
{
    struct world *w = *state;
    char lines[JM_BATCH_GAP_BYTES + 2];
    struct shot s;

    memset(lines, '\n', sizeof(lines) - 1);
    lines[sizeof(lines) - 1] = '\0';
    open_batch(w, &s);
    feed(w, &s, GOOD);
    feed(w, &s, lines);
    end(w, &s);
    run_ops(w, 0);
    assert_int_equal(count_words(&s, "bad_json"), 1);
    check(&s, 200, "\"limit\":65536");
}

static void a_client_that_goes_leaves_what_is_in_flight_to_its_end(void **state)
{
    struct world *w = *state;
    struct shot s;

    open_batch(w, &s);
    feed(w, &s, GOOD GOOD "{\"task\"");
    leave(w, &s);
    check_open(&s);
    run_ops(w, 0);
    check(&s, 200, "");
    open_batch(w, &s);
    leave(w, &s);
    check(&s, 0, "");
}

static void a_client_that_half_closes_behind_the_end_gets_its_answer(void **state)
{
    struct world *w = *state;
    struct shot s;

    open_batch(w, &s);
    feed(w, &s, GOOD "{\"task\":\"echo\"}");
    end(w, &s);
    leave(w, &s);
    check_open(&s);
    run_ops(w, 0);
    assert_int_equal(count_words(&s, "\"id\""), 2);
    check(&s, 200, "");
}

static void a_broken_body_is_a_problem_only_before_the_first_item(void **state)
{
    struct world *w = *state;
    const struct http_handler *handler = api_handler(&w->api);
    const struct problem broken = {.error = JM_ETIMEOUT, .detail = span_of_str("too slow")};
    struct shot s;

    open_batch(w, &s);
    feed(w, &s, "{\"ta");
    handler->on_end(handler->owner, &s.x, &broken);
    check(&s, 408, "too slow");
    open_batch(w, &s);
    feed(w, &s, GOOD);
    handler->on_end(handler->owner, &s.x, &broken);
    check_open(&s);
    run_ops(w, 0);
    check(&s, 200, "\"id\"");
}

static void behind_a_bad_array_the_rest_is_thrown_away(void **state)
{
    struct world *w = *state;
    struct shot s;

    ask(w, &s, HTTP_POST, "/v1/jobs/batch", "Content-Type: application/json", NULL);
    feed(w, &s, "[{\"task\":\"echo\"} {");
    assert_int_equal(feed(w, &s, "whatever"), strlen("whatever"));
    assert_int_equal(in_flight(w), 1);
    run_ops(w, 0);
    check_open(&s); /* many clients read only when they have sent all */
    end(w, &s);
    check(&s, 200, "{\"error\":{\"code\":\"bad_json\"");
}

static void a_stop_tells_where_it_was(void **state)
{
    struct world *w = *state;
    struct shot s;
    struct shot idle;

    open_batch(w, &s);
    feed(w, &s, GOOD);
    open_batch(w, &idle);
    api_stop(&w->api, w, note_stopped);
    check(&idle, 503, "shutting down");
    pass_time(w, 0);
    assert_false(w->has_stopped);
    assert_int_equal(feed(w, &s, GOOD), strlen(GOOD)); /* nobody takes it */
    run_ops(w, 0);
    assert_int_equal(count_words(&s, "\"id\""), 1);
    check(&s, 200, "shutting_down");
}

/* ---- atomic ---- */

static void open_atomic(struct world *w, struct shot *s)
{
    w->api.conf.store.path = "jobs.db"; /* for its directory */
    ask(w, s, HTTP_POST, "/v1/jobs/batch?atomic=true", LINES, NULL);
}

static size_t commits(struct world *w)
{
    size_t count = 0;

    LIST_EACH(node, &w->ops)
    count += LIST_ENTRY(node, struct store_op, link)->kind == STORE_SUBMIT_ALL;
    return count;
}

/* Up to the one commit. */
static void bring_to_commit(struct world *w, struct shot *s)
{
    open_atomic(w, s);
    feed(w, s, GOOD GOOD);
    assert_int_equal(commits(w), 0);
    end(w, s);
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0); /* it is written to the file */
    assert_int_equal(commits(w), 1);
    check_open(s);
}

static size_t waiting(struct world *w)
{
    return queues_find(&w->core.queues, span_of_str("default"))->submits_queued;
}

static void an_atomic_batch_is_answered_behind_its_commit(void **state)
{
    struct world *w = *state;
    struct shot s;

    bring_to_commit(w, &s);
    assert_int_equal(waiting(w), 2);
    run_ops(w, 0);
    assert_int_equal(waiting(w), 0);
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0); /* the answer is written by the pool */
    assert_int_equal(count_words(&s, "\"id\""), 2);
    check(&s, 200, "");
}

static void without_room_on_the_disk_the_whole_is_a_problem(void **state)
{
    struct world *w = *state;
    struct shot s;

    bring_to_commit(w, &s);
    run_ops(w, JM_EFULL);
    assert_int_equal(waiting(w), 0);
    check(&s, 507, "nothing was stored");
    bring_to_commit(w, &s);
    run_ops(w, JM_EIO);
    check(&s, 500, "nothing of the batch");
}

static void with_a_bad_item_nothing_is_committed(void **state)
{
    struct world *w = *state;
    struct shot s;

    open_atomic(w, &s);
    feed(w, &s, GOOD BAD GOOD);
    end(w, &s);
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(commits(w), 0);
    assert_int_equal(count_words(&s, "batch_refused"), 2);
    check(&s, 422, "bad_field");
}

static void a_client_that_goes_before_the_end_takes_the_batch_with_it(void **state)
{
    struct world *w = *state;
    struct shot s;

    open_atomic(w, &s);
    feed(w, &s, GOOD);
    leave(w, &s);
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(commits(w), 0);
    check(&s, 0, "");
}

/* What is with the store cannot be called back. */
static void behind_the_end_it_is_committed_whoever_goes(void **state)
{
    struct world *w = *state;
    struct shot s;

    bring_to_commit(w, &s);
    leave(w, &s);
    api_stop(&w->api, w, note_stopped);
    check_open(&s);
    run_ops(w, 0);
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
    check(&s, 200, "\"id\"");
}

static void a_stop_before_the_end_refuses_it(void **state)
{
    struct world *w = *state;
    struct shot s;

    open_atomic(w, &s);
    feed(w, &s, GOOD);
    api_stop(&w->api, w, note_stopped);
    check(&s, 503, "shutting down");
}

static void atomic_batches_have_a_room_together(void **state)
{
    struct world *w = *state;
    struct shot s[2];

    open_atomic(w, &s[0]);
    feed(w, &s[0], GOOD);
    assert_in_range(w->api.spool_bytes, 1, 4096);
    w->api.spool_bytes += JM_BATCH_SPOOLS_BYTES;
    open_atomic(w, &s[1]);
    feed(w, &s[1], GOOD GOOD);
    end(w, &s[1]);
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
    assert_non_null(strstr(s[1].headers, "Retry-After: 1"));
    check(&s[1], 503, "1073741824 bytes");
    w->api.spool_bytes -= JM_BATCH_SPOOLS_BYTES;
    feed(w, &s[0], BAD GOOD);
    assert_int_equal(w->api.spool_bytes, 0); /* it will not be stored */
    end(w, &s[0]);
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
    check(&s[0], 422, "bad_field");
    assert_int_equal(w->api.spool_bytes, 0);
}

static void without_a_file_there_is_no_atomic_batch(void **state)
{
    struct world *w = *state;
    struct shot s;

    w->api.conf.store.path = "no-such-directory/jobs.db";
    ask(w, &s, HTTP_POST, "/v1/jobs/batch?atomic=true", LINES, NULL);
    check(&s, 500, "temporary file");
}

#define BATCH_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BATCH_TEST(answers_come_in_the_order_of_the_items),
        BATCH_TEST(what_the_store_refuses_is_told_of_each),
        BATCH_TEST(no_more_is_taken_than_may_be_in_flight),
        BATCH_TEST(batches_share_what_may_be_in_flight),
        BATCH_TEST(refused_items_leave_others_their_turn),
        BATCH_TEST(large_items_pause_sooner),
        BATCH_TEST(it_waits_while_the_submits_of_others_take_all_the_room),
        BATCH_TEST(an_item_has_the_limit_of_a_body),
        BATCH_TEST(one_batch_too_many_is_refused),
        BATCH_TEST(a_batch_counts_until_its_answer_is_read),
        BATCH_TEST(each_whole_item_buys_time),
        BATCH_TEST(white_space_without_end_is_refused),
        BATCH_TEST(atomic_batches_have_a_room_together),
        BATCH_TEST(a_client_that_goes_leaves_what_is_in_flight_to_its_end),
        BATCH_TEST(a_client_that_half_closes_behind_the_end_gets_its_answer),
        BATCH_TEST(a_broken_body_is_a_problem_only_before_the_first_item),
        BATCH_TEST(behind_a_bad_array_the_rest_is_thrown_away),
        BATCH_TEST(a_stop_tells_where_it_was),
        BATCH_TEST(an_atomic_batch_is_answered_behind_its_commit),
        BATCH_TEST(without_room_on_the_disk_the_whole_is_a_problem),
        BATCH_TEST(with_a_bad_item_nothing_is_committed),
        BATCH_TEST(a_client_that_goes_before_the_end_takes_the_batch_with_it),
        BATCH_TEST(behind_the_end_it_is_committed_whoever_goes),
        BATCH_TEST(a_stop_before_the_end_refuses_it),
        BATCH_TEST(without_a_file_there_is_no_atomic_batch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
