// SPDX-License-Identifier: MIT
//
// Stores: what is settled is there when it is opened again, whatever happened in between.
#include "support/shelf.h"

#include <peal/testing.h>
#include <stdio.h>

#include "bus/internal.h"

// What a walk is to find: all events up to `count` with the size of `size_at`, of one life.
struct expected {
    uint64_t next, life;
    size_t (*size_at)(uint64_t position);
};

static size_t mixed_size(uint64_t position)
{
    static const size_t sizes[] = { 100, 0, 7, 16384, 1, 16385, 3000, 8, 40000, 300000 };
    return sizes[position % 10];
}

static size_t small_size(uint64_t position)
{
    return 50 + position % 300;
}

static void meet(void *context, const struct pl_frame *frame)
{
    struct expected *expected = context;
    assert_int_equal(frame->position, expected->next);
    shelf_check(frame, expected->size_at(frame->position), expected->life, NULL);
    expected->next++;
}

static void fill(struct shelf *shelf, uint64_t count, size_t (*size_at)(uint64_t position))
{
    for (uint64_t i = 0; i < count; i++) {
        (void)shelf_append(shelf, size_at(pl_log_end(&shelf->ledger.log)));
    }
}

static void check_all(struct shelf *shelf, uint64_t count, size_t (*size_at)(uint64_t position))
{
    struct expected expected = { .next = 1, .life = 1, .size_at = size_at };
    assert_int_equal(shelf_walk(shelf, 1, meet, &expected), count);
}

static void what_is_closed_is_read_back_when_it_is_opened_again(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 1);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    assert_int_equal(pl_store_first(shelf.store), 1);
    assert_int_equal(pl_store_end(shelf.store), 1);
    fill(&shelf, 40, mixed_size);
    assert_int_equal(pl_store_written(shelf.store), 1);
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_OK);
    assert_int_equal(pl_store_written(shelf.store), 41);
    check_all(&shelf, 40, mixed_size);
    assert_int_equal(shelf_close(&shelf), PEAL_OK);

    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    const struct pl_recovery *recovery = pl_store_recovery(shelf.store);
    assert_int_equal(recovery->events, 0); // it was closed: nothing had to be looked at
    assert_int_equal(recovery->damaged, 0);
    assert_int_equal(recovery->cut_bytes, 0);
    assert_int_equal(pl_store_end(shelf.store), 41);
    assert_int_equal(pl_store_durable(shelf.store), 41);
    check_all(&shelf, 40, mixed_size);
    shelf_finish(&shelf);
}

static void what_is_settled_as_os_survives_a_kill(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 2);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    for (uint64_t count = 1; count <= 200; count++) {
        fill(&shelf, 1, small_size);
        assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_OK);
    }
    pl_disk_kill(shelf.disk);
    shelf_leave(&shelf);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    assert_int_equal(pl_store_recovery(shelf.store)->cut_bytes, 0);
    check_all(&shelf, 200, small_size);
    shelf_finish(&shelf);
}

static void what_is_settled_as_disk_survives_a_power_cut(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct shelf shelf;
        shelf_init(&shelf, seed);
        assert_int_equal(shelf_open(&shelf), PEAL_OK);
        fill(&shelf, 300, small_size);
        assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_DISK), PEAL_OK);
        assert_int_equal(pl_store_durable(shelf.store), 301);
        fill(&shelf, 30, small_size);
        assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_OK);
        pl_disk_crash(shelf.disk);
        shelf_leave(&shelf);
        assert_int_equal(shelf_open(&shelf), PEAL_OK);
        uint64_t end = pl_store_end(shelf.store);
        assert_in_range(end, 301, 331);
        assert_int_equal(pl_store_recovery(shelf.store)->damaged, 0);
        check_all(&shelf, end - 1, small_size);
        shelf_finish(&shelf);
    }
}

// ---- files --------------------------------------------------------------------------------------

static int count_name(void *context, const char *name)
{
    size_t *count = context;
    *count += strstr(name, ".seg") != NULL;
    return 0;
}

static size_t count_files(const struct shelf *shelf)
{
    size_t count = 0;
    const struct pl_files *files = shelf->config.files;
    assert_int_equal(files->list(files->world, SHELF_PATH, count_name, &count), 0);
    return count;
}

static void path_of(uint64_t base, char out[64])
{
    assert_in_range(snprintf(out, 64, SHELF_PATH "/%020llu.seg", (unsigned long long)base), 1, 63);
}

