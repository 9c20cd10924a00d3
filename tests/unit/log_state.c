// SPDX-License-Identifier: MIT
//
// The state beside the log: the duplicate window by count and by time, the versions of streams.
#include "support/ledger.h"

#include <stdio.h>

struct stand {
    struct ledger ledger;
    struct pl_state state;
};

static void open_stand(struct stand *stand, uint64_t events, int64_t ns)
{
    ledger_set(&stand->ledger, 0);
    pl_state_init(&stand->state, &stand->ledger.seams);
    stand->state.limits = (struct pl_state_limits){ events, ns };
}

static void close_stand(struct stand *stand)
{
    pl_state_finish(&stand->state);
    assert_int_equal(stand->ledger.memory.living, 0);
}

static struct pl_window_key id(const struct stand *stand, uint64_t number)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)number); // it fits
    return pl_state_id(&stand->state, "/source", text);
}

static uint64_t seen(struct stand *stand, uint64_t number, int64_t now)
{
    return pl_state_seen(&stand->state, id(stand, number), now);
}

static void see(struct stand *stand, uint64_t number, int64_t now)
{
    assert_int_equal(pl_state_see(&stand->state, id(stand, number), number, now), PEAL_OK);
}

static bool same(struct pl_hash128 left, struct pl_hash128 right)
{
    return memcmp(&left, &right, sizeof left) == 0;
}

// ---- keys ---------------------------------------------------------------------------------------

static void an_id_is_known_together_with_its_source(void **state)
{
    (void)state;
    struct stand stand;
    open_stand(&stand, 10, 10);
    const struct pl_state *its = &stand.state;
    struct pl_hash128 key = pl_state_id_key(its, "a", "bc");
    assert_true(same(key, pl_state_id_key(its, "a", "bc")));
    assert_false(same(key, pl_state_id_key(its, "ab", "c")));
    assert_false(same(key, pl_state_id_key(its, "b", "bc")));
    assert_false(same(key, pl_state_id_key(its, "a", "bd")));
    assert_false(same(key, pl_state_id_key(its, "abc", "")));
    assert_false(same(pl_state_id(its, "a", "bc").stem, pl_state_id(its, "b", "bc").stem));
    assert_int_not_equal(pl_state_id(its, "a", "bc").number, pl_state_id(its, "a", "bd").number);
    assert_false(same(pl_state_subject_key(its, "x"), pl_state_subject_key(its, "y")));
    close_stand(&stand);
}

static void keys_cannot_be_guessed_without_the_seed(void **state)
{
    (void)state;
    struct stand one, two;
    open_stand(&one, 10, 10);
    open_stand(&two, 10, 10);
    two.state.seed++;
    assert_false(same(id(&one, 1).stem, id(&two, 1).stem));
    assert_false(
        same(pl_state_subject_key(&one.state, "s"), pl_state_subject_key(&two.state, "s")));
    close_stand(&one);
    close_stand(&two);
}

// ---- duplicates ---------------------------------------------------------------------------------

static void the_window_has_the_last_so_many_ids(void **state)
{
    (void)state;
    const uint64_t limits[] = { 1, 2, 63, 64, 65, 100, 128, 1000 };
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        struct stand stand;
        open_stand(&stand, limits[i], INT64_MAX);
        for (uint64_t number = 1; number <= 2500; number++) {
            assert_int_equal(seen(&stand, number, 0), 0);
            see(&stand, number, 0);
            uint64_t oldest = number > limits[i] ? number - limits[i] + 1 : 1;
            assert_int_equal(seen(&stand, number, 0), number);
            assert_int_equal(seen(&stand, oldest, 0), oldest);
            assert_int_equal(seen(&stand, oldest - 1, 0), 0);
        }
        assert_int_equal(stand.state.ids.count, limits[i]);
        close_stand(&stand);
    }
}

