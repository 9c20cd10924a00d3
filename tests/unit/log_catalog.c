// SPDX-License-Identifier: MIT
//
// Catalog: whatever has become of the files of indexes, and whatever fails, nothing that fits is
// passed over; what is of no use goes away, and nothing else does.
#include "support/annals.h"

#include "base/crc32c.h"
#include "log/index_block.h"

#define EVENTS 20000U // so many are worth a file at the end

static const struct annals_question subject = { .keys = { [PL_KEY_SUBJECT] = "s7" } };
static const struct annals_question chain = { .keys = { [PL_KEY_CORRELATION] = "c150" } };
static const struct annals_question identity = { .keys = { [PL_KEY_ID] = "i9500" } };
static const struct annals_question cause = { .keys = { [PL_KEY_CAUSATION] = "e3002" } };
static const struct annals_question rare = { .types = "rare" };
static const struct annals_question some = { .types = "usual.24" };
static const struct annals_question nobody = { .keys = { [PL_KEY_SUBJECT] = "s300" } };
static const struct annals_question early = { .earliest = 9000000, .latest = 9100000 };

static const struct annals_question *const questions[] = { &subject, &chain, &identity, &cause,
                                                           &rare,    &some,  &nobody,   &early };

#define QUESTIONS (sizeof questions / sizeof questions[0])

static struct annals_answer ask_everything(struct annals *annals)
{
    struct annals_answer all = { 0 };
    for (size_t i = 0; i < QUESTIONS; i++) {
        struct annals_answer answer = annals_ask_both(annals, questions[i]);
        all.given += answer.given;
        all.dense += answer.dense;
        all.fitting += answer.fitting;
    }
    return all;
}

// A log of EVENTS, and a file that covers all of them.
static void open_indexed(struct annals *annals)
{
    annals_open(annals, EVENTS);
    annals_work(annals);
    annals_rest(annals);
    assert_true(annals_is_there(annals, 1, EVENTS));
    assert_int_equal(annals_try(annals), PEAL_OK);
}

// Everything has: a few more than fit are given at most.
static void expect_all(struct annals *annals)
{
    struct annals_answer answer = annals_ask_both(annals, &rare);
    assert_int_equal(answer.given, answer.fitting);
    assert_int_equal(answer.dense, 0);
    assert_true(answer.fitting > 0);
}

static void rename_index(const struct annals *annals, uint64_t first, uint64_t last,
                         uint64_t to_first, uint64_t to_last)
{
    char from[128], to[128];
    annals_name(from, first, last);
    annals_name(to, to_first, to_last);
    const struct pl_files *files = annals->config.files;
    assert_int_equal(files->rename(files->world, from, to), 0);
}

static void flip(const struct annals *annals, uint64_t bit)
{
    char path[128];
    annals_name(path, 1, EVENTS);
    assert_int_equal(pl_disk_flip(annals->disk, path, bit), 0);
}

// ---- keeping ------------------------------------------------------------------------------------

static void what_is_indexed_when_it_closes_is_so_when_it_opens(void **state)
{
    (void)state;
    struct annals annals;
    open_indexed(&annals);
    expect_all(&annals);
    struct annals_answer all = ask_everything(&annals);
    assert_true(all.given <= all.fitting + 8192); // the times are in steps
    annals_publish(&annals, 100);
    annals_reopen(&annals); // so few are worth no file
    assert_int_equal(annals_files(&annals), 1);
    expect_all(&annals);
    annals_close(&annals);
}

static void what_was_published_last_is_in_the_index_that_closing_leaves(void **state)
{
    (void)state;
    struct annals annals;
    annals_open(&annals, EVENTS);
    annals_work(&annals);
    annals_publish(&annals, 100); // nobody is told of so few
    annals_reopen(&annals);
    assert_true(annals_is_there(&annals, 1, EVENTS + 100));
    assert_int_equal(annals_files(&annals), 1);
    expect_all(&annals);
    annals_close(&annals);
}

