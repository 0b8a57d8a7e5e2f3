/*
 * How it works: one easy handle keeps one connection. What must never happen is that a submit is
 * sent twice without the caller's knowledge, and libcurl itself repeats a request, POST or not,
 * when a kept-alive connection turns out to be dead before the first byte of the answer (the broker
 * may well have read it before it died). libcurl calls on_request just before each sending, so that
 * is where the second sending is refused, and where `is_sent` becomes true: what fails before that
 * was certainly not done.
 */
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/transport.h"
#include "lib/clock.h"
#include "schema/errors.h"

enum {
    FIRST_PAUSE_MS = 20,
    LONGEST_PAUSE_MS = 1000,
};

static int on_request(void *context, char *to_ip, char *from_ip, int to_port, int from_port)
{
    struct transport *t = context;

    (void)to_ip;
    (void)from_ip;
    (void)to_port;
    (void)from_port;
    if (t->is_sent && !t->is_repeatable)
        return CURL_PREREQFUNC_ABORT;
    t->is_sent = true;
    return CURL_PREREQFUNC_OK;
}

/* The media type alone; parameters say nothing to us. */
static void read_type(struct transport *t)
{
    const char *type = NULL;
    size_t i = 0;

    if (curl_easy_getinfo(t->curl, CURLINFO_CONTENT_TYPE, &type) == CURLE_OK && type != NULL)
        for (;
             i + 1 < sizeof(t->answer->type) && type[i] != '\0' && type[i] != ';' && type[i] != ' ';
             i++)
            t->answer->type[i] = (char)tolower((unsigned char)type[i]);
    t->answer->type[i] = '\0';
}

static size_t on_body(char *bytes, size_t size, size_t n, void *context)
{
    struct transport *t = context;
    struct buf *body = &t->answer->body;

    assert(size == 1);
    if (t->stream != NULL) {
        read_type(t);
        if (strcmp(t->answer->type, t->stream->type) == 0)
            return t->stream->on_receive(t->stream->context, span_of(bytes, n)) ? n : 0;
    }
    t->is_too_large = n > t->max_answer_bytes - body->len;
    if (!t->is_too_large)
        buf_put(body, bytes, n);
    return t->is_too_large || buf_has_failed(body) ? 0 : n;
}

/* ---- a stream ---- */

static size_t on_send(char *bytes, size_t size, size_t n, void *context)
{
    struct transport *t = context;
    int64_t len = t->stream->on_send(t->stream->context, bytes, size * n);

    /* How long that took is the caller's affair. */
    t->moved_ms = (int64_t)clock_mono_ms(clock_real());
    t->is_waiting = len == TRANSPORT_LATER;
    if (t->is_waiting)
        return CURL_READFUNC_PAUSE;
    return len < 0 ? CURL_READFUNC_ABORT : (size_t)len;
}

/* A stream may last as long as it moves; libcurl asks once a second or oftener. */
static int on_progress(void *context, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
                       curl_off_t up)
{
    struct transport *t = context;
    int64_t now_ms = (int64_t)clock_mono_ms(clock_real());

    (void)down_total;
    (void)up_total;
    if (up + down != t->moved_bytes) {
        t->moved_bytes = up + down;
        t->moved_ms = now_ms;
    }
    if (t->is_waiting) {
        t->is_waiting = false;
        (void)curl_easy_pause(t->curl, CURLPAUSE_CONT);
    }
    t->is_stalled = now_ms - t->moved_ms > t->request_timeout_ms;
    return t->is_stalled;
}

/* ---- opening ---- */

static bool set_unix_socket(struct transport *t, const char *path)
{
    size_t len = strlen(path);

    if (len == 0 || len > TRANSPORT_SOCKET_PATH_BYTES)
        return false;
    return curl_easy_setopt(t->curl, CURLOPT_UNIX_SOCKET_PATH, path) == CURLE_OK;
}

static bool is_web_url(const char *url)
{
    const char *host = strstr(url, "://");

    if (host == NULL || strpbrk(url, " \t\r\n?#") != NULL)
        return false;
    host += 3;
    return (strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0) && *host != '\0' &&
           *host != '/';
}

static int set_url(struct transport *t, const char *url)
{
    size_t len;

    if (strncmp(url, "unix:", 5) == 0) {
        if (!set_unix_socket(t, url + 5))
            return JM_EINVAL;
        url = "http://localhost";
    } else if (!is_web_url(url)) {
        return JM_EINVAL;
    }
    len = strlen(url);
    while (url[len - 1] == '/')
        len--;
    t->base = strndup(url, len);
    return t->base == NULL ? JM_ENOMEM : 0;
}

/* The options that hold for every request. */
static bool set_always(struct transport *t, const struct transport_options *options)
{
    CURL *c = t->curl;

    return curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_USERAGENT, "libjobmill/" JM_VERSION) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)options->connect_timeout_ms) ==
               CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_ERRORBUFFER, t->error) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_READFUNCTION, on_send) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_READDATA, t) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_XFERINFODATA, t) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_PREREQFUNCTION, on_request) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_PREREQDATA, t) == CURLE_OK;
}

