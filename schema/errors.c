#include "schema/errors.h"

#include <string.h>

struct error_row {
    int status;
    const char *code;
    const char *title;
};

static const struct error_row rows[JM_ERROR_COUNT] = {
    [JM_ERROR_NONE] = {200, "ok", "No error"},
#define X(name, http_status, word, sentence) [name##_INDEX] = {http_status, word, sentence},
#include "schema/errors.def"
#undef X
};

static const struct error_row *row_of(int error)
{
    if (error > 0 || error <= -(int)JM_ERROR_COUNT)
        error = JM_EINTERNAL;
    return &rows[-error];
}

int errors_http_status(int error)
{
    return row_of(error)->status;
}

const char *errors_code(int error)
{
    return row_of(error)->code;
}

const char *errors_title(int error)
{
    return row_of(error)->title;
}

int errors_parse_code(const char *code)
{
    for (int i = 1; i < (int)JM_ERROR_COUNT; i++)
        if (strcmp(rows[i].code, code) == 0)
            return -i;
    return 0;
}
