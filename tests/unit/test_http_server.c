#include "tests/unit/http_fixture.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define HOST "Host: a\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"
#define OK(length, body)                                                            \
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: " length "\r\n" \
    "\r\n" body

static const struct http_conf defaults;

/* ---- requests and answers ---- */

static void a_connection_is_kept_for_the_next_request(void **state)
{
    struct fixture *f = fixture_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, f);
    client_send(&c, GET("/ping"));
    client_hears(&c, OK("4", "pong"));
    client_send(&c, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc");
    client_hears(&c, OK("3", "abc"));
    client_send(&c, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n");
    client_hears(&c, OK("0", ""));
    client_send(&c, "GET /ping HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    client_hears(&c, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n"
                     "Connection: close\r\n\r\npong");
    client_hears_end(&c);
    assert_int_equal(http_server_stats(f->server)->accepted, 1);
    assert_int_equal(http_server_stats(f->server)->requests, 4);
    client_close(&c);
    fixture_close(f);
}

static void http_1_0_closes_unless_keep_alive_is_asked_for(void **state)
{
    struct fixture *f = fixture_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, f);
    client_send(&c, "GET /ping HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    client_hears(&c, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n"
                     "Connection: keep-alive\r\n\r\npong");
    client_send(&c, "GET /ping HTTP/1.0\r\n\r\n");
    client_hears(&c, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n"
                     "Connection: close\r\n\r\npong");
    client_hears_end(&c);
    client_close(&c);
    fixture_close(f);
}

static void head_has_the_length_and_no_body(void **state)
{
    struct fixture *f = fixture_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, f);
    client_send(&c, "HEAD /ping HTTP/1.1\r\n" HOST "\r\n" GET("/ping"));
    client_hears(&c, OK("4", "") OK("4", "pong"));
    client_close(&c);
    fixture_close(f);
}

static void status_204_has_neither_body_nor_length_and_header_values_cannot_break_out(void **state)
{
    struct fixture *f = fixture_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, f);
    client_send(&c, GET("/empty"));
    client_hears(&c, "HTTP/1.1 204 No Content\r\nLocation: /a  X: y\r\n\r\n");
    client_close(&c);
    fixture_close(f);
}

static void an_answer_that_found_no_room_becomes_a_500(void **state)
{
    struct fixture *f = fixture_open(&defaults);
    struct client c;
    char text[512];

    (void)state;
    client_open(&c, f);
    client_send(&c, GET("/fail"));
    WAIT_FOR(f, (client_drain(&c), c.got.len > 0));
    snprintf(text, sizeof(text), "%.*s", (int)c.got.len, (char *)c.got.data);
    assert_non_null(strstr(text, "HTTP/1.1 500 "));
    assert_non_null(strstr(text, "\"code\":\"limit\""));
    client_close(&c);
    fixture_close(f);
}

static void a_dropped_exchange_closes_its_connection(void **state)
{
    struct fixture *f = fixture_open(&defaults);
    struct client c;
    struct client other;

    (void)state;
    client_open(&c, f);
    client_open(&other, f);
    client_send(&c, GET("/drop") GET("/ping"));
    client_hears_end(&c);
    client_send(&other, GET("/headdrop") GET("/ping"));
    client_hears_end(&other);
    client_close(&c);
    client_close(&other);
    fixture_close(f);
}

static void a_large_answer_arrives_whole(void **state)
{
    struct fixture *f = fixture_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, f);
    client_send(&c, GET("/big") GET("/ping"));
    WAIT_FOR(f, (client_drain(&c), c.got.len > BIG_BYTES + 200));
    assert_memory_equal(c.got.data + c.got.len - 5, "\npong", 5);
    client_close(&c);
    fixture_close(f);
}

/* ---- bodies ---- */

static void a_chunked_body_is_given_without_its_framing(void **state)
{
    struct fixture *f = fixture_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, f);
    client_send(&c, "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
                    "4;x=y\r\nWiki\r\n5\r\npedia\r\n0\r\nX: y\r\n\r\n" GET("/ping"));
    client_hears(&c, OK("9", "Wikipedia") OK("4", "pong"));
    client_close(&c);
    fixture_close(f);
}

static void bytes_may_come_one_at_a_time(void **state)
{
    static const char text[] = "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
                               "3\r\nabc\r\n0\r\n\r\n"
                               "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nde";
    struct fixture *f = fixture_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, f);
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        client_send_bytes(&c, text + i, 1);
        fixture_settle(f);
    }
    client_hears(&c, OK("3", "abc") OK("2", "de"));
    client_close(&c);
    fixture_close(f);
}

