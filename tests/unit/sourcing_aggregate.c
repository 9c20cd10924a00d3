// SPDX-License-Identifier: MIT
//
// Aggregates: their state is what the events of the stream say, and nothing else; commands decide
// on the state as it is.
#include "sourcing_account.h"

static void the_state_is_what_the_events_say(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    account_append(stage.bus, "account-1", "in", 50);
    account_append(stage.bus, "account-2", "in", 7);
    account_append(stage.bus, "account-1", "out", 8);

    peal_aggregate *one = account_load(stage.bus, &account_type, "account-1");
    peal_aggregate *two = account_load(stage.bus, &account_type, "account-2");
    peal_aggregate *none = account_load(stage.bus, &account_type, "account-3");
    assert_int_equal(account_of(one)->balance, 42);
    assert_int_equal(peal_aggregate_version(one), 2);
    assert_string_equal(peal_aggregate_subject(one), "account-1");
    assert_int_equal(account_of(two)->balance, 7);
    assert_int_equal(account_of(none)->events, 0);
    assert_int_equal(peal_aggregate_version(none), 0);
    peal_aggregate_close(one);
    peal_aggregate_close(two);
    peal_aggregate_close(none);
    stage_close(&stage);
}

static void an_append_is_applied_and_a_refresh_applies_what_others_appended(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    peal_aggregate *mine = account_load(stage.bus, &account_type, "account-1");
    peal_aggregate *other = account_load(stage.bus, &account_type, "account-1");
    struct peal_message two[] = { account_message("in", "5"), account_message("out", "2") };
    struct peal_appended out;

    assert_int_equal(peal_aggregate_append(&out, mine, two, 2), PEAL_OK);
    assert_int_equal(out.version, 2);
    assert_int_equal(account_of(mine)->balance, 3);
    assert_int_equal(peal_aggregate_version(mine), 2);
    assert_int_equal(account_of(other)->balance, 0);

    assert_int_equal(peal_aggregate_append(&out, other, two, 1), PEAL_ECONFLICT);
    assert_int_equal(out.version, 2);
    assert_int_equal(account_of(other)->events, 0); // nothing has changed
    assert_int_equal(account_stats(other).conflicts, 1);
    assert_int_equal(peal_aggregate_refresh(other), PEAL_OK);
    assert_int_equal(account_of(other)->balance, 3);
    assert_int_equal(peal_aggregate_append(NULL, other, two, 1), PEAL_OK);
    assert_int_equal(account_of(other)->balance, 8);
    assert_int_equal(account_stats(other).applied, 3);
    peal_aggregate_close(mine);
    peal_aggregate_close(other);
    stage_close(&stage);
}

// ---- what is applied is what was published ------------------------------------------------------

static enum peal_err add_ten(peal_draft *draft, void *context)
{
    (void)context;
    return peal_draft_set_data(draft, "10", 2);
}

static void what_an_interceptor_made_of_it_is_applied(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    assert_int_equal(peal_bus_intercept(stage.bus, "in", 0, add_ten, NULL), PEAL_OK);
    peal_aggregate *aggregate = account_load(stage.bus, &account_type, "account-1");
    struct peal_message message = account_message("in", "1");
    assert_int_equal(peal_aggregate_append(NULL, aggregate, &message, 1), PEAL_OK);
    assert_int_equal(account_of(aggregate)->balance, 10);
    peal_aggregate_close(aggregate);
    stage_close(&stage);
}

