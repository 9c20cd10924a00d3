// SPDX-License-Identifier: MIT
//
// State tables: what is committed is there when it is opened again, whatever happened in between.
#include "support/drawer.h"

#include "base/crc32c.h"
#include "log/kv_bytes.h"

#define OS   PEAL_DURABILITY_OS
#define DISK PEAL_DURABILITY_DISK

static void power_cut(struct drawer *drawer)
{
    pl_disk_crash(drawer->disk);
    drawer_leave(drawer);
    assert_int_equal(drawer_open(drawer), PEAL_OK);
}

static void kill_process(struct drawer *drawer)
{
    pl_disk_kill(drawer->disk);
    drawer_leave(drawer);
    assert_int_equal(drawer_open(drawer), PEAL_OK);
}

static void reopen(struct drawer *drawer)
{
    assert_int_equal(drawer_close(drawer), PEAL_OK);
    assert_int_equal(drawer_open(drawer), PEAL_OK);
}

// ---- what is kept -------------------------------------------------------------------------------

static void what_is_committed_is_read_back(void **state)
{
    (void)state;
    struct drawer drawer;
    drawer_init(&drawer, 1);
    assert_int_equal(drawer_open(&drawer), PEAL_OK);
    assert_int_equal(drawer_files(&drawer, "state"), 0); // nothing to keep, no file
    drawer_put(&drawer, "b", "2", OS);
    drawer_put(&drawer, "a", "1", PEAL_DURABILITY_MEMORY);
    drawer_put(&drawer, "c", "", OS);
    drawer_put(&drawer, "b", "two", PEAL_DURABILITY_DEFAULT);
    drawer_put(&drawer, "d", "4", PEAL_DURABILITY_MEMORY);
    drawer_put(&drawer, "d", NULL, PEAL_DURABILITY_MEMORY);
    drawer_put(&drawer, "e", NULL, PEAL_DURABILITY_MEMORY); // was never there
    for (int again = 0; again < 3; again++) {
        drawer_has(&drawer, "a", "1");
        drawer_has(&drawer, "b", "two");
        drawer_has(&drawer, "c", "");
        drawer_has(&drawer, "d", NULL);
        assert_int_equal(pl_kv_stats(drawer.kv).entries, 3);
        assert_int_equal(pl_kv_stats(drawer.kv).generation, 1);
        assert_int_equal(pl_kv_recovery(drawer.kv)->cut_bytes, 0);
        reopen(&drawer);
    }
    assert_int_equal(drawer_files(&drawer, "state"), 1);
    drawer_finish(&drawer);
}

static void entries_come_in_the_order_of_their_keys(void **state)
{
    (void)state;
    struct drawer drawer;
    drawer_init(&drawer, 2);
    assert_int_equal(drawer_open(&drawer), PEAL_OK);
    uint64_t chance = 5;
    char key[32];
    for (int i = 0; i < 2000; i++) {
        (void)snprintf(key, sizeof key, "%c/%03llu", "xyz"[i % 3],
                       (unsigned long long)(failing_random(&chance) % 500));
        drawer_put(&drawer, key, i % 4 ? key : NULL, PEAL_DURABILITY_MEMORY);
    }
    const struct pl_kv_entry *entry;
    const char *before = "";
    char last[32] = "";
    size_t count = 0;
    PL_KV_EACH(entry, drawer.kv, "y/")
    {
        assert_true(strcmp(before, entry->key) < 0);
        assert_memory_equal(entry->key, "y/", 2);
        assert_string_equal(entry->key, entry->value);
        (void)snprintf(last, sizeof last, "%s", entry->key);
        before = last;
        count++;
    }
    assert_in_range(count, 200, 500);
    size_t all = 0;
    PL_KV_EACH(entry, drawer.kv, "")
    {
        all++;
    }
    assert_int_equal(all, pl_kv_stats(drawer.kv).entries);
    drawer_finish(&drawer);
}

