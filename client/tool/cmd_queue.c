/*
 * Each limit is an option --NAME that sets it and one --no-NAME that takes it away. What is not
 * mentioned stays; with no such option at all, a queue is only shown.
 */
#include <stdio.h>

#include "client/tool/cmd_queue.h"
#include "client/tool/field.h"
#include "client/tool/sheet.h"
#include "client/tool/spec.h"
#include "client/tool/tool.h"
#include "schema/limits.h"

/* A number that can be taken away. */
struct limit {
    uint64_t value; /* 0: not mentioned */
    bool is_cleared;
};

/* Likewise, a word. */
struct word {
    const char *text;
    bool is_cleared;
};

struct queue_conf {
    struct tool_conf tool;
    struct word rate;
    struct limit concurrency;
    struct word key_rate;
    struct limit key_concurrency;
    struct limit max_queued;
    struct limit retain_ms;
    struct limit retain_failed_ms;
    struct limit priority;
    struct limit max_attempts;
    struct limit timeout_ms;
    struct limit grace_ms;
    struct word backoff;
};

#define CLEAR_ROW(option, field)                                                                   \
    {                                                                                              \
        .name = "no-" option, .type = OPT_BOOL,                                                    \
        .offset = offsetof(struct queue_conf, field.is_cleared), .help = "Take --" option " away." \
    }

#define LIMIT_ROWS(option, field, kind, least, most, text) \
    {.name = (option),                                     \
     .type = (kind),                                       \
     .offset = offsetof(struct queue_conf, field.value),   \
     .min = (least),                                       \
     .max = (most),                                        \
     .help = (text)},                                      \
        CLEAR_ROW(option, field)

#define WORD_ROWS(option, field, placeholder, sentence) \
    {.name = (option),                                  \
     .type = OPT_STR,                                   \
     .offset = offsetof(struct queue_conf, field.text), \
     .value = (placeholder),                            \
     .help = (sentence)},                               \
        CLEAR_ROW(option, field)

#define CONCURRENCY_ROWS                                                     \
    LIMIT_ROWS("concurrency", concurrency, OPT_U64, 1, JM_CONCURRENCY_LIMIT, \
               "At most so many jobs are out at once.")

/* What jobs get that don't say it themselves. */
#define DEFAULT_ROWS                                                            \
    LIMIT_ROWS("max-attempts", max_attempts, OPT_U64, 1, JM_MAX_ATTEMPTS_LIMIT, \
               "How often jobs are tried that don't say it themselves."),       \
        LIMIT_ROWS("timeout", timeout_ms, OPT_DURATION, 1, JM_TIMEOUT_LIMIT_MS, \
                   "How long an attempt of theirs may run."),                   \
        LIMIT_ROWS("grace", grace_ms, OPT_DURATION, 1, JM_GRACE_LIMIT_MS,       \
                   "How long they have from SIGTERM to SIGKILL."),              \
        WORD_ROWS("backoff", backoff, "BACKOFF",                                \
                  "The pause before their next attempt: fixed:5s, or "          \
                  "exponential:base=1s,factor=2,ceiling=1h,jitter=0.1 or a part of it.")

static const struct opt queue_opts[] = {
    TOOL_OPTS,
    WORD_ROWS("rate", rate, "RATE", "At most so many jobs begin in a time: 100/s, 100/10s."),
    CONCURRENCY_ROWS,
    WORD_ROWS("key-rate", key_rate, "RATE", "--rate for the jobs of each limit key."),
    LIMIT_ROWS("key-concurrency", key_concurrency, OPT_U64, 1, JM_CONCURRENCY_LIMIT,
               "--concurrency for the jobs of each limit key."),
    LIMIT_ROWS("max-queued", max_queued, OPT_U64, 1, JM_QUEUED_LIMIT,
               "Refuse submits while so many jobs wait."),
    LIMIT_ROWS("retain", retain_ms, OPT_DURATION, 1, JM_DELAY_LIMIT_MS,
               "How long ended jobs are kept, but for failed ones."),
    LIMIT_ROWS("retain-failed", retain_failed_ms, OPT_DURATION, 1, JM_DELAY_LIMIT_MS,
               "How long failed jobs are kept."),
    LIMIT_ROWS("priority", priority, OPT_U64, JM_PRIORITY_MIN, JM_PRIORITY_MAX,
               "Of jobs that don't say it themselves; 9 goes first."),
    DEFAULT_ROWS,
};

