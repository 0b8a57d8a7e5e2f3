/*
 * Any msgpack value as what libjobmill reads from a broker: a job, a page of jobs, the answer to an
 * item of a batch. What is taken is asked for everything, so that each byte that it points to is
 * read.
 */
#include <stdlib.h>
#include <string.h>

#include "client/jobmill_answer.h"
#include "client/jobmill_job.h"
#include "lib/mp.h"
#include "tests/fuzz/mutate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void read_text(const char *text)
{
    require(text == NULL || strlen(text) < SIZE_MAX);
}

static void ask_attempts(const struct jobmill_job *job)
{
    size_t count = jobmill_job_history_count(job);

    require(jobmill_job_history(job, count) == NULL);
    for (size_t i = 0; i < count; i++) {
        const struct jobmill_attempt *attempt = jobmill_job_history(job, i);

        require(jobmill_attempt_number(attempt) >= -1 && jobmill_attempt_run_us(attempt) >= -1);
        read_text(jobmill_attempt_outcome(attempt));
        read_text(jobmill_attempt_error_message(attempt));
    }
}

static void ask_job(struct jobmill_job *job)
{
    require(jobmill_job_id(job) != NULL && jobmill_job_state_name(job) != NULL);
    require(jobmill_job_priority(job) >= -1 && jobmill_job_attempt(job) >= -1);
    require(jobmill_job_progress_done(job) >= -1 && jobmill_job_progress_total(job) >= -1);
    read_text(jobmill_job_error_message(job));
    read_text(jobmill_job_progress_message(job));
    read_text(jobmill_job_replaced(job));
    read_text(jobmill_value_json(jobmill_job_args(job)));
    read_text(jobmill_value_json(jobmill_job_result(job)));
    read_text(jobmill_value_json(jobmill_job_value(job)));
    ask_attempts(job);
}

static void try_job(struct span input)
{
    struct jobmill_job *job = NULL;

    if (jobmill_job_parse(input, NULL, &job) == 0)
        ask_job(job);
    jobmill_job_free(job);
}

static void try_page(struct span input)
{
    struct jobmill_page *page = NULL;

    if (jobmill_page_parse(input, NULL, &page) == 0) {
        for (size_t i = 0; i < jobmill_page_count(page); i++)
            ask_job(jobmill_page_job(page, i));
        read_text(jobmill_page_next_cursor(page));
    }
    jobmill_page_free(page);
}

static void try_answer(struct span input)
{
    struct jobmill_answer answer;

    if (jobmill_answer_parse(input, &answer) == 0) {
        require((jobmill_answer_error(&answer) == 0) ==
                (strcmp(jobmill_answer_error_code(&answer), "ok") == 0));
        require(jobmill_answer_error(&answer) != 0 || jobmill_answer_id(&answer) != NULL);
        read_text(jobmill_answer_error_text(&answer));
        read_text(jobmill_value_json(jobmill_answer_value(&answer)));
    }
    jobmill_answer_done(&answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span value;
    struct mp_cursor c;

    mp_open(&c, span_of(data, size));
    if (!mp_skip(&c, JOBMILL_VALUE_DEPTH, &value) || !mp_is_at_end(&c))
        return 0;
    try_job(value);
    try_page(value);
    try_answer(value);
    return 0;
}
