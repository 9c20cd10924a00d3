// SPDX-License-Identifier: MIT
//
// Archives: what was compressed is read as if it had not been, however it is read, whatever happens
// to the disk while one is made, and whatever has happened to its bytes.
#include "support/shelf.h"
#include "support/stage.h" // effort

#include <errno.h>
#include <stdio.h>

#include "log/internal.h"
#include "log/pack.h"

#define EVENTS 400

static size_t size_at(uint64_t position)
{
    return 50 + position % 300;
}

static void fill(struct shelf *shelf, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        (void)shelf_append(shelf, size_at(pl_log_end(&shelf->ledger.log)));
    }
    assert_int_equal(shelf_settle(shelf, PEAL_DURABILITY_DISK), PEAL_OK);
}

// A store with several complete files.
static void begin(struct shelf *shelf, uint64_t seed)
{
    shelf_init(shelf, seed);
    shelf->config.file_bytes = PL_STORE_FILE_MIN;
    assert_int_equal(shelf_open(shelf), PEAL_OK);
    fill(shelf, EVENTS);
    assert_true(shelf->store->volume_count > 4);
}

static enum peal_err archive_all(struct shelf *shelf, uint64_t *count)
{
    struct pl_archive_wanted wanted = { .below = UINT64_MAX };
    struct pl_archived archived = { .base = 1 };
    enum peal_err err = PEAL_OK;
    for (; !err && archived.base; wanted.from = archived.end) {
        err = pl_store_archive(&archived, shelf->store, &wanted);
        *count += !err && archived.base;
    }
    return err;
}

static void meet(void *context, const struct pl_frame *frame)
{
    uint64_t *next = context;
    assert_int_equal(frame->position, *next);
    shelf_check(frame, size_at(frame->position), 1, NULL);
    ++*next;
}

static void check_all(struct shelf *shelf, uint64_t first, uint64_t end)
{
    static _Alignas(8) char room[PL_STORE_GET_LEAST];
    uint64_t next = first;
    assert_int_equal(shelf_walk(shelf, first, meet, &next), end - first);
    for (uint64_t position = first; position < end; position += 7) {
        const struct pl_frame *frame = NULL;
        size_t size = sizeof room;
        assert_int_equal(pl_store_get(&frame, shelf->store, position, room, &size), PEAL_OK);
        assert_non_null(frame);
        next = position;
        meet(&next, frame);
    }
}

static void path_of(uint64_t base, const char *ending, char out[64])
{
    int length = snprintf(out, 64, SHELF_PATH "/%020llu%s", (unsigned long long)base, ending);
    assert_in_range(length, 1, 63);
}

// All bytes of a file of the shelf's disk; -1: it is not there.
static int64_t read_file(const struct shelf *shelf, uint64_t base, const char *ending, char *out,
                         size_t room)
{
    const struct pl_files *files = shelf->config.files;
    struct pl_file file = { 0 };
    char path[64];
    path_of(base, ending, path);
    if (files->open(files->world, &file, path, PL_FILE_READ)) {
        return -1;
    }
    int64_t count = files->pread(files->world, file, out, room, 0);
    assert_int_equal(count, files->size(files->world, file));
    files->close(files->world, &file);
    return count;
}

