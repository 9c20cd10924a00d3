// SPDX-License-Identifier: MIT
//
// No memory: each call of event sourcing is made again and again, and its n-th allocation is
// refused, once or from then on, for every n there is. It says PEAL_ENOMEM and has changed nothing,
// or it succeeds all the same; and afterwards everything works.
#include "sourcing_account.h"

// ---- what is there before each call -------------------------------------------------------------

struct ground {
    struct stage stage;
    struct peal_aggregate_type type;
    peal_aggregate *aggregate;
    peal_projection *projection;
    struct diary diary, old;
    bool failing; // this round may fail
};

static enum peal_err renew(peal_upcast *upcast, void *context)
{
    (void)context;
    enum peal_err err = peal_upcast_set_schema(upcast, "2");
    if (!err) {
        err = peal_upcast_set_type(upcast, "in");
    }
    return err ? err : peal_upcast_set_data(upcast, "3", 1);
}

static size_t save(const void *state, void *out, size_t size, void *context)
{
    (void)context;
    if (size >= sizeof(struct account)) {
        memcpy(out, state, sizeof(struct account));
    }
    return sizeof(struct account);
}

static enum peal_err restore(void *state, const void *bytes, size_t size, void *context)
{
    (void)context;
    if (size != sizeof(struct account)) {
        return PEAL_EINVAL;
    }
    memcpy(state, bytes, size);
    return PEAL_OK;
}

static void open_ground(struct ground *ground)
{
    *ground = (struct ground){ 0 };
    stage_open(&ground->stage, 1, PEAL_NO_WORKERS);
    ground->type = account_type;
    ground->type.save = save;
    ground->type.restore = restore;
    peal_bus *bus = ground->stage.bus;
    struct peal_upcast_rule rule = { .type = "old", .upcaster = renew };
    assert_int_equal(peal_bus_upcast(bus, &rule), PEAL_OK);
    ground->aggregate = account_load(bus, &ground->type, "s");
    struct peal_message messages[] = { account_message("old", "x"), account_message("in", "2") };
    assert_int_equal(peal_aggregate_append(NULL, ground->aggregate, messages, 2), PEAL_OK);
    assert_int_equal(peal_aggregate_snapshot(ground->aggregate), PEAL_OK);
    assert_int_equal(peal_aggregate_append(NULL, ground->aggregate, messages, 1), PEAL_OK);
    struct peal_projection_options options = {
        .name = "p", .pattern = "in", .handler = diary_write, .context = &ground->diary
    };
    assert_int_equal(peal_projection_open(&ground->projection, bus, &options), PEAL_OK);
    peal_world_settle(ground->stage.world);
}

static void close_ground(struct ground *ground)
{
    peal_projection_close(ground->projection);
    peal_aggregate_close(ground->aggregate);
    stage_close(&ground->stage);
}

// The aggregate, loaded anew, is what the stream says; so is the old one.
static void check_it_works(struct ground *ground)
{
    peal_bus *bus = ground->stage.bus;
    struct peal_aggregate_type plain = ground->type;
    plain.name = "plain";
    peal_aggregate *fresh = account_load(bus, &ground->type, "s");
    peal_aggregate *expected = account_load(bus, &plain, "s");
    assert_int_equal(peal_aggregate_refresh(ground->aggregate), PEAL_OK);
    assert_memory_equal(account_of(fresh), account_of(expected), sizeof(struct account));
    assert_memory_equal(account_of(ground->aggregate), account_of(expected),
                        sizeof(struct account));
    peal_aggregate_close(fresh);
    peal_aggregate_close(expected);
    peal_world_advance(ground->stage.world, 1000);
    unsigned before = ground->diary.count;
    account_append(bus, "t", "in", 1);
    peal_world_advance(ground->stage.world, 1000);
    assert_int_equal(ground->diary.count, before + 1);
}

// ---- the calls ----------------------------------------------------------------------------------

typedef enum peal_err call(struct ground *ground);
typedef void arrange(struct ground *ground);

