#include "broker/job_fields.h"

#include "broker/backoff.h"
#include "broker/unique.h"

const char *const job_fields_kinds[] = {"fixed", "exponential", NULL};
const char *const job_fields_whiles[] = {"queued", "unfinished", "period", NULL};
const char *const job_fields_conflicts[] = {"existing", "reject", "replace", NULL};

static const struct field backoff_fields[] = {
#define BACKOFF_FIELD(name, member, type, min, max, item_max, words)                    \
    {#name, type, FIELD_OPTIONAL, offsetof(struct backoff, member), min, max, item_max, \
     words, NULL},
#include "broker/job_fields.def"
};

static const struct field unique_fields[] = {
#define UNIQUE_FIELD(name, member, type, min, max, item_max, words)                          \
    {#name, type, FIELD_OPTIONAL, offsetof(struct unique_asked, member), min, max, item_max, \
     words, NULL},
#include "broker/job_fields.def"
};

const struct field_object job_fields_backoff = {backoff_fields, JM_COUNT_OF(backoff_fields),
                                                sizeof(struct backoff), &BACKOFF_USUAL};
const struct field_object job_fields_unique = {unique_fields, JM_COUNT_OF(unique_fields),
                                               sizeof(struct unique_asked), &unique_usual};
