/*
 * What a killed broker leaves is exact: all that it wrote is in the kernel's cache, and the index
 * of the log says how many frames were committed. What is behind them does not count: a batch that
 * a full disk has refused may have left some, with a commit.
 *
 * What a power cut leaves is not exact: a commit that nobody waited for may be torn while a later
 * one is not. The writer syncs at the latest some milliseconds behind a commit, so that there are
 * only so many of them; more intact commits than that behind a frame that is not mean that the
 * frame was on disk and has changed since. A snapshot of a volume that is restored without a boot
 * between, or a volume that was cut off and is back, is like that too, though the mark says that
 * the machine has been up all the time. Its index is from up to half a minute before, when the
 * kernel last wrote it: of an earlier log, or shorter than the log is.
 */
#include "broker/store_check.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/store_db.h"
#include "broker/store_wal.h"
#include "schema/errors.h"
#include "schema/migrations.h"

enum {
    TORN_COMMITS = 1024,    /* as many as may be torn by a power cut, and more */
    REFUSED_COMMITS = 8,    /* that were left behind the end by batches that were refused */
    NEWER_LOGS = 1000,      /* as often as the log may begin anew in the age of an index */
    SMALL_BYTES = 16 << 20, /* a database of which every page is looked at, in 30 ms */
};

static const char magic[16] = "SQLite format 3"; /* and its NUL */

struct files {
    bool exists;
    bool begins_well;
    uint64_t size_bytes;
    struct store_wal wal;
    struct store_wal_index index;
    struct store_wal_index kept;
};

static int read_files(const char *path, struct files *ret_files)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char head[sizeof(magic)] = "";
    struct stat st;

    *ret_files = (struct files){.exists = fd >= 0};
    if (fd >= 0) {
        if (fstat(fd, &st) == 0)
            ret_files->size_bytes = (uint64_t)st.st_size;
        ret_files->begins_well = pread(fd, head, sizeof(head), 0) == (ssize_t)sizeof(head) &&
                                 memcmp(head, magic, sizeof(head)) == 0;
        (void)close(fd);
    } else if (errno != ENOENT) {
        return JM_EIO;
    }
    store_wal_read_index(path, "-shm", &ret_files->index);
    store_wal_read_index(path, STORE_WAL_KEPT, &ret_files->kept);
    return store_wal_read(path, &ret_files->wal);
}

/* There is no database yet, or there is none any more. */
static int check_absent(const char *path, const struct files *f, const struct store_mark *mark,
                        char ret_sentence[256])
{
    bool was_there = f->wal.size_bytes > 0 || mark->state == STORE_MARK_SERVING ||
                     mark->state == STORE_MARK_STOPPED;

    if (!was_there)
        return 0;
    snprintf(ret_sentence, 256,
             "%.80s is %s, but a broker has kept jobs there: put it back, or restore a backup. To "
             "begin anew, remove FILE-wal, FILE-shm and FILE.lock as well.",
             path, f->exists ? "empty" : "gone");
    return JM_ECORRUPT;
}

static int refuse_log(const char *path, const char *what, char ret_sentence[256])
{
    snprintf(ret_sentence, 256,
             "%.80s-wal, the log of the newest commits, %.60s: put it back, or let "
             "`jobmill doctor --db FILE --repair` go on without.",
             path, what);
    return JM_ECORRUPT;
}

static int refuse_missing(const char *path, char ret_sentence[256])
{
    snprintf(ret_sentence, 256,
             "%.60s-wal, the log of the newest commits, is missing: put it back. If it is only "
             "that another program (sqlite3) has opened the database, `jobmill doctor --db FILE "
             "--repair` loses nothing.",
             path);
    return JM_ECORRUPT;
}

enum index_says {
    INDEX_NOTHING, /* there is none */
    INDEX_END,     /* where the end of this log is */
    INDEX_EARLIER, /* it is of an earlier log; since then this one has begun */
    INDEX_OTHER,   /* it is of another log, which has not become this one */
};

