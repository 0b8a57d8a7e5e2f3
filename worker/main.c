#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/opt.h"
#include "schema/limits.h"
#include "worker/child.h"
#include "worker/host.h"
#include "worker/serving.h"

static const char *const level_words[] = {"error", "warn", "info", "debug", NULL};
static const enum log_level levels[] = {LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO,
                                        LOG_LEVEL_DEBUG};

#define FIELD(member) offsetof(struct host_conf, member)

static const struct opt opts[] = {
    {"redis", 'r', OPT_STR, FIELD(redis), "unix:/run/jobmill/redis.sock", .value = "ADDRESS",
     .env = "JOBMILL_REDIS", .help = "Where Redis is: unix:/path or host:port."},
    {"slots", 'n', OPT_U64, FIELD(slots), "0", 0, JM_SLOTS,
     .help = "How many jobs run at once, each in a process of its own; 0 means one for each CPU."},
    {"queues", 'q', OPT_STR, FIELD(queues), "default", .value = "A,B",
     .help = "Which queues to serve; an earlier one first. With weights, as in "
             "critical:6,default:3,low, each comes first that often, and none has to wait for "
             "another to be empty; one without a weight counts 1."},
    {"tasks-dir", 0, OPT_STR, FIELD(tasks_dir), "", .value = "DIR",
     .help = "Executables in this directory are tasks by their file names: arguments as JSON on "
             "stdin, result as JSON on stdout, progress and retry lines on descriptor 3."},
    {"file-root", 0, OPT_STR, FIELD(file_root), "", .value = "DIR",
     .help = "Tasks that read files may do so below this directory; without it, none may."},
    {"test-tasks", 0, OPT_BOOL, FIELD(has_test_tasks), "no",
     .help = "Serve the tasks fail, crash, spin and ledger, which are for tests."},
    {"nice", 0, OPT_U64, FIELD(nice), "10", 0, 19,
     .help = "Niceness of the processes that run jobs."},
    {"drain-grace", 0, OPT_DURATION, FIELD(drain_grace_ms), "30s", 0, 24 * 3600 * 1000,
     .help = "How long running jobs may take to end after SIGTERM; what is left is handed back."},
    {"log-level", 0, OPT_ENUM, FIELD(log_level), "info", .words = level_words,
     .help = "The least urgent that is told."},
};

static const struct opt_program program = {
    .name = "jobmill-worker",
    .usage = "[options]",
    .summary = "Runs jobs that a jobmill-broker puts into Redis.",
    .version = JM_VERSION,
    .epilogue = "SIGTERM drains: claims stop, running jobs end or are handed back. A second one "
                "ends the grace.",
    .opts = opts,
    .opt_count = JM_COUNT_OF(opts),
    .has_config = true,
};

static bool are_queues_valid(const char *list)
{
    struct serving_queue queues[SERVING_QUEUES];
    size_t count;

    return serving_parse(list, queues, &count);
}

/* What the option table cannot know. Returns the sentence to refuse it with, or NULL. */
static const char *find_fault(const struct host_conf *conf)
{
    struct redis_address address;

    if (!redis_parse_address(conf->redis, &address))
        return "--redis must be unix:/path or host:port";
    if (strlen(conf->redis) >= SHM_PATH_BYTES)
        return "--redis is longer than 1023 bytes";
    if (strlen(conf->queues) >= SHM_QUEUES_BYTES || !are_queues_valid(conf->queues))
        return "--queues must be 1 to 64 names of letters, digits, '_', '-', '.' and ':', "
               "separated by commas, each with ':' and a weight from 1 to 1000 if you like, in at "
               "most 4095 bytes";
    if (strlen(conf->tasks_dir) >= SHM_PATH_BYTES || strlen(conf->file_root) >= SHM_PATH_BYTES)
        return "--tasks-dir and --file-root may have at most 1023 bytes";
    return NULL;
}

/* A relative directory is meant from here; the children may be elsewhere. The caller frees it. */
static char *resolve(const char *option, const char *dir)
{
    char *path = dir[0] == '\0' ? strdup("") : realpath(dir, NULL);

    if (path == NULL && errno == ENOMEM)
        fputs("jobmill-worker: out of memory\n", stderr);
    else if (path == NULL)
        fprintf(stderr, "jobmill-worker: --%s: '%s' is not a directory that can be entered\n",
                option, dir);
    return path;
}

static int serve(struct host_conf *conf)
{
    struct host host;
    int code = 1;

    if (host_open(&host, conf) == 0)
        code = host_run(&host);
    host_close(&host);
    return code;
}

int main(int argc, char **argv)
{
    struct host_conf conf = {0};
    struct opt_rest rest;
    char *tasks_dir = NULL, *file_root = NULL;
    const char *fault;
    int code;

    if (argc == 2 && strcmp(argv[1], CHILD_ARGUMENT) == 0)
        return child_main();
    code = opt_start(&program, argc, argv, &conf, &rest);
    if (code < 0) {
        fault = find_fault(&conf);
        tasks_dir = fault == NULL ? resolve("tasks-dir", conf.tasks_dir) : NULL;
        file_root = tasks_dir != NULL ? resolve("file-root", conf.file_root) : NULL;
        if (fault != NULL)
            fprintf(stderr, "jobmill-worker: %s\n", fault);
        code = 2;
        if (file_root != NULL) {
            conf.tasks_dir = tasks_dir;
            conf.file_root = file_root;
            conf.log_level = levels[conf.log_level];
            log_setup("jobmill-worker", (enum log_level)conf.log_level);
            code = serve(&conf);
        }
    }
    free(tasks_dir);
    free(file_root);
    opt_done(&rest);
    return code;
}
