// SPDX-License-Identifier: MIT
// ctest: threaded timeout=300
//
// Real threads: many commands on one stream, transfers between streams, a projection rebuilt while
// all of it goes on, upcasters that come meanwhile. What is counted at the end is exact.
#include "sourcing_account.h"

#include <stdatomic.h>

#include "support/crowd.h"

#define WRITERS  4
#define ACCOUNTS 3

struct bank {
    peal_bus *bus;
    unsigned commands; // of each writer
    atomic_uint next, conflicts;
};

static peal_bus *open_large(void)
{
    struct peal_bus_options options = {
        .workers = 2, .history_events = 10000000, .history_bytes = 256 << 20, .memory_max = 1 << 30
    };
    return open_bus(&options);
}

// ---- one stream, many writers -------------------------------------------------------------------

static enum peal_err add_one(peal_aggregate *aggregate, void *context)
{
    (void)context;
    uint64_t version = peal_aggregate_version(aggregate);
    // The state is what the events say, also while others append.
    assert_int_equal(account_of(aggregate)->balance, version);
    assert_int_equal(account_of(aggregate)->events, version);
    struct peal_message message = account_message("in", "1");
    struct peal_appended out;
    enum peal_err err = peal_aggregate_append(&out, aggregate, &message, 1);
    if (err == PEAL_ECONFLICT) {
        assert_true(out.version > version);
    }
    return err;
}

static void *command(void *context)
{
    struct bank *bank = context;
    struct peal_aggregate_type type = account_type;
    type.snapshot_every = 50;
    peal_aggregate *aggregate = account_load(bank->bus, &type, "account");
    for (unsigned i = 0; i < bank->commands; i++) {
        assert_int_equal(peal_aggregate_execute(aggregate, 100000, add_one, NULL), PEAL_OK);
        if (i % 64 == 63) { // as a new one
            atomic_fetch_add(&bank->conflicts, (unsigned)account_stats(aggregate).conflicts);
            assert_int_equal(account_stats(aggregate).snapshots_ignored, 0);
            peal_aggregate_close(aggregate);
            aggregate = account_load(bank->bus, &type, "account");
        }
    }
    peal_aggregate_close(aggregate);
    return NULL;
}

static void no_command_is_lost_and_none_is_done_twice(void **state)
{
    (void)state;
    struct bank bank = { .bus = open_large(), .commands = effort(3000) };
    pthread_t writers[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = begin(command, &bank);
    }
    for (int i = 0; i < WRITERS; i++) {
        end(writers[i]);
    }
    struct peal_aggregate_type type = account_type;
    peal_aggregate *with = account_load(bank.bus, &type, "account");
    type.name = "without";
    peal_aggregate *without = account_load(bank.bus, &type, "account");
    assert_int_equal(account_of(without)->balance, (uint64_t)WRITERS * bank.commands);
    assert_memory_equal(account_of(with), account_of(without), sizeof(struct account));
    if (bank.commands >= 50) {
        assert_true(account_stats(with).snapshot_version > 0);
    }
    peal_aggregate_close(with);
    peal_aggregate_close(without);
    peal_bus_close(bank.bus);
}

// ---- several streams at once --------------------------------------------------------------------

static void *transfer(void *context)
{
    struct bank *bank = context;
    unsigned me = atomic_fetch_add(&bank->next, 1);
    for (unsigned i = 0; i < bank->commands;) {
        char from[8], to[8];
        (void)snprintf(from, sizeof from, "a%u", (me + i) % ACCOUNTS);
        (void)snprintf(to, sizeof to, "a%u", (me + i + 1) % ACCOUNTS);
        struct peal_message out = account_message("out", "1"), in = account_message("in", "1");
        struct peal_append both[2] = {
            { .subject = from, .expect = PEAL_EXPECT_VERSION, .messages = &out, .count = 1 },
            { .subject = to, .expect = PEAL_EXPECT_VERSION, .messages = &in, .count = 1 },
        };
        for (int side = 0; side < 2; side++) {
            assert_int_equal(
                peal_stream_version(&both[side].expected_version, bank->bus, both[side].subject),
                PEAL_OK);
        }
        struct peal_appended appended[2];
        enum peal_err err = peal_stream_append_all(appended, bank->bus, both, 2);
        assert_true(err == PEAL_OK || err == PEAL_ECONFLICT);
        atomic_fetch_add(&bank->conflicts, err == PEAL_ECONFLICT);
        i += err == PEAL_OK;
    }
    return NULL;
}

