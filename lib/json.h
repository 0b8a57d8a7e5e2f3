/*
 * json.h: JSON at the edge. One streaming transcoder each way between JSON text (RFC 8259) and
 * msgpack bytes, without a tree in between. Pure functions; no I/O.
 *
 * Reading is strict: valid UTF-8, no duplicate member names in an object, no lone surrogates, no
 * trailing bytes, no NaN. Integers from -2^63 to 2^64-1 stay exact integers; an integer outside
 * that range is refused; any number with a fraction or an exponent becomes a float 64, and so does
 * "-0", whose sign no integer can hold. Msgpack comes out in its shortest form.
 *
 * Writing: floats in their shortest form that reads back as the same double ("1.0" keeps its
 * point); NaN and infinities are refused; bin becomes base64 text (RFC 4648, padded); NUL and
 * control characters are escaped; map keys must be strings; ext is refused.
 */
#ifndef LIB_JSON_H
#define LIB_JSON_H

#include <stddef.h>
#include <stdint.h>

#include "lib/attr.h"
#include "lib/buf.h"
#include "lib/span.h"

/* What can be wrong with a value. The word is for people ("duplicate member name"). */
#define JSON_PROBLEMS(X)                                  \
    X(JSON_OK, "no problem")                              \
    X(JSON_SYNTAX, "not valid JSON")                      \
    X(JSON_TRUNCATED, "the value ends too early")         \
    X(JSON_TRAILING, "bytes after the end of the value")  \
    X(JSON_UTF8, "not valid UTF-8")                       \
    X(JSON_SURROGATE, "lone surrogate in a \\u escape")   \
    X(JSON_DUPLICATE, "duplicate member name")            \
    X(JSON_DEPTH, "nested too deeply")                    \
    X(JSON_MEMBERS, "too many members in one object")     \
    X(JSON_RANGE, "integer outside -2^63 to 2^64-1")      \
    X(JSON_NUMBER, "number too large for a 64-bit float") \
    X(JSON_KEY, "object key is not a string")             \
    X(JSON_EXT, "msgpack ext values are not supported")   \
    X(JSON_NAN, "NaN and infinity have no JSON form")     \
    X(JSON_MSGPACK, "not valid msgpack")                  \
    X(JSON_LIMIT, "result too large")                     \
    X(JSON_MEMORY, "out of memory")

enum json_problem {
#define X(name, words) name,
    JSON_PROBLEMS(X)
#undef X
};

/* What json_limits can ask for at most, and how deep json_from_msgpack goes. */
enum { JSON_DEPTH_LIMIT = 128, JSON_MEMBERS_LIMIT = 4096 };

struct json_limits {
    unsigned max_depth;   /* open arrays and objects at once; 100 by default */
    unsigned max_members; /* in one object; 1,024 by default */
};

#define JSON_DEFAULT_LIMITS ((struct json_limits){.max_depth = 100, .max_members = 1024})

/* A problem and the byte of the input it was met at. */
struct json_error {
    enum json_problem problem;
    size_t offset;
};

const char *json_problem_words(enum json_problem problem);

/* Appends the msgpack form of the one JSON value in `text` to `ret_msgpack`. On a problem the
 * buffer is cut back to what it held (JSON_LIMIT leaves it failed as well: it was full). Returns
 * JSON_OK or the problem, told in full in `ret_error` (may be NULL). Of two members with the same
 * name, it is the second that is told. Text beyond 1 GiB is JSON_LIMIT. */
enum json_problem json_to_msgpack(struct span text, const struct json_limits *limits,
                                  struct buf *ret_msgpack,
                                  struct json_error *ret_error) JM_MUST_CHECK;

/* Appends the JSON form of the one msgpack value in `msgpack` to `ret_text`; compact, no line end.
 * Members that have the same name are written as they are. */
enum json_problem json_from_msgpack(struct span msgpack, struct buf *ret_text,
                                    struct json_error *ret_error) JM_MUST_CHECK;

/* Checks that `msgpack` is one value that the rules above allow (UTF-8 in strings, string keys, no
 * duplicates, no ext, limits, no NaN or infinity), as is done with a body that arrives as msgpack.
 * `bin` is allowed. Allocates only when more than 64 members of open objects are to be compared. */
enum json_problem json_check_msgpack(struct span msgpack, const struct json_limits *limits,
                                     struct json_error *ret_error) JM_MUST_CHECK;

#endif