static void an_apply_that_refuses_stops_the_load_and_spoils_no_append(void **state)
{
    (void)state;
    struct stage stage;
    struct complaints complaints = { 0 };
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS,
                                        .log = complain_to,
                                        .log_context = &complaints };
    stage_open_as(&stage, 1, "mem:", &options);
    bool lenient = false;
    struct peal_aggregate_type type = account_type;
    type.context = &lenient;
    peal_aggregate *aggregate = account_load(stage.bus, &type, "account-1");
    struct peal_message messages[] = { account_message("in", "5"), account_message("bad", "1") };
    struct peal_appended out;

    assert_int_equal(peal_aggregate_append(&out, aggregate, messages, 2), PEAL_OK);
    assert_int_equal(out.version, 2); // both are in the log
    assert_int_equal(peal_aggregate_version(aggregate), 1);
    assert_int_equal(complaints.count, 1);
    assert_non_null(strstr(complaints.text, "not applied"));

    assert_int_equal(peal_aggregate_append(&out, aggregate, messages, 1), PEAL_ESTATE);
    assert_int_equal(peal_aggregate_refresh(aggregate), PEAL_EREFUSED);
    peal_aggregate *none = NULL;
    assert_int_equal(peal_aggregate_load(&none, stage.bus, &type, "account-1"), PEAL_EREFUSED);
    assert_null(none);
    assert_int_equal(peal_aggregate_snapshot(aggregate), PEAL_ESTATE);

    lenient = true;
    assert_int_equal(peal_aggregate_refresh(aggregate), PEAL_OK);
    assert_int_equal(peal_aggregate_version(aggregate), 2);
    assert_int_equal(account_of(aggregate)->balance, 6); // from the beginning, and once each
    peal_aggregate_close(aggregate);
    stage_close(&stage);
}

// ---- states that hold something -----------------------------------------------------------------

struct holder {
    char *memory; // one at a time
    uint64_t events;
};

struct births {
    int begun, ended;
    enum peal_err answer;
};

static enum peal_err holder_init(void *state, const char *subject, void *context)
{
    struct births *births = context;
    assert_int_equal(((struct holder *)state)->events, 0);
    assert_string_equal(subject, "h");
    if (births->answer) {
        return births->answer;
    }
    births->begun++;
    ((struct holder *)state)->memory = test_malloc(1);
    return PEAL_OK;
}

static void holder_finish(void *state, void *context)
{
    ((struct births *)context)->ended++;
    test_free(((struct holder *)state)->memory);
}

static enum peal_err holder_apply(void *state, const peal_event *event, void *context)
{
    (void)context;
    ((struct holder *)state)->events++;
    return strcmp(peal_event_type(event), "bad") == 0 ? PEAL_EINVAL : PEAL_OK;
}

static void every_state_that_was_begun_is_finished_once(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    struct births births = { 0 };
    const struct peal_aggregate_type type = { .name = "h",
                                              .state_size = sizeof(struct holder),
                                              .apply = holder_apply,
                                              .init = holder_init,
                                              .finish = holder_finish,
                                              .context = &births };
    peal_aggregate *aggregate = account_load(stage.bus, &type, "h");
    account_append(stage.bus, "h", "a", 1);
    assert_int_equal(peal_aggregate_refresh(aggregate), PEAL_OK);
    account_append(stage.bus, "h", "bad", 1);
    assert_int_equal(peal_aggregate_refresh(aggregate), PEAL_EINVAL);
    assert_int_equal(peal_aggregate_refresh(aggregate), PEAL_EINVAL); // begins anew, and ends so
    assert_int_equal(births.begun, births.ended + 1);
    births.answer = PEAL_EIO;
    assert_int_equal(peal_aggregate_refresh(aggregate), PEAL_EIO);
    assert_int_equal(births.begun, births.ended);
    peal_aggregate *none;
    assert_int_equal(peal_aggregate_load(&none, stage.bus, &type, "h"), PEAL_EIO);
    peal_aggregate_close(aggregate);
    assert_int_equal(births.begun, births.ended);
    stage_close(&stage);
}

// ---- commands -----------------------------------------------------------------------------------

struct withdrawal {
    peal_bus *bus;
    int64_t amount;
    unsigned calls, rivals; // somebody else takes 1 before each of the first calls
};

static enum peal_err withdraw(peal_aggregate *aggregate, void *context)
{
    struct withdrawal *withdrawal = context;
    withdrawal->calls++;
    if (withdrawal->rivals > 0) {
        withdrawal->rivals--;
        account_append(withdrawal->bus, peal_aggregate_subject(aggregate), "out", 1);
    }
    if (account_of(aggregate)->balance < withdrawal->amount) {
        return PEAL_EREFUSED;
    }
    char data[16];
    (void)snprintf(data, sizeof data, "%lld", (long long)withdrawal->amount);
    struct peal_message message = account_message("out", data);
    return peal_aggregate_append(NULL, aggregate, &message, 1);
}