static void a_range_ends_at_a_multiple_of_the_span(void **state)
{
    (void)state;
    struct annals annals;
    annals_open(&annals, PL_CATALOG_SPAN + 1000);
    annals_work(&annals);
    assert_true(annals_is_there(&annals, 1, PL_CATALOG_SPAN - 1)); // at once
    assert_int_equal(annals_files(&annals), 1);
    expect_all(&annals); // the rest is in a tail
    annals_publish(&annals, 20000);
    annals_work(&annals);
    annals_reopen(&annals);
    assert_true(annals_is_there(&annals, PL_CATALOG_SPAN, PL_CATALOG_SPAN + 21000));
    expect_all(&annals);
    annals_close(&annals);
}

static void a_lookup_indexes_a_little_of_what_nobody_has(void **state)
{
    (void)state;
    struct annals annals;
    annals_open(&annals, EVENTS);
    uint64_t given = UINT64_MAX;
    for (unsigned i = 0; i < EVENTS / PL_CATALOG_LAG; i++) {
        struct annals_answer answer = annals_ask(&annals, &nobody);
        assert_true(answer.given < given);
        given = answer.given;
    }
    (void)annals_ask(&annals, &nobody);
    expect_all(&annals);
    annals_close(&annals);
}

static void a_gap_between_indexes_is_filled_and_no_more(void **state)
{
    (void)state;
    struct annals annals;
    annals_init(&annals, 600);
    annals_index(&annals, 1, 101);
    annals_index(&annals, 301, 601);
    assert_int_equal(annals_try(&annals), PEAL_OK);
    assert_int_equal(annals_ask_both(&annals, &nobody).given, 0); // filled before it is looked
    assert_true(annals_is_there(&annals, 101, 300));
    assert_int_equal(annals_files(&annals), 3);
    (void)ask_everything(&annals);
    annals_close(&annals);
}

static void a_gap_in_which_everything_is_damaged_gets_no_index(void **state)
{
    (void)state;
    struct annals annals;
    annals_init(&annals, 600);
    annals_index(&annals, 1, 101);
    annals_index(&annals, 301, 601);
    annals.lost_first = 101;
    annals.lost_end = 301;
    assert_int_equal(annals_try(&annals), PEAL_OK);
    assert_int_equal(annals_ask_both(&annals, &nobody).given, 200);
    assert_int_equal(annals_files(&annals), 2);
    annals_publish(&annals, 50); // what comes behind it does
    annals_work(&annals);
    assert_int_equal(annals_ask_both(&annals, &nobody).given, 200);
    (void)ask_everything(&annals);
    annals_close(&annals);
}

static void no_more_than_a_number_of_them_are_open(void **state)
{
    (void)state;
    struct annals annals;
    enum { FILES = PL_CATALOG_OPEN_MAX + 20, EACH = 100 };
    annals_init(&annals, (uint64_t)FILES * EACH);
    for (unsigned i = 0; i < FILES; i++) {
        annals_index(&annals, 1 + (uint64_t)i * EACH, 1 + (i + 1ULL) * EACH);
    }
    assert_int_equal(annals_try(&annals), PEAL_OK);
    assert_int_equal(annals.catalog->open_count, 0);
    expect_all(&annals);
    assert_int_equal(annals.catalog->open_count, PL_CATALOG_OPEN_MAX);
    (void)ask_everything(&annals);
    assert_int_equal(annals.catalog->open_count, PL_CATALOG_OPEN_MAX);
    assert_int_equal(annals_files(&annals), FILES);
    annals_close(&annals);
}

// ---- indexes that are not what they seem --------------------------------------------------------

static void an_index_of_events_that_are_gone_is_not_believed(void **state)
{
    (void)state;
    static const uint64_t from[] = { EVENTS / 2, 1, EVENTS };
    for (size_t i = 0; i < sizeof from / sizeof from[0]; i++) {
        struct annals annals;
        open_indexed(&annals);
        annals.life_from = from[i];
        struct annals_answer all = ask_everything(&annals);
        assert_true(all.fitting > 0);
        assert_int_equal(annals_files(&annals), 0);
        annals_close(&annals);
    }
}

static void an_index_of_another_log_is_put_away(void **state)
{
    (void)state;
    struct annals annals;
    open_indexed(&annals);
    annals.config.seed[1]++;
    annals_reopen(&annals);
    (void)ask_everything(&annals);
    assert_int_equal(annals_files(&annals), 0);
    annals_close(&annals);
}

