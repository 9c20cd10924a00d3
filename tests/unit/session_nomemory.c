// SPDX-License-Identifier: MIT
// ctest: threaded wrap=service_bytes_create,peal_subscription_pull
//
// A session of peal.v1 where memory is short: what the service could not say it says again, or ends
// the connection, so that it is asked again; what it could not take it takes later. Which memory
// fails is the test's choice, by the linker's --wrap.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/peal.h>
#include <string.h>

#include "base/protocol.h"
#include "service/session_inside.h"
#include "support/crowd.h"
#include "support/folder.h"
#include "support/stand.h"

#define MINE 5 // what the client calls its subscription

// ---- memory -------------------------------------------------------------------------------------

// So many messages of this size from now on have no memory, and so many pulls.
static atomic_size_t unsayable_size;
static atomic_uint unsayable, unpullable;

#define SETTLED_SIZE (PL_PROTOCOL_HEAD + 2 * sizeof(uint64_t))
#define OUTCOME_SIZE (PL_PROTOCOL_HEAD + PL_OUTCOME_SIZE + sizeof(uint64_t)) // the answer for one

static void refuse_messages(size_t size, unsigned count)
{
    atomic_store(&unsayable_size, size);
    atomic_store(&unsayable, count);
}

static bool take_one(atomic_uint *left)
{
    unsigned had = atomic_load(left);
    while (had > 0 && !atomic_compare_exchange_weak(left, &had, had - 1)) {
    }
    return had > 0;
}

// The linker chooses these names.
// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming)
struct service_bytes *__real_service_bytes_create(size_t size);
struct service_bytes *__wrap_service_bytes_create(size_t size);
enum peal_err __real_peal_subscription_pull(peal_delivery **out, size_t *out_count,
                                            peal_subscription *subscription, size_t max,
                                            uint64_t timeout_ms);
enum peal_err __wrap_peal_subscription_pull(peal_delivery **out, size_t *out_count,
                                            peal_subscription *subscription, size_t max,
                                            uint64_t timeout_ms);

struct service_bytes *__wrap_service_bytes_create(size_t size)
{
    bool fails = size == atomic_load(&unsayable_size) && take_one(&unsayable);
    return fails ? NULL : __real_service_bytes_create(size);
}

enum peal_err __wrap_peal_subscription_pull(peal_delivery **out, size_t *out_count,
                                            peal_subscription *subscription, size_t max,
                                            uint64_t timeout_ms)
{
    return take_one(&unpullable)
               ? PEAL_ENOMEM
               : __real_peal_subscription_pull(out, out_count, subscription, max, timeout_ms);
}
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)

// ---- a client without a connection --------------------------------------------------------------

struct desk {
    struct folder folder;
    peal_bus *bus;
    struct service_tail *feed;
    struct service_session *session;
    struct tally answers, deliveries, settled; // that were sent
    unsigned ends;                             // how often the connection was to be ended
    atomic_ullong delivery, request;           // of the last DELIVERY, and the last SETTLED
    void (*job)(void *job);
    void *argument;
};

static size_t take_message(void *context, struct service_bytes *message)
{
    struct desk *desk = context;
    if (!message) {
        desk->ends++;
        return 0;
    }
    struct pl_protocol_head head;
    struct pl_unpack unpack = { message->bytes + PL_PROTOCOL_HEAD, message->size - PL_PROTOCOL_HEAD,
                                false };
    assert_true(pl_protocol_head_read(&head, message->bytes, message->size));
    if (head.kind == PL_PROTOCOL_ANSWER) {
        assert_int_equal(head.code, PEAL_OK);
        tally_add(&desk->answers, 1);
    } else {
        assert_int_equal(pl_unpack_number(&unpack), MINE);
        uint64_t number = pl_unpack_number(&unpack);
        bool delivers = head.kind == PL_PROTOCOL_DELIVERY;
        assert_true(delivers || head.kind == PL_PROTOCOL_SETTLED);
        atomic_store(delivers ? &desk->delivery : &desk->request, number);
        tally_add(delivers ? &desk->deliveries : &desk->settled, 1);
    }
    service_bytes_unref(message);
    return 0;
}

