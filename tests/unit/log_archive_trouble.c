// SPDX-License-Identifier: MIT
//
// Archives where something goes wrong that a test of the whole does not meet: what crashes have
// left and cannot be looked at, writes that go astray, files that are shorter than they said,
// tables that say too little, and what an archive is not asked for.
#include "support/between.h"
#include "support/shelf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "log/internal.h"
#include "log/pack.h"

#define EVENTS 400

static size_t size_at(uint64_t position)
{
    return 50 + position % 300;
}

static void path_of(uint64_t base, const char *ending, char out[64])
{
    int length = snprintf(out, 64, SHELF_PATH "/%020llu%s", (unsigned long long)base, ending);
    assert_in_range(length, 1, 63);
}

// A store with several complete files.
static void begin(struct shelf *shelf, const struct pl_files *files)
{
    shelf->config.files = files;
    shelf->config.file_bytes = PL_STORE_FILE_MIN;
    assert_int_equal(shelf_open(shelf), PEAL_OK);
    for (uint64_t position = 1; position <= EVENTS; position++) {
        (void)shelf_append(shelf, size_at(position));
    }
    assert_int_equal(shelf_settle(shelf, PEAL_DURABILITY_DISK), PEAL_OK);
    assert_true(shelf->store->volume_count > 4);
}

static void begin_new(struct shelf *shelf, uint64_t seed)
{
    shelf_init(shelf, seed);
    begin(shelf, shelf->config.files);
}

static enum peal_err archive_one(struct shelf *shelf, struct pl_archived *out)
{
    const struct pl_archive_wanted wanted = { .below = UINT64_MAX };
    *out = (struct pl_archived){ 0 };
    return pl_store_archive(out, shelf->store, &wanted);
}

static void meet(void *context, const struct pl_frame *frame)
{
    uint64_t *next = context;
    assert_int_equal(frame->position, *next);
    shelf_check(frame, size_at(frame->position), 1, NULL);
    ++*next;
}

static void check_all(struct shelf *shelf, uint64_t first)
{
    uint64_t next = first;
    assert_int_equal(shelf_walk(shelf, first, meet, &next), EVENTS + 1 - first);
}

// All bytes of a file; *given*, NULL: it is not there.
static char *load(const struct shelf *shelf, uint64_t base, const char *ending, size_t *size)
{
    const struct pl_files *files = pl_disk_files(shelf->disk);
    struct pl_file file = { 0 };
    char path[64];
    path_of(base, ending, path);
    if (files->open(files->world, &file, path, PL_FILE_READ)) {
        return NULL;
    }
    *size = (size_t)files->size(files->world, file);
    char *bytes = malloc(*size + 1);
    assert_non_null(bytes);
    assert_int_equal(files->pread(files->world, file, bytes, *size, 0), *size);
    files->close(files->world, &file);
    return bytes;
}

static void store(const struct shelf *shelf, uint64_t base, const char *ending, const char *bytes,
                  size_t size)
{
    const struct pl_files *files = pl_disk_files(shelf->disk);
    struct pl_file file = { 0 };
    char path[64];
    path_of(base, ending, path);
    (void)files->unlink(files->world, path);
    assert_int_equal(files->open(files->world, &file, path, PL_FILE_CREATE), 0);
    assert_int_equal(pl_files_write(files, file, bytes, size, 0), 0);
    assert_int_equal(files->sync(files->world, file), 0);
    files->close(files->world, &file);
    assert_int_equal(files->sync_directory(files->world, SHELF_PATH), 0);
}

static bool is_there(const struct shelf *shelf, uint64_t base, const char *ending)
{
    size_t size = 0;
    char *bytes = load(shelf, base, ending, &size);
    free(bytes);
    return bytes != NULL;
}

// ---- what a crash has left ----------------------------------------------------------------------

enum left { EMPTIED, BOTH, HALF_MADE };

