/*
 * sim.h: the broker's core under a seeded world: its four seams (clock, timers, carrier, runner
 * with a real store) are fakes that crash, forget, duplicate and delay as a generator says. One
 * seed is one history, replayed exactly.
 *
 *     sim ─┬─ clock, timers, events   one timeline; nothing happens but by an event on it
 *          ├─ redis   (redis.c)       lists and a hash; the core's carrier, and the fleet's access
 *          │          (redis_await.c)   the request that waits for results
 *          │          (redis_faults.c)  breaks, forgets, falls back to what it was, runs late
 *          ├─ disk    (disk.c, disk_vfs.c)  what SQLite writes, and what a power cut leaves of it
 *          ├─ broker  (broker.c)      start, stop, crash
 *          ├─ runner  (runner.c)      batches on a real SQLite store
 *          ├─ faults  (faults.c)      what goes wrong, and how often it did
 *          ├─ fleet   (fleet.c)       worker hosts: claim, run, publish, beat, stall, die
 *          ├─ clients (clients.c)     submit, repeat, cancel, limit and pause; remember what they
 *          │          (clients_change.c)  were promised; change, retry, and do so to many
 *          │          (clients_read.c)  read and wait; remember what they were shown
 *          ├─ ledger  (ledger.c)      what workers reported, what was applied, and why it was lost
 *          └─ check   (check.c)       reads the database after every step and compares; likewise
 *                     (check_limits.c) what is out, with the limits; (index.c) finds a job
 */
#ifndef TESTS_SIM_H
#define TESTS_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/core.h"
#include "lib/buf.h"
#include "lib/list.h"
#include "tests/sim/disk.h"

struct sim;

/* ---- world ---- */

struct sim_event {
    struct list link;
    uint64_t at_ns;
    void (*run)(struct sim *s, void *arg);
    void *arg;
    bool is_arg_owned; /* freed with the event, if that never runs */
};

/* ---- faults ---- */

enum sim_fault {
    SIM_REDIS_FLUSHED,   /* FLUSHALL */
    SIM_REDIS_SWAPPED,   /* away for a while, then an empty one */
    SIM_REDIS_FELL_BACK, /* away, then as it was some writes ago: a replica took over */
    SIM_REDIS_REFUSED,   /* writes: OOM, READONLY */
    SIM_REDIS_LOADED,    /* likewise reads: LOADING */
    SIM_REDIS_SLOW,
    SIM_LINK_BROKEN, /* of the broker, in the middle of whatever was under way */
    SIM_RAN_LATE,    /* what a broken link had sent arrived behind what the next one sent */
    SIM_BROKER_KILLED,
    SIM_BROKER_KILLED_IN_WRITE,
    SIM_BROKER_STOPPED, /* in order */
    SIM_POWER_LOST,
    SIM_POWER_LOST_IN_WRITE,
    SIM_SYNC_FAILED,
    SIM_WRITE_FAILED,
    SIM_WRITE_SHORT,
    SIM_READ_FAILED,
    SIM_DISK_FULL,
    SIM_CLOCK_STEPPED,
    SIM_HOST_KILLED,
    SIM_HOST_STOPPED, /* SIGSTOP */
    SIM_CHILD_KILLED,
    SIM_CLAIM_LOST,      /* popped to a connection that broke */
    SIM_CLAIM_SLOW,      /* its answer took long */
    SIM_PUBLISHED_TWICE, /* the answer to the first was lost */
    SIM_FAULTS,
};

/* A word for reports. */
const char *sim_fault_word(enum sim_fault fault);

/* Whether this seed has it at all; and that it has happened. */
bool sim_may(const struct sim *s, enum sim_fault fault);
void sim_note(struct sim *s, enum sim_fault fault);

