#include "tests/gate/redis.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/clock.h"
#include "tests/gate/world.h"

enum { PEER_BYTES = 64 << 20 };

#define WAIT_NS UINT64_C(4000000000) /* of a blocking move, by the real clock, as the broker's */

/* ---- lists ---- */

static struct redis_key *key_of(struct redis *r, struct span name)
{
    struct redis_key *key;

    LIST_EACH(node, &r->keys)
    {
        key = LIST_ENTRY(node, struct redis_key, link);
        if (span_is_str(name, key->name))
            return key;
    }
    key = calloc(1, sizeof(*key));
    if (key == NULL || name.len >= sizeof(key->name))
        world_die("a key of Redis is too long");
    memcpy(key->name, name.data, name.len);
    list_init(&key->values);
    list_push_back(&r->keys, &key->link);
    return key;
}

static struct redis_value *value_of(struct span bytes)
{
    struct redis_value *value = malloc(sizeof(*value) + bytes.len);

    if (value == NULL)
        world_die("out of memory");
    value->len = bytes.len;
    memcpy(value->bytes, bytes.data, bytes.len);
    return value;
}

static void push(struct redis_key *key, struct span bytes, bool is_left)
{
    struct redis_value *value = value_of(bytes);

    if (is_left)
        list_push_front(&key->values, &value->link);
    else
        list_push_back(&key->values, &value->link);
    key->count++;
}

static void clear(struct redis_key *key)
{
    struct list *node;

    while ((node = list_pop_front(&key->values)) != NULL)
        free(LIST_ENTRY(node, struct redis_value, link));
    key->count = 0;
}

/* ---- answers ---- */

static void put_bulk(struct buf *out, struct span bytes)
{
    buf_printf(out, "$%zu\r\n", bytes.len);
    buf_put_span(out, bytes);
    buf_put_str(out, "\r\n");
}

static void put_number(struct buf *out, long long number)
{
    buf_printf(out, ":%lld\r\n", number);
}

/* ---- commands ---- */

static long long number_of(struct span word)
{
    char text[24] = "";

    memcpy(text, word.data, word.len < sizeof(text) ? word.len : sizeof(text) - 1);
    return strtoll(text, NULL, 10);
}

static void range(struct redis *r, struct redis_peer *peer)
{
    struct redis_key *key = key_of(r, r->words[1]);
    long long len = (long long)key->count, first = number_of(r->words[2]) + len;
    long long last = number_of(r->words[3]) + len, at = 0;

    first = first < 0 ? 0 : first;
    buf_printf(&peer->out, "*%lld\r\n", last >= first ? last - first + 1 : 0);
    LIST_EACH(node, &key->values)
    {
        struct redis_value *value = LIST_ENTRY(node, struct redis_value, link);

        if (at >= first && at <= last)
            put_bulk(&peer->out, span_of(value->bytes, value->len));
        at++;
    }
}

static void rename_key(struct redis *r, struct redis_peer *peer)
{
    struct redis_key *from = key_of(r, r->words[1]), *to = key_of(r, r->words[2]);

    if (from->count == 0) {
        buf_put_str(&peer->out, "-ERR no such key\r\n");
        return;
    }
    put_number(&peer->out, to->count == 0);
    if (to->count > 0)
        return;
    list_splice_back(&to->values, &from->values);
    to->count = from->count;
    from->count = 0;
}

static void remove_value(struct redis *r, struct redis_peer *peer)
{
    struct redis_key *key = key_of(r, r->words[1]);

    LIST_EACH_SAFE(node, &key->values)
    {
        struct redis_value *value = LIST_ENTRY(node, struct redis_value, link);

        if (!span_is_equal(span_of(value->bytes, value->len), r->words[3]))
            continue;
        list_remove(node);
        free(value);
        key->count--;
        put_number(&peer->out, 1);
        return;
    }
    put_number(&peer->out, 0);
}

static bool is_word(const struct redis *r, const char *word)
{
    return span_is_str(r->words[0], word);
}

