/*
 * What a program says on its descriptor 3, whole and in pieces that the first byte chooses: both
 * come to the same, and what is reported is inside its bounds.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "schema/limits.h"
#include "worker/control.h"
#include "worker/run.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void take(struct control *control, struct span text, unsigned seed)
{
    while (text.len > 0) {
        size_t len = text.len;

        if (seed != 0) {
            seed = seed * 1103515245 + 12345;
            len = len > 1 + (seed >> 16) % 11 ? 1 + (seed >> 16) % 11 : len;
        }
        control_take(control, span_of(text.data, len));
        text = span_of(text.data + len, text.len - len);
    }
    control_finish(control);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct task_call call;
    struct control whole, pieces;

    if (size < 1)
        return 0;
    log_setup("fuzz", LOG_LEVEL_ERROR);
    control_init(&whole, &call);
    control_init(&pieces, &call);
    take(&whole, span_of(data + 1, size - 1), 0);
    take(&pieces, span_of(data + 1, size - 1), data[0] + 1u);
    require(whole.retry == pieces.retry && whole.retry_after_ms == pieces.retry_after_ms);
    require(whole.ignored == pieces.ignored && whole.ignored <= size);
    require(whole.retry <= WIRE_RETRY_AFTER);
    require(whole.retry_after_ms <= JM_RETRY_AFTER_LIMIT_MS);
    require(whole.retry == WIRE_RETRY_AFTER || whole.retry_after_ms == 0);
    return 0;
}