int transport_init(struct transport *t, const struct transport_options *options)
{
    int error = JM_ENOMEM;

    *t = (struct transport){
        .request_timeout_ms = options->request_timeout_ms,
        .retry_ms = options->retry_ms,
        .max_answer_bytes = options->max_answer_bytes,
    };
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return JM_ENOMEM;
    t->curl = curl_easy_init();
    if (t->curl == NULL || !set_always(t, options))
        goto fail;
    error = set_url(t, options->url);
    if (error != 0)
        goto fail;
    return 0;
fail:
    transport_done(t);
    return error;
}

void transport_done(struct transport *t)
{
    curl_easy_cleanup(t->curl);
    curl_global_cleanup();
    free(t->base);
    t->curl = NULL;
    t->base = NULL;
}

void transport_answer_init(struct transport_answer *answer)
{
    *answer = (struct transport_answer){0};
    buf_init(&answer->body, SIZE_MAX);
}

void transport_answer_done(struct transport_answer *answer)
{
    buf_done(&answer->body);
}

/* ---- one sending ---- */

static bool add_header(struct transport *t, const char *line)
{
    struct curl_slist *longer = curl_slist_append(t->headers, line);

    if (longer != NULL)
        t->headers = longer;
    return longer != NULL;
}

static bool add_header_of(struct transport *t, const char *fmt, ...) JM_PRINTF(2, 3);

static bool add_header_of(struct transport *t, const char *fmt, ...)
{
    char line[320];
    va_list args;
    int len;

    va_start(args, fmt);
    len = vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    assert(len > 0 && (size_t)len < sizeof(line));
    return add_header(t, line);
}

static bool set_headers(struct transport *t, const struct transport_request *request)
{
    const char *type = request->stream != NULL ? request->stream->type : "application/msgpack";

    /* Without the empty Expect, libcurl waits for "100 Continue" before a large body. */
    return add_header_of(t, "Accept: %s, application/problem+json;q=0.9", type) &&
           add_header(t, "Expect:") && add_header_of(t, "Content-Type: %s", type) &&
           (request->stream == NULL || add_header(t, "Transfer-Encoding: chunked")) &&
           (request->idempotency_key == NULL ||
            add_header_of(t, "Idempotency-Key: %s", request->idempotency_key)) &&
           curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, t->headers) == CURLE_OK;
}

static bool set_body(CURL *c, const struct transport_request *request)
{
    if (request->stream != NULL)
        return curl_easy_setopt(c, CURLOPT_POST, 1L) == CURLE_OK &&
               curl_easy_setopt(c, CURLOPT_POSTFIELDS, NULL) == CURLE_OK &&
               curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)-1) == CURLE_OK;
    return curl_easy_setopt(c, CURLOPT_POST, 1L) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_POSTFIELDS,
                            request->has_body ? (const char *)request->body.data : "") ==
               CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len) ==
               CURLE_OK;
}

/* libcurl knows a request by whether it has a body; its method is only a word. */
static bool set_method(struct transport *t, const struct transport_request *request)
{
    bool is_post = strcmp(request->method, "POST") == 0;
    bool is_plain = is_post || strcmp(request->method, "GET") == 0;

    if (is_post || request->has_body) {
        if (!set_body(t->curl, request))
            return false;
    } else if (curl_easy_setopt(t->curl, CURLOPT_HTTPGET, 1L) != CURLE_OK) {
        return false;
    }
    return curl_easy_setopt(t->curl, CURLOPT_CUSTOMREQUEST, is_plain ? NULL : request->method) ==
           CURLE_OK;
}

/* A stream has no time of its own, but must move. */
static bool set_time(struct transport *t, const struct transport_request *request)
{
    bool is_stream = request->stream != NULL;
    long timeout_ms = is_stream ? 0 : (long)(t->request_timeout_ms + request->wait_ms);

    t->stream = request->stream;
    t->moved_bytes = 0;
    t->moved_ms = (int64_t)clock_mono_ms(clock_real());
    t->is_waiting = false;
    t->is_stalled = false;
    return curl_easy_setopt(t->curl, CURLOPT_TIMEOUT_MS, timeout_ms) == CURLE_OK &&
           curl_easy_setopt(t->curl, CURLOPT_NOPROGRESS, is_stream ? 0L : 1L) == CURLE_OK;
}

static bool set_request(struct transport *t, const struct transport_request *request)
{
    struct buf url;
    bool is_set;

    buf_init(&url, 1 << 20);
    buf_put_str(&url, t->base);
    buf_put_str(&url, request->target);
    buf_put_u8(&url, 0);
    is_set = !buf_has_failed(&url) && set_method(t, request) && set_headers(t, request) &&
             curl_easy_setopt(t->curl, CURLOPT_URL, (const char *)url.data) == CURLE_OK &&
             set_time(t, request) && curl_easy_setopt(t->curl, CURLOPT_WRITEDATA, t) == CURLE_OK;
    buf_done(&url);
    return is_set;
}

