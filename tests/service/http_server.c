// SPDX-License-Identifier: MIT
// ctest: threaded
//
// The server from outside: what is said to it in every order, in pieces and in heaps, and what it
// answers. What peers do who mean no good is in http_hostile.c.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/client.h"
#include "support/serving.h"

#define HOST     "Host: localhost\r\n"
#define HEALTH   "GET /healthz HTTP/1.1\r\n" HOST "\r\n"
#define LINES    "POST /v1/events HTTP/1.1\r\n" HOST "Content-Type: application/x-ndjson\r\n"
#define EVENT    "POST /v1/events/a HTTP/1.1\r\n" HOST
#define ONE_LINE "{\"specversion\":\"1.0\",\"type\":\"a.b\",\"id\":\"%d\",\"source\":\"/t\"}\n"

static struct serving serving;
static struct client client;

static int begin(void **state)
{
    (void)state;
    const struct service_options options = { .body_max = 100000 };
    serving_open(&serving, "mem:", &options);
    client_open(&client, serving.port);
    return 0;
}

static int end(void **state)
{
    (void)state;
    client_close(&client);
    serving_close(&serving);
    return 0;
}

static void expect_status(int status)
{
    client_answer(&client);
    if (client.status != status) {
        fail_msg("%d instead of %d: %s", client.status, status, client.body);
    }
}

// ---- one after the other ------------------------------------------------------------------------

static void requests_in_one_packet_are_answered_in_their_order(void **state)
{
    (void)state;
    char all[100 * 80] = "";
    size_t used = 0;
    for (int i = 0; i < 100; i++) { // on the loop, in the pool, and unknown
        static const char *const paths[] = { "/healthz", "/v1/stats", "/nothing" };
        used += (size_t)snprintf(all + used, sizeof all - used, "GET %s HTTP/1.1\r\n" HOST "\r\n",
                                 paths[i % 3]);
    }

    assert_true(client_send(&client, all, used));

    for (int i = 0; i < 100; i++) {
        static const int statuses[] = { 200, 200, 404 };
        expect_status(statuses[i % 3]);
        assert_int_equal(strstr(client.body, "\"alive\"") != NULL, i % 3 == 0);
        assert_int_equal(strstr(client.body, "\"published\"") != NULL, i % 3 == 1);
    }
}

static void bodies_and_requests_follow_each_other_without_a_gap(void **state)
{
    (void)state;
    client_say(&client, EVENT
               "Content-Length: 7\r\n\r\n{\"a\":1}" EVENT
               "Transfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n4\r\n\":2}\r\n0\r\n\r\n" HEALTH LINES
               "Content-Length: 0\r\n\r\n" HEALTH);
    expect_status(202);
    expect_status(202);
    expect_status(200);
    expect_status(200);
    assert_int_equal(json_number(client.body, "published"), 0);
    expect_status(200);
}

static void a_request_that_comes_byte_by_byte_is_answered(void **state)
{
    (void)state;
    static const char text[] =
        EVENT "Transfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\n"
              "5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nA: b\r\n\r\n";
    for (size_t i = 0; i < sizeof text - 1; i++) {
        assert_true(client_send(&client, text + i, 1));
    }
    expect_status(202);
}

// The loop has looked at what was sent: what another says now is answered.
static void let_it_look(void)
{
    struct client other;
    client_open(&other, serving.port);
    assert_int_equal(client_ask(&other, "GET", "/healthz", NULL, NULL), 200);
    client_close(&other);
}

static void a_chunked_body_is_the_same_wherever_it_is_split(void **state)
{
    (void)state;
    static const char head[] =
        EVENT "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";
    static const char body[] = "5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nA: b\r\n\r\n";
    for (size_t at = 0; at <= sizeof body - 1; at++) {
        assert_true(client_send(&client, head, sizeof head - 1));
        assert_true(client_send(&client, body, at));
        let_it_look();
        assert_true(client_send(&client, body + at, sizeof body - 1 - at));
        expect_status(202);
    }
    assert_int_equal(client_ask(&client, "GET", "/v1/events?type=a&limit=1000", NULL, NULL), 200);
    assert_int_equal(count_of(client.body, "\"hello!\""), sizeof body);
}

static void empty_lines_before_a_request_are_passed_over(void **state)
{
    (void)state;
    client_say(&client, "\r\n\r\n\n" HEALTH "\r\n" HEALTH);
    expect_status(200);
    expect_status(200);
}

// ---- versions and methods -----------------------------------------------------------------------

static void http_1_0_is_answered_and_closed(void **state)
{
    (void)state;
    client_say(&client, "GET /healthz HTTP/1.0\r\n\r\n" HEALTH);
    expect_status(200);
    assert_string_equal(client_header(&client, "connection"), "close");
    assert_true(client_is_ended(&client));
}

