// SPDX-License-Identifier: MIT
//
// Single events, whole files, and another process: what is read of a store beside its stretches.
#include "support/shelf.h"

#include <stdio.h>
#include <stdlib.h>

#include "log/internal.h"

static size_t size_at(uint64_t position)
{
    static const size_t sizes[] = { 100, 0, 7, 16384, 1, 16385, 3000, 8, 40000, 300 };
    return sizes[position % 10];
}

static void fill(struct shelf *shelf, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        (void)shelf_append(shelf, size_at(pl_log_end(&shelf->ledger.log)));
    }
    assert_int_equal(shelf_settle(shelf, PEAL_DURABILITY_OS), PEAL_OK);
}

static _Alignas(8) char room[64 << 10];

// The event at a position, or NULL.
static const struct pl_frame *get(struct pl_store *store, uint64_t position)
{
    const struct pl_frame *frame = NULL;
    size_t size = sizeof room;
    assert_int_equal(pl_store_get(&frame, store, position, room, &size), PEAL_OK);
    return frame;
}

static void check_each(struct shelf *shelf, uint64_t count, const char *source)
{
    for (uint64_t position = 1; position <= count; position++) {
        const struct pl_frame *frame = get(shelf->store, position);
        assert_non_null(frame);
        assert_int_equal(frame->position, position);
        assert_ptr_equal(frame, room);
        shelf_check(frame, size_at(position), 1, source);
    }
}

static void path_of(uint64_t base, char out[64])
{
    assert_in_range(snprintf(out, 64, SHELF_PATH "/%020llu.seg", (unsigned long long)base), 1, 63);
}

static void each_event_is_had_alone(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 1);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    fill(&shelf, 60);
    check_each(&shelf, 60, NULL);
    assert_int_equal(shelf_close(&shelf), PEAL_OK);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    check_each(&shelf, 60, NULL);
    assert_null(get(shelf.store, 61));
    (void)shelf_append(&shelf, 1);
    assert_null(get(shelf.store, 61)); // it is not written
    shelf_finish(&shelf);
}

static void one_event_takes_one_small_read(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 2);
    shelf.config.file_bytes = 1 << 20;
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    for (int i = 0; i < 2000; i++) {
        (void)shelf_append(&shelf, 256);
    }
    assert_int_equal(shelf_close(&shelf), PEAL_OK);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    assert_non_null(get(shelf.store, 1)); // opens the file
    uint64_t reads = pl_disk_calls(shelf.disk, PL_DISK_READ);
    uint64_t opens = pl_disk_calls(shelf.disk, PL_DISK_OPEN);
    for (uint64_t position = 1; position <= 2000; position += 7) {
        assert_int_equal(get(shelf.store, position)->position, position);
    }
    assert_int_equal(pl_disk_calls(shelf.disk, PL_DISK_READ) - reads, 286);
    assert_int_equal(pl_disk_calls(shelf.disk, PL_DISK_OPEN) - opens, 0);
    shelf_finish(&shelf);
}

static void too_little_room_is_said_with_what_it_takes(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 3);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    fill(&shelf, 10);
    const struct pl_frame *frame = NULL;
    size_t size = PL_STORE_GET_LEAST - 1;
    assert_int_equal(pl_store_get(&frame, shelf.store, 1, room, &size), PEAL_ELIMIT);
    assert_int_equal(size, PL_STORE_GET_LEAST);
    assert_int_equal(pl_store_get(&frame, shelf.store, 1, room, &size), PEAL_OK);
    assert_int_equal(pl_store_get(&frame, shelf.store, 8, room, &size), PEAL_ELIMIT);
    assert_in_range(size, 40000, 41000);
    assert_int_equal(pl_store_get(&frame, shelf.store, 8, room, &size), PEAL_OK);
    shelf_check(frame, 40000, 1, NULL);
    shelf_finish(&shelf);
}

static void the_source_of_an_older_file_comes_with_its_events(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 4);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    fill(&shelf, 30);
    assert_int_equal(shelf_close(&shelf), PEAL_OK);
    shelf.config.source = "/another/source/that/is/longer";
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    check_each(&shelf, 30, "/shelf");
    shelf_finish(&shelf);
}

