/*
 * The functions of jobmill.h that talk to a broker: each builds a target and perhaps a body, and
 * reads what jobmill_call makes of the answer.
 */
#include <stdlib.h>
#include <string.h>

#include "client/jobmill.h"
#include "client/jobmill_call.h"
#include "client/jobmill_job.h"
#include "client/submission.h"
#include "lib/clock.h"
#include "schema/errors.h"
#include "schema/limits.h"

enum {
    CONNECT_TIMEOUT_MS = 5000,
    REQUEST_TIMEOUT_MS = 30000,
    RETRY_MS = 5000,
    ANSWER_BYTES = 64 << 20,
    TARGET_BYTES = 64 << 10,
    WAIT_SLICE_MS = 30000, /* of a long wait, so that a broker that vanished is noticed */
    EARLY_PAUSE_MS = 50,   /* when a broker ends a wait before its time */
};

const char *jobmill_version(void)
{
    return JM_VERSION;
}

/* ---- options ---- */

/* Copies the caller's struct, which may be shorter (older) or longer (newer) than ours. What a
 * newer one has set beyond our end is something that we cannot do: false. The member `size` stands
 * first in each of them. */
static bool copy_options(void *own, size_t own_size, const void *theirs)
{
    size_t size;

    if (theirs == NULL)
        return true;
    memcpy(&size, theirs, sizeof(size));
    if (size == 0)
        size = own_size; /* the first version is still the only one */
    for (size_t i = own_size; i < size; i++)
        if (((const unsigned char *)theirs)[i] != 0)
            return false;
    memcpy(own, theirs, size < own_size ? size : own_size);
    return true;
}

static int64_t or_default(int64_t value, int64_t fallback)
{
    return value > 0 ? value : fallback;
}

int jobmill_open(const struct jobmill_options *options, struct jobmill **ret_mill)
{
    struct jobmill_options own = {0};
    struct jobmill *mill;
    int error;

    if (!copy_options(&own, sizeof(own), options))
        return JOBMILL_EINVAL;
    mill = calloc(1, sizeof(*mill));
    if (mill == NULL)
        return JOBMILL_ENOMEM;
    jobmill_error_clear(&mill->failure);
    error = transport_init(
        &mill->transport,
        &(struct transport_options){
            .url = own.url != NULL ? own.url : "http://127.0.0.1:7878",
            .connect_timeout_ms = or_default(own.connect_timeout_ms, CONNECT_TIMEOUT_MS),
            .request_timeout_ms = or_default(own.request_timeout_ms, REQUEST_TIMEOUT_MS),
            .retry_ms = own.retry_ms != 0 ? own.retry_ms : RETRY_MS,
            .max_answer_bytes = own.max_answer_bytes != 0 ? own.max_answer_bytes : ANSWER_BYTES,
        });
    if (error != 0) {
        free(mill);
        return jobmill_error_from_schema(error);
    }
    *ret_mill = mill;
    return 0;
}

void jobmill_close(struct jobmill *mill)
{
    if (mill == NULL)
        return;
    transport_done(&mill->transport);
    free(mill);
}

void jobmill_set_retry_ms(struct jobmill *mill, int64_t retry_ms)
{
    mill->transport.retry_ms = retry_ms;
}

const char *jobmill_error_text(const struct jobmill *mill)
{
    return mill->failure.text;
}

const char *jobmill_error_code(const struct jobmill *mill)
{
    return mill->failure.code;
}

int jobmill_error_http_status(const struct jobmill *mill)
{
    return mill->failure.http_status;
}

/* ---- targets ---- */

static void start_target(struct buf *target, const char *path)
{
    buf_init(target, TARGET_BYTES);
    buf_put_str(target, path);
}

/* "/v1/jobs/ID" and `rest`. An empty id would name the list. */
static int start_job_target(struct jobmill *mill, const char *id, const char *rest,
                            struct buf *target)
{
    if (id == NULL || *id == '\0')
        return jobmill_error_set(&mill->failure, JM_EINVAL, "a job id is missing");
    start_target(target, "/v1/jobs/");
    submission_put_encoded(target, id);
    buf_put_str(target, rest);
    return 0;
}

static void add_parameter(struct buf *target, char *separator, const char *name, const char *value)
{
    if (value == NULL)
        return;
    buf_printf(target, "%c%s=", *separator, name);
    submission_put_encoded(target, value);
    *separator = '&';
}

/* ---- the calls ---- */

static int64_t clamp_wait(int64_t wait_ms, int64_t most_ms)
{
    return wait_ms < 0 || wait_ms > most_ms ? most_ms : wait_ms;
}

/* Goes on waiting for a job that came back unfinished; takes it, and frees it when a newer one is
 * there. A failure of the wait loses nothing that was promised: the job is submitted. */
static int wait_further(struct jobmill *mill, int64_t wait_ms, struct jobmill_job *job,
                        struct jobmill_job **ret_job)
{
    struct jobmill_job *newer = NULL;

    if (wait_ms != 0 && jobmill_wait(mill, jobmill_job_id(job), wait_ms, &newer) == 0) {
        jobmill_job_free(job);
        job = newer;
    }
    jobmill_error_clear(&mill->failure);
    *ret_job = job;
    return 0;
}

int jobmill_submit(struct jobmill *mill, const struct jobmill_submit_options *options,
                   struct jobmill_job **ret_job)
{
    struct jobmill_submit_options own = {0};
    struct jobmill_job *job = NULL;
    struct buf body, target;
    int64_t first_ms, start_ms = (int64_t)clock_mono_ms(clock_real());
    int error;

