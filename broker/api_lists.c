/*
 * api_lists.c: the routes that list: jobs from the store, on the thread pool; workers from memory.
 */
#include "broker/api_routes.h"
#include "broker/call.h"
#include "broker/job_render.h"
#include "lib/mp.h"
#include "schema/errors.h"
#include "schema/id.h"
#include "schema/keys.h"

/* What is looked at for one page, which may so be short. The rows bound what a fast machine does
 * for one request; the time, what a slow disk costs. */
enum { PAGE_ROWS = 100000, PAGE_MS = 10 };

/* ---- GET /v1/jobs ---- */

struct page {
    struct render_array jobs;
    bool shows_end;
};

static void on_job(void *owner, const struct job_view *job)
{
    struct page *page = owner;
    struct render_map m;

    render_item(&page->jobs);
    render_open_map(&m, page->jobs.out);
    job_render(&m, job, false);
    render_close_map(&m);
    page->shows_end = page->shows_end || job_state_is_terminal(job->state);
}

/* On a thread of the pool. */
static int read_page(struct reads_req *req, struct reader *reader)
{
    struct call *call = JM_CONTAINER_OF(req, struct call, read);
    const struct reader_bounds bounds = {
        .jobs = (size_t)call->query.limit, .rows = PAGE_ROWS, .time_ms = PAGE_MS};
    struct page page = {.shows_end = false};
    struct render_map m;
    uint64_t next = 0;
    int rc;

    buf_clear(&call->value);
    render_open_map(&m, &call->value);
    render_key(&m, "jobs");
    render_open_array(&page.jobs, &call->value);
    rc = reader_list(reader, &call->query.filter, &bounds, &page, on_job, &next);
    if (rc != 0)
        return rc;
    render_close_array(&page.jobs);
    if (next != 0)
        render_id(&m, "next_cursor", next);
    else
        render_nil(&m, "next_cursor");
    render_close_map(&m);
    call->shows_end = page.shows_end;
    call->status = call_transcode(call);
    return 0;
}

static void answer_page(struct call *call)
{
    if (call->status == 0)
        call_answer_bytes(call, 200);
    else
        call_refuse(call);
}

static void on_page(struct reads_req *req)
{
    struct call *call = JM_CONTAINER_OF(req, struct call, read);

    call->state = CALL_RUNNING;
    if (req->status != 0)
        call_refuse_error(call, req->status, "the jobs cannot be listed");
    else if (call->shows_end)
        call_hold(call, answer_page);
    else
        answer_page(call);
}

void api_lists_jobs(struct call *call)
{
    call->state = CALL_READING;
    call->read.on_thread = read_page;
    call->read.on_done = on_page;
    reads_submit(&call->api->reads, &call->read);
}

/* ---- GET /v1/workers ---- */

static void render_names(struct render_map *m, const char *key, struct span list)
{
    struct render_array a;
    struct mp_cursor c;
    struct span name;

    render_key(m, key);
    render_open_array(&a, m->out);
    for (wire_open_list(list, &c); wire_next_name(&c, &name);)
        render_item_str(&a, name);
    render_close_array(&a);
}

static void render_task_names(struct render_map *m, struct span list)
{
    struct render_array a;
    struct mp_cursor c;
    struct wire_task task;

    render_key(m, "tasks");
    render_open_array(&a, m->out);
    for (wire_open_list(list, &c); wire_next_task(&c, &task);)
        render_item_str(&a, task.name);
    render_close_array(&a);
}

static void render_held(struct render_map *m, struct span list)
{
    struct render_array a;
    struct mp_cursor c;
    struct wire_held held;

    render_key(m, "holds");
    render_open_array(&a, m->out);
    for (wire_open_list(list, &c); wire_next_held(&c, &held);) {
        struct render_map item;

        render_item(&a);
        render_open_map(&item, m->out);
        render_id(&item, "id", held.id);
        render_u64(&item, "attempt", held.attempt);
        render_u64(&item, "slot", held.slot);
        render_bool(&item, "has_begun", held.has_begun);
        render_u64(&item, "run_ms", held.run_ms);
        job_render_progress(&item, held.done, held.total, held.message);
        render_close_map(&item);
    }
    render_close_array(&a);
}

static void render_worker(struct buf *out, const struct hosts *hosts, const struct host *h)
{
    const struct wire_beat *beat = &h->beat;
    char name[17];
    struct render_map m;

    keys_host_name(name, h->id);
    render_open_map(&m, out);
    render_word(&m, "id", name);
    render_str(&m, "hostname", beat->hostname);
    render_u64(&m, "pid", beat->pid);
    render_str(&m, "version", beat->version);
    render_time(&m, "started_at", beat->started_at_ms);
    render_u64(&m, "silent_ms", hosts_silent_ms(hosts, h));
    render_bool(&m, "is_draining", beat->is_draining);
    render_u64(&m, "slots", beat->slots);
    render_names(&m, "queues", beat->queues);
    render_task_names(&m, beat->tasks);
    render_held(&m, beat->held);
    render_close_map(&m);
}

void api_lists_workers(struct call *call)
{
    struct hosts *hosts = &call_core(call)->hosts;
    struct render_map m;
    struct render_array a;

    buf_clear(&call->value);
    render_open_map(&m, &call->value);
    render_key(&m, "workers");
    render_open_array(&a, &call->value);
    LIST_EACH(node, &hosts->all)
    {
        render_item(&a);
        render_worker(&call->value, hosts, hosts_entry(node));
    }
    render_close_array(&a);
    render_close_map(&m);
    call_answer(call, 200);
}
