/*
 * Requests whose body is streamed, and answers that are.
 */
#include "tests/unit/http_fixture.h"

#include <signal.h>

#define HOST "Host: a\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"
#define POST(path, headers) "POST " path " HTTP/1.1\r\n" HOST headers "\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n"
#define OK(length, body)                                                            \
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: " length "\r\n" \
    "\r\n" body
#define OK_CHUNKED \
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"

static const struct http_conf defaults;

/* What the handler does with a streamed request is in its path: /s/echo streams it back, /s/count
 * answers with its size at the end, /s/refuse answers at once, /s/early in the middle, /s/drop
 * drops in the middle. /s/…/later leaves the completion to the test. */
struct stream {
    struct fixture *f;
    struct http_exchange *x; /* the one that is not completed, or NULL */
    size_t taken;
    size_t allowance; /* takes no more than that */
    unsigned ends;
    unsigned released;
    int broken;
};

static bool is_later(const struct http_exchange *x)
{
    return x->path.len > 6 && memcmp(x->path.data + x->path.len - 6, "/later", 6) == 0;
}

static void complete(struct stream *s)
{
    struct http_exchange *x = s->x;

    s->x = NULL;
    if (x->is_streamed) {
        http_exchange_finish(x);
    } else if (s->broken != 0) {
        http_exchange_answer_error(x, s->broken, "it broke");
    } else {
        buf_printf(&x->body_out, "%zu", s->taken);
        http_exchange_answer(x, 200, "text/plain");
    }
}

static void on_head(void *owner, struct http_exchange *x, struct http_ruling *ruling)
{
    fixture_on_head(owner, x, ruling);
    ruling->streams = path_starts(x, "/s/") || path_starts(x, "/refuse");
}

static void on_released(void *owner)
{
    ((struct stream *)owner)->released++;
}

static void on_request(void *owner, struct http_exchange *x)
{
    struct stream *s = owner;

    if (!path_starts(x, "/s/")) {
        fixture_on_request(s->f, x);
        return;
    }
    assert_null(s->x);
    assert_int_equal(x->body.len, 0);
    s->f->given++;
    s->taken = 0;
    s->x = x;
    x->on_released = on_released;
    x->released_owner = s;
    if (path_starts(x, "/s/refuse")) {
        s->x = NULL;
        http_exchange_answer_error(x, JM_EOVERLOAD, "not now");
    } else if (path_starts(x, "/s/echo")) {
        http_exchange_begin(x, 200, "text/plain");
    }
}

static size_t on_body(void *owner, struct http_exchange *x, struct span data)
{
    struct stream *s = owner;
    size_t room = s->allowance - s->taken;
    size_t used = data.len < room ? data.len : room;

    assert_ptr_equal(x, s->x);
    assert_true(data.len > 0);
    assert_int_equal(s->ends, 0);
    s->taken += used;
    if (data.data[0] == '!')
        http_exchange_renew(x);
    if (path_starts(x, "/s/echo")) {
        buf_put(&x->body_out, data.data, used);
        http_exchange_push(x);
    } else if (path_starts(x, "/s/early")) {
        http_exchange_begin(x, 200, "text/plain");
        buf_put_str(&x->body_out, "enough");
        complete(s);
    } else if (path_starts(x, "/s/drop")) {
        s->x = NULL;
        http_exchange_drop(x);
    }
    return used;
}

static void on_end(void *owner, struct http_exchange *x, const struct problem *broken)
{
    struct stream *s = owner;

    assert_ptr_equal(x, s->x);
    s->ends++;
    s->broken = broken != NULL ? broken->error : 0;
    if (!is_later(x))
        complete(s);
}

static void on_gone(void *owner, struct http_exchange *x)
{
    struct stream *s = owner;

    if (x != s->x) {
        fixture_on_gone(s->f, x);
        return;
    }
    assert_true(x->is_gone);
    s->f->gone++;
    if (!is_later(x))
        complete(s);
}

