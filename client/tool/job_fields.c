#include "client/tool/job_fields.h"
#include "client/tool/spec.h"
#include "client/tool/tool.h"

int job_fields_read(const struct job_fields *fields, struct job_fields_parts *ret_parts)
{
    int exit = spec_time("at", fields->at, SPEC_AHEAD, ret_parts->run_at);

    if (exit == TOOL_OK)
        exit = spec_time("expires", fields->expires, SPEC_AHEAD, ret_parts->expires_at);
    if (exit == TOOL_OK && fields->backoff != NULL)
        exit = spec_backoff("backoff", fields->backoff, &ret_parts->backoff);
    return exit;
}
