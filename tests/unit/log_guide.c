// SPDX-License-Identifier: MIT
//
// Guides: a summary gives back what it was made of, and one that makes no sense is refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "log/guide.h"
#include "unit/base_failing.h"

#define SALT  7
#define NAMES 40
#define MARKS 100

struct bench {
    struct failing memory;
    struct pl_seams seams;
    struct pl_guide *guide;
    _Alignas(8) char bytes[8192];
};

static struct pl_frame *record_of(struct bench *bench)
{
    return (struct pl_frame *)(void *)bench->bytes;
}

static void name_of(uint32_t number, char out[32])
{
    (void)snprintf(out, 32, "type.%u", number * 7);
}

// Every third number has a name.
static void open_bench(struct bench *bench)
{
    bench->seams = failing_seams(&bench->memory, 0);
    bench->seams.world = &bench->memory;
    bench->guide = pl_guide_create(&bench->seams);
    assert_non_null(bench->guide);
    for (uint32_t i = 2; i < NAMES; i += 3) {
        char name[32];
        name_of(i, name);
        assert_int_equal(pl_guide_put_name(bench->guide, i, name, strlen(name)), PEAL_OK);
    }
    for (uint64_t i = 0; i < MARKS; i++) {
        pl_guide_mark(bench->guide, 10 + i * 20, 4096 + i * 8000);
    }
    const struct pl_summary summary = { .end = 3000, .durable = 2500 };
    assert_in_range(pl_guide_summary_size(bench->guide), 900, sizeof bench->bytes);
    pl_guide_summarise(bench->guide, &summary, SALT, record_of(bench));
    pl_guide_empty(bench->guide);
}

static void close_bench(struct bench *bench)
{
    pl_guide_unref(bench->guide);
    assert_int_equal(bench->memory.living, 0);
}

static void check_guide(const struct pl_guide *guide)
{
    for (uint32_t i = 0; i < NAMES + 100; i++) {
        char name[32];
        name_of(i, name);
        const struct pl_name *found = pl_guide_name(guide, i);
        assert_int_equal(found != NULL, i < NAMES && i % 3 == 2);
        if (found) {
            assert_string_equal(found->text, name);
        }
    }
    const struct pl_mark *next = NULL;
    assert_null(pl_guide_find_mark(guide, 9, &next));
    assert_int_equal(next->event, 10);
    for (uint32_t i = 0; i < MARKS; i++) {
        const struct pl_mark *mark = pl_guide_find_mark(guide, 10 + i * 20 + i % 20, &next);
        assert_int_equal(mark->event, 10 + i * 20);
        assert_int_equal(mark->word, (4096 + i * 8000) / 8);
        assert_int_equal(next != NULL, i + 1 < MARKS);
    }
}

static void a_summary_gives_back_what_it_was_made_of(void **state)
{
    (void)state;
    struct bench bench;
    open_bench(&bench);
    struct pl_summary summary = { 0 };
    assert_true(pl_record_begins(record_of(&bench)));
    assert_true(pl_record_is_whole(record_of(&bench), SALT));
    assert_true(pl_summary_read(&summary, record_of(&bench)));
    assert_int_equal(summary.end, 3000);
    assert_int_equal(summary.durable, 2500);
    assert_int_equal(pl_guide_restore(bench.guide, record_of(&bench)), PEAL_OK);
    check_guide(bench.guide);
    close_bench(&bench);
}

// The number at a byte of the body: of marks, at 8; of names, at 12.
static void set_count(struct bench *bench, size_t at, uint32_t count)
{
    memcpy(bench->bytes + sizeof(struct pl_frame) + at, &count, sizeof count);
}

static void a_summary_of_more_than_there_is_makes_no_sense(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint32_t count;
    } bad[] = { { 8, UINT32_MAX },
                { 8, MARKS + 200 },
                { 12, PL_FILE_TYPES_MAX + 1 },
                { 12, PL_FILE_TYPES_MAX },
                { 12, NAMES + 300 } };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct bench bench;
        open_bench(&bench);
        struct pl_summary summary = { 0 };
        set_count(&bench, bad[i].at, bad[i].count);
        assert_false(pl_summary_read(&summary, record_of(&bench)));
        assert_int_equal(pl_guide_restore(bench.guide, record_of(&bench)), PEAL_ECORRUPT);
        close_bench(&bench);
    }
}