static struct stream *stream_open(const struct http_conf *conf)
{
    struct stream *s = calloc(1, sizeof(*s));

    assert_non_null(s);
    s->f = fixture_open(conf);
    s->allowance = SIZE_MAX;
    s->f->handler = (struct http_handler){.owner = s,
                                          .on_head = on_head,
                                          .on_request = on_request,
                                          .on_gone = on_gone,
                                          .on_body = on_body,
                                          .on_end = on_end};
    return s;
}

static void stream_close(struct stream *s)
{
    assert_null(s->x);
    fixture_close(s->f);
    free(s);
}

/* ---- the body of the request ---- */

static void a_body_is_handed_over_as_it_comes(void **state)
{
    struct stream *s = stream_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, s->f);
    client_say(&c, POST("/s/count", "Content-Length: 6\r\n"));
    assert_non_null(s->x);
    client_say(&c, "ab");
    assert_int_equal(s->taken, 2);
    client_say(&c, "cdef" GET("/ping"));
    client_hears(&c, OK("1", "6") OK("4", "pong"));
    s->ends = 0;
    client_send(
        &c, POST("/s/count", CHUNKED) "2\r\nab\r\n3;x\r\ncde\r\n0\r\nT: v\r\n\r\n" GET("/ping"));
    client_hears(&c, OK("1", "5") OK("4", "pong"));
    assert_int_equal(s->ends, 1);
    client_close(&c);
    stream_close(s);
}

static void an_empty_body_ends_at_once(void **state)
{
    struct stream *s = stream_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, s->f);
    client_send(&c, POST("/s/count", "Content-Length: 0\r\n") GET("/ping"));
    client_hears(&c, OK("1", "0") OK("4", "pong"));
    s->ends = 0;
    client_send(&c, POST("/s/count", CHUNKED) "0\r\n\r\n" POST("/s/count", "") GET("/ping"));
    client_hears(&c, OK("1", "0") OK("1", "0") OK("4", "pong"));
    client_close(&c);
    stream_close(s);
}

static void a_body_has_no_limit_as_a_whole(void **state)
{
    static uint8_t body[3 << 20];
    struct stream *s = stream_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, s->f);
    client_send(&c, POST("/s/count", "Content-Length: 3145728\r\n"));
    client_send_bytes(&c, body, sizeof(body));
    client_hears(&c, OK("7", "3145728"));
    client_close(&c);
    stream_close(s);
}

static void a_client_waits_while_the_handler_takes_nothing(void **state)
{
    static uint8_t body[4 << 20];
    struct stream *s = stream_open(&defaults);
    size_t sent = 0;
    ssize_t n;
    struct client c;

    (void)state;
    s->allowance = 1000;
    client_open(&c, s->f);
    client_send(&c, POST("/s/count", "Content-Length: 4194304\r\n"));
    for (int idle = 0; idle < 50; idle++) {
        while ((n = send(c.fd, body, sizeof(body) - sent, MSG_DONTWAIT | MSG_NOSIGNAL)) > 0)
            sent += (size_t)n;
        fixture_settle(s->f);
    }
    assert_int_equal(s->taken, 1000);
    assert_true(sent < 1 << 20); /* the rest waits at the client */
    s->allowance = 1500;
    http_exchange_resume(s->x);
    fixture_settle(s->f);
    assert_int_equal(s->taken, 1500);
    s->allowance = SIZE_MAX;
    http_exchange_resume(s->x);
    client_send_bytes(&c, body, sizeof(body) - sent);
    client_hears(&c, OK("7", "4194304"));
    client_close(&c);
    stream_close(s);
}

