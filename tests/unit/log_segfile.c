// SPDX-License-Identifier: MIT
//
// Segment files: headers that are damaged, of a later version or none; scans that believe nothing.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/crc32c.h"
#include "log/scan.h"
#include "testing/disk.h"

#define SALT 12345

struct bench {
    struct pl_disk *disk;
    const struct pl_files *files;
    struct pl_file file;
    uint64_t end; // where the next record goes
    uint64_t events, damaged, erased;
};

static void open_bench(struct bench *bench)
{
    *bench = (struct bench){ .end = PL_SEGFILE_HEADER };
    assert_int_equal(pl_disk_create(&bench->disk, &pl_seams_real, 1), PEAL_OK);
    bench->files = pl_disk_files(bench->disk);
    assert_int_equal(bench->files->open(bench->files->world, &bench->file, "f", PL_FILE_CREATE), 0);
    struct pl_segfile_header header = { .seed = { 1, 2 }, .base = 1, .source = "/here" };
    assert_int_equal(pl_segfile_write_header(bench->files, bench->file, &header), 0);
}

static void put(struct bench *bench, uint64_t position, const void *data, size_t size)
{
    static _Alignas(8) char bytes[4096];
    struct pl_frame *record = (struct pl_frame *)(void *)bytes;
    struct peal_message message = { .data = data, .size = size };
    struct pl_stamp stamp = { .position = position, .type = 0 };
    assert_true(size < 2000);
    pl_frame_write(record, &message, 0, &stamp);
    pl_record_seal(record, SALT);
    assert_int_equal(pl_files_write(bench->files, bench->file, record, record->length, bench->end),
                     0);
    bench->end += record->length;
}

// In the place of an event with so much data.
static void put_erased(struct bench *bench, uint64_t position, size_t size, uint16_t flags)
{
    static _Alignas(8) char bytes[4096];
    struct pl_frame *record = (struct pl_frame *)(void *)bytes;
    struct pl_frame event = { .length = (uint32_t)(sizeof event + pl_round8(size)),
                              .position = position,
                              .recorded = 77,
                              .type = 3,
                              .attribute_words = 2,
                              .flags = flags | 4 };
    memset(bytes, 0, sizeof bytes);
    pl_record_erased(record, &event, SALT);
    assert_int_equal(record->recorded, 0);
    assert_int_equal(pl_files_write(bench->files, bench->file, record, record->length, bench->end),
                     0);
    bench->end += record->length;
}

static enum peal_err meet_event(void *context, const struct pl_frame *record, uint64_t offset)
{
    struct bench *bench = context;
    (void)record;
    (void)offset;
    bench->events++;
    return PEAL_OK;
}

static enum peal_err meet_damage(void *context, const struct pl_damage *damage)
{
    struct bench *bench = context;
    bench->damaged += damage->end - damage->first;
    return PEAL_OK;
}

static enum peal_err meet_erased(void *context, const struct pl_frame *record, uint64_t offset)
{
    struct bench *bench = context;
    assert_int_equal(record->type, PL_RECORD_ERASED);
    assert_int_equal(offset % 8, 0);
    bench->erased++;
    return PEAL_OK;
}

static struct pl_scan scan(struct bench *bench)
{
    static const struct pl_scan_ops ops = { .event = meet_event,
                                            .damage = meet_damage,
                                            .erased = meet_erased };
    int64_t size = bench->files->size(bench->files->world, bench->file);
    struct pl_scan scan = { .seams = &pl_seams_real,
                            .files = bench->files,
                            .file = bench->file,
                            .path = "f",
                            .salt = SALT,
                            .base = 1,
                            .from = PL_SEGFILE_HEADER,
                            .until = (uint64_t)size };
    assert_int_equal(pl_scan_run(&scan, &ops, bench), PEAL_OK);
    return scan;
}

