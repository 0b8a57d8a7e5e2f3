#include "broker/fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int fault_set(struct fault *f, int error, struct span field, uint64_t limit, const char *fmt, ...)
{
    size_t len = field.len < sizeof(f->field) - 1 ? field.len : sizeof(f->field) - 1;
    va_list args;

    f->error = error;
    f->limit = limit;
    f->id = 0;
    if (len > 0)
        memcpy(f->field, field.data, len);
    f->field[len] = '\0';
    va_start(args, fmt);
    vsnprintf(f->detail, sizeof(f->detail), fmt, args);
    va_end(args);
    return error;
}
