// SPDX-License-Identifier: MIT
// ctest: threaded
//
// A session of peal.v1 without a connection: what it is handed, what it sends, and on whose thread.
// Jobs wait until the test runs them, so that every order of things can be made.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <peal/peal.h>
#include <peal/testing.h>
#include <stdio.h>
#include <string.h>

#include "base/protocol.h"
#include "service/session.h"

#define JOBS 16

struct jobs {
    struct {
        void (*run)(void *job);
        void *job;
    } each[JOBS];
    size_t begun, count;
};

struct desk {
    peal_bus *bus;
    struct service_tail *feed;
    struct service_session *session;
    struct jobs work, soon;
    size_t waiting;                // what `send` says
    bool empties;                  // the connection is emptied while `send` has the message
    size_t answers, events, bytes; // that were sent
    unsigned code;                 // of the last answer
    struct pl_outcome outcome;     // the first of the last answer to a PUBLISH
};

static size_t take_message(void *context, struct service_bytes *message)
{
    struct desk *desk = context;
    struct pl_protocol_head head;
    assert_true(pl_protocol_head_read(&head, message->bytes, message->size));
    desk->bytes += message->size;
    if (head.kind == PL_PROTOCOL_EVENTS) {
        struct pl_unpack unpack = { message->bytes + PL_EVENTS_HEAD, message->size - PL_EVENTS_HEAD,
                                    false };
        size_t size;
        while (pl_events_next(&unpack, &size)) {
            desk->events++;
        }
        assert_false(unpack.bad);
    } else {
        struct pl_unpack unpack = { message->bytes + PL_PROTOCOL_HEAD,
                                    message->size - PL_PROTOCOL_HEAD, false };
        desk->answers++;
        desk->code = head.code;
        (void)pl_outcome_read(&desk->outcome, &unpack); // of another answer it means nothing
    }
    service_bytes_unref(message);
    if (desk->empties) {
        service_session_writable(desk->session); // as the connection's thread might
    }
    return desk->waiting;
}

static void drained(void *context)
{
    (void)context;
}

static void add_job(struct jobs *jobs, void (*run)(void *job), void *job)
{
    assert_true(jobs->count < JOBS);
    jobs->each[jobs->count].run = run;
    jobs->each[jobs->count++].job = job;
}

static void work(void *context, void (*run)(void *job), void *job)
{
    add_job(&((struct desk *)context)->work, run, job);
}

static void soon(void *context, void (*run)(void *job), void *job)
{
    add_job(&((struct desk *)context)->soon, run, job);
}

static void run_jobs(struct jobs *jobs)
{
    while (jobs->begun < jobs->count) {
        size_t at = jobs->begun++;
        jobs->each[at].run(jobs->each[at].job);
    }
    jobs->begun = jobs->count = 0;
}

static bool may_publish(void *context, const char *type)
{
    (void)context;
    return strcmp(type, "secret") != 0;
}

static void receive(struct desk *desk, unsigned kind, const struct pl_pack *pack)
{
    pl_protocol_head_write(pack->bytes, &(struct pl_protocol_head){ kind, 0, 7 });
    assert_int_equal(service_session_receive(desk->session, pack->bytes, pack->size),
                     SERVICE_GO_ON);
}

static void greet(struct desk *desk)
{
    struct pl_pack pack;
    pl_pack_begin(&pack, &pl_seams_real);
    pl_pack_text(&pack, "test");
    receive(desk, PL_PROTOCOL_HELLO, &pack);
    pl_pack_finish(&pack);
    run_jobs(&desk->work);
    assert_int_equal(desk->answers, 1);
}

static void follow(struct desk *desk)
{
    struct pl_pack pack;
    pl_pack_begin(&pack, &pl_seams_real);
    pl_pack_number(&pack, 1);
    pl_pack_number(&pack, 1 << 20);
    pl_pack_text(&pack, NULL);
    receive(desk, PL_PROTOCOL_FOLLOW, &pack);
    pl_pack_finish(&pack);
    run_jobs(&desk->work);
}

