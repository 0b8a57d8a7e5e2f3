#include "broker/foreign.h"

#include <inttypes.h>

#include "lib/log.h"
#include "schema/wire.h"

bool foreign_note(struct foreign *f, struct span frame, const char *what)
{
    uint32_t version;

    if (!wire_peek_version(frame, &version) || version == WIRE_VERSION)
        return false;
    f->count++;
    if ((f->count & (f->count - 1)) == 0)
        log_warn("%s speaks version %" PRIu32 " of the protocol and this broker version %d: it is "
                 "refused; brokers and workers of one Redis have to speak the same (number %" PRIu64
                 ")",
                 what, version, WIRE_VERSION, f->count);
    return true;
}
