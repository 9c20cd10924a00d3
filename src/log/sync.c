// SPDX-License-Identifier: MIT
//
// Making what is written durable: one sync serves all who wait.
//
// Who finds nobody syncing takes the lead; the others sleep until the round has ended, and then
// look again whether it was for them. A round takes the files as they are: a complete one that is
// not synced yet comes first, then the name of the newest, then that itself. Meanwhile whoever
// writes goes on, also into a new file, as long as no more than one complete file waits.
//
// Tried and dropped: a leader that waits a moment for those whom the last round has let go. A sync
// then has twice the events (64 threads: 28, then 60; 10 with batches of 100: 480, then 900), and
// takes them twice as long, since nobody puts and writes meanwhile: the rates stayed.
//
// What must stay true: `durable` moves only after the sync of all that is below it, and only to
// where `written` was when the round began; only the leader closes a file that was written.
#include "log/internal.h"

#include "base/error.h"
#include "base/plant.h"

#include <errno.h>
#include <limits.h>

// ---- the lead -----------------------------------------------------------------------------------

static bool take_lead(struct pl_store *store)
{
    unsigned nobody = 0;
    // Acquire: we see what the last leader did.
    return atomic_compare_exchange_strong_explicit(&store->leading, &nobody, 1,
                                                   memory_order_acquire, memory_order_relaxed);
}

// First the lead, then the count: who has seen the lead taken sleeps on the count from before.
static void leave_lead(struct pl_store *store)
{
    const struct pl_seams *seams = store->seams;
    atomic_store_explicit(&store->leading, 0, memory_order_seq_cst);
    atomic_fetch_add_explicit(&store->rounds, 1, memory_order_seq_cst);
    seams->wake(seams->world, &store->rounds, UINT_MAX);
}

// ---- a round ------------------------------------------------------------------------------------

// Writes once more what a sync of an earlier life may have lost.
static int write_again(struct pl_store *store, const struct pl_unsynced *unsynced)
{
    const struct pl_files *files = store->files;
    if (unsynced->again_from >= unsynced->again_to) {
        return 0;
    }
    char *buffer = pl_alloc(store->seams, PL_STORE_BUFFER);
    int64_t count = buffer ? 0 : -ENOMEM;
    for (uint64_t at = unsynced->again_from; at < unsynced->again_to && count >= 0;
         at += (uint64_t)count) {
        uint64_t left = unsynced->again_to - at;
        size_t size = left < PL_STORE_BUFFER ? (size_t)left : PL_STORE_BUFFER;
        count = files->pread(files->world, unsynced->file, buffer, size, at);
        count = count == 0 ? -EIO : count; // it was there a moment ago
        if (count > 0) {
            int result = pl_files_write(files, unsynced->file, buffer, (size_t)count, at);
            count = result ? result : count;
        }
    }
    pl_release(store->seams, buffer);
    return count < 0 ? (int)count : 0;
}

static int timed_sync(struct pl_store *store, struct pl_file file)
{
    const struct pl_seams *seams = store->seams;
    int64_t start = seams->monotonic(seams->world);
    int result = store->files->sync(store->files->world, file);
    pl_histogram_add(&store->syncs, seams->monotonic(seams->world) - start);
    if (result) {
        atomic_fetch_add_explicit(&store->sync_failures, 1, memory_order_relaxed); // only counted
    }
    return result;
}

static enum peal_err sync_file(struct pl_store *store, const struct pl_unsynced *unsynced)
{
    int result = write_again(store, unsynced);
    if (result == -ENOMEM) {
        return pl_fail(PEAL_ENOMEM, "%s: no memory to sync", store->path);
    }
    if (PL_PLANTED(EARLY_ACK)) {
        return PEAL_OK; // whoever closes it may sync it
    }
    result = result ? result : timed_sync(store, unsynced->file);
    if (PL_PLANTED(RETRIED_SYNC) && result) {
        return pl_fail(PEAL_EIO, "%s: cannot sync: %s", store->path, pl_files_text(result));
    }
    return result && !PL_PLANTED(IGNORED_SYNC) ? pl_store_fail(store, result, "sync") : PEAL_OK;
}