// Leaves it so, with the log closed; where the log begins.
static uint64_t leave(struct shelf *shelf, enum left left)
{
    struct pl_archived archived;
    size_t size = 0;
    char *plain = load(shelf, 1, ".seg", &size);
    assert_non_null(plain);
    assert_int_equal(archive_one(shelf, &archived), PEAL_OK);
    assert_int_equal(archive_one(shelf, &archived), PEAL_OK); // another, which stays
    uint64_t second = shelf->store->volumes[1].base;
    assert_int_equal(archived.base, second);
    assert_int_equal(shelf_close(shelf), PEAL_OK);
    if (left == EMPTIED) { // it was forgotten
        store(shelf, 1, ".seg.zst", "", 0);
    } else if (left == BOTH) {
        store(shelf, 1, ".seg", plain, size);
    } else {
        store(shelf, second, ".seg.zst.new", "half", 4);
    }
    free(plain);
    return left == EMPTIED ? second : 1;
}

static void check_cleared(struct shelf *shelf, enum left left, uint64_t first)
{
    assert_int_equal(pl_store_first(shelf->store), first);
    check_all(shelf, first);
    assert_int_equal(is_there(shelf, 1, ".seg.zst"), left == HALF_MADE);
    assert_int_equal(is_there(shelf, 1, ".seg"), left == BOTH);
    assert_false(is_there(shelf, first, ".seg.zst.new"));
}

// A log that cannot look at what is there does not begin with what it had forgotten.
static void what_cannot_be_looked_at_is_an_error_of_opening(void **state)
{
    (void)state;
    for (unsigned left = EMPTIED; left <= HALF_MADE; left++) {
        unsigned failed = 0;
        bool reached = true;
        for (uint64_t nth = 1; reached; nth++) {
            struct shelf shelf;
            begin_new(&shelf, nth);
            uint64_t first = leave(&shelf, (enum left)left);
            uint64_t before = pl_disk_calls(shelf.disk, 0);
            pl_disk_inject(shelf.disk, &(struct pl_disk_fault){ .nth = nth });
            shelf.life = 0;
            enum peal_err err = shelf_open(&shelf);
            reached = pl_disk_calls(shelf.disk, 0) - before >= nth;
            pl_disk_heal(shelf.disk);
            assert_true(err == PEAL_OK || err == PEAL_EIO);
            failed += err != PEAL_OK;
            if (err) {
                assert_int_equal(shelf_open(&shelf), PEAL_OK);
            }
            check_cleared(&shelf, (enum left)left, first);
            shelf_finish(&shelf);
        }
        assert_true(failed > 8);
    }
}

static void without_memory_for_the_list_it_is_not_opened(void **state)
{
    (void)state;
    struct shelf shelf;
    unsigned refused = 0;
    begin_new(&shelf, 1);
    uint64_t first = leave(&shelf, BOTH);
    enum peal_err err = PEAL_ENOMEM;
    for (size_t nth = 1; err; nth++) {
        shelf.ledger.memory.fail_at = shelf.ledger.memory.calls + nth;
        shelf.life = 0;
        err = shelf_open(&shelf);
        shelf.ledger.memory.fail_at = 0;
        assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
        refused += err && strstr(peal_error_sentence(), "list of archives") != NULL;
    }
    assert_int_equal(refused, 1);
    check_cleared(&shelf, BOTH, first);
    shelf_finish(&shelf);
}

// ---- making one ---------------------------------------------------------------------------------

// Writes that claim to have worked and did not: the plain file stays until the archive was read.
static void an_archive_that_was_not_written_as_it_should_is_not_taken(void **state)
{
    (void)state;
    static const enum pl_disk_trouble troubles[] = { PL_DISK_MISPLACE, PL_DISK_LOSE };
    unsigned refused = 0;
    for (size_t i = 0; i < 2; i++) {
        bool reached = true;
        for (uint64_t nth = 1; reached; nth++) {
            struct shelf shelf;
            struct pl_archived archived;
            begin_new(&shelf, nth);
            uint64_t before = pl_disk_calls(shelf.disk, PL_DISK_WRITE);
            const struct pl_disk_fault fault = { .calls = PL_DISK_WRITE,
                                                 .nth = nth,
                                                 .trouble = troubles[i] };
            pl_disk_inject(shelf.disk, &fault);
            enum peal_err err = archive_one(&shelf, &archived);
            reached = pl_disk_calls(shelf.disk, PL_DISK_WRITE) - before >= nth;
            pl_disk_heal(shelf.disk);
            refused += err == PEAL_EIO;
            assert_true(err == PEAL_OK || err == PEAL_EIO);
            assert_int_equal(is_there(&shelf, 1, ".seg"), err != PEAL_OK);
            check_all(&shelf, 1);
            assert_int_equal(archive_one(&shelf, &archived), PEAL_OK);
            check_all(&shelf, 1);
            shelf_finish(&shelf);
        }
    }
    assert_true(refused >= 4);
}

