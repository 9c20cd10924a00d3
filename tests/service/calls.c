// SPDX-License-Identifier: MIT
// ctest: threaded
//
// Every call, with good and with bad input, on a log in files. What streams is in calls_live.c.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/client.h"
#include "support/folder.h"
#include "support/serving.h"

#define HOST       "Host: localhost\r\n"
#define CLOUDEVENT "Content-Type: application/cloudevents+json\r\n"
#define BATCH      "Content-Type: application/cloudevents-batch+json\r\n"
#define NDJSON     "Content-Type: application/x-ndjson\r\n"
#define TEXT       "Content-Type: text/plain\r\n"
#define EVENT(id)  "{\"specversion\":\"1.0\",\"id\":\"" id "\",\"source\":\"/t\",\"type\":\"a.b\"}"

static struct folder folder;
static struct serving serving;
static struct client client;

static void open_service(void)
{
    const struct service_options options = { .folder = folder.path };
    serving_open(&serving, folder.url, &options);
    client_open(&client, serving.port);
}

static void close_service(void)
{
    client_close(&client);
    serving_close(&serving);
}

static int begin(void **state)
{
    (void)state;
    folder_open(&folder, "");
    open_service();
    return 0;
}

static int end(void **state)
{
    (void)state;
    close_service();
    folder_close(&folder);
    return 0;
}

// Asks, and fails with the answer if it is another than expected. The body is the client's.
static const char *ask(int status, const char *method, const char *path, const char *headers,
                       const char *body)
{
    if (client_ask(&client, method, path, headers, body) != status) {
        fail_msg("%s %s %s: %d instead of %d: %s", method, path, body ? body : "", client.status,
                 status, client.body);
    }
    if (client_header(&client, "connection")) { // it has closed: there was a body left
        struct client next;
        client_open(&next, serving.port);
        next.body = client.body;
        client.body = NULL;
        next.head = client.head;
        client.head = NULL;
        client_close(&client);
        client = next;
    }
    if (status >= 400) {
        assert_string_equal(client_header(&client, "content-type"), "application/problem+json");
        assert_int_equal(json_number(client.body, "status"), status);
    }
    return client.body;
}

static void expect_text(const char *text, const char *part)
{
    if (!strstr(text, part)) {
        fail_msg("no %s in %s", part, text);
    }
}

// ---- publishing ---------------------------------------------------------------------------------

static void an_event_is_published_in_every_mode_and_read_back_the_same(void **state)
{
    (void)state;
    ask(201, "POST", "/v1/events", CLOUDEVENT,
        "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/t\",\"type\":\"a.b\",\"subject\":\"s "
        "1\",\"data\":{\"x\":1}}");
    ask(201, "POST", "/v1/events", BATCH,
        "[{\"specversion\":\"1.0\",\"id\":\"2\",\"source\":\"/t\",\"type\":\"a.b\",\"subject\":\"s "
        "1\",\"data\":{\"x\":1}}]");
    ask(201, "POST", "/v1/events",
        "ce-specversion: 1.0\r\nce-id: 3\r\nce-source: /t\r\nce-type: a.b\r\nce-subject: s%201\r\n"
        "Content-Type: application/json\r\n",
        "{\"x\":1}");
    ask(201, "POST", "/v1/events/a.b?id=4&source=/t&subject=s+1", NULL, "{\"x\":1}");
    ask(201, "POST", "/v1/events/a.b?id=5&source=%2Ft", "ce-subject: s 1\r\n", "{\"x\":1}");
    ask(200, "POST", "/v1/events", NDJSON,
        "{\"specversion\":\"1.0\",\"id\":\"6\",\"source\":\"/t\",\"type\":\"a.b\",\"subject\":\"s "
        "1\",\"data\":{\"x\":1}}\n");

    for (int i = 1; i <= 6; i++) {
        char path[40], text[80];
        (void)snprintf(path, sizeof path, "/v1/events/%d", i);
        const char *event = ask(200, "GET", path, NULL, NULL);
        assert_string_equal(json_text(text, sizeof text, event, "type"), "a.b");
        assert_string_equal(json_text(text, sizeof text, event, "subject"), "s 1");
        assert_string_equal(json_text(text, sizeof text, event, "source"), "/t");
        expect_text(event, "{\"x\":1}");
    }
}

struct row {
    int status;
    const char *path, *headers, *body;
};

