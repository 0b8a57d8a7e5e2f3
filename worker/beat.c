#include "worker/beat.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/crash.h"
#include "lib/log.h"
#include "schema/errors.h"
#include "schema/keys.h"
#include "schema/limits.h"
#include "schema/wire.h"
#include "worker/host.h"
#include "worker/scan.h"
#include "worker/serving.h"

enum {
    BEAT_FRAME_BYTES = 8 << 20, /* all slots full */
    BEAT_ANSWER_MS = 5000,      /* a link that is silent for longer is broken */
};

static uint64_t now_ns(void)
{
    return clock_mono_ns(clock_real());
}

static void on_beaten(struct redis_command *command, int error, const struct redis_claim *claim)
{
    struct beat *beat = JM_CONTAINER_OF(command, struct beat, command);
    struct host *host = beat->host;

    (void)claim;
    CRASH_POINT("beaten");
    if (error == JM_EREFUSED)
        log_warn("Redis refuses the heartbeat: %s", command->error);
    for (uint32_t i = 0; error == 0 && i < host->slot_count; i++)
        atomic_store(&host->slots[i].shm->beat_ns, beat->sent_ns);
}

/* Every job that is held: in a slot, or in an event that has not got through yet. */
static void write_held(struct beat *beat, uint64_t now)
{
    struct host *host = beat->host;
    struct buf items;
    uint32_t count = 0;

    buf_init(&items, BEAT_FRAME_BYTES);
    for (uint32_t i = 0; i < host->slot_count; i++)
        count += scan_write_held(&host->slots[i], now, &items);
    LIST_EACH(node, &host->outbox.entries)
    {
        const struct outbox_entry *entry = LIST_ENTRY(node, struct outbox_entry, node);

        if (!entry->is_end)
            continue;
        wire_encode_held(&items, &entry->held);
        count++;
    }
    buf_clear(&beat->held);
    wire_encode_list(&beat->held, count);
    buf_put_span(&beat->held, buf_span(&items));
    beat->held.failed |= buf_has_failed(&items);
    buf_done(&items);
}

static void write_queues(struct beat *beat)
{
    struct serving_queue queues[SERVING_QUEUES];
    size_t count = 0;

    if (!serving_parse(beat->host->conf->queues, queues, &count))
        assert(false); /* main has refused such a list */
    buf_clear(&beat->queues);
    wire_encode_list(&beat->queues, (uint32_t)count);
    for (size_t i = 0; i < count; i++)
        wire_encode_name(&beat->queues, queues[i].name);
}

static void write_frame(struct beat *beat)
{
    struct host *host = beat->host;
    struct wire_beat message;

    write_held(beat, beat->sent_ns);
    write_queues(beat);
    buf_clear(&beat->tasks);
    registry_write(&host->registry, &beat->tasks);
    message = (struct wire_beat){
        .host = host->env.conf.host,
        .seq = ++beat->seq,
        .pid = (uint32_t)getpid(),
        .is_draining = host->env.is_draining,
        .started_at_ms = beat->started_at_ms,
        .slots = host->slot_count,
        .hostname = span_of_str(beat->hostname),
        .version = span_of_str(JM_VERSION),
        .held = buf_span(&beat->held),
        .tasks = buf_span(&beat->tasks),
        .queues = buf_span(&beat->queues),
    };
    buf_clear(&beat->frame);
    wire_encode_beat(&beat->frame, &message);
    beat->frame.failed |= buf_has_failed(&beat->held);
}

void beat_now(struct beat *beat)
{
    struct span words[4] = {span_of_str("HSET"), span_of_str(KEYS_HOSTS)};
    char name[17];

    if (beat->command.is_in_flight) {
        if (now_ns() - beat->sent_ns > UINT64_C(1000000) * BEAT_ANSWER_MS)
            redis_line_break(beat->host->link, "no answer to the heartbeat");
        return;
    }
    if (!redis_line_is_up(beat->host->link) || beat->host->state >= HOST_LEAVING)
        return;
    beat->sent_ns = now_ns();
    write_frame(beat);
    if (buf_has_failed(&beat->frame)) {
        log_error("no memory for a heartbeat");
        return;
    }
    keys_host_name(name, beat->host->env.conf.host);
    words[2] = span_of_str(name);
    words[3] = buf_span(&beat->frame);
    if (redis_line_send(beat->host->link, &beat->command, words, 4) != 0)
        log_debug("the heartbeat waits for the link");
}

static void on_timer(uv_timer_t *timer)
{
    beat_now(JM_CONTAINER_OF(timer, struct beat, timer));
}

int beat_open(struct beat *beat, struct host *host)
{
    *beat = (struct beat){
        .host = host, .command = {.done = on_beaten}, .started_at_ms = clock_wall_ms(clock_real())};
    buf_init(&beat->frame, BEAT_FRAME_BYTES);
    buf_init(&beat->held, BEAT_FRAME_BYTES);
    buf_init(&beat->tasks, BEAT_FRAME_BYTES);
    buf_init(&beat->queues, BEAT_FRAME_BYTES);
    if (gethostname(beat->hostname, sizeof(beat->hostname) - 1) != 0)
        beat->hostname[0] = '\0';
    if (uv_timer_init(&host->loop, &beat->timer) != 0 ||
        uv_timer_start(&beat->timer, on_timer, JM_HEARTBEAT_MS, JM_HEARTBEAT_MS) != 0)
        return JM_EIO;
    return 0;
}

void beat_close(struct beat *beat)
{
    uv_close((uv_handle_t *)&beat->timer, NULL);
    buf_done(&beat->frame);
    buf_done(&beat->held);
    buf_done(&beat->tasks);
    buf_done(&beat->queues);
}

int beat_withdraw(struct beat *beat, struct redis_command *command)
{
    struct span words[3] = {span_of_str("HDEL"), span_of_str(KEYS_HOSTS)};
    char name[17];

    keys_host_name(name, beat->host->env.conf.host);
    words[2] = span_of_str(name);
    return redis_line_send(beat->host->link, command, words, 3);
}
