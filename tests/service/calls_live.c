// SPDX-License-Identifier: MIT
// ctest: threaded
//
// Server-Sent Events: beginning, resuming, gaps, samples, readers that fall behind, and many.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "service/numbered.h"
#include "support/client.h"
#include "support/folder.h"
#include "support/serving.h"

static struct folder folder;
static struct serving serving;
static struct client client, publisher;

static int begin(void **state)
{
    (void)state;
    folder_open(&folder, "");
    serving_open(&serving, folder.url, NULL);
    client_open(&client, serving.port);
    client_open(&publisher, serving.port);
    return 0;
}

static int end(void **state)
{
    (void)state;
    client_close(&client);
    client_close(&publisher);
    serving_close(&serving);
    folder_close(&folder);
    return 0;
}

static void publish(const char *path, const char *body)
{
    if (client_ask(&publisher, "POST", path, NULL, body) != 201) {
        fail_msg("%s", publisher.body);
    }
}

static uint64_t next_id(struct client *from)
{
    (void)client_until(from, "id: ");
    return strtoull(client_until(from, "\n"), NULL, 10);
}

// ---- where it begins ----------------------------------------------------------------------------

static void a_stream_begins_now_or_where_it_is_told(void **state)
{
    (void)state;
    numbered_publish(&publisher, 1, 5, 0);
    static const struct {
        const char *path, *headers;
        size_t first;
    } rows[] = {
        { "/v1/stream", "", 6 },
        { "/v1/stream?after=3", "", 4 },
        { "/v1/stream?after=0", "", 1 },
        { "/v1/stream?from=2", "", 2 },
        { "/v1/stream", "Last-Event-ID: 4\r\n", 5 },
        { "/v1/stream?after=1", "Last-Event-ID: 4\r\n", 5 },
        { "/v1/stream", "Last-Event-ID: 0\r\n", 1 },
        { "/v1/stream?from=2000-01-01T00:00:00Z", "", 1 },
    };
    struct client readers[8];
    for (size_t i = 0; i < 8; i++) {
        client_open(&readers[i], serving.port);
        numbered_listen(&readers[i], rows[i].path, rows[i].headers);
    }
    numbered_publish(&publisher, 6, 1, 0);
    for (size_t i = 0; i < 8; i++) {
        numbered_expect(&readers[i], rows[i].first, 7 - rows[i].first);
        client_close(&readers[i]);
    }
}

static void selectors_choose_what_comes(void **state)
{
    (void)state;
    numbered_listen(&client, "/v1/stream?type=x.*&subject=s+1", "");
    publish("/v1/events/x.a?subject=s+2", "1");
    publish("/v1/events/y.a?subject=s+1", "2");
    publish("/v1/events/x.b?subject=s+1", "3");
    assert_int_equal(next_id(&client), 3);
}

// {"total":5,"lines":[2]}, which the data of the second and the fourth has in it.
#define CONTAINED "contains=%7B%22total%22:5,%22lines%22:%5B2%5D%7D"

static void what_the_data_contains_chooses_what_comes(void **state)
{
    (void)state;
    static const char *const paths[] = { "/v1/stream?" CONTAINED,
                                         "/v1/stream?type=order.*&max_rate=100&" CONTAINED,
                                         "/v1/stream?after=0&" CONTAINED };
    struct client readers[3];
    for (size_t i = 0; i < 3; i++) {
        client_open(&readers[i], serving.port);
        numbered_listen(&readers[i], paths[i], "");
    }
    publish("/v1/events/order.a", "{\"total\":5,\"lines\":[1,3]}");
    publish("/v1/events/order.b", "{\"lines\":[1,2],\"total\":5.0,\"more\":{}}");
    publish("/v1/events/order.c", "{\"total\":\"5\",\"lines\":[2]}");
    publish("/v1/events/order.d", "{\"total\":5e0,\"lines\":[2]}");
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(next_id(&readers[i]), 2);
        assert_int_equal(next_id(&readers[i]), 4);
        client_close(&readers[i]);
    }
}