static void bodies_that_are_no_events_are_refused(void **state)
{
    (void)state;
    static const struct row rows[] = {
        { 400, "/v1/events", CLOUDEVENT, "" },
        { 400, "/v1/events", CLOUDEVENT, "{" },
        { 400, "/v1/events", CLOUDEVENT, "[]" },
        { 400, "/v1/events", CLOUDEVENT, "{}" },
        { 400, "/v1/events", CLOUDEVENT, EVENT("1") "," },
        { 400, "/v1/events", BATCH, EVENT("1") },
        { 400, "/v1/events", BATCH, "[" EVENT("1") },
        { 400, "/v1/events", BATCH, "[" EVENT("1") ",]" },
        { 400, "/v1/events", BATCH, "[" EVENT("1") EVENT("2") "]" },
        { 400, "/v1/events", BATCH, "[" EVENT("1") "]]" },
        { 400, "/v1/events", BATCH, "[" EVENT("1") ",{}]" },
        { 400, "/v1/events", BATCH, "[,]" },
        { 415, "/v1/events", NULL, EVENT("1") },
        { 415, "/v1/events", TEXT, EVENT("1") },
        { 400, "/v1/events", "ce-specversion: 1.0\r\n", "{}" },
        { 400, "/v1/events", "ce-specversion: 0.3\r\nce-type: a\r\n", "{}" },
        { 400, "/v1/events", "ce-specversion: 1.0\r\nce-type: a%\r\n", "{}" },
        { 400, "/v1/events", "ce-specversion: 1.0\r\nce-type: a\r\nce-a_b: c\r\n", "{}" },
        { 400, "/v1/events", "ce-specversion: 1.0\r\nce-type: a\r\nce-time: now\r\n", "{}" },
        { 400, "/v1/events/a", NULL, "{" },
        { 400, "/v1/events/a", NULL, "{} {}" },
        { 400, "/v1/events/a..b", NULL, "{}" },
        { 400, "/v1/events/a.*", NULL, "{}" },
        { 400, "/v1/events/a?priority=10", NULL, "{}" },
        { 400, "/v1/events/a?time=yesterday", NULL, "{}" },
        { 400, "/v1/events/a?deliver_at=soon", NULL, "{}" },
        { 400, "/v1/events/a?nothing=1", NULL, "{}" },
        { 400, "/v1/events/a", "Prefer: durability=stone\r\n", "{}" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ask(rows[i].status, "POST", rows[i].path, rows[i].headers, rows[i].body);
    }
    assert_int_equal(json_number(ask(200, "GET", "/v1/stats", NULL, NULL), "published"), 0);
}

static int begin_shallow(void **state)
{
    (void)state;
    const struct service_options options = { .folder = folder.path, .json_depth = 3 };
    folder_open(&folder, "");
    serving_open(&serving, folder.url, &options);
    client_open(&client, serving.port);
    return 0;
}

// Of each pair, the first is as deep as may be, the second by one more.
static void json_that_is_deeper_than_its_limit_is_refused_wherever_it_comes(void **state)
{
    (void)state;
#define WITH(data) "{\"specversion\":\"1.0\",\"type\":\"a\",\"data\":" data "}"
    static const struct row rows[] = {
        { 201, "/v1/events/a", NULL, "[[[1]]]" },
        { 400, "/v1/events/a", NULL, "[[[[1]]]]" },
        { 201, "/v1/events/a", NULL, "{\"[[[[\":{\"a\":[\"[{\"]}}" },
        { 400, "/v1/events/a", NULL, "{\"a\":{\"b\":[{}]}}" },
        { 201, "/v1/events", CLOUDEVENT, WITH("[[[1]]]") },
        { 400, "/v1/events", CLOUDEVENT, WITH("[[[[1]]]]") },
        { 201, "/v1/events", BATCH, "[" WITH("1") "," WITH("[[[1]]]") "]" },
        { 400, "/v1/events", BATCH, "[" WITH("1") "," WITH("[[[[1]]]]") "]" },
        { 201, "/v1/events", "ce-specversion: 1.0\r\nce-type: a\r\n", "[[[1]]]" },
        { 400, "/v1/events", "ce-specversion: 1.0\r\nce-type: a\r\n", "[[[[1]]]]" },
        { 200, "/v1/events", NDJSON, WITH("[[[1]]]") "\n" },
        { 400, "/v1/events", NDJSON, WITH("[[[[1]]]]") "\n" },
        { 201, "/v1/streams/s", CLOUDEVENT, WITH("[[[1]]]") },
        { 400, "/v1/streams/s", CLOUDEVENT, WITH("[[[[1]]]]") },
        { 201, "/v1/subscriptions", NULL,
          "{\"name\":\"s\",\"pattern\":\"a\",\"retry\":{\"max_attempts\":2}}" },
        { 400, "/v1/subscriptions", NULL, "{\"name\":\"t\",\"retry\":{\"a\":[[]]}}" },
        { 201, "/v1/events/a", TEXT, "[[[[[[" }, // no JSON
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ask(rows[i].status, "POST", rows[i].path, rows[i].headers, rows[i].body);
        if (rows[i].status == 400) {
            expect_text(client.body, "more than 3 deep");
        }
    }
#undef WITH
}

static void what_was_looked_at_is_let_go_of(void **state)
{
    (void)state;
    enum { SIZE = 200000 };
    char *body = malloc(SIZE);
    assert_non_null(body);
    memset(body, ' ', SIZE);
    (void)snprintf(body + SIZE - 4, 4, "1,"); // no JSON, but all of it is looked at
    size_t before = 0;
    for (int i = 0; i < 200; i++) {
        ask(400, "POST", "/v1/events/a", NULL, body);
        before = i == 10 ? mallinfo2().uordblks + mallinfo2().hblkhd : before;
    }
    size_t after = mallinfo2().uordblks + mallinfo2().hblkhd;
    assert_true(after < before + (size_t)4 * SIZE);
    free(body);
}

static void an_event_is_as_durable_as_it_is_preferred(void **state)
{
    (void)state;
    char level[16];
    ask(202, "POST", "/v1/events/a", "Prefer: durability=memory\r\n", "{}");
    assert_string_equal(json_text(level, sizeof level, client.body, "durability"), "memory");
    ask(201, "POST", "/v1/events/a", "Prefer: durability=os\r\n", "{}");
    assert_string_equal(json_text(level, sizeof level, client.body, "durability"), "os");
    ask(201, "POST", "/v1/events/a", "Prefer: wait=3, durability=disk\r\n", "{}");
    assert_string_equal(json_text(level, sizeof level, client.body, "durability"), "disk");
    ask(201, "POST", "/v1/events", BATCH "Prefer: durability=disk\r\n",
        "[" EVENT("1") "," EVENT("2") "]");
    assert_int_equal(count_of(client.body, "\"disk\""), 2);
    ask(200, "POST", "/v1/events", NDJSON "Prefer: durability=disk\r\n", EVENT("3"));
    assert_int_equal(json_number(client.body, "published"), 1);
}

static void what_is_published_twice_is_there_once(void **state)
{
    (void)state;
    uint64_t position =
        json_number(ask(201, "POST", "/v1/events", CLOUDEVENT, EVENT("1")), "position");
    expect_text(client.body, "\"duplicate\":false");
    ask(201, "POST", "/v1/events", CLOUDEVENT, EVENT("1"));
    expect_text(client.body, "\"duplicate\":true");
    assert_int_equal(json_number(client.body, "position"), position);
    ask(200, "POST", "/v1/events", NDJSON, EVENT("1") "\n" EVENT("2") "\n\n" EVENT("2") "\r\n");
    assert_int_equal(json_number(client.body, "published"), 1);
    assert_int_equal(json_number(client.body, "duplicates"), 2);
    ask(200, "GET", "/v1/events", NULL, NULL);
    assert_int_equal(count_of(client.body, "\"specversion\""), 2);
}

// ---- NDJSON -------------------------------------------------------------------------------------

static char *make_lines(size_t count, size_t bad)
{
    char *text = malloc(count * 90 + 1);
    size_t used = 0;
    assert_non_null(text);
    for (size_t i = 1; i <= count; i++) {
        used += i == bad ? (size_t)snprintf(text + used, 90, "{\"type\":\n")
                         : (size_t)snprintf(text + used, 90, EVENT("n%zu") "\n", i);
    }
    return text;
}

static void a_hundred_thousand_lines_are_published_in_their_order(void **state)
{
    (void)state;
    char *lines = make_lines(100000, 0);
    ask(200, "POST", "/v1/events", NDJSON, lines);
    free(lines);
    assert_int_equal(json_number(client.body, "published"), 100000);
    assert_int_equal(json_number(client.body, "last_position") -
                         json_number(client.body, "first_position"),
                     99999);
    expect_text(ask(200, "GET", "/v1/events?order=desc&limit=1", NULL, NULL), "\"n100000\"");
}

static void a_bad_line_ends_it_and_what_stands_before_it_is_published(void **state)
{
    (void)state;
    char *lines = make_lines(5000, 3001);
    ask(400, "POST", "/v1/events", NDJSON, lines);
    free(lines);
    assert_int_equal(json_number(client.body, "line"), 3001);
    assert_int_equal(json_number(client.body, "published"), 3000);
    client_close(&client);
    client_open(&client, serving.port);
    assert_int_equal(json_number(ask(200, "GET", "/v1/stats", NULL, NULL), "published"), 3000);
}

static void lines_that_come_byte_by_byte_are_published_when_they_are_whole(void **state)
{
    (void)state;
    static const char text[] = EVENT("1") "\n" EVENT("2") "\n" EVENT("3");
    struct client other;
    client_open(&other, serving.port);
    client_say(&client,
               "POST /v1/events HTTP/1.1\r\n" HOST NDJSON "Transfer-Encoding: chunked\r\n\r\n");
    for (size_t i = 0; i < sizeof text - 1; i++) {
        client_say(&client, "1\r\n%c\r\n", text[i]);
    }
    do { // two are there before it has ended
        assert_int_equal(client_ask(&other, "GET", "/v1/stats", NULL, NULL), 200);
    } while (json_number(other.body, "published") < 2);
    client_close(&other);

    client_say(&client, "0\r\n\r\n");

    client_answer(&client);
    assert_int_equal(client.status, 200);
    assert_int_equal(json_number(client.body, "published"), 3);
}

// ---- reading ------------------------------------------------------------------------------------

// Follows the links to the end; how many events there were, each once and in its order.
static size_t read_pages(const char *first, bool backwards)
{
    char path[600];
    size_t count = 0;
    uint64_t last = backwards ? UINT64_MAX : 0;
    (void)snprintf(path, sizeof path, "%s", first);
    for (;;) {
        const char *at = ask(200, "GET", path, NULL, NULL);
        while ((at = strstr(at, "\"pealposition\":\""))) {
            at += strlen("\"pealposition\":\"");
            uint64_t position = strtoull(at, NULL, 10);
            assert_true(backwards ? position < last : position > last);
            last = position;
            count++;
        }
        const char *link = client_header(&client, "link");
        if (!link) {
            return count;
        }
        assert_non_null(strstr(link, ">; rel=\"next\""));
        (void)snprintf(path, sizeof path, "%.*s", (int)strcspn(link + 1, ">"), link + 1);
    }
}

static void pages_give_every_event_once(void **state)
{
    (void)state;
    char *lines = make_lines(2500, 0);
    ask(200, "POST", "/v1/events", NDJSON, lines);
    free(lines);
    ask(201, "POST", "/v1/events/c?subject=x%26y+%3D", NULL, "{\"k\":1}");
    assert_int_equal(read_pages("/v1/events?limit=999", false), 2501);
    assert_int_equal(read_pages("/v1/events?limit=1000&order=desc", true), 2501);
    assert_int_equal(read_pages("/v1/events?limit=500&type=a.*", false), 2500);
    assert_int_equal(read_pages("/v1/events?from=100&to=200&limit=7", false), 100);
    assert_int_equal(read_pages("/v1/events?limit=1&subject=x%26y%20%3D", false), 1);
    assert_int_equal(read_pages("/v1/events?contains=%7B%22k%22%3A1%7D", false), 1);
    assert_int_equal(read_pages("/v1/events?type=none.*", false), 0);
}

static void what_cannot_be_asked_is_refused(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "/v1/events?type=a..b",
        "/v1/events?order=up",
        "/v1/events?from=x",
        "/v1/events?contains=%7B",
        "/v1/events?after=x",
        "/v1/stream?contains=%7B",
        "/v1/stream?type=**.a..",
        "/v1/stream?max_rate=x",
        "/v1/stream?after=99999",
        "/v1/stream?after=18446744073709551615",
        "/v1/streams/a?limit=0",
        "/v1/streams/a?from_version=x",
        "/v1/dead-letters?limit=0",
        "/v1/dead-letters/counts?by=x",
        "/v1/dead-letters?older_than_ms=x",
        "/v1/schedule?limit=x",
    };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        ask(400, "GET", paths[i], NULL, NULL);
    }
    ask(404, "GET", "/v1/events/unknown", NULL, NULL);
    ask(404, "GET", "/v1/events/unknown/trace", NULL, NULL);
    ask(404, "GET", "/v1/subscriptions/unknown", NULL, NULL);
    ask(404, "GET", "/v1/dead-letters/1", NULL, NULL);
    ask(404, "GET", "/v1/dead-letters/x", NULL, NULL);
    ask(404, "DELETE", "/v1/schedule/unknown", NULL, NULL);
    ask(404, "DELETE", "/v1/dead-letters/1", NULL, NULL);
    ask(404, "DELETE", "/v1/subscriptions/unknown", NULL, NULL);
    ask(404, "POST", "/v1/subscriptions/unknown/pull", NULL, "{}");
    ask(404, "POST", "/v1/subscriptions/unknown/pause", NULL, NULL);
}