static void an_entry_that_is_held_stays_as_it_was(void **state)
{
    (void)state;
    struct drawer drawer;
    drawer_init(&drawer, 3);
    assert_int_equal(drawer_open(&drawer), PEAL_OK);
    drawer_put(&drawer, "a", "old", OS);
    drawer_put(&drawer, "b", "next", OS);
    const struct pl_kv_entry *entry = pl_kv_get(drawer.kv, "a");
    drawer_put(&drawer, "a", NULL, OS);
    assert_string_equal(entry->value, "old");
    entry = pl_kv_next(drawer.kv, "", entry); // goes on behind where it was
    assert_string_equal(entry->key, "b");
    entry = pl_kv_next(drawer.kv, "", entry);
    assert_null(entry);
    drawer_finish(&drawer);
}

static void a_transaction_is_seen_as_a_whole_or_not_at_all(void **state)
{
    (void)state;
    struct drawer drawer;
    drawer_init(&drawer, 4);
    assert_int_equal(drawer_open(&drawer), PEAL_OK);
    drawer_put(&drawer, "gone", "x", OS);
    struct pl_kv_transaction *transaction = NULL;
    assert_int_equal(pl_kv_begin(&transaction, drawer.kv), PEAL_OK);
    assert_int_equal(pl_kv_put(transaction, "a", 3, "1", 1), PEAL_OK);
    assert_int_equal(pl_kv_put(transaction, "a", 4, "2", 1), PEAL_OK); // the last one counts
    assert_int_equal(pl_kv_remove(transaction, "gone"), PEAL_OK);
    drawer_has(&drawer, "a", NULL);
    drawer_has(&drawer, "gone", "x");
    assert_int_equal(pl_kv_commit(transaction, DISK), PEAL_OK);
    drawer_has(&drawer, "gone", NULL);
    power_cut(&drawer);
    drawer_has(&drawer, "a", "2");
    drawer_has(&drawer, "gone", NULL);
    const struct pl_kv_entry *entry = pl_kv_get(drawer.kv, "a");
    assert_int_equal(entry->position, 4);
    pl_kv_unref(drawer.kv, entry);
    assert_int_equal(pl_kv_begin(&transaction, drawer.kv), PEAL_OK);
    assert_int_equal(pl_kv_remove(transaction, "a"), PEAL_OK);
    pl_kv_abandon(transaction);
    pl_kv_abandon(NULL);
    drawer_has(&drawer, "a", "2");
    assert_int_equal(pl_kv_begin(&transaction, drawer.kv), PEAL_OK);
    assert_int_equal(pl_kv_commit(transaction, DISK), PEAL_OK); // of nothing
    drawer_finish(&drawer);
}

static void a_level_means_what_it_says(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct drawer drawer;
        drawer_init(&drawer, seed);
        assert_int_equal(drawer_open(&drawer), PEAL_OK);
        drawer_put(&drawer, "disk", "1", DISK);
        drawer_put(&drawer, "memory", "1", PEAL_DURABILITY_MEMORY);
        kill_process(&drawer);
        drawer_has(&drawer, "disk", "1");
        drawer_has(&drawer, "memory", NULL);
        drawer_put(&drawer, "memory", "1", PEAL_DURABILITY_MEMORY);
        drawer_put(&drawer, "os", "1", OS); // takes the other with it
        kill_process(&drawer);
        drawer_has(&drawer, "os", "1");
        drawer_has(&drawer, "memory", "1");
        drawer_put(&drawer, "disk", "2", PEAL_DURABILITY_MEMORY);
        assert_int_equal(pl_kv_settle(drawer.kv, DISK), PEAL_OK);
        power_cut(&drawer);
        drawer_has(&drawer, "disk", "2");
        assert_int_equal(pl_kv_recovery(drawer.kv)->damaged, 0);
        drawer_finish(&drawer);
    }
}

static void one_sync_serves_all_that_was_written_before(void **state)
{
    (void)state;
    struct drawer drawer;
    drawer_init(&drawer, 5);
    assert_int_equal(drawer_open(&drawer), PEAL_OK);
    drawer_put(&drawer, "a", "1", OS);
    uint64_t syncs = pl_disk_calls(drawer.disk, PL_DISK_SYNC);
    uint64_t writes = pl_disk_calls(drawer.disk, PL_DISK_WRITE);
    for (int i = 0; i < 100; i++) {
        drawer_put(&drawer, "a", "2", PEAL_DURABILITY_MEMORY);
    }
    assert_int_equal(pl_kv_settle(drawer.kv, DISK), PEAL_OK);
    assert_int_equal(pl_kv_settle(drawer.kv, DISK), PEAL_OK);
    assert_int_equal(pl_disk_calls(drawer.disk, PL_DISK_SYNC), syncs + 1);
    assert_int_equal(pl_disk_calls(drawer.disk, PL_DISK_WRITE), writes + 1);
    drawer_finish(&drawer);
}

