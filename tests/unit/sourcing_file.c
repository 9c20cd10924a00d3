// SPDX-License-Identifier: MIT
//
// Event sourcing on file: what was appended is there when the log is opened again, with its
// versions and snapshots; after a power cut the state is what is left of the events; damage is not
// passed over.
#include "sourcing_account.h"

#include "support/scene.h"
#include "support/wreck.h"

#define LOG "file:./events?segment_bytes=64k&memory_max=1M&data_max=256k"

static struct peal_aggregate_type every(uint64_t events)
{
    struct peal_aggregate_type type = account_type;
    type.snapshot_every = events;
    return type;
}

// Appends events of "in" with these amounts, one at a time; data that makes files end often.
static void deposit(peal_aggregate *aggregate, unsigned first, unsigned last,
                    enum peal_durability durability)
{
    for (unsigned i = first; i <= last; i++) {
        char data[500];
        memset(data, ' ', sizeof data);
        int length = snprintf(data, sizeof data, "%u", i);
        data[length] = ' ';
        struct peal_message message = {
            .type = "in", .data = data, .size = 12, .durability = durability
        };
        struct peal_pair filler = { "filler", data };
        data[sizeof data - 1] = '\0';
        message.metadata = &filler;
        message.metadata_count = 1;
        assert_int_equal(peal_aggregate_append(NULL, aggregate, &message, 1), PEAL_OK);
    }
}

// The state through snapshots is the one without, and of so many events.
static struct peal_aggregate_stats check_load(struct scene *scene,
                                              const struct peal_aggregate_type *type,
                                              const char *subject, uint64_t version)
{
    struct peal_aggregate_type plain = *type;
    plain.name = "plain";
    peal_aggregate *without = account_load(scene->bus, &plain, subject);
    peal_aggregate *with = account_load(scene->bus, type, subject);
    assert_memory_equal(account_of(with), account_of(without), sizeof(struct account));
    assert_int_equal(peal_aggregate_version(with), version);
    assert_int_equal(account_of(with)->events, version);
    assert_int_equal(account_of(with)->balance, version * (version + 1) / 2);
    struct peal_aggregate_stats stats = account_stats(with);
    assert_int_equal(stats.applied + stats.snapshot_version, version);
    peal_aggregate_close(with);
    peal_aggregate_close(without);
    return stats;
}

static void an_aggregate_goes_on_when_the_log_is_opened_again(void **state)
{
    (void)state;
    struct scene scene;
    struct peal_aggregate_type type = every(100);
    scene_open_url(&scene, 1, LOG, NULL);
    for (unsigned round = 0; round < 4; round++) {
        peal_aggregate *aggregate = account_load(scene.bus, &type, "s");
        peal_aggregate *other = account_load(scene.bus, &type, "t");
        assert_int_equal(peal_aggregate_version(aggregate), round * 250);
        deposit(aggregate, round * 250 + 1, round * 250 + 250, 0);
        deposit(other, round * 10 + 1, round * 10 + 10, 0);
        peal_aggregate_close(aggregate);
        peal_aggregate_close(other);
        for (int again = 0; again < 2; again++) {
            struct peal_aggregate_stats stats =
                check_load(&scene, &type, "s", (round + 1) * 250ULL);
            assert_int_equal(stats.snapshot_version, (round + 1) * 250 / 100 * 100);
            assert_int_equal(stats.snapshots_ignored, 0);
            (void)check_load(&scene, &type, "t", (round + 1) * 10ULL);
            scene_again(&scene, LOG, NULL);
        }
    }
    struct peal_message message = account_message("in", "1");
    struct peal_append append = { .subject = "s",
                                  .expect = PEAL_EXPECT_VERSION,
                                  .expected_version = 999,
                                  .messages = &message,
                                  .count = 1 };
    struct peal_appended out;
    assert_int_equal(peal_stream_append(&out, scene.bus, &append), PEAL_ECONFLICT);
    assert_int_equal(out.version, 1000);
    scene_close(&scene);
}

