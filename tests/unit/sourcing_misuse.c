// SPDX-License-Identifier: MIT
//
// Misuse, as in bus_misuse.c, of event sourcing. The table at the end names every function of
// sourcing.h, and is compared with it.
#include "support/kit.h"

#include <peal/sourcing.h>
#include <stdio.h>
#include <string.h>

#include "bus_misuse_table.h"

// ---- streams ------------------------------------------------------------------------------------

static void append_refuses(struct kit *kit, enum peal_err expected,
                           const struct peal_append *append)
{
    struct peal_appended out[2];
    kit_pattern(out, sizeof out);
    kit_refused(kit, expected, peal_stream_append(out, kit->bus, append));
    const struct peal_message good = { .type = "i" };
    struct peal_append both[] = { { .subject = "s", .messages = &good, .count = 1 }, *append };
    kit_refused(kit, expected, peal_stream_append_all(out, kit->bus, both, 2));
    kit_untouched(out, sizeof out);
}

static void misuse_append(struct kit *kit)
{
    static const char large[101];
    const struct peal_message good = { .type = "i" }, other = { .type = "i", .subject = "other" },
                              expects = { .type = "i", .expect = PEAL_EXPECT_NONE },
                              version = { .type = "i", .expected_version = 1 }, typeless = { 0 },
                              bad = { .type = "a..b" },
                              fat = { .type = "i", .data = large, .size = sizeof large };
    const struct {
        enum peal_err expected;
        struct peal_append append;
    } rows[] = {
        { PEAL_EINVAL, { .messages = &good, .count = 1 } },
        { PEAL_EINVAL, { .subject = "", .messages = &good, .count = 1 } },
        { PEAL_EINVAL, { .subject = "s", .count = 1 } },
        { PEAL_EINVAL, { .subject = "s", .messages = &good } },
        { PEAL_EINVAL, { .subject = "s", .messages = &other, .count = 1 } },
        { PEAL_EINVAL, { .subject = "s", .messages = &expects, .count = 1 } },
        { PEAL_EINVAL, { .subject = "s", .messages = &version, .count = 1 } },
        { PEAL_EINVAL, { .subject = "s", .messages = &typeless, .count = 1 } },
        { PEAL_EINVAL, { "s", (enum peal_expect)4, 0, &good, 1, NULL } },
        { PEAL_EINVAL, { "s", (enum peal_expect)UINT32_MAX, 0, &good, 1, NULL } },
        { PEAL_ETYPE, { .subject = "s", .messages = &bad, .count = 1 } },
        { PEAL_ELIMIT, { .subject = "s", .messages = &fat, .count = 1 } },
        { PEAL_ELIMIT, { .subject = "s", .messages = &good, .count = PEAL_BATCH_MAX + 1 } },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        append_refuses(kit, rows[i].expected, &rows[i].append);
    }
    struct peal_append fine = { .subject = "s", .messages = &good, .count = 1 };
    struct peal_appended out;
    kit_pattern(&out, sizeof out);
    kit_refused(kit, PEAL_EINVAL, peal_stream_append(&out, NULL, &fine));
    kit_refused(kit, PEAL_EINVAL, peal_stream_append(&out, kit->bus, NULL));
    kit_refused(kit, PEAL_EINVAL, peal_stream_append_all(&out, NULL, &fine, 1));
    kit_refused(kit, PEAL_EINVAL, peal_stream_append_all(&out, kit->bus, NULL, 1));
    kit_untouched(&out, sizeof out);
}

static void misuse_stream(struct kit *kit)
{
    peal_stream *stream = kit_nowhere();
    const peal_event *event = kit_nowhere();
    const struct peal_stream_query good = { .subject = "s" }, none = { 0 },
                                   empty = { .subject = "" };
    kit_refused(kit, PEAL_EINVAL, peal_stream_open(NULL, kit->bus, &good));
    kit_refused(kit, PEAL_EINVAL, peal_stream_open(&stream, NULL, &good));
    kit_refused(kit, PEAL_EINVAL, peal_stream_open(&stream, kit->bus, NULL));
    kit_refused(kit, PEAL_EINVAL, peal_stream_open(&stream, kit->bus, &none));
    kit_refused(kit, PEAL_EINVAL, peal_stream_open(&stream, kit->bus, &empty));
    assert_ptr_equal(stream, kit_nowhere());
    kit_refused(kit, PEAL_EINVAL, peal_stream_next(&event, NULL));
    assert_int_equal(peal_stream_open(&stream, kit->bus, &good), PEAL_OK);
    kit_refused(kit, PEAL_EINVAL, peal_stream_next(NULL, stream));
    kit_refused(kit, PEAL_ENOTFOUND, peal_stream_next(&event, stream));
    assert_ptr_equal(event, kit_nowhere());
    peal_stream_close(stream);
    assert_int_equal(peal_stream_cursor(NULL), 0);
    peal_stream_close(NULL);
}