// ---- generations --------------------------------------------------------------------------------

static void a_file_of_the_past_is_followed_by_the_next_generation(void **state)
{
    (void)state;
    struct drawer drawer;
    drawer_init(&drawer, 6);
    assert_int_equal(drawer_open(&drawer), PEAL_OK);
    char value[2001];
    memset(value, 'v', 2000);
    value[2000] = '\0';
    drawer_put(&drawer, "large", value, OS);
    for (int i = 0; i < 400; i++) {
        value[0] = (char)('a' + i % 20);
        drawer_put(&drawer, "changes", value, OS);
        assert_true(pl_kv_stats(drawer.kv).file_bytes < 128U << 10);
    }
    assert_in_range(pl_kv_stats(drawer.kv).generation, 5, 20);
    assert_int_equal(drawer_files(&drawer, "state"), 1);
    kill_process(&drawer);
    drawer_has(&drawer, "changes", value);
    value[0] = 'v';
    drawer_has(&drawer, "large", value);
    drawer_finish(&drawer);
}

static void a_generation_that_cannot_be_made_changes_nothing(void **state)
{
    (void)state;
    static const unsigned kinds[] = { PL_DISK_OPEN, PL_DISK_RESIZE, PL_DISK_SYNC };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct drawer drawer;
        drawer_init(&drawer, 7);
        assert_int_equal(drawer_open(&drawer), PEAL_OK);
        drawer_put(&drawer, "a", "first", OS);
        struct pl_disk_fault fault = { .calls = kinds[i], .nth = 1, .for_ever = true };
        pl_disk_inject(drawer.disk, &fault);
        char value[5001];
        memset(value, 'v', 5000);
        value[5000] = '\0';
        for (int j = 0; j < 60; j++) {
            drawer_put(&drawer, "b", value, OS);
        }
        assert_int_equal(pl_kv_stats(drawer.kv).generation, 1);
        assert_true(pl_kv_stats(drawer.kv).file_bytes > 300000);
        pl_disk_heal(drawer.disk);
        kill_process(&drawer);
        drawer_has(&drawer, "a", "first");
        drawer_has(&drawer, "b", value);
        drawer_finish(&drawer);
    }
}

static void there_is_room_for_changes_on_a_full_disk(void **state)
{
    (void)state;
    struct drawer drawer;
    drawer_init(&drawer, 8);
    assert_int_equal(drawer_open(&drawer), PEAL_OK);
    drawer_put(&drawer, "a", "first", DISK);
    pl_disk_limit(drawer.disk, pl_disk_used(drawer.disk), false); // full
    char value[101];
    memset(value, 'v', 100);
    value[100] = '\0';
    for (int i = 0; i < 1000; i++) {
        drawer_put(&drawer, "b", value, DISK);
    }
    enum peal_err err = PEAL_OK;
    for (int i = 0; i < 10000 && !err; i++) {
        err = drawer_try(&drawer, "b", value, DISK);
    }
    assert_int_equal(err, PEAL_EIO); // in the end it is too full
    assert_non_null(strstr(peal_error_sentence(), "No space left"));
    pl_disk_limit(drawer.disk, 0, false);
    kill_process(&drawer);
    drawer_has(&drawer, "b", value);
    drawer_finish(&drawer);
}

// ---- never ahead of the log ---------------------------------------------------------------------

static enum peal_err pull_back(void *context, struct pl_kv_transaction *transaction,
                               const struct pl_kv_entry *entry, uint64_t log_end)
{
    const struct drawer *drawer = context;
    assert_int_equal(log_end, drawer->config.log_end);
    if (strncmp(entry->key, "cursor", 6) != 0) {
        return PEAL_OK;
    }
    return pl_kv_put(transaction, entry->key, drawer->config.log_end - 1, "back", 4);
}

