/* The tables of the contract: ids, states, errors, key names, names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "schema/errors.h"
#include "schema/id.h"
#include "schema/keys.h"
#include "schema/limits.h"
#include "schema/name.h"
#include "schema/states.h"

static void ids_are_shown_as_13_characters(void **state)
{
    static const struct {
        uint64_t id;
        const char *text;
    } cases[] = {
        {1, "0000000000001"},
        {31, "000000000000Z"},
        {32, "0000000000010"},
        {ID_MAX, "7ZZZZZZZZZZZZ"},
        {UINT64_C(0x0123456789abcdef), "028T5CY4TQKFF"},
    };
    char text[ID_TEXT_BYTES];
    uint64_t back;

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(cases); i++) {
        id_format(cases[i].id, text);
        assert_string_equal(text, cases[i].text);
        assert_true(id_parse(span_of_str(text), &back));
        assert_int_equal(back, cases[i].id);
    }
}

static void ids_are_read_in_either_case_and_with_letters_for_digits(void **state)
{
    uint64_t id;

    (void)state;
    assert_true(id_parse(span_of_str("028t5cy4tqkff"), &id));
    assert_int_equal(id, 0x0123456789abcdef);
    assert_true(id_parse(span_of_str("oOooooooooLiI"), &id));
    assert_int_equal(id, (1 << 10) + (1 << 5) + 1);
}

static void what_is_no_id_is_refused(void **state)
{
    static const char *const cases[] = {
        "",
        "1",
        "000000000001",   /* 12 characters */
        "00000000000001", /* 14 */
        "0000000000000",  /* zero */
        "8000000000000",  /* above ID_MAX */
        "ZZZZZZZZZZZZZ",
        "000000000000U", /* not in the alphabet */
        "000000000000-",
        " 000000000001",
        "000000000000\xff",
        "000000000000@",
    };
    uint64_t id = 77;

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(cases); i++)
        if (id_parse(span_of_str(cases[i]), &id))
            fail_msg("'%s' is taken", cases[i]);
    assert_false(id_parse(span_of("00000000\0000", 13), &id));
    assert_int_equal(id, 77);
}

static void an_id_tells_its_time_and_its_node(void **state)
{
    uint64_t id = id_make(1795425660123, 1023);

    (void)state;
    assert_int_equal(id_wall_ms(id), 1795425660123);
    assert_int_equal(id_node(id), 1023);
    assert_int_equal(id & 0xfff, 0);
    assert_int_equal(id_node(id + 4095), 1023);
    assert_true(id_make(1795425660124, 0) > id + 4095);
    assert_int_equal(id_make(0, 5), (uint64_t)5 << ID_SEQUENCE_BITS);
    assert_int_equal(id_wall_ms(id_make(INT64_MIN, 0)), ID_EPOCH_MS);
    assert_true(id_make(ID_EPOCH_MS + (INT64_C(1) << 41) - 1, 1023) <= ID_MAX);
    assert_true(id_make(INT64_MAX, 1023) <= ID_MAX);
}

/* The moves a second time, as a person would say them: who changes states.def must change his mind
 * here as well. */
static const struct {
    enum job_event event;
    const char *from;
    const char *to;
    bool ends_attempt;
} moves[] = {
    {JOB_ON_DUE, "scheduled", "queued", false},
    {JOB_ON_DISPATCH, "queued", "dispatched", false},
    {JOB_ON_PUT_BACK, "dispatched", "queued", false},
    {JOB_ON_RUN, "dispatched", "running", false},
    {JOB_ON_SUCCESS, "scheduled queued dispatched running", "succeeded", false},
    {JOB_ON_FAILURE, "dispatched running", "scheduled", true},
    {JOB_ON_FAILURE, "dispatched running", "failed", false},
    {JOB_ON_CRASH, "dispatched running", "queued scheduled", true},
    {JOB_ON_CRASH, "dispatched running", "failed", false},
    {JOB_ON_LOSS, "dispatched running", "queued", true},
    {JOB_ON_LOSS, "dispatched running", "failed", false},
    {JOB_ON_HAND_BACK, "dispatched running", "queued", true},
    {JOB_ON_CANCEL, "scheduled queued dispatched running", "cancelled", false},
    {JOB_ON_EXPIRE, "scheduled queued", "expired", false},
    {JOB_ON_CHANGE, "scheduled queued", "scheduled queued", false},
    {JOB_ON_NEW_ARGS, "scheduled queued", "scheduled queued", true},
    {JOB_ON_RETRY, "succeeded failed cancelled expired", "queued", true},
};

