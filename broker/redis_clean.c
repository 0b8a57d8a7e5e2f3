/*
 * Synchronous, since nothing else is to be done meanwhile. A list is read as a whole: it is no
 * longer than a dispatch window. Each message of ours is removed by its value (LREM), so that one
 * that a worker takes in between is simply not found, and stays with it.
 */
#include "broker/redis_clean.h"

#include <hiredis/hiredis.h>
#include <string.h>
#include <sys/time.h>

#include "broker/redis_link.h"
#include "schema/errors.h"
#include "schema/keys.h"
#include "schema/states.h"
#include "schema/wire.h"

enum { ANSWER_S = 10 };

struct clean {
    struct doctor *doctor;
    redisContext *redis;
    sqlite3_stmt *put_back;
    long removed; /* messages of ours */
    long back;    /* jobs that wait again */
    long garbled; /* messages that are none */
    long others;  /* of other brokers */
};

_Static_assert(JOB_QUEUED == 2 && JOB_DISPATCHED == 3, "the SQL says so");

static int fail(struct clean *c, const char *what)
{
    return doctor_stop(c->doctor, "Redis at %.100s: %.100s. Nothing more was changed.",
                       c->doctor->conf.redis, what);
}

static int put_back(struct clean *c, const struct wire_job *job)
{
    int rc = sqlite3_bind_int64(c->put_back, 1, (int64_t)job->id);

    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(c->put_back, 2, job->attempt);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(c->put_back);
    (void)sqlite3_reset(c->put_back);
    if (rc != SQLITE_DONE)
        return fail(c, "the database cannot be written");
    c->back += sqlite3_changes(c->doctor->db);
    return 0;
}

static int remove_message(struct clean *c, const char *key, const redisReply *message, long *ret_n)
{
    redisReply *r = redisCommand(c->redis, "LREM %s 0 %b", key, message->str, message->len);

    *ret_n = r != NULL && r->type == REDIS_REPLY_INTEGER ? (long)r->integer : 0;
    freeReplyObject(r);
    return r != NULL ? 0 : fail(c, c->redis->errstr);
}

static int clean_message(struct clean *c, const char *key, const redisReply *message)
{
    struct wire_job job = {.id = 0};
    bool is_job = wire_decode_job(span_of(message->str, message->len), &job) == 0;
    long n = 0;
    int rc;

    if (is_job && job.node != c->doctor->conf.node) {
        c->others++;
        return 0;
    }
    rc = remove_message(c, key, message, &n);
    if (rc != 0 || n == 0)
        return rc;
    if (!is_job) {
        c->garbled += n;
        return 0;
    }
    c->removed += n;
    return put_back(c, &job);
}

/* What is no list has no place under that name. */
static int clean_key(struct clean *c, const char *key)
{
    redisReply *all = redisCommand(c->redis, "LRANGE %s 0 -1", key);
    int rc = all != NULL ? 0 : fail(c, c->redis->errstr);

    if (rc == 0 && all->type == REDIS_REPLY_ERROR) {
        redisReply *r = redisCommand(c->redis, "DEL %s", key);

        c->garbled++;
        rc = r != NULL ? 0 : fail(c, c->redis->errstr);
        freeReplyObject(r);
    }
    for (size_t i = 0; rc == 0 && all->type == REDIS_REPLY_ARRAY && i < all->elements; i++)
        rc = clean_message(c, key, all->element[i]);
    freeReplyObject(all);
    return rc;
}

/* One step of a walk over all queues' lists. */
static int scan(struct clean *c, char cursor[32])
{
    redisReply *r = redisCommand(c->redis, "SCAN %s MATCH jm:{q:* COUNT 1000", cursor);
    int rc = 0;

    if (r == NULL || r->type != REDIS_REPLY_ARRAY || r->elements != 2) {
        rc = fail(c, r == NULL ? c->redis->errstr : r->str != NULL ? r->str : "no such answer");
        freeReplyObject(r);
        return rc;
    }
    for (size_t i = 0; rc == 0 && i < r->element[1]->elements; i++)
        rc = clean_key(c, r->element[1]->element[i]->str);
    snprintf(cursor, 32, "%s", r->element[0]->str);
    freeReplyObject(r);
    return rc;
}

static int connect_to(struct clean *c)
{
    struct timeval limit = {.tv_sec = ANSWER_S};
    struct redis_address address;

    if (c->doctor->conf.redis == NULL || redis_address_parse(c->doctor->conf.redis, &address) != 0)
        return doctor_stop(c->doctor, "--redis is unix:PATH or HOST:PORT.");
    c->redis = address.path[0] != '\0' ? redisConnectUnixWithTimeout(address.path, limit)
                                       : redisConnectWithTimeout(address.host, address.port, limit);
    if (c->redis == NULL)
        return fail(c, "out of memory");
    if (c->redis->err != 0)
        return fail(c, c->redis->errstr);
    return redisSetTimeout(c->redis, limit) == REDIS_OK ? 0 : fail(c, "no time limit can be set");
}

static int run(struct clean *c)
{
    sqlite3 *db = c->doctor->db;
    char cursor[32] = "0";
    int rc = connect_to(c);

    if (rc == 0 && (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK ||
                    sqlite3_prepare_v2(db,
                                       "UPDATE live SET state = 2 WHERE id = ? AND attempt = ?"
                                       " AND state = 3",
                                       -1, &c->put_back, NULL) != SQLITE_OK))
        rc = fail(c, "the database cannot be written");
    if (rc != 0)
        return rc;
    do
        rc = scan(c, cursor);
    while (rc == 0 && strcmp(cursor, "0") != 0);
    /* Also behind an error: what was removed waits again. */
    if (doctor_checks_recount(c->doctor) != SQLITE_OK ||
        sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
        rc = fail(c, "the database cannot be written");
    return rc;
}

int redis_clean_run(struct doctor *d)
{
    struct clean c = {.doctor = d};
    int rc = run(&c);

    (void)sqlite3_finalize(c.put_back);
    redisFree(c.redis);
    if (rc == 0)
        doctor_report_note(&d->report,
                           "Redis: %ld messages of this broker were removed and %ld jobs wait "
                           "again; %ld that could not be read were removed, %ld of other brokers "
                           "were left. What workers have taken or delivered was left; of what is "
                           "nowhere the next start takes care by itself.",
                           c.removed, c.back, c.garbled, c.others);
    return rc;
}