static void an_index_of_another_range_is_put_away(void **state)
{
    (void)state;
    static const uint64_t names[][2] = {
        { 2, EVENTS },          // it begins elsewhere
        { 1, EVENTS + 9000 },   // it ends before that
        { 1, EVENTS - 1 },      // and behind that
        { EVENTS, 2 * EVENTS }, // all of it is somewhere else
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct annals annals;
        open_indexed(&annals);
        annals_rest(&annals);
        pl_log_publish(&annals.log, 2 * EVENTS + 1);
        rename_index(&annals, 1, EVENTS, names[i][0], names[i][1]);
        assert_int_equal(annals_try(&annals), PEAL_OK);
        (void)ask_everything(&annals);
        assert_false(annals_is_there(&annals, names[i][0], names[i][1]));
        annals_close(&annals);
    }
}

static void an_index_whose_last_events_are_damaged_is_of_use(void **state)
{
    (void)state;
    struct annals annals;
    annals_open(&annals, EVENTS);
    annals.lost_first = EVENTS - 50;
    annals.lost_end = EVENTS + 1;
    annals_work(&annals);
    annals_reopen(&annals);
    expect_all(&annals);
    assert_true(annals_is_there(&annals, 1, EVENTS));
    annals_close(&annals);
}

static void two_that_cover_the_same_are_not_both_used(void **state)
{
    (void)state;
    struct annals annals;
    annals_init(&annals, 600);
    annals_index(&annals, 1, 401);
    annals_index(&annals, 301, 601);
    annals_index(&annals, 1, 201);
    assert_int_equal(annals_try(&annals), PEAL_OK);
    for (size_t i = 0; i + 1 < annals.catalog->count; i++) {
        assert_true(annals.catalog->ranges[i].end <= annals.catalog->ranges[i + 1].first);
    }
    (void)ask_everything(&annals);
    annals_close(&annals);
}

static void files_that_are_no_indexes_are_left_alone(void **state)
{
    (void)state;
    static const char *const names[] = {
        ANNALS_PATH "/notes.idx",
        ANNALS_PATH "/00000000000000000001_00000000000000000100.idx",
        ANNALS_PATH "/00000000000000000001-00000000000000000100.idy",
        ANNALS_PATH "/0000000000000000000x-00000000000000000100.idx",
        ANNALS_PATH "/00000000000000000001-0000000000000000010x.idx",
        ANNALS_PATH "/00000000000000000000-00000000000000000100.idx", // there is no position 0
        ANNALS_PATH "/00000000000000000101-00000000000000000099.idx", // it ends before it begins
        ANNALS_PATH "/00000000000000000001-00000000000000300000.idx", // more than there may be
        ANNALS_PATH "/00000000000000000001-18446744073709551615.idx",
        ANNALS_PATH "/99999999999999999999-99999999999999999999.idx",
    };
    const size_t count = sizeof names / sizeof names[0];
    struct annals annals;
    annals_init(&annals, 600);
    for (size_t i = 0; i < count; i++) {
        annals_store(&annals, names[i], "notes", 5);
    }
    assert_int_equal(annals_try(&annals), PEAL_OK);
    assert_int_equal(annals.catalog->count, 0);
    (void)ask_everything(&annals);
    annals_rest(&annals);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(annals_size(&annals, names[i]), 5);
    }
    annals_close(&annals);
}

static void one_of_a_later_version_is_not_read_and_not_removed(void **state)
{
    (void)state;
    struct annals annals;
    open_indexed(&annals);
    annals_rest(&annals);
    char path[128];
    annals_name(path, 1, EVENTS);
    size_t size = 0;
    char *bytes = annals_load(&annals, path, &size);
    bytes[8] = (char)(bytes[8] + 1); // docs/format.md: the version, and the checksum of its block
    uint32_t number = 0;
    uint32_t crc = pl_crc32c(pl_crc32c(0, &number, sizeof number), bytes, PL_BLOCK_ROOM);
    memcpy(bytes + PL_BLOCK_ROOM, &crc, sizeof crc);
    annals_store(&annals, path, bytes, size);
    free(bytes);
    assert_int_equal(annals_try(&annals), PEAL_OK);
    struct annals_answer answer = annals_ask(&annals, &nobody);
    assert_int_equal(answer.given, EVENTS);
    assert_true(annals_is_there(&annals, 1, EVENTS));
    (void)ask_everything(&annals);
    annals_close(&annals);
}

