/*
 * Searching: every walk and combination of filters over random jobs, compared with going through
 * all of them; and paging to the end while jobs change their states between two pages. The seed is
 * fixed, so that what fails fails again.
 */
#include "tests/unit/store_fixture.h"

#include "broker/job_options.h"
#include "broker/reader_inside.h"
#include "schema/id.h"

enum { JOBS = 240, MAX_JOBS = 400, ROUNDS = 120, MOVES = 6 };

static const char *const queues[] = {"alpha", "beta", "gamma"};
static const char *const tasks[] = {"echo", "fib"};
static const char *const tags[] = {"red", "größer"};
static const char *const keys[] = {"customer 1", "customer 2"};
static const char *const codes[] = {"task_failed", "bad_args", "unknown_task"};
static const uint64_t hosts[] = {77, UINT64_C(0xf000000000000001)};

/* What is known of each job by reading it by its id. */
struct seen {
    enum job_state state;
    size_t queue;
    size_t task;
    unsigned tags; /* set of 1 << index */
    size_t key;    /* index + 1; 0: none */
    size_t code;   /* likewise; of a failed job */
    uint64_t host;
    uint32_t attempt;
};

struct world {
    struct fixture *f;
    uint64_t random;
    size_t count;
    struct seen jobs[MAX_JOBS]; /* by number; 0 is the oldest */
};

static uint64_t id_of(size_t number)
{
    return ((uint64_t)number + 1) << 22; /* a millisecond each */
}

static unsigned pick(struct world *w, unsigned limit)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (unsigned)((w->random >> 20) % limit);
}

static bool chance(struct world *w, unsigned percent)
{
    return pick(w, 100) < percent;
}

static size_t index_of(const char *const *words, size_t count, struct span word)
{
    for (size_t i = 0; i < count; i++)
        if (span_is_str(word, words[i]))
            return i;
    fail_msg("%.*s is no word of this test", (int)word.len, (const char *)word.data);
    return 0;
}

/* ---- jobs ---- */

static size_t read_code(struct span error)
{
    for (size_t i = 0; i < JM_COUNT_OF(codes); i++)
        if (memmem(error.data, error.len, codes[i], strlen(codes[i])) != NULL)
            return i + 1;
    return 0;
}

static void look_at(struct world *w, size_t number)
{
    struct job_view job = fixture_get(w->f, id_of(number));
    struct seen *seen = &w->jobs[number];

    seen->state = job.state;
    seen->host = job.host;
    seen->attempt = job.attempt;
    seen->code = job.state == JOB_FAILED ? read_code(job.error) : 0;
    assert_int_equal(seen->queue, index_of(queues, JM_COUNT_OF(queues), job.spec.queue));
    assert_int_equal(seen->task, index_of(tasks, JM_COUNT_OF(tasks), job.spec.task));
}

/* A msgpack array of short strings; nothing for none. */
static void put_tags(struct buf *out, unsigned set)
{
    buf_put_u8(out, (uint8_t)(0x90 | __builtin_popcount(set)));
    for (size_t i = 0; i < JM_COUNT_OF(tags); i++)
        if ((set & 1u << i) != 0) {
            buf_put_u8(out, (uint8_t)(0xa0 | strlen(tags[i])));
            buf_put_str(out, tags[i]);
        }
    if (set == 0)
        buf_clear(out);
}