static const enum job_state all_states[] = {
#define STATE(name, number, word, shown) name,
#include "schema/states.def"
#undef STATE
};

/* Whether one of the words in `list` is the state's; no state's word is part of another's. */
static bool names(const char *list, enum job_state state)
{
    return strstr(list, job_state_word(state)) != NULL;
}

static bool is_expected(enum job_event event, enum job_state from, enum job_state to,
                        bool *ret_ends)
{
    for (size_t i = 0; i < JM_COUNT_OF(moves); i++) {
        if (moves[i].event == event && names(moves[i].from, from) && names(moves[i].to, to)) {
            *ret_ends = moves[i].ends_attempt;
            return true;
        }
    }
    *ret_ends = false;
    return false;
}

static void every_event_moves_every_state_exactly_as_it_should(void **state)
{
    unsigned allowed = 0;

    (void)state;
    for (unsigned event = 0; event < JOB_EVENT_COUNT; event++) {
        for (size_t f = 0; f < JM_COUNT_OF(all_states); f++) {
            bool can_take = false;

            for (size_t t = 0; t < JM_COUNT_OF(all_states); t++) {
                enum job_event e = (enum job_event)event;
                bool ends;
                bool expected = is_expected(e, all_states[f], all_states[t], &ends);

                if (job_state_can_move(e, all_states[f], all_states[t]) != expected ||
                    job_state_ends_attempt(e, all_states[f], all_states[t]) != ends)
                    fail_msg("%s: %s to %s", job_event_word(e), job_state_word(all_states[f]),
                             job_state_word(all_states[t]));
                can_take = can_take || expected;
                allowed += expected;
            }
            assert_int_equal(job_state_can_take((enum job_event)event, all_states[f]), can_take);
        }
    }
    assert_int_equal(allowed, 42);
}

static void a_terminal_state_takes_only_a_retry_by_a_person(void **state)
{
    unsigned terminal = 0;

    (void)state;
    for (size_t s = 0; s < JM_COUNT_OF(all_states); s++) {
        if (!job_state_is_terminal(all_states[s]))
            continue;
        terminal++;
        for (unsigned event = 0; event < JOB_EVENT_COUNT; event++)
            assert_int_equal(job_state_can_take((enum job_event)event, all_states[s]),
                             event == JOB_ON_RETRY);
    }
    assert_int_equal(terminal, 4);
}

static void every_state_but_the_terminal_ones_can_be_cancelled(void **state)
{
    (void)state;
    for (size_t s = 0; s < JM_COUNT_OF(all_states); s++)
        assert_int_equal(job_state_can_move(JOB_ON_CANCEL, all_states[s], JOB_CANCELLED),
                         !job_state_is_terminal(all_states[s]));
}

static void a_job_that_does_not_exist_takes_no_event(void **state)
{
    (void)state;
    for (unsigned event = 0; event < JOB_EVENT_COUNT; event++)
        assert_false(job_state_can_take((enum job_event)event, JOB_NONE));
    assert_string_equal(job_state_word(JOB_NONE), "none");
}

static void clients_see_a_dispatched_job_as_queued(void **state)
{
    (void)state;
    assert_string_equal(job_state_shown(JOB_DISPATCHED), "queued");
    assert_string_equal(job_state_word(JOB_DISPATCHED), "dispatched");
    assert_int_equal(job_state_parse_shown(span_of_str("queued")),
                     1u << JOB_QUEUED | 1u << JOB_DISPATCHED);
    assert_int_equal(job_state_parse_shown(span_of_str("failed")), 1u << JOB_FAILED);
    assert_int_equal(job_state_parse_shown(span_of_str("dispatched")), 0);
    assert_int_equal(job_state_parse_shown(span_of_str("")), 0);
    assert_int_equal(job_state_parse_shown(span_of_str("Queued")), 0);
}