static void a_body_of_a_megabyte_is_taken(void **state)
{
    struct fixture *f = fixture_open(&defaults);
    static uint8_t body[1 << 20];
    struct client c;

    (void)state;
    memset(body, 'x', sizeof(body));
    client_open(&c, f);
    client_send(&c, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1048576\r\n\r\n");
    client_send_bytes(&c, body, sizeof(body));
    WAIT_FOR(f, (client_drain(&c), c.got.len > sizeof(body)));
    assert_memory_equal(c.got.data + c.got.len - sizeof(body), body, sizeof(body));
    client_close(&c);
    fixture_close(f);
}

static void a_body_above_the_limit_is_refused_before_it_is_read(void **state)
{
    struct fixture *f = fixture_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, f);
    client_send(&c, "POST /small HTTP/1.1\r\n" HOST "Content-Length: 11\r\n\r\n");
    client_hears_problem(&c, 413, "body_too_large", "\"limit\":10");
    client_close(&c);
    client_open(&c, f);
    client_send(&c, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1048577\r\n\r\n");
    client_hears_problem(&c, 413, "body_too_large", "larger than 1048576 bytes");
    client_close(&c);
    client_open(&c, f);
    client_send(&c, "POST /none HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\n");
    client_hears_problem(&c, 413, "body_too_large", "takes no body");
    client_close(&c);
    assert_int_equal(f->given, 0);
    fixture_close(f);
}

static void a_chunked_body_is_refused_as_soon_as_it_passes_the_limit(void **state)
{
    struct fixture *f = fixture_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, f);
    client_say(&c, "POST /small HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
                   "a\r\n0123456789\r\n");
    client_hears_nothing(&c);
    client_send(&c, "f\r\nx");
    client_hears_problem(&c, 413, "body_too_large", "\"limit\":10");
    client_close(&c);
    fixture_close(f);
}

static void a_client_that_still_sends_can_read_why_it_was_refused(void **state)
{
    struct fixture *f = fixture_open(&defaults);
    static uint8_t body[2 << 20];
    struct client c;

    (void)state;
    client_open(&c, f);
    client_send(&c, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 2097152\r\n\r\n");
    client_send_bytes(&c, body, sizeof(body)); /* read and thrown away: no reset */
    client_hears_problem(&c, 413, "body_too_large", "1048576");
    client_close(&c);
    fixture_close(f);
}

static void all_bodies_together_have_a_limit(void **state)
{
    const struct http_conf conf = {.max_bodies_bytes = 15};
    struct fixture *f = fixture_open(&conf);
    struct client c;
    struct client other;

    (void)state;
    client_open(&c, f);
    client_open(&other, f);
    client_say(&c, "POST /hold/c HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n0123456789");
    client_send(&other, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n0123456789");
    client_hears_problem(&other, 503, "overloaded", "\"limit\":15");
    client_close(&other);
    release(f, 'c');
    client_hears(&c, OK("1", "c"));
    client_send(&c, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n0123456789");
    client_hears(&c, OK("10", "0123456789"));
    client_close(&c);
    fixture_close(f);
}

static void a_request_that_needs_a_body_is_refused_without_one(void **state)
{
    struct fixture *f = fixture_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, f);
    client_send(&c, "POST /needs HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\na");
    client_hears(&c, OK("1", "a"));
    client_send(&c, "POST /needs HTTP/1.1\r\n" HOST "\r\n");
    client_hears_problem(&c, 411, "length_required", "body");
    client_close(&c);
    fixture_close(f);
}

/* ---- 100-continue ---- */

#define EXPECTS(path) \
    "POST " path " HTTP/1.1\r\n" HOST "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"

static void the_interim_answer_comes_when_the_body_is_waited_for(void **state)
{
    struct fixture *f = fixture_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, f);
    client_send(&c, EXPECTS("/echo"));
    client_hears(&c, "HTTP/1.1 100 Continue\r\n\r\n");
    client_send(&c, "abc");
    client_hears(&c, OK("3", "abc"));
    client_send(&c, EXPECTS("/echo") "abc"); /* did not wait for it */
    client_hears(&c, OK("3", "abc"));
    client_close(&c);
    fixture_close(f);
}

static void the_interim_answer_waits_for_its_turn(void **state)
{
    struct fixture *f = fixture_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, f);
    client_say(&c, GET("/hold/1") EXPECTS("/echo"));
    client_hears_nothing(&c);
    release(f, '1');
    client_hears(&c, OK("1", "1") "HTTP/1.1 100 Continue\r\n\r\n");
    client_send(&c, "abc");
    client_hears(&c, OK("3", "abc"));
    client_close(&c);
    fixture_close(f);
}

static void a_refused_expectation_has_no_interim_answer(void **state)
{
    struct fixture *f = fixture_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, f);
    client_send(&c, EXPECTS("/none"));
    client_hears_problem(&c, 413, "body_too_large", "no body");
    client_close(&c);
    client_open(&c, f);
    client_send(&c, "POST /echo HTTP/1.1\r\n" HOST "Expect: magic\r\n\r\n");
    client_hears_problem(&c, 417, "expectation_failed", "100-continue");
    client_close(&c);
    fixture_close(f);
}

/* ---- refusals in on_head ---- */

#define REFUSED                                                                               \
    "HTTP/1.1 415 Unsupported Media Type\r\nContent-Type: application/problem+json\r\n"       \
    "Content-Length: 160\r\n\r\n"                                                             \
    "{\"type\":\"urn:jobmill:error:unsupported_media_type\",\"title\":\"The Content-Type is " \
    "not supported\",\"status\":415,\"code\":\"unsupported_media_type\",\"detail\":\"not "    \
    "that\"}"

