#include "worker/serving.h"

#include <string.h>

#include "schema/limits.h"
#include "schema/name.h"

/* "name", "name:" or "name:123". */
static bool parse_entry(struct span entry, struct serving_queue *ret_queue)
{
    size_t colon = entry.len;
    uint32_t weight = 0;

    while (colon > 0 && entry.data[colon - 1] >= '0' && entry.data[colon - 1] <= '9')
        colon--;
    if (colon == 0 || entry.data[colon - 1] != ':') { /* the digits, if any, are of the name */
        *ret_queue = (struct serving_queue){.name = entry};
        return name_is_valid(entry, JM_QUEUE_NAME_BYTES);
    }
    for (size_t i = colon; i < entry.len && weight <= JM_QUEUE_WEIGHT_LIMIT; i++)
        weight = 10 * weight + (uint32_t)(entry.data[i] - '0');
    *ret_queue = (struct serving_queue){.name = span_of(entry.data, colon - 1), .weight = weight};
    return name_is_valid(ret_queue->name, JM_QUEUE_NAME_BYTES) && weight <= JM_QUEUE_WEIGHT_LIMIT &&
           (weight > 0 || colon == entry.len);
}

bool serving_parse(const char *list, struct serving_queue ret_queues[SERVING_QUEUES],
                   size_t *ret_count)
{
    size_t count = 0;

    for (const char *at = list;; at++) {
        size_t len = strcspn(at, ",");

        if (count == SERVING_QUEUES || !parse_entry(span_of(at, len), &ret_queues[count]))
            return false;
        count++;
        at += len;
        if (*at == '\0')
            break;
    }
    *ret_count = count;
    return true;
}

/* splitmix64: a sequence that is even enough, from any seed. */
static uint64_t draw(uint64_t *seed)
{
    uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t weight_of(const struct serving_queue *queue)
{
    return queue->weight > 0 ? queue->weight : 1;
}

/* Whose turn it is: an index into `order`, from `from` on, each as likely as its weight is of
 * `total`. */
static size_t pick(const struct serving_queue *queues, const size_t *order, size_t from,
                   uint64_t total, uint64_t *seed)
{
    uint64_t left = draw(seed) % total;
    size_t at = from;

    while (left >= weight_of(&queues[order[at]]))
        left -= weight_of(&queues[order[at++]]);
    return at;
}

void serving_order(const struct serving_queue *queues, size_t count, uint64_t *seed,
                   size_t ret_order[SERVING_QUEUES])
{
    uint64_t total = 0;
    bool is_weighted = false;

    for (size_t i = 0; i < count; i++) {
        ret_order[i] = i;
        total += weight_of(&queues[i]);
        is_weighted = is_weighted || queues[i].weight > 0;
    }
    for (size_t i = 0; is_weighted && i < count; i++) {
        size_t at = pick(queues, ret_order, i, total, seed);
        size_t queue = ret_order[at];

        ret_order[at] = ret_order[i];
        ret_order[i] = queue;
        total -= weight_of(&queues[queue]);
    }
}
