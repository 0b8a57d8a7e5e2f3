/*
 * Any bytes as the small texts that people and programs send: ids, times, names, numbers with
 * units, addresses, media types, Accept and Prefer, lists of queues. What is taken is inside its
 * bounds, and what has a form of ours comes back the same from that form.
 */
#include <stdlib.h>
#include <string.h>

#include "broker/body.h"
#include "broker/query.h"
#include "broker/redis_link.h"
#include "lib/opt.h"
#include "lib/rfc3339.h"
#include "schema/id.h"
#include "schema/limits.h"
#include "schema/name.h"
#include "worker/serving.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void try_time(struct span text)
{
    char shown[RFC3339_BYTES];
    int64_t wall_ms, again_ms;

    if (!rfc3339_parse(text, &wall_ms))
        return;
    rfc3339_format(wall_ms, shown);
    require(rfc3339_parse(span_of_str(shown), &again_ms));
    /* An offset may lead out of the years that can be written. */
    require(again_ms == wall_ms || wall_ms < INT64_C(-62167219200000) ||
            wall_ms > INT64_C(253402300799999));
}

static void try_id(struct span text)
{
    char shown[ID_TEXT_BYTES];
    uint64_t id, again;

    if (!id_parse(text, &id))
        return;
    require(id > 0 && id <= ID_MAX);
    id_format(id, shown);
    require(id_parse(span_of_str(shown), &again) && again == id);
}

static void try_numbers(const char *text)
{
    static const enum opt_type types[] = {OPT_U64, OPT_BYTES, OPT_DURATION};
    struct redis_address address;
    uint64_t value;

    for (size_t i = 0; i < JM_COUNT_OF(types); i++)
        if (opt_parse_number(types[i], text, &value))
            require(text[0] >= '0' && text[0] <= '9');
    if (redis_address_parse(text, &address) == 0)
        require(address.path[0] != '\0' ? strlen(address.path) < sizeof(address.path)
                                        : address.port >= 1 && address.port <= 65535);
}

static void try_queues(const char *text)
{
    struct serving_queue queues[SERVING_QUEUES];
    size_t order[SERVING_QUEUES], count = 0;
    uint64_t seed = 1;
    bool was_seen[SERVING_QUEUES] = {false};

    if (!serving_parse(text, queues, &count))
        return;
    require(count >= 1 && count <= SERVING_QUEUES);
    serving_order(queues, count, &seed, order);
    for (size_t i = 0; i < count; i++) {
        require(name_is_valid(queues[i].name, JM_QUEUE_NAME_BYTES));
        require(order[i] < count && !was_seen[order[i]]);
        was_seen[order[i]] = true;
    }
}

static void try_headers(struct span text)
{
    struct body_wish wish = {.ranges = 0};
    enum body_form form = BODY_FORM_COUNT;
    struct fault fault;

    if (body_parse_content_type(text, &form, &fault) == 0)
        require(form < BODY_FORM_COUNT);
    if (body_parse_batch_type(text, &form, &fault) == 0)
        require(form < BODY_FORM_COUNT);
    body_add_accept(&wish, text);
    for (int i = 0; i < BODY_FORM_COUNT; i++)
        require(wish.quality[i] >= 0 && wish.quality[i] <= 1000);
    if (body_choose(&wish, 1u << BODY_JSON | 1u << BODY_MSGPACK, &form) == 0)
        require(form == BODY_JSON || form == BODY_MSGPACK);
    require(query_parse_prefer(text) <= (uint64_t)JM_WAIT_LIMIT_S * 1000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = span_of(data, size);
    char *copy = malloc(size + 1);

    require(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    copy[size] = '\0';
    try_time(text);
    try_id(text);
    try_headers(text);
    try_numbers(copy);
    try_queues(copy);
    if (name_is_valid(text, JM_TASK_NAME_BYTES))
        require(size >= 1 && size <= JM_TASK_NAME_BYTES && strlen(copy) == size);
    free(copy);
    return 0;
}
