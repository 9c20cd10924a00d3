// SPDX-License-Identifier: MIT
// ctest: threaded
//
// Limits of the server that a configuration sets: each is reached here.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "support/client.h"
#include "support/serving.h"

static void an_address_has_no_more_connections_than_it_may(void **state)
{
    (void)state;
    const struct service_options options = { .limits = { .per_address = 3 } };
    struct serving serving;
    struct client clients[4];
    serving_open(&serving, "mem:", &options);
    for (size_t i = 0; i < 3; i++) {
        client_open(&clients[i], serving.port);
        assert_int_equal(client_ask(&clients[i], "GET", "/healthz", NULL, NULL), 200);
    }

    client_open(&clients[3], serving.port);
    client_answer(&clients[3]);
    assert_int_equal(clients[3].status, 429);
    assert_string_equal(client_header(&clients[3], "Retry-After"), "5");
    client_close(&clients[3]);

    // The others are not disturbed, and who leaves makes room.
    assert_int_equal(client_ask(&clients[0], "GET", "/healthz", NULL, NULL), 200);
    client_close(&clients[1]);
    assert_true(serving_settles(&serving, 2));
    client_open(&clients[1], serving.port);
    assert_int_equal(client_ask(&clients[1], "GET", "/healthz", NULL, NULL), 200);
    for (size_t i = 0; i < 3; i++) {
        client_close(&clients[i]);
    }
    serving_close(&serving);
}

static void a_first_line_is_no_longer_than_it_may_be(void **state)
{
    (void)state;
    const struct service_options options = { .limits = { .line_bytes = 300 } };
    struct serving serving;
    struct client client;
    char path[400] = "/v1/events?subject=";
    serving_open(&serving, "mem:", &options);
    client_open(&client, serving.port);

    memset(path + strlen(path), 'x', 250);
    assert_int_equal(client_ask(&client, "GET", path, NULL, NULL), 200);
    memset(path + strlen(path), 'x', 60);
    assert_int_equal(client_ask(&client, "GET", path, NULL, NULL), 414);
    assert_non_null(strstr(client.body, "longer than is taken here"));
    assert_true(client_is_ended(&client));

    client_close(&client);
    serving_close(&serving);
}

// Asks with a header of so many bytes, its name and its ends with them.
static int ask_with(struct client *client, const char *path, size_t size)
{
    char header[1024] = "X: ";
    memset(header + 3, 'x', size - 5);
    memcpy(header + size - 2, "\r\n", 3);
    return client_ask(client, "GET", path, header, NULL);
}

static void the_headers_are_no_larger_than_they_may_be_whatever_the_line_takes(void **state)
{
    (void)state;
    const struct service_options options = { .limits = { .line_bytes = 300, .head_bytes = 512 } };
    struct serving serving;
    struct client client;
    char path[400] = "/v1/events?subject=";
    serving_open(&serving, "mem:", &options);
    client_open(&client, serving.port);
    assert_int_equal(ask_with(&client, path, 400), 200);
    memset(path + strlen(path), 'x', 250);
    assert_int_equal(ask_with(&client, path, 400), 200);
    assert_int_equal(ask_with(&client, "/healthz", 513), 431);
    assert_non_null(strstr(client.body, "limits.header_bytes"));
    assert_true(client_is_ended(&client));

    client_close(&client);
    serving_close(&serving);
}

// It is not waited for.
static void a_first_line_without_an_end_is_refused(void **state)
{
    (void)state;
    const struct service_options options = { .limits = { .line_bytes = 300 } };
    struct serving serving;
    struct client client;
    char begun[400] = "GET /";
    serving_open(&serving, "mem:", &options);
    client_open(&client, serving.port);
    memset(begun + strlen(begun), 'x', 300);
    client_say(&client, "%s", begun);
    client_answer(&client);
    assert_int_equal(client.status, 414);
    assert_non_null(strstr(client.body, "limits.line_bytes"));

    client_close(&client);
    serving_close(&serving);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_has_no_more_connections_than_it_may),
        cmocka_unit_test(a_first_line_is_no_longer_than_it_may_be),
        cmocka_unit_test(the_headers_are_no_larger_than_they_may_be_whatever_the_line_takes),
        cmocka_unit_test(a_first_line_without_an_end_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
