// SPDX-License-Identifier: MIT
//
// Aggregates: begin, restore, follow.
//
//     begin     zeros, init                                 version 0
//     restore   the newest snapshot that can be used        its version, its position
//     follow    the events behind that position, in order   each one version more
//
// What must stay true: the state is what the first `version` events of the stream say, or `spoiled`
// is set. Nothing is believed that can be checked: a snapshot has to stand at or before the
// stream's version, and the first event behind it must be the next; if it is not, the snapshot
// belongs to another life of the stream (`mem:` begins one again that it has forgotten) and the
// load begins anew without it. If a version is missing then, it has been forgotten, and that is an
// error, as it is if it is damaged: a state that leaves out what happened is worse than none.
//
// Following is a reader's loop: one view an event, no memory, two calls of the caller's and the
// log's functions each.
#include "sourcing/aggregate.h"

#include "base/error.h"
#include "bus/calls.h"

#include <inttypes.h>
#include <string.h>

// ---- begin --------------------------------------------------------------------------------------

static void finish_state(struct peal_aggregate *aggregate)
{
    if (aggregate->begun && aggregate->type.finish) {
        aggregate->type.finish(aggregate->state, aggregate->type.context);
    }
    aggregate->begun = false;
}

static enum peal_err begin(struct peal_aggregate *aggregate)
{
    const struct peal_aggregate_type *type = &aggregate->type;
    finish_state(aggregate);
    memset(aggregate->state, 0, type->state_size);
    aggregate->version = 0;
    aggregate->position = 0;
    aggregate->spoiled = true; // until it has been followed to its end
    enum peal_err err =
        type->init ? type->init(aggregate->state, aggregate->subject, type->context) : PEAL_OK;
    if (err) {
        return pl_fail(err, "aggregate %s of \"%.100s\": init failed: %s", type->name,
                       aggregate->subject, peal_err_text(err));
    }
    aggregate->begun = true;
    return PEAL_OK;
}

// ---- restore ------------------------------------------------------------------------------------

static void ignore(struct peal_aggregate *aggregate, uint64_t position, const char *why)
{
    aggregate->stats.snapshots_ignored++;
    pl_bus_say(aggregate->bus, PEAL_LEVEL_WARNING,
               "the snapshot of %s of \"%.100s\" at position %" PRIu64 " is left alone: %s",
               aggregate->type.name, aggregate->subject, position, why);
}

// Makes the state of a snapshot's bytes. PEAL_ECORRUPT: they cannot be read, and the state has to
// begin again. PEAL_ENOMEM.
static enum peal_err restore_state(struct peal_aggregate *aggregate,
                                   const struct pl_snapshot *snapshot)
{
    const struct peal_aggregate_type *type = &aggregate->type;
    if (type->restore) {
        enum peal_err err =
            type->restore(aggregate->state, snapshot->data, snapshot->size, type->context);
        return err && err != PEAL_ENOMEM ? PEAL_ECORRUPT : err;
    }
    if (snapshot->size != type->state_size) {
        return PEAL_ECORRUPT;
    }
    memcpy(aggregate->state, snapshot->data, snapshot->size);
    return PEAL_OK;
}

// Tries one. `*done`: the state is the snapshot's.
static enum peal_err try_snapshot(bool *done, struct peal_aggregate *aggregate,
                                  const peal_event *event, uint64_t newest)
{
    struct pl_snapshot snapshot;
    uint64_t position = peal_event_position(event);
    if (!pl_snapshot_read(&snapshot, event)) {
        ignore(aggregate, position, "it does not say of what it is");
        return PEAL_OK;
    }
    if (snapshot.reducer != aggregate->type.version) {
        aggregate->stats.snapshots_foreign++;
        return PEAL_OK;
    }
    // Others go on: it may be of a version that was not there when we looked.
    enum peal_err err = snapshot.version > newest
                            ? peal_stream_version(&newest, aggregate->bus, aggregate->subject)
                            : PEAL_OK;
    if (err) {
        return err;
    }
    if (snapshot.version > newest) {
        ignore(aggregate, position, "it is ahead of the stream");
        return PEAL_OK;
    }
    err = restore_state(aggregate, &snapshot);
    if (err == PEAL_ECORRUPT) {
        ignore(aggregate, position, "its bytes cannot be read");
        return begin(aggregate);
    }
    if (err) {
        return pl_fail(err, "no memory to restore a snapshot of \"%.100s\"", aggregate->subject);
    }
    aggregate->version = snapshot.version;
    aggregate->position = snapshot.position;
    aggregate->restored_from = position;
    *done = true;
    return PEAL_OK;
}

