/*
 * load.c: one generator for all HTTP rows of the bench. Keeps a number of connections busy with one
 * request (request.h) for some seconds, or until some number of answers, and prints one JSON line.
 * The time begins when the last connection is open.
 *
 * Closed loop: each connection sends its next request when it has its answer. Open loop (--rate):
 * requests are due at fixed times whatever the answers do; a request's time counts from when it was
 * due, also while it had to wait for a free connection, so that a stall of the server is seen in
 * full ("coordinated omission", G. Tene). A timerfd wakes the loop for them: libuv's timers know
 * only milliseconds, and what they come late would count as the server's.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <uv.h>

#include "lib/buf.h"
#include "lib/clock.h"
#include "lib/list.h"
#include "lib/opt.h"
#include "tests/bench/histogram.h"
#include "tests/bench/request.h"

enum { IN_BYTES = 1 << 20, CONNECTING = 64 /* at a time, so that no backlog overflows */ };

struct conf {
    uint64_t port;
    const char *socket;
    uint64_t connections;
    uint64_t run_ms;
    uint64_t warmup_ms;
    uint64_t rate;
    uint64_t expect;
    uint64_t requests;
    struct request_conf request;
};

struct load;

struct conn {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } io;
    uv_connect_t connect;
    uv_write_t write;
    struct load *load;
    struct list idle;
    struct buf request; /* its own, because its numbers change while another's is on its way */
    struct buf in;
    uint64_t begun_ns;
};

struct load {
    struct conf conf;
    uv_loop_t loop;
    uv_timer_t end;
    uv_poll_t wake; /* open loop: something is due */
    int wake_fd;
    struct conn *conns;
    struct list idle;
    struct request request;
    char in_bytes[65536];
    uint64_t connects; /* begun */
    uint64_t open;     /* connections */
    uint64_t start_ns; /* of the measured part */
    uint64_t stop_ns;
    uint64_t begun_ns; /* of the first request, or the schedule */
    uint64_t last_ns;  /* of the last answer that counts */
    uint64_t due;      /* open loop: requests that were due so far */
    uint64_t sent;
    uint64_t good;
    uint64_t bad; /* another status than the expected one */
    bool is_over;
    struct histogram times;
};

static uint64_t now_ns(void)
{
    return clock_mono_ns(clock_real());
}

static void fail(const char *what, int error)
{
    fprintf(stderr, "load: %s: %s\n", what, uv_strerror(error));
    exit(1);
}

/* ---- requests ---- */

static void on_written(uv_write_t *req, int status)
{
    (void)req;
    if (status != 0 && status != UV_ECANCELED)
        fail("write", status);
}

static void send_request(struct conn *c, uint64_t begun_ns)
{
    struct load *l = c->load;
    uv_buf_t piece = uv_buf_init((char *)c->request.data, (unsigned)c->request.len);
    int n;

    request_stamp(&l->request, c->request.data);
    n = uv_try_write(&c->io.stream, &piece, 1);
    c->begun_ns = begun_ns;
    l->sent++;
    if (n == (int)piece.len)
        return;
    if (n > 0)
        piece = uv_buf_init(piece.base + n, (unsigned)(piece.len - (size_t)n));
    n = uv_write(&c->write, &c->io.stream, &piece, 1, on_written);
    if (n != 0)
        fail("write", n);
}

static uint64_t due_ns(const struct load *l, uint64_t n)
{
    return l->begun_ns + n * UINT64_C(1000000000) / l->conf.rate;
}

/* Sends what is due, as long as a connection is free; the others' time runs already. */
static void send_due(struct load *l)
{
    uint64_t now = now_ns();
    struct list *node;

    while (due_ns(l, l->due) <= now && (node = list_pop_front(&l->idle)) != NULL)
        send_request(LIST_ENTRY(node, struct conn, idle), due_ns(l, l->due++));
}

/* Sets the timer to when the next one is due. */
static void arm(struct load *l)
{
    uint64_t at_ns = due_ns(l, l->due);
    struct itimerspec at = {.it_value = {.tv_sec = (time_t)(at_ns / 1000000000),
                                         .tv_nsec = (long)(at_ns % 1000000000)}};

    if (timerfd_settime(l->wake_fd, TFD_TIMER_ABSTIME, &at, NULL) != 0)
        fail("timer", uv_translate_sys_error(errno));
}

static void on_due(uv_poll_t *wake, int status, int events)
{
    struct load *l = wake->data;
    uint64_t times;

    (void)events;
    if (status != 0 || read(l->wake_fd, &times, sizeof(times)) < 0 || l->is_over)
        return;
    send_due(l);
    arm(l); /* if none is idle, the next answer sends what is due */
}

static void start_schedule(struct load *l)
{
    int error;

    l->wake.data = l;
    l->wake_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    error = l->wake_fd < 0 ? uv_translate_sys_error(errno)
                           : uv_poll_init(&l->loop, &l->wake, l->wake_fd);
    if (error == 0)
        error = uv_poll_start(&l->wake, UV_READABLE, on_due);
    if (error != 0)
        fail("timer", error);
    arm(l);
}