static void a_damaged_length_does_not_hide_what_follows(void **state)
{
    (void)state;
    for (uint64_t bit = 3; bit < 32; bit += 5) {
        struct shelf shelf;
        shelf_init(&shelf, 5);
        assert_int_equal(shelf_open(&shelf), PEAL_OK);
        for (int i = 0; i < 20; i++) {
            (void)shelf_append(&shelf, 104);
        }
        assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_OK);
        char path[64];
        path_of(1, path);
        // Behind two names of 48 bytes each, and one event: the second's.
        uint64_t at = PL_SEGFILE_HEADER + 96 + 136 + 112;
        assert_int_equal(pl_disk_flip(shelf.disk, path, at * 8 + bit), 0);
        uint64_t there = 0;
        for (uint64_t position = 1; position <= 20; position++) {
            there += get(shelf.store, position) != NULL;
        }
        assert_in_range(there, 19, 20); // that place is a name's or an event's
        shelf_finish(&shelf);
    }
}

static void files_beyond_the_limit_are_closed_again(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 6);
    shelf.config.file_bytes = PL_STORE_FILE_MIN;
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    uint64_t count = 0;
    while (shelf.store->volume_count <= PL_STORE_OPENED_MAX + 8) {
        (void)shelf_append(&shelf, 3000);
        assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_OK);
        count++;
    }
    for (int round = 0; round < 3; round++) {
        for (uint64_t position = 1; position <= count; position++) {
            assert_int_equal(get(shelf.store, position)->position, position);
        }
    }
    for (size_t i = 0; i < PL_STORE_OPENED_MAX; i++) {
        assert_int_equal(shelf.store->opened[i].users, 0);
    }
    shelf_finish(&shelf);
}

// ---- limits -------------------------------------------------------------------------------------

// As many types as events, with long names.
static const char *long_type(void *context, uint32_t number)
{
    static char text[PEAL_TYPE_MAX + 1];
    (void)context;
    (void)snprintf(text, sizeof text, "t.%0240u", number);
    return text;
}

static uint32_t long_number(void *context, const char *type)
{
    (void)context;
    return (uint32_t)strtoul(type + 2, NULL, 10);
}

static void append_plain(struct shelf *shelf, uint32_t type, size_t size)
{
    static const char data[64];
    struct pl_append append = { .message = &(struct peal_message){ .data = data, .size = size },
                                .type = type };
    const struct pl_frame *frame = NULL;
    assert_int_equal(pl_log_append(&shelf->ledger.log, &append, 0, &frame), PEAL_OK);
    shelf_publish(shelf);
    if (frame->position % 256 == 0) {
        assert_int_equal(shelf_settle(shelf, PEAL_DURABILITY_OS), PEAL_OK);
    }
}

static void guides_beyond_the_limit_are_given_up(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 16);
    shelf.config.file_bytes = 1 << 20;
    shelf.config.type_of = long_type;
    shelf.config.number_of = long_number;
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    const uint64_t count = 80 * 1024;
    for (uint64_t i = 0; i < count; i++) {
        append_plain(&shelf, (uint32_t)i, 8);
    }
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_OK);
    for (int round = 0; round < 2; round++) {
        for (uint64_t position = 1; position <= count; position += 1009) {
            const struct pl_frame *frame = get(shelf.store, position);
            assert_int_equal(frame->position, position);
            assert_int_equal(frame->type, position - 1);
        }
        assert_in_range(shelf.store->guide_bytes, 1, PL_STORE_GUIDES_MAX);
    }
    size_t without = 0;
    for (size_t i = 0; i < shelf.store->volume_count; i++) {
        without += shelf.store->volumes[i].guide == NULL;
    }
    assert_true(without > 0);
    shelf_finish(&shelf);
}

static void a_file_has_so_many_events_and_no_more(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 17);
    shelf.config.file_bytes = 256 << 20;
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    for (uint32_t i = 0; i < PL_FILE_EVENTS_MAX; i++) {
        append_plain(&shelf, 0, 0);
    }
    assert_int_equal(shelf.store->volume_count, 2);
    assert_in_range(shelf.store->base, PL_FILE_EVENTS_MAX - PEAL_BATCH_MAX, PL_FILE_EVENTS_MAX);
    shelf_finish(&shelf);
}

// ---- verifying ----------------------------------------------------------------------------------

struct verified {
    uint64_t damages, lost, done, total;
    uint64_t calls, stop_at;
};

static void meet_damage(void *context, const char *path, const struct pl_damage *damage)
{
    struct verified *verified = context;
    assert_non_null(path);
    verified->damages++;
    verified->lost += damage->end - damage->first;
}

static bool meet_progress(void *context, uint64_t done, uint64_t total)
{
    struct verified *verified = context;
    assert_true(done >= verified->done);
    verified->done = done;
    verified->total = total;
    return ++verified->calls != verified->stop_at;
}

static const struct pl_verify_ops ops = { meet_damage, meet_progress, NULL };

