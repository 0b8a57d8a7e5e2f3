/*
 * submit.c: submits one job, waits for its end and prints the result.
 *
 *     cc submit.c -ljobmill -o submit
 *     ./submit fib '{"n": 35}'
 *
 * The broker is $JOBMILL_URL, or http://127.0.0.1:7878. Exit status: 0 and the result on stdout, or
 * 1 and a sentence on stderr.
 */
#include <stdio.h>
#include <stdlib.h>

#include "jobmill.h"

/* A key makes the submit safe to repeat when the connection breaks: the broker knows it again. It
 * must be the same for the same intent and different for another, so an application takes it from
 * its own data: "invoice-4711". Without one, a break at the wrong moment is JOBMILL_EFATE. */
static int submit(struct jobmill *mill, int argc, char **argv, struct jobmill_job **ret_job)
{
    struct jobmill_submit_options options = {0};

    options.size = sizeof(options);
    options.task = argv[1];
    options.args_json = argc > 2 ? argv[2] : NULL;
    options.idempotency_key = argc > 3 ? argv[3] : NULL;
    options.wait_ms = 30000;
    return jobmill_submit(mill, &options, ret_job);
}

/* The job came back: is it done, and well? */
static int print_end(struct jobmill_job *job)
{
    switch (jobmill_job_state(job)) {
    case JOBMILL_SUCCEEDED:
        puts(jobmill_value_json(jobmill_job_result(job)));
        return 0;
    case JOBMILL_FAILED:
        fprintf(stderr, "%s failed: %s\n", jobmill_job_id(job), jobmill_job_error_message(job));
        return 1;
    default:
        fprintf(stderr, "%s is %s\n", jobmill_job_id(job), jobmill_job_state_name(job));
        return 1;
    }
}

int main(int argc, char **argv)
{
    struct jobmill_options options = {0};
    struct jobmill *mill = NULL;
    struct jobmill_job *job = NULL;
    int error, status = 1;

    if (argc < 2) {
        fprintf(stderr, "usage: submit TASK [ARGS-AS-JSON [IDEMPOTENCY-KEY]]\n");
        return 1;
    }
    options.size = sizeof(options);
    options.url = getenv("JOBMILL_URL");
    error = jobmill_open(&options, &mill);
    if (error != 0) {
        fprintf(stderr, "cannot use %s: %s\n", options.url, jobmill_error_title(error));
        return 1;
    }
    error = submit(mill, argc, argv, &job);
    if (error == 0)
        status = print_end(job);
    else
        fprintf(stderr, "error %d (%s): %s\n", error, jobmill_error_code(mill),
                jobmill_error_text(mill));
    jobmill_job_free(job);
    jobmill_close(mill);
    return status;
}
