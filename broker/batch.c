/*
 * batch.c: the items of batches, which are kept for the next ones, and what is said of each.
 */
#include "broker/batch.h"

#include <stdlib.h>

#include "broker/call.h"
#include "broker/job_options.h"
#include "broker/render.h"
#include "lib/utf8.h"
#include "schema/errors.h"

enum { IDLE_VALUE_BYTES = 1024 }; /* of memory that each buffer of an idle item keeps */

struct batch_item *batch_open_item(struct batch *b)
{
    struct api *a = b->call->api;
    struct list *node = list_pop_front(&a->idle_items);
    struct batch_item *item;

    if (node != NULL) {
        item = LIST_ENTRY(node, struct batch_item, link);
        a->idle_item_count--;
    } else {
        item = calloc(1, sizeof(*item));
        if (item == NULL)
            return NULL;
        list_init(&item->link);
        buf_init(&item->value, 0);
        buf_init(&item->options, JOB_OPTIONS_BYTES);
    }
    item->batch = b;
    item->is_done = item->is_refused = false;
    list_push_back(&b->items, &item->link);
    b->item_count++;
    b->taken++;
    return item;
}

static void free_item(struct batch_item *item)
{
    buf_done(&item->value);
    buf_done(&item->options);
    free(item);
}

void batch_close_item(struct batch *b, struct batch_item *item)
{
    struct api *a = b->call->api;

    list_remove(&item->link);
    b->item_count--;
    b->item_bytes -= item->value.len;
    buf_shrink(&item->value, IDLE_VALUE_BYTES);
    buf_shrink(&item->options, IDLE_VALUE_BYTES);
    if (a->idle_item_count < JM_BATCH_IN_FLIGHT) {
        list_push_front(&a->idle_items, &item->link);
        a->idle_item_count++;
    } else {
        free_item(item);
    }
}

void batch_free_idle(struct api *a)
{
    struct list *node;

    while ((node = list_pop_front(&a->idle_items)) != NULL)
        free_item(LIST_ENTRY(node, struct batch_item, link));
    a->idle_item_count = 0;
}

/* A field's name that a client has sent may have been cut in the middle of a character. */
static struct span whole_characters(const char *text)
{
    return span_of(text, utf8_valid_bytes(span_of_str(text)));
}

void batch_render_fault(struct buf *out, const struct fault *f)
{
    struct render_map answer;
    struct render_map error;

    render_open_map(&answer, out);
    render_key(&answer, "error");
    render_open_map(&error, out);
    render_word(&error, "code", errors_code(f->error));
    if (f->detail[0] != '\0')
        render_str(&error, "detail", whole_characters(f->detail));
    if (f->field[0] != '\0')
        render_str(&error, "field", whole_characters(f->field));
    if (f->limit > 0)
        render_u64(&error, "limit", f->limit);
    if (f->id > 0)
        render_id(&error, "id", f->id);
    render_close_map(&error);
    render_close_map(&answer);
}

void batch_refuse_item(struct batch_item *item, const struct fault *f)
{
    struct batch *b = item->batch;

    b->item_bytes -= item->value.len;
    buf_shrink(&item->value, IDLE_VALUE_BYTES);
    item->value.max = BATCH_ANSWER_BYTES;
    batch_render_fault(&item->value, f);
    b->item_bytes += item->value.len;
    item->is_done = item->is_refused = true;
}

void batch_render_stored(struct buf *out, const struct core_outcome *o)
{
    struct render_map m;

    render_open_map(&m, out);
    render_id(&m, "id", o->id);
    if (o->state != JOB_NONE) /* else the job is not kept any more */
        render_word(&m, "state", job_state_shown(o->state));
    if (o->is_replay)
        render_bool(&m, "is_replay", true);
    if (o->is_existing)
        render_bool(&m, "is_existing", true);
    if (!o->has_key && o->replaced_id != 0)
        render_id(&m, "replaced", o->replaced_id);
    render_close_map(&m);
}

bool batch_put_answer(enum body_form form, struct span answer, bool is_first, struct buf *out)
{
    struct fault f;
    int rc;

    if (form == BODY_JSON)
        buf_put_u8(out, is_first ? '[' : ',');
    rc = body_write(form, answer, out, &f);
    if (form == BODY_LINES)
        buf_put_u8(out, '\n');
    return rc == 0;
}

void batch_put_end(enum body_form form, bool is_empty, struct buf *out)
{
    if (form == BODY_JSON)
        buf_put_str(out, is_empty ? "[]" : "]");
}