static void verifying_tells_damage_in_every_file(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 7);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    fill(&shelf, 100);
    struct verified verified = { 0 };
    assert_int_equal(pl_store_verify(shelf.store, &ops, &verified), PEAL_OK);
    assert_int_equal(verified.damages, 0);
    assert_true(verified.done > 0 && verified.total > 0);
    size_t files = shelf.store->volume_count;
    assert_true(files > 5);
    for (size_t i = 0; i < files; i++) {
        char path[64];
        path_of(shelf.store->volumes[i].base, path);
        assert_int_equal(pl_disk_flip(shelf.disk, path, (PL_SEGFILE_HEADER + 400) * 8), 0);
    }
    verified = (struct verified){ 0 };
    assert_int_equal(pl_store_verify(shelf.store, &ops, &verified), PEAL_OK);
    assert_int_equal(verified.damages, files);
    verified = (struct verified){ .stop_at = 2 };
    assert_int_equal(pl_store_verify(shelf.store, &ops, &verified), PEAL_OK);
    assert_int_equal(verified.calls, 2);
    shelf_finish(&shelf);
}

static void what_the_disk_does_not_read_is_told_and_passed(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 15);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    fill(&shelf, 100);
    const struct pl_volume *spoilt = &shelf.store->volumes[1];
    char path[64];
    path_of(spoilt->base, path);
    assert_int_equal(pl_disk_spoil(shelf.disk, path, PL_SEGFILE_HEADER, 512), 0);
    struct verified verified = { 0 };
    assert_int_equal(pl_store_verify(shelf.store, &ops, &verified), PEAL_OK);
    assert_int_equal(verified.damages, 1);
    assert_int_equal(verified.lost, spoilt->end - spoilt->base);
    struct pl_segment *segment = NULL;
    assert_int_equal(shelf_read(&shelf, &segment, spoilt->base), PEAL_EIO);
    assert_null(segment);
    assert_int_equal(shelf_read(&shelf, &segment, spoilt->end), PEAL_OK);
    pl_segment_unref(segment);
    shelf_finish(&shelf);
}

static void a_file_that_is_gone_is_missed(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 8);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    fill(&shelf, 100);
    const struct pl_volume *gone = &shelf.store->volumes[2];
    uint64_t lost = gone->end - gone->base;
    char path[64];
    path_of(gone->base, path);
    uint64_t base = gone->base;
    assert_int_equal(shelf_close(&shelf), PEAL_OK);
    const struct pl_files *files = shelf.config.files;
    assert_int_equal(files->unlink(files->world, path), 0);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    assert_int_equal(pl_store_recovery(shelf.store)->damaged, lost);
    assert_int_equal(pl_store_recovery(shelf.store)->damaged_first, base);
    struct verified verified = { 0 };
    assert_int_equal(pl_store_verify(shelf.store, &ops, &verified), PEAL_OK);
    assert_int_equal(verified.lost, lost);
    shelf_finish(&shelf);
}

// Every bit of a file of 1 MiB, by the scan alone: the event it belongs to is lost, and no other.
static enum peal_err count_event(void *context, const struct pl_frame *record, uint64_t offset)
{
    (void)record;
    (void)offset;
    ++*(uint64_t *)context;
    return PEAL_OK;
}

static uint64_t count_events(const struct shelf *shelf, struct pl_file file)
{
    static const struct pl_scan_ops counting = { .event = count_event };
    uint64_t count = 0;
    struct pl_scan scan = { .seams = &pl_seams_real,
                            .files = shelf->config.files,
                            .file = file,
                            .path = "f",
                            .salt = pl_record_salt(shelf->store->seed, 1),
                            .base = 1,
                            .from = PL_SEGFILE_HEADER,
                            .until = 24 << 10 };
    assert_int_equal(pl_scan_run(&scan, &counting, &count), PEAL_OK);
    return count;
}

static void no_flipped_bit_costs_two_events_or_invents_one(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 9);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    for (int i = 0; i < 60; i++) {
        (void)shelf_append(&shelf, (size_t)i * 5);
    }
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_OK);
    const struct pl_files *files = shelf.config.files;
    struct pl_file file = { 0 };
    char path[64];
    path_of(1, path);
    assert_int_equal(files->open(files->world, &file, path, PL_FILE_READ), 0);
    assert_int_equal(count_events(&shelf, file), 60);
    for (uint64_t bit = PL_SEGFILE_HEADER * 8; bit < shelf.store->offset * 8; bit++) {
        assert_int_equal(pl_disk_flip(shelf.disk, path, bit), 0);
        assert_in_range(count_events(&shelf, file), 59, 60);
        assert_int_equal(pl_disk_flip(shelf.disk, path, bit), 0);
    }
    files->close(files->world, &file);
    shelf_finish(&shelf);
}