void sim_faults_init(struct sim *s);
void sim_faults_end(struct sim *s); /* all is well from now on */

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
    struct list drawn; /* blobs that the last answer points into */
    struct list open;  /* carrier_req.link: sent, not carried out */
    bool is_link_up;   /* of the broker */
    bool is_up;        /* for everybody */
    bool refuses;      /* writes */
    bool lacks_memory; /* and so only those that need some */
    bool is_loading;   /* refuses all */
    bool is_slow;
    struct carrier_req *await; /* or NULL */
    uint64_t await_turn; /* rises with each, so that what belongs to an earlier one is known */
    bool is_blocked;     /* it waits in Redis */
    bool has_orphan;     /* one whose link broke still does */
    struct carrier_req orphan;
    char epoch[40];
    unsigned run_id;
    uint64_t quiet_ns;    /* the last request is carried out then: order is kept */
    bool has_pushed_late; /* behind whatever was decided meanwhile */
    struct span *items;
    struct list old_keys; /* as a replica has it */
    struct list old_beats;
    char old_epoch[40];
};

void sim_redis_init(struct sim *s);
void sim_redis_done(struct sim *s);
void sim_redis_flush(struct sim *s);      /* FLUSHALL */
void sim_redis_break_link(struct sim *s); /* of the broker; it comes up again by itself */
void sim_redis_restart(struct sim *s);    /* empty */
void sim_redis_copy(struct sim *s);       /* for sim_redis_fall_back */
void sim_redis_fall_back(struct sim *s);
struct sim_key *sim_redis_key(struct sim *s, const char *name);
void sim_redis_lpush(struct sim *s, const char *key, struct span value);
struct sim_blob *sim_redis_rpop(struct sim *s, const char *key); /* the caller frees it; or NULL */
void sim_redis_beat(struct sim *s, uint64_t host, struct span beat);

/* Whether it says no to such a command now, whoever sends it. */
bool sim_redis_refuses(const struct sim *s, enum carrier_verb verb);

/* For redis.c, redis_await.c and redis_faults.c. */
void sim_redis_await(struct sim *s, struct carrier_req *req);
void sim_redis_hurry(struct carrier *carrier);
void sim_redis_wake_broker(struct sim *s, const char *key);
void sim_redis_break_await(struct sim *s);
void sim_redis_end_orphan(struct sim *s);
void sim_redis_carry_out(struct sim *s, struct carrier_req *req);
void sim_redis_push_back(struct sim *s, struct list *blobs, struct span value);
void sim_redis_clear(struct list *keys, struct list *beats);
void sim_redis_add_beat(struct list *beats, uint64_t host, struct span beat);
struct sim_key *sim_redis_find(struct list *keys, const char *name);

/* ---- runner ---- */

struct sim_runner {
    struct runner runner;
    struct sim *sim;
    struct list waiting;   /* store_op.link */
    struct list committed; /* likewise: those of the batch that is on its way */
    struct list gates;     /* runner_gate.link */
    uint64_t started_seq;
    uint64_t synced_seq;
    uint64_t unsynced_since_ns; /* 0: all that is committed is on disk */
    bool is_busy;               /* a batch is on its way */
    bool is_applied;            /* it was not refused */
    bool is_full;               /* the disk: batches are refused */
    uint64_t refused;           /* batches so far */
    bool is_dead;               /* the broker has crashed: operations come back undone */
    bool is_starved;            /* the core has no memory for what a commit has changed */
};

void sim_runner_init(struct sim *s);
/* Tells the core what a commit has changed; false if the broker ended of it. */
bool sim_runner_tell(struct sim *s);
void sim_runner_start(struct sim *s);
/* Gives back undone what waits, and whatever that calls forth. */
void sim_runner_crash(struct sim *s);
/* Does all that waits, at once; false if the broker crashed of it. */
bool sim_runner_drain(struct sim *s);

/* ---- fleet ---- */

enum { SIM_HOSTS = 3, SIM_SLOTS = 2 };

struct sim_slot {
    bool is_busy;
    bool has_begun;
    bool is_waiting; /* in a blocking claim */
    uint64_t id;
    uint32_t attempt;
    enum wire_event_kind kind; /* how it will end */
    uint64_t claimed_ns;
    uint64_t begun_ns;
    uint64_t turn; /* rises with each claim, so that an event of an earlier one is known */
};