// ---- damage -------------------------------------------------------------------------------------

static void a_block_that_is_damaged_costs_no_event(void **state)
{
    (void)state;
    struct annals annals;
    open_indexed(&annals);
    char path[128];
    annals_name(path, 1, EVENTS);
    size_t size = 0;
    char *bytes = annals_load(&annals, path, &size);
    unsigned gone = 0;
    for (uint64_t block = 0; block * PL_BLOCK < size; block++) {
        annals_rest(&annals);
        annals_store(&annals, path, bytes, size);
        flip(&annals, block * 4096 + block * 61 % 4096);
        assert_int_equal(annals_try(&annals), PEAL_OK);
        (void)annals_ask_both(&annals, questions[block % QUESTIONS]);
        gone += annals_files(&annals) == 0;
    }
    assert_in_range(gone, 10, size / PL_BLOCK - 1); // only those that were met
    free(bytes);
    annals_close(&annals);
}

static void a_damaged_index_is_made_again(void **state)
{
    (void)state;
    struct annals annals;
    open_indexed(&annals);
    flip(&annals, 5);
    (void)annals_ask(&annals, &rare); // put away
    assert_int_equal(annals_files(&annals), 0);
    annals_reopen(&annals);
    annals_work(&annals);
    annals_reopen(&annals);
    assert_true(annals_is_there(&annals, 1, EVENTS));
    expect_all(&annals);
    annals_close(&annals);
}

static void a_file_that_has_gone_is_not_missed(void **state)
{
    (void)state;
    struct annals annals;
    open_indexed(&annals);
    char path[128];
    annals_name(path, 1, EVENTS);
    const struct pl_files *files = annals.config.files;
    assert_int_equal(files->unlink(files->world, path), 0);
    (void)ask_everything(&annals);
    annals_close(&annals);
}

// Both have it open, and both meet the damage.
static void two_who_look_at_a_damaged_index_both_find_everything(void **state)
{
    (void)state;
    struct annals annals;
    open_indexed(&annals);
    struct pl_lookup *lookups[2] = { NULL };
    struct pl_lookup_wanted left[2] = { annals_wanted(&annals, &subject),
                                        annals_wanted(&annals, &subject) };
    struct annals_answer answers[2] = { { 0 } };
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pl_lookup_create(&lookups[i], annals.catalog, &left[i]), PEAL_OK);
        assert_int_equal(annals_go_on(&annals, lookups[i], &subject, &left[i], 1, &answers[i]),
                         PEAL_OK);
    }
    char path[128];
    annals_name(path, 1, EVENTS);
    for (int64_t block = 1; block < annals_size(&annals, path) / PL_BLOCK; block++) {
        flip(&annals, (uint64_t)block * 4096 + 99);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(
            annals_go_on(&annals, lookups[i], &subject, &left[i], UINT64_MAX, &answers[i]),
            PEAL_OK);
        pl_lookup_destroy(lookups[i]);
    }
    assert_int_equal(answers[0].fitting, answers[1].fitting);
    annals_close(&annals);
}

static void what_is_put_away_already_or_still_grows_is_left(void **state)
{
    (void)state;
    struct annals annals;
    open_indexed(&annals);
    annals_publish(&annals, 100);
    (void)ask_everything(&annals);
    struct pl_index *sealed = annals.catalog->ranges[0].index;
    assert_non_null(sealed);
    pl_index_ref(sealed);
    pl_catalog_put_away(annals.catalog, sealed);
    pl_catalog_put_away(annals.catalog, sealed); // who met the damage at the same time
    pl_index_unref(sealed);
    assert_int_equal(annals.catalog->count, 1);
    pl_catalog_put_away(annals.catalog, annals.catalog->tail);
    assert_int_equal(annals.catalog->count, 1);
    (void)ask_everything(&annals);
    annals_close(&annals);
}

// It was whole when it was opened, as far as that looks.
static void damage_met_by_who_only_reads_is_passed_and_left(void **state)
{
    (void)state;
    struct annals annals;
    open_indexed(&annals);
    annals.config.read_only = true;
    annals_reopen(&annals);
    char path[128];
    annals_name(path, 1, EVENTS);
    for (int64_t block = 1; block < annals_size(&annals, path) / PL_BLOCK; block++) {
        flip(&annals, (uint64_t)block * 4096 + 99);
    }
    (void)ask_everything(&annals);
    assert_int_equal(annals_files(&annals), 1);
    annals_close(&annals);
}