static void data_with_lines_of_its_own_arrives_whole(void **state)
{
    (void)state;
    numbered_listen(&client, "/v1/stream", "");
    publish("/v1/events/a", "{\r\n\"x\":\r1,\n\"y\":2}");
    const char *text = client_until(&client, "\n\n");
    size_t known = 0, lines = 0;
    for (const char *at = text; *at; lines++) { // a reader takes CR, LF and CR LF as ends
        size_t size = strcspn(at, "\r\n");
        known += size == 0 || strncmp(at, "data: ", 6) == 0 || strncmp(at, "id: ", 4) == 0;
        at += size;
        at += at[0] == '\r' && at[1] == '\n' ? 2 : *at != 0;
    }
    assert_true(lines >= 2);
    // The first line is the size of the chunk.
    assert_int_equal(known, lines - 1);
}

static void cursors_of_another_log_are_refused(void **state)
{
    (void)state;
    static const char *const headers[] = { "Last-Event-ID: 9\r\n", "Last-Event-ID: x\r\n",
                                           "Last-Event-ID: -1\r\n",
                                           "Last-Event-ID: 99999999999999999999\r\n" };
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(client_ask(&client, "GET", "/v1/stream", headers[i], NULL), 400);
    }
}

// ---- falling behind -----------------------------------------------------------------------------

static void a_reader_that_falls_behind_catches_up_and_loses_nothing(void **state)
{
    (void)state;
    enum { COUNT = 4000, FILLER = 2000 }; // 8 MB, of which a little fits between the two
    struct client slow;
    client_open_small(&slow, serving.port, 4096);
    numbered_listen(&slow, "/v1/stream", "");
    size_t before = mallinfo2().uordblks;
    for (size_t i = 0; i < COUNT; i += 500) {
        numbered_publish(&publisher, i + 1, 500, FILLER);
    }
    size_t after = mallinfo2().uordblks;
    assert_true(after < before + (16 << 20));
    numbered_expect(&slow, 1, COUNT);
    numbered_publish(&publisher, COUNT + 1, 1, 0);
    numbered_expect(&slow, COUNT + 1, 1);
    client_close(&slow);
}

static void what_was_there_before_comes_to_a_slow_reader_too(void **state)
{
    (void)state;
    enum { COUNT = 3000, FILLER = 2000 }; // more than a batch, before the stream is open
    struct client slow;
    numbered_publish(&publisher, 1, COUNT, FILLER);
    for (int round = 0; round < 3; round++) {
        client_open_small(&slow, serving.port, 4096);
        numbered_listen(&slow, "/v1/stream?after=0", "");
        numbered_expect(&slow, 1, COUNT);
        client_close(&slow);
    }
}

static void what_was_forgotten_is_told_as_a_gap(void **state)
{
    (void)state;
    const struct peal_bus_options options = { .workers = 2,
                                              .memory_max = 4 << 20,
                                              .history_bytes = 1 << 20,
                                              .pressure = PEAL_PRESSURE_DROP_OLDEST };
    peal_bus *bus = NULL;
    struct serving forgetful;
    struct client reader;
    assert_int_equal(peal_bus_open(&bus, "mem:", &options), PEAL_OK);
    serving_open_with(&forgetful, bus, NULL);
    struct peal_bus_stats stats = { 0 };
    for (int i = 0; i < 20000 || stats.first_position <= 2; i++) {
        const struct peal_message message = { .type = "a",
                                              .content_type = "application/octet-stream",
                                              .data = &options,
                                              .size = sizeof options };
        assert_int_equal(peal_publish(bus, &message, NULL), PEAL_OK);
        assert_int_equal(peal_bus_stats(&stats, bus), PEAL_OK);
    }
    static const char *const paths[] = { "/v1/stream?after=1&type=a",
                                         "/v1/stream?after=1&subject=s",
                                         "/v1/stream?after=1&max_rate=1" };
    for (int i = 0; i < 3; i++) {
        client_open(&reader, forgetful.port);
        numbered_listen(&reader, paths[i], "");
        (void)client_until(&reader, "event: gap\n");
        const char *text = client_until(&reader, "\n\n");
        assert_int_equal(json_number(text, "first"), 2);
        assert_int_equal(json_number(text, "last") - 2 + 1, json_number(text, "count"));
        client_close(&reader);
    }
    serving_close(&forgetful);
}

