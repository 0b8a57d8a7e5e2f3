/*
 * http_head.h: the head of an HTTP/1.1 request, read strictly by RFC 9112 and RFC 9110. A pure
 * function over a buffer: no allocation, no I/O, no copy. What it finds is told as offsets from the
 * first byte of the head, so that the bytes may move between two calls and afterwards.
 *
 * Refused where a lenient reader and a strict one could disagree about where a message ends: bare
 * CR or LF, folded lines, whitespace before a colon, a repeated Content-Length or
 * Transfer-Encoding, both together, any transfer coding but `chunked`, and any in HTTP/1.0.
 */
#ifndef BROKER_HTTP_HEAD_H
#define BROKER_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/attr.h"
#include "lib/span.h"
#include "schema/errors.h"

enum {
    HTTP_HEAD_BYTES = 16384,  /* request line and fields with all line ends */
    HTTP_TARGET_BYTES = 8192, /* of the request target */
    HTTP_METHOD_BYTES = 32,
    HTTP_HEAD_FIELDS = 64,
};

/* clang-format off */
#define HTTP_METHODS(X) \
    X(HTTP_GET, "GET") \
    X(HTTP_HEAD, "HEAD") \
    X(HTTP_POST, "POST") \
    X(HTTP_PUT, "PUT") \
    X(HTTP_PATCH, "PATCH") \
    X(HTTP_DELETE, "DELETE") \
    X(HTTP_OPTIONS, "OPTIONS")

/* Everything that can be wrong with the framing of a request: the error that it is answered with,
 * and the sentence that says why. The chunked decoder (http_chunk.h) shares the table. */
#define HTTP_PROBLEMS(X) \
    X(HTTP_FINE,                0,           "nothing is wrong") \
    X(HTTP_BARE_LF,             JM_EREQUEST, "a line ends with a bare LF instead of CR LF") \
    X(HTTP_BAD_METHOD,          JM_EREQUEST, "the method is not a token") \
    X(HTTP_LONG_METHOD,         JM_ENOTIMPL, "the method is longer than 32 bytes") \
    X(HTTP_CONNECT,             JM_ENOTIMPL, "CONNECT is not supported") \
    X(HTTP_BAD_LINE,            JM_EREQUEST, "the request line is not 'method target version' with single spaces") \
    X(HTTP_BAD_TARGET,          JM_EREQUEST, "the request target is neither a path nor an http URL") \
    X(HTTP_BAD_TARGET_BYTE,     JM_EREQUEST, "the request target has a byte that must be percent-encoded") \
    X(HTTP_BAD_PERCENT,         JM_EREQUEST, "a '%' in the request target is not followed by two hex digits") \
    X(HTTP_LONG_TARGET,         JM_EURISIZE, "the request target is longer than 8192 bytes") \
    X(HTTP_BAD_VERSION,         JM_EREQUEST, "the request line does not end with an HTTP version") \
    X(HTTP_OTHER_VERSION,       JM_EVERSION, "the HTTP version is neither 1.1 nor 1.0") \
    X(HTTP_FOLDED,              JM_EREQUEST, "a header line starts with whitespace (obsolete line folding)") \
    X(HTTP_BAD_NAME,            JM_EREQUEST, "a header field name is not a token followed directly by ':'") \
    X(HTTP_BAD_VALUE,           JM_EREQUEST, "a header field value contains a control character") \
    X(HTTP_LONG_HEAD,           JM_EHEADSIZE, "the request head is longer than 16384 bytes") \
    X(HTTP_MANY_FIELDS,         JM_EHEADSIZE, "the request has more than 64 header fields") \
    X(HTTP_NO_HOST,             JM_EREQUEST, "an HTTP/1.1 request needs a Host field") \
    X(HTTP_TWO_HOSTS,           JM_EREQUEST, "there is more than one Host field") \
    X(HTTP_BAD_HOST,            JM_EREQUEST, "the Host field is not a host with an optional port") \
    X(HTTP_TWO_LENGTHS,         JM_EREQUEST, "there is more than one Content-Length field") \
    X(HTTP_BAD_LENGTH,          JM_EREQUEST, "Content-Length is not a decimal number of bytes") \
    X(HTTP_LENGTH_AND_CODING,   JM_EREQUEST, "Content-Length and Transfer-Encoding exclude one another") \
    X(HTTP_TWO_CODINGS,         JM_EREQUEST, "there is more than one Transfer-Encoding field, or chunked is not last") \
    X(HTTP_OTHER_CODING,        JM_ENOTIMPL, "the only transfer coding supported is chunked") \
    X(HTTP_CODING_IN_1_0,       JM_EREQUEST, "HTTP/1.0 knows no Transfer-Encoding") \
    X(HTTP_BAD_CONNECTION,      JM_EREQUEST, "the Connection field is not a list of tokens") \
    X(HTTP_BAD_EXPECT,          JM_EEXPECT,  "the only expectation supported is 100-continue") \
    X(HTTP_BAD_CHUNK_SIZE,      JM_EREQUEST, "a chunk size is not 1 to 16 hex digits") \
    X(HTTP_BAD_CHUNK_EXT,       JM_EREQUEST, "a chunk extension is malformed") \
    X(HTTP_LONG_CHUNK_EXT,      JM_EREQUEST, "the chunk extensions are longer than 4096 bytes") \
    X(HTTP_BAD_CHUNK_END,       JM_EREQUEST, "the data of a chunk is not followed by CR LF") \
    X(HTTP_LONG_TRAILER,        JM_EHEADSIZE, "the trailer section is longer than 8192 bytes")
