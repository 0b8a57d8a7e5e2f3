#include "broker/tasks.h"

#include <stdlib.h>

#include "lib/mp.h"

enum {
    FRESH_MS = 1000,
    TASKS_LIMIT = 10000, /* kept in memory; what comes beyond is unknown here */
    TEXT_BYTES = 8192,   /* of one task's name, kind and doc together */
};

static struct task *find(const struct tasks *ts, struct span name)
{
    struct hash_node *node = hash_find(&ts->by_name, hash_of_span(name));

    for (; node != NULL; node = hash_find_next(node)) {
        struct task *t = JM_CONTAINER_OF(node, struct task, by_name);

        if (span_is_equal(t->name, name))
            return t;
    }
    return NULL;
}

/* Copies what is said of a task over what was said before. Keeps the old if there is no room. */
static void set_texts(struct task *t, const struct wire_task *said)
{
    struct buf copy;

    if (span_is_equal(t->kind, said->kind) && span_is_equal(t->doc, said->doc) && t->name.len > 0)
        return;
    buf_init(&copy, TEXT_BYTES);
    buf_put_span(&copy, said->name);
    buf_put_span(&copy, said->kind);
    buf_put_span(&copy, said->doc);
    if (buf_has_failed(&copy)) {
        buf_done(&copy);
        return;
    }
    buf_done(&t->copy);
    t->copy = copy;
    t->name = span_of(copy.data, said->name.len);
    t->kind = span_of(copy.data + said->name.len, said->kind.len);
    t->doc = span_of(t->kind.data + said->kind.len, said->doc.len);
}

static void free_task(struct task *t)
{
    buf_done(&t->copy);
    free(t);
}

static struct task *add(struct tasks *ts, const struct wire_task *said)
{
    struct task *t = ts->count < TASKS_LIMIT ? calloc(1, sizeof(*t)) : NULL;

    if (t == NULL)
        return NULL;
    set_texts(t, said);
    if (t->name.len == 0 || hash_insert(&ts->by_name, &t->by_name, hash_of_span(t->name)) != 0) {
        free_task(t);
        return NULL;
    }
    list_push_back(&ts->all, &t->in_order);
    ts->count++;
    return t;
}

static struct task *note(struct tasks *ts, const struct wire_task *said)
{
    struct task *t = find(ts, said->name);

    if (t == NULL)
        return add(ts, said);
    set_texts(t, said);
    return t;
}

static void on_stored_task(void *owner, const struct wire_task *said, int64_t seen_at_ms)
{
    struct task *t = note(owner, said);

    if (t != NULL)
        t->seen_at_ms = seen_at_ms;
}

static void note_host(struct tasks *ts, const struct host *h)
{
    struct mp_cursor c;
    struct wire_task said;

    for (wire_open_list(h->beat.tasks, &c); wire_next_task(&c, &said);) {
        struct task *t = note(ts, &said);

        if (t != NULL)
            t->hosts++;
    }
}

void tasks_init(struct tasks *ts, struct core *core, struct reader *reader)
{
    *ts = (struct tasks){.core = core, .reader = reader};
    list_init(&ts->all);
}

void tasks_done(struct tasks *ts)
{
    struct list *node;

    while ((node = list_pop_front(&ts->all)) != NULL)
        free_task(LIST_ENTRY(node, struct task, in_order));
    hash_done(&ts->by_name);
}

int tasks_refresh(struct tasks *ts)
{
    struct hosts *hosts = &ts->core->hosts;
    uint64_t now_ms = clock_mono_ms(ts->core->seams.clock);
    int rc;

    if (now_ms < ts->fresh_until_ms)
        return 0;
    ts->fresh_until_ms = now_ms + FRESH_MS;
    rc = reader_tasks(ts->reader, ts, on_stored_task);
    LIST_EACH(node, &ts->all)
    LIST_ENTRY(node, struct task, in_order)->hosts = 0;
    LIST_EACH(node, &hosts->all)
    note_host(ts, hosts_entry(node));
    return rc;
}

bool tasks_is_known(struct tasks *ts, struct span name)
{
    if (find(ts, name) != NULL)
        return true;
    return tasks_refresh(ts) == 0 && find(ts, name) != NULL;
}
