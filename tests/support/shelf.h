// SPDX-License-Identifier: MIT
//
// A store on a simulated disk, with the log before it. Include cmocka.h first; one real thread.
//
//     struct shelf shelf;
//     shelf_init(&shelf, seed);
//     assert_int_equal(shelf_open(&shelf), PEAL_OK);
//     shelf_append(&shelf, 100, false);                 // published, not written
//     assert_int_equal(shelf_settle(&shelf, PEAL_DURABILITY_DISK), PEAL_OK);
//     pl_disk_crash(shelf.disk);
//     shelf_leave(&shelf);                              // the process is gone
//     assert_int_equal(shelf_open(&shelf), PEAL_OK);
//
// An event's data says which life of the process made it: `life` counts the openings.
#ifndef PEAL_TESTS_SHELF_H
#define PEAL_TESTS_SHELF_H

#include "log/internal.h"
#include "support/ledger.h"
#include "testing/disk.h"

#define SHELF_PATH "/log"
#define SHELF_FILE (64 << 10)

// The two words that an event's data begins with, as far as it has room for them.
struct shelf_stamp {
    uint64_t life, position;
};

struct shelf {
    struct ledger ledger; // first: the seams' world
    struct pl_disk *disk;
    struct pl_store_config config;
    struct pl_store *store;
    uint64_t life;
    bool logged; // there is a log
};

static inline const char *shelf_type(void *context, uint32_t number)
{
    (void)context;
    static const char *const types[] = { "a", "order.created", "training.epoch_completed" };
    return types[number % 3];
}

static inline uint32_t shelf_number(void *context, const char *type)
{
    (void)context;
    for (uint32_t i = 0; i < 3; i++) {
        if (strcmp(shelf_type(NULL, i), type) == 0) {
            return i;
        }
    }
    fail_msg("a type nobody published: %s", type);
    return PL_TYPE_INSIDE;
}

static inline uint32_t shelf_type_at(uint64_t position)
{
    return (uint32_t)(position % 3);
}

// No threads on this machine: the store does without.
static inline enum peal_err shelf_start(void *world, struct pl_thread **out,
                                        void (*main)(void *context), void *context)
{
    (void)world;
    (void)out;
    (void)main;
    (void)context;
    return PEAL_ENOMEM;
}

// As if there were one, which never comes to do anything.
static inline enum peal_err shelf_start_idle(void *world, struct pl_thread **out,
                                             void (*main)(void *context), void *context)
{
    (void)main;
    (void)context;
    *out = world; // somewhere
    return PEAL_OK;
}

static inline void shelf_join_idle(void *world, struct pl_thread *thread)
{
    assert_ptr_equal(world, thread);
}

static inline void shelf_init(struct shelf *shelf, uint64_t seed)
{
    *shelf = (struct shelf){ 0 };
    ledger_set(&shelf->ledger, 0);
    shelf->ledger.chance = seed;
    shelf->ledger.seams.start = shelf_start;
    assert_int_equal(pl_disk_create(&shelf->disk, &pl_seams_real, seed), PEAL_OK);
    shelf->config = (struct pl_store_config){ .seams = &shelf->ledger.seams,
                                              .files = pl_disk_files(shelf->disk),
                                              .path = SHELF_PATH,
                                              .source = "/shelf",
                                              .file_bytes = SHELF_FILE,
                                              .type_of = shelf_type,
                                              .number_of = shelf_number };
}

// What is settled at `os` is handed over, and written by who asks for it; at once, too, when the
// ledger's clock has moved by a millisecond. To be called before it is opened.
static inline void shelf_let_hand(struct shelf *shelf)
{
    shelf->ledger.seams.start = shelf_start_idle;
    shelf->ledger.seams.join = shelf_join_idle;
    pl_disk_let_share(shelf->disk, true);
}

// The log forgets nothing that is not written.
static inline uint64_t shelf_floor(void *context)
{
    const struct shelf *shelf = context;
    return pl_store_written(shelf->store);
}

static inline enum peal_err shelf_open(struct shelf *shelf)
{
    assert_null(shelf->store);
    enum peal_err err = pl_store_open(&shelf->store, &shelf->config);
    if (err) {
        assert_null(shelf->store);
        return err;
    }
    static const struct pl_log_limits limits = { .memory_max = 256 << 20 };
    err = pl_log_init(&shelf->ledger.log, &shelf->ledger.seams, &limits);
    shelf->logged = err == PEAL_OK;
    if (err) {
        (void)pl_store_close(shelf->store, NULL);
        shelf->store = NULL;
        return err;
    }
    atomic_store(&shelf->ledger.log.end, pl_store_end(shelf->store));
    shelf->ledger.log.find_floor = shelf_floor;
    shelf->ledger.log.floor_context = shelf;
    shelf->life++;
    return PEAL_OK;
}

static inline void shelf_end_log(struct shelf *shelf)
{
    if (shelf->logged) {
        pl_log_finish(&shelf->ledger.log);
        shelf->logged = false;
    }
}

static inline enum peal_err shelf_close(struct shelf *shelf)
{
    enum peal_err err = pl_store_close(shelf->store, shelf->logged ? &shelf->ledger.log : NULL);
    shelf->store = NULL;
    shelf_end_log(shelf);
    return err;
}

// The process is gone: after pl_disk_kill or pl_disk_crash. Frees what it had.
static inline void shelf_leave(struct shelf *shelf)
{
    if (shelf->store) {
        shelf->store->config.go_on = false; // the dead begin no new files
    }
    (void)shelf_close(shelf); // its files are closed, so nothing reaches the disk
}

