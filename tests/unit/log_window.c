// SPDX-License-Identifier: MIT
//
// The window of ids: beside a list that is looked through from end to end, with ids that are
// counted up, down and at random, and stems that crowd.
#include "support/ledger.h"

#include "log/window.h"

#include <stdio.h>

struct stand {
    struct ledger ledger;
    struct pl_window window;
};

static void open_stand(struct stand *stand)
{
    ledger_set(&stand->ledger, 0);
    pl_window_init(&stand->window, &stand->ledger.seams);
}

static void close_stand(struct stand *stand)
{
    pl_window_finish(&stand->window);
    assert_int_equal(stand->ledger.memory.living, 0);
}

// Keys of which many want the same slot, and some have the same half of `a`.
static struct pl_window_key crowded(uint64_t number)
{
    return (struct pl_window_key){ { .a = number % 7 | (number % 3) << 40, .b = number + 1 }, 0 };
}

static struct pl_window_key key_of(const char *id)
{
    return pl_window_key(id, 4711);
}

static struct pl_window_key counted(uint64_t number)
{
    char id[40];
    (void)snprintf(id, sizeof id, "01930000-0000-7000-8000-%012llx", (unsigned long long)number);
    return key_of(id);
}

static void add(struct stand *stand, struct pl_window_key key, uint64_t position)
{
    assert_int_equal(pl_window_add(&stand->window, &(struct pl_seen){ key, position, 0 }), PEAL_OK);
}

static uint64_t find(const struct stand *stand, struct pl_window_key key)
{
    return pl_window_find(&stand->window, key);
}

// ---- keys ---------------------------------------------------------------------------------------

static bool same(struct pl_window_key left, struct pl_window_key right)
{
    return left.stem.a == right.stem.a && left.stem.b == right.stem.b &&
           left.number == right.number;
}

static void ids_that_differ_have_keys_that_differ(void **state)
{
    (void)state;
    static const char *const ids[] = {
        "",    "0",   "00",   "000",   "0000", "a",    "a0",   "a00",  "a20",
        "a1f", "a3f", "a5f",  "aff",   "a1F",  "aFF",  "a1",   "f",    "1f",
        "01f", "a-1", "a-01", "order", "or",   "orde", "or00", "a000", "a0g",
    };
    const size_t count = sizeof ids / sizeof ids[0];
    for (size_t i = 0; i < count; i++) {
        assert_true(same(key_of(ids[i]), key_of(ids[i])));
        assert_true(key_of(ids[i]).number < PL_WINDOW_ROW);
        for (size_t j = i + 1; j < count; j++) {
            assert_false(same(key_of(ids[i]), key_of(ids[j])));
        }
    }
    assert_false(same(pl_window_key("a00", 1), pl_window_key("a00", 2)));
}

static void ids_that_are_counted_up_have_one_stem_for_a_row(void **state)
{
    (void)state;
    for (uint64_t number = 0; number < 300; number++) {
        struct pl_window_key key = counted(number), first = counted(number - number % 32);
        assert_int_equal(key.number, number % 32);
        assert_int_equal(key.stem.a, first.stem.a);
        assert_int_equal(key.stem.b, first.stem.b);
    }
}

// ---- the window ---------------------------------------------------------------------------------

static void keys_that_crowd_are_told_apart_and_forgotten_in_order(void **state)
{
    (void)state;
    struct stand stand;
    open_stand(&stand);
    enum { KEPT = 150 };
    for (uint64_t number = 1; number <= 1000; number++) {
        add(&stand, crowded(number), number);
        if (number > KEPT) {
            pl_window_forget(&stand.window);
        }
        uint64_t oldest = number > KEPT ? number - KEPT + 1 : 1;
        for (uint64_t other = oldest > 5 ? oldest - 5 : 1; other <= number; other++) {
            assert_int_equal(find(&stand, crowded(other)), other < oldest ? 0 : other);
        }
    }
    assert_int_equal(stand.window.count, KEPT);
    close_stand(&stand);
}

static void ids_in_a_row_take_one_place_for_many(void **state)
{
    (void)state;
    struct stand stand;
    open_stand(&stand);
    for (uint64_t number = 0; number < 64000; number++) {
        assert_int_equal(find(&stand, counted(number)), 0);
        add(&stand, counted(number), number + 1);
    }
    assert_int_equal(stand.window.count, 64000);
    assert_int_equal(stand.window.runs, 64000 / PL_WINDOW_ROW);
    for (uint64_t number = 0; number < 64000; number++) {
        assert_int_equal(find(&stand, counted(number)), number + 1);
    }
    close_stand(&stand);
}

