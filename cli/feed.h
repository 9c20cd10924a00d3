// SPDX-License-Identifier: MIT
//
// Feed: a stream of bytes, cut into pieces that each are one event, or should be.
//
//     lines     {"type":...}\n{"type":...}\n                 JSONL: a line, a piece
//     array     [ {"type":...}, {"type":...} ]               a CloudEvents batch: an element, a
//     piece marks     ...text :::MLL 1560400665.5 key: {...} text  MLPerf: from a mark to its
//     JSON's end
//
// A piece that is damaged costs itself: reading goes on with the next. Memory is one piece, at most
// FEED_PIECE_MAX; one that is longer ends the reading, with EMSGSIZE.
#ifndef CLI_FEED_H
#define CLI_FEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FEED_PIECE_MAX 134217728 // bytes

enum feed_format { FEED_UNKNOWN = 0, FEED_LINES, FEED_ARRAY, FEED_MARKS };

struct feed {
    int fd; // borrowed
    enum feed_format format;

    char *bytes; // what was read and not given away
    size_t start, end, room;
    bool over;  // the stream has ended
    int error;  // an errno, when it ended badly
    bool begun; // the bracket of an array

    uint64_t read; // bytes taken from the stream
    uint64_t line; // of the next piece, from 1
};

struct feed_piece {
    const char *bytes; // borrowed until the next call
    size_t size;
    uint64_t line;     // where it begins, from 1
    const char *wrong; // NULL, or why it is no piece at all
};

// Starts to read; FEED_UNKNOWN finds out what it is, and leaves it unknown if it cannot.
void feed_begin(struct feed *feed, int fd, enum feed_format format);
bool feed_next(struct feed_piece *out, struct feed *feed); // false: the end, or feed->error
void feed_finish(struct feed *feed);

#endif