struct sim_host {
    struct sim *sim;
    uint64_t id;
    uint64_t seq;
    bool is_alive;
    bool is_stopped;    /* SIGSTOP */
    uint64_t beat_ns;   /* the last one that reached Redis */
    uint64_t quiet_ns;  /* no beat of its connection arrives before */
    uint64_t steady_ns; /* its beats have arrived since, each in its time */
    struct sim_slot slots[SIM_SLOTS];
};

void sim_fleet_init(struct sim *s);
/* Something was pushed: one who waits claims it. */
void sim_fleet_wake(struct sim *s);
void sim_fleet_fault(struct sim *s, enum sim_fault fault);
void sim_fleet_heal(struct sim *s);

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
    bool is_deleted;   /* that was asked for, whatever has become of it */
    unsigned retries;  /* likewise */
    unsigned retrying; /* of them are under way */
};

void sim_clients_init(struct sim *s);
struct sim_promise *sim_clients_find(struct sim *s, uint64_t id); /* NULL: nothing was promised */
void sim_clients_note_cancelled(struct sim *s, uint64_t id);
/* Does something to jobs that were promised, if there are some; likewise, reads one or waits. */
void sim_clients_change(struct sim *s);
void sim_clients_read(struct sim *s);
/* The broker is gone, and nobody answers any more. */
void sim_clients_hang_up(struct sim *s);
/* A submit that waits for the end, and is answered only then, or after a while. */
void sim_clients_wait(struct sim *s, uint64_t id);
void sim_clients_promise(struct sim *s, uint64_t id);

/* A request: it has to come back once, and never from inside the call that made it. */
struct sim_request {
    struct list link; /* sim.calls */
    struct sim *sim;
    bool is_calling;
    bool is_back;
};
void sim_request_init(struct sim *s, struct sim_request *r);
void sim_request_back(struct sim_request *r);
void sim_request_done(struct sim_request *r);

/* ---- ledger ---- */

/* What workers reported, what was applied, and what Redis or somebody has lost. */
void sim_ledger_init(struct sim *s);
void sim_ledger_done(struct sim *s);
void sim_ledger_report(struct sim *s, uint64_t id, uint32_t attempt, enum wire_event_kind kind);
bool sim_ledger_has(const struct sim *s, uint64_t id, uint32_t attempt, enum wire_event_kind kind);
unsigned sim_ledger_count(const struct sim *s, uint64_t id, enum wire_event_kind kind);
/* The store has run it: an end is applied once, and a loss has its reason. */
void sim_ledger_ran(struct sim *s, struct store_op *op);
/* It is about to come back. */
void sim_ledger_told(struct sim *s, const struct store_op *op);
void sim_ledger_synced(struct sim *s);
void sim_ledger_power_lost(struct sim *s);
/* That this attempt is lost is no wonder; or that which the frame of a job or an event is about. */
void sim_ledger_excuse(struct sim *s, uint64_t id, uint32_t attempt);
void sim_ledger_excuse_frame(struct sim *s, struct span frame);
/* A job has reached Redis; or the broker has taken it out again. */
void sim_ledger_pushed(struct sim *s, struct span frame, bool is_there);
/* The broker ended while this was out: an excuse, if it had not reached Redis. */
void sim_ledger_left(struct sim *s, uint64_t id, uint32_t attempt);
void sim_ledger_host_down(struct sim *s);

/* ---- check ---- */

