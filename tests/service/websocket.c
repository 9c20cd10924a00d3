// SPDX-License-Identifier: MIT
// ctest: threaded
//
// GET /v1/ws, as its clients see it: the handshake, events both ways, errors, and how it ends.
#include "websocket_kit.h"

static struct peer peer;

// ---- the handshake ------------------------------------------------------------------------------

// The answer to a head; its status, and the head as text.
static int ask(const char *lines, char *out, size_t room)
{
    peer_begin(&peer);
    assert_true(peer_bytes(&peer, lines, strlen(lines)));
    int status = peer_head(&peer, out, room);
    peer_close(&peer);
    return status;
}

static void the_key_is_answered_as_the_standard_has_it(void **state)
{
    (void)state;
    char head[2048];

    int status = ask("GET /v1/ws HTTP/1.1\r\n" HANDSHAKE "\r\n", head, sizeof head);

    assert_int_equal(status, 101);
    assert_non_null(strstr(head, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert_null(strstr(head, "Sec-WebSocket-Protocol"));
}

static void a_subprotocol_is_chosen_among_those_offered(void **state)
{
    (void)state;
    char head[2048];

    int status = ask("GET /v1/ws HTTP/1.1\r\n" HANDSHAKE "Sec-WebSocket-Protocol: mqtt\r\n"
                     "Sec-WebSocket-Protocol: other, cloudevents.json\r\n\r\n",
                     head, sizeof head);

    assert_int_equal(status, 101);
    assert_non_null(strstr(head, "Sec-WebSocket-Protocol: cloudevents.json\r\n"));
}

static void what_is_no_handshake_is_refused(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *head;
    } heads[] = {
        { 426, "GET /v1/ws HTTP/1.1\r\nHost: localhost\r\n\r\n" },
        { 426, "GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\r\n" },
        { 426,
          "GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n" },
        { 426,
          "GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
          "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" },
        { 400,
          "GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
          "Sec-WebSocket-Version: 13\r\n\r\n" },
        { 400,
          "GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
          "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short==\r\n\r\n" },
        { 400, "HEAD /v1/ws HTTP/1.1\r\n" HANDSHAKE "\r\n" },
        { 400, "GET /v1/ws HTTP/1.1\r\n" HANDSHAKE "Content-Length: 3\r\n\r\nabc" },
        { 400, "GET /v1/ws HTTP/1.1\r\n" HANDSHAKE "Sec-WebSocket-Protocol: mqtt\r\n\r\n" },
        { 400, "GET /v1/ws?typ=a HTTP/1.1\r\n" HANDSHAKE "\r\n" },
        { 400, "GET /v1/ws?type=a..b HTTP/1.1\r\n" HANDSHAKE "\r\n" },
        { 400, "GET /v1/ws?receive=maybe HTTP/1.1\r\n" HANDSHAKE "\r\n" },
        { 400, "GET /v1/ws?after=99 HTTP/1.1\r\n" HANDSHAKE "\r\n" },
    };
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        char head[2048];
        assert_int_equal(ask(heads[i].head, head, sizeof head), heads[i].status);
        if (heads[i].status == 426) {
            assert_non_null(strstr(head, "Sec-WebSocket-Version: 13\r\n"));
            assert_non_null(strstr(head, "Upgrade: websocket\r\n"));
        }
    }
}

// ---- events -------------------------------------------------------------------------------------

static void an_event_that_is_sent_comes_back_to_who_wants_its_type(void **state)
{
    (void)state;
    peer_open(&peer, "?type=order.*");

    peer_text(&peer, EVENT("other.thing", "1", "1"));
    peer_text(&peer, EVENT("order.placed", "2", "{\"n\": 7}"));

    peer_hears(&peer, "\"data\":{\"n\": 7}}");
    peer_close(&peer);
}

static void a_frame_behind_the_handshake_in_the_same_bytes_counts(void **state)
{
    (void)state;
    static const char head[] = "GET /v1/ws?type=a HTTP/1.1\r\n" HANDSHAKE "\r\n";
    static const char event[] = EVENT("a", "1", "1");
    char bytes[1024], answer[2048];
    peer_begin(&peer);
    memcpy(bytes, head, sizeof head - 1);
    size_t size = sizeof head - 1;
    size += make_frame(bytes + size, 0x81, event, sizeof event - 1);

    assert_true(peer_bytes(&peer, bytes, size));

    assert_int_equal(peer_head(&peer, answer, sizeof answer), 101);
    peer_hears(&peer, "\"id\":\"1\"");
    peer_close(&peer);
}