static void write_file(const struct shelf *shelf, uint64_t base, const char *ending,
                       const char *bytes, size_t size)
{
    const struct pl_files *files = shelf->config.files;
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

static int count_name(void *context, const char *name)
{
    size_t *counts = context;
    size_t length = strlen(name);
    counts[0] += length > 4 && strcmp(name + length - 4, ".seg") == 0;
    counts[1] += length > 8 && strcmp(name + length - 8, ".seg.zst") == 0;
    counts[2] += length > 8 && strcmp(name + length - 8, ".zst.new") == 0;
    return 0;
}

// Plain files, archives, and those half made.
static void count_files(const struct shelf *shelf, size_t counts[3])
{
    const struct pl_files *files = shelf->config.files;
    memset(counts, 0, 3 * sizeof counts[0]);
    assert_int_equal(files->list(files->world, SHELF_PATH, count_name, counts), 0);
}

struct damages {
    uint64_t count, lost;
    char path[64];
};

static void meet_damage(void *context, const char *path, const struct pl_damage *damage)
{
    struct damages *damages = context;
    damages->count++;
    damages->lost += damage->end - damage->first;
    (void)snprintf(damages->path, sizeof damages->path, "%s", path);
}

static struct damages verify(struct shelf *shelf)
{
    static const struct pl_verify_ops ops = { .damage = meet_damage };
    struct damages damages = { 0 };
    assert_int_equal(pl_store_verify(shelf->store, &ops, &damages), PEAL_OK);
    return damages;
}

// ---- reading ------------------------------------------------------------------------------------

static void what_is_archived_is_read_as_before(void **state)
{
    (void)state;
    struct shelf shelf;
    begin(&shelf, 1);
    size_t volumes = shelf.store->volume_count, counts[3];
    uint64_t archived = 0;
    assert_true(pl_store_archivable(shelf.store, UINT64_MAX) > 2 * PL_STORE_FILE_MIN);
    assert_int_equal(archive_all(&shelf, &archived), PEAL_OK);
    assert_int_equal(archived, volumes - 2); // never the last two
    assert_int_equal(pl_store_archivable(shelf.store, UINT64_MAX), 0);
    check_all(&shelf, 1, EVENTS + 1);
    assert_int_equal(verify(&shelf).count, 0);
    count_files(&shelf, counts);
    assert_int_equal(counts[0], 2);
    assert_int_equal(counts[1], volumes - 2);
    struct pl_holdings holdings;
    pl_store_holdings(&holdings, shelf.store);
    assert_int_equal(holdings.files, volumes);
    assert_int_equal(holdings.archived, volumes - 2);
    assert_in_range(holdings.bytes, PL_STORE_FILE_MIN, volumes * PL_STORE_FILE_MIN / 2);

    assert_int_equal(shelf_close(&shelf), PEAL_OK);
    shelf.life = 0;
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    assert_int_equal(pl_store_recovery(shelf.store)->damaged, 0);
    check_all(&shelf, 1, EVENTS + 1);
    pl_store_holdings(&holdings, shelf.store);
    assert_int_equal(holdings.archived, volumes - 2);
    fill(&shelf, EVENTS); // it goes on
    check_all(&shelf, 1, 2 * EVENTS + 1);
    shelf_finish(&shelf);
}

static void what_an_archive_holds_is_the_file_byte_by_byte(void **state)
{
    (void)state;
    static char plain[1 << 16], packed[1 << 16];
    struct shelf shelf;
    begin(&shelf, 2);
    int64_t size = read_file(&shelf, 1, ".seg", plain, sizeof plain);
    struct pl_archived archived;
    const struct pl_archive_wanted wanted = { .below = UINT64_MAX };
    assert_int_equal(pl_store_archive(&archived, shelf.store, &wanted), PEAL_OK);
    assert_int_equal(archived.base, 1);
    assert_int_equal(archived.bytes, size);
    assert_string_equal(archived.name, "00000000000000000001.seg.zst");
    assert_int_equal(read_file(&shelf, 1, ".seg", packed, sizeof packed), -1);
    assert_int_equal(read_file(&shelf, 1, ".seg.zst", packed, sizeof packed), archived.packed);
    const struct pl_files *files = shelf.store->files; // which know of archives
    struct pl_file file = { 0 };
    char path[64];
    path_of(1, ".seg", path);
    assert_int_equal(files->open(files->world, &file, path, PL_FILE_READ), 0);
    assert_int_equal(files->size(files->world, file), size);
    for (int64_t from = 0; from < size; from += 611) { // beginnings and ends of frames among them
        for (int64_t count = 1; count < 9000; count = count * 3 + 1) {
            int64_t there = size - from < count ? size - from : count;
            assert_int_equal(
                files->pread(files->world, file, packed, (size_t)count, (uint64_t)from), there);
            assert_memory_equal(packed, plain + from, there);
        }
    }
    assert_int_equal(files->pread(files->world, file, packed, 1, (uint64_t)size), 0);
    assert_int_equal(files->pread(files->world, file, packed, sizeof packed, 0), size);
    assert_memory_equal(packed, plain, size);
    files->close(files->world, &file);
    shelf_finish(&shelf);
}

static void an_archive_is_not_written_to(void **state)
{
    (void)state;
    struct shelf shelf;
    begin(&shelf, 3);
    uint64_t archived = 0;
    assert_int_equal(archive_all(&shelf, &archived), PEAL_OK);
    const struct pl_files *files = shelf.store->files;
    struct pl_file file = { 0 };
    char path[64];
    path_of(1, ".seg", path);
    assert_int_equal(files->open(files->world, &file, path, PL_FILE_WRITE), -ETXTBSY);
    assert_int_equal(files->open(files->world, &file, path, PL_FILE_READ), 0);
    assert_int_equal(files->pwrite(files->world, file, "x", 1, 0), -EROFS);
    assert_int_equal(files->truncate(files->world, file, 0), -EROFS);
    assert_int_equal(files->allocate(files->world, file, 1), -EROFS);
    assert_int_equal(files->sync(files->world, file), -EROFS);
    assert_int_equal(files->lock(files->world, file), -EROFS);
    files->close(files->world, &file);
    assert_int_equal(file.number, 0);
    struct pl_file none = { 0 };
    assert_int_equal(pl_volume_open(shelf.store, 1, PL_FILE_WRITE, &none), PEAL_EIO);
    assert_non_null(strstr(peal_error_sentence(), "is archived"));
    shelf_finish(&shelf);
}

static void so_many_may_be_open_and_no_more(void **state)
{
    (void)state;
    struct shelf shelf;
    begin(&shelf, 4);
    uint64_t archived = 0;
    assert_int_equal(archive_all(&shelf, &archived), PEAL_OK);
    const struct pl_files *files = shelf.store->files;
    static struct pl_file opened[PL_ARCHIVES_MAX];
    struct pl_file more = { 0 };
    char path[64];
    path_of(1, ".seg", path);
    for (size_t i = 0; i < PL_ARCHIVES_MAX; i++) {
        assert_int_equal(files->open(files->world, &opened[i], path, PL_FILE_READ), 0);
    }
    assert_int_equal(files->open(files->world, &more, path, PL_FILE_READ), -EMFILE);
    assert_int_equal(more.number, 0);
    for (size_t i = 0; i < PL_ARCHIVES_MAX; i++) {
        files->close(files->world, &opened[i]);
    }
    assert_int_equal(files->open(files->world, &more, path, PL_FILE_READ), 0);
    files->close(files->world, &more);
    shelf_finish(&shelf);
}

static void only_what_is_asked_for_is_archived(void **state)
{
    (void)state;
    struct shelf shelf;
    begin(&shelf, 5);
    uint64_t second = shelf.store->volumes[1].base, third = shelf.store->volumes[2].base;
    struct pl_archived archived;
    struct pl_archive_wanted wanted = { .below = second - 1 };
    assert_int_equal(pl_store_archive(&archived, shelf.store, &wanted), PEAL_OK);
    assert_int_equal(archived.base, 0); // a file of which one position is not below stays
    wanted = (struct pl_archive_wanted){ .from = second, .below = third };
    assert_int_equal(pl_store_archive(&archived, shelf.store, &wanted), PEAL_OK);
    assert_int_equal(archived.base, second);
    assert_int_equal(archived.end, third);
    assert_int_equal(pl_store_archive(&archived, shelf.store, &wanted), PEAL_OK);
    assert_int_equal(archived.base, 0);
    check_all(&shelf, 1, EVENTS + 1);
    shelf_finish(&shelf);
}

static bool stop_at_once(void *context, uint64_t done)
{
    uint64_t *told = context;
    *told = done;
    return false;
}

static void who_looks_on_may_stop_it(void **state)
{
    (void)state;
    struct shelf shelf;
    size_t counts[3];
    begin(&shelf, 6);
    uint64_t told = 0;
    struct pl_archived archived;
    const struct pl_archive_wanted wanted = { .below = UINT64_MAX,
                                              .progress = stop_at_once,
                                              .context = &told };
    assert_int_equal(pl_store_archive(&archived, shelf.store, &wanted), PEAL_ESTATE);
    assert_int_equal(told, PL_SEGFILE_HEADER / 2);
    count_files(&shelf, counts);
    assert_int_equal(counts[1] + counts[2], 0);
    check_all(&shelf, 1, EVENTS + 1);
    shelf_finish(&shelf);
}

static void what_would_be_hardly_smaller_stays(void **state)
{
    (void)state;
    struct shelf shelf;
    size_t counts[3];
    shelf_init(&shelf, 7);
    shelf.config.file_bytes = PL_STORE_FILE_MIN;
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    static char noise[100000];
    uint64_t chance = 1;
    for (int i = 0; i < 8; i++) { // a file each
        for (size_t at = 0; at < sizeof noise; at++) {
            noise[at] = (char)failing_random(&chance);
        }
        struct peal_message message = { .data = noise, .size = sizeof noise };
        size_t attributes = 0;
        assert_int_equal(pl_message_check(&message, &attributes), PEAL_OK);
        struct pl_append append = { .message = &message, .attributes = attributes };
        const struct pl_frame *frame = NULL;
        assert_int_equal(pl_log_append(&shelf.ledger.log, &append, 0, &frame), PEAL_OK);
        shelf_publish(&shelf);
    }
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_DISK), PEAL_OK);
    struct pl_archived archived = { 0 };
    struct pl_archive_wanted wanted = { .below = UINT64_MAX };
    assert_int_equal(pl_store_archive(&archived, shelf.store, &wanted), PEAL_OK);
    assert_int_equal(archived.base, 1);
    assert_int_equal(archived.packed, archived.bytes);
    assert_string_equal(archived.name, "00000000000000000001.seg");
    assert_int_equal(pl_store_archive(&archived, shelf.store, &wanted), PEAL_OK);
    assert_true(archived.base > 1); // it is not tried again
    count_files(&shelf, counts);
    assert_int_equal(counts[1] + counts[2], 0);
    shelf_finish(&shelf);
}