static void add_job(struct world *w)
{
    static const enum job_state states[] = {JOB_SCHEDULED, JOB_QUEUED, JOB_DISPATCHED};
    uint64_t id = id_of(w->count);
    struct seen *seen = &w->jobs[w->count];
    struct job_options options = {.expires_at_ms = 0};
    struct store_submit op;
    struct buf record, list;

    buf_init(&record, JOB_OPTIONS_BYTES);
    buf_init(&list, 256);
    *seen = (struct seen){.queue = pick(w, JM_COUNT_OF(queues)),
                          .task = pick(w, JM_COUNT_OF(tasks)),
                          .tags = (chance(w, 15) ? 1u : 0u) | (chance(w, 10) ? 2u : 0u),
                          .key = pick(w, 3)};
    op = fixture_submit_of(id, queues[seen->queue], states[pick(w, 20) % 3]);
    op.spec.task = span_of_str(tasks[seen->task]);
    op.spec.max_attempts = chance(w, 70) ? 1 : 3;
    if (seen->key > 0)
        options.limit_key = span_of_str(keys[seen->key - 1]);
    options.retain_ms = chance(w, 20) ? 1000 : 0; /* a record without a limit key */
    job_options_encode(&record, &options);
    op.spec.options = buf_span(&record);
    op.spec.limit_key = options.limit_key;
    put_tags(&list, seen->tags);
    op.spec.tags = buf_span(&list);
    assert_int_equal(fixture_run(w->f, &op.op, STORE_SUBMIT), 0);
    buf_done(&record);
    buf_done(&list);
    look_at(w, w->count++);
}

static void happen(struct world *w, size_t number, enum wire_event_kind kind)
{
    struct store_event event = fixture_event_of(kind, id_of(number), w->jobs[number].attempt);

    event.event.host = hosts[pick(w, JM_COUNT_OF(hosts))];
    event.event.code = span_of_str(codes[pick(w, JM_COUNT_OF(codes))]);
    assert_int_equal(fixture_apply(w->f, &event), STORE_APPLIED);
}

static void cancel(struct world *w, size_t number)
{
    struct store_cancel op = {.id = id_of(number)};

    assert_int_equal(fixture_run(w->f, &op.op, STORE_CANCEL), 0);
}

/* It comes back among the live ones. */
static void retry(struct world *w, size_t number)
{
    struct store_retry op = {.id = id_of(number)};

    assert_int_equal(fixture_run(w->f, &op.op, STORE_RETRY), 0);
}

/* Something that can happen to a job where it is now. */
static void move(struct world *w, size_t number)
{
    enum job_state state = w->jobs[number].state;
    unsigned what = pick(w, 10);

    if (job_state_is_terminal(state) && what > 2)
        return;
    if (job_state_is_terminal(state))
        retry(w, number);
    else if (state == JOB_SCHEDULED || state == JOB_QUEUED || what == 0)
        cancel(w, number);
    else if (state == JOB_DISPATCHED && what < 5)
        happen(w, number, WIRE_RUNNING);
    else
        happen(w, number, what < 8 ? WIRE_SUCCEEDED : WIRE_FAILED);
    look_at(w, number);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    w->random = UINT64_C(88172645463325252);
    w->f = fixture_new();
    fixture_open(w->f);
    while (w->count < JOBS)
        add_job(w);
    for (size_t i = 0; i < JOBS; i++)
        move(w, pick(w, JOBS));
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    fixture_free(w->f);
    free(w);
    return 0;
}

/* ---- filters ---- */

static struct span pick_word(struct world *w, unsigned percent, const char *const *words,
                             size_t count)
{
    if (!chance(w, percent))
        return span_of(NULL, 0);
    return span_of_str(words[pick(w, (unsigned)count)]);
}

static unsigned pick_states(struct world *w)
{
    static const unsigned sets[] = {
        0,
        1u << JOB_FAILED,
        1u << JOB_RUNNING,
        1u << JOB_SCHEDULED,
        1u << JOB_QUEUED | 1u << JOB_DISPATCHED,
        1u << JOB_SCHEDULED | 1u << JOB_QUEUED | 1u << JOB_DISPATCHED | 1u << JOB_RUNNING,
        1u << JOB_SUCCEEDED,
        1u << JOB_CANCELLED,
        1u << JOB_SUCCEEDED | 1u << JOB_FAILED,
        1u << JOB_CANCELLED | 1u << JOB_RUNNING,
        1u << JOB_EXPIRED,
        UINT32_MAX,
    };

    return sets[pick(w, JM_COUNT_OF(sets))];
}