/* Chunked, one byte of allowance at a time, so that every place of a pause comes up. */
static void a_pause_may_be_anywhere(void **state)
{
    static const char text[] = "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n" GET("/ping");
    struct stream *s = stream_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, s->f);
    s->allowance = 0;
    client_say(&c, POST("/s/echo", CHUNKED));
    client_hears(&c, OK_CHUNKED);
    client_say(&c, text);
    for (int i = 0; i < 5; i++) {
        static const char *const echoed[] = {"1\r\na\r\n", "1\r\nb\r\n", "1\r\nc\r\n", "1\r\nd\r\n",
                                             "1\r\ne\r\n0\r\n\r\n" OK("4", "pong")};

        client_hears_nothing(&c);
        s->allowance++;
        http_exchange_resume(s->x);
        client_hears(&c, echoed[i]);
    }
    client_close(&c);
    stream_close(s);
}

static void a_stream_begins_when_what_was_before_it_is_answered(void **state)
{
    struct stream *s = stream_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, s->f);
    client_say(&c, GET("/read/1") POST("/s/count", "Content-Length: 3\r\n") "abc" GET("/read/2"));
    assert_held(s->f, "1");
    assert_null(s->x);
    release(s->f, '1');
    fixture_settle(s->f);
    client_hears(&c, OK("1", "1") OK("1", "3"));
    assert_held(s->f, "2");
    release(s->f, '2');
    client_hears(&c, OK("1", "2"));
    client_close(&c);
    stream_close(s);
}

static void the_interim_answer_comes_when_the_handler_has_it(void **state)
{
    struct stream *s = stream_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, s->f);
    client_say(&c,
               GET("/read/1") POST("/s/count", "Expect: 100-continue\r\nContent-Length: 3\r\n"));
    client_hears_nothing(&c);
    release(s->f, '1');
    client_hears(&c, OK("1", "1") "HTTP/1.1 100 Continue\r\n\r\n");
    client_send(&c, "abc");
    client_hears(&c, OK("1", "3"));
    client_send(&c, POST("/s/refuse", "Expect: 100-continue\r\nContent-Length: 3\r\n"));
    client_hears_problem(&c, 503, "overloaded", "not now");
    client_close(&c);
    stream_close(s);
}

static void a_refusal_ends_the_connection_if_the_body_is_not_read(void **state)
{
    static uint8_t body[1 << 20];
    struct stream *s = stream_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, s->f);
    client_send(&c, POST("/s/refuse", "Content-Length: 1048576\r\n"));
    client_send_bytes(&c, body, sizeof(body)); /* read and thrown away: no reset */
    client_hears_problem(&c, 503, "overloaded", "not now");
    client_close(&c);
    stream_close(s);
}

/* ---- the answer ---- */

static void an_answer_goes_out_while_the_request_comes_in(void **state)
{
    struct stream *s = stream_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, s->f);
    client_say(&c, POST("/s/echo", "Content-Length: 5\r\n"));
    client_hears(&c, OK_CHUNKED);
    client_send(&c, "ab");
    client_hears(&c, "2\r\nab\r\n");
    client_send(&c, "cde" GET("/ping"));
    client_hears(&c, "3\r\ncde\r\n0\r\n\r\n" OK("4", "pong"));
    client_close(&c);
    stream_close(s);
}

static void bytes_may_come_one_at_a_time(void **state)
{
    static const char text[] =
        POST("/s/echo", CHUNKED) "3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n" GET("/ping");
    struct stream *s = stream_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, s->f);
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        client_send_bytes(&c, text + i, 1);
        fixture_settle(s->f);
    }
    client_hears(&c,
                 OK_CHUNKED "1\r\na\r\n1\r\nb\r\n1\r\nc\r\n1\r\nd\r\n0\r\n\r\n" OK("4", "pong"));
    client_close(&c);
    stream_close(s);
}

