/*
 * conf_fields.h: what people set for queues and tasks, as clients say and see it
 * (conf_fields.def). Pure functions.
 */
#ifndef BROKER_CONF_FIELDS_H
#define BROKER_CONF_FIELDS_H

#include "broker/conf.h"
#include "broker/fault.h"
#include "broker/render.h"
#include "lib/attr.h"

/* Merges the map `body` into `conf`: a member that is absent stays as it is, null clears it. On
 * failure, JM_E… with `ret_fault`, `conf` may be changed in part. */
int conf_fields_read_queue(struct span body, struct queue_conf *conf,
                           struct fault *ret_fault) JM_MUST_CHECK;
int conf_fields_read_task(struct span body, struct task_conf *conf,
                          struct fault *ret_fault) JM_MUST_CHECK;

/* Adds the members of what is set; `paused` always. */
void conf_fields_render_queue(struct render_map *m, const struct queue_conf *conf);
void conf_fields_render_task(struct render_map *m, const struct task_conf *conf);

#endif
