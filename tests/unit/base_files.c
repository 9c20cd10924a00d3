// SPDX-License-Identifier: MIT
//
// The contract of files.h, run over the real machine in a directory of its own and over the
// simulated disk: what one keeps, the other keeps.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/files.h"
#include "testing/disk.h"

#define NAMES_MAX 200

struct place {
    const struct pl_files *files;
    struct pl_disk *disk; // NULL on the real machine
    char root[32];
    char path[4][64]; // of the last calls of at()
    unsigned next;
};

static char *at(struct place *place, const char *name)
{
    char *path = place->path[place->next++ % 4];
    (void)snprintf(path, sizeof place->path[0], "%s/%s", place->root, name);
    return path;
}

static struct pl_file opened(struct place *place, const char *name, enum pl_file_mode mode)
{
    struct pl_file file = { 0 };
    assert_int_equal(place->files->open(place->files->world, &file, at(place, name), mode), 0);
    assert_true(file.number > 0);
    return file;
}

static void closed(struct place *place, struct pl_file file)
{
    place->files->close(place->files->world, &file);
    assert_int_equal(file.number, 0);
}

static void put(struct place *place, struct pl_file file, const char *text, uint64_t offset)
{
    assert_int_equal(pl_files_write(place->files, file, text, strlen(text), offset), 0);
}

static void expect(struct place *place, struct pl_file file, uint64_t offset, const char *text,
                   size_t size)
{
    char found[128];
    assert_true(size < sizeof found);
    int64_t count = place->files->pread(place->files->world, file, found, sizeof found - 1, offset);
    assert_int_equal(count, size);
    assert_memory_equal(found, text, size);
}

static void a_file_is_created_once_and_found_again(void **state)
{
    struct place *place = *state;
    const struct pl_files *files = place->files;
    struct pl_file file = { 0 };
    assert_int_equal(files->open(files->world, &file, at(place, "a"), PL_FILE_READ), -ENOENT);
    assert_int_equal(files->open(files->world, &file, at(place, "a"), PL_FILE_WRITE), -ENOENT);
    assert_int_equal(file.number, 0);

    file = opened(place, "a", PL_FILE_CREATE);
    put(place, file, "hello", 0);
    struct pl_file other = { 0 };
    assert_int_equal(files->open(files->world, &other, at(place, "a"), PL_FILE_CREATE), -EEXIST);
    assert_int_equal(other.number, 0);
    closed(place, file);

    file = opened(place, "a", PL_FILE_READ);
    expect(place, file, 0, "hello", 5);
    closed(place, file);
    files->close(files->world, &other); // not open: fine
}

static void a_directory_is_no_file(void **state)
{
    struct place *place = *state;
    const struct pl_files *files = place->files;
    struct pl_file file = { 0 };
    assert_int_equal(files->open(files->world, &file, place->root, PL_FILE_READ), -EISDIR);
    assert_int_equal(files->open(files->world, &file, place->root, PL_FILE_WRITE), -EISDIR);
    assert_int_equal(file.number, 0);
    assert_int_equal(files->unlink(files->world, place->root), -EISDIR);
}

static void bytes_are_read_where_they_were_written(void **state)
{
    struct place *place = *state;
    struct pl_file file = opened(place, "a", PL_FILE_CREATE);
    put(place, file, "0123456789", 0);
    put(place, file, "ABC", 4);
    put(place, file, "z", 9);
    expect(place, file, 0, "0123ABC78z", 10);
    expect(place, file, 7, "78z", 3);
    expect(place, file, 10, "", 0);
    expect(place, file, 1000, "", 0);
    assert_int_equal(place->files->pwrite(place->files->world, file, "x", 0, 50), 0);
    assert_int_equal(place->files->size(place->files->world, file), 10);
    closed(place, file);
}

static void saying_what_will_be_read_changes_nothing(void **state)
{
    struct place *place = *state;
    struct pl_file file = opened(place, "a", PL_FILE_CREATE);
    put(place, file, "0123456789", 0);
    pl_files_will_read(place->files, file, 0, 4);
    pl_files_will_read(place->files, file, 8, 1 << 20);
    pl_files_will_read(place->files, file, UINT64_MAX, SIZE_MAX);
    expect(place, file, 0, "0123456789", 10);
    assert_int_equal(place->files->size(place->files->world, file), 10);
    closed(place, file);
}

