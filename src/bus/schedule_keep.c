// SPDX-License-Identifier: MIT
//
// Scheduled events in the engine's state table, where it has one.
//
//     key      schedule/<bytes of the id>:<id><source>
//     value    0            8            16        20       24
//              ┌────────────┬────────────┬─────────┬────────┬──────────────────────────┐
//              │ deliver_at │ order      │ version │ level  │ a frame that stands alone │
//              └────────────┴────────────┴─────────┴────────┴──────────────────────────┘
//
// All little-endian. The level is an enum peal_durability. The frame is the event, with its
// checksum (docs/format.md). It speaks of no position of the log: that it has only once it is
// published.
#include "bus/schedule_inside.h"

#include "base/error.h"
#include "log/kv.h"

#include <peal/log.h>
#include <stdio.h>
#include <string.h>

#define PREFIX  "schedule/"
#define VERSION 1

struct head {
    int64_t deliver_at;
    uint64_t order;
    uint32_t version;
    uint32_t level;
};

_Static_assert(sizeof(struct head) == 24, "it is part of the format");

#define KEY_SIZE (PL_KV_KEY_MAX + 1)

_Static_assert(sizeof PREFIX + 4 + PEAL_ID_MAX + PEAL_ATTRIBUTE_MAX <= KEY_SIZE, "each has a key");

static void write_key(char out[KEY_SIZE], const struct pl_scheduled *one)
{
    const char *id = peal_event_id(one->event);
    (void)snprintf(out, KEY_SIZE, PREFIX "%zu:%s%s", strlen(id), id,
                   peal_event_source(one->event)); // it fits
}

enum peal_durability pl_schedule_level(const struct peal_bus *bus, const struct pl_scheduled *one)
{
    if (!bus->kv) {
        return PEAL_DURABILITY_MEMORY;
    }
    return one->durability == PEAL_DURABILITY_DEFAULT ? bus->options.durability : one->durability;
}

static enum peal_err put(struct pl_kv_transaction *transaction, const struct peal_bus *bus,
                         const struct pl_scheduled *one)
{
    size_t frame = peal_event_encode(one->event, NULL, 0);
    struct head head = { .deliver_at = one->deliver_at,
                         .order = one->order,
                         .version = VERSION,
                         .level = (uint32_t)one->durability };
    char *bytes = pl_alloc(bus->seams, sizeof head + frame);
    if (!bytes) {
        return pl_fail(PEAL_ENOMEM, "no memory to keep a scheduled event of %zu bytes", frame);
    }
    char key[KEY_SIZE];
    write_key(key, one);
    memcpy(bytes, &head, sizeof head);
    (void)peal_event_encode(one->event, bytes + sizeof head, frame); // there is room
    enum peal_err err = pl_kv_put(transaction, key, 0, bytes, sizeof head + frame);
    pl_release(bus->seams, bytes);
    return err;
}

// Commits, or gives up what could not be put together.
static enum peal_err end(struct pl_kv_transaction *transaction, enum peal_durability level,
                         enum peal_err err)
{
    if (err) {
        pl_kv_abandon(transaction);
        return err;
    }
    return pl_kv_commit(transaction, level);
}

enum peal_err pl_schedule_keep(struct peal_bus *bus, const struct pl_scheduled *one)
{
    if (!bus->kv) {
        return PEAL_OK;
    }
    struct pl_kv_transaction *transaction;
    enum peal_err err = pl_kv_begin(&transaction, bus->kv);
    return err ? err : end(transaction, pl_schedule_level(bus, one), put(transaction, bus, one));
}

enum peal_err pl_schedule_forget(struct peal_bus *bus, struct pl_scheduled *const *list,
                                 size_t count)
{
    if (!bus->kv || count == 0) {
        return PEAL_OK;
    }
    struct pl_kv_transaction *transaction;
    enum peal_err err = pl_kv_begin(&transaction, bus->kv);
    if (err) {
        return err;
    }
    enum peal_durability level = PEAL_DURABILITY_MEMORY;
    for (size_t i = 0; i < count && !err; i++) {
        char key[KEY_SIZE];
        write_key(key, list[i]);
        err = pl_kv_remove(transaction, key);
        enum peal_durability its = pl_schedule_level(bus, list[i]);
        level = its > level ? its : level;
    }
    return end(transaction, level, err);
}

// ---- opening ------------------------------------------------------------------------------------

