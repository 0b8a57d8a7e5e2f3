/*
 * sim.h: the broker's core under a seeded world: its four seams (clock, timers, carrier, runner
 * with a real store) are fakes that crash, forget, duplicate and delay as a generator says. One
 * seed is one history, replayed exactly.
 *
 *     sim ─┬─ clock, timers, events   one timeline; nothing happens but by an event on it
 *          ├─ redis   (redis.c)       lists and a hash; the core's carrier, and the fleet's access
 *          ├─ runner  (runner.c)      batches on a real SQLite store
 *          ├─ fleet   (fleet.c)       worker hosts: claim, run, publish, beat, stall, die
 *          ├─ clients (clients.c)     submit, repeat, cancel, limit and pause; remember what they
 *          │          (clients_change.c)  were promised; change, retry, and do so to many
 *          └─ check   (check.c)       reads the database after every step and compares; likewise
 *                     (check_limits.c) what is out, with the limits
 */
#ifndef TESTS_SIM_H
#define TESTS_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/core.h"
#include "lib/buf.h"
#include "lib/list.h"

struct sim;

/* ---- world ---- */

struct sim_event {
    struct list link;
    uint64_t at_ns;
    void (*run)(struct sim *s, void *arg);
    void *arg;
    bool is_arg_owned; /* freed with the event, if that never runs */
};

enum sim_plant {
    SIM_PLANT_NONE,
    SIM_PLANT_NO_ATTEMPT_CHECK, /* an end is applied whatever attempt it belongs to */
    SIM_PLANT_NO_LIMITS,        /* what people set for queues is forgotten when it counts */
};

/* ---- redis ---- */

struct sim_blob {
    struct list link;
    size_t len;
    uint8_t bytes[];
};

struct sim_key {
    struct list link;
    char name[KEYS_BYTES];
    struct list blobs; /* left to right */
};

struct sim_beat {
    struct list link;
    uint64_t host;
    char name[17]; /* of its field */
    size_t len;
    uint8_t bytes[];
};

struct sim_redis {
    struct carrier carrier;
    struct sim *sim;
    struct list keys;
    struct list beats;
    struct list drawn;         /* blobs that the last answer points into */
    struct list open;          /* carrier_req.link: sent, not carried out */
    bool is_link_up;           /* of the broker */
    bool is_up;                /* for everybody */
    bool refuses;              /* writes */
    struct carrier_req *await; /* or NULL */
    uint64_t await_turn; /* rises with each, so that what belongs to an earlier one is known */
    bool is_blocked;     /* it waits in Redis */
    bool has_orphan;     /* one whose link broke still does */
    struct carrier_req orphan;
    char epoch[40];
    unsigned run_id;
    uint64_t quiet_ns; /* the last request is carried out then: order is kept */
    struct span *items;
};

void sim_redis_init(struct sim *s);
void sim_redis_done(struct sim *s);
void sim_redis_flush(struct sim *s);      /* FLUSHALL */
void sim_redis_break_link(struct sim *s); /* of the broker; it comes up again by itself */
void sim_redis_restart(struct sim *s);    /* empty */
struct sim_key *sim_redis_key(struct sim *s, const char *name);
void sim_redis_lpush(struct sim *s, const char *key, struct span value);
struct sim_blob *sim_redis_rpop(struct sim *s, const char *key); /* the caller frees it; or NULL */
void sim_redis_beat(struct sim *s, uint64_t host, struct span beat);

/* ---- runner ---- */

struct sim_runner {
    struct runner runner;
    struct sim *sim;
    struct list waiting;   /* store_op.link */
    struct list committed; /* batches whose on_done has not come */
    bool is_scheduled;
    bool is_full;     /* the disk: batches are refused */
    uint64_t refused; /* batches so far */
    bool is_dead;     /* the broker has crashed: operations come back undone */
};

void sim_runner_init(struct sim *s);
/* Gives back undone what waits, and whatever that calls forth. */
void sim_runner_crash(struct sim *s);

/* ---- fleet ---- */

enum { SIM_HOSTS = 3, SIM_SLOTS = 2 };

struct sim_slot {
    bool is_busy;
    bool has_begun;
    bool is_unpublished; /* ended; Redis did not take the event yet */
    uint64_t id;
    uint32_t attempt;
    enum wire_event_kind kind; /* how it will end */
    uint64_t begun_ns;
    uint64_t turn; /* rises with each claim, so that an event of an earlier one is known */
};