// One event of the type, with so many bytes of data, at a level.
static void publish(struct desk *desk, const char *type, size_t size, enum peal_durability level)
{
    static const char data[4096];
    static char message[8192];
    static uint64_t made;
    char id[32];
    (void)snprintf(id, sizeof id, "event-%llu", (unsigned long long)++made);
    const struct peal_message event = {
        .type = type, .id = id, .source = "/test", .data = data, .size = size, .durability = level
    };
    const struct pl_record_names names = { .type = type };
    size_t record = pl_record_size(&event, &names);
    assert_true(size <= sizeof data && PL_PUBLISH_HEAD + record <= sizeof message);
    pl_publish_head_write(message + PL_PROTOCOL_HEAD, &(struct pl_publish_head){ 0, 1, 0 });
    pl_record_write(message + PL_PUBLISH_HEAD, record, &event, &names);
    const struct pl_pack pack = { .bytes = message, .size = PL_PUBLISH_HEAD + record };
    receive(desk, PL_PROTOCOL_PUBLISH, &pack);
}

// So many in one request; the one at `conflict`, if that is not 0, expects what is not.
static void publish_many(struct desk *desk, unsigned count, unsigned conflict)
{
    static char message[65536];
    static uint64_t made;
    struct pl_pack pack = { .bytes = message, .size = PL_PUBLISH_HEAD };
    pl_publish_head_write(message + PL_PROTOCOL_HEAD, &(struct pl_publish_head){ 0, count, 0 });
    for (unsigned i = 0; i < count; i++) {
        char id[32];
        (void)snprintf(id, sizeof id, "one-of-many-%llu", (unsigned long long)++made);
        bool conflicts = conflict && i == conflict;
        const struct peal_message event = { .type = "many",
                                            .id = id,
                                            .source = "/test",
                                            .subject = "subject",
                                            .expect = conflicts ? PEAL_EXPECT_VERSION : 0,
                                            .expected_version = 7777,
                                            .durability = PEAL_DURABILITY_MEMORY };
        const struct pl_record_names names = { .type = "many" };
        size_t size = pl_record_size(&event, &names);
        assert_true(pack.size + size <= sizeof message);
        pl_record_write(message + pack.size, size, &event, &names);
        pack.size += size;
    }
    receive(desk, PL_PROTOCOL_PUBLISH, &pack);
}

static void desk_open(struct desk *desk, const struct peal_bus_options *options, bool has_soon)
{
    memset(desk, 0, sizeof *desk);
    assert_int_equal(peal_bus_open(&desk->bus, "mem:", options), PEAL_OK);
    assert_int_equal(service_tail_open(&desk->feed, desk->bus), PEAL_OK);
    const struct service_session_config config = { .bus = desk->bus,
                                                   .feed = desk->feed,
                                                   .rights = { .may_publish = may_publish },
                                                   .send = take_message,
                                                   .drained = drained,
                                                   .work = work,
                                                   .soon = has_soon ? soon : NULL,
                                                   .context = desk,
                                                   .waiting_max = 1000,
                                                   .at_once = true,
                                                   .publish_ms = 10000 };
    assert_int_equal(service_session_open(&desk->session, &config), PEAL_OK);
    greet(desk);
}

static void desk_close(struct desk *desk)
{
    service_session_close(desk->session);
    run_jobs(&desk->work);
    run_jobs(&desk->soon);
    service_tail_close(desk->feed);
    peal_bus_close(desk->bus);
}

// ---- many in one request ------------------------------------------------------------------------

static void many_in_one_request_are_left_to_a_job_which_sends_them_to_who_follows(void **state)
{
    (void)state;
    struct desk desk;
    desk_open(&desk, NULL, true);
    follow(&desk);
    size_t answers = desk.answers;
    publish_many(&desk, 300, 0);
    assert_int_equal(desk.answers, answers);
    assert_int_equal(desk.work.count, 1);
    desk.work.each[0].run(desk.work.each[0].job);
    assert_int_equal(desk.answers, answers + 1);
    assert_int_equal(desk.outcome.code, PEAL_OK);
    assert_int_equal(desk.events, 300);
    assert_int_equal(desk.work.count, 1);
    assert_int_equal(desk.soon.count, 0);
    desk.work.begun = 1;
    desk_close(&desk);
}