static void drained(void *context)
{
    (void)context;
}

// It is run once receive has returned.
static void work(void *context, void (*run)(void *job), void *job)
{
    struct desk *desk = context;
    assert_null(desk->job);
    desk->job = run;
    desk->argument = job;
}

// The pack is finished.
static void receive(struct desk *desk, unsigned kind, uint64_t number, struct pl_pack *pack)
{
    assert_false(pack->failed);
    pl_protocol_head_write(pack->bytes, &(struct pl_protocol_head){ kind, 0, number });
    assert_int_equal(service_session_receive(desk->session, pack->bytes, pack->size),
                     SERVICE_GO_ON);
    pl_pack_finish(pack);
    assert_non_null(desk->job);
    void (*job)(void *job) = desk->job;
    desk->job = NULL;
    job(desk->argument);
}

static void subscribe_to(struct desk *desk, const char *name)
{
    struct pl_pack pack;
    pl_pack_begin(&pack, &pl_seams_real);
    pl_pack_number(&pack, MINE);
    pl_pack_text(&pack, name);
    pl_pack_text(&pack, "a");
    pl_pack_text(&pack, NULL); // the label
    pl_pack_text(&pack, NULL); // what is not retried
    pl_pack_number(&pack, PEAL_FROM_NOW);
    pl_pack_number(&pack, 0);
    pl_pack_number(&pack, 0);
    pl_pack_number(&pack, 64); // the window
    for (unsigned i = 0; i < 3 + 8; i++) {
        pl_pack_number(&pack, 0); // the usual order, ends and retries
    }
    receive(desk, PL_PROTOCOL_SUBSCRIBE, 2, &pack);
}

static void desk_open(struct desk *desk)
{
    struct pl_pack pack;
    const struct peal_bus_options options = { .workers = 1 };
    const struct tally none = TALLY;
    *desk = (struct desk){ .answers = none, .deliveries = none, .settled = none };
    folder_open(&desk->folder, "");
    assert_int_equal(peal_bus_open(&desk->bus, desk->folder.url, &options), PEAL_OK);
    assert_int_equal(service_tail_open(&desk->feed, desk->bus), PEAL_OK);
    const struct service_session_config config = { .bus = desk->bus,
                                                   .feed = desk->feed,
                                                   .send = take_message,
                                                   .drained = drained,
                                                   .work = work,
                                                   .context = desk };
    assert_int_equal(service_session_open(&desk->session, &config), PEAL_OK);
    pl_pack_begin(&pack, &pl_seams_real);
    pl_pack_text(&pack, "test");
    receive(desk, PL_PROTOCOL_HELLO, 1, &pack);
    subscribe_to(desk, "mine");
    assert_int_equal(tally_read(&desk->answers), 2);
}

static void desk_close(struct desk *desk)
{
    service_session_close(desk->session);
    service_tail_close(desk->feed);
    peal_bus_close(desk->bus);
    folder_close(&desk->folder);
}

// What was delivered last is done with, in a request of this number.
static void settle(struct desk *desk, uint64_t request)
{
    struct pl_pack pack;
    pl_pack_begin(&pack, &pl_seams_real);
    pl_pack_number(&pack, MINE);
    pl_pack_number(&pack, atomic_load(&desk->delivery));
    pl_pack_number(&pack, PEAL_DONE);
    pl_pack_text(&pack, NULL);
    pl_pack_text(&pack, NULL);
    receive(desk, PL_PROTOCOL_SETTLE, request, &pack);
}

// ---- what is tested -----------------------------------------------------------------------------