static void transfers_between_streams_keep_the_sum(void **state)
{
    (void)state;
    struct bank bank = { .bus = open_large(), .commands = effort(3000) };
    pthread_t writers[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = begin(transfer, &bank);
    }
    for (int i = 0; i < WRITERS; i++) {
        end(writers[i]);
    }
    int64_t sum = 0;
    uint64_t events = 0;
    for (int i = 0; i < ACCOUNTS; i++) {
        char subject[8];
        (void)snprintf(subject, sizeof subject, "a%d", i);
        peal_aggregate *aggregate = account_load(bank.bus, &account_type, subject);
        sum += account_of(aggregate)->balance;
        events += account_of(aggregate)->events;
        peal_aggregate_close(aggregate);
    }
    assert_int_equal(sum, 0);
    assert_int_equal(events, 2ULL * WRITERS * bank.commands);
    peal_bus_close(bank.bus);
}

// ---- a projection rebuilt while events arrive ---------------------------------------------------

#define GENERATIONS 64

struct sums {
    _Atomic uint64_t events[GENERATIONS], sum[GENERATIONS];
    atomic_bool alive[GENERATIONS];
    struct tally last; // events of the last generation
};

struct sum {
    struct sums *sums;
    uint64_t generation;
};

static enum peal_err create_sum(void **state, uint64_t generation, void *context)
{
    assert_true(generation < GENERATIONS);
    struct sum *sum = test_malloc(sizeof *sum);
    *sum = (struct sum){ context, generation };
    atomic_store(&sum->sums->alive[generation], true);
    *state = sum;
    return PEAL_OK;
}

static void destroy_sum(void *state, uint64_t generation, void *context)
{
    struct sums *sums = context;
    assert_true(atomic_exchange(&sums->alive[generation], false));
    test_free(state);
}

static enum peal_verdict add_up(const peal_event *event, void *context)
{
    const struct sum *sum = context;
    struct sums *sums = sum->sums;
    assert_true(atomic_load(&sums->alive[sum->generation]));
    atomic_fetch_add(&sums->sum[sum->generation], number_of(event));
    atomic_fetch_add(&sums->events[sum->generation], 1);
    if (sum->generation == 7) {
        tally_add(&sums->last, 1);
    }
    return PEAL_DONE;
}

static void *publish_numbers(void *context)
{
    struct bank *bank = context;
    for (unsigned i = 1; i <= bank->commands; i++) {
        account_append(bank->bus, "numbers", "n", i);
    }
    return NULL;
}

static void *look(void *context)
{
    peal_projection *projection = context;
    uint64_t newest = 0, most = 0;
    for (;;) {
        void *held;
        uint64_t generation;
        assert_int_equal(peal_projection_acquire(&held, &generation, projection), PEAL_OK);
        const struct sum *sum = held;
        uint64_t events = atomic_load(&sum->sums->events[generation]);
        assert_true(generation >= newest);
        assert_true(events >= most);
        newest = generation;
        most = events;
        peal_projection_release(projection, generation);
        struct peal_projection_progress progress;
        assert_int_equal(peal_projection_progress(&progress, projection), PEAL_OK);
        if (progress.generation >= 6) {
            return NULL;
        }
    }
}

