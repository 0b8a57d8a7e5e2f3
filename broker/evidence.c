#include "broker/evidence.h"

#include <msgpack.h>

#include "lib/mp.h"
#include "lib/utf8.h"
#include "schema/errors.h"
#include "schema/name.h"

static void put_str(msgpack_packer *pk, const char *text, size_t len)
{
    msgpack_pack_str(pk, len);
    msgpack_pack_str_body(pk, text, len);
}

static void put_word(msgpack_packer *pk, const char *name, const char *word)
{
    put_str(pk, name, strlen(name));
    put_str(pk, word, strlen(word));
}

static void put_text(msgpack_packer *pk, const char *name, struct span text, size_t max_bytes)
{
    uint8_t clean[JM_STDERR_TAIL_BYTES];
    size_t len = utf8_clean(text, max_bytes, clean);

    put_str(pk, name, strlen(name));
    put_str(pk, (const char *)clean, len);
}

static void put_number(msgpack_packer *pk, const char *name, uint64_t value)
{
    if (value == 0)
        return;
    put_str(pk, name, strlen(name));
    msgpack_pack_uint64(pk, value);
}

/* The task's own word for its failure; what is no name is not kept. */
static struct span task_code_of(int error, const struct wire_event *event)
{
    bool is_own = event->kind == WIRE_FAILED && error == JM_ETASKFAILED &&
                  name_is_valid(event->code, JM_ERROR_CODE_BYTES) &&
                  !span_is_str(event->code, errors_code(JM_ETASKFAILED));

    return is_own ? event->code : span_of(NULL, 0);
}

/* Of a tail the end matters: what doesn't fit is cut from its front. */
static struct span tail_of(struct span text, size_t max_bytes)
{
    if (text.len <= max_bytes)
        return text;
    return span_of(text.data + text.len - max_bytes, max_bytes);
}

void evidence_encode(struct buf *out, int error, const struct wire_event *event)
{
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        {"signal", event->signal},
        {"exit_status", event->exit_status},
        {"user_us", event->user_us},
        {"system_us", event->system_us},
        {"maxrss_bytes", event->maxrss_bytes},
    };
    struct span tail = tail_of(event->stderr_tail, JM_STDERR_TAIL_BYTES);
    struct span task_code = task_code_of(error, event);
    size_t fields = tail.len > 0 ? 3 : 2;
    msgpack_packer pk;

    fields += task_code.len > 0;
    for (size_t i = 0; i < JM_COUNT_OF(numbers); i++)
        fields += numbers[i].value != 0;
    msgpack_packer_init(&pk, out, buf_write_msgpack);
    msgpack_pack_map(&pk, fields);
    put_word(&pk, "code", errors_code(error));
    if (event->message.len > 0)
        put_text(&pk, "message", event->message, JM_ERROR_MESSAGE_BYTES);
    else
        put_word(&pk, "message", errors_title(error));
    if (task_code.len > 0)
        put_text(&pk, "task_code", task_code, JM_ERROR_CODE_BYTES);
    for (size_t i = 0; i < JM_COUNT_OF(numbers); i++)
        put_number(&pk, numbers[i].name, numbers[i].value);
    if (tail.len > 0)
        put_text(&pk, "stderr", tail, JM_STDERR_TAIL_BYTES);
}

struct span evidence_text(struct span evidence, const char *member)
{
    struct mp_cursor c;
    struct span key;
    struct span value;
    uint32_t pairs;

    mp_open(&c, evidence);
    if (!mp_next_map(&c, &pairs))
        return span_of(NULL, 0);
    while (pairs-- > 0 && mp_next_str(&c, &key)) {
        if (span_is_str(key, member))
            return mp_next_str(&c, &value) ? value : span_of(NULL, 0);
        if (!mp_skip(&c, MP_DEPTH_LIMIT, &value))
            break;
    }
    return span_of(NULL, 0);
}