static enum peal_err append_many(struct ground *ground)
{
    struct peal_message messages[] = { account_message("in", "1"), account_message("n.e.w", "1") };
    struct peal_append both[] = { { .subject = "t", .messages = messages, .count = 2 },
                                  { .subject = "u", .messages = messages, .count = 1 } };
    struct peal_appended out[2] = { { 77, 77, 77 }, { 77, 77, 77 } };
    enum peal_err err = peal_stream_append_all(out, ground->stage.bus, both, 2);
    uint64_t version;
    assert_int_equal(peal_stream_version(&version, ground->stage.bus, "u"), PEAL_OK);
    assert_int_equal(version, err ? 0 : 1);
    assert_int_equal(out[1].version, err ? 77 : 1);
    return err;
}

static enum peal_err read_a_stream(struct ground *ground)
{
    peal_stream *stream = NULL;
    struct peal_stream_query query = { .subject = "s", .from_version = 1 };
    enum peal_err err = peal_stream_open(&stream, ground->stage.bus, &query);
    unsigned events = 0;
    const peal_event *event;
    enum peal_err end = err;
    while (!err && (end = peal_stream_next(&event, stream)) != PEAL_ENOTFOUND) {
        // One that could not be made newer is passed over, and said to be.
        assert_true(end == PEAL_OK || end == PEAL_ENOMEM);
        err = PEAL_OK;
        ground->failing = ground->failing || end;
        events++;
    }
    assert_int_equal(events, err ? 0 : 3);
    peal_stream_close(stream);
    return err ? err : ground->failing ? PEAL_ENOMEM : PEAL_OK;
}

static enum peal_err load(struct ground *ground)
{
    peal_aggregate *aggregate = NULL;
    enum peal_err err = peal_aggregate_load(&aggregate, ground->stage.bus, &ground->type, "s");
    if (!err) {
        assert_int_equal(account_of(aggregate)->balance, 8);
        peal_aggregate_close(aggregate);
    } else {
        assert_null(aggregate);
    }
    return err;
}

static void have_more(struct ground *ground)
{
    account_append(ground->stage.bus, "s", "old", 1);
}

static enum peal_err refresh(struct ground *ground)
{
    enum peal_err err = peal_aggregate_refresh(ground->aggregate);
    assert_int_equal(peal_aggregate_version(ground->aggregate) == 4, err == PEAL_OK);
    return err;
}

static enum peal_err append(struct ground *ground)
{
    struct peal_message message = account_message("old", "1");
    uint64_t before, after;
    assert_int_equal(peal_stream_version(&before, ground->stage.bus, "s"), PEAL_OK);
    enum peal_err err = peal_aggregate_append(NULL, ground->aggregate, &message, 1);
    assert_int_equal(peal_stream_version(&after, ground->stage.bus, "s"), PEAL_OK);
    assert_int_equal(after, before + (err ? 0 : 1));
    if (!err && peal_aggregate_version(ground->aggregate) < after) {
        ground->failing = true; // appended, and not applied
        return PEAL_ENOMEM;
    }
    return err;
}

static enum peal_err snapshot(struct ground *ground)
{
    uint64_t taken = account_stats(ground->aggregate).snapshots_taken;
    enum peal_err err = peal_aggregate_snapshot(ground->aggregate);
    assert_int_equal(account_stats(ground->aggregate).snapshots_taken, taken + (err ? 0 : 1));
    return err;
}

static enum peal_err open_a_projection(struct ground *ground)
{
    static struct diary diary;
    diary_clear(&diary);
    peal_projection *projection = NULL;
    struct peal_projection_options options = { .name = "q",
                                               .pattern = "in",
                                               .handler = diary_write,
                                               .context = &diary,
                                               .label = "label",
                                               .retry = { .non_retryable = "a,b" } };
    enum peal_err err = peal_projection_open(&projection, ground->stage.bus, &options);
    if (!err) {
        peal_projection_close(projection);
    } else {
        assert_null(projection);
    }
    return err;
}

static enum peal_err rebuild(struct ground *ground)
{
    enum peal_err err = peal_projection_rebuild(ground->projection);
    struct peal_projection_progress progress;
    assert_int_equal(peal_projection_progress(&progress, ground->projection), PEAL_OK);
    assert_int_equal(progress.building, err ? 0 : 2);
    return err;
}