    if (!copy_options(&own, sizeof(own), options))
        return jobmill_error_set(&mill->failure, JM_EINVAL,
                                 "an option is newer than this library, " JM_VERSION);
    buf_init(&body, SIZE_MAX);
    error = submission_encode(&own, &body, &mill->failure);
    if (error == 0) {
        first_ms = clamp_wait(own.wait_ms, JM_WAIT_LIMIT_S * 1000);
        start_target(&target, "/v1/jobs");
        submission_put_wait(&target, '?', first_ms);
        error =
            jobmill_call_for_job(mill, "POST", &target,
                                 &(struct transport_request){.body = buf_span(&body),
                                                             .has_body = true,
                                                             .idempotency_key = own.idempotency_key,
                                                             .wait_ms = first_ms},
                                 &job);
    }
    buf_done(&body);
    if (error != 0)
        return error;
    if (own.wait_ms > 0) {
        own.wait_ms -= (int64_t)clock_mono_ms(clock_real()) - start_ms;
        own.wait_ms = own.wait_ms > 0 ? own.wait_ms : 0;
    }
    if (jobmill_job_is_finished(job))
        own.wait_ms = 0;
    return wait_further(mill, own.wait_ms, job, ret_job);
}

static int get(struct jobmill *mill, const char *id, int64_t wait_ms, struct jobmill_job **ret_job)
{
    struct buf target;
    int error = start_job_target(mill, id, "", &target);

    if (error != 0)
        return error;
    submission_put_wait(&target, '?', wait_ms);
    return jobmill_call_for_job(mill, "GET", &target,
                                &(struct transport_request){.wait_ms = wait_ms}, ret_job);
}

int jobmill_get(struct jobmill *mill, const char *id, struct jobmill_job **ret_job)
{
    return get(mill, id, 0, ret_job);
}

int jobmill_wait(struct jobmill *mill, const char *id, int64_t timeout_ms,
                 struct jobmill_job **ret_job)
{
    struct clock *clock = clock_real();
    int64_t end_ms = (int64_t)clock_mono_ms(clock) + timeout_ms;

    for (;;) {
        int64_t begin_ms = (int64_t)clock_mono_ms(clock), now_ms, slice_ms;
        int64_t left_ms = timeout_ms < 0 ? INT64_MAX : end_ms - begin_ms;
        struct jobmill_job *job = NULL;
        int error;

        slice_ms = clamp_wait(left_ms < 0 ? 0 : left_ms, WAIT_SLICE_MS);
        error = get(mill, id, slice_ms, &job);
        if (error != 0)
            return error;
        now_ms = (int64_t)clock_mono_ms(clock);
        if (jobmill_job_is_finished(job) || (timeout_ms >= 0 && now_ms >= end_ms)) {
            *ret_job = job;
            return 0;
        }
        jobmill_job_free(job);
        if (now_ms - begin_ms < slice_ms)
            transport_sleep_ms(clamp_wait(begin_ms + slice_ms - now_ms, EARLY_PAUSE_MS));
    }
}

int jobmill_cancel(struct jobmill *mill, const char *id, struct jobmill_job **ret_job)
{
    struct buf target;
    int error = start_job_target(mill, id, "/cancel", &target);

    return error != 0 ? error : jobmill_call_for_job(mill, "POST", &target, NULL, ret_job);
}

int jobmill_delete(struct jobmill *mill, const char *id)
{
    struct transport_answer answer;
    struct buf target;
    int error = start_job_target(mill, id, "", &target);

    if (error == 0)
        error = jobmill_call(mill, "DELETE", &target, NULL, &answer);
    if (error == 0)
        transport_answer_done(&answer);
    return error;
}

int jobmill_result(struct jobmill *mill, const char *id, struct jobmill_value **ret_value)
{
    struct buf target;
    int error = start_job_target(mill, id, "/result", &target);

    return error != 0 ? error : jobmill_call_for_value(mill, &target, ret_value);
}

int jobmill_list(struct jobmill *mill, const struct jobmill_list_options *options,
                 struct jobmill_page **ret_page)
{
    struct jobmill_list_options own = {0};
    struct transport_answer answer;
    struct buf target;
    char separator = '?';
    int error;

    if (!copy_options(&own, sizeof(own), options))
        return jobmill_error_set(&mill->failure, JM_EINVAL,
                                 "an option is newer than this library, " JM_VERSION);
    start_target(&target, "/v1/jobs");
    add_parameter(&target, &separator, "state", own.state);
    add_parameter(&target, &separator, "queue", own.queue);
    add_parameter(&target, &separator, "task", own.task);
    add_parameter(&target, &separator, "cursor", own.cursor);
    if (own.limit > 0)
        buf_printf(&target, "%climit=%u", separator, own.limit);
    error = jobmill_call(mill, "GET", &target, NULL, &answer);
    if (error != 0)
        return error;
    error = jobmill_page_parse(buf_span(&answer.body), answer.body.data, ret_page);
    if (error == 0)
        return 0;
    transport_answer_done(&answer);
    return jobmill_error_set(&mill->failure, error, "%s: not a list of jobs", errors_title(error));
}

static int get_value(struct jobmill *mill, const char *path, struct jobmill_value **ret_value)
{
    struct buf target;

    start_target(&target, path);
    return jobmill_call_for_value(mill, &target, ret_value);
}

int jobmill_queues(struct jobmill *mill, struct jobmill_value **ret_value)
{
    return get_value(mill, "/v1/queues", ret_value);
}

int jobmill_workers(struct jobmill *mill, struct jobmill_value **ret_value)
{
    return get_value(mill, "/v1/workers", ret_value);
}

int jobmill_tasks(struct jobmill *mill, struct jobmill_value **ret_value)
{
    return get_value(mill, "/v1/tasks", ret_value);
}