static void one_of_many_that_fails_keeps_no_other_out(void **state)
{
    (void)state;
    const unsigned places[] = { 1, 127, 128, 200, 299 };
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        struct desk desk;
        struct peal_bus_stats stats;
        desk_open(&desk, NULL, true);
        follow(&desk);
        publish_many(&desk, 300, places[i]);
        run_jobs(&desk.work);
        assert_int_equal(desk.events, 299);
        assert_int_equal(desk.outcome.code, PEAL_OK);
        assert_int_equal(peal_bus_stats(&stats, desk.bus), PEAL_OK);
        assert_int_equal(stats.published, 299);
        desk_close(&desk);
    }
}

// While its event is being published, the connection is emptied.
static enum peal_verdict empty_it(const peal_event *event, void *context)
{
    struct desk *desk = context;
    (void)event;
    size_t before = desk->work.count + desk->soon.count;
    service_session_writable(desk->session);
    assert_int_equal(desk->work.count + desk->soon.count, before);
    return PEAL_DONE;
}

static void who_can_go_on_while_many_are_published_is_sent_them_by_their_publisher(void **state)
{
    (void)state;
    struct desk desk;
    peal_subscription *subscription = NULL;
    const struct peal_subscribe_options inlined = { .mode = PEAL_INLINE };
    desk_open(&desk, NULL, true);
    follow(&desk);
    desk.waiting = 5000; // more than may wait
    publish(&desk, "first", 1, PEAL_DURABILITY_MEMORY);
    run_jobs(&desk.soon);
    publish(&desk, "second", 1, PEAL_DURABILITY_MEMORY);
    run_jobs(&desk.soon);
    assert_int_equal(desk.events, 0); // it is full
    desk.waiting = 0;
    assert_int_equal(peal_subscribe(&subscription, desk.bus, "many", &inlined, empty_it, &desk),
                     PEAL_OK);
    publish_many(&desk, 300, 0);
    desk.work.each[0].run(desk.work.each[0].job);
    assert_int_equal(desk.events, 302);
    assert_int_equal(desk.work.count, 1);
    desk.work.begun = 1;
    peal_unsubscribe(subscription);
    desk_close(&desk);
}

// ---- publishing ---------------------------------------------------------------------------------

static void what_waits_for_nothing_is_answered_before_receive_returns(void **state)
{
    struct desk desk;
    (void)state;
    desk_open(&desk, NULL, true);

    publish(&desk, "a", 10, PEAL_DURABILITY_MEMORY);

    assert_int_equal(desk.work.count, 0);
    assert_int_equal(desk.answers, 2);
    assert_int_equal(desk.code, PEAL_OK);
    assert_int_equal(desk.outcome.code, PEAL_OK);
    assert_int_equal(desk.outcome.position, 1);
    desk_close(&desk);
}

static void what_waits_for_a_disk_or_may_not_be_is_left_to_a_job(void **state)
{
    struct desk desk;
    (void)state;
    desk_open(&desk, NULL, true);

    publish(&desk, "a", 10, PEAL_DURABILITY_DISK);
    assert_int_equal(desk.answers, 1);
    run_jobs(&desk.work);
    assert_int_equal(desk.answers, 2);
    assert_int_equal(desk.outcome.code, PEAL_EUNSUPPORTED); // of mem:

    publish(&desk, "secret", 10, PEAL_DURABILITY_MEMORY);
    assert_int_equal(desk.answers, 2);
    run_jobs(&desk.work);
    assert_int_equal(desk.answers, 3);
    assert_int_equal(desk.outcome.code, PEAL_EREFUSED);
    desk_close(&desk);
}

static void what_was_said_first_is_published_first(void **state)
{
    struct desk desk;
    (void)state;
    desk_open(&desk, NULL, true);

    publish(&desk, "a", 10, PEAL_DURABILITY_DISK); // waits for a job
    publish(&desk, "b", 10, PEAL_DURABILITY_MEMORY);
    assert_int_equal(desk.answers, 1);

    run_jobs(&desk.work);
    assert_int_equal(desk.answers, 3);
    assert_int_equal(desk.outcome.position, 1); // the first was refused
    desk_close(&desk);
}

// Reads what holds the publisher up, when it has been slowed.
static enum peal_verdict let_through(const peal_event *event, void *context)
{
    (void)event;
    (void)context;
    return PEAL_DONE;
}