static int64_t size_of(const struct shelf *shelf, uint64_t base)
{
    const struct pl_files *files = shelf->config.files;
    struct pl_file file = { 0 };
    char path[64];
    path_of(base, path);
    assert_int_equal(files->open(files->world, &file, path, PL_FILE_READ), 0);
    int64_t size = files->size(files->world, file);
    files->close(files->world, &file);
    return size;
}

static void flip(struct shelf *shelf, uint64_t base, uint64_t bit)
{
    char path[64];
    path_of(base, path);
    assert_int_equal(pl_disk_flip(shelf->disk, path, bit), 0);
}

static void a_full_file_is_followed_by_another(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 3);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    fill(&shelf, 1000, small_size);
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_OK);
    assert_in_range(count_files(&shelf), 4, 6);
    assert_in_range(pl_store_durable(shelf.store), 500, 999); // full files are synced, but one
    check_all(&shelf, 1000, small_size);
    assert_int_equal(shelf_close(&shelf), PEAL_OK);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    check_all(&shelf, 1000, small_size);
    shelf_finish(&shelf);
}

static void a_batch_stays_in_one_file(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 4);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    (void)shelf_append(&shelf, 10);
    shelf_batch(&shelf, 60, 900); // most of a file
    shelf_batch(&shelf, 60, 900);
    shelf_batch(&shelf, 200, 900); // more than a file
    (void)shelf_append(&shelf, 10);
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_DISK), PEAL_OK);
    assert_int_equal(count_files(&shelf), 4);
    assert_in_range(size_of(&shelf, 1), SHELF_FILE * 3 / 4, SHELF_FILE);
    assert_in_range(size_of(&shelf, 62), SHELF_FILE * 3 / 4, SHELF_FILE);
    assert_in_range(size_of(&shelf, 122), SHELF_FILE * 2, SHELF_FILE * 4);
    assert_int_equal(size_of(&shelf, 322), SHELF_FILE); // taken in advance
    assert_int_equal(shelf_close(&shelf), PEAL_OK);
    assert_in_range(size_of(&shelf, 322), PL_SEGFILE_HEADER, PL_SEGFILE_HEADER + 400); // given back
    shelf_finish(&shelf);
}

static void an_event_larger_than_a_file_gets_one_of_its_size(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 5);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    (void)shelf_append(&shelf, 10);
    (void)shelf_append(&shelf, 700001);
    (void)shelf_append(&shelf, 10);
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_OK);
    assert_int_equal(count_files(&shelf), 3);
    struct pl_segment *segment = NULL;
    assert_int_equal(shelf_read(&shelf, &segment, 2), PEAL_OK);
    assert_int_equal(segment->first, 2);
    assert_int_equal(pl_segment_end(segment), 3);
    shelf_check(pl_segment_frame(segment, 2), 700001, 1, NULL);
    pl_segment_unref(segment);
    shelf_finish(&shelf);
}

// ---- reading ------------------------------------------------------------------------------------

static void reading_begins_anywhere(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 6);
    shelf.config.file_bytes = 8 * SHELF_FILE;
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    fill(&shelf, 3000, small_size);
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_OK);
    for (uint64_t position = 1; position <= 3000; position += 37) {
        struct pl_segment *segment = NULL;
        assert_int_equal(shelf_read(&shelf, &segment, position), PEAL_OK);
        assert_int_equal(segment->first, position);
        shelf_check(pl_segment_frame(segment, position), small_size(position), 1, NULL);
        pl_segment_unref(segment);
    }
    struct pl_segment *segment = (struct pl_segment *)&shelf;
    assert_int_equal(shelf_read(&shelf, &segment, 3001), PEAL_OK);
    assert_null(segment);
    (void)shelf_append(&shelf, 10); // published, not written: not seen
    assert_int_equal(shelf_read(&shelf, &segment, 3001), PEAL_OK);
    assert_null(segment);
    shelf_finish(&shelf);
}

