// SPDX-License-Identifier: MIT
//
// What calls can be given is in the document about them (http_document.c: so are the calls).
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
        cmocka_unit_test(every_parameter_is_in_the_document),
    };
    return cmocka_run_group_tests(tests, load, NULL);
}
