/*
 * gearman.c: gearmand by libgearman: foreground jobs, whose result comes back on the client's
 * connection, and background ones, which are only accepted.
 *
 *     gearman PORT worker
 *     gearman PORT submit|end SECONDS IN_FLIGHT
 */
#include <libgearman/gearman.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "peer.h"

enum { IN_FLIGHT_MAX = 1024 };

static char body[120];

static gearman_return_t noop(gearman_job_st *job, void *context)
{
    (void)context;
    return gearman_job_send_complete(job, "null", 4);
}

static void run_worker(in_port_t port)
{
    gearman_worker_st *worker = gearman_worker_create(NULL);
    gearman_function_t function = gearman_function_create(noop);

    if (gearman_failed(gearman_worker_add_server(worker, "127.0.0.1", port)) ||
        gearman_failed(gearman_worker_define_function(worker, "noop", 4, function, 0, NULL)))
        peer_die("worker", gearman_worker_error(worker));
    for (;;)
        if (gearman_failed(gearman_worker_work(worker)))
            peer_die("work", gearman_worker_error(worker));
}

struct flight {
    struct peer_run *run;
    uint64_t begun_ns;
};

static gearman_return_t on_complete(gearman_task_st *task)
{
    struct flight *flight = gearman_task_context(task);

    peer_note(flight->run, flight->begun_ns);
    return GEARMAN_SUCCESS;
}

/* A batch of `in_flight` at a time: libgearman has no way to add to what runs. */
static void run_batch(gearman_client_st *client, struct peer_run *run, unsigned in_flight,
                      bool waits)
{
    static struct flight flights[IN_FLIGHT_MAX];
    gearman_return_t rc;

    for (unsigned i = 0; i < in_flight; i++) {
        flights[i] = (struct flight){.run = run, .begun_ns = peer_now_ns()};
        if (waits)
            gearman_client_add_task(client, NULL, &flights[i], "noop", NULL, body, sizeof(body),
                                    &rc);
        else
            gearman_client_add_task_background(client, NULL, &flights[i], "parked", NULL, body,
                                               sizeof(body), &rc);
        if (gearman_failed(rc))
            peer_die("add", gearman_client_error(client));
    }
    if (gearman_failed(gearman_client_run_tasks(client)))
        peer_die("run", gearman_client_error(client));
    gearman_client_task_free_all(client);
}

static void run_client(in_port_t port, bool waits, double seconds, unsigned in_flight)
{
    gearman_client_st *client = gearman_client_create(NULL);
    struct peer_run run;

    if (gearman_failed(gearman_client_add_server(client, "127.0.0.1", port)))
        peer_die("client", gearman_client_error(client));
    if (waits)
        gearman_client_set_complete_fn(client, on_complete);
    else
        gearman_client_set_created_fn(client, on_complete);
    peer_begin(&run, seconds);
    while (peer_goes_on(&run))
        run_batch(client, &run, in_flight, waits);
    peer_tell(&run);
    gearman_client_free(client);
}

int main(int argc, char **argv)
{
    in_port_t port = argc > 2 ? (in_port_t)atoi(argv[1]) : 0;

    memset(body, 'x', sizeof(body));
    if (port == 0 || (argc > 4 && atoi(argv[4]) > IN_FLIGHT_MAX))
        peer_die("usage", "gearman PORT worker | PORT submit|end SECONDS IN_FLIGHT");
    if (strcmp(argv[2], "worker") == 0)
        run_worker(port);
    else if (argc > 4)
        run_client(port, strcmp(argv[2], "end") == 0, atof(argv[3]), (unsigned)atoi(argv[4]));
    return 0;
}
