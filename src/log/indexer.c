// SPDX-License-Identifier: MIT
//
// Keeping the indexes up: from events to a tail index, and from a full tail to a file.
//
// One at a time works, with `indexing`: usually the catalog's thread, which is told when some
// thousand events have no index; a lookup that finds it idle does the little that is left itself.
// Work is the same wherever it begins: the first position without an index, up to the end of its
// span or to the next index. What it needs to know of an event was kept when that was put into its
// file, or is looked up in the log (digest.h). So a gap that a damaged index left is filled like
// the end of the log.
//
// What must stay true: a range is in the list as a tail before its first event is indexed, and a
// lookup asks a tail for no position that is not in it yet. A tail that could not take an event
// misses it for ever, so it is dropped as a whole.
#include "log/catalog_inside.h"

#include "base/error.h"

#include <string.h>

// What the thread is told.
enum wanted { WANTED_NOTHING, WANTED_WORK, WANTED_END };

// Events between two looks at whether it shall end.
#define SHARE 4096

// Fewer events are not worth a file: they are indexed again when they are asked for.
#define WORTH 16384

// ---- one event ----------------------------------------------------------------------------------

static enum peal_err number_of(struct pl_catalog *catalog, uint32_t type, uint32_t *out)
{
    struct pl_numbers *numbers = &catalog->numbers;
    if (type < numbers->count && numbers->of[type]) {
        *out = numbers->of[type] - 1;
        return PEAL_OK;
    }
    if (type >= numbers->count) {
        size_t count = ((size_t)type | 63) + 1;
        uint32_t *grown = pl_resize(catalog->config.seams, numbers->of, count * sizeof *grown);
        if (!grown) {
            return pl_fail(PEAL_ENOMEM, "no memory to index types");
        }
        memset(grown + numbers->count, 0, (count - numbers->count) * sizeof *grown);
        numbers->of = grown;
        numbers->count = count;
    }
    const char *name = catalog->config.type_of(catalog->config.type_context, type);
    enum peal_err err = pl_index_number(catalog->tail, name, strlen(name), out);
    if (!err) {
        numbers->of[type] = *out + 1;
    }
    return err;
}

static enum peal_err add_event(struct pl_catalog *catalog, const struct pl_digest *digest)
{
    struct pl_index_event event = { .position = digest->position, .time = digest->time };
    for (size_t i = 0; i < PL_KEYS; i++) {
        event.keys[i] = (uint64_t)digest->keys[i] << 32; // the half that an index keeps
    }
    enum peal_err err = number_of(catalog, digest->type, &event.type);
    return err ? err : pl_index_add(catalog->tail, &event);
}

// ---- tails --------------------------------------------------------------------------------------

// What it was to cover gets no index in this life: what went wrong would go wrong again.
static void drop_tail(struct pl_catalog *catalog)
{
    struct pl_index_facts facts;
    pl_index_facts(catalog->tail, &facts);
    pl_catalog_replace(catalog, facts.base, catalog->tail_end, NULL);
    pl_index_unref(catalog->tail);
    catalog->tail = NULL;
    catalog->given_up = catalog->tail_end;
}

void pl_indexer_drop(struct pl_catalog *catalog, uint64_t first, uint64_t end)
{
    pl_cursor_rest(&catalog->place);
    if (catalog->config.digests) {
        pl_digests_clear(catalog->config.digests); // they may be of events that are erased
    }
    if (catalog->tail) {
        struct pl_index_facts facts;
        pl_index_facts(catalog->tail, &facts);
        if (facts.base >= end || catalog->tail_end <= first) {
            return;
        }
        pl_catalog_replace(catalog, facts.base, catalog->tail_end, NULL);
        pl_index_unref(catalog->tail);
        catalog->tail = NULL;
    }
    uint64_t limit;
    uint64_t gap = pl_catalog_gap(catalog, catalog->given_up, &limit);
    // Relaxed: without a tail in the list it is no more than a hint of how much there is to do.
    atomic_store_explicit(&catalog->tail_next, gap, memory_order_relaxed);
}