static void a_header_is_read_although_one_half_is_damaged(void **state)
{
    (void)state;
    for (uint64_t bit = 0; bit < PL_SEGFILE_HEADER * 8; bit += 7) {
        struct bench bench;
        open_bench(&bench);
        assert_int_equal(pl_disk_flip(bench.disk, "f", bit), 0);
        struct pl_segfile_header header;
        assert_int_equal(pl_segfile_read_header(&header, bench.files, bench.file, "f"), PEAL_OK);
        assert_int_equal(header.seed[1], 2);
        assert_int_equal(header.base, 1);
        assert_string_equal(header.source, "/here");
        pl_disk_destroy(bench.disk);
    }
}

static void a_later_version_is_refused(void **state)
{
    (void)state;
    struct bench bench;
    open_bench(&bench);
    char half[PL_SEGFILE_HEADER / 2];
    const struct pl_files *files = bench.files;
    assert_int_equal(files->pread(files->world, bench.file, half, sizeof half, 0), sizeof half);
    uint32_t version = PL_SEGFILE_VERSION + 1;
    uint32_t crc = 0;
    memcpy(half + offsetof(struct pl_segfile_header, version), &version, sizeof version);
    memcpy(half + offsetof(struct pl_segfile_header, crc), &crc, sizeof crc);
    crc = pl_crc32c(0, half, sizeof half);
    memcpy(half + offsetof(struct pl_segfile_header, crc), &crc, sizeof crc);
    assert_int_equal(pl_files_write(files, bench.file, half, sizeof half, 0), 0);
    struct pl_segfile_header header;
    assert_int_equal(pl_segfile_read_header(&header, files, bench.file, "f"), PEAL_EUNSUPPORTED);
    pl_disk_destroy(bench.disk);
}

static void zeros_behind_the_tail_are_read_once(void **state)
{
    (void)state;
    struct bench bench;
    open_bench(&bench);
    put(&bench, 1, "x", 1);
    assert_int_equal(bench.files->truncate(bench.files->world, bench.file, 16 << 20), 0);
    uint64_t before = pl_disk_calls(bench.disk, PL_DISK_READ);
    struct pl_scan found = scan(&bench);
    assert_in_range(pl_disk_calls(bench.disk, PL_DISK_READ) - before, 64, 66); // of 256 KiB
    assert_int_equal(bench.events, 1);
    assert_int_equal(found.offset, bench.end);
    assert_int_equal(found.next, 2);
    pl_disk_destroy(bench.disk);
}

static void published_bytes_that_look_like_a_record_are_none(void **state)
{
    (void)state;
    struct bench bench;
    open_bench(&bench);
    put(&bench, 1, "x", 1);
    // Whoever can publish knows the format, but not the salt.
    static _Alignas(8) char inner[32];
    struct pl_stamp stamp = { .position = 2, .type = 0 };
    pl_frame_write((struct pl_frame *)(void *)inner, &(struct peal_message){ 0 }, 0, &stamp);
    pl_record_seal((struct pl_frame *)(void *)inner, 0);
    put(&bench, 2, inner, sizeof inner);
    put(&bench, 3, "x", 1);
    assert_int_equal(pl_disk_flip(bench.disk, "f", (PL_SEGFILE_HEADER + 40 + 8) * 8), 0);
    (void)scan(&bench);
    assert_int_equal(bench.events, 2);
    assert_int_equal(bench.damaged, 1);
    pl_disk_destroy(bench.disk);
}

static void a_position_that_cannot_follow_is_damage(void **state)
{
    (void)state;
    struct bench bench;
    open_bench(&bench);
    put(&bench, 1, "x", 1);
    put(&bench, 1, "x", 1); // again
    put(&bench, 9, "x", 1); // too far ahead for the bytes between
    put(&bench, 3, "x", 1);
    struct pl_scan found = scan(&bench);
    assert_int_equal(bench.events, 2);
    assert_int_equal(bench.damaged, 1);
    assert_int_equal(found.next, 4);
    pl_disk_destroy(bench.disk);
}

