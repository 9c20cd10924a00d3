// SPDX-License-Identifier: MIT
//
// Erasing events from the files of a store: small files and large ones, events larger than what is
// copied at once, while others write, and when it is stopped or cannot go on.
#include "support/between.h"
#include "support/shelf.h"

#include "log/erasure.h"
#include "support/stage.h"
// the stage comes first
#include "support/leftover.h"

#define SUBJECT "a subject" // of every fifth event of a shelf
#define EVENTS  1500
#define LARGE   700 // an event of more bytes than are copied at once
#define ALL     UINT64_MAX

static size_t size_at(uint64_t position)
{
    return position == LARGE ? 300000 : 800 + position % 200;
}

static bool is_theirs(uint64_t position)
{
    return position % 5 == 0;
}

static void append(struct shelf *shelf, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        (void)shelf_append(shelf, size_at(pl_log_end(&shelf->ledger.log)));
    }
    assert_int_equal(shelf_settle(shelf, PEAL_DURABILITY_DISK), PEAL_OK);
}

// A store whose events all lie in one file, which grows, of more than a megabyte.
static void begin(struct shelf *shelf, uint64_t seed)
{
    shelf_init(shelf, seed);
    shelf->config.file_bytes = 4 << 20;
    assert_int_equal(shelf_open(shelf), PEAL_OK);
    append(shelf, EVENTS);
    assert_int_equal(shelf->store->volume_count, 1);
}

static enum peal_err erase(struct shelf *shelf, struct pl_erased *out,
                           const struct pl_erasure *wanted)
{
    struct pl_erasure erasure = *wanted;
    erasure.subject = SUBJECT;
    *out = (struct pl_erased){ 0 };
    return pl_store_erase(out, shelf->store, &erasure);
}

// How many positions below `end` have no event any more; all others have theirs.
static uint64_t count_erased(struct shelf *shelf, uint64_t end)
{
    uint64_t erased = 0;
    for (uint64_t position = 1; position < end;) {
        struct pl_segment *segment = NULL;
        assert_int_equal(shelf_read(shelf, &segment, position), PEAL_OK);
        assert_non_null(segment);
        assert_int_equal(segment->first, position); // nothing is lost
        for (; pl_segment_has(segment, position) && position < end; position++) {
            const struct pl_frame *frame = pl_segment_frame(segment, position);
            assert_true(frame || is_theirs(position));
            erased += frame == NULL;
            if (frame) {
                shelf_check(frame, size_at(position), 1, NULL);
            }
        }
        pl_segment_unref(segment);
    }
    return erased;
}

static void meet_damage(void *context, const char *path, const struct pl_damage *damage)
{
    (void)context;
    fail_msg("%s is damaged at %llu", path, (unsigned long long)damage->offset);
}

static void meet_erased(void *context, uint64_t position)
{
    assert_true(is_theirs(position));
    ++*(uint64_t *)context;
}

static uint64_t verify(struct shelf *shelf)
{
    static const struct pl_verify_ops ops = { .damage = meet_damage, .erased = meet_erased };
    uint64_t erased = 0;
    assert_int_equal(pl_store_verify(shelf->store, &ops, &erased), PEAL_OK);
    return erased;
}

static bool is_left(const struct shelf *shelf)
{
    return leftover_in(pl_disk_files(shelf->disk), SHELF_PATH, SUBJECT);
}

static void check_erased(struct shelf *shelf, uint64_t end)
{
    assert_int_equal(count_erased(shelf, end), (end - 1) / 5);
    assert_int_equal(verify(shelf), (end - 1) / 5);
    assert_false(is_left(shelf));
}

// ---- large files --------------------------------------------------------------------------------

static bool note_progress(void *context, uint64_t done, uint64_t total)
{
    uint64_t *last = context;
    assert_true(done >= *last && total > 0);
    *last = done;
    return true;
}

static void an_event_that_spans_what_is_copied_at_once_goes_whole(void **state)
{
    (void)state;
    struct shelf shelf;
    struct pl_erased erased;
    uint64_t done = 0;
    begin(&shelf, 1);
    const struct pl_files *files = shelf.config.files;
    struct pl_file old = { 0 }; // of a reader, who had the file open before
    static const char path[] = SHELF_PATH "/00000000000000000001.seg";
    assert_int_equal(files->open(files->world, &old, path, PL_FILE_READ), 0);
    const struct pl_erasure wanted = { .end = ALL, .progress = note_progress, .context = &done };
    assert_int_equal(erase(&shelf, &erased, &wanted), PEAL_OK);
    assert_int_equal(erased.events, EVENTS / 5);
    assert_int_equal(erased.files, 1);
    assert_int_equal(erased.damaged, 0);
    assert_true(done > 1 << 20);
    check_erased(&shelf, EVENTS + 1);
    static char bytes[4 << 20];
    int64_t size = files->pread(files->world, old, bytes, sizeof bytes, 0);
    assert_true(size > 1 << 20);
    assert_null(memmem(bytes, (size_t)size, SUBJECT, strlen(SUBJECT)));
    files->close(files->world, &old);
    assert_int_equal(shelf_close(&shelf), PEAL_OK);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    check_erased(&shelf, EVENTS + 1);
    shelf_finish(&shelf);
}