// A tail for the first range that has no index.
static enum peal_err begin_tail(struct pl_catalog *catalog)
{
    uint64_t limit;
    uint64_t first = pl_catalog_gap(catalog, catalog->given_up, &limit);
    uint64_t end = (first / PL_CATALOG_SPAN + 1) * PL_CATALOG_SPAN;
    end = limit < end ? limit : end;
    enum peal_err err = PEAL_OK;
    if (catalog->spare) {
        catalog->tail = catalog->spare;
        catalog->spare = NULL;
        pl_index_reset(catalog->tail, first);
    } else {
        err = pl_index_create(&catalog->tail, catalog->config.seams, catalog->config.seed, first);
    }
    if (err) {
        return err;
    }
    if (catalog->numbers.count) {
        memset(catalog->numbers.of, 0, catalog->numbers.count * sizeof *catalog->numbers.of);
    }
    catalog->tail_end = end;
    // Relaxed: the lock of the list publishes it with the tail.
    atomic_store_explicit(&catalog->tail_next, first, memory_order_relaxed);
    err = pl_catalog_add(catalog, first, end, catalog->tail, true);
    if (err) {
        pl_index_unref(catalog->tail);
        catalog->tail = NULL;
    }
    return err;
}

// When the last event an index knows was recorded; 0: that cannot be read.
static uint64_t recorded_last(struct pl_catalog *catalog, const struct pl_index_facts *facts)
{
    const struct pl_catalog_config *config = &catalog->config;
    const uint64_t last = facts->end - 1;
    struct pl_glimpse glimpse;
    const struct pl_frame *frame = pl_cursor_pick(&catalog->place, config->log, last);
    if (frame) {
        return (uint64_t)frame->recorded;
    }
    bool damaged = config->glimpse && !config->glimpse(config->store_context, &glimpse, last) &&
                   glimpse.damaged;
    return damaged ? PL_CATALOG_LAST_DAMAGED : 0;
}

// A file of what the tail has, which covers up to `end`, and opens it.
static enum peal_err write_index(struct pl_catalog *catalog, const struct pl_index_facts *facts,
                                 uint64_t end, struct pl_index **out)
{
    uint64_t recorded = facts->events > 0 ? recorded_last(catalog, facts) : 0;
    if (!recorded) {
        return PEAL_ENOTFOUND; // not said to anybody
    }
    char path[PL_CATALOG_PATH];
    pl_catalog_path(catalog, facts->base, end, path);
    struct pl_index_source source = { .base = facts->base };
    memcpy(source.seed, catalog->config.seed, sizeof source.seed);
    enum peal_err err = pl_index_seal(catalog->tail, catalog->config.files, path, recorded);
    return err ? err
               : pl_index_open(out, catalog->config.seams, catalog->config.files, path, &source);
}

// The tail becomes a file.
static void seal(struct pl_catalog *catalog)
{
    struct pl_index_facts facts;
    pl_index_facts(catalog->tail, &facts);
    uint64_t end = atomic_load_explicit(&catalog->tail_next, memory_order_relaxed); // ours
    struct pl_index *sealed = NULL;
    if (catalog->config.read_only || write_index(catalog, &facts, end, &sealed)) {
        drop_tail(catalog);
        return;
    }
    pl_catalog_replace(catalog, facts.base, end, sealed);
    pl_index_unref(sealed);
    // Nobody finds it in the list any more: what is ours alone stays so. The next tail takes its
    // memory, some ten megabytes whose first use would cost as much as indexing.
    if (pl_index_is_ours(catalog->tail)) {
        catalog->spare = catalog->tail;
    } else {
        pl_index_unref(catalog->tail);
    }
    catalog->tail = NULL;
}

// ---- working ------------------------------------------------------------------------------------