// Makes the state of the newest usable snapshot, if there is one; `newest` is the stream's version.
static enum peal_err restore(struct peal_aggregate *aggregate, uint64_t newest)
{
    peal_reader *reader = NULL;
    enum peal_err err = pl_snapshot_open(&reader, aggregate->bus, aggregate->snapshots);
    if (err || !reader) {
        return err;
    }
    bool done = false;
    const peal_event *event;
    while (!done && !err && (err = peal_reader_next(&event, reader)) == PEAL_OK) {
        err = try_snapshot(&done, aggregate, event, newest);
    }
    uint64_t skipped = peal_reader_skipped(reader);
    if (skipped > 0) {
        ignore(aggregate, peal_reader_cursor(reader), "there is damage where it lies, or before");
    }
    peal_reader_close(reader);
    return err == PEAL_ENOTFOUND ? PEAL_OK : err;
}

// ---- follow -------------------------------------------------------------------------------------

// A version that should come next and does not.
enum gap {
    NO_GAP = 0,
    FORGOTTEN, // or of another life of the stream
    DAMAGED,
};

// One event. `*gap`: it is not the next one.
static inline enum peal_err apply_one(struct peal_aggregate *aggregate, const peal_event *event,
                                      enum gap *gap)
{
    const struct peal_aggregate_type *type = &aggregate->type;
    uint64_t version = peal_event_stream_version(event);
    if (__builtin_expect(version != aggregate->version + 1, 0)) {
        *gap = FORGOTTEN;
        return PEAL_OK;
    }
    enum peal_err err = type->apply(aggregate->state, event, type->context);
    if (__builtin_expect(err != PEAL_OK, 0)) {
        return pl_fail(err, "aggregate %s: apply refused version %" PRIu64 " of \"%.100s\": %s",
                       type->name, version, aggregate->subject, peal_err_text(err));
    }
    aggregate->version = version;
    aggregate->position = peal_event_position(event);
    aggregate->stats.applied++;
    return PEAL_OK;
}

// Why the next version is missing: damage, if the log still has all there was from here on.
static enum gap why_missing(const struct peal_aggregate *aggregate)
{
    struct pl_log *log = aggregate->bus->log;
    uint64_t from = aggregate->position ? aggregate->position : 1;
    return pl_log_first(log, pl_log_end(log)) > from ? FORGOTTEN : DAMAGED;
}

// Applies all events behind the last one applied, up to `newest` at least.
static enum peal_err follow(struct peal_aggregate *aggregate, uint64_t newest, enum gap *gap)
{
    struct peal_query query = { .subject = aggregate->subject,
                                .from_position = aggregate->position + 1 };
    peal_reader *reader;
    *gap = NO_GAP;
    enum peal_err err = peal_reader_open(&reader, aggregate->bus, &query);
    if (err) {
        return err;
    }
    const peal_event *event;
    enum peal_err end = PEAL_OK;
    while (!err && !*gap && (end = peal_reader_next(&event, reader)) == PEAL_OK) {
        err = apply_one(aggregate, event, gap);
    }
    if (end && end != PEAL_ENOTFOUND) {
        err = end;
    }
    // It may be missing at the end, too.
    if (*gap || (!err && aggregate->version < newest)) {
        *gap = why_missing(aggregate);
    }
    peal_reader_close(reader);
    aggregate->spoiled = err != PEAL_OK || *gap;
    return err;
}

