/*
 * The broker's codes and the library's public numbers meet in one table. The numbers in schema/
 * may move when a row is added there; those in jobmill.h never do.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "client/jobmill.h"
#include "client/jobmill_error.h"
#include "lib/mp.h"
#include "schema/errors.h"

static const struct {
    int public_error;
    int schema_error;
} pairs[] = {
    {JOBMILL_EINVAL, JM_EINVAL},
    {JOBMILL_ENOMEM, JM_ENOMEM},
    {JOBMILL_ECONNECT, JM_ECONNECT},
    {JOBMILL_EFATE, JM_EFATE},
    {JOBMILL_ETIMEDOUT, JM_ETIMEDOUT},
    {JOBMILL_EANSWER, JM_EANSWER},
    {JOBMILL_ELIMIT, JM_ELIMIT},
    {JOBMILL_EREFUSED, JM_EREQUEST},
    {JOBMILL_EBROKER, JM_EINTERNAL},
    {JOBMILL_ENOJOB, JM_ENOJOB},
    {JOBMILL_ENOJOB, JM_EID},
    {JOBMILL_ENOTFINISHED, JM_ENOTFINISHED},
    {JOBMILL_EFINISHED, JM_EFINISHED},
    {JOBMILL_ENORESULT, JM_ENORESULT},
    {JOBMILL_EFIELD, JM_EFIELD},
    {JOBMILL_EUNKNOWNFIELD, JM_EUNKNOWNFIELD},
    {JOBMILL_EMISSING, JM_EMISSING},
    {JOBMILL_EIDEMPOTENCY, JM_EIDEMPOTENCY},
    {JOBMILL_EBODYSIZE, JM_EBODYSIZE},
    {JOBMILL_EBUSYWAIT, JM_EBUSYWAIT},
    {JOBMILL_EOVERLOAD, JM_EOVERLOAD},
    {JOBMILL_ESHUTDOWN, JM_ESHUTDOWN},
    {JOBMILL_EFULL, JM_EFULL},
    {JOBMILL_ERUNNING, JM_ERUNNING},
    {JOBMILL_EUNIQUE, JM_EUNIQUE},
    {JOBMILL_EQUEUEFULL, JM_EQUEUEFULL},
    {JOBMILL_EBATCHSIZE, JM_EBATCHSIZE},
    {JOBMILL_EBATCHREFUSED, JM_EBATCH},
    {JOBMILL_ENOQUEUE, JM_ENOQUEUE},
    {JOBMILL_ENOTASK, JM_ENOTASK},
    {JOBMILL_ENOFILTER, JM_ENOFILTER},
};

static int by_status(int http_status)
{
    return http_status >= 500 ? JOBMILL_EBROKER : JOBMILL_EREFUSED;
}

int jobmill_error_from_schema(int error)
{
    if (error == 0)
        return JOBMILL_OK;
    for (size_t i = 0; i < JM_COUNT_OF(pairs); i++)
        if (pairs[i].schema_error == error)
            return pairs[i].public_error;
    return by_status(errors_http_status(error));
}

const char *jobmill_error_title(int error)
{
    if (error == JOBMILL_OK)
        return errors_title(0);
    if (error == JOBMILL_EREFUSED)
        return "The broker refused the request";
    for (size_t i = 0; i < JM_COUNT_OF(pairs); i++)
        if (pairs[i].public_error == error)
            return errors_title(pairs[i].schema_error);
    return errors_title(JM_EINTERNAL);
}

void jobmill_error_clear(struct jobmill_failure *failure)
{
    *failure = (struct jobmill_failure){.code = "ok"};
}

int jobmill_error_set(struct jobmill_failure *failure, int error, const char *fmt, ...)
{
    va_list args;

    jobmill_error_clear(failure);
    failure->error = jobmill_error_from_schema(error);
    snprintf(failure->code, sizeof(failure->code), "%s", errors_code(error));
    va_start(args, fmt);
    vsnprintf(failure->text, sizeof(failure->text), fmt, args);
    va_end(args);
    return failure->error;
}

struct problem {
    struct span code, title, detail, field;
};

/* Members that are not text, or that are not ours, are stepped over. */
static void read_problem(struct span bytes, struct problem *ret_problem)
{
    struct mp_cursor c;
    uint32_t count;

    mp_open(&c, bytes);
    if (!mp_next_map(&c, &count))
        return;
    while (count-- > 0) {
        struct span name, value, text;
        struct mp_cursor inner;

        if (!mp_next_str(&c, &name) || !mp_skip(&c, 16, &value))
            return;
        mp_open(&inner, value);
        if (!mp_next_str(&inner, &text))
            continue;
        if (span_is_str(name, "code"))
            ret_problem->code = text;
        else if (span_is_str(name, "title"))
            ret_problem->title = text;
        else if (span_is_str(name, "detail"))
            ret_problem->detail = text;
        else if (span_is_str(name, "field"))
            ret_problem->field = text;
    }
}

int jobmill_error_set_problem(struct jobmill_failure *failure, int http_status, struct span problem)
{
    struct problem p = {0};
    struct span words;
    int known;

    jobmill_error_clear(failure);
    read_problem(problem, &p);
    words = p.detail.len > 0 ? p.detail : p.title;
    failure->http_status = http_status;
    if (p.code.len > 0 && p.code.len < sizeof(failure->code)) {
        memcpy(failure->code, p.code.data, p.code.len);
        failure->code[p.code.len] = '\0';
    } else {
        snprintf(failure->code, sizeof(failure->code), "http_%d", http_status);
    }
    known = errors_parse_code(failure->code);
    failure->error = known != 0 ? jobmill_error_from_schema(known) : by_status(http_status);
    if (words.len == 0)
        words = span_of_str(jobmill_error_title(failure->error));
    snprintf(failure->text, sizeof(failure->text), "%.*s", (int)words.len,
             (const char *)words.data);
    return failure->error;
}
