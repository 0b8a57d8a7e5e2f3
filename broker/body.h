/*
 * body.h: media types. What a request's body is (Content-Type), what the client takes as an answer
 * (Accept, RFC 9110 section 12.5.1), and the two ways between JSON or msgpack outside and msgpack
 * inside. Pure functions.
 */
#ifndef BROKER_BODY_H
#define BROKER_BODY_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/fault.h"
#include "lib/attr.h"
#include "lib/buf.h"
#include "lib/span.h"

/* The order is the server's preference where a client takes several equally gladly. */
enum body_form { BODY_JSON, BODY_MSGPACK, BODY_OCTETS, BODY_LINES, BODY_FORM_COUNT };

/* JSON "1.5," (4 bytes) is a float 64 of 9 bytes, the worst case of what msgpack is longer. */
#define BODY_MSGPACK_BYTES(json_bytes) ((json_bytes)*3 + 64)

const char *body_media_type(enum body_form form);
const char *body_problem_media_type(enum body_form form);

/* The form that a Content-Type names: JSON (with charset=utf-8 or none) or msgpack. JM_EMEDIATYPE
 * for any other. */
int body_parse_content_type(struct span value, enum body_form *ret_form,
                            struct fault *ret_fault) JM_MUST_CHECK;

/* The same of a batch, which may be in lines (NDJSON) too. */
int body_parse_batch_type(struct span value, enum body_form *ret_form,
                          struct fault *ret_fault) JM_MUST_CHECK;

/* Gives the one msgpack value that `body` is: in place if it is msgpack, appended to `scratch`
 * (empty) if it is JSON. Checked by the rules of json.h. JM_EJSON, JM_EMSGPACK, JM_ELIMIT. */
int body_read(enum body_form form, struct span body, struct buf *scratch, struct span *ret_msgpack,
              struct fault *ret_fault) JM_MUST_CHECK;

/* The other way: appends `msgpack` to `out` in `form` (BODY_OCTETS: as it is). JM_ELIMIT above what
 * `out` may hold, JM_EACCEPT if the value has no JSON form. */
int body_write(enum body_form form, struct span msgpack, struct buf *out,
               struct fault *ret_fault) JM_MUST_CHECK;

/* A JSON text of our own as msgpack, for problems. False without room. */
bool body_convert(struct span json, struct buf *out) JM_MUST_CHECK;

/* How gladly a client takes each form. */
struct body_wish {
    int quality[BODY_FORM_COUNT];     /* thousandths */
    int specificity[BODY_FORM_COUNT]; /* of the range that said so; 0: none did */
    unsigned ranges;                  /* how many were read */
};

/* Start with a zeroed wish, add each Accept field in turn. What is malformed in it is passed over.
 */
void body_add_accept(struct body_wish *wish, struct span value);

/* The form that the client likes best among `offered` (a set of 1 << form); JSON without any wish
 * if it is offered. JM_EACCEPT if there is none. */
int body_choose(const struct body_wish *wish, unsigned offered,
                enum body_form *ret_form) JM_MUST_CHECK;

/* Likewise, but among those that it likes best `preferred`, if that is one of them. */
int body_choose_near(const struct body_wish *wish, unsigned offered, enum body_form preferred,
                     enum body_form *ret_form) JM_MUST_CHECK;

#endif
