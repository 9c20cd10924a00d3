// SPDX-License-Identifier: MIT
//
// Reading a store while something fails: every call to the disk and every allocation once; ends
// and summaries that lead nowhere; records where others should be; paths of all kinds.
#include "support/shelf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "log/internal.h"

#define EVENTS 300

static size_t size_at(uint64_t position)
{
    return position % 29 == 0 ? 9000 : 100 + position % 3 * 40;
}

static void path_of(uint64_t base, char out[64])
{
    assert_in_range(snprintf(out, 64, SHELF_PATH "/%020llu.seg", (unsigned long long)base), 1, 63);
}

// Several files, closed; `closed` false: the process was killed.
static void fill(struct shelf *shelf, uint64_t seed, bool closed)
{
    shelf_init(shelf, seed);
    shelf->config.file_bytes = PL_STORE_FILE_MIN;
    assert_int_equal(shelf_open(shelf), PEAL_OK);
    for (uint64_t i = 1; i <= EVENTS; i++) {
        (void)shelf_append(shelf, size_at(i));
        assert_int_equal(shelf_settle(shelf, PEAL_DURABILITY_OS), PEAL_OK);
    }
    if (!closed) {
        pl_disk_kill(shelf->disk);
        shelf_leave(shelf);
    } else {
        assert_int_equal(shelf_close(shelf), PEAL_OK);
    }
}

static _Alignas(8) char room[64 << 10];

// ---- everything that reads ----------------------------------------------------------------------

static enum peal_err get_some(struct shelf *shelf)
{
    enum peal_err err = PEAL_OK;
    for (uint64_t position = 1; position <= EVENTS && !err; position += 7) {
        const struct pl_frame *frame = NULL;
        size_t size = sizeof room;
        err = pl_store_get(&frame, shelf->store, position, room, &size);
        if (!err) {
            assert_non_null(frame);
            shelf_check(frame, size_at(position), 1, shelf->config.source ? NULL : "/shelf");
        }
    }
    return err;
}

static void meet_frame(void *context, const struct pl_frame *frame)
{
    const struct shelf *shelf = context;
    shelf_check(frame, size_at(frame->position), 1, shelf->config.source ? NULL : "/shelf");
}

static enum peal_err read_all(struct shelf *shelf)
{
    uint64_t count = 0;
    enum peal_err err = shelf_try_walk(shelf, 1, meet_frame, shelf, &count);
    assert_true(err || count == EVENTS);
    return err;
}

static void count_frame(void *context, const struct pl_frame *frame)
{
    assert_int_equal(frame->position, ++*(uint64_t *)context);
}

struct verified {
    uint64_t lost, damages;
    unsigned words;      // on progress
    unsigned words_left; // then it is enough; 0: never
};

static void meet_damage(void *context, const char *path, const struct pl_damage *damage)
{
    struct verified *verified = context;
    (void)path;
    verified->damages++;
    verified->lost += damage->end - damage->first;
}

static bool meet_progress(void *context, uint64_t done, uint64_t total)
{
    struct verified *verified = context;
    (void)done;
    (void)total;
    verified->words++;
    return verified->words != verified->words_left;
}

static const struct pl_verify_ops verify_ops = { meet_damage, meet_progress, NULL };

static enum peal_err verify(struct shelf *shelf)
{
    struct verified verified = { 0 };
    return pl_store_verify(shelf->store, &verify_ops, &verified);
}

static enum peal_err measure(struct shelf *shelf)
{
    assert_true(pl_store_behind(shelf->store, 0) > 1);
    return PEAL_OK;
}

static enum peal_err refresh(struct shelf *shelf)
{
    return shelf->config.read_only ? pl_store_refresh(shelf->store) : PEAL_OK;
}

static enum peal_err (*const readings[])(struct shelf *shelf) = { get_some, read_all, verify,
                                                                  measure, refresh };

#define READINGS (sizeof readings / sizeof readings[0])