// Files whose opening gives somebody else time to do something.
struct meddling {
    struct pl_files files;
    const struct pl_files *real;
    struct annals *annals;
    void (*meddle)(struct annals *annals);
};

static int meddling_open(void *world, struct pl_file *out, const char *path, enum pl_file_mode mode)
{
    struct meddling *meddling = world;
    void (*meddle)(struct annals * annals) = meddling->meddle;
    meddling->meddle = NULL;
    if (meddle) {
        meddle(meddling->annals);
    }
    return meddling->real->open(meddling->real->world, out, path, mode);
}

static int64_t meddling_pread(void *world, struct pl_file file, void *out, size_t size,
                              uint64_t offset)
{
    const struct meddling *meddling = world;
    return meddling->real->pread(meddling->real->world, file, out, size, offset);
}

static int64_t meddling_size(void *world, struct pl_file file)
{
    const struct meddling *meddling = world;
    return meddling->real->size(meddling->real->world, file);
}

static void meddling_close(void *world, struct pl_file *file)
{
    const struct meddling *meddling = world;
    meddling->real->close(meddling->real->world, file);
}

static int meddling_unlink(void *world, const char *path)
{
    const struct meddling *meddling = world;
    return meddling->real->unlink(meddling->real->world, path);
}

static void forget_all(struct annals *annals)
{
    annals->first = EVENTS;
    pl_catalog_forget(annals->catalog, EVENTS + 1);
}

static void open_it_too(struct annals *annals)
{
    (void)annals_ask(annals, &chain);
}

static void damage_it(struct annals *annals)
{
    flip(annals, 5);
    (void)annals_ask(annals, &chain); // who puts it away
}

static void what_happens_while_an_index_is_opened_does_no_harm(void **state)
{
    (void)state;
    void (*const meddle[])(struct annals * annals) = { forget_all, open_it_too, damage_it };
    for (size_t i = 0; i < 3; i++) {
        struct annals annals;
        open_indexed(&annals);
        struct meddling meddling = { .real = annals.config.files, .annals = &annals };
        meddling.files = (struct pl_files){ .world = &meddling,
                                            .open = meddling_open,
                                            .close = meddling_close,
                                            .pread = meddling_pread,
                                            .size = meddling_size,
                                            .unlink = meddling_unlink };
        annals.catalog->config.files = &meddling.files;
        meddling.meddle = meddle[i];
        (void)annals_ask(&annals, &rare);
        assert_null(meddling.meddle);
        annals.catalog->config.files = meddling.real;
        assert_int_equal(annals.catalog->open_count, i == 1 ? 1 : 0);
        (void)ask_everything(&annals);
        annals_close(&annals);
    }
}

// ---- forgetting ---------------------------------------------------------------------------------

static void what_is_forgotten_loses_its_index_and_nothing_else_does(void **state)
{
    (void)state;
    struct annals annals;
    annals_init(&annals, 900);
    annals_index(&annals, 1, 301);
    annals_index(&annals, 301, 601);
    assert_int_equal(annals_try(&annals), PEAL_OK);
    (void)ask_everything(&annals); // open, and a tail behind them
    annals.first = 300;
    pl_catalog_forget(annals.catalog, 300);
    assert_true(annals_is_there(&annals, 1, 300));
    annals.first = 301;
    pl_catalog_forget(annals.catalog, 301);
    assert_false(annals_is_there(&annals, 1, 300));
    assert_true(annals_is_there(&annals, 301, 600));
    (void)ask_everything(&annals);
    annals.first = 800;
    pl_catalog_forget(annals.catalog, 800); // the tail begins below it, and stays
    assert_int_equal(annals_files(&annals), 0);
    (void)ask_everything(&annals);
    annals_close(&annals);
}