static void an_event_in_front_of_a_close_is_published(void **state)
{
    (void)state;
    struct peer other;
    static const char event[] = EVENT("last.words", "1", "1");
    static const unsigned char code[2] = { 3, 232 };
    char bytes[512];
    peer_open(&peer, "?type=last.*");
    peer_open(&other, "?receive=false");
    size_t size = make_frame(bytes, 0x81, event, sizeof event - 1);
    size += make_frame(bytes + size, 0x88, code, 2);

    assert_true(peer_bytes(&other, bytes, size));

    peer_is_closed(&other, 1000);
    peer_hears(&peer, "last.words");
    peer_close(&other);
    peer_close(&peer);
}

static void events_of_before_are_sent_from_where_it_is_said(void **state)
{
    (void)state;
    for (int i = 1; i <= 5; i++) {
        const struct peal_message one = { .type = "a", .data = "1", .size = 1 };
        assert_int_equal(peal_publish(bus, &one, NULL), PEAL_OK);
    }

    peer_open(&peer, "?after=3");

    peer_hears(&peer, "\"pealposition\":\"00000000000000000004\"");
    peer_hears(&peer, "\"pealposition\":\"00000000000000000005\"");
    peer_close(&peer);
}

static void what_is_no_event_is_answered_and_what_is_one_goes_on(void **state)
{
    (void)state;
    peer_open(&peer, "?type=good");

    peer_text(&peer, "[]");
    peer_text(&peer, EVENT("$peal.mine", "bad", "1"));
    peer_text(&peer, EVENT("good", "1", "1"));

    peer_hears(&peer, "{\"error\":{\"code\":\"inval\",\"detail\":\"the message is no event");
    peer_hears(&peer, "\"id\":\"bad\"}}");
    peer_hears(&peer, "\"type\":\"good\"");
    peer_close(&peer);
}

static void one_bad_event_of_many_at_once_is_the_only_one_refused(void **state)
{
    (void)state;
    static const char *const events[] = { EVENT("good", "1", "1"), EVENT("$peal.no", "2", "1"),
                                          EVENT("good", "3", "1") };
    char bytes[2048];
    size_t size = 0;
    peer_open(&peer, "?receive=false");
    for (size_t i = 0; i < 3; i++) {
        size += make_frame(bytes + size, 0x81, events[i], strlen(events[i]));
    }

    assert_true(peer_bytes(&peer, bytes, size));

    peer_hears(&peer, "\"id\":\"2\"}}");
    peer_close(&peer);
    peer_open(&peer, "?from=1");
    peer_hears(&peer, "\"id\":\"1\"");
    peer_hears(&peer, "\"id\":\"3\"");
    peer_close(&peer);
}

static void more_events_at_once_than_a_batch_are_all_taken(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    static const char event[] = EVENT("a", "", "1");
    char *bytes = malloc(COUNT * (sizeof event + 20));
    size_t size = 0;
    assert_non_null(bytes);
    for (size_t i = 0; i < COUNT; i++) {
        char one[sizeof event + 8];
        int length = snprintf(one, sizeof one,
                              "{\"specversion\":\"1.0\",\"type\":\"a\",\"source\":\"test\","
                              "\"id\":\"%zu\",\"data\":1}",
                              i);
        size += make_frame(bytes + size, 0x81, one, (size_t)length);
    }
    peer_open(&peer, "?receive=false");

    assert_true(peer_bytes(&peer, bytes, size));
    peer_say_close(&peer, 1000);
    peer_is_closed(&peer, 1000);

    struct peal_bus_stats stats;
    assert_int_equal(peal_bus_stats(&stats, bus), PEAL_OK);
    assert_int_equal(stats.last_position, COUNT);
    peer_close(&peer);
    free(bytes);
}

