#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/opt.h"

struct conf {
    const char *redis;
    uint64_t slots;
    uint64_t body_bytes;
    uint64_t grace_ms;
    unsigned level;
    bool is_test;
    uint64_t wait_ms;
    struct opt_list tags;
};

static const char *const levels[] = {"error", "warn", NULL};

#define FIELD(member) offsetof(struct conf, member)

static const struct opt opts[] = {
    {"redis", 'r', OPT_STR, FIELD(redis), "unix:/run/x", .value = "ADDRESS",
     .env = "TEST_OPT_REDIS", .help = "Where Redis is."},
    {"slots", 'n', OPT_U64, FIELD(slots), "4", 1, 256, .help = "How many."},
    {"max-body", 0, OPT_BYTES, FIELD(body_bytes), "1M", 1, 1 << 30, .help = "The largest body."},
    {"grace", 0, OPT_DURATION, FIELD(grace_ms), "30", 0, 3600000, .help = "How long."},
    {"level", 0, OPT_ENUM, FIELD(level), "warn", .words = levels, .help = "What to tell."},
    {"test", 't', OPT_BOOL, FIELD(is_test), "no", .help = "Test it."},
    {"wait", 0, OPT_DURATION, FIELD(wait_ms), NULL, 0, 60000, .implied = "60", .help = "Wait."},
    {"tag", 'g', OPT_LIST, FIELD(tags), .max = 2, .help = "A tag."},
};

static const struct opt_program program = {.name = "prog",
                                           .usage = "[options] WORD...",
                                           .summary = "Tries options.",
                                           .version = "1.2",
                                           .opts = opts,
                                           .opt_count = JM_COUNT_OF(opts),
                                           .has_config = true,
                                           .has_operands = true};

struct fixture {
    struct conf conf;
    struct opt_rest rest;
    struct buf text;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    buf_init(&f->text, 1 << 16);
    unsetenv("TEST_OPT_REDIS");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    opt_done(&f->rest);
    buf_done(&f->text);
    free(f);
    return 0;
}

static enum opt_outcome parse(struct fixture *f, char **argv)
{
    int argc = 0;
    enum opt_outcome outcome;

    while (argv[argc] != NULL)
        argc++;
    opt_done(&f->rest);
    outcome = opt_parse(&program, argc, argv, &f->conf, &f->rest, &f->text);
    buf_put_u8(&f->text, '\0');
    return outcome;
}

#define PARSE(f, ...) parse(f, (char *[]){"prog", __VA_ARGS__ __VA_OPT__(, ) NULL})

static const char *text_of(struct fixture *f)
{
    return (const char *)f->text.data;
}

static void defaults_are_read_from_the_table(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(PARSE(f), OPT_GO_ON);
    assert_string_equal(f->conf.redis, "unix:/run/x");
    assert_int_equal(f->conf.slots, 4);
    assert_int_equal(f->conf.body_bytes, 1 << 20);
    assert_int_equal(f->conf.grace_ms, 30000);
    assert_int_equal(f->conf.level, 1);
    assert_false(f->conf.is_test);
    assert_int_equal(f->rest.operand_count, 0);
}

static void every_form_of_the_command_line_is_read(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(PARSE(f, "--redis", "a:1", "-n8", "--max-body=64K", "--grace=250ms",
                           "--level=error", "-t", "--wait"),
                     OPT_GO_ON);
    assert_string_equal(f->conf.redis, "a:1");
    assert_int_equal(f->conf.slots, 8);
    assert_int_equal(f->conf.body_bytes, 65536);
    assert_int_equal(f->conf.grace_ms, 250);
    assert_int_equal(f->conf.level, 0);
    assert_true(f->conf.is_test);
    assert_int_equal(f->conf.wait_ms, 60000);
    assert_int_equal(PARSE(f, "--test", "--no-test", "-n", "9", "--wait=5"), OPT_GO_ON);
    assert_false(f->conf.is_test);
    assert_int_equal(f->conf.slots, 9);
    assert_int_equal(f->conf.wait_ms, 5000);
}

