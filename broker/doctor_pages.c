/*
 * Below the rows: SQLite's own check of every page, table and index, and whether the tables and
 * indexes are those of the schema. An index can be made anew from its table; a table that cannot be
 * read as a whole needs a salvage.
 */
#include "broker/doctor_inside.h"

#include <stdio.h>
#include <string.h>

#include "broker/store_check.h"

enum { COMPLAINTS = 100, COMPLAINTS_SHOWN = 3 };

/* What is no table or index of ours is the user's own affair. */
static const char bad_schema[] =
    "SELECT m.type, m.name, m.sql, s.sql IS NOT NULL FROM model.sqlite_schema m"
    " LEFT JOIN main.sqlite_schema s ON s.name = m.name"
    " WHERE m.sql IS NOT NULL AND (s.sql IS NULL OR m.sql <> s.sql)"
    " ORDER BY m.type DESC";

int doctor_ask(sqlite3 *db, const char *sql, int64_t *ret_value)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        *ret_value = sqlite3_column_int64(stmt, 0);
        rc = SQLITE_OK;
    }
    (void)sqlite3_finalize(stmt);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* The schema as it has to be, as a second database of the connection. */
static int attach_model(struct doctor *d)
{
    sqlite3 *model = NULL;
    sqlite3_backup *copy = NULL;
    int64_t count = 0;
    int rc =
        doctor_ask(d->db, "SELECT count(*) FROM pragma_database_list WHERE name = 'model'", &count);

    if (rc != SQLITE_OK || count > 0)
        return rc;
    rc = store_check_model(d->version, &model);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(d->db, "ATTACH ':memory:' AS model", NULL, NULL, NULL);
    if (rc == SQLITE_OK) {
        copy = sqlite3_backup_init(d->db, "model", model, "main");
        rc = copy == NULL ? sqlite3_errcode(d->db) : sqlite3_backup_step(copy, -1);
        if (rc == SQLITE_DONE)
            rc = SQLITE_OK;
        (void)sqlite3_backup_finish(copy);
    }
    (void)sqlite3_close(model);
    return rc;
}

static int check_schema(struct doctor *d)
{
    sqlite3_stmt *stmt = NULL;
    int rc = attach_model(d);

    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(d->db, bad_schema, -1, &stmt, NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *type = (const char *)sqlite3_column_text(stmt, 0);
        const char *name = (const char *)sqlite3_column_text(stmt, 1);
        bool is_there = sqlite3_column_int(stmt, 3) != 0, is_table = strcmp(type, "table") == 0;

        doctor_report_add(&d->report, "schema",
                          !is_table  ? "It is made anew from its table."
                          : is_there ? "Its definition is set to that of the schema."
                                     : "It is made anew, empty: what was in it is gone.",
                          "The %s %.64s %s.", type, name,
                          is_there ? "is another one" : "is missing");
        rc = SQLITE_OK;
    }
    (void)sqlite3_finalize(stmt);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static bool is_about_an_index(const char *complaint)
{
    return strstr(complaint, "missing from index") != NULL ||
           strstr(complaint, "# of entries in index") != NULL ||
           strstr(complaint, "non-unique entry in index") != NULL;
}

static void note_complaint(struct doctor *d, const char *complaint, int *count)
{
    bool is_index = is_about_an_index(complaint);
    char line[200];

    d->has_bad_index |= is_index;
    d->is_damaged |= !is_index;
    if (++*count > COMPLAINTS_SHOWN)
        return;
    snprintf(line, sizeof(line), "%s", complaint);
    for (char *at = line; (at = strchr(at, '\n')) != NULL;)
        *at = ' ';
    doctor_report_add(&d->report, is_index ? "index" : "pages",
                      is_index ? "The indexes are made anew from their tables."
                               : "What can be read goes into a new database, which takes the "
                                 "place of this one.",
                      "SQLite says: %s.", line);
}

/* A check that breaks off has found damage too. */
static int check_integrity(struct doctor *d)
{
    sqlite3_stmt *stmt = NULL;
    int count = 0;
    int rc = sqlite3_prepare_v2(d->db, "PRAGMA main.integrity_check(100)", -1, &stmt, NULL);

    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *complaint = (const char *)sqlite3_column_text(stmt, 0);

        if (complaint != NULL && strcmp(complaint, "ok") != 0)
            note_complaint(d, complaint, &count);
        rc = SQLITE_OK;
    }
    if (rc != SQLITE_DONE && (rc & 0xff) != SQLITE_NOMEM)
        note_complaint(d, sqlite3_errmsg(d->db), &count);
    (void)sqlite3_finalize(stmt);
    if (count > COMPLAINTS_SHOWN)
        doctor_report_note(&d->report, "SQLite's check said %d%s things, of which three are shown.",
                           count, count >= COMPLAINTS ? " or more" : "");
    return (rc & 0xff) == SQLITE_NOMEM ? rc : SQLITE_OK;
}

int doctor_pages_check(struct doctor *d)
{
    int rc = check_schema(d);

    return rc == SQLITE_OK ? check_integrity(d) : rc;
}

/* Its definition is only text, which says how the rows are to be read. */
int doctor_pages_define(struct doctor *d)
{
    int rc = attach_model(d);

    if (rc == SQLITE_OK)
        rc = sqlite3_exec(d->db,
                          "UPDATE main.sqlite_schema AS s SET sql = (SELECT m.sql FROM"
                          " model.sqlite_schema m WHERE m.name = s.name) WHERE type = 'table'"
                          " AND EXISTS (SELECT 1 FROM model.sqlite_schema m"
                          " WHERE m.name = s.name AND m.sql <> s.sql);"
                          "PRAGMA writable_schema = RESET; PRAGMA writable_schema = ON",
                          NULL, NULL, NULL);
    return rc;
}

static int make_anew(struct doctor *d)
{
    sqlite3_stmt *stmt = NULL;
    struct buf sql;
    int rc = sqlite3_prepare_v2(d->db, bad_schema, -1, &stmt, NULL);

    buf_init(&sql, 1 << 20);
    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        if (sqlite3_column_int(stmt, 3) != 0)
            buf_printf(&sql, "DROP INDEX main.%s;", (const char *)sqlite3_column_text(stmt, 1));
        buf_printf(&sql, "%s;", (const char *)sqlite3_column_text(stmt, 2));
        rc = SQLITE_OK;
    }
    (void)sqlite3_finalize(stmt);
    buf_put_u8(&sql, 0);
    if (rc == SQLITE_DONE)
        rc = buf_has_failed(&sql) ? SQLITE_NOMEM
                                  : sqlite3_exec(d->db, (const char *)sql.data, NULL, NULL, NULL);
    buf_done(&sql);
    return rc;
}

static void set_mended(struct doctor *d)
{
    static const char *const codes[] = {"schema", "index", "pages"};

    for (size_t i = 0; i < d->report.count; i++)
        for (size_t j = 0; j < JM_COUNT_OF(codes); j++)
            if (strcmp(d->report.findings[i].code, codes[j]) == 0)
                d->report.findings[i].is_mended = true;
}

int doctor_pages_repair(struct doctor *d)
{
    int64_t is_whole = 0;
    int rc = doctor_pages_define(d);

    if (rc == SQLITE_OK)
        rc = make_anew(d);
    if (rc == SQLITE_OK && d->has_bad_index)
        rc = sqlite3_exec(d->db, "REINDEX", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = doctor_ask(
            d->db, "SELECT count(*) FROM pragma_integrity_check(1) WHERE integrity_check = 'ok'",
            &is_whole);
    if (rc == SQLITE_OK && is_whole == 1)
        set_mended(d);
    return rc;
}