static void a_read_that_gives_nothing_costs_no_event(void **state)
{
    (void)state;
    bool met = true;
    unsigned refused = 0;
    for (uint64_t nth = 1; met; nth++) {
        struct shelf shelf;
        struct pl_archived archived;
        struct between between = { .empty_read = 0 };
        shelf_init(&shelf, nth);
        between.real = pl_disk_files(shelf.disk);
        between_init(&between);
        begin(&shelf, &between.files);
        between.empty_read = nth;
        enum peal_err err = archive_one(&shelf, &archived);
        met = between.empty_read == 0;
        between.empty_read = 0;
        assert_true(err == PEAL_OK || err == PEAL_EIO);
        refused += err == PEAL_EIO;
        assert_int_equal(is_there(&shelf, 1, ".seg"), err != PEAL_OK);
        check_all(&shelf, 1);
        shelf_finish(&shelf);
    }
    assert_true(refused > 2);
}

static void a_file_that_was_cut_is_not_archived(void **state)
{
    (void)state;
    struct shelf shelf;
    struct pl_archived archived;
    begin_new(&shelf, 2);
    const struct pl_files *files = shelf.config.files;
    struct pl_file file = { 0 };
    char path[64];
    path_of(1, ".seg", path);
    assert_int_equal(files->open(files->world, &file, path, PL_FILE_WRITE), 0);
    assert_int_equal(files->truncate(files->world, file, 100), 0);
    files->close(files->world, &file);
    assert_int_equal(archive_one(&shelf, &archived), PEAL_EIO);
    assert_non_null(strstr(peal_error_sentence(), "cannot archive it"));
    assert_false(is_there(&shelf, 1, ".seg.zst"));
    shelf_finish(&shelf);
}

// ---- tables -------------------------------------------------------------------------------------

static void put32(char *at, uint32_t number)
{
    memcpy(at, &number, sizeof number);
}

// Makes the head's checksum fit what it says now.
static void seal_head(char *bytes)
{
    uint32_t size;
    memcpy(&size, bytes + 4, sizeof size);
    put32(bytes + 36, 0);
    put32(bytes + 36, pl_crc32c(0, bytes + 8, size));
}

// The archive of the first file, closed, *given*.
static char *make_archive(struct shelf *shelf, uint64_t seed, size_t *size)
{
    struct pl_archived archived;
    begin_new(shelf, seed);
    assert_int_equal(archive_one(shelf, &archived), PEAL_OK);
    assert_int_equal(shelf_close(shelf), PEAL_OK);
    char *bytes = load(shelf, 1, ".seg.zst", size);
    assert_non_null(bytes);
    shelf->life = 0;
    return bytes;
}

static void one_with_flags_that_nobody_knows_is_not_read(void **state)
{
    (void)state;
    struct shelf shelf;
    size_t size;
    char *bytes = make_archive(&shelf, 3, &size);
    put32(bytes + 20, 1);
    seal_head(bytes);
    store(&shelf, 1, ".seg.zst", bytes, size);
    assert_int_equal(shelf_open(&shelf), PEAL_EUNSUPPORTED);
    assert_non_null(strstr(peal_error_sentence(), "zstd -d"));
    free(bytes);
    shelf_finish(&shelf);
}

static void count_damage(void *context, const char *path, const struct pl_damage *damage)
{
    uint64_t *lost = context;
    (void)path;
    *lost += damage->end - damage->first;
}

static void one_that_says_it_holds_nothing_costs_its_file_at_most(void **state)
{
    (void)state;
    static const struct pl_verify_ops ops = { .damage = count_damage };
    struct shelf shelf;
    size_t size;
    uint64_t lost = 0;
    char *bytes = make_archive(&shelf, 4, &size);
    put32(bytes + 4, 32); // no frames, and no content
    memset(bytes + 24, 0, 12);
    seal_head(bytes);
    store(&shelf, 1, ".seg.zst", bytes, 40);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    assert_non_null(shelf.store);
    uint64_t second = shelf.store->volumes[1].base, next = second;
    assert_int_equal(pl_store_verify(shelf.store, &ops, &lost), PEAL_OK);
    assert_int_equal(lost, second - 1);
    assert_int_equal(shelf_walk(&shelf, 1, meet, &next), EVENTS + 1 - second);
    free(bytes);
    shelf_finish(&shelf);
}