static struct job_filter pick_filter(struct world *w)
{
    struct job_filter filter = {
        .states = pick_states(w),
        .queue = pick_word(w, 25, queues, JM_COUNT_OF(queues)),
        .task = pick_word(w, 25, tasks, JM_COUNT_OF(tasks)),
        .tag = pick_word(w, 35, tags, JM_COUNT_OF(tags)),
        .limit_key = pick_word(w, 25, keys, JM_COUNT_OF(keys)),
        .error = pick_word(w, 15, codes, JM_COUNT_OF(codes)),
        .worker = chance(w, 20) ? hosts[pick(w, JM_COUNT_OF(hosts))] : 0,
    };

    if (chance(w, 25))
        filter.from = id_of(pick(w, JOBS)) + pick(w, 2);
    if (chance(w, 25))
        filter.below = id_of(pick(w, JOBS)) + pick(w, 2);
    return filter;
}

static bool is_word(struct span asked, const char *word)
{
    return asked.len == 0 || span_is_str(asked, word);
}

static bool has_tag(struct span asked, unsigned set)
{
    for (size_t i = 0; i < JM_COUNT_OF(tags); i++)
        if ((set & 1u << i) != 0 && span_is_str(asked, tags[i]))
            return true;
    return asked.len == 0;
}

static bool is_match(const struct world *w, const struct job_filter *f, size_t number)
{
    const struct seen *seen = &w->jobs[number];
    uint64_t id = id_of(number);

    return id >= f->from && (f->below == 0 || id < f->below) &&
           (f->states == 0 || (f->states & 1u << seen->state) != 0) &&
           is_word(f->queue, queues[seen->queue]) && is_word(f->task, tasks[seen->task]) &&
           has_tag(f->tag, seen->tags) &&
           is_word(f->limit_key, seen->key > 0 ? keys[seen->key - 1] : "") &&
           is_word(f->error, seen->code > 0 ? codes[seen->code - 1] : "") &&
           (f->worker == 0 || f->worker == seen->host);
}

/* ---- pages ---- */

struct pages {
    struct world *w;
    const struct job_filter *filter;
    uint64_t last;
    size_t on_page;
    bool is_shown[MAX_JOBS];
    bool fits_always[MAX_JOBS];
    bool fits_once[MAX_JOBS];
};

static void take_id(void *owner, uint64_t id)
{
    struct pages *pages = owner;
    size_t number = (size_t)(id >> 22) - 1;

    assert_true(id < pages->last); /* newest first, and so never twice */
    assert_true(number < pages->w->count);
    assert_true(is_match(pages->w, pages->filter, number));
    pages->last = id;
    pages->is_shown[number] = true;
    pages->on_page++;
}

static void take_job(void *owner, const struct job_view *job)
{
    take_id(owner, job->id);
    assert_int_equal(job->spec.args.len + job->result.len, 0);
}

static void take_moment(struct pages *pages, bool is_first)
{
    for (size_t i = 0; i < pages->w->count; i++) {
        bool fits = is_match(pages->w, pages->filter, i);

        pages->fits_always[i] = fits && (is_first || pages->fits_always[i]);
        pages->fits_once[i] = fits || pages->fits_once[i];
    }
}

static void read_page(struct world *w, struct pages *pages, const struct job_filter *filter,
                      uint64_t *ret_next)
{
    struct reader *reader = fixture_reader(w->f);
    struct reader_bounds bounds = {.jobs = 1 + pick(w, 20), .rows = 1 + pick(w, 60)};
    int rc;

    pages->on_page = 0;
    if (chance(w, 50))
        rc = reader_find(reader, filter, &bounds, pages, take_id, ret_next);
    else
        rc = reader_list(reader, filter, &bounds, pages, take_job, ret_next);
    assert_int_equal(rc, 0);
    assert_true(pages->on_page <= bounds.jobs);
}