static void another_time_or_a_hole_between_positions_begins_a_run(void **state)
{
    (void)state;
    struct stand stand;
    open_stand(&stand);
    const struct pl_seen seen[] = { { counted(0), 10, 1 },
                                    { counted(1), 11, 1 },
                                    { counted(2), 12, 2 },
                                    { counted(3), 14, 2 },
                                    { counted(5), 15, 2 } };
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(pl_window_add(&stand.window, &seen[i]), PEAL_OK);
    }
    assert_int_equal(stand.window.runs, 4);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(find(&stand, seen[i].key), seen[i].position);
        assert_int_equal(pl_window_oldest(&stand.window), 1 + (i > 1));
        if (i < 4) {
            pl_window_forget(&stand.window);
        }
        assert_int_equal(find(&stand, seen[i].key), i < 4 ? 0 : 15);
    }
    assert_int_equal(find(&stand, counted(4)), 0);
    close_stand(&stand);
}

// As one at a time comes: each is a run, and those of a row stand behind one slot.
static void a_stem_has_one_slot_for_all_its_runs(void **state)
{
    (void)state;
    struct stand stand;
    open_stand(&stand);
    enum { COUNT = 3200 };
    for (uint64_t number = 0; number < COUNT; number++) {
        uint64_t down = COUNT - 1 - number;
        const struct pl_seen seen = { counted(down), number + 1, (int64_t)number };
        assert_int_equal(find(&stand, seen.key), 0);
        assert_int_equal(pl_window_add(&stand.window, &seen), PEAL_OK);
    }
    size_t used = 0;
    for (size_t i = 0; i < 2 * stand.window.ready; i++) {
        used += stand.window.slots[i] != 0;
    }
    assert_int_equal(stand.window.runs, COUNT);
    assert_int_equal(used, COUNT / PL_WINDOW_ROW);
    for (uint64_t number = 0; number < COUNT; number++) {
        assert_int_equal(find(&stand, counted(number)), COUNT - number);
    }
    for (uint64_t number = 0; number < COUNT; number++) {
        pl_window_forget(&stand.window);
    }
    for (size_t i = 0; i < 2 * stand.window.ready; i++) {
        assert_true(stand.window.slots[i] == 0);
    }
    close_stand(&stand);
}

// ---- beside a list ------------------------------------------------------------------------------

enum { KEPT_MAX = 200, STEPS = 60000 };

struct model {
    uint64_t ids[KEPT_MAX + 1], positions[KEPT_MAX + 1];
    size_t count;
    uint64_t chance, next, position;
    uint64_t together; // so many positions have one time
};

static uint64_t draw(struct model *model, uint64_t below)
{
    model->chance = model->chance * 6364136223846793005U + 1442695040888963407U;
    return (model->chance >> 33) % below;
}

static uint64_t look_through(const struct model *model, uint64_t id)
{
    for (size_t i = model->count; i > 0; i--) {
        if (model->ids[i - 1] == id) {
            return model->positions[i - 1];
        }
    }
    return 0;
}

static void forget(struct model *model, size_t index)
{
    for (size_t i = index + 1; i < model->count; i++) {
        model->ids[i - 1] = model->ids[i];
        model->positions[i - 1] = model->positions[i];
    }
    model->count--;
}

// Mostly one more; else one back, or any of those around.
static uint64_t draw_id(struct model *model)
{
    uint64_t kind = draw(model, 20);
    if (kind == 0) {
        return model->next - draw(model, 100);
    }
    if (kind == 1) {
        model->next = 1000 + draw(model, 400);
    } else if (kind == 2) {
        model->next--;
    } else {
        model->next++;
    }
    return model->next;
}

static void take_step(struct stand *stand, struct model *model)
{
    uint64_t id = draw_id(model), kind = draw(model, 16);
    assert_int_equal(find(stand, counted(id)), look_through(model, id));
    if (kind == 0 && model->count > 0) {
        pl_window_take_back(&stand->window, counted(model->ids[model->count - 1]));
        forget(model, model->count - 1);
    } else if (kind == 1 && model->count > 0) {
        pl_window_forget(&stand->window);
        forget(model, 0);
    } else if (look_through(model, id) == 0) {
        model->position += draw(model, 8) == 0 ? 2 : 1;
        const struct pl_seen seen = { counted(id), model->position,
                                      (int64_t)(model->position / model->together) };
        bool full = model->count == KEPT_MAX;
        assert_int_equal(full ? pl_window_replace(&stand->window, &seen)
                              : pl_window_add(&stand->window, &seen),
                         PEAL_OK);
        if (full) {
            forget(model, 0);
        }
        model->ids[model->count] = id;
        model->positions[model->count++] = model->position;
    }
    assert_int_equal(stand->window.count, model->count);
    if (model->count > 0) {
        assert_int_equal(pl_window_oldest(&stand->window), model->positions[0] / model->together);
    }
}