static void put_at(struct drawer *drawer, const char *key, uint64_t position)
{
    struct pl_kv_transaction *transaction = NULL;
    assert_int_equal(pl_kv_begin(&transaction, drawer->kv), PEAL_OK);
    assert_int_equal(pl_kv_put(transaction, key, position, "on", 2), PEAL_OK);
    assert_int_equal(pl_kv_commit(transaction, OS), PEAL_OK);
}

static void what_is_ahead_of_the_log_is_taken_back_when_it_is_opened(void **state)
{
    (void)state;
    struct drawer drawer;
    drawer_init(&drawer, 9);
    assert_int_equal(drawer_open(&drawer), PEAL_OK);
    put_at(&drawer, "cursor/a", 9);
    put_at(&drawer, "cursor/b", 10);
    put_at(&drawer, "dead/1", 9);
    put_at(&drawer, "dead/2", 12);
    put_at(&drawer, "other", 0);
    assert_int_equal(drawer_close(&drawer), PEAL_OK);
    drawer.config.log_end = 10;
    drawer.config.ahead = pull_back;
    drawer.config.context = &drawer;
    for (int again = 0; again < 2; again++) {
        assert_int_equal(drawer_open(&drawer), PEAL_OK);
        assert_int_equal(pl_kv_recovery(drawer.kv)->ahead, again ? 0 : 2);
        drawer_has(&drawer, "cursor/a", "on");
        drawer_has(&drawer, "cursor/b", "back");
        drawer_has(&drawer, "dead/1", "on");
        drawer_has(&drawer, "dead/2", NULL);
        drawer_has(&drawer, "other", "on");
        pl_disk_crash(drawer.disk); // it was made durable
        drawer_leave(&drawer);
    }
    drawer.config.log_end = 1;
    drawer.config.ahead = NULL;
    assert_int_equal(drawer_open(&drawer), PEAL_OK);
    assert_int_equal(pl_kv_recovery(drawer.kv)->ahead, 3);
    assert_int_equal(pl_kv_recovery(drawer.kv)->entries, 1);
    drawer_finish(&drawer);
}

// ---- damage -------------------------------------------------------------------------------------

#define IMAGE_ENTRIES 12

struct image {
    struct drawer drawer;
    size_t size;
    char bytes[8192];
};

static void name_entry(int number, char key[8], char value[40])
{
    (void)snprintf(key, 8, "key-%02d", number);
    (void)snprintf(value, 40, "%0*d", 1 + number * 3, number);
}

// A file, closed cleanly: a generation with half of the entries, and a transaction each.
static void make_image(struct image *image)
{
    struct drawer *drawer = &image->drawer;
    drawer_init(drawer, 10);
    char key[8];
    char value[40];
    assert_int_equal(drawer_open(drawer), PEAL_OK);
    for (int i = 0; i < IMAGE_ENTRIES; i++) {
        name_entry(i, key, value);
        drawer_put(drawer, key, value, OS);
        if (i == IMAGE_ENTRIES / 2) {
            kill_process(drawer); // and the next generation
        }
    }
    assert_int_equal(drawer_close(drawer), PEAL_OK);
    image->size = drawer_read(drawer, 2, image->bytes, sizeof image->bytes);
    assert_in_range(image->size, PL_KV_HEADER + 500, sizeof image->bytes - 1);
}

// The number of the record a byte belongs to, and its changes; 0: none.
static uint64_t record_at(const struct image *image, size_t byte, uint32_t *changes)
{
    for (size_t at = PL_KV_HEADER; at < image->size;) {
        struct pl_kv_record record;
        memcpy(&record, image->bytes + at, sizeof record);
        if (byte >= at && byte < at + record.length) {
            *changes = record.changes;
            return record.number;
        }
        at += record.length;
    }
    *changes = 0;
    return 0;
}

