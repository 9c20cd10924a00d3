// SPDX-License-Identifier: MIT
//
// A state table on a disk that fails while a new generation of its file is written, or that says
// nothing good when it is opened: nothing that was acknowledged is lost.
#include "support/drawer.h"

#include <stdlib.h>

#define OS    PEAL_DURABILITY_OS
#define LARGE 200000 // more than one piece of a generation

struct values {
    char *large; // of LARGE bytes
    char small[3001];
};

static void set_values(struct values *values)
{
    values->large = malloc(LARGE + 1);
    assert_non_null(values->large);
    memset(values->large, 'l', LARGE);
    values->large[LARGE] = '\0';
    memset(values->small, 's', sizeof values->small - 1);
    values->small[sizeof values->small - 1] = '\0';
}

static const char *const texts[] = { "zero", "one", "two", "three" };

// Entries of all sizes, and changes until generations have followed each other. How many times the
// large one and the text were acknowledged.
struct told {
    unsigned large, texts;
};

static struct told live(struct drawer *drawer, const struct values *values)
{
    struct told told = { 0 };
    if (drawer_open(drawer)) {
        return told;
    }
    for (unsigned i = 0; i < 12; i++) {
        if (drawer_try(drawer, "large", values->large, OS)) {
            break;
        }
        told.large++;
        (void)drawer_try(drawer, "small", values->small, OS); // beside it
        if (drawer_try(drawer, "text", texts[i % 4], OS)) {
            break;
        }
        told.texts++;
    }
    return told;
}

// What was acknowledged last is there, or what came after it and nobody was told of.
static void check(struct drawer *drawer, const struct values *values, struct told told)
{
    const struct pl_kv_entry *large = pl_kv_get(drawer->kv, "large");
    const struct pl_kv_entry *text = pl_kv_get(drawer->kv, "text");
    assert_true(large || told.large == 0);
    assert_true(!large || (large->size == LARGE && !memcmp(large->value, values->large, LARGE)));
    assert_true(text || told.texts == 0);
    if (text) {
        bool is_last = told.texts && strcmp(text->value, texts[(told.texts - 1) % 4]) == 0;
        assert_true(is_last || strcmp(text->value, texts[told.texts % 4]) == 0);
    }
    pl_kv_unref(drawer->kv, large);
    pl_kv_unref(drawer->kv, text);
}

static void no_call_that_fails_loses_what_was_acknowledged(void **state)
{
    (void)state;
    static const int errors[] = { 5, 28 }; // EIO, ENOSPC
    struct values values;
    set_values(&values);
    for (unsigned way = 0; way < 4; way++) {
        bool reached = true;
        for (uint64_t nth = 1; reached; nth++) {
            struct drawer drawer;
            drawer_init(&drawer, nth);
            const struct pl_disk_fault fault = { .nth = nth,
                                                 .for_ever = way & 1,
                                                 .error = errors[way / 2] };
            uint64_t before = pl_disk_calls(drawer.disk, 0);
            pl_disk_inject(drawer.disk, &fault);
            struct told told = live(&drawer, &values);
            reached = pl_disk_calls(drawer.disk, 0) - before >= nth;
            pl_disk_heal(drawer.disk);
            pl_disk_kill(drawer.disk);
            drawer_leave(&drawer);
            assert_int_equal(drawer_open(&drawer), PEAL_OK);
            check(&drawer, &values, told);
            drawer_finish(&drawer);
        }
    }
    free(values.large);
}

static void no_memory_that_fails_loses_what_was_acknowledged(void **state)
{
    (void)state;
    struct values values;
    set_values(&values);
    bool reached = true;
    for (size_t nth = 1; reached; nth++) {
        struct drawer drawer;
        drawer_init(&drawer, 3);
        drawer.memory.fail_at = nth;
        struct told told = live(&drawer, &values);
        reached = drawer.memory.calls >= nth;
        drawer.memory.fail_at = 0;
        if (drawer.kv) {
            check(&drawer, &values, told);
        }
        (void)drawer_close(&drawer);
        assert_int_equal(drawer_open(&drawer), PEAL_OK);
        check(&drawer, &values, told);
        drawer_finish(&drawer);
    }
    free(values.large);
}

