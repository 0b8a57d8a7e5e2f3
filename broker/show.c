/*
 * show.c: one flow with up to three waits:
 *
 *     show_job ──▶ (registered as a waiter, looked) ──▶ WAITING ──end, time, stop──┐
 *         │ no wait            │ it has ended already                              ▼
 *         └────────────────────┴─────────────────────────────────────────────▶ read_job
 *                                                      large: READING (pool)  ◀──┤
 *                                                             │                  │ on the loop
 *                                                             └─▶ GATED ◀────────┘
 *                                                                  └─▶ answer
 *
 * It registers before it looks, so that no end can fall between the two. The gate is passed over
 * when the waiter was called, which happens behind the end's fsync, and for a job that has not
 * ended; but not by a submit whose commit may not be on disk yet.
 */
#include "broker/show.h"

#include <strings.h>

#include "broker/job_attempts.h"
#include "broker/job_render.h"
#include "schema/errors.h"
#include "schema/id.h"

enum { LARGE_BYTES = 64 << 10 }; /* of args and result: such a job is read on the thread pool */

/* ---- answer ---- */

/* If-None-Match is a list of tags or "*"; the weak comparison ignores a "W/" before one. Tags of
 * ours have no comma in them, so the list may be searched as text. */
static bool is_known_to_client(struct call *call)
{
    struct span value;

    if (call->etag[0] == '\0' || !http_exchange_header(call->x, "If-None-Match", &value))
        return false;
    return span_is_str(value, "*") ||
           (value.len > 0 && memmem(value.data, value.len, call->etag, strlen(call->etag)) != NULL);
}

static void refuse_read(struct call *call, int error)
{
    char text[ID_TEXT_BYTES];

    id_format(call->id, text);
    if (error == JM_ENOJOB && call->on_absent != NULL)
        call->on_absent(call);
    else if (error == JM_ENOJOB)
        call_refuse_error(call, error, "there is no job %s", text);
    else
        call_refuse_error(call, error, "the job %s cannot be read", text);
}

static void answer(struct call *call)
{
    if (call->read_error != 0) {
        refuse_read(call, call->read_error);
        return;
    }
    if (call->status < 0) {
        call_refuse(call);
        return;
    }
    if (call->etag[0] != '\0')
        http_exchange_add_header(call->x, "ETag", span_of_str(call->etag));
    if (is_known_to_client(call))
        call_answer_empty(call, 304);
    else
        call_answer_bytes(call, call->status);
}

/* ---- read ---- */

/* On the loop or on a thread of the pool. */
static void write_job(struct call *call, struct reader *reader, struct job_view *job)
{
    int rc;

    job->progress = &call->progress;
    call->reader = reader;
    buf_clear(&call->value);
    call->shows_end = job_state_is_terminal(job->state);
    call->status = call->on_show(call, job);
    if (call->status <= 0)
        return;
    rc = call_transcode(call);
    call->status = rc != 0 ? rc : call->status;
}

static int on_pool_thread(struct reads_req *req, struct reader *reader)
{
    struct call *call = JM_CONTAINER_OF(req, struct call, read);
    struct job_view job;
    int rc;

    reader_begin(reader); /* the job and its attempts as of one moment */
    rc = reader_get(reader, call->id, true, &job);
    if (rc == 0)
        write_job(call, reader, &job);
    reader_end(reader);
    return rc;
}

static void follow_read(struct call *call, int rc)
{
    bool tells = call->is_unsynced || (rc == 0 && call->shows_end);

    call->state = CALL_RUNNING;
    call->read_error = rc;
    if (rc == 0 && !call->shows_end)
        core_look(call_core(call)); /* who asks now will ask again */
    if (tells && !call->is_on_disk)
        call_hold(call, answer);
    else
        answer(call);
}

static void on_pool_done(struct reads_req *req)
{
    follow_read(JM_CONTAINER_OF(req, struct call, read), req->status);
}