// ---- samples ------------------------------------------------------------------------------------

static void a_rate_is_kept_and_said_of_how_many(void **state)
{
    (void)state;
    numbered_listen(&client, "/v1/stream?max_rate=10", "");
    numbered_publish(&publisher, 1, 1000, 0);
    uint64_t seen = 0, sent = 0;
    size_t came = 0;
    while (seen < 1000) {
        const char *text = client_until(&client, "event: sample\n");
        came += count_of(text, "\"specversion\"");
        text = client_until(&client, "\n\n");
        seen += json_number(text, "seen");
        sent += json_number(text, "sent");
    }
    assert_int_equal(seen, 1000);
    assert_in_range(sent, 10, 40); // ten a second, of few
    assert_in_range(came, 10, 40);
}

// ---- many ---------------------------------------------------------------------------------------

enum { CROWD = 1000, EVENTS = 20 };

static void a_thousand_readers_get_every_event(void **state)
{
    (void)state;
    static struct client crowd[CROWD];
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max < 4096 ? limit.rlim_max : 4096;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < CROWD; i++) {
        client_open(&crowd[i], serving.port);
        numbered_listen(&crowd[i], "/v1/stream?type=a", "");
        free(crowd[i].bytes); // ours is not what is measured
        crowd[i].bytes = NULL;
        assert_int_equal(crowd[i].size, 0);
        crowd[i].room = 0;
    }
    size_t each = (mallinfo2().uordblks - before) / CROWD;
    assert_true(each < 16384);
    numbered_publish(&publisher, 1, EVENTS, 0);
    for (int i = 0; i < CROWD; i++) {
        numbered_expect(&crowd[i], 1, EVENTS);
        client_close(&crowd[i]);
    }
    assert_true(serving_settles(&serving, 2));
}

static int begin_few(void **state)
{
    (void)state;
    const struct service_options options = { .live_max = 2 };
    folder_open(&folder, "");
    serving_open(&serving, folder.url, &options);
    client_open(&client, serving.port);
    client_open(&publisher, serving.port);
    return 0;
}

static void one_stream_too_many_is_503(void **state)
{
    (void)state;
    struct client more;
    client_open(&more, serving.port);
    numbered_listen(&client, "/v1/stream", "");
    numbered_listen(&more, "/v1/stream", "");
    assert_int_equal(client_ask(&publisher, "GET", "/v1/stream", NULL, NULL), 503);
    assert_non_null(client_header(&publisher, "retry-after"));
    client_close(&more);
    assert_true(serving_settles(&serving, 2));
    numbered_listen(&publisher, "/v1/stream", "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_stream_begins_now_or_where_it_is_told),
        TEST(selectors_choose_what_comes),
        TEST(what_the_data_contains_chooses_what_comes),
        TEST(data_with_lines_of_its_own_arrives_whole),
        TEST(cursors_of_another_log_are_refused),
        TEST(a_reader_that_falls_behind_catches_up_and_loses_nothing),
        TEST(what_was_there_before_comes_to_a_slow_reader_too),
        TEST(what_was_forgotten_is_told_as_a_gap),
        TEST(a_rate_is_kept_and_said_of_how_many),
        TEST(a_thousand_readers_get_every_event),
        cmocka_unit_test_setup_teardown(one_stream_too_many_is_503, begin_few, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