static enum peal_err add_a_rule(struct ground *ground)
{
    struct peal_upcast_stats before, after;
    struct peal_upcast_rule rule = { .type = "other", .schema = "1", .upcaster = renew };
    assert_int_equal(peal_upcast_stats(&before, ground->stage.bus), PEAL_OK);
    enum peal_err err = peal_bus_upcast(ground->stage.bus, &rule);
    assert_int_equal(peal_upcast_stats(&after, ground->stage.bus), PEAL_OK);
    assert_int_equal(after.rules, before.rules + (err ? 0 : 1));
    return err;
}

// The first rule of a bus makes more than a rule.
static enum peal_err add_the_first_rule(struct ground *ground)
{
    peal_bus *bus = NULL;
    struct peal_bus_options options = { .world = ground->stage.world, .workers = PEAL_NO_WORKERS };
    enum peal_err err = peal_bus_open(&bus, "mem:", &options);
    if (err) {
        return err;
    }
    struct peal_upcast_rule rule = { .type = "old", .upcaster = renew };
    err = peal_bus_upcast(bus, &rule);
    peal_bus_close(bus);
    return err;
}

static enum peal_err make_newer(struct ground *ground)
{
    struct peal_query query = { .pattern = "old" };
    peal_reader *reader = NULL;
    const peal_event *event, *newest = NULL;
    enum peal_err err = peal_reader_open(&reader, ground->stage.bus, &query);
    if (!err) {
        err = peal_reader_next(&event, reader);
    }
    if (!err) {
        err = peal_event_upcast(&newest, ground->stage.bus, event);
    }
    peal_event_unref(newest);
    peal_reader_close(reader);
    return err;
}

// A handler that cannot be given the newest form yet is given it later.
static enum peal_err deliver(struct ground *ground)
{
    struct peal_message message = account_message("old", "7");
    enum peal_err err = peal_publish(ground->stage.bus, &message, NULL);
    if (err) {
        return err;
    }
    peal_world_settle(ground->stage.world);
    peal_world_fail_allocation(ground->stage.world, 0, false);
    peal_world_advance(ground->stage.world, 60000);
    assert_string_equal(ground->old.text, "3");
    assert_int_equal(stage_stats(&ground->stage).dead_letters, 0);
    return PEAL_OK;
}

static void hear_the_old(struct ground *ground)
{
    stage_subscribe(&ground->stage, "old", NULL, diary_write, &ground->old);
}

static const struct {
    const char *name;
    call *call;
    arrange *before;
} calls[] = {
    { "append_many", append_many, NULL },
    { "read_a_stream", read_a_stream, NULL },
    { "load", load, NULL },
    { "refresh", refresh, have_more },
    { "append", append, NULL },
    { "snapshot", snapshot, NULL },
    { "open_a_projection", open_a_projection, NULL },
    { "rebuild", rebuild, NULL },
    { "add_a_rule", add_a_rule, NULL },
    { "add_the_first_rule", add_the_first_rule, NULL },
    { "make_newer", make_newer, NULL },
    { "deliver", deliver, hear_the_old },
};

// One round; `nth` 0: nothing is refused. Returns how many allocations the call was given.
static uint64_t run_round(size_t i, uint64_t nth, bool for_ever)
{
    struct ground ground;
    open_ground(&ground);
    peal_world *world = ground.stage.world;
    if (calls[i].before) {
        calls[i].before(&ground);
    }
    uint64_t before = peal_world_allocations(world);
    peal_world_fail_allocation(world, nth, for_ever);
    enum peal_err err = calls[i].call(&ground);
    peal_world_fail_allocation(world, 0, false);
    uint64_t given = peal_world_allocations(world) - before;
    assert_true(err == PEAL_OK || (err == PEAL_ENOMEM && nth > 0));
    check_it_works(&ground);
    close_ground(&ground);
    return given;
}

static void every_call_survives_every_allocation_that_fails(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        uint64_t allocations = run_round(i, 0, false);
        print_message("%s: %llu allocations\n", calls[i].name, (unsigned long long)allocations);
        assert_true(allocations > 0);
        for (uint64_t nth = 1; nth <= allocations; nth++) {
            (void)run_round(i, nth, false); // how many it was given then does not matter
            (void)run_round(i, nth, true);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_survives_every_allocation_that_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