static void a_trace_has_causes_and_effects(void **state)
{
    (void)state;
    ask(201, "POST", "/v1/events/a?id=1", NULL, NULL);
    ask(201, "POST", "/v1/events/b?id=2&causation=1&correlation=1", NULL, NULL);
    ask(201, "POST", "/v1/events/c?id=3&causation=2&correlation=1", NULL, NULL);
    ask(201, "POST", "/v1/events/c?id=4&causation=2&correlation=1", NULL, NULL);

    const char *trace = ask(200, "GET", "/v1/events/2/trace", NULL, NULL);

    assert_int_equal(count_of(trace, "\"specversion\""), 4);
    assert_int_equal(count_of(trace, "\"depth\":1"), 2);
    expect_text(trace, "\"complete\":true");
    trace = ask(200, "GET", "/v1/events/1/trace", NULL, NULL);
    assert_int_equal(count_of(trace, "\"depth\":2"), 2);
}

static void a_trace_of_events_that_caused_each_other_ends(void **state)
{
    (void)state;
    ask(201, "POST", "/v1/events/a.b?id=itself&causation=itself", NULL, "{}");
    const char *trace = ask(200, "GET", "/v1/events/itself/trace", NULL, NULL);
    assert_int_equal(count_of(trace, "\"specversion\""), 1);
    expect_text(trace, "\"complete\":true");
    ask(201, "POST", "/v1/events/a.b?id=1&causation=3", NULL, "{}");
    ask(201, "POST", "/v1/events/a.b?id=2&causation=1", NULL, "{}");
    ask(201, "POST", "/v1/events/a.b?id=3&causation=2", NULL, "{}");
    trace = ask(200, "GET", "/v1/events/2/trace", NULL, NULL);
    assert_int_equal(count_of(trace, "\"depth\""), 2);
    assert_int_equal(count_of(trace, "\"specversion\""), 5); // itself; 1 and 3 before, and behind
    expect_text(trace, "\"complete\":true");
}

