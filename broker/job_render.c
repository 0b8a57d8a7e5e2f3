#include "broker/job_render.h"

#include "lib/hash.h"
#include "schema/id.h"
#include "schema/keys.h"

static void render_spec(struct render_map *m, const struct job_spec *spec)
{
    render_u64(m, "priority", spec->priority);
    render_u64(m, "max_attempts", spec->max_attempts);
    render_u64(m, "timeout_ms", spec->timeout_ms);
    if (spec->tags.len > 0)
        render_value(m, "tags", spec->tags);
}

static void render_times(struct render_map *m, const struct job_view *job)
{
    render_time(m, "created_at", id_wall_ms(job->id));
    if (job->state == JOB_SCHEDULED)
        render_time(m, "due_at", job->due_ms);
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

void job_render(struct render_map *m, const struct job_view *job, bool with_blobs)
{
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
    if (with_blobs)
        render_value(m, "args", job->spec.args);
    if (with_blobs && job->result.len > 0)
        render_value(m, "result", job->result);
    if (job->error.len > 0)
        render_value(m, "error", job->error);
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
    };

    return hash_of_span(span_of(parts, sizeof(parts)));
}
