/*
 * library.c: a program on libjobmill that goes on after every error, for the torture script: each
 * call comes back with a success that is true or with an error that has a sentence.
 */
#include <stdio.h>
#include <string.h>

#include "client/jobmill.h"

static int wrong;

static void expect(int is_true, const char *what)
{
    if (is_true)
        return;
    printf("not true: %s\n", what);
    wrong = 1;
}

/* True after a success; an error must have words. */
static int is_done(struct jobmill *mill, int error, const char *what)
{
    if (error == 0)
        return 1;
    expect(error < 0, what);
    expect(jobmill_error_text(mill)[0] != '\0', what);
    expect(strcmp(jobmill_error_code(mill), "ok") != 0, what);
    return 0;
}

static void submit_and_read(struct jobmill *mill)
{
    struct jobmill_submit_options options = {
        .size = sizeof(options), .task = "echo", .args_json = "[1,\"two\"]", .wait_ms = 10000};
    struct jobmill_job *job = NULL, *again = NULL;
    struct jobmill_value *value = NULL;

    if (!is_done(mill, jobmill_submit(mill, &options, &job), "submit"))
        return;
    expect(jobmill_job_id(job) != NULL, "a job has an id");
    if (is_done(mill, jobmill_wait(mill, jobmill_job_id(job), 10000, &again), "wait"))
        expect(jobmill_job_is_finished(again) == 1, "the wait is for the end");
    jobmill_job_free(again);
    if (is_done(mill, jobmill_result(mill, jobmill_job_id(job), &value), "result"))
        expect(value != NULL, "there is a result");
    jobmill_value_free(value);
    jobmill_job_free(job);
}

static void list(struct jobmill *mill)
{
    struct jobmill_list_options options = {.size = sizeof(options), .limit = 4};
    struct jobmill_page *page = NULL;

    if (is_done(mill, jobmill_list(mill, &options, &page), "list"))
        expect(jobmill_page_count(page) > 0, "a page has jobs");
    jobmill_page_free(page);
}

enum { ITEMS = 3 };

struct batch {
    int given;
    uint64_t answered;
};

static int give_next(void *context, struct jobmill_submit_options *ret_options)
{
    struct batch *batch = context;

    *ret_options = (struct jobmill_submit_options){.size = sizeof(*ret_options), .task = "noop"};
    return batch->given++ < ITEMS;
}

static void take_answer(void *context, uint64_t index, struct jobmill_answer *answer)
{
    struct batch *batch = context;

    expect(index == batch->answered, "answers are in order");
    batch->answered++;
    expect((jobmill_answer_error(answer) == 0) == (jobmill_answer_id(answer) != NULL),
           "an answer has an id or an error");
}

static void submit_batch(struct jobmill *mill)
{
    struct batch batch = {0, 0};
    struct jobmill_batch_options options = {
        .size = sizeof(options), .next = give_next, .on_answer = take_answer, .context = &batch};

    if (is_done(mill, jobmill_batch(mill, &options, NULL), "batch"))
        expect(batch.answered == ITEMS, "every item is answered");
}

int main(int argc, char **argv)
{
    struct jobmill_options options = {.size = sizeof(options), .url = argc > 1 ? argv[1] : NULL};
    struct jobmill *mill = NULL;

    if (jobmill_open(&options, &mill) == 0) {
        submit_and_read(mill);
        list(mill);
        submit_batch(mill);
    } else {
        expect(mill == NULL, "a handle that is not open is not given");
    }
    jobmill_close(mill);
    return wrong;
}
