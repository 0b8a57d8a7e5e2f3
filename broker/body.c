#include "broker/body.h"

#include <string.h>
#include <strings.h>

#include "lib/json.h"
#include "schema/errors.h"
#include "schema/limits.h"

static const char *const media_types[BODY_FORM_COUNT] = {
    [BODY_JSON] = "application/json",
    [BODY_MSGPACK] = "application/msgpack",
    [BODY_OCTETS] = "application/octet-stream",
    [BODY_LINES] = "application/x-ndjson",
};

const char *body_media_type(enum body_form form)
{
    return media_types[form];
}

const char *body_problem_media_type(enum body_form form)
{
    return form == BODY_MSGPACK ? "application/problem+msgpack" : "application/problem+json";
}

/* Takes what stands before the first `separator` that is not in a quoted string (RFC 9110 section
 * 5.6.4) off the front of `rest`. */
static struct span take_until(struct span *rest, char separator)
{
    struct span head = *rest;
    bool is_quoted = false;

    for (size_t i = 0; i < rest->len; i++) {
        uint8_t c = rest->data[i];

        if (is_quoted && c == '\\')
            i++;
        else if (c == '"')
            is_quoted = !is_quoted;
        else if (c == separator && !is_quoted) {
            head.len = i;
            *rest = span_of(rest->data + i + 1, rest->len - i - 1);
            return span_trim(head);
        }
    }
    *rest = span_of(NULL, 0);
    return span_trim(head);
}

static bool is_word(struct span text, const char *word)
{
    return text.len == strlen(word) && strncasecmp((const char *)text.data, word, text.len) == 0;
}

/* Parameters behind a Content-Type: only a charset of UTF-8. */
static bool has_good_parameters(struct span rest)
{
    while (rest.len > 0) {
        struct span value = take_until(&rest, ';');
        struct span name = take_until(&value, '=');

        if (name.len == 0 && value.len == 0)
            continue;
        if (!is_word(name, "charset") || !is_word(span_unquote(span_trim(value)), "utf-8"))
            return false;
    }
    return true;
}

int body_parse_content_type(struct span value, enum body_form *ret_form, struct fault *ret_fault)
{
    struct span type = take_until(&value, ';');

    if (is_word(type, media_types[BODY_MSGPACK]))
        *ret_form = BODY_MSGPACK;
    else if (is_word(type, media_types[BODY_JSON]) && has_good_parameters(value))
        *ret_form = BODY_JSON;
    else
        return fault_set(ret_fault, JM_EMEDIATYPE, span_of_str("Content-Type"), 0,
                         "Content-Type must be application/json (in UTF-8) or application/msgpack");
    return 0;
}

int body_parse_batch_type(struct span value, enum body_form *ret_form, struct fault *ret_fault)
{
    struct span rest = value;

    if (is_word(take_until(&rest, ';'), media_types[BODY_LINES]) && has_good_parameters(rest)) {
        *ret_form = BODY_LINES;
        return 0;
    }
    if (body_parse_content_type(value, ret_form, ret_fault) == 0)
        return 0;
    return fault_set(ret_fault, JM_EMEDIATYPE, span_of_str("Content-Type"), 0,
                     "Content-Type must be application/json, application/x-ndjson (in UTF-8) or "
                     "application/msgpack");
}

static uint64_t limit_of(enum json_problem problem)
{
    if (problem == JSON_DEPTH)
        return JM_JSON_DEPTH;
    return problem == JSON_MEMBERS ? JM_JSON_MEMBERS : 0;
}

int body_read(enum body_form form, struct span body, struct buf *scratch, struct span *ret_msgpack,
              struct fault *ret_fault)
{
    static const struct json_limits limits = {.max_depth = JM_JSON_DEPTH,
                                              .max_members = JM_JSON_MEMBERS};
    static const struct span no_field;
    bool is_json = form == BODY_JSON || form == BODY_LINES;
    struct json_error e = {JSON_OK, 0};
    enum json_problem problem = is_json ? json_to_msgpack(body, &limits, scratch, &e)
                                        : json_check_msgpack(body, &limits, &e);