// ---- beside others ------------------------------------------------------------------------------

static void another_process_reads_on(void **state)
{
    (void)state;
    struct shelf shelf;
    begin(&shelf, 8);
    struct shelf other = shelf;
    struct pl_store_config config = shelf.config;
    config.read_only = true;
    assert_int_equal(pl_store_open(&other.store, &config), PEAL_OK);
    check_all(&other, 1, EVENTS + 1); // some files stay open
    uint64_t archived = 0;
    assert_int_equal(archive_all(&shelf, &archived), PEAL_OK);
    check_all(&other, 1, EVENTS + 1);
    fill(&shelf, EVENTS);
    assert_int_equal(archive_all(&shelf, &archived), PEAL_OK);
    assert_int_equal(pl_store_refresh(other.store), PEAL_OK);
    assert_int_equal(pl_store_first(other.store), 1);
    check_all(&other, 1, 2 * EVENTS + 1);
    assert_int_equal(verify(&other).count, 0);
    pl_places_finish(other.store); // whatever it had open is opened anew
    memset(other.store->opened, 0, sizeof other.store->opened);
    memset(other.store->spares, 0, sizeof other.store->spares);
    check_all(&other, 1, 2 * EVENTS + 1);
    struct pl_archived none;
    const struct pl_archive_wanted wanted = { .below = UINT64_MAX };
    assert_int_equal(pl_store_archive(&none, other.store, &wanted), PEAL_ESTATE);

    uint64_t first = 0;
    uint64_t third = shelf.store->volumes[2].base;
    assert_int_equal(pl_store_forget(shelf.store, third, &first), PEAL_OK);
    assert_int_equal(first, third);
    assert_int_equal(pl_store_refresh(other.store), PEAL_OK);
    assert_int_equal(pl_store_first(other.store), third);
    check_all(&other, third, 2 * EVENTS + 1);
    assert_int_equal(pl_store_close(other.store, NULL), PEAL_OK);
    shelf_finish(&shelf);
}

