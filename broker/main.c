/*
 * main.c: jobmill-broker's command line.
 */
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "broker/broker.h"
#include "broker/doctor.h"
#include "lib/log.h"
#include "lib/opt.h"
#include "schema/limits.h"

#define FIELD(member) offsetof(struct broker_conf, member)

static const char *const level_words[] = {"error", "warn", "info", "debug", NULL};

static const struct opt opts[] = {
    {"listen", 'l', OPT_STR, FIELD(listen), "127.0.0.1:7878", .value = "ADDRESS",
     .env = "JOBMILL_LISTEN",
     .help =
         "Where to serve HTTP: 127.0.0.1:PORT, [::1]:PORT or unix:PATH, and nothing but "
         "loopback or a unix socket. Port 0 takes any free one. Sockets that systemd hands over "
         "are used instead."},
    {"db", 'd', OPT_STR, FIELD(db), "jobmill.db", .value = "FILE", .env = "JOBMILL_DB",
     .help = "The SQLite database; made if there is none."},
    {"redis", 'r', OPT_STR, FIELD(redis), "127.0.0.1:6379", .value = "ADDRESS",
     .env = "JOBMILL_REDIS", .help = "Where Redis is: unix:PATH or HOST:PORT."},
    {"node", 0, OPT_U64, FIELD(node), "0", 0, JM_NODES - 1,
     .help = "The number of this broker, when several share one Redis."},
    {"max-body", 0, OPT_BYTES, FIELD(max_body_bytes), "1M", 1024, JM_BODY_BYTES,
     .help = "The largest request body."},
    {"heartbeat", 0, OPT_DURATION, FIELD(heartbeat_ms), "1s", 50, 60000,
     .help = "How often worker hosts are looked at; as often as they beat."},
    {"lease", 0, OPT_DURATION, FIELD(lease_ms), "15s", 1000, 3600000,
     .help = "How long a worker host may be silent before it counts as dead."},
    {"retain", 0, OPT_DURATION, FIELD(retain_ms), "1d", 1, JM_DELAY_LIMIT_MS,
     .help = "How long a finished job is kept, if neither it nor its queue says so; up to a minute "
             "longer. Its result and its attempts go with it."},
    {"retain-failed", 0, OPT_DURATION, FIELD(retain_failed_ms), "7d", 1, JM_DELAY_LIMIT_MS,
     .help = "The same for a job that failed."},
    {"idempotency-window", 0, OPT_DURATION, FIELD(idempotency_ms), "1d", 1, JM_DELAY_LIMIT_MS,
     .help = "How long the repeat of a submit with the same Idempotency-Key makes no second job."},
    {"stop-grace", 0, OPT_DURATION, FIELD(stop_ms), "5s", 0, 60000,
     .help = "How long requests that have begun may take when the broker is stopped."},
    {"doctor", 0, OPT_BOOL, FIELD(is_doctor),
     .help = "Do not serve: look at the database, tell what is wrong, and end (`jobmill doctor`)."},
    {"repair", 0, OPT_BOOL, FIELD(is_repair), .help = "With --doctor: mend what can be mended."},
    {"rebuild-redis", 0, OPT_BOOL, FIELD(rebuilds_redis),
     .help = "With --doctor: take this broker's jobs out of Redis and back into the backlog."},
    {"json", 0, OPT_BOOL, FIELD(is_json), .help = "With --doctor: tell it as JSON."},
    {"log-level", 0, OPT_ENUM, FIELD(log_level), "info", .words = level_words,
     .env = "JOBMILL_LOG_LEVEL", .help = "The least urgent messages that are shown."},
};

static const struct opt_program program = {
    .name = "jobmill-broker",
    .usage = "[options]",
    .summary =
        "Accepts jobs over HTTP, keeps them in SQLite, and gives them to workers through Redis.",
    .version = JM_VERSION,
    .opts = opts,
    .opt_count = JM_COUNT_OF(opts),
    .has_config = true,
};

static int serve(const struct broker_conf *conf)
{
    struct broker *broker = calloc(1, sizeof(*broker));
    int code;

    if (broker == NULL)
        log_error("cannot start: there is no memory");
    if (broker == NULL || broker_start(broker, conf) != 0)
        _exit(1); /* what was started is not taken down again: the kernel does that */
    code = broker_run(broker);
    free(broker);
    return code;
}

static int look(const struct broker_conf *conf)
{
    struct doctor_conf doctor = {.db = conf->db,
                                 .redis = conf->redis,
                                 .node = (unsigned)conf->node,
                                 .is_repair = conf->is_repair,
                                 .rebuilds_redis = conf->rebuilds_redis,
                                 .is_json = conf->is_json};

    return doctor_run(&doctor);
}

int main(int argc, char **argv)
{
    struct broker_conf conf = {0};
    struct opt_rest rest;
    int code = opt_start(&program, argc, argv, &conf, &rest);

    if (code < 0) {
        log_setup(program.name, (enum log_level)log_parse_level(level_words[conf.log_level]));
        code = conf.is_doctor ? look(&conf) : serve(&conf);
    }
    opt_done(&rest);
    return code;
}