static void a_trace_of_much_data_is_cut_and_says_so(void **state)
{
    (void)state;
    char *data = malloc((1 << 20) + 1);
    assert_non_null(data);
    memset(data, '7', 1 << 20);
    data[1 << 20] = 0;
    ask(201, "POST", "/v1/events/a.b?id=root", NULL, "{}");
    for (int i = 0; i < 12; i++) {
        ask(201, "POST", "/v1/events/a.b?causation=root", TEXT, data);
    }
    free(data);
    const char *trace = ask(200, "GET", "/v1/events/root/trace", NULL, NULL);
    assert_in_range(count_of(trace, "\"depth\""), 8, 9);
    expect_text(trace, "\"complete\":false");
}

static void a_stream_is_appended_to_as_expected_and_read_by_version(void **state)
{
    (void)state;
    static const char path[] = "/v1/streams/order%2F1";
    const char *body = EVENT("1");
    ask(412, "POST", path, CLOUDEVENT "If-Match: *\r\n", body);
    ask(201, "POST", path, CLOUDEVENT "If-None-Match: *\r\n", body);
    assert_int_equal(json_number(client.body, "version"), 1);
    body = EVENT("2");
    ask(412, "POST", path, CLOUDEVENT "If-None-Match: *\r\n", body);
    assert_int_equal(json_number(client.body, "version"), 1);
    ask(412, "POST", path, CLOUDEVENT "If-Match: \"7\"\r\n", body);
    ask(400, "POST", path, CLOUDEVENT "If-Match: \"x\"\r\n", body);
    ask(400, "POST", path, CLOUDEVENT "If-Match: \"1\r\n", body);
    ask(201, "POST", path, CLOUDEVENT "If-Match: \"1\"\r\n", body);
    body = "[" EVENT("3") "," EVENT("4") "]";
    ask(201, "POST", path, BATCH "If-Match: *\r\n", body);
    assert_int_equal(json_number(client.body, "version"), 4);
    ask(400, "POST", path, CLOUDEVENT, "{");

    ask(200, "GET", path, NULL, NULL);
    assert_string_equal(client_header(&client, "etag"), "\"4\"");
    assert_int_equal(count_of(client.body, "\"specversion\""), 4);
    ask(200, "GET", "/v1/streams/order%2F1?from_version=3", NULL, NULL);
    assert_int_equal(count_of(client.body, "\"specversion\""), 2);
    assert_int_equal(read_pages("/v1/streams/order%2F1?limit=1", false), 4);
    assert_int_equal(read_pages("/v1/streams/order%2F1?limit=3&order=desc", true), 4);
    ask(200, "GET", "/v1/streams/nothing", NULL, NULL);
    assert_string_equal(client_header(&client, "etag"), "\"0\"");
}

