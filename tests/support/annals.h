// SPDX-License-Identifier: MIT
//
// Annals: a log that is made up. What the event at a position is follows from the position, so that
// there are as many as a test of catalogs needs, and what a lookup must find can be told without
// one. Include cmocka.h first.
//
//     struct annals annals;
//     annals_open(&annals, 30000);            // so many events, and a catalog of none of them
//     annals_work(&annals);                   // all of them are indexed
//     annals_ask(&annals, &question);         // nothing that fits is passed over
//     annals_close(&annals);                  // checks that all memory was given back
//
// Of the events, some may be forgotten, damaged, or of another life: given their positions a second
// time, after a crash had taken those that had them first.
#ifndef PEAL_TESTS_ANNALS_H
#define PEAL_TESTS_ANNALS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "log/catalog_inside.h"
#include "testing/disk.h"
#include "unit/base_failing.h"

#define ANNALS_PATH    "/annals"
#define ANNALS_SEGMENT ((size_t)65536)
#define ANNALS_TYPES   250 // of which the last is rare

struct annals {
    struct failing memory; // first: the seams' world
    struct pl_seams seams;
    struct pl_disk *disk;
    struct pl_log log;
    struct pl_catalog_config config;
    struct pl_catalog *catalog;

    // What there is of the past. Sequentially consistent: a test is in no hurry.
    _Atomic uint64_t first;        // positions below are forgotten
    uint64_t lost_first, lost_end; // positions that are damaged
    uint64_t life_from;            // from here on events are of another life; 0: none is
    uint64_t fails_at;             // reading this position fails; 0: none
    enum peal_err fails;           // with this
    unsigned starts;               // of threads that were asked for
    char types[ANNALS_TYPES][16];  // names
};

// ---- events -------------------------------------------------------------------------------------

// What the rest of an event follows from.
static inline uint64_t annals_salt(const struct annals *annals, uint64_t position)
{
    return annals->life_from && position >= annals->life_from ? position + 1 : position;
}

static inline uint32_t annals_type(uint64_t salt)
{
    return salt % 1000 == 7 ? ANNALS_TYPES - 1 : (uint32_t)(salt * 31 % (ANNALS_TYPES - 1));
}

static inline int64_t annals_recorded(uint64_t salt, uint64_t position)
{
    return (int64_t)(position * 1000 + (salt - position) * 500);
}

// When it happened: one in a hundred some time before.
static inline int64_t annals_time(uint64_t salt, uint64_t position)
{
    return annals_recorded(salt, position) - (salt % 100 == 3 ? 5000000 : 0);
}

// The number in a key of it; 0: it has none.
static inline uint64_t annals_number(enum pl_index_key key, uint64_t salt)
{
    const uint64_t numbers[] = { salt % 10 ? salt % 211 : 0, salt / 64 + 1, salt % 500 ? 0 : salt,
                                 salt % 3 ? 0 : salt - 1 };
    return numbers[key];
}

static inline void annals_key(char out[24], enum pl_index_key key, uint64_t salt)
{
    uint64_t number = annals_number(key, salt);
    out[0] = 0;
    if (number) {
        (void)snprintf(out, 24, "%c%llu", "scie"[key], (unsigned long long)number);
    }
}

static inline const char *annals_type_of(void *context, uint32_t number)
{
    const struct annals *annals = context;
    return annals->types[number];
}

static inline bool annals_had(struct annals *annals, uint64_t first, uint64_t position)
{
    bool lost = position >= annals->lost_first && position < annals->lost_end;
    return position >= first && position < pl_log_end(&annals->log) && !lost;
}

static inline bool annals_has(struct annals *annals, uint64_t position)
{
    return annals_had(annals, annals->first, position);
}