static void a_command_decides_again_after_a_conflict(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    account_append(stage.bus, "account-1", "in", 10);
    peal_aggregate *aggregate = account_load(stage.bus, &account_type, "account-1");

    struct withdrawal withdrawal = { .bus = stage.bus, .amount = 5, .rivals = 3 };
    assert_int_equal(peal_aggregate_execute(aggregate, 0, withdraw, &withdrawal), PEAL_OK);
    assert_int_equal(withdrawal.calls, 4);
    assert_int_equal(account_of(aggregate)->balance, 2);

    // The decision is made on what is left, not on what was there at first.
    account_append(stage.bus, "account-1", "in", 4);
    withdrawal = (struct withdrawal){ .bus = stage.bus, .amount = 6, .rivals = 1 };
    assert_int_equal(peal_aggregate_execute(aggregate, 0, withdraw, &withdrawal), PEAL_EREFUSED);
    assert_int_equal(withdrawal.calls, 2);
    assert_int_equal(account_of(aggregate)->balance, 5);
    peal_aggregate_close(aggregate);
    stage_close(&stage);
}

static void a_command_is_tried_so_often_and_no_more(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    account_append(stage.bus, "account-1", "in", 1000);
    peal_aggregate *aggregate = account_load(stage.bus, &account_type, "account-1");
    static const unsigned attempts[] = { 1, 3, 0 };
    for (size_t i = 0; i < 3; i++) {
        struct withdrawal withdrawal = { .bus = stage.bus, .amount = 5, .rivals = 100 };
        assert_int_equal(peal_aggregate_execute(aggregate, attempts[i], withdraw, &withdrawal),
                         PEAL_ECONFLICT);
        assert_int_equal(withdrawal.calls,
                         attempts[i] ? attempts[i] : (unsigned)PEAL_ATTEMPTS_DEFAULT);
    }
    peal_aggregate_close(aggregate);
    stage_close(&stage);
}

// ---- streams that begin again -------------------------------------------------------------------

// Publishes until the oldest segments are forgotten.
static void forget(struct stage *stage)
{
    static const char data[4096];
    struct peal_message message = { .type = "noise", .data = data, .size = sizeof data };
    for (int i = 0; i < 4000; i++) {
        assert_int_equal(peal_publish(stage->bus, &message, NULL), PEAL_OK);
    }
}

static void what_was_forgotten_is_not_passed_over_in_silence(void **state)
{
    (void)state;
    struct stage stage;
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS,
                                        .history_bytes = 1 << 20,
                                        .memory_max = 8 << 20 };
    stage_open_as(&stage, 1, "mem:", &options);
    account_append(stage.bus, "s", "in", 5);
    peal_aggregate *kept = account_load(stage.bus, &account_type, "s");
    for (unsigned i = 0; i < 2; i++) {
        // Half of the noise, an event that keeps the stream known, the other half.
        static const char data[4096];
        struct peal_message message = { .type = "noise", .data = data, .size = sizeof data };
        for (int n = 0; n < 220; n++) {
            assert_int_equal(peal_publish(stage.bus, &message, NULL), PEAL_OK);
        }
        account_append(stage.bus, "s", "in", 1);
    }
    uint64_t version;
    assert_int_equal(peal_stream_version(&version, stage.bus, "s"), PEAL_OK);
    assert_int_equal(version, 3);
    peal_aggregate *none = NULL;
    assert_int_equal(peal_aggregate_load(&none, stage.bus, &account_type, "s"), PEAL_ENOTFOUND);
    assert_non_null(strstr(peal_error_sentence(), "version 1"));
    assert_null(none);
    // Who has applied it needs it no more, and goes on with what is there.
    assert_int_equal(peal_aggregate_refresh(kept), PEAL_OK);
    assert_int_equal(account_of(kept)->balance, 7);
    // And a snapshot stands for it.
    assert_int_equal(peal_aggregate_snapshot(kept), PEAL_OK);
    peal_aggregate *again = account_load(stage.bus, &account_type, "s");
    assert_int_equal(account_of(again)->balance, 7);
    assert_int_equal(account_stats(again).applied, 0);
    peal_aggregate_close(again);
    peal_aggregate_close(kept);
    stage_close(&stage);
}