static void live_beside_a_list(uint64_t together)
{
    struct stand stand;
    open_stand(&stand);
    struct model model = { .chance = 1, .next = 1000, .together = together };
    for (int i = 0; i < STEPS; i++) {
        take_step(&stand, &model);
    }
    for (size_t i = 0; i < model.count; i++) {
        assert_int_equal(find(&stand, counted(model.ids[i])), model.positions[i]);
    }
    assert_true(together == 1 || stand.window.runs < model.count); // some were in a row
    close_stand(&stand);
}

static void it_knows_what_a_list_of_the_last_would(void **state)
{
    (void)state;
    live_beside_a_list(50);
    live_beside_a_list(3);
    live_beside_a_list(1);
}

// ---- its ends -----------------------------------------------------------------------------------

static void only_the_newest_is_taken_back(void **state)
{
    (void)state;
    struct stand stand;
    open_stand(&stand);
    pl_window_take_back(&stand.window, crowded(1)); // there is none
    add(&stand, crowded(1), 1);
    add(&stand, counted(2), 2);
    add(&stand, counted(3), 3);
    pl_window_take_back(&stand.window, crowded(1));
    pl_window_take_back(&stand.window, counted(2));
    assert_int_equal(stand.window.count, 3);
    pl_window_take_back(&stand.window, counted(3));
    assert_int_equal(find(&stand, counted(3)), 0);
    assert_int_equal(find(&stand, counted(2)), 2);
    pl_window_take_back(&stand.window, counted(2));
    assert_int_equal(find(&stand, counted(2)), 0);
    assert_int_equal(find(&stand, crowded(1)), 1);
    assert_int_equal(stand.window.count, 1);
    close_stand(&stand);
}

static void without_memory_nothing_changes(void **state)
{
    (void)state;
    for (size_t fail_at = 1; fail_at <= 8; fail_at++) {
        struct stand stand;
        size_t failures = 0;
        open_stand(&stand);
        stand.ledger.memory.fail_at = fail_at;
        for (uint64_t number = 1; number <= 300; number++) {
            const struct pl_seen seen = { crowded(number), number, 0 };
            size_t count = stand.window.count;
            if (pl_window_add(&stand.window, &seen)) {
                failures++;
                assert_int_equal(stand.window.count, count);
                assert_int_equal(find(&stand, crowded(number)), 0);
                assert_int_equal(find(&stand, crowded(1)), number > 1);
                add(&stand, crowded(number), number);
            }
        }
        for (uint64_t number = 1; number <= 300; number++) {
            assert_int_equal(find(&stand, crowded(number)), number);
        }
        assert_int_equal(failures, 1);
        close_stand(&stand);
    }
}

// Where the oldest is one of many in a row, its place is not the newest one's.
static void without_memory_nothing_is_replaced(void **state)
{
    (void)state;
    struct stand stand;
    open_stand(&stand);
    for (uint64_t number = 0; number < 32; number++) {
        add(&stand, counted(number), number + 1);
    }
    for (uint64_t number = 1; number < 64; number++) {
        add(&stand, crowded(number), 100 + number);
    }
    const struct pl_seen seen = { crowded(64), 200, 0 };
    stand.ledger.memory.fail_at = stand.ledger.memory.calls + 1;
    assert_int_equal(pl_window_replace(&stand.window, &seen), PEAL_ENOMEM);
    assert_int_equal(find(&stand, counted(0)), 1);
    assert_int_equal(find(&stand, crowded(64)), 0);
    assert_int_equal(pl_window_replace(&stand.window, &seen), PEAL_OK);
    assert_int_equal(find(&stand, counted(0)), 0);
    assert_int_equal(find(&stand, counted(1)), 2);
    assert_int_equal(find(&stand, crowded(64)), 200);
    assert_int_equal(stand.window.count, 95);
    close_stand(&stand);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_that_differ_have_keys_that_differ),
        cmocka_unit_test(ids_that_are_counted_up_have_one_stem_for_a_row),
        cmocka_unit_test(keys_that_crowd_are_told_apart_and_forgotten_in_order),
        cmocka_unit_test(ids_in_a_row_take_one_place_for_many),
        cmocka_unit_test(another_time_or_a_hole_between_positions_begins_a_run),
        cmocka_unit_test(a_stem_has_one_slot_for_all_its_runs),
        cmocka_unit_test(it_knows_what_a_list_of_the_last_would),
        cmocka_unit_test(only_the_newest_is_taken_back),
        cmocka_unit_test(without_memory_nothing_changes),
        cmocka_unit_test(without_memory_nothing_is_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
