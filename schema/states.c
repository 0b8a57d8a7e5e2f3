#include "schema/states.h"

#include <stddef.h>

struct move {
    enum job_event event;
    enum job_state from;
    enum job_state to;
    bool ends_attempt;
};

struct state_row {
    enum job_state state;
    const char *word;
    const char *shown;
};

static const struct move moves[] = {
#define MOVE(event, from, to, ends_attempt) {event, from, to, ends_attempt},
#include "schema/states.def"
#undef MOVE
};

static const struct state_row states[] = {
#define STATE(name, number, word, shown) {name, word, shown},
#include "schema/states.def"
#undef STATE
};

static const struct move *find_move(enum job_event event, enum job_state from, enum job_state to)
{
    for (size_t i = 0; i < JM_COUNT_OF(moves); i++)
        if (moves[i].event == event && moves[i].from == from && moves[i].to == to)
            return &moves[i];
    return NULL;
}

bool job_state_can_move(enum job_event event, enum job_state from, enum job_state to)
{
    return find_move(event, from, to) != NULL;
}

bool job_state_can_take(enum job_event event, enum job_state from)
{
    for (size_t i = 0; i < JM_COUNT_OF(moves); i++)
        if (moves[i].event == event && moves[i].from == from)
            return true;
    return false;
}

bool job_state_ends_attempt(enum job_event event, enum job_state from, enum job_state to)
{
    const struct move *move = find_move(event, from, to);

    return move != NULL && move->ends_attempt;
}

static const struct state_row *row_of(enum job_state state)
{
    static const struct state_row none = {JOB_NONE, "none", "none"};

    for (size_t i = 0; i < JM_COUNT_OF(states); i++)
        if (states[i].state == state)
            return &states[i];
    return &none;
}

const char *job_state_word(enum job_state state)
{
    return row_of(state)->word;
}

const char *job_state_shown(enum job_state state)
{
    return row_of(state)->shown;
}

unsigned job_state_parse_shown(struct span word)
{
    unsigned set = 0;

    for (size_t i = 0; i < JM_COUNT_OF(states); i++)
        if (span_is_str(word, states[i].shown))
            set |= 1u << states[i].state;
    return set;
}

const char *job_event_word(enum job_event event)
{
    static const char *const words[JOB_EVENT_COUNT] = {
        [JOB_ON_DUE] = "due",
        [JOB_ON_DISPATCH] = "dispatch",
        [JOB_ON_PUT_BACK] = "put back",
        [JOB_ON_RUN] = "run",
        [JOB_ON_SUCCESS] = "success",
        [JOB_ON_FAILURE] = "failure",
        [JOB_ON_CRASH] = "crash",
        [JOB_ON_LOSS] = "loss",
        [JOB_ON_HAND_BACK] = "hand back",
        [JOB_ON_CANCEL] = "cancel",
        [JOB_ON_EXPIRE] = "expire",
        [JOB_ON_CHANGE] = "change",
        [JOB_ON_NEW_ARGS] = "new args",
        [JOB_ON_RETRY] = "retry",
    };

    return words[event];
}
