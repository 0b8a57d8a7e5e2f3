#include <string.h>

#include "client/options.h"

bool options_are_known(const void *theirs, size_t own_size)
{
    size_t size;

    if (theirs == NULL)
        return true;
    memcpy(&size, theirs, sizeof(size));
    for (size_t i = own_size; i < size; i++)
        if (((const unsigned char *)theirs)[i] != 0)
            return false;
    return true;
}

bool options_copy(void *own, size_t own_size, size_t first_size, const void *theirs)
{
    size_t size;

    if (theirs == NULL)
        return true;
    if (!options_are_known(theirs, own_size))
        return false;
    memcpy(&size, theirs, sizeof(size));
    if (size == 0)
        size = first_size;
    memcpy(own, theirs, size < own_size ? size : own_size);
    return true;
}