static inline void shelf_finish(struct shelf *shelf)
{
    (void)shelf_close(shelf);
    pl_disk_destroy(shelf->disk);
    assert_int_equal(shelf->ledger.memory.living, 0);
}

// The data of an event.
static inline void shelf_fill(unsigned char *data, size_t size, uint64_t life, uint64_t position)
{
    struct shelf_stamp stamp = { life, position };
    memset(data, (int)(life * 31 + position) & 0xff, size);
    memcpy(data, &stamp, size < sizeof stamp ? size : sizeof stamp);
}

// Appends one event without publishing it; `more`: the next one is of the same batch.
static inline enum peal_err shelf_try(struct shelf *shelf, size_t size, bool more)
{
    static unsigned char data[1 << 20];
    struct pl_log *log = &shelf->ledger.log;
    uint64_t position = log->tail ? pl_segment_end(log->tail) : pl_log_end(log);
    assert_true(size <= sizeof data);
    shelf_fill(data, size, shelf->life, position);
    struct peal_message message = { .data = data, .size = size };
    message.subject = position % 5 == 0 ? "a subject" : NULL;
    message.source = position % 7 == 0 ? "/elsewhere" : NULL;
    size_t attributes = 0;
    assert_int_equal(pl_message_check(&message, &attributes), PEAL_OK);
    struct pl_append append = { .message = &message, .attributes = attributes };
    append.type = shelf_type_at(position);
    if (size > PL_INSIDE_MAX) {
        append.outside = pl_outside_copy(&shelf->ledger.seams, data, size);
        if (!append.outside) {
            return PEAL_ENOMEM;
        }
    }
    const struct pl_frame *frame = NULL;
    enum peal_err err = pl_log_append(log, &append, 0, &frame);
    if (err) {
        pl_outside_free(&shelf->ledger.seams, append.outside);
    } else if (more) {
        ((struct pl_frame *)frame)->flags |= PL_FLAG_MORE;
    }
    return err;
}

static inline void shelf_publish(struct shelf *shelf)
{
    pl_log_publish(&shelf->ledger.log, pl_segment_end(shelf->ledger.log.tail));
}

static inline uint64_t shelf_append(struct shelf *shelf, size_t size)
{
    assert_int_equal(shelf_try(shelf, size, false), PEAL_OK);
    shelf_publish(shelf);
    return pl_log_end(&shelf->ledger.log) - 1;
}

static inline void shelf_batch(struct shelf *shelf, size_t count, size_t size)
{
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(shelf_try(shelf, size, i + 1 < count), PEAL_OK);
    }
    shelf_publish(shelf);
}

static inline enum peal_err shelf_settle(struct shelf *shelf, enum peal_durability level)
{
    return pl_store_settle(shelf->store, &shelf->ledger.log, pl_log_end(&shelf->ledger.log), level);
}

static inline enum peal_err shelf_read(struct shelf *shelf, struct pl_segment **out,
                                       uint64_t position)
{
    return pl_store_read(out, shelf->store, shelf->ledger.log.budget, position);
}

// Is it the event that was appended at its position, with `size` bytes, in that life? `source` is
// what it has if it brought none; NULL: the store's.
static inline void shelf_check(const struct pl_frame *frame, size_t size, uint64_t life,
                               const char *source)
{
    static unsigned char expected[1 << 20];
    size_t got = 0;
    const unsigned char *data = pl_frame_data(frame, &got);
    assert_int_equal(got, size);
    shelf_fill(expected, size, life, frame->position);
    if (size > 0 && memcmp(data, expected, size) != 0) {
        assert_memory_equal(data, expected, size); // says where, and takes its time
    }
    assert_int_equal(frame->type, shelf_type_at(frame->position));
    const char *subject = pl_frame_attribute(frame, PL_TAG_SUBJECT, &got);
    assert_int_equal(subject != NULL, frame->position % 5 == 0);
    const char *brought = pl_frame_attribute(frame, PL_TAG_SOURCE, &got);
    source = frame->position % 7 == 0 ? "/elsewhere" : source;
    assert_int_equal(brought != NULL, source != NULL);
    if (source) {
        assert_string_equal(brought, source);
    }
}

// Reads all there is from a position on; `each` is told every event. Counts them.
static inline enum peal_err shelf_try_walk(struct shelf *shelf, uint64_t position,
                                           void (*each)(void *context,
                                                        const struct pl_frame *frame),
                                           void *context, uint64_t *count)
{
    for (;;) {
        struct pl_segment *segment = NULL;
        enum peal_err err = shelf_read(shelf, &segment, position);
        if (err || !segment) {
            return err;
        }
        assert_true(segment->first >= position);
        assert_true(pl_segment_end(segment) > segment->first);
        for (position = segment->first; pl_segment_has(segment, position); position++) {
            const struct pl_frame *frame = pl_segment_frame(segment, position);
            assert_int_equal(frame->position, position);
            each(context, frame);
            ++*count;
        }
        pl_segment_unref(segment);
    }
}

static inline uint64_t shelf_walk(struct shelf *shelf, uint64_t position,
                                  void (*each)(void *context, const struct pl_frame *frame),
                                  void *context)
{
    uint64_t count = 0;
    assert_int_equal(shelf_try_walk(shelf, position, each, context, &count), PEAL_OK);
    return count;
}

#endif
