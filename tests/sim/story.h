/*
 * story.h: the words in which the scenarios of the core are told, over a world of sim.h with a
 * Redis and a broker and nobody else. A word that fails ends the test.
 */
#ifndef TESTS_SIM_STORY_H
#define TESTS_SIM_STORY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/sim/sim.h"

enum { STORY_HOST = 7, STORY_SLOTS = 4 };

#define STORY(name) cmocka_unit_test_setup_teardown(name, story_setup, story_teardown)

int story_setup(void **state);
int story_teardown(void **state);

/* What a job is, where it is not as usual: queue "live", task "t", priority 5, due at once. Texts
 * stay until the submit is done, but for the key. */
struct story_job {
    const char *queue;
    const char *task;
    const char *key;
    uint32_t priority;
    uint64_t delay_ms;
    int64_t expires_in_ms;
    size_t bytes;
};
uint64_t story_submit(struct sim *s, struct story_job job);
uint64_t story_submit_bytes(struct sim *s, const char *queue, size_t bytes);

void story_cancel(struct sim *s, uint64_t id);

/* How the last cancel was answered; it is -1 until then. */
int story_stopped(void);

/* Sets it and waits until it holds. */
void story_set_queue(struct sim *s, const char *queue, struct queue_conf conf);
void story_set_task(struct sim *s, const char *task, struct task_conf conf);

/* Sends it off only. */
void story_ask_queue(struct sim *s, const char *queue, struct queue_conf conf);
void story_ask_task(struct sim *s, const char *task, struct task_conf conf);

/* One heartbeat of STORY_HOST: it serves `queue`, and holds attempt 1 of `id`, unless that is 0. */
void story_beat(struct sim *s, const char *queue, uint64_t id);
void story_beat_for(struct sim *s, unsigned seconds, const char *queue, uint64_t id);

struct queue *story_queue_of(struct sim *s, const char *name);
int64_t story_count(struct sim *s, const char *queue, enum job_state state);
size_t story_length(struct sim *s, const char *key);

/* A worker of no particular host takes the next job out of the queue's list; 0 if there is none. It
 * ends that job. Or it does so with all that is there. */
struct story_claimed {
    uint64_t id;
    uint32_t attempt;
};
struct story_claimed story_claim(struct sim *s, const char *queue);
void story_end(struct sim *s, struct story_claimed claimed, enum wire_event_kind kind);
/* It succeeds, after so long. */
void story_end_after(struct sim *s, struct story_claimed claimed, uint64_t run_us);
size_t story_end_all(struct sim *s, const char *queue);

#endif
