#include "broker/reads.h"

#include <assert.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <unistd.h>

static void start(struct reads *rs, struct reads_req *req);

enum { NICE = 5 }; /* below the loop, above the workers' 10 */

/* Large values take milliseconds each, and one client can ask for many: what the loop has for the
 * others goes first. Where that may not be, it is as without. Said once by each thread. */
static void give_way(void)
{
    static _Thread_local bool has_given_way;
    int own;

    if (has_given_way)
        return;
    own = getpriority(PRIO_PROCESS, (id_t)getpid()); /* of the first thread, which is the loop */
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), own + NICE);
    has_given_way = true;
}

/* A reader is opened where it is used first: opening reads the disk. */
static void on_work(uv_work_t *work)
{
    struct reads_req *req = JM_CONTAINER_OF(work, struct reads_req, work);

    give_way();
    req->status = req->reader != NULL ? 0 : reader_open(&req->reads->store, &req->reader);
    if (req->status == 0)
        req->status = req->on_thread(req, req->reader);
}

/* The request may be gone after its on_done, so the reader is taken from it first. */
static void on_worked(uv_work_t *work, int status)
{
    struct reads_req *req = JM_CONTAINER_OF(work, struct reads_req, work);
    struct reads *rs = req->reads;
    struct list *next;

    assert(status == 0); /* nobody cancels */
    rs->busy_count--;
    if (req->reader != NULL)
        rs->idle[rs->idle_count++] = req->reader;
    req->reader = NULL;
    next = list_pop_front(&rs->waiting);
    if (next != NULL)
        start(rs, LIST_ENTRY(next, struct reads_req, link));
    req->on_done(req);
}

static void start(struct reads *rs, struct reads_req *req)
{
    int rc;

    rs->busy_count++;
    req->reader = rs->idle_count > 0 ? rs->idle[--rs->idle_count] : NULL;
    rc = uv_queue_work(rs->loop, &req->work, on_work, on_worked);
    assert(rc == 0); /* fails only without a work callback */
}

void reads_init(struct reads *rs, uv_loop_t *loop, const struct store_conf *store)
{
    *rs = (struct reads){.loop = loop, .store = *store};
    list_init(&rs->waiting);
}

void reads_done(struct reads *rs)
{
    assert(rs->busy_count == 0);
    while (rs->idle_count > 0)
        reader_close(rs->idle[--rs->idle_count]);
}

bool reads_cancel(struct reads_req *req)
{
    if (list_is_empty(&req->link))
        return false;
    list_remove(&req->link);
    return true;
}

void reads_submit(struct reads *rs, struct reads_req *req)
{
    req->reads = rs;
    list_init(&req->link);
    if (rs->busy_count < READS_READERS)
        start(rs, req);
    else
        list_push_back(&rs->waiting, &req->link);
}
