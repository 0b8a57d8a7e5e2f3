/*
 * What must be true of the rows, as a table. A check is a query for what is wrong; its repair is
 * SQL that leaves nothing for the query to find. The order counts: first every job gets a request
 * (`jobs`) and exactly one fate (`live` or `ends`), then these are made right in themselves, then
 * what follows from them (lanes, tags, counts) is derived anew. What cannot be known any more
 * becomes a failed job with the reason as its error: a client sees it, and may retry it; it never
 * runs again by itself, and never vanishes.
 */
#include "broker/doctor_inside.h"

#include <stdio.h>
#include <string.h>

#include "schema/limits.h"

struct check {
    const char *code;
    const char *what; /* behind the number */
    const char *remedy;
    const char *find; /* gives one column, a job's id if `has_ids` */
    const char *repair;
    bool has_ids;
    bool loses;           /* something of these jobs is gone */
    bool is_for_salvaged; /* asked only of what is salvaged: else it is litter, which others find */
};

/* Ends what is in temp.doomed, by rows of `live`, with the reason `why`. */
#define END_DOOMED(why)                                                                         \
    "INSERT OR REPLACE INTO ends (id, state, attempt, failures, crashes, deaths, due_ms, host," \
    " begun_at_ms, finished_at_ms, run_us, last_attempt, purge_at_ms, error, result)"           \
    " SELECT id, 11, max(attempt, 1), failures, crashes, deaths, due_ms, host, begun_at_ms,"    \
    " jm_now(), 0, max(attempt, 1), jm_now() + 604800000, jm_lost('" why "'), NULL FROM live"   \
    " WHERE id IN (SELECT id FROM temp.doomed);"                                                \
    "DELETE FROM live WHERE id IN (SELECT id FROM temp.doomed);"
#define DOOM(select) "DELETE FROM temp.doomed; INSERT INTO temp.doomed " select ";"

#define FIND_NO_REQUEST "SELECT l.id FROM live l LEFT JOIN jobs j ON j.id = l.id WHERE j.id IS NULL"
#define FIND_NO_FATE                                                           \
    "SELECT j.id FROM jobs j LEFT JOIN live l ON l.id = j.id LEFT JOIN ends e" \
    " ON e.id = j.id WHERE l.id IS NULL AND e.id IS NULL"
#define FIND_GONE                                                                       \
    "SELECT id FROM tags WHERE id > 0 AND id NOT IN (SELECT id FROM jobs) UNION SELECT" \
    " id FROM attempts WHERE id > 0 AND id NOT IN (SELECT id FROM jobs)"
#define FIND_NO_ARGS "SELECT id FROM jobs WHERE NOT jm_value(args)"
#define FIND_BAD_LANE                                                                         \
    "SELECT l.id FROM live l JOIN jobs j ON j.id = l.id LEFT JOIN lanes a ON a.lane = l.lane" \
    " WHERE a.lane IS NULL OR a.queue <> j.queue OR a.task <> j.task"                         \
    " OR a.priority <> j.priority OR a.limit_key <> jm_key(j.options)"
#define LANE_IS_ITS                                                                       \
    "a.queue = j.queue AND a.task = j.task AND a.priority = j.priority AND a.limit_key =" \
    " jm_key(j.options)"
#define COUNTED                                                                          \
    "SELECT a.queue, l.state, count(*) AS n FROM live l JOIN lanes a ON a.lane = l.lane" \
    " GROUP BY 1, 2 UNION ALL SELECT j.queue, e.state, count(*) FROM ends e"             \
    " JOIN jobs j ON j.id = e.id GROUP BY 1, 2"
#define KEPT                                                                                      \
    "SELECT queue, 1 AS state, scheduled AS n FROM counts UNION ALL SELECT queue, 2, queued FROM" \
    " counts UNION ALL SELECT queue, 3, dispatched FROM counts UNION ALL SELECT queue, 4,"        \
    " running FROM counts UNION ALL SELECT queue, 10, succeeded FROM counts UNION ALL"            \
    " SELECT queue, 11, failed FROM counts UNION ALL SELECT queue, 12, cancelled FROM counts"     \
    " UNION ALL SELECT queue, 13, expired FROM counts"
