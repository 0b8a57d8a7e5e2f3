/*
 * batch.c: submits many jobs in one request and tells what became of each.
 *
 *     cc batch.c -ljobmill -o batch
 *     ./batch echo 100000
 *
 * The broker is $JOBMILL_URL, or http://127.0.0.1:7878. Prints how many jobs are submitted. Exit
 * status: 0, or 1 and a sentence on stderr for what is not.
 */
#include <stdio.h>
#include <stdlib.h>

#include "jobmill.h"

struct work {
    const char *task;
    unsigned long next; /* number of the job that is submitted next */
    unsigned long count;
    char args[64];
    unsigned long submitted;
};

/* Called for each item when there is room for it. What the options point to must live until the
 * next call: `args` lives in `work`. */
static int next(void *context, struct jobmill_submit_options *ret_options)
{
    struct work *work = context;

    if (work->next == work->count)
        return 0;
    snprintf(work->args, sizeof(work->args), "{\"n\": %lu}", work->next++);
    ret_options->size = sizeof(*ret_options);
    ret_options->task = work->task;
    ret_options->args_json = work->args;
    return 1;
}

/* Called for each answer, in order, while items are still going out. */
static void on_answer(void *context, uint64_t index, struct jobmill_answer *answer)
{
    struct work *work = context;

    if (jobmill_answer_error(answer) == 0)
        work->submitted++;
    else
        fprintf(stderr, "job %lu: %s\n", (unsigned long)index, jobmill_answer_error_text(answer));
}

static int submit_all(struct jobmill *mill, struct work *work)
{
    struct jobmill_batch_options options = {0};
    uint64_t refused = 0;
    int error;

    options.size = sizeof(options);
    options.next = next;
    options.on_answer = on_answer;
    options.context = work;
    error = jobmill_batch(mill, &options, &refused);
    printf("%lu jobs are submitted\n", work->submitted);
    if (error != 0)
        fprintf(stderr, "error %d (%s): %s\n", error, jobmill_error_code(mill),
                jobmill_error_text(mill));
    return error == 0 && refused == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct jobmill_options options = {0};
    struct work work = {0};
    struct jobmill *mill = NULL;
    int status;

    if (argc != 3) {
        fprintf(stderr, "usage: batch TASK COUNT\n");
        return 1;
    }
    work.task = argv[1];
    work.count = strtoul(argv[2], NULL, 10);
    options.size = sizeof(options);
    options.url = getenv("JOBMILL_URL");
    if (jobmill_open(&options, &mill) != 0) {
        fprintf(stderr, "cannot use %s\n", options.url);
        return 1;
    }
    status = submit_all(mill, &work);
    jobmill_close(mill);
    return status;
}