static void check_flipped(struct image *image, size_t bit)
{
    static const char name[] = "state-00000000000000000002.kv";
    struct drawer *drawer = &image->drawer;
    image->bytes[bit / 8] ^= (char)(1 << bit % 8);
    drawer_write(drawer, name, image->bytes, image->size);
    image->bytes[bit / 8] ^= (char)(1 << bit % 8);
    uint32_t changes = 0;
    uint64_t number = record_at(image, bit / 8, &changes);
    assert_int_equal(drawer_open(drawer), PEAL_OK);
    const struct pl_kv_recovery *recovery = pl_kv_recovery(drawer->kv);
    bool last = bit / 8 >= image->size - sizeof(struct pl_kv_record); // the note of the close
    assert_int_equal(recovery->damaged, number > 0 && !last);
    assert_int_equal(recovery->cut_bytes > 0, last);
    assert_int_equal(drawer_files(drawer, ".damaged"), number > 0 && !last);
    assert_int_equal(recovery->entries, IMAGE_ENTRIES - changes);
    char key[8];
    char value[40];
    size_t found = 0;
    for (int i = 0; i < IMAGE_ENTRIES; i++) {
        name_entry(i, key, value);
        const struct pl_kv_entry *entry = pl_kv_get(drawer->kv, key);
        if (entry) {
            assert_string_equal(entry->value, value);
            found++;
        }
        pl_kv_unref(drawer->kv, entry);
    }
    assert_int_equal(found, IMAGE_ENTRIES - changes);
    assert_int_equal(drawer_close(drawer), PEAL_OK);
    const struct pl_files *files = drawer->config.files;
    (void)files->unlink(files->world, DRAWER_PATH "/state-00000000000000000003.kv");
    (void)files->unlink(files->world, DRAWER_PATH "/state-00000000000000000002.damaged");
}

static void any_flipped_bit_costs_its_record_at_most(void **state)
{
    (void)state;
    static struct image image;
    make_image(&image);
    for (size_t bit = 0; bit < PL_KV_HEADER * 8; bit += 13) {
        check_flipped(&image, bit);
    }
    for (size_t bit = PL_KV_HEADER * 8; bit < image.size * 8; bit++) {
        check_flipped(&image, bit);
    }
    drawer_finish(&image.drawer);
}

static void a_torn_tail_is_cut_and_damage_is_not(void **state)
{
    (void)state;
    struct drawer drawer;
    drawer_init(&drawer, 11);
    assert_int_equal(drawer_open(&drawer), PEAL_OK);
    drawer_put(&drawer, "a", "1", OS);
    drawer_put(&drawer, "b", "2", DISK);
    drawer_put(&drawer, "c", "3", OS); // says that the two before are on the disk
    drawer_put(&drawer, "d", "4", OS);
    drawer_put(&drawer, "e", "5", OS);
    pl_disk_kill(drawer.disk);
    drawer_leave(&drawer);
    char bytes[4096];
    (void)drawer_read(&drawer, 1, bytes, sizeof bytes);
    size_t first = PL_KV_HEADER + sizeof(struct pl_kv_record); // behind the note
    size_t step = sizeof(struct pl_kv_record) + PL_KV_HEAD + 8;
    bytes[first + 40] ^= 1;            // a: damage
    bytes[first + 3 * step + 40] ^= 1; // d: nobody was told that it is safe
    drawer_write(&drawer, "state-00000000000000000001.kv", bytes, first + 5 * step);
    assert_int_equal(drawer_open(&drawer), PEAL_OK);
    drawer_has(&drawer, "a", NULL);
    drawer_has(&drawer, "b", "2");
    drawer_has(&drawer, "c", "3");
    drawer_has(&drawer, "d", NULL);
    drawer_has(&drawer, "e", NULL);
    assert_int_equal(pl_kv_recovery(drawer.kv)->damaged, 1);
    assert_in_range(pl_kv_recovery(drawer.kv)->cut_bytes, step + 1, 2 * step);
    assert_string_equal(pl_kv_recovery(drawer.kv)->file, "state-00000000000000000001.kv");
    drawer_finish(&drawer);
}

static void a_file_without_a_header_is_read_all_the_same(void **state)
{
    (void)state;
    static struct image image;
    make_image(&image);
    image.bytes[3] ^= 1;
    image.bytes[PL_KV_HEADER / 2 + 3] ^= 1;
    drawer_write(&image.drawer, "state-00000000000000000002.kv", image.bytes, image.size);
    assert_int_equal(drawer_open(&image.drawer), PEAL_OK);
    assert_int_equal(pl_kv_recovery(image.drawer.kv)->headers, 1);
    assert_int_equal(pl_kv_recovery(image.drawer.kv)->entries, IMAGE_ENTRIES);
    assert_int_equal(drawer_files(&image.drawer, ".damaged"), 1);
    drawer_finish(&image.drawer);
}