// A list of the directory as it may be while a file is archived: of the first there is neither the
// plain one, which has just gone, nor the archive, which came when its place in the list had
// passed.
struct hiding {
    const struct pl_files *real;
    int (*each)(void *context, const char *name);
    void *context;
};

static struct hiding hiding; // of the one test that hides

static int hide_first(void *context, const char *name)
{
    (void)context;
    return strncmp(name, "00000000000000000001.", 21) == 0 ? 0 : hiding.each(hiding.context, name);
}

static int list_others(void *world, const char *path, int (*each)(void *context, const char *name),
                       void *context)
{
    hiding.each = each;
    hiding.context = context;
    return hiding.real->list(world, path, hide_first, NULL);
}

static void a_file_that_a_list_lacks_is_looked_for_before_it_is_forgotten(void **state)
{
    (void)state;
    struct shelf shelf;
    begin(&shelf, 20);
    struct pl_files files = *shelf.config.files;
    struct shelf other = shelf;
    struct pl_store_config config = shelf.config;
    config.read_only = true;
    config.files = &files;
    assert_int_equal(pl_store_open(&other.store, &config), PEAL_OK);
    hiding.real = shelf.config.files;
    files.list = list_others;
    uint64_t archived = 0, first = 0;
    for (int round = 0; round < 2; round++) { // as a plain file, and as an archive
        assert_int_equal(pl_store_refresh(other.store), PEAL_OK);
        assert_int_equal(pl_store_first(other.store), 1);
        check_all(&other, 1, EVENTS + 1);
        assert_int_equal(archive_all(&shelf, &archived), PEAL_OK);
    }
    uint64_t second = shelf.store->volumes[1].base;
    assert_int_equal(pl_store_forget(shelf.store, second, &first), PEAL_OK);
    assert_int_equal(pl_store_refresh(other.store), PEAL_OK);
    assert_int_equal(pl_store_first(other.store), second);
    assert_int_equal(pl_store_close(other.store, NULL), PEAL_OK);
    shelf_finish(&shelf);
}

static void what_is_forgotten_is_gone_in_both_forms(void **state)
{
    (void)state;
    struct shelf shelf;
    size_t counts[3];
    begin(&shelf, 9);
    uint64_t archived = 0, first = 0;
    size_t volumes = shelf.store->volume_count;
    assert_int_equal(archive_all(&shelf, &archived), PEAL_OK);
    uint64_t bytes = shelf.store->volumes[volumes - 3].packed + 2 * PL_STORE_FILE_MIN;
    uint64_t behind = pl_store_behind(shelf.store, bytes); // counts what archives take
    assert_true(behind > 1 && behind <= shelf.store->volumes[volumes - 3].base);
    assert_int_equal(pl_store_forget(shelf.store, UINT64_MAX, &first), PEAL_OK);
    assert_int_equal(first, shelf.store->volumes[0].base);
    count_files(&shelf, counts);
    assert_int_equal(counts[0], 2);
    assert_int_equal(counts[1], 0);
    check_all(&shelf, first, EVENTS + 1);
    shelf_finish(&shelf);
}

