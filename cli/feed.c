// SPDX-License-Identifier: MIT
//
// Feed: a buffer that grows to one piece. `start` to `end` is what has been read and not given.
//
// Lines are split at their end, whatever they hold. Elements of an array are found by brackets and
// quotes; what stands between them where only a comma should is a damaged piece.
#include "cli/feed.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "net/ingest.h"

enum { ROOM = 262144, LOOK_MS = 200 };

static const char mark[] = ":::MLL";

// A signal that comes just before the wait is met when that has been long enough.
static ssize_t read_some(const struct feed *feed)
{
    struct pollfd input = { .fd = feed->fd, .events = POLLIN };
    int ready = feed->fd < 0; // no file at all, which is for read to say: poll passes over it
    while (!cli_interrupted() && ready == 0) {
        ready = poll(&input, 1, LOOK_MS);
        ready = ready < 0 && errno == EINTR ? 0 : ready;
    }
    if (ready == 0) {
        errno = EINTR;
        return -1;
    }
    return read(feed->fd, feed->bytes + feed->end, feed->room - feed->end);
}

// Reads more behind what there is. false: there is no more, or no room for it.
static bool fill(struct feed *feed)
{
    if (feed->over) {
        return false;
    }
    if (feed->start > 0) {
        memmove(feed->bytes, feed->bytes + feed->start, feed->end - feed->start);
        feed->end -= feed->start;
        feed->start = 0;
    }
    if (feed->end == feed->room) {
        size_t room = feed->room ? 2 * feed->room : ROOM;
        char *bytes = feed->room < FEED_PIECE_MAX ? realloc(feed->bytes, room) : NULL;
        if (!bytes) {
            feed->error = feed->room < FEED_PIECE_MAX ? ENOMEM : EMSGSIZE;
            feed->over = true;
            return false;
        }
        feed->bytes = bytes;
        feed->room = room;
    }
    ssize_t got = read_some(feed);
    if (got < 0 && errno == EINTR && !cli_interrupted()) {
        return true;
    }
    feed->over = got <= 0;
    feed->error = got < 0 && errno != EINTR ? errno : 0;
    feed->end += got > 0 ? (size_t)got : 0;
    feed->read += got > 0 ? (size_t)got : 0;
    return got > 0;
}

// Twice as much as there is, so that who looks for an end looks at each byte a few times only.
static bool fill_more(struct feed *feed)
{
    size_t wanted = 2 * (feed->end - feed->start);
    bool more = fill(feed);
    while (more && feed->end - feed->start < wanted && fill(feed)) {
    }
    return more;
}

static struct ingest_text rest(const struct feed *feed)
{
    return (struct ingest_text){ feed->bytes + feed->start, feed->end - feed->start };
}

// Counts the lines of what is passed over.
static void pass(struct feed *feed, size_t size)
{
    const char *at = feed->bytes + feed->start;
    const char *end = at + size;
    while (size > 0 && (at = memchr(at, '\n', (size_t)(end - at)))) {
        feed->line++;
        at++;
    }
    feed->start += size;
}

static void skip(struct feed *feed, const char *letters)
{
    do {
        while (feed->start < feed->end && feed->bytes[feed->start] &&
               strchr(letters, feed->bytes[feed->start])) {
            pass(feed, 1);
        }
    } while (feed->start == feed->end && fill(feed));
}

// Gives the first `size` bytes; they stay where they are until more is read.
static bool give(struct feed_piece *out, struct feed *feed, size_t size, const char *wrong)
{
    *out = (struct feed_piece){ feed->bytes + feed->start, size, feed->line, wrong };
    pass(feed, size);
    return true;
}

// ---- lines --------------------------------------------------------------------------------------

static bool next_line(struct feed_piece *out, struct feed *feed)
{
    skip(feed, " \t\r\n");
    size_t looked = 0;
    const char *end = NULL;
    for (;;) {
        struct ingest_text text = rest(feed);
        end = text.size > looked ? memchr(text.bytes + looked, '\n', text.size - looked) : NULL;
        if (end || feed->over) {
            break;
        }
        looked = text.size;
        (void)fill(feed); // at the end, what is there is the last line
    }
    struct ingest_text text = rest(feed);
    if (text.size == 0 || feed->error) {
        return false;
    }
    return give(out, feed, end ? (size_t)(end - text.bytes) : text.size, NULL);
}

// ---- array --------------------------------------------------------------------------------------

static bool may_end(char letter)
{
    return letter == ',' || letter == '{' || letter == ']';
}