// The version has to be looked up: once to see the conflict, and once to say it.
static void without_memory_a_conflict_is_said_with_its_version_or_not_at_all(void **state)
{
    (void)state;
    struct scene scene;
    scene_open_url(&scene, 1, LOG, NULL);
    const struct peal_message message = { .type = "a" };
    struct peal_append append = { .subject = "s", .messages = &message, .count = 1 };
    assert_int_equal(peal_stream_append(NULL, scene.bus, &append), PEAL_OK);
    append.expect = PEAL_EXPECT_NONE;
    enum peal_err err = PEAL_ENOMEM;
    for (uint64_t nth = 1; err == PEAL_ENOMEM; nth++) {
        scene_again(&scene, LOG, NULL);
        struct peal_appended out = { .version = 77 };
        assert_true(nth < 1000);
        peal_world_fail_allocation(scene.world, nth, true);
        err = peal_stream_append(&out, scene.bus, &append);
        peal_world_fail_allocation(scene.world, 0, false);
        assert_int_equal(out.version, err == PEAL_ECONFLICT ? 1 : 77);
    }
    assert_int_equal(err, PEAL_ECONFLICT);
    scene_close(&scene);
}

static void streams_in_many_files_are_read_from_a_version_on(void **state)
{
    (void)state;
    struct scene scene;
    struct peal_aggregate_type type = every(0);
    scene_open_url(&scene, 1, LOG, NULL);
    peal_aggregate *some[7];
    for (unsigned i = 0; i < 7; i++) {
        char subject[8];
        (void)snprintf(subject, sizeof subject, "s%u", i);
        some[i] = account_load(scene.bus, &type, subject);
    }
    for (unsigned n = 1; n <= 300; n++) {
        for (unsigned i = 0; i < 7; i++) {
            deposit(some[i], n, n, 0);
        }
    }
    for (unsigned i = 0; i < 7; i++) {
        peal_aggregate_close(some[i]);
    }
    scene_again(&scene, LOG, NULL);
    for (int backwards = 0; backwards < 2; backwards++) {
        struct peal_stream_query query = {
            .subject = "s3", .from_version = 150, .backwards = backwards, .limit = 40
        };
        uint64_t version = 150;
        unsigned events = 0;
        for (unsigned page = 0; page < 5; page++) {
            peal_stream *stream;
            const peal_event *event;
            assert_int_equal(peal_stream_open(&stream, scene.bus, &query), PEAL_OK);
            while (peal_stream_next(&event, stream) == PEAL_OK) {
                assert_int_equal(peal_event_stream_version(event), version);
                assert_int_equal(number_of(event), version);
                version = backwards ? version - 1 : version + 1;
                events++;
            }
            query.after = peal_stream_cursor(stream);
            peal_stream_close(stream);
        }
        assert_int_equal(events, backwards ? 150 : 151);
    }
    scene_close(&scene);
}

static void after_a_power_cut_the_state_is_what_is_left_of_the_events(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= effort(60); seed++) {
        struct scene scene;
        struct peal_aggregate_type type = every(10);
        scene_open_url(&scene, seed, LOG, NULL);
        uint64_t version = 0;
        for (int round = 0; round < 4; round++) {
            peal_aggregate *aggregate = account_load(scene.bus, &type, "s");
            assert_int_equal(peal_aggregate_version(aggregate), version);
            uint64_t certain = version;
            for (uint64_t more = peal_world_random(scene.world) % 60; more > 0; more--) {
                bool sure = peal_world_random(scene.world) % 16 == 0;
                version++;
                deposit(aggregate, (unsigned)version, (unsigned)version,
                        sure ? PEAL_DURABILITY_DISK : PEAL_DURABILITY_MEMORY);
                certain = sure ? version : certain;
                if (peal_world_random(scene.world) % 8 == 0) {
                    peal_world_advance(scene.world, 60);
                }
            }
            peal_world_crash(scene.world);
            peal_aggregate_close(aggregate);
            scene_again(&scene, LOG, NULL);
            uint64_t left;
            assert_int_equal(peal_stream_version(&left, scene.bus, "s"), PEAL_OK);
            assert_in_range(left, certain, version);
            struct peal_aggregate_stats stats = check_load(&scene, &type, "s", left);
            assert_int_equal(stats.snapshots_ignored, 0); // it follows its events into the log
            version = left;
        }
        scene_close(&scene);
    }
}

