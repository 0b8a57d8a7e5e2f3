/*
 * How it works: the file goes to the broker as it is, and each answer is printed as it comes, so
 * that a batch of any length needs no memory. read(2) and not stdio: what a pipe holds goes on its
 * way at once; and while it holds nothing, answers are printed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/tool/cmd_batch.h"
#include "client/tool/tool.h"

enum { QUIET_MS = 100 /* after which answers are looked for */ };

struct batch_conf {
    struct tool_conf tool;
    bool is_atomic;
};

static const struct opt opts[] = {
    TOOL_OPTS,
    {.name = "atomic",
     .type = OPT_BOOL,
     .offset = offsetof(struct batch_conf, is_atomic),
     .help = "Submit all or none."},
};

struct batch {
    const char *path;
    int fd;
    int read_error; /* an errno, or 0 */
    bool is_json;
    int exit;
};

static int64_t on_read(void *context, char *bytes, size_t room)
{
    struct batch *batch = context;
    struct pollfd wish = {.fd = batch->fd, .events = POLLIN};
    ssize_t len;

    if (poll(&wish, 1, QUIET_MS) == 0) {
        fflush(stdout);
        return JOBMILL_BATCH_LATER;
    }
    do
        len = read(batch->fd, bytes, room);
    while (len < 0 && errno == EINTR);
    if (len < 0)
        batch->read_error = errno;
    return len;
}

static void on_answer(void *context, uint64_t index, struct jobmill_answer *answer)
{
    struct batch *batch = context;
    int exit = TOOL_OK;

    if (batch->is_json)
        exit = tool_print_json(jobmill_answer_value(answer));
    else if (jobmill_answer_error(answer) == 0)
        puts(jobmill_answer_id(answer));
    else
        tool_say(TOOL_REFUSED, "item %llu: %s (%s)", (unsigned long long)index + 1,
                 jobmill_answer_error_text(answer), jobmill_answer_error_code(answer));
    batch->exit = exit != TOOL_OK ? exit : batch->exit;
}

static int submit(struct jobmill *mill, const struct batch_conf *conf, struct batch *batch)
{
    struct jobmill_batch_options options = {.size = sizeof(options),
                                            .read = on_read,
                                            .on_answer = on_answer,
                                            .context = batch,
                                            .is_atomic = conf->is_atomic};
    uint64_t refused = 0;
    int error = jobmill_batch(mill, &options, &refused);

    if (batch->read_error != 0)
        return tool_say(TOOL_FAILED, "cannot read %s: %s", batch->path,
                        strerror(batch->read_error));
    if (error != 0)
        return tool_fail(mill, error);
    if (refused > 0)
        return tool_say(TOOL_REFUSED, "%llu items are not submitted", (unsigned long long)refused);
    return batch->exit;
}

static int run(struct jobmill *mill, const struct opt_rest *rest, const void *context)
{
    const struct batch_conf *conf = context;
    struct batch batch = {
        .path = rest->operands[0], .fd = STDIN_FILENO, .is_json = conf->tool.is_json};
    bool is_file = strcmp(batch.path, "-") != 0;
    int exit;

    if (is_file)
        batch.fd = open(batch.path, O_RDONLY | O_CLOEXEC);
    if (batch.fd < 0)
        return tool_say(TOOL_USAGE, "cannot open %s: %s", batch.path, strerror(errno));
    exit = submit(mill, conf, &batch);
    if (is_file)
        close(batch.fd);
    return exit;
}

int cmd_batch_run(int argc, char **argv)
{
    static const struct tool_syntax syntax = TOOL_SYNTAX(opts, 1, 1);
    struct batch_conf conf = {0};

    return tool_run(argc, argv, &syntax, &conf, run);
}
