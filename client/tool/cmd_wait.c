/*
 * How it works: on a terminal a wait is made of short ones, so that what the job tells of its
 * progress in between can be shown; else it is one.
 */
#include <stdio.h>
#include <string.h>

#include "client/tool/cmd_wait.h"
#include "client/tool/field.h"
#include "client/tool/spinner.h"
#include "client/tool/table.h"
#include "client/tool/tool.h"
#include "lib/clock.h"

enum {
    RETRY_MS = 30000, /* of a wait: a broker that restarts is back by then */
    LOOK_MS = 500,    /* how often progress is looked at */
};

/* ---- how a job ended ---- */

static void print_stderr_tail(struct span tail)
{
    struct buf text;

    buf_init(&text, SIZE_MAX);
    while (tail.len > 0) {
        const uint8_t *end = memchr(tail.data, '\n', tail.len);
        size_t len = end != NULL ? (size_t)(end - tail.data) : tail.len;

        buf_put_str(&text, "  ");
        table_put_clean(&text, span_of(tail.data, len));
        buf_put_u8(&text, '\n');
        len += end != NULL;
        tail = span_of(tail.data + len, tail.len - len);
    }
    fwrite(text.data, 1, text.len, stderr);
    buf_done(&text);
}

/* "jobmill: ID failed: message (code)", the task's own code if it has one, and the tail of stderr,
 * if the job left one. */
static void tell_failure(struct jobmill_job *job)
{
    const char *message = jobmill_job_error_message(job);
    const char *own = jobmill_job_task_code(job);
    const char *code = own != NULL ? own : jobmill_job_error_code(job);
    struct span tail, text;
    struct mp_cursor c;

    if (code != NULL && message != NULL)
        tool_say(0, "%s %s: %s (%s)", jobmill_job_id(job), jobmill_job_state_name(job), message,
                 code);
    else
        tool_say(0, "%s %s", jobmill_job_id(job), jobmill_job_state_name(job));
    if (!field_find_path(field_of_value(jobmill_job_value(job)), "error.stderr", &tail))
        return;
    mp_open(&c, tail);
    if (mp_next_str(&c, &text) && text.len > 0)
        print_stderr_tail(text);
}

static int exit_for(const struct jobmill_job *job)
{
    if (!jobmill_job_is_finished(job))
        return TOOL_UNFINISHED;
    return jobmill_job_state(job) == JOBMILL_SUCCEEDED ? TOOL_OK : TOOL_BAD_END;
}

static int print_end(struct jobmill_job *job, bool is_json)
{
    int exit = exit_for(job);
    int error = TOOL_OK;

    if (is_json)
        error = tool_print_json(jobmill_job_value(job));
    else if (exit == TOOL_BAD_END)
        tell_failure(job);
    else if (exit == TOOL_UNFINISHED)
        tool_say(exit, "%s is still %s", jobmill_job_id(job), jobmill_job_state_name(job));
    else if (jobmill_job_result(job) != NULL)
        error = tool_print_json(jobmill_job_result(job));
    else
        puts("null");
    return tool_end(error != TOOL_OK ? error : exit);
}

/* ---- waiting ---- */

/* Waits once more for a while. Returns 0 or a jobmill_error; `ret_job` is then the newest. */
static int look(struct jobmill *mill, const char *id, int64_t left_ms, struct spinner *spinner,
                struct jobmill_job **ret_job)
{
    bool is_short = spinner_is_shown(spinner) && (left_ms < 0 || left_ms > LOOK_MS);
    struct jobmill_job *job = NULL;
    int error = jobmill_wait(mill, id, is_short ? LOOK_MS : left_ms, &job);

    if (error != 0)
        return error;
    spinner_set_progress(spinner, jobmill_job_progress_done(job), jobmill_job_progress_total(job),
                         jobmill_job_progress_message(job));
    jobmill_job_free(*ret_job);
    *ret_job = job;
    return 0;
}

static int wait_with_spinner(struct jobmill *mill, const char *id, int64_t wait_ms,
                             struct jobmill_job **ret_job)
{
    int64_t end_ms = (int64_t)clock_mono_ms(clock_real()) + wait_ms, left_ms = wait_ms;
    struct spinner spinner;
    char words[64];
    int error;

    snprintf(words, sizeof(words), "waiting for %.20s", id);
    spinner_start(&spinner, words);
    do {
        error = look(mill, id, left_ms, &spinner, ret_job);
        if (wait_ms >= 0)
            left_ms = end_ms - (int64_t)clock_mono_ms(clock_real());
    } while (error == 0 && !jobmill_job_is_finished(*ret_job) && (wait_ms < 0 || left_ms > 0));
    spinner_stop(&spinner);
    return error;
}

int cmd_wait_for(struct jobmill *mill, const char *id, uint64_t wait_ms, bool is_json)
{
    struct jobmill_job *job = NULL;
    int error, exit;

    jobmill_set_retry_ms(mill, RETRY_MS);
    error =
        wait_with_spinner(mill, id, wait_ms >= CMD_WAIT_FOREVER_MS ? -1 : (int64_t)wait_ms, &job);
    exit = error == 0 ? print_end(job, is_json) : tool_fail(mill, error);
    jobmill_job_free(job);
    return exit;
}

/* ---- the command ---- */

struct wait_conf {
    struct tool_conf tool;
    uint64_t wait_ms;
};

static const struct opt opts[] = {
    TOOL_OPTS,
    {.name = "for",
     .type = OPT_DURATION,
     .offset = offsetof(struct wait_conf, wait_ms),
     .fallback = CMD_WAIT_FOREVER,
     .max = CMD_WAIT_FOREVER_MS,
     .help = "Give up after this time, with exit status 5; the longest is without end."},
};

static int wait_for(struct jobmill *mill, const struct opt_rest *rest, const void *context)
{
    const struct wait_conf *conf = context;

    return cmd_wait_for(mill, rest->operands[0], conf->wait_ms, conf->tool.is_json);
}

int cmd_wait_run(int argc, char **argv)
{
    static const struct tool_syntax syntax = TOOL_SYNTAX(opts, 1, 1);
    struct wait_conf conf = {0};

    return tool_run(argc, argv, &syntax, &conf, wait_for);
}