// What an entry says. PEAL_ECORRUPT, PEAL_EUNSUPPORTED: of a later version; PEAL_ENOMEM.
static enum peal_err read_entry(struct pl_scheduled *out, struct peal_bus *bus,
                                const struct pl_kv_entry *entry)
{
    struct head head;
    if (entry->size < sizeof head) {
        return pl_fail(PEAL_ECORRUPT, "it has %zu bytes, which is too few", entry->size);
    }
    memcpy(&head, entry->value, sizeof head);
    if (head.version != VERSION) {
        return pl_fail(PEAL_EUNSUPPORTED, "it is of version %u, and this library knows %d",
                       (unsigned)head.version, VERSION);
    }
    if (head.level > PEAL_DURABILITY_DISK) {
        return pl_fail(PEAL_ECORRUPT, "%u is no durability", (unsigned)head.level);
    }
    out->deliver_at = head.deliver_at;
    out->order = head.order;
    out->durability = (enum peal_durability)head.level;
    return pl_event_decode(&out->event, bus->seams, (const char *)entry->value + sizeof head,
                           entry->size - sizeof head);
}

static enum peal_err load_one(struct peal_bus *bus, const struct pl_kv_entry *entry)
{
    struct pl_scheduled *one = pl_new(bus->seams, sizeof *one);
    if (!one) {
        return pl_fail(PEAL_ENOMEM, "no memory for the scheduled events");
    }
    enum peal_err err = read_entry(one, bus, entry);
    if (!err) {
        err = pl_schedule_restore(bus, one);
    }
    if (!err) {
        return PEAL_OK;
    }
    if (err != PEAL_ENOMEM) {
        pl_bus_say(bus, PEAL_LEVEL_ERROR,
                   "the scheduled event under \"%.200s\" cannot be read and is left out: %s",
                   entry->key, peal_error_sentence());
    }
    peal_event_unref(one->event);
    pl_release(bus->seams, one);
    return err == PEAL_ENOMEM ? err : PEAL_OK;
}

enum peal_err pl_schedule_load(struct peal_bus *bus)
{
    const struct pl_kv_entry *entry;
    PL_KV_EACH(entry, bus->kv, PREFIX)
    {
        enum peal_err err = load_one(bus, entry);
        if (err) {
            pl_kv_unref(bus->kv, entry);
            return err;
        }
    }
    return PEAL_OK;
}

enum peal_err pl_schedule_find(bool *out, struct peal_bus *bus, const struct pl_scheduled *one)
{
    const struct peal_query query = { .id = peal_event_id(one->event),
                                      .source = peal_event_source(one->event),
                                      .limit = 1 };
    peal_reader *reader;
    const peal_event *event;
    enum peal_err err = peal_reader_open(&reader, bus, &query);
    if (err) {
        return err;
    }
    err = peal_reader_next(&event, reader);
    peal_reader_close(reader);
    if (err && err != PEAL_ENOTFOUND) {
        return err;
    }
    *out = !err;
    return PEAL_OK;
}

// ---- erasing ------------------------------------------------------------------------------------

// Does it wait for its time, or is a thread about to say so? Then it was scheduled since.
static bool is_wanted(struct peal_bus *bus, const struct peal_event *event)
{
    struct pl_schedule *schedule = &bus->schedule;
    struct pl_hash128 key =
        pl_state_id_key(&bus->log->state, peal_event_source(event), peal_event_id(event));
    pl_mutex_lock(&schedule->lock, bus->seams);
    const struct pl_map_entry *entry = pl_map_find(&schedule->by_id, key);
    bool wanted = entry && !atomic_load_explicit(&pl_scheduled_of_entry(entry)->withdrawn,
                                                 memory_order_relaxed); // with the lock
    pl_mutex_unlock(&schedule->lock, bus->seams);
    return wanted;
}

static enum peal_err purge_one(struct peal_bus *bus, const struct pl_kv_entry *entry,
                               const char *subject)
{
    struct pl_scheduled one = { .deliver_at = 0 };
    enum peal_err err = read_entry(&one, bus, entry);
    if (err) {
        return err == PEAL_ENOMEM ? err : PEAL_OK; // nobody knows whose it is
    }
    if (strcmp(peal_event_subject(one.event), subject) == 0 && !is_wanted(bus, one.event)) {
        struct pl_scheduled *list = &one;
        err = pl_schedule_forget(bus, &list, 1);
    }
    peal_event_unref(one.event);
    return err;
}

enum peal_err pl_schedule_purge(struct peal_bus *bus, const char *subject)
{
    const struct pl_kv_entry *entry;
    PL_KV_EACH(entry, bus->kv, PREFIX)
    {
        enum peal_err err = purge_one(bus, entry, subject);
        if (err) {
            pl_kv_unref(bus->kv, entry);
            return err;
        }
    }
    return PEAL_OK;
}