static void what_could_not_be_removed_goes_when_it_is_opened_next(void **state)
{
    (void)state;
    struct annals annals;
    open_indexed(&annals);
    static const struct pl_disk_fault fault = { .calls = PL_DISK_NAME, .nth = 1 };
    pl_disk_inject(annals.disk, &fault);
    annals.first = EVENTS + 1;
    pl_catalog_forget(annals.catalog, EVENTS + 1);
    assert_int_equal(annals_files(&annals), 1);
    annals_reopen(&annals);
    assert_int_equal(annals_files(&annals), 0);
    annals_close(&annals);
}

static void an_index_behind_the_end_is_gone_for_good_before_anything_is_written(void **state)
{
    (void)state;
    struct annals annals;
    annals_init(&annals, 600);
    annals_index(&annals, 1, 301);
    annals_index(&annals, 301, 601);
    const struct pl_files *files = annals.config.files;
    assert_int_equal(files->sync_directory(files->world, ANNALS_PATH), 0);
    pl_log_begin(&annals.log, 600, 0); // a power cut has taken the last event
    assert_int_equal(annals_try(&annals), PEAL_OK);
    annals_rest(&annals);
    pl_disk_crash(annals.disk);
    assert_int_equal(annals_files(&annals), 1);
    assert_true(annals_is_there(&annals, 1, 300));
    annals_close(&annals);
}

static void a_log_whose_old_indexes_cannot_be_removed_is_not_opened(void **state)
{
    (void)state;
    static const unsigned calls[] = { PL_DISK_NAME, PL_DISK_SYNC_DIRECTORY };
    for (size_t i = 0; i < 2; i++) {
        struct annals annals;
        annals_init(&annals, 600);
        annals_index(&annals, 301, 601);
        pl_log_begin(&annals.log, 500, 0);
        const struct pl_disk_fault fault = { .calls = calls[i], .nth = 1 };
        pl_disk_inject(annals.disk, &fault);
        assert_int_equal(annals_try(&annals), PEAL_EIO);
        assert_non_null(strstr(peal_error_sentence(), ANNALS_PATH));
        pl_disk_heal(annals.disk);
        assert_int_equal(annals_try(&annals), PEAL_OK);
        assert_int_equal(annals.catalog->count, 0);
        (void)ask_everything(&annals);
        annals_close(&annals);
    }
}

// ---- only reading -------------------------------------------------------------------------------

static void who_only_reads_changes_no_file_and_starts_no_thread(void **state)
{
    (void)state;
    struct annals annals;
    annals_init(&annals, 30000);
    annals_index(&annals, 1, 301);
    annals_index(&annals, 301, 601);
    annals_index(&annals, 29001, 30001);
    char path[128];
    annals_name(path, 301, 600);
    assert_int_equal(pl_disk_flip(annals.disk, path, 77), 0);
    pl_log_begin(&annals.log, 29500, 0); // and one is behind the end
    annals.config.read_only = true;
    assert_int_equal(annals_try(&annals), PEAL_OK);
    (void)ask_everything(&annals);
    annals_publish(&annals, 30000);
    annals_work(&annals);
    (void)ask_everything(&annals);
    annals_rest(&annals);
    assert_int_equal(annals_files(&annals), 3);
    assert_int_equal(annals.starts, 0);
    annals_close(&annals);
}

static void a_range_that_is_full_is_no_file_of_who_only_reads(void **state)
{
    (void)state;
    struct annals annals;
    annals_init(&annals, 600);
    annals_index(&annals, 301, 601);
    annals.config.read_only = true;
    assert_int_equal(annals_try(&annals), PEAL_OK);
    annals_work(&annals);
    (void)ask_everything(&annals);
    assert_int_equal(annals_files(&annals), 1);
    annals_close(&annals);
}

// ---- what fails ---------------------------------------------------------------------------------

static void a_path_that_is_too_long_is_refused(void **state)
{
    (void)state;
    struct annals annals;
    annals_init(&annals, 10);
    char path[PL_CATALOG_PATH];
    memset(path, 'a', sizeof path - 1);
    path[sizeof path - 1] = 0;
    annals.config.path = path;
    assert_int_equal(annals_try(&annals), PEAL_ELIMIT);
    assert_non_null(strstr(peal_error_sentence(), "too long"));
    annals_close(&annals);
}

