#include "client/tool/cmd_doctor.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/tool/tool.h"
#include "client/tool/up_place.h"
#include "schema/limits.h"

enum { ARGS = 8 };

struct doctor {
    const char *data;
    const char *db;
    const char *redis;
    uint64_t node;
    bool is_repair;
    bool rebuilds_redis;
    bool is_json;
};

#define ROW(option, field, kind, ...)                                                       \
    {                                                                                       \
        .name = option, .type = kind, .offset = offsetof(struct doctor, field), __VA_ARGS__ \
    }

static const struct opt opts[] = {
    ROW("data", data, OPT_STR, .fallback = "jobmill-data", .value = "DIR",
        .help = "The data directory of a `jobmill up`, whose database is looked at."),
    ROW("db", db, OPT_STR, .value = "FILE",
        .help = "The database itself, as jobmill-broker's --db has it, instead of --data."),
    ROW("repair", is_repair, OPT_BOOL,
        .help = "Mend what can be mended, after a copy of the files."),
    ROW("redis", redis, OPT_STR, .value = "ADDRESS",
        .help = "Where Redis is, for --rebuild-redis: unix:PATH or HOST:PORT."),
    ROW("rebuild-redis", rebuilds_redis, OPT_BOOL,
        .help = "Take this broker's jobs out of Redis and back into the backlog, so that the next "
                "start sends them again. Rarely needed: a broker notices by itself what Redis has "
                "lost."),
    ROW("node", node, OPT_U64, .fallback = "0", .min = 0, .max = JM_NODES - 1,
        .help = "The number of the broker, if several share one Redis."),
    ROW("json", is_json, OPT_BOOL, .help = "Print JSON, for machines."),
};

/* Comes back only if that fails. */
static int become(char *const args[])
{
    execvp(args[0], args);
    return tool_say(TOOL_USAGE, "doctor: cannot run %s: %s", args[0], strerror(errno));
}

static int run(const struct doctor *d)
{
    static char look[] = "--doctor", repair[] = "--repair", rebuild[] = "--rebuild-redis",
                json[] = "--json";
    char program[PATH_MAX], db[PATH_MAX + 32], redis[PATH_MAX], node[32];
    char *args[ARGS + 1] = {program, look, db, node};
    size_t count = 4;

    up_place_find_program("jobmill-broker", program);
    if (d->db != NULL)
        snprintf(db, sizeof(db), "--db=%s", d->db);
    else
        snprintf(db, sizeof(db), "--db=%s/jobmill.db", d->data);
    snprintf(node, sizeof(node), "--node=%" PRIu64, d->node);
    if (d->is_repair)
        args[count++] = repair;
    if (d->is_json)
        args[count++] = json;
    if (d->rebuilds_redis && d->redis == NULL)
        return tool_say(TOOL_USAGE, "doctor: --rebuild-redis needs --redis ADDRESS");
    if (d->rebuilds_redis) {
        snprintf(redis, sizeof(redis), "--redis=%s", d->redis);
        args[count++] = rebuild;
        args[count++] = redis;
    }
    return become(args);
}

int cmd_doctor_run(int argc, char **argv)
{
    struct doctor doctor = {.data = NULL};
    struct opt_rest rest;
    int exit = tool_read_options(argc, argv, opts, JM_COUNT_OF(opts), 0, 0, &doctor, &rest);

    if (exit < 0)
        exit = run(&doctor);
    opt_done(&rest);
    return exit;
}