// The seek table takes memory, and so does the check of both.
static void without_memory_nothing_is_called_damaged(void **state)
{
    (void)state;
    for (unsigned damaged = 0; damaged < 2; damaged++) {
        struct shelf shelf;
        size_t size;
        char *bytes = make_archive(&shelf, 5, &size);
        bytes[9] = (char)(bytes[9] ^ (int)damaged); // the head
        store(&shelf, 1, ".seg.zst", bytes, size);
        free(bytes);
        enum peal_err err = PEAL_ENOMEM;
        for (size_t nth = 1; err; nth++) {
            shelf.ledger.memory.fail_at = shelf.ledger.memory.calls + nth;
            shelf.life = 0;
            err = shelf_open(&shelf);
            shelf.ledger.memory.fail_at = 0;
            assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
        }
        check_all(&shelf, 1);
        shelf_finish(&shelf);
    }
}

// ---- packing ------------------------------------------------------------------------------------

static void what_is_larger_than_a_block_may_be_is_not_packed(void **state)
{
    (void)state;
    static char block[2 * PL_PACK_FRAME_MAX], frame[PL_PACK_FRAME_MAX], out[PL_PACK_BLOCK_MAX];
    struct failing memory;
    const struct pl_seams seams = failing_seams(&memory, 0);
    uint64_t chance = 1;
    for (size_t i = 0; i + 8 <= sizeof block; i += 8) { // nothing that could be made smaller
        uint64_t word = failing_random(&chance);
        memcpy(block + i, &word, sizeof word);
    }
    struct pl_packer *packer = pl_packer_create(&seams);
    struct pl_unpacker *unpacker = pl_unpacker_create(&seams);
    assert_true(packer && unpacker);
    assert_int_equal(pl_pack(packer, frame, block, sizeof block), 0);
    size_t size = pl_pack(packer, frame, block, PL_PACK_BLOCK_MAX); // it can go on
    assert_in_range(size, PL_PACK_BLOCK_MAX, PL_PACK_FRAME_MAX);
    assert_true(pl_unpack(unpacker, out, PL_PACK_BLOCK_MAX, frame, size));
    assert_memory_equal(out, block, PL_PACK_BLOCK_MAX);
    pl_packer_destroy(packer);
    pl_unpacker_destroy(unpacker);
    assert_int_equal(memory.living, 0);
}

// ---- what else is asked of them -----------------------------------------------------------------

static void paths_that_can_be_of_no_archive_are_not_there(void **state)
{
    (void)state;
    static char path[8192];
    struct shelf shelf;
    struct pl_file file = { 0 };
    begin_new(&shelf, 6);
    const struct pl_files *files = shelf.store->files;
    static const char *const paths[] = { "x", ".seg", SHELF_PATH "/nothing", SHELF_PATH "/a.seg" };
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(files->open(files->world, &file, paths[i], PL_FILE_READ), -ENOENT);
    }
    // The parts of it are as long as a name may be.
    for (size_t i = 0; i < sizeof path - 1; i++) {
        path[i] = i % 200 == 0 ? '/' : 'a';
    }
    memcpy(path + 4350, ".seg", 5);
    assert_int_equal(files->open(files->world, &file, path, PL_FILE_READ), -ENOENT);
    assert_int_equal(file.number, 0);
    shelf_finish(&shelf);
}

static void an_archive_gives_no_memory_to_write_to(void **state)
{
    (void)state;
    struct shelf shelf;
    struct pl_archived archived;
    struct pl_file file = { 0 };
    char path[64];
    void *memory = NULL;
    begin_new(&shelf, 7);
    pl_disk_let_share(shelf.disk, true);
    assert_int_equal(archive_one(&shelf, &archived), PEAL_OK);
    const struct pl_files *files = shelf.store->files;
    path_of(1, ".seg", path);
    assert_int_equal(files->open(files->world, &file, path, PL_FILE_READ), 0);
    assert_int_equal(files->share(files->world, file, 4096, &memory), -EROFS);
    assert_null(memory);
    files->close(files->world, &file);
    path_of(shelf.store->base, ".seg", path);
    assert_int_equal(files->open(files->world, &file, path, PL_FILE_WRITE), 0);
    assert_int_equal(files->share(files->world, file, 4096, &memory), 0);
    assert_non_null(memory);
    files->unshare(files->world, memory, 4096);
    files->close(files->world, &file);
    shelf_finish(&shelf);
}

