/*
 * Small things that the broker remembers: tasks, and single numbers.
 */
#include "broker/store_inside.h"

int store_meta_get(struct store *s, const char *name, int64_t *ret_value)
{
    struct store_query q = store_use(s, SQL_META_GET);
    bool found = false;
    int rc;

    store_query_put_text(&q, span_of_str(name));
    rc = store_query_next(&q, &found);
    if (rc != SQLITE_OK)
        return rc;
    *ret_value = 0;
    if (found) {
        *ret_value = store_query_int(&q);
        store_query_end(&q);
    }
    return SQLITE_OK;
}

static int put(struct store *s, enum store_sql how, const char *name, int64_t value)
{
    struct store_query q = store_use(s, how);

    store_query_put_text(&q, span_of_str(name));
    store_query_put_int(&q, value);
    return store_query_run(&q);
}

int store_meta_put(struct store *s, const char *name, int64_t value)
{
    return put(s, SQL_META_PUT, name, value);
}

int store_meta_raise(struct store *s, const char *name, int64_t value)
{
    return put(s, SQL_META_RAISE, name, value);
}

/* A host says the same at every beat: only what changed is written, or is a minute old. */
int store_learn(struct store *s, struct store_learn *op, int *ret_status)
{
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < op->count; i++) {
        struct store_query q = store_use(s, SQL_TASK_PUT);

        store_query_put_text(&q, op->tasks[i].name);
        store_query_put_text(&q, op->tasks[i].kind);
        store_query_put_text(&q, op->tasks[i].doc);
        store_query_put_int(&q, clock_wall_ms(s->conf.clock));
        store_query_put_int(&q, JM_TASKS);
        rc = store_query_run(&q);
    }
    *ret_status = 0;
    return rc;
}

int store_reserve_ids(struct store *s, struct store_reserve_ids *op, int *ret_status)
{
    *ret_status = 0;
    return store_note_id(s, op->high_water);
}

/* A mark may have been refused, for want of room, that an insert behind it in the next batch counts
 * on. */
int store_note_id(struct store *s, uint64_t id)
{
    int rc = SQLITE_OK;

    if (id > s->id_mark)
        rc = store_meta_raise(s, "id_high_water", (int64_t)id);
    if (rc == SQLITE_OK && id > s->id_mark)
        s->id_mark = id;
    return rc;
}

int store_probe(struct store *s, struct store_probe *op, int *ret_status)
{
    (void)op;
    *ret_status = 0;
    return store_meta_put(s, "probe", clock_wall_ms(s->conf.clock));
}
