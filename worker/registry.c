/*
 * registry.c: a program is an executable regular file (or a link to one) whose name is a task name
 * and doesn't begin with a dot. It goes by its file name, and by that without its last extension
 * unless another file has the same claim. Native tasks win over programs.
 */
#include "worker/registry.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "schema/limits.h"
#include "schema/name.h"
#include "schema/wire.h"
#include "worker/tasks/tasks.h"

enum { REGISTRY_PROGRAMS = 1024 /* more are not announced */ };

static const struct task *const builtin_tasks[] = {
#define X(name) &task_is_##name,
    TASKS_BUILTIN(X)
#undef X
};

static const struct task *const test_tasks[] = {
#define X(name) &task_is_##name,
    TASKS_TEST(X)
#undef X
};

static const struct task *find_in(const struct task *const *tasks, size_t count, struct span name)
{
    for (size_t i = 0; i < count; i++)
        if (span_is_str(name, tasks[i]->name))
            return tasks[i];
    return NULL;
}

const struct task *registry_find(const struct registry *registry, struct span name)
{
    const struct task *task = find_in(builtin_tasks, JM_COUNT_OF(builtin_tasks), name);

    if (task == NULL && registry->has_test_tasks)
        task = find_in(test_tasks, JM_COUNT_OF(test_tasks), name);
    return task;
}

static bool is_program(int dir, const char *file)
{
    struct stat st;

    return file[0] != '.' && name_is_valid(span_of_str(file), JM_TASK_NAME_BYTES) &&
           fstatat(dir, file, &st, 0) == 0 && S_ISREG(st.st_mode) &&
           faccessat(dir, file, X_OK, AT_EACCESS) == 0;
}

static DIR *open_dir(const struct registry *registry)
{
    if (registry->tasks_dir == NULL || registry->tasks_dir[0] == '\0')
        return NULL;
    return opendir(registry->tasks_dir);
}

/* The length of a file name without its last extension; all of it if it has none. */
static size_t stem_len(const char *file)
{
    const char *dot = strrchr(file, '.');

    return dot != NULL && dot != file && dot[1] != '\0' ? (size_t)(dot - file) : strlen(file);
}

static void copy_name(char ret_file[REGISTRY_FILE_BYTES], const char *name)
{
    snprintf(ret_file, REGISTRY_FILE_BYTES, "%.*s", REGISTRY_FILE_BYTES - 1, name);
}

/* How many programs have `name` as their stem; the last one met is in `ret_file`. */
static unsigned find_stem(DIR *dir, const char *name, char ret_file[REGISTRY_FILE_BYTES])
{
    unsigned found = 0;
    struct dirent *entry;

    rewinddir(dir);
    while ((entry = readdir(dir)) != NULL) {
        size_t len = stem_len(entry->d_name);

        if (strlen(name) != len || strncmp(entry->d_name, name, len) != 0 ||
            !is_program(dirfd(dir), entry->d_name))
            continue;
        found++;
        copy_name(ret_file, entry->d_name);
    }
    return found;
}

bool registry_find_program(const struct registry *registry, const char *name,
                           char ret_file[REGISTRY_FILE_BYTES])
{
    DIR *dir = open_dir(registry);
    bool is_found = false;

    if (dir == NULL)
        return false;
    if (is_program(dirfd(dir), name)) {
        copy_name(ret_file, name);
        is_found = true;
    } else if (name[0] != '.') {
        is_found = find_stem(dir, name, ret_file) == 1;
    }
    closedir(dir);
    return is_found;
}

static void write_task(struct buf *out, const char *name, const char *kind, const char *doc)
{
    wire_encode_task(out, &(struct wire_task){.name = span_of_str(name),
                                              .kind = span_of_str(kind),
                                              .doc = span_of_str(doc)});
}

static uint32_t write_natives(const struct registry *registry, struct buf *out)
{
    uint32_t count = 0;

    for (size_t i = 0; i < JM_COUNT_OF(builtin_tasks); i++, count++)
        write_task(out, builtin_tasks[i]->name, "builtin", builtin_tasks[i]->doc);
    for (size_t i = 0; registry->has_test_tasks && i < JM_COUNT_OF(test_tasks); i++, count++)
        write_task(out, test_tasks[i]->name, "test", test_tasks[i]->doc);
    return count;
}

static uint32_t write_program(const struct registry *registry, DIR *dir, const char *file,
                              struct buf *out)
{
    char stem[REGISTRY_FILE_BYTES], found[REGISTRY_FILE_BYTES];
    uint32_t count = 0;

    if (registry_find(registry, span_of_str(file)) == NULL) {
        write_task(out, file, "program", "");
        count++;
    }
    copy_name(stem, file);
    stem[stem_len(stem)] = '\0';
    if (strcmp(stem, file) == 0 || registry_find(registry, span_of_str(stem)) != NULL ||
        is_program(dirfd(dir), stem) || !registry_find_program(registry, stem, found))
        return count;
    write_task(out, stem, "program", "");
    return count + 1;
}

static uint32_t write_programs(const struct registry *registry, struct buf *out)
{
    DIR *dir = open_dir(registry);
    struct dirent *entry;
    uint32_t count = 0;

    while (dir != NULL && count < REGISTRY_PROGRAMS && (entry = readdir(dir)) != NULL)
        if (is_program(dirfd(dir), entry->d_name))
            count += write_program(registry, dir, entry->d_name, out);
    if (dir != NULL)
        closedir(dir);
    return count;
}

void registry_write(const struct registry *registry, struct buf *out)
{
    uint32_t count;
    struct buf items;

    buf_init(&items, 1 << 20);
    count = write_natives(registry, &items);
    count += write_programs(registry, &items);
    if (buf_has_failed(&items))
        count = 0;
    wire_encode_list(out, count);
    if (count > 0)
        buf_put_span(out, buf_span(&items));
    buf_done(&items);
}