// ---- aggregates ---------------------------------------------------------------------------------

static enum peal_err apply(void *state, const peal_event *event, void *context)
{
    (void)state;
    (void)event;
    (void)context;
    return PEAL_OK;
}

static size_t save(const void *state, void *out, size_t size, void *context)
{
    (void)state;
    (void)out;
    (void)size;
    (void)context;
    return SIZE_MAX;
}

static enum peal_err restore(void *state, const void *bytes, size_t size, void *context)
{
    (void)bytes;
    (void)size;
    (void)context;
    (void)state;
    return PEAL_OK;
}

static void misuse_load(struct kit *kit)
{
    peal_aggregate *aggregate = kit_nowhere();
    const struct peal_aggregate_type good = { .name = "a", .state_size = 1, .apply = apply };
    const struct peal_aggregate_type bad[] = {
        { .state_size = 1, .apply = apply },
        { .name = "", .state_size = 1, .apply = apply },
        { .name = "a/b", .state_size = 1, .apply = apply },
        { .name = "a b", .state_size = 1, .apply = apply },
        { .name = "\xc3\xa4", .state_size = 1, .apply = apply },
        { .name = "a", .apply = apply },
        { .name = "a", .state_size = 1 },
        { .name = "a", .state_size = 1, .apply = apply, .save = save },
        { .name = "a", .state_size = 1, .apply = apply, .restore = restore },
        { .struct_size = sizeof good + 1, .name = "a", .state_size = 1, .apply = apply },
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        kit_refused(kit, PEAL_EINVAL, peal_aggregate_load(&aggregate, kit->bus, &bad[i], "s"));
    }
    kit_refused(kit, PEAL_EINVAL, peal_aggregate_load(NULL, kit->bus, &good, "s"));
    kit_refused(kit, PEAL_EINVAL, peal_aggregate_load(&aggregate, NULL, &good, "s"));
    kit_refused(kit, PEAL_EINVAL, peal_aggregate_load(&aggregate, kit->bus, NULL, "s"));
    kit_refused(kit, PEAL_EINVAL, peal_aggregate_load(&aggregate, kit->bus, &good, NULL));
    kit_refused(kit, PEAL_EINVAL, peal_aggregate_load(&aggregate, kit->bus, &good, ""));
    struct peal_aggregate_type huge = good;
    huge.state_size = SIZE_MAX;
    kit_refused(kit, PEAL_ENOMEM, peal_aggregate_load(&aggregate, kit->bus, &huge, "s"));
    assert_ptr_equal(aggregate, kit_nowhere());
    // An older program's type ends before what is new.
    struct peal_aggregate_type older = good;
    older.struct_size = offsetof(struct peal_aggregate_type, init);
    assert_int_equal(peal_aggregate_load(&aggregate, kit->bus, &older, "s"), PEAL_OK);
    peal_aggregate_close(aggregate);
}

static enum peal_err decide(peal_aggregate *aggregate, void *context)
{
    (void)aggregate;
    (void)context;
    return PEAL_EREFUSED;
}

static void misuse_aggregate(struct kit *kit)
{
    const struct peal_aggregate_type type = { .name = "a", .state_size = 1, .apply = apply };
    const struct peal_message good = { .type = "i" }, other = { .type = "i", .subject = "other" };
    peal_aggregate *aggregate;
    struct peal_appended out;
    struct peal_aggregate_stats stats;
    kit_pattern(&out, sizeof out);
    kit_pattern(&stats, sizeof stats);
    assert_int_equal(peal_aggregate_load(&aggregate, kit->bus, &type, "s"), PEAL_OK);
    kit_refused(kit, PEAL_EINVAL, peal_aggregate_refresh(NULL));
    kit_refused(kit, PEAL_EINVAL, peal_aggregate_append(&out, NULL, &good, 1));
    kit_refused(kit, PEAL_EINVAL, peal_aggregate_append(&out, aggregate, NULL, 1));
    kit_refused(kit, PEAL_EINVAL, peal_aggregate_append(&out, aggregate, &good, 0));
    kit_refused(kit, PEAL_EINVAL, peal_aggregate_append(&out, aggregate, &other, 1));
    kit_refused(kit, PEAL_EINVAL, peal_aggregate_execute(NULL, 1, decide, NULL));
    kit_refused(kit, PEAL_EINVAL, peal_aggregate_execute(aggregate, 1, NULL, NULL));
    assert_int_equal(peal_aggregate_execute(aggregate, 1, decide, NULL), PEAL_EREFUSED);
    kit_refused(kit, PEAL_EINVAL, peal_aggregate_snapshot(NULL));
    kit_refused(kit, PEAL_ESTATE, peal_aggregate_snapshot(aggregate));
    kit_refused(kit, PEAL_EINVAL, peal_aggregate_stats(NULL, aggregate));
    kit_refused(kit, PEAL_EINVAL, peal_aggregate_stats(&stats, NULL));
    kit_untouched(&out, sizeof out);
    kit_untouched(&stats, sizeof stats);
    assert_null(peal_aggregate_state(NULL));
    assert_int_equal(peal_aggregate_version(NULL), 0);
    assert_string_equal(peal_aggregate_subject(NULL), "");
    peal_aggregate_close(aggregate);
    peal_aggregate_close(NULL);
}

