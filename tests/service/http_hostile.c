// SPDX-License-Identifier: MIT
// ctest: threaded
//
// Peers who mean no good, or know no better: silent, slow, deaf, gone, many. What each costs has a
// bound, and who means well beside them is served.
//
// 10,000 mutated requests, in percent of PEAL_EFFORT; any number by PEAL_REQUESTS, from PEAL_SEED
// on. Request n depends on the seed and n alone.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/client.h"
#include "support/descriptors.h"
#include "support/serving.h"

#include "service/feed.h"

#define HOST   "Host: localhost\r\n"
#define HEALTH "GET /healthz HTTP/1.1\r\n" HOST "\r\n"

static struct serving serving;
static struct client healthy;

static int begin_with(struct net_http_limits limits)
{
    const struct service_options options = { .limits = limits, .body_max = 1 << 20 };
    serving_open(&serving, "mem:", &options);
    client_open(&healthy, serving.port);
    return 0;
}

static int begin(void **state)
{
    (void)state;
    return begin_with((struct net_http_limits){ 0 });
}

static int end(void **state)
{
    (void)state;
    client_close(&healthy);
    serving_close(&serving);
    return 0;
}

static void expect_health(void)
{
    assert_int_equal(client_ask(&healthy, "GET", "/healthz", NULL, NULL), 200);
}

// All but the healthy one are gone.
static void expect_alone(void)
{
    assert_true(serving_settles(&serving, 1));
    expect_health();
}

