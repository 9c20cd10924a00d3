// SPDX-License-Identifier: MIT
// ctest: threaded serial timeout=300
//
// 1,000 WebSockets and 1,000 event streams at once: all are sent every event, in order; and if none
// of them reads, they cost a bounded amount of memory, here and in the sockets, disturb nobody, and
// are caught up from the log when they read again.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <linux/sockios.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include "service/feed.h"
#include "support/client.h"
#include "support/descriptors.h"
#include "support/folder.h"
#include "support/serving.h"

enum { EACH = 1000, ALL = 2 * EACH, EVENTS = 20, MANY = 400, FILLER = 4000, FILES = 2 * ALL + 200 };

#define HOST "Host: localhost\r\n"
#define WEBSOCKET                                                                                  \
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"                   \
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"

static struct folder folder;
static struct serving serving;
static struct client publisher;
static struct client crowd[ALL]; // one half sockets, the other streams

static int begin(void **state)
{
    (void)state;
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max < 65536 ? limit.rlim_max : 65536;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_true(limit.rlim_cur > FILES);
    folder_open(&folder, "");
    serving_open(&serving, folder.url, NULL);
    client_open(&publisher, serving.port);
    assert_int_equal(client_ask(&publisher, "GET", "/healthz", NULL, NULL), 200);
    return 0;
}

static int end(void **state)
{
    (void)state;
    client_close(&publisher);
    serving_close(&serving);
    folder_close(&folder);
    return 0;
}

static size_t heap_now(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

// Bytes that the sockets of this process hold and their peers have not taken.
static size_t socket_bytes_now(void)
{
    size_t sum = 0;
    for (int descriptor = 0; descriptor < FILES; descriptor++) {
        int left = 0;
        sum += ioctl(descriptor, SIOCOUTQ, &left) == 0 && left > 0 ? (size_t)left : 0;
    }
    return sum;
}

// Event `number`, with a filler.
static void publish(size_t number, int filler)
{
    char body[FILLER + 64];
    (void)snprintf(body, sizeof body, "\"#%zu %0*d\"", number, filler, 0);
    if (client_ask(&publisher, "POST", "/v1/events/a", NULL, body) != 201) {
        fail_msg("%s", publisher.body);
    }
}

static void follow(struct client *client, bool socket, int buffer)
{
    client_open_small(client, serving.port, buffer);
    client_say(client, "GET /v1/%s HTTP/1.1\r\n" HOST "%s\r\n", socket ? "ws" : "stream",
               socket ? WEBSOCKET : "");
    client_head(client);
    assert_int_equal(client->status, socket ? 101 : 200);
    free(client->bytes); // ours is not what is measured
    client->bytes = NULL;
    client->size = client->room = 0;
    free(client->head);
    client->head = NULL;
}

// The next event; nothing else has these bytes in it.
static size_t next_number(struct client *client)
{
    (void)client_until(client, "\"data\":\"#");
    return strtoull(client_until(client, " "), NULL, 10);
}

static size_t feeds_now(void)
{
    return serving.service->feed_count; // of a second ago
}

static void gather(int buffer)
{
    for (size_t i = 0; i < ALL; i++) {
        follow(&crowd[i], i < EACH, buffer);
    }
    time_t until = time(NULL) + 10;
    while (feeds_now() < ALL && time(NULL) < until) {
        (void)sched_yield();
    }
    assert_true(feeds_now() >= ALL);
}

static void scatter(void)
{
    for (size_t i = 0; i < ALL; i++) {
        client_close(&crowd[i]);
    }
}

static void all_are_sent_every_event_in_order_and_leave_nothing(void **state)
{
    (void)state;
    size_t descriptors = descriptors_now(), before = heap_now();
    gather(0);
    size_t each = (heap_now() - before) / ALL;

    for (size_t i = 1; i <= EVENTS; i++) {
        publish(i, 1);
    }

    for (size_t i = 0; i < ALL; i++) {
        for (size_t number = 1; number <= EVENTS; number++) {
            assert_int_equal(next_number(&crowd[i]), number);
        }
    }
    scatter();
    assert_true(falls_to(descriptors_now, descriptors + 8)); // the log opens files as it likes
    assert_true(falls_to(feeds_now, 0));
    size_t after = heap_now();
    print_message("%zu bytes each, %zd bytes after\n", each, (ssize_t)(after - before));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(__clang__)
    assert_true(each < 16384);
    assert_true(after < before + (8 << 20)); // the log and its caches
#endif
}

static void who_does_not_read_costs_little_disturbs_nobody_and_is_caught_up(void **state)
{
    (void)state;
    struct client socket, stream;
    gather(4096);
    follow(&socket, true, 0);
    follow(&stream, false, 0);
    size_t before = heap_now();

    for (size_t i = 1; i <= MANY; i++) {
        publish(i, FILLER);
        assert_int_equal(next_number(&socket), i);
        assert_int_equal(next_number(&stream), i);
    }

    size_t heap = heap_now() - before, sockets = socket_bytes_now();
    print_message("%zu MiB here, %zu MiB in sockets\n", heap >> 20, sockets >> 20);
    assert_true(sockets < (size_t)ALL * (192 << 10)); // of 1.6 MB for each
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(__clang__)
    assert_true(heap < (size_t)ALL * (160 << 10));
#endif
    for (size_t i = 0; i < ALL; i += EACH - 1) { // the first and the last socket, some streams
        for (size_t number = 1; number <= MANY; number++) {
            assert_int_equal(next_number(&crowd[i]), number);
        }
    }
    client_close(&socket);
    client_close(&stream);
    scatter();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_are_sent_every_event_in_order_and_leave_nothing),
        TEST(who_does_not_read_costs_little_disturbs_nobody_and_is_caught_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