// What is in memory is there, or the system has let go of it: nobody can say which.
static void who_does_not_wait_is_given_the_same_bytes_or_none(void **state)
{
    struct place *place = *state;
    const struct pl_files *files = place->files;
    struct pl_file file = opened(place, "a", PL_FILE_CREATE);
    put(place, file, "0123456789", 0);
    for (uint64_t offset = 0; offset < 12; offset += 3) {
        char out[5] = "....";
        int64_t there = offset < 10 ? 10 - (int64_t)offset : 0;
        int64_t count = files->pread_now(files->world, file, out, 4, offset);
        assert_true(count == -EAGAIN || count == -EOPNOTSUPP || count == (there < 4 ? there : 4));
        if (count > 0) {
            assert_memory_equal(out, &"0123456789"[offset], (size_t)count);
        }
    }
    assert_true(files->pread_now(files->world, file, NULL, SIZE_MAX, UINT64_MAX) < 0);
    closed(place, file);
}

static void a_gap_reads_as_zeros(void **state)
{
    struct place *place = *state;
    struct pl_file file = opened(place, "a", PL_FILE_CREATE);
    put(place, file, "end", 10000);
    assert_int_equal(place->files->size(place->files->world, file), 10003);
    char zeros[100] = { 0 };
    char found[100];
    assert_int_equal(place->files->pread(place->files->world, file, found, 100, 5000), 100);
    assert_memory_equal(found, zeros, 100);
    expect(place, file, 9998, "\0\0end", 5);
    closed(place, file);
}

static void large_writes_cross_pages(void **state)
{
    struct place *place = *state;
    const struct pl_files *files = place->files;
    enum { SIZE = 30001 };
    unsigned char *bytes = test_malloc(SIZE);
    unsigned char *found = test_malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++) {
        bytes[i] = (unsigned char)(i * 7 + i / 251);
    }
    struct pl_file file = opened(place, "a", PL_FILE_CREATE);
    assert_int_equal(pl_files_write(files, file, bytes, SIZE, 777), 0);
    assert_int_equal(files->sync(files->world, file), 0);
    assert_int_equal(files->pread(files->world, file, found, SIZE, 777), SIZE);
    assert_memory_equal(found, bytes, SIZE);
    closed(place, file);
    test_free(found);
    test_free(bytes);
}

static void a_file_opened_for_reading_is_not_written(void **state)
{
    struct place *place = *state;
    const struct pl_files *files = place->files;
    closed(place, opened(place, "a", PL_FILE_CREATE));
    struct pl_file file = opened(place, "a", PL_FILE_READ);
    assert_int_equal(files->pwrite(files->world, file, "x", 1, 0), -EBADF);
    assert_true(files->truncate(files->world, file, 5) < 0);
    assert_true(files->allocate(files->world, file, 5) < 0);
    assert_int_equal(files->size(files->world, file), 0);
    closed(place, file);
}

static void a_cut_forgets_and_lengthening_shows_zeros(void **state)
{
    struct place *place = *state;
    const struct pl_files *files = place->files;
    struct pl_file file = opened(place, "a", PL_FILE_CREATE);
    put(place, file, "0123456789", 0);
    assert_int_equal(files->truncate(files->world, file, 4), 0);
    expect(place, file, 0, "0123", 4);
    assert_int_equal(files->truncate(files->world, file, 7), 0);
    expect(place, file, 0, "0123\0\0\0", 7);
    assert_int_equal(files->truncate(files->world, file, 0), 0);
    assert_int_equal(files->size(files->world, file), 0);
    closed(place, file);
}

static void allocating_lengthens_and_keeps_what_is_there(void **state)
{
    struct place *place = *state;
    const struct pl_files *files = place->files;
    struct pl_file file = opened(place, "a", PL_FILE_CREATE);
    put(place, file, "abc", 0);
    assert_int_equal(files->allocate(files->world, file, 20000), 0);
    assert_int_equal(files->size(files->world, file), 20000);
    assert_int_equal(files->allocate(files->world, file, 10), 0);
    assert_int_equal(files->allocate(files->world, file, 0), 0);
    assert_int_equal(files->size(files->world, file), 20000);
    char found[6];
    assert_int_equal(files->pread(files->world, file, found, 6, 0), 6);
    assert_memory_equal(found, "abc\0\0\0", 6);
    closed(place, file);
}

static void sizes_beyond_reason_are_refused(void **state)
{
    struct place *place = *state;
    const struct pl_files *files = place->files;
    struct pl_file file = opened(place, "a", PL_FILE_CREATE);
    assert_int_equal(files->pwrite(files->world, file, "x", 1, UINT64_MAX), -EFBIG);
    assert_int_equal(files->pwrite(files->world, file, "x", 1, INT64_MAX), -EFBIG);
    assert_int_equal(files->truncate(files->world, file, UINT64_MAX), -EFBIG);
    assert_int_equal(files->allocate(files->world, file, UINT64_MAX), -EFBIG);
    assert_int_equal(files->size(files->world, file), 0);
    closed(place, file);
}