#define SUM_OF(number) "coalesce(sum(iif(state = " #number ", n, 0)), 0)"

static const struct check checks[] = {
    {"two_fates", "jobs are waiting or running and have ended as well",
     "The end stands, unless the job was tried again since.",
     "SELECT l.id FROM live l JOIN ends e ON e.id = l.id",
     "DELETE FROM ends WHERE id IN (SELECT l.id FROM live l JOIN ends e ON e.id = l.id"
     " WHERE l.attempt > e.last_attempt);"
     "DELETE FROM live WHERE id IN (SELECT id FROM ends)",
     true, false, false},
    {"no_request", "jobs wait or run, but what they were asked to do cannot be read",
     "They fail with the code `lost`; submit them again.", FIND_NO_REQUEST,
     DOOM(FIND_NO_REQUEST) "INSERT INTO jobs SELECT l.id, coalesce(a.queue, 'lost'), "
                           "coalesce(a.task, 'lost'),"
                           " coalesce(a.priority, 5), max(l.max_attempts, 1), 3600000, 5000, NULL, "
                           "NULL, NULL"
                           " FROM live l LEFT JOIN lanes a ON a.lane = l.lane"
                           " WHERE l.id IN (SELECT id FROM temp.doomed);" END_DOOMED(
                               "Its request could not be read in a damaged database."),
     true, true, false},
    {"no_request_of_end", "jobs have ended, but what they were asked to do cannot be read",
     "Their ends and results stay, under the queue and task `lost`.",
     "SELECT e.id FROM ends e LEFT JOIN jobs j ON j.id = e.id WHERE j.id IS NULL",
     "INSERT INTO jobs SELECT e.id, 'lost', 'lost', 5, max(e.attempt, 1), 3600000, 5000, NULL,"
     " NULL, NULL FROM ends e LEFT JOIN jobs j ON j.id = e.id WHERE j.id IS NULL",
     true, true, false},
    {"gone", "jobs are named by their tags or their history, but nothing else of them can be read",
     "They fail with the code `lost`, under the queue and task `lost`; submit them again.",
     FIND_GONE,
     "INSERT INTO jobs SELECT id, 'lost', 'lost', 5, 1, 3600000, 5000, NULL, NULL, NULL"
     " FROM (" FIND_GONE ")",
     true, true, true},
    {"no_fate", "jobs are there, but not whether they wait, run or have ended",
     "They fail with the code `lost`; `jobmill retry` runs those that had not run.", FIND_NO_FATE,
     "INSERT INTO ends (id, state, attempt, failures, crashes, deaths, due_ms, host, begun_at_ms,"
     " finished_at_ms, run_us, last_attempt, purge_at_ms, error, result) SELECT id, 11,"
     " 1 + coalesce((SELECT max(a.attempt) FROM attempts a WHERE a.id = x.id), 0), 0, 0, 0,"
     " jm_now(), 0, 0, jm_now(), 0,"
     " 1 + coalesce((SELECT max(a.attempt) FROM attempts a WHERE a.id = x.id), 0),"
     " jm_now() + 604800000, jm_lost('Its state could not be read in a damaged database.'), NULL"
     " FROM (" FIND_NO_FATE ") x",
     true, true, false},
    {"state", "jobs are in a state that does not exist",
     "They go back to the backlog, with a new attempt.",
     "SELECT id FROM live WHERE state NOT BETWEEN 1 AND 4",
     "UPDATE live SET state = 2, attempt = attempt + 1 WHERE state NOT BETWEEN 1 AND 4", true,
     false, false},
    {"end_state", "jobs have ended in a state that does not exist",
     "With a result they have succeeded, else failed.",
     "SELECT id FROM ends WHERE state NOT BETWEEN 10 AND 13",
     "UPDATE ends SET state = iif(result IS NOT NULL, 10, 11),"
     " error = iif(result IS NOT NULL, NULL, coalesce(error,"
     " jm_lost('Its state could not be read in a damaged database.')))"
     " WHERE state NOT BETWEEN 10 AND 13",
     true, true, false},
    {"names", "jobs have a queue or a task whose name cannot be one",
     "The name becomes `lost`; those that wait fail.",
     "SELECT id FROM jobs WHERE NOT jm_name(queue) OR NOT jm_name(task)",
     DOOM("SELECT id FROM jobs WHERE NOT jm_name(queue) OR NOT jm_name(task)") END_DOOMED(
         "Its queue or task could not be read in a damaged database.") "UPDATE jobs SET queue = "
                                                                       "iif(jm_name(queue), queue, "
                                                                       "'lost'),"
                                                                       " task = iif(jm_name(task), "
                                                                       "task, 'lost') WHERE id IN "
                                                                       "(SELECT id FROM "
                                                                       "temp.doomed)",
     true, true, false},
    {"numbers", "jobs have a number that is out of its range", "It becomes the nearest in range.",
     "SELECT id FROM jobs WHERE priority NOT BETWEEN 1 AND 9 OR max_attempts < 1"
     " OR timeout_ms NOT BETWEEN 1 AND 604800000 OR grace_ms NOT BETWEEN 0 AND 600000",
     "UPDATE jobs SET priority = min(max(priority, 1), 9), max_attempts = max(max_attempts, 1),"
     " timeout_ms = min(max(timeout_ms, 1), 604800000), grace_ms = min(max(grace_ms, 0), 600000)"
     " WHERE priority NOT BETWEEN 1 AND 9 OR max_attempts < 1"
     " OR timeout_ms NOT BETWEEN 1 AND 604800000 OR grace_ms NOT BETWEEN 0 AND 600000",
     true, false, false},
    {"live_numbers", "jobs that wait or run have a number that is out of its range",
     "It becomes the nearest in range; a time beyond ten years becomes now.",
     "SELECT id FROM live WHERE attempt NOT BETWEEN 1 AND 4294967295 OR max_attempts < 1"
     " OR min(failures, crashes, deaths, lost_from, begun_at_ms, expires_at_ms, retain_ms, due_ms)"
     " < 0 OR due_ms > jm_now() + 631152000000",
     "UPDATE live SET attempt = iif(attempt BETWEEN 1 AND 4294967295, attempt, 1),"
     " max_attempts = max(max_attempts, 1), failures = max(failures, 0),"
     " crashes = max(crashes, 0), deaths = max(deaths, 0), lost_from = max(lost_from, 0),"
     " begun_at_ms = max(begun_at_ms, 0), expires_at_ms = max(expires_at_ms, 0),"
     " retain_ms = max(retain_ms, 0),"
     " due_ms = iif(due_ms BETWEEN 0 AND jm_now() + 631152000000, due_ms, jm_now())"
     " WHERE attempt NOT BETWEEN 1 AND 4294967295 OR max_attempts < 1"
     " OR min(failures, crashes, deaths, lost_from, begun_at_ms, expires_at_ms, retain_ms, due_ms)"
     " < 0 OR due_ms > jm_now() + 631152000000",
     true, false, false},
    {"options", "jobs have options that cannot be read",
     "They go on without: no limit_key, no expiry, no backoff of their own.",
     "SELECT id FROM jobs WHERE options IS NOT NULL AND NOT jm_options(options)",
     "UPDATE jobs SET options = NULL WHERE options IS NOT NULL AND NOT jm_options(options)", true,
     true, false},
    {"args", "jobs have arguments that cannot be read",
     "Those that wait or run fail with the code `lost`; submit them again.", FIND_NO_ARGS,
     DOOM(FIND_NO_ARGS) END_DOOMED(
         "Its arguments could not be read in a damaged database.") "UPDATE jobs SET args = NULL "
                                                                   "WHERE id IN (SELECT id FROM "
                                                                   "temp.doomed)",
     true, true, false},
    {"results", "jobs have a result or an error that cannot be read", "It becomes null.",
     "SELECT id FROM ends WHERE NOT jm_value(result) OR NOT jm_value(error)",
     "UPDATE ends SET result = iif(jm_value(result), result, NULL),"
     " error = iif(jm_value(error), error, NULL)"
     " WHERE NOT jm_value(result) OR NOT jm_value(error)",
     true, true, false},
    {"attempts", "jobs that are not there have a history, or it cannot be read",
     "The history of jobs that are gone is removed, an error in it that cannot be read is too.",
     "SELECT DISTINCT a.id FROM attempts a LEFT JOIN jobs j ON j.id = a.id WHERE j.id IS NULL"
     " OR NOT jm_value(a.error)",
     "UPDATE attempts SET error = NULL WHERE NOT jm_value(error);"
     "DELETE FROM attempts WHERE id NOT IN (SELECT id FROM jobs)",
     true, true, false},
    {"attempt", "jobs are at an attempt that is over", "They get the next one.",
     "SELECT l.id FROM live l JOIN (SELECT id, max(attempt) AS last FROM attempts GROUP BY id) a"
     " ON a.id = l.id WHERE a.last >= l.attempt",
     "UPDATE live SET attempt = (SELECT 1 + max(a.attempt) FROM attempts a WHERE a.id = live.id)"
     " WHERE attempt <= (SELECT max(a.attempt) FROM attempts a WHERE a.id = live.id)",
     true, false, false},
    {"lanes_twice", "lanes are there twice", "They become one.",
     "SELECT max(lane) FROM lanes GROUP BY queue, task, priority, limit_key HAVING count(*) > 1",
     "UPDATE live SET lane = (SELECT min(b.lane) FROM lanes a JOIN lanes b USING (queue, task,"
     " priority, limit_key) WHERE a.lane = live.lane)"
     " WHERE lane IN (SELECT a.lane FROM lanes a JOIN lanes b USING (queue, task, priority,"
     " limit_key) WHERE a.lane > b.lane);"
     "DELETE FROM lanes WHERE lane NOT IN (SELECT min(lane) FROM lanes GROUP BY queue, task,"
     " priority, limit_key)",
     false, false, false},
    {"lanes", "jobs are in a lane that is not theirs", "They go into their own.", FIND_BAD_LANE,
     DOOM(FIND_BAD_LANE) "INSERT INTO lanes (queue, task, priority, limit_key) SELECT DISTINCT "
                         "j.queue, j.task,"
                         " j.priority, jm_key(j.options) FROM jobs j WHERE j.id IN (SELECT id FROM "
                         "temp.doomed)"
                         " AND NOT EXISTS (SELECT 1 FROM lanes a WHERE " LANE_IS_ITS ");"
                         "UPDATE live SET lane = (SELECT min(a.lane) FROM lanes a JOIN jobs j "
                         "ON " LANE_IS_ITS
                         " WHERE j.id = live.id) WHERE id IN (SELECT id FROM temp.doomed)",
     true, false, false},
    {"tag_arrays", "jobs have tags that cannot be read", "They go on without.",
     "SELECT id FROM jobs WHERE tags IS NOT NULL AND jm_tags(tags) < 0",
     "UPDATE jobs SET tags = NULL WHERE tags IS NOT NULL AND jm_tags(tags) < 0", true, true, false},
    {"tags", "jobs are not found by their tags, or by tags that are not theirs",
     "The rows that are searched are made anew from the jobs.",
     "SELECT t.id FROM tags t LEFT JOIN jobs j ON j.id = t.id WHERE j.id IS NULL"
     " OR NOT jm_has_tag(j.tags, t.tag) UNION SELECT j.id FROM jobs j LEFT JOIN"
     " (SELECT id, count(*) AS n FROM tags GROUP BY id) t ON t.id = j.id"
     " WHERE j.tags IS NOT NULL AND coalesce(t.n, 0) <> jm_tags(j.tags)",
     "DELETE FROM tags;"
     "WITH RECURSIVE numbers (n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM numbers"
     " WHERE n < 15) INSERT OR IGNORE INTO tags (tag, id)"
     " SELECT jm_tag(j.tags, n), j.id FROM jobs j JOIN numbers ON n < jm_tags(j.tags)"
     " WHERE j.tags IS NOT NULL",
     true, false, false},
    {"idempotency", "Idempotency-Keys cannot be what a client has sent",
     "They are removed: a repeat of such a submit makes a second job.",
     "SELECT id FROM idem WHERE length(fingerprint) <> 32 OR length(key) NOT BETWEEN 1 AND 255"
     " OR id <= 0 OR existing_id < 0",
     "DELETE FROM idem WHERE length(fingerprint) <> 32 OR length(key) NOT BETWEEN 1 AND 255"
     " OR id <= 0 OR existing_id < 0",
     true, false, false},
    {"uniques", "places of unique jobs are held by nobody", "They are freed.",
     "SELECT u.id FROM uniques u LEFT JOIN jobs j ON j.id = u.id WHERE length(digest) <> 32"
     " OR how NOT BETWEEN 1 AND 3 OR (until_ms > 0) <> (how = 3)"
     " OR (j.id IS NULL AND until_ms = 0)",
     "DELETE FROM uniques WHERE length(digest) <> 32 OR how NOT BETWEEN 1 AND 3"
     " OR (until_ms > 0) <> (how = 3) OR (until_ms = 0 AND id NOT IN (SELECT id FROM jobs))",
     true, false, false},
    {"rates", "rates are spent beyond their period", "They begin anew.",
     "SELECT full_at_us FROM rates WHERE full_at_us < 0"
     " OR full_at_us > (jm_now() + 90000000) * 1000",
     "DELETE FROM rates WHERE full_at_us < 0 OR full_at_us > (jm_now() + 90000000) * 1000", false,
     false, false},
    {"settings", "settings of queues or tasks cannot be read",
     "They are removed; set them again (`jobmill queue`, `jobmill task`).",
     "SELECT 1 FROM queue_confs WHERE NOT jm_queue_conf(conf) UNION ALL"
     " SELECT 1 FROM task_confs WHERE NOT jm_task_conf(conf)",
     "DELETE FROM queue_confs WHERE NOT jm_queue_conf(conf);"
     "DELETE FROM task_confs WHERE NOT jm_task_conf(conf)",
     false, false, false},
    {"ids", "marks of the ids are below an id that is in use, or days ahead",
     "The mark becomes the largest id, or now.",
     "SELECT value FROM meta WHERE name = 'id_high_water' AND value > 0"
     " AND (value < (SELECT max(id) FROM jobs)"
     " OR value > max(jm_id(jm_now() + 86400000), coalesce((SELECT max(id) FROM jobs), 0)"
     " + 4194304 * 60000))",
     "UPDATE meta SET value = max(jm_id(jm_now()), (SELECT coalesce(max(id), 0) FROM jobs))"
     " WHERE name = 'id_high_water'",
     false, false, false},
    {"numbers_kept", "numbers that the broker keeps are negative", "They are forgotten.",
     "SELECT value FROM meta WHERE value < 0", "DELETE FROM meta WHERE value < 0", false, false,
     false},
    {"purge", "ends have a time of removal that cannot be", "They go by the broker's default.",
     "SELECT id FROM ends WHERE purge_at_ms < 0",
     "UPDATE ends SET purge_at_ms = 0 WHERE purge_at_ms < 0", true, false, false},
    {"counts", "counts of a queue's jobs are wrong", "They are counted anew.",
     "SELECT 1 FROM (" KEPT ") k LEFT JOIN (" COUNTED ") c USING (queue, state)"
     " WHERE k.n <> coalesce(c.n, 0) UNION ALL SELECT 1 FROM (" COUNTED ") c LEFT JOIN (" KEPT
     ") k USING (queue, state) WHERE k.n IS NULL",
     "CREATE TEMP TABLE counted AS " COUNTED ";"
     "DELETE FROM counts WHERE NOT jm_name(queue);"
     "INSERT OR REPLACE INTO counts SELECT queue, " SUM_OF(1) ", " SUM_OF(2) ", " SUM_OF(
         3) ", " SUM_OF(4) ", " SUM_OF(10) ", " SUM_OF(11) ", " SUM_OF(12) ", " SUM_OF(13) " FROM"
                                                                                           " ("
                                                                                           "SELECT "
                                                                                           "queue, "
                                                                                           "state, "
                                                                                           "n FROM "
                                                                                           "temp."
                                                                                           "counted"
                                                                                           " UNION "
                                                                                           "ALL "
                                                                                           "SELECT "
                                                                                           "queue, "
                                                                                           "1, 0 "
                                                                                           "FROM "
                                                                                           "counts)"
                                                                                           " GROUP "
                                                                                           "BY "
                                                                                           "queue;"
                                                                                           "DROP "
                                                                                           "TABLE "
                                                                                           "temp."
                                                                                           "counte"
                                                                                           "d",
     false, false, false},
};