static void an_event_keeps_the_source_it_was_published_with(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 7);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    fill(&shelf, 20, small_size);
    assert_int_equal(shelf_close(&shelf), PEAL_OK);
    shelf.config.source = "/renamed";
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    assert_int_equal(count_files(&shelf), 2);
    (void)shelf_append(&shelf, 10);
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_OK);
    struct pl_segment *segment = NULL;
    assert_int_equal(shelf_read(&shelf, &segment, 1), PEAL_OK);
    assert_int_equal(pl_segment_end(segment), 21); // a stretch is of one file
    for (uint64_t position = 1; position <= 20; position++) {
        shelf_check(pl_segment_frame(segment, position), small_size(position), 1, "/shelf");
    }
    pl_segment_unref(segment);
    assert_int_equal(shelf_read(&shelf, &segment, 21), PEAL_OK);
    shelf_check(pl_segment_frame(segment, 21), 10, 2, NULL);
    pl_segment_unref(segment);
    shelf_finish(&shelf);
}

// ---- damage -------------------------------------------------------------------------------------

// A closed log of one file: what is in it, and where.
#define IMAGE_EVENTS 20

struct image {
    struct shelf shelf;
    char path[64];
    size_t size, end; // of the file, of its events and notes
    char bytes[16384];
    uint64_t offsets[IMAGE_EVENTS + 2]; // by position
};

static void make_image(struct image *image)
{
    struct shelf *shelf = &image->shelf;
    shelf_init(shelf, 8);
    assert_int_equal(shelf_open(shelf), PEAL_OK);
    fill(shelf, 5, small_size);
    assert_int_equal(shelf_settle(shelf, PEAL_DURABILITY_DISK), PEAL_OK);
    shelf_batch(shelf, 5, 40);
    fill(shelf, 10, small_size);
    assert_int_equal(shelf_close(shelf), PEAL_OK);
    path_of(1, image->path);
    const struct pl_files *files = shelf->config.files;
    struct pl_file file = { 0 };
    assert_int_equal(files->open(files->world, &file, image->path, PL_FILE_READ), 0);
    int64_t count = files->pread(files->world, file, image->bytes, sizeof image->bytes, 0);
    files->close(files->world, &file);
    image->size = (size_t)count;
    assert_in_range(image->size, PL_SEGFILE_HEADER + 1000, sizeof image->bytes - 1);
    for (size_t at = PL_SEGFILE_HEADER; at < image->size;) {
        struct pl_frame head;
        memcpy(&head, image->bytes + at, sizeof head);
        if (pl_record_is_event(&head)) {
            image->offsets[head.position] = at;
        } else if (head.type == PL_RECORD_SUMMARY) {
            image->end = at;
        }
        at += head.length;
    }
}

static void restore(const struct image *image)
{
    const struct pl_files *files = image->shelf.config.files;
    struct pl_file file = { 0 };
    assert_int_equal(files->open(files->world, &file, image->path, PL_FILE_WRITE), 0);
    assert_int_equal(files->truncate(files->world, file, image->size), 0);
    assert_int_equal(pl_files_write(files, file, image->bytes, image->size, 0), 0);
    files->close(files->world, &file);
}

// The event that a byte belongs to; 0: none.
static uint64_t event_at(const struct image *image, uint64_t byte)
{
    for (uint64_t position = 1; position <= IMAGE_EVENTS; position++) {
        struct pl_frame head;
        memcpy(&head, image->bytes + image->offsets[position], sizeof head);
        if (byte - image->offsets[position] < head.length) {
            return position;
        }
    }
    return 0;
}

struct without {
    uint64_t lost, next;
};

static void meet_without(void *context, const struct pl_frame *frame)
{
    struct without *without = context;
    without->next += without->next == without->lost;
    assert_int_equal(frame->position, without->next);
    size_t size = frame->position > 5 && frame->position <= 10 ? 40 : small_size(frame->position);
    shelf_check(frame, size, 1, NULL);
    without->next++;
}

struct verified {
    uint64_t damages, lost, first;
};

static void meet_damage(void *context, const char *path, const struct pl_damage *damage)
{
    struct verified *verified = context;
    assert_non_null(strstr(path, ".seg"));
    verified->damages++;
    if (damage->first < damage->end) {
        verified->first = verified->lost ? verified->first : damage->first;
        verified->lost += damage->end - damage->first;
    }
}

static struct verified verify(struct shelf *shelf)
{
    static const struct pl_verify_ops ops = { .damage = meet_damage };
    struct verified verified = { 0 };
    assert_int_equal(pl_store_verify(shelf->store, &ops, &verified), PEAL_OK);
    return verified;
}