// ---- projections --------------------------------------------------------------------------------

static void misuse_projection_open(struct kit *kit)
{
    peal_projection *projection = kit_nowhere();
    const struct peal_projection_options good = {
        .name = "p", .pattern = "i", .handler = actor_handle, .context = &kit->done
    };
    struct peal_projection_options bad[8];
    for (size_t i = 0; i < 8; i++) {
        bad[i] = good;
    }
    bad[0].name = NULL;
    bad[1].name = "";
    bad[2].name = "p@1";
    bad[3].pattern = NULL;
    bad[4].handler = NULL;
    bad[5].struct_size = sizeof good + 1;
    bad[6].spent = (enum peal_spent)4;
    bad[7].retry.coefficient = 0.5;
    for (size_t i = 0; i < 8; i++) {
        kit_refused(kit, PEAL_EINVAL, peal_projection_open(&projection, kit->bus, &bad[i]));
    }
    bad[0] = good;
    bad[0].pattern = "a..b";
    kit_refused(kit, PEAL_EPATTERN, peal_projection_open(&projection, kit->bus, &bad[0]));
    kit_refused(kit, PEAL_EINVAL, peal_projection_open(NULL, kit->bus, &good));
    kit_refused(kit, PEAL_EINVAL, peal_projection_open(&projection, NULL, &good));
    kit_refused(kit, PEAL_EINVAL, peal_projection_open(&projection, kit->bus, NULL));
    assert_ptr_equal(projection, kit_nowhere());
}

static void misuse_projection(struct kit *kit)
{
    peal_projection *projection;
    const struct peal_projection_options good = {
        .name = "p", .pattern = "nothing", .handler = actor_handle, .context = &kit->done
    };
    void *held = kit_nowhere();
    uint64_t generation;
    struct peal_projection_progress progress;
    kit_pattern(&generation, sizeof generation);
    kit_pattern(&progress, sizeof progress);
    assert_int_equal(peal_projection_open(&projection, kit->bus, &good), PEAL_OK);
    kit_look(kit);
    kit_refused(kit, PEAL_EINVAL, peal_projection_rebuild(NULL));
    kit_refused(kit, PEAL_EINVAL, peal_projection_cancel(NULL));
    kit_refused(kit, PEAL_ENOTFOUND, peal_projection_cancel(projection));
    kit_refused(kit, PEAL_EINVAL, peal_projection_wait(NULL, 0));
    kit_refused(kit, PEAL_EINVAL, peal_projection_acquire(NULL, &generation, projection));
    kit_refused(kit, PEAL_EINVAL, peal_projection_acquire(&held, NULL, projection));
    kit_refused(kit, PEAL_EINVAL, peal_projection_acquire(&held, &generation, NULL));
    kit_refused(kit, PEAL_EINVAL, peal_projection_progress(NULL, projection));
    kit_refused(kit, PEAL_EINVAL, peal_projection_progress(&progress, NULL));
    kit_untouched(&generation, sizeof generation);
    kit_untouched(&progress, sizeof progress);
    assert_ptr_equal(held, kit_nowhere());
    peal_projection_release(NULL, 1);
    peal_projection_release(projection, 1); // nobody holds it
    peal_projection_close(NULL);
    peal_projection_close(projection);
}

// ---- upcasters ----------------------------------------------------------------------------------

static enum peal_err renew(peal_upcast *upcast, void *context)
{
    (void)upcast;
    (void)context;
    return PEAL_OK;
}

