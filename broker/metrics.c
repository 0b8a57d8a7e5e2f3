/*
 * metrics.c: each metric is written once, with its HELP and TYPE lines; prometheus.io, "Exposition
 * formats". A test compares the names with PROTOCOL.md.
 */
#include "broker/metrics.h"

#include <inttypes.h>

struct counter {
    const char *label; /* the value of the one label */
    uint64_t value;
};

static void put_head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP jobmill_%s %s\n# TYPE jobmill_%s %s\n", name, help, name, type);
}

static void put(struct buf *out, const char *name, const char *type, uint64_t value,
                const char *help)
{
    put_head(out, name, type, help);
    buf_printf(out, "jobmill_%s %" PRIu64 "\n", name, value);
}

static void put_seconds(struct buf *out, const char *name, const char *type, uint64_t ns,
                        const char *help)
{
    put_head(out, name, type, help);
    buf_printf(out, "jobmill_%s %" PRIu64 ".%09" PRIu64 "\n", name, ns / 1000000000,
               ns % 1000000000);
}

static void put_labelled(struct buf *out, const char *name, const char *label,
                         const struct counter *counters, size_t count, const char *help)
{
    put_head(out, name, "counter", help);
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "jobmill_%s{%s=\"%s\"} %" PRIu64 "\n", name, label, counters[i].label,
                   counters[i].value);
}

/* Queue names need no escaping: name_is_valid. */
static void write_jobs(struct buf *out, const struct queues *qs)
{
    put_head(out, "jobs", "gauge", "Jobs in the store by queue and state.");
    LIST_EACH(node, &qs->all)
    {
        const struct queue *q = queues_entry(node);

        for (int state = 1; state < JOB_STATE_LIMIT; state++)
            if (job_state_parse_shown(span_of_str(job_state_shown((enum job_state)state))) != 0)
                buf_printf(out, "jobmill_jobs{queue=\"%.*s\",state=\"%s\"} %" PRId64 "\n",
                           (int)q->name.len, (const char *)q->name.data,
                           job_state_word((enum job_state)state), q->counts.by_state[state]);
    }
}

static void write_paused(struct buf *out, const struct queues *qs)
{
    put_head(out, "queue_paused", "gauge", "1 while the queue is paused.");
    LIST_EACH(node, &qs->all)
    {
        const struct queue *q = queues_entry(node);

        buf_printf(out, "jobmill_queue_paused{queue=\"%.*s\"} %d\n", (int)q->name.len,
                   (const char *)q->name.data, q->conf.is_paused);
    }
}

static void write_windows(struct buf *out, const struct queues *qs)
{
    put_head(out, "window_limit_jobs", "gauge", "How many jobs of a queue may be out at once.");
    LIST_EACH(node, &qs->all)
    {
        const struct queue *q = queues_entry(node);

        buf_printf(out, "jobmill_window_limit_jobs{queue=\"%.*s\"} %" PRIu32 "\n", (int)q->name.len,
                   (const char *)q->name.data, q->window.limit);
    }
    put_head(out, "window_used_jobs", "gauge", "How many jobs of a queue are out.");
    LIST_EACH(node, &qs->all)
    {
        const struct queue *q = queues_entry(node);

        buf_printf(out, "jobmill_window_used_jobs{queue=\"%.*s\"} %" PRIu32 "\n", (int)q->name.len,
                   (const char *)q->name.data, q->window.used);
    }
}

static void write_results(struct buf *out, const struct results_stats *s, uint64_t foreign)
{
    const struct counter causes[] = {
        {"lost", s->applied[0]},
        {wire_event_word(WIRE_SUCCEEDED), s->applied[WIRE_SUCCEEDED]},
        {wire_event_word(WIRE_FAILED), s->applied[WIRE_FAILED]},
        {wire_event_word(WIRE_CRASHED), s->applied[WIRE_CRASHED]},
        {wire_event_word(WIRE_TIMED_OUT), s->applied[WIRE_TIMED_OUT]},
        {wire_event_word(WIRE_KILLED), s->applied[WIRE_KILLED]},
        {wire_event_word(WIRE_HANDED_BACK), s->applied[WIRE_HANDED_BACK]},
    };
    const struct counter dropped[] = {
        {"late", s->late},
        {"unknown", s->unknown},
        {"invalid", s->invalid},
        {"quarantined", s->quarantined},
    };

    put_labelled(out, "attempt_ends_total", "cause", causes, JM_COUNT_OF(causes),
                 "Ends of attempts that were applied, by cause.");
    put_labelled(out, "results_dropped_total", "reason", dropped, JM_COUNT_OF(dropped),
                 "Results that were not applied, by reason.");
    put(out, "results_foreign_total", "counter", foreign,
        "Results of another protocol version; they are quarantined.");
    put(out, "results_lists_total", "counter", s->lists, "Results lists taken from Redis.");
    put(out, "results_slices_total", "counter", s->slices, "Slices in which they were applied.");
    put(out, "results_entries_total", "counter", s->entries, "Entries in them.");
}