static void check_flipped(struct image *image, uint64_t bit)
{
    flip(&image->shelf, 1, bit);
    image->shelf.life = 0;
    assert_int_equal(shelf_open(&image->shelf), PEAL_OK);
    const struct pl_recovery *recovery = pl_store_recovery(image->shelf.store);
    struct without without = { .lost = event_at(image, bit / 8), .next = 1 };
    uint64_t lost = without.lost ? 1 : 0;
    struct verified verified = verify(&image->shelf);
    assert_int_equal(verified.lost, lost);
    assert_int_equal(verified.first, without.lost);
    // But for what ends the file: the last note, and what is behind it.
    assert_true(recovery->cut_bytes == 0 || bit / 8 >= image->end - sizeof(struct pl_frame));
    assert_int_equal(pl_store_end(image->shelf.store), IMAGE_EVENTS + 1);
    assert_int_equal(shelf_walk(&image->shelf, 1, meet_without, &without), IMAGE_EVENTS - lost);
    assert_int_equal(shelf_close(&image->shelf), PEAL_OK);
    restore(image);
}

static void any_flipped_bit_costs_its_record_at_most(void **state)
{
    (void)state;
    static struct image image;
    make_image(&image);
    for (uint64_t bit = 0; bit < PL_SEGFILE_HEADER * 8; bit += 61) {
        check_flipped(&image, bit);
    }
    for (uint64_t bit = PL_SEGFILE_HEADER * 8; bit < image.size * 8; bit++) {
        check_flipped(&image, bit);
    }
    shelf_finish(&image.shelf);
}

static void damage_and_a_torn_tail_are_told_apart(void **state)
{
    (void)state;
    static struct image image;
    make_image(&image);
    // Damage in what was synced, and behind a note that says so; then what nobody synced, torn.
    assert_int_equal(shelf_open(&image.shelf), PEAL_OK);
    fill(&image.shelf, 5, small_size);
    assert_int_equal(shelf_settle(&image.shelf, PEAL_DURABILITY_OS), PEAL_OK);
    pl_disk_kill(image.shelf.disk);
    shelf_leave(&image.shelf);
    flip(&image.shelf, 1, image.offsets[3] * 8 + 300);
    flip(&image.shelf, 1, image.end * 8 + 300); // the first that was not synced
    assert_int_equal(shelf_open(&image.shelf), PEAL_OK);
    const struct pl_recovery *recovery = pl_store_recovery(image.shelf.store);
    assert_int_equal(recovery->damaged, 1);
    assert_int_equal(recovery->damaged_first, 3);
    assert_int_equal(pl_store_end(image.shelf.store), IMAGE_EVENTS + 1);
    assert_true(recovery->cut_bytes > 500);
    assert_string_equal(recovery->cut_file, "00000000000000000001.seg");
    shelf_finish(&image.shelf);
}

static void damage_below_the_last_sync_is_known_without_a_close(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 18);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    fill(&shelf, 20, small_size);
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_DISK), PEAL_OK);
    fill(&shelf, 1, small_size);
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_OK);
    pl_disk_kill(shelf.disk);
    shelf_leave(&shelf);
    flip(&shelf, 1, (PL_SEGFILE_HEADER + 140) * 8); // the first event
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    assert_int_equal(pl_store_recovery(shelf.store)->damaged_first, 1);
    assert_int_equal(pl_store_recovery(shelf.store)->events, 20);
    assert_int_equal(pl_store_end(shelf.store), 22);
    shelf_finish(&shelf);
}

// Where the summary of a complete file begins.
static uint64_t summary_of(const struct shelf *shelf, uint64_t base)
{
    const struct pl_files *files = shelf->config.files;
    struct pl_file file = { 0 };
    struct pl_frame end = { 0 };
    char path[64];
    path_of(base, path);
    uint64_t at = (uint64_t)size_of(shelf, base) - sizeof end;
    assert_int_equal(files->open(files->world, &file, path, PL_FILE_READ), 0);
    assert_int_equal(files->pread(files->world, file, &end, sizeof end, at), sizeof end);
    files->close(files->world, &file);
    assert_int_equal(end.type, PL_RECORD_END);
    return (uint64_t)end.recorded;
}

static void damage_in_an_older_file_is_never_a_torn_tail(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 9);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    fill(&shelf, 300, small_size);
    assert_int_equal(shelf_close(&shelf), PEAL_OK);
    flip(&shelf, 1, summary_of(&shelf, 1) * 8 - 300); // its last event
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    assert_int_equal(verify(&shelf).lost, 1);
    assert_int_equal(pl_store_recovery(shelf.store)->cut_bytes, 0);
    assert_int_equal(pl_store_end(shelf.store), 301);
    shelf_finish(&shelf);
}

