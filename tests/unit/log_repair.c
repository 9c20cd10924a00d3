// SPDX-License-Identifier: MIT
//
// Repairing segment files: bytes of a copy that are nearly what is missing, headers that nobody
// knows, many holes, and files that go meanwhile. Nothing is written that is not provably what was.
#include "support/between.h"
#include "support/shelf.h"

#include <stdio.h>
#include <stdlib.h>

#include "log/pack.h"
#include "log/repair.h"

#define EVENTS 600
#define COPY   "/copy"
#define DATA   32 // so that a record has room for two notes, and for no third

static size_t size_at(uint64_t position)
{
    return position % 50 == 0 ? 300 : DATA;
}

// ---- files --------------------------------------------------------------------------------------

static char *load(const struct shelf *shelf, const char *path, size_t *size)
{
    const struct pl_files *files = pl_disk_files(shelf->disk);
    struct pl_file file = { 0 };
    assert_int_equal(files->open(files->world, &file, path, PL_FILE_READ), 0);
    *size = (size_t)files->size(files->world, file);
    char *bytes = malloc(*size + 1);
    assert_non_null(bytes);
    assert_int_equal(files->pread(files->world, file, bytes, *size, 0), *size);
    files->close(files->world, &file);
    return bytes;
}

static void store(const struct shelf *shelf, const char *path, const char *bytes, size_t size)
{
    const struct pl_files *files = pl_disk_files(shelf->disk);
    struct pl_file file = { 0 };
    (void)files->unlink(files->world, path);
    assert_int_equal(files->open(files->world, &file, path, PL_FILE_CREATE), 0);
    assert_int_equal(pl_files_write(files, file, bytes, size, 0), 0);
    files->close(files->world, &file);
}

static void path_of(const char *directory, uint64_t base, char out[64])
{
    int length = snprintf(out, 64, "%s/%020llu.seg", directory, (unsigned long long)base);
    assert_in_range(length, 1, 63);
}

// Which files there are, once it is closed: where they begin.
struct volumes {
    uint64_t bases[32];
    size_t count;
    uint64_t seed[2];
};

static struct volumes list_volumes(const struct shelf *shelf)
{
    struct volumes volumes = { .count = shelf->store->volume_count };
    assert_in_range(volumes.count, 4, 32);
    for (size_t i = 0; i < volumes.count; i++) {
        volumes.bases[i] = shelf->store->volumes[i].base;
    }
    memcpy(volumes.seed, shelf->store->seed, sizeof volumes.seed);
    return volumes;
}

// A log of several files, closed, and a copy of it.
static struct volumes make_log(struct shelf *shelf, uint64_t seed)
{
    shelf_init(shelf, seed);
    shelf->config.file_bytes = PL_STORE_FILE_MIN;
    assert_int_equal(shelf_open(shelf), PEAL_OK);
    for (uint64_t position = 1; position <= EVENTS; position++) {
        (void)shelf_append(shelf, size_at(position));
    }
    assert_int_equal(shelf_settle(shelf, PEAL_DURABILITY_DISK), PEAL_OK);
    struct volumes volumes = list_volumes(shelf);
    assert_int_equal(shelf_close(shelf), PEAL_OK);
    const struct pl_files *files = pl_disk_files(shelf->disk);
    assert_int_equal(files->make_directory(files->world, COPY), 0);
    for (size_t i = 0; i < volumes.count; i++) {
        char path[64];
        size_t size;
        path_of(SHELF_PATH, volumes.bases[i], path);
        char *bytes = load(shelf, path, &size);
        path_of(COPY, volumes.bases[i], path);
        store(shelf, path, bytes, size);
        free(bytes);
    }
    return volumes;
}

static uint64_t base_of(const struct volumes *volumes, uint64_t position)
{
    uint64_t base = 0;
    for (size_t i = 0; i < volumes->count && volumes->bases[i] <= position; i++) {
        base = volumes->bases[i];
    }
    return base;
}

