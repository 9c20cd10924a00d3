// SPDX-License-Identifier: MIT
//
// The table of calls and the document about them say the same.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service/call.h"

enum { DOCUMENT_MAX = 1 << 16 };

static char document[DOCUMENT_MAX];

static int load(void **state)
{
    (void)state;
    FILE *file = fopen(PEAL_TEST_DATA "/../../docs/http.md", "re");
    assert_non_null(file);
    size_t size = fread(document, 1, sizeof document - 1, file);
    assert_int_equal(fclose(file), 0);
    assert_true(size > 1000 && size < sizeof document - 1);
    return 0;
}

// "/v1/events/{}" and "/v1/events/{type}" are the same path.
static bool is_path(const char *route, const char *text, size_t size)
{
    const char *end = text + size;
    for (; *route; route++) {
        if (*route == '{') {
            while (text < end && *text != '}') {
                text++;
            }
            route++;
        }
        if (text == end || *text++ != *route) {
            return false;
        }
    }
    return text == end;
}

// Is the path among the words of a row's first column? A word that does not begin with /v1 where
// another did goes on from its last part: `/pause`, `/resume`.
static bool has_path(const char *route, const char *row, const char *end)
{
    char before[256] = "";
    for (const char *at = row; (at = memchr(at, '/', (size_t)(end - at)));) {
        size_t size = strcspn(at, " `?,");
        char whole[512];
        (void)snprintf(whole, sizeof whole, "%.*s", (int)size, at);
        if (is_path(route, whole, strlen(whole))) {
            return true;
        }
        char *last = strrchr(before, '/');
        if (last) {
            (void)snprintf(whole, sizeof whole, "%.*s%.*s", (int)(last - before), before, (int)size,
                           at);
            if (is_path(route, whole, strlen(whole))) {
                return true;
            }
        } else {
            (void)snprintf(before, sizeof before, "%.*s", (int)size, at);
        }
        at += size;
    }
    return false;
}

static bool is_documented(const struct service_route *route)
{
    for (const char *line = document; (line = strstr(line, "\n| `")); line++) {
        const char *row = line + 3;
        const char *end = strstr(row, " | ");
        size_t columns = end ? (size_t)(end - row) : 0;
        bool method = memmem(row, columns, route->method, strlen(route->method)) != NULL;
        if (method && has_path(route->path, row, end)) {
            return true;
        }
    }
    return false;
}

static void every_call_is_in_the_document(void **state)
{
    (void)state;
    unsigned missing = 0;
    for (const struct service_route *route = service_routes; route->method; route++) {
        if (!is_documented(route)) {
            (void)fprintf(stderr, "docs/http.md does not have %s %s\n", route->method, route->path);
            missing++;
        }
    }
    assert_int_equal(missing, 0);
}

static void a_call_that_is_not_there_is_not_found_in_the_document(void **state)
{
    (void)state;
    const struct service_route none = { .method = "POST", .path = "/v1/none" };
    const struct service_route other = { .method = "DELETE", .path = "/v1/types" };
    assert_false(is_documented(&none));
    assert_false(is_documented(&other));
}

static void every_parameter_is_in_the_document(void **state)
{
    (void)state;
    for (const struct service_route *route = service_routes; route->method; route++) {
        char names[256];
        (void)snprintf(names, sizeof names, "%s", route->parameters);
        char *rest = NULL;
        for (char *name = strtok_r(names, " ", &rest); name; name = strtok_r(NULL, " ", &rest)) {
            if (!strstr(document, name)) {
                fail_msg("docs/http.md does not have the parameter %s of %s", name, route->path);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_is_in_the_document),
        cmocka_unit_test(a_call_that_is_not_there_is_not_found_in_the_document),
        cmocka_unit_test(every_parameter_is_in_the_document),
    };
    return cmocka_run_group_tests(tests, load, NULL);
}