// ---- forgetting ---------------------------------------------------------------------------------

static void old_files_go_for_good(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 14);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    fill(&shelf, 200);
    struct pl_store *store = shelf.store;
    struct pl_place place = { 0 };
    bool found = false;
    assert_int_equal(pl_place_find(&place, store, 1, &found), PEAL_OK); // somebody reads there
    uint64_t third = store->volumes[2].base;
    uint64_t first = 0;
    assert_int_equal(pl_store_forget(store, third - 1, &first), PEAL_OK);
    assert_int_equal(first, place.volume.end);
    assert_int_equal(pl_store_forget(store, third, &first), PEAL_OK);
    assert_int_equal(first, third);
    assert_int_equal(pl_store_first(store), third);
    char byte;
    const struct pl_files *files = shelf.config.files;
    assert_int_equal(files->pread(files->world, place.file, &byte, 1, 0), 1); // open as yet
    pl_place_leave(&place, store);
    assert_null(get(store, third - 1));
    assert_int_equal(get(store, third)->position, third);
    struct pl_segment *segment = NULL;
    assert_int_equal(shelf_read(&shelf, &segment, 1), PEAL_OK);
    assert_int_equal(segment->first, third);
    pl_segment_unref(segment);
    assert_int_equal(pl_store_forget(store, UINT64_MAX, &first), PEAL_OK);
    assert_int_equal(store->volume_count, 2);
    pl_disk_crash(shelf.disk);
    shelf_leave(&shelf);
    shelf.life = 0;
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    assert_int_equal(pl_store_first(shelf.store), first);
    assert_int_equal(pl_store_recovery(shelf.store)->damaged, 0);
    shelf_finish(&shelf);
}

// ---- another process ----------------------------------------------------------------------------

static struct pl_store *open_reader(struct shelf *shelf)
{
    struct pl_store_config config = shelf->config;
    config.read_only = true;
    struct pl_store *reader = NULL;
    assert_int_equal(pl_store_open(&reader, &config), PEAL_OK);
    return reader;
}

static void a_reader_sees_what_another_process_writes(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 10);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    fill(&shelf, 5);
    struct pl_store *reader = open_reader(&shelf);
    assert_int_equal(pl_store_end(reader), 6);
    uint64_t calls = pl_disk_calls(shelf.disk, PL_DISK_WRITE | PL_DISK_SYNC | PL_DISK_NAME);
    for (uint64_t end = 6; end < 90; end = pl_log_end(&shelf.ledger.log)) {
        assert_int_equal(pl_store_written(reader), end);
        assert_null(get(reader, end));
        fill(&shelf, end % 4);
        shelf_batch(&shelf, 3, size_at(end));
        assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_OK);
        calls = pl_disk_calls(shelf.disk, PL_DISK_WRITE | PL_DISK_SYNC | PL_DISK_NAME);
        assert_null(get(reader, end)); // it has not looked
        assert_int_equal(pl_store_refresh(reader), PEAL_OK);
        assert_non_null(get(reader, end));
        assert_int_equal(get(reader, end)->position, end);
    }
    assert_int_equal(pl_disk_calls(shelf.disk, PL_DISK_WRITE | PL_DISK_SYNC | PL_DISK_NAME), calls);
    assert_true(shelf.store->volume_count > 3);
    assert_int_equal(reader->volume_count, shelf.store->volume_count);
    assert_int_equal(pl_store_settle(reader, &shelf.ledger.log, 1, PEAL_DURABILITY_OS),
                     PEAL_ESTATE);
    assert_int_equal(pl_store_close(reader, NULL), PEAL_OK);
    shelf_finish(&shelf);
}

static void a_reader_outlives_the_process_that_writes(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 11);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    struct pl_store *reader = open_reader(&shelf);
    for (uint64_t count = 1; count < 30; count++) {
        fill(&shelf, 1);
        assert_int_equal(shelf_close(&shelf), PEAL_OK);
        assert_int_equal(pl_store_refresh(reader), PEAL_OK);
        assert_int_equal(pl_store_written(reader), count + 1);
        assert_int_equal(shelf_open(&shelf), PEAL_OK);
        shelf.life = 1;
        assert_int_equal(pl_store_refresh(reader), PEAL_OK);
        assert_int_equal(pl_store_written(reader), count + 1);
        assert_int_equal(get(reader, count)->position, count);
    }
    assert_int_equal(pl_store_close(reader, NULL), PEAL_OK);
    shelf_finish(&shelf);
}