static void a_rename_replaces_and_keeps_the_bytes(void **state)
{
    struct place *place = *state;
    const struct pl_files *files = place->files;
    struct pl_file old = opened(place, "old", PL_FILE_CREATE);
    struct pl_file new = opened(place, "new", PL_FILE_CREATE);
    put(place, old, "old", 0);
    put(place, new, "new", 0);
    assert_int_equal(files->rename(files->world, at(place, "new"), at(place, "old")), 0);

    expect(place, old, 0, "old", 3); // still open
    closed(place, old);
    closed(place, new);
    old = opened(place, "old", PL_FILE_READ);
    expect(place, old, 0, "new", 3);
    closed(place, old);
    assert_int_equal(files->rename(files->world, at(place, "new"), at(place, "x")), -ENOENT);
    assert_int_equal(files->rename(files->world, at(place, "old"), at(place, "old")), 0);
    closed(place, opened(place, "old", PL_FILE_READ));
}

static void an_unlinked_file_lives_until_it_is_closed(void **state)
{
    struct place *place = *state;
    const struct pl_files *files = place->files;
    struct pl_file file = opened(place, "a", PL_FILE_CREATE);
    put(place, file, "abc", 0);
    assert_int_equal(files->unlink(files->world, at(place, "a")), 0);
    assert_int_equal(files->unlink(files->world, at(place, "a")), -ENOENT);
    assert_int_equal(files->sync_directory(files->world, place->root), 0);
    expect(place, file, 0, "abc", 3);

    struct pl_file other = opened(place, "a", PL_FILE_CREATE); // the name is free again
    assert_int_equal(files->size(files->world, other), 0);
    closed(place, other);
    closed(place, file);
}

static int note_name(void *context, const char *name)
{
    char *names = context;
    size_t size = strlen(names);
    (void)snprintf(names + size, NAMES_MAX - size, "%s ", name);
    return 0;
}

static int stop_at_once(void *context, const char *name)
{
    (void)context;
    (void)name;
    return 42;
}

static void a_directory_lists_its_names(void **state)
{
    struct place *place = *state;
    const struct pl_files *files = place->files;
    char names[NAMES_MAX] = "";
    assert_int_equal(files->list(files->world, place->root, note_name, names), 0);
    assert_string_equal(names, "");

    closed(place, opened(place, "one", PL_FILE_CREATE));
    closed(place, opened(place, "gone", PL_FILE_CREATE));
    assert_int_equal(files->make_directory(files->world, at(place, "two")), 0);
    closed(place, opened(place, "two/three", PL_FILE_CREATE));
    assert_int_equal(files->unlink(files->world, at(place, "gone")), 0);

    assert_int_equal(files->list(files->world, place->root, note_name, names), 0);
    assert_int_equal(strlen(names), strlen("one two "));
    assert_non_null(strstr(names, "one "));
    assert_non_null(strstr(names, "two "));
    names[0] = 0;
    assert_int_equal(files->list(files->world, at(place, "two"), note_name, names), 0);
    assert_string_equal(names, "three ");
    assert_int_equal(files->list(files->world, place->root, stop_at_once, NULL), 42);
    assert_int_equal(files->list(files->world, at(place, "none"), note_name, names), -ENOENT);
    assert_int_equal(files->list(files->world, at(place, "one"), note_name, names), -ENOTDIR);
}

static void directories_are_made_once_and_synced(void **state)
{
    struct place *place = *state;
    const struct pl_files *files = place->files;
    assert_int_equal(files->make_directory(files->world, at(place, "d")), 0);
    assert_int_equal(files->make_directory(files->world, at(place, "d")), -EEXIST);
    assert_int_equal(files->make_directory(files->world, at(place, "x/y")), -ENOENT);
    closed(place, opened(place, "f", PL_FILE_CREATE));
    assert_int_equal(files->make_directory(files->world, at(place, "f")), -EEXIST);
    assert_int_equal(files->make_directory(files->world, at(place, "f/y")), -ENOTDIR);

    assert_int_equal(files->sync_directory(files->world, at(place, "d")), 0);
    assert_int_equal(files->sync_directory(files->world, place->root), 0);
    assert_int_equal(files->sync_directory(files->world, at(place, "none")), -ENOENT);
    assert_int_equal(files->sync_directory(files->world, at(place, "f")), -ENOTDIR);

    struct pl_file file = { 0 };
    int result = files->open(files->world, &file, at(place, "none/f"), PL_FILE_CREATE);
    assert_int_equal(result, -ENOENT);
}