static void a_refused_request_with_a_small_body_leaves_the_connection_usable(void **state)
{
    struct fixture *f = fixture_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, f);
    client_say(&c, "POST /refuse HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\n");
    client_send(&c, "abc" GET("/refuse") GET("/ping"));
    client_hears(&c, REFUSED REFUSED OK("4", "pong"));
    assert_int_equal(f->given, 1);
    client_close(&c);
    fixture_close(f);
}

static void a_refused_request_with_a_large_body_ends_the_connection(void **state)
{
    struct fixture *f = fixture_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, f);
    client_send(&c, "POST /refuse HTTP/1.1\r\n" HOST "Content-Length: 1000000\r\n\r\n");
    client_hears_problem(&c, 415, "unsupported_media_type", "not that");
    client_close(&c);
    client_open(&c, f);
    client_send(&c, EXPECTS("/refuse"));
    client_hears_problem(&c, 415, "unsupported_media_type", "not that");
    client_close(&c);
    fixture_close(f);
}

/* ---- pipelining ---- */

static void answers_keep_the_order_of_the_requests(void **state)
{
    struct fixture *f = fixture_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, f);
    client_say(&c, GET("/read/1") GET("/read/2") GET("/read/3"));
    assert_held(f, "123");
    release(f, '3');
    release(f, '2');
    client_hears_nothing(&c);
    release(f, '1');
    client_hears(&c, OK("1", "1") OK("1", "2") OK("1", "3"));
    client_close(&c);
    fixture_close(f);
}

static void only_requests_of_one_class_are_in_work_at_the_same_time(void **state)
{
    struct fixture *f = fixture_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, f);
    client_say(&c, GET("/submit/1") GET("/submit/2") GET("/read/3") GET("/submit/4"));
    assert_held(f, "12");
    release(f, '2');
    fixture_settle(f);
    assert_held(f, "1"); /* a read does not pass an unanswered submit */
    release(f, '1');
    fixture_settle(f);
    assert_held(f, "3");
    release(f, '3');
    fixture_settle(f);
    assert_held(f, "4");
    release(f, '4');
    client_hears(&c, OK("1", "1") OK("1", "2") OK("1", "3") OK("1", "4"));
    client_say(&c, GET("/hold/5") GET("/hold/6"));
    assert_held(f, "5"); /* HTTP_ALONE: not even beside its own kind */
    release(f, '5');
    fixture_settle(f);
    release(f, '6');
    client_hears(&c, OK("1", "5") OK("1", "6"));
    client_close(&c);
    fixture_close(f);
}

static void connections_do_not_wait_for_one_another(void **state)
{
    struct fixture *f = fixture_open(&defaults);
    struct client c;
    struct client other;

    (void)state;
    client_open(&c, f);
    client_open(&other, f);
    client_say(&c, GET("/hold/1"));
    client_send(&other, GET("/ping"));
    client_hears(&other, OK("4", "pong"));
    release(f, '1');
    client_hears(&c, OK("1", "1"));
    client_close(&c);
    client_close(&other);
    fixture_close(f);
}

static void the_number_of_outstanding_requests_is_bounded(void **state)
{
    const struct http_conf conf = {.max_outstanding = 3};
    struct fixture *f = fixture_open(&conf);
    struct client c;

    (void)state;
    client_open(&c, f);
    client_say(&c, GET("/read/1") GET("/read/2") GET("/read/3") GET("/read/4") GET("/read/5"));
    assert_held(f, "123");
    release(f, '2'); /* not written before the first, so it still counts */
    fixture_settle(f);
    assert_held(f, "13");
    release(f, '1');
    fixture_settle(f);
    assert_held(f, "345");
    release(f, '3');
    release(f, '4');
    release(f, '5');
    client_hears(&c, OK("1", "1") OK("1", "2") OK("1", "3") OK("1", "4") OK("1", "5"));
    client_close(&c);
    fixture_close(f);
}

static void a_client_that_only_sends_is_not_read_for_ever(void **state)
{
    const struct http_conf conf = {.max_outstanding = 2};
    static const char ping[] = GET("/ping");
    static char many[200 * (sizeof(ping) - 1)];
    struct fixture *f = fixture_open(&conf);
    struct client c;
    uint64_t before;
    size_t sent = 0;

    (void)state;
    for (size_t i = 0; i < 200; i++)
        memcpy(many + i * (sizeof(ping) - 1), ping, sizeof(ping) - 1);
    client_open(&c, f);
    client_say(&c, GET("/hold/1"));
    for (ssize_t n = 0; n >= 0; fixture_settle(f)) {
        n = send(c.fd, many, sizeof(many), MSG_DONTWAIT);
        sent += n > 0 ? (size_t)n : 0;
        assert_true(sent < 64 << 20);
    }
    before = http_server_stats(f->server)->in_bytes;
    assert_true(before < sent); /* the rest waits in the kernel, and the client with it */
    assert_true(before < 3 * 65536);
    release(f, '1');
    WAIT_FOR(f, (client_drain(&c), http_server_stats(f->server)->in_bytes >= sent));
    client_close(&c);
    fixture_close(f);
}

