// SPDX-License-Identifier: MIT
//
// Settling: who asks for a level gets it here, and what nobody waits for is written by a thread
// that the first such event starts.
#include "log/internal.h"

#include "base/error.h"

#define FLUSH_DELAY_NS (80 * PL_NS_PER_MS) // of the 100 ms that PEAL_DURABILITY_MEMORY promises

// What the flusher is told.
enum wanted { WANTED_NOTHING, WANTED_FLUSH, WANTED_END };

static enum peal_err settle_os(struct pl_store *store, struct pl_log *log, uint64_t end)
{
    if (pl_store_written(store) >= end) {
        return PEAL_OK;
    }
    pl_turn_take(&store->writing, store->seams);
    enum peal_err err = pl_store_written(store) >= end ? PEAL_OK : pl_write_all(store, log);
    pl_turn_give(&store->writing, store->seams);
    return err;
}

static enum peal_err settle_disk(struct pl_store *store, struct pl_log *log, uint64_t end)
{
    enum peal_err err = settle_os(store, log, end);
    return err ? err : pl_sync_until(store, end);
}

// ---- the flusher --------------------------------------------------------------------------------

static void run_flusher(void *context)
{
    struct pl_store *store = context;
    const struct pl_seams *seams = store->seams;
    for (;;) {
        unsigned wanted = atomic_load_explicit(&store->wanted, memory_order_acquire);
        if (wanted == WANTED_END) {
            return;
        }
        if (wanted == WANTED_NOTHING) {
            seams->wait(seams->world, &store->wanted, WANTED_NOTHING, PL_FOREVER);
            continue;
        }
        int64_t due = seams->monotonic(seams->world) + FLUSH_DELAY_NS;
        while (atomic_load_explicit(&store->wanted, memory_order_acquire) == WANTED_FLUSH &&
               seams->monotonic(seams->world) < due) {
            seams->wait(seams->world, &store->wanted, WANTED_FLUSH, due);
        }
        wanted = WANTED_FLUSH;
        // Acquire and release, before we look at the log: who wants a flush after this says so
        // again, and what was published before is seen.
        if (atomic_compare_exchange_strong(&store->wanted, &wanted, WANTED_NOTHING)) {
            // A failure is kept, and met by whoever settles or closes. Memory may come back.
            if (settle_os(store, store->flushed, pl_log_end(store->flushed)) == PEAL_ENOMEM) {
                wanted = WANTED_NOTHING;
                (void)atomic_compare_exchange_strong(&store->wanted, &wanted, WANTED_FLUSH);
            }
        }
    }
}

static enum peal_err start_flusher(struct pl_store *store, struct pl_log *log)
{
    pl_mutex_lock(&store->starting, store->seams);
    enum peal_err err = PEAL_OK;
    if (!store->flushed) {
        store->flushed = log;
        err = store->seams->start(store->seams->world, &store->flusher, run_flusher, store);
        store->flushed = err ? NULL : log;
    }
    pl_mutex_unlock(&store->starting, store->seams);
    return err;
}

// Once in a while costs a wake, otherwise a look.
static enum peal_err settle_memory(struct pl_store *store, struct pl_log *log, uint64_t end)
{
    if (pl_store_has_failed(store)) {
        return pl_store_say_failed(store);
    }
    // Sequentially consistent: the flusher sets it to nothing before it looks at the log's end,
    // which was stored before this looks at it.
    if (atomic_load_explicit(&store->wanted, memory_order_seq_cst) != WANTED_NOTHING) {
        return PEAL_OK;
    }
    if (start_flusher(store, log)) {
        return settle_os(store, log, end); // without a thread we do it ourselves
    }
    unsigned nothing = WANTED_NOTHING;
    if (atomic_compare_exchange_strong(&store->wanted, &nothing, WANTED_FLUSH)) {
        store->seams->wake(store->seams->world, &store->wanted, 1);
    }
    return PEAL_OK;
}

static void end_flusher(struct pl_store *store)
{
    if (store->flusher) {
        atomic_store(&store->wanted, WANTED_END);
        store->seams->wake(store->seams->world, &store->wanted, 1);
        store->seams->join(store->seams->world, store->flusher);
        store->flusher = NULL;
    }
}

enum peal_err pl_store_settle(struct pl_store *store, struct pl_log *log, uint64_t end,
                              enum peal_durability level)
{
    switch (level) {
    case PEAL_DURABILITY_MEMORY:
        return settle_memory(store, log, end);
    case PEAL_DURABILITY_DISK:
        return settle_disk(store, log, end);
    default:
        return settle_os(store, log, end);
    }
}

// ---- closing ------------------------------------------------------------------------------------

// A last note: what is damaged from now on was once whole; then the end. If that fails, the next
// opening does without.
static void tidy_up(struct pl_store *store)
{
    if (!pl_write_end(store)) {
        (void)store->files->sync(store->files->world, store->file.file); // as said
    }
}

enum peal_err pl_store_finish(struct pl_store *store, struct pl_log *log)
{
    end_flusher(store);
    if (pl_store_has_failed(store)) {
        return pl_store_say_failed(store);
    }
    enum peal_err err = log ? settle_disk(store, log, pl_log_end(log)) : PEAL_OK;
    if (!err) {
        tidy_up(store);
    }
    return err;
}
