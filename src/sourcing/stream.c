// SPDX-License-Identifier: MIT
//
// Streams: the events of one subject, written with an expectation and read by version.
//
// An append is a batch of the bus: each message is given its subject and what it expects. The first
// expects what the caller did; one behind it expects the version that the ones before have led to,
// so that a batch that was published before, and is known by its ids, is recognised as a whole, and
// one of which only some are known cannot slip in between what others have written since.
//
// A stream that is read is a reader by subject; the version is a condition of its query, looked at
// before anybody makes a newer form of the event.
#include "bus/calls.h"

#include "base/error.h"

#include <peal/sourcing.h>
#include <string.h>

struct peal_stream {
    struct peal_bus *bus;
    peal_reader *reader;
    uint64_t from;
    bool backwards;
};

// ---- appending ----------------------------------------------------------------------------------

static bool is_given(const char *text)
{
    return text && *text;
}

static enum peal_err check_message(const struct peal_append *append,
                                   const struct peal_message *message)
{
    if (message->expect != PEAL_EXPECT_ANY || message->expected_version != 0) {
        return pl_fail(PEAL_EINVAL,
                       "append to \"%.100s\": what is expected is said of the append, "
                       "not of its messages",
                       append->subject);
    }
    if (message->deliver_at_ns) {
        return pl_fail(PEAL_EINVAL,
                       "append to \"%.100s\": a message in it has a time of its own "
                       "(deliver_at_ns): publish it by itself",
                       append->subject);
    }
    if (is_given(message->subject) && strcmp(message->subject, append->subject) != 0) {
        return pl_fail(PEAL_EINVAL,
                       "append to \"%.100s\": a message in it is for stream \"%.100s\"",
                       append->subject, message->subject);
    }
    return PEAL_OK;
}

static enum peal_err check_append(const struct peal_append *append)
{
    if (!is_given(append->subject) || !append->messages || append->count == 0) {
        return pl_fail(PEAL_EINVAL, "an append needs a subject and at least one message");
    }
    if ((unsigned)append->expect > PEAL_EXPECT_VERSION) {
        return pl_fail(PEAL_EINVAL, "append to \"%.100s\": expect %d is not a condition",
                       append->subject, (int)append->expect);
    }
    enum peal_err err = PEAL_OK;
    for (size_t i = 0; i < append->count && !err; i++) {
        err = check_message(append, &append->messages[i]);
    }
    return err;
}

// The total of all messages; more than a batch may have is for the batch to refuse.
static enum peal_err check_appends(size_t *total, const struct peal_append *appends, size_t count)
{
    *total = 0;
    for (size_t i = 0; i < count; i++) {
        enum peal_err err = appends[i].count > PEAL_BATCH_MAX ? PEAL_OK : check_append(&appends[i]);
        if (err) {
            return err;
        }
        if (appends[i].count > PEAL_BATCH_MAX - *total) {
            return pl_fail(PEAL_ELIMIT,
                           "an append of more than %d messages: at most %d are "
                           "allowed, of all streams together",
                           PEAL_BATCH_MAX, PEAL_BATCH_MAX);
        }
        *total += appends[i].count;
    }
    return PEAL_OK;
}

// Message `i` of an append, for the bus.
static struct peal_message address(const struct peal_append *append, size_t i)
{
    struct peal_message message = append->messages[i];
    message.subject = append->subject;
    message.expect = append->expect;
    message.expected_version = append->expected_version + i;
    if (append->expect == PEAL_EXPECT_NONE && i > 0) {
        message.expect = PEAL_EXPECT_VERSION;
        message.expected_version = i;
    }
    return message;
}

// Says at which version the streams are, after a conflict, which is what is returned. What keeps us
// from asking (a bus that was closed, no memory, a disk) leaves `out` as it was, and is returned in
// its place: nobody is told of a conflict without the versions.
static enum peal_err say_versions(struct peal_appended *out, peal_bus *bus,
                                  const struct peal_append *appends, size_t count)
{
    struct peal_appended *at = pl_new(bus->seams, count * sizeof *at);
    enum peal_err err =
        at ? PEAL_OK : pl_fail(PEAL_ENOMEM, "no memory to look at %zu streams", count);
    for (size_t i = 0; i < count && !err; i++) {
        err = peal_stream_version(&at[i].version, bus, appends[i].subject);
    }
    if (!err) {
        memcpy(out, at, count * sizeof *at);
    }
    pl_release(bus->seams, at);
    return err ? err : PEAL_ECONFLICT;
}

// What became of one append, by its receipts. Of a duplicate the version is not in the receipt.
static struct peal_appended sum_up(peal_bus *bus, const struct peal_append *append,
                                   const struct peal_receipt *receipts)
{
    const struct peal_receipt *last = &receipts[append->count - 1];
    struct peal_appended sum = { .version = last->stream_version, .position = last->position };
    for (size_t i = 0; i < append->count; i++) {
        sum.duplicates += receipts[i].duplicate;
    }
    if (last->duplicate) {
        // It was open a moment ago; a bus that closes now has appended all the same.
        (void)peal_stream_version(&sum.version, bus, append->subject);
    }
    return sum;
}