static void a_file_whose_header_is_damaged_is_read_all_the_same(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 10);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    fill(&shelf, 300, small_size);
    assert_int_equal(shelf_close(&shelf), PEAL_OK);
    flip(&shelf, 1, 300);
    flip(&shelf, 1, PL_SEGFILE_HEADER * 4 + 300);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    assert_int_equal(pl_store_recovery(shelf.store)->headers, 1);
    check_all(&shelf, 300, small_size);
    shelf_finish(&shelf);
}

static void a_log_of_which_no_header_is_whole_is_refused(void **state)
{
    (void)state;
    static struct image image;
    make_image(&image);
    flip(&image.shelf, 1, 300);
    flip(&image.shelf, 1, PL_SEGFILE_HEADER * 4 + 300);
    assert_int_equal(shelf_open(&image.shelf), PEAL_ECORRUPT);
    shelf_finish(&image.shelf);
}

// ---- misuse and misfortune ----------------------------------------------------------------------

static void a_log_that_is_open_cannot_be_opened_again(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 11);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    struct pl_store *second = NULL;
    assert_int_equal(pl_store_open(&second, &shelf.config), PEAL_EBUSY);
    assert_null(second);
    assert_non_null(strstr(peal_error_sentence(), "process "));
    assert_int_equal(shelf_close(&shelf), PEAL_OK);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    shelf_finish(&shelf);
}

static void what_is_no_log_is_refused(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 12);
    const struct pl_files *files = shelf.config.files;
    struct pl_file file = { 0 };
    assert_int_equal(files->open(files->world, &file, "/diary", PL_FILE_CREATE), 0);
    files->close(files->world, &file);
    struct {
        const char *path;
        uint64_t bytes;
        enum peal_err err;
    } bad[] = {
        { "/", SHELF_FILE, PEAL_EINVAL },
        { "/diary", SHELF_FILE, PEAL_EIO },
        { "/not/there", SHELF_FILE, PEAL_EIO },
        { "", SHELF_FILE, PEAL_EINVAL },
        { "/l", PL_STORE_FILE_MIN - 1, PEAL_EINVAL },
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        shelf.config.path = bad[i].path;
        shelf.config.file_bytes = bad[i].bytes;
        assert_int_equal(shelf_open(&shelf), bad[i].err);
        assert_true(strlen(peal_error_sentence()) > 10);
    }
    assert_int_equal(shelf_close(&shelf), PEAL_OK); // of nothing
    shelf_finish(&shelf);
}

static void a_file_of_another_log_is_refused(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 13);
    const struct pl_files *files = shelf.config.files;
    shelf.config.path = "/other";
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    assert_int_equal(shelf_close(&shelf), PEAL_OK);
    shelf.config.path = SHELF_PATH;
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    fill(&shelf, 3, small_size);
    assert_int_equal(shelf_close(&shelf), PEAL_OK);
    // A file that bears a name not its own.
    char path[64];
    path_of(4, path);
    char old[64];
    path_of(1, old);
    assert_int_equal(files->rename(files->world, old, path), 0);
    assert_int_equal(shelf_open(&shelf), PEAL_ECORRUPT);
    assert_non_null(strstr(peal_error_sentence(), path));
    shelf_finish(&shelf);
}

static void a_failure_is_final(void **state)
{
    (void)state;
    static const enum pl_disk_call calls[] = { PL_DISK_WRITE, PL_DISK_SYNC };
    for (size_t i = 0; i < 2; i++) {
        struct shelf shelf;
        shelf_init(&shelf, 14);
        assert_int_equal(shelf_open(&shelf), PEAL_OK);
        fill(&shelf, 3, small_size);
        assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_DISK), PEAL_OK);
        pl_disk_inject(shelf.disk, &(struct pl_disk_fault){ .calls = calls[i], .nth = 1 });
        (void)shelf_append(&shelf, 10);
        assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_DISK), PEAL_EIO);
        assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_DISK), PEAL_EIO);
        assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_MEMORY), PEAL_EIO);
        assert_int_equal(pl_store_durable(shelf.store), 4);

        assert_int_equal(shelf_close(&shelf), PEAL_EIO);
        shelf_finish(&shelf);
    }
}