static void a_directory_that_cannot_be_listed_is_an_error(void **state)
{
    (void)state;
    struct annals annals;
    annals_init(&annals, 10);
    const struct pl_disk_fault fault = { .calls = PL_DISK_LOOK, .nth = 1 };
    pl_disk_inject(annals.disk, &fault);
    assert_int_equal(annals_try(&annals), PEAL_EIO);
    assert_non_null(strstr(peal_error_sentence(), ANNALS_PATH));
    annals_close(&annals);
}

// Files, a tail that becomes one, and questions; then again with nothing failing.
static enum peal_err live(struct annals *annals)
{
    enum peal_err err = annals_try(annals);
    for (size_t i = 0; i < QUESTIONS && !err; i++) {
        struct annals_answer answer;
        err = annals_try_ask(annals, questions[i], &answer);
    }
    annals_rest(annals);
    return err;
}

static void open_small(struct annals *annals)
{
    annals_init(annals, 600);
    annals_index(annals, 1, 101);
    annals_index(annals, 201, 401);
}

static void no_allocation_that_fails_costs_an_event(void **state)
{
    (void)state;
    unsigned failures = 0;
    for (size_t nth = 1;; nth++) {
        struct annals annals;
        open_small(&annals);
        annals.memory.calls = 0;
        annals.memory.fail_at = nth;
        enum peal_err err = live(&annals);
        assert_true(err == PEAL_OK || err == PEAL_ENOMEM);
        failures += err != PEAL_OK;
        bool reached = annals.memory.calls >= nth;
        annals.memory.fail_at = 0;
        assert_int_equal(live(&annals), PEAL_OK);
        annals_close(&annals);
        if (!reached) {
            break;
        }
    }
    assert_true(failures > 5);
}

static void no_call_to_the_disk_that_fails_costs_an_event(void **state)
{
    (void)state;
    unsigned failures = 0;
    for (uint64_t nth = 1;; nth++) {
        struct annals annals;
        open_small(&annals);
        uint64_t before = pl_disk_calls(annals.disk, 0);
        const struct pl_disk_fault fault = { .nth = nth };
        pl_disk_inject(annals.disk, &fault);
        enum peal_err err = live(&annals);
        assert_true(err == PEAL_OK || err == PEAL_EIO);
        failures += err != PEAL_OK;
        bool reached = pl_disk_calls(annals.disk, 0) - before >= nth;
        pl_disk_heal(annals.disk);
        assert_int_equal(live(&annals), PEAL_OK);
        annals_close(&annals);
        if (!reached) {
            break;
        }
    }
    assert_true(failures > 5);
}

// The lookup that met it goes on, once it can.
static void an_index_that_cannot_be_read_now_can_be_asked_again(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth < 12; nth++) {
        struct annals annals;
        open_indexed(&annals);
        const struct annals_question question = { .keys = { [PL_KEY_SUBJECT] = "s7" },
                                                  .types = "usual.24",
                                                  .earliest = 1,
                                                  .backwards = nth % 2 };
        struct pl_lookup_wanted left = annals_wanted(&annals, &question);
        struct annals_answer answer = { 0 };
        struct pl_lookup *lookup = NULL;
        assert_int_equal(pl_lookup_create(&lookup, annals.catalog, &left), PEAL_OK);
        const struct pl_disk_fault fault = { .calls = PL_DISK_READ | PL_DISK_OPEN, .nth = nth };
        pl_disk_inject(annals.disk, &fault);
        enum peal_err err = annals_go_on(&annals, lookup, &question, &left, UINT64_MAX, &answer);
        if (err) {
            assert_int_equal(err, PEAL_EIO);
            err = annals_go_on(&annals, lookup, &question, &left, UINT64_MAX, &answer);
        }
        assert_int_equal(err, PEAL_OK);
        assert_int_equal(annals_files(&annals), 1);
        pl_lookup_destroy(lookup);
        annals_close(&annals);
    }
}

// What an index says is compared with the last of its events, which cannot be read just now.
static void an_event_that_cannot_be_read_now_is_no_reason_to_put_its_index_away(void **state)
{
    (void)state;
    struct annals annals;
    open_indexed(&annals);
    annals.fails_at = EVENTS;
    annals.fails = PEAL_EIO;
    struct annals_answer answer;
    assert_int_equal(annals_try_ask(&annals, &rare, &answer), PEAL_EIO);
    assert_int_equal(annals_files(&annals), 1);
    annals.fails_at = 0;
    expect_all(&annals);
    annals_close(&annals);
}