static inline bool annals_add(struct annals *annals, struct pl_segment *segment, uint64_t position)
{
    const uint64_t salt = annals_salt(annals, position);
    const int64_t recorded = annals_recorded(salt, position);
    const int64_t time = annals_time(salt, position);
    char keys[PL_KEYS][24];
    for (unsigned key = 0; key < PL_KEYS; key++) {
        annals_key(keys[key], (enum pl_index_key)key, salt);
    }
    const struct peal_message message = { .subject = keys[PL_KEY_SUBJECT],
                                          .correlation = keys[PL_KEY_CORRELATION],
                                          .causation = keys[PL_KEY_CAUSATION],
                                          .id = keys[PL_KEY_ID],
                                          .time_ns = time == recorded ? 0 : time };
    const struct pl_stamp stamp = { .position = position,
                                    .recorded = recorded,
                                    .type = annals_type(salt) };
    size_t attributes = 0;
    if (pl_message_check(&message, &attributes)) {
        return false;
    }
    attributes = pl_frame_attributes_needed(&message, &stamp);
    if (!pl_segment_fits(segment, pl_frame_size(attributes, 0, false))) {
        return false;
    }
    struct pl_frame *frame = pl_segment_next(segment);
    pl_frame_write(frame, &message, attributes, &stamp);
    pl_segment_commit(segment, frame);
    return true;
}

// From `first` on, as one look has found it: what is forgotten meanwhile is there still.
static inline enum peal_err annals_copy(struct annals *annals, struct pl_segment **out,
                                        uint64_t first, uint64_t position, uint64_t count)
{
    *out = NULL;
    if (annals->fails_at && position <= annals->fails_at && annals->fails_at < position + count) {
        return pl_fail(annals->fails, "the annals cannot be read");
    }
    if (!annals_had(annals, first, position)) {
        return PEAL_OK;
    }
    struct pl_segment *segment =
        pl_segment_create(annals->config.seams, annals->log.budget, ANNALS_SEGMENT);
    if (!segment) {
        return pl_fail(PEAL_ENOMEM, "no memory to read the annals");
    }
    pl_segment_reset(segment, position);
    for (uint64_t i = 0; i < count && annals_had(annals, first, position + i); i++) {
        if (!annals_add(annals, segment, position + i)) {
            break;
        }
    }
    *out = segment;
    return PEAL_OK;
}

static inline enum peal_err annals_read(void *context, struct pl_segment **out, uint64_t position)
{
    struct annals *annals = context;
    uint64_t first = annals->first;
    position = position > first ? position : first;
    bool lost = position >= annals->lost_first && position < annals->lost_end;
    return annals_copy(annals, out, first, lost ? annals->lost_end : position, 600);
}

static inline enum peal_err annals_pick(void *context, struct pl_segment **out, uint64_t position,
                                        struct pl_coming *coming)
{
    struct annals *annals = context;
    (void)coming;
    return annals_copy(annals, out, annals->first, position, 1);
}

static inline uint64_t annals_first(void *context)
{
    const struct annals *annals = context;
    return annals->first;
}

// ---- opening ------------------------------------------------------------------------------------

// No threads: a catalog does without.
static inline enum peal_err annals_start(void *world, struct pl_thread **out,
                                         void (*main)(void *context), void *context)
{
    (void)out;
    (void)main;
    (void)context;
    struct annals *annals = world;
    annals->starts++;
    return PEAL_ENOMEM;
}

// The log of them, on a machine.
static inline void annals_begin(struct annals *annals, const struct pl_seams *seams,
                                const struct pl_files *files, const char *path, uint64_t events)
{
    static const struct pl_log_limits limits = { .memory_max = 16 << 20 };
    assert_int_equal(pl_log_init(&annals->log, seams, &limits), PEAL_OK);
    pl_log_begin(&annals->log, events + 1, 0);
    annals->log.past = (struct pl_log_past){ annals_read, annals_pick, annals_first, annals };
    annals->first = 1;
    for (unsigned i = 0; i + 1 < ANNALS_TYPES; i++) {
        (void)snprintf(annals->types[i], sizeof annals->types[i], "usual.%u", i);
    }
    memcpy(annals->types[ANNALS_TYPES - 1], "rare", 5);
    annals->config = (struct pl_catalog_config){ .seams = seams,
                                                 .files = files,
                                                 .path = path,
                                                 .log = &annals->log,
                                                 .seed = { 11, 22 },
                                                 .end = events + 1,
                                                 .type_of = annals_type_of,
                                                 .type_context = annals };
}