static void every_event_has_a_word_of_its_own(void **state)
{
    (void)state;
    for (unsigned a = 0; a < JOB_EVENT_COUNT; a++) {
        assert_non_null(job_event_word((enum job_event)a));
        for (unsigned b = 0; b < a; b++)
            assert_string_not_equal(job_event_word((enum job_event)a),
                                    job_event_word((enum job_event)b));
    }
}

static void errors_have_codes_of_their_own_and_fitting_statuses(void **state)
{
    (void)state;
    for (int error = -1; error > -(int)JM_ERROR_COUNT; error--) {
        assert_int_equal(errors_parse_code(errors_code(error)), error);
        assert_in_range(errors_http_status(error), 400, 599);
        assert_true(strlen(errors_code(error)) <= JM_ERROR_CODE_BYTES);
        assert_true(name_is_valid(span_of_str(errors_code(error)), JM_ERROR_CODE_BYTES));
        assert_true(strlen(errors_title(error)) > 8);
    }
    assert_int_equal(errors_parse_code("no such code"), 0);
    assert_int_equal(errors_http_status(JM_EBODYSIZE), 413);
    assert_string_equal(errors_code(JM_EWIRE), "bad_message");
}

static void what_is_no_error_of_ours_counts_as_internal(void **state)
{
    (void)state;
    assert_string_equal(errors_code(1), errors_code(JM_EINTERNAL));
    assert_string_equal(errors_code(-(int)JM_ERROR_COUNT), errors_code(JM_EINTERNAL));
    assert_string_equal(errors_code(INT32_MIN), errors_code(JM_EINTERNAL));
    assert_string_equal(errors_code(0), "ok");
    assert_int_equal(errors_http_status(0), 200);
}

static void keys_are_named_as_the_protocol_says(void **state)
{
    char key[KEYS_BYTES];
    char longest[JM_QUEUE_NAME_BYTES];
    char host[17];

    (void)state;
    keys_queue(key, "default", 7);
    assert_string_equal(key, "jm:{q:default}");
    memset(longest, 'q', sizeof(longest));
    keys_queue(key, longest, sizeof(longest));
    assert_int_equal(strlen(key), 7 + sizeof(longest));
    keys_results(key, 1023);
    assert_string_equal(key, "jm:{r:1023}");
    keys_taken(key, 0, UINT64_MAX);
    assert_string_equal(key, "jm:{r:0}:18446744073709551615");
    keys_control(key, 0xabc);
    assert_string_equal(key, "jm:{c:0000000000000abc}");
    keys_host_name(host, UINT64_MAX);
    assert_string_equal(host, "ffffffffffffffff");
}

static void names_are_letters_digits_and_four_signs(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        uint8_t byte = (uint8_t)c;
        bool expected = c != 0 && strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                         "0123456789_-.:",
                                         (int)c) != NULL;

        assert_int_equal(name_is_valid(span_of(&byte, 1), 64), expected);
    }
    assert_false(name_is_valid(span_of("", 0), 64));
    assert_true(name_is_valid(span_of_str("abc"), 3));
    assert_false(name_is_valid(span_of_str("abcd"), 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_shown_as_13_characters),
        cmocka_unit_test(ids_are_read_in_either_case_and_with_letters_for_digits),
        cmocka_unit_test(what_is_no_id_is_refused),
        cmocka_unit_test(an_id_tells_its_time_and_its_node),
        cmocka_unit_test(every_event_moves_every_state_exactly_as_it_should),
        cmocka_unit_test(a_terminal_state_takes_only_a_retry_by_a_person),
        cmocka_unit_test(every_state_but_the_terminal_ones_can_be_cancelled),
        cmocka_unit_test(a_job_that_does_not_exist_takes_no_event),
        cmocka_unit_test(clients_see_a_dispatched_job_as_queued),
        cmocka_unit_test(every_event_has_a_word_of_its_own),
        cmocka_unit_test(errors_have_codes_of_their_own_and_fitting_statuses),
        cmocka_unit_test(what_is_no_error_of_ours_counts_as_internal),
        cmocka_unit_test(keys_are_named_as_the_protocol_says),
        cmocka_unit_test(names_are_letters_digits_and_four_signs),
    };

    return cmocka_run_group_tests_name("schema", tests, NULL, NULL);
}
