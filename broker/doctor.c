/*
 * The order of things: the lock, so that no broker uses the database; the files, as a start looks
 * at them; then pages, schema and rows. With --repair the files are copied first. What is wrong
 * with rows is mended in place, in one transaction. A table that cannot be read as a whole is
 * copied row by row into "DB.salvaged", which is mended there and takes the database's place at the
 * very end: from when that file is complete the mark in the lock file says so, and whoever dies
 * behind it leaves something that the next doctor ends.
 *
 * While the log is damaged, looking at the database through SQLite would be a repair: it forgets
 * what it cannot use, and nobody could tell any more that there was something.
 */
#include "broker/doctor_inside.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/redis_clean.h"
#include "broker/store_check.h"
#include "broker/store_db.h"
#include "broker/store_wal.h"
#include "schema/errors.h"
#include "schema/migrations.h"

enum { REPORT_BYTES = 128 << 20 };

int doctor_stop(struct doctor *d, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    if (d->error[0] == '\0')
        vsnprintf(d->error, sizeof(d->error), fmt, args);
    va_end(args);
    return DOCTOR_CANNOT_RUN;
}

static int stop_by(struct doctor *d, int rc)
{
    return doctor_stop(d, "Cannot read %.120s: %.100s.", d->conf.db,
                       d->db != NULL ? sqlite3_errmsg(d->db) : sqlite3_errstr(rc));
}

/* ---- the database ---- */

/* With a schema that may be written SQLite also opens a file that is cut, and passes over a table
 * whose definition is none. */