static inline void annals_init(struct annals *annals, uint64_t events)
{
    *annals = (struct annals){ 0 };
    annals->seams = failing_seams(&annals->memory, 0);
    annals->seams.world = annals;
    annals->seams.start = annals_start;
    assert_int_equal(pl_disk_create(&annals->disk, &pl_seams_real, 1), PEAL_OK);
    const struct pl_files *files = pl_disk_files(annals->disk);
    assert_int_equal(files->make_directory(files->world, ANNALS_PATH), 0);
    annals_begin(annals, &annals->seams, files, ANNALS_PATH, events);
}

static inline enum peal_err annals_try(struct annals *annals)
{
    annals->config.end = pl_log_end(&annals->log);
    return pl_catalog_open(&annals->catalog, &annals->config);
}

static inline void annals_open(struct annals *annals, uint64_t events)
{
    annals_init(annals, events);
    assert_int_equal(annals_try(annals), PEAL_OK);
}

static inline void annals_rest(struct annals *annals)
{
    pl_catalog_close(annals->catalog);
    annals->catalog = NULL;
}

static inline void annals_close(struct annals *annals)
{
    annals_rest(annals);
    pl_log_finish(&annals->log);
    pl_disk_destroy(annals->disk);
    assert_int_equal(annals->memory.living, 0);
}

// Closes the catalog and opens it again.
static inline void annals_reopen(struct annals *annals)
{
    annals_rest(annals);
    assert_int_equal(annals_try(annals), PEAL_OK);
}

// So many more events.
static inline void annals_publish(struct annals *annals, uint64_t events)
{
    uint64_t end = pl_log_end(&annals->log) + events;
    pl_log_publish(&annals->log, end);
    pl_catalog_note(annals->catalog, end);
}

// Indexes all there is, as far as it can be.
static inline void annals_work(struct annals *annals)
{
    bool more = true;
    while (more) {
        pl_mutex_lock(&annals->catalog->indexing, annals->config.seams);
        pl_indexer_work(annals->catalog, UINT64_MAX, &more);
        pl_mutex_unlock(&annals->catalog->indexing, annals->config.seams);
    }
}

// ---- files --------------------------------------------------------------------------------------

static inline void annals_name(char out[128], uint64_t first, uint64_t last)
{
    (void)snprintf(out, 128, ANNALS_PATH "/%020llu-%020llu.idx", (unsigned long long)first,
                   (unsigned long long)last);
}

static inline int64_t annals_size(const struct annals *annals, const char *path)
{
    const struct pl_files *files = annals->config.files;
    struct pl_file file = { 0 };
    int64_t size = files->open(files->world, &file, path, PL_FILE_READ);
    if (size == 0) {
        size = files->size(files->world, file);
    }
    files->close(files->world, &file);
    return size;
}

static inline bool annals_is_there(const struct annals *annals, uint64_t first, uint64_t last)
{
    char path[128];
    annals_name(path, first, last);
    return annals_size(annals, path) > 0;
}

static inline int annals_count_name(void *context, const char *name)
{
    *(unsigned *)context += strstr(name, ".idx") != NULL;
    return 0;
}

static inline unsigned annals_files(const struct annals *annals)
{
    unsigned count = 0;
    const struct pl_files *files = annals->config.files;
    assert_int_equal(files->list(files->world, ANNALS_PATH, annals_count_name, &count), 0);
    return count;
}

// The bytes of a file, to be freed; and a file of bytes.
static inline char *annals_load(const struct annals *annals, const char *path, size_t *size)
{
    const struct pl_files *files = annals->config.files;
    int64_t there = annals_size(annals, path);
    assert_true(there > 0);
    *size = (size_t)there;
    char *bytes = malloc(*size);
    assert_non_null(bytes);
    struct pl_file file = { 0 };
    assert_int_equal(files->open(files->world, &file, path, PL_FILE_READ), 0);
    assert_int_equal(files->pread(files->world, file, bytes, *size, 0), there);
    files->close(files->world, &file);
    return bytes;
}