static void run_list(struct redis *r, struct redis_peer *peer, size_t count)
{
    struct redis_key *key = key_of(r, r->words[1]);

    for (size_t i = 2; i < count; i++)
        push(key, r->words[i], is_word(r, "LPUSH"));
    put_number(&peer->out, (long long)key->count);
}

static void begin_move(struct redis *r, struct redis_peer *peer)
{
    snprintf(peer->waits_for, sizeof(peer->waits_for), "%.*s", (int)r->words[1].len,
             (const char *)r->words[1].data);
    peer->waits_since_ns = clock_mono_ns(clock_real());
}

static void run(struct redis *r, struct redis_peer *peer, size_t count)
{
    if (is_word(r, "LPUSH") || is_word(r, "RPUSH"))
        run_list(r, peer, count);
    else if (is_word(r, "LRANGE"))
        range(r, peer);
    else if (is_word(r, "RENAMENX"))
        rename_key(r, peer);
    else if (is_word(r, "LREM"))
        remove_value(r, peer);
    else if (is_word(r, "BLMOVE"))
        begin_move(r, peer);
    else if (is_word(r, "HGETALL"))
        buf_put_span(&peer->out, buf_span(&r->hosts));
    else if (is_word(r, "SET"))
        buf_put_str(&peer->out, "$-1\r\n");
    else if (is_word(r, "INFO"))
        put_bulk(&peer->out, span_of_str("run_id:0123456789abcdef\r\n"));
    else if (is_word(r, "CLIENT"))
        put_number(&peer->out, span_is_str(r->words[1], "ID"));
    else if (is_word(r, "CONFIG"))
        buf_put_str(&peer->out, "*2\r\n$16\r\nmaxmemory-policy\r\n$10\r\nnoeviction\r\n");
    else if (is_word(r, "UNLINK")) {
        clear(key_of(r, r->words[1]));
        put_number(&peer->out, 1);
    } else
        world_die("Redis was sent a command that this one does not know");
}

/* ---- the links ---- */

/* A line "<sign>N\r\n" at *at; false if it is not all there. */
static bool read_line(struct span in, size_t *at, size_t *ret_number)
{
    const uint8_t *end = in.len > *at ? memchr(in.data + *at, '\n', in.len - *at) : NULL;

    if (end == NULL)
        return false;
    *ret_number = (size_t)number_of(span_of(in.data + *at + 1, (size_t)(end - in.data) - *at - 1));
    *at = (size_t)(end - in.data) + 1;
    return true;
}

/* The words of one command; returns its length, or 0 if it is not all there. */
static size_t read_command(struct redis *r, struct span in, size_t *ret_count)
{
    size_t at = 0, len;

    if (!read_line(in, &at, ret_count))
        return 0;
    if (*ret_count > REDIS_WORDS_MAX)
        world_die("a command of Redis has too many words");
    for (size_t i = 0; i < *ret_count; i++) {
        if (!read_line(in, &at, &len) || in.len < at + len + 2)
            return 0;
        r->words[i] = span_of(in.data + at, len);
        at += len + 2;
    }
    return at;
}

static bool receive(struct redis_peer *peer)
{
    bool has_some = false;
    ssize_t n = 1;

    while (n > 0) {
        uint8_t *room = buf_reserve(&peer->in, 1 << 16);

        if (room == NULL)
            world_die("out of memory");
        n = recv(peer->fd, room, 1 << 16, MSG_DONTWAIT);
        if (n > 0)
            buf_advance(&peer->in, (size_t)n);
        has_some = has_some || n > 0;
    }
    return has_some;
}

static bool flush(struct redis_peer *peer)
{
    ssize_t n = peer->out.len > 0
                    ? send(peer->fd, peer->out.data, peer->out.len, MSG_DONTWAIT | MSG_NOSIGNAL)
                    : 0;

    if (n > 0)
        buf_consume(&peer->out, (size_t)n);
    return n > 0;
}

