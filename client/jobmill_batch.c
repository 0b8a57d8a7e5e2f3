/*
 * How it works: libcurl asks for bytes and brings bytes, in whatever order; the items that `next`
 * gives are encoded one after the other into `out`, from which the asked number is taken, and the
 * answers are cut out of `in` as soon as each is whole. Neither grows beyond one item and a piece.
 * Items of `next` go as msgpack, value behind value; the caller's own NDJSON goes as it is.
 */
#include <stdio.h>
#include <string.h>

#include "client/jobmill_answer.h"
#include "client/jobmill_call.h"
#include "client/options.h"
#include "client/submission.h"
#include "client/target.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/mp.h"
#include "schema/errors.h"

enum {
    ANSWER_BYTES = 1 << 20, /* of one item and a piece */
    GATHER_MS = 200,        /* how long items are held back to go together */
};

static const char msgpack_type[] = "application/msgpack";
static const char ndjson_type[] = "application/x-ndjson";

struct batch {
    struct jobmill_batch_options options;
    struct buf out;
    struct buf in;
    bool is_over;        /* the caller has no more */
    bool is_in_line;     /* of an item, in NDJSON */
    uint64_t item_count; /* that the caller gave */
    uint64_t answer_count;
    uint64_t refused_count;
    struct jobmill_failure last;    /* what the last answer says */
    struct jobmill_failure failure; /* met here, not on the way */
};

/* ---- the end ---- */

/* The broker may end a batch before its time, and then says why in place of the next answer. */
static bool judge_end(struct batch *b)
{
    if (b->is_over && b->answer_count == b->item_count)
        return true;
    if (b->last.error != 0) {
        b->failure = b->last;
        snprintf(b->failure.text, sizeof(b->failure.text), "the broker ended the batch: %.400s",
                 b->last.text);
    } else if (b->answer_count > b->item_count) {
        (void)jobmill_error_set(&b->failure, JM_EANSWER, "the batch got more answers than items");
    } else {
        (void)jobmill_error_set(&b->failure, JM_EFATE, "the batch ended after %llu answers",
                                (unsigned long long)b->answer_count);
    }
    return false;
}

/* The last answer is one behind which no item is looked at. An atomic batch is judged whole. */
static bool has_ended(const struct batch *b)
{
    return !b->options.is_atomic &&
           (b->last.error == JOBMILL_ESHUTDOWN || b->last.error == JOBMILL_EBATCHSIZE);
}

/* All that the broker had to say has come: what breaks behind it is of no matter. */
static bool is_answered(const struct batch *b)
{
    return has_ended(b) || (!b->options.is_atomic && b->is_over && b->answer_count > 0 &&
                            b->answer_count == b->item_count);
}

/* ---- sending ---- */

static bool fail_item(struct batch *b)
{
    struct jobmill_failure why = b->failure;

    (void)jobmill_error_set(&b->failure, JM_EINVAL, "item %llu: %.400s",
                            (unsigned long long)b->item_count, why.text);
    return false;
}

static bool put_item(struct batch *b, const struct jobmill_submit_options *options)
{
    struct jobmill_submit_options own = {0};
    int error;

    if (!options_copy(&own, sizeof(own), OPTIONS_FIRST(jobmill_submit_options, priority),
                      options)) {
        (void)jobmill_error_set(&b->failure, JM_EINVAL, "an option is newer than this library");
        return fail_item(b);
    }
    error = submission_encode(&own, own.idempotency_key, &b->out, &b->failure);
    if (error == JOBMILL_EINVAL)
        return fail_item(b);
    b->item_count++;
    return error == 0;
}

static int64_t now_ms(void)
{
    return (int64_t)clock_mono_ms(clock_real());
}

static int64_t stop(struct batch *b)
{
    return judge_end(b) ? 0 : -1;
}

static int64_t give_up(struct batch *b)
{
    (void)jobmill_error_set(&b->failure, JM_EFATE, "the batch was given up on its way");
    return -1;
}

/* Encodes items until there are `room` bytes, or until `next` has been slow: the broker ends a
 * batch of which nothing comes. 0, or what on_send is to return. */
static int64_t fill(struct batch *b, size_t room)
{
    int64_t until_ms = now_ms() + GATHER_MS;

    while (!b->is_over && b->out.len < room && (b->out.len == 0 || now_ms() < until_ms)) {
        struct jobmill_submit_options options = {0};
        int more = b->options.next(b->options.context, &options);

        if (more == JOBMILL_BATCH_LATER)
            return b->out.len > 0 ? 0 : TRANSPORT_LATER;
        if (more < 0)
            return give_up(b);
        if (more > 0 && !put_item(b, &options))
            return -1;
        b->is_over = more == 0;
    }
    return 0;
}

static int64_t on_send(void *context, char *bytes, size_t room)
{
    struct batch *b = context;
    int64_t refusal = has_ended(b) ? stop(b) : fill(b, room);
    size_t len = b->out.len < room ? b->out.len : room;

    if (refusal != 0)
        return refusal;
    if (len > 0)
        memcpy(bytes, b->out.data, len);
    buf_consume(&b->out, len);
    return (int64_t)len;
}

/* Counts the items as the broker does: the lines that are more than white space. */
static void count_lines(struct batch *b, struct span piece)
{
    for (size_t i = 0; i < piece.len; i++) {
        char c = (char)piece.data[i];

        if (c == '\n') {
            b->is_in_line = false;
        } else if (!b->is_in_line && c != ' ' && c != '\t' && c != '\r') {
            b->is_in_line = true;
            b->item_count++;
        }
    }
}