static void names_that_are_nearly_those_of_state_files_are_left_alone(void **state)
{
    (void)state;
    static const char *const names[] = {
        "state-00000000000000000000.kv", "state-18446744073709551615.kv",
        "state-99999999999999999999.kv", "state-0000000000000000000x.kv",
        "state-00000000000000000001.kw", "state-1.kv"
    };
    const size_t count = sizeof names / sizeof names[0];
    struct drawer drawer;
    drawer_init(&drawer, 4);
    for (size_t i = 0; i < count; i++) {
        drawer_write(&drawer, names[i], "note", 4);
    }
    assert_int_equal(drawer_open(&drawer), PEAL_OK);
    drawer_put(&drawer, "a", "1", OS);
    assert_int_equal(drawer_close(&drawer), PEAL_OK);
    assert_int_equal(drawer_open(&drawer), PEAL_OK);
    drawer_has(&drawer, "a", "1");
    assert_int_equal(drawer_files(&drawer, "state-"), count + 1);
    drawer_finish(&drawer);
}

static void a_path_that_is_missing_or_too_long_is_refused(void **state)
{
    (void)state;
    static char path[5000];
    memset(path, 'a', sizeof path - 1);
    const char *const paths[] = { NULL, "", path };
    struct drawer drawer;
    drawer_init(&drawer, 5);
    for (size_t i = 0; i < 3; i++) {
        drawer.config.path = paths[i];
        assert_int_equal(drawer_open(&drawer), PEAL_EINVAL);
        assert_non_null(strstr(peal_error_sentence(), "path"));
    }
    drawer.config.path = DRAWER_PATH;
    drawer_finish(&drawer);
}

static void what_is_too_much_to_wait_is_written_at_any_level(void **state)
{
    (void)state;
    struct values values;
    set_values(&values);
    struct drawer drawer;
    drawer_init(&drawer, 6);
    assert_int_equal(drawer_open(&drawer), PEAL_OK);
    uint64_t writes = pl_disk_calls(drawer.disk, PL_DISK_WRITE);
    char key[16];
    for (unsigned i = 0; i < 7; i++) { // more than a megabyte
        (void)snprintf(key, sizeof key, "k%u", i);
        drawer_put(&drawer, key, values.large, PEAL_DURABILITY_MEMORY);
    }
    assert_true(pl_disk_calls(drawer.disk, PL_DISK_WRITE) > writes);
    pl_disk_kill(drawer.disk);
    drawer_leave(&drawer);
    assert_int_equal(drawer_open(&drawer), PEAL_OK);
    drawer_has(&drawer, "k5", values.large);
    drawer_finish(&drawer);
    free(values.large);
}

static void a_value_beyond_the_limit_is_refused_before_it_is_looked_at(void **state)
{
    (void)state;
    struct drawer drawer;
    drawer_init(&drawer, 7);
    assert_int_equal(drawer_open(&drawer), PEAL_OK);
    struct pl_kv_transaction *transaction = NULL;
    assert_int_equal(pl_kv_begin(&transaction, drawer.kv), PEAL_OK);
    const size_t size = (size_t)PL_KV_VALUE_MAX + 1;
    assert_int_equal(pl_kv_put(transaction, "key", 0, "", size), PEAL_ELIMIT);
    assert_non_null(strstr(peal_error_sentence(), "\"key\""));
    assert_int_equal(pl_kv_put(transaction, NULL, 0, "", size), PEAL_ELIMIT);
    pl_kv_abandon(transaction);
    drawer_finish(&drawer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_call_that_fails_loses_what_was_acknowledged),
        cmocka_unit_test(no_memory_that_fails_loses_what_was_acknowledged),
        cmocka_unit_test(names_that_are_nearly_those_of_state_files_are_left_alone),
        cmocka_unit_test(a_path_that_is_missing_or_too_long_is_refused),
        cmocka_unit_test(what_is_too_much_to_wait_is_written_at_any_level),
        cmocka_unit_test(a_value_beyond_the_limit_is_refused_before_it_is_looked_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