static void one_that_was_never_begun_may_be_finished(void **state)
{
    (void)state;
    static struct pl_archives archives;
    pl_archives_finish(&archives);
    pl_packer_destroy(NULL);
    pl_unpacker_destroy(NULL);
    assert_null(archives.seams);
}

// Two who unpack at once, the second without memory for what it needs: it takes another's.
struct reading {
    struct shelf *shelf;
    uint64_t position;
    bool nested;
};

static void read_meanwhile(void *context, enum pl_disk_call call, const char *path)
{
    struct reading *reading = context;
    struct shelf *shelf = reading->shelf;
    static _Alignas(8) char room[PL_STORE_GET_LEAST];
    const struct pl_frame *frame = NULL;
    size_t size = sizeof room;
    (void)path;
    if (call != PL_DISK_READ || reading->position == 0) {
        return;
    }
    uint64_t position = reading->position;
    reading->position = 0;
    shelf->ledger.memory.fail_at = shelf->ledger.memory.calls + 1;
    assert_int_equal(pl_store_get(&frame, shelf->store, position, room, &size), PEAL_OK);
    assert_true(shelf->ledger.memory.calls >= shelf->ledger.memory.fail_at);
    shelf->ledger.memory.fail_at = 0;
    assert_non_null(frame);
    shelf_check(frame, size_at(position), 1, NULL);
    reading->nested = true;
}

static void who_has_no_memory_to_unpack_uses_what_another_does_not(void **state)
{
    (void)state;
    struct shelf shelf;
    struct pl_archived archived;
    struct reading reading = { .shelf = &shelf };
    struct between between = { .meet = read_meanwhile, .context = &reading };
    shelf_init(&shelf, 8);
    between.real = pl_disk_files(shelf.disk);
    between_init(&between);
    begin(&shelf, &between.files);
    assert_int_equal(archive_one(&shelf, &archived), PEAL_OK);
    assert_int_equal(archive_one(&shelf, &archived), PEAL_OK);
    static _Alignas(8) char room[PL_STORE_GET_LEAST];
    const struct pl_frame *frame = NULL;
    size_t size = sizeof room;
    // Both are opened, and their guides are read.
    assert_int_equal(pl_store_get(&frame, shelf.store, 1, room, &size), PEAL_OK);
    assert_int_equal(pl_store_get(&frame, shelf.store, archived.base, room, &size), PEAL_OK);
    reading.position = archived.base + 3;
    uint64_t next = 1, count = 0;
    for (size_t i = 0; i < PL_ARCHIVES_CACHED; i++) { // what was unpacked is kept no longer
        shelf.store->archives.cached[i].archive = 0;
    }
    assert_int_equal(shelf_try_walk(&shelf, 1, meet, &next, &count), PEAL_OK);
    assert_true(reading.nested);
    assert_int_equal(count, EVENTS);
    shelf_finish(&shelf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_be_looked_at_is_an_error_of_opening),
        cmocka_unit_test(without_memory_for_the_list_it_is_not_opened),
        cmocka_unit_test(an_archive_that_was_not_written_as_it_should_is_not_taken),
        cmocka_unit_test(a_read_that_gives_nothing_costs_no_event),
        cmocka_unit_test(a_file_that_was_cut_is_not_archived),
        cmocka_unit_test(one_with_flags_that_nobody_knows_is_not_read),
        cmocka_unit_test(one_that_says_it_holds_nothing_costs_its_file_at_most),
        cmocka_unit_test(without_memory_nothing_is_called_damaged),
        cmocka_unit_test(what_is_larger_than_a_block_may_be_is_not_packed),
        cmocka_unit_test(paths_that_can_be_of_no_archive_are_not_there),
        cmocka_unit_test(an_archive_gives_no_memory_to_write_to),
        cmocka_unit_test(one_that_was_never_begun_may_be_finished),
        cmocka_unit_test(who_has_no_memory_to_unpack_uses_what_another_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