static void http_1_0_is_kept_open_when_it_asks_for_that(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        client_say(&client, "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        expect_status(200);
        assert_string_equal(client_header(&client, "connection"), "keep-alive");
    }
}

static void http_1_0_gets_a_stream_without_chunks(void **state)
{
    (void)state;
    struct client other;
    client_say(&client, "GET /v1/stream?type=a HTTP/1.0\r\n\r\n");
    client_head(&client);
    assert_int_equal(client.status, 200);
    assert_null(client_header(&client, "transfer-encoding"));
    client_open(&other, serving.port);
    assert_int_equal(client_ask(&other, "POST", "/v1/events/a", NULL, "{}"), 202);
    client_close(&other);

    assert_string_equal(client_until(&client, "\n\n"), ":\n\n");
    assert_memory_equal(client_until(&client, "\n\n"), "id: ", 4);
}

static void close_is_said_and_done(void **state)
{
    (void)state;
    client_say(&client, "GET /healthz HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n" HEALTH);
    expect_status(200);
    assert_string_equal(client_header(&client, "connection"), "close");
    assert_true(client_is_ended(&client));
}

static void head_is_get_without_a_body(void **state)
{
    (void)state;
    static const char *const paths[] = { "/healthz", "/v1/stats", "/v1/events", "/nothing",
                                         "/v1/stream" };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        int status = client_ask(&client, "HEAD", paths[i], NULL, NULL);
        assert_int_equal(status, i == 3 ? 404 : 200);
        // Were there a body, it would stand before the next answer.
        assert_int_equal(client_ask(&client, "GET", "/healthz", NULL, NULL), 200);
    }
}

static void another_method_is_405_with_those_there_are(void **state)
{
    (void)state;
    assert_int_equal(client_ask(&client, "PATCH", "/v1/subscriptions", NULL, NULL), 405);
    assert_string_equal(client_header(&client, "allow"), "GET, POST");
    assert_int_equal(client_ask(&client, "get", "/healthz", NULL, NULL), 405);
    assert_int_equal(client_ask(&client, "OPTIONS", "*", NULL, NULL), 404);
    assert_int_equal(client_ask(&client, "GET", "/v1/events/", NULL, NULL), 404);
    assert_int_equal(client_ask(&client, "GET", "/v1/events/a/b", NULL, NULL), 404);
    assert_int_equal(client_ask(&client, "GET", "http://localhost/healthz", NULL, NULL), 200);
}

static void paths_and_parameters_are_decoded_or_refused(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int status;
    } rows[] = {
        { "/v1/events?type=a%2Eb", 200 },
        { "/v1/events?type=%", 400 },
        { "/v1/events?type=%00", 400 },
        { "/v1/events?typ=a", 400 },
        { "/v1/events?type=a&type=b", 400 },
        { "/v1/events?=", 400 },
        { "/v1/events?", 200 },
        { "/v1/events?limit=+1", 400 },
        { "/v1/events?limit=-1", 400 },
        { "/v1/events?limit=0", 400 },
        { "/v1/events?limit=10001", 400 },
        { "/v1/events?limit=18446744073709551616", 400 },
        { "/v1/events/%00", 400 },
        { "/v1/events/%zz", 400 },
        { "/v1/healthz?a", 400 },
        { "/v1/streams/a%2Fb", 200 },
        { "/v1/../healthz", 404 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (client_ask(&client, "GET", rows[i].path, NULL, NULL) != rows[i].status) {
            fail_msg("%s: %d: %s", rows[i].path, client.status, client.body);
        }
        if (client.status >= 400) {
            assert_string_equal(client_header(&client, "content-type"), "application/problem+json");
            assert_int_equal(json_number(client.body, "status"), client.status);
        }
    }
}

// ---- bodies -------------------------------------------------------------------------------------