// The record of an event among the bytes of its file.
static struct pl_frame *find_record(char *bytes, size_t size, uint64_t position)
{
    for (size_t at = PL_SEGFILE_HEADER; at + sizeof(struct pl_frame) <= size;) {
        struct pl_frame *record = (struct pl_frame *)(void *)(bytes + at);
        assert_true(pl_record_begins(record));
        if (pl_record_is_event(record) && record->position == position) {
            return record;
        }
        at += record->length;
    }
    fail_msg("there is no event at %llu", (unsigned long long)position);
    return NULL;
}

// Changes the record of an event in a file of a directory.
static void change(const struct shelf *shelf, const struct volumes *volumes, const char *directory,
                   uint64_t position, void (*how)(struct pl_frame *record, uint32_t salt))
{
    char path[64];
    size_t size;
    uint64_t base = base_of(volumes, position);
    path_of(directory, base, path);
    char *bytes = load(shelf, path, &size);
    how(find_record(bytes, size, position), pl_record_salt(volumes->seed, base));
    store(shelf, path, bytes, size);
    free(bytes);
}

static void flip(struct pl_frame *record, uint32_t salt)
{
    (void)salt;
    ((char *)(record + 1))[9] ^= 1;
}

static void damage(const struct shelf *shelf, const struct volumes *volumes, uint64_t position)
{
    change(shelf, volumes, SHELF_PATH, position, flip);
}

// Both halves of a header, or one.
static void damage_header(const struct shelf *shelf, uint64_t base, unsigned halves)
{
    char path[64];
    path_of(SHELF_PATH, base, path);
    for (unsigned half = 0; half < 2; half++) {
        if (halves & 1U << half) {
            assert_int_equal(pl_disk_flip(shelf->disk, path, (half * 2048ULL + 20) * 8), 0);
        }
    }
}

// ---- repairing ----------------------------------------------------------------------------------

struct told {
    uint64_t count, possible;
    char how[256]; // of the last one
    uint64_t first, end;
};

static void tell(const struct peal_mending *mending, void *context)
{
    struct told *told = context;
    told->count++;
    told->possible += mending->possible;
    told->first = mending->first;
    told->end = mending->end;
    (void)snprintf(told->how, sizeof told->how, "%s", mending->how);
}

static enum peal_err repair(struct shelf *shelf, struct told *told,
                            const struct peal_repair *wanted)
{
    struct peal_repair own = *wanted;
    struct peal_repaired out = { 0 };
    *told = (struct told){ 0 };
    own.step = tell;
    own.context = told;
    struct pl_repair repair = { .wanted = &own, .out = &out };
    enum peal_err err = pl_store_repair(shelf->store, &repair);
    assert_int_equal(out.found, told->count);
    assert_int_equal(out.mended, told->possible);
    return err;
}

static const struct peal_repair alone = { .copy = NULL }, from = { .copy = COPY };

static void open_again(struct shelf *shelf)
{
    shelf->life = 0; // all events are of the first
    assert_int_equal(shelf_open(shelf), PEAL_OK);
}

static void meet(void *context, const struct pl_frame *frame)
{
    (void)context;
    shelf_check(frame, size_at(frame->position), 1, NULL);
}

static uint64_t count_missing(struct shelf *shelf)
{
    return EVENTS - shelf_walk(shelf, 1, meet, NULL);
}

static int meet_name(void *context, const char *name)
{
    *(unsigned *)context += strncmp(name, "damaged-", 8) == 0;
    return 0;
}

static unsigned kept(const struct shelf *shelf)
{
    unsigned count = 0;
    const struct pl_files *files = pl_disk_files(shelf->disk);
    assert_int_equal(files->list(files->world, SHELF_PATH, meet_name, &count), 0);
    return count;
}

// ---- copies that are nearly right ---------------------------------------------------------------

static void is_of_another_position(struct pl_frame *record, uint32_t salt)
{
    record->position++;
    pl_record_seal(record, salt);
}

static void is_longer_than_the_hole(struct pl_frame *record, uint32_t salt)
{
    record->length += 64;
    pl_record_seal(record, salt);
}