static void an_answer_may_be_completed_later(void **state)
{
    struct stream *s = stream_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, s->f);
    client_say(&c, POST("/s/echo/later", "Content-Length: 2\r\n") "ab" GET("/ping"));
    client_hears(&c, OK_CHUNKED "2\r\nab\r\n");
    client_hears_nothing(&c);
    assert_int_equal(s->ends, 1);
    buf_put_str(&s->x->body_out, "!");
    complete(s);
    client_hears(&c, "1\r\n!\r\n0\r\n\r\n" OK("4", "pong"));
    client_close(&c);
    stream_close(s);
}

static void http_1_0_has_its_end_by_the_close(void **state)
{
    struct stream *s = stream_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, s->f);
    client_send(&c,
                "POST /s/echo HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc");
    client_hears(&c, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nabc");
    client_hears_end(&c);
    client_close(&c);
    stream_close(s);
}

static void to_a_head_nothing_is_streamed(void **state)
{
    struct stream *s = stream_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, s->f);
    client_send(&c, "HEAD /s/echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc" GET("/ping"));
    client_hears(&c, OK_CHUNKED OK("4", "pong"));
    client_close(&c);
    stream_close(s);
}

static void an_answer_may_end_before_the_request(void **state)
{
    struct stream *s = stream_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, s->f);
    client_send(&c, POST("/s/early", "Content-Length: 30\r\n") "ab");
    client_hears(&c, OK_CHUNKED "6\r\nenough\r\n0\r\n\r\n");
    client_hears_end(&c);
    client_close(&c);
    stream_close(s);
}

static void a_drop_in_the_middle_closes(void **state)
{
    struct stream *s = stream_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, s->f);
    client_send(&c, POST("/s/drop", CHUNKED) "2\r\nab\r\n");
    client_hears_end(&c);
    client_close(&c);
    stream_close(s);
}

static size_t unsent_bytes(const struct stream *s)
{
    return s->x == NULL ? 0 : s->x->body_out.len + s->x->stream_out.len - s->x->sent_bytes;
}

