/*
 * A new database of what can be read of a damaged one. A table is a tree, and a damaged page takes
 * with it what lies below it; whatever is beyond can still be reached, by looking for a larger
 * key. So a table with integer keys is read upwards until it breaks, then keys ever farther away
 * are tried until one can be found, the nearest such is looked for between the two, and so on to
 * the end; and what is left is read from the end downwards. Other tables are read from both ends.
 */
#include "broker/doctor_inside.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "broker/store_check.h"

struct table {
    struct doctor *doctor;
    sqlite3 *to;
    char name[64];
    char columns[512];
    char key[160]; /* the columns of the primary key */
    int column_count;
    bool has_rowid;
    sqlite3_stmt *insert;
    int64_t copied;
    int64_t refused; /* rows that contradict their table's types */
    bool is_broken;
};

static bool is_readable_error(int rc)
{
    return (rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_IOERR ||
           (rc & 0xff) == SQLITE_NOTADB;
}

/* Copies the row at hand. What a broken row does not fit into is refused, and counted. */
static int copy_row(struct table *t, sqlite3_stmt *row)
{
    int rc = SQLITE_OK;

    for (int i = 0; rc == SQLITE_OK && i < t->column_count; i++)
        rc = sqlite3_bind_value(t->insert, i + 1, sqlite3_column_value(row, i));
    if (rc == SQLITE_OK)
        rc = sqlite3_step(t->insert);
    (void)sqlite3_reset(t->insert);
    if ((rc & 0xff) == SQLITE_CONSTRAINT) {
        t->refused++;
        if (t->has_rowid && strcmp(t->name, "lanes") != 0 && strcmp(t->name, "quarantine") != 0)
            doctor_report_lose(&t->doctor->report, sqlite3_column_int64(row, 0));
        return SQLITE_OK;
    }
    t->copied += rc == SQLITE_DONE;
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Reads what the query gives, until it breaks: then that is in `ret_breaks`. */
static int copy_query(struct table *t, const char *sql, int64_t from, int64_t *ret_last,
                      bool *ret_breaks)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(t->doctor->db, sql, -1, &stmt, NULL);

    if (rc == SQLITE_OK && sqlite3_bind_parameter_count(stmt) > 0)
        rc = sqlite3_bind_int64(stmt, 1, from);
    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        *ret_last = sqlite3_column_int64(stmt, 0);
        rc = copy_row(t, stmt);
    }
    *ret_breaks = is_readable_error(rc);
    (void)sqlite3_finalize(stmt);
    return rc == SQLITE_DONE || *ret_breaks ? SQLITE_OK : rc;
}

/* Whether a row can be found at or above `id`; then which. */
static bool can_find(struct table *t, int64_t id, int64_t *ret_found)
{
    char sql[700];
    sqlite3_stmt *stmt = NULL;
    bool is_found = false;

    snprintf(sql, sizeof(sql),
             "SELECT %s FROM main.%s WHERE rowid >= %" PRId64 " ORDER BY rowid LIMIT 1", t->columns,
             t->name, id);
    if (sqlite3_prepare_v2(t->doctor->db, sql, -1, &stmt, NULL) == SQLITE_OK)
        is_found = sqlite3_step(stmt) == SQLITE_ROW;
    if (is_found)
        *ret_found = sqlite3_column_int64(stmt, 0);
    (void)sqlite3_finalize(stmt);
    return is_found;
}

/* The nearest row beyond the break behind `last`; false: none can be found. */
static bool find_beyond(struct table *t, int64_t last, int64_t *ret_next)
{
    int64_t low = last, high = 0;
    bool is_found = false;

    for (int64_t step = 1; !is_found && step > 0 && last <= INT64_MAX - step; step *= 2) {
        low = high > 0 ? high : last;
        high = last + step;
        is_found = can_find(t, high, ret_next);
        if (step > INT64_MAX / 2)
            break;
    }
    while (is_found && high - low > 1) {
        int64_t middle = low + (high - low) / 2;

        if (can_find(t, middle, ret_next))
            high = middle;
        else
            low = middle;
    }
    return is_found && can_find(t, high, ret_next);
}

static void tell_gap(struct table *t, int64_t last, int64_t next)
{
    doctor_report_note(&t->doctor->report,
                       "Of the table %s no row between the ids %" PRId64 " and %" PRId64
                       " could be read.",
                       t->name, last, next);
}

/* Queries begin at a key, and not above one: what is above may be in another leaf than what is
 * looked for, which is the damaged one. Each round begins at a larger key than the one before. */
static int copy_by_rowid(struct table *t)
{
    char upwards[700], downwards[720];
    int64_t from = 1, last = 0, lowest = INT64_MAX;
    bool breaks = true;
    int rc = SQLITE_OK;

    snprintf(upwards, sizeof(upwards), "SELECT %s FROM main.%s WHERE rowid >= ? ORDER BY rowid",
             t->columns, t->name);
    snprintf(downwards, sizeof(downwards), "%s DESC", upwards);
    for (;;) {
        rc = copy_query(t, upwards, from, &last, &breaks);
        if (rc != SQLITE_OK || !breaks)
            return rc;
        t->is_broken = true;
        if (last < from)
            last = from;
        if (!find_beyond(t, last, &from))
            break;
        tell_gap(t, last, from);
    }
    rc = copy_query(t, downwards, last, &lowest, &breaks);
    tell_gap(t, last, lowest);
    return rc;
}

