#include "broker/ids.h"

#include "lib/crash.h"
#include "schema/id.h"

/* Two seconds of ids are reserved at a time, when less than one is left: one small row a second, in
 * a commit that is due anyway. No more, because a start goes on above the mark: until the clock has
 * caught up with it, ids (and the time of creation that they tell, and what is due so long after
 * it) are ahead by that much. For the same reason the first reservation of a life is small and each
 * one twice the one before: what a crash costs is about the time since the start, so that a broker
 * that is killed again and again does not run ahead of the clock further and further. */
#define RESERVE_FIRST_MS 250
#define RESERVE_MS 2000
#define MS_BITS (ID_NODE_BITS + ID_SEQUENCE_BITS)

void ids_init(struct ids *ids, struct clock *clock, struct runner *runner, unsigned node)
{
    *ids = (struct ids){
        .clock = clock, .runner = runner, .node = node, .reserve_ms = RESERVE_FIRST_MS / 2};
}

void ids_start(struct ids *ids, uint64_t highest)
{
    ids->last = highest;
    ids->high_water = highest;
}

static void on_reserved(struct store_op *op)
{
    struct ids_reserve *reserve = JM_CONTAINER_OF(op, struct ids_reserve, reserve.op);
    struct ids *ids = reserve->ids;

    CRASH_POINT("ids-reserved");
    reserve->is_open = false;
    if (op->status != 0 && ids->high_water == reserve->reserve.high_water)
        ids->high_water = ids->last; /* not stored: the next id has to ask again */
}

static struct ids_reserve *find_closed(struct ids *ids)
{
    for (size_t i = 0; i < IDS_RESERVES; i++)
        if (!ids->reserves[i].is_open)
            return &ids->reserves[i];
    return NULL;
}

/* In memory the mark rises at once: operations run in their order, so every insert that uses the
 * new ids is committed with or after the mark. (If the batch with the mark is refused, an insert of
 * a later one may still be stored, and then raises it.) On a slow disk the
 * small first ones may be used up before they are on disk; then the next goes out behind them. */
static void raise_mark(struct ids *ids, uint64_t next)
{
    struct ids_reserve *free = find_closed(ids);

    if (free == NULL)
        return;
    ids->reserve_ms = ids->reserve_ms * 2 < RESERVE_MS ? ids->reserve_ms * 2 : RESERVE_MS;
    ids->high_water = next + (ids->reserve_ms << MS_BITS);
    free->ids = ids;
    free->is_open = true;
    free->reserve = (struct store_reserve_ids){
        .op = {.kind = STORE_RESERVE_IDS, .on_done = on_reserved, .wants_sync = true, .bytes = 32},
        .high_water = ids->high_water,
    };
    list_init(&free->reserve.op.link);
    runner_submit(ids->runner, &free->reserve.op);
}

/* The next sequence number, or the first one of the next millisecond. The node bits stand between
 * the two and may not be carried into. */
uint64_t ids_after(uint64_t id)
{
    uint64_t sequence = id & ((1u << ID_SEQUENCE_BITS) - 1);

    if (sequence < (1u << ID_SEQUENCE_BITS) - 1)
        return id + 1;
    return id_make(id_wall_ms(id) + 1, id_node(id));
}

/* The stored mark may be of another node. */
static uint64_t successor(uint64_t id, unsigned node)
{
    return id_node(id) == node ? ids_after(id) : id_make(id_wall_ms(id) + 1, node);
}

uint64_t ids_take(struct ids *ids, size_t count)
{
    uint64_t now = id_make(clock_wall_ms(ids->clock), ids->node);
    uint64_t first = now > ids->last ? now : successor(ids->last, ids->node);
    uint64_t last = first;

    for (size_t i = 1; i < count; i++)
        last = ids_after(last);
    if (last + (ids->reserve_ms / 2 << MS_BITS) > ids->high_water)
        raise_mark(ids, last);
    if (last > ids->high_water)
        return 0;
    ids->last = last;
    return first;
}

uint64_t ids_next(struct ids *ids)
{
    return ids_take(ids, 1);
}