static void what_is_saved_and_could_not_be_said_is_said_though_nothing_more_is_settled(void **state)
{
    (void)state;
    struct desk desk;
    desk_open(&desk);
    refuse_messages(SETTLED_SIZE, 3);
    publish(desk.bus, "a", "1");
    assert_true(tally_reaches(&desk.deliveries, 1));

    settle(&desk, 77);

    assert_true(tally_reaches(&desk.settled, 1));
    assert_int_equal(atomic_load(&unsayable), 0); // it was tried, and failed, before
    assert_int_equal(atomic_load(&desk.request), 77);
    publish(desk.bus, "a", "2"); // and it goes on
    assert_true(tally_reaches(&desk.deliveries, 2));
    settle(&desk, 78);
    assert_true(tally_reaches(&desk.settled, 2));
    assert_int_equal(atomic_load(&desk.request), 78);
    desk_close(&desk);
}

static void a_pull_without_memory_is_made_again(void **state)
{
    (void)state;
    struct desk desk;
    atomic_store(&unpullable, 3);
    desk_open(&desk);

    publish(desk.bus, "a", "1");

    assert_true(tally_reaches(&desk.deliveries, 1));
    assert_int_equal(atomic_load(&unpullable), 0);
    settle(&desk, 77);
    assert_true(tally_reaches(&desk.settled, 1));
    desk_close(&desk);
}

static void an_answer_that_cannot_be_made_ends_the_connection(void **state)
{
    (void)state;
    struct desk desk;
    struct pl_pack pack;
    desk_open(&desk);
    pl_pack_begin(&pack, &pl_seams_real);
    pl_pack_number(&pack, 1);    // from
    pl_pack_number(&pack, 4096); // bytes
    refuse_messages(PL_EVENTS_HEAD, 1);

    receive(&desk, PL_PROTOCOL_STRETCH, 3, &pack);

    assert_int_equal(desk.ends, 1);
    assert_int_equal(tally_read(&desk.answers), 2); // none for this one
    desk_close(&desk);
}

struct publisher {
    peal_bus *bus;
    struct peal_receipt receipt;
    enum peal_err err;
    struct tally done;
};

static void *publish_one(void *context)
{
    struct publisher *publisher = context;
    const struct peal_message message = { .type = "a" };
    publisher->err = peal_publish(publisher->bus, &message, &publisher->receipt);
    tally_add(&publisher->done, 1);
    return NULL;
}

static void who_publishes_is_answered_though_the_first_answer_is_lost(void **state)
{
    (void)state;
    static struct stand stand;
    struct folder folder;
    peal_bus *bus;
    struct publisher publisher = { .done = TALLY };
    folder_open(&folder, "");
    assert_int_equal(peal_bus_open(&bus, folder.url, NULL), PEAL_OK);
    stand_open(&stand, bus, 0);
    assert_int_equal(peal_bus_open(&publisher.bus, stand.url, NULL), PEAL_OK);
    refuse_messages(OUTCOME_SIZE, 1);

    pthread_t thread = begin(publish_one, &publisher);

    assert_true(tally_reaches(&publisher.done, 1));
    end(thread);
    assert_int_equal(publisher.err, PEAL_OK);
    assert_int_equal(publisher.receipt.position, 1);
    assert_int_equal(stand_accepted(&stand), 2);
    struct peal_bus_stats stats;
    assert_int_equal(peal_bus_stats(&stats, bus), PEAL_OK);
    assert_int_equal(stats.last_position, 1); // it is there once
    peal_bus_close(publisher.bus);
    stand_close(&stand);
    peal_bus_close(bus);
    folder_close(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            what_is_saved_and_could_not_be_said_is_said_though_nothing_more_is_settled),
        cmocka_unit_test(a_pull_without_memory_is_made_again),
        cmocka_unit_test(an_answer_that_cannot_be_made_ends_the_connection),
        cmocka_unit_test(who_publishes_is_answered_though_the_first_answer_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