/* clang-format on */

enum http_method {
    HTTP_OTHER, /* a method with another name, see head.method_name */
#define X(name, word) name,
    HTTP_METHODS(X)
#undef X
};

enum http_problem {
#define X(name, error, words) name,
    HTTP_PROBLEMS(X)
#undef X
};

/* JM_E… of a problem (0 for HTTP_FINE), its sentence without a full stop, and the limit that was
 * met (0: none). */
int http_head_error(enum http_problem problem);
const char *http_head_words(enum http_problem problem);
uint64_t http_head_limit(enum http_problem problem);

enum http_progress {
    HTTP_MORE, /* the input ends too early */
    HTTP_DONE,
    HTTP_BAD, /* see the problem */
};

/* A run of bytes, counted from the first byte of the head. */
struct http_piece {
    uint16_t at;
    uint16_t len;
};

struct http_field {
    struct http_piece name;
    struct http_piece value; /* without whitespace around it */
};

/* One head and how far it is read. Zeroed by http_head_init, filled by http_head_parse. */
struct http_head {
    /* Valid when it is done. */
    enum http_method method;
    struct http_piece method_name;
    struct http_piece path;  /* undecoded; starts with '/', or is "*" (OPTIONS only) */
    struct http_piece query; /* undecoded, without the '?'; empty if there is none */
    bool has_root_path;      /* an URL without a path, "http://host": path is empty, meaning "/" */
    uint8_t minor;           /* HTTP/1.minor: 0 or 1 */
    bool has_length;         /* Content-Length was given */
    bool is_chunked;
    bool keeps_alive; /* by version and Connection field */
    bool expects_continue;
    uint64_t content_length;
    size_t len; /* of the whole head, the empty line included */

    /* When it is bad. */
    enum http_problem problem;
    size_t problem_at; /* offset of the byte or line it was met at */

    /* Where the reading stands. */
    uint32_t line_at; /* start of the first line not read yet */
    uint32_t seen;    /* no LF between line_at and here */
    bool has_line;    /* the request line is read */
    bool has_host;
    bool has_close;
    bool has_keep_alive;
    uint16_t field_count;
    struct http_field fields[HTTP_HEAD_FIELDS];
};

void http_head_init(struct http_head *head);

/* Reads on in `input`, which starts with the first byte of the head and holds at least what it held
 * in the call before. Linear over any number of calls, even byte by byte. On HTTP_DONE `len` says
 * where the body starts. After HTTP_BAD nothing of the connection can be trusted any more. */
enum http_progress http_head_parse(struct http_head *head, struct span input) JM_MUST_CHECK;

/* The value of the first field of that name (case-insensitive) of a head that is done; `base` is
 * its first byte. False if there is none. */
bool http_head_find(const struct http_head *head, const uint8_t *base, const char *name,
                    struct span *ret_value);

/* Whether the byte may stand in a token, and in a field value. */
bool http_head_is_token(uint8_t byte);
bool http_head_is_value(uint8_t byte);

#endif