struct sim_host {
    struct sim *sim;
    uint64_t id;
    uint64_t seq;
    bool is_alive;
    bool is_stopped; /* SIGSTOP */
    uint64_t beat_ns;
    struct sim_slot slots[SIM_SLOTS];
};

void sim_fleet_init(struct sim *s);

/* ---- clients ---- */

struct sim_call; /* a submit, or a change of what is there, that is under way */

/* What its jobs are of. */
enum { SIM_QUEUES = 2, SIM_TASKS = 2, SIM_KEYS = 3 };
extern const char *const sim_queues[SIM_QUEUES];
extern const char *const sim_tasks[SIM_TASKS];
extern const char *const sim_keys[SIM_KEYS];

struct sim_promise { /* an accepted job */
    uint64_t id;
    bool is_cancelled; /* a cancel was acknowledged, and nobody has asked for a retry since */
    unsigned retries;  /* that were asked for, whatever has become of them */
};

void sim_clients_init(struct sim *s);
struct sim_promise *sim_clients_find(struct sim *s, uint64_t id); /* NULL: nothing was promised */
void sim_clients_note_cancelled(struct sim *s, uint64_t id);
/* Does something to jobs that were promised, if there are some. */
void sim_clients_change(struct sim *s);

/* ---- check ---- */

/* Every end that a worker ever reported. */
struct sim_report {
    uint64_t id;
    uint32_t attempt;
    enum wire_event_kind kind;
};

void sim_check_init(struct sim *s);
void sim_check_done(struct sim *s);
void sim_check_report(struct sim *s, uint64_t id, uint32_t attempt, enum wire_event_kind kind);
void sim_check_step(struct sim *s);
/* Nothing is left to do: every promise is kept. */
void sim_check_end(struct sim *s);

/* What is dispatched or running, by the database, against the limits that are in force. */
void sim_check_limits_init(struct sim *s);
void sim_check_limits_done(struct sim *s);
void sim_check_limits_step(struct sim *s);

void sim_fail(struct sim *s, const char *fmt, ...) JM_PRINTF(2, 3);

/* ---- all ---- */

struct sim {
    uint64_t seed;
    uint64_t random_state;
    uint64_t (*choose)(struct sim *s, uint64_t below); /* if it is set, in the generator's place */
    enum sim_plant plant;
    bool faults_on;
    uint64_t now_ns;
    int64_t wall_ms; /* at now_ns = 0, moved by clock steps */
    struct clock clock;
    struct timers timers;
    struct list armed;
    struct list events;
    uint64_t steps;

    char dir[64];
    char db[96];
    struct store *store;
    struct reader *reader;
    struct core *core;
    unsigned crashes;

    struct sim_redis redis;
    struct sim_runner runner;
    struct sim_host hosts[SIM_HOSTS];
    struct list calls;
    struct sim_promise *promises;
    size_t promise_count;
    size_t to_submit;
    struct sim_report *reports;
    size_t report_count;
    struct sim_check *check;
    struct sim_check_limits *check_limits;
    char failure[256]; /* empty: none so far */
};

uint64_t sim_random(struct sim *s, uint64_t below);
bool sim_chance(struct sim *s, unsigned percent);
void sim_at(struct sim *s, uint64_t in_ns, void (*run)(struct sim *s, void *arg), void *arg);

/* The same with an arg from malloc that `run` frees. */
void sim_at_owned(struct sim *s, uint64_t in_ns, void (*run)(struct sim *s, void *arg), void *arg);

#define SIM_MS UINT64_C(1000000)

/* Starts the broker on the database as it is; and kills it. */
void sim_broker_start(struct sim *s);
void sim_broker_crash(struct sim *s);

/* A world with a Redis and a broker and nobody else, for a scripted scenario; to be closed. */
void sim_open(struct sim *s, uint64_t seed);
void sim_close(struct sim *s);

/* The next event or timer; false if there is none. */
bool sim_step(struct sim *s);
void sim_run_ms(struct sim *s, uint64_t ms);

/* Runs one seed: `jobs` submits under faults, then without until all is done. Returns true if no
 * invariant was violated; else `ret_failure` (256 bytes) says which. */
bool sim_run(uint64_t seed, enum sim_plant plant, size_t jobs, char ret_failure[256]);

#endif