/* What comes behind a command that waits is left until it is answered. */
static void run_all(struct redis *r, struct redis_peer *peer)
{
    size_t len, count, at = 0;

    while (peer->waits_for[0] == '\0' &&
           (len = read_command(r, span_of(peer->in.data + at, peer->in.len - at), &count)) > 0) {
        run(r, peer, count);
        at += len;
    }
    buf_consume(&peer->in, at);
}

static bool serve_peer(struct redis *r, struct redis_peer *peer)
{
    bool has_some = receive(peer);

    run_all(r, peer);
    return has_some;
}

static void answer_move(struct redis *r, struct redis_peer *peer)
{
    struct redis_key *key = key_of(r, span_of_str(peer->waits_for));
    struct redis_value *last = LIST_ENTRY(key->values.prev, struct redis_value, link);
    bool is_over = clock_mono_ns(clock_real()) - peer->waits_since_ns > WAIT_NS;

    if (key->count == 0 && !is_over)
        return;
    peer->waits_for[0] = '\0';
    if (key->count > 0)
        put_bulk(&peer->out, span_of(last->bytes, last->len));
    else
        buf_put_str(&peer->out, "$-1\r\n");
    run_all(r, peer);
}

static void answer_moves(struct redis *r)
{
    for (size_t i = 0; i < REDIS_LINKS; i++)
        if (r->peers[i].fd >= 0 && r->peers[i].waits_for[0] != '\0')
            answer_move(r, &r->peers[i]);
}

static bool accept_peer(struct redis *r)
{
    int fd = accept4(r->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0)
        return false;
    for (size_t i = 0; i < REDIS_LINKS; i++)
        if (r->peers[i].fd < 0) {
            r->peers[i].fd = fd;
            return true;
        }
    world_die("the broker has more than two links to Redis");
    return false;
}

bool redis_serve(struct redis *r)
{
    bool has_some = accept_peer(r);

    for (size_t i = 0; i < REDIS_LINKS; i++)
        if (r->peers[i].fd >= 0 && serve_peer(r, &r->peers[i]))
            has_some = true;
    answer_moves(r);
    for (size_t i = 0; i < REDIS_LINKS; i++)
        if (r->peers[i].fd >= 0 && flush(&r->peers[i]))
            has_some = true;
    return has_some;
}

/* ---- outside ---- */

void redis_push(struct redis *r, const char *key, struct span value)
{
    push(key_of(r, span_of_str(key)), value, true);
}

struct redis_value *redis_pop(struct redis *r, const char *name)
{
    struct redis_key *key = key_of(r, span_of_str(name));
    struct list *last = key->values.prev;

    if (key->count == 0)
        return NULL;
    list_remove(last);
    key->count--;
    return LIST_ENTRY(last, struct redis_value, link);
}

void redis_set_host(struct redis *r, const char *field, struct span beat)
{
    buf_clear(&r->hosts);
    buf_put_str(&r->hosts, "*2\r\n");
    put_bulk(&r->hosts, span_of_str(field));
    put_bulk(&r->hosts, beat);
}

void redis_open(struct redis *r, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    list_init(&r->keys);
    buf_init(&r->hosts, 1 << 16);
    buf_put_str(&r->hosts, "*0\r\n");
    for (size_t i = 0; i < REDIS_LINKS; i++) {
        r->peers[i] = (struct redis_peer){.fd = -1};
        buf_init(&r->peers[i].in, PEER_BYTES);
        buf_init(&r->peers[i].out, PEER_BYTES);
    }
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    r->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (r->listener < 0 || bind(r->listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(r->listener, REDIS_LINKS) != 0)
        world_die(strerror(errno));
}

void redis_close(struct redis *r)
{
    struct list *node;

    while ((node = list_pop_front(&r->keys)) != NULL) {
        clear(LIST_ENTRY(node, struct redis_key, link));
        free(LIST_ENTRY(node, struct redis_key, link));
    }
    for (size_t i = 0; i < REDIS_LINKS; i++) {
        buf_done(&r->peers[i].in);
        buf_done(&r->peers[i].out);
        if (r->peers[i].fd >= 0)
            (void)close(r->peers[i].fd);
    }
    buf_done(&r->hosts);
    (void)close(r->listener);
}