static void a_file_of_which_nothing_is_left_is_never_followed_in_silence(void **state)
{
    (void)state;
    static struct image image;
    make_image(&image);
    struct drawer *drawer = &image.drawer;
    char junk[3000];
    memset(junk, 'j', sizeof junk);
    drawer_write(drawer, "state-00000000000000000003.kv", junk, sizeof junk);
    assert_int_equal(drawer_open(drawer), PEAL_OK); // there is the one before
    assert_int_equal(pl_kv_recovery(drawer->kv)->headers, 1);
    assert_int_equal(pl_kv_recovery(drawer->kv)->entries, IMAGE_ENTRIES);
    assert_int_equal(pl_kv_stats(drawer->kv).generation, 4);
    assert_int_equal(drawer_files(drawer, ".damaged"), 2);
    assert_int_equal(drawer_close(drawer), PEAL_OK);
    drawer_write(drawer, "state-00000000000000000004.kv", junk, sizeof junk);
    assert_int_equal(drawer_open(drawer), PEAL_ECORRUPT);
    assert_non_null(strstr(peal_error_sentence(), "begin anew"));
    drawer_finish(drawer);
}

// ---- misuse and misfortune ----------------------------------------------------------------------

static void limits_are_kept(void **state)
{
    (void)state;
    struct drawer drawer;
    drawer_init(&drawer, 12);
    drawer.config.bytes_max = 2000;
    assert_int_equal(drawer_open(&drawer), PEAL_OK);
    char key[PL_KV_KEY_MAX + 2];
    memset(key, 'k', sizeof key);
    key[PL_KV_KEY_MAX + 1] = '\0';
    assert_int_equal(drawer_try(&drawer, key, "v", OS), PEAL_ELIMIT);
    key[PL_KV_KEY_MAX] = '\0';
    drawer_put(&drawer, key, "v", OS);
    char value[1000];
    memset(value, 'v', sizeof value);
    value[sizeof value - 1] = '\0';
    assert_int_equal(drawer_try(&drawer, "more", value, OS), PEAL_ELIMIT);
    assert_non_null(strstr(peal_error_sentence(), "at most 2000"));
    drawer_has(&drawer, "more", NULL);
    drawer_put(&drawer, key, NULL, OS);
    drawer_put(&drawer, "more", value, OS);
    struct pl_kv_transaction *transaction = NULL;
    assert_int_equal(pl_kv_begin(&transaction, drawer.kv), PEAL_OK);
    assert_int_equal(pl_kv_put(transaction, "a", 0, value, (size_t)PL_KV_VALUE_MAX + 1),
                     PEAL_ELIMIT);
    assert_int_equal(pl_kv_put(transaction, "", 0, value, 1), PEAL_EINVAL);
    assert_int_equal(pl_kv_put(transaction, NULL, 0, value, 1), PEAL_EINVAL);
    assert_int_equal(pl_kv_remove(transaction, NULL), PEAL_EINVAL);
    assert_int_equal(pl_kv_commit(transaction, OS), PEAL_OK);
    // A table that has too much already may become smaller.
    assert_int_equal(drawer_close(&drawer), PEAL_OK);
    drawer.config.bytes_max = 200;
    assert_int_equal(drawer_open(&drawer), PEAL_OK);
    assert_int_equal(drawer_try(&drawer, "a", "v", OS), PEAL_ELIMIT);
    value[600] = '\0';
    drawer_put(&drawer, "more", value, OS);
    drawer_put(&drawer, "more", NULL, OS);
    drawer_put(&drawer, "a", "v", OS);
    drawer_finish(&drawer);
}

