/*
 * store_check.h: whether a database may be served, asked at each start and cheap enough for that.
 * What it cannot see is found when it is touched: a read is refused (damage.h), a write ends the
 * broker; `jobmill doctor` looks at everything.
 */
#ifndef BROKER_STORE_CHECK_H
#define BROKER_STORE_CHECK_H

#include <sqlite3.h>
#include <stdint.h>

#include "broker/store_mark.h"
#include "lib/attr.h"

/* Before SQLite opens it: that the database and its log are there and belong together, as far as
 * the mark in the lock file tells. Returns 0, or JM_ECORRUPT or JM_EIO with a sentence. */
int store_check_files(const char *path, const struct store_mark *mark,
                      char ret_sentence[256]) JM_MUST_CHECK;

/* That every table and index is there that the steps up to `version` make, and none that only later
 * ones make. Returns SQLite's code; in `ret_what` the first that is not so ("without tags"), or "".
 */
int store_check_schema(sqlite3 *db, int64_t version, char ret_what[80]) JM_MUST_CHECK;

/* SQLite's own check, if the database is small. SQLITE_CORRUPT with its first complaint, or
 * another code. */
int store_check_pages(sqlite3 *db, char ret_complaint[128]) JM_MUST_CHECK;

/* An empty database in memory, brought to `version`. The caller closes it. */
int store_check_model(int64_t version, sqlite3 **ret_db) JM_MUST_CHECK;

#endif
