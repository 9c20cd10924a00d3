// SPDX-License-Identifier: MIT
//
// Erasing events from files that were archived: an archive with events of the subject gives way to
// a plain file without them, and none of its bytes are left; others stay as they are.
#include "support/between.h"
#include "support/shelf.h"

#include "log/erasure.h"
#include "support/stage.h"
// the stage comes first
#include "support/leftover.h"

#include <errno.h>

#define SUBJECT "a subject" // of every fifth event of a shelf
#define EVENTS  400
#define FIRST   SHELF_PATH "/00000000000000000001.seg"

static size_t size_at(uint64_t position)
{
    return 50 + position % 300;
}

// A store of several files, of which all but two are archives.
static void begin(struct shelf *shelf, const struct pl_files *files)
{
    struct pl_archive_wanted wanted = { .below = UINT64_MAX };
    struct pl_archived archived = { .base = 1 };
    shelf->config.files = files;
    shelf->config.file_bytes = PL_STORE_FILE_MIN;
    assert_int_equal(shelf_open(shelf), PEAL_OK);
    for (uint64_t position = 1; position <= EVENTS; position++) {
        (void)shelf_append(shelf, size_at(position));
    }
    assert_int_equal(shelf_settle(shelf, PEAL_DURABILITY_DISK), PEAL_OK);
    for (; archived.base; wanted.from = archived.end) {
        assert_int_equal(pl_store_archive(&archived, shelf->store, &wanted), PEAL_OK);
    }
    struct pl_holdings holdings;
    pl_store_holdings(&holdings, shelf->store);
    assert_true(holdings.archived > 2);
    assert_int_equal(holdings.files, holdings.archived + 2);
}

static void begin_new(struct shelf *shelf, uint64_t seed)
{
    shelf_init(shelf, seed);
    begin(shelf, shelf->config.files);
}

static enum peal_err erase_below(struct shelf *shelf, uint64_t end, struct pl_erased *out)
{
    const struct pl_erasure erasure = { .subject = SUBJECT, .end = end };
    *out = (struct pl_erased){ 0 };
    return pl_store_erase(out, shelf->store, &erasure);
}

// How many positions have no event any more; all others have theirs.
static uint64_t count_erased(struct shelf *shelf)
{
    uint64_t erased = 0;
    for (uint64_t position = 1; position <= EVENTS;) {
        struct pl_segment *segment = NULL;
        assert_int_equal(shelf_read(shelf, &segment, position), PEAL_OK);
        assert_non_null(segment);
        assert_int_equal(segment->first, position); // nothing is lost
        for (; pl_segment_has(segment, position); position++) {
            const struct pl_frame *frame = pl_segment_frame(segment, position);
            assert_true(frame || position % 5 == 0);
            erased += frame == NULL;
            if (frame) {
                shelf_check(frame, size_at(position), 1, NULL);
            }
        }
        pl_segment_unref(segment);
    }
    return erased;
}

static uint64_t count_archives(struct shelf *shelf)
{
    struct pl_holdings holdings;
    pl_store_holdings(&holdings, shelf->store);
    return holdings.archived;
}

static bool is_there(const struct shelf *shelf, const char *path)
{
    const struct pl_files *files = pl_disk_files(shelf->disk);
    struct pl_file file = { 0 };
    bool there = files->open(files->world, &file, path, PL_FILE_READ) == 0;
    files->close(files->world, &file);
    return there;
}

static void meet_damage(void *context, const char *path, const struct pl_damage *damage)
{
    (void)context;
    fail_msg("%s is damaged at %llu", path, (unsigned long long)damage->offset);
}

// All of it is erased, for good.
static void check_erased(struct shelf *shelf)
{
    static const struct pl_verify_ops ops = { .damage = meet_damage };
    struct pl_erased erased;
    assert_int_equal(erase_below(shelf, UINT64_MAX, &erased), PEAL_OK);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(count_erased(shelf), EVENTS / 5);
        assert_int_equal(pl_store_verify(shelf->store, &ops, NULL), PEAL_OK);
        assert_int_equal(count_archives(shelf), 0);
        assert_false(is_there(shelf, FIRST ".zst"));
        assert_false(leftover_in(pl_disk_files(shelf->disk), SHELF_PATH, SUBJECT));
        if (round == 0) {
            pl_disk_crash(shelf->disk);
            shelf_leave(shelf);
            shelf->life = 0;
            assert_int_equal(shelf_open(shelf), PEAL_OK);
        }
    }
}