static size_t memory_now(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

// ---- silence ------------------------------------------------------------------------------------

enum { CROWD = 1000 };

static void raise_files(void)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max < 4096 ? limit.rlim_max : 4096;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void a_thousand_who_say_nothing_do_not_disturb_one_who_does(void **state)
{
    (void)state;
    static struct client crowd[CROWD];
    raise_files();
    expect_health();
    size_t before = memory_now();
    for (int i = 0; i < CROWD; i++) {
        client_open(&crowd[i], serving.port);
        if (i % 2) {
            client_say(&crowd[i], "GET /healthz HT");
        }
    }
    assert_true(serving_settles(&serving, CROWD + 1));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(__clang__)
    assert_true((memory_now() - before) / CROWD < 8192);
#else
    (void)before;
#endif

    for (int i = 0; i < 100; i++) {
        expect_health();
    }
    client_say(&crowd[CROWD - 1], "TP/1.1\r\n" HOST "\r\n"); // and one has only been slow
    client_answer(&crowd[CROWD - 1]);
    assert_int_equal(crowd[CROWD - 1].status, 200);

    for (int i = 0; i < CROWD; i++) {
        client_close(&crowd[i]);
    }
    expect_alone();
}

static int begin_impatient(void **state)
{
    (void)state;
    return begin_with((struct net_http_limits){ .request_ms = 200, .idle_ms = 200 });
}

static void who_does_not_finish_a_request_is_left(void **state)
{
    (void)state;
    static const char *const beginnings[] = {
        "",
        "GET /healthz",
        "POST /v1/events/a HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\n{",
        "POST /v1/events/a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\n{",
        "POST /v1/events HTTP/1.1\r\n" HOST
        "Content-Type: application/x-ndjson\r\nContent-Length: 9\r\n\r\n{",
    };
    struct client slow[5];
    for (int i = 0; i < 5; i++) {
        client_open(&slow[i], serving.port);
        client_say(&slow[i], "%s", beginnings[i]);
    }
    for (int i = 0; i < 5; i++) {
        assert_true(client_is_ended(&slow[i]));
        client_close(&slow[i]);
    }
    assert_true(serving_settles(&serving, 0)); // the healthy one has been idle for too long
}

static void who_drips_a_head_is_left(void **state)
{
    (void)state;
    struct client slow;
    client_open(&slow, serving.port);
    client_say(&slow, "GET /healthz HTTP/1.1\r\n");
    bool goes = true;
    for (int i = 0; i < 100000 && goes; i++) { // a header every now and then does not help
        goes = client_send(&slow, "A: b\r\n", i % 100 ? 0 : 6);
        struct net_http_counts counts;
        serving_counts(&serving, &counts);
        goes = goes && counts.open > 0;
    }
    assert_true(serving_settles(&serving, 0));
    client_close(&slow);
}

static void who_never_takes_the_last_answer_is_left(void **state)
{
    (void)state;
    struct client deaf;
    assert_int_equal(client_ask(&healthy, "POST", "/v1/subscriptions", NULL,
                                "{\"name\":\"n\",\"pattern\":\"**\"}"),
                     201);
    for (int i = 0; i < 20; i++) {
        static char text[500001];
        memset(text, 'x', sizeof text - 1);
        assert_int_equal(
            client_ask(&healthy, "POST", "/v1/events/a", "Content-Type: text/plain\r\n", text),
            202);
    }
    client_open_small(&deaf, serving.port, 4096); // only now: who is silent for long is left, too
    client_say(&deaf, "POST /v1/subscriptions/n/pull HTTP/1.1\r\n" HOST
                      "Connection: close\r\nContent-Length: 10\r\n\r\n{\"max\":20}");
    client_head(&deaf); // nothing has been said to be too late until now
    assert_int_equal(deaf.status, 200);
    assert_true(serving_settles(&serving, 0));
    client_close(&deaf);
}

// ---- too many -----------------------------------------------------------------------------------

static int begin_small(void **state)
{
    (void)state;
    return begin_with((struct net_http_limits){ .connections = 3 });
}

static void one_connection_too_many_is_503(void **state)
{
    (void)state;
    struct client more[3];
    expect_health();
    client_open(&more[0], serving.port);
    client_open(&more[1], serving.port);
    assert_true(serving_settles(&serving, 3));
    client_open(&more[2], serving.port);

    client_answer(&more[2]);

    assert_int_equal(more[2].status, 503);
    assert_non_null(client_header(&more[2], "retry-after"));
    assert_true(client_is_ended(&more[2]));
    client_close(&more[2]);
    client_close(&more[1]);
    assert_true(serving_settles(&serving, 2));
    client_open(&more[1], serving.port);
    assert_int_equal(client_ask(&more[1], "GET", "/healthz", NULL, NULL), 200);
    client_close(&more[0]);
    client_close(&more[1]);
    struct net_http_counts counts;
    serving_counts(&serving, &counts);
    assert_int_equal(counts.refused, 1);
}

static void without_a_descriptor_left_a_connection_is_closed_and_the_rest_go_on(void **state)
{
    (void)state;
    struct rlimit old, tight;
    struct client late;
    expect_health();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    late.socket = -1;
    int first = dup(STDIN_FILENO); // the lowest that is free: the client's socket will have it
    assert_true(first >= 0);
    (void)close(first);
    tight = old;
    tight.rlim_cur = (rlim_t)first + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    client_open(&late, serving.port);

    client_answer(&late);

    assert_int_equal(late.status, 503);
    expect_health();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    client_close(&late);
    client_open(&late, serving.port);
    assert_int_equal(client_ask(&late, "GET", "/healthz", NULL, NULL), 200);
    client_close(&late);
}

// ---- who does not read --------------------------------------------------------------------------

static void who_asks_on_without_reading_costs_little(void **state)
{
    (void)state;
    struct client deaf;
    static char requests[400 * sizeof HEALTH];
    size_t size = 0;
    for (int i = 0; i < 400; i++) {
        size += (size_t)snprintf(requests + size, sizeof requests - size, "%s", HEALTH);
    }
    client_open_small(&deaf, serving.port, 4096);
    expect_health();
    size_t before = memory_now();

    // Up to 40 MB of questions, as far as they are taken.
    size_t sent = 0;
    for (int i = 0; i < 2000; i++) {
        ssize_t some = send(deaf.socket, requests, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        sent += some > 0 ? (size_t)some : 0;
        expect_health();
    }

    assert_true(sent < (8 << 20)); // the rest would wait in its own socket
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(__clang__)
    assert_true(memory_now() < before + (4 << 20));
#else
    (void)before; // these do not count as malloc does
#endif
    client_close(&deaf);
    expect_alone();
}

static void many_empty_lines_behind_a_request_cost_one_look(void **state)
{
    (void)state;
    static char lines[60000];
    struct client odd;
    client_open(&odd, serving.port);
    memset(lines, '\n', sizeof lines);
    for (int i = 0; i < 50; i++) { // the pool works while they come
        client_say(&odd, "GET /v1/stats HTTP/1.1\r\n" HOST "\r\n");
        assert_true(client_send(&odd, lines, sizeof lines));
    }
    for (int i = 0; i < 50; i++) {
        client_answer(&odd);
        assert_int_equal(odd.status, 200);
    }
    expect_health();
    client_close(&odd);
}

// ---- who goes away ------------------------------------------------------------------------------

static void reset(struct client *client)
{
    const struct linger hard = { .l_onoff = 1, .l_linger = 0 };
    (void)setsockopt(client->socket, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    client_close(client);
}

static void who_goes_away_leaves_nothing(void **state)
{
    (void)state;
    static const char *const lives[] = {
        "",
        "GET /heal",
        HEALTH,
        "POST /v1/events/a HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\n{",
        "POST /v1/events/a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\n{",
        "POST /v1/events HTTP/1.1\r\n" HOST
        "Content-Type: application/x-ndjson\r\nContent-Length: 90\r\n\r\n{",
        "POST /v1/events HTTP/1.1\r\n" HOST
        "Content-Type: application/cloudevents+json\r\nContent-Length: 90\r\n\r\n{",
        "GET /v1/stats HTTP/1.1\r\n" HOST "\r\n",
        "GET /v1/events HTTP/1.1\r\n" HOST "\r\nGET /v1/events HTTP/1.1\r\n" HOST "\r\nGET",
        "GET /v1/stream HTTP/1.1\r\n" HOST "\r\n",
        "GET /v1/stream?max_rate=1 HTTP/1.0\r\n\r\n",
        "GET /v1/stream?from=1 HTTP/1.1\r\n" HOST "\r\n" HEALTH,
        "POST /v1/subscriptions/none/pull HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\n{}",
        "GET /v1/ws HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    };
    assert_int_equal(client_ask(&healthy, "POST", "/v1/events/a", NULL, "{}"), 202);
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < sizeof lives / sizeof lives[0]; i++) {
            struct client passing;
            client_open(&passing, serving.port);
            client_say(&passing, "%s", lives[i]);
            if (round % 4 > 1) {
                expect_health(); // the loop has looked at it
            }
            if (round % 2) {
                reset(&passing);
            } else {
                client_close(&passing);
            }
        }
        assert_int_equal(client_ask(&healthy, "POST", "/v1/events/a", NULL, "{}"), 202);
    }
    expect_alone();
}

// ---- nonsense -----------------------------------------------------------------------------------

static const char *const seeds[] = {
    HEALTH HEALTH,
    "POST /v1/events/a.b?subject=x%20y&id=7 HTTP/1.1\r\n" HOST
    "Content-Type: application/json\r\nContent-Length: 7\r\n\r\n{\"a\":1}" HEALTH,
    "POST /v1/events HTTP/1.1\r\n" HOST "Content-Type: application/cloudevents+json\r\n"
    "Transfer-Encoding: chunked\r\n\r\n"
    "33\r\n{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/\",\"type\":\"a\"}\r\n0\r\n\r\n",
    "POST /v1/events HTTP/1.1\r\n" HOST "Content-Type: application/x-ndjson\r\n"
    "Content-Length: 104\r\n\r\n"
    "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/\",\"type\":\"a\"}\n"
    "{\"specversion\":\"1.0\",\"id\":\"2\",\"source\":\"/\",\"type\":\"a\"}\n",
    "POST /v1/events HTTP/1.1\r\n" HOST "ce-specversion: 1.0\r\nce-type: a.b\r\nce-id: %41\r\n"
    "ce-source: /t\r\nce-more: x\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-"
    "b7ad6b7169203331-01\r\nPrefer: durability=memory\r\nContent-Length: 2\r\n\r\n{}",
    "GET /v1/events?type=a.*&order=desc&limit=3&after=0&from=1&contains=%7B%7D HTTP/1.1\r\n" HOST
    "\r\n",
    "GET /v1/stream?type=**&after=0&max_rate=5 HTTP/1.1\r\n" HOST "Last-Event-ID: 3\r\n\r\n",
    "POST /v1/streams/s HTTP/1.1\r\n" HOST "If-Match: \"1\"\r\nContent-Length: 54\r\n\r\n"
    "{\"specversion\":\"1.0\",\"id\":\"9\",\"source\":\"/\",\"type\":\"a\"}",
    "POST /v1/subscriptions HTTP/1.1\r\n" HOST "Content-Length: 54\r\n\r\n"
    "{\"name\":\"n\",\"pattern\":\"a\",\"retry\":{\"max_attempts\":2}}    ",
    "POST /v1/subscriptions/n/pull HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\n{\"max\":5}",
    "POST /v1/subscriptions/n/settle HTTP/1.1\r\n" HOST "Content-Length: 54\r\n\r\n"
    "{\"settlements\":[{\"receipt\":\"1-1\",\"verdict\":\"done\"}]}   ",
    "PUT /v1/dead-letters/1 HTTP/1.1\r\n" HOST "Expect: 100-continue\r\n"
    "Content-Length: 2\r\n\r\n{}",
    "PUT /v1/subscriptions/n/webhook HTTP/1.1\r\n" HOST "Content-Length: 27\r\n\r\n"
    "{\"timeout_ms\":9,\"headers\":{}}",
    "POST /v1/subscriptions/n/seek HTTP/1.1\r\n" HOST "Content-Length: 20\r\n\r\n"
    "{\"from\":\"beginning\"}",
    "POST /v1/dead-letters/retry?subscription=n&type=a.*&reason=x&older_than_ms=1&dry_run=true "
    "HTTP/1.1\r\n" HOST "\r\n",
    "OPTIONS /v1/events HTTP/1.1\r\n" HOST "Origin: http://localhost\r\n"
    "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: ce-id\r\n\r\n",
    "HEAD /v1/events/1/trace HTTP/1.0\r\n\r\n",
    "DELETE /v1/subscriptions/n HTTP/1.1\r\n" HOST "\r\nGET /v1/subscriptions HTTP/1.1\r\n" HOST
    "\r\n",
    "GET /v1/ws HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\nxyz",
};

static uint64_t chance; // xorshift64*

static uint64_t next(uint64_t below)
{
    chance ^= chance >> 12;
    chance ^= chance << 25;
    chance ^= chance >> 27;
    return (chance * UINT64_C(2685821657736338717) >> 16) % below;
}

static size_t replace(char *text, size_t size, size_t room, size_t at, size_t out, const char *in)
{
    size_t length = strlen(in);
    out = out < size - at ? out : size - at;
    if (size - out + length > room) {
        return size;
    }
    memmove(text + at + length, text + at + out, size - at - out);
    memcpy(text + at, in, length);
    return size - out + length;
}

// One change of a request.
static size_t change(char *text, size_t size, size_t room)
{
    static const char *const words[] = {
        "\r\n",
        "\n",
        "\r",
        " ",
        ":",
        "%",
        "%00",
        "%2F",
        "?",
        "=",
        "&",
        "&=",
        "//",
        "{",
        "}",
        "[",
        "\"",
        "0",
        "-1",
        "99999999999999999999",
        "HTTP/1.0",
        "HTTP/2.0",
        "Host: b\r\n",
        "Content-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Connection: close\r\n",
        "Expect: 100-continue\r\n",
        "chunked",
        "GET ",
        "HEAD ",
        "ffffffffffffffff\r\n",
        ";",
    };
    size_t at = (size_t)next(size);
    switch (next(5)) {
    case 0:
        text[at] = (char)next(256);
        return size;
    case 1:
        return replace(text, size, room, at, 1 + (size_t)next(8), "");
    case 2:
        return at > 0 ? at : size; // cut off
    default:
        return replace(text, size, room, at, (size_t)next(2) * (size_t)next(6),
                       words[next(sizeof words / sizeof words[0])]);
    }
}

static uint64_t setting(const char *name, uint64_t usual)
{
    const char *given = getenv(name); // NOLINT(concurrency-mt-unsafe): nobody sets it
    return given ? strtoull(given, NULL, 10) : usual;
}

static void say_nonsense(uint64_t number)
{
    char text[2000];
    struct client odd;
    chance = (number + 1) * UINT64_C(0x9e3779b97f4a7c15);
    const char *seed = seeds[next(sizeof seeds / sizeof seeds[0])];
    size_t size = strlen(seed);
    memcpy(text, seed, size);
    for (uint64_t changes = 1 + next(4); changes > 0 && size > 0; changes--) {
        size = change(text, size, sizeof text);
    }
    client_open(&odd, serving.port);
    size_t cut = (size_t)next(size + 1);
    (void)(client_send(&odd, text, cut) && client_send(&odd, text + cut, size - cut));
    if (next(3) == 0) {
        client_half_close(&odd);
    }
    (void)client_poll(&odd);
    if (next(4) == 0) {
        reset(&odd);
    } else {
        client_close(&odd);
    }
}

static void count_feeds(struct serving *of, void *context)
{
    *(size_t *)context = service_feeds_count(of->service);
}

static size_t feeds_now(void)
{
    size_t count = 0;
    serving_run(&serving, count_feeds, &count);
    return count;
}

static void nonsense_harms_nobody(void **state)
{
    (void)state;
    uint64_t effort = setting("PEAL_EFFORT", 100);
    uint64_t count = setting("PEAL_REQUESTS", effort > 0 ? 100 * effort : 100);
    uint64_t first = setting("PEAL_SEED", 1) * 1000000007;
    expect_health();
    size_t descriptors = descriptors_now(), threads = threads_now();
    for (uint64_t i = 0; i < count; i++) {
        say_nonsense(first + i);
        if (i % 16 == 0) {
            if (client_ask(&healthy, "GET", "/healthz", NULL, NULL) != 200) {
                fail_msg("after request %llu: %d", (unsigned long long)i, healthy.status);
            }
        }
        if (i % 256 == 0) {
            assert_int_equal(client_ask(&healthy, "POST", "/v1/events/z", NULL, "{}"), 202);
        }
    }
    expect_alone();
    assert_true(falls_to(descriptors_now, descriptors));
    assert_true(falls_to(threads_now, threads));
    assert_true(falls_to(feeds_now, 0)); // the subscriptions of streams that are gone
}

#define TEST(name, begin) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_thousand_who_say_nothing_do_not_disturb_one_who_does, begin),
        TEST(who_does_not_finish_a_request_is_left, begin_impatient),
        TEST(who_drips_a_head_is_left, begin_impatient),
        TEST(who_never_takes_the_last_answer_is_left, begin_impatient),
        TEST(one_connection_too_many_is_503, begin_small),
        TEST(without_a_descriptor_left_a_connection_is_closed_and_the_rest_go_on, begin),
        TEST(who_asks_on_without_reading_costs_little, begin),
        TEST(many_empty_lines_behind_a_request_cost_one_look, begin),
        TEST(who_goes_away_leaves_nothing, begin),
        TEST(nonsense_harms_nobody, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