// ---- load ---------------------------------------------------------------------------------------

static enum peal_err say_gap(const struct peal_aggregate *aggregate, uint64_t version, enum gap gap)
{
    if (gap == DAMAGED) {
        return pl_fail(PEAL_ECORRUPT,
                       "version %" PRIu64
                       " of stream \"%.100s\" is damaged, and no snapshot stands "
                       "for it",
                       version, aggregate->subject);
    }
    return pl_fail(PEAL_ENOTFOUND,
                   "version %" PRIu64 " of stream \"%.100s\" has been forgotten, and no snapshot "
                   "stands for it: keep more history, or take snapshots more often",
                   version, aggregate->subject);
}

// The events behind the snapshot are not the next ones: without it, if that leaves no gap.
static enum peal_err follow_all(struct peal_aggregate *aggregate, uint64_t newest, enum gap *gap)
{
    enum gap other = NO_GAP;
    enum peal_err err = begin(aggregate);
    if (!err) {
        err = follow(aggregate, newest, &other);
    }
    if (!err && !other) {
        ignore(aggregate, aggregate->restored_from,
               "the events behind it are not the next ones of the stream");
        *gap = NO_GAP;
    }
    return err;
}

// How often something was erased: that may have been events of this stream, whose versions may be
// those of others by now.
static uint64_t count_erasures(const struct peal_aggregate *aggregate)
{
    const struct pl_log *log = aggregate->bus->log;
    return log ? atomic_load_explicit(&log->erasures, memory_order_acquire) : 0;
}

bool pl_aggregate_is_outlived(const struct peal_aggregate *aggregate)
{
    return count_erasures(aggregate) != aggregate->erasures;
}

static enum peal_err load(struct peal_aggregate *aggregate)
{
    uint64_t newest;
    enum gap gap = NO_GAP;
    aggregate->erasures = count_erasures(aggregate);
    enum peal_err err = peal_stream_version(&newest, aggregate->bus, aggregate->subject);
    if (!err) {
        err = begin(aggregate);
    }
    if (!err && newest > 0) {
        err = restore(aggregate, newest);
    }
    uint64_t restored = aggregate->version;
    if (!err) {
        err = follow(aggregate, newest, &gap);
    }
    uint64_t missing = aggregate->version + 1;
    if (!err && gap && restored > 0) {
        restored = 0;
        err = follow_all(aggregate, newest, &gap);
    }
    if (!err && gap) {
        err = say_gap(aggregate, missing, gap);
    }
    if (!err) {
        aggregate->stats.snapshot_version = restored;
    }
    return err;
}

static enum peal_err check_name(const char *name)
{
    size_t length = strnlen(name, PEAL_AGGREGATE_NAME_MAX + 1);
    if (length > PEAL_AGGREGATE_NAME_MAX) {
        return pl_fail(PEAL_ELIMIT, "aggregate name \"%.40s...\": at most %d bytes", name,
                       PEAL_AGGREGATE_NAME_MAX);
    }
    for (const char *at = name; *at; at++) {
        bool letter = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z');
        if (!letter && !(*at >= '0' && *at <= '9') && !strchr("._-", *at)) {
            return pl_fail(PEAL_EINVAL,
                           "aggregate name \"%s\": letters, digits, '.', '_' and '-' may be in it",
                           name);
        }
    }
    return length ? PEAL_OK : pl_fail(PEAL_EINVAL, "an aggregate's name must not be empty");
}

static enum peal_err check_type(const struct peal_aggregate_type *type, const char *subject)
{
    if (!type->name || !type->apply || type->state_size == 0) {
        return pl_fail(PEAL_EINVAL, "an aggregate needs a name, a state and apply");
    }
    if (!type->save != !type->restore) {
        return pl_fail(PEAL_EINVAL, "aggregate %.64s: save and restore come together", type->name);
    }
    if (!*subject) {
        return pl_fail(PEAL_EINVAL, "aggregate %.64s: the subject is empty", type->name);
    }
    if (strnlen(subject, PEAL_AGGREGATE_SUBJECT_MAX + 1) > PEAL_AGGREGATE_SUBJECT_MAX) {
        return pl_fail(PEAL_ELIMIT, "aggregate %.64s: subject \"%.40s...\": at most %d bytes",
                       type->name, subject, PEAL_AGGREGATE_SUBJECT_MAX);
    }
    return check_name(type->name);
}

