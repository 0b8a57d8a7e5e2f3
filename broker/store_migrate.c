/*
 * From whatever the database file is to the present schema. PRAGMA user_version counts the steps of
 * schema/sql that were applied, PRAGMA application_id says that it is ours; both are in the file's
 * header, and each step sets user_version in its own transaction, so that a crash in between leaves
 * a database of a known age. Nothing is written before the file is known to be ours.
 */
#include "broker/store_db.h"

#include <stdio.h>

#include "broker/store_check.h"
#include "broker/store_query.h"
#include "lib/crash.h"
#include "schema/errors.h"
#include "schema/migrations.h"

enum { OUR_APPLICATION_ID = 0x4a4d494c }; /* "JMIL", as in the first migration */

static int ask(sqlite3 *db, const char *sql, int64_t *ret_value)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);

    if (rc == SQLITE_OK) {
        rc = sqlite3_step(stmt);
        if (rc == SQLITE_ROW) {
            *ret_value = sqlite3_column_int64(stmt, 0);
            rc = SQLITE_OK;
        }
    }
    (void)sqlite3_finalize(stmt);
    return rc;
}

static int say(sqlite3 *db, int rc, const char *path, char ret_sentence[256])
{
    int error = store_db_error(rc);

    store_db_say(path, error, sqlite3_errmsg(db), ret_sentence);
    return error;
}

/* Else a step would be applied to something else than it was made for. */
static int check_schema(sqlite3 *db, int64_t version, const char *path, char ret_sentence[256])
{
    char what[80], detail[128];
    int rc = store_check_schema(db, version, what);

    if (rc != SQLITE_OK)
        return say(db, rc, path, ret_sentence);
    if (what[0] == '\0')
        return 0;
    snprintf(detail, sizeof(detail), "of schema %lld, but %s", (long long)version, what);
    store_db_say(path, JM_ECORRUPT, detail, ret_sentence);
    return JM_ECORRUPT;
}

static int check_owner(sqlite3 *db, const char *path, int64_t *ret_version, char ret_sentence[256])
{
    int64_t application = 0;
    int64_t tables = 0;
    size_t newest = 0;
    int rc = ask(db, "PRAGMA application_id", &application);

    if (rc == SQLITE_OK)
        rc = ask(db, "PRAGMA user_version", ret_version);
    if (rc == SQLITE_OK)
        rc = ask(db, "SELECT count(*) FROM sqlite_schema", &tables);
    if (rc != SQLITE_OK)
        return say(db, rc, path, ret_sentence);
    (void)migrations_all(&newest);
    if (application != OUR_APPLICATION_ID && (application != 0 || tables != 0)) {
        snprintf(ret_sentence, 256,
                 "%.120s is a database of another program, or its head is damaged: choose another "
                 "file, or restore a backup.",
                 path);
        return JM_ECORRUPT;
    }
    if (*ret_version > (int64_t)newest) {
        snprintf(ret_sentence, 256,
                 "%.120s has schema %lld, and this broker (" JM_VERSION
                 ") knows no newer than %zu: run the newer broker, or restore a backup.",
                 path, (long long)*ret_version, newest);
        return JM_ESCHEMA;
    }
    if (*ret_version < 0 || (*ret_version == 0 && tables != 0)) {
        store_db_say(path, JM_ECORRUPT, "it has tables, but no version", ret_sentence);
        return JM_ECORRUPT;
    }
    return check_schema(db, *ret_version, path, ret_sentence);
}

static int apply_step(sqlite3 *db, const struct migration *step)
{
    char version[48];
    int rc = sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL);

    if (rc != SQLITE_OK)
        return rc;
    snprintf(version, sizeof(version), "PRAGMA user_version = %u", step->number);
    rc = sqlite3_exec(db, step->sql, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, version, NULL, NULL, NULL);
    CRASH_POINT("in-migration");
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    CRASH_POINT("after-migration");
    return rc; /* what is open of a failed one goes with the connection */
}

int store_db_migrate(sqlite3 *db, const char *path, char ret_sentence[256])
{
    int64_t version = 0;
    size_t count;
    const struct migration *steps = migrations_all(&count);
    int rc = check_owner(db, path, &version, ret_sentence);

    if (rc != 0)
        return rc;
    /* Only a new file can be made so that it gives space back page by page. */
    rc = sqlite3_exec(db, "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL", NULL, NULL,
                      NULL);
    for (size_t i = (size_t)version; rc == SQLITE_OK && i < count; i++)
        rc = apply_step(db, &steps[i]);
    return rc == SQLITE_OK ? 0 : say(db, rc, path, ret_sentence);
}
