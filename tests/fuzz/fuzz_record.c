/*
 * Any bytes as what the database holds in its blobs: settings of queues and tasks, a job's options,
 * the evidence of an end. A damaged one is refused; one that is taken is written again, and reads
 * as the same.
 */
#include <stdlib.h>
#include <string.h>

#include "broker/conf.h"
#include "broker/evidence.h"
#include "broker/job_options.h"
#include "tests/fuzz/mutate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RECORD_BYTES = 1 << 16 };

typedef bool recode(struct span input, struct buf *out);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static bool recode_queue(struct span input, struct buf *out)
{
    struct queue_conf conf = {.is_paused = false};

    if (!conf_decode_queue(input, &conf))
        return false;
    conf_encode_queue(out, &conf);
    return true;
}

static bool recode_task(struct span input, struct buf *out)
{
    struct task_conf conf = {.concurrency = 0};

    if (!conf_decode_task(input, &conf))
        return false;
    conf_encode_task(out, &conf);
    return true;
}

static bool recode_options(struct span input, struct buf *out)
{
    struct job_options options;

    if (!job_options_decode(input, &options))
        return false;
    job_options_encode(out, &options);
    return true;
}

static void ask_evidence(struct span input)
{
    static const char *const members[] = {"code", "message", "stderr_tail"};

    for (size_t i = 0; i < JM_COUNT_OF(members); i++) {
        struct span text = evidence_text(input, members[i]);

        require(text.len == 0 ||
                (text.data >= input.data && text.data + text.len <= input.data + input.len));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static recode *const kinds[] = {recode_queue, recode_task, recode_options};
    struct buf first, second;

    buf_init(&first, RECORD_BYTES);
    buf_init(&second, RECORD_BYTES);
    for (size_t i = 0; i < JM_COUNT_OF(kinds); i++) {
        buf_clear(&first);
        buf_clear(&second);
        if (!kinds[i](span_of(data, size), &first))
            continue;
        require(!buf_has_failed(&first));
        require(kinds[i](buf_span(&first), &second));
        require(span_is_equal(buf_span(&first), buf_span(&second)));
    }
    ask_evidence(span_of(data, size));
    buf_done(&first);
    buf_done(&second);
    return 0;
}