// As the log is opened: by its only process, under another source, and beside one.
static void set_way(struct shelf *shelf, unsigned way)
{
    shelf->config.source = way == 1 ? NULL : "/shelf";
    shelf->config.read_only = way == 2;
    shelf->life = 0;
}

static bool is_one_of(enum peal_err err, enum peal_err expected)
{
    return err == PEAL_OK || err == expected;
}

static void a_call_that_fails_while_reading_is_said_and_passes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < READINGS * 3; i++) {
        struct shelf shelf;
        fill(&shelf, 3, i % 2);
        bool reached = true;
        unsigned failures = 0;
        for (uint64_t nth = 1; reached && nth < 60; nth++) {
            set_way(&shelf, i / READINGS);
            assert_int_equal(shelf_open(&shelf), PEAL_OK);
            uint64_t before = pl_disk_calls(shelf.disk, 0);
            const struct pl_disk_fault fault = { .nth = nth };
            pl_disk_inject(shelf.disk, &fault);
            enum peal_err err = readings[i % READINGS](&shelf);
            reached = pl_disk_calls(shelf.disk, 0) - before >= nth;
            pl_disk_heal(shelf.disk);
            assert_true(is_one_of(err, PEAL_EIO));
            failures += err != PEAL_OK;
            assert_int_equal(readings[i % READINGS](&shelf), PEAL_OK);
            assert_int_equal(shelf_close(&shelf), PEAL_OK);
        }
        assert_true(failures > 0 || i % READINGS >= 2);
        shelf_finish(&shelf);
    }
}

static void memory_that_fails_while_reading_is_said_and_passes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < READINGS * 3; i++) {
        struct shelf shelf;
        fill(&shelf, 4, i % 2);
        bool reached = true;
        for (size_t nth = 1; reached && nth < 60; nth++) {
            set_way(&shelf, i / READINGS);
            assert_int_equal(shelf_open(&shelf), PEAL_OK);
            struct failing *memory = &shelf.ledger.memory;
            size_t before = memory->calls;
            memory->fail_at = before + nth;
            assert_true(is_one_of(readings[i % READINGS](&shelf), PEAL_ENOMEM));
            reached = memory->calls - before >= nth;
            memory->fail_at = 0;
            assert_int_equal(readings[i % READINGS](&shelf), PEAL_OK);
            assert_int_equal(shelf_close(&shelf), PEAL_OK);
        }
        shelf_finish(&shelf);
    }
}

static void a_call_that_fails_while_opening_is_said_and_passes(void **state)
{
    (void)state;
    unsigned failures = 0;
    bool reached = true;
    for (uint64_t nth = 1; reached; nth++) {
        struct shelf shelf;
        fill(&shelf, 5, nth % 2);
        set_way(&shelf, (unsigned)(nth / 2 % 3));
        uint64_t before = pl_disk_calls(shelf.disk, 0);
        const struct pl_disk_fault fault = { .nth = nth };
        pl_disk_inject(shelf.disk, &fault);
        enum peal_err err = shelf_open(&shelf);
        reached = pl_disk_calls(shelf.disk, 0) - before >= nth;
        pl_disk_heal(shelf.disk);
        assert_true(is_one_of(err, PEAL_EIO));
        failures += err != PEAL_OK;
        if (!err) {
            (void)shelf_close(&shelf);
        }
        set_way(&shelf, 0);
        assert_int_equal(shelf_open(&shelf), PEAL_OK);
        assert_int_equal(read_all(&shelf), PEAL_OK);
        shelf_finish(&shelf);
    }
    assert_true(failures > 10);
}

static void verifying_ends_when_it_is_told_enough(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 6);
    shelf.config.file_bytes = 4 << 20;
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    for (int i = 0; i < 40; i++) {
        (void)shelf_append(&shelf, 100000);
    }
    assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_OK);
    struct verified verified = { .words_left = 2 };
    assert_int_equal(pl_store_verify(shelf.store, &verify_ops, &verified), PEAL_OK);
    assert_int_equal(verified.words, 2); // within a file
    verified = (struct verified){ 0 };
    assert_int_equal(pl_store_verify(shelf.store, &verify_ops, &verified), PEAL_OK);
    assert_true(verified.words > 3);
    shelf_finish(&shelf);
}