/* Each time the log begins anew its first salt rises by one and its second one is random. */
static enum index_says read_salts(const struct store_wal_index *index, const struct store_wal *wal)
{
    uint32_t later = wal->salt[0] - index->salt[0];

    if (!index->is_valid)
        return INDEX_NOTHING;
    if (index->frames == 0)
        return INDEX_EARLIER; /* all was moved */
    if (later == 0)
        return wal->salt[1] == index->salt[1] ? INDEX_END : INDEX_OTHER;
    return later <= NEWER_LOGS ? INDEX_EARLIER : INDEX_OTHER;
}

static unsigned most_behind(bool is_exact, enum index_says says)
{
    if (is_exact && says == INDEX_END)
        return UINT_MAX;
    return is_exact && says == INDEX_NOTHING ? REFUSED_COMMITS : TORN_COMMITS;
}

/* Behind the broker somebody has opened the database, with the sqlite3 shell for instance. */
static bool was_moved(const struct files *f, bool is_exact)
{
    return is_exact && f->kept.is_valid && f->kept.moved == f->kept.frames;
}

static int check_log(const char *path, const struct files *f, const struct store_mark *mark,
                     char ret_sentence[256])
{
    bool is_serving = mark->state == STORE_MARK_SERVING;
    bool is_exact = is_serving && mark->is_same_boot;
    const struct store_wal *wal = &f->wal;
    enum index_says says = read_salts(&f->index, wal);
    char what[100] = "";

    if (wal->size_bytes == 0 && was_moved(f, is_exact))
        return 0; /* who opens it once more, as the doctor does, may leave an empty one */
    if (is_serving && !wal->exists)
        return refuse_missing(path, ret_sentence);
    if (!wal->has_header && (is_serving || wal->size_bytes >= 32) &&
        mark->state != STORE_MARK_MOVING)
        snprintf(what, sizeof(what), "is damaged in its head");
    else if (wal->commits_behind > most_behind(is_exact, says))
        snprintf(what, sizeof(what), "is damaged at byte %llu, before %u commits",
                 (unsigned long long)wal->bad_at, wal->commits_behind);
    else if (is_exact && says == INDEX_OTHER)
        snprintf(what, sizeof(what), "is not the one that the broker wrote");
    else if (is_exact && says == INDEX_END && wal->frames < f->index.frames)
        snprintf(what, sizeof(what), "is cut or damaged: of %u pages it has %u", f->index.frames,
                 wal->frames);
    return what[0] == '\0' ? 0 : refuse_log(path, what, ret_sentence);
}

int store_check_files(const char *path, const struct store_mark *mark, char ret_sentence[256])
{
    struct files f;
    int rc = read_files(path, &f);

    if (rc != 0) {
        snprintf(ret_sentence, 256,
                 "Cannot read %.120s or its log: %s. This user must be allowed to read and write "
                 "both, and the disk must work.",
                 path, strerror(errno));
        return rc;
    }
    if (mark->state == STORE_MARK_REPAIRING) {
        snprintf(ret_sentence, 256,
                 "A repair of %.120s was interrupted: `jobmill doctor --db FILE --repair` ends it.",
                 path);
        return JM_ECORRUPT;
    }
    if (f.size_bytes == 0)
        return check_absent(path, &f, mark, ret_sentence);
    if (!f.begins_well) {
        snprintf(ret_sentence, 256,
                 "%.120s is no SQLite database, or its beginning is damaged: choose another file, "
                 "or restore a backup.",
                 path);
        return JM_ECORRUPT;
    }
    return check_log(path, &f, mark, ret_sentence);
}

/* ---- when it is open ---- */

int store_check_model(int64_t version, sqlite3 **ret_db)
{
    size_t count;
    const struct migration *steps = migrations_all(&count);
    int rc = sqlite3_open_v2(
        ":memory:", ret_db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);

    for (size_t i = 0; rc == SQLITE_OK && i < count && (int64_t)i < version; i++)
        rc = sqlite3_exec(*ret_db, steps[i].sql, NULL, NULL, NULL);
    return rc;
}