static void a_stream_that_begins_again_takes_its_aggregate_with_it(void **state)
{
    (void)state;
    struct stage stage;
    struct peal_bus_options options = { .workers = PEAL_NO_WORKERS,
                                        .history_bytes = 1 << 20,
                                        .memory_max = 8 << 20 };
    stage_open_as(&stage, 1, "mem:", &options);
    account_append(stage.bus, "s", "in", 5);
    account_append(stage.bus, "s", "in", 5);
    peal_aggregate *aggregate = account_load(stage.bus, &account_type, "s");
    forget(&stage);
    assert_int_equal(peal_aggregate_refresh(aggregate), PEAL_OK);
    assert_int_equal(peal_aggregate_version(aggregate), 0);
    assert_int_equal(account_of(aggregate)->balance, 0);
    account_append(stage.bus, "s", "in", 3);
    assert_int_equal(peal_aggregate_refresh(aggregate), PEAL_OK);
    assert_int_equal(account_of(aggregate)->balance, 3);
    peal_aggregate_close(aggregate);
    stage_close(&stage);
}

static void limits_of_name_and_subject_are_reached_and_kept(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, 1, PEAL_NO_WORKERS);
    char name[PEAL_AGGREGATE_NAME_MAX + 2], subject[PEAL_AGGREGATE_SUBJECT_MAX + 2];
    memset(name, 'n', sizeof name);
    memset(subject, 's', sizeof subject);
    name[PEAL_AGGREGATE_NAME_MAX] = subject[PEAL_AGGREGATE_SUBJECT_MAX] = '\0';
    struct peal_aggregate_type type = account_type;
    type.name = name;
    peal_aggregate *aggregate = account_load(stage.bus, &type, subject);
    struct peal_message message = account_message("in", "4");
    assert_int_equal(peal_aggregate_append(NULL, aggregate, &message, 1), PEAL_OK);
    assert_int_equal(peal_aggregate_snapshot(aggregate), PEAL_OK);
    peal_aggregate_close(aggregate);
    aggregate = account_load(stage.bus, &type, subject);
    assert_int_equal(account_of(aggregate)->balance, 4);
    assert_int_equal(account_stats(aggregate).snapshot_version, 1);
    peal_aggregate_close(aggregate);

    aggregate = NULL;
    name[PEAL_AGGREGATE_NAME_MAX] = 'n';
    name[PEAL_AGGREGATE_NAME_MAX + 1] = '\0';
    assert_int_equal(peal_aggregate_load(&aggregate, stage.bus, &type, subject), PEAL_ELIMIT);
    name[PEAL_AGGREGATE_NAME_MAX] = '\0';
    subject[PEAL_AGGREGATE_SUBJECT_MAX] = 's';
    subject[PEAL_AGGREGATE_SUBJECT_MAX + 1] = '\0';
    assert_int_equal(peal_aggregate_load(&aggregate, stage.bus, &type, subject), PEAL_ELIMIT);
    assert_null(aggregate);
    stage_close(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_state_is_what_the_events_say),
        cmocka_unit_test(an_append_is_applied_and_a_refresh_applies_what_others_appended),
        cmocka_unit_test(what_an_interceptor_made_of_it_is_applied),
        cmocka_unit_test(an_apply_that_refuses_stops_the_load_and_spoils_no_append),
        cmocka_unit_test(every_state_that_was_begun_is_finished_once),
        cmocka_unit_test(a_command_decides_again_after_a_conflict),
        cmocka_unit_test(a_command_is_tried_so_often_and_no_more),
        cmocka_unit_test(what_was_forgotten_is_not_passed_over_in_silence),
        cmocka_unit_test(a_stream_that_begins_again_takes_its_aggregate_with_it),
        cmocka_unit_test(limits_of_name_and_subject_are_reached_and_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