static const struct opt task_opts[] = {TOOL_OPTS, CONCURRENCY_ROWS, DEFAULT_ROWS};

/* ---- options to what the library takes ---- */

/* An option and its opposite at once: which of them would hold is a guess. */
static int check(const struct queue_conf *c)
{
    const struct limit *limits[] = {&c->concurrency,  &c->key_concurrency,  &c->max_queued,
                                    &c->retain_ms,    &c->retain_failed_ms, &c->priority,
                                    &c->max_attempts, &c->timeout_ms,       &c->grace_ms};
    const struct word *words[] = {&c->rate, &c->key_rate, &c->backoff};
    bool has_both = false;

    for (size_t i = 0; i < JM_COUNT_OF(limits); i++)
        has_both |= limits[i]->value > 0 && limits[i]->is_cleared;
    for (size_t i = 0; i < JM_COUNT_OF(words); i++)
        has_both |= words[i]->text != NULL && words[i]->is_cleared;
    return has_both ? tool_say(TOOL_USAGE, "a limit is set and taken away at once") : TOOL_OK;
}

static int64_t limit_of(const struct limit *limit)
{
    return limit->is_cleared ? -1 : (int64_t)limit->value;
}

static int read_rate(const char *option, const struct word *word, int64_t *ret_limit,
                     int64_t *ret_period_ms)
{
    *ret_limit = word->is_cleared ? -1 : 0;
    *ret_period_ms = 0;
    return spec_rate(option, word->is_cleared ? NULL : word->text, ret_limit, ret_period_ms);
}

/* NULL if nothing is said of it. */
static int read_backoff(const struct word *word, struct jobmill_backoff *backoff,
                        const struct jobmill_backoff **ret_backoff)
{
    *backoff = (struct jobmill_backoff){.kind = ""};
    *ret_backoff = word->is_cleared || word->text != NULL ? backoff : NULL;
    return word->is_cleared || word->text == NULL ? TOOL_OK
                                                  : spec_backoff("backoff", word->text, backoff);
}

static int read_queue(const struct queue_conf *conf, struct jobmill_backoff *backoff,
                      struct jobmill_queue_options *ret_options)
{
    struct jobmill_queue_options o = {
        .size = sizeof(o),
        .concurrency = limit_of(&conf->concurrency),
        .key_concurrency = limit_of(&conf->key_concurrency),
        .max_queued = limit_of(&conf->max_queued),
        .retain_ms = limit_of(&conf->retain_ms),
        .retain_failed_ms = limit_of(&conf->retain_failed_ms),
        .priority = limit_of(&conf->priority),
        .max_attempts = limit_of(&conf->max_attempts),
        .timeout_ms = limit_of(&conf->timeout_ms),
        .grace_ms = limit_of(&conf->grace_ms),
    };
    int exit = check(conf);

    if (exit == TOOL_OK)
        exit = read_rate("rate", &conf->rate, &o.rate_limit, &o.rate_period_ms);
    if (exit == TOOL_OK)
        exit = read_rate("key-rate", &conf->key_rate, &o.key_rate_limit, &o.key_rate_period_ms);
    if (exit == TOOL_OK)
        exit = read_backoff(&conf->backoff, backoff, &o.backoff);
    *ret_options = o;
    return exit;
}

static bool is_asked_to_change(const struct jobmill_queue_options *o)
{
    return o->rate_limit != 0 || o->concurrency != 0 || o->key_rate_limit != 0 ||
           o->key_concurrency != 0 || o->max_queued != 0 || o->retain_ms != 0 ||
           o->retain_failed_ms != 0 || o->priority != 0 || o->max_attempts != 0 ||
           o->timeout_ms != 0 || o->grace_ms != 0 || o->backoff != NULL;
}

