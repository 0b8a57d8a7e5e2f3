/*
 * scan.c: nobody tells the parent when a job begins or ends; it looks. How often is what costs: a
 * slot whose one job is announced, or that is idle, is not looked at again before that job's time
 * limit, for its child then wakes the parent by a byte when anything new begins (SHM_WATCH_NONE).
 * A slot with a young job is looked at when that job is old enough to be announced; one with jobs
 * that wait behind another, every few milliseconds, so that they are taken back in time.
 *
 * The level of watching is stored first and the child's count of steps compared afterwards: a step
 * in between would have found the old level and woken nobody.
 */
#include "worker/scan.h"

#include "lib/crash.h"
#include "schema/limits.h"

enum {
    SCAN_BUSY_MS = 50,      /* while what runs may change unseen */
    SCAN_WAITING_MS = 5,    /* while jobs wait behind another */
    SCAN_TAKE_AFTER_MS = 10 /* what waits longer is taken back */
};

static const uint64_t ms_ns = 1000000;

struct view {
    bool has_current;
    struct shm_held current;
    unsigned waiting; /* claimed, not begun */
    unsigned ended;   /* over, not published */
};

static struct view look(struct slot *slot)
{
    struct view view = {0};
    struct shm_held held;
    uint64_t tail, head;

    shm_range(slot->shm, &tail, &head);
    for (uint64_t at = tail; at != head; at++) {
        if (!shm_peek(slot->shm, at, &held))
            continue;
        if (held.state == SHM_BEGUN) {
            view.has_current = true;
            view.current = held;
        }
        view.waiting += held.state == SHM_CLAIMED;
        view.ended += held.state == SHM_DONE && held.out.len > 0;
    }
    return view;
}

static void take_claimed(struct slot *slot, uint64_t at, const struct shm_held *held,
                         uint64_t now_ns)
{
    struct wire_event event = {.kind = WIRE_HANDED_BACK};

    if (shm_take(slot->shm, at, held))
        slot_tell(slot, held, &event, now_ns);
    CRASH_POINT("taken-back");
}

/* The end is copied before the swap, for the child may reuse its place right behind it. A swap that
 * fails leaves a copy of what the child publishes itself: sent twice, applied once. */
static void take_ended(struct slot *slot, uint64_t at, const struct shm_held *held, uint64_t now_ns)
{
    if (slot_tell_end(slot, held, now_ns) && shm_take(slot->shm, at, held))
        return;
}

static void take_back(struct slot *slot, bool with_ended, uint64_t now_ns)
{
    uint64_t tail, head;
    struct shm_held held;

    shm_range(slot->shm, &tail, &head);
    for (uint64_t at = tail; at != head; at++) {
        if (!shm_peek(slot->shm, at, &held))
            continue;
        if (held.state == SHM_CLAIMED)
            take_claimed(slot, at, &held, now_ns);
        else if (held.state == SHM_DONE && with_ended)
            take_ended(slot, at, &held, now_ns);
    }
}

