// SPDX-License-Identifier: MIT
//
// The table of calls in docs/http.md is the one in service/routes.c, both ways.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service/call.h"

enum { CALLS_MAX = 200, CALL_SIZE = 120 };

static char calls[CALLS_MAX][CALL_SIZE]; // "GET /v1/events/{}"
static size_t count;

// Without what stands between brackets, and behind a question mark.
static void add(const char *method, size_t method_size, const char *path)
{
    char *out = calls[count++];
    size_t used = (size_t)snprintf(out, CALL_SIZE, "%.*s ", (int)method_size, method);
    assert_true(count < CALLS_MAX);
    for (; *path && *path != '?' && used + 2 < CALL_SIZE; path++) {
        out[used++] = *path;
        if (*path == '{') {
            path += strcspn(path, "}");
            out[used++] = '}';
        }
    }
    out[used] = 0;
}

// "GET, DELETE /v1/a/{b}": each of the methods.
static void add_all(const char *methods, const char *path)
{
    while (*methods) {
        size_t size = strcspn(methods, ", ");
        if (size > 0) {
            add(methods, size, path);
        }
        methods += size + strspn(methods + size, ", ");
    }
}

// What stands in backticks in the first column: a call, or another end of the call before it.
static void read_cell(char *cell)
{
    char methods[CALL_SIZE] = "", path[CALL_SIZE] = "";
    char *save = NULL;
    strtok_r(cell, "`", &save);
    for (char *text; (text = strtok_r(NULL, "`", &save)); (void)strtok_r(NULL, "`", &save)) {
        char *space = strrchr(text, ' ');
        if (space && space[1] == '/') {
            (void)snprintf(path, sizeof path, "%s", space + 1);
            *space = 0;
            (void)snprintf(methods, sizeof methods, "%s", text);
        } else if (*text == '/' && *path) {
            char *last = strrchr(path, '/');
            (void)snprintf(last, sizeof path - (size_t)(last - path), "%s", text);
        } else {
            continue;
        }
        add_all(methods, path);
    }
}

static int read_document(void **state)
{
    (void)state;
    char line[2000];
    FILE *file = fopen(PEAL_TEST_DATA "/../../docs/http.md", "re");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, "| `", 3) == 0) {
            char *end = strchr(line + 2, '|');
            assert_non_null(end);
            *end = 0;
            read_cell(line);
        }
    }
    return fclose(file);
}

static bool is_documented(const char *call)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(calls[i], call) == 0) {
            return true;
        }
    }
    return false;
}

static const char *call_of(char out[CALL_SIZE], const struct service_route *route)
{
    (void)snprintf(out, CALL_SIZE, "%s %s", route->method, route->path);
    return out;
}

// Also without /v1, as the document says above the table.
static bool has_two_names(const char *path)
{
    return strcmp(path, "/metrics") == 0 || strcmp(path, "/healthz") == 0 ||
           strcmp(path, "/readyz") == 0;
}

static void every_route_is_in_the_document(void **state)
{
    (void)state;
    char call[CALL_SIZE];
    for (const struct service_route *route = service_routes; route->method; route++) {
        bool plain = strncmp(route->path, "/v1", 3) == 0 && has_two_names(route->path + 3);
        struct service_route shown = *route;
        shown.path += plain ? 3 : 0;
        if (!is_documented(call_of(call, &shown))) {
            fail_msg("docs/http.md has no %s", call);
        }
    }
}

static void every_call_of_the_document_is_a_route(void **state)
{
    (void)state;
    assert_true(count > 30);
    for (size_t i = 0; i < count; i++) {
        char call[CALL_SIZE];
        const struct service_route *route = service_routes;
        while (route->method && strcmp(call_of(call, route), calls[i]) != 0) {
            route++;
        }
        if (!route->method) {
            fail_msg("service/routes.c has no %s", calls[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_is_in_the_document),
        cmocka_unit_test(every_call_of_the_document_is_a_route),
    };
    return cmocka_run_group_tests(tests, read_document, NULL);
}