static void a_framing_error_is_answered_in_its_turn_and_ends_the_connection(void **state)
{
    struct fixture *f = fixture_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, f);
    client_say(&c, GET("/hold/1") "GET / HTTP/1.1\r\nHost : a\r\n\r\n" GET("/ping"));
    client_hears_nothing(&c);
    release(f, '1');
    WAIT_FOR(f, (client_drain(&c), c.has_end));
    strip_dates(&c.got);
    assert_memory_equal(c.got.data, OK("1", "1"), sizeof(OK("1", "1")) - 1);
    buf_consume(&c.got, sizeof(OK("1", "1")) - 1);
    client_hears_problem(&c, 400, "bad_request", "token followed directly by ':'");
    assert_int_equal(f->given, 1); /* nothing behind the error is believed */
    assert_int_equal(http_server_stats(f->server)->framing_errors, 1);
    client_close(&c);
    fixture_close(f);
}

static void every_refusal_of_the_server_names_its_reason(void **state)
{
    static const struct {
        const char *request;
        int status;
        const char *code;
        const char *words;
    } cases[] = {
        {"GET / HTTP/1.1\r\n\r\n", 400, "bad_request", "Host"},
        {"\x16\x03\x01", 400, "bad_request", "not a token"},
        {"GET / HTTP/2.0\r\n\r\n", 505, "http_version", "1.1"},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n", 501, "not_implemented",
         "chunked"},
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "bad_request",
         "chunk size"},
        {"CONNECT a:1 HTTP/1.1\r\n" HOST "\r\n", 501, "not_implemented", "CONNECT"},
    };
    struct fixture *f = fixture_open(&defaults);
    static char head[20000];

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(cases); i++) {
        struct client c;

        client_open(&c, f);
        client_send(&c, cases[i].request);
        client_hears_problem(&c, cases[i].status, cases[i].code, cases[i].words);
        client_close(&c);
    }
    memset(head, 'a', sizeof(head) - 1);
    for (int i = 0; i < 2; i++) {
        struct client c;

        client_open(&c, f);
        client_send(&c, i == 0 ? "GET /" : "GET / HTTP/1.1\r\nX: ");
        client_send(&c, head);
        client_hears_problem(&c, i == 0 ? 414 : 431, i == 0 ? "uri_too_long" : "head_too_large",
                             i == 0 ? "\"limit\":8192" : "\"limit\":16384");
        client_close(&c);
    }
    fixture_close(f);
}

/* ---- time ---- */

static void a_slow_head_is_cut_off_with_a_408(void **state)
{
    const struct http_conf conf = {.head_ms = 60};
    struct fixture *f = fixture_open(&conf);
    struct client c;

    (void)state;
    client_open(&c, f);
    client_say(&c, GET("/ping"));
    client_hears(&c, OK("4", "pong"));
    client_say(&c, "GET / HTT");
    client_hears_problem(&c, 408, "request_timeout", "head");
    assert_int_equal(http_server_stats(f->server)->timeouts, 1);
    client_close(&c);
    fixture_close(f);
}

/* Bytes that trickle in do not move the end of the time for a head. */
static void a_trickling_head_is_cut_off_too(void **state)
{
    const struct http_conf conf = {.head_ms = 100};
    struct fixture *f = fixture_open(&conf);
    struct client c;

    (void)state;
    client_open(&c, f);
    client_say(&c, "GET / HTTP/1.1\r\nX: ");
    WAIT_FOR(f, (client_send_bytes(&c, "x", 1), http_server_stats(f->server)->timeouts == 1));
    client_hears_problem(&c, 408, "request_timeout", "head");
    client_close(&c);
    fixture_close(f);
}