static void a_projection_is_rebuilt_while_events_arrive(void **state)
{
    (void)state;
    static struct sums sums = { .last = TALLY };
    struct bank bank = { .bus = open_large(), .commands = effort(20000) };
    struct peal_projection_options options = { .name = "sums",
                                               .pattern = "n",
                                               .handler = add_up,
                                               .context = &sums,
                                               .create = create_sum,
                                               .destroy = destroy_sum };
    peal_projection *projection;
    assert_int_equal(peal_projection_open(&projection, bank.bus, &options), PEAL_OK);
    pthread_t publisher = begin(publish_numbers, &bank), reader = begin(look, projection);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(peal_projection_rebuild(projection), PEAL_OK);
        assert_int_equal(peal_projection_wait(projection, 60000), PEAL_OK);
    }
    end(publisher);
    end(reader);
    assert_int_equal(peal_projection_rebuild(projection), PEAL_OK);
    assert_int_equal(peal_projection_wait(projection, 60000), PEAL_OK);
    struct peal_projection_progress progress;
    assert_int_equal(peal_projection_progress(&progress, projection), PEAL_OK);
    assert_int_equal(progress.generation, 7);
    assert_true(tally_reaches(&sums.last, bank.commands));
    peal_projection_close(projection);
    uint64_t count = bank.commands;
    assert_int_equal(atomic_load(&sums.events[7]), count);
    assert_int_equal(atomic_load(&sums.sum[7]), count * (count + 1) / 2);
    for (int i = 0; i < GENERATIONS; i++) {
        assert_false(atomic_load(&sums.alive[i]));
    }
    peal_bus_close(bank.bus);
}

// ---- upcasters that come meanwhile --------------------------------------------------------------

static enum peal_err renew(peal_upcast *upcast, void *context)
{
    (void)context;
    return peal_upcast_set_schema(upcast, "new");
}

static void *read_numbers(void *context)
{
    struct bank *bank = context;
    for (unsigned i = 0; i < bank->commands; i++) {
        peal_aggregate *aggregate = account_load(bank->bus, &account_type, "numbers");
        assert_int_equal(account_of(aggregate)->balance, 55);
        peal_aggregate_close(aggregate);
    }
    return NULL;
}

static void *add_rules(void *context)
{
    struct bank *bank = context;
    for (unsigned i = 0; i < 200; i++) {
        char form[8];
        (void)snprintf(form, sizeof form, "%u", i % 100);
        struct peal_upcast_rule rule = { .type = "n", .schema = form, .upcaster = renew };
        enum peal_err err = peal_bus_upcast(bank->bus, &rule);
        assert_true(err == PEAL_OK || err == PEAL_EEXISTS);
    }
    return NULL;
}

static void upcasters_may_come_while_others_read(void **state)
{
    (void)state;
    struct bank bank = { .bus = open_large(), .commands = effort(2000) };
    for (unsigned i = 1; i <= 10; i++) {
        char form[8], data[8];
        (void)snprintf(form, sizeof form, "%u", i * 9);
        (void)snprintf(data, sizeof data, "%u", i);
        struct peal_message message = account_message("n", data);
        message.schema = form;
        message.subject = "numbers";
        assert_int_equal(peal_publish(bank.bus, &message, NULL), PEAL_OK);
    }
    pthread_t readers[2] = { begin(read_numbers, &bank), begin(read_numbers, &bank) };
    pthread_t adders[2] = { begin(add_rules, &bank), begin(add_rules, &bank) };
    for (int i = 0; i < 2; i++) {
        end(adders[i]);
        end(readers[i]);
    }
    struct peal_upcast_stats stats;
    assert_int_equal(peal_upcast_stats(&stats, bank.bus), PEAL_OK);
    assert_int_equal(stats.rules, 100);
    assert_int_equal(stats.failed, 0);
    peal_bus_close(bank.bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_command_is_lost_and_none_is_done_twice),
        cmocka_unit_test(transfers_between_streams_keep_the_sum),
        cmocka_unit_test(a_projection_is_rebuilt_while_events_arrive),
        cmocka_unit_test(upcasters_may_come_while_others_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
