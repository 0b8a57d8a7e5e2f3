/*
 * errors.h: the one family of errors. A function that can fail returns 0 or one of these negative
 * values; errors.def is the table.
 */
#ifndef SCHEMA_ERRORS_H
#define SCHEMA_ERRORS_H

enum jm_error_index {
    JM_ERROR_NONE,
#define X(name, status, code, title) name##_INDEX,
#include "schema/errors.def"
#undef X
    JM_ERROR_COUNT
};

enum jm_error {
#define X(name, status, code, title) name = -(int)name##_INDEX,
#include "schema/errors.def"
#undef X
};

/* For 0 these are 200, "ok" and "No error"; for a value that is no error of ours those of
 * JM_EINTERNAL. The strings are static. */
int errors_http_status(int error);
const char *errors_code(int error);
const char *errors_title(int error);

/* The error whose code is `code`, or 0 if there is none. */
int errors_parse_code(const char *code);

#endif