static void a_slow_body_is_cut_off_with_a_408(void **state)
{
    const struct http_conf conf = {.body_ms = 60};
    struct fixture *f = fixture_open(&conf);
    struct client c;

    (void)state;
    client_open(&c, f);
    client_say(&c, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\na");
    client_hears_problem(&c, 408, "request_timeout", "body");
    client_close(&c);
    fixture_close(f);
}

static void a_large_body_has_more_time_as_long_as_it_moves(void **state)
{
    const struct http_conf conf = {.body_ms = 150};
    static uint8_t piece[65536];
    struct fixture *f = fixture_open(&conf);
    struct client c;
    uint64_t start_ms = clock_mono_ms(clock_real());

    (void)state;
    client_open(&c, f);
    client_say(&c, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 524288\r\n\r\n");
    for (int i = 0; i < 8; i++) {
        uint64_t until_ms = clock_mono_ms(clock_real()) + 60;

        while (clock_mono_ms(clock_real()) < until_ms)
            fixture_turn(f, -1);
        client_send_bytes(&c, piece, sizeof(piece));
        fixture_settle(f);
    }
    assert_true(clock_mono_ms(clock_real()) - start_ms > 300); /* longer than one limit */
    WAIT_FOR(f, (client_drain(&c), c.got.len > 524288));
    assert_int_equal(http_server_stats(f->server)->timeouts, 0);
    client_close(&c);
    fixture_close(f);
}

/* As after a SIGSTOP, or on a machine that was suspended: all came in time, and is read late. */
static void what_came_while_the_server_stood_still_is_not_late(void **state)
{
    const struct http_conf conf = {.head_ms = 60, .body_ms = 60, .idle_ms = 60};
    static const struct timespec longer = {.tv_nsec = 120 * 1000000};
    struct fixture *f = fixture_open(&conf);
    struct client c;

    (void)state;
    client_open(&c, f);
    client_say(&c, "POST /ec");
    client_send(&c, "ho HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\n");
    assert_int_equal(nanosleep(&longer, NULL), 0);
    fixture_settle(f);
    client_send(&c, "abc");
    assert_int_equal(nanosleep(&longer, NULL), 0);
    client_hears(&c, OK("3", "abc"));
    client_send(&c, GET("/ping"));
    assert_int_equal(nanosleep(&longer, NULL), 0);
    client_hears(&c, OK("4", "pong"));
    assert_int_equal(http_server_stats(f->server)->timeouts, 0);
    client_close(&c);
    fixture_close(f);
}

static void an_idle_connection_is_closed_silently(void **state)
{
    const struct http_conf conf = {.idle_ms = 60};
    struct fixture *f = fixture_open(&conf);
    struct client c;

    (void)state;
    client_open(&c, f);
    client_send(&c, GET("/ping"));
    client_hears(&c, OK("4", "pong"));
    client_hears_end(&c);
    assert_int_equal(http_server_stats(f->server)->timeouts, 0);
    client_close(&c);
    fixture_close(f);
}

static void a_request_in_work_is_not_idle(void **state)
{
    const struct http_conf conf = {.idle_ms = 40, .head_ms = 40, .body_ms = 40};
    struct fixture *f = fixture_open(&conf);
    uint64_t until_ms;
    struct client c;

    (void)state;
    client_open(&c, f);
    client_say(&c, GET("/hold/1"));
    until_ms = clock_mono_ms(clock_real()) + 150;
    while (clock_mono_ms(clock_real()) < until_ms)
        fixture_turn(f, -1);
    release(f, '1');
    client_hears(&c, OK("1", "1"));
    client_close(&c);
    fixture_close(f);
}

static void a_receiver_that_never_reads_is_cut_off(void **state)
{
    const struct http_conf conf = {.write_ms = 80};
    struct fixture *f = fixture_open(&conf);
    struct client c;

    (void)state;
    client_open(&c, f);
    client_send(&c, GET("/big"));
    WAIT_FOR(f, http_server_stats(f->server)->stalled == 1);
    WAIT_FOR(f, http_server_stats(f->server)->connections == 0);
    client_close(&c);
    fixture_close(f);
}

static void a_receiver_that_reads_slowly_is_served(void **state)
{
    const struct http_conf conf = {.write_ms = 200};
    struct fixture *f = fixture_open(&conf);
    struct client c;

    (void)state;
    client_open(&c, f);
    client_send(&c, GET("/big"));
    while (c.got.len <= BIG_BYTES) {
        uint64_t until_ms = clock_mono_ms(clock_real()) + 20;

        while (clock_mono_ms(clock_real()) < until_ms)
            fixture_turn(f, -1);
        for (int i = 0; i < 4; i++)
            (void)client_sip(&c);
        assert_false(c.has_end || c.is_reset);
    }
    assert_int_equal(http_server_stats(f->server)->stalled, 0);
    client_close(&c);
    fixture_close(f);
}

static void open_reader_of_nothing(struct client *c, struct fixture *f, const char *request)
{
    client_open(c, f);
    client_send(c, request);
    fixture_settle(f);
}

static void who_reads_nothing_for_the_longest_time_makes_room_for_the_others(void **state)
{
    const struct http_conf conf = {.max_unread_bytes = 5 * BIG_BYTES / 2};
    struct fixture *f = fixture_open(&conf);
    struct client c[4];

    (void)state;
    open_reader_of_nothing(&c[0], f, GET("/big"));
    open_reader_of_nothing(&c[1], f, GET("/big"));
    for (int i = 0; i < 8; i++)
        (void)client_sip(&c[0]); /* this one does read */
    fixture_settle(f);
    assert_int_equal(http_server_stats(f->server)->stalled, 0);
    open_reader_of_nothing(&c[2], f, GET("/big"));
    assert_int_equal(http_server_stats(f->server)->stalled, 1);
    WAIT_FOR(f, (client_drain(&c[1]), c[1].has_end || c[1].is_reset));
    open_reader_of_nothing(&c[3], f, GET("/ping"));
    client_hears(&c[3], OK("4", "pong"));
    WAIT_FOR(f, (client_drain(&c[0]), c[0].got.len > BIG_BYTES));
    WAIT_FOR(f, (client_drain(&c[2]), c[2].got.len > BIG_BYTES));
    assert_int_equal(http_server_stats(f->server)->stalled, 1);
    for (int i = 0; i < 4; i++)
        client_close(&c[i]);
    fixture_close(f);
}

static void an_answer_that_waits_behind_another_counts_as_unread(void **state)
{
    const struct http_conf conf = {.max_unread_bytes = 1};
    struct fixture *f = fixture_open(&conf);
    struct client c;

    (void)state;
    client_open(&c, f);
    client_say(&c, GET("/read/1") GET("/read/2"));
    assert_held(f, "12");
    release(f, '2');
    WAIT_FOR(f, http_server_stats(f->server)->stalled == 1);
    WAIT_FOR(f, http_server_stats(f->server)->connections == 0);
    assert_int_equal(f->gone, 1);
    client_close(&c);
    fixture_close(f);
}

/* ---- clients that go ---- */

static void the_handler_is_told_of_a_client_that_has_gone(void **state)
{
    struct fixture *f = fixture_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, f);
    client_say(&c, GET("/read/1") GET("/read/2"));
    assert_held(f, "12");
    client_close(&c);
    WAIT_FOR(f, http_server_stats(f->server)->connections == 0);
    assert_int_equal(f->gone, 2);
    assert_held(f, "");
    fixture_close(f);
}

static void an_answer_to_a_closed_connection_goes_nowhere(void **state)
{
    struct fixture *f = fixture_open(&defaults);
    struct client c;

    (void)state;
    f->keeps_gone = true;
    client_open(&c, f);
    client_say(&c, GET("/read/1") GET("/read/2"));
    client_close(&c);
    WAIT_FOR(f, f->gone == 2);
    release(f, '1'); /* the write fails: nobody is there */
    WAIT_FOR(f, http_server_stats(f->server)->connections == 0);
    assert_int_equal(http_server_stats(f->server)->outstanding, 1);
    release(f, '2');
    assert_int_equal(http_server_stats(f->server)->outstanding, 0);
    assert_int_equal(f->gone, 2);
    fixture_close(f);
}

static void a_client_that_only_half_closes_gets_its_answers(void **state)
{
    struct fixture *f = fixture_open(&defaults);
    struct client c;

    (void)state;
    f->keeps_gone = true;
    client_open(&c, f);
    client_send(&c, GET("/hold/1") GET("/hold/2"));
    assert_int_equal(shutdown(c.fd, SHUT_WR), 0);
    WAIT_FOR(f, f->given == 1);
    assert_int_equal(f->gone, 0); /* what is blocked is not read to its end */
    release(f, '1');
    WAIT_FOR(f, f->given == 2);
    WAIT_FOR(f, f->gone == 1);
    release(f, '2');
    client_hears(&c, OK("1", "1") OK("1", "2"));
    client_hears_end(&c);
    client_close(&c);
    fixture_close(f);
}

static void a_request_that_breaks_off_is_forgotten(void **state)
{
    struct fixture *f = fixture_open(&defaults);
    struct client c;

    (void)state;
    client_open(&c, f);
    client_say(&c, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\nabc");
    client_close(&c);
    WAIT_FOR(f, http_server_stats(f->server)->connections == 0);
    client_open(&c, f);
    client_say(&c, "GET /pi");
    client_close(&c);
    WAIT_FOR(f, http_server_stats(f->server)->connections == 0);
    assert_int_equal(f->given, 0);
    fixture_close(f);
}

/* ---- many ---- */

static void one_connection_too_many_is_told_so(void **state)
{
    const struct http_conf conf = {.max_connections = 2};
    struct fixture *f = fixture_open(&conf);
    struct client first;
    struct client second;
    struct client third;

    (void)state;
    client_open(&first, f);
    client_open(&second, f);
    client_open(&third, f);
    client_send(&third, GET("/ping"));
    client_hears_problem(&third, 503, "overloaded", "\r\nRetry-After: 1\r\n");
    assert_int_equal(http_server_stats(f->server)->rejected, 1);
    client_close(&third);
    client_send(&second, GET("/ping"));
    client_hears(&second, OK("4", "pong"));
    client_close(&first);
    WAIT_FOR(f, http_server_stats(f->server)->connections == 1);
    client_open(&third, f);
    client_send(&third, GET("/ping"));
    client_hears(&third, OK("4", "pong"));
    client_close(&second);
    client_close(&third);
    fixture_close(f);
}

/* ---- stop ---- */

static void a_stop_lets_requests_end_and_closes_what_is_idle(void **state)
{
    struct fixture *f = fixture_open(&defaults);
    struct client idle;
    struct client busy;
    struct client reading;

    (void)state;
    client_open(&idle, f);
    client_open(&busy, f);
    client_open(&reading, f);
    client_say(&idle, GET("/ping"));
    client_hears(&idle, OK("4", "pong"));
    client_say(&busy, GET("/hold/1"));
    client_say(&reading, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\na");
    fixture_stop(f, 5000);
    client_hears_end(&idle);
    client_send(&reading, "bc");
    client_hears(&reading, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n"
                           "Connection: close\r\n\r\nabc");
    assert_false(f->is_stopped);
    release(f, '1');
    client_hears(&busy, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n"
                        "Connection: close\r\n\r\n1");
    client_close(&idle);
    client_close(&busy);
    client_close(&reading);
    WAIT_FOR(f, f->is_stopped);
    fixture_close(f);
}

static void a_stop_has_a_deadline(void **state)
{
    struct fixture *f = fixture_open(&defaults);
    struct client c;
    struct client half;

    (void)state;
    client_open(&c, f);
    client_open(&half, f);
    client_say(&c, GET("/hold/1"));
    client_say(&half, "GET /");
    fixture_stop(f, 50);
    WAIT_FOR(f, f->is_stopped);
    assert_int_equal(f->gone, 1);
    assert_held(f, "");
    client_close(&c);
    client_close(&half);
    fixture_close(f);
}

static void a_stop_waits_for_what_the_handler_holds(void **state)
{
    struct fixture *f = fixture_open(&defaults);
    struct client c;

    (void)state;
    f->keeps_gone = true;
    client_open(&c, f);
    client_say(&c, GET("/hold/1"));
    fixture_stop(f, 20);
    WAIT_FOR(f, http_server_stats(f->server)->connections == 0);
    fixture_settle(f);
    assert_false(f->is_stopped);
    release(f, '1');
    WAIT_FOR(f, f->is_stopped);
    client_close(&c);
    fixture_close(f);
}

/* ---- addresses ---- */

static void only_loopback_and_unix_sockets_are_listened_on(void **state)
{
    static const char *const refused[] = {
        "0.0.0.0:0",          "[::]:0", "192.0.2.1:80",    ":80",   "example:80", "127.0.0.1",
        "127.0.0.1:x",        "unix:",  "127.0.0.1:70000", "[::1]", "*:80",       "",
        "[::ffff:1.2.3.4]:80"};
    struct fixture *f = fixture_open(&defaults);
    struct http_reason reason;

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(refused); i++) {
        reason.text[0] = '\0';
        if (http_server_listen(f->server, refused[i], &reason) != JM_EINVAL)
            fail_msg("'%s' is not refused", refused[i]);
        assert_true(strlen(reason.text) > 20);
    }
    assert_int_equal(http_server_listen(f->server, "127.0.0.1:0", &reason), 0);
    assert_int_equal(http_server_listen(f->server, "localhost:0", &reason), 0);
    assert_string_equal(http_server_address(f->server), f->address); /* the first */
    fixture_close(f);
}

static void a_tcp_port_is_chosen_and_told(void **state)
{
    struct fixture *f = fixture_open(&defaults);
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct http_server *server;
    struct http_reason reason;
    unsigned port;
    struct client c = {.f = f};
    bool is_stopped = false;

    (void)state;
    assert_int_equal(http_server_open(&f->loop, &defaults, &f->handler, &server), 0);
    assert_int_equal(http_server_listen(server, "127.0.0.1:0", &reason), 0);
    assert_int_equal(sscanf(http_server_address(server), "http://127.0.0.1:%u", &port), 1);
    buf_init(&c.got, 65536);
    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(c.fd, (struct sockaddr *)&address, sizeof(address)), 0);
    client_send(&c, GET("/ping"));
    client_hears(&c, OK("4", "pong"));
    client_close(&c);
    f->is_stopped = false;
    http_server_stop(server, 100, fixture_on_stopped, f);
    WAIT_FOR(f, f->is_stopped);
    is_stopped = f->is_stopped;
    assert_true(is_stopped);
    f->is_stopped = false;
    http_server_free(server);
    fixture_close(f);
}

static void a_left_over_socket_is_replaced_and_a_live_one_is_not(void **state)
{
    struct fixture *f = fixture_open(&defaults);
    struct sockaddr_un stale = {.sun_family = AF_UNIX};
    struct http_reason reason;
    char address[128];
    struct stat st;
    int fd;

    (void)state;
    assert_int_equal(http_server_listen(f->server, f->address, &reason), JM_EIO);
    assert_non_null(strstr(reason.text, "another process"));
    snprintf(stale.sun_path, sizeof(stale.sun_path), "%s/stale", f->dir);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&stale, sizeof(stale)), 0);
    close(fd);
    snprintf(address, sizeof(address), "unix:%s", stale.sun_path);
    assert_int_equal(http_server_listen(f->server, address, &reason), 0);
    assert_int_equal(stat(stale.sun_path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0660);
    snprintf(address, sizeof(address), "unix:%s/file", f->dir);
    fd = open(address + 5, O_CREAT | O_WRONLY, 0600);
    close(fd);
    assert_int_equal(http_server_listen(f->server, address, &reason), JM_EINVAL);
    assert_non_null(strstr(reason.text, "no socket"));
    assert_int_equal(unlink(address + 5), 0);
    fixture_close(f);
}