static void is_no_record(struct pl_frame *record, uint32_t salt)
{
    (void)salt;
    record->length = 8;
}

static void says_notes_only(struct pl_frame *record, uint32_t salt)
{
    size_t size = record->length;
    assert_int_equal(size % sizeof *record, 0);
    uint64_t position = record->position;
    for (size_t i = 0; i < size / sizeof *record; i++) {
        pl_record_note(&record[i], position, salt);
    }
}

static void is_zeros(struct pl_frame *record, uint32_t salt)
{
    (void)salt;
    memset(record, 0, record->length);
}

static void is_zeros_and_something(struct pl_frame *record, uint32_t salt)
{
    (void)salt;
    char *bytes = (char *)record;
    size_t size = record->length;
    memset(bytes, 0, size);
    bytes[size - 1] = 1;
}

static void has_something_behind(struct pl_frame *record, uint32_t salt)
{
    record->length -= 8;
    record->flags = (uint16_t)(record->flags & ~PL_FLAG_PAD);
    memset((char *)record + record->length, 7, 8);
    pl_record_seal(record, salt);
}

static void bytes_of_a_copy_are_believed_only_if_they_are_what_is_missing(void **state)
{
    (void)state;
    static void (*const hows[])(struct pl_frame *, uint32_t) = {
        flip,     is_of_another_position, is_longer_than_the_hole, is_no_record, says_notes_only,
        is_zeros, is_zeros_and_something, has_something_behind,
    };
    for (size_t i = 0; i < sizeof hows / sizeof hows[0]; i++) {
        struct shelf shelf;
        struct told told;
        struct volumes volumes = make_log(&shelf, i + 1);
        const uint64_t position = volumes.bases[1] + 4;
        char path[64];
        size_t size, after;
        damage(&shelf, &volumes, position);
        change(&shelf, &volumes, COPY, position, hows[i]);
        path_of(SHELF_PATH, volumes.bases[1], path);
        char *before = load(&shelf, path, &size);
        open_again(&shelf);
        assert_int_equal(repair(&shelf, &told, &from), PEAL_OK);
        assert_int_equal(told.count, 1);
        assert_int_equal(told.possible, 0);
        assert_int_equal(told.first, position);
        assert_non_null(strstr(told.how, "does not have it whole"));
        assert_int_equal(kept(&shelf), 0);
        assert_int_equal(count_missing(&shelf), 1);
        char *bytes = load(&shelf, path, &after);
        assert_int_equal(after, size);
        assert_memory_equal(bytes, before, size);
        free(bytes);
        free(before);
        shelf_finish(&shelf);
    }
}

static void a_file_of_the_copy_that_was_renamed_is_not_taken(void **state)
{
    (void)state;
    struct shelf shelf;
    struct told told;
    struct volumes volumes = make_log(&shelf, 20);
    char path[64];
    size_t size;
    damage_header(&shelf, volumes.bases[0], 3);
    path_of(COPY, volumes.bases[1], path);
    char *bytes = load(&shelf, path, &size);
    path_of(COPY, volumes.bases[0], path);
    store(&shelf, path, bytes, size);
    free(bytes);
    open_again(&shelf);
    assert_int_equal(repair(&shelf, &told, &from), PEAL_OK);
    assert_int_equal(told.count, 1);
    assert_int_equal(told.possible, 0);
    shelf_finish(&shelf);
}

static void a_copy_whose_path_is_too_long_is_none(void **state)
{
    (void)state;
    static char copy[PL_STORE_PATH + 100];
    struct shelf shelf;
    struct told told;
    struct volumes volumes = make_log(&shelf, 21);
    memset(copy, 'a', sizeof copy - 1);
    damage(&shelf, &volumes, 3);
    open_again(&shelf);
    assert_int_equal(repair(&shelf, &told, &(struct peal_repair){ .copy = copy }), PEAL_OK);
    assert_int_equal(told.possible, 0);
    assert_non_null(strstr(told.how, "no such file"));
    shelf_finish(&shelf);
}