static void what_a_client_does_not_read_stops_what_it_sends(void **state)
{
    static uint8_t body[1 << 20], some[1 << 15];
    const struct http_conf conf = {.max_answer_bytes = 1 << 20};
    struct stream *s = stream_open(&conf);
    size_t sent = 0;
    size_t last;
    ssize_t n;
    struct client c;

    (void)state;
    memset(body, 'z', sizeof(body));
    client_open(&c, s->f);
    client_send(&c, POST("/s/echo", "Content-Length: 20971520\r\n"));
    do {
        last = sent;
        for (int i = 0; i < 20; i++) {
            while ((n = send(c.fd, body, sizeof(body), MSG_DONTWAIT | MSG_NOSIGNAL)) > 0)
                sent += (size_t)n;
            fixture_settle(s->f);
        }
    } while (sent != last);
    assert_true(sent < 5 << 20);
    while (sent < 20 << 20) { /* it begins to read, and both go on */
        size_t left = (20 << 20) - sent;

        n = send(c.fd, body, left < sizeof(body) ? left : sizeof(body),
                 MSG_DONTWAIT | MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
        n = recv(c.fd, some, sizeof(some), MSG_DONTWAIT);
        buf_put(&c.got, some, n > 0 ? (size_t)n : 0);
        fixture_turn(s->f, c.fd);
        assert_true(unsent_bytes(s) <= 1 << 20); /* three quarters, and what one turn brings */
    }
    WAIT_FOR(s->f, (client_drain(&c), c.got.len > 20 << 20 &&
                                          memcmp(c.got.data + c.got.len - 5, "0\r\n\r\n", 5) == 0));
    client_close(&c);
    stream_close(s);
}

static void a_client_that_never_reads_is_cut_off(void **state)
{
    static uint8_t body[1 << 20];
    const struct http_conf conf = {.max_answer_bytes = 1 << 20, .write_ms = 80};
    struct stream *s = stream_open(&conf);
    struct client c;

    (void)state;
    client_open(&c, s->f);
    client_send(&c, POST("/s/echo", "Content-Length: 20971520\r\n"));
    while (http_server_stats(s->f->server)->stalled == 0) {
        (void)send(c.fd, body, sizeof(body), MSG_DONTWAIT | MSG_NOSIGNAL);
        fixture_turn(s->f, -1);
    }
    assert_int_equal(s->f->gone, 1);
    assert_int_equal(s->ends, 0);
    WAIT_FOR(s->f, s->released == 1);
    client_close(&c);
    stream_close(s);
}

/* As most clients do with a body that they have in memory. */
static void a_client_that_reads_only_behind_its_body_is_not_cut_off(void **state)
{
    static uint8_t first[1 << 19], piece[1 << 15];
    static const struct timespec longer = {.tv_nsec = 120 * 1000000};
    const struct http_conf conf = {.max_answer_bytes = 1 << 20, .write_ms = 80};
    struct stream *s = stream_open(&conf);
    struct client c;

    (void)state;
    client_open(&c, s->f);
    client_send(&c, POST("/s/echo", "Content-Length: 622592\r\n"));
    client_send_bytes(&c, first, sizeof(first)); /* more than a socket takes of its echo */
    fixture_settle(s->f);
    for (int i = 0; i < 3; i++) {
        client_send_bytes(&c, piece, sizeof(piece));
        assert_int_equal(nanosleep(&longer, NULL), 0);
        fixture_settle(s->f);
    }
    assert_int_equal(http_server_stats(s->f->server)->stalled, 0);
    WAIT_FOR(s->f, (client_drain(&c),
                    c.got.len > 622592 && memcmp(c.got.data + c.got.len - 5, "0\r\n\r\n", 5) == 0));
    client_close(&c);
    stream_close(s);
}

/* ---- what goes wrong in the middle ---- */

static void a_framing_error_is_answered_by_the_handler(void **state)
{
    struct stream *s = stream_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, s->f);
    client_send(&c, POST("/s/count", CHUNKED) "2\r\nab\r\nZ\r\n" GET("/ping"));
    client_hears_problem(&c, 400, "bad_request", "it broke");
    assert_int_equal(s->ends, 1);
    assert_int_equal(s->taken, 2);
    client_close(&c);
    stream_close(s);
}

static void behind_the_status_line_a_framing_error_only_ends_the_answer(void **state)
{
    struct stream *s = stream_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, s->f);
    client_send(&c, POST("/s/echo", CHUNKED) "2\r\nab\r\nZ\r\n" GET("/ping"));
    client_hears(&c, OK_CHUNKED "2\r\nab\r\n"); /* and no last chunk */
    client_hears_end(&c);
    assert_int_equal(s->broken, JM_EREQUEST);
    assert_int_equal(s->released, 1);
    client_close(&c);
    stream_close(s);
}

static void a_slow_body_is_cut_off(void **state)
{
    const struct http_conf conf = {.body_ms = 60};
    struct stream *s = stream_open(&conf);
    struct client c;

    (void)state;
    client_open(&c, s->f);
    client_send(&c, POST("/s/count", "Content-Length: 3\r\n") "a");
    client_hears_problem(&c, 408, "request_timeout", "it broke");
    client_close(&c);
    client_open(&c, s->f);
    s->ends = 0;
    client_send(&c, POST("/s/echo", "Content-Length: 3\r\n") "a");
    client_hears(&c, OK_CHUNKED "1\r\na\r\n");
    client_hears_end(&c);
    assert_int_equal(s->broken, JM_ETIMEOUT);
    client_close(&c);
    stream_close(s);
}