// The digest of a position, or of the first behind it that can be had; one that was kept, or made
// of the event in the log. False: there is none, or it cannot be read (*err).
static bool digest_of(struct pl_catalog *catalog, uint64_t position, struct pl_digest *out,
                      enum peal_err *err)
{
    struct pl_digests *kept = catalog->config.digests;
    const struct pl_digest *digest = kept ? pl_digests_from(kept, position) : NULL;
    if (__builtin_expect(digest && digest->position == position, 1)) {
        *out = *digest;
        return true;
    }
    const struct pl_frame *frame = pl_cursor_at(&catalog->place, catalog->config.log, position);
    if (!frame) {
        *err = catalog->place.err;
        return false;
    }
    pl_digest_make(out, catalog->config.seed, frame);
    return true;
}

// A damaged event, by the subject that can be seen in it: whoever looks for the newest version of a
// stream finds that there was one. What cannot be seen is left out; what there was no memory to
// look at is looked at again, or its version would be given once more.
static enum peal_err add_damaged(struct pl_catalog *catalog, uint64_t position)
{
    const struct pl_catalog_config *config = &catalog->config;
    struct pl_glimpse glimpse;
    enum peal_err err = config->glimpse(config->store_context, &glimpse, position);
    if (err || !*glimpse.subject) {
        return err == PEAL_ENOMEM ? err : PEAL_OK;
    }
    struct pl_index_event event = { .position = position, .time = glimpse.near };
    event.keys[PL_KEY_SUBJECT] =
        pl_index_hash(config->seed, glimpse.subject, strlen(glimpse.subject));
    err = pl_index_number(catalog->tail, PL_CATALOG_DAMAGED, sizeof PL_CATALOG_DAMAGED - 1,
                          &event.type);
    return err ? err : pl_index_add(catalog->tail, &event);
}

// Of positions [first, end) the log gives nothing.
static enum peal_err pass_over(struct pl_catalog *catalog, uint64_t first, uint64_t end)
{
    bool erased = first < end && catalog->place.erased >= end - first;
    if (!catalog->config.glimpse || erased) {
        return PEAL_OK;
    }
    end = end - first > PL_CATALOG_GLIMPSES ? first + PL_CATALOG_GLIMPSES : end;
    enum peal_err err = PEAL_OK;
    for (uint64_t position = first; position < end && !err; position++) {
        err = add_damaged(catalog, position);
    }
    return err;
}

// Indexes positions [from, end) of the tail. Those that cannot be had any more are passed over.
static enum peal_err add_stretch(struct pl_catalog *catalog, uint64_t from, uint64_t end)
{
    struct pl_digest digest;
    enum peal_err err = PEAL_OK;
    for (uint64_t position = from; position < end; position = digest.position + 1) {
        bool found = digest_of(catalog, position, &digest, &err);
        if (err) {
            return err;
        }
        uint64_t next = found && digest.position < end ? digest.position : end;
        if (__builtin_expect(next > position, 0)) {
            err = pass_over(catalog, position, next);
        }
        if (err || next == end) {
            return err;
        }
        err = add_event(catalog, &digest);
        if (err) {
            return err;
        }
    }
    return PEAL_OK;
}

// Indexes from the tail's end to `end`, but for what was given up behind a failed write: as long as
// memory has that it would be counted, and for ever in a file of its own.
static enum peal_err add_events(struct pl_catalog *catalog, uint64_t from, uint64_t end)
{
    const struct pl_catalog_config *config = &catalog->config;
    enum peal_err err = PEAL_OK;
    while (from < end && !err) {
        uint64_t first = UINT64_MAX, behind = UINT64_MAX;
        if (config->given_up) {
            config->given_up(config->store_context, from, &first, &behind);
        }
        uint64_t stop = first < end ? first : end;
        err = add_stretch(catalog, from, stop);
        from = behind;
    }
    return err;
}