static void what_the_disk_does_not_give_is_told_and_left(void **state)
{
    (void)state;
    struct shelf shelf;
    struct told told;
    struct volumes volumes = make_log(&shelf, 22);
    char path[64];
    path_of(SHELF_PATH, volumes.bases[1], path);
    open_again(&shelf);
    assert_int_equal(pl_disk_spoil(shelf.disk, path, PL_SEGFILE_HEADER + 1024, 512), 0);
    assert_int_equal(repair(&shelf, &told, &from), PEAL_OK);
    assert_int_equal(told.count, 1);
    assert_int_equal(told.possible, 0); // how many bytes it is about nobody can say
    assert_int_equal(kept(&shelf), 0);
    shelf_finish(&shelf);
}

// ---- headers ------------------------------------------------------------------------------------

static void headers_that_stand_side_by_side_need_the_copy(void **state)
{
    (void)state;
    struct shelf shelf;
    struct told told;
    struct volumes volumes = make_log(&shelf, 30);
    damage_header(&shelf, volumes.bases[1], 3);
    damage_header(&shelf, volumes.bases[2], 3);
    open_again(&shelf);
    assert_int_equal(repair(&shelf, &told, &alone), PEAL_OK);
    assert_int_equal(told.count, 2);
    assert_int_equal(told.possible, 0);
    assert_non_null(strstr(told.how, "only a copy knows"));
    assert_int_equal(repair(&shelf, &told, &from), PEAL_OK);
    assert_int_equal(told.possible, 2);
    assert_int_equal(shelf_close(&shelf), PEAL_OK);
    open_again(&shelf);
    assert_int_equal(repair(&shelf, &told, &alone), PEAL_OK);
    assert_int_equal(told.count, 0);
    assert_int_equal(count_missing(&shelf), 0);
    shelf_finish(&shelf);
}

static void the_header_of_the_last_file_is_not_guessed(void **state)
{
    (void)state;
    struct shelf shelf;
    struct told told;
    struct volumes volumes = make_log(&shelf, 31);
    damage_header(&shelf, volumes.bases[volumes.count - 1], 3);
    shelf.config.read_only = true; // who writes begins another behind it
    open_again(&shelf);
    const struct peal_repair look = { .dry_run = true }, would = { .copy = COPY, .dry_run = true };
    assert_int_equal(repair(&shelf, &told, &look), PEAL_OK);
    assert_int_equal(told.count, 1);
    assert_int_equal(told.possible, 0);
    assert_int_equal(repair(&shelf, &told, &would), PEAL_OK);
    assert_int_equal(told.possible, 1);
    assert_int_equal(kept(&shelf), 0);
    shelf_finish(&shelf);
}

// What the file before a failure is said to hold, only its own header knew.
static void the_header_of_a_file_that_failed_is_not_guessed(void **state)
{
    (void)state;
    struct shelf shelf;
    struct told told;
    shelf_init(&shelf, 32);
    shelf.config.go_on = true;
    shelf.config.file_bytes = PL_STORE_FILE_MIN;
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    for (uint64_t position = 1; position <= EVENTS; position++) {
        (void)shelf_append(&shelf, size_at(position));
        if (position == EVENTS / 2) {
            pl_disk_inject(shelf.disk, &(struct pl_disk_fault){ .calls = PL_DISK_SYNC, .nth = 1 });
        }
        enum peal_err err = shelf_settle(&shelf, PEAL_DURABILITY_DISK);
        assert_true(err == PEAL_OK || position == EVENTS / 2);
    }
    struct volumes volumes = list_volumes(&shelf);
    uint64_t failed = base_of(&volumes, EVENTS / 2 - 1);
    assert_int_equal(base_of(&volumes, EVENTS / 2 + 1), EVENTS / 2 + 1);
    assert_int_equal(shelf_close(&shelf), PEAL_OK);
    damage_header(&shelf, failed, 3);
    open_again(&shelf);
    assert_int_equal(repair(&shelf, &told, &alone), PEAL_OK);
    assert_int_equal(told.possible, 0);
    assert_true(told.count > 0);
    shelf_finish(&shelf);
}

