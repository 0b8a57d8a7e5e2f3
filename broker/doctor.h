/*
 * doctor.h: `jobmill doctor`: looks at every page and every row of a database that no broker is
 * using, tells in sentences what is wrong, and with --repair mends what can be mended, after a copy
 * of the files. Runs in a process of its own (`jobmill-broker --doctor`).
 */
#ifndef BROKER_DOCTOR_H
#define BROKER_DOCTOR_H

#include <stdbool.h>

struct doctor_conf {
    const char *db;
    const char *redis;   /* for rebuilds_redis */
    unsigned node;       /* of the broker, likewise */
    bool is_repair;      /* mend what can be mended */
    bool rebuilds_redis; /* take this broker's jobs out of Redis and back into the backlog */
    bool is_json;        /* tell it as one JSON object */
};

/* What the process ends with. */
enum doctor_exit { DOCTOR_HEALTHY = 0, DOCTOR_FINDINGS = 1, DOCTOR_CANNOT_RUN = 2 };

/* Prints the report on stdout (or why it cannot run, on stderr). Returns a doctor_exit; a database
 * that could be mended is healthy. */
int doctor_run(const struct doctor_conf *conf);

#endif