void pl_indexer_work(struct pl_catalog *catalog, uint64_t most, bool *more)
{
    *more = false;
    uint64_t written = atomic_load_explicit(&catalog->written, memory_order_acquire);
    if (!catalog->tail && begin_tail(catalog)) {
        return; // another time
    }
    // Relaxed: only who has `indexing` changes it.
    uint64_t from = atomic_load_explicit(&catalog->tail_next, memory_order_relaxed);
    uint64_t end = written < catalog->tail_end ? written : catalog->tail_end;
    end = end - from > most && end > from ? from + most : end;
    if (end <= from) {
        return;
    }
    enum peal_err err = add_events(catalog, from, end);
    if (err) {
        drop_tail(catalog); // an event may be missing in it
        return;
    }
    // Release: who sees the position finds its event in the tail.
    atomic_store_explicit(&catalog->tail_next, end, memory_order_release);
    if (end == catalog->tail_end) {
        seal(catalog);
    }
    *more = end < written;
    if (!*more) {
        pl_cursor_rest(&catalog->place);
    }
}

static void work_off(struct pl_catalog *catalog)
{
    bool more = true;
    while (more && atomic_load_explicit(&catalog->wanted, memory_order_acquire) != WANTED_END) {
        pl_mutex_lock(&catalog->indexing, catalog->config.seams);
        pl_indexer_work(catalog, SHARE, &more);
        pl_mutex_unlock(&catalog->indexing, catalog->config.seams);
    }
}

static void run(void *context)
{
    struct pl_catalog *catalog = context;
    const struct pl_seams *seams = catalog->config.seams;
    for (;;) {
        unsigned wanted = atomic_load_explicit(&catalog->wanted, memory_order_acquire);
        if (wanted == WANTED_END) {
            return;
        }
        if (wanted == WANTED_NOTHING) {
            seams->wait(seams->world, &catalog->wanted, WANTED_NOTHING, PL_FOREVER);
            continue;
        }
        // Before the work: what comes after this look says so again.
        if (atomic_compare_exchange_strong(&catalog->wanted, &wanted, WANTED_NOTHING)) {
            work_off(catalog);
        }
    }
}

static bool has_thread(struct pl_catalog *catalog)
{
    pl_mutex_lock(&catalog->starting, catalog->config.seams);
    if (!catalog->thread && !catalog->without_thread) {
        catalog->without_thread = catalog->config.seams->start(catalog->config.seams->world,
                                                               &catalog->thread, run, catalog);
    }
    bool has = catalog->thread != NULL;
    pl_mutex_unlock(&catalog->starting, catalog->config.seams);
    return has;
}

void pl_catalog_note(struct pl_catalog *catalog, uint64_t end)
{
    uint64_t before = atomic_load_explicit(&catalog->written, memory_order_relaxed);
    while (before < end &&
           !atomic_compare_exchange_weak_explicit(&catalog->written, &before, end,
                                                  memory_order_release, memory_order_relaxed)) {
    }
    // Relaxed: a hint of when there is work; it may be in a gap before.
    uint64_t next = atomic_load_explicit(&catalog->tail_next, memory_order_relaxed);
    if (__builtin_expect(end < next + PL_CATALOG_LAG, 1) ||
        atomic_load_explicit(&catalog->wanted, memory_order_relaxed) != WANTED_NOTHING) {
        return;
    }
    if (!has_thread(catalog)) {
        return; // lookups do it, or look without
    }
    unsigned nothing = WANTED_NOTHING;
    if (atomic_compare_exchange_strong(&catalog->wanted, &nothing, WANTED_WORK)) {
        catalog->config.seams->wake(catalog->config.seams->world, &catalog->wanted, 1);
    }
}

void pl_indexer_stop(struct pl_catalog *catalog)
{
    const struct pl_seams *seams = catalog->config.seams;
    if (catalog->thread) {
        atomic_store(&catalog->wanted, WANTED_END);
        seams->wake(seams->world, &catalog->wanted, 1);
        seams->join(seams->world, catalog->thread);
        catalog->thread = NULL;
    }
    struct pl_index_facts facts = { 0 };
    if (catalog->tail) {
        pl_index_facts(catalog->tail, &facts);
    }
    if (facts.events >= WORTH) {
        seal(catalog);
    }
    pl_index_unref(catalog->tail);
    pl_index_unref(catalog->spare);
    catalog->tail = NULL;
    catalog->spare = NULL;
    pl_cursor_rest(&catalog->place);
    pl_release(seams, catalog->numbers.of);
    catalog->numbers = (struct pl_numbers){ 0 };
}
