#include "client/jobmill.h"

const char *jobmill_version(void)
{
    return JM_VERSION;
}
