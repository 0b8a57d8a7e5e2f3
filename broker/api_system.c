/*
 * api_system.c: the routes for operations.
 */
#include "broker/api_routes.h"
#include "broker/call.h"
#include "broker/render.h"
#include "schema/errors.h"
#include "schema/openapi.h"

void api_system_ping(struct call *call)
{
    buf_put_str(&call->x->body_out, "pong\n");
    call_answer_text(call, 200, "text/plain; charset=utf-8");
}

/* That it is answered is the answer: the loop turns. */
void api_system_healthz(struct call *call)
{
    struct render_map m;

    buf_clear(&call->value);
    render_open_map(&m, &call->value);
    render_word(&m, "status", "ok");
    render_close_map(&m);
    call_answer(call, 200);
}

/* ---- readyz ---- */

/* Without Redis jobs are accepted and wait, so that is no reason to send no more of them here. */
static void answer_ready(struct call *call, int status)
{
    bool is_redis_up = call_core(call)->dispatch.is_link_up;
    const char *word = status != 0 ? "failing" : is_redis_up ? "ok" : "degraded";
    struct render_map m;

    buf_clear(&call->value);
    render_open_map(&m, &call->value);
    render_word(&m, "status", word);
    render_word(&m, "store", status != 0 ? errors_code(status) : "up");
    render_word(&m, "redis", is_redis_up ? "up" : "down");
    render_close_map(&m);
    call_answer(call, status != 0 ? 503 : 200);
}

static void on_probed(struct probe_asker *asker, int status)
{
    answer_ready(JM_CONTAINER_OF(asker, struct call, asker), status);
}

void api_system_readyz(struct call *call)
{
    struct probe *probe = &call->api->probe;
    int status;

    if (probe_has_answer(probe, &status)) {
        answer_ready(call, status);
        return;
    }
    call->state = CALL_STORING;
    call->asker.on_answer = on_probed;
    probe_ask(probe, &call->asker);
}

/* ---- metrics, openapi ---- */

void api_system_metrics(struct call *call)
{
    const struct api_conf *conf = &call->api->conf;
    struct metrics_outside outside = {.http_requests = 0};

    if (conf->on_metrics != NULL)
        conf->on_metrics(conf->outside, &outside);
    metrics_write(&call->x->body_out, conf->core, &outside);
    call_answer_text(call, 200, "text/plain; version=0.0.4; charset=utf-8");
}

void api_system_openapi(struct call *call)
{
    buf_put_span(&call->x->body_out, openapi_json());
    call_answer_text(call, 200, "application/json");
}
