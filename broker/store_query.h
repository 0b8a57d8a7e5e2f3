/*
 * store_query.h: a prepared statement while it is used. Parameters are bound and columns are read
 * in their order, so that nobody counts them. Spans bound are borrowed until the query is over;
 * spans read are borrowed until the next row or the end.
 *
 *     struct store_query q = store_query_of(stmt);
 *     store_query_put_int(&q, id);
 *     rc = store_query_first(&q, &has_row);
 *     if (rc == 0 && has_row) {
 *         attempt = (uint32_t)store_query_int(&q);
 *         store_query_end(&q);
 *     }
 *
 * For the store's and the reader's sources only; results are SQLite's codes.
 */
#ifndef BROKER_STORE_QUERY_H
#define BROKER_STORE_QUERY_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/attr.h"
#include "lib/span.h"

struct store_query {
    sqlite3_stmt *stmt;
    int bound;  /* parameters so far */
    int column; /* columns read of this row */
    int rc;     /* the first error of a bind */
};

static inline struct store_query store_query_of(sqlite3_stmt *stmt)
{
    return (struct store_query){.stmt = stmt};
}

static inline void store_query_keep(struct store_query *q, int rc)
{
    if (q->rc == SQLITE_OK)
        q->rc = rc;
}

static inline void store_query_put_int(struct store_query *q, int64_t value)
{
    store_query_keep(q, sqlite3_bind_int64(q->stmt, ++q->bound, value));
}

static inline void store_query_put_text(struct store_query *q, struct span text)
{
    const char *data = text.data ? (const char *)text.data : "";

    store_query_keep(
        q, sqlite3_bind_text64(q->stmt, ++q->bound, data, text.len, SQLITE_STATIC, SQLITE_UTF8));
}

/* An empty span becomes NULL. */
static inline void store_query_put_blob(struct store_query *q, struct span bytes)
{
    const void *data = bytes.len > 0 ? bytes.data : NULL;

    store_query_keep(q, sqlite3_bind_blob64(q->stmt, ++q->bound, data, bytes.len, SQLITE_STATIC));
}

static inline void store_query_end(struct store_query *q)
{
    (void)sqlite3_reset(q->stmt); /* repeats the error of the step, which was seen there */
}

/* The next row, if there is one; behind the last one or an error the query is over. */
static inline int store_query_next(struct store_query *q, bool *ret_has_row)
{
    int rc = q->rc == SQLITE_OK ? sqlite3_step(q->stmt) : q->rc;

    q->column = 0;
    if (rc != SQLITE_ROW)
        store_query_end(q);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return rc;
    *ret_has_row = rc == SQLITE_ROW;
    return SQLITE_OK;
}

/* A statement that gives no rows, run to its end. */
static inline int store_query_run(struct store_query *q)
{
    bool has_row = false;
    int rc = store_query_next(q, &has_row);

    if (has_row)
        store_query_end(q);
    return rc;
}

static inline int64_t store_query_int(struct store_query *q)
{
    return sqlite3_column_int64(q->stmt, q->column++);
}

static inline struct span store_query_bytes(struct store_query *q)
{
    const void *data = sqlite3_column_blob(q->stmt, q->column);
    int len = sqlite3_column_bytes(q->stmt, q->column);

    q->column++;
    return span_of(data, (size_t)len);
}

#endif