// ---- subscriptions ------------------------------------------------------------------------------

static void subscribe(const char *more)
{
    char body[400];
    (void)snprintf(body, sizeof body, "{\"name\":\"n 1\",\"pattern\":\"a.*\"%s}", more);
    ask(201, "POST", "/v1/subscriptions", NULL, body);
}

static void publish_some(int count)
{
    for (int i = 0; i < count; i++) {
        ask(201, "POST", "/v1/events/a.b", NULL, "{\"x\":1}");
    }
}

// Pulls until something comes; the receipt of the first.
static const char *pull(char receipt[64], const char *wish)
{
    ask(200, "POST", "/v1/subscriptions/n%201/pull", NULL, wish);
    return json_text(receipt, 64, client.body, "receipt");
}

static void settle(const char *receipt, const char *verdict, int settled)
{
    char body[300];
    (void)snprintf(body, sizeof body, "{\"settlements\":[{\"receipt\":\"%s\",\"verdict\":\"%s\"}]}",
                   receipt, verdict);
    ask(200, "POST", "/v1/subscriptions/n%201/settle", NULL, body);
    assert_int_equal(json_number(client.body, "settled"), settled);
    assert_int_equal(strstr(client.body, receipt) != NULL, !settled); // then it is missed
}

static void a_subscription_is_created_once_listed_and_deleted(void **state)
{
    (void)state;
    subscribe("");
    char text[40];
    assert_string_equal(json_text(text, sizeof text, client.body, "kind"), "pull");
    ask(409, "POST", "/v1/subscriptions", NULL, "{\"name\":\"n 1\",\"pattern\":\"a.*\"}");
    expect_text(ask(200, "GET", "/v1/subscriptions", NULL, NULL), "\"n 1\"");
    expect_text(ask(200, "GET", "/v1/subscriptions/n%201", NULL, NULL), "\"paused\":false");
    ask(204, "POST", "/v1/subscriptions/n%201/pause", NULL, NULL);
    expect_text(ask(200, "GET", "/v1/subscriptions/n%201", NULL, NULL), "\"paused\":true");
    ask(204, "POST", "/v1/subscriptions/n%201/resume", NULL, NULL);
    ask(204, "DELETE", "/v1/subscriptions/n%201", NULL, NULL);
    ask(404, "GET", "/v1/subscriptions/n%201", NULL, NULL);
}