// ---- many holes ---------------------------------------------------------------------------------

#define HOLES 40

static struct volumes make_holes(struct shelf *shelf, uint64_t seed)
{
    struct volumes volumes = make_log(shelf, seed);
    for (uint64_t i = 0; i < HOLES; i++) {
        damage(shelf, &volumes, 3 + i * 9);
    }
    open_again(shelf);
    return volumes;
}

static void any_number_of_holes_is_mended(void **state)
{
    (void)state;
    struct shelf shelf;
    struct told told;
    (void)make_holes(&shelf, 40);
    assert_int_equal(count_missing(&shelf), HOLES);
    assert_int_equal(repair(&shelf, &told, &from), PEAL_OK);
    assert_int_equal(told.count, HOLES);
    assert_int_equal(told.possible, HOLES);
    assert_int_equal(count_missing(&shelf), 0);
    assert_int_equal(kept(&shelf), 1);
    shelf_finish(&shelf);
}

static bool stop(uint64_t done, uint64_t total, void *context)
{
    (void)context;
    assert_true(done <= total);
    return false;
}

static void who_stops_looking_has_mended_what_was_found_by_then(void **state)
{
    (void)state;
    struct shelf shelf;
    struct told told;
    (void)make_holes(&shelf, 41);
    const struct peal_repair stopped = { .copy = COPY, .progress = stop };
    assert_int_equal(repair(&shelf, &told, &stopped), PEAL_OK);
    assert_in_range(told.possible, 1, HOLES - 1);
    assert_int_equal(count_missing(&shelf), HOLES - told.possible);
    assert_int_equal(repair(&shelf, &told, &from), PEAL_OK);
    assert_int_equal(count_missing(&shelf), 0);
    shelf_finish(&shelf);
}

static void whichever_allocation_fails_nothing_is_worse(void **state)
{
    (void)state;
    unsigned refused = 0;
    bool reached = true;
    for (size_t nth = 1; reached; nth++) {
        struct shelf shelf;
        struct told told;
        (void)make_holes(&shelf, 42);
        struct failing *memory = &shelf.ledger.memory;
        size_t before = memory->calls;
        memory->fail_at = before + nth;
        enum peal_err err = repair(&shelf, &told, &from);
        reached = memory->calls - before >= nth;
        memory->fail_at = 0;
        assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
        assert_int_equal(count_missing(&shelf), HOLES - told.possible);
        refused += err != PEAL_OK;
        assert_int_equal(repair(&shelf, &told, &from), PEAL_OK);
        assert_int_equal(count_missing(&shelf), 0);
        shelf_finish(&shelf);
    }
    assert_true(refused > HOLES);
}

// ---- files that go meanwhile --------------------------------------------------------------------

// Another process forgets the oldest file, and this one takes notice, before a call of a kind.
struct forgetter {
    struct shelf *writer;
    struct pl_store *reader;
    unsigned call;
    uint64_t nth;
};

static void forget_oldest(void *context, enum pl_disk_call call, const char *path)
{
    struct forgetter *forgetter = context;
    struct pl_store *written = forgetter->writer->store;
    uint64_t first = 0;
    (void)path;
    if (call & forgetter->call && forgetter->nth > 0 && --forgetter->nth == 0) {
        uint64_t behind = written->volumes[1].base;
        assert_int_equal(pl_store_forget(written, behind, &first), PEAL_OK);
        assert_int_equal(first, behind);
        assert_int_equal(pl_store_refresh(forgetter->reader), PEAL_OK);
        assert_int_equal(pl_store_first(forgetter->reader), behind);
    }
}