void sim_check_init(struct sim *s);
void sim_check_done(struct sim *s);
void sim_check_step(struct sim *s);
/* The broker is about to be, or was, started again. */
void sim_check_close(struct sim *s);
/* A job was made or retried: it is there from now on, or at another end. */
void sim_check_expect(struct sim *s, uint64_t id);
/* What is out and has not reached Redis may have been lost by the broker's end. */
void sim_check_note_out(struct sim *s);
void sim_check_open(struct sim *s);
/* All that is in the database is on disk; what is not is gone. */
void sim_check_synced(struct sim *s);
void sim_check_power_lost(struct sim *s);
uint64_t sim_check_finished(const struct sim *s);
/* What is known to be on disk of a job: JOB_NONE if it is not. */
enum job_state sim_check_kept(const struct sim *s, uint64_t id, uint32_t *ret_attempt);
/* When its present attempt was first seen out; 0: it was not. */
uint64_t sim_check_out_ns(const struct sim *s, uint64_t id, uint32_t attempt);
/* Nothing is left to do: every promise is kept. */
void sim_check_end(struct sim *s);

/* What is dispatched or running, by the database, against the limits that are in force. */
void sim_check_limits_init(struct sim *s);
void sim_check_limits_done(struct sim *s);
void sim_check_limits_step(struct sim *s);
void sim_limits_claimed(struct sim *s, uint64_t id, uint32_t attempt);

void sim_fail(struct sim *s, const char *fmt, ...) JM_PRINTF(2, 3);

/* A line on stderr with the time, if the run is traced. */
void sim_trace(const struct sim *s, const char *fmt, ...) JM_PRINTF(2, 3);

/* ---- all ---- */

struct sim {
    uint64_t seed;
    uint64_t random_state;
    uint64_t (*choose)(struct sim *s, uint64_t below); /* if it is set, in the generator's place */
    bool is_traced;
    bool faults_on;
    uint64_t allowed; /* bits of enum sim_fault */
    uint64_t faults[SIM_FAULTS];
    uint64_t now_ns;
    int64_t wall_ms; /* at now_ns = 0, moved by clock steps */
    struct clock clock;
    struct timers timers;
    struct list armed;
    struct list events;
    uint64_t steps;
    uint64_t acts; /* of clients, workers and faults */
    uint64_t max_acts;

    char dir[64];
    char db[96];
    uint64_t disk_random_state;
    struct disk disk;
    struct store *store;
    struct reader *reader;
    struct core *core;
    unsigned crashes; /* ends of the broker, of whatever kind */
    bool may_starve;  /* memory may be missing: a start may say no */

    struct sim_redis redis;
    struct sim_runner runner;
    struct sim_host hosts[SIM_HOSTS];
    uint16_t hosts_started;
    struct list calls; /* sim_request.link */
    struct list reads;
    struct sim_promise *promises;
    size_t promise_count;
    uint64_t read_number;
    bool is_closing; /* clients ask nothing any more */
    struct sim_ledger *ledger;
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

/* Starts the broker on the disk as it is: at once; or, where the disk may say no, as soon as it
 * does not. */
void sim_broker_start(struct sim *s);
void sim_broker_start_soon(struct sim *s, uint64_t in_ms);
/* Kills it: nothing of what is under way is carried out any more. Or ends it in order. */
void sim_broker_crash(struct sim *s);
void sim_broker_stop(struct sim *s);
/* The store has failed for good, or its process was killed: it ends, and is started again. */
void sim_broker_fail(struct sim *s);
static inline bool sim_broker_is_up(const struct sim *s)
{
    return s->core != NULL && !s->runner.is_dead;
}

/* The broker is up, no call or read is open, and no job is left that has not ended. */
bool sim_is_idle(const struct sim *s);

/* A world with a Redis and a broker and nobody else, for a scripted scenario; to be closed. */
void sim_open(struct sim *s, uint64_t seed);
void sim_close(struct sim *s);

/* The next event or timer; false if there is none. */
bool sim_step(struct sim *s);
void sim_run_ms(struct sim *s, uint64_t ms);

/* Runs one seed: about so many acts of clients, workers and faults, then without faults until all
 * is done. */
struct sim_result {
    uint64_t acts;
    uint64_t steps;
    uint64_t accepted;
    uint64_t finished;
    uint64_t crashes;
    uint64_t faults[SIM_FAULTS];
    char failure[256]; /* empty: no invariant was violated */
};
void sim_run(uint64_t seed, uint64_t acts, bool is_traced, struct sim_result *ret_result);

#endif