static int open_db(struct doctor *d, const char *path)
{
    int rc = sqlite3_open_v2(
        path, &d->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_db_config(d->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(d->db,
                          "PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;"
                          "PRAGMA wal_autocheckpoint = 0; PRAGMA writable_schema = ON",
                          NULL, NULL, NULL);
    return rc == SQLITE_OK ? doctor_words_add(d->db) : rc;
}

/* What open_db passes over, a start does not. */
static void probe(struct doctor *d)
{
    sqlite3 *db = NULL;
    int64_t tables = 0;
    int rc = sqlite3_open_v2(d->conf.db, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);

    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (rc == SQLITE_OK)
        rc = doctor_ask(db, "SELECT count(*) FROM sqlite_schema", &tables);
    if ((rc & 0xff) == SQLITE_CORRUPT) {
        d->is_damaged = true;
        doctor_report_add(&d->report, "pages",
                          "What can be read goes into a new database, which takes the place of "
                          "this one.",
                          "SQLite does not open it: %.100s.", sqlite3_errmsg(db));
    }
    if (rc == SQLITE_OK && store_db_is_unknown(d->conf.db, db)) {
        d->is_damaged = true;
        doctor_report_add(
            &d->report, "pages",
            "What can be read goes into a new database, which takes the place of "
            "this one.",
            "SQLite does not write to it: its head names a format that is not known.");
    }
    (void)sqlite3_close(db);
}

static void close_db(struct doctor *d)
{
    (void)sqlite3_close(d->db);
    d->db = NULL;
}

static int check_owner(struct doctor *d)
{
    int64_t application = 0, tables = 0;
    size_t newest = 0;
    int rc = doctor_ask(d->db, "PRAGMA application_id", &application);

    (void)migrations_all(&newest);
    if (rc == SQLITE_OK)
        rc = doctor_ask(d->db, "PRAGMA user_version", &d->version);
    if (rc == SQLITE_OK)
        rc = doctor_ask(d->db,
                        "SELECT count(*) FROM sqlite_schema WHERE name IN"
                        " ('jobs', 'live', 'ends', 'attempts', 'counts', 'meta')",
                        &tables);
    if ((rc & 0xff) == SQLITE_NOTADB || (rc & 0xff) == SQLITE_CORRUPT)
        return doctor_stop(d,
                           "The head or the schema of %.120s is damaged (%.60s), and without it "
                           "nothing can be read: restore a backup.",
                           d->conf.db, sqlite3_errmsg(d->db));
    if (rc != SQLITE_OK)
        return stop_by(d, rc);
    if (tables < 4)
        return doctor_stop(d, "%.150s is a database of another program.", d->conf.db);
    if (d->version > (int64_t)newest && d->version < (int64_t)newest + 1000)
        return doctor_stop(d,
                           "%.120s has schema %lld, and this doctor knows none newer than %zu: "
                           "run that of the newer jobmill.",
                           d->conf.db, (long long)d->version, newest);
    if (application != 0x4a4d494c)
        doctor_report_add(&d->report, "head", "It is set to jobmill's.",
                          "The head of the file says that it belongs to another program, but it "
                          "has jobmill's tables.");
    return 0;
}

/* Which schema has just the tables that are there. */
static int find_version(struct doctor *d)
{
    char what[80] = "";
    size_t newest = 0;
    int rc = store_check_schema(d->db, d->version, what);

    (void)migrations_all(&newest);
    if (rc == SQLITE_OK && what[0] == '\0' && d->version > 0 && d->version <= (int64_t)newest)
        return 0;
    for (int64_t v = (int64_t)newest; rc == SQLITE_OK && v > 0; v--) {
        rc = store_check_schema(d->db, v, what);
        if (rc == SQLITE_OK && what[0] == '\0' && v != d->version) {
            doctor_report_add(
                &d->report, "version", "It is set to that of its tables.",
                "The head of the file says schema %lld, its tables are those of %lld.",
                (long long)d->version, (long long)v);
            d->version = v;
            return 0;
        }
    }
    if (rc != SQLITE_OK)
        return stop_by(d, rc);
    if (d->version < 1 || d->version > (int64_t)newest)
        d->version = (int64_t)newest;
    return 0;
}

static int mend_head(struct doctor *d)
{
    char sql[100];
    int rc;

    snprintf(sql, sizeof(sql), "PRAGMA application_id = %d; PRAGMA user_version = %lld", 0x4a4d494c,
             (long long)d->version);
    rc = sqlite3_exec(d->db, sql, NULL, NULL, NULL);
    for (size_t i = 0; rc == SQLITE_OK && i < d->report.count; i++)
        if (strcmp(d->report.findings[i].code, "head") == 0 ||
            strcmp(d->report.findings[i].code, "version") == 0)
            d->report.findings[i].is_mended = true;
    return rc == SQLITE_OK ? 0 : stop_by(d, rc);
}

static bool is_newest(const struct doctor *d)
{
    size_t newest;

    (void)migrations_all(&newest);
    return d->version == (int64_t)newest;
}

static void tell_size(struct doctor *d)
{
    int64_t jobs = 0, live = 0;

    if (doctor_ask(d->db, "SELECT count(*) FROM jobs", &jobs) == SQLITE_OK &&
        doctor_ask(d->db, "SELECT count(*) FROM live", &live) == SQLITE_OK)
        doctor_report_note(&d->report,
                           "Schema %lld; %lld jobs, %lld of them waiting or running; %llu KB, and "
                           "%llu KB of log.",
                           (long long)d->version, (long long)jobs, (long long)live,
                           (unsigned long long)(doctor_files_size(d, "") >> 10),
                           (unsigned long long)(doctor_files_size(d, "-wal") >> 10));
    if (!is_newest(d))
        doctor_report_note(&d->report, "The next start brings it to the present schema; rows are "
                                       "looked at behind that.");
}

/* Behind damaged pages, rows are looked at in what is salvaged. */
static int look(struct doctor *d)
{
    int rc = check_owner(d);

    if (rc == 0)
        probe(d);
    if (rc == 0)
        rc = find_version(d);
    if (rc != 0)
        return rc;
    rc = doctor_pages_check(d);
    if (rc == SQLITE_OK && !d->is_damaged && is_newest(d))
        rc = doctor_checks_run(d);
    if (rc == SQLITE_ERROR || store_db_error(rc) == JM_ECORRUPT) {
        d->is_damaged = true;
        if (d->report.count == 0)
            doctor_report_add(&d->report, "pages",
                              "What can be read goes into a new database, which takes the place "
                              "of this one.",
                              "Rows cannot be read: %.100s.", sqlite3_errmsg(d->db));
        rc = SQLITE_OK;
    }
    if (rc != SQLITE_OK)
        return stop_by(d, rc);
    if (!d->is_damaged)
        tell_size(d);
    return 0;
}

/* ---- repair ---- */

static int mend_rows(struct doctor *d)
{
    int rc = doctor_pages_repair(d);

    if (rc == SQLITE_OK && is_newest(d))
        rc = doctor_checks_repair(d);
    return rc == SQLITE_OK ? 0 : stop_by(d, rc);
}

static int salvage(struct doctor *d)
{
    char path[PATH_MAX];
    int rc;

    doctor_files_name(d, ".salvaged", path);
    rc = doctor_salvage(d, path);
    if (rc != SQLITE_OK)
        return stop_by(d, rc);
    close_db(d);
    rc = open_db(d, path);
    rc = rc == SQLITE_OK ? mend_rows(d) : stop_by(d, rc);
    if (rc == 0 &&
        sqlite3_exec(d->db, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL) != SQLITE_OK)
        rc = stop_by(d, SQLITE_IOERR);
    close_db(d);
    if (rc == 0 && store_mark_write(d->lock_fd, STORE_MARK_REPAIRING) != 0)
        rc = doctor_stop(d, "Cannot write the lock file of %.150s.", d->conf.db);
    if (rc == 0)
        rc = doctor_files_swap(d);
    if (rc == 0 && open_db(d, d->conf.db) != SQLITE_OK)
        rc = stop_by(d, SQLITE_CANTOPEN);
    return rc;
}

/* What was in the log is in the database, so that the next start needs none. */
static int settle(struct doctor *d)
{
    int rc = SQLITE_OK;

    if (store_mark_write(d->lock_fd, STORE_MARK_MOVING) != 0)
        rc = SQLITE_IOERR;
    if (rc == SQLITE_OK)
        rc = sqlite3_wal_checkpoint_v2(d->db, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    if (rc == SQLITE_OK && store_mark_write(d->lock_fd, STORE_MARK_STOPPED) != 0)
        rc = SQLITE_IOERR;
    for (size_t i = 0; rc == SQLITE_OK && i < d->report.count; i++)
        if (strcmp(d->report.findings[i].code, "files") == 0)
            d->report.findings[i].is_mended = true;
    return rc == SQLITE_OK ? 0 : stop_by(d, rc);
}

static int mend(struct doctor *d)
{
    int rc = doctor_files_backup(d);

    if (rc == 0 && d->is_damaged) {
        (void)!doctor_pages_define(d); /* if not, what can be read without */
        rc = salvage(d);
    } else if (rc == 0)
        rc = mend_rows(d);
    if (rc == 0)
        rc = mend_head(d);
    return rc == 0 ? settle(d) : rc;
}

/* ---- from start to end ---- */

/* As a start looks at them. Stops where there is nothing to look at. */
static int check_files(struct doctor *d)
{
    struct store_mark mark;
    char sentence[256];

    store_mark_read(d->lock_fd, &mark);
    if (mark.state == STORE_MARK_REPAIRING && d->conf.is_repair) {
        doctor_report_note(&d->report, "An earlier repair was interrupted; it is ended first.");
        if (doctor_files_swap(d) != 0)
            return DOCTOR_CANNOT_RUN;
        mark.state = STORE_MARK_MOVING;
    }
    doctor_files_check(d);
    if (store_check_files(d->conf.db, &mark, sentence) == 0)
        return doctor_files_size(d, "") > 0 ? 0 : doctor_stop(d, "%.150s is empty.", d->conf.db);
    d->has_bad_log = true;
    store_wal_drop_index(d->conf.db);
    if (doctor_files_size(d, "") < 512 || strstr(sentence, "no SQLite database") != NULL)
        return doctor_stop(d, "%s", sentence);
    doctor_report_add(&d->report, "files",
                      "With --repair what is intact of it counts, and what is not is given up: "
                      "commits behind that are lost. If the right file is at hand, put it back.",
                      "%s", sentence);
    return 0;
}

static int examine(struct doctor *d)
{
    int rc = check_files(d);

    if (rc != 0)
        return rc;
    if (d->has_bad_log && !d->conf.is_repair)
        return 0;
    if (d->has_bad_log && doctor_files_backup(d) != 0)
        return DOCTOR_CANNOT_RUN;
    rc = open_db(d, d->conf.db);
    rc = rc == SQLITE_OK ? look(d) : stop_by(d, rc);
    if (rc == 0 && d->conf.is_repair && doctor_report_open(&d->report) > 0)
        rc = mend(d);
    return rc;
}

static int rebuild_redis(struct doctor *d)
{
    if (doctor_report_open(&d->report) > 0)
        return doctor_stop(d, "Redis is rebuilt when the database is healthy; nothing was changed "
                              "there.");
    return redis_clean_run(d) == 0 ? settle(d) : DOCTOR_CANNOT_RUN;
}

static int start(struct doctor *d)
{
    char sentence[256];

    if (access(d->conf.db, F_OK) != 0 && doctor_files_size(d, "-wal") == 0)
        return doctor_stop(d, "There is no database %.150s: name it with --db or --data.",
                           d->conf.db);
    if (store_db_lock(d->conf.db, &d->lock_fd, sentence) != 0)
        return doctor_stop(d, "%s", sentence);
    return 0;
}

static int tell(struct doctor *d)
{
    struct buf out;
    bool is_written;

    buf_init(&out, REPORT_BYTES);
    doctor_report_write(&d->report, d->conf.db, d->conf.is_json, &out);
    is_written =
        !buf_has_failed(&out) && fwrite(out.data, out.len, 1, stdout) == 1 && fflush(stdout) == 0;
    buf_done(&out);
    if (!is_written)
        return doctor_stop(d, "Cannot write the report: %s.", strerror(errno));
    return doctor_report_open(&d->report) > 0 ? DOCTOR_FINDINGS : DOCTOR_HEALTHY;
}

int doctor_run(const struct doctor_conf *conf)
{
    struct doctor *d = calloc(1, sizeof(*d));
    int exit;

    if (d == NULL)
        return DOCTOR_CANNOT_RUN;
    d->conf = *conf;
    d->lock_fd = -1;
    doctor_report_init(&d->report);
    exit = start(d);
    if (exit == 0)
        exit = examine(d);
    if (exit == 0 && conf->rebuilds_redis)
        exit = rebuild_redis(d);
    close_db(d);
    if (exit == 0)
        exit = tell(d);
    if (d->error[0] != '\0')
        fprintf(stderr, "jobmill doctor: %s\n", d->error);
    if (d->error[0] != '\0' && d->report.backup[0] != '\0')
        fprintf(stderr, "The files as they were before: %s\n", d->report.backup);
    if (d->lock_fd >= 0)
        (void)close(d->lock_fd);
    doctor_report_done(&d->report);
    free(d);
    return exit;
}