// ---- noticing and forgetting --------------------------------------------------------------------

struct beside {
    struct shelf shelf;      // the process that writes
    struct pl_store *reader; // and one beside it
};

// The reader has seen half of what there is.
static void open_beside(struct beside *beside, uint64_t seed)
{
    struct shelf *shelf = &beside->shelf;
    shelf_init(shelf, seed);
    shelf->config.file_bytes = PL_STORE_FILE_MIN;
    assert_int_equal(shelf_open(shelf), PEAL_OK);
    struct pl_store_config config = shelf->config;
    config.read_only = true;
    for (uint64_t i = 1; i <= EVENTS; i++) {
        (void)shelf_append(shelf, size_at(i));
        assert_int_equal(shelf_settle(shelf, PEAL_DURABILITY_OS), PEAL_OK);
        if (i == EVENTS / 2) {
            assert_int_equal(pl_store_open(&beside->reader, &config), PEAL_OK);
        }
    }
}

static void close_beside(struct beside *beside)
{
    assert_int_equal(pl_store_close(beside->reader, NULL), PEAL_OK);
    shelf_finish(&beside->shelf);
}

static void what_fails_while_noticing_what_was_written_passes(void **state)
{
    (void)state;
    bool reached = true;
    unsigned failures = 0;
    for (size_t nth = 1; reached; nth++) {
        struct beside beside;
        open_beside(&beside, 15);
        struct failing *memory = &beside.shelf.ledger.memory;
        struct pl_disk *disk = beside.shelf.disk;
        size_t allocations = memory->calls;
        uint64_t calls = pl_disk_calls(disk, 0);
        const struct pl_disk_fault fault = { .nth = (nth + 1) / 2 };
        if (nth % 2) {
            pl_disk_inject(disk, &fault);
        } else {
            memory->fail_at = allocations + nth / 2;
        }
        enum peal_err err = pl_store_refresh(beside.reader);
        assert_true(is_one_of(err, nth % 2 ? PEAL_EIO : PEAL_ENOMEM));
        failures += err != PEAL_OK;
        reached = pl_disk_calls(disk, 0) - calls >= (nth + 1) / 2 ||
                  memory->calls - allocations >= nth / 2;
        pl_disk_heal(disk);
        memory->fail_at = 0;
        assert_int_equal(pl_store_refresh(beside.reader), PEAL_OK);
        assert_int_equal(pl_store_written(beside.reader), EVENTS + 1);
        for (uint64_t position = 1; position <= EVENTS; position += 11) {
            const struct pl_frame *frame = NULL;
            size_t size = sizeof room;
            assert_int_equal(pl_store_get(&frame, beside.reader, position, room, &size), PEAL_OK);
            assert_non_null(frame);
        }
        close_beside(&beside);
    }
    assert_true(failures > 5);
}

static void what_fails_while_forgetting_can_be_tried_again(void **state)
{
    (void)state;
    bool reached = true;
    unsigned failures = 0;
    for (uint64_t nth = 1; reached; nth++) {
        struct beside beside;
        open_beside(&beside, 16);
        struct pl_store *store = beside.shelf.store;
        uint64_t wanted = store->volumes[2].base;
        uint64_t calls = pl_disk_calls(beside.shelf.disk, 0);
        const struct pl_disk_fault fault = { .nth = nth };
        pl_disk_inject(beside.shelf.disk, &fault);
        uint64_t first = 0;
        enum peal_err err = pl_store_forget(store, wanted, &first);
        assert_true(is_one_of(err, PEAL_EIO));
        failures += err != PEAL_OK;
        reached = pl_disk_calls(beside.shelf.disk, 0) - calls >= nth;
        pl_disk_heal(beside.shelf.disk);
        assert_int_equal(pl_store_forget(store, wanted, &first), PEAL_OK);
        assert_int_equal(first, wanted);
        assert_int_equal(pl_store_first(store), wanted);
        close_beside(&beside);
    }
    assert_true(failures > 1);
}