/* Reads all pages, with `moves` changes between two of them, and compares. */
static size_t check_search(struct world *w, const struct job_filter *filter, unsigned moves)
{
    struct pages *pages = calloc(1, sizeof(*pages));
    struct job_filter rest = *filter;
    size_t shown = 0;
    size_t count = 0;

    assert_non_null(pages);
    *pages = (struct pages){.w = w, .filter = filter, .last = UINT64_MAX};
    take_moment(pages, true);
    do {
        read_page(w, pages, &rest, &rest.below);
        assert_true(++count <= 2 * MAX_JOBS);
        for (unsigned i = 0; i < moves; i++)
            move(w, pick(w, (unsigned)w->count));
        take_moment(pages, false);
    } while (rest.below != 0);
    for (size_t i = 0; i < w->count; i++) {
        assert_true(pages->is_shown[i] || !pages->fits_always[i]);
        assert_true(!pages->is_shown[i] || pages->fits_once[i]);
        shown += pages->is_shown[i];
    }
    free(pages);
    return shown;
}

static void every_filter_gives_what_going_through_all_jobs_gives(void **state)
{
    struct world *w = *state;
    size_t shown = 0;

    for (size_t i = 0; i < 3000; i++) {
        struct job_filter filter = pick_filter(w);

        shown += check_search(w, &filter, 0);
    }
    assert_true(shown > 20000); /* the filters are not all too narrow */
}

/* Each part alone, so that no walk escapes by chance. */
static void every_filter_alone_gives_it_too(void **state)
{
    struct world *w = *state;
    const struct job_filter filters[] = {
        {.states = 0},
        {.queue = span_of_str("beta")},
        {.task = span_of_str("fib")},
        {.tag = span_of_str("red")},
        {.tag = span_of_str("nobody's")},
        {.limit_key = span_of_str("customer 2")},
        {.error = span_of_str("bad_args")},
        {.worker = hosts[1]},
        {.from = id_of(100)},
        {.below = id_of(100)},
        {.below = 1},
        {.from = ID_MAX},
        {.tag = span_of_str("red"), .states = 1u << JOB_FAILED},
        {.tag = span_of_str("red"), .states = 1u << JOB_QUEUED | 1u << JOB_SCHEDULED},
        {.tag = span_of_str("red"), .states = 1u << JOB_RUNNING | 1u << JOB_DISPATCHED},
        {.tag = span_of_str("red"), .states = 1u << JOB_SUCCEEDED},
        {.worker = hosts[0], .states = 1u << JOB_SUCCEEDED},
        {.worker = hosts[0], .queue = span_of_str("alpha")},
    };

    for (size_t i = 0; i < JM_COUNT_OF(filters); i++)
        for (int times = 0; times < 4; times++)
            (void)check_search(w, &filters[i], 0);
}

static void paging_loses_and_repeats_nothing_while_jobs_move(void **state)
{
    struct world *w = *state;

    for (size_t i = 0; i < ROUNDS; i++) {
        struct job_filter filter = pick_filter(w);

        if (w->count < MAX_JOBS - 1) {
            add_job(w);
            add_job(w);
        }
        (void)check_search(w, &filter, MOVES);
    }
}

/* ---- bounds ---- */

struct slow_clock {
    struct clock clock;
    uint64_t now_ns;
};

/* Each look at it takes a millisecond. */
static uint64_t slow_mono_ns(struct clock *clock)
{
    return JM_CONTAINER_OF(clock, struct slow_clock, clock)->now_ns += 1000000;
}