/* In a process of its own, because the descriptor has to be 3 and the environment is changed. */
static int serve_inherited(int listening)
{
    struct fixture f = {.is_stopped = false};
    struct http_server *server = NULL;
    struct http_reason reason = {{0}};
    unsigned count = 0;
    char pid[16];

    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "1", 1);
    if (dup2(listening, 3) != 3)
        return 1;
    list_init(&f.holding);
    f.handler = (struct http_handler){.owner = &f, .on_request = fixture_on_request};
    if (uv_loop_init(&f.loop) != 0 ||
        http_server_open(&f.loop, &defaults, &f.handler, &server) != 0)
        return 2;
    if (http_server_listen_inherited(server, &count, &reason) != 0 || count != 1)
        return 3;
    while (f.given == 0 || http_server_stats(server)->connections > 0)
        uv_run(&f.loop, UV_RUN_ONCE);
    http_server_stop(server, 100, fixture_on_stopped, &f);
    uv_run(&f.loop, UV_RUN_DEFAULT);
    http_server_free(server);
    return f.is_stopped && uv_loop_close(&f.loop) == 0 ? 0 : 4;
}

static void an_inherited_socket_is_served(void **state)
{
    struct fixture *f = fixture_open(&defaults);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct client c = {.f = f};
    int listening = socket(AF_UNIX, SOCK_STREAM, 0);
    int status;
    pid_t child;

    (void)state;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/inherited", f->dir);
    assert_int_equal(bind(listening, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(listening, 8), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(serve_inherited(listening));
    buf_init(&c.got, 65536);
    c.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(c.fd, (struct sockaddr *)&address, sizeof(address)), 0);
    client_send(&c, "GET /ping HTTP/1.0\r\n\r\n");
    client_hears(&c, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n"
                     "Connection: close\r\n\r\npong");
    client_close(&c);
    close(listening);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    unlink(address.sun_path);
    fixture_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_is_kept_for_the_next_request),
        cmocka_unit_test(http_1_0_closes_unless_keep_alive_is_asked_for),
        cmocka_unit_test(head_has_the_length_and_no_body),
        cmocka_unit_test(status_204_has_neither_body_nor_length_and_header_values_cannot_break_out),
        cmocka_unit_test(an_answer_that_found_no_room_becomes_a_500),
        cmocka_unit_test(a_dropped_exchange_closes_its_connection),
        cmocka_unit_test(a_large_answer_arrives_whole),
        cmocka_unit_test(a_chunked_body_is_given_without_its_framing),
        cmocka_unit_test(bytes_may_come_one_at_a_time),
        cmocka_unit_test(a_body_of_a_megabyte_is_taken),
        cmocka_unit_test(a_body_above_the_limit_is_refused_before_it_is_read),
        cmocka_unit_test(a_chunked_body_is_refused_as_soon_as_it_passes_the_limit),
        cmocka_unit_test(a_client_that_still_sends_can_read_why_it_was_refused),
        cmocka_unit_test(all_bodies_together_have_a_limit),
        cmocka_unit_test(a_request_that_needs_a_body_is_refused_without_one),
        cmocka_unit_test(the_interim_answer_comes_when_the_body_is_waited_for),
        cmocka_unit_test(the_interim_answer_waits_for_its_turn),
        cmocka_unit_test(a_refused_expectation_has_no_interim_answer),
        cmocka_unit_test(a_refused_request_with_a_small_body_leaves_the_connection_usable),
        cmocka_unit_test(a_refused_request_with_a_large_body_ends_the_connection),
        cmocka_unit_test(answers_keep_the_order_of_the_requests),
        cmocka_unit_test(only_requests_of_one_class_are_in_work_at_the_same_time),
        cmocka_unit_test(connections_do_not_wait_for_one_another),
        cmocka_unit_test(the_number_of_outstanding_requests_is_bounded),
        cmocka_unit_test(a_client_that_only_sends_is_not_read_for_ever),
        cmocka_unit_test(a_framing_error_is_answered_in_its_turn_and_ends_the_connection),
        cmocka_unit_test(every_refusal_of_the_server_names_its_reason),
        cmocka_unit_test(a_slow_head_is_cut_off_with_a_408),
        cmocka_unit_test(a_trickling_head_is_cut_off_too),
        cmocka_unit_test(a_slow_body_is_cut_off_with_a_408),
        cmocka_unit_test(a_large_body_has_more_time_as_long_as_it_moves),
        cmocka_unit_test(what_came_while_the_server_stood_still_is_not_late),
        cmocka_unit_test(an_idle_connection_is_closed_silently),
        cmocka_unit_test(a_request_in_work_is_not_idle),
        cmocka_unit_test(a_receiver_that_never_reads_is_cut_off),
        cmocka_unit_test(a_receiver_that_reads_slowly_is_served),
        cmocka_unit_test(who_reads_nothing_for_the_longest_time_makes_room_for_the_others),
        cmocka_unit_test(an_answer_that_waits_behind_another_counts_as_unread),
        cmocka_unit_test(the_handler_is_told_of_a_client_that_has_gone),
        cmocka_unit_test(an_answer_to_a_closed_connection_goes_nowhere),
        cmocka_unit_test(a_client_that_only_half_closes_gets_its_answers),
        cmocka_unit_test(a_request_that_breaks_off_is_forgotten),
        cmocka_unit_test(one_connection_too_many_is_told_so),
        cmocka_unit_test(a_stop_lets_requests_end_and_closes_what_is_idle),
        cmocka_unit_test(a_stop_has_a_deadline),
        cmocka_unit_test(a_stop_waits_for_what_the_handler_holds),
        cmocka_unit_test(only_loopback_and_unix_sockets_are_listened_on),
        cmocka_unit_test(a_tcp_port_is_chosen_and_told),
        cmocka_unit_test(a_left_over_socket_is_replaced_and_a_live_one_is_not),
        cmocka_unit_test(an_inherited_socket_is_served),
    };

    signal(SIGPIPE, SIG_IGN); /* as every program of ours does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
