// SPDX-License-Identifier: MIT
// ctest: threaded
//
// Readers that want the same share what is encoded for them: each gets every event once, from when
// it came, however slow the others are, and whoever comes and goes meanwhile.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "service/numbered.h"
#include "support/client.h"
#include "support/folder.h"
#include "support/serving.h"

static struct folder folder;
static struct serving serving;
static struct client publisher;

static int begin(void **state)
{
    (void)state;
    folder_open(&folder, "");
    serving_open(&serving, folder.url, NULL);
    client_open(&publisher, serving.port);
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

static void listen_to(struct client *to, int buffer)
{
    if (buffer) {
        client_open_small(to, serving.port, buffer);
    } else {
        client_open(to, serving.port);
    }
    numbered_listen(to, "/v1/stream?type=a", "");
}

static void count_shares(struct serving *on, void *context)
{
    struct peal_bus_stats stats;
    assert_int_equal(peal_bus_stats(&stats, on->bus), PEAL_OK);
    *(uint64_t *)context = stats.subscriptions;
}

static uint64_t subscriptions(void)
{
    uint64_t count = 0;
    serving_run(&serving, count_shares, &count);
    return count;
}

static void readers_of_the_same_are_one_subscription(void **state)
{
    (void)state;
    struct client readers[20];
    uint64_t before = subscriptions();
    for (size_t i = 0; i < 20; i++) {
        listen_to(&readers[i], 0);
    }
    assert_int_equal(subscriptions(), before + 1);
    numbered_publish(&publisher, 1, 100, 10);
    for (size_t i = 0; i < 20; i++) {
        numbered_expect(&readers[i], 1, 100);
        client_close(&readers[i]);
    }
    assert_true(serving_settles(&serving, 1));
    for (int i = 0; i < 20000 && subscriptions() != before; i++) {
    }
    assert_int_equal(subscriptions(), before); // with the last it goes
}

// Whoever has caught up shares again: with every event that comes there is a chance to.
static void expect_them_to_share_again(struct client *readers[], size_t count, size_t next,
                                       uint64_t wanted)
{
    for (int i = 0; i < 2000 && subscriptions() != wanted; i++, next++) {
        numbered_publish(&publisher, next, 1, 0);
        for (size_t j = 0; j < count; j++) {
            numbered_expect(readers[j], next, 1);
        }
    }
    assert_int_equal(subscriptions(), wanted);
    numbered_publish(&publisher, next, 50, 100);
    for (size_t j = 0; j < count; j++) {
        numbered_expect(readers[j], next, 50);
    }
}

static void a_slow_reader_holds_up_nobody_and_loses_nothing(void **state)
{
    (void)state;
    enum { COUNT = 3000, FILLER = 2000, QUICK = 3 }; // 6 MB, of which a little waits for one
    struct client quick[QUICK], slow;
    uint64_t before = subscriptions();
    listen_to(&slow, 4096);
    for (size_t i = 0; i < QUICK; i++) {
        listen_to(&quick[i], 0);
    }
    for (size_t first = 1; first < COUNT; first += 100) {
        numbered_publish(&publisher, first, 100, FILLER);
        for (size_t i = 0; i < QUICK; i++) {
            numbered_expect(&quick[i], first, 100);
        }
    }
    assert_int_equal(subscriptions(), before + 2); // it goes on alone
    numbered_expect(&slow, 1, COUNT);
    struct client *readers[] = { &slow, &quick[0], &quick[1], &quick[2] };
    expect_them_to_share_again(readers, QUICK + 1, COUNT + 1, before + 1);
    for (size_t i = 0; i < QUICK; i++) {
        client_close(&quick[i]);
    }
    client_close(&slow);
}

// Nobody is left for whom the others' subscription encodes, until they have caught up.
static void those_who_are_all_behind_share_again_and_lose_nothing(void **state)
{
    (void)state;
    enum { COUNT = 3000, FILLER = 2000, SLOW = 3 };
    struct client slow[SLOW];
    struct client *readers[SLOW];
    uint64_t before = subscriptions();
    for (size_t i = 0; i < SLOW; i++) {
        listen_to(&slow[i], 4096);
        readers[i] = &slow[i];
    }
    for (size_t first = 1; first < COUNT; first += 100) {
        numbered_publish(&publisher, first, 100, FILLER);
    }
    assert_int_equal(subscriptions(), before + 1 + SLOW); // each alone
    for (size_t i = 0; i < SLOW; i++) {
        numbered_expect(&slow[i], 1, COUNT);
    }
    expect_them_to_share_again(readers, SLOW, COUNT + 1, before + 1);
    for (size_t i = 0; i < SLOW; i++) {
        client_close(&slow[i]);
    }
}

// More than rest for: what is published one at a time goes to all, in order.
static void a_crowd_is_given_everything_in_order(void **state)
{
    (void)state;
    enum { CROWD = 40, EVENTS = 300 };
    struct client crowd[CROWD];
    for (size_t i = 0; i < CROWD; i++) {
        listen_to(&crowd[i], 0);
    }
    for (size_t next = 1; next <= EVENTS; next++) {
        numbered_publish(&publisher, next, 1, 10);
    }
    for (size_t i = 0; i < CROWD; i++) {
        numbered_expect(&crowd[i], 1, EVENTS);
        client_close(&crowd[i]);
    }
}

// There is always one who reads, so that what is given is on its way when the next one comes.
static void who_comes_later_is_not_given_what_was_before(void **state)
{
    (void)state;
    enum { ROUNDS = 60, LINES = 200 };
    struct client first;
    size_t next = 1;
    listen_to(&first, 0);
    for (int round = 0; round < ROUNDS; round++) {
        struct client fresh;
        numbered_publish(&publisher, next, LINES, 20);
        listen_to(&fresh, 0);
        numbered_publish(&publisher, next + LINES, 1, 20);
        numbered_expect(&fresh, next + LINES, 1);
        client_close(&fresh);
        next += LINES + 1;
    }
    numbered_expect(&first, 1, next - 1);
    client_close(&first);
}

// In the middle of what is lent to them.
static void who_goes_in_the_middle_leaves_the_others_what_is_theirs(void **state)
{
    (void)state;
    enum { ROUNDS = 20, CROWD = 12 };
    struct client stays;
    listen_to(&stays, 0);
    for (size_t round = 0; round < ROUNDS; round++) {
        struct client crowd[CROWD];
        for (size_t i = 0; i < CROWD; i++) {
            listen_to(&crowd[i], i % 3 ? 0 : 4096);
        }
        numbered_publish(&publisher, round * 100 + 1, 100, 1000);
        for (size_t i = 0; i < CROWD; i++) {
            client_close(&crowd[i]); // nothing was read
        }
        numbered_expect(&stays, round * 100 + 1, 100);
    }
    client_close(&stays);
    assert_true(serving_settles(&serving, 1));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(readers_of_the_same_are_one_subscription),
        TEST(a_slow_reader_holds_up_nobody_and_loses_nothing),
        TEST(those_who_are_all_behind_share_again_and_lose_nothing),
        TEST(a_crowd_is_given_everything_in_order),
        TEST(who_comes_later_is_not_given_what_was_before),
        TEST(who_goes_in_the_middle_leaves_the_others_what_is_theirs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