static inline void annals_store(const struct annals *annals, const char *path, const char *bytes,
                                size_t size)
{
    const struct pl_files *files = annals->config.files;
    (void)files->unlink(files->world, path); // it may not be there
    struct pl_file file = { 0 };
    assert_int_equal(files->open(files->world, &file, path, PL_FILE_CREATE), 0);
    assert_int_equal(pl_files_write(files, file, bytes, size, 0), 0);
    files->close(files->world, &file);
}

// An index of positions [first, end) that do not belong to the tail of any catalog.
static inline void annals_index(struct annals *annals, uint64_t first, uint64_t end)
{
    struct pl_index *tail = NULL;
    assert_int_equal(pl_index_create(&tail, &annals->seams, annals->config.seed, first), PEAL_OK);
    for (uint64_t position = first; position < end; position++) {
        uint64_t salt = annals_salt(annals, position);
        struct pl_index_event event = { .position = position, .time = annals_time(salt, position) };
        for (unsigned key = 0; key < PL_KEYS; key++) {
            char text[24];
            annals_key(text, (enum pl_index_key)key, salt);
            event.keys[key] = *text ? pl_index_hash(annals->config.seed, text, strlen(text)) : 0;
        }
        const char *type = annals->types[annals_type(salt)];
        assert_int_equal(pl_index_number(tail, type, strlen(type), &event.type), PEAL_OK);
        assert_int_equal(pl_index_add(tail, &event), PEAL_OK);
    }
    char path[128];
    annals_name(path, first, end - 1);
    uint64_t salt = annals_salt(annals, end - 1);
    assert_int_equal(
        pl_index_seal(tail, annals->config.files, path, (uint64_t)annals_recorded(salt, end - 1)),
        PEAL_OK);
    pl_index_unref(tail);
}

// ---- asking -------------------------------------------------------------------------------------

struct annals_question {
    const char *keys[PL_KEYS]; // NULL: any
    const char *types;         // what names of types begin with; NULL: any
    uint64_t first, end;       // 0: all there are
    int64_t earliest, latest;  // 0: any
    bool backwards;
};

struct annals_answer {
    uint64_t given, fitting; // positions
    uint64_t dense;          // given as one of a row
};

static inline bool annals_wants(void *context, const char *name, size_t size)
{
    const struct annals_question *question = context;
    size_t length = strlen(question->types);
    return size >= length && memcmp(name, question->types, length) == 0;
}

static inline bool annals_fits(struct annals *annals, const struct annals_question *question,
                               uint64_t position)
{
    const uint64_t salt = annals_salt(annals, position);
    const int64_t time = annals_time(salt, position);
    const char *type = annals->types[annals_type(salt)];
    if (!annals_has(annals, position) || (question->earliest && time < question->earliest) ||
        (question->latest && time > question->latest) ||
        (question->types && !annals_wants((void *)(uintptr_t)question, type, strlen(type)))) {
        return false;
    }
    for (unsigned key = 0; key < PL_KEYS; key++) {
        const char *wanted = question->keys[key];
        if (wanted && ("scie"[key] != wanted[0] || annals_number((enum pl_index_key)key, salt) !=
                                                       strtoull(wanted + 1, NULL, 10))) {
            return false;
        }
    }
    return true;
}

static inline struct pl_lookup_wanted annals_wanted(struct annals *annals,
                                                    const struct annals_question *question)
{
    struct pl_lookup_wanted wanted = {
        .first = question->first ? question->first : annals->first,
        .end = question->end ? question->end : pl_log_end(&annals->log),
        .backwards = question->backwards,
        .wants = question->types ? annals_wants : NULL,
        .context = (void *)(uintptr_t)question,
        .earliest = question->earliest ? question->earliest : INT64_MIN,
        .latest = question->latest ? question->latest : INT64_MAX,
    };
    memcpy(wanted.keys, question->keys, sizeof wanted.keys);
    return wanted;
}