static void the_window_has_the_ids_of_the_last_so_many_nanoseconds(void **state)
{
    (void)state;
    struct stand stand;
    open_stand(&stand, 1000, 100);
    for (uint64_t number = 1; number <= 500; number++) {
        int64_t now = (int64_t)number * 10;
        see(&stand, number, now);
        uint64_t oldest = number > 10 ? number - 10 : 1; // of exactly 100 ns ago
        assert_int_equal(seen(&stand, oldest, now), oldest);
        assert_int_equal(seen(&stand, oldest - 1, now), 0);
        assert_true(stand.state.ids.count <= 11);
    }
    assert_int_equal(seen(&stand, 500, 5100), 500);
    assert_int_equal(seen(&stand, 500, 5101), 0);
    assert_int_equal(stand.state.ids.count, 0);
    see(&stand, 1, 6000); // and again
    assert_int_equal(seen(&stand, 1, 6000), 1);
    close_stand(&stand);
}

static void a_window_of_nothing_knows_nothing(void **state)
{
    (void)state;
    struct stand stand;
    open_stand(&stand, 0, 100);
    see(&stand, 1, 0);
    assert_int_equal(seen(&stand, 1, 0), 0);
    pl_state_unsee(&stand.state, id(&stand, 1));
    assert_int_equal(stand.ledger.memory.calls, 0);
    close_stand(&stand);
}

static void the_newest_can_be_taken_back(void **state)
{
    (void)state;
    struct stand stand;
    open_stand(&stand, 100, INT64_MAX);
    for (uint64_t number = 1; number <= 90; number++) {
        see(&stand, number, 0);
    }
    for (uint64_t number = 90; number > 80; number--) {
        pl_state_unsee(&stand.state, id(&stand, number));
        assert_int_equal(seen(&stand, number, 0), 0);
    }
    pl_state_unsee(&stand.state, id(&stand, 1000)); // never seen: nothing happens
    assert_int_equal(seen(&stand, 80, 0), 80);
    for (uint64_t number = 81; number <= 250; number++) {
        see(&stand, number, 0);
    }
    assert_int_equal(seen(&stand, 151, 0), 151);
    assert_int_equal(seen(&stand, 150, 0), 0);
    close_stand(&stand);
}

// Sees 200 ids while an allocation fails; what failed is seen again. Returns how often it did.
static size_t see_without_memory(uint64_t limit, size_t fail_at)
{
    size_t failures = 0;
    struct stand stand;
    open_stand(&stand, limit, INT64_MAX);
    stand.ledger.memory.fail_at = fail_at;
    for (uint64_t number = 1; number <= 200; number++) {
        struct pl_window_key key = id(&stand, number);
        size_t known = stand.state.ids.count;
        enum peal_err err = pl_state_see(&stand.state, key, number, 0);
        if (err) {
            failures++;
            assert_int_equal(err, PEAL_ENOMEM);
            assert_int_equal(stand.state.ids.count, known);
            assert_int_equal(pl_state_seen(&stand.state, key, 0), 0);
            uint64_t oldest = number > limit ? number - limit : 1;
            assert_int_equal(seen(&stand, oldest, 0), number > 1 ? oldest : 0);
            see(&stand, number, 0);
        }
    }
    assert_int_equal(seen(&stand, 200, 0), 200);
    assert_int_equal(stand.state.ids.count, limit);
    close_stand(&stand);
    return failures;
}

static void without_memory_nothing_is_remembered_and_nothing_forgotten(void **state)
{
    (void)state;
    for (uint64_t limit = 64; limit <= 96; limit += 32) {
        size_t failures = 0;
        for (size_t fail_at = 1; fail_at < 16; fail_at++) {
            failures += see_without_memory(limit, fail_at);
        }
        assert_true(failures >= 2); // the ring and the table, each time they grow
    }
}

// ---- streams ------------------------------------------------------------------------------------

static uint64_t version(const struct stand *stand, const char *subject, uint64_t first)
{
    return pl_state_version(&stand->state, pl_state_subject_key(&stand->state, subject), first,
                            NULL);
}

static enum peal_err set(struct stand *stand, const char *subject, uint64_t to, uint64_t position,
                         uint64_t first)
{
    struct pl_hash128 key = pl_state_subject_key(&stand->state, subject);
    return pl_state_set(&stand->state, key, to, position, first);
}