    if (problem == JSON_LIMIT)
        return fault_set(ret_fault, JM_ELIMIT, no_field, 0, "the body is too large");
    if (problem == JSON_MEMORY)
        return fault_set(ret_fault, JM_ENOMEM, no_field, 0, "no memory for the body");
    if (problem != JSON_OK)
        return fault_set(ret_fault, is_json ? JM_EJSON : JM_EMSGPACK, no_field, limit_of(problem),
                         "%s at byte %zu", json_problem_words(problem), e.offset);
    *ret_msgpack = is_json ? buf_span(scratch) : body;
    return 0;
}

int body_write(enum body_form form, struct span msgpack, struct buf *out, struct fault *ret_fault)
{
    enum json_problem problem = JSON_OK;

    if (form == BODY_JSON || form == BODY_LINES)
        problem = json_from_msgpack(msgpack, out, NULL);
    else
        buf_put_span(out, msgpack);
    if (buf_is_starved(out))
        return fault_set(ret_fault, JM_ENOMEM, span_of(NULL, 0), 0, "no memory for the answer");
    if (problem == JSON_LIMIT || buf_has_failed(out))
        return fault_set(ret_fault, JM_ELIMIT, span_of(NULL, 0), out->max,
                         "the answer is larger than %zu bytes", out->max);
    if (problem == JSON_OK)
        return 0;
    return fault_set(ret_fault, JM_EACCEPT, span_of(NULL, 0), 0,
                     "the value has no JSON form (%s); accept application/msgpack",
                     json_problem_words(problem));
}

bool body_convert(struct span json, struct buf *out)
{
    return json_to_msgpack(json, &JSON_DEFAULT_LIMITS, out, NULL) == JSON_OK;
}

/* A weight as RFC 9110 section 12.4.2 writes it, in thousandths; -1 if it is none. */
static int parse_quality(struct span text)
{
    int quality = 0;
    int unit = 1000;

    if (text.len == 0 || text.len > 5 || text.data[0] > '1' || text.data[0] < '0')
        return -1;
    for (size_t i = 0; i < text.len; i++) {
        if (i == 1) {
            if (text.data[i] != '.')
                return -1;
            continue;
        }
        if (text.data[i] < '0' || text.data[i] > '9')
            return -1;
        quality += (text.data[i] - '0') * unit;
        unit /= 10;
    }
    return quality <= 1000 ? quality : -1;
}

/* How closely a media range names a form: 3 exactly, 2 by type, 1 by anything, 0 not. */
static int specificity_of(struct span range, enum body_form form)
{
    if (is_word(range, media_types[form]))
        return 3;
    if (is_word(range, "application/*"))
        return 2;
    return is_word(range, "*/*") ? 1 : 0;
}

static void add_range(struct body_wish *wish, struct span range)
{
    struct span rest = range;
    struct span type = take_until(&rest, ';');
    int quality = 1000;

    while (rest.len > 0) {
        struct span value = take_until(&rest, ';');
        struct span name = take_until(&value, '=');

        if (is_word(name, "q"))
            quality = parse_quality(span_trim(value));
    }
    if (quality < 0)
        return;
    wish->ranges++;
    for (int form = 0; form < BODY_FORM_COUNT; form++) {
        int specificity = specificity_of(type, (enum body_form)form);

        if (specificity > wish->specificity[form]) {
            wish->specificity[form] = specificity;
            wish->quality[form] = quality;
        }
    }
}

void body_add_accept(struct body_wish *wish, struct span value)
{
    while (value.len > 0) {
        struct span range = take_until(&value, ',');

        if (range.len > 0)
            add_range(wish, range);
    }
}

int body_choose(const struct body_wish *wish, unsigned offered, enum body_form *ret_form)
{
    int best = 0;

    for (int form = 0; form < BODY_FORM_COUNT; form++) {
        int quality = wish->ranges == 0 ? 1 : wish->quality[form];

        if (offered & 1u << form && quality > best) {
            best = quality;
            *ret_form = (enum body_form)form;
        }
    }
    return best > 0 ? 0 : JM_EACCEPT;
}

int body_choose_near(const struct body_wish *wish, unsigned offered, enum body_form preferred,
                     enum body_form *ret_form)
{
    int rc = body_choose(wish, offered, ret_form);

    if (rc == 0 && (wish->ranges == 0 || wish->quality[preferred] == wish->quality[*ret_form]))
        *ret_form = preferred;
    return rc;
}
