#include "schema/name.h"

static bool is_name_char(uint8_t c)
{
    return (uint8_t)((c | 0x20) - 'a') < 26 || (uint8_t)(c - '0') < 10 || c == '_' || c == '-' ||
           c == '.' || c == ':';
}

bool name_is_valid(struct span name, size_t max_bytes)
{
    if (name.len == 0 || name.len > max_bytes)
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (!is_name_char(name.data[i]))
            return false;
    return true;
}
