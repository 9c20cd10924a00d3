// SPDX-License-Identifier: MIT
//
// What can be seen of a damaged event: that it was there, and its subject as far as its bytes are
// whole; nothing that would be believed where nothing is damaged, and no harm by what is.
#include "support/shelf.h"

#include <stdio.h>

#define EVENTS  30
#define DATA    40
#define SUBJECT "a subject" // of every fifth event of a shelf
#define ONE     10          // which has it
#define FILE_1  SHELF_PATH "/00000000000000000001.seg"

static void begin(struct shelf *shelf, uint64_t seed)
{
    shelf_init(shelf, seed);
    assert_int_equal(shelf_open(shelf), PEAL_OK);
    for (unsigned i = 0; i < EVENTS; i++) {
        (void)shelf_append(shelf, DATA);
    }
    assert_int_equal(shelf_settle(shelf, PEAL_DURABILITY_DISK), PEAL_OK);
}

// Where the record of an event begins, and how long it is.
static uint64_t find(const struct shelf *shelf, uint64_t position, struct pl_frame *out)
{
    static char bytes[SHELF_FILE];
    const struct pl_files *files = pl_disk_files(shelf->disk);
    unsigned char wanted[DATA];
    struct pl_file file = { 0 };
    assert_int_equal(files->open(files->world, &file, FILE_1, PL_FILE_READ), 0);
    int64_t size = files->pread(files->world, file, bytes, sizeof bytes, 0);
    files->close(files->world, &file);
    assert_true(size > 0);
    shelf_fill(wanted, sizeof wanted, 1, position);
    const char *data = memmem(bytes, (size_t)size, wanted, sizeof wanted);
    assert_non_null(data);
    uint64_t at = (uint64_t)(data - bytes) / 8 * 8 - sizeof *out + 8;
    do { // a head, and attributes, stand before the data
        at -= 8;
        memcpy(out, bytes + at, sizeof *out);
    } while (at > 8 && out->position != position);
    assert_int_equal(out->position, position);
    return at;
}

static void flip(const struct shelf *shelf, uint64_t bit)
{
    assert_int_equal(pl_disk_flip(shelf->disk, FILE_1, bit), 0);
}

// A bit of its data turns over.
static void damage(const struct shelf *shelf, uint64_t position)
{
    struct pl_frame head;
    uint64_t at = find(shelf, position, &head);
    flip(shelf, (at + head.length - 8 - DATA / 2) * 8);
}

static struct pl_glimpse look(struct shelf *shelf, uint64_t position)
{
    struct pl_glimpse glimpse = { .near = 77 };
    assert_int_equal(pl_store_glimpse(&glimpse, shelf->store, position), PEAL_OK);
    return glimpse;
}

static void only_what_is_damaged_is_seen(void **state)
{
    (void)state;
    struct shelf shelf;
    begin(&shelf, 1);
    damage(&shelf, ONE);
    damage(&shelf, ONE + 1);

    for (uint64_t position = 0; position < EVENTS + 3; position++) {
        struct pl_glimpse glimpse = look(&shelf, position);
        assert_int_equal(glimpse.damaged, position == ONE || position == ONE + 1);
        assert_string_equal(glimpse.subject, position == ONE ? SUBJECT : "");
        assert_int_equal(glimpse.near != 0, glimpse.damaged);
    }
    shelf_finish(&shelf);
}

static void the_first_and_the_last_event_of_a_file_are_seen(void **state)
{
    (void)state;
    struct shelf shelf;
    begin(&shelf, 2);
    damage(&shelf, 1);
    damage(&shelf, EVENTS);

    assert_true(look(&shelf, 1).damaged);
    assert_true(look(&shelf, EVENTS).damaged);
    assert_string_equal(look(&shelf, EVENTS).subject, SUBJECT);
    shelf_finish(&shelf);
}

static void behind_a_length_that_is_damaged_nothing_is_seen_but_that_it_is(void **state)
{
    (void)state;
    struct shelf shelf;
    struct pl_frame head;
    begin(&shelf, 3);
    uint64_t at = find(&shelf, ONE - 1, &head);
    damage(&shelf, ONE);

    flip(&shelf, (at + offsetof(struct pl_frame, length)) * 8 + 30); // longer than the file

    assert_true(look(&shelf, ONE - 1).damaged);
    assert_true(look(&shelf, ONE).damaged);
    assert_string_equal(look(&shelf, ONE).subject, "");
    shelf_finish(&shelf);
}

// Bits in which two texts differ, where both have the same length; else 99.
static unsigned difference(const char *one, const char *other)
{
    unsigned bits = strlen(one) == strlen(other) ? 0 : 99;
    for (size_t i = 0; bits < 99 && one[i]; i++) {
        bits += (unsigned)__builtin_popcount((unsigned char)(one[i] ^ other[i]));
    }
    return bits;
}

static void whatever_bit_is_damaged_its_subject_is_seen_as_it_reads_or_not_at_all(void **state)
{
    (void)state;
    struct shelf shelf;
    struct pl_frame head;
    unsigned seen = 0, others = 0;
    begin(&shelf, 4);
    uint64_t at = find(&shelf, ONE, &head);
    for (uint64_t bit = at * 8; bit < (at + head.length) * 8; bit++) {
        flip(&shelf, bit);
        struct pl_glimpse glimpse = look(&shelf, ONE);
        flip(&shelf, bit);
        bool same = strcmp(glimpse.subject, SUBJECT) == 0;
        seen += same;
        others += !same && *glimpse.subject;
        assert_true(same || !*glimpse.subject || difference(glimpse.subject, SUBJECT) == 1);
    }
    assert_true(seen > DATA * 8);
    assert_in_range(others, 1, strlen(SUBJECT) * 8);
    assert_false(look(&shelf, ONE).damaged); // it is as it was
    shelf_finish(&shelf);
}

static void without_memory_or_a_disk_nothing_is_said(void **state)
{
    (void)state;
    struct shelf shelf;
    struct pl_glimpse glimpse;
    begin(&shelf, 5);
    damage(&shelf, ONE);
    unsigned refused = 0;
    enum peal_err err = PEAL_ENOMEM;
    for (size_t nth = 1; err; nth++) {
        shelf.ledger.memory.fail_at = shelf.ledger.memory.calls + nth;
        err = pl_store_glimpse(&glimpse, shelf.store, ONE);
        shelf.ledger.memory.fail_at = 0;
        assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
        refused += err != PEAL_OK;
    }
    assert_true(refused > 0);
    assert_string_equal(glimpse.subject, SUBJECT);

    err = PEAL_EIO;
    refused = 0;
    for (uint64_t nth = 1; err || nth == 1; nth++) {
        const struct pl_disk_fault fault = { .calls = PL_DISK_READ | PL_DISK_OPEN, .nth = nth };
        pl_disk_inject(shelf.disk, &fault);
        err = pl_store_glimpse(&glimpse, shelf.store, ONE);
        pl_disk_heal(shelf.disk);
        assert_true(err == PEAL_OK || err == PEAL_EIO);
        refused += err != PEAL_OK;
    }
    assert_true(refused > 0);
    assert_true(look(&shelf, ONE).damaged);
    shelf_finish(&shelf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_is_damaged_is_seen),
        cmocka_unit_test(the_first_and_the_last_event_of_a_file_are_seen),
        cmocka_unit_test(behind_a_length_that_is_damaged_nothing_is_seen_but_that_it_is),
        cmocka_unit_test(whatever_bit_is_damaged_its_subject_is_seen_as_it_reads_or_not_at_all),
        cmocka_unit_test(without_memory_or_a_disk_nothing_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