static bool stop_at_once(void *context, uint64_t done, uint64_t total)
{
    (void)context;
    (void)done;
    (void)total;
    return false;
}

static void what_is_stopped_says_so_and_another_does_the_rest(void **state)
{
    (void)state;
    struct shelf shelf;
    struct pl_erased erased;
    begin(&shelf, 2);
    const struct pl_erasure stopped = { .end = ALL, .progress = stop_at_once };
    assert_int_equal(erase(&shelf, &erased, &stopped), PEAL_ESTATE);
    assert_non_null(strstr(peal_error_sentence(), "was stopped"));
    assert_int_equal(count_erased(&shelf, EVENTS + 1), 0); // within the first file
    assert_int_equal(erase(&shelf, &erased, &(struct pl_erasure){ .end = ALL }), PEAL_OK);
    assert_int_equal(erased.events, EVENTS / 5);
    check_erased(&shelf, EVENTS + 1);
    shelf_finish(&shelf);
}

// ---- beside others ------------------------------------------------------------------------------

// Somebody publishes, until the file that is looked at ends and another begins.
static bool publish_much(void *context, uint64_t done, uint64_t total)
{
    struct shelf *shelf = context;
    (void)done;
    (void)total;
    if (shelf->store->volume_count == 1) {
        append(shelf, 3000);
        assert_true(shelf->store->volume_count > 1);
    }
    return true;
}

static void a_file_that_ends_while_it_is_looked_at_is_looked_at_again(void **state)
{
    (void)state;
    struct shelf shelf;
    struct pl_erased erased;
    begin(&shelf, 3);
    const struct pl_erasure wanted = { .end = EVENTS + 1,
                                       .progress = publish_much,
                                       .context = &shelf };
    assert_int_equal(erase(&shelf, &erased, &wanted), PEAL_OK);
    assert_int_equal(erased.events, EVENTS / 5);
    assert_int_equal(count_erased(&shelf, EVENTS + 3001), EVENTS / 5); // none published since
    assert_int_equal(verify(&shelf), EVENTS / 5);
    shelf_finish(&shelf);
}

static void what_is_not_written_yet_is_none_of_the_files(void **state)
{
    (void)state;
    struct shelf shelf;
    struct pl_erased erased;
    begin(&shelf, 4);
    for (int i = 0; i < 10; i++) {
        (void)shelf_append(&shelf, size_at(pl_log_end(&shelf.ledger.log)));
    }
    assert_int_equal(erase(&shelf, &erased, &(struct pl_erasure){ .end = ALL }), PEAL_OK);
    assert_int_equal(erased.events, EVENTS / 5);
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_DISK), PEAL_OK);
    assert_int_equal(count_erased(&shelf, EVENTS + 11), EVENTS / 5);
    shelf_finish(&shelf);
}

static void who_only_reads_may_count_and_no_more(void **state)
{
    (void)state;
    struct shelf shelf;
    struct pl_erased erased;
    begin(&shelf, 5);
    assert_int_equal(shelf_close(&shelf), PEAL_OK);
    shelf.config.read_only = true;
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    shelf.life = 1;
    assert_int_equal(erase(&shelf, &erased, &(struct pl_erasure){ .end = ALL }), PEAL_ESTATE);
    assert_non_null(strstr(peal_error_sentence(), "read only"));
    const struct pl_erasure look = { .end = ALL, .unread = 1001, .dry_run = true };
    assert_int_equal(erase(&shelf, &erased, &look), PEAL_OK);
    assert_int_equal(erased.events, EVENTS / 5);
    assert_int_equal(erased.unread, (EVENTS - 1000) / 5);
    assert_int_equal(count_erased(&shelf, EVENTS + 1), 0);
    shelf_finish(&shelf);
}