static void a_full_disk_is_said_when_a_file_is_begun(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 15);
    pl_disk_limit(shelf.disk, 2 * SHELF_FILE, false);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    enum peal_err err = PEAL_OK;
    uint64_t settled = 0;
    while (!err) {
        fill(&shelf, 1, small_size);
        err = shelf_settle(&shelf, PEAL_DURABILITY_OS);
        settled += !err;
    }
    assert_int_equal(err, PEAL_EIO);
    assert_non_null(strstr(peal_error_sentence(), "No space left"));
    assert_int_equal(shelf_close(&shelf), PEAL_EIO);
    pl_disk_limit(shelf.disk, 0, false);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    check_all(&shelf, settled, small_size);
    shelf_finish(&shelf);
}

static void without_memory_nothing_is_lost(void **state)
{
    (void)state;
    for (size_t nth = 1;; nth++) {
        struct shelf shelf;
        shelf_init(&shelf, 16);
        shelf.ledger.memory.fail_at = nth;
        enum peal_err err = shelf_open(&shelf);
        assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
        bool passed = shelf.ledger.memory.calls < nth;
        shelf.ledger.memory.fail_at = 0;
        if (err) {
            assert_int_equal(shelf_open(&shelf), PEAL_OK);
        }
        shelf.life = 1;
        fill(&shelf, 500, small_size);
        shelf.ledger.memory.fail_at = passed ? 0 : shelf.ledger.memory.calls + nth;
        err = shelf_settle(&shelf, PEAL_DURABILITY_DISK);
        assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
        assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_DISK), PEAL_OK);
        struct pl_segment *segment = NULL;
        shelf.ledger.memory.fail_at = passed ? 0 : shelf.ledger.memory.calls + nth;
        err = shelf_read(&shelf, &segment, 1);
        assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
        pl_segment_unref(segment);
        shelf.ledger.memory.fail_at = 0;
        check_all(&shelf, 500, small_size);
        shelf_finish(&shelf);
        if (passed) {
            assert_true(nth > 5);
            return;
        }
    }
}

static void what_is_settled_as_memory_is_written_within_100_ms(void **state)
{
    (void)state;
    peal_world *world = NULL;
    assert_int_equal(peal_world_open(&world, 1), PEAL_OK);
    struct shelf shelf;
    shelf_init(&shelf, 17);
    shelf.ledger.seams = *pl_world_seams(world);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    for (uint64_t round = 1; round < 4; round++) {
        (void)shelf_append(&shelf, 10);
        assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_MEMORY), PEAL_OK);
        assert_int_equal(pl_store_written(shelf.store), round);
        peal_world_advance(world, 100);
        assert_int_equal(pl_store_written(shelf.store), round + 1);
        peal_world_advance(world, 10000); // it sleeps
    }
    shelf_finish(&shelf);
    peal_world_close(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_closed_is_read_back_when_it_is_opened_again),
        cmocka_unit_test(what_is_settled_as_os_survives_a_kill),
        cmocka_unit_test(what_is_settled_as_disk_survives_a_power_cut),
        cmocka_unit_test(a_full_file_is_followed_by_another),
        cmocka_unit_test(a_batch_stays_in_one_file),
        cmocka_unit_test(an_event_larger_than_a_file_gets_one_of_its_size),
        cmocka_unit_test(reading_begins_anywhere),
        cmocka_unit_test(an_event_keeps_the_source_it_was_published_with),
        cmocka_unit_test(any_flipped_bit_costs_its_record_at_most),
        cmocka_unit_test(damage_and_a_torn_tail_are_told_apart),
        cmocka_unit_test(damage_below_the_last_sync_is_known_without_a_close),
        cmocka_unit_test(damage_in_an_older_file_is_never_a_torn_tail),
        cmocka_unit_test(a_file_whose_header_is_damaged_is_read_all_the_same),
        cmocka_unit_test(a_log_of_which_no_header_is_whole_is_refused),
        cmocka_unit_test(a_log_that_is_open_cannot_be_opened_again),
        cmocka_unit_test(what_is_no_log_is_refused),
        cmocka_unit_test(a_file_of_another_log_is_refused),
        cmocka_unit_test(a_failure_is_final),
        cmocka_unit_test(a_full_disk_is_said_when_a_file_is_begun),
        cmocka_unit_test(what_is_settled_as_memory_is_written_within_100_ms),
        cmocka_unit_test(without_memory_nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
