#include <stdlib.h>

#include "client/jobmill_answer.h"
#include "client/record.h"
#include "schema/errors.h"

static const struct record_member members[] = {
    {"id", RECORD_TEXT, offsetof(struct jobmill_answer, id), NULL},
    {"replaced", RECORD_TEXT, offsetof(struct jobmill_answer, replaced), NULL},
    {"is_existing", RECORD_FLAG, offsetof(struct jobmill_answer, is_existing), NULL},
    {"is_replay", RECORD_FLAG, offsetof(struct jobmill_answer, is_replay), NULL},
    {"error", RECORD_BYTES, offsetof(struct jobmill_answer, error), NULL},
    {0},
};

int jobmill_answer_parse(struct span msgpack, struct jobmill_answer *ret_answer)
{
    int error;

    *ret_answer = (struct jobmill_answer){.value = {.msgpack = msgpack}};
    jobmill_error_clear(&ret_answer->failure);
    error = record_read(ret_answer, msgpack, members);
    if (error != 0)
        return error;
    /* A null is no error. */
    if (ret_answer->error.len > 1)
        (void)jobmill_error_set_problem(&ret_answer->failure, 0, ret_answer->error);
    else if (ret_answer->id == NULL)
        return JM_EANSWER;
    return 0;
}

void jobmill_answer_done(struct jobmill_answer *answer)
{
    record_done(answer, members);
    free(answer->value.json);
}

int jobmill_answer_error(const struct jobmill_answer *answer)
{
    return answer->failure.error;
}

const char *jobmill_answer_error_code(const struct jobmill_answer *answer)
{
    return answer->failure.code;
}

const char *jobmill_answer_error_text(const struct jobmill_answer *answer)
{
    return answer->failure.text;
}

const char *jobmill_answer_id(const struct jobmill_answer *answer)
{
    return answer->id;
}

int jobmill_answer_is_existing(const struct jobmill_answer *answer)
{
    return answer->is_existing;
}

int jobmill_answer_is_replay(const struct jobmill_answer *answer)
{
    return answer->is_replay;
}

const char *jobmill_answer_replaced(const struct jobmill_answer *answer)
{
    return answer->replaced;
}

struct jobmill_value *jobmill_answer_value(struct jobmill_answer *answer)
{
    return &answer->value;
}
