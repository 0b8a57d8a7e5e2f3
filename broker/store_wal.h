/*
 * store_wal.h: what the files beside the database say of SQLite's log, read before SQLite opens
 * it. SQLite itself takes the log up to the first frame that is not right and forgets the rest
 * without a word, and a log that is missing is none: for it a damaged log and the torn end that a
 * power cut leaves look alike. Pure reading of files.
 */
#ifndef BROKER_STORE_WAL_H
#define BROKER_STORE_WAL_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/attr.h"

struct store_wal {
    bool exists;
    bool has_header; /* a valid one */
    uint64_t size_bytes;
    uint32_t page_bytes;
    uint32_t salt[2];
    uint32_t frames;  /* intact, from the start on */
    uint32_t commits; /* among them */
    uint64_t bad_at;  /* where the first frame is that is not intact; 0: there is none. It may
                         be what an earlier log has left, */
    uint32_t commits_behind; /* but not if there are intact ones behind it */
};

/* What the index of the log (the file "-shm") remembers of its last commit. It outlives a killed
 * process, but means nothing once the machine has been down. */
struct store_wal_index {
    bool is_valid;
    uint32_t salt[2];
    uint32_t frames; /* that were committed */
    uint32_t moved;  /* of these, into the database, and synced there */
};

/* Reads "PATH-wal". Returns 0, JM_EIO or JM_ENOMEM. */
int store_wal_read(const char *path, struct store_wal *ret_wal) JM_MUST_CHECK;

/* Reads the head of "PATH-shm", or of the file with another suffix; not valid if it isn't there. */
void store_wal_read_index(const char *path, const char *suffix, struct store_wal_index *ret_index);

/* Gives "PATH-shm" a second name, "PATH-kept", as long as a broker serves. When another program
 * opens and closes the database behind a broker that was killed, SQLite moves the log into the
 * database and removes both files; in the index, under its second name, is then that all was moved.
 * Where that cannot be had, nobody will know. It is dropped where the log is found damaged: what
 * moves it then moves only what is before the damage. */
#define STORE_WAL_KEPT "-kept"
void store_wal_keep_index(const char *path);
void store_wal_drop_index(const char *path);

#endif
