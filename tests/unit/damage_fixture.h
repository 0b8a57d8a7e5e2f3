/*
 * damage_fixture.h: a store of store_fixture.h that is used by a process of its own, which then is
 * killed, and ways to damage what it leaves.
 */
#ifndef TESTS_DAMAGE_FIXTURE_H
#define TESTS_DAMAGE_FIXTURE_H

#include "tests/unit/store_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static inline void damage_name(const struct fixture *f, const char *suffix, char ret_name[400])
{
    snprintf(ret_name, 400, "%s%s", f->path, suffix);
}

/* Runs `live` in a process that is killed behind it. */
static inline void damage_live(struct fixture *f, void (*live)(struct fixture *f))
{
    pid_t pid = fork();
    int status = 0;

    assert_true(pid >= 0);
    if (pid == 0) {
        live(f);
        (void)raise(SIGKILL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static inline off_t damage_size(const struct fixture *f, const char *suffix)
{
    char name[400];
    struct stat st;

    damage_name(f, suffix, name);
    return stat(name, &st) == 0 ? st.st_size : -1;
}

/* Turns over bits of one byte; the same again makes it whole. */
static inline void damage_flip(const struct fixture *f, const char *suffix, off_t at, uint8_t bits)
{
    char name[400];
    uint8_t byte;
    int fd;

    damage_name(f, suffix, name);
    fd = open(name, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= bits;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static inline void damage_cut(const struct fixture *f, const char *suffix, off_t size)
{
    char name[400];

    damage_name(f, suffix, name);
    assert_int_equal(truncate(name, size), 0);
}

static inline void damage_copy(const char *from, const char *to)
{
    static char bytes[1 << 16];
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ssize_t n;

    assert_true(in >= 0 && out >= 0);
    while ((n = read(in, bytes, sizeof(bytes))) > 0)
        assert_int_equal(write(out, bytes, (size_t)n), n);
    close(in);
    close(out);
}

/* Keeps the files under other names, or puts what was kept back. A file that isn't there is taken
 * away there too. */
static inline void damage_save(const struct fixture *f, bool is_back)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-kept", ".lock"};
    char name[400], kept[420];

    for (size_t i = 0; i < JM_COUNT_OF(suffixes); i++) {
        damage_name(f, suffixes[i], name);
        snprintf(kept, sizeof(kept), "%s.kept", name);
        (void)unlink(is_back ? name : kept);
        if (access(is_back ? kept : name, F_OK) == 0)
            damage_copy(is_back ? kept : name, is_back ? name : kept);
    }
}

static inline void damage_forget(const struct fixture *f)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-kept", ".lock"};
    char kept[420];

    for (size_t i = 0; i < JM_COUNT_OF(suffixes); i++) {
        snprintf(kept, sizeof(kept), "%s%s.kept", f->path, suffixes[i]);
        (void)unlink(kept);
    }
}

static inline void damage_exec(const struct fixture *f, const char *sql)
{
    sqlite3 *db = NULL;
    char *error = NULL;

    assert_int_equal(sqlite3_open_v2(f->path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    (void)sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK)
        fail_msg("%s: %s", sql, error);
    sqlite3_close(db);
}

/* The start is refused in a sentence that names the file and says what to do. */
static inline void damage_refused(struct fixture *f, const char *words)
{
    char sentence[256] = "";
    int rc = fixture_try_open(f, sentence);

    if (rc == 0)
        fail_msg("it was opened, though: %s", words);
    assert_non_null(strstr(sentence, f->path));
    if (strstr(sentence, words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", sentence, words);
    assert_true(sentence[strlen(sentence) - 1] == '.');
}

#endif