static void what_is_no_state_of_this_log_is_refused(void **state)
{
    (void)state;
    static struct image image;
    make_image(&image);
    struct drawer *drawer = &image.drawer;
    drawer->seed[1]++;
    assert_int_equal(drawer_open(drawer), PEAL_ECORRUPT);
    assert_non_null(strstr(peal_error_sentence(), "another log"));
    drawer->seed[1]--;
    drawer_write(drawer, "state-00000000000000000007.kv", image.bytes, image.size);
    assert_int_equal(drawer_open(drawer), PEAL_ECORRUPT); // it bears a name not its own
    assert_non_null(strstr(peal_error_sentence(), "was renamed"));
    struct pl_kv_header header;
    memcpy(&header, image.bytes, sizeof header);
    char block[PL_KV_HEADER];
    header.generation = 7;
    pl_kv_header_write(block, &header);
    drawer_write(drawer, "state-00000000000000000007.kv", block, sizeof block);
    assert_int_equal(drawer_open(drawer), PEAL_OK);
    assert_int_equal(drawer_close(drawer), PEAL_OK);
    struct {
        const char *path;
        enum peal_err err;
    } bad[] = { { "", PEAL_EINVAL }, { NULL, PEAL_EINVAL }, { "/not/there", PEAL_EIO } };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        drawer->config.path = bad[i].path;
        assert_int_equal(drawer_open(drawer), bad[i].err);
    }
    drawer_finish(drawer);
}

static void a_later_format_is_refused(void **state)
{
    (void)state;
    struct pl_kv_header header = { .generation = 1 };
    char block[PL_KV_HEADER];
    pl_kv_header_write(block, &header);
    assert_int_equal(pl_kv_header_read(&header, block, sizeof block, "p"), PEAL_OK);
    assert_int_equal(pl_kv_header_read(&header, block, 100, "p"), PEAL_ECORRUPT);
    // Its first half, as a later Peal would write it; the checksum is that of the bytes.
    struct drawer drawer;
    drawer_init(&drawer, 13);
    static const unsigned char later[] = { 2, 0, 0, 0 };
    memcpy(block + offsetof(struct pl_kv_header, version), later, sizeof later);
    memset(block + offsetof(struct pl_kv_header, crc), 0, 4);
    uint32_t crc = pl_crc32c(0, block, PL_KV_HEADER / 2);
    memcpy(block + offsetof(struct pl_kv_header, crc), &crc, sizeof crc);
    drawer_write(&drawer, "state-00000000000000000001.kv", block, sizeof block);
    assert_int_equal(drawer_open(&drawer), PEAL_EUNSUPPORTED);
    assert_non_null(strstr(peal_error_sentence(), "use a newer one"));
    drawer_finish(&drawer);
}

static void who_looks_on_sees_all_and_changes_nothing(void **state)
{
    (void)state;
    struct drawer drawer;
    drawer_init(&drawer, 14);
    assert_int_equal(drawer_open(&drawer), PEAL_OK);
    drawer_put(&drawer, "a", "1", OS);
    struct pl_kv_config config = drawer.config;
    config.read_only = true;
    struct pl_kv *other = NULL;
    uint64_t changes = pl_disk_calls(drawer.disk, PL_DISK_WRITE | PL_DISK_NAME | PL_DISK_RESIZE);
    assert_int_equal(pl_kv_open(&other, &config), PEAL_OK);
    const struct pl_kv_entry *entry = pl_kv_get(other, "a");
    assert_string_equal(entry->value, "1");
    pl_kv_unref(other, entry);
    struct pl_kv_transaction *transaction = NULL;
    assert_int_equal(pl_kv_begin(&transaction, other), PEAL_ESTATE);
    assert_null(transaction);
    assert_int_equal(pl_kv_close(other), PEAL_OK);
    assert_int_equal(pl_disk_calls(drawer.disk, PL_DISK_WRITE | PL_DISK_NAME | PL_DISK_RESIZE),
                     changes);
    drawer_put(&drawer, "b", "2", OS);
    drawer_finish(&drawer);
}