static void definitions_that_are_none_are_refused(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "",
        "[]",
        "{}",
        "{\"name\":\"n\"}",
        "{\"name\":\"\",\"pattern\":\"a\"}",
        "{\"name\":1,\"pattern\":\"a\"}",
        "{\"name\":\"n\",\"pattern\":\"a..b\"}",
        "{\"name\":\"n\",\"pattern\":\"a\",\"kind\":\"push\"}",
        "{\"name\":\"n\",\"pattern\":\"a\",\"kind\":\"webhook\"}",
        "{\"name\":\"n\",\"pattern\":\"a\",\"webhook\":{\"url\":\"http://a\"}}",
        "{\"name\":\"n\",\"pattern\":\"a\",\"from\":\"then\"}",
        "{\"name\":\"n\",\"pattern\":\"a\",\"time\":\"then\"}",
        "{\"name\":\"n\",\"pattern\":\"a\",\"ack_wait_ms\":0}",
        "{\"name\":\"n\",\"pattern\":\"a\",\"ack_wait_ms\":-1}",
        "{\"name\":\"n\",\"pattern\":\"a\",\"retry\":{\"attempts\":1}}",
        "{\"name\":\"n\",\"pattern\":\"a\",\"more\":1}",
        "{\"name\":\"n\",\"pattern\":\"a\"} {}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        ask(400, "POST", "/v1/subscriptions", NULL, bodies[i]);
    }
    char name[200];
    (void)snprintf(name, sizeof name, "{\"name\":\"%0129d\",\"pattern\":\"a\"}", 0);
    expect_text(ask(400, "POST", "/v1/subscriptions", NULL, name), "1 to 128 bytes");
    subscribe("");
    ask(400, "POST", "/v1/subscriptions/n%201/pull", NULL, "{\"max\":0}");
    ask(400, "POST", "/v1/subscriptions/n%201/pull", NULL, "{\"max\":1001}");
    ask(400, "POST", "/v1/subscriptions/n%201/pull", NULL, "{\"wait_ms\":30001}");
    ask(400, "POST", "/v1/subscriptions/n%201/settle", NULL, "{}");
    ask(400, "POST", "/v1/subscriptions/n%201/settle", NULL,
        "{\"settlements\":[{\"receipt\":\"1\",\"verdict\":\"maybe\"}]}");
    ask(400, "POST", "/v1/subscriptions/n%201/seek", NULL, "{}");
    ask(400, "POST", "/v1/subscriptions/n%201/seek", NULL, "{\"from\":\"there\"}");
}

static void every_verdict_does_what_it_says(void **state)
{
    (void)state;
    char receipt[64], again[64];
    subscribe(",\"retry\":{\"max_attempts\":3,\"initial_ms\":1}");
    publish_some(1);
    (void)pull(receipt, "{\"wait_ms\":5000}");
    settle(receipt, "extend", 1);
    char body[200];
    (void)snprintf(body, sizeof body,
                   "{\"settlements\":[{\"receipt\":\"%s\",\"verdict\":\"extend\","
                   "\"ms\":9223372036854775807}]}",
                   receipt);
    expect_text(ask(400, "POST", "/v1/subscriptions/n%201/settle", NULL, body), "70 years");
    settle(receipt, "release", 1);
    settle(receipt, "done", 0);
    (void)pull(again, "{\"wait_ms\":5000}");
    assert_int_equal(json_number(client.body, "attempt"), 1); // released, not failed
    settle(again, "retry", 1);
    (void)pull(receipt, "{\"wait_ms\":5000}");
    assert_int_equal(json_number(client.body, "attempt"), 2);
    settle(receipt, "done", 1);
    settle(receipt, "done", 0);
    settle("nonsense", "done", 0);
    settle("0000000000000000-1", "done", 0);
    ask(200, "POST", "/v1/subscriptions/n%201/pull", NULL, "{}");
    assert_null(strstr(client.body, "receipt"));
}

static void a_pull_waits_for_an_event(void **state)
{
    (void)state;
    struct client other;
    subscribe("");
    client_open(&other, serving.port);
    client_say(&client, "POST /v1/subscriptions/n%%201/pull HTTP/1.1\r\n" HOST
                        "Content-Length: 17\r\n\r\n{\"wait_ms\":20000}");
    assert_int_equal(client_ask(&other, "POST", "/v1/events/a.b", NULL, "{}"), 201);
    client_answer(&client);
    assert_int_equal(client.status, 200);
    assert_int_equal(count_of(client.body, "\"receipt\""), 1);
    client_close(&other);
    ask(200, "POST", "/v1/subscriptions/n%201/pull", NULL, "{\"wait_ms\":50}");
    assert_int_equal(count_of(client.body, "\"receipt\""), 0);
}

static void a_receipt_that_was_not_settled_in_time_is_missed_and_comes_again(void **state)
{
    (void)state;
    char receipt[64], again[64];
    subscribe(",\"ack_wait_ms\":50,\"retry\":{\"initial_ms\":1}");
    publish_some(1);
    (void)pull(receipt, "{\"wait_ms\":5000}");
    (void)pull(again, "{\"wait_ms\":9000}");
    assert_string_not_equal(receipt, again);
    settle(receipt, "done", 0);
}

static void seeking_begins_where_it_says(void **state)
{
    (void)state;
    char receipt[64];
    publish_some(3);
    subscribe("");
    ask(204, "POST", "/v1/subscriptions/n%201/seek", NULL, "{\"position\":2}");
    (void)pull(receipt, "{\"wait_ms\":5000}");
    assert_int_equal(count_of(client.body, "\"receipt\""), 2);
    ask(204, "POST", "/v1/subscriptions/n%201/seek", NULL, "{\"from\":\"beginning\"}");
    size_t count = 0;
    for (int i = 0; i < 10 && count < 3; i++) {
        ask(200, "POST", "/v1/subscriptions/n%201/pull", NULL, "{\"wait_ms\":500}");
        count += count_of(client.body, "\"receipt\"");
    }
    assert_int_equal(count, 3);
}