static void a_sample_is_sent_each_second_of_a_feed_with_a_rate(void **state)
{
    (void)state;
    peer_open(&peer, "?type=a&max_rate=1");

    for (int i = 0; i < 10; i++) {
        peer_text(&peer, "{\"specversion\":\"1.0\",\"type\":\"a\",\"source\":\"test\",\"data\":1}");
    }

    struct net_message message = { 0 };
    size_t events = 0;
    while (peer_next(&peer, &message) == NET_FRAME_TEXT &&
           !memmem(message.bytes, message.size, "{\"sample\":", 10)) {
        events++;
    }
    assert_true(events <= 2);
    assert_non_null(memmem(message.bytes, message.size, "\"seen\":", 7));
    peer_close(&peer);
}

// ---- how it ends --------------------------------------------------------------------------------

static void a_ping_is_answered_with_what_it_said(void **state)
{
    (void)state;
    struct net_message message = { 0 };
    peer_open(&peer, "");

    assert_true(peer_frame(&peer, 0x89, "are you there", 13));

    assert_int_equal(peer_next(&peer, &message), NET_FRAME_PONG);
    assert_int_equal(message.size, 13);
    assert_memory_equal(message.bytes, "are you there", 13);
    peer_close(&peer);
}

static void a_close_is_answered_with_its_code(void **state)
{
    (void)state;
    static const unsigned codes[] = { 1000, 1001, 1002, 1003, 1007, 1008, 1009,
                                      1010, 1011, 1012, 1013, 1014, 3000, 4999 };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        peer_open(&peer, "");
        peer_say_close(&peer, codes[i]);
        peer_is_closed(&peer, codes[i]);
        peer_close(&peer);
    }
}

static void a_close_in_two_pieces_is_one(void **state)
{
    (void)state;
    struct net_message message = { 0 };
    char bytes[32];
    size_t ping = make_frame(bytes, 0x89, "", 0);
    size_t size = ping + make_frame(bytes + ping, 0x88, "\x03\xe8", 2);
    peer_open(&peer, "");

    assert_true(peer_bytes(&peer, bytes, ping + 3));
    assert_int_equal(peer_next(&peer, &message), NET_FRAME_PONG); // the rest is kept by now
    assert_true(peer_bytes(&peer, bytes + ping + 3, size - ping - 3));

    peer_is_closed(&peer, 1000);
    peer_close(&peer);
}

static void a_close_without_a_code_is_answered_without_one(void **state)
{
    (void)state;
    peer_open(&peer, "");

    assert_true(peer_frame(&peer, 0x88, "", 0));

    peer_is_closed(&peer, 1005);
    peer_close(&peer);
}

static void a_code_that_may_not_be_sent_is_a_breach(void **state)
{
    (void)state;
    static const unsigned codes[] = { 0, 999, 1004, 1005, 1006, 1015, 2999, 5000 };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        peer_open(&peer, "");
        peer_say_close(&peer, codes[i]);
        peer_is_closed(&peer, 1002);
        peer_close(&peer);
    }
}

static void a_binary_message_is_of_another_subprotocol(void **state)
{
    (void)state;
    peer_open(&peer, "");

    assert_true(peer_frame(&peer, 0x82, "\x01", 1));
    peer_say_close(&peer, 1003); // its side of closing

    peer_is_closed(&peer, 1003);
    peer_close(&peer);
}

static void text_that_is_not_utf8_ends_it(void **state)
{
    (void)state;
    peer_open(&peer, "");

    assert_true(peer_frame(&peer, 0x81, "\xff\xff", 2));

    peer_is_closed(&peer, 1007);
    peer_close(&peer);
}

static int begin_small(void **state)
{
    options.body_max = 1000;
    return begin(state);
}

static void a_message_that_is_too_large_ends_it_before_it_has_come(void **state)
{
    (void)state;
    peer_open(&peer, "");

    assert_true(peer_bytes(&peer, "\x81\xff\x00\x00\x00\x10\x00\x00\x00\x00mask", 14));

    peer_is_closed(&peer, 1009);
    peer_close(&peer);
}

static void who_sends_no_more_is_let_go(void **state)
{
    (void)state;
    struct net_message message = { 0 };
    peer_open(&peer, "");

    assert_int_equal(shutdown(peer.socket, SHUT_WR), 0);

    assert_int_equal(peer_next(&peer, &message), NET_FRAME_MORE);
    peer_close(&peer);
}

struct draining {
    struct net_task task;
};

static void drain(struct net_task *task)
{
    (void)task;
    service_drain(service);
    service_say_goodbye(service);
}