static void where_both_are_there_the_plain_one_counts(void **state)
{
    (void)state;
    static char plain[1 << 16], other[1 << 16];
    struct shelf shelf;
    size_t counts[3];
    begin(&shelf, 10);
    int64_t size = read_file(&shelf, 1, ".seg", plain, sizeof plain);
    uint64_t archived = 0;
    assert_int_equal(archive_all(&shelf, &archived), PEAL_OK);
    assert_int_equal(shelf_close(&shelf), PEAL_OK);
    write_file(&shelf, 1, ".seg", plain, (size_t)size);
    write_file(&shelf, 77, ".seg.zst.new", "half", 4);
    shelf.life = 0;
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    count_files(&shelf, counts);
    assert_int_equal(counts[0], 3);
    assert_int_equal(counts[1], archived - 1);
    assert_int_equal(counts[2], 0);
    assert_int_equal(read_file(&shelf, 1, ".seg", other, sizeof other), size);
    assert_memory_equal(plain, other, size);
    check_all(&shelf, 1, EVENTS + 1);
    shelf_finish(&shelf);
}

static void a_plain_file_takes_the_place_of_its_archive(void **state)
{
    (void)state;
    static char plain[1 << 16];
    struct shelf shelf;
    size_t counts[3];
    begin(&shelf, 11);
    int64_t size = read_file(&shelf, 1, ".seg", plain, sizeof plain);
    uint64_t archived = 0;
    assert_int_equal(archive_all(&shelf, &archived), PEAL_OK);
    check_all(&shelf, 1, EVENTS + 1);
    write_file(&shelf, 1, ".seg", plain, (size_t)size);
    assert_int_equal(pl_archive_replaced(shelf.store, 1), 0);
    assert_int_equal(shelf.store->volumes[0].packed, 0);
    count_files(&shelf, counts);
    assert_int_equal(counts[1], archived - 1);
    pl_disk_crash(shelf.disk);
    shelf_leave(&shelf);
    shelf.life = 0;
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    count_files(&shelf, counts);
    assert_int_equal(counts[1], archived - 1);
    check_all(&shelf, 1, EVENTS + 1);
    archived = 0;
    assert_int_equal(archive_all(&shelf, &archived), PEAL_OK); // and may be archived again
    assert_int_equal(archived, 1);
    check_all(&shelf, 1, EVENTS + 1);
    shelf_finish(&shelf);
}

static void a_log_whose_last_files_are_gone_says_what_to_do(void **state)
{
    (void)state;
    struct shelf shelf;
    begin(&shelf, 12);
    uint64_t archived = 0;
    size_t volumes = shelf.store->volume_count;
    uint64_t bases[2] = { shelf.store->volumes[volumes - 2].base,
                          shelf.store->volumes[volumes - 1].base };
    assert_int_equal(archive_all(&shelf, &archived), PEAL_OK);
    assert_int_equal(shelf_close(&shelf), PEAL_OK);
    const struct pl_files *files = shelf.config.files;
    for (size_t i = 0; i < 2; i++) {
        char path[64];
        path_of(bases[i], ".seg", path);
        assert_int_equal(files->unlink(files->world, path), 0);
    }
    assert_int_equal(shelf_open(&shelf), PEAL_EIO);
    assert_non_null(strstr(peal_error_sentence(), "zstd -d"));
    shelf.config.read_only = true;
    assert_int_equal(shelf_open(&shelf), PEAL_OK); // it can be read
    shelf.life = 1;
    check_all(&shelf, 1, bases[0]);
    shelf_finish(&shelf);
}

// ---- a disk that fails, no memory ---------------------------------------------------------------

// Archives with a fault, goes on, and comes back. False: the fault was not met.
static bool suffer(const struct pl_disk_fault *fault, bool crash, uint64_t seed)
{
    struct shelf shelf;
    begin(&shelf, seed * 1000 + fault->nth);
    (void)pl_store_spend_reserve(shelf.store);
    uint64_t before = pl_disk_calls(shelf.disk, fault->calls), archived = 0, first = 0;
    pl_disk_inject(shelf.disk, fault);
    if (archive_all(&shelf, &archived)) {
        assert_true(strlen(peal_error_sentence()) > 20);
    }
    uint64_t second = shelf.store->volumes[1].base;
    bool forgot = pl_store_forget(shelf.store, second, &first) == PEAL_OK;
    bool met = pl_disk_calls(shelf.disk, fault->calls) - before >= fault->nth;
    pl_disk_heal(shelf.disk);
    if (forgot) {
        check_all(&shelf, first, EVENTS + 1);
    }
    if (crash) {
        pl_disk_crash(shelf.disk);
        shelf_leave(&shelf);
    } else {
        assert_int_equal(shelf_close(&shelf), PEAL_OK);
    }
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    assert_int_equal(pl_store_recovery(shelf.store)->damaged, 0);
    uint64_t now = pl_store_first(shelf.store);
    assert_true(now == first || now == second);
    check_all(&shelf, forgot ? now : second, EVENTS + 1); // or half of it is gone
    assert_int_equal(pl_store_forget(shelf.store, second, &first), PEAL_OK);
    assert_int_equal(archive_all(&shelf, &archived), PEAL_OK);
    assert_int_equal(verify(&shelf).count, 0);
    pl_disk_crash(shelf.disk); // what was forgotten does not come back
    shelf_leave(&shelf);
    shelf.life = 0;
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    assert_int_equal(pl_store_recovery(shelf.store)->damaged, 0);
    assert_int_equal(pl_store_first(shelf.store), second);
    check_all(&shelf, second, EVENTS + 1);
    shelf_finish(&shelf);
    return met;
}