static void a_restart_keeps_subscriptions_and_where_they_are(void **state)
{
    (void)state;
    char receipt[64];
    subscribe(",\"from\":\"beginning\"");
    publish_some(2);
    (void)pull(receipt, "{\"wait_ms\":5000,\"max\":1}");
    settle(receipt, "done", 1);
    (void)pull(receipt, "{\"wait_ms\":5000,\"max\":1}"); // and not settled

    close_service();
    open_service();

    settle(receipt, "done", 0);
    uint64_t position = 0;
    (void)pull(receipt, "{\"wait_ms\":9000}");
    char text[40];
    position = strtoull(json_text(text, sizeof text, client.body, "pealposition"), NULL, 10);
    assert_int_equal(position, 2);
    settle(receipt, "done", 1);
    ask(409, "POST", "/v1/subscriptions", NULL, "{\"name\":\"n 1\",\"pattern\":\"a.*\"}");
    ask(204, "DELETE", "/v1/subscriptions/n%201", NULL, NULL);
    close_service();
    open_service();
    ask(404, "GET", "/v1/subscriptions/n%201", NULL, NULL);
}

// ---- dead letters -------------------------------------------------------------------------------

static void bury(int count)
{
    char receipt[64];
    for (int i = 0; i < count; i++) {
        publish_some(1);
        (void)pull(receipt, "{\"wait_ms\":5000}");
        settle(receipt, "reject", 1);
    }
}

static uint64_t dead_now(const char *path)
{
    return count_of(ask(200, "GET", path, NULL, NULL), "\"first_failure\"");
}

static void dead_letters_are_listed_counted_and_shown(void **state)
{
    (void)state;
    char path[60];
    subscribe("");
    bury(3);
    assert_int_equal(dead_now("/v1/dead-letters"), 3);
    assert_int_equal(dead_now("/v1/dead-letters?limit=2"), 2);
    assert_int_equal(dead_now("/v1/dead-letters?type=b.*"), 0);
    assert_int_equal(dead_now("/v1/dead-letters?subscription=n+1&type=a.*"), 3);
    assert_int_equal(dead_now("/v1/dead-letters?older_than_ms=1000000"), 0);
    static const char *const groups[] = { "reason", "type", "subscription" };
    for (int i = 0; i < 3; i++) {
        (void)snprintf(path, sizeof path, "/v1/dead-letters/counts?by=%s", groups[i]);
        assert_int_equal(json_number(ask(200, "GET", path, NULL, NULL), "count"), 3);
    }
    ask(200, "GET", "/v1/dead-letters?limit=1", NULL, NULL);
    (void)snprintf(path, sizeof path, "/v1/dead-letters/%llu",
                   (unsigned long long)json_number(client.body, "id"));
    expect_text(ask(200, "GET", path, NULL, NULL), "\"n 1\"");
}

static void dead_letters_are_retried_edited_and_discarded(void **state)
{
    (void)state;
    char path[60], receipt[64];
    subscribe("");
    bury(3);
    ask(200, "POST", "/v1/dead-letters/retry?dry_run=true", NULL, NULL);
    assert_int_equal(json_number(client.body, "affected"), 3);
    expect_text(client.body, "\"dry_run\":true");
    assert_int_equal(dead_now("/v1/dead-letters"), 3);
    ask(400, "POST", "/v1/dead-letters/retry?dry_run=maybe", NULL, NULL);

    ask(200, "GET", "/v1/dead-letters?limit=1", NULL, NULL);
    (void)snprintf(path, sizeof path, "/v1/dead-letters/%llu",
                   (unsigned long long)json_number(client.body, "id"));
    ask(202, "PUT", path, NULL, "{\"x\":2}");
    (void)pull(receipt, "{\"wait_ms\":5000}");
    expect_text(client.body, "{\"x\":2}");
    settle(receipt, "done", 1);
    ask(404, "PUT", "/v1/dead-letters/999", NULL, "{}");

    ask(200, "GET", "/v1/dead-letters?limit=1", NULL, NULL);
    (void)snprintf(path, sizeof path, "/v1/dead-letters/%llu",
                   (unsigned long long)json_number(client.body, "id"));
    expect_text(ask(400, "PUT", path, NULL, "{\"x\":2"), "not JSON at byte");
    ask(200, "GET", path, NULL, NULL);
    expect_text(client.body, "\"retrying\":false");

    ask(200, "GET", "/v1/dead-letters?limit=1", NULL, NULL);
    (void)snprintf(path, sizeof path, "/v1/dead-letters/%llu/retry",
                   (unsigned long long)json_number(client.body, "id"));
    ask(202, "POST", path, NULL, NULL);
    (void)pull(receipt, "{\"wait_ms\":5000}");
    settle(receipt, "done", 1);
    expect_text(ask(400, "POST", "/v1/dead-letters/discard", NULL, NULL), "all=true");
    expect_text(ask(400, "POST", "/v1/dead-letters/discard?all=false", NULL, NULL), "which?");
    assert_int_equal(dead_now("/v1/dead-letters"), 1);
    ask(200, "POST", "/v1/dead-letters/discard?dry_run=true", NULL, NULL);
    assert_int_equal(json_number(client.body, "affected"), 1);
    ask(200, "POST", "/v1/dead-letters/discard?type=b.*", NULL, NULL);
    assert_int_equal(json_number(client.body, "affected"), 0);
    ask(200, "POST", "/v1/dead-letters/discard?all=true", NULL, NULL);
    assert_int_equal(json_number(client.body, "affected"), 1);
    assert_int_equal(dead_now("/v1/dead-letters"), 0);
}

// ---- the rest -----------------------------------------------------------------------------------

