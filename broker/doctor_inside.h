/*
 * doctor_inside.h: what the doctor's sources share. Nobody else includes it.
 *
 *     doctor.c          the order of things
 *     doctor_files.c    the files and their copy
 *     doctor_checks.c   what is wrong with the rows, as a table of queries, each with its repair
 *     doctor_words.c    the functions that these queries use
 *     doctor_unnamed.c  how many jobs are gone without a name
 *     doctor_pages.c    what is wrong with pages, indexes and tables
 *     doctor_salvage.c  a new database of what can be read of a damaged one
 *     doctor_report.c   how it is told
 *     redis_clean.c     Redis
 */
#ifndef BROKER_DOCTOR_INSIDE_H
#define BROKER_DOCTOR_INSIDE_H

#include <limits.h>
#include <sqlite3.h>

#include "broker/doctor.h"
#include "broker/doctor_report.h"
#include "lib/attr.h"

struct doctor {
    struct doctor_conf conf;
    struct doctor_report report;
    int lock_fd;
    sqlite3 *db;
    int64_t version;    /* its schema */
    bool is_damaged;    /* tables cannot be read as a whole: only a salvage helps */
    bool has_bad_index; /* REINDEX helps */
    bool has_bad_log;   /* what was in it is gone */
    char error[256];    /* why it cannot run, or "" */
};

/* Keeps why the doctor cannot go on. Returns DOCTOR_CANNOT_RUN. */
int doctor_stop(struct doctor *d, const char *fmt, ...) JM_PRINTF(2, 3);

/* The database's name with a suffix; the size of that file, 0 if it isn't there. */
void doctor_files_name(const struct doctor *d, const char *suffix, char ret_name[PATH_MAX]);
uint64_t doctor_files_size(const struct doctor *d, const char *suffix);

/* Adds findings about rights and room. */
void doctor_files_check(struct doctor *d);

/* Copies of all files, beside them, once; or "DB.salvaged" in the database's place, whose log goes
 * first. 0 or DOCTOR_CANNOT_RUN. */
int doctor_files_backup(struct doctor *d) JM_MUST_CHECK;
int doctor_files_swap(struct doctor *d) JM_MUST_CHECK;

/* The functions of doctor_words.c. Returns SQLite's code. */
int doctor_words_add(sqlite3 *db) JM_MUST_CHECK;

/* The one number that a query gives; SQLite's code. */
int doctor_ask(sqlite3 *db, const char *sql, int64_t *ret_value) JM_MUST_CHECK;

/* Adds a finding for each thing that is wrong. SQLite's code, if a check could not be made. */
int doctor_pages_check(struct doctor *d) JM_MUST_CHECK;
int doctor_checks_run(struct doctor *d) JM_MUST_CHECK;

/* Adds a finding for the jobs of which nothing is left but that they were counted. Before rows are
 * mended. SQLite's code. */
int doctor_unnamed_check(struct doctor *d) JM_MUST_CHECK;

/* Sets the definitions of tables to those of the schema. SQLite's code. */
int doctor_pages_define(struct doctor *d) JM_MUST_CHECK;

/* Mends what the schema lacks; what is wrong with rows, each kind in its order, in one transaction.
 * SQLite's code. */
int doctor_pages_repair(struct doctor *d) JM_MUST_CHECK;
int doctor_checks_repair(struct doctor *d) JM_MUST_CHECK;

/* Counts the jobs of each queue anew, inside the caller's transaction. SQLite's code. */
int doctor_checks_recount(struct doctor *d) JM_MUST_CHECK;

/* Writes what can be read into a new database at `path`, with the same schema, and syncs it. What
 * cannot be read becomes findings. SQLite's code. */
int doctor_salvage(struct doctor *d, const char *path) JM_MUST_CHECK;

#endif
