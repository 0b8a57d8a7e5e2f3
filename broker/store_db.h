/*
 * store_db.h: connections to the database: opening them as the store needs them, its lock file, and
 * SQLite's codes as errors of ours. For the store's and the reader's sources only.
 */
#ifndef BROKER_STORE_DB_H
#define BROKER_STORE_DB_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>

#include "broker/store.h"

enum store_db_mode {
    STORE_DB_WRITER,     /* creates the database if need be */
    STORE_DB_CHECKPOINT, /* for checkpoints only */
    STORE_DB_READER,
};

enum { STORE_DB_BUSY_MS = 10000 };

/* Opens a connection, with synchronous NORMAL and without automatic checkpoints (store.c tells
 * why). On failure `*ret_db` may still be a handle, to ask for the message and to close. Returns
 * SQLite's code. */
int store_db_open(const struct store_conf *conf, enum store_db_mode mode,
                  sqlite3 **ret_db) JM_MUST_CHECK;

/* Prepares `count` statements for long use. Returns SQLite's code; those made so far are set. */
int store_db_prepare(sqlite3 *db, const char *const *sql, size_t count,
                     sqlite3_stmt **ret_stmts) JM_MUST_CHECK;
void store_db_finalize(sqlite3_stmt **stmts, size_t count);

/* Whether SQLite only reads a file that may be written: its head names a way of writing that does
 * not exist. Behind a read. */
bool store_db_is_unknown(const char *path, sqlite3 *db);

/* 0, JM_EFULL, JM_ECORRUPT, JM_EIO (it cannot be opened), JM_ENOMEM or JM_ESTORE. */
int store_db_error(int rc);

/* Takes the lock file "PATH.lock", which lasts as long as the descriptor. Returns 0 and the
 * descriptor (store_mark.h reads what the last holder left), or JM_ELOCKED or JM_EIO with a
 * sentence. */
int store_db_lock(const char *path, int *ret_fd, char ret_sentence[256]) JM_MUST_CHECK;

/* The sentence for an error of opening or reading it: the file, what is wrong, what to do. */
void store_db_say(const char *path, int error, const char *detail, char ret_sentence[256]);

/* Refuses a database that is not ours or too new, and brings an older one to the present schema,
 * one transaction for each step. Returns 0 or JM_ESCHEMA, JM_ECORRUPT, JM_ESTORE, … with a
 * sentence. */
int store_db_migrate(sqlite3 *db, const char *path, char ret_sentence[256]) JM_MUST_CHECK;

#endif