static void events_that_cannot_be_read_get_no_index_and_those_behind_them_do(void **state)
{
    (void)state;
    struct annals annals;
    annals_open(&annals, PL_CATALOG_SPAN + 20000);
    annals.fails_at = 5000;
    annals.fails = PEAL_EIO;
    annals_work(&annals); // gives the first range up
    annals.fails_at = 0;
    annals_work(&annals);
    struct annals_question behind = rare;
    behind.first = PL_CATALOG_SPAN;
    struct annals_answer answer = annals_ask_both(&annals, &behind);
    assert_int_equal(answer.given, answer.fitting);
    struct annals_question before = nobody;
    before.end = PL_CATALOG_SPAN;
    assert_int_equal(annals_ask_both(&annals, &before).given, PL_CATALOG_SPAN - 1);
    annals_close(&annals);
}

static void a_full_disk_costs_no_event(void **state)
{
    (void)state;
    struct annals annals;
    annals_open(&annals, EVENTS);
    pl_disk_limit(annals.disk, pl_disk_used(annals.disk) + 65536, false);
    annals_work(&annals);
    annals_reopen(&annals);
    assert_false(annals_is_there(&annals, 1, EVENTS));
    (void)ask_everything(&annals);
    annals_close(&annals);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_indexed_when_it_closes_is_so_when_it_opens),
        cmocka_unit_test(what_was_published_last_is_in_the_index_that_closing_leaves),
        cmocka_unit_test(a_range_ends_at_a_multiple_of_the_span),
        cmocka_unit_test(a_lookup_indexes_a_little_of_what_nobody_has),
        cmocka_unit_test(a_gap_between_indexes_is_filled_and_no_more),
        cmocka_unit_test(a_gap_in_which_everything_is_damaged_gets_no_index),
        cmocka_unit_test(no_more_than_a_number_of_them_are_open),
        cmocka_unit_test(an_index_of_events_that_are_gone_is_not_believed),
        cmocka_unit_test(an_index_of_another_log_is_put_away),
        cmocka_unit_test(an_index_of_another_range_is_put_away),
        cmocka_unit_test(an_index_whose_last_events_are_damaged_is_of_use),
        cmocka_unit_test(two_that_cover_the_same_are_not_both_used),
        cmocka_unit_test(files_that_are_no_indexes_are_left_alone),
        cmocka_unit_test(one_of_a_later_version_is_not_read_and_not_removed),
        cmocka_unit_test(a_block_that_is_damaged_costs_no_event),
        cmocka_unit_test(a_damaged_index_is_made_again),
        cmocka_unit_test(a_file_that_has_gone_is_not_missed),
        cmocka_unit_test(two_who_look_at_a_damaged_index_both_find_everything),
        cmocka_unit_test(what_is_put_away_already_or_still_grows_is_left),
        cmocka_unit_test(damage_met_by_who_only_reads_is_passed_and_left),
        cmocka_unit_test(what_happens_while_an_index_is_opened_does_no_harm),
        cmocka_unit_test(what_is_forgotten_loses_its_index_and_nothing_else_does),
        cmocka_unit_test(what_could_not_be_removed_goes_when_it_is_opened_next),
        cmocka_unit_test(an_index_behind_the_end_is_gone_for_good_before_anything_is_written),
        cmocka_unit_test(a_log_whose_old_indexes_cannot_be_removed_is_not_opened),
        cmocka_unit_test(who_only_reads_changes_no_file_and_starts_no_thread),
        cmocka_unit_test(a_range_that_is_full_is_no_file_of_who_only_reads),
        cmocka_unit_test(a_path_that_is_too_long_is_refused),
        cmocka_unit_test(a_directory_that_cannot_be_listed_is_an_error),
        cmocka_unit_test(no_allocation_that_fails_costs_an_event),
        cmocka_unit_test(no_call_to_the_disk_that_fails_costs_an_event),
        cmocka_unit_test(an_index_that_cannot_be_read_now_can_be_asked_again),
        cmocka_unit_test(an_event_that_cannot_be_read_now_is_no_reason_to_put_its_index_away),
        cmocka_unit_test(events_that_cannot_be_read_get_no_index_and_those_behind_them_do),
        cmocka_unit_test(a_full_disk_costs_no_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