static void names_that_end_behind_the_record_make_no_sense(void **state)
{
    (void)state;
    struct bench bench;
    open_bench(&bench);
    set_count(&bench, 12, NAMES + 20); // more than there are, and less than there is room for
    assert_int_equal(pl_guide_restore(bench.guide, record_of(&bench)), PEAL_ECORRUPT);
    pl_guide_empty(bench.guide);
    set_count(&bench, 12, NAMES);
    char *length = bench.bytes + sizeof(struct pl_frame) + 16 + MARKS * sizeof(struct pl_mark);
    assert_int_equal(length[2], 7); // "type.14"
    length[2] = (char)255;
    assert_int_equal(pl_guide_restore(bench.guide, record_of(&bench)), PEAL_ECORRUPT);
    close_bench(&bench);
}

static void a_record_that_is_no_summary_is_none(void **state)
{
    (void)state;
    struct bench bench;
    open_bench(&bench);
    struct pl_summary summary = { 0 };
    struct pl_frame *record = record_of(&bench);
    record->type = PL_RECORD_END;
    assert_false(pl_summary_read(&summary, record));
    record->type = PL_RECORD_SUMMARY;
    record->length = sizeof *record + 8;
    record->flags = 0;
    assert_false(pl_summary_read(&summary, record));
    close_bench(&bench);
}

static void without_memory_a_summary_is_not_restored(void **state)
{
    (void)state;
    bool reached = true;
    for (size_t nth = 1; reached; nth++) {
        struct bench bench;
        open_bench(&bench);
        bench.memory.calls = 0;
        bench.memory.fail_at = nth;
        enum peal_err err = pl_guide_restore(bench.guide, record_of(&bench));
        reached = bench.memory.calls >= nth;
        assert_int_equal(err, reached ? PEAL_ENOMEM : PEAL_OK);
        bench.memory.fail_at = 0;
        pl_guide_empty(bench.guide);
        assert_int_equal(pl_guide_restore(bench.guide, record_of(&bench)), PEAL_OK);
        check_guide(bench.guide);
        close_bench(&bench);
    }
}

static void what_is_too_far_away_for_a_mark_gets_none(void **state)
{
    (void)state;
    struct bench bench;
    open_bench(&bench);
    pl_guide_mark(bench.guide, UINT32_MAX + 1ULL, 8);
    pl_guide_mark(bench.guide, 1, 8 * (UINT32_MAX + 1ULL));
    const struct pl_mark *next = NULL;
    assert_null(pl_guide_find_mark(bench.guide, UINT64_MAX, &next));
    bench.memory.fail_at = bench.memory.calls + 1;
    pl_guide_mark(bench.guide, 1, 8); // nor what there is no memory for
    assert_null(pl_guide_find_mark(bench.guide, UINT64_MAX, &next));
    close_bench(&bench);
}

static void the_same_name_twice_is_kept_once(void **state)
{
    (void)state;
    struct bench bench;
    open_bench(&bench);
    assert_int_equal(pl_guide_put_name(bench.guide, 5, "first", 5), PEAL_OK);
    size_t bytes = pl_guide_bytes(bench.guide);
    assert_int_equal(pl_guide_put_name(bench.guide, 5, "first", 5), PEAL_OK);
    assert_int_equal(pl_guide_put_name(bench.guide, 3, "lower", 5), PEAL_OK);
    assert_true(pl_guide_bytes(bench.guide) > bytes);
    assert_string_equal(pl_guide_name(bench.guide, 5)->text, "first");
    assert_int_equal(bench.guide->name_end, 6);
    close_bench(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_summary_gives_back_what_it_was_made_of),
        cmocka_unit_test(a_summary_of_more_than_there_is_makes_no_sense),
        cmocka_unit_test(names_that_end_behind_the_record_make_no_sense),
        cmocka_unit_test(a_record_that_is_no_summary_is_none),
        cmocka_unit_test(without_memory_a_summary_is_not_restored),
        cmocka_unit_test(what_is_too_far_away_for_a_mark_gets_none),
        cmocka_unit_test(the_same_name_twice_is_kept_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