static void a_service_that_stops_says_so(void **state)
{
    (void)state;
    struct peer silent;
    struct draining draining = { .task = { .run = drain } };
    peer_open(&peer, "");
    peer_open(&silent, "?receive=false");

    net_loop_post(loop, &draining.task);

    struct net_message message = { 0 };
    assert_int_equal(peer_next(&peer, &message), NET_FRAME_CLOSE);
    assert_int_equal(message.code, 1001);
    peer_say_close(&peer, 1001);
    assert_int_equal(peer_next(&peer, &message), NET_FRAME_MORE);
    assert_int_equal(peer_next(&silent, &message), NET_FRAME_CLOSE);
    assert_int_equal(message.code, 1001);
    peer_close(&silent); // without a word
    peer_close(&peer);
}

#define LAST 3000

static struct net_timer look_again;

static void look(void *context)
{
    (void)context;
    if (service_has_delivered(service)) {
        service_say_goodbye(service);
    } else {
        assert_int_equal(net_timer_set(&look_again, loop, 1), 0);
    }
}

// As it is told to stop right behind a publish that was acknowledged.
static void publish_and_drain(struct net_task *task)
{
    static char data[1000];
    (void)task;
    memset(data, '7', sizeof data);
    for (int i = 0; i < LAST; i++) {
        const struct peal_message message = { .type = "a.b", .data = data, .size = sizeof data };
        assert_int_equal(peal_publish(bus, &message, NULL), PEAL_OK);
    }
    service_drain(service);
    look(NULL);
}

static void what_was_acknowledged_comes_before_the_goodbye(void **state)
{
    (void)state;
    struct draining draining = { .task = { .run = publish_and_drain } };
    look_again = (struct net_timer){ .run = look };
    peer_open(&peer, "");

    net_loop_post(loop, &draining.task);

    struct net_message message = { 0 };
    int count = 0;
    while (peer_next(&peer, &message) == NET_FRAME_TEXT) {
        count++;
    }
    assert_int_equal(count, LAST);
    assert_int_equal(message.code, 1001);
    peer_say_close(&peer, 1001);
    peer_close(&peer);
    net_timer_finish(&look_again);
}

static void streams_and_sockets_together_are_limited(void **state)
{
    (void)state;
    static struct peer first;
    char head[2048];
    peer_open(&first, "?receive=false"); // it has no feed, and counts

    int status = ask("GET /v1/ws HTTP/1.1\r\n" HANDSHAKE "\r\n", head, sizeof head);

    assert_int_equal(status, 503);
    assert_int_equal(ask("GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n", head, sizeof head),
                     503);
    peer_close(&first);
}

static int begin_one(void **state)
{
    options.live_max = 1;
    return begin(state);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(the_key_is_answered_as_the_standard_has_it),
        TEST(a_subprotocol_is_chosen_among_those_offered),
        TEST(what_is_no_handshake_is_refused),
        TEST(an_event_that_is_sent_comes_back_to_who_wants_its_type),
        TEST(a_frame_behind_the_handshake_in_the_same_bytes_counts),
        TEST(an_event_in_front_of_a_close_is_published),
        TEST(events_of_before_are_sent_from_where_it_is_said),
        TEST(what_is_no_event_is_answered_and_what_is_one_goes_on),
        TEST(one_bad_event_of_many_at_once_is_the_only_one_refused),
        TEST(more_events_at_once_than_a_batch_are_all_taken),
        TEST(a_sample_is_sent_each_second_of_a_feed_with_a_rate),
        TEST(a_ping_is_answered_with_what_it_said),
        TEST(a_close_is_answered_with_its_code),
        TEST(a_close_in_two_pieces_is_one),
        TEST(a_close_without_a_code_is_answered_without_one),
        TEST(a_code_that_may_not_be_sent_is_a_breach),
        TEST(a_binary_message_is_of_another_subprotocol),
        TEST(text_that_is_not_utf8_ends_it),
        cmocka_unit_test_setup_teardown(a_message_that_is_too_large_ends_it_before_it_has_come,
                                        begin_small, end),
        TEST(who_sends_no_more_is_let_go),
        TEST(a_service_that_stops_says_so),
        TEST(what_was_acknowledged_comes_before_the_goodbye),
        cmocka_unit_test_setup_teardown(streams_and_sockets_together_are_limited, begin_one, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
