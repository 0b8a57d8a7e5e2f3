#include "broker/job_render.h"

#include "broker/job_fields.h"
#include "broker/job_options.h"
#include "broker/progress.h"
#include "lib/hash.h"
#include "schema/id.h"
#include "schema/keys.h"

static void render_milli(struct render_map *m, const char *key, uint32_t milli)
{
    render_double(m, key, (double)milli / 1000);
}

void job_render_backoff(struct render_map *m, const struct backoff *b)
{
    struct render_map inner;

    if (b->kind == BACKOFF_DEFAULT)
        return;
    render_key(m, "backoff");
    render_open_map(&inner, m->out);
    render_word(&inner, "kind", job_fields_kinds[b->kind - BACKOFF_FIXED]);
    render_u64(&inner, "base_ms", b->base_ms);
    render_milli(&inner, "factor", b->factor_milli);
    render_u64(&inner, "ceiling_ms", b->ceiling_ms);
    render_milli(&inner, "jitter", b->jitter_milli);
    render_close_map(&inner);
}

/* What is rarely asked; a record that cannot be read was refused by the reader. */
static void render_options(struct render_map *m, struct span record)
{
    struct job_options options;

    if (!job_options_decode(record, &options))
        return;
    job_render_backoff(m, &options.backoff);
    if (options.limit_key.len > 0)
        render_str(m, "limit_key", options.limit_key);
    if (options.retain_ms > 0)
        render_u64(m, "retain_ms", options.retain_ms);
    if (options.unique.len > 0)
        render_value(m, "unique", options.unique);
}

static void render_spec(struct render_map *m, const struct job_spec *spec)
{
    render_u64(m, "priority", spec->priority);
    render_u64(m, "max_attempts", spec->max_attempts);
    render_u64(m, "timeout_ms", spec->timeout_ms);
    render_u64(m, "grace_ms", spec->grace_ms);
    if (spec->tags.len > 0)
        render_value(m, "tags", spec->tags);
    render_options(m, spec->options);
}

static void render_times(struct render_map *m, const struct job_view *job)
{
    render_time(m, "created_at", id_wall_ms(job->id));
    if (job->state == JOB_SCHEDULED)
        render_time(m, "due_at", job->due_ms);
    if (job->spec.expires_at_ms != 0)
        render_time(m, "expires_at", job->spec.expires_at_ms);
    if (job->begun_at_ms != 0)
        render_time(m, "begun_at", job->begun_at_ms);
    if (!job_state_is_terminal(job->state))
        return;
    render_time(m, "finished_at", job->finished_at_ms);
    render_u64(m, "run_us", job->run_us);
}

static void render_host(struct render_map *m, uint64_t host)
{
    char name[17];

    if (host == 0)
        return;
    keys_host_name(name, host);
    render_word(m, "worker", name);
}

/* What is known of how far its attempt is; a moment after the attempt's end it is of the past. */
static const struct progress *progress_of(const struct job_view *job)
{
    if (job->progress == NULL || job->state != JOB_RUNNING ||
        job->progress->attempt != job->attempt)
        return NULL;
    return job->progress;
}

void job_render_progress(struct render_map *m, uint64_t done, uint64_t total, struct span message)
{
    struct render_map inner;

    if (done == 0 && total == 0 && message.len == 0)
        return;
    render_key(m, "progress");
    render_open_map(&inner, m->out);
    render_u64(&inner, "done", done);
    if (total > 0)
        render_u64(&inner, "total", total);
    if (message.len > 0)
        render_str(&inner, "message", message);
    render_close_map(&inner);
}

void job_render(struct render_map *m, const struct job_view *job, bool with_blobs)
{
    const struct progress *progress = progress_of(job);

    render_id(m, "id", job->id);
    render_str(m, "task", job->spec.task);
    render_str(m, "queue", job->spec.queue);
    render_word(m, "state", job_state_shown(job->state));
    render_u64(m, "attempt", job->attempt);
    render_u64(m, "failures", job->failures);
    render_u64(m, "crashes", job->crashes);
    render_u64(m, "worker_deaths", job->deaths);
    render_spec(m, &job->spec);
    render_times(m, job);
    render_host(m, job->host);
    if (progress != NULL)
        job_render_progress(m, progress->done, progress->total,
                            span_of(progress->message, progress->message_len));
    if (with_blobs)
        render_value(m, "args", job->spec.args);
    if (with_blobs && job->result.len > 0)
        render_value(m, "result", job->result);
    if (job->error.len > 0)
        render_value(m, "error", job->error);
}

static uint64_t progress_version(const struct progress *progress)
{
    uint64_t parts[3];

    if (progress == NULL)
        return 0;
    parts[0] = progress->done;
    parts[1] = progress->total;
    parts[2] = hash_of_span(span_of(progress->message, progress->message_len));
    return hash_of_span(span_of(parts, sizeof(parts)));
}

uint64_t job_render_version(const struct job_view *job)
{
    const uint64_t parts[] = {
        job->id,
        (uint64_t)job->state << 32 | job->attempt,
        (uint64_t)job->failures << 32 | job->crashes,
        job->deaths,
        (uint64_t)job->due_ms,
        job->host,
        (uint64_t)job->begun_at_ms,
        (uint64_t)job->finished_at_ms,
        job->run_us,
        progress_version(progress_of(job)),
        (uint64_t)job->spec.priority << 32 | job->spec.max_attempts,
        job->spec.timeout_ms,
        hash_of_span(job->spec.options),
        hash_of_span(job->spec.tags),
        hash_of_span(job->spec.args),
    };

    return hash_of_span(span_of(parts, sizeof(parts)));
}
