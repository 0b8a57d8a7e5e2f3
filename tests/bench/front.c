/*
 * front.c: the HTTP front by itself (broker/http_server.h), with one answer to everything: what the
 * front costs without the routes behind it.
 *
 * usage: front PORT|unix:/path      SIGTERM stops it in order
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "broker/http_server.h"

struct front {
    uv_loop_t loop;
    uv_signal_t sigterm;
    struct http_server *server;
};

static void on_request(void *owner, struct http_exchange *x)
{
    (void)owner;
    buf_put_str(&x->body_out, "pong\n");
    http_exchange_answer(x, 200, "text/plain; charset=utf-8");
}

static void on_stopped(void *owner)
{
    struct front *front = owner;

    uv_close((uv_handle_t *)&front->sigterm, NULL);
}

static void on_sigterm(uv_signal_t *sigterm, int number)
{
    struct front *front = sigterm->data;

    (void)number;
    (void)uv_signal_stop(sigterm);
    http_server_stop(front->server, 1000, on_stopped, front);
}

static int start(struct front *front, const struct http_handler *handler, const char *address)
{
    const struct http_conf conf = {.max_connections = 0};
    struct http_reason reason = {{0}};

    front->sigterm.data = front;
    if (uv_loop_init(&front->loop) != 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR ||
        uv_signal_init(&front->loop, &front->sigterm) != 0 ||
        uv_signal_start(&front->sigterm, on_sigterm, SIGTERM) != 0 ||
        http_server_open(&front->loop, &conf, handler, &front->server) != 0)
        return -1;
    if (http_server_listen(front->server, address, &reason) == 0)
        return 0;
    fprintf(stderr, "front: %s\n", reason.text);
    return -1;
}

int main(int argc, char **argv)
{
    static struct front front;
    const struct http_handler handler = {.on_request = on_request};
    const char *where = argc > 1 ? argv[1] : "0";
    char address[160];

    snprintf(address, sizeof(address), "%s%s",
             strncmp(where, "unix:", 5) == 0 ? "" : "127.0.0.1:", where);
    if (start(&front, &handler, address) != 0)
        return 1;
    printf("ready %s\n", http_server_address(front.server));
    fflush(stdout);
    uv_run(&front.loop, UV_RUN_DEFAULT);
    http_server_free(front.server);
    return uv_loop_close(&front.loop) == 0 ? 0 : 1;
}