static int64_t on_send_ndjson(void *context, char *bytes, size_t room)
{
    struct batch *b = context;
    int64_t len;

    if (has_ended(b))
        return stop(b);
    len = b->options.read(b->options.context, bytes, room);
    if (len == JOBMILL_BATCH_LATER)
        return TRANSPORT_LATER;
    if (len < 0)
        return give_up(b);
    count_lines(b, span_of(bytes, (size_t)len));
    b->is_over = len == 0;
    return len;
}

/* ---- receiving ---- */

static bool fail_answer(struct batch *b, int error)
{
    (void)jobmill_error_set(&b->failure, error, "the answer to item %llu: %s",
                            (unsigned long long)b->answer_count, errors_title(error));
    return false;
}

static bool take_answer(struct batch *b, struct span msgpack)
{
    struct jobmill_answer answer;
    int error = jobmill_answer_parse(msgpack, &answer);

    if (error == 0) {
        b->refused_count += answer.failure.error != 0;
        b->last = answer.failure;
        if (b->options.on_answer != NULL)
            b->options.on_answer(b->options.context, b->answer_count, &answer);
        b->answer_count++;
    }
    jobmill_answer_done(&answer);
    return error == 0 || fail_answer(b, error);
}

static bool take_line(struct batch *b, struct span line)
{
    struct json_limits limits = {.max_depth = JOBMILL_VALUE_DEPTH, .max_members = UINT32_MAX};
    struct buf msgpack;
    bool is_good;

    if (line.len > 0 && line.data[line.len - 1] == '\r')
        line.len--;
    if (line.len == 0)
        return true;
    buf_init(&msgpack, SIZE_MAX);
    is_good = json_to_msgpack(line, &limits, &msgpack, NULL) == JSON_OK;
    is_good = is_good ? take_answer(b, buf_span(&msgpack)) : fail_answer(b, JM_EANSWER);
    buf_done(&msgpack);
    return is_good;
}

static bool room_for(struct batch *b, struct span piece)
{
    buf_put_span(&b->in, piece);
    return !buf_has_failed(&b->in) || fail_answer(b, JM_ELIMIT);
}

static bool on_receive(void *context, struct span piece)
{
    struct batch *b = context;
    struct mp_cursor c;
    struct span value;

    if (!room_for(b, piece))
        return false;
    mp_open(&c, buf_span(&b->in));
    while (!mp_is_at_end(&c) && mp_skip(&c, JOBMILL_VALUE_DEPTH, &value))
        if (!take_answer(b, value))
            return false;
    buf_consume(&b->in, (size_t)(c.at - b->in.data));
    return true;
}

static bool on_receive_ndjson(void *context, struct span piece)
{
    struct batch *b = context;
    const uint8_t *at, *end;
    size_t left;

    if (!room_for(b, piece))
        return false;
    at = b->in.data;
    left = b->in.len;
    while ((end = memchr(at, '\n', left)) != NULL) {
        size_t len = (size_t)(end - at);

        if (!take_line(b, span_of(at, len)))
            return false;
        at = end + 1;
        left -= len + 1;
    }
    buf_consume(&b->in, b->in.len - left);
    return true;
}

/* What has no end of its own: the last line, perhaps; never a msgpack value. */
static bool take_rest(struct batch *b)
{
    if (b->options.read != NULL)
        return take_line(b, buf_span(&b->in));
    return b->in.len == 0 || fail_answer(b, JM_EANSWER);
}

/* ---- the call ---- */

static int run(struct jobmill *mill, struct batch *b)
{
    bool is_ndjson = b->options.read != NULL;
    struct transport_stream stream = {
        .type = is_ndjson ? ndjson_type : msgpack_type,
        .on_send = is_ndjson ? on_send_ndjson : on_send,
        .on_receive = is_ndjson ? on_receive_ndjson : on_receive,
        .context = b,
    };
    struct transport_answer answer;
    struct buf target;
    int error;

    target_init(&target, "/v1/jobs/batch");
    target_put_text(&target, "atomic", b->options.is_atomic ? "true" : NULL);
    error = jobmill_call(mill, "POST", &target, &(struct transport_request){.stream = &stream},
                         &answer);
    if (error == 0)
        transport_answer_done(&answer);
    if (error == JOBMILL_EFATE && b->failure.error == 0 && is_answered(b)) {
        jobmill_error_clear(&mill->failure);
        error = 0;
        (void)judge_end(b);
    } else if (error == 0 || error == JOBMILL_EBATCHREFUSED) {
        (void)(take_rest(b) && (error != 0 || judge_end(b)));
    }
    if (b->failure.error != 0) {
        mill->failure = b->failure;
        return b->failure.error;
    }
    return error;
}

int jobmill_batch(struct jobmill *mill, const struct jobmill_batch_options *options,
                  uint64_t *ret_refused)
{
    struct batch b = {0};
    int error;

    if (!options_copy(&b.options, sizeof(b.options), sizeof(b.options), options))
        return jobmill_call_refuse_newer(mill);
    if ((b.options.next == NULL) == (b.options.read == NULL))
        return jobmill_error_set(&mill->failure, JM_EINVAL, "a batch has either next or read");
    buf_init(&b.out, SIZE_MAX);
    buf_init(&b.in, ANSWER_BYTES);
    error = run(mill, &b);
    if (error == 0 && ret_refused != NULL)
        *ret_refused = b.refused_count;
    buf_done(&b.out);
    buf_done(&b.in);
    return error;
}
