/*
 * ceiling.c: the yardstick for /ping: libuv, http-parser, one loop, a fixed answer and nothing
 * else. ceiling PORT listens on 127.0.0.1 and prints "ready" when it does.
 */
#include <http_parser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct conn {
    uv_tcp_t tcp;
    http_parser parser;
};

static const char answer[] = "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                             "Content-Type: text/plain\r\nContent-Length: 5\r\n\r\npong\n";
static char bytes[65536];

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

static int on_message(http_parser *parser)
{
    struct conn *c = parser->data;
    uv_buf_t piece = uv_buf_init((char *)(uintptr_t)answer, sizeof(answer) - 1);

    return uv_try_write((uv_stream_t *)&c->tcp, &piece, 1) == (int)piece.len ? 0 : -1;
}

static const http_parser_settings settings = {.on_message_complete = on_message};

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    (void)handle;
    (void)suggested;
    *ret_buf = uv_buf_init(bytes, sizeof(bytes));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct conn *c = (struct conn *)stream;

    if (n == 0)
        return;
    if (n < 0 || http_parser_execute(&c->parser, &settings, buf->base, (size_t)n) != (size_t)n)
        uv_close((uv_handle_t *)stream, on_closed);
}

static void on_connection(uv_stream_t *server, int status)
{
    struct conn *c = calloc(1, sizeof(*c));

    if (status != 0 || c == NULL || uv_tcp_init(server->loop, &c->tcp) != 0)
        abort();
    http_parser_init(&c->parser, HTTP_REQUEST);
    c->parser.data = c;
    if (uv_accept(server, (uv_stream_t *)&c->tcp) != 0 || uv_tcp_nodelay(&c->tcp, 1) != 0 ||
        uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0)
        uv_close((uv_handle_t *)&c->tcp, on_closed);
}

int main(int argc, char **argv)
{
    struct sockaddr_in address;
    uv_tcp_t server;

    if (argc != 2 || uv_ip4_addr("127.0.0.1", atoi(argv[1]), &address) != 0)
        return 2;
    if (uv_tcp_init(uv_default_loop(), &server) != 0 ||
        uv_tcp_bind(&server, (const struct sockaddr *)&address, 0) != 0 ||
        uv_listen((uv_stream_t *)&server, 1024, on_connection) != 0) {
        fprintf(stderr, "ceiling: cannot listen on port %s\n", argv[1]);
        return 1;
    }
    puts("ready");
    fflush(stdout);
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