// ---- what is forgotten --------------------------------------------------------------------------

static void a_snapshot_stands_for_files_that_are_forgotten(void **state)
{
    (void)state;
    static const char url[] = LOG "&history_bytes=256k";
    struct scene scene;
    struct peal_aggregate_type type = every(100), other = every(0);
    other.name = "other";
    scene_open_url(&scene, 1, url, NULL);
    peal_aggregate *aggregate = account_load(scene.bus, &type, "s");
    deposit(aggregate, 1, 9000, 0); // what to forget is looked for every 4,096 events
    peal_aggregate_close(aggregate);
    for (int again = 0; again < 2; again++) {
        peal_world_advance(scene.world, 10000);
        assert_true(scene_stats(&scene).first_position > 1000);
        aggregate = account_load(scene.bus, &type, "s");
        assert_int_equal(account_of(aggregate)->balance, 9000 * 9001 / 2);
        assert_int_equal(account_stats(aggregate).snapshot_version, 9000);
        peal_aggregate_close(aggregate);
        aggregate = NULL;
        assert_int_equal(peal_aggregate_load(&aggregate, scene.bus, &other, "s"), PEAL_ENOTFOUND);
        assert_non_null(strstr(peal_error_sentence(), "version 1 "));
        assert_null(aggregate);
        scene_again(&scene, url, NULL);
    }
    scene_close(&scene);
}

// ---- a log that another process writes ----------------------------------------------------------

static void who_only_reads_follows_what_is_appended(void **state)
{
    (void)state;
    struct scene scene;
    struct peal_aggregate_type type = every(10);
    scene_open_url(&scene, 1, LOG, NULL);
    peal_aggregate *writer = account_load(scene.bus, &type, "s");
    deposit(writer, 1, 25, 0);
    peal_bus *bus;
    struct peal_bus_options options = { .world = scene.world,
                                        .workers = PEAL_NO_WORKERS,
                                        .read_only = true };
    assert_int_equal(peal_bus_open(&bus, LOG, &options), PEAL_OK);
    peal_aggregate *reader = account_load(bus, &type, "s");
    assert_int_equal(account_of(reader)->events, 25);
    for (unsigned i = 26; i <= 60; i++) {
        deposit(writer, i, i, 0);
        assert_int_equal(peal_aggregate_refresh(reader), PEAL_OK);
        assert_int_equal(account_of(reader)->events, i);
        assert_memory_equal(account_of(reader), account_of(writer), sizeof(struct account));
    }
    struct peal_message message = account_message("in", "1");
    assert_int_equal(peal_aggregate_append(NULL, reader, &message, 1), PEAL_EUNSUPPORTED);
    assert_int_equal(peal_aggregate_snapshot(reader), PEAL_EUNSUPPORTED);
    peal_aggregate_close(reader);
    peal_bus_close(bus);
    peal_aggregate_close(writer);
    scene_close(&scene);
}

// ---- damage -------------------------------------------------------------------------------------

// A stream of so many events, closed, with a snapshot at each multiple of `snapshots`.
static void write_stream(struct scene *scene, uint64_t snapshots, unsigned events)
{
    struct peal_aggregate_type type = every(snapshots);
    scene_open_url(scene, 1, LOG, NULL);
    peal_aggregate *aggregate = account_load(scene->bus, &type, "s");
    for (unsigned i = 1; i <= events; i++) {
        char data[32];
        (void)snprintf(data, sizeof data, "%u and some more;", i);
        struct peal_message message = account_message("in", data);
        assert_int_equal(peal_aggregate_append(NULL, aggregate, &message, 1), PEAL_OK);
    }
    peal_aggregate_close(aggregate);
    peal_bus_close(scene->bus);
    scene->bus = NULL;
}