static void who_expects_100_gets_it_where_a_body_is_wanted(void **state)
{
    (void)state;
    client_say(&client, EVENT "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    client_head(&client);
    assert_int_equal(client.status, 100);
    client_say(&client, "{}");
    expect_status(202);
}

static void who_expects_100_and_would_be_refused_is_refused_at_once(void **state)
{
    (void)state;
    client_say(&client, EVENT "Content-Length: 100001\r\nExpect: 100-continue\r\n\r\n");
    client_head(&client);
    assert_int_equal(client.status, 413);
}

static void a_body_over_the_limit_is_413_said_or_not(void **state)
{
    (void)state;
    client_say(&client, EVENT "Content-Length: 100001\r\n\r\n{}");
    expect_status(413);
    assert_true(client_is_ended(&client));
    client_close(&client);

    client_open(&client, serving.port);
    client_say(&client, EVENT "Transfer-Encoding: chunked\r\n\r\n186A1\r\n%0100001d\r\n0\r\n\r\n",
               1);
    expect_status(413);
    assert_true(client_is_ended(&client));
}

static void a_line_over_the_limit_is_413_with_its_number(void **state)
{
    (void)state;
    client_say(&client, LINES "Transfer-Encoding: chunked\r\n\r\n");
    char line[200];
    int size = snprintf(line, sizeof line, ONE_LINE, 1);
    client_say(&client, "%x\r\n%s\r\n", (unsigned)size, line);
    client_say(&client, "30D40\r\n%0200000d\r\n", 1);
    expect_status(413);
    assert_int_equal(json_number(client.body, "line"), 2);
    assert_int_equal(json_number(client.body, "published"), 1);
}

static void a_body_that_nobody_wants_ends_the_connection_after_its_answer(void **state)
{
    (void)state;
    client_say(&client, "GET /healthz HTTP/1.1\r\n" HOST "Content-Length: 40\r\n\r\n" HEALTH);
    expect_status(200);
    assert_string_equal(client_header(&client, "connection"), "close");
    assert_true(client_is_ended(&client));
}

static void chunks_that_are_none_are_400(void **state)
{
    (void)state;
    static const char *const bodies[] = { "x\r\n", "1\r\nab\r\n", "1\na", "-1\r\n" };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        client_say(&client, EVENT "Transfer-Encoding: chunked\r\n\r\n%s", bodies[i]);
        expect_status(400);
        assert_true(client_is_ended(&client));
        client_close(&client);
        client_open(&client, serving.port);
    }
}

// ---- heads --------------------------------------------------------------------------------------

