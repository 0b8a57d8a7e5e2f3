/*
 * confs.h: what people set for queues and tasks: read at start, kept in the store, in force from
 * the moment its commit is on disk. A part of the core. Loop thread only.
 */
#ifndef BROKER_CONFS_H
#define BROKER_CONFS_H

#include "broker/conf.h"
#include "broker/store.h"
#include "lib/attr.h"

struct core;
struct queue;
struct task_policy;

/* Set `change` and on_done; or, without a `change`, what is to be set as a whole. Changes of one
 * queue (one task) are made one after another, so that none builds on what was refused. */
struct core_set_conf {
    struct store_set_conf op;
    struct core *core;
    struct queue *queue;
    struct task_policy *policy;
    struct list in_line; /* queue.setting, task_policy.setting */
    bool is_begun;       /* it is with the store */
    struct queue_conf queue_conf;
    struct task_conf task_conf;
    struct buf record;
    /* Changes queue_conf (task_conf), which says what is in force by then. Returns 0, or JM_E… with
     * which the whole is refused. */
    int (*change)(struct core_set_conf *x);
    void (*on_done)(struct core_set_conf *x, int status); /* 0, JM_EFULL, JM_ESTORE, or change's */
};

/* The queue (the task) is made if it is not there. Returns 0; or JM_EOVERLOAD (too many of them, or
 * no memory) or what `change` did, and then on_done is not called. */
int core_set_queue_conf(struct core *c, struct core_set_conf *x, struct span name) JM_MUST_CHECK;
int core_set_task_conf(struct core *c, struct core_set_conf *x, struct span name) JM_MUST_CHECK;

/* What a job of that queue and task gets where it says nothing itself: every member is set. */
struct conf_defaults core_defaults(const struct core *c, struct span queue, struct span task);

/* One row of the store, at start. 0, JM_ENOMEM or JM_ECORRUPT. */
int confs_restore(struct core *c, bool is_task, struct span name, struct span record) JM_MUST_CHECK;

#endif
