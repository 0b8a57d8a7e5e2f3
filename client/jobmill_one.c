/*
 * The functions of jobmill.h about one job, from its submit to its deletion.
 */
#include "client/jobmill_call.h"
#include "client/jobmill_job.h"
#include "client/options.h"
#include "client/submission.h"
#include "client/target.h"
#include "lib/clock.h"
#include "schema/errors.h"
#include "schema/limits.h"

enum {
    WAIT_SLICE_MS = 30000, /* of a long wait, so that a broker that vanished is noticed */
    EARLY_PAUSE_MS = 50,   /* when a broker ends a wait before its time */
    HEADER_BYTES = 256,
};

/* "/v1/jobs/ID" and `rest`. An empty id would name the list. */
static int start_target(struct jobmill *mill, const char *id, const char *rest, struct buf *target)
{
    if (id == NULL || *id == '\0')
        return jobmill_error_set(&mill->failure, JM_EINVAL, "a job id is missing");
    target_init(target, "/v1/jobs/");
    target_put_encoded(target, id);
    buf_put_str(target, rest);
    return 0;
}

/* ---- submit ---- */

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
        jobmill_job_move_submit(job, newer);
        jobmill_job_free(job);
        job = newer;
    }
    jobmill_error_clear(&mill->failure);
    *ret_job = job;
    return 0;
}

static int note_headers(struct jobmill *mill, struct jobmill_job **job)
{
    char replaced[HEADER_BYTES], warning[HEADER_BYTES], replayed[HEADER_BYTES];
    int error;

    transport_get_header(&mill->transport, "Jobmill-Replaced", replaced, sizeof(replaced));
    transport_get_header(&mill->transport, "Jobmill-Warning", warning, sizeof(warning));
    transport_get_header(&mill->transport, "Idempotency-Replayed", replayed, sizeof(replayed));
    error = jobmill_job_note_submit(*job, replaced, warning, replayed);
    if (error == 0)
        return 0;
    jobmill_job_free(*job);
    *job = NULL;
    return jobmill_error_set(&mill->failure, error, "out of memory");
}

/* The first request, which waits for at most as long as a broker lets anyone wait. */
static int submit(struct jobmill *mill, const struct jobmill_submit_options *options,
                  struct jobmill_job **ret_job)
{
    int64_t wait_ms = clamp_wait(options->wait_ms, JM_WAIT_LIMIT_S * 1000);
    struct buf body, target;
    int error;

    buf_init(&body, SIZE_MAX);
    error = submission_encode(options, NULL, &body, &mill->failure);
    if (error == 0) {
        target_init(&target, "/v1/jobs");
        target_put_wait(&target, wait_ms);
        error = jobmill_call_for_job(
            mill, "POST", &target,
            &(struct transport_request){.body = buf_span(&body),
                                        .has_body = true,
                                        .idempotency_key = options->idempotency_key,
                                        .wait_ms = wait_ms},
            ret_job);
    }
    buf_done(&body);
    return error != 0 ? error : note_headers(mill, ret_job);
}

int jobmill_submit(struct jobmill *mill, const struct jobmill_submit_options *options,
                   struct jobmill_job **ret_job)
{
    struct jobmill_submit_options own = {0};
    struct jobmill_job *job = NULL;
    int64_t start_ms = (int64_t)clock_mono_ms(clock_real());
    int error;

    if (!options_copy(&own, sizeof(own), OPTIONS_FIRST(jobmill_submit_options, priority), options))
        return jobmill_call_refuse_newer(mill);
    error = submit(mill, &own, &job);
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

/* ---- asking and waiting ---- */

static int get(struct jobmill *mill, const char *id, int64_t wait_ms, struct jobmill_job **ret_job)
{
    struct buf target;
    int error = start_target(mill, id, "", &target);

    if (error != 0)
        return error;
    target_put_wait(&target, wait_ms);
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

int jobmill_result(struct jobmill *mill, const char *id, struct jobmill_value **ret_value)
{
    struct buf target;
    int error = start_target(mill, id, "/result", &target);

    return error != 0 ? error : jobmill_call_for_value(mill, "GET", &target, NULL, ret_value);
}

int jobmill_explain(struct jobmill *mill, const char *id, struct jobmill_value **ret_value)
{
    struct buf target;
    int error = start_target(mill, id, "/explain", &target);

    return error != 0 ? error : jobmill_call_for_value(mill, "GET", &target, NULL, ret_value);
}

/* ---- changing ---- */

int jobmill_cancel(struct jobmill *mill, const char *id, struct jobmill_job **ret_job)
{
    struct buf target;
    int error = start_target(mill, id, "/cancel", &target);

    return error != 0 ? error : jobmill_call_for_job(mill, "POST", &target, NULL, ret_job);
}

int jobmill_delete(struct jobmill *mill, const char *id)
{
    struct transport_answer answer;
    struct buf target;
    int error = start_target(mill, id, "", &target);

    if (error == 0)
        error = jobmill_call(mill, "DELETE", &target, NULL, &answer);
    if (error == 0)
        transport_answer_done(&answer);
    return error;
}

int jobmill_retry(struct jobmill *mill, const char *id, struct jobmill_job **ret_job)
{
    struct buf target;
    int error = start_target(mill, id, "/retry", &target);

    return error != 0 ? error : jobmill_call_for_job(mill, "POST", &target, NULL, ret_job);
}

int jobmill_patch(struct jobmill *mill, const char *id, const struct jobmill_patch_options *options,
                  struct jobmill_job **ret_job)
{
    struct jobmill_patch_options own = {0};
    struct buf body, target;
    int error;

    if (!options_copy(&own, sizeof(own), sizeof(own), options))
        return jobmill_call_refuse_newer(mill);
    buf_init(&body, SIZE_MAX);
    error = submission_encode_patch(&own, &body, &mill->failure);
    if (error == 0)
        error = start_target(mill, id, "", &target);
    if (error == 0)
        error = jobmill_call_for_job(
            mill, "PATCH", &target,
            &(struct transport_request){.body = buf_span(&body), .has_body = true}, ret_job);
    buf_done(&body);
    return error;
}