void transport_get_header(struct transport *t, const char *name, char *ret_value, size_t size)
{
    struct curl_header *header;
    bool has_it = curl_easy_header(t->curl, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK;

    snprintf(ret_value, size, "%s", has_it ? header->value : "");
}

/* libcurl's code as one of ours, when no whole answer came. JM_EFATE: broken after it was sent. */
static int translate(struct transport *t, CURLcode code)
{
    if (code == CURLE_OUT_OF_MEMORY)
        return JM_ENOMEM;
    if (code == CURLE_WRITE_ERROR) {
        snprintf(t->error, sizeof(t->error), "the answer is larger than %zu bytes",
                 t->max_answer_bytes);
        return t->is_too_large ? JM_ELIMIT : JM_ENOMEM;
    }
    if (t->is_stalled)
        return JM_ETIMEDOUT;
    if (!t->is_sent)
        return code == CURLE_URL_MALFORMAT ? JM_EINVAL : JM_ECONNECT;
    if (code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_WEIRD_SERVER_REPLY)
        return JM_EANSWER;
    return code == CURLE_OPERATION_TIMEDOUT ? JM_ETIMEDOUT : JM_EFATE;
}

static int send_once(struct transport *t, const struct transport_request *request)
{
    CURLcode code;
    int error = JM_ENOMEM;

    t->is_sent = false;
    t->error[0] = '\0';
    t->answer->status = 0;
    t->answer->type[0] = '\0';
    buf_clear(&t->answer->body);
    if (set_request(t, request)) {
        code = curl_easy_perform(t->curl);
        error = code == CURLE_OK ? 0 : translate(t, code);
        if (error != 0 && t->error[0] == '\0')
            snprintf(t->error, sizeof(t->error), "%s", curl_easy_strerror(code));
    }
    if (error == 0) {
        (void)curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &t->answer->status);
        read_type(t);
    }
    curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(t->headers);
    t->headers = NULL;
    return error;
}

/* ---- repeats ---- */

void transport_sleep_ms(int64_t ms)
{
    struct timespec rest = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    while (nanosleep(&rest, &rest) != 0 && errno == EINTR)
        ;
}

/* The pause before the repeat with this number, from half of it to all of it, so that many clients
 * of a broker that comes back do not arrive together. */
static int64_t pause_ms(unsigned repeat)
{
    int64_t full = FIRST_PAUSE_MS;

    while (repeat-- > 0 && full < LONGEST_PAUSE_MS)
        full *= 2;
    return full / 2 + (int64_t)(clock_mono_ns(clock_real()) / 1000 % (uint64_t)(full / 2 + 1));
}

/* How long the broker asks to be left alone by an answer that is a refusal for the moment; a date
 * is not understood. */
static int64_t asked_ms(struct transport *t)
{
    char text[32];
    char *end;
    long seconds;

    transport_get_header(t, "Retry-After", text, sizeof(text));
    seconds = strtol(text, &end, 10);
    return end != text && *end == '\0' && seconds > 0 && seconds <= INT32_MAX ? seconds * 1000LL
                                                                              : 0;
}

/* A broken connection, or a broker that says "not now": never a timeout, which has cost enough. */
static bool is_worth_repeating(const struct transport *t, int error)
{
    if (error == JM_ECONNECT)
        return true;
    if (!t->is_repeatable)
        return false;
    return error == JM_EFATE ||
           (error == 0 && (t->answer->status == 503 || t->answer->status == 429));
}

/* What the failure means to the caller. A read that broke did no harm; anything else that has ever
 * left, in whichever of the repeats, may have been done. */
static int judge(const struct transport_request *request, int error, bool was_sent)
{
    bool is_silent = error == JM_ECONNECT || error == JM_ETIMEDOUT || error == JM_EFATE;

    if (strcmp(request->method, "GET") == 0)
        return error == JM_EFATE ? JM_ECONNECT : error;
    return is_silent && was_sent ? JM_EFATE : error;
}

int transport_perform(struct transport *t, const struct transport_request *request,
                      struct transport_answer *ret_answer)
{
    struct clock *clock = clock_real();
    int64_t give_up_ms = 0;
    bool was_sent = false;
    int error;

    t->answer = ret_answer;
    t->is_repeatable = request->idempotency_key != NULL || request->is_idempotent ||
                       strcmp(request->method, "GET") == 0;
    for (unsigned repeat = 0;; repeat++) {
        int64_t now_ms, pause;

        error = send_once(t, request);
        was_sent = was_sent || t->is_sent;
        if (!is_worth_repeating(t, error))
            break;
        now_ms = (int64_t)clock_mono_ms(clock);
        if (repeat == 0)
            give_up_ms = now_ms + t->retry_ms;
        pause = pause_ms(repeat) + (error == 0 ? asked_ms(t) : 0);
        if (t->retry_ms < 0 || now_ms + pause > give_up_ms)
            break;
        transport_sleep_ms(pause);
    }
    t->answer = NULL;
    return judge(request, error, was_sent);
}
