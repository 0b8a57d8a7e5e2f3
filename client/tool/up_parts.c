#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/tool/tool.h"
#include "client/tool/up_parts.h"

enum { LISTEN_ARG = 3 }; /* which of the broker's arguments says where it listens */

static bool is_in_path(const char *name)
{
    const char *path = getenv("PATH");
    char file[PATH_MAX];

    while (path != NULL && *path != '\0') {
        int len = (int)strcspn(path, ":");

        if (snprintf(file, sizeof(file), "%.*s/%s", len, path, name) < (int)sizeof(file) &&
            access(file, X_OK) == 0)
            return true;
        path += len + (path[len] == ':');
    }
    return false;
}

/* Valkey is Redis by another name; some distributions have only the one. NULL: neither is there. */
static const char *redis_program(void)
{
    if (is_in_path("redis-server"))
        return "redis-server";
    return is_in_path("valkey-server") ? "valkey-server" : NULL;
}

static void describe_redis(struct part *part, const char *program, const struct up_place *place)
{
    static const char *const settings[] = {
        "--port",      "0",  "--save",     "",        "--appendonly",         "no",
        "--daemonize", "no", "--loglevel", "warning", "--proto-max-bulk-len", "16mb"};

    part_init(part, "redis");
    part_add_arg(part, "%s", program);
    for (size_t i = 0; i < JM_COUNT_OF(settings); i++)
        part_add_arg(part, "%s", settings[i]);
    part_add_arg(part, "--maxmemory-policy");
    part_add_arg(part, "noeviction");
    part_add_arg(part, "--unixsocketperm");
    part_add_arg(part, "700");
    part_add_arg(part, "--unixsocket");
    part_add_arg(part, "%s", place->socket);
    part_add_arg(part, "--dir");
    part_add_arg(part, "%s", place->data);
    /* Its banner and its advice about persistence are of no use on the terminal. */
    part_add_arg(part, "--logfile");
    part_add_arg(part, "%s/redis.log", place->data);
}

static void describe_broker(struct part *part, const struct up_conf *conf,
                            const struct up_place *place)
{
    char program[PATH_MAX];

    part_init(part, "broker");
    up_place_find_program("jobmill-broker", program);
    part_add_arg(part, "%s", program);
    part_add_arg(part, "--db=%s/jobmill.db", place->data);
    part_add_arg(part, "--redis=unix:%s", place->socket);
    part_add_arg(part, "--listen=%s", conf->listen);
}

static void describe_worker(struct part *part, const struct up_conf *conf,
                            const struct up_place *place)
{
    char program[PATH_MAX];

    part_init(part, "worker");
    up_place_find_program("jobmill-worker", program);
    part_add_arg(part, "%s", program);
    part_add_arg(part, "--redis=unix:%s", place->socket);
    part_add_arg(part, "--file-root=%s", conf->file_root);
    part_add_arg(part, "--drain-grace=%" PRIu64 "ms", conf->drain_grace_ms);
    if (conf->slots > 0)
        part_add_arg(part, "--slots=%" PRIu64, conf->slots);
    if (conf->queues != NULL)
        part_add_arg(part, "--queues=%s", conf->queues);
    if (conf->tasks_dir != NULL)
        part_add_arg(part, "--tasks-dir=%s", conf->tasks_dir);
    if (conf->has_test_tasks)
        part_add_arg(part, "--test-tasks");
}

bool up_parts_init(struct part parts[UP_PARTS], const struct up_conf *conf,
                   const struct up_place *place)
{
    const char *program = redis_program();

    if (program == NULL) {
        tool_say(0, "up: there is no redis-server in PATH; install the package redis-server (or "
                    "valkey)");
        return false;
    }
    describe_redis(&parts[UP_REDIS], program, place);
    describe_broker(&parts[UP_BROKER], conf, place);
    describe_worker(&parts[UP_WORKER], conf, place);
    return true;
}

void up_parts_set_address(struct part parts[UP_PARTS], const char *address)
{
    bool is_tcp = strncmp(address, "http://", 7) == 0;

    part_set_arg(&parts[UP_BROKER], LISTEN_ARG, "--listen=%s", address + (is_tcp ? 7 : 0));
}
