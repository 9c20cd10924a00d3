// SPDX-License-Identifier: MIT
//
// Leftover: is there anything on a disk that should be gone, and is everything else as it was?
// Include cmocka.h and stage.h first.
//
//     assert_false(leftover_in(files, "/home", "user-123"));     // raw bytes, of every file
//
//     struct keepsake before = keepsake_take(&stage, "user-123"); // all events but the subject's
//     ... erase ...
//     keepsake_check(&before, &stage);
#ifndef PEAL_TESTS_LEFTOVER_H
#define PEAL_TESTS_LEFTOVER_H

#include <peal/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"

struct leftover {
    const struct pl_files *files;
    const char *directory, *bytes;
    char found[300]; // the name of a file that has them
};

static inline bool leftover_has(const struct leftover *leftover, const char *name)
{
    const struct pl_files *files = leftover->files;
    char path[400];
    struct pl_file file = { 0 };
    (void)snprintf(path, sizeof path, "%s/%s", leftover->directory, name);
    if (files->open(files->world, &file, path, PL_FILE_READ)) {
        return false; // a directory
    }
    int64_t size = files->size(files->world, file);
    assert_true(size >= 0);
    char *all = malloc((size_t)size + 1);
    assert_non_null(all);
    assert_int_equal(files->pread(files->world, file, all, (size_t)size, 0), size);
    files->close(files->world, &file);
    bool has = memmem(all, (size_t)size, leftover->bytes, strlen(leftover->bytes)) != NULL;
    free(all);
    return has;
}

static inline int leftover_meet(void *context, const char *name)
{
    struct leftover *leftover = context;
    if (leftover_has(leftover, name)) {
        (void)snprintf(leftover->found, sizeof leftover->found, "%s", name);
    }
    return 0;
}

// Has any file of a directory these bytes?
static inline bool leftover_in(const struct pl_files *files, const char *directory,
                               const char *bytes)
{
    struct leftover leftover = { files, directory, bytes, "" };
    assert_int_equal(files->list(files->world, directory, leftover_meet, &leftover), 0);
    if (*leftover.found) {
        print_message("%s is in %s/%s\n", bytes, directory, leftover.found);
    }
    return *leftover.found != '\0';
}

// ---- what must stay -----------------------------------------------------------------------------

struct keepsake {
    char subject[64];
    uint64_t count, hash, last;
};

static inline uint64_t keepsake_mix(uint64_t hash, const void *bytes, size_t size)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ at[i]) * 1099511628211ULL;
    }
    return hash;
}

// All of each event, as bytes, and its position.
static inline struct keepsake keepsake_take(const struct stage *stage, const char *subject)
{
    struct keepsake keepsake = { .hash = 14695981039346656037ULL };
    static char bytes[1 << 18];
    peal_reader *reader;
    const peal_event *event;
    enum peal_err err;
    (void)snprintf(keepsake.subject, sizeof keepsake.subject, "%s", subject);
    assert_int_equal(peal_reader_open(&reader, stage->bus, NULL), PEAL_OK);
    while ((err = peal_reader_next(&event, reader)) == PEAL_OK) {
        uint64_t position = peal_event_position(event);
        assert_true(position > keepsake.last);
        keepsake.last = position;
        const char *its = peal_event_subject(event);
        size_t length = strlen(its), tail = strlen(subject);
        if (length >= tail && strcmp(its + length - tail, subject) == 0) {
            continue; // its snapshots too
        }
        size_t size = peal_event_encode(event, bytes, sizeof bytes);
        assert_true(size <= sizeof bytes);
        keepsake.hash = keepsake_mix(keepsake.hash, &position, sizeof position);
        keepsake.hash = keepsake_mix(keepsake.hash, bytes, size);
        keepsake.count++;
    }
    assert_int_equal(err, PEAL_ENOTFOUND);
    assert_int_equal(peal_reader_skipped(reader), 0);
    peal_reader_close(reader);
    return keepsake;
}

static inline void keepsake_check(const struct keepsake *before, const struct stage *stage)
{
    struct keepsake now = keepsake_take(stage, before->subject);
    assert_int_equal(now.count, before->count);
    assert_true(now.hash == before->hash);
}

// How many events a query finds, none of them skipped.
static inline uint64_t keepsake_count(const struct stage *stage, const struct peal_query *query)
{
    peal_reader *reader;
    const peal_event *event;
    enum peal_err err;
    uint64_t count = 0;
    assert_int_equal(peal_reader_open(&reader, stage->bus, query), PEAL_OK);
    while ((err = peal_reader_next(&event, reader)) == PEAL_OK) {
        count++;
    }
    assert_int_equal(err, PEAL_ENOTFOUND);
    assert_int_equal(peal_reader_skipped(reader), 0);
    peal_reader_close(reader);
    return count;
}

#endif
