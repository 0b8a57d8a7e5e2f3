/*
 * A command line and a configuration file: what stands before the first NUL is the file, behind it
 * come the words. Whatever is taken is inside its bounds; a refusal has a sentence; and what
 * --dump-config would write reads back as the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/opt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WORDS = 12, TEXT_BYTES = 1 << 16 };

struct conf {
    bool flag;
    uint64_t number;
    uint64_t bytes;
    uint64_t time_ms;
    unsigned word;
    const char *text;
    struct opt_list list;
};

#define FIELD(member) offsetof(struct conf, member)

static const char *const words[] = {"error", "warn", "info", NULL};

static const struct opt opts[] = {
    {"flag", 'f', OPT_BOOL, FIELD(flag), "no", .help = "A flag."},
    {"number", 'n', OPT_U64, FIELD(number), "5", 1, 9, .help = "A number."},
    {"size", 0, OPT_BYTES, FIELD(bytes), "1M", 1024, 1 << 30, .help = "A size."},
    {"time", 't', OPT_DURATION, FIELD(time_ms), "1s", 50, 86400000, .help = "A time."},
    {"level", 0, OPT_ENUM, FIELD(word), "info", .words = words, .help = "A word."},
    {"text", 0, OPT_STR, FIELD(text), "t", .implied = "implied", .help = "A text."},
    {"tag", 0, OPT_LIST, FIELD(list), NULL, .max = 3, .help = "A list."},
};

static const struct opt_program program = {.name = "fuzz",
                                           .usage = "[options]",
                                           .summary = "None.",
                                           .version = "1",
                                           .opts = opts,
                                           .opt_count = JM_COUNT_OF(opts),
                                           .has_config = true,
                                           .has_operands = true};

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void require_conf(const struct conf *conf)
{
    require(conf->number >= 1 && conf->number <= 9 && conf->bytes >= 1024);
    require(conf->bytes <= 1 << 30 && conf->time_ms >= 50 && conf->time_ms <= 86400000);
    require(conf->word < 3 && conf->text != NULL && conf->list.count <= 3);
}

static int file = -1;
static char path[64];

static void write_file(const void *bytes, size_t len)
{
    if (file < 0)
        file = memfd_create("conf", 0);
    require(file >= 0 && ftruncate(file, 0) == 0);
    require(pwrite(file, bytes, len, 0) == (ssize_t)len);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
}

static void require_same(const struct conf *a, const struct conf *b)
{
    require(a->flag == b->flag && a->number == b->number && a->bytes == b->bytes);
    require(a->time_ms == b->time_ms && a->word == b->word);
}

static void read_back(const struct conf *conf)
{
    char *argv[] = {(char[]){"fuzz"}, (char[]){"--config"}, path, NULL};
    struct conf again = {.flag = false};
    struct opt_rest rest;
    struct buf text;

    /* A text with a line end or spaces around it has no form in a file. */
    if (conf->text[strcspn(conf->text, "\r\n\t\v\f ")] != '\0' || conf->list.count > 0)
        return;
    buf_init(&text, TEXT_BYTES);
    opt_write_config(&program, conf, &text);
    write_file(text.data, text.len);
    require(opt_parse(&program, 3, argv, &again, &rest, &text) == OPT_GO_ON);
    require_same(conf, &again);
    buf_done(&text);
    opt_done(&rest);
}

static int split_words(char *at, char *end, char **argv)
{
    int argc = 3;

    while (at < end && argc < WORDS) {
        argv[argc++] = at;
        at += strlen(at) + 1;
    }
    argv[argc] = NULL;
    return argc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *argv[WORDS + 1] = {(char[]){"fuzz"}, (char[]){"--config"}, path};
    char *copy = malloc(size + 1);
    struct conf conf = {.flag = false};
    enum opt_outcome outcome;
    struct opt_rest rest;
    struct buf text;
    size_t len;

    require(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    copy[size] = '\0';
    len = strlen(copy);
    write_file(copy, len);
    buf_init(&text, TEXT_BYTES);
    outcome = opt_parse(&program, split_words(copy + len + 1, copy + size, argv), argv, &conf,
                        &rest, &text);
    if (outcome == OPT_GO_ON) {
        require_conf(&conf);
        read_back(&conf);
    } else {
        require(text.len > 0 && !buf_has_failed(&text));
    }
    opt_done(&rest);
    buf_done(&text);
    free(copy);
    return 0;
}
