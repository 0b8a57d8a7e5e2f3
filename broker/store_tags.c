/*
 * Tags: the array in `jobs` is what is shown, the rows of `tags` are what is searched. A tag that
 * is given twice has one row.
 */
#include "broker/store_inside.h"

#include "lib/mp.h"

static int each_tag(struct store *s, enum store_sql what, uint64_t id, struct span tags)
{
    struct mp_cursor c;
    uint32_t count = 0;
    struct span tag;
    int rc = SQLITE_OK;

    if (tags.len == 0)
        return SQLITE_OK;
    mp_open(&c, tags);
    if (!mp_next_array(&c, &count))
        return SQLITE_CORRUPT;
    while (rc == SQLITE_OK && count-- > 0) {
        struct store_query q = store_use(s, what);

        if (!mp_next_str(&c, &tag))
            return SQLITE_CORRUPT;
        store_query_put_text(&q, tag);
        store_query_put_int(&q, (int64_t)id);
        rc = store_query_run(&q);
    }
    return rc;
}

int store_tags_put(struct store *s, uint64_t id, struct span tags)
{
    return each_tag(s, SQL_TAG_PUT, id, tags);
}

int store_tags_delete(struct store *s, uint64_t id, struct span tags)
{
    return each_tag(s, SQL_TAG_DELETE, id, tags);
}