static void in_a_store_that_has_failed_they_are_counted_and_stay(void **state)
{
    (void)state;
    struct shelf shelf;
    struct pl_erased erased;
    begin(&shelf, 6);
    pl_disk_inject(shelf.disk, &(struct pl_disk_fault){ .calls = PL_DISK_WRITE, .nth = 1 });
    (void)shelf_append(&shelf, 10);
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_DISK), PEAL_EIO);
    const struct pl_erasure all = { .end = ALL }, look = { .end = ALL, .dry_run = true };
    assert_int_equal(erase(&shelf, &erased, &all), PEAL_EIO);
    assert_non_null(strstr(peal_error_sentence(), "has failed"));
    assert_int_equal(erase(&shelf, &erased, &look), PEAL_OK);
    assert_int_equal(erased.events, EVENTS / 5);
    assert_int_equal(count_erased(&shelf, EVENTS + 1), 0);
    shelf_finish(&shelf);
}

// ---- reads that end too early -------------------------------------------------------------------

// A file that is shorter than it said costs nobody's event, and none that was meant is forgotten.
static void a_read_that_gives_nothing_costs_no_event_of_others(void **state)
{
    (void)state;
    uint64_t failed = 0;
    bool met = true;
    for (uint64_t nth = 1; met; nth++) {
        struct shelf shelf;
        struct pl_erased erased;
        struct between between = { .real = NULL };
        shelf_init(&shelf, nth);
        between.real = shelf.config.files;
        between_init(&between);
        shelf.config.files = &between.files;
        assert_int_equal(shelf_open(&shelf), PEAL_OK);
        append(&shelf, 140); // in three files
        assert_int_equal(shelf.store->volume_count, 3);
        between.empty_read = nth;
        enum peal_err err = erase(&shelf, &erased, &(struct pl_erasure){ .end = ALL });
        met = between.empty_read == 0;
        between.empty_read = 0;
        assert_true(err == PEAL_OK || err == PEAL_EIO);
        failed += err == PEAL_EIO;
        assert_true(count_erased(&shelf, 141) <= 28);
        assert_int_equal(erase(&shelf, &erased, &(struct pl_erasure){ .end = ALL }), PEAL_OK);
        check_erased(&shelf, 141);
        shelf_finish(&shelf);
    }
    assert_true(failed > 2);
}

// ---- what belongs to a subject ------------------------------------------------------------------

static void a_snapshot_belongs_to_the_subject_at_its_end(void **state)
{
    (void)state;
    assert_int_equal(pl_belongs("a", "a"), PL_BELONGS);
    assert_int_equal(pl_belongs(NULL, "a"), PL_BELONGS_NOT);
    assert_int_equal(pl_belongs("ab", "a"), PL_BELONGS_NOT);
    assert_int_equal(pl_belongs("$snapshot/account/a", "a"), PL_BELONGS_AS_SNAPSHOT);
    assert_int_equal(pl_belongs("$snapshot/account/a/b", "a/b"), PL_BELONGS_AS_SNAPSHOT);
    assert_int_equal(pl_belongs("$snapshot/account/a/b", "b"), PL_BELONGS_NOT);
    assert_int_equal(pl_belongs("$snapshot/account/b", "a"), PL_BELONGS_NOT);
    assert_int_equal(pl_belongs("$snapshot/a", "a"), PL_BELONGS_NOT); // of no aggregate
    assert_int_equal(pl_belongs("$snapshots/account/a", "a"), PL_BELONGS_NOT);
}

static void an_event_is_erased_in_memory_only_where_it_was_and_is_gone(void **state)
{
    (void)state;
    struct shelf shelf;
    struct pl_erased erased = { 0 };
    shelf_init(&shelf, 7);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    append(&shelf, 20);
    struct pl_log *log = &shelf.ledger.log;
    assert_false(pl_log_is_erased(log, 5));
    pl_log_erase(log, &(struct pl_erasure){ .subject = SUBJECT, .end = 11 }, &erased);
    assert_int_equal(erased.events, 2);
    assert_true(pl_log_is_erased(log, 5));
    assert_true(pl_log_is_erased(log, 10));
    static const uint64_t there[] = { 0, 1, 4, 6, 15, 20, 21, 22, ALL };
    for (size_t i = 0; i < sizeof there / sizeof there[0]; i++) {
        assert_false(pl_log_is_erased(log, there[i]));
    }
    shelf_finish(&shelf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_that_spans_what_is_copied_at_once_goes_whole),
        cmocka_unit_test(what_is_stopped_says_so_and_another_does_the_rest),
        cmocka_unit_test(a_file_that_ends_while_it_is_looked_at_is_looked_at_again),
        cmocka_unit_test(what_is_not_written_yet_is_none_of_the_files),
        cmocka_unit_test(who_only_reads_may_count_and_no_more),
        cmocka_unit_test(in_a_store_that_has_failed_they_are_counted_and_stay),
        cmocka_unit_test(a_read_that_gives_nothing_costs_no_event_of_others),
        cmocka_unit_test(a_snapshot_belongs_to_the_subject_at_its_end),
        cmocka_unit_test(an_event_is_erased_in_memory_only_where_it_was_and_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