static void no_call_that_fails_while_archiving_costs_an_event(void **state)
{
    (void)state;
    static const int errors[] = { EIO, ENOSPC, EROFS };
    for (unsigned call = PL_DISK_OPEN; call <= PL_DISK_LOOK; call *= 2) {
        for (unsigned kind = 0; kind < 6; kind++) {
            struct pl_disk_fault fault = { .calls = call, .for_ever = kind % 2 };
            fault.error = errors[kind / 2];
            for (fault.nth = 1; suffer(&fault, kind % 3 == 0, 0); fault.nth++) {
            }
            assert_true(fault.nth > 1);
        }
    }
}

static void no_power_cut_while_archiving_costs_an_event(void **state)
{
    (void)state;
    struct pl_disk_fault fault = { .calls = PL_DISK_ANY, .for_ever = true };
    for (uint64_t seed = 1; seed <= effort(20); seed++) { // what survives of it differs
        for (fault.nth = 1; suffer(&fault, true, seed); fault.nth++) {
        }
        assert_true(fault.nth > 50);
    }
}

static void without_memory_nothing_is_archived_and_all_is_read(void **state)
{
    (void)state;
    struct shelf shelf;
    begin(&shelf, 13);
    enum peal_err err = PEAL_ENOMEM;
    struct pl_archived archived;
    const struct pl_archive_wanted wanted = { .below = UINT64_MAX };
    for (size_t nth = 1; err; nth++) {
        shelf.ledger.memory.fail_at = shelf.ledger.memory.calls + nth;
        err = pl_store_archive(&archived, shelf.store, &wanted);
        shelf.ledger.memory.fail_at = 0;
        assert_true(err == PEAL_OK || (err == PEAL_ENOMEM && nth < 40));
    }
    uint64_t count = 0;
    assert_int_equal(archive_all(&shelf, &count), PEAL_OK);
    for (size_t nth = 1; nth < 60; nth++) { // opening, and reading in every way
        assert_int_equal(shelf_close(&shelf), PEAL_OK);
        shelf.life = 0;
        shelf.ledger.memory.fail_at = shelf.ledger.memory.calls + nth;
        err = shelf_open(&shelf);
        uint64_t next = 1, met = 0;
        if (!err) {
            err = shelf_try_walk(&shelf, 1, meet, &next, &met);
        }
        struct damages damages = { 0 };
        static const struct pl_verify_ops ops = { .damage = meet_damage };
        if (!err) {
            err = pl_store_verify(shelf.store, &ops, &damages);
        }
        assert_int_equal(damages.count, 0);
        assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
        shelf.ledger.memory.fail_at = 0;
        if (!shelf.store) {
            assert_int_equal(shelf_open(&shelf), PEAL_OK);
            shelf.life = 1;
        }
        check_all(&shelf, 1, EVENTS + 1);
    }
    shelf_finish(&shelf);
}

// ---- damage -------------------------------------------------------------------------------------

struct harmed {
    struct shelf shelf;
    char good[1 << 15]; // the archive of the first file
    size_t size;
    uint64_t end; // of its events
};

static void begin_harm(struct harmed *harmed, uint64_t seed)
{
    begin(&harmed->shelf, seed);
    uint64_t archived = 0;
    assert_int_equal(archive_all(&harmed->shelf, &archived), PEAL_OK);
    harmed->size =
        (size_t)read_file(&harmed->shelf, 1, ".seg.zst", harmed->good, sizeof harmed->good);
    harmed->end = harmed->shelf.store->volumes[0].end;
}

// Puts other bytes in place of the archive, opens the log with them and looks.
static struct damages look_at(struct harmed *harmed, const char *bytes, size_t size)
{
    struct shelf *shelf = &harmed->shelf;
    assert_int_equal(shelf_close(shelf), PEAL_OK);
    write_file(shelf, 1, ".seg.zst", bytes, size);
    shelf->life = 0;
    assert_int_equal(shelf_open(shelf), PEAL_OK);
    return verify(shelf);
}

static void meet_some(void *context, const struct pl_frame *frame)
{
    uint64_t *count = context;
    shelf_check(frame, size_at(frame->position), 1, NULL);
    *count += 1;
}