static bool is_all_sent(const struct load *l)
{
    return l->conf.requests > 0 && l->sent >= l->conf.requests;
}

static void go_on(struct conn *c)
{
    struct load *l = c->load;

    if (l->is_over || is_all_sent(l))
        return;
    if (l->conf.rate == 0) {
        send_request(c, now_ns());
        return;
    }
    list_push_back(&l->idle, &c->idle);
    send_due(l);
}

/* ---- answers ---- */

static void close_any(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void end(struct load *l)
{
    l->is_over = true;
    uv_walk(&l->loop, close_any, NULL);
}

static void note_answer(struct conn *c, uint64_t status)
{
    struct load *l = c->load;
    uint64_t now = now_ns();

    if (now < l->start_ns || now > l->stop_ns)
        return;
    if (status != l->conf.expect) {
        l->bad++;
        return;
    }
    l->good++;
    l->last_ns = now;
    histogram_add(&l->times, now - c->begun_ns);
}

/* One request is on its way at a time, so the last chunk is the last of the buffer. */
static bool ends_with_last_chunk(const struct buf *in)
{
    static const char last[] = "\r\n0\r\n\r\n";
    size_t len = sizeof(last) - 1;

    return in->len >= len && memcmp(in->data + in->len - len, last, len) == 0;
}

/* The length of the complete answer at the front of the buffer, or 0. */
static size_t find_answer(const struct buf *in, uint64_t *ret_status)
{
    const char *text = (const char *)in->data;
    const char *end = memmem(text, in->len, "\r\n\r\n", 4);
    const char *field;
    size_t head_len, body_len = 0;

    if (end == NULL)
        return 0;
    head_len = (size_t)(end - text) + 4;
    field = memmem(text, head_len, "Content-Length: ", 16);
    if (field == NULL) /* others' servers */
        field = memmem(text, head_len, "content-length: ", 16);
    if (field != NULL)
        body_len = strtoul(field + 16, NULL, 10);
    *ret_status = strtoul(text + 9, NULL, 10);
    if (memmem(text, head_len, "Transfer-Encoding: chunked", 26) != NULL)
        return ends_with_last_chunk(in) ? in->len : 0;
    return in->len >= head_len + body_len ? head_len + body_len : 0;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    struct conn *c = handle->data;

    (void)suggested;
    *ret_buf = uv_buf_init(c->load->in_bytes, sizeof(c->load->in_bytes));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *bytes)
{
    struct conn *c = stream->data;
    uint64_t status = 0;
    size_t len;

    if (n < 0 && c->load->is_over)
        return;
    if (n < 0)
        fail("read", (int)n);
    buf_put(&c->in, bytes->base, (size_t)n);
    if (buf_has_failed(&c->in))
        fail("an answer", UV_E2BIG);
    len = find_answer(&c->in, &status);
    if (len == 0)
        return;
    buf_consume(&c->in, len);
    note_answer(c, status);
    if (c->load->conf.requests > 0 && c->load->good + c->load->bad == c->load->conf.requests)
        end(c->load);
    go_on(c);
}

/* ---- the run ---- */

static void on_closed(uv_handle_t *handle);
static void connect_next(struct load *l);

static void on_end(uv_timer_t *timer)
{
    end(timer->data);
}

static void begin(struct load *l)
{
    l->begun_ns = now_ns();
    l->start_ns = l->begun_ns + l->conf.warmup_ms * 1000000;
    l->stop_ns = l->start_ns + l->conf.run_ms * 1000000;
    if (uv_timer_start(&l->end, on_end, l->conf.warmup_ms + l->conf.run_ms, 0) != 0)
        fail("start", UV_EINVAL);
    if (l->conf.rate > 0)
        start_schedule(l);
    for (uint64_t i = 0; i < l->conf.connections; i++)
        go_on(&l->conns[i]);
}

static void on_connected(uv_connect_t *req, int status)
{
    struct conn *c = req->data;

    if (status == UV_EAGAIN) { /* a unix socket whose backlog is full: once more */
        uv_close(&c->io.handle, on_closed);
        return;
    }
    if (status == 0 && c->load->conf.socket[0] == '\0')
        status = uv_tcp_nodelay(&c->io.tcp, 1);
    if (status == 0)
        status = uv_read_start(&c->io.stream, on_alloc, on_read);
    if (status != 0)
        fail("connect", status);
    connect_next(c->load);
    if (++c->load->open == c->load->conf.connections)
        begin(c->load);
}

static int connect_tcp(struct load *l, struct conn *c)
{
    struct sockaddr_in address;
    int error = uv_ip4_addr("127.0.0.1", (int)l->conf.port, &address);

    if (error == 0)
        error = uv_tcp_init(&l->loop, &c->io.tcp);
    if (error != 0)
        return error;
    c->io.handle.data = c;
    return uv_tcp_connect(&c->connect, &c->io.tcp, (const struct sockaddr *)&address, on_connected);
}

static int connect_unix(struct load *l, struct conn *c)
{
    int error = uv_pipe_init(&l->loop, &c->io.pipe, 0);

    if (error != 0)
        return error;
    c->io.handle.data = c;
    uv_pipe_connect(&c->connect, &c->io.pipe, l->conf.socket, on_connected);
    return 0;
}

static void connect_conn(struct conn *c)
{
    struct load *l = c->load;
    int error = l->conf.socket[0] != '\0' ? connect_unix(l, c) : connect_tcp(l, c);

    if (error != 0)
        fail("connect", error);
}

static void on_closed(uv_handle_t *handle)
{
    struct conn *c = handle->data;

    if (!c->load->is_over)
        connect_conn(c);
}

static void open_conn(struct load *l, struct conn *c)
{
    c->load = l;
    list_init(&c->idle);
    buf_init(&c->in, IN_BYTES);
    buf_init(&c->request, IN_BYTES);
    buf_put_span(&c->request, buf_span(&l->request.bytes));
    c->connect.data = c;
    connect_conn(c);
}

static void connect_next(struct load *l)
{
    if (l->connects < l->conf.connections)
        open_conn(l, &l->conns[l->connects++]);
}

static void run(struct load *l)
{
    const char *fault = request_init(&l->request, &l->conf.request);
    int error = uv_loop_init(&l->loop);

    if (fault != NULL) {
        fprintf(stderr, "load: %s\n", fault);
        exit(1);
    }
    list_init(&l->idle);
    l->conns = calloc(l->conf.connections, sizeof(*l->conns));
    l->end.data = l;
    if (error != 0 || l->conns == NULL || uv_timer_init(&l->loop, &l->end) != 0)
        fail("start", UV_ENOMEM);
    for (int i = 0; i < CONNECTING; i++)
        connect_next(l);
    error = uv_run(&l->loop, UV_RUN_DEFAULT);
    assert(error == 0 && uv_loop_close(&l->loop) == 0);
}

static void print(const struct load *l)
{
    const struct histogram *t = &l->times;
    double seconds = (double)l->conf.run_ms / 1000;

    if (l->conf.requests > 0)
        seconds = (double)(l->last_ns - l->start_ns) / 1e9;
    printf("{\"seconds\":%.6f,\"rate\":%.1f,\"good\":%" PRIu64 ",\"bad\":%" PRIu64
           ",\"p50_us\":%.1f,\"p99_us\":%.1f,"
           "\"p999_us\":%.1f,\"max_us\":%.1f}\n",
           seconds, (double)l->good / seconds, l->good, l->bad,
           (double)histogram_quantile(t, 0.5) / 1000, (double)histogram_quantile(t, 0.99) / 1000,
           (double)histogram_quantile(t, 0.999) / 1000, (double)t->max_ns / 1000);
}

#define FIELD(member) offsetof(struct conf, member)

static const struct opt opts[] = {
    {"port", 'p', OPT_U64, FIELD(port), "7878", 1, 65535, .help = "On 127.0.0.1."},
    {"socket", 'S', OPT_STR, FIELD(socket), "", .help = "A unix socket instead."},
    {"connections", 'c', OPT_U64, FIELD(connections), "64", 1, 20000, .help = "How many."},
    {"seconds", 's', OPT_DURATION, FIELD(run_ms), "3s", 10, 3600000,
     .help = "How long is measured."},
    {"warmup", 'w', OPT_DURATION, FIELD(warmup_ms), "500ms", 0, 60000,
     .help = "Not measured before."},
    {"rate", 'r', OPT_U64, FIELD(rate), "0", 0, 10000000,
     .help = "Requests a second, in open loop; 0: closed loop."},
    {"expect", 'e', OPT_U64, FIELD(expect), "200", 100, 599, .help = "The status that is right."},
    {"requests", 'n', OPT_U64, FIELD(requests), "0", 0, 1000000000,
     .help = "End when that many are answered, if that is before the time; 0: by time only."},
    {"method", 'm', OPT_STR, FIELD(request.method), "GET", .help = "Of the request."},
    {"path", 'P', OPT_STR, FIELD(request.path), "/ping", .help = "Of the request, with its query."},
    {"body", 'b', OPT_STR, FIELD(request.body), "", .help = "JSON; empty: none."},
    {"batch", 'B', OPT_U64, FIELD(request.batch), "0", 0, REQUEST_MARKS,
     .help = "Send an array of that many bodies; 0: the body as it is."},
    {"values", 'v', OPT_STR, FIELD(request.values), "", .value = "FILE",
     .help = "Lines of one length, for {v}."},
};

static const struct opt_program program = {.name = "load",
                                           .usage = "[options]",
                                           .summary = "Loads an HTTP server and measures.",
                                           .version = JM_VERSION,
                                           .opts = opts,
                                           .opt_count = JM_COUNT_OF(opts)};

int main(int argc, char **argv)
{
    struct load *l = calloc(1, sizeof(*l));
    struct opt_rest rest;
    int code = l != NULL ? opt_start(&program, argc, argv, &l->conf, &rest) : 1;

    if (code < 0) {
        run(l);
        print(l);
        code = l->good > 0 && l->bad == 0 ? 0 : 1;
    }
    opt_done(&rest);
    return code;
}
