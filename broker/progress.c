#include "broker/progress.h"

#include <stdlib.h>
#include <string.h>

void progress_keep(struct progress **kept, const struct wire_held *held)
{
    if (held->done == 0 && held->total == 0 && held->message.len == 0)
        return;
    if (*kept == NULL)
        *kept = calloc(1, sizeof(**kept));
    if (*kept == NULL)
        return;
    (*kept)->attempt = held->attempt;
    (*kept)->done = held->done;
    (*kept)->total = held->total;
    (*kept)->message_len = held->message.len; /* the decoder saw to its limit */
    if (held->message.len > 0)
        memcpy((*kept)->message, held->message.data, held->message.len);
}

struct progress progress_copy(const struct progress *kept)
{
    return kept != NULL ? *kept : (struct progress){0};
}