static void what_is_worth_it_buys_another_time_limit(void **state)
{
    const struct http_conf conf = {.body_ms = 200};
    struct stream *s = stream_open(&conf);
    uint64_t begun_ms = clock_mono_ms(clock_real());
    struct client c;

    (void)state;
    client_open(&c, s->f);
    client_say(&c, POST("/s/count", "Content-Length: 5\r\n"));
    for (uint64_t i = 1; i <= 4; i++) {
        while (clock_mono_ms(clock_real()) < begun_ms + i * 100)
            fixture_turn(s->f, -1);
        client_say(&c, "!");
    }
    WAIT_FOR(s->f, s->ends > 0);
    assert_int_equal(s->broken, JM_ETIMEOUT); /* only behind the last */
    assert_int_equal(s->taken, 4);
    assert_in_range(clock_mono_ms(clock_real()) - begun_ms, 500, 10000);
    client_close(&c);
    stream_close(s);
}

static void the_time_in_which_the_handler_takes_nothing_does_not_count(void **state)
{
    const struct http_conf conf = {.body_ms = 60};
    struct stream *s = stream_open(&conf);
    uint64_t until_ms;
    struct client c;

    (void)state;
    s->allowance = 1;
    client_open(&c, s->f);
    client_say(&c, POST("/s/count", "Content-Length: 3\r\n") "abc");
    until_ms = clock_mono_ms(clock_real()) + 150;
    while (clock_mono_ms(clock_real()) < until_ms)
        fixture_turn(s->f, -1);
    assert_int_equal(s->ends, 0);
    s->allowance = 3;
    http_exchange_resume(s->x);
    client_hears(&c, OK("1", "3"));
    client_close(&c);
    stream_close(s);
}

static void a_client_that_goes_in_the_middle_is_told_once(void **state)
{
    static const char *const paths[] = {POST("/s/count", CHUNKED), POST("/s/echo", CHUNKED),
                                        POST("/s/count/later", CHUNKED),
                                        POST("/s/echo/later", CHUNKED)};
    struct stream *s = stream_open(&defaults);
    struct client c;

    (void)state;
    for (unsigned i = 0; i < JM_COUNT_OF(paths); i++) {
        client_open(&c, s->f);
        client_say(&c, paths[i]);
        client_say(&c, "2\r\nab\r\n5\r\nc");
        client_close(&c);
        WAIT_FOR(s->f, s->f->gone == i + 1);
        if (s->x != NULL) {
            WAIT_FOR(s->f, i < 2 || http_server_stats(s->f->server)->connections == 0 ||
                               s->x->conn != NULL);
            complete(s);
        }
        WAIT_FOR(s->f, http_server_stats(s->f->server)->connections == 0);
    }
    assert_int_equal(s->ends, 0);
    stream_close(s);
}

static void a_client_that_half_closes_behind_its_body_gets_the_answer(void **state)
{
    struct stream *s = stream_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, s->f);
    s->allowance = 1;
    client_send(&c, POST("/s/echo/later", CHUNKED) "2\r\nab\r\n0\r\n\r\n");
    assert_int_equal(shutdown(c.fd, SHUT_WR), 0);
    fixture_settle(s->f);
    assert_int_equal(s->f->gone, 0); /* first what it has sent */
    s->allowance = 2;
    http_exchange_resume(s->x);
    WAIT_FOR(s->f, s->ends == 1);
    WAIT_FOR(s->f, s->f->gone == 1);
    complete(s);
    client_hears(&c, OK_CHUNKED "1\r\na\r\n1\r\nb\r\n0\r\n\r\n");
    client_hears_end(&c);
    client_close(&c);
    stream_close(s);
}

static void a_client_that_half_closes_in_the_middle_has_gone(void **state)
{
    struct stream *s = stream_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, s->f);
    client_send(&c, GET("/read/1") POST("/s/echo", CHUNKED) "2\r\nab\r\n1");
    assert_int_equal(shutdown(c.fd, SHUT_WR), 0);
    fixture_settle(s->f);
    release(s->f, '1');
    client_hears(&c, OK("1", "1") OK_CHUNKED "2\r\nab\r\n"); /* and no last chunk */
    client_hears_end(&c);
    assert_int_equal(s->f->gone, 1);
    assert_int_equal(s->ends, 0);
    client_close(&c);
    stream_close(s);
}

