/*
 * Any bytes as the body of a submit, an item of a batch, a change, or settings. Behind the check
 * that every body passes, each reader takes it, with everything in its bounds, or says what is
 * wrong with it. What begins with a brace is JSON, so that the fuzzer finds words; else all behind
 * the first byte is msgpack.
 */
#include <stdlib.h>
#include <string.h>

#include "broker/conf_fields.h"
#include "broker/job_change.h"
#include "broker/job_options.h"
#include "broker/job_read.h"
#include "lib/json.h"
#include "schema/errors.h"

#define NOW_MS INT64_C(1800000000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void get_defaults(void *owner, struct span queue, struct span task,
                         struct conf_defaults *ret_defaults)
{
    (void)owner;
    require(queue.len > 0 && task.len > 0);
    *ret_defaults = (struct conf_defaults){
        .priority = 5, .max_attempts = 3, .timeout_ms = 1000, .grace_ms = 500};
}

static void require_fault(int rc, const struct fault *f)
{
    require(rc == JM_EFIELD || rc == JM_EUNKNOWNFIELD || rc == JM_EMISSING);
    require(f->error == rc && f->detail[0] != '\0');
    require(strnlen(f->detail, FAULT_DETAIL_BYTES) < FAULT_DETAIL_BYTES);
}

static void require_backoff(const struct backoff *b)
{
    require(b->kind <= BACKOFF_EXPONENTIAL && b->jitter_milli <= 1000);
    require(b->factor_milli <= JM_BACKOFF_FACTOR_LIMIT_MILLI);
    require(b->base_ms <= JM_BACKOFF_BASE_LIMIT_MS);
    require(b->ceiling_ms <= (uint64_t)JM_BACKOFF_CEILING_LIMIT_MS);
}

static void require_job(const struct core_submit *s)
{
    const struct job_spec *spec = &s->op.spec;
    struct job_options options;

    require(spec->task.len > 0 && spec->queue.len > 0 && spec->args.len > 0);
    require(spec->priority >= 1 && spec->priority <= 9 && spec->max_attempts >= 1);
    require(spec->timeout_ms >= 1 && spec->grace_ms >= 1);
    require(s->delay_ms == 0 || s->run_at_ms == 0);
    require(spec->options.len <= JOB_OPTIONS_BYTES);
    require(job_options_decode(spec->options, &options));
    require(span_is_equal(options.limit_key, spec->limit_key));
    require(options.expires_at_ms == spec->expires_at_ms && options.retain_ms == spec->retain_ms);
    require_backoff(&options.backoff);
    require((s->op.unique.how == UNIQUE_NOT) == (options.unique.len == 0));
    require((s->op.unique.how == UNIQUE_PERIOD) == (s->op.unique.period_ms > 0));
}

static void read_jobs(struct span body)
{
    struct job_reader r = {.digest = digest_new(), .now_ms = NOW_MS, .get_defaults = get_defaults};
    struct core_submit alone = {.delay_ms = 0};
    struct core_submit item = {.delay_ms = 0};
    struct buf options;
    struct fault f;
    int rc;

    buf_init(&options, JOB_OPTIONS_BYTES);
    rc = job_read_item(&r, body, &options, &item, &f);
    if (rc == 0)
        require_job(&item);
    else
        require_fault(rc, &f);
    rc = job_read(&r, body, span_of_str("k"), &options, &alone, &f);
    if (rc == 0)
        require_job(&alone);
    else
        require_fault(rc, &f);
    buf_done(&options);
    digest_free(r.digest);
}

static void read_changes(struct span body)
{
    struct store_change change = {.id = 1};
    struct queue_conf queue = {.is_paused = false};
    struct task_conf task = {.concurrency = 0};
    struct fault f;
    int rc = job_change_read(body, NOW_MS, &change, &f);

    if (rc == 0)
        require_backoff(&change.backoff);
    else
        require_fault(rc, &f);
    rc = conf_fields_read_queue(body, &queue, &f);
    if (rc == 0)
        require((queue.rate.limit == 0) == (queue.rate.period_ms == 0));
    else
        require_fault(rc, &f);
    rc = conf_fields_read_task(body, &task, &f);
    if (rc == 0)
        require_backoff(&task.defaults.backoff);
    else
        require_fault(rc, &f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span body = span_of(data + 1, size > 0 ? size - 1 : 0);
    struct buf msgpack;
    bool is_good;

    buf_init(&msgpack, 1 << 21);
    if (size > 0 && data[0] == '{') {
        is_good =
            json_to_msgpack(span_of(data, size), &JSON_DEFAULT_LIMITS, &msgpack, NULL) == JSON_OK;
        body = buf_span(&msgpack);
    } else {
        is_good = json_check_msgpack(body, &JSON_DEFAULT_LIMITS, NULL) == JSON_OK;
    }
    if (is_good) {
        read_jobs(body);
        read_changes(body);
    }
    buf_done(&msgpack);
    return 0;
}
