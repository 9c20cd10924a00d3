// SPDX-License-Identifier: MIT
//
// Wreck: harm done to what a bus has written, on a world's disk.
//
//     wreck_flip(world, "events", "the seventh");      // a bit of those bytes turns over
//     struct wreck wreck;
//     wreck_spoil(&wreck, world, "events", "the eighth"); // their sectors cannot be read
//     wreck_mend(&wreck);                              // they can again, with what was there
//     wreck_copy(world, "events", "copy");             // a backup, before any of it
//
// The bytes are looked for in all files of a directory, so that a test need not know what a file
// looks like. They must be there once; whatever cannot be done here fails the test.
#ifndef PEAL_TESTS_WRECK_H
#define PEAL_TESTS_WRECK_H

#include <peal/testing.h>

#include "testing/disk.h"

#define WRECK_PATH    4096
#define WRECK_SECTORS 1024

// A place that was spoiled, and what was there.
struct wreck {
    struct peal_world *world;
    char path[WRECK_PATH];
    uint64_t offset;
    size_t size;
    char bytes[WRECK_SECTORS];
};

void wreck_flip(struct peal_world *world, const char *directory, const char *bytes);
void wreck_spoil(struct wreck *out, struct peal_world *world, const char *directory,
                 const char *bytes);
void wreck_mend(struct wreck *wreck);

// How often the bytes are in the files of a directory; and how many files have names that end so.
unsigned wreck_count(struct peal_world *world, const char *directory, const char *bytes);
unsigned wreck_files(struct peal_world *world, const char *directory, const char *ending);

// Makes a file with these bytes, in place of one that is there.
void wreck_write(struct peal_world *world, const char *path, const void *bytes, size_t size);

// All bytes of a file, and a zero byte: to be freed.
char *wreck_read(struct peal_world *world, const char *path, size_t *out_size);

// The files of a log in a directory, segments and indexes, by name, which is by age.
struct wreck_names {
    char list[16][64];
    size_t count;
};
struct wreck_names wreck_list(struct peal_world *world, const char *directory);

// Copies those to another directory, which is made, and outlives a power cut.
void wreck_copy(struct peal_world *world, const char *from, const char *to);

struct pl_disk *wreck_disk(struct peal_world *world);

#endif
