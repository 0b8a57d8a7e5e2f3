/*
 * unique.c: arguments are digested as pairs of name and msgpack value, sorted by name, since the
 * members of an object have no order. Objects inside a value are taken as they are written.
 */
#include "broker/unique.h"

#include <stdlib.h>
#include <string.h>

#include "lib/mp.h"
#include "schema/errors.h"

enum {
    VALUE_DEPTH = 120, /* more than the body was allowed to have */
    HEAD_PARTS = 3,    /* what kind of digest it is, task, queue */
};

const struct unique_asked unique_usual = {.how = UNIQUE_UNFINISHED};

struct member {
    struct span name;
    struct span value; /* one msgpack value; empty if it isn't there */
};

static int compare(const void *a, const void *b)
{
    const struct span *x = &((const struct member *)a)->name;
    const struct span *y = &((const struct member *)b)->name;
    size_t len = x->len < y->len ? x->len : y->len;
    int order = len > 0 ? memcmp(x->data, y->data, len) : 0;

    return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

/* The members of a map; false if it is none. */
static bool open_members(struct span args, struct member ret_members[JM_JSON_MEMBERS],
                         size_t *ret_count)
{
    struct mp_cursor c;
    uint32_t pairs;

    mp_open(&c, args);
    if (!mp_next_map(&c, &pairs) || pairs > JM_JSON_MEMBERS)
        return false;
    *ret_count = 0;
    while (*ret_count < pairs) {
        struct member *m = &ret_members[*ret_count];

        if (!mp_next_str(&c, &m->name) || !mp_skip(&c, VALUE_DEPTH, &m->value))
            return false;
        (*ret_count)++;
    }
    qsort(ret_members, *ret_count, sizeof(*ret_members), compare);
    return true;
}

/* The members that `names` chooses, each once. */
static size_t choose_members(struct span names, const struct member *all, size_t all_count,
                             struct member ret_chosen[JM_UNIQUE_ARGS])
{
    struct mp_cursor c;
    uint32_t count;
    size_t chosen = 0;
    size_t kept = 0;

    mp_open(&c, names);
    if (!mp_next_array(&c, &count))
        return 0;
    while (count-- > 0 && chosen < JM_UNIQUE_ARGS) {
        struct member key = {.value = {.len = 0}};
        const struct member *found;

        if (!mp_next_str(&c, &key.name))
            break;
        found = bsearch(&key, all, all_count, sizeof(key), compare);
        ret_chosen[chosen++] = found != NULL ? *found : key;
    }
    qsort(ret_chosen, chosen, sizeof(*ret_chosen), compare);
    for (size_t i = 0; i < chosen; i++)
        if (kept == 0 || compare(&ret_chosen[kept - 1], &ret_chosen[i]) != 0)
            ret_chosen[kept++] = ret_chosen[i];
    return kept;
}

static int digest_members(struct digest *digest, const struct job_spec *spec, const char *kind,
                          const struct member *members, size_t count, uint8_t *ret_digest)
{
    struct span parts[HEAD_PARTS + 2 * JM_JSON_MEMBERS] = {span_of_str(kind), spec->task,
                                                           spec->queue};

    for (size_t i = 0; i < count; i++) {
        parts[HEAD_PARTS + 2 * i] = members[i].name;
        parts[HEAD_PARTS + 2 * i + 1] = members[i].value;
    }
    return digest_parts(digest, parts, HEAD_PARTS + 2 * count, ret_digest);
}

static int digest_args(struct digest *digest, const struct job_spec *spec, struct span names,
                       uint8_t *ret_digest, struct fault *f)
{
    struct member all[JM_JSON_MEMBERS];
    struct member chosen[JM_UNIQUE_ARGS];
    size_t count = 0;
    bool is_map = open_members(spec->args, all, &count);

    if (is_map && names.len > 0) {
        count = choose_members(names, all, count, chosen);
        return digest_members(digest, spec, "chosen", chosen, count, ret_digest);
    }
    if (names.len > 0)
        return fault_set(f, JM_EFIELD, span_of_str("unique.args"), 0,
                         "unique.args: chooses members of args, which is no object");
    if (is_map)
        return digest_members(digest, spec, "all", all, count, ret_digest);
    return digest_members(digest, spec, "value", &(struct member){.value = spec->args}, 1,
                          ret_digest);
}

static int check_asked(const struct unique_asked *asked, struct fault *f)
{
    if (asked->key.len > 0 && asked->args.len > 0)
        return fault_set(f, JM_EFIELD, span_of_str("unique.args"), 0,
                         "unique.args: not together with unique.key");
    if (asked->how == UNIQUE_PERIOD && asked->period_ms == 0)
        return fault_set(f, JM_EMISSING, span_of_str("unique.period_ms"), 0,
                         "unique.period_ms: is required with \"while\": \"period\"");
    if (asked->how != UNIQUE_PERIOD && asked->period_ms != 0)
        return fault_set(f, JM_EFIELD, span_of_str("unique.period_ms"), 0,
                         "unique.period_ms: only with \"while\": \"period\"");
    return 0;
}

int unique_read(const struct unique_asked *asked, const struct job_spec *spec,
                struct digest *digest, struct store_unique *ret_unique, struct fault *ret_fault)
{
    struct store_unique unique = {
        .how = asked->how, .on_conflict = asked->on_conflict, .period_ms = asked->period_ms};
    struct span key[] = {span_of_str("key"), asked->key};
    int rc = check_asked(asked, ret_fault);

    if (rc != 0)
        return rc;
    if (asked->key.len > 0)
        rc = digest_parts(digest, key, JM_COUNT_OF(key), unique.digest);
    else
        rc = digest_args(digest, spec, asked->args, unique.digest, ret_fault);
    if (rc == JM_EINTERNAL)
        return fault_set(ret_fault, rc, span_of(NULL, 0), 0, "the body has no digest");
    if (rc == 0)
        *ret_unique = unique;
    return rc;
}