static void heads_that_are_not_as_they_should_be_are_refused_and_closed(void **state)
{
    (void)state;
    static const struct {
        const char *head;
        int status;
    } rows[] = {
        { "GET /healthz HTTP/1.1\n" HOST "\r\n", 400 },
        { "GET /healthz HTTP/1.1\r\n\r\n", 400 },
        { "GET /healthz HTTP/1.1\r\n" HOST HOST "\r\n", 400 },
        { "GET /healthz HTTP/1.1\r\n" HOST "A: b\r\n c\r\n\r\n", 400 },
        { EVENT "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
        { EVENT "Content-Length: 2\r\nContent-Length: 3\r\n\r\n", 400 },
        { EVENT "Transfer-Encoding: gzip\r\n\r\n", 501 },
        { EVENT "Expect: more\r\nContent-Length: 2\r\n\r\n", 417 },
        { "GET /healthz HTTP/3.0\r\n" HOST "\r\n", 505 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        client_say(&client, "%s" HEALTH, rows[i].head);
        expect_status(rows[i].status);
        assert_true(client_is_ended(&client));
        client_close(&client);
        client_open(&client, serving.port);
    }
}

static void a_head_over_the_limits_is_431_or_414(void **state)
{
    (void)state;
    client_say(&client, "GET /healthz HTTP/1.1\r\n" HOST "A: %016000d\r\n\r\n", 1);
    expect_status(200);
    client_say(&client, "GET /healthz HTTP/1.1\r\n" HOST "A: %020000d\r\n\r\n", 1);
    expect_status(431);
    assert_true(client_is_ended(&client));
    client_close(&client);

    client_open(&client, serving.port);
    client_say(&client, "GET /%020000d", 1); // without an end
    expect_status(414);
    client_close(&client);

    client_open(&client, serving.port);
    client_say(&client, "GET /healthz HTTP/1.1\r\n" HOST "A: %020000d", 1);
    expect_status(431);
    assert_true(client_is_ended(&client));
    client_close(&client);

    client_open(&client, serving.port);
    client_say(&client, "GET /healthz HTTP/1.1\r\n" HOST);
    for (int i = 0; i < 64; i++) {
        client_say(&client, "A: b\r\n");
    }
    client_say(&client, "\r\n");
    expect_status(431);
}

// ---- half-closed connections --------------------------------------------------------------------

static void who_has_said_all_still_gets_every_answer(void **state)
{
    (void)state;
    client_say(&client, "GET /v1/stats HTTP/1.1\r\n" HOST "\r\n" HEALTH
                        "GET /v1/stats HTTP/1.1\r\n" HOST "\r\n");
    client_half_close(&client);
    expect_status(200);
    expect_status(200);
    expect_status(200);
    assert_true(client_is_ended(&client));
}

// More than the buffers of two sockets hold.
static void publish_much(void)
{
    struct client other;
    client_open(&other, serving.port);
    for (int i = 0; i < 80; i++) {
        client_say(&other,
                   EVENT "Content-Type: text/plain\r\nContent-Length: 90000\r\n\r\n%090000d", i);
        client_answer(&other);
        assert_int_equal(other.status, 202);
    }
    client_close(&other);
}

static void an_answer_larger_than_the_sockets_arrives_whole(void **state)
{
    (void)state;
    publish_much();
    for (int i = 0; i < 2; i++) {
        assert_int_equal(client_ask(&client, "GET", "/v1/events", NULL, NULL), 200);
        assert_int_equal(count_of(client.body, "\"specversion\""), 80);
    }
}

static void an_answer_on_its_way_arrives_whole_when_its_reader_has_said_all(void **state)
{
    (void)state;
    publish_much();
    client_close(&client);
    client_open_small(&client, serving.port, 4096);
    client_say(&client, "GET /v1/events HTTP/1.1\r\n" HOST "\r\n");
    client_head(&client); // most of it waits in the server
    client_half_close(&client);
    let_it_look();
    let_it_look();

    size_t length = strtoull(client_header(&client, "content-length"), NULL, 10);
    (void)client_until(&client, "]\n");
    assert_int_equal(client.body_size, length);
    assert_true(client_is_ended(&client));
}

static void a_body_that_ends_too_early_ends_the_connection(void **state)
{
    (void)state;
    client_say(&client, EVENT "Content-Length: 10\r\n\r\n{");
    client_half_close(&client);
    assert_true(client_is_ended(&client));
    assert_true(serving_settles(&serving, 0));
}

// ---- the end ------------------------------------------------------------------------------------

static void drain(struct serving *it, void *context)
{
    (void)context;
    service_drain(it->service);
    service_say_goodbye(it->service);
}

static void is_idle(struct serving *it, void *context)
{
    *(bool *)context = service_is_idle(it->service);
}

static void draining_ends_what_is_idle_and_answers_what_is_under_way(void **state)
{
    (void)state;
    struct client busy, live;
    client_open(&busy, serving.port);
    client_open(&live, serving.port);
    client_say(&busy, EVENT "Content-Length: 2\r\n\r\n{");
    client_say(&live, "GET /v1/stream HTTP/1.1\r\n" HOST "\r\n");
    client_head(&live);
    assert_int_equal(client_ask(&client, "GET", "/healthz", NULL, NULL), 200);
    let_it_look();

    serving_run(&serving, drain, NULL);

    assert_true(client_is_ended(&client));
    (void)client_until(&live, "0\r\n\r\n");
    assert_true(client_is_ended(&live));
    client_say(&busy, "}" HEALTH);
    client_answer(&busy);
    assert_int_equal(busy.status, 202);
    assert_string_equal(client_header(&busy, "connection"), "close");
    assert_true(client_is_ended(&busy));
    client_close(&busy);
    client_close(&live);
    assert_true(serving_settles(&serving, 0));
    bool idle = false;
    for (int i = 0; i < 100000 && !idle; i++) {
        serving_run(&serving, is_idle, &idle);
    }
    assert_true(idle);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(requests_in_one_packet_are_answered_in_their_order),
        TEST(bodies_and_requests_follow_each_other_without_a_gap),
        TEST(a_request_that_comes_byte_by_byte_is_answered),
        TEST(a_chunked_body_is_the_same_wherever_it_is_split),
        TEST(empty_lines_before_a_request_are_passed_over),
        TEST(http_1_0_is_answered_and_closed),
        TEST(http_1_0_is_kept_open_when_it_asks_for_that),
        TEST(http_1_0_gets_a_stream_without_chunks),
        TEST(close_is_said_and_done),
        TEST(head_is_get_without_a_body),
        TEST(another_method_is_405_with_those_there_are),
        TEST(paths_and_parameters_are_decoded_or_refused),
        TEST(who_expects_100_gets_it_where_a_body_is_wanted),
        TEST(who_expects_100_and_would_be_refused_is_refused_at_once),
        TEST(a_body_over_the_limit_is_413_said_or_not),
        TEST(a_line_over_the_limit_is_413_with_its_number),
        TEST(a_body_that_nobody_wants_ends_the_connection_after_its_answer),
        TEST(chunks_that_are_none_are_400),
        TEST(heads_that_are_not_as_they_should_be_are_refused_and_closed),
        TEST(a_head_over_the_limits_is_431_or_414),
        TEST(who_has_said_all_still_gets_every_answer),
        TEST(an_answer_larger_than_the_sockets_arrives_whole),
        TEST(an_answer_on_its_way_arrives_whole_when_its_reader_has_said_all),
        TEST(a_body_that_ends_too_early_ends_the_connection),
        TEST(draining_ends_what_is_idle_and_answers_what_is_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