static void announce(struct slot *slot, const struct shm_held *held, uint64_t now_ns)
{
    struct wire_event event = {.kind = WIRE_RUNNING, .has_begun = true};

    slot->announced = held->word;
    slot_tell(slot, held, &event, now_ns);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The running job: what is due for it, and when the next thing will be. */
static uint64_t attend_current(struct slot *slot, const struct view *view, uint64_t now_ns)
{
    const struct shm_held *held = &view->current;
    uint64_t announce_ns = held->begun_ns + JM_RUNNING_AFTER_MS * ms_ns;
    uint64_t limit_ns = held->begun_ns + held->timeout_ms * ms_ns;
    uint64_t next_ns = SCAN_NEVER;

    if (now_ns >= limit_ns)
        slot_kill(slot, SLOT_KILL_TIMEOUT, held, held->grace_ms, now_ns);
    else
        next_ns = limit_ns;
    if (slot->announced != held->word) {
        if (now_ns >= announce_ns)
            announce(slot, held, now_ns);
        else
            next_ns = earlier(next_ns, announce_ns);
    }
    if (view->waiting + view->ended > 0) {
        if (now_ns >= held->begun_ns + SCAN_TAKE_AFTER_MS * ms_ns)
            take_back(slot, true, now_ns);
        next_ns = earlier(next_ns, now_ns + SCAN_WAITING_MS * ms_ns);
    }
    return next_ns;
}

static enum shm_watch choose_watch(const struct slot *slot, const struct view *view)
{
    if (view->waiting + view->ended > 0)
        return SHM_WATCH_ALL;
    if (view->has_current && slot->announced != view->current.word)
        return SHM_WATCH_BEGUN;
    return SHM_WATCH_NONE;
}

uint64_t scan_slot(struct slot *slot, uint64_t now_ns)
{
    uint64_t steps, next_ns = SCAN_NEVER;
    struct view view;

    if (slot->pid == 0)
        return slot->env->is_draining ? SCAN_NEVER : slot->respawn_ns;
    if (slot->hard_ns != 0 && now_ns >= slot->hard_ns)
        slot_kill_hard(slot);
    steps = atomic_load(&slot->shm->steps);
    view = look(slot);
    if (slot->env->is_draining && view.waiting > 0)
        take_back(slot, false, now_ns);
    if (view.has_current)
        next_ns = attend_current(slot, &view, now_ns);
    else if (view.waiting + view.ended > 0)
        next_ns = now_ns + SCAN_BUSY_MS * ms_ns;
    if (slot->hard_ns != 0)
        next_ns = earlier(next_ns, slot->hard_ns);
    atomic_store(&slot->shm->watch, choose_watch(slot, &view));
    if (atomic_load(&slot->shm->steps) != steps)
        next_ns = earlier(next_ns, now_ns + SCAN_WAITING_MS * ms_ns);
    return next_ns;
}

static bool find(struct slot *slot, uint64_t id, uint32_t attempt, uint64_t *ret_at,
                 struct shm_held *ret_held)
{
    uint64_t tail, head;

    if (slot->pid == 0)
        return false;
    shm_range(slot->shm, &tail, &head);
    for (uint64_t at = tail; at != head; at++) {
        if (!shm_peek(slot->shm, at, ret_held) || ret_held->id != id ||
            ret_held->attempt != attempt)
            continue;
        *ret_at = at;
        return true;
    }
    return false;
}

bool scan_kill(struct slot *slot, uint64_t id, uint32_t attempt, uint64_t now_ns)
{
    struct wire_event event = {.kind = WIRE_KILLED};
    struct shm_held held;
    uint64_t at;

    if (!find(slot, id, attempt, &at, &held))
        return false;
    if (held.state == SHM_CLAIMED) {
        if (shm_take(slot->shm, at, &held)) {
            slot_tell(slot, &held, &event, now_ns);
            return true;
        }
        if (!shm_peek(slot->shm, at, &held) || held.id != id || held.attempt != attempt)
            return false;
    }
    if (held.state == SHM_BEGUN)
        slot_kill(slot, SLOT_KILL_ORDER, &held, held.grace_ms, now_ns);
    return true;
}

void scan_evict(struct slot *slot, uint64_t grace_ms, uint64_t now_ns)
{
    struct view view;

    if (slot->pid == 0)
        return;
    view = look(slot);
    slot_kill(slot, SLOT_KILL_DRAIN, &view.current, grace_ms, now_ns);
}

uint32_t scan_write_held(struct slot *slot, uint64_t now_ns, struct buf *out)
{
    struct shm_held held;
    struct shm_progress progress;
    uint64_t tail, head;
    uint32_t count = 0;

    if (slot->pid == 0)
        return 0;
    shm_range(slot->shm, &tail, &head);
    for (uint64_t at = tail; at != head; at++) {
        struct wire_held described;

        /* What is taken is in the outbox and named from there. */
        if (!shm_peek(slot->shm, at, &held) || held.state == SHM_TAKEN)
            continue;
        described = slot_describe(slot, &held, now_ns);
        if (shm_read_progress(slot->shm, &held, &progress)) {
            described.done = progress.done;
            described.total = progress.total;
            described.message = span_of(progress.message, progress.message_len);
        }
        wire_encode_held(out, &described);
        count++;
    }
    return count;
}