static void a_publisher_that_outruns_its_readers_is_slowed_and_not_refused(void **state)
{
    struct desk desk;
    peal_subscription *slow = NULL;
    const struct peal_bus_options options = { .workers = 1,
                                              .pressure = PEAL_PRESSURE_REJECT,
                                              .history_bytes = 1 << 19,
                                              .memory_max = 1 << 20,
                                              .data_max = 1 << 16 };
    (void)state;
    desk_open(&desk, &options, true);
    assert_int_equal(peal_subscribe(&slow, desk.bus, "a", NULL, let_through, NULL), PEAL_OK);
    assert_int_equal(peal_subscription_pause(slow), PEAL_OK);

    size_t sent = 0;
    while (desk.work.count == 0) { // until one has to wait
        publish(&desk, "a", 4000, PEAL_DURABILITY_MEMORY);
        sent++;
        assert_true(sent < 1000);
    }
    assert_int_equal(desk.answers, sent); // the greeting's, and all but the last
    assert_int_equal(peal_subscription_resume(slow), PEAL_OK);
    run_jobs(&desk.work);

    assert_int_equal(desk.answers, sent + 1);
    assert_int_equal(desk.code, PEAL_OK);
    assert_int_equal(desk.outcome.code, PEAL_OK);
    desk_close(&desk);
}

// ---- following ----------------------------------------------------------------------------------

static void what_is_new_at_the_end_is_sent_by_the_connections_thread(void **state)
{
    struct desk desk;
    (void)state;
    desk_open(&desk, NULL, true);
    follow(&desk);
    assert_int_equal(desk.soon.count, 0);

    publish(&desk, "a", 10, PEAL_DURABILITY_MEMORY);
    publish(&desk, "b", 10, PEAL_DURABILITY_MEMORY);
    assert_int_equal(desk.work.count, 0);
    assert_int_equal(desk.soon.count, 1); // both at once
    run_jobs(&desk.soon);

    assert_int_equal(desk.work.count, 0);
    assert_int_equal(desk.events, 2);
    desk_close(&desk);
}

static void what_could_not_be_read_is_sent_though_nothing_more_is_published(void **state)
{
    struct desk desk;
    (void)state;
    peal_world *world = NULL;
    assert_int_equal(peal_world_open(&world, 1), PEAL_OK);
    desk_open(&desk, &(struct peal_bus_options){ .world = world, .workers = PEAL_NO_WORKERS },
              true);
    follow(&desk);
    publish(&desk, "a", 10, PEAL_DURABILITY_MEMORY);
    peal_world_fail_allocation(world, 1, true);
    run_jobs(&desk.soon);
    run_jobs(&desk.work);
    assert_int_equal(desk.events, 0);

    peal_world_fail_allocation(world, 0, false);
    assert_int_equal(desk.soon.count + desk.work.count, 0);
    service_session_tick(desk.session);
    run_jobs(&desk.soon);
    assert_int_equal(desk.events, 1);
    service_session_tick(desk.session);
    assert_int_equal(desk.soon.count + desk.work.count, 0); // it is over
    desk_close(&desk);
    peal_world_close(world);
}

static void without_a_thread_of_its_own_a_job_sends_what_is_new(void **state)
{
    struct desk desk;
    (void)state;
    desk_open(&desk, NULL, false);
    follow(&desk);

    publish(&desk, "a", 10, PEAL_DURABILITY_MEMORY);
    assert_int_equal(desk.work.count, 1);
    run_jobs(&desk.work);

    assert_int_equal(desk.events, 1);
    desk_close(&desk);
}

static void a_connection_that_is_full_is_sent_nothing_until_it_is_not(void **state)
{
    struct desk desk;
    (void)state;
    desk_open(&desk, NULL, true);
    follow(&desk);
    desk.waiting = 1001;
    publish(&desk, "a", 10, PEAL_DURABILITY_MEMORY);
    run_jobs(&desk.soon);

    publish(&desk, "b", 10, PEAL_DURABILITY_MEMORY);
    run_jobs(&desk.soon);
    size_t events = desk.events;
    desk.waiting = 0;
    service_session_writable(desk.session);
    run_jobs(&desk.work);
    run_jobs(&desk.soon);

    assert_in_range(events, 0, 1);
    assert_int_equal(desk.events, 2);
    desk_close(&desk);
}