/* Whether `db` has a table or an index of that name. */
static int find_name(sqlite3_stmt *has, const char *name, bool *ret_found)
{
    int rc = sqlite3_bind_text(has, 1, name, -1, SQLITE_STATIC);

    if (rc == SQLITE_OK)
        rc = sqlite3_step(has);
    *ret_found = rc == SQLITE_ROW;
    (void)sqlite3_reset(has);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static const char has_name[] = "SELECT 1 FROM sqlite_schema WHERE name = ? AND sql IS NOT NULL";

/* Tells the first name of `from` for which being in `db` or not is not as it has to be. A name that
 * is in `besides` too is not asked for. */
static int compare_names(sqlite3 *from, sqlite3 *besides, sqlite3 *db, bool has_to_be,
                         char ret_what[80])
{
    static const char names[] = "SELECT name FROM sqlite_schema WHERE sql IS NOT NULL";
    sqlite3_stmt *stmt = NULL, *has = NULL, *known = NULL;
    int rc = sqlite3_prepare_v2(from, names, -1, &stmt, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(db, has_name, -1, &has, NULL);
    if (rc == SQLITE_OK && besides != NULL)
        rc = sqlite3_prepare_v2(besides, has_name, -1, &known, NULL);
    while (rc == SQLITE_OK && ret_what[0] == '\0' && sqlite3_step(stmt) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(stmt, 0);
        bool is_there = false, is_known = false;

        if (known != NULL)
            rc = find_name(known, name, &is_known);
        if (rc == SQLITE_OK)
            rc = find_name(has, name, &is_there);
        if (rc == SQLITE_OK && !is_known && is_there != has_to_be)
            snprintf(ret_what, 80, "%s %.60s", has_to_be ? "without" : "with", name);
    }
    (void)sqlite3_finalize(stmt);
    (void)sqlite3_finalize(has);
    (void)sqlite3_finalize(known);
    return rc;
}

int store_check_schema(sqlite3 *db, int64_t version, char ret_what[80])
{
    sqlite3 *model = NULL, *newest = NULL;
    size_t count;
    int rc = store_check_model(version, &model);

    (void)migrations_all(&count);
    ret_what[0] = '\0';
    if (rc == SQLITE_OK)
        rc = compare_names(model, NULL, db, true, ret_what);
    if (rc == SQLITE_OK && version < (int64_t)count)
        rc = store_check_model((int64_t)count, &newest);
    if (rc == SQLITE_OK && newest != NULL)
        rc = compare_names(newest, model, db, false, ret_what);
    (void)sqlite3_close(newest);
    (void)sqlite3_close(model);
    return rc;
}

static int ask(sqlite3 *db, const char *sql, sqlite3_stmt **ret_stmt)
{
    int rc = sqlite3_prepare_v2(db, sql, -1, ret_stmt, NULL);

    return rc == SQLITE_OK ? sqlite3_step(*ret_stmt) : rc;
}

int store_check_pages(sqlite3 *db, char ret_complaint[128])
{
    sqlite3_stmt *stmt = NULL;
    int rc =
        ask(db, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size", &stmt);
    bool is_small = rc == SQLITE_ROW && sqlite3_column_int64(stmt, 0) <= SMALL_BYTES;

    (void)sqlite3_finalize(stmt);
    stmt = NULL;
    if (!is_small)
        return rc == SQLITE_ROW ? SQLITE_OK : rc;
    rc = ask(db, "PRAGMA quick_check(1)", &stmt);
    if (rc == SQLITE_ROW) {
        snprintf(ret_complaint, 128, "%s", (const char *)sqlite3_column_text(stmt, 0));
        ret_complaint[strcspn(ret_complaint, "\n")] = '\0';
        rc = strcmp(ret_complaint, "ok") == 0 ? SQLITE_OK : SQLITE_CORRUPT;
    }
    (void)sqlite3_finalize(stmt);
    (void)sqlite3_db_release_memory(db); /* the pages that were read; it cannot fail */
    return rc;
}
