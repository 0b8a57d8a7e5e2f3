/*
 * jobmill_error.h: the failure that a handle remembers. Internal to libjobmill.
 */
#ifndef CLIENT_JOBMILL_ERROR_H
#define CLIENT_JOBMILL_ERROR_H

#include "lib/attr.h"
#include "lib/span.h"

struct jobmill_failure {
    int error; /* enum jobmill_error */
    int http_status;
    char code[64];
    char text[512];
};

/* The public number for one of schema/errors.def; JM_E… without one become JOBMILL_EREFUSED or
 * JOBMILL_EBROKER by their HTTP status. */
int jobmill_error_from_schema(int error);

void jobmill_error_clear(struct jobmill_failure *failure);

/* Remembers one of schema/errors.def with a sentence; returns its public number. */
int jobmill_error_set(struct jobmill_failure *failure, int error, const char *fmt, ...)
    JM_PRINTF(3, 4);

/* Remembers what a problem document (RFC 9457, as msgpack) says; returns the public number. */
int jobmill_error_set_problem(struct jobmill_failure *failure, int http_status,
                              struct span problem);

#endif