static void a_connection_that_is_emptied_while_it_is_sent_to_is_not_taken_for_full(void **state)
{
    struct desk desk;
    (void)state;
    desk_open(&desk, NULL, true);
    follow(&desk);
    desk.waiting = 1001; // as it was when the message came to the rest
    desk.empties = true;
    for (int i = 0; i < 3; i++) {
        publish(&desk, "a", 10, PEAL_DURABILITY_MEMORY);
        run_jobs(&desk.work);
        run_jobs(&desk.soon);
    }

    assert_int_equal(desk.events, 3);
    desk.empties = false;
    desk_close(&desk);
}

static void who_follows_from_the_beginning_gets_every_event_once(void **state)
{
    struct desk desk;
    (void)state;
    desk_open(&desk, NULL, true);
    for (int i = 0; i < 500; i++) {
        publish(&desk, i % 2 ? "a" : "b", 2000, PEAL_DURABILITY_MEMORY);
    }
    follow(&desk); // about 1 MiB, in chunks
    for (int i = 0; i < 5; i++) {
        publish(&desk, "a", 10, PEAL_DURABILITY_MEMORY);
        run_jobs(&desk.soon);
        run_jobs(&desk.work);
    }

    assert_in_range(desk.events, 400, 505); // the credit is 1 MiB
    size_t before = desk.events;
    struct pl_pack pack;
    pl_pack_begin(&pack, &pl_seams_real);
    pl_pack_number(&pack, 1 << 20);
    receive(&desk, PL_PROTOCOL_CREDIT, &pack);
    pl_pack_finish(&pack);
    run_jobs(&desk.work);
    run_jobs(&desk.soon);
    run_jobs(&desk.work);
    assert_true(desk.events >= before);
    assert_int_equal(desk.events, 505);
    desk_close(&desk);
}

// The last word counts; what was said before it is let go of.
static void what_is_wanted_may_be_said_before_and_after_following(void **state)
{
    struct desk desk;
    struct pl_pack pack;
    (void)state;
    desk_open(&desk, NULL, true);
    for (int times = 0; times < 2; times++) {
        pl_pack_begin(&pack, &pl_seams_real);
        pl_pack_number(&pack, 2);
        pl_pack_text(&pack, "b");
        receive(&desk, PL_PROTOCOL_WANT, &pack);
        pl_pack_finish(&pack);
        run_jobs(&desk.work);
        if (times == 0) {
            follow(&desk); // everything
            publish(&desk, "a", 10, PEAL_DURABILITY_MEMORY);
            run_jobs(&desk.soon);
            assert_int_equal(desk.events, 1);
        }
    }
    publish(&desk, "a", 10, PEAL_DURABILITY_MEMORY);
    publish(&desk, "b", 10, PEAL_DURABILITY_MEMORY);
    run_jobs(&desk.soon);
    run_jobs(&desk.work);
    assert_int_equal(desk.events, 2);
    desk_close(&desk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_in_one_request_are_left_to_a_job_which_sends_them_to_who_follows),
        cmocka_unit_test(one_of_many_that_fails_keeps_no_other_out),
        cmocka_unit_test(who_can_go_on_while_many_are_published_is_sent_them_by_their_publisher),
        cmocka_unit_test(what_waits_for_nothing_is_answered_before_receive_returns),
        cmocka_unit_test(what_waits_for_a_disk_or_may_not_be_is_left_to_a_job),
        cmocka_unit_test(what_was_said_first_is_published_first),
        cmocka_unit_test(a_publisher_that_outruns_its_readers_is_slowed_and_not_refused),
        cmocka_unit_test(what_is_new_at_the_end_is_sent_by_the_connections_thread),
        cmocka_unit_test(what_could_not_be_read_is_sent_though_nothing_more_is_published),
        cmocka_unit_test(without_a_thread_of_its_own_a_job_sends_what_is_new),
        cmocka_unit_test(a_connection_that_is_full_is_sent_nothing_until_it_is_not),
        cmocka_unit_test(a_connection_that_is_emptied_while_it_is_sent_to_is_not_taken_for_full),
        cmocka_unit_test(who_follows_from_the_beginning_gets_every_event_once),
        cmocka_unit_test(what_is_wanted_may_be_said_before_and_after_following),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
