#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "broker/route.h"
#include "schema/errors.h"

static void paths_lead_to_their_routes(void **state)
{
    static const struct {
        enum http_method method;
        const char *path;
        const char *pattern; /* NULL: the error */
        const char *variable;
        int error;
    } rows[] = {
        {HTTP_POST, "/v1/jobs", "/v1/jobs", "", 0},
        {HTTP_GET, "/v1/jobs", "/v1/jobs", "", 0},
        {HTTP_HEAD, "/v1/jobs", "/v1/jobs", "", 0},
        {HTTP_GET, "/v1/jobs/x", "/v1/jobs/{id}", "x", 0},
        {HTTP_GET, "/v1/jobs/a%2Fb", "/v1/jobs/{id}", "a%2Fb", 0},
        {HTTP_GET, "/v1/jobs/result", "/v1/jobs/{id}", "result", 0},
        {HTTP_GET, "/v1/jobs/x/result", "/v1/jobs/{id}/result", "x", 0},
        {HTTP_POST, "/v1/jobs/x/cancel", "/v1/jobs/{id}/cancel", "x", 0},
        {HTTP_DELETE, "/v1/jobs/x", "/v1/jobs/{id}", "x", 0},
        {HTTP_PATCH, "/v1/jobs/x", "/v1/jobs/{id}", "x", 0},
        {HTTP_POST, "/v1/jobs/retry", "/v1/jobs/retry", "", 0},
        {HTTP_POST, "/v1/jobs/x/retry", "/v1/jobs/{id}/retry", "x", 0},
        {HTTP_GET, "/v1/queues/mail", "/v1/queues/{name}", "mail", 0},
        {HTTP_PATCH, "/v1/queues/mail", "/v1/queues/{name}", "mail", 0},
        {HTTP_POST, "/v1/queues/mail/pause", "/v1/queues/{name}/pause", "mail", 0},
        {HTTP_HEAD, "/ping", "/ping", "", 0},
        {HTTP_GET, "/v1/jobs/", NULL, "", JM_ENOROUTE},
        {HTTP_GET, "/v1/jobs//result", NULL, "", JM_ENOROUTE},
        {HTTP_GET, "/v1/jobs/x/", NULL, "", JM_ENOROUTE},
        {HTTP_GET, "/v1/jobs/x/results", NULL, "", JM_ENOROUTE},
        {HTTP_GET, "/v1/job", NULL, "", JM_ENOROUTE},
        {HTTP_GET, "/v1/jobsx", NULL, "", JM_ENOROUTE},
        {HTTP_GET, "/PING", NULL, "", JM_ENOROUTE},
        {HTTP_GET, "", NULL, "", JM_ENOROUTE},
        {HTTP_GET, "/", NULL, "", JM_ENOROUTE},
        {HTTP_PUT, "/v1/jobs", NULL, "", JM_EMETHOD},
        {HTTP_HEAD, "/v1/jobs/x/cancel", NULL, "", JM_EMETHOD},
        {HTTP_OTHER, "/ping", NULL, "", JM_EMETHOD},
        {HTTP_OPTIONS, "/ping", NULL, "", JM_EMETHOD},
    };

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(rows); i++) {
        const struct route *route = NULL;
        struct span variable = span_of(NULL, 0);
        int rc = route_find(rows[i].method, span_of_str(rows[i].path), &route, &variable);

        if (rc != rows[i].error || (rc == 0 && (strcmp(route->path, rows[i].pattern) != 0 ||
                                                !span_is_str(variable, rows[i].variable))))
            fail_msg("%s gave %d", rows[i].path, rc);
    }
}

static void allow_names_the_methods_of_a_path(void **state)
{
    static const char *const rows[][2] = {
        {"/v1/jobs", "POST, GET, HEAD, OPTIONS"},
        {"/v1/jobs/x", "GET, HEAD, PATCH, DELETE, OPTIONS"},
        {"/v1/jobs/x/cancel", "POST, OPTIONS"},
        {"/v1/queues/x", "GET, HEAD, PATCH, OPTIONS"},
        {"/ping", "GET, HEAD, OPTIONS"},
        {"/nowhere", ""},
    };

    (void)state;
    for (size_t i = 0; i < JM_COUNT_OF(rows); i++) {
        struct buf out;

        buf_init(&out, 256);
        route_write_allow(span_of_str(rows[i][0]), &out);
        if (!span_is_str(buf_span(&out), rows[i][1]))
            fail_msg("%s allows %.*s", rows[i][0], (int)out.len, (const char *)out.data);
        buf_done(&out);
    }
}

static void the_table_is_sound(void **state)
{
    (void)state;
    assert_true(route_count() > 10);
    for (size_t i = 0; i < route_count(); i++) {
        const struct route *a = route_at(i);

        assert_int_equal(a->path[0], '/');
        assert_non_null(a->run);
        /* Only what takes a body may run beside others of its kind and write. */
        assert_true(a->method == HTTP_GET ? a->overlap == HTTP_READS : a->overlap != HTTP_READS);
        for (size_t k = i + 1; k < route_count(); k++)
            assert_false(a->method == route_at(k)->method &&
                         strcmp(a->path, route_at(k)->path) == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_lead_to_their_routes),
        cmocka_unit_test(allow_names_the_methods_of_a_path),
        cmocka_unit_test(the_table_is_sound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
