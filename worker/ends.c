#include "worker/ends.h"

#include <string.h>

#include "lib/crash.h"
#include "schema/errors.h"
#include "schema/keys.h"
#include "schema/limits.h"

void ends_init(struct ends *ends, struct shm *shm)
{
    *ends = (struct ends){.shm = shm};
    buf_init(&ends->frame, JM_EVENT_BYTES);
}

bool ends_encode(struct ends *ends, const struct wire_event *event)
{
    buf_shrink(&ends->frame, SHM_OUT_BYTES);
    wire_encode_event(&ends->frame, event);
    return !buf_has_failed(&ends->frame);
}

bool ends_needs_room(const struct ends *ends)
{
    return ends->first_ns != 0 && ends->frame.len > SHM_OUT_BYTES - ends->out_len;
}

bool ends_keep(struct ends *ends, uint64_t position, uint64_t now_ns)
{
    uint32_t len = (uint32_t)ends->frame.len;

    if (ends->first_ns == 0)
        ends->first_ns = now_ns;
    if (ends->frame.len > SHM_OUT_BYTES - ends->out_len) {
        shm_end(ends->shm, position, 0, 0);
        return false;
    }
    memcpy(ends->shm->out + ends->out_len, ends->frame.data, len);
    shm_end(ends->shm, position, ends->out_len, len);
    ends->out_len += len;
    return true;
}

/* What is over and not confirmed, into ends->put. What the parent has taken is freed instead. */
static void collect(struct ends *ends)
{
    uint64_t tail, head;
    struct shm_held held;

    ends->put_count = 0;
    shm_range(ends->shm, &tail, &head);
    for (uint64_t at = tail; at != head; at++) {
        if (!shm_peek(ends->shm, at, &held) || held.state == SHM_CLAIMED || held.state == SHM_BEGUN)
            continue;
        if (!shm_send(ends->shm, at)) {
            shm_free(ends->shm, at);
            continue;
        }
        ends->put[ends->put_count++] = (struct end){
            .position = at,
            .node = held.node,
            .frame = held.out.len > 0 ? held.out : buf_span(&ends->frame),
        };
    }
}

/* One LPUSH with all ends for the node of ends[from], which are moved together. Returns where the
 * next node's begin. */
static size_t put_node(struct ends *ends, struct redis_pipe *pipe, size_t from, int *ret_error)
{
    struct span frames[JM_CLAIM_JOBS];
    char key[KEYS_BYTES];
    uint32_t node = ends->put[from].node;
    size_t to = from;

    for (size_t i = from; i < ends->put_count && to - from < JM_CLAIM_JOBS; i++) {
        struct end end = ends->put[i];

        if (end.node != node)
            continue;
        ends->put[i] = ends->put[to];
        ends->put[to] = end;
        frames[to++ - from] = end.frame;
    }
    keys_results(key, node);
    *ret_error = redis_pipe_put_push(pipe, key, frames, to - from);
    ends->push_count++;
    return to;
}

int ends_put(struct ends *ends, struct redis_pipe *pipe)
{
    int error = 0;

    ends->push_count = 0;
    collect(ends);
    for (size_t at = 0; at < ends->put_count && error == 0;)
        at = put_node(ends, pipe, at, &error);
    return error;
}

int ends_wait(struct ends *ends, struct redis_pipe *pipe)
{
    int result = 0;

    for (size_t i = 0; i < ends->push_count; i++) {
        int error = redis_pipe_wait_push(pipe);

        if (error == JM_EUNKNOWN)
            return error;
        if (error != 0)
            result = error;
    }
    if (result != 0)
        return result;
    CRASH_POINT("end-published");
    for (size_t i = 0; i < ends->put_count; i++)
        shm_free(ends->shm, ends->put[i].position);
    ends->put_count = 0;
    ends->out_len = 0;
    ends->first_ns = 0;
    return 0;
}