// What is no object ends where the next element, or the batch, might.
static size_t odd_length(struct feed *feed)
{
    for (size_t length = 0;;) {
        struct ingest_text text = rest(feed);
        while (length < text.size && !may_end(text.bytes[length])) {
            length++;
        }
        if (length < text.size || !fill(feed)) {
            return length;
        }
    }
}

// An element whose end does not come is the rest of the stream.
static bool next_element(struct feed_piece *out, struct feed *feed)
{
    skip(feed, " \t\r\n");
    if (!feed->begun && rest(feed).size > 0 && rest(feed).bytes[0] == '[') {
        feed->begun = true;
        pass(feed, 1);
    }
    skip(feed, " \t\r\n,");
    struct ingest_text text = rest(feed);
    if (text.size == 0 || feed->error) {
        return false;
    }
    if (text.bytes[0] == ']') {
        pass(feed, 1);
        skip(feed, " \t\r\n");
        feed->over = true; // whatever it is, it is said once
        bool more =
            rest(feed).size > 0 && give(out, feed, 1, "something behind the end of the batch");
        feed->start = feed->end;
        return more;
    }
    if (text.bytes[0] != '{') {
        return give(out, feed, odd_length(feed), "not an event: an element of a batch is {...}");
    }
    size_t length = 0;
    while ((length = ingest_span(rest(feed))) == 0 && fill_more(feed)) {
    }
    return feed->error ? false
                       : give(out, feed, length ? length : rest(feed).size,
                              length ? NULL : "it does not end: the batch is cut off here");
}

// ---- marks --------------------------------------------------------------------------------------

// From the mark to the end of its object, or to the end of the line, if no whole object is in it.
static size_t mark_length(struct ingest_text line)
{
    const char *object = memchr(line.bytes, '{', line.size);
    size_t before = object ? (size_t)(object - line.bytes) : 0;
    struct ingest_text text = { object, line.size - before };
    size_t length = object ? ingest_span(text) : 0;
    return length ? before + length : line.size;
}

// Several writers may share a line, so it is looked through up to its end.
static bool next_mark(struct feed_piece *out, struct feed *feed)
{
    for (;;) {
        struct ingest_text text = rest(feed);
        const char *end = text.size ? memchr(text.bytes, '\n', text.size) : NULL;
        if (!end && !feed->over) {
            (void)fill_more(feed); // at the end, what is there is the last line
            continue;
        }
        if (feed->error || text.size == 0) {
            return false;
        }
        size_t length = end ? (size_t)(end - text.bytes) : text.size;
        const char *found = memmem(text.bytes, length, mark, sizeof mark - 1);
        if (!found) {
            pass(feed, end ? length + 1 : length);
            continue;
        }
        pass(feed, (size_t)(found - text.bytes));
        length -= (size_t)(found - text.bytes);
        text = rest(feed);
        return give(out, feed, mark_length((struct ingest_text){ text.bytes, length }), NULL);
    }
}

// ---- what is it? --------------------------------------------------------------------------------

static enum feed_format guess(struct feed *feed)
{
    skip(feed, " \t\r\n");
    while (rest(feed).size < ROOM / 4 && fill(feed)) {
        if (feed->bytes[feed->start] == '{' || feed->bytes[feed->start] == '[') {
            break;
        }
    }
    struct ingest_text text = rest(feed);
    if (text.size == 0) {
        return FEED_LINES; // nothing, of whatever it is
    }
    if (memmem(text.bytes, text.size, mark, sizeof mark - 1) && text.bytes[0] != '{') {
        return FEED_MARKS;
    }
    return text.bytes[0] == '[' ? FEED_ARRAY : text.bytes[0] == '{' ? FEED_LINES : FEED_UNKNOWN;
}

// ---- public -------------------------------------------------------------------------------------

void feed_begin(struct feed *feed, int fd, enum feed_format format)
{
    static const char order[] = "\xef\xbb\xbf"; // some programs begin a file of UTF-8 so
    *feed = (struct feed){ .fd = fd, .format = format, .line = 1 };
    while (feed->end < 3 && fill(feed)) {
    }
    if (feed->end >= 3 && memcmp(feed->bytes, order, 3) == 0) {
        feed->start = 3;
    }
    if (format == FEED_UNKNOWN && !feed->error) {
        feed->format = guess(feed);
    }
}

bool feed_next(struct feed_piece *out, struct feed *feed)
{
    switch (feed->format) {
    case FEED_LINES:
        return next_line(out, feed);
    case FEED_ARRAY:
        return next_element(out, feed);
    case FEED_MARKS:
        return next_mark(out, feed);
    case FEED_UNKNOWN:
        break;
    }
    return false;
}

void feed_finish(struct feed *feed)
{
    free(feed->bytes);
    *feed = (struct feed){ 0 };
}