static void a_damaged_event_is_an_error_unless_a_snapshot_stands_for_it(void **state)
{
    (void)state;
    for (int behind = 0; behind < 2; behind++) { // the damage is behind the snapshot
        struct scene scene;
        struct peal_aggregate_type type = every(0);
        write_stream(&scene, 30, 50);
        wreck_flip(scene.world, "events", behind ? "41 and some more;" : "21 and some more;");
        scene_again(&scene, LOG, NULL);
        peal_aggregate *aggregate = NULL;
        type.name = "plain";
        assert_int_equal(peal_aggregate_load(&aggregate, scene.bus, &type, "s"), PEAL_ECORRUPT);
        assert_non_null(strstr(peal_error_sentence(), behind ? "version 41" : "version 21"));
        assert_null(aggregate);
        type.name = "account";
        enum peal_err err = peal_aggregate_load(&aggregate, scene.bus, &type, "s");
        assert_int_equal(err, behind ? PEAL_ECORRUPT : PEAL_OK);
        if (!err) {
            assert_int_equal(account_of(aggregate)->events, 50);
            assert_int_equal(account_stats(aggregate).snapshot_version, 30);
            assert_int_equal(account_stats(aggregate).snapshots_ignored, 0);
            peal_aggregate_close(aggregate);
        }
        scene_close(&scene);
    }
}

// A state as text, so that it can be found in the files.
static size_t save(const void *state, void *out, size_t size, void *context)
{
    (void)context;
    const struct account *account = state;
    char text[64];
    int length = snprintf(text, sizeof text, "the state of %llu events: %lld;",
                          (unsigned long long)account->events, (long long)account->balance);
    if (out && size >= (size_t)length) {
        memcpy(out, text, (size_t)length);
    }
    return (size_t)length;
}

static enum peal_err restore(void *state, const void *bytes, size_t size, void *context)
{
    (void)context;
    struct account *account = state;
    char text[64];
    (void)snprintf(text, sizeof text, "%.*s", (int)size, (const char *)bytes);
    unsigned long long events;
    long long balance;
    if (sscanf(text, "the state of %llu events: %lld;", &events, &balance) != 2) { // NOLINT
        return PEAL_ECORRUPT;
    }
    account->events = events;
    account->balance = balance;
    return PEAL_OK;
}

static void a_damaged_snapshot_is_passed_over_and_counted(void **state)
{
    (void)state;
    struct scene scene;
    struct peal_aggregate_type type = every(0);
    type.save = save;
    type.restore = restore;
    scene_open_url(&scene, 1, LOG, NULL);
    peal_aggregate *aggregate = account_load(scene.bus, &type, "s");
    for (unsigned i = 1; i <= 50; i++) {
        deposit(aggregate, i, i, 0);
        if (i % 20 == 0) {
            assert_int_equal(peal_aggregate_snapshot(aggregate), PEAL_OK);
        }
    }
    peal_aggregate_close(aggregate);
    wreck_flip(scene.world, "events", "the state of 40 events");
    for (int i = 0; i < 3000; i++) { // until it is in the files only
        char noise[600] = { 0 };
        struct peal_message message = { .type = "noise", .data = noise, .size = sizeof noise };
        assert_int_equal(peal_publish(scene.bus, &message, NULL), PEAL_OK);
    }
    struct peal_aggregate_stats stats = check_load(&scene, &type, "s", 50);
    assert_int_equal(stats.snapshot_version, 20);
    assert_int_equal(stats.snapshots_ignored, 1);
    assert_true(scene_said(&scene, PEAL_LEVEL_WARNING, "left alone"));
    scene_again(&scene, LOG, NULL);
    assert_int_equal(check_load(&scene, &type, "s", 50).snapshot_version, 20);
    scene_close(&scene);
}

// ---- projections and upcasters ------------------------------------------------------------------

static enum peal_err renew(peal_upcast *upcast, void *context)
{
    (void)context;
    enum peal_err err = peal_upcast_set_schema(upcast, "2");
    return err ? err : peal_upcast_set_data(upcast, "7", 1);
}

static enum peal_verdict add_up(const peal_event *event, void *context)
{
    *(uint64_t *)context += number_of(event);
    return PEAL_DONE;
}