static void an_erased_record_counts_as_its_position(void **state)
{
    (void)state;
    struct bench bench;
    open_bench(&bench);
    put_erased(&bench, 1, 0, 0);
    put(&bench, 2, "x", 1);
    uint64_t batch = bench.end;
    put_erased(&bench, 3, 1000, PL_FLAG_MORE);
    put_erased(&bench, 4, 10, PL_FLAG_MORE);
    struct pl_scan found = scan(&bench);
    assert_int_equal(found.next, 5);
    assert_int_equal(found.batch, batch); // it does not end
    put(&bench, 5, "y", 1);
    bench.events = 0;
    bench.erased = 0;
    found = scan(&bench);
    assert_int_equal(found.next, 6);
    assert_int_equal(found.batch, 0);
    assert_int_equal(found.offset, bench.end);
    assert_int_equal(bench.events, 2);
    assert_int_equal(bench.erased, 3);
    assert_int_equal(bench.damaged, 0);
    put_erased(&bench, 4, 0, 0); // a position that was: nobody's
    put(&bench, 6, "z", 1);
    bench.damaged = 0;
    found = scan(&bench);
    assert_int_equal(found.next, 7);
    assert_int_equal(bench.damaged, 0);
    pl_disk_destroy(bench.disk);
}

static void every_flipped_bit_of_an_erased_record_is_damage(void **state)
{
    (void)state;
    for (uint64_t bit = 0; bit < (sizeof(struct pl_frame) + 24) * 8; bit++) {
        struct bench bench;
        open_bench(&bench);
        put(&bench, 1, "x", 1);
        uint64_t at = bench.end;
        put_erased(&bench, 2, 24, bit % 2 ? PL_FLAG_MORE : 0);
        put(&bench, 3, "y", 1);
        assert_int_equal(pl_disk_flip(bench.disk, "f", at * 8 + bit), 0);
        struct pl_scan found = scan(&bench);
        assert_int_equal(found.next, 4);
        assert_int_equal(bench.events, 2);
        assert_int_equal(bench.erased, 0);
        assert_int_equal(bench.damaged, 1);
        pl_disk_destroy(bench.disk);
    }
}

// A whole record, with a checksum that fits, of `room` bytes of zeros behind its header.
static void put_made(struct bench *bench, const struct pl_frame *head, size_t room)
{
    static _Alignas(8) char bytes[1024];
    struct pl_frame *record = (struct pl_frame *)(void *)bytes;
    memset(bytes, 0, sizeof bytes);
    *record = *head;
    record->length = (uint32_t)(sizeof *record + room);
    pl_record_seal(record, SALT);
    assert_int_equal(pl_files_write(bench->files, bench->file, record, record->length, bench->end),
                     0);
    bench->end += record->length;
}

// What has the right checksum is not yet right: a later version may write it, or a mistake of ours.
static void a_record_that_makes_no_sense_is_damage_and_ends_nothing(void **state)
{
    (void)state;
    static const struct {
        struct pl_frame head;
        size_t room;
    } bad[] = {
        { { .type = PL_FILE_TYPES_MAX }, 0 },                             // of no kind
        { { .type = PL_RECORD_TYPE, .position = 1 }, 0 },                 // a name of nothing
        { { .type = PL_RECORD_TYPE, .position = 1 }, 264 },               // too long
        { { .type = PL_RECORD_TYPE, .position = PL_FILE_TYPES_MAX }, 8 }, // of no number
        { { .type = PL_RECORD_TYPE, .attribute_words = 1 }, 16 },         // with attributes
        { { .type = PL_RECORD_SYNCED, .position = 2 }, 8 },               // with bytes
        { { .type = PL_RECORD_SYNCED, .position = 2, .flags = 512 }, 0 }, // with flags
        { { .type = PL_RECORD_END, .position = 2, .attribute_words = 1 }, 0 },
        { { .type = PL_RECORD_SUMMARY, .position = 2, .flags = 1 }, 16 },
        { { .position = 2, .attribute_words = 2 }, 8 }, // more than there is
        { { .position = 2, .attribute_words = 1, .flags = 1 << PL_PAD_SHIFT }, 8 },
        { { .position = 2, .flags = PL_FLAG_OUTSIDE }, 16 },
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct bench bench;
        open_bench(&bench);
        put(&bench, 1, "x", 1);
        put_made(&bench, &bad[i].head, bad[i].room);
        put(&bench, 2, "x", 1);
        struct pl_scan found = scan(&bench);
        assert_int_equal(bench.events, 2);
        assert_int_equal(bench.damaged, 0);
        assert_int_equal(found.next, 3);
        assert_int_equal(found.offset, bench.end);
        pl_disk_destroy(bench.disk);
    }
}

