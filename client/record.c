#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/jobmill_value.h"
#include "client/record.h"
#include "lib/mp.h"
#include "schema/errors.h"

static int set_text(const struct mp_token *token, char **slot)
{
    struct span text = token->bytes;
    char *copy;

    if (token->type == MP_BOOL)
        text = span_of_str(token->boolean ? "true" : "false");
    else if (token->type != MP_STR)
        return 0;
    copy = strndup((const char *)text.data, text.len);
    if (copy == NULL)
        return JM_ENOMEM;
    free(*slot);
    *slot = copy;
    return 0;
}

static int set_value(struct span bytes, struct jobmill_value **slot)
{
    struct jobmill_value *value = jobmill_value_new(bytes, NULL);

    if (value == NULL)
        return JM_ENOMEM;
    jobmill_value_free(*slot);
    *slot = value;
    return 0;
}

static int set_number(const struct mp_token *token, int64_t *slot)
{
    if (token->type == MP_UINT && token->u64 <= INT64_MAX)
        *slot = (int64_t)token->u64;
    return 0;
}

static int set_real(const struct mp_token *token, double *slot)
{
    if (token->type == MP_UINT)
        *slot = (double)token->u64;
    else if (token->type == MP_FLOAT && token->number >= 0)
        *slot = token->number;
    return 0;
}

static int set_flag(const struct mp_token *token, int *slot)
{
    *slot = token->type == MP_BOOL && token->boolean;
    return 0;
}

static int set_member(void *record, const struct record_member *m, struct span value)
{
    void *slot = (char *)record + m->offset;
    struct mp_token token;
    struct mp_cursor c;

    mp_open(&c, value);
    if (!mp_next(&c, &token))
        return JM_EANSWER;
    switch (m->kind) {
    case RECORD_TEXT:
        return set_text(&token, slot);
    case RECORD_NUMBER:
        return set_number(&token, slot);
    case RECORD_REAL:
        return set_real(&token, slot);
    case RECORD_FLAG:
        return set_flag(&token, slot);
    case RECORD_VALUE:
        return set_value(value, slot);
    case RECORD_MAP:
        return token.type == MP_MAP ? record_read(record, value, m->inner) : 0;
    case RECORD_BYTES:
        *(struct span *)slot = value;
        return 0;
    }
    return 0;
}

int record_read(void *record, struct span map, const struct record_member *table)
{
    struct mp_cursor c;
    uint32_t count;
    int error = 0;

    mp_open(&c, map);
    if (!mp_next_map(&c, &count))
        return JM_EANSWER;
    for (; count > 0 && error == 0; count--) {
        struct span name, value;

        if (!mp_next_str(&c, &name) || !mp_skip(&c, JOBMILL_VALUE_DEPTH, &value))
            return JM_EANSWER;
        for (const struct record_member *m = table; m->name != NULL && error == 0; m++)
            if (span_is_str(name, m->name))
                error = set_member(record, m, value);
    }
    return error;
}

void record_done(void *record, const struct record_member *table)
{
    for (const struct record_member *m = table; m->name != NULL; m++) {
        void *slot = (char *)record + m->offset;

        if (m->kind == RECORD_TEXT)
            free(*(char **)slot);
        else if (m->kind == RECORD_VALUE)
            jobmill_value_free(*(struct jobmill_value **)slot);
        else if (m->kind == RECORD_MAP)
            record_done(record, m->inner);
    }
}