// ---- what leads nowhere -------------------------------------------------------------------------

static void write_at(const struct shelf *shelf, uint64_t base, const void *bytes, size_t size,
                     uint64_t offset)
{
    char path[64];
    path_of(base, path);
    const struct pl_files *files = shelf->config.files;
    struct pl_file file = { 0 };
    assert_int_equal(files->open(files->world, &file, path, PL_FILE_WRITE), 0);
    assert_int_equal(pl_files_write(files, file, bytes, size, offset), 0);
    files->close(files->world, &file);
}

static uint64_t load(const struct shelf *shelf, uint64_t base, char *out, size_t size)
{
    char path[64];
    path_of(base, path);
    const struct pl_files *files = shelf->config.files;
    struct pl_file file = { 0 };
    assert_int_equal(files->open(files->world, &file, path, PL_FILE_READ), 0);
    int64_t count = files->pread(files->world, file, out, size, 0);
    files->close(files->world, &file);
    assert_in_range(count, PL_SEGFILE_HEADER, size - 1);
    return (uint64_t)count;
}

// Of the first file, the end says that its summary is somewhere it is not.
static void an_end_that_leads_nowhere_costs_no_event(void **state)
{
    (void)state;
    static char bytes[2 * PL_STORE_FILE_MIN];
    for (unsigned i = 0; i < 7; i++) {
        struct shelf shelf;
        fill(&shelf, 7, true);
        uint64_t size = load(&shelf, 1, bytes, sizeof bytes);
        uint64_t last = size - sizeof(struct pl_frame);
        struct pl_frame end;
        memcpy(&end, bytes + last, sizeof end);
        assert_int_equal(end.type, PL_RECORD_END);
        const uint64_t somewhere[7] = {
            0,                          // before all records
            (uint64_t)end.recorded + 4, // at no multiple of 8
            last,                       // at the end itself
            UINT64_MAX - 7,             // behind it
            (uint64_t)end.recorded + 8, // in the middle of it
            PL_SEGFILE_HEADER,          // at another record
            (uint64_t)end.recorded,     // where it is, for an end at another position
        };
        assert_int_equal(shelf_open(&shelf), PEAL_OK);
        uint32_t salt = pl_record_salt(shelf.store->seed, 1);
        assert_int_equal(shelf_close(&shelf), PEAL_OK);
        struct pl_frame other;
        pl_record_end(&other, end.position - (i == 6), somewhere[i], salt);
        write_at(&shelf, 1, &other, sizeof other, last);
        shelf.life = 0;
        assert_int_equal(shelf_open(&shelf), PEAL_OK);
        uint64_t next = 0;
        (void)shelf_walk(&shelf, 1, meet_frame, &shelf);
        for (next = 1; next <= EVENTS; next += 3) {
            const struct pl_frame *frame = NULL;
            size_t have = sizeof room;
            assert_int_equal(pl_store_get(&frame, shelf.store, next, room, &have), PEAL_OK);
            assert_non_null(frame);
        }
        shelf_finish(&shelf);
    }
}