static void a_failure_is_final(void **state)
{
    (void)state;
    static const enum pl_disk_call calls[] = { PL_DISK_WRITE, PL_DISK_SYNC };
    for (size_t i = 0; i < 2; i++) {
        struct drawer drawer;
        drawer_init(&drawer, 15);
        assert_int_equal(drawer_open(&drawer), PEAL_OK);
        drawer_put(&drawer, "a", "1", DISK);
        pl_disk_inject(drawer.disk, &(struct pl_disk_fault){ .calls = calls[i], .nth = 1 });
        assert_int_equal(drawer_try(&drawer, "a", "2", DISK), PEAL_EIO);
        assert_non_null(strstr(peal_error_sentence(), "unknown"));
        assert_int_equal(drawer_try(&drawer, "a", "3", OS), PEAL_EIO);
        assert_int_equal(drawer_try(&drawer, "a", "3", PEAL_DURABILITY_MEMORY), PEAL_EIO);
        assert_int_equal(pl_kv_settle(drawer.kv, PEAL_DURABILITY_MEMORY), PEAL_EIO);
        assert_int_equal(pl_kv_settle(drawer.kv, DISK), PEAL_EIO);
        assert_int_equal(drawer_close(&drawer), PEAL_EIO);
        assert_int_equal(drawer_open(&drawer), PEAL_OK);
        drawer_finish(&drawer);
    }
}

static void without_memory_nothing_is_lost(void **state)
{
    (void)state;
    for (size_t nth = 1;; nth++) {
        struct drawer drawer;
        drawer_init(&drawer, 16);
        assert_int_equal(drawer_open(&drawer), PEAL_OK);
        drawer_put(&drawer, "a", "1", DISK);
        drawer_put(&drawer, "b", "2", OS);
        pl_disk_kill(drawer.disk);
        drawer_leave(&drawer);
        drawer.memory.calls = 0;
        drawer.memory.fail_at = nth;
        enum peal_err err = drawer_open(&drawer);
        assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
        if (!err) {
            err = drawer_try(&drawer, "c", "3", DISK);
            assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
        }
        bool passed = drawer.memory.calls < nth;
        drawer.memory.fail_at = 0;
        if (!drawer.kv) {
            assert_int_equal(drawer_open(&drawer), PEAL_OK);
        }
        drawer_has(&drawer, "a", "1");
        drawer_has(&drawer, "b", "2");
        drawer_put(&drawer, "c", "3", DISK);
        power_cut(&drawer);
        drawer_has(&drawer, "a", "1");
        drawer_has(&drawer, "c", "3");
        drawer_finish(&drawer);
        if (passed) {
            assert_true(nth > 8);
            return;
        }
    }
}

static void what_is_empty_may_be_closed(void **state)
{
    (void)state;
    assert_int_equal(pl_kv_close(NULL), PEAL_OK);
    struct drawer drawer;
    drawer_init(&drawer, 17);
    pl_kv_unref(NULL, NULL);
    drawer_finish(&drawer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_committed_is_read_back),
        cmocka_unit_test(entries_come_in_the_order_of_their_keys),
        cmocka_unit_test(an_entry_that_is_held_stays_as_it_was),
        cmocka_unit_test(a_transaction_is_seen_as_a_whole_or_not_at_all),
        cmocka_unit_test(a_level_means_what_it_says),
        cmocka_unit_test(one_sync_serves_all_that_was_written_before),
        cmocka_unit_test(a_file_of_the_past_is_followed_by_the_next_generation),
        cmocka_unit_test(a_generation_that_cannot_be_made_changes_nothing),
        cmocka_unit_test(there_is_room_for_changes_on_a_full_disk),
        cmocka_unit_test(what_is_ahead_of_the_log_is_taken_back_when_it_is_opened),
        cmocka_unit_test(any_flipped_bit_costs_its_record_at_most),
        cmocka_unit_test(a_torn_tail_is_cut_and_damage_is_not),
        cmocka_unit_test(a_file_without_a_header_is_read_all_the_same),
        cmocka_unit_test(a_file_of_which_nothing_is_left_is_never_followed_in_silence),
        cmocka_unit_test(limits_are_kept),
        cmocka_unit_test(what_is_no_state_of_this_log_is_refused),
        cmocka_unit_test(a_later_format_is_refused),
        cmocka_unit_test(who_looks_on_sees_all_and_changes_nothing),
        cmocka_unit_test(a_failure_is_final),
        cmocka_unit_test(without_memory_nothing_is_lost),
        cmocka_unit_test(what_is_empty_may_be_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