static void a_list_takes_each_value_up_to_its_maximum(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(PARSE(f, "--tag", "a", "-gb"), OPT_GO_ON);
    assert_int_equal(f->conf.tags.count, 2);
    assert_string_equal(f->conf.tags.items[0], "a");
    assert_string_equal(f->conf.tags.items[1], "b");
    f->conf.tags.count = 0;
    assert_int_equal(PARSE(f, "-ga", "-gb", "-gc"), OPT_REFUSED);
    assert_string_equal(text_of(f), "--tag may be given at most 2 times");
}

static void a_number_alone_is_read_as_an_option_would_be(void **state)
{
    uint64_t value = 7;

    (void)state;
    assert_true(opt_parse_number(OPT_DURATION, "1h", &value));
    assert_int_equal(value, 3600000);
    assert_true(opt_parse_number(OPT_U64, "12", &value));
    assert_int_equal(value, 12);
    assert_false(opt_parse_number(OPT_DURATION, "", &value));
    assert_false(opt_parse_number(OPT_DURATION, "-1s", &value));
    assert_false(opt_parse_number(OPT_DURATION, "1 s", &value));
    assert_false(opt_parse_number(OPT_U64, "1K", &value));
    assert_int_equal(value, 12);
}

static void operands_keep_their_order_between_options(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(PARSE(f, "one", "-t", "two", "--wait", "three", "--", "--redis"), OPT_GO_ON);
    assert_int_equal(f->rest.operand_count, 4);
    assert_string_equal(f->rest.operands[0], "one");
    assert_string_equal(f->rest.operands[1], "two");
    assert_string_equal(f->rest.operands[2], "three");
    assert_string_equal(f->rest.operands[3], "--redis");
}

static void a_refusal_names_the_option_and_its_range(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(PARSE(f, "--slots", "257"), OPT_REFUSED);
    assert_string_equal(text_of(f), "--slots: '257' is not a number from 1 to 256");
    assert_int_equal(PARSE(f, "--slots", "-1"), OPT_REFUSED);
    assert_int_equal(PARSE(f, "--slots", "99999999999999999999"), OPT_REFUSED);
    assert_int_equal(PARSE(f, "--slots", "3s"), OPT_REFUSED);
    assert_int_equal(PARSE(f, "--grace", "2h"), OPT_REFUSED);
    assert_string_equal(text_of(f), "--grace: '2h' is not a time from 0ms to 1h");
    assert_int_equal(PARSE(f, "--max-body", "18446744073709551615G"), OPT_REFUSED);
    assert_string_equal(text_of(f),
                        "--max-body: '18446744073709551615G' is not a size from 1 to 1G");
    assert_int_equal(PARSE(f, "--level", "x"), OPT_REFUSED);
    assert_string_equal(text_of(f), "--level: 'x' is none of error, warn");
    assert_int_equal(PARSE(f, "--test=maybe"), OPT_REFUSED);
    assert_int_equal(PARSE(f, "--redis"), OPT_REFUSED);
    assert_string_equal(text_of(f), "--redis: a value is missing");
}

static void an_unknown_option_is_refused_by_name(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(PARSE(f, "--slot=3"), OPT_REFUSED);
    assert_string_equal(text_of(f), "there is no option '--slot'; see --help");
    assert_int_equal(PARSE(f, "--no-slots"), OPT_REFUSED);
    assert_int_equal(PARSE(f, "-x"), OPT_REFUSED);
    assert_string_equal(text_of(f), "there is no option '-x'; see --help");
}