// The type as this header has it.
static enum peal_err read_type(struct peal_aggregate_type *out,
                               const struct peal_aggregate_type *type)
{
    size_t size = type->struct_size ? type->struct_size : sizeof *out;
    if (size > sizeof *out) {
        return pl_fail(PEAL_EINVAL,
                       "an aggregate type of %zu bytes: from a newer header than this library",
                       size);
    }
    *out = (struct peal_aggregate_type){ 0 };
    memcpy(out, type, size);
    return PEAL_OK;
}

enum peal_err peal_aggregate_load(peal_aggregate **out, peal_bus *bus,
                                  const struct peal_aggregate_type *type, const char *subject)
{
    if (!out || !bus || !type || !subject) {
        return pl_fail(PEAL_EINVAL, "peal_aggregate_load needs a bus, a type, a subject and a "
                                    "place for the aggregate");
    }
    struct peal_aggregate_type given;
    enum peal_err err = read_type(&given, type);
    if (!err) {
        err = check_type(&given, subject);
    }
    if (err) {
        return err;
    }
    struct peal_aggregate *aggregate =
        given.state_size < SIZE_MAX / 2 ? pl_alloc(bus->seams, sizeof *aggregate + given.state_size)
                                        : NULL;
    if (!aggregate) {
        return pl_fail(PEAL_ENOMEM, "no memory for an aggregate of %zu bytes", given.state_size);
    }
    *aggregate = (struct peal_aggregate){ .bus = bus, .type = given };
    pl_snapshot_subject(aggregate->snapshots, given.name, subject);
    aggregate->subject = aggregate->snapshots + strlen(aggregate->snapshots) - strlen(subject);
    err = load(aggregate);
    if (err) {
        peal_aggregate_close(aggregate);
        return err;
    }
    *out = aggregate;
    return PEAL_OK;
}

enum peal_err peal_aggregate_refresh(peal_aggregate *aggregate)
{
    if (!aggregate) {
        return pl_fail(PEAL_EINVAL, "peal_aggregate_refresh needs an aggregate");
    }
    if (pl_aggregate_is_outlived(aggregate)) {
        return load(aggregate);
    }
    uint64_t newest;
    enum peal_err err = peal_stream_version(&newest, aggregate->bus, aggregate->subject);
    if (err || (newest == aggregate->version && !aggregate->spoiled)) {
        return err;
    }
    // Less than before: the stream has begun another life.
    enum gap gap = newest < aggregate->version ? FORGOTTEN : NO_GAP;
    if (!gap && !aggregate->spoiled) {
        err = follow(aggregate, newest, &gap);
    }
    // A snapshot may stand for what has been forgotten.
    return !err && (gap || aggregate->spoiled) ? load(aggregate) : err;
}

const void *peal_aggregate_state(const peal_aggregate *aggregate)
{
    return aggregate ? aggregate->state : NULL;
}

uint64_t peal_aggregate_version(const peal_aggregate *aggregate)
{
    return aggregate ? aggregate->version : 0;
}

const char *peal_aggregate_subject(const peal_aggregate *aggregate)
{
    return aggregate ? aggregate->subject : "";
}

enum peal_err peal_aggregate_stats(struct peal_aggregate_stats *out,
                                   const peal_aggregate *aggregate)
{
    if (!out || !aggregate) {
        return pl_fail(PEAL_EINVAL, "peal_aggregate_stats needs an aggregate and a place for them");
    }
    *out = aggregate->stats;
    return PEAL_OK;
}

void peal_aggregate_close(peal_aggregate *aggregate)
{
    if (aggregate) {
        finish_state(aggregate);
        pl_release(aggregate->bus->seams, aggregate);
    }
}