// A whole record of the same log, over another of the same size: a write that went astray.
static void an_event_in_the_place_of_another_costs_that_one_only(void **state)
{
    (void)state;
    static char bytes[2 * PL_STORE_FILE_MIN];
    static const uint64_t pairs[][2] = { { 11, 17 }, { 17, 11 }, { 12, 24 }, { 24, 12 } };
    for (size_t i = 0; i < 4; i++) {
        struct shelf shelf;
        fill(&shelf, 8, true);
        (void)load(&shelf, 1, bytes, sizeof bytes);
        uint64_t offsets[64] = { 0 };
        for (size_t at = PL_SEGFILE_HEADER; at < PL_STORE_FILE_MIN;) {
            struct pl_frame head;
            memcpy(&head, bytes + at, sizeof head);
            if (!pl_record_begins(&head) || head.type == PL_RECORD_SUMMARY) {
                break;
            }
            if (pl_record_is_event(&head) && head.position < 64) {
                offsets[head.position] = at;
            }
            at += head.length;
        }
        uint64_t from = offsets[pairs[i][0]], to = offsets[pairs[i][1]];
        assert_true(from && to);
        const struct pl_frame *one = (const struct pl_frame *)(const void *)(bytes + from);
        const struct pl_frame *other = (const struct pl_frame *)(const void *)(bytes + to);
        assert_int_equal(one->length, other->length);
        write_at(&shelf, 1, bytes + from, one->length, to);
        shelf.life = 0;
        assert_int_equal(shelf_open(&shelf), PEAL_OK);
        const struct pl_frame *frame = NULL;
        for (uint64_t position = 1; position < 64; position++) {
            size_t size = sizeof room;
            assert_int_equal(pl_store_get(&frame, shelf.store, position, room, &size), PEAL_OK);
            assert_int_equal(frame != NULL, position != pairs[i][1]);
        }
        assert_int_equal(shelf_walk(&shelf, 1, meet_frame, &shelf), EVENTS - 1);
        struct verified verified = { 0 };
        assert_int_equal(pl_store_verify(shelf.store, &verify_ops, &verified), PEAL_OK);
        assert_int_equal(verified.lost, 1);
        shelf_finish(&shelf);
    }
}

// The names of types stand twice before the first event of each, and in the summary.
static void an_event_whose_type_has_no_name_left_is_lost_and_no_other(void **state)
{
    (void)state;
    static char bytes[2 * PL_STORE_FILE_MIN];
    struct shelf shelf;
    fill(&shelf, 17, true);
    (void)load(&shelf, 1, bytes, sizeof bytes);
    char path[64];
    path_of(1, path);
    uint64_t lost[EVENTS] = { 0 };
    size_t count = 0;
    for (size_t at = PL_SEGFILE_HEADER;;) {
        struct pl_frame head;
        memcpy(&head, bytes + at, sizeof head);
        bool name = head.type == PL_RECORD_TYPE && head.position == 1;
        if (name || head.type == PL_RECORD_END) {
            assert_int_equal(pl_disk_flip(shelf.disk, path, at * 8 + 100), 0);
        } else if (head.type == 1) {
            lost[count++] = head.position;
        }
        if (head.type == PL_RECORD_END) {
            break;
        }
        at += head.length;
    }
    assert_true(count > 5);
    shelf.life = 0;
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    assert_int_equal(shelf_walk(&shelf, 1, meet_frame, &shelf), EVENTS - count);
    for (uint64_t position = 1, next = 0; position <= EVENTS; position++) {
        const struct pl_frame *frame = NULL;
        size_t size = sizeof room;
        assert_int_equal(pl_store_get(&frame, shelf.store, position, room, &size), PEAL_OK);
        bool gone = next < count && lost[next] == position;
        assert_int_equal(frame == NULL, gone);
        next += gone;
    }
    struct verified verified = { 0 };
    assert_int_equal(pl_store_verify(shelf.store, &verify_ops, &verified), PEAL_OK);
    assert_true(verified.damages >= 2);
    shelf_finish(&shelf);
}

// Of events of one size, whose places are known without looking.
static size_t uniform_size(uint64_t position)
{
    const struct peal_message message = { .subject = position % 5 == 0 ? "a subject" : NULL,
                                          .source = position % 7 == 0 ? "/elsewhere" : NULL };
    size_t attributes = 0;
    assert_int_equal(pl_message_check(&message, &attributes), PEAL_OK);
    return 400 - attributes;
}

static void check_uniform(struct shelf *shelf, uint64_t position, uint64_t damaged)
{
    const struct pl_frame *frame = NULL;
    size_t size = sizeof room;
    assert_int_equal(pl_store_get(&frame, shelf->store, position, room, &size), PEAL_OK);
    assert_int_equal(frame != NULL, position != damaged);
    if (frame) {
        shelf_check(frame, uniform_size(position), 1, NULL);
    }
}