static void become_durable(struct pl_store *store, uint64_t end)
{
    if (end > atomic_load_explicit(&store->durable, memory_order_relaxed)) {
        atomic_store_explicit(&store->durable, end, memory_order_release);
    }
}

// What there was to sync when a round began.
struct round {
    struct pl_unsynced sealed, file;
};

static struct round begin_round(struct pl_store *store)
{
    pl_mutex_lock(&store->lock, store->seams);
    struct round round = { store->sealed, store->file };
    pl_mutex_unlock(&store->lock, store->seams);
    return round;
}

static enum peal_err sync_sealed(struct pl_store *store, struct pl_unsynced *sealed)
{
    enum peal_err err = sync_file(store, sealed);
    if (err) {
        return err;
    }
    pl_mutex_lock(&store->lock, store->seams);
    store->sealed = (struct pl_unsynced){ 0 };
    pl_mutex_unlock(&store->lock, store->seams);
    store->files->close(store->files->world, &sealed->file);
    become_durable(store, sealed->end);
    return PEAL_OK;
}

// All but the last file.
static enum peal_err sync_others(struct pl_store *store, struct round *round)
{
    if (pl_store_has_failed(store)) {
        return pl_store_say_failed(store);
    }
    return round->sealed.file.number ? sync_sealed(store, &round->sealed) : PEAL_OK;
}

// `written` is looked at before the files that it is in. The last of them may be complete by the
// time it is synced; it is not closed by then, because that is for us to do.
static enum peal_err sync_all(struct pl_store *store)
{
    uint64_t written = pl_store_written(store);
    struct round round = begin_round(store);
    enum peal_err err = sync_others(store, &round);
    err = err ? err : sync_file(store, &round.file);
    if (err) {
        return err;
    }
    pl_mutex_lock(&store->lock, store->seams);
    bool last = store->file.file.number == round.file.file.number;
    struct pl_unsynced *now = last ? &store->file : &store->sealed;
    now->again_from = now->again_to;
    pl_mutex_unlock(&store->lock, store->seams);
    become_durable(store, written);
    return PEAL_OK;
}

// ---- who waits ----------------------------------------------------------------------------------

enum peal_err pl_sync_until(struct pl_store *store, uint64_t end)
{
    const struct pl_seams *seams = store->seams;
    while (pl_store_durable(store) < end) {
        unsigned rounds = atomic_load_explicit(&store->rounds, memory_order_seq_cst);
        if (!take_lead(store)) {
            seams->wait(seams->world, &store->rounds, rounds, PL_FOREVER);
            continue;
        }
        enum peal_err err = pl_store_durable(store) < end ? sync_all(store) : PEAL_OK;
        leave_lead(store);
        if (err) {
            return err;
        }
    }
    return PEAL_OK;
}

static bool sealed_waits(struct pl_store *store)
{
    pl_mutex_lock(&store->lock, store->seams);
    bool wait = store->sealed.file.number != 0;
    pl_mutex_unlock(&store->lock, store->seams);
    return wait;
}

enum peal_err pl_sync_sealed(struct pl_store *store)
{
    const struct pl_seams *seams = store->seams;
    while (sealed_waits(store)) {
        unsigned rounds = atomic_load_explicit(&store->rounds, memory_order_seq_cst);
        if (!take_lead(store)) {
            seams->wait(seams->world, &store->rounds, rounds, PL_FOREVER);
            continue;
        }
        struct round round = begin_round(store);
        enum peal_err err = sync_others(store, &round);
        leave_lead(store);
        if (err) {
            return err;
        }
    }
    return PEAL_OK;
}

void pl_sync_give_up(struct pl_store *store)
{
    const struct pl_seams *seams = store->seams;
    for (;;) {
        unsigned rounds = atomic_load_explicit(&store->rounds, memory_order_seq_cst);
        if (take_lead(store)) {
            break;
        }
        seams->wait(seams->world, &store->rounds, rounds, PL_FOREVER);
    }
    struct round round = begin_round(store);
    pl_mutex_lock(&store->lock, seams);
    store->file = (struct pl_unsynced){ 0 };
    store->sealed = (struct pl_unsynced){ 0 };
    pl_mutex_unlock(&store->lock, seams);
    store->files->close(store->files->world, &round.file.file);
    store->files->close(store->files->world, &round.sealed.file);
    leave_lead(store);
}