static void a_lock_is_of_one_opening_until_it_is_closed(void **state)
{
    struct place *place = *state;
    const struct pl_files *files = place->files;
    struct pl_file mine = opened(place, "lock", PL_FILE_CREATE);
    struct pl_file theirs = opened(place, "lock", PL_FILE_WRITE);
    assert_int_equal(files->lock(files->world, mine), 0);
    assert_int_equal(files->lock(files->world, mine), 0);
    assert_int_equal(files->lock(files->world, theirs), -EAGAIN);
    put(place, theirs, "not kept out", 0);
    closed(place, mine);
    assert_int_equal(files->lock(files->world, theirs), 0);
    closed(place, theirs);
}

static void a_name_that_is_too_long_is_refused(void **state)
{
    struct place *place = *state;
    const struct pl_files *files = place->files;
    struct pl_file file = { 0 };
    char path[400];
    int size = snprintf(path, sizeof path, "%s/", place->root);
    memset(path + size, 'x', 256);
    path[size + 256] = 0;
    int result = files->open(files->world, &file, path, PL_FILE_CREATE);
    assert_int_equal(result, -ENAMETOOLONG);
    path[size + 255] = 0;
    assert_int_equal(files->open(files->world, &file, path, PL_FILE_CREATE), 0);
    closed(place, file);
}

static void many_files_are_open_at_once(void **state)
{
    struct place *place = *state;
    struct pl_file file[50];
    char name[16];
    for (int i = 0; i < 50; i++) {
        (void)snprintf(name, sizeof name, "f%d", i);
        file[i] = opened(place, name, PL_FILE_CREATE);
        put(place, file[i], name, 0);
    }
    for (int i = 0; i < 50; i++) {
        (void)snprintf(name, sizeof name, "f%d", i);
        expect(place, file[i], 0, name, strlen(name));
        closed(place, file[i]);
    }
}

static void results_have_a_text(void **state)
{
    (void)state;
    assert_string_equal(pl_files_text(-ENOSPC), "No space left on device");
    assert_string_equal(pl_files_text(-99999), "an unknown error");
    assert_string_equal(pl_files_text(INT64_MIN), "an unknown error");
    assert_string_equal(pl_files_text(5), "an unknown error");
}

static void what_is_stored_to_shared_bytes_is_in_the_file(void **state)
{
    struct place *place = *state;
    const struct pl_files *files = place->files;
    struct pl_file file = opened(place, "a", PL_FILE_CREATE);
    static char bytes[8192];
    memset(bytes, 'x', sizeof bytes);
    assert_int_equal(pl_files_write(files, file, bytes, sizeof bytes, 0), 0);
    void *memory = NULL;
    int result = files->share(files->world, file, sizeof bytes, &memory);
    if (result) { // not on every file system
        assert_int_equal(result, -ENOTSUP);
        assert_null(memory);
    } else {
        assert_memory_equal(memory, bytes, sizeof bytes);
        memcpy((char *)memory + 4094, "over", 4);
        expect(place, file, 8192 - 4, "xxxx", 4);
        closed(place, file);
        file = opened(place, "a", PL_FILE_READ);
        char found[6] = { 0 };
        assert_int_equal(files->pread(files->world, file, found, 6, 4093), 6);
        assert_memory_equal(found, "xoverx", 6);
        memcpy(memory, "late", 4);
        files->unshare(files->world, memory, sizeof bytes);
        assert_int_equal(files->pread(files->world, file, found, 5, 0), 5);
        assert_memory_equal(found, "latex", 5);
    }
    closed(place, file);
    files->unshare(files->world, NULL, sizeof bytes);
}

static void a_file_that_is_not_open_is_not_shared(void **state)
{
    struct place *place = *state;
    void *memory = NULL;
    struct pl_file file = { 0 };
    assert_true(place->files->share(place->files->world, file, 4096, &memory) < 0);
    assert_null(memory);
}

static void the_machine_has_one_name_while_it_runs(void **state)
{
    struct place *place = *state;
    const struct pl_files *files = place->files;
    uint64_t first[2] = { 0 }, second[2] = { 0 };
    int result = files->boot(files->world, first);
    assert_int_equal(files->boot(files->world, second), result);
    assert_true(result == 0 || result == -ENOENT); // no /proc
    assert_memory_equal(first, second, sizeof first);
    assert_true(result != 0 || first[0] != 0);
}