static void an_event_of_one_size_with_a_bit_turned_over_is_not_given(void **state)
{
    (void)state;
    static char bytes[64 << 10];
    struct shelf shelf;
    shelf_init(&shelf, 14);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    for (uint64_t position = 1; position <= 100; position++) {
        (void)shelf_append(&shelf, uniform_size(position));
    }
    assert_int_equal(shelf_close(&shelf), PEAL_OK);
    (void)load(&shelf, 1, bytes, sizeof bytes);
    shelf.life = 0;
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    char path[64];
    path_of(1, path);
    for (size_t at = PL_SEGFILE_HEADER; at < sizeof bytes;) {
        struct pl_frame head;
        memcpy(&head, bytes + at, sizeof head);
        bool wanted = pl_record_is_event(&head) && head.position > 30 && head.position < 50;
        for (uint64_t bit = 0; wanted && bit < (sizeof head + 8) * 8; bit++) {
            assert_int_equal(pl_disk_flip(shelf.disk, path, at * 8 + bit), 0);
            for (uint64_t near = head.position - 1; near <= head.position + 1; near++) {
                check_uniform(&shelf, near, head.position);
            }
            assert_int_equal(pl_disk_flip(shelf.disk, path, at * 8 + bit), 0);
        }
        if (head.type == PL_RECORD_END) {
            break;
        }
        at += head.length;
    }
    shelf_finish(&shelf);
}

// More who stand in files of their own than files are kept open.
static void more_readers_than_files_kept_open_all_read(void **state)
{
    (void)state;
    enum { PLACES = PL_STORE_OPENED_MAX + 5 };
    struct shelf shelf;
    shelf_init(&shelf, 9);
    shelf.config.file_bytes = PL_STORE_FILE_MIN;
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    while (shelf.store->volume_count <= PLACES) {
        (void)shelf_append(&shelf, 6000);
        assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_OS), PEAL_OK);
    }
    static struct pl_place places[PLACES];
    for (size_t i = 0; i < PLACES; i++) {
        bool found = false;
        assert_int_equal(
            pl_place_find(&places[i], shelf.store, shelf.store->volumes[i].base, &found), PEAL_OK);
        assert_true(found);
        assert_int_equal(places[i].opened != NULL, i < PL_STORE_OPENED_MAX);
    }
    for (size_t i = 0; i < PLACES; i++) {
        pl_place_leave(&places[i], shelf.store);
    }
    uint64_t count = 0;
    assert_int_equal(shelf_walk(&shelf, 1, count_frame, &count), pl_log_end(&shelf.ledger.log) - 1);
    shelf_finish(&shelf);
}

// ---- paths and names ----------------------------------------------------------------------------

static void a_path_is_one_however_it_is_written(void **state)
{
    (void)state;
    static const char *const paths[] = { "logs",    "./logs", "/logs/",
                                         "/logs//", "//logs", ".//.//logs" };
    struct shelf shelf;
    shelf_init(&shelf, 10);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        shelf.config.path = paths[i];
        assert_int_equal(shelf_open(&shelf), PEAL_OK);
        assert_int_equal(pl_store_end(shelf.store), i + 1);
        (void)shelf_append(&shelf, 10);
        assert_int_equal(shelf_close(&shelf), PEAL_OK);
    }
    shelf_finish(&shelf);
}

static void what_a_config_may_not_say_is_refused(void **state)
{
    (void)state;
    static char path[PL_STORE_PATH], source[PEAL_ATTRIBUTE_MAX + 2];
    memset(path, 'a', sizeof path - 1);
    memset(source, 'b', sizeof source - 1);
    struct shelf shelf;
    shelf_init(&shelf, 11);
    const struct {
        const char *path, *source, *says;
    } bad[] = { { NULL, NULL, "path" }, { path, NULL, "path" }, { "/l", source, "source" } };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        shelf.config.path = bad[i].path;
        shelf.config.source = bad[i].source;
        assert_int_equal(shelf_open(&shelf), PEAL_EINVAL);
        assert_non_null(strstr(peal_error_sentence(), bad[i].says));
    }
    shelf.config.path = "/l";
    shelf.config.source = NULL;
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    shelf_finish(&shelf);
}

