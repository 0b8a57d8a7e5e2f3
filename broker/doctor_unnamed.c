/*
 * Jobs of which nothing is left but that they were counted: their rows are gone, and neither an end
 * nor a tag nor a history names them. Nobody can tell which they were; how many, and of which
 * queues, the counts say, unless they are damaged too.
 */
#include "broker/doctor_inside.h"

#include <stdio.h>
#include <string.h>

enum { QUEUES_SHOWN = 5 };

#define COUNTS "scheduled, queued, dispatched, running, succeeded, failed, cancelled, expired"
#define SUM \
    "(0.0 + scheduled + queued + dispatched + running + succeeded + failed + cancelled + expired)"

/* Whether a count cannot be one, or a queue has none. */
static const char doubt[] =
    "SELECT EXISTS (SELECT 1 FROM counts WHERE min(" COUNTS ") < 0 OR max(" COUNTS
    ") > 1000000000000)"
    " OR EXISTS (SELECT queue FROM jobs WHERE queue <> 'lost' EXCEPT SELECT queue FROM counts)";

/* How many more were counted than there are, or than are named still. Tags and a history of what is
 * gone are litter where nothing was salvaged (see the check `gone`). */
#define LEFT "SELECT id FROM live UNION SELECT id FROM ends"
#define NAMED \
    LEFT " UNION SELECT id FROM tags WHERE id > 0 UNION SELECT id FROM attempts WHERE id > 0"
#define MORE(ids)                                                                                 \
    "SELECT (SELECT total(" SUM ") FROM counts) - (SELECT count(*) FROM jobs) - (SELECT count(*)" \
    " FROM (" ids ") WHERE id NOT IN (SELECT id FROM jobs))"

static const char by_queue[] =
    "SELECT k.queue, k.n - coalesce(j.n, 0) FROM (SELECT queue, " SUM " AS n FROM counts) k"
    " LEFT JOIN (SELECT queue, count(*) AS n FROM jobs GROUP BY queue) j ON j.queue = k.queue"
    " WHERE k.n > coalesce(j.n, 0) ORDER BY 2 DESC, 1";

/* Of each queue at most so many: some of those may be named, as jobs without a request. */
static int list_queues(struct doctor *d, int64_t missing, char *ret_text, size_t size)
{
    sqlite3_stmt *stmt = NULL;
    int shown = 0;
    int rc = sqlite3_prepare_v2(d->db, by_queue, -1, &stmt, NULL);

    ret_text[0] = '\0';
    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        int64_t n = sqlite3_column_int64(stmt, 1);
        size_t used = strlen(ret_text);

        if (shown++ < QUEUES_SHOWN)
            snprintf(ret_text + used, size - used, "%s%.64s (%s%lld)", used > 0 ? ", " : "",
                     (const char *)sqlite3_column_text(stmt, 0), n > missing ? "at most " : "",
                     (long long)(n > missing ? missing : n));
        rc = SQLITE_OK;
    }
    (void)sqlite3_finalize(stmt);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int tell(struct doctor *d, int64_t missing)
{
    char queues[DOCTOR_TEXT_BYTES - 100];
    struct doctor_finding *f;
    int rc = list_queues(d, missing, queues, sizeof(queues));

    if (rc != SQLITE_OK)
        return rc;
    d->report.unnamed = missing;
    f = doctor_report_add(&d->report, "unnamed",
                          "If it is not the counts that are wrong they are gone, and who has their "
                          "ids gets a 404: submit them again.",
                          "%lld jobs were counted of which nothing is left that names them; their "
                          "queues: %s.",
                          (long long)missing, queues);
    f->count = missing;
    return SQLITE_OK;
}

int doctor_unnamed_check(struct doctor *d)
{
    int64_t doubts = 0, missing = 0;
    int rc = doctor_ask(d->db, doubt, &doubts);

    if (rc == SQLITE_OK && doubts > 0)
        d->report.unnamed = DOCTOR_UNNAMED_UNKNOWN;
    if (d->report.unnamed == DOCTOR_UNNAMED_UNKNOWN && d->is_damaged)
        doctor_report_note(&d->report, "Whether jobs are gone without a name cannot be told: the "
                                       "counts of their queues are damaged, too.");
    if (rc != SQLITE_OK || d->report.unnamed != 0)
        return rc; /* also: told already, before the repair */
    rc = doctor_ask(d->db, d->is_damaged ? MORE(NAMED) : MORE(LEFT), &missing);
    return rc == SQLITE_OK && missing > 0 ? tell(d, missing) : rc;
}