static void what_is_scheduled_is_listed_and_cancelled(void **state)
{
    (void)state;
    ask(202, "POST", "/v1/events/a.b?id=1&deliver_at=2035-01-01T00:00:00Z", NULL, "{}");
    char text[40];
    assert_string_equal(json_text(text, sizeof text, client.body, "deliver_at"),
                        "2035-01-01T00:00:00.000000000Z");
    ask(202, "POST", "/v1/events?deliver_at=2035-01-01T00:00:00Z", CLOUDEVENT, EVENT("2"));
    assert_int_equal(count_of(ask(200, "GET", "/v1/schedule", NULL, NULL), "\"specversion\""), 2);
    assert_int_equal(count_of(ask(200, "GET", "/v1/schedule?type=b.*", NULL, NULL), "\"spec"), 0);
    ask(204, "DELETE", "/v1/schedule/1", NULL, NULL);
    ask(404, "DELETE", "/v1/schedule/1", NULL, NULL);
    assert_int_equal(count_of(ask(200, "GET", "/v1/schedule", NULL, NULL), "\"specversion\""), 1);
    ask(404, "GET", "/v1/events/1", NULL, NULL);
}

static void numbers_and_types_are_told(void **state)
{
    (void)state;
    static const char *const members[] = {
        "published",     "delivered",      "retried",       "duplicates",   "refused",
        "rejected",      "dropped",        "dead_letters",  "scheduled",    "first_position",
        "last_position", "types",          "subscriptions", "memory_bytes", "log_files",
        "log_archived",  "log_bytes",      "connections",   "streams",      "publish_rate",
        "deliver_rate",  "uptime_seconds",
    };
    publish_some(2);
    const char *stats = ask(200, "GET", "/v1/stats", NULL, NULL);
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        (void)json_number(stats, members[i]);
    }
    assert_int_equal(json_number(stats, "connections"), 1);
    // What the service does for itself is not among them.
    assert_int_equal(json_number(stats, "subscriptions"), 0);
    assert_int_equal(json_number(stats, "delivered"), 0);
    const char *types = ask(200, "GET", "/v1/types", NULL, NULL);
    expect_text(types, "\"a.b\"");
    expect_text(types, "\"complete\":true");
    assert_int_equal(json_number(types, "count"), 2); // an answer is counted before it is sent
    expect_text(ask(200, "GET", "/v1/readyz", NULL, NULL), "\"ready\":true");
    ask(200, "GET", "/readyz", NULL, NULL);
    ask(200, "GET", "/v1/healthz", NULL, NULL);
    const char *metrics = ask(200, "GET", "/metrics", NULL, NULL);
    expect_text(metrics, "# TYPE ");
    expect_text(metrics, "\npeal_subscriptions 0\n"); // as in the statistics
    expect_text(metrics, "\npeal_events_delivered_total 0\n");
    ask(200, "GET", "/v1/metrics", NULL, NULL);
}

static void types_of_before_are_counted_too_and_no_event_twice(void **state)
{
    (void)state;
    publish_some(3);
    close_service();
    open_service();
    ask(201, "POST", "/v1/events/a.b", NULL, "1"); // perhaps while they are counted
    const char *types = ask(200, "GET", "/v1/types", NULL, NULL);
    for (int i = 0; i < 20000 && !strstr(types, "\"complete\":true"); i++) {
        types = ask(200, "GET", "/v1/types", NULL, NULL);
    }
    expect_text(types, "\"complete\":true");
    assert_int_equal(json_number(types, "count"), 4);
    assert_int_equal(count_of(types, "\"type\""), 1); // none of the system's
    assert_int_equal(count_of(types, "\"last_seen\":null"), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_event_is_published_in_every_mode_and_read_back_the_same),
        TEST(bodies_that_are_no_events_are_refused),
        cmocka_unit_test_setup_teardown(
            json_that_is_deeper_than_its_limit_is_refused_wherever_it_comes, begin_shallow, end),
        TEST(what_was_looked_at_is_let_go_of),
        TEST(an_event_is_as_durable_as_it_is_preferred),
        TEST(what_is_published_twice_is_there_once),
        TEST(a_hundred_thousand_lines_are_published_in_their_order),
        TEST(a_bad_line_ends_it_and_what_stands_before_it_is_published),
        TEST(lines_that_come_byte_by_byte_are_published_when_they_are_whole),
        TEST(pages_give_every_event_once),
        TEST(what_cannot_be_asked_is_refused),
        TEST(a_trace_has_causes_and_effects),
        TEST(a_trace_of_events_that_caused_each_other_ends),
        TEST(a_trace_of_much_data_is_cut_and_says_so),
        TEST(a_stream_is_appended_to_as_expected_and_read_by_version),
        TEST(a_subscription_is_created_once_listed_and_deleted),
        TEST(definitions_that_are_none_are_refused),
        TEST(every_verdict_does_what_it_says),
        TEST(a_pull_waits_for_an_event),
        TEST(a_receipt_that_was_not_settled_in_time_is_missed_and_comes_again),
        TEST(seeking_begins_where_it_says),
        TEST(a_restart_keeps_subscriptions_and_where_they_are),
        TEST(dead_letters_are_listed_counted_and_shown),
        TEST(dead_letters_are_retried_edited_and_discarded),
        TEST(what_is_scheduled_is_listed_and_cancelled),
        TEST(numbers_and_types_are_told),
        TEST(types_of_before_are_counted_too_and_no_event_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