// What lies between two positions that are given, or before the first and behind the last.
static inline void annals_pass(struct annals *annals, const struct annals_question *question,
                               uint64_t from, uint64_t end)
{
    for (uint64_t position = from; position < end; position++) {
        if (annals_fits(annals, question, position)) {
            fail_msg("the event at %llu was passed over", (unsigned long long)position);
        }
    }
}

// One position that is given: in the range and in order, and nothing that fits was passed over.
static inline void annals_meet(struct annals *annals, const struct annals_question *question,
                               struct pl_lookup_wanted *left, uint64_t position)
{
    assert_true(position >= left->first && position < left->end);
    if (question->backwards) {
        annals_pass(annals, question, position + 1, left->end);
        left->end = position;
    } else {
        annals_pass(annals, question, left->first, position);
        left->first = position + 1;
    }
}

// What a lookup has told to come.
struct annals_told {
    uint64_t positions[5];
    size_t next, count;
};

// What it gives now is what it told; it is asked again once all of that has come.
static inline void annals_compare(struct annals_told *told, const struct pl_lookup *lookup,
                                  uint64_t position, bool dense)
{
    if (dense) { // all of a part is given: its index is damaged, or the next part has none
        assert_int_equal(pl_lookup_ahead(lookup, told->positions, 5), 0);
        told->count = told->next = 0;
        return;
    }
    if (told->next < told->count) {
        assert_int_equal(position, told->positions[told->next++]);
    }
    if (told->next == told->count) {
        told->count = pl_lookup_ahead(lookup, told->positions, 5);
        told->next = 0;
    }
}

// Goes on with a lookup up to its end, or so many positions that fit; `left` is what is left.
static inline enum peal_err annals_go_on(struct annals *annals, struct pl_lookup *lookup,
                                         const struct annals_question *question,
                                         struct pl_lookup_wanted *left, uint64_t most,
                                         struct annals_answer *answer)
{
    struct annals_told told = { .count = 0 };
    for (uint64_t fitting = 0; fitting < most;) {
        uint64_t position = 0;
        bool dense = false;
        enum peal_err err = pl_lookup_next(lookup, &position, &dense);
        if (err) {
            return err;
        }
        if (position == 0) {
            annals_pass(annals, question, left->first, left->end);
            left->first = left->end;
            return PEAL_OK;
        }
        annals_meet(annals, question, left, position);
        annals_compare(&told, lookup, position, dense);
        bool fits = annals_fits(annals, question, position);
        answer->given++;
        answer->fitting += fits;
        answer->dense += dense;
        fitting += fits;
    }
    return PEAL_OK;
}

static inline enum peal_err annals_try_ask(struct annals *annals,
                                           const struct annals_question *question,
                                           struct annals_answer *out)
{
    struct pl_lookup_wanted wanted = annals_wanted(annals, question);
    struct annals_answer answer = { 0 };
    struct pl_lookup *lookup = NULL;
    enum peal_err err = pl_lookup_create(&lookup, annals->catalog, &wanted);
    if (!err) {
        err = annals_go_on(annals, lookup, question, &wanted, UINT64_MAX, &answer);
    }
    pl_lookup_destroy(lookup);
    *out = answer;
    return err;
}

// Everything that fits is given, each once and in order.
static inline struct annals_answer annals_ask(struct annals *annals,
                                              const struct annals_question *question)
{
    struct annals_answer answer;
    assert_int_equal(annals_try_ask(annals, question, &answer), PEAL_OK);
    return answer;
}

// The same in both directions. Returns what was given forwards.
static inline struct annals_answer annals_ask_both(struct annals *annals,
                                                   const struct annals_question *question)
{
    struct annals_question back = *question;
    back.backwards = !question->backwards;
    struct annals_answer backwards = annals_ask(annals, &back);
    struct annals_answer answer = annals_ask(annals, question);
    assert_int_equal(answer.fitting, backwards.fitting);
    return answer;
}

#endif