// An event with one attribute as these bytes say, and a checksum that fits.
static void put_attribute(struct bench *bench, unsigned tag, size_t length, char last)
{
    static _Alignas(8) char bytes[256];
    struct pl_frame *record = (struct pl_frame *)(void *)bytes;
    memset(bytes, 0, sizeof bytes);
    *record =
        (struct pl_frame){ .length = sizeof *record + 24, .position = 2, .attribute_words = 3 };
    uint16_t head = (uint16_t)(tag << PL_ATTRIBUTE_LENGTH_BITS | length);
    memcpy(record + 1, &head, sizeof head);
    if (length < 22) {
        memset((char *)(record + 1) + 2, 'a', length);
        ((char *)(record + 1))[2 + length] = last;
    }
    pl_record_seal(record, SALT);
    assert_int_equal(pl_files_write(bench->files, bench->file, record, record->length, bench->end),
                     0);
    bench->end += record->length;
}

static void attributes_that_do_not_fit_are_damage(void **state)
{
    (void)state;
    static const struct {
        unsigned tag;
        size_t length;
        char last;
        uint64_t events;
    } made[] = {
        { PL_TAG_SUBJECT, 5, 0, 3 },   // as it should be
        { PL_TAG_SUBJECT, 5, 'b', 2 }, // no zero behind it
        { PL_TAG_SUBJECT, 22, 0, 2 },  // it ends behind the record
        { PL_TAG_TIME, 8, 0, 3 },      { PL_TAG_TIME, 7, 0, 2 }, { PL_TAG_VERSION, 9, 0, 2 },
    };
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
        struct bench bench;
        open_bench(&bench);
        put(&bench, 1, "x", 1);
        put_attribute(&bench, made[i].tag, made[i].length, made[i].last);
        put(&bench, 3, "x", 1);
        (void)scan(&bench);
        assert_int_equal(bench.events, made[i].events);
        assert_int_equal(bench.damaged, 3 - made[i].events);
        pl_disk_destroy(bench.disk);
    }
}

// A note of what was synced, behind damage, that is too far ahead for the bytes between: nobody can
// have written it.
static void a_note_that_knows_too_much_is_not_believed(void **state)
{
    (void)state;
    struct bench bench;
    open_bench(&bench);
    put(&bench, 1, "x", 1);
    put_made(&bench, &(struct pl_frame){ .type = PL_FILE_TYPES_MAX }, 0);
    put_made(&bench, &(struct pl_frame){ .type = PL_RECORD_SYNCED, .position = 900 }, 0);
    struct pl_scan found = scan(&bench);
    assert_int_equal(bench.events, 1);
    assert_int_equal(found.next, 2);
    assert_int_equal(bench.damaged, 0);
    pl_disk_destroy(bench.disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_is_read_although_one_half_is_damaged),
        cmocka_unit_test(a_later_version_is_refused),
        cmocka_unit_test(zeros_behind_the_tail_are_read_once),
        cmocka_unit_test(published_bytes_that_look_like_a_record_are_none),
        cmocka_unit_test(a_position_that_cannot_follow_is_damage),
        cmocka_unit_test(an_erased_record_counts_as_its_position),
        cmocka_unit_test(every_flipped_bit_of_an_erased_record_is_damage),
        cmocka_unit_test(a_record_that_makes_no_sense_is_damage_and_ends_nothing),
        cmocka_unit_test(attributes_that_do_not_fit_are_damage),
        cmocka_unit_test(a_note_that_knows_too_much_is_not_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
