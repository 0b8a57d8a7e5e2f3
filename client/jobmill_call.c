#include <string.h>

#include "client/jobmill_call.h"
#include "client/jobmill_job.h"
#include "client/jobmill_value.h"
#include "lib/json.h"
#include "lib/mp.h"
#include "schema/errors.h"

int jobmill_call_refuse_newer(struct jobmill *mill)
{
    return jobmill_error_set(&mill->failure, JM_EINVAL,
                             "an option is newer than this library, " JM_VERSION);
}

static bool is_one_msgpack_value(struct span bytes)
{
    struct mp_cursor c;
    struct span value;

    mp_open(&c, bytes);
    return mp_skip(&c, JOBMILL_VALUE_DEPTH, &value) && mp_is_at_end(&c);
}

/* Makes the answer's body msgpack, whichever of the two forms it came in. */
static bool normalise(struct transport_answer *answer)
{
    struct json_limits limits = {.max_depth = JOBMILL_VALUE_DEPTH, .max_members = UINT32_MAX};
    struct buf msgpack;
    bool is_json = strcmp(answer->type, "application/json") == 0 ||
                   strcmp(answer->type, "application/problem+json") == 0;

    if (!is_json)
        return (strcmp(answer->type, "application/msgpack") == 0 ||
                strcmp(answer->type, "application/problem+msgpack") == 0) &&
               is_one_msgpack_value(buf_span(&answer->body));
    buf_init(&msgpack, SIZE_MAX);
    if (json_to_msgpack(buf_span(&answer->body), &limits, &msgpack, NULL) != JSON_OK) {
        buf_done(&msgpack);
        return false;
    }
    buf_done(&answer->body);
    answer->body = msgpack;
    return true;
}

static int fail_transport(struct jobmill *mill, int error)
{
    return jobmill_error_set(&mill->failure, error, "%s%s%s", errors_title(error),
                             mill->transport.error[0] != '\0' ? ": " : "", mill->transport.error);
}

/* The items of a stream have been judged; what is left is the whole of an atomic one. */
static int judge_stream(struct jobmill *mill, int status)
{
    int error;

    if (status >= 200 && status < 300)
        return 0;
    error = jobmill_error_set(&mill->failure, JM_EBATCH, "nothing of the batch is stored");
    mill->failure.http_status = status;
    return error;
}

/* What the answer says: success with a value in answer->body (or without, for 204), or a failure.
 */
static int judge_answer(struct jobmill *mill, struct transport_answer *answer)
{
    struct jobmill_failure *failure = &mill->failure;
    int status = (int)answer->status;
    int error;

    if (status == 204)
        return 0;
    if (!normalise(answer)) {
        error = jobmill_error_set(failure, JM_EANSWER,
                                  "the answer (HTTP %d, %zu bytes of \"%s\") is not a jobmill "
                                  "broker's",
                                  status, answer->body.len, answer->type);
        failure->http_status = status;
        return error;
    }
    if (status >= 200 && status < 300)
        return 0;
    return jobmill_error_set_problem(failure, status, buf_span(&answer->body));
}

int jobmill_call(struct jobmill *mill, const char *method, struct buf *target,
                 const struct transport_request *more, struct transport_answer *ret_answer)
{
    struct transport_request request = more != NULL ? *more : (struct transport_request){0};
    int error;

    jobmill_error_clear(&mill->failure);
    transport_answer_init(ret_answer);
    buf_put_u8(target, 0);
    if (buf_has_failed(target)) {
        error = jobmill_error_set(&mill->failure, JM_ELIMIT, "the arguments are too long");
    } else {
        request.method = method;
        request.target = (const char *)target->data;
        error = transport_perform(&mill->transport, &request, ret_answer);
        if (error != 0)
            error = fail_transport(mill, error);
        else if (request.stream != NULL && strcmp(ret_answer->type, request.stream->type) == 0)
            error = judge_stream(mill, (int)ret_answer->status);
        else
            error = judge_answer(mill, ret_answer);
    }
    buf_done(target);
    if (error != 0)
        transport_answer_done(ret_answer);
    return error;
}

int jobmill_call_for_job(struct jobmill *mill, const char *method, struct buf *target,
                         const struct transport_request *more, struct jobmill_job **ret_job)
{
    struct transport_answer answer;
    int error = jobmill_call(mill, method, target, more, &answer);

    if (error != 0)
        return error;
    error = jobmill_job_parse(buf_span(&answer.body), answer.body.data, ret_job);
    if (error == 0)
        return 0;
    transport_answer_done(&answer);
    return jobmill_error_set(&mill->failure, error, "%s: not a job", errors_title(error));
}

int jobmill_call_for_value(struct jobmill *mill, const char *method, struct buf *target,
                           const struct transport_request *more, struct jobmill_value **ret_value)
{
    struct transport_answer answer;
    struct jobmill_value *value;
    int error = jobmill_call(mill, method, target, more, &answer);

    if (error != 0)
        return error;
    value = jobmill_value_new(buf_span(&answer.body), answer.body.data);
    if (value == NULL) {
        transport_answer_done(&answer);
        return jobmill_error_set(&mill->failure, JM_ENOMEM, "out of memory");
    }
    *ret_value = value;
    return 0;
}
