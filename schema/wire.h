/*
 * wire.h: the messages that travel through Redis, and their codec.
 *
 * A message is one msgpack map with small integer keys; key 0 is the protocol version and comes
 * first. A field whose value is zero or empty is left out. A reader skips keys that it does not
 * know (a newer minor writer), refuses another version, a known key of a wrong type or out of its
 * range, a missing required field, and bytes behind the map. A message is decoded to its last byte
 * or refused. The field numbers are the tables in wire.c; PROTOCOL.md shows each message in hex.
 *
 * Opaque values (args, result) travel as msgpack `bin` that holds msgpack: nobody on the way has to
 * look into them.
 *
 * Decoded spans borrow from the input. Pure functions.
 */
#ifndef SCHEMA_WIRE_H
#define SCHEMA_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/attr.h"
#include "lib/buf.h"
#include "lib/span.h"

enum { WIRE_VERSION = 1 };

/* broker → worker, in a queue's list: run this. */
struct wire_job {
    uint32_t node; /* of the broker; the end goes to its results list */
    uint64_t id;
    uint32_t attempt;
    uint64_t timeout_ms;
    uint64_t grace_ms;
    struct span queue;
    struct span task;
    struct span args; /* one msgpack value; empty stands for nil */
};

/* worker → broker, in a results list: what happened to an attempt. */
#define WIRE_EVENT_KINDS(X)                                                                 \
    X(WIRE_RUNNING, 1, "running")         /* it has begun and runs for a while already */   \
    X(WIRE_SUCCEEDED, 2, "succeeded")     /* `result` is the result */                      \
    X(WIRE_FAILED, 3, "failed")           /* the task says so: `code`, `message` */         \
    X(WIRE_CRASHED, 4, "crashed")         /* its process died: `signal` or `exit_status` */ \
    X(WIRE_TIMED_OUT, 5, "timed_out")     /* killed by its time limit */                    \
    X(WIRE_KILLED, 6, "killed")           /* killed on the broker's order */                \
    X(WIRE_HANDED_BACK, 7, "handed_back") /* given back; `has_begun` says whether it had begun */

enum wire_event_kind {
#define X(name, number, word) name = number,
    WIRE_EVENT_KINDS(X)
#undef X
};

/* What a task that fails says about the next attempt. */
enum wire_retry {
    WIRE_RETRY_DEFAULT, /* nothing: by the job's own rules */
    WIRE_RETRY_NEVER,   /* it would fail again */
    WIRE_RETRY_AFTER,   /* not before `retry_after_ms` have passed */
};

struct wire_event {
    enum wire_event_kind kind;
    uint64_t id;
    uint32_t attempt;
    uint64_t host; /* incarnation of the worker host */
    uint32_t slot; /* which child */
    uint32_t pid;
    bool has_begun;
    int64_t begun_at_ms; /* wall clock of the worker host */
    uint64_t run_us;     /* from begun to the end */
    struct span result;  /* one msgpack value; empty stands for nil */
    struct span code;    /* word from errors.def or the task's own, for FAILED */
    struct span message;
    struct span stderr_tail;
    uint32_t signal;      /* that killed the process, or 0 */
    uint32_t exit_status; /* if it exited by itself */
    uint64_t user_us;     /* CPU time and peak memory of the process, from wait4(2) */
    uint64_t system_us;
    uint64_t maxrss_bytes;
    enum wire_retry retry; /* for FAILED */
    uint64_t retry_after_ms;
};

/* broker → worker's parent, in its control list. */
enum wire_order_kind { WIRE_KILL = 1, WIRE_DRAIN = 2 };

struct wire_order {
    enum wire_order_kind kind;
    uint64_t id; /* KILL: this attempt of this job, if it is still held */
    uint32_t attempt;
};

/* worker's parent → brokers, its field in KEYS_HOSTS, rewritten at every beat. The two lists are
 * written and read one by one, so that neither side needs an array of them. */
struct wire_beat {
    uint64_t host;
    uint64_t seq; /* rises by one at every beat */
    uint32_t pid;
    bool is_draining;
    int64_t started_at_ms;
    uint32_t slots; /* how many children */
    struct span hostname;
    struct span version;
    struct span held;   /* msgpack array of wire_held */
    struct span tasks;  /* msgpack array of wire_task */
    struct span queues; /* msgpack array of str: what it claims from, as listed */
};

/* One job that a slot holds. In a beat as an array [node, id, attempt, has_begun, run_ms, slot], to
 * which a job that has reported progress adds [done, total, message]; 0, 0 and "" stand for none.
 */
struct wire_held {
    uint32_t node;
    uint64_t id;
    uint32_t attempt;
    bool has_begun;
    uint64_t run_ms;
    uint32_t slot;
    uint64_t done;
    uint64_t total; /* 0: not known */
    struct span message;
};

/* One task that a host serves. In a beat as an array [name, kind, doc]. */
struct wire_task {
    struct span name;
    struct span kind; /* "builtin", "program", "test" */
    struct span doc;  /* one sentence, may be empty */
};

/* Encoders append to `out`; whether it had room is asked with buf_has_failed. Texts (message,
 * hostname, version, kind, doc) that are too long or not UTF-8 are cut and cleaned, and of
 * stderr_tail only the end is kept; everything else is the caller's to get right, or the reader
 * will refuse it. */
void wire_encode_job(struct buf *out, const struct wire_job *job);
void wire_encode_event(struct buf *out, const struct wire_event *event);
void wire_encode_order(struct buf *out, const struct wire_order *order);
void wire_encode_beat(struct buf *out, const struct wire_beat *beat);

/* An array head for `held`, `tasks` or `queues`; then that many items. */
void wire_encode_list(struct buf *out, uint32_t count);
void wire_encode_held(struct buf *out, const struct wire_held *held);
void wire_encode_task(struct buf *out, const struct wire_task *task);
void wire_encode_name(struct buf *out, struct span name);

/* Return 0 or JM_EWIRE. */
int wire_decode_job(struct span frame, struct wire_job *ret_job) JM_MUST_CHECK;
int wire_decode_event(struct span frame, struct wire_event *ret_event) JM_MUST_CHECK;
int wire_decode_order(struct span frame, struct wire_order *ret_order) JM_MUST_CHECK;
int wire_decode_beat(struct span frame, struct wire_beat *ret_beat) JM_MUST_CHECK;

/* The version of a message, whatever else it holds. False if it is none of ours in any version. */
bool wire_peek_version(struct span frame, uint32_t *ret_version);

/* Walks a list of a decoded beat (which checked it to the last byte already):
 *     for (struct mp_cursor c = ...; wire_next_held(&c, &held);) */
struct mp_cursor;
void wire_open_list(struct span list, struct mp_cursor *ret_cursor);
bool wire_next_held(struct mp_cursor *c, struct wire_held *ret_held);
bool wire_next_task(struct mp_cursor *c, struct wire_task *ret_task);
bool wire_next_name(struct mp_cursor *c, struct span *ret_name);

const char *wire_event_word(enum wire_event_kind kind);

#endif