static void projections_and_upcasters_read_what_is_in_the_files(void **state)
{
    (void)state;
    struct scene scene;
    struct peal_aggregate_type type = every(0);
    write_stream(&scene, 0, 2000);
    scene_again(&scene, LOG, NULL);
    struct peal_upcast_rule rule = { .type = "in", .upcaster = renew };
    assert_int_equal(peal_bus_upcast(scene.bus, &rule), PEAL_OK);
    uint64_t sum = 0;
    struct peal_projection_options options = {
        .name = "sum", .pattern = "in", .handler = add_up, .context = &sum
    };
    peal_projection *projection;
    assert_int_equal(peal_projection_open(&projection, scene.bus, &options), PEAL_OK);
    peal_world_settle(scene.world);
    assert_int_equal(sum, 2000 * 7);
    sum = 0;
    assert_int_equal(peal_projection_rebuild(projection), PEAL_OK);
    peal_world_settle(scene.world);
    assert_int_equal(sum, 2000 * 7);
    struct peal_projection_progress progress;
    assert_int_equal(peal_projection_progress(&progress, projection), PEAL_OK);
    assert_int_equal(progress.generation, 2);
    assert_int_equal(progress.building, 0);
    peal_projection_close(projection);
    peal_aggregate *aggregate = account_load(scene.bus, &type, "s");
    assert_int_equal(account_of(aggregate)->balance, 2000 * 7);
    peal_aggregate_close(aggregate);
    scene_close(&scene);
}

// ---- projections whose state is kept ------------------------------------------------------------

// Sums by generation, as if they lay in a database: each with the position it has come to.
struct kept {
    uint64_t sum[8], seen[8];
    unsigned created, destroyed;
    bool alive[8];
};

struct kept_page {
    struct kept *kept;
    uint64_t generation;
};

static enum peal_err create_kept(void **state, uint64_t generation, void *context)
{
    struct kept *kept = context;
    assert_in_range(generation, 1, 7);
    struct kept_page *page = test_malloc(sizeof *page);
    *page = (struct kept_page){ kept, generation };
    if (!kept->alive[generation]) {
        kept->sum[generation] = kept->seen[generation] = 0;
        kept->alive[generation] = true;
    }
    kept->created++;
    *state = page;
    return PEAL_OK;
}

static void destroy_kept(void *state, uint64_t generation, void *context)
{
    struct kept *kept = context;
    assert_true(kept->alive[generation]);
    kept->destroyed++;
    test_free(state);
}

static void drop_kept(uint64_t generation, void *context)
{
    ((struct kept *)context)->alive[generation] = false;
}

// Each event once: after a crash some come again.
static enum peal_verdict add_kept(const peal_event *event, void *state)
{
    const struct kept_page *page = state;
    struct kept *kept = page->kept;
    uint64_t position = peal_event_position(event);
    assert_true(kept->alive[page->generation]);
    if (position > kept->seen[page->generation]) {
        kept->seen[page->generation] = position;
        kept->sum[page->generation] += number_of(event);
    }
    return PEAL_DONE;
}

static struct peal_projection_options kept_options(struct kept *kept)
{
    return (struct peal_projection_options){ .name = "kept",
                                             .pattern = "n",
                                             .handler = add_kept,
                                             .context = kept,
                                             .create = create_kept,
                                             .destroy = destroy_kept,
                                             .forget = drop_kept,
                                             .durable = true };
}

static void publish_numbers(struct scene *scene, unsigned first, unsigned last)
{
    for (unsigned i = first; i <= last; i++) {
        char data[16];
        (void)snprintf(data, sizeof data, "%u", i);
        scene_publish(scene, "n", NULL, data);
    }
}

static struct peal_projection_progress look(peal_projection *projection)
{
    struct peal_projection_progress progress;
    assert_int_equal(peal_projection_progress(&progress, projection), PEAL_OK);
    return progress;
}

static uint64_t sum_to(uint64_t last)
{
    return last * (last + 1) / 2;
}