static void the_command_line_beats_the_environment_beats_the_file(void **state)
{
    struct fixture *f = *state;
    char path[] = "/tmp/test_opt_XXXXXX";
    FILE *file = fdopen(mkstemp(path), "w");

    fputs("# a comment\n\n redis = file:1 \nslots=7\nlevel = error\n", file);
    fclose(file);
    setenv("TEST_OPT_REDIS", "env:1", 1);
    assert_int_equal(PARSE(f, "--slots=8", "--config", path), OPT_GO_ON);
    assert_string_equal(f->conf.redis, "env:1");
    assert_int_equal(f->conf.slots, 8);
    assert_int_equal(f->conf.level, 0);
    assert_int_equal(f->rest.operand_count, 0);
    unsetenv("TEST_OPT_REDIS");
    assert_int_equal(PARSE(f, "--config", path), OPT_GO_ON);
    assert_string_equal(f->conf.redis, "file:1");
    unlink(path);
    assert_int_equal(PARSE(f, "--config", path), OPT_REFUSED);
}

static void a_wrong_line_of_the_file_is_named(void **state)
{
    struct fixture *f = *state;
    char path[] = "/tmp/test_opt_XXXXXX";
    char expected[200];
    FILE *file = fdopen(mkstemp(path), "w");

    fputs("slots = 1\nslots = many\n", file);
    fclose(file);
    assert_int_equal(PARSE(f, "--config", path), OPT_REFUSED);
    snprintf(expected, sizeof(expected), "--slots: 'many' is not a number from 1 to 256 (%s:2)",
             path);
    assert_string_equal(text_of(f), expected);
    unlink(path);
}

static void help_names_every_option(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(PARSE(f, "--help"), OPT_SHOWN);
    for (size_t i = 0; i < JM_COUNT_OF(opts); i++) {
        assert_non_null(strstr(text_of(f), opts[i].name));
        assert_non_null(strstr(text_of(f), opts[i].help));
    }
    assert_non_null(strstr(text_of(f), "A tag. May be given up to 2 times."));
    assert_non_null(strstr(text_of(f), "From 0ms to 1h. Default 30."));
    for (const char *line = text_of(f); *line != '\0'; line += strcspn(line, "\n") + 1)
        assert_true(strcspn(line, "\n") <= 92);
    assert_int_equal(PARSE(f, "-V"), OPT_SHOWN);
    assert_string_equal(text_of(f), "prog 1.2\n");
}

static void a_dumped_config_reads_back_the_same(void **state)
{
    struct fixture *f = *state;
    char path[] = "/tmp/test_opt_XXXXXX";
    FILE *file = fdopen(mkstemp(path), "w");
    struct conf before;

    assert_int_equal(PARSE(f, "-n5", "--grace=1500ms", "-t", "--max-body=3K", "--wait=7", "--tag=x",
                           "--tag=y z", "--dump-config"),
                     OPT_SHOWN);
    before = f->conf;
    fwrite(f->text.data, 1, f->text.len - 1, file);
    fclose(file);
    f->conf = (struct conf){0};
    assert_int_equal(PARSE(f, "--config", path), OPT_GO_ON);
    assert_string_equal(f->conf.redis, before.redis);
    assert_int_equal(f->conf.slots, 5);
    assert_int_equal(f->conf.grace_ms, 1500);
    assert_int_equal(f->conf.body_bytes, 3072);
    assert_int_equal(f->conf.wait_ms, 7000);
    assert_true(f->conf.is_test);
    assert_int_equal(f->conf.tags.count, 2);
    assert_string_equal(f->conf.tags.items[1], "y z");
    unlink(path);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(defaults_are_read_from_the_table),
        TEST(every_form_of_the_command_line_is_read),
        TEST(a_list_takes_each_value_up_to_its_maximum),
        TEST(a_number_alone_is_read_as_an_option_would_be),
        TEST(operands_keep_their_order_between_options),
        TEST(a_refusal_names_the_option_and_its_range),
        TEST(an_unknown_option_is_refused_by_name),
        TEST(the_command_line_beats_the_environment_beats_the_file),
        TEST(a_wrong_line_of_the_file_is_named),
        TEST(help_names_every_option),
        TEST(a_dumped_config_reads_back_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