// How many events of the archive can be read; all behind it can.
static uint64_t count_events(struct harmed *harmed)
{
    uint64_t count = 0;
    (void)shelf_walk(&harmed->shelf, 1, meet_some, &count);
    uint64_t behind = EVENTS + 1 - harmed->end;
    assert_true(count >= behind);
    return count - behind;
}

static void each_byte_that_is_not_as_it_was_is_told(void **state)
{
    (void)state;
    static struct harmed harmed;
    static char bad[sizeof harmed.good];
    begin_harm(&harmed, 14);
    uint64_t all = harmed.end - 1;
    // The header's halves are the first two frames: they cost no event.
    size_t tables = pl_archive_head_size(3) + 16;
    for (size_t at = 0; at < harmed.size; at += at < tables || at + 80 > harmed.size ? 1 : 13) {
        memcpy(bad, harmed.good, harmed.size);
        bad[at] ^= (char)(1U << at % 8);
        struct damages damages = look_at(&harmed, bad, harmed.size);
        assert_true(damages.count > 0);
        assert_non_null(strstr(damages.path, ".seg.zst"));
        assert_int_equal(count_events(&harmed), all - damages.lost);
        if (at < pl_archive_head_size(3) || at > harmed.size - pl_archive_seek_size(3)) {
            assert_int_equal(damages.lost, 0); // the other table does
        }
    }
    assert_int_equal(look_at(&harmed, harmed.good, harmed.size).count, 0);
    shelf_finish(&harmed.shelf);
}

static void an_archive_cut_anywhere_is_told_and_read_as_far_as_it_goes(void **state)
{
    (void)state;
    static struct harmed harmed;
    begin_harm(&harmed, 15);
    for (size_t size = 1; size < harmed.size; size += size < 200 ? 1 : 37) {
        struct damages damages = look_at(&harmed, harmed.good, size);
        assert_true(damages.count > 0);
        assert_int_equal(count_events(&harmed), harmed.end - 1 - damages.lost);
        if (size > harmed.size - pl_archive_seek_size(3)) {
            assert_int_equal(damages.lost, 0);
        }
    }
    shelf_finish(&harmed.shelf);
}

// Makes the head's checksum fit what it says now.
static void seal_head(char *bytes)
{
    uint32_t size, crc = 0;
    memcpy(&size, bytes + 4, sizeof size);
    memcpy(bytes + 36, &crc, sizeof crc);
    crc = pl_crc32c(0, bytes + 8, size);
    memcpy(bytes + 36, &crc, sizeof crc);
}

static void put32(char *at, uint32_t number)
{
    memcpy(at, &number, sizeof number);
}

static void tables_that_lie_cost_their_file_at_most(void **state)
{
    (void)state;
    static struct harmed harmed;
    static char bad[sizeof harmed.good];
    begin_harm(&harmed, 16);
    static const uint32_t lies[] = { 0, 1, 2047, 2049, 65535, 1 << 17, 1 << 30, UINT32_MAX };
    for (size_t which = 0; which < 9; which++) { // the sizes and checksums of three frames
        for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
            memcpy(bad, harmed.good, harmed.size);
            put32(bad + 40 + 4 * which, lies[i]);
            seal_head(bad);
            struct damages damages = look_at(&harmed, bad, harmed.size);
            assert_true(damages.count > 0);
            assert_in_range(count_events(&harmed), 0, harmed.end - 1 - damages.lost);
            // The seek table lies, and the head is damaged.
            memcpy(bad, harmed.good, harmed.size);
            char *seek = bad + harmed.size - pl_archive_seek_size(3) + 8;
            put32(seek + 4 * which % 32, lies[i]);
            bad[9] ^= 1;
            assert_true(look_at(&harmed, bad, harmed.size).count > 0);
            (void)count_events(&harmed);
        }
    }
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) { // how many frames
        memcpy(bad, harmed.good, harmed.size);
        put32(bad + 32, lies[i]);
        put32(bad + harmed.size - 9, lies[i]);
        assert_true(look_at(&harmed, bad, harmed.size).count > 0);
        assert_int_equal(count_events(&harmed), 0);
    }
    shelf_finish(&harmed.shelf);
}

static void one_of_a_later_version_says_what_to_do(void **state)
{
    (void)state;
    static struct harmed harmed;
    static char bad[sizeof harmed.good];
    begin_harm(&harmed, 17);
    memcpy(bad, harmed.good, harmed.size);
    put32(bad + 16, PL_ARCHIVE_VERSION + 1);
    seal_head(bad);
    assert_int_equal(shelf_close(&harmed.shelf), PEAL_OK);
    write_file(&harmed.shelf, 1, ".seg.zst", bad, harmed.size);
    assert_int_equal(shelf_open(&harmed.shelf), PEAL_EUNSUPPORTED);
    assert_non_null(strstr(peal_error_sentence(), "zstd -d"));
    shelf_finish(&harmed.shelf);
}