static void a_reader_waits_at_what_is_not_whole_until_it_is_known_to_be_lost(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 18);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    fill(&shelf, 5);
    struct pl_store *reader = open_reader(&shelf);
    uint64_t offset = shelf.store->offset;
    (void)shelf_append(&shelf, 100); // 6
    (void)shelf_append(&shelf, 100); // 7
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_OK);
    char path[64];
    path_of(shelf.store->base, path);
    assert_int_equal(pl_disk_flip(shelf.disk, path, (offset + 80) * 8), 0);
    assert_int_equal(pl_store_refresh(reader), PEAL_OK);
    assert_int_equal(pl_store_written(reader), 6);
    // The writer has no doubt, and notes it.
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_DISK), PEAL_OK);
    (void)shelf_append(&shelf, 100);
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_OK);
    assert_int_equal(pl_store_refresh(reader), PEAL_OK);
    assert_int_equal(pl_store_written(reader), 9);
    assert_null(get(reader, 6));
    assert_int_equal(get(reader, 7)->position, 7);
    assert_int_equal(get(reader, 8)->position, 8);
    assert_int_equal(pl_store_close(reader, NULL), PEAL_OK);
    shelf_finish(&shelf);
}

static void a_reader_forgets_what_was_forgotten(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 19);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    fill(&shelf, 200);
    struct pl_store *reader = open_reader(&shelf);
    assert_int_equal(pl_store_first(reader), 1);
    uint64_t first = 0;
    assert_int_equal(pl_store_forget(reader, 100, &first), PEAL_ESTATE);
    assert_int_equal(pl_store_forget(shelf.store, 100, &first), PEAL_OK);
    assert_true(first > 1);
    assert_int_equal(pl_store_refresh(reader), PEAL_OK);
    assert_int_equal(pl_store_first(reader), first);
    assert_null(get(reader, 1));
    assert_int_equal(get(reader, first)->position, first);
    assert_int_equal(pl_store_close(reader, NULL), PEAL_OK);
    shelf_finish(&shelf);
}

static void half_a_batch_is_not_seen(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 12);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    (void)shelf_append(&shelf, 10);
    shelf_batch(&shelf, 3, 150000); // it goes out in several writes
    pl_disk_inject(shelf.disk, &(struct pl_disk_fault){ .calls = PL_DISK_WRITE, .nth = 4 });
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_EIO);
    struct pl_store *reader = open_reader(&shelf);
    assert_in_range(pl_store_written(reader), 1, 2);
    assert_null(get(reader, 2));
    assert_int_equal(pl_store_close(reader, NULL), PEAL_OK);
    shelf_finish(&shelf);
}

static void where_there_is_no_log_there_is_nothing_to_read(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 13);
    struct pl_store *reader = NULL;
    shelf.config.read_only = true;
    assert_int_equal(pl_store_open(&reader, &shelf.config), PEAL_EIO);
    const struct pl_files *files = shelf.config.files;
    assert_int_equal(files->make_directory(files->world, SHELF_PATH), 0);
    assert_int_equal(pl_store_open(&reader, &shelf.config), PEAL_ENOTFOUND);
    assert_null(reader);
    shelf_finish(&shelf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_event_is_had_alone),
        cmocka_unit_test(one_event_takes_one_small_read),
        cmocka_unit_test(too_little_room_is_said_with_what_it_takes),
        cmocka_unit_test(the_source_of_an_older_file_comes_with_its_events),
        cmocka_unit_test(a_damaged_length_does_not_hide_what_follows),
        cmocka_unit_test(files_beyond_the_limit_are_closed_again),
        cmocka_unit_test(guides_beyond_the_limit_are_given_up),
        cmocka_unit_test(a_file_has_so_many_events_and_no_more),
        cmocka_unit_test(verifying_tells_damage_in_every_file),
        cmocka_unit_test(what_the_disk_does_not_read_is_told_and_passed),
        cmocka_unit_test(a_file_that_is_gone_is_missed),
        cmocka_unit_test(no_flipped_bit_costs_two_events_or_invents_one),
        cmocka_unit_test(old_files_go_for_good),
        cmocka_unit_test(a_reader_sees_what_another_process_writes),
        cmocka_unit_test(a_reader_outlives_the_process_that_writes),
        cmocka_unit_test(a_reader_waits_at_what_is_not_whole_until_it_is_known_to_be_lost),
        cmocka_unit_test(a_reader_forgets_what_was_forgotten),
        cmocka_unit_test(half_a_batch_is_not_seen),
        cmocka_unit_test(where_there_is_no_log_there_is_nothing_to_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