static void an_archive_gives_way_to_a_plain_file_and_its_bytes_are_gone(void **state)
{
    (void)state;
    struct shelf shelf;
    struct pl_erased erased;
    begin_new(&shelf, 1);
    const struct pl_files *files = shelf.config.files;
    uint64_t archives = count_archives(&shelf), end = shelf.store->volumes[0].end;
    struct pl_file old = { 0 }; // of another process, which had it open before
    assert_int_equal(files->open(files->world, &old, FIRST ".zst", PL_FILE_READ), 0);
    assert_true(files->size(files->world, old) > 0);
    assert_int_equal(erase_below(&shelf, end, &erased), PEAL_OK);
    assert_int_equal(erased.events, (end - 1) / 5);
    assert_int_equal(count_archives(&shelf), archives - 1);
    assert_true(is_there(&shelf, FIRST));
    assert_false(is_there(&shelf, FIRST ".zst"));
    assert_int_equal(files->size(files->world, old), 0); // should its name come back
    files->close(files->world, &old);
    assert_int_equal(count_erased(&shelf), (end - 1) / 5);
    check_erased(&shelf);
    shelf_finish(&shelf);
}

// Bytes of an archive that is to go, as they were before it was emptied.
struct watched {
    struct shelf *shelf;
    struct pl_file file;
    bool seen_zeros, seen_other;
};

static void look(void *context, enum pl_disk_call call, const char *path)
{
    struct watched *watched = context;
    static char bytes[1 << 15];
    const struct pl_files *files = pl_disk_files(watched->shelf->disk);
    (void)path;
    if (call != PL_DISK_RESIZE || !watched->file.number) {
        return;
    }
    int64_t size = files->pread(files->world, watched->file, bytes, sizeof bytes, 0);
    for (int64_t i = 0; i < size; i++) {
        watched->seen_zeros = watched->seen_zeros || bytes[i] == 0;
        watched->seen_other = watched->seen_other || bytes[i] != 0;
    }
}

// A disk that only took its name would have them still.
static void the_bytes_of_an_archive_are_overwritten_before_they_are_cut(void **state)
{
    (void)state;
    struct shelf shelf;
    struct pl_erased erased;
    struct watched watched = { .shelf = &shelf };
    struct between between = { .meet = look, .context = &watched };
    shelf_init(&shelf, 2);
    between.real = pl_disk_files(shelf.disk);
    between_init(&between);
    begin(&shelf, &between.files);
    assert_int_equal(
        between.real->open(between.real->world, &watched.file, FIRST ".zst", PL_FILE_READ), 0);
    watched.seen_other = false; // room for the copy is taken first: there it is as it was
    assert_int_equal(erase_below(&shelf, 2, &erased), PEAL_OK);
    assert_int_equal(erased.events, 0);
    assert_false(watched.seen_zeros || watched.seen_other); // nothing was changed
    assert_int_equal(erase_below(&shelf, shelf.store->volumes[0].end, &erased), PEAL_OK);
    assert_true(watched.seen_zeros);
    between.real->close(between.real->world, &watched.file);
    check_erased(&shelf);
    shelf_finish(&shelf);
}

static void whichever_call_fails_nothing_of_others_is_lost(void **state)
{
    (void)state;
    static const int errors[] = { EIO, ENOSPC };
    unsigned failed = 0;
    bool reached = true;
    for (uint64_t nth = 1; reached; nth++) {
        struct shelf shelf;
        struct pl_erased erased;
        begin_new(&shelf, nth);
        uint64_t end = shelf.store->volumes[1].end, before = pl_disk_calls(shelf.disk, 0);
        const struct pl_disk_fault fault = { .nth = nth, .error = errors[nth % 2] };
        pl_disk_inject(shelf.disk, &fault);
        enum peal_err err = erase_below(&shelf, end, &erased);
        reached = pl_disk_calls(shelf.disk, 0) - before >= nth;
        pl_disk_heal(shelf.disk);
        assert_true(err == PEAL_OK || err == PEAL_EIO);
        failed += err != PEAL_OK;
        assert_in_range(count_erased(&shelf), err ? 0 : (end - 1) / 5, (end - 1) / 5);
        check_erased(&shelf);
        shelf_finish(&shelf);
    }
    assert_true(failed > 20);
}

static void wherever_the_power_goes_nothing_of_others_is_lost(void **state)
{
    (void)state;
    enum peal_err err = PEAL_EIO;
    for (uint64_t nth = 1; err; nth++) {
        struct shelf shelf;
        struct pl_erased erased;
        begin_new(&shelf, nth * 7);
        uint64_t end = shelf.store->volumes[1].end;
        pl_disk_inject(shelf.disk, &(struct pl_disk_fault){ .nth = nth, .for_ever = true });
        err = erase_below(&shelf, end, &erased);
        pl_disk_crash(shelf.disk);
        pl_disk_heal(shelf.disk);
        shelf_leave(&shelf);
        shelf.life = 0;
        assert_int_equal(shelf_open(&shelf), PEAL_OK);
        assert_in_range(count_erased(&shelf), err ? 0 : (end - 1) / 5, (end - 1) / 5);
        check_erased(&shelf);
        shelf_finish(&shelf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_archive_gives_way_to_a_plain_file_and_its_bytes_are_gone),
        cmocka_unit_test(the_bytes_of_an_archive_are_overwritten_before_they_are_cut),
        cmocka_unit_test(whichever_call_fails_nothing_of_others_is_lost),
        cmocka_unit_test(wherever_the_power_goes_nothing_of_others_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
