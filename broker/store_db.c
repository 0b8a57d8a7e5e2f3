/*
 * Connections. The lock is flock(2) on a file of its own, not on the database: closing any
 * descriptor of the database file would drop SQLite's own POSIX locks. Its text begins with the
 * holder's pid, for the sentence only (store_mark.h tells the rest).
 */
#include "broker/store_db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "broker/store_mark.h"
#include "schema/errors.h"

static int flags_of(enum store_db_mode mode)
{
    switch (mode) {
    case STORE_DB_WRITER:
        return SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    case STORE_DB_CHECKPOINT:
        return SQLITE_OPEN_READWRITE;
    case STORE_DB_READER:
        return SQLITE_OPEN_READONLY;
    }
    return 0;
}

/* secure_delete is on in Debian's build and would rewrite what every DELETE frees. A log of up to
 * twice the size at which the writer starts it anew is overwritten, which costs less than to make
 * it longer again; what one large transaction has made of it is cut off when it starts anew. */
static const char *pragmas_of(enum store_db_mode mode)
{
    if (mode == STORE_DB_READER)
        return "PRAGMA query_only = ON; PRAGMA trusted_schema = OFF;";
    return "PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0;"
           "PRAGMA secure_delete = OFF; PRAGMA temp_store = MEMORY;"
           "PRAGMA journal_size_limit = 33554432;"
           "PRAGMA cache_size = -4096; PRAGMA trusted_schema = OFF;";
}

bool store_db_is_unknown(const char *path, sqlite3 *db)
{
    return sqlite3_db_readonly(db, "main") == 1 && access(path, W_OK) == 0;
}

int store_db_open(const struct store_conf *conf, enum store_db_mode mode, sqlite3 **ret_db)
{
    int flags = flags_of(mode) | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int rc = sqlite3_open_v2(conf->path, ret_db, flags, conf->vfs);

    if (rc == SQLITE_OK)
        rc = sqlite3_busy_timeout(*ret_db, STORE_DB_BUSY_MS);
    /* The checkpoint that SQLite makes by itself when the last connection closes hides errors. */
    if (rc == SQLITE_OK)
        rc = sqlite3_db_config(*ret_db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(*ret_db, pragmas_of(mode), NULL, NULL, NULL);
    if (rc == SQLITE_OK && mode != STORE_DB_READER && sqlite3_db_readonly(*ret_db, "main") == 1)
        rc = store_db_is_unknown(conf->path, *ret_db) ? SQLITE_CORRUPT : SQLITE_READONLY;
    return rc;
}

int store_db_prepare(sqlite3 *db, const char *const *sql, size_t count, sqlite3_stmt **ret_stmts)
{
    for (size_t i = 0; i < count; i++) {
        int rc = sqlite3_prepare_v3(db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &ret_stmts[i], NULL);

        if (rc != SQLITE_OK)
            return rc;
    }
    return SQLITE_OK;
}

void store_db_finalize(sqlite3_stmt **stmts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        (void)sqlite3_finalize(stmts[i]); /* repeats the last step's error */
        stmts[i] = NULL;
    }
}

int store_db_error(int rc)
{
    /* A full disk also shows where the index of the WAL has to grow. */
    if (rc == SQLITE_IOERR_SHMSIZE)
        return JM_EFULL;
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return 0;
    case SQLITE_FULL:
        return JM_EFULL;
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        return JM_ECORRUPT;
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_IOERR:
        return JM_EIO;
    case SQLITE_NOMEM:
        return JM_ENOMEM;
    default:
        return JM_ESTORE;
    }
}

void store_db_say(const char *path, int error, const char *detail, char ret_sentence[256])
{
    switch (error) {
    case JM_ECORRUPT:
        snprintf(ret_sentence, 256,
                 "%.80s is damaged (%.60s) and is not served, so that no job is lost unseen: "
                 "run `jobmill doctor --db FILE`.",
                 path, detail);
        break;
    case JM_EFULL:
        snprintf(ret_sentence, 256, "There is no room left on the disk of %.150s: make some.",
                 path);
        break;
    case JM_EIO:
        snprintf(ret_sentence, 256,
                 "Cannot use the database %.80s (%.50s): this user must be allowed to read and "
                 "write the file and its directory, and the disk must work.",
                 path, detail);
        break;
    default:
        snprintf(ret_sentence, 256, "Cannot prepare the database %.120s: %.80s.", path, detail);
    }
}

static int say_locked(const char *path, int fd, char ret_sentence[256])
{
    char pid[16] = "";
    ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);

    if (n > 0)
        pid[strcspn(pid, " \n")] = '\0';
    if (n > 0 && pid[0] != '\0')
        snprintf(ret_sentence, 256,
                 "%.150s is in use by another broker, process %s: stop that one first, or choose "
                 "another database.",
                 path, pid);
    else
        snprintf(ret_sentence, 256,
                 "%.150s is in use by another broker: stop that one first, or choose another "
                 "database.",
                 path);
    return JM_ELOCKED;
}

int store_db_lock(const char *path, int *ret_fd, char ret_sentence[256])
{
    char *lock_path = NULL;
    int rc = JM_EIO;
    int fd;

    if (asprintf(&lock_path, "%s.lock", path) < 0)
        return JM_ENOMEM;
    fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno != EWOULDBLOCK))
        snprintf(ret_sentence, 256,
                 "Cannot lock %.150s: %s. The database's directory must exist and be writable.",
                 lock_path, strerror(errno));
    else if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        rc = say_locked(path, fd, ret_sentence);
    else if ((rc = store_mark_write_pid(fd)) != 0)
        snprintf(ret_sentence, 256, "Cannot write %.150s: %s.", lock_path, strerror(errno));
    free(lock_path);
    if (rc != 0 && fd >= 0)
        (void)close(fd);
    if (rc == 0)
        *ret_fd = fd;
    return rc;
}