static void misuse_upcast(struct kit *kit)
{
    char schema[PEAL_ATTRIBUTE_MAX + 2];
    memset(schema, 'x', sizeof schema);
    schema[sizeof schema - 1] = '\0';
    const struct peal_upcast_rule good = { .type = "i", .upcaster = renew };
    const struct {
        enum peal_err expected;
        struct peal_upcast_rule rule;
    } rows[] = {
        { PEAL_EINVAL, { .upcaster = renew } },
        { PEAL_EINVAL, { .type = "i" } },
        { PEAL_ETYPE, { .type = "", .upcaster = renew } },
        { PEAL_ETYPE, { .type = "a.*", .upcaster = renew } },
        { PEAL_ETYPE, { .type = "$peal.gap", .upcaster = renew } },
        { PEAL_ELIMIT, { .type = "i", .schema = schema, .upcaster = renew } },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        kit_refused(kit, rows[i].expected, peal_bus_upcast(kit->bus, &rows[i].rule));
    }
    kit_refused(kit, PEAL_EINVAL, peal_bus_upcast(NULL, &good));
    kit_refused(kit, PEAL_EINVAL, peal_bus_upcast(kit->bus, NULL));

    const peal_event *event = kit_nowhere(), *some = peal_delivery_event(kit->delivery);
    struct peal_upcast_stats stats;
    kit_pattern(&stats, sizeof stats);
    kit_refused(kit, PEAL_EINVAL, peal_event_upcast(NULL, kit->bus, some));
    kit_refused(kit, PEAL_EINVAL, peal_event_upcast(&event, NULL, some));
    kit_refused(kit, PEAL_EINVAL, peal_event_upcast(&event, kit->bus, NULL));
    kit_refused(kit, PEAL_EINVAL, peal_upcast_stats(NULL, kit->bus));
    kit_refused(kit, PEAL_EINVAL, peal_upcast_stats(&stats, NULL));
    kit_refused(kit, PEAL_EINVAL, peal_upcast_set_type(NULL, "i"));
    kit_refused(kit, PEAL_EINVAL, peal_upcast_set_schema(NULL, "i"));
    kit_refused(kit, PEAL_EINVAL, peal_upcast_set_data(NULL, "i", 1));
    kit_untouched(&stats, sizeof stats);
    assert_ptr_equal(event, kit_nowhere());
    assert_null(peal_upcast_event(NULL));
}

// ---- the table ----------------------------------------------------------------------------------

static const struct misuse_row table[] = {
    { "peal_stream_append", misuse_append },
    { "peal_stream_append_all", misuse_append },
    { "peal_stream_open", misuse_stream },
    { "peal_stream_next", misuse_stream },
    { "peal_stream_cursor", misuse_stream },
    { "peal_stream_close", misuse_stream },

    { "peal_aggregate_load", misuse_load },
    { "peal_aggregate_state", misuse_aggregate },
    { "peal_aggregate_version", misuse_aggregate },
    { "peal_aggregate_subject", misuse_aggregate },
    { "peal_aggregate_refresh", misuse_aggregate },
    { "peal_aggregate_append", misuse_aggregate },
    { "peal_aggregate_execute", misuse_aggregate },
    { "peal_aggregate_snapshot", misuse_aggregate },
    { "peal_aggregate_stats", misuse_aggregate },
    { "peal_aggregate_close", misuse_aggregate },

    { "peal_projection_open", misuse_projection_open },
    { "peal_projection_rebuild", misuse_projection },
    { "peal_projection_cancel", misuse_projection },
    { "peal_projection_wait", misuse_projection },
    { "peal_projection_acquire", misuse_projection },
    { "peal_projection_release", misuse_projection },
    { "peal_projection_progress", misuse_projection },
    { "peal_projection_close", misuse_projection },

    { "peal_upcast_event", misuse_upcast },
    { "peal_upcast_set_type", misuse_upcast },
    { "peal_upcast_set_schema", misuse_upcast },
    { "peal_upcast_set_data", misuse_upcast },
    { "peal_bus_upcast", misuse_upcast },
    { "peal_event_upcast", misuse_upcast },
    { "peal_upcast_stats", misuse_upcast },
};

#define ROWS (sizeof table / sizeof table[0])

static void every_function_refuses_what_makes_no_sense_and_changes_nothing(void **state)
{
    (void)state;
    misuse_all(table, ROWS);
}

static void the_table_has_every_function_of_the_header(void **state)
{
    (void)state;
    size_t missing = 0;
    assert_int_equal(misuse_compare("sourcing.h", table, ROWS, &missing), ROWS);
    assert_int_equal(missing, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_function_refuses_what_makes_no_sense_and_changes_nothing),
        cmocka_unit_test(the_table_has_every_function_of_the_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