static void touch(const struct shelf *shelf, const char *path, const char *text)
{
    const struct pl_files *files = shelf->config.files;
    struct pl_file file = { 0 };
    assert_int_equal(files->open(files->world, &file, path, PL_FILE_CREATE), 0);
    assert_int_equal(pl_files_write(files, file, text, strlen(text), 0), 0);
    files->close(files->world, &file);
}

// Hidden files, and those of a store that came no further, do not make a directory a stranger's.
static void files_of_its_own_and_hidden_ones_are_no_strangers(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 12);
    const struct pl_files *files = shelf.config.files;
    assert_int_equal(files->make_directory(files->world, SHELF_PATH), 0);
    touch(&shelf, SHELF_PATH "/lock", "");
    touch(&shelf, SHELF_PATH "/new", "");
    touch(&shelf, SHELF_PATH "/reserve", "");
    touch(&shelf, SHELF_PATH "/.hidden", "");
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    assert_int_equal(shelf_close(&shelf), PEAL_OK);
    // Names that are nearly those of segment files.
    touch(&shelf, SHELF_PATH "/00000000000000000000.seg", "");
    touch(&shelf, SHELF_PATH "/99999999999999999999.seg", "");
    touch(&shelf, SHELF_PATH "/0000000000000000000a.seg", "");
    touch(&shelf, SHELF_PATH "/00000000000000000002.sec", "");
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    assert_int_equal(shelf.store->volume_count, 1);
    shelf_finish(&shelf);
}

static void who_has_the_log_is_said_as_far_as_it_is_known(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf, 13);
    const struct pl_files *files = shelf.config.files;
    assert_int_equal(files->make_directory(files->world, SHELF_PATH), 0);
    touch(&shelf, SHELF_PATH "/lock", "");
    struct pl_file file = { 0 };
    assert_int_equal(files->open(files->world, &file, SHELF_PATH "/lock", PL_FILE_WRITE), 0);
    assert_int_equal(files->lock(files->world, file), 0); // it has not said who it is yet
    assert_int_equal(shelf_open(&shelf), PEAL_EBUSY);
    assert_non_null(strstr(peal_error_sentence(), "another process"));
    assert_int_equal(pl_files_write(files, file, "1234\n", 5, 0), 0);
    assert_int_equal(shelf_open(&shelf), PEAL_EBUSY);
    assert_non_null(strstr(peal_error_sentence(), "process 1234 has this log"));
    files->close(files->world, &file);
    assert_int_equal(shelf_open(&shelf), PEAL_OK);
    shelf_finish(&shelf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_that_fails_while_reading_is_said_and_passes),
        cmocka_unit_test(memory_that_fails_while_reading_is_said_and_passes),
        cmocka_unit_test(a_call_that_fails_while_opening_is_said_and_passes),
        cmocka_unit_test(verifying_ends_when_it_is_told_enough),
        cmocka_unit_test(what_fails_while_noticing_what_was_written_passes),
        cmocka_unit_test(what_fails_while_forgetting_can_be_tried_again),
        cmocka_unit_test(an_event_whose_type_has_no_name_left_is_lost_and_no_other),
        cmocka_unit_test(an_end_that_leads_nowhere_costs_no_event),
        cmocka_unit_test(an_event_in_the_place_of_another_costs_that_one_only),
        cmocka_unit_test(an_event_of_one_size_with_a_bit_turned_over_is_not_given),
        cmocka_unit_test(more_readers_than_files_kept_open_all_read),
        cmocka_unit_test(a_path_is_one_however_it_is_written),
        cmocka_unit_test(what_a_config_may_not_say_is_refused),
        cmocka_unit_test(files_of_its_own_and_hidden_ones_are_no_strangers),
        cmocka_unit_test(who_has_the_log_is_said_as_far_as_it_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