static enum peal_err append_one(struct peal_appended *out, peal_bus *bus,
                                const struct peal_append *append)
{
    struct peal_message message = address(append, 0);
    struct peal_receipt receipt;
    enum peal_err err = peal_publish(bus, &message, &receipt);
    if (err) {
        return err;
    }
    if (append->receipts) {
        *append->receipts = receipt;
    }
    if (out) {
        *out = sum_up(bus, append, &receipt);
    }
    return PEAL_OK;
}

static enum peal_err append_batch(struct peal_appended *out, peal_bus *bus,
                                  const struct peal_append *appends, size_t count, size_t total)
{
    struct peal_message *messages =
        pl_alloc(bus->seams, total * (sizeof *messages + sizeof(struct peal_receipt)));
    if (!messages) {
        return pl_fail(PEAL_ENOMEM, "no memory to append %zu messages", total);
    }
    struct peal_receipt *receipts = (struct peal_receipt *)(messages + total);
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < appends[i].count; j++) {
            messages[at++] = address(&appends[i], j);
        }
    }
    enum peal_err err = peal_publish_batch(bus, messages, total, receipts);
    const struct peal_receipt *own = receipts;
    for (size_t i = 0; i < count && !err; i++) {
        if (appends[i].receipts) {
            memcpy(appends[i].receipts, own, appends[i].count * sizeof *own);
        }
        if (out) {
            out[i] = sum_up(bus, &appends[i], own);
        }
        own += appends[i].count;
    }
    pl_release(bus->seams, messages);
    return err;
}

enum peal_err peal_stream_append_all(struct peal_appended *out, peal_bus *bus,
                                     const struct peal_append *appends, size_t count)
{
    if (!bus || (!appends && count > 0)) {
        return pl_fail(PEAL_EINVAL, "appending needs a bus and something to append");
    }
    size_t total;
    enum peal_err err = check_appends(&total, appends, count);
    if (!err) {
        err = pl_bus_check_open(bus);
    }
    if (err || count == 0) {
        return err;
    }
    if (!bus->keeps) {
        return pl_fail(PEAL_EUNSUPPORTED, "this bus keeps no events, so there are no streams");
    }
    err =
        total == 1 ? append_one(out, bus, appends) : append_batch(out, bus, appends, count, total);
    return err == PEAL_ECONFLICT && out ? say_versions(out, bus, appends, count) : err;
}

enum peal_err peal_stream_append(struct peal_appended *out, peal_bus *bus,
                                 const struct peal_append *append)
{
    if (!append) {
        return pl_fail(PEAL_EINVAL, "peal_stream_append needs a bus and something to append");
    }
    return peal_stream_append_all(out, bus, append, 1);
}

// ---- reading ------------------------------------------------------------------------------------

static bool is_wanted(const peal_event *event, void *context)
{
    const struct peal_stream *stream = context;
    uint64_t version = peal_event_stream_version(event);
    return stream->backwards ? version <= stream->from : version >= stream->from;
}

enum peal_err peal_stream_open(peal_stream **out, peal_bus *bus,
                               const struct peal_stream_query *query)
{
    if (!out || !bus || !query || !is_given(query->subject)) {
        return pl_fail(PEAL_EINVAL, "peal_stream_open needs a bus, a subject and a place for the "
                                    "stream");
    }
    struct peal_stream *stream = pl_new(bus->seams, sizeof *stream);
    if (!stream) {
        return pl_fail(PEAL_ENOMEM, "no memory to read stream \"%.100s\"", query->subject);
    }
    stream->bus = bus;
    stream->from = query->from_version;
    stream->backwards = query->backwards;
    struct peal_query all = {
        .subject = query->subject,
        .filter = query->from_version ? is_wanted : NULL,
        .filter_context = stream,
        .backwards = query->backwards,
        .limit = query->limit,
        .after = query->after,
    };
    enum peal_err err = peal_reader_open(&stream->reader, bus, &all);
    if (err) {
        pl_release(bus->seams, stream);
        return err;
    }
    *out = stream;
    return PEAL_OK;
}

enum peal_err peal_stream_next(const peal_event **out, peal_stream *stream)
{
    if (!out || !stream) {
        return pl_fail(PEAL_EINVAL, "peal_stream_next needs a stream and a place for the event");
    }
    return peal_reader_next(out, stream->reader);
}

uint64_t peal_stream_cursor(const peal_stream *stream)
{
    return stream ? peal_reader_cursor(stream->reader) : 0;
}

void peal_stream_close(peal_stream *stream)
{
    if (stream) {
        const struct pl_seams *seams = stream->bus->seams;
        peal_reader_close(stream->reader);
        pl_release(seams, stream);
    }
}