static int copy_from_both_ends(struct table *t)
{
    char sql[1100], back[320] = "";
    int64_t ignored = 0;
    bool breaks = false;
    int rc;

    snprintf(sql, sizeof(sql), "SELECT %s FROM main.%s ORDER BY %s", t->columns, t->name, t->key);
    rc = copy_query(t, sql, 0, &ignored, &breaks);
    if (rc != SQLITE_OK || !breaks)
        return rc;
    t->is_broken = true;
    for (const char *at = t->key; *at != '\0';) {
        int len = (int)strcspn(at, ",");
        size_t used = strlen(back);

        snprintf(back + used, sizeof(back) - used, "%s%.*s DESC", used > 0 ? "," : "", len, at);
        at += len + (at[len] == ',');
    }
    snprintf(sql, sizeof(sql), "SELECT %s FROM main.%s ORDER BY %s", t->columns, t->name, back);
    return copy_query(t, sql, 0, &ignored, &breaks);
}

/* Its columns, as the schema has them. */
static int describe(struct table *t, const char *name, bool has_rowid)
{
    char sql[1200];
    sqlite3_stmt *stmt = NULL;
    int rc;

    snprintf(t->name, sizeof(t->name), "%s", name);
    t->has_rowid = has_rowid;
    snprintf(sql, sizeof(sql),
             "SELECT group_concat(name), count(*), (SELECT group_concat(name) FROM (SELECT name"
             " FROM pragma_table_info('%s') WHERE pk > 0 ORDER BY pk))"
             " FROM pragma_table_info('%s')",
             name, name);
    rc = sqlite3_prepare_v2(t->to, sql, -1, &stmt, NULL);
    if (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        snprintf(t->columns, sizeof(t->columns), "%s", (const char *)sqlite3_column_text(stmt, 0));
        snprintf(t->key, sizeof(t->key), "%s", (const char *)sqlite3_column_text(stmt, 2));
        t->column_count = sqlite3_column_int(stmt, 1);
        rc = SQLITE_OK;
    }
    (void)sqlite3_finalize(stmt);
    snprintf(sql, sizeof(sql), "INSERT OR IGNORE INTO %s (%s) VALUES (?", name, t->columns);
    for (int i = 1; i < t->column_count; i++)
        strncat(sql, ",?", sizeof(sql) - strlen(sql) - 1);
    strncat(sql, ")", sizeof(sql) - strlen(sql) - 1);
    return rc == SQLITE_OK ? sqlite3_prepare_v2(t->to, sql, -1, &t->insert, NULL) : rc;
}

static int copy_table(struct doctor *d, sqlite3 *to, const char *name, bool has_rowid)
{
    struct table t = {.doctor = d, .to = to};
    int rc = describe(&t, name, has_rowid);

    if (rc == SQLITE_OK)
        rc = has_rowid ? copy_by_rowid(&t) : copy_from_both_ends(&t);
    (void)sqlite3_finalize(t.insert);
    if (rc == SQLITE_ERROR) { /* the schema does not know it any more */
        t.is_broken = true;
        rc = SQLITE_OK;
    }
    if ((t.is_broken || t.refused > 0) && strcmp(name, "counts") == 0)
        d->report.unnamed = DOCTOR_UNNAMED_UNKNOWN;
    if (t.is_broken || t.refused > 0)
        doctor_report_note(&d->report,
                           "Of the table %s a part could not be read; %" PRId64
                           " rows of it could, %" PRId64 " more were no rows of such a table.",
                           name, t.copied, t.refused);
    return rc;
}

static int copy_tables(struct doctor *d, sqlite3 *to)
{
    static const char list[] = "SELECT name, sql NOT LIKE '%WITHOUT ROWID%' FROM sqlite_schema"
                               " WHERE type = 'table' AND sql IS NOT NULL ORDER BY rowid";
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(to, list, -1, &stmt, NULL);

    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
        rc = copy_table(d, to, (const char *)sqlite3_column_text(stmt, 0),
                        sqlite3_column_int(stmt, 1) != 0);
    (void)sqlite3_finalize(stmt);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int make(struct doctor *d, const char *path, sqlite3 **ret_to)
{
    char version[60];
    sqlite3 *model = NULL;
    sqlite3_backup *copy = NULL;
    int rc = store_check_model(d->version, &model);

    if (rc == SQLITE_OK)
        rc = sqlite3_open_v2(
            path, ret_to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(model, "PRAGMA auto_vacuum = INCREMENTAL; VACUUM", NULL, NULL, NULL);
    if (rc == SQLITE_OK) {
        copy = sqlite3_backup_init(*ret_to, "main", model, "main");
        rc = copy == NULL ? sqlite3_errcode(*ret_to) : sqlite3_backup_step(copy, -1);
        rc = rc == SQLITE_DONE ? SQLITE_OK : rc;
        (void)sqlite3_backup_finish(copy);
    }
    snprintf(version, sizeof(version), "PRAGMA user_version = %" PRId64, d->version);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(*ret_to, version, NULL, NULL, NULL);
    (void)sqlite3_close(model);
    return rc;
}

/* One transaction; SQLite syncs the file at its end, since this one has a rollback journal. */
int doctor_salvage(struct doctor *d, const char *path)
{
    sqlite3 *to = NULL;
    int rc;

    (void)unlink(path);
    rc = make(d, path, &to);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(to, "PRAGMA synchronous = FULL; BEGIN", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = copy_tables(d, to);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(to, "COMMIT", NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        (void)doctor_stop(d, "Cannot write %.150s: %.80s.", path, sqlite3_errmsg(to));
    if (sqlite3_close(to) != SQLITE_OK && rc == SQLITE_OK)
        rc = SQLITE_BUSY;
    return rc;
}
