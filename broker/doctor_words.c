/*
 * SQL functions for the doctor's queries: what in a row is a record or a value of ours, and the few
 * things that have to be made anew. All are deterministic but jm_now, and take anything.
 */
#include "broker/doctor_inside.h"

#include <string.h>

#include "broker/conf.h"
#include "broker/evidence.h"
#include "broker/job_options.h"
#include "lib/clock.h"
#include "lib/mp.h"
#include "schema/errors.h"
#include "schema/id.h"
#include "schema/limits.h"
#include "schema/name.h"
#include "schema/wire.h"

static struct span bytes_of(sqlite3_value *value)
{
    const void *data = sqlite3_value_blob(value);

    return span_of(data, (size_t)sqlite3_value_bytes(value));
}

/* jm_options(blob): whether it is empty or such a record. */
static void options(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
    struct job_options o;

    (void)argc;
    sqlite3_result_int(ctx, job_options_decode(bytes_of(argv[0]), &o));
}

/* jm_key(blob): the limit_key of such a record, or ''. */
static void key(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
    struct job_options o;

    (void)argc;
    if (!job_options_decode(bytes_of(argv[0]), &o) || o.limit_key.len == 0)
        sqlite3_result_text(ctx, "", 0, SQLITE_STATIC);
    else
        sqlite3_result_text(ctx, (const char *)o.limit_key.data, (int)o.limit_key.len,
                            SQLITE_TRANSIENT);
}

/* The distinct tags of an array; -1 if it is none. */
static int list_tags(struct span tags, struct span ret_tags[JM_TAGS_PER_JOB])
{
    struct mp_cursor c;
    uint32_t count = 0;
    int found = 0;

    if (tags.len == 0)
        return 0;
    mp_open(&c, tags);
    if (!mp_next_array(&c, &count) || count > JM_TAGS_PER_JOB)
        return -1;
    while (count-- > 0) {
        bool is_new = true;

        if (!mp_next_str(&c, &ret_tags[found]))
            return -1;
        for (int i = 0; i < found; i++)
            is_new = is_new && !span_is_equal(ret_tags[i], ret_tags[found]);
        found += is_new;
    }
    return mp_is_at_end(&c) ? found : -1;
}

/* jm_tags(blob): how many. */
static void tags(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
    struct span list[JM_TAGS_PER_JOB];

    (void)argc;
    sqlite3_result_int(ctx, list_tags(bytes_of(argv[0]), list));
}

/* jm_tag(blob, n): the n-th, or NULL. */
static void tag(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
    struct span list[JM_TAGS_PER_JOB];
    int n = sqlite3_value_int(argv[1]);

    (void)argc;
    if (n >= 0 && n < list_tags(bytes_of(argv[0]), list))
        sqlite3_result_text(ctx, (const char *)list[n].data, (int)list[n].len, SQLITE_TRANSIENT);
}

/* jm_has_tag(blob, text) */
static void has_tag(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
    struct span list[JM_TAGS_PER_JOB];
    int count = list_tags(bytes_of(argv[0]), list), found = 0;

    (void)argc;
    for (int i = 0; i < count; i++)
        found |= span_is_equal(list[i], bytes_of(argv[1]));
    sqlite3_result_int(ctx, found);
}

/* jm_value(blob): whether it is empty or one msgpack value. */
static void value(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
    struct span bytes = bytes_of(argv[0]), whole;
    struct mp_cursor c;

    (void)argc;
    mp_open(&c, bytes);
    sqlite3_result_int(ctx,
                       bytes.len == 0 || (mp_skip(&c, MP_DEPTH_LIMIT, &whole) && mp_is_at_end(&c)));
}

/* jm_queue_conf(blob), jm_task_conf(blob): whether it is such a record. */
static void queue_conf(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
    struct queue_conf conf;

    (void)argc;
    sqlite3_result_int(ctx, conf_decode_queue(bytes_of(argv[0]), &conf));
}

static void task_conf(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
    struct task_conf conf;

    (void)argc;
    sqlite3_result_int(ctx, conf_decode_task(bytes_of(argv[0]), &conf));
}

/* jm_name(text): whether it can be the name of a queue or a task. */
static void name(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
    (void)argc;
    sqlite3_result_int(ctx, name_is_valid(bytes_of(argv[0]), JM_QUEUE_NAME_BYTES));
}

/* jm_lost(text): the error of a job that is lost, with these words. */
static void lost(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
    struct wire_event event = {.message = bytes_of(argv[0])};
    struct buf out;

    (void)argc;
    buf_init(&out, 4096);
    evidence_encode(&out, JM_ELOST, &event);
    if (buf_has_failed(&out))
        sqlite3_result_error_nomem(ctx);
    else
        sqlite3_result_blob(ctx, out.data, (int)out.len, SQLITE_TRANSIENT);
    buf_done(&out);
}

/* jm_now(): wall clock, ms. jm_id(ms): the first id of that millisecond. */
static void now(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
    (void)argc;
    (void)argv;
    sqlite3_result_int64(ctx, clock_wall_ms(clock_real()));
}

static void id(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
    (void)argc;
    sqlite3_result_int64(ctx, (int64_t)id_make(sqlite3_value_int64(argv[0]), 0));
}

int doctor_words_add(sqlite3 *db)
{
    static const struct {
        const char *name;
        int argc;
        void (*run)(sqlite3_context *ctx, int argc, sqlite3_value **argv);
    } rows[] = {
        {"jm_options", 1, options},
        {"jm_key", 1, key},
        {"jm_tags", 1, tags},
        {"jm_tag", 2, tag},
        {"jm_has_tag", 2, has_tag},
        {"jm_value", 1, value},
        {"jm_name", 1, name},
        {"jm_lost", 1, lost},
        {"jm_now", 0, now},
        {"jm_id", 1, id},
        {"jm_queue_conf", 1, queue_conf},
        {"jm_task_conf", 1, task_conf},
    };
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < JM_COUNT_OF(rows); i++)
        rc = sqlite3_create_function_v2(db, rows[i].name, rows[i].argc,
                                        SQLITE_UTF8 | SQLITE_DIRECTONLY, NULL, rows[i].run, NULL,
                                        NULL, NULL);
    return rc;
}