static int setup_disk(void **state)
{
    struct place *place = test_calloc(1, sizeof *place);
    (void)snprintf(place->root, sizeof place->root, "./events");
    *state = place;
    if (pl_disk_create(&place->disk, &pl_seams_real, 1)) {
        return -1;
    }
    pl_disk_let_share(place->disk, true);
    place->files = pl_disk_files(place->disk);
    return place->files->make_directory(place->files->world, place->root);
}

static int teardown_disk(void **state)
{
    struct place *place = *state;
    pl_disk_destroy(place->disk);
    test_free(place);
    return 0;
}

static int setup_real(void **state)
{
    struct place *place = test_calloc(1, sizeof *place);
    (void)snprintf(place->root, sizeof place->root, "./base_files.XXXXXX");
    place->files = &pl_files_real;
    *state = place;
    return mkdtemp(place->root) ? 0 : -1;
}

static int remove_name(void *context, const char *name)
{
    struct place *place = context;
    char path[400];
    (void)snprintf(path, sizeof path, "%s/%s", place->root, name);
    return remove(path) && errno != ENOTEMPTY;
}

// As in a daemon that has closed them all: what is printed to one is not printed over a file.
static void a_file_never_has_the_number_of_a_standard_stream(void **state)
{
    struct place *place = *state;
    int kept[3];
    for (int fd = 0; fd < 3; fd++) {
        kept[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 100);
        assert_true(kept[fd] >= 100);
    }
    for (int fd = 0; fd < 3; fd++) {
        (void)close(fd);
    }
    struct pl_file file = { 0 };
    int result = place->files->open(NULL, &file, at(place, "a"), PL_FILE_CREATE);
    bool silent = true;
    for (int fd = 0; fd < 3; fd++) {
        silent = silent && write(fd, "printed", 7) < 0;
    }
    for (int fd = 0; fd < 3; fd++) {
        (void)dup2(kept[fd], fd);
        (void)close(kept[fd]);
    }
    assert_int_equal(result, 0);
    assert_true(silent);
    assert_int_equal(place->files->size(NULL, file), 0);
    closed(place, file);
}

static int teardown_real(void **state)
{
    struct place *place = *state;
    // One directory at most is full, and "three" is what it holds.
    (void)remove(at(place, "two/three"));
    int result = pl_files_real.list(NULL, place->root, remove_name, place);
    result = result ? result : rmdir(place->root);
    test_free(place);
    return result;
}

#define CONTRACT(X)                                                                                \
    X(a_file_is_created_once_and_found_again)                                                      \
    X(a_directory_is_no_file)                                                                      \
    X(bytes_are_read_where_they_were_written)                                                      \
    X(saying_what_will_be_read_changes_nothing)                                                    \
    X(who_does_not_wait_is_given_the_same_bytes_or_none)                                           \
    X(a_gap_reads_as_zeros)                                                                        \
    X(large_writes_cross_pages)                                                                    \
    X(a_file_opened_for_reading_is_not_written)                                                    \
    X(a_cut_forgets_and_lengthening_shows_zeros)                                                   \
    X(allocating_lengthens_and_keeps_what_is_there)                                                \
    X(sizes_beyond_reason_are_refused)                                                             \
    X(a_rename_replaces_and_keeps_the_bytes)                                                       \
    X(an_unlinked_file_lives_until_it_is_closed)                                                   \
    X(a_directory_lists_its_names)                                                                 \
    X(directories_are_made_once_and_synced)                                                        \
    X(a_lock_is_of_one_opening_until_it_is_closed)                                                 \
    X(a_name_that_is_too_long_is_refused)                                                          \
    X(what_is_stored_to_shared_bytes_is_in_the_file)                                               \
    X(a_file_that_is_not_open_is_not_shared)                                                       \
    X(the_machine_has_one_name_while_it_runs)                                                      \
    X(many_files_are_open_at_once)                                                                 \
    X(results_have_a_text)

#define ON_REAL(test) cmocka_unit_test_setup_teardown(test, setup_real, teardown_real),
#define ON_DISK(test) cmocka_unit_test_setup_teardown(test, setup_disk, teardown_disk),

int main(void)
{
    const struct CMUnitTest real[] = { ON_REAL(a_file_never_has_the_number_of_a_standard_stream)
                                           CONTRACT(ON_REAL) };
    const struct CMUnitTest disk[] = { CONTRACT(ON_DISK) };
    int failed = cmocka_run_group_tests_name("real files", real, NULL, NULL);
    return failed + cmocka_run_group_tests_name("simulated disk", disk, NULL, NULL);
}