static void read_job(struct call *call)
{
    struct reader *reader = call->api->conf.reader;
    struct job_view job;
    bool is_small = false;
    int rc;

    call->progress = dispatch_progress(&call_core(call)->dispatch, call->id);
    reader_begin(reader);
    rc = reader_get_small(reader, call->id, LARGE_BYTES, &job, &is_small);
    if (rc == 0 && is_small)
        write_job(call, reader, &job);
    reader_end(reader);
    if (rc == 0 && !is_small) {
        call->state = CALL_READING;
        call->read.on_thread = on_pool_thread;
        call->read.on_done = on_pool_done;
        reads_submit(&call->api->reads, &call->read);
        return;
    }
    follow_read(call, rc);
}

int show_whole_job(struct call *call, struct render_map *m, const struct job_view *job)
{
    int rc;

    job_render(m, job, true);
    rc = job_attempts_render(m, job, call->reader);
    return rc == 0 ? 0
                   : fault_set(&call->fault, rc, span_of(NULL, 0), 0,
                               "the attempts of the job cannot be read");
}

int show_on_job(struct call *call, const struct job_view *job)
{
    struct render_map m;
    int rc;

    render_open_map(&m, &call->value);
    rc = show_whole_job(call, &m, job);
    render_close_map(&m);
    return rc == 0 ? 200 : rc;
}

void show_refusal(struct call *call, int status, enum job_state state)
{
    char id[ID_TEXT_BYTES];

    id_format(call->id, id);
    switch (status) {
    case JM_ENOJOB:
        call_refuse_error(call, status, "there is no job %s", id);
        break;
    case JM_EFINISHED:
        call_refuse_error(call, status, "the job has %s", job_state_shown(state));
        break;
    case JM_ERUNNING:
        call_refuse_error(call, status, "the job runs, or a worker holds it; cancel it first");
        break;
    case JM_EFIELD:
        (void)fault_set(&call->fault, status, span_of_str("expires_at"), 0,
                        "expires_at: must be in the future, and later than the job is due");
        call_refuse(call);
        break;
    case JM_ENOTFINISHED:
        call_refuse_error(call, status, "only for a finished job; cancel it first");
        break;
    default:
        call_refuse_error(call, status, "nothing was changed");
    }
}

/* ---- wait ---- */

static void on_end(struct waiter *w)
{
    struct call *call = JM_CONTAINER_OF(w, struct call, waiter);

    timer_disarm(&call->timer);
    call->is_on_disk = true;
    read_job(call);
}

void show_now(struct call *call)
{
    waiters_remove(&call_core(call)->waiters, &call->waiter);
    timer_disarm(&call->timer);
    read_job(call);
}

static void on_time(struct timer *t)
{
    show_now(JM_CONTAINER_OF(t, struct call, timer));
}

void show_give_up(struct call *call)
{
    waiters_remove(&call_core(call)->waiters, &call->waiter);
    timer_disarm(&call->timer);
    call_drop(call);
}

/* Whether there is something to wait for: not if it is there and has ended, nor if it is not there
 * (which read_job will find out again and tell). */
static bool is_open(struct call *call)
{
    struct job_view job;

    if (!call->may_have_ended)
        return true;
    return reader_get(call->api->conf.reader, call->id, false, &job) == 0 &&
           !job_state_is_terminal(job.state);
}

static void wait_for_end(struct call *call)
{
    struct core_seams *seams = &call_core(call)->seams;

    call->state = CALL_WAITING;
    timer_init(&call->timer, on_time);
    timers_arm(seams->timers, &call->timer, clock_mono_ms(seams->clock) + call->wait_ms);
}

void show_job(struct call *call, call_show_cb on_show)
{
    int rc = 0;

    call->on_show = on_show;
    call->waiter.on_end = on_end;
    if (call->wait_ms > 0 && !call->api->is_stopping) {
        rc = core_wait(call_core(call), &call->waiter, call->id);
        if (rc == 0 && is_open(call)) {
            wait_for_end(call);
            return;
        }
        waiters_remove(&call_core(call)->waiters, &call->waiter);
    }
    if (rc != 0 && !call->is_stored)
        call_refuse_error(call, rc, "at most %d requests can wait at a time", JM_WAITERS);
    else
        read_job(call);
}
