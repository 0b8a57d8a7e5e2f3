#include <stdio.h>
#include <string.h>

#include "client/tool/cmd_job.h"
#include "client/tool/field.h"
#include "client/tool/spinner.h"
#include "client/tool/table.h"
#include "client/tool/tool.h"

enum {
    RETRY_MS = 30000, /* of a wait: a broker that restarts is back by then */
    SHOWN_BYTES = 1000,
};

/* ---- showing a job ---- */

static void print_member(struct span name, struct span value, struct buf *text)
{
    buf_clear(text);
    field_put(text, value);
    if (text->len == 1 && text->data[0] == '-')
        return; /* null, or an empty list */
    printf("%-12.*s ", (int)name.len, (const char *)name.data);
    if (text->len <= SHOWN_BYTES)
        printf("%.*s\n", (int)text->len, (const char *)text->data);
    else
        printf("%.*s … (%zu bytes; --json shows all)\n", SHOWN_BYTES, (const char *)text->data,
               text->len);
}

static int print_job(struct jobmill_job *job, bool is_json)
{
    struct mp_cursor c;
    struct span name, value;
    struct buf text;
    uint32_t count;

    if (is_json)
        return tool_print_json(jobmill_job_value(job));
    if (!field_open_map(field_of_value(jobmill_job_value(job)), &c, &count))
        return TOOL_FAILED;
    buf_init(&text, SIZE_MAX);
    while (count-- > 0 && field_next(&c, &name, &value))
        print_member(name, value, &text);
    buf_done(&text);
    return TOOL_OK;
}

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

/* "jobmill: ID failed: message (code)" and the tail of stderr, if the job left one. */
static void tell_failure(struct jobmill_job *job)
{
    const char *message = jobmill_job_error_message(job);
    const char *code = jobmill_job_error_code(job);
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

int cmd_job_await(struct jobmill *mill, const char *id, uint64_t wait_ms, bool is_json)
{
    int64_t timeout_ms = wait_ms >= CMD_JOB_FOREVER_MS ? -1 : (int64_t)wait_ms;
    struct jobmill_job *job = NULL;
    struct spinner spinner;
    char words[64];
    int error, exit;

    snprintf(words, sizeof(words), "waiting for %.20s", id);
    jobmill_set_retry_ms(mill, RETRY_MS);
    spinner_start(&spinner, words);
    error = jobmill_wait(mill, id, timeout_ms, &job);
    spinner_stop(&spinner);
    if (error != 0)
        return tool_fail(mill, error);
    exit = print_end(job, is_json);
    jobmill_job_free(job);
    return exit;
}

/* ---- the commands ---- */

struct job_conf {
    struct tool_conf tool;
    uint64_t wait_ms;
};

static const struct opt plain_opts[] = {TOOL_OPTS};

static const struct opt wait_opts[] = {
    TOOL_OPTS,
    {.name = "for",
     .type = OPT_DURATION,
     .offset = offsetof(struct job_conf, wait_ms),
     .fallback = CMD_JOB_FOREVER,
     .max = CMD_JOB_FOREVER_MS,
     .help = "Give up after this time, with exit status 5; the longest is without end."},
};

/* What a command does with the job whose id it was given. Returns a tool_exit. */
typedef int (*action)(struct jobmill *mill, const char *id, const struct job_conf *conf);

static int run_on_job(int argc, char **argv, const struct opt *opts, size_t opt_count, action act)
{
    struct jobmill *mill = NULL;
    struct job_conf conf = {0};
    struct opt_rest rest;
    int exit = tool_read_options(argc, argv, opts, opt_count, 1, 1, &conf, &rest);

    if (exit < 0)
        exit = tool_open(&conf.tool, &mill);
    if (exit == TOOL_OK && mill != NULL)
        exit = tool_end(act(mill, rest.operands[0], &conf));
    jobmill_close(mill);
    opt_done(&rest);
    return exit;
}

static int get(struct jobmill *mill, const char *id, const struct job_conf *conf)
{
    struct jobmill_job *job = NULL;
    int error = jobmill_get(mill, id, &job);
    int exit = error != 0 ? tool_fail(mill, error) : print_job(job, conf->tool.is_json);

    jobmill_job_free(job);
    return exit;
}

static int result(struct jobmill *mill, const char *id, const struct job_conf *conf)
{
    struct jobmill_value *value = NULL;
    int error = jobmill_result(mill, id, &value);
    int exit;

    (void)conf; /* a result is JSON in any case */
    if (error == JOBMILL_ENOTFINISHED)
        return tool_say(TOOL_UNFINISHED, "%s", jobmill_error_text(mill));
    exit = error != 0 ? tool_fail(mill, error) : tool_print_json(value);
    jobmill_value_free(value);
    return exit;
}

static int wait_for(struct jobmill *mill, const char *id, const struct job_conf *conf)
{
    return cmd_job_await(mill, id, conf->wait_ms, conf->tool.is_json);
}

static int cancel(struct jobmill *mill, const char *id, const struct job_conf *conf)
{
    struct jobmill_job *job = NULL;
    int error = jobmill_cancel(mill, id, &job);
    const char *stopped;

    if (error != 0)
        return tool_fail(mill, error);
    stopped = jobmill_job_stopped(job);
    if (conf->tool.is_json) {
        error = tool_print_json(jobmill_job_value(job));
    } else {
        printf("%s is %s%s\n", jobmill_job_id(job), jobmill_job_state_name(job),
               stopped == NULL || strcmp(stopped, "true") == 0 ? ""
               : strcmp(stopped, "false") == 0 ? "; its worker is being told to stop it"
                                               : "; whether it still runs is not known");
    }
    jobmill_job_free(job);
    return error;
}

static int delete (struct jobmill *mill, const char *id, const struct job_conf *conf)
{
    int error = jobmill_delete(mill, id);

    if (error != 0)
        return tool_fail(mill, error);
    if (!conf->tool.is_json)
        printf("%s is deleted\n", id);
    return TOOL_OK;
}

int cmd_job_get(int argc, char **argv)
{
    return run_on_job(argc, argv, plain_opts, JM_COUNT_OF(plain_opts), get);
}

int cmd_job_result(int argc, char **argv)
{
    return run_on_job(argc, argv, plain_opts, JM_COUNT_OF(plain_opts), result);
}

int cmd_job_wait(int argc, char **argv)
{
    return run_on_job(argc, argv, wait_opts, JM_COUNT_OF(wait_opts), wait_for);
}

int cmd_job_cancel(int argc, char **argv)
{
    return run_on_job(argc, argv, plain_opts, JM_COUNT_OF(plain_opts), cancel);
}

int cmd_job_delete(int argc, char **argv)
{
    return run_on_job(argc, argv, plain_opts, JM_COUNT_OF(plain_opts), delete);
}
