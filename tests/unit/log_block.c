// SPDX-License-Identifier: MIT
//
// Blocks: what was written is read, from any byte on; what is not where it was written is damaged.
#include "support/indexed.h"

#include "log/index_block.h"

struct stand {
    struct pl_disk *disk;
    struct pl_blocks blocks;
    struct pl_block_writer writer;
};

#define BYTES 100000

static unsigned char byte_at(size_t at)
{
    return (unsigned char)(at * 131 >> 3);
}

// A file of BYTES, put in pieces of any size.
static void open_stand(struct stand *stand, uint64_t seed)
{
    static unsigned char bytes[BYTES];
    memset(stand, 0, sizeof *stand);
    assert_int_equal(pl_disk_create(&stand->disk, &pl_seams_real, seed), PEAL_OK);
    stand->blocks =
        (struct pl_blocks){ .files = pl_disk_files(stand->disk), .salt = 99, .path = "/blocks" };
    const struct pl_files *files = stand->blocks.files;
    assert_int_equal(
        files->open(files->world, &stand->blocks.file, stand->blocks.path, PL_FILE_CREATE), 0);
    stand->writer.blocks = stand->blocks;
    for (size_t i = 0; i < BYTES; i++) {
        bytes[i] = byte_at(i);
    }
    for (size_t at = 0; at < BYTES;) {
        size_t size = failing_random(&seed) % 3000;
        size = size < BYTES - at ? size : BYTES - at;
        assert_int_equal(pl_blocks_at(&stand->writer), at);
        pl_blocks_put(&stand->writer, bytes + at, size);
        at += size;
    }
    assert_int_equal(pl_blocks_flush(&stand->writer), 0);
}

static void close_stand(struct stand *stand)
{
    stand->blocks.files->close(stand->blocks.files->world, &stand->blocks.file);
    pl_disk_destroy(stand->disk);
}

static void any_bytes_are_read_as_they_were_put(void **state)
{
    (void)state;
    static unsigned char out[BYTES];
    struct stand stand;
    open_stand(&stand, 5);
    uint64_t chance = 6;
    for (int i = 0; i < 2000; i++) {
        size_t at = failing_random(&chance) % BYTES;
        size_t size = failing_random(&chance) % (i % 10 ? 1200 : BYTES);
        size = size < BYTES - at ? size : BYTES - at;
        assert_int_equal(pl_blocks_read(&stand.blocks, at, out, size), PEAL_OK);
        for (size_t n = 0; n < size; n++) {
            assert_int_equal(out[n], byte_at(at + n));
        }
    }
    int64_t size = stand.blocks.files->size(stand.blocks.files->world, stand.blocks.file);
    assert_int_equal(size, (BYTES + PL_BLOCK_ROOM - 1) / PL_BLOCK_ROOM * PL_BLOCK);
    close_stand(&stand);
}

static void a_block_is_good_in_its_place_and_with_its_salt_alone(void **state)
{
    (void)state;
    struct stand stand;
    open_stand(&stand, 7);
    char block[PL_BLOCK];
    const struct pl_files *files = stand.blocks.files;
    assert_int_equal(files->pread(files->world, stand.blocks.file, block, PL_BLOCK, 3 * PL_BLOCK),
                     PL_BLOCK);
    assert_int_equal(
        pl_files_write(files, stand.blocks.file, block, PL_BLOCK, (uint64_t)7 * PL_BLOCK), 0);
    unsigned char byte = 0;
    assert_int_equal(pl_blocks_read(&stand.blocks, (uint64_t)7 * PL_BLOCK_ROOM, &byte, 1),
                     PEAL_ECORRUPT);
    assert_int_equal(pl_blocks_read(&stand.blocks, (uint64_t)6 * PL_BLOCK_ROOM, &byte, 1), PEAL_OK);
    stand.blocks.salt++;
    assert_int_equal(pl_blocks_read(&stand.blocks, (uint64_t)6 * PL_BLOCK_ROOM, &byte, 1),
                     PEAL_ECORRUPT);
    assert_int_equal(pl_blocks_read(&stand.blocks, 0, &byte, 1), PEAL_OK); // of no salt
    close_stand(&stand);
}

static void what_is_behind_the_end_is_damaged_and_what_cannot_be_read_an_error(void **state)
{
    (void)state;
    struct stand stand;
    open_stand(&stand, 8);
    unsigned char bytes[2000];
    assert_int_equal(pl_blocks_read(&stand.blocks, BYTES - 100, bytes, sizeof bytes),
                     PEAL_ECORRUPT);
    assert_int_equal(pl_blocks_read(&stand.blocks, UINT64_MAX / 512, bytes, 1), PEAL_ECORRUPT);
    assert_int_equal(pl_disk_spoil(stand.disk, "/blocks", 5000, 10), 0);
    assert_int_equal(pl_blocks_read(&stand.blocks, 5000, bytes, 10), PEAL_EIO);
    assert_int_equal(pl_blocks_read(&stand.blocks, 50000, bytes, 10), PEAL_OK);
    close_stand(&stand);
}

static void a_writer_stops_at_the_first_write_that_fails_and_says_why(void **state)
{
    (void)state;
    struct stand stand;
    open_stand(&stand, 9);
    const struct pl_disk_fault fault = { .calls = PL_DISK_WRITE, .nth = 1, .error = 28 };
    uint64_t calls = pl_disk_calls(stand.disk, PL_DISK_WRITE);
    static const char zeros[BYTES];
    pl_disk_inject(stand.disk, &fault);
    pl_blocks_put(&stand.writer, zeros, sizeof zeros);
    assert_int_equal(pl_blocks_flush(&stand.writer), -28);
    assert_int_equal(pl_disk_calls(stand.disk, PL_DISK_WRITE) - calls, 1);
    close_stand(&stand);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_bytes_are_read_as_they_were_put),
        cmocka_unit_test(a_block_is_good_in_its_place_and_with_its_salt_alone),
        cmocka_unit_test(what_is_behind_the_end_is_damaged_and_what_cannot_be_read_an_error),
        cmocka_unit_test(a_writer_stops_at_the_first_write_that_fails_and_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