static void a_stream_has_the_version_it_was_given_last(void **state)
{
    (void)state;
    struct stand stand;
    open_stand(&stand, 10, 10);
    assert_int_equal(version(&stand, "s", 0), 0);
    assert_int_equal(set(&stand, "s", 1, 10, 1), PEAL_OK);
    assert_int_equal(set(&stand, "s", 2, 20, 1), PEAL_OK);
    assert_int_equal(set(&stand, "t", 1, 21, 1), PEAL_OK);
    assert_int_equal(version(&stand, "s", 1), 2);
    assert_int_equal(version(&stand, "t", 1), 1);
    assert_int_equal(set(&stand, "s", 0, 0, 1), PEAL_OK); // forget
    assert_int_equal(version(&stand, "s", 1), 0);
    assert_int_equal(set(&stand, "u", 0, 0, 1), PEAL_OK); // not known: as wanted
    assert_int_equal(stand.state.streams.count, 1);
    close_stand(&stand);
}

static void a_stream_whose_last_event_is_forgotten_is_at_zero(void **state)
{
    (void)state;
    struct stand stand;
    open_stand(&stand, 10, 10);
    assert_int_equal(set(&stand, "s", 7, 100, 1), PEAL_OK);
    assert_int_equal(version(&stand, "s", 100), 7);
    assert_int_equal(version(&stand, "s", 101), 0);
    assert_int_equal(set(&stand, "s", 1, 150, 101), PEAL_OK);
    assert_int_equal(version(&stand, "s", 101), 1);
    close_stand(&stand);
}

// Many subjects through a log that keeps the last thousand events.
static void forgotten_streams_are_swept_so_that_the_table_does_not_grow(void **state)
{
    (void)state;
    struct stand stand;
    open_stand(&stand, 10, 10);
    for (uint64_t position = 1; position <= 100000; position++) {
        char subject[24];
        (void)snprintf(subject, sizeof subject, "s%llu", (unsigned long long)position);
        uint64_t first = position > 1000 ? position - 1000 : 1;
        assert_int_equal(set(&stand, subject, 1, position, first), PEAL_OK);
        assert_int_equal(version(&stand, subject, first), 1);
    }
    assert_true(stand.state.streams.capacity <= 4096);
    for (uint64_t position = 99000; position <= 100000; position++) {
        char subject[24];
        (void)snprintf(subject, sizeof subject, "s%llu", (unsigned long long)position);
        assert_int_equal(version(&stand, subject, 99000), 1); // none too many
    }
    close_stand(&stand);
}

// The same with 200 streams.
static size_t set_without_memory(size_t fail_at)
{
    size_t failures = 0;
    struct stand stand;
    open_stand(&stand, 10, 10);
    stand.ledger.memory.fail_at = fail_at;
    for (uint64_t position = 1; position <= 200; position++) {
        char subject[24];
        (void)snprintf(subject, sizeof subject, "s%llu", (unsigned long long)position); // it fits
        enum peal_err err = set(&stand, subject, 1, position, 1);
        if (err) {
            failures++;
            assert_int_equal(err, PEAL_ENOMEM);
            assert_int_equal(version(&stand, subject, 1), 0);
            if (position > 1) {
                assert_int_equal(set(&stand, "s1", 5, position, 1), PEAL_OK); // it is known
            }
            assert_int_equal(set(&stand, subject, 1, position, 1), PEAL_OK);
        }
    }
    assert_int_equal(stand.state.streams.count, 200);
    close_stand(&stand);
    return failures;
}

static void without_memory_a_new_stream_is_not_known_and_the_others_are(void **state)
{
    (void)state;
    size_t failures = 0;
    for (size_t fail_at = 1; fail_at < 8; fail_at++) {
        failures += set_without_memory(fail_at);
    }
    assert_true(failures >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_is_known_together_with_its_source),
        cmocka_unit_test(keys_cannot_be_guessed_without_the_seed),
        cmocka_unit_test(the_window_has_the_last_so_many_ids),
        cmocka_unit_test(the_window_has_the_ids_of_the_last_so_many_nanoseconds),
        cmocka_unit_test(a_window_of_nothing_knows_nothing),
        cmocka_unit_test(the_newest_can_be_taken_back),
        cmocka_unit_test(without_memory_nothing_is_remembered_and_nothing_forgotten),
        cmocka_unit_test(a_stream_has_the_version_it_was_given_last),
        cmocka_unit_test(a_stream_whose_last_event_is_forgotten_is_at_zero),
        cmocka_unit_test(forgotten_streams_are_swept_so_that_the_table_does_not_grow),
        cmocka_unit_test(without_memory_a_new_stream_is_not_known_and_the_others_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