static void write_dispatch(struct buf *out, const struct dispatch *d)
{
    put(out, "dispatch_pushes_total", "counter", d->stats.pushes,
        "Commands that pushed jobs to Redis.");
    put(out, "dispatch_pushed_total", "counter", d->stats.pushed, "Jobs in them.");
    put(out, "dispatch_refused_total", "counter", d->stats.refused, "Jobs that Redis refused.");
    put(out, "dispatch_unknown_total", "counter", d->stats.unknown_pushes,
        "Jobs of which it is not known whether Redis took them.");
    put(out, "dispatch_recalled_total", "counter", d->stats.recalled,
        "Jobs taken back from their list.");
    put(out, "dispatch_taken_total", "counter", d->stats.taken, "Jobs taken from the backlog.");
    put(out, "dispatched_jobs", "gauge", d->jobs, "Jobs that hold a place in a window.");
    put(out, "dispatched_bytes", "gauge", d->bytes, "Bytes of their messages.");
    put(out, "backlog_lanes", "gauge", d->lanes.by_number.len,
        "Kinds of jobs (queue, task, priority, limit_key) that wait in the backlog.");
    put(out, "limit_keys", "gauge", d->lanes.keys.len,
        "Limit keys with jobs that wait or are out, or with tokens to get back.");
    put(out, "redis_up", "gauge", d->is_link_up, "1 while Redis can be reached.");
}

static void write_submits(struct buf *out, const struct core *core)
{
    const struct counter refused[] = {{"queue_full", core->stats.queue_full},
                                      {"overloaded", core->stats.overloaded}};

    put(out, "submits_pending", "gauge", core->submits, "Submits on their way to the disk.");
    put_labelled(out, "submits_refused_total", "reason", refused, JM_COUNT_OF(refused),
                 "Submits turned away before anything was stored, by reason.");
}

static void write_hosts(struct buf *out, const struct hosts *hs)
{
    const struct counter refused[] = {{"malformed", hs->stats.strange},
                                      {"version", hs->foreign.count},
                                      {"too_many", hs->stats.no_room}};
    const struct counter lost[] = {{"no", hs->stats.lost_free}, {"yes", hs->stats.lost_charged}};

    put(out, "workers", "gauge", hosts_count(hs), "Worker hosts that are alive.");
    put(out, "worker_deaths_total", "counter", hs->stats.died, "Worker hosts that fell silent.");
    put(out, "worker_leaves_total", "counter", hs->stats.left, "Worker hosts that took leave.");
    put_labelled(out, "beats_refused_total", "reason", refused, JM_COUNT_OF(refused),
                 "Heartbeats in Redis that were not followed, by reason.");
    put(out, "redis_epochs_total", "counter", hs->stats.epochs,
        "Times that an empty or another Redis was met.");
    put_labelled(out, "jobs_lost_total", "charged", lost, JM_COUNT_OF(lost),
                 "Attempts given up as lost, by whether a worker's death was charged to the job.");
}

static void write_writer(struct buf *out, const struct writer_stats *s)
{
    put(out, "store_batches_total", "counter", s->batches, "Transactions committed.");
    put(out, "store_operations_total", "counter", s->operations, "Operations in them.");
    put(out, "store_fsyncs_total", "counter", s->syncs, "Times that the log was forced to disk.");
    put_seconds(out, "store_fsync_seconds_total", "counter", s->sync_ns_sum, "Time spent in that.");
    put_seconds(out, "store_fsync_max_seconds", "gauge", s->sync_ns_max,
                "The longest of them since the start.");
    put_seconds(out, "store_commit_seconds_total", "counter", s->commit_ns_sum,
                "Time spent in transactions.");
    put(out, "store_checkpoints_total", "counter", s->checkpoints, "Checkpoints done.");
    put(out, "store_wal_bytes", "gauge", s->wal_bytes, "Bytes in the log since it was reset.");
}

static void write_front(struct buf *out, const struct metrics_outside *s)
{
    const struct counter cut[] = {{"connections", s->http_rejected},
                                  {"framing", s->http_framing_errors},
                                  {"timeout", s->http_timeouts},
                                  {"unread", s->http_stalled}};

    put(out, "http_connections", "gauge", s->http_connections, "HTTP connections open.");
    put(out, "http_requests_total", "counter", s->http_requests, "HTTP requests answered.");
    put_labelled(out, "http_cut_off_total", "reason", cut, JM_COUNT_OF(cut),
                 "HTTP connections that the broker ended, by reason.");
    put(out, "http_unread_bytes", "gauge", s->http_unread_bytes,
        "Memory held for clients that have not read their answers.");
    put(out, "damaged_reads_total", "counter", s->damaged_reads,
        "Reads that met damage in the database: run `jobmill doctor`.");
    put(out, "redis_strange_keys_total", "counter", s->redis_strange_keys,
        "Keys removed from Redis because they were of another type than jobmill's.");
    put(out, "redis_round_trips_total", "counter", s->redis_requests, "Answers from Redis.");
    put_seconds(out, "redis_round_trip_seconds_total", "counter", s->redis_round_trip_ns_sum,
                "Time spent waiting for them.");
    put_seconds(out, "redis_round_trip_max_seconds", "gauge", s->redis_round_trip_ns_max,
                "The longest of them since the start.");
}

void metrics_write(struct buf *out, const struct core *core, const struct metrics_outside *outside)
{
    write_jobs(out, &core->queues);
    write_paused(out, &core->queues);
    write_windows(out, &core->queues);
    write_submits(out, core);
    write_results(out, &core->results.stats, core->results.foreign.count);
    write_dispatch(out, &core->dispatch);
    write_hosts(out, &core->hosts);
    put(out, "waiters", "gauge", waiters_count(&core->waiters),
        "Requests that wait for the end of a job.");
    write_writer(out, &outside->writer);
    write_front(out, outside);
}
