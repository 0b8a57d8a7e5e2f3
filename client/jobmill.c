/*
 * The handle. The functions that talk to a broker are in the files beside this one; each builds a
 * target and perhaps a body, and reads what jobmill_call makes of the answer.
 */
#include <stdlib.h>

#include "client/jobmill.h"
#include "client/jobmill_call.h"
#include "client/options.h"
#include "schema/errors.h"

enum {
    CONNECT_TIMEOUT_MS = 5000,
    REQUEST_TIMEOUT_MS = 30000,
    RETRY_MS = 5000,
    ANSWER_BYTES = 64 << 20,
};

const char *jobmill_version(void)
{
    return JM_VERSION;
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

    if (!options_copy(&own, sizeof(own), sizeof(own), options))
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
