/*
 * api_routes.h: the functions that routes.def names. Each is given a request whose parameters and
 * body are read already, and answers it through call.h, exactly once.
 */
#ifndef BROKER_API_ROUTES_H
#define BROKER_API_ROUTES_H

struct call;

void api_submit_run(struct call *call);
void api_batch_run(struct call *call);

void api_jobs_get(struct call *call);
void api_jobs_get_result(struct call *call);
void api_jobs_cancel(struct call *call);
void api_jobs_delete(struct call *call);

void api_explain_run(struct call *call);

void api_change_patch(struct call *call);
void api_change_retry(struct call *call);

void api_bulk_cancel(struct call *call);
void api_bulk_retry(struct call *call);
void api_bulk_delete(struct call *call);

void api_lists_jobs(struct call *call);
void api_lists_workers(struct call *call);

void api_queues_list(struct call *call);
void api_queues_get(struct call *call);
void api_queues_patch(struct call *call);
void api_queues_pause(struct call *call);
void api_queues_resume(struct call *call);

void api_tasks_list(struct call *call);
void api_tasks_patch(struct call *call);

void api_system_ping(struct call *call);
void api_system_healthz(struct call *call);
void api_system_readyz(struct call *call);
void api_system_metrics(struct call *call);
void api_system_openapi(struct call *call);

#endif