static int run_check(struct doctor *d, const struct check *c)
{
    struct doctor_finding *f = NULL;
    sqlite3_stmt *stmt = NULL;
    int64_t count = 0;
    int rc;

    if (c->is_for_salvaged && !d->is_damaged)
        return SQLITE_OK;
    rc = sqlite3_prepare_v2(d->db, c->find, -1, &stmt, NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        int64_t id = sqlite3_column_int64(stmt, 0);

        if (f == NULL)
            f = doctor_report_add(&d->report, c->code, c->remedy, "%s", c->what);
        count++;
        if (c->has_ids)
            doctor_finding_add_id(f, id);
        if (c->loses)
            doctor_report_lose(&d->report, id);
        rc = SQLITE_OK;
    }
    (void)sqlite3_finalize(stmt);
    if (f != NULL) {
        f->count = count;
        snprintf(f->what, sizeof(f->what), "%lld %s.", (long long)count, c->what);
    }
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int doctor_checks_run(struct doctor *d)
{
    int rc = doctor_unnamed_check(d);

    for (size_t i = 0; rc == SQLITE_OK && i < JM_COUNT_OF(checks); i++)
        rc = run_check(d, &checks[i]);
    return rc;
}

/* A repair may lay open what a later check is for, so each is asked for again before its own. */
static int repair(struct doctor *d, const struct check *c)
{
    size_t before = d->report.count;
    bool is_known = false;
    int rc = run_check(d, c);

    if (rc != SQLITE_OK || d->report.count == before)
        return rc;
    for (size_t i = 0; i < before; i++)
        is_known = is_known || d->report.findings[i].code == c->code;
    if (is_known)
        d->report.count = before;
    return sqlite3_exec(d->db, c->repair, NULL, NULL, NULL);
}

/* What a check still finds was not mended. */
static int look_again(struct doctor *d)
{
    struct doctor again = *d;
    int rc;

    doctor_report_init(&again.report);
    rc = doctor_checks_run(&again);
    for (size_t i = 0; i < d->report.count; i++) {
        struct doctor_finding *f = &d->report.findings[i];

        for (size_t j = 0; j < JM_COUNT_OF(checks); j++)
            f->is_mended = f->is_mended || f->code == checks[j].code;
        f->is_mended = f->is_mended || strcmp(f->code, "unnamed") == 0;
        for (size_t j = 0; j < again.report.count; j++)
            f->is_mended = f->is_mended && strcmp(f->code, again.report.findings[j].code) != 0;
    }
    doctor_report_done(&again.report);
    return rc;
}

int doctor_checks_repair(struct doctor *d)
{
    int rc = sqlite3_exec(d->db,
                          "CREATE TEMP TABLE IF NOT EXISTS doomed (id INTEGER PRIMARY KEY);"
                          "BEGIN IMMEDIATE",
                          NULL, NULL, NULL);

    if (rc == SQLITE_OK)
        rc = doctor_unnamed_check(d);
    for (size_t i = 0; rc == SQLITE_OK && i < JM_COUNT_OF(checks); i++)
        rc = repair(d, &checks[i]);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(d->db, "COMMIT", NULL, NULL, NULL);
    return rc == SQLITE_OK ? look_again(d) : rc;
}

int doctor_checks_recount(struct doctor *d)
{
    for (size_t i = 0; i < JM_COUNT_OF(checks); i++)
        if (strcmp(checks[i].code, "counts") == 0)
            return sqlite3_exec(d->db, checks[i].repair, NULL, NULL, NULL);
    return SQLITE_MISUSE;
}