// Looks at a damaged log while its oldest file goes; false: there are not so many calls.
static bool look_while_it_goes(unsigned call, uint64_t nth, const char *copy)
{
    struct shelf shelf, reading;
    struct told told;
    struct volumes volumes = make_log(&shelf, nth);
    damage(&shelf, &volumes, 3);
    damage_header(&shelf, volumes.bases[0], 3);
    damage(&shelf, &volumes, EVENTS - 3); // in the last file
    open_again(&shelf);
    struct forgetter forgetter = { .writer = &shelf, .call = call };
    struct between between = { .real = shelf.config.files, .context = &forgetter };
    between.meet = forget_oldest;
    between_init(&between);
    reading = shelf;
    reading.config.files = &between.files;
    reading.config.read_only = true;
    assert_int_equal(pl_store_open(&reading.store, &reading.config), PEAL_OK);
    forgetter.reader = reading.store;
    forgetter.nth = nth;
    const struct peal_repair look = { .copy = copy, .dry_run = true };
    assert_int_equal(repair(&reading, &told, &look), PEAL_OK);
    bool met = forgetter.nth == 0;
    assert_int_equal(told.possible > 0, copy != NULL); // the one that stays, at least
    assert_int_equal(told.first, EVENTS - 3);
    forgetter.nth = 0;
    assert_int_equal(pl_store_close(reading.store, NULL), PEAL_OK);
    shelf_finish(&shelf);
    return met;
}

static void a_file_that_is_forgotten_meanwhile_needs_no_mending(void **state)
{
    (void)state;
    static const unsigned calls[] = { PL_DISK_OPEN, PL_DISK_READ, PL_DISK_LOOK };
    for (size_t i = 0; i < 6; i++) {
        uint64_t nth = 1;
        for (; look_while_it_goes(calls[i / 2], nth, i % 2 ? COPY : NULL); nth++) {
        }
        assert_true(nth > 3);
    }
}

// ---- archives -----------------------------------------------------------------------------------

static void the_header_of_an_archive_is_told_once_and_left(void **state)
{
    (void)state;
    struct shelf shelf;
    struct told told;
    if (!pl_pack_is_here()) {
        return; // there are no archives
    }
    struct volumes volumes = make_log(&shelf, 50);
    open_again(&shelf);
    struct pl_archived archived = { 0 };
    const struct pl_archive_wanted wanted = { .below = UINT64_MAX };
    assert_int_equal(pl_store_archive(&archived, shelf.store, &wanted), PEAL_OK);
    assert_int_equal(archived.base, volumes.bases[0]);
    assert_int_equal(shelf_close(&shelf), PEAL_OK);
    // The first frame, which is half of the header, is behind the table of all.
    uint64_t offset = pl_archive_head_size(3) + 20;
    char path[64];
    (void)snprintf(path, sizeof path, SHELF_PATH "/%s", archived.name);
    assert_int_equal(pl_disk_flip(shelf.disk, path, offset * 8), 0);
    open_again(&shelf);
    assert_int_equal(repair(&shelf, &told, &from), PEAL_OK);
    assert_int_equal(told.count, 1);
    assert_int_equal(told.possible, 0);
    assert_non_null(strstr(told.how, "it is an archive"));
    assert_int_equal(count_missing(&shelf), 0);
    shelf_finish(&shelf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_of_a_copy_are_believed_only_if_they_are_what_is_missing),
        cmocka_unit_test(a_file_of_the_copy_that_was_renamed_is_not_taken),
        cmocka_unit_test(a_copy_whose_path_is_too_long_is_none),
        cmocka_unit_test(what_the_disk_does_not_give_is_told_and_left),
        cmocka_unit_test(headers_that_stand_side_by_side_need_the_copy),
        cmocka_unit_test(the_header_of_the_last_file_is_not_guessed),
        cmocka_unit_test(the_header_of_a_file_that_failed_is_not_guessed),
        cmocka_unit_test(any_number_of_holes_is_mended),
        cmocka_unit_test(who_stops_looking_has_mended_what_was_found_by_then),
        cmocka_unit_test(whichever_allocation_fails_nothing_is_worse),
        cmocka_unit_test(a_file_that_is_forgotten_meanwhile_needs_no_mending),
        cmocka_unit_test(the_header_of_an_archive_is_told_once_and_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
