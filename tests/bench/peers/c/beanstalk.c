/*
 * beanstalk.c: beanstalkd by its text protocol (doc/protocol.txt of beanstalkd): a producer, and a
 * worker that answers each job with one in the tube `results`, since beanstalkd itself keeps none.
 * Pipelined: what is in flight is sent without waiting for the answers before.
 *
 *     beanstalk PORT worker
 *     beanstalk PORT submit|end SECONDS IN_FLIGHT
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peer.h"

enum { BODY_BYTES = 120, IN_FLIGHT_MAX = 1024, TAKE_AT_ONCE = 16 };

struct line {
    int fd;
    FILE *in;
};

static struct line connect_to(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1;
    struct line l = {.fd = socket(AF_INET, SOCK_STREAM, 0)};

    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    if (l.fd < 0 || connect(l.fd, (struct sockaddr *)&to, sizeof(to)) != 0)
        peer_die("connect", "refused");
    setsockopt(l.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    l.in = fdopen(l.fd, "r");
    return l;
}

static void say(struct line *l, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(l->fd, bytes, len);

        if (n <= 0)
            peer_die("write", "failed");
        bytes += n;
        len -= (size_t)n;
    }
}

static void hear(struct line *l, const char *expected, char *ret_line, size_t size)
{
    if (fgets(ret_line, (int)size, l->in) == NULL ||
        strncmp(ret_line, expected, strlen(expected)) != 0)
        peer_die(expected, ret_line);
}

static void tell(struct line *l, const char *command, const char *expected)
{
    char words[128];

    say(l, command, strlen(command));
    hear(l, expected, words, sizeof(words));
}

static size_t write_put(char *at, uint64_t n)
{
    char body[BODY_BYTES + 1];

    snprintf(body, sizeof(body), "%020llu", (unsigned long long)n);
    memset(body + 20, 'x', BODY_BYTES - 20);
    body[BODY_BYTES] = '\0';
    return (size_t)sprintf(at, "put 1000 0 60 %d\r\n%s\r\n", BODY_BYTES, body);
}

/* Takes one job: its body's number and its id. */
static uint64_t hear_job(struct line *l, char *ret_id)
{
    char words[128], body[BODY_BYTES + 3];

    hear(l, "RESERVED ", words, sizeof(words));
    if (sscanf(words, "RESERVED %31s", ret_id) != 1 || fread(body, 1, BODY_BYTES + 2, l->in) == 0)
        peer_die("RESERVED", words);
    return strtoull(body, NULL, 10);
}

static void run_worker(int port)
{
    struct line l = connect_to(port);
    char out[512], id[32], words[128];

    tell(&l, "watch jobs\r\n", "WATCHING");
    tell(&l, "ignore default\r\n", "WATCHING");
    tell(&l, "use results\r\n", "USING");
    say(&l, "reserve\r\n", 9);
    for (;;) {
        uint64_t n = hear_job(&l, id);
        size_t len = write_put(out, n);

        len += (size_t)sprintf(out + len, "delete %s\r\nreserve\r\n", id);
        say(&l, out, len);
        hear(&l, "INSERTED", words, sizeof(words));
        hear(&l, "DELETED", words, sizeof(words));
    }
}

static void run_submit(int port, double seconds, unsigned in_flight)
{
    struct line l = connect_to(port);
    struct peer_run run;
    uint64_t begun[IN_FLIGHT_MAX], sent = 0, heard = 0;
    char out[512], words[128];

    tell(&l, "use parked\r\n", "USING");
    peer_begin(&run, seconds);
    while (peer_goes_on(&run) || heard < sent) {
        while (peer_goes_on(&run) && sent - heard < in_flight) {
            begun[sent % IN_FLIGHT_MAX] = peer_now_ns();
            say(&l, out, write_put(out, sent++));
        }
        hear(&l, "INSERTED", words, sizeof(words));
        peer_note(&run, begun[heard++ % IN_FLIGHT_MAX]);
    }
    peer_tell(&run);
}

/* Puts as many as may be in flight with one write. */
static void top_up(struct line *put, uint64_t *begun, uint64_t from, uint64_t to)
{
    static char out[IN_FLIGHT_MAX * 192];
    char words[128];
    size_t len = 0;

    for (uint64_t n = from; n < to; n++) {
        begun[n % IN_FLIGHT_MAX] = peer_now_ns();
        len += write_put(out + len, n);
    }
    say(put, out, len);
    for (uint64_t n = from; n < to; n++)
        hear(put, "INSERTED", words, sizeof(words));
}

/* Takes `count` results with two writes. */
static void take_results(struct line *take, struct peer_run *run, const uint64_t *begun,
                         unsigned count)
{
    char out[TAKE_AT_ONCE * 48], id[32], words[128];
    size_t len = 0;

    for (unsigned i = 0; i < count; i++)
        len += (size_t)sprintf(out + len, "reserve\r\n");
    say(take, out, len);
    len = 0;
    for (unsigned i = 0; i < count; i++) {
        peer_note(run, begun[hear_job(take, id) % IN_FLIGHT_MAX]);
        len += (size_t)sprintf(out + len, "delete %s\r\n", id);
    }
    say(take, out, len);
    for (unsigned i = 0; i < count; i++)
        hear(take, "DELETED", words, sizeof(words));
}

/* Two connections: one puts, the other takes results. */
static void run_end(int port, double seconds, unsigned in_flight)
{
    struct line put = connect_to(port), take = connect_to(port);
    struct peer_run run;
    static uint64_t begun[IN_FLIGHT_MAX];
    uint64_t sent = 0, next;

    tell(&put, "use jobs\r\n", "USING");
    tell(&take, "watch results\r\n", "WATCHING");
    tell(&take, "ignore default\r\n", "WATCHING");
    peer_begin(&run, seconds);
    do {
        next = peer_goes_on(&run) ? run.done + in_flight : sent;
        top_up(&put, begun, sent, next);
        sent = next;
        take_results(&take, &run, begun,
                     sent - run.done < TAKE_AT_ONCE ? (unsigned)(sent - run.done) : TAKE_AT_ONCE);
    } while (run.done < sent || peer_goes_on(&run));
    peer_tell(&run);
}

int main(int argc, char **argv)
{
    int port = argc > 2 ? atoi(argv[1]) : 0;
    double seconds = argc > 3 ? atof(argv[3]) : 1;
    unsigned in_flight = argc > 4 ? (unsigned)atoi(argv[4]) : 1;

    if (port == 0 || in_flight > IN_FLIGHT_MAX)
        peer_die("usage", "beanstalk PORT worker | PORT submit|end SECONDS IN_FLIGHT");
    if (strcmp(argv[2], "worker") == 0)
        run_worker(port);
    else if (strcmp(argv[2], "submit") == 0)
        run_submit(port, seconds, in_flight);
    else
        run_end(port, seconds, in_flight);
    return 0;
}