static void a_search_ends_when_its_time_is_over_and_goes_on_from_there(void **state)
{
    struct world *w = *state;
    struct slow_clock slow = {.clock.mono_ns = slow_mono_ns};
    struct store_conf conf = fixture_conf(w->f);
    const struct reader_bounds bounds = {.jobs = 1000, .rows = 1000, .time_ms = 5};
    const struct reader_bounds none = {.jobs = 1000, .rows = 1000, .time_ms = 1};
    struct job_filter filter = {.states = 0};
    struct pages pages = {.w = w, .filter = &filter, .last = UINT64_MAX};
    struct reader *reader;
    uint64_t next = 0;

    conf.clock = &slow.clock;
    assert_int_equal(reader_open(&conf, &reader), 0);
    assert_int_equal(reader_find(reader, &filter, &bounds, &pages, take_id, &next), 0);
    assert_true(pages.on_page >= 3 && pages.on_page <= 5);
    assert_int_equal(next, pages.last);
    pages = (struct pages){.w = w, .filter = &filter, .last = UINT64_MAX};
    assert_int_equal(reader_find(reader, &filter, &none, &pages, take_id, &next), 0);
    assert_int_equal(pages.on_page, 1); /* at least one row, or nobody would get on */
    reader_close(reader);
}

static void keep_id(void *owner, uint64_t id)
{
    *(uint64_t *)owner = id;
}

static void a_rare_tag_costs_no_look_at_what_lies_between(void **state)
{
    struct world *w = *state;
    const struct reader_bounds bounds = {.jobs = 50, .rows = 4};
    struct job_filter filter = {.tag = span_of_str("needle"), .states = 1u << JOB_SCHEDULED};
    uint64_t found = 0;
    uint64_t next = 1;
    size_t number = 0;
    char sql[120];

    while (w->jobs[number].state != JOB_SCHEDULED)
        number++;
    snprintf(sql, sizeof(sql), "INSERT INTO tags (tag, id) VALUES ('needle', %llu) RETURNING 1",
             (unsigned long long)id_of(number));
    assert_int_equal(fixture_ask(w->f, sql), 1);
    assert_int_equal(reader_find(fixture_reader(w->f), &filter, &bounds, &found, keep_id, &next),
                     0);
    assert_int_equal(found, id_of(number));
    assert_int_equal(next, 0); /* among 240 jobs, four rows were enough to come to the end */
}

/* ---- plans ---- */

static void check_plan(sqlite3 *db, const char *text)
{
    sqlite3_stmt *stmt = NULL;
    char sql[1024];
    size_t steps = 0;

    snprintf(sql, sizeof(sql), "EXPLAIN QUERY PLAN %s", text);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        const char *step = (const char *)sqlite3_column_text(stmt, 3);

        if (strstr(step, "TEMP B-TREE") != NULL || strncmp(step, "SCAN", 4) == 0)
            fail_msg("%s\nwould %s", text, step);
        steps++;
    }
    assert_true(steps > 0);
    sqlite3_finalize(stmt);
}

/* A walk that sorted, or began at the end of its table, would read millions of rows for a page. */
static void no_walk_sorts_or_reads_what_is_outside_of_its_range(void **state)
{
    static const char *const walks[] = {
#define X(name, text) text,
        READER_WALKS(X)
#undef X
    };
    struct world *w = *state;
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open_v2(w->f->path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    for (size_t i = 0; i < JM_COUNT_OF(walks); i++)
        check_plan(db, walks[i]);
    sqlite3_close(db);
}

#define FIND_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest unit_tests[] = {
        FIND_TEST(every_filter_gives_what_going_through_all_jobs_gives),
        FIND_TEST(every_filter_alone_gives_it_too),
        FIND_TEST(paging_loses_and_repeats_nothing_while_jobs_move),
        FIND_TEST(a_search_ends_when_its_time_is_over_and_goes_on_from_there),
        FIND_TEST(a_rare_tag_costs_no_look_at_what_lies_between),
        FIND_TEST(no_walk_sorts_or_reads_what_is_outside_of_its_range),
    };

    return cmocka_run_group_tests(unit_tests, NULL, NULL);
}
