// SPDX-License-Identifier: MIT
// ctest: threaded timeout=600
//
// Many WebSockets at once: each subscriber is sent every event, in order; those who do not read
// disturb nobody, cost a bounded amount of memory, and are caught up when they read again.
#include "websocket_kit.h"

#include <malloc.h>
#include <sys/resource.h>

enum { CROWD = 1000, EVENTS = 50, SILENT = 100, LARGE = 20000, MANY = 1000 };

static void publish(const char *type, size_t size)
{
    static char data[LARGE] = "\"";
    memset(data + 1, 'x', size - 2);
    data[size - 1] = '"';
    const struct peal_message message = { .type = type, .data = data, .size = size };
    enum peal_err err;
    while ((err = peal_publish(bus, &message, NULL)) == PEAL_EAGAIN) {
        (void)usleep(1000); // who publishes in the process is not slowed by it
    }
    assert_int_equal(err, PEAL_OK);
}

// The next event's position; 0: it is a gap.
static uint64_t next_position(struct peer *peer)
{
    struct net_message message = { 0 };
    assert_int_equal(peer_next(peer, &message), NET_FRAME_TEXT);
    const char *found = memmem(message.bytes, message.size, "\"pealposition\":\"", 16);
    if (!found) {
        assert_memory_equal(message.bytes, "{\"gap\":", 7);
        return 0;
    }
    return strtoull(found + 16, NULL, 10);
}

static bool allow_sockets(void)
{
    struct rlimit limit;
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur > (rlim_t)2 * CROWD + 64;
}

// What is in use of the heap: blocks that were mapped too.
static size_t heap_used(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

// A crowd on small peers: their buffers are the test's, not the service's.
static void a_thousand_subscribers_are_sent_every_event_in_order(void **state)
{
    (void)state;
    assert_true(allow_sockets());
    struct peer *peers = calloc(CROWD, sizeof *peers);
    assert_non_null(peers);
    for (size_t i = 0; i < CROWD; i++) {
        peer_open(&peers[i], "?type=a");
    }

    for (size_t i = 0; i < EVENTS; i++) {
        publish("a", 100);
    }

    for (size_t i = 0; i < CROWD; i++) {
        for (uint64_t position = 1; position <= EVENTS; position++) {
            assert_int_equal(next_position(&peers[i]), position);
        }
        peer_close(&peers[i]);
    }
    free(peers);
}

static void an_idle_socket_is_small(void **state)
{
    (void)state;
    assert_true(allow_sockets());
    struct peer *peers = calloc(CROWD, sizeof *peers);
    assert_non_null(peers);
    peer_open(&peers[0], "?type=a");
    size_t before = heap_used();

    for (size_t i = 1; i < CROWD; i++) {
        peer_open(&peers[i], "?receive=false");
    }

    size_t each = (heap_used() - before) / (CROWD - 1);
    print_message("%zu bytes\n", each);
#ifndef __SANITIZE_ADDRESS__
    assert_true(each < 8192);
#endif
    for (size_t i = 0; i < CROWD; i++) {
        peer_close(&peers[i]);
    }
    free(peers);
}

static void who_never_reads_costs_little_and_disturbs_nobody(void **state)
{
    (void)state;
    assert_true(allow_sockets());
    static struct peer healthy;
    struct peer *silent = calloc(SILENT, sizeof *silent);
    assert_non_null(silent);
    for (size_t i = 0; i < SILENT; i++) {
        peer_open(&silent[i], "?type=a");
    }
    peer_open(&healthy, "?type=a");
    size_t before = heap_used();

    uint64_t last = 0;
    for (size_t i = 0; i < MANY; i++) {
        publish("a", LARGE);
        last = next_position(&healthy);
    }

    assert_int_equal(last, MANY); // the healthy one had all
    size_t each = (heap_used() - before) / SILENT;
    print_message("%zu bytes\n", each);
#ifndef __SANITIZE_ADDRESS__
    assert_true(each < (size_t)8 << 20); // and 20 MB were sent
#endif
    // Read again, each finds what it has missed, or is told what is lost of it.
    uint64_t position = 0, at = 0;
    for (size_t seen = 0; position < MANY; seen++) {
        position = next_position(&silent[0]);
        assert_true(seen <= MANY && (position == 0 || position > at));
        at = position ? position : at;
    }
    for (size_t i = 0; i < SILENT; i++) {
        peer_close(&silent[i]);
    }
    peer_close(&healthy);
    free(silent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_thousand_subscribers_are_sent_every_event_in_order, begin,
                                        end),
        cmocka_unit_test_setup_teardown(an_idle_socket_is_small, begin, end),
        cmocka_unit_test_setup_teardown(who_never_reads_costs_little_and_disturbs_nobody, begin,
                                        end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
