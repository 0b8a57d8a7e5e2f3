/*
 * states.h: job states and the changes between them, read from states.def. Pure functions.
 */
#ifndef SCHEMA_STATES_H
#define SCHEMA_STATES_H

#include <stdbool.h>

#include "lib/attr.h"
#include "lib/span.h"

enum job_state {
    JOB_NONE = 0, /* no such job */
#define STATE(name, number, word, shown) name = number,
#include "schema/states.def"
#undef STATE
};

enum {
    JOB_STATE_FIRST_TERMINAL = JOB_SUCCEEDED,
    JOB_STATE_LIMIT = JOB_EXPIRED + 1, /* for arrays indexed by state */
};

enum job_event {
    JOB_ON_DUE,
    JOB_ON_DISPATCH,
    JOB_ON_PUT_BACK,
    JOB_ON_RUN,
    JOB_ON_SUCCESS,
    JOB_ON_FAILURE,
    JOB_ON_CRASH,
    JOB_ON_LOSS,
    JOB_ON_HAND_BACK,
    JOB_ON_CANCEL,
    JOB_ON_EXPIRE,
    JOB_ON_CHANGE,
    JOB_ON_NEW_ARGS,
    JOB_ON_RETRY,
    JOB_EVENT_COUNT
};

static inline bool job_state_is_terminal(enum job_state state)
{
    return (int)state >= (int)JOB_STATE_FIRST_TERMINAL;
}

/* Whether `event` may move a job from `from` to `to`. */
bool job_state_can_move(enum job_event event, enum job_state from, enum job_state to);

/* Whether `event` can happen to a job in `from` at all. */
bool job_state_can_take(enum job_event event, enum job_state from);

/* Whether that move ends the attempt, so that the attempt number rises with it. */
bool job_state_ends_attempt(enum job_event event, enum job_state from, enum job_state to);

/* "dispatched" and the like, for logs and metrics; and what clients see ("queued"). Static. */
const char *job_state_word(enum job_state state);
const char *job_state_shown(enum job_state state);

/* The states that clients know by that word, as a bit set (1 << state); 0 if there is none. */
unsigned job_state_parse_shown(struct span word);

const char *job_event_word(enum job_event event);

#endif
