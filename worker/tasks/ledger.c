/*
 * ledger.c: leaves one line for each run, by one write to a file opened for appending, so that the
 * lines of many processes do not mix: a fault test counts them and asks each extra one to explain
 * itself by its attempt.
 */
#include "worker/tasks/tasks.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/mp.h"

enum { LEDGER_KEY_BYTES = 128 };

static int read_key(struct task_call *call, char ret_key[LEDGER_KEY_BYTES], struct span *ret_value)
{
    struct mp_cursor c;
    uint64_t number;
    int error = task_arg_value(call, "k", ret_value);

    if (error != 0)
        return error;
    mp_open(&c, *ret_value);
    if (!mp_next_uint(&c, UINT64_MAX, &number))
        return task_arg_text(call, "k", ret_key, LEDGER_KEY_BYTES);
    snprintf(ret_key, LEDGER_KEY_BYTES, "%" PRIu64, number);
    return 0;
}

/* Returns 0 or an errno. */
static int append_line(const char *path, const char *line)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    ssize_t n;
    int error = 0;

    if (fd < 0)
        return errno;
    n = write(fd, line, strlen(line));
    if (n < 0)
        error = errno;
    else if ((size_t)n < strlen(line))
        error = ENOSPC;
    if (close(fd) != 0 && error == 0)
        error = errno;
    return error;
}

static int run(struct task_call *call)
{
    char key[LEDGER_KEY_BYTES], path[PATH_MAX], line[LEDGER_KEY_BYTES + 16];
    msgpack_packer *pk = task_result(call);
    struct span value;
    int error = read_key(call, key, &value);

    if (error == 0)
        error = task_arg_text(call, "path", path, sizeof(path));
    if (error != 0)
        return error;
    snprintf(line, sizeof(line), "%s %" PRIu32 "\n", key, task_attempt(call));
    error = append_line(path, line);
    if (error != 0)
        return task_fail(call, "write_failed", "cannot write '%s': %s", path, strerror(error));
    msgpack_pack_map(pk, 2);
    msgpack_pack_str_with_body(pk, "k", 1);
    task_put_result(call, value);
    msgpack_pack_str_with_body(pk, "attempt", 7);
    msgpack_pack_uint32(pk, task_attempt(call));
    return 0;
}

const struct task task_is_ledger = {
    .name = "ledger",
    .doc = "Appends the line \"`k` attempt\" to the file `path`: {k, attempt}.",
    .run = run,
};