// What a program that knows nothing of us has packed again has the seek table only.
static void an_archive_without_our_head_is_read(void **state)
{
    (void)state;
    static struct harmed harmed;
    static char other[sizeof harmed.good];
    begin_harm(&harmed, 18);
    size_t head = pl_archive_head_size(3), size = harmed.size - head - 8;
    memcpy(other, harmed.good + head, size);
    char *seek = other + size + 8 - pl_archive_seek_size(3);
    memmove(seek + 8, harmed.good + harmed.size - pl_archive_seek_size(3) + 16,
            pl_archive_seek_size(3) - 16);
    put32(seek, 0x184d2a5e);
    put32(seek + 4, (uint32_t)pl_archive_seek_size(3) - 16);
    put32(other + size - 9, 3);
    (void)look_at(&harmed, other, size);
    assert_int_equal(count_events(&harmed), harmed.end - 1);
    shelf_finish(&harmed.shelf);
}

// A disk that does not give a sector is no damage: it may give it tomorrow.
static void what_the_disk_does_not_read_is_an_error(void **state)
{
    (void)state;
    struct shelf shelf;
    begin(&shelf, 19);
    uint64_t archived = 0;
    assert_int_equal(archive_all(&shelf, &archived), PEAL_OK);
    char path[64];
    path_of(1, ".seg.zst", path);
    assert_int_equal(pl_disk_spoil(shelf.disk, path, 512, 512), 0);
    struct pl_segment *segment = NULL;
    assert_int_equal(shelf_read(&shelf, &segment, 1), PEAL_EIO);
    assert_null(segment);
    struct damages damages = verify(&shelf);
    assert_true(damages.count > 0);
    shelf_finish(&shelf);
}

static void a_block_that_is_no_frame_is_not_unpacked(void **state)
{
    (void)state;
    static char block[1000], frame[PL_PACK_FRAME_MAX], out[2000];
    struct failing memory;
    const struct pl_seams seams = failing_seams(&memory, 0);
    struct pl_packer *packer = pl_packer_create(&seams);
    struct pl_unpacker *unpacker = pl_unpacker_create(&seams);
    assert_true(pl_pack_is_here() && packer && unpacker);
    size_t size = pl_pack(packer, frame, block, sizeof block);
    assert_in_range(size, 1, 100);
    assert_true(pl_unpack(unpacker, out, sizeof block, frame, size));
    assert_memory_equal(out, block, sizeof block);
    assert_false(pl_unpack(unpacker, out, sizeof block + 1, frame, size));
    assert_false(pl_unpack(unpacker, out, sizeof block - 1, frame, size)); // larger than it says
    assert_false(pl_unpack(unpacker, out, sizeof block, frame, size - 1));
    assert_false(pl_unpack(unpacker, out, sizeof block, frame, size + 1));
    assert_false(pl_unpack(unpacker, out, sizeof block, block, sizeof block));
    assert_true(pl_unpack(unpacker, out, sizeof block, frame, size)); // it can go on
    pl_packer_destroy(packer);
    pl_unpacker_destroy(unpacker);
    assert_int_equal(memory.living, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_archived_is_read_as_before),
        cmocka_unit_test(what_an_archive_holds_is_the_file_byte_by_byte),
        cmocka_unit_test(an_archive_is_not_written_to),
        cmocka_unit_test(so_many_may_be_open_and_no_more),
        cmocka_unit_test(only_what_is_asked_for_is_archived),
        cmocka_unit_test(who_looks_on_may_stop_it),
        cmocka_unit_test(what_would_be_hardly_smaller_stays),
        cmocka_unit_test(another_process_reads_on),
        cmocka_unit_test(a_file_that_a_list_lacks_is_looked_for_before_it_is_forgotten),
        cmocka_unit_test(what_is_forgotten_is_gone_in_both_forms),
        cmocka_unit_test(where_both_are_there_the_plain_one_counts),
        cmocka_unit_test(a_plain_file_takes_the_place_of_its_archive),
        cmocka_unit_test(a_log_whose_last_files_are_gone_says_what_to_do),
        cmocka_unit_test(no_call_that_fails_while_archiving_costs_an_event),
        cmocka_unit_test(no_power_cut_while_archiving_costs_an_event),
        cmocka_unit_test(without_memory_nothing_is_archived_and_all_is_read),
        cmocka_unit_test(each_byte_that_is_not_as_it_was_is_told),
        cmocka_unit_test(an_archive_cut_anywhere_is_told_and_read_as_far_as_it_goes),
        cmocka_unit_test(tables_that_lie_cost_their_file_at_most),
        cmocka_unit_test(one_of_a_later_version_says_what_to_do),
        cmocka_unit_test(an_archive_without_our_head_is_read),
        cmocka_unit_test(what_the_disk_does_not_read_is_an_error),
        cmocka_unit_test(a_block_that_is_no_frame_is_not_unpacked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