/* ---- the commands ---- */

static int print_and_free(struct jobmill *mill, int error, bool is_json,
                          struct jobmill_value *value)
{
    int exit = error != 0 ? tool_fail(mill, error)
               : is_json  ? tool_print_json(value)
                          : sheet_print(field_of_value(value), NULL, true);

    jobmill_value_free(value);
    return exit;
}

static int queue(struct jobmill *mill, const struct opt_rest *rest, const void *context)
{
    const struct queue_conf *conf = context;
    struct jobmill_queue_options options;
    struct jobmill_backoff backoff;
    struct jobmill_value *value = NULL;
    int exit = read_queue(conf, &backoff, &options);
    int error;

    if (exit != TOOL_OK)
        return exit;
    error = is_asked_to_change(&options)
                ? jobmill_queue_configure(mill, rest->operands[0], &options, &value)
                : jobmill_queue(mill, rest->operands[0], &value);
    return print_and_free(mill, error, conf->tool.is_json, value);
}

int cmd_queue_run(int argc, char **argv)
{
    static const struct tool_syntax syntax = TOOL_SYNTAX(queue_opts, 1, 1);
    struct queue_conf conf = {0};

    return tool_run(argc, argv, &syntax, &conf, queue);
}

static int task(struct jobmill *mill, const struct opt_rest *rest, const void *context)
{
    const struct queue_conf *conf = context;
    struct jobmill_task_options options = {
        .size = sizeof(options),
        .concurrency = limit_of(&conf->concurrency),
        .max_attempts = limit_of(&conf->max_attempts),
        .timeout_ms = limit_of(&conf->timeout_ms),
        .grace_ms = limit_of(&conf->grace_ms),
    };
    struct jobmill_backoff backoff;
    struct jobmill_value *value = NULL;
    int exit = check(conf);
    int error;

    if (exit == TOOL_OK)
        exit = read_backoff(&conf->backoff, &backoff, &options.backoff);
    if (exit != TOOL_OK)
        return exit;
    error = jobmill_task_configure(mill, rest->operands[0], &options, &value);
    return print_and_free(mill, error, conf->tool.is_json, value);
}

int cmd_queue_task(int argc, char **argv)
{
    static const struct tool_syntax syntax = TOOL_SYNTAX(task_opts, 1, 1);
    struct queue_conf conf = {0};

    return tool_run(argc, argv, &syntax, &conf, task);
}

/* ---- pause and resume ---- */

static const struct opt plain_opts[] = {TOOL_OPTS};
static const struct tool_syntax plain_syntax = TOOL_SYNTAX(plain_opts, 1, SIZE_MAX);

typedef int (*set_paused)(struct jobmill *mill, const char *name, struct jobmill_value **ret_value);

static int set_all(struct jobmill *mill, const struct opt_rest *rest, const struct tool_conf *conf,
                   set_paused set, const char *done)
{
    int exit = TOOL_OK;

    for (size_t i = 0; i < rest->operand_count && exit == TOOL_OK; i++) {
        struct jobmill_value *value = NULL;
        int error = set(mill, rest->operands[i], &value);

        if (error != 0)
            exit = tool_fail(mill, error);
        else if (conf->is_json)
            exit = tool_print_json(value);
        else
            printf("%s %s\n", rest->operands[i], done);
        jobmill_value_free(value);
    }
    return exit;
}

static int pause_all(struct jobmill *mill, const struct opt_rest *rest, const void *conf)
{
    return set_all(mill, rest, conf, jobmill_queue_pause, "is paused");
}

static int resume_all(struct jobmill *mill, const struct opt_rest *rest, const void *conf)
{
    return set_all(mill, rest, conf, jobmill_queue_resume, "goes on");
}

int cmd_queue_pause(int argc, char **argv)
{
    struct tool_conf conf = {0};

    return tool_run(argc, argv, &plain_syntax, &conf, pause_all);
}

int cmd_queue_resume(int argc, char **argv)
{
    struct tool_conf conf = {0};

    return tool_run(argc, argv, &plain_syntax, &conf, resume_all);
}