static void a_durable_projection_goes_on_when_the_log_is_opened_again(void **state)
{
    (void)state;
    struct scene scene;
    struct kept kept = { 0 };
    const struct peal_projection_options options = kept_options(&kept);
    scene_open_url(&scene, 1, LOG, NULL);
    publish_numbers(&scene, 1, 100);
    peal_projection *projection;
    for (unsigned round = 1; round <= 4; round++) {
        assert_int_equal(peal_projection_open(&projection, scene.bus, &options), PEAL_OK);
        uint64_t generation = look(projection).generation;
        assert_int_equal(generation, round <= 2 ? 1 : round - 1);
        peal_world_settle(scene.world);
        assert_int_equal(kept.sum[generation], sum_to(round * 100ULL));
        if (round >= 2) {
            assert_int_equal(peal_projection_rebuild(projection), PEAL_OK);
            peal_world_settle(scene.world);
            assert_int_equal(look(projection).generation, round);
            assert_false(kept.alive[round - 1]);
            assert_int_equal(kept.sum[round], sum_to(round * 100ULL));
        }
        peal_projection_close(projection);
        publish_numbers(&scene, round * 100 + 1, round * 100 + 100);
        scene_again(&scene, LOG, NULL);
    }
    assert_int_equal(kept.created, kept.destroyed);
    scene_close(&scene);
}

static void after_a_power_cut_in_a_rebuild_the_old_one_serves_or_the_new_one_does(void **state)
{
    (void)state;
    unsigned olds = 0, news = 0;
    for (uint64_t seed = 1; seed <= effort(100); seed++) {
        struct scene scene;
        struct kept kept = { 0 };
        const struct peal_projection_options options = kept_options(&kept);
        scene_open_url(&scene, seed, LOG, NULL);
        publish_numbers(&scene, 1, 300);
        peal_projection *projection;
        assert_int_equal(peal_projection_open(&projection, scene.bus, &options), PEAL_OK);
        peal_world_settle(scene.world);
        struct peal_message sure = { .type = "x", .durability = PEAL_DURABILITY_DISK };
        assert_int_equal(peal_publish(scene.bus, &sure, NULL), PEAL_OK);
        peal_world_advance(scene.world, 200); // its place is saved
        assert_int_equal(peal_projection_rebuild(projection), PEAL_OK);
        assert_int_equal(
            peal_bus_dispatch(scene.bus, 1 + peal_world_random(scene.world) % 400, NULL), PEAL_OK);
        bool switched = look(projection).generation == 2;
        if (peal_world_random(scene.world) % 2) {
            peal_world_advance(scene.world, 200);
            switched = look(projection).generation == 2;
        }
        peal_world_crash(scene.world);
        peal_projection_close(projection); // its name cannot be forgotten any more
        scene_again(&scene, LOG, NULL);

        assert_int_equal(peal_projection_open(&projection, scene.bus, &options), PEAL_OK);
        uint64_t generation = look(projection).generation;
        assert_true(generation == 1 || generation == 2);
        assert_true(switched || generation == 1);
        olds += generation == 1;
        news += generation == 2;
        peal_world_settle(scene.world);
        publish_numbers(&scene, 301, 310);
        peal_world_settle(scene.world); // it is not paused for ever
        assert_int_equal(kept.sum[generation], sum_to(310));
        peal_projection_close(projection);
        assert_int_equal(kept.created, kept.destroyed);
        scene_close(&scene);
    }
    if (effort(100) >= 50) {
        assert_true(olds > 0 && news > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_aggregate_goes_on_when_the_log_is_opened_again),
        cmocka_unit_test(without_memory_a_conflict_is_said_with_its_version_or_not_at_all),
        cmocka_unit_test(streams_in_many_files_are_read_from_a_version_on),
        cmocka_unit_test(after_a_power_cut_the_state_is_what_is_left_of_the_events),
        cmocka_unit_test(a_snapshot_stands_for_files_that_are_forgotten),
        cmocka_unit_test(who_only_reads_follows_what_is_appended),
        cmocka_unit_test(a_damaged_event_is_an_error_unless_a_snapshot_stands_for_it),
        cmocka_unit_test(a_damaged_snapshot_is_passed_over_and_counted),
        cmocka_unit_test(projections_and_upcasters_read_what_is_in_the_files),
        cmocka_unit_test(a_durable_projection_goes_on_when_the_log_is_opened_again),
        cmocka_unit_test(after_a_power_cut_in_a_rebuild_the_old_one_serves_or_the_new_one_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