static void a_client_that_goes_in_the_body_of_a_refused_request_is_let_go(void **state)
{
    struct stream *s = stream_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, s->f);
    client_say(&c, POST("/refuse", "Content-Length: 30\r\n") "ab");
    client_close(&c);
    WAIT_FOR(s->f, http_server_stats(s->f->server)->connections == 0);
    assert_int_equal(s->f->given, 0);
    stream_close(s);
}

static void a_stop_lets_a_stream_end(void **state)
{
    struct stream *s = stream_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, s->f);
    client_say(&c, POST("/s/echo", "Content-Length: 3\r\n") "a");
    fixture_stop(s->f, 5000);
    client_say(&c, "bc");
    client_hears(&c, OK_CHUNKED "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n");
    client_hears_end(&c);
    client_close(&c);
    WAIT_FOR(s->f, s->f->is_stopped);
    stream_close(s);
}

static void a_stop_has_its_deadline_for_streams_too(void **state)
{
    struct stream *s = stream_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, s->f);
    client_say(&c, POST("/s/echo/later", "Content-Length: 3\r\n") "a");
    fixture_stop(s->f, 30);
    WAIT_FOR(s->f, s->f->gone == 1);
    assert_false(s->f->is_stopped);
    http_exchange_push(s->x);
    complete(s);
    WAIT_FOR(s->f, s->f->is_stopped);
    client_close(&c);
    stream_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_body_is_handed_over_as_it_comes),
        cmocka_unit_test(an_empty_body_ends_at_once),
        cmocka_unit_test(a_body_has_no_limit_as_a_whole),
        cmocka_unit_test(a_client_waits_while_the_handler_takes_nothing),
        cmocka_unit_test(a_pause_may_be_anywhere),
        cmocka_unit_test(a_stream_begins_when_what_was_before_it_is_answered),
        cmocka_unit_test(the_interim_answer_comes_when_the_handler_has_it),
        cmocka_unit_test(a_refusal_ends_the_connection_if_the_body_is_not_read),
        cmocka_unit_test(an_answer_goes_out_while_the_request_comes_in),
        cmocka_unit_test(bytes_may_come_one_at_a_time),
        cmocka_unit_test(an_answer_may_be_completed_later),
        cmocka_unit_test(http_1_0_has_its_end_by_the_close),
        cmocka_unit_test(to_a_head_nothing_is_streamed),
        cmocka_unit_test(an_answer_may_end_before_the_request),
        cmocka_unit_test(a_drop_in_the_middle_closes),
        cmocka_unit_test(what_a_client_does_not_read_stops_what_it_sends),
        cmocka_unit_test(a_client_that_never_reads_is_cut_off),
        cmocka_unit_test(a_client_that_reads_only_behind_its_body_is_not_cut_off),
        cmocka_unit_test(a_framing_error_is_answered_by_the_handler),
        cmocka_unit_test(behind_the_status_line_a_framing_error_only_ends_the_answer),
        cmocka_unit_test(a_slow_body_is_cut_off),
        cmocka_unit_test(what_is_worth_it_buys_another_time_limit),
        cmocka_unit_test(the_time_in_which_the_handler_takes_nothing_does_not_count),
        cmocka_unit_test(a_client_that_goes_in_the_middle_is_told_once),
        cmocka_unit_test(a_client_that_half_closes_behind_its_body_gets_the_answer),
        cmocka_unit_test(a_client_that_half_closes_in_the_middle_has_gone),
        cmocka_unit_test(a_client_that_goes_in_the_body_of_a_refused_request_is_let_go),
        cmocka_unit_test(a_stop_lets_a_stream_end),
        cmocka_unit_test(a_stop_has_its_deadline_for_streams_too),
    };

    signal(SIGPIPE, SIG_IGN); /* as every program of ours does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
