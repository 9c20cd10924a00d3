// SPDX-License-Identifier: MIT
//
// What a failed write or sync means: nothing more goes to its file, and of what was published and
// not durable nobody will ever know whether it is there. The store ends there, or goes on in a new
// file behind all of it.
//
// What must stay true: nobody is told that an event is safe which is not; no position is given
// twice.
#include "log/internal.h"

#include "base/error.h"
#include "base/plant.h"

#include <errno.h>

// ---- failing ------------------------------------------------------------------------------------

static enum peal_err say_failed(const struct pl_store *store, const char *what)
{
    // Relaxed: a number for a sentence.
    int result = atomic_load_explicit(&store->failed, memory_order_relaxed);
    return pl_fail(PEAL_EIO,
                   "%s: cannot %s (%s): whether what was not durable is there is unknown; %s",
                   store->path, what, pl_files_text(result),
                   store->config.go_on ? "what is published from now on goes to a new file"
                                       : "close the bus, see to the disk, and open it again");
}

enum peal_err pl_store_fail(struct pl_store *store, int result, const char *what)
{
    int none = 0;
    (void)atomic_compare_exchange_strong(&store->failed, &none, result ? result : -EIO);
    return say_failed(store, what);
}

bool pl_store_has_failed(const struct pl_store *store)
{
    return atomic_load_explicit(&store->failed, memory_order_acquire) != 0;
}

enum peal_err pl_store_say_failed(const struct pl_store *store)
{
    return say_failed(store, "write or sync any more, since one of these has failed");
}

bool pl_store_is_unknown(const struct pl_store *store, uint64_t end)
{
    // Acquire: the first is stored before the end.
    uint64_t unknown_end = atomic_load_explicit(&store->unknown_end, memory_order_acquire);
    return end <= unknown_end &&
           end > atomic_load_explicit(&store->unknown_first, memory_order_relaxed);
}

// ---- after a failure ----------------------------------------------------------------------------

// Events that are published and not durable are not: whoever waits for one is told that it is
// unknown. The range never shrinks; who asks again for one that was acknowledged between two
// failures is told the same.
static void give_up_events(struct pl_store *store, uint64_t end)
{
    uint64_t first = pl_store_durable(store);
    if (atomic_load_explicit(&store->unknown_end, memory_order_relaxed) == 0) {
        atomic_store_explicit(&store->unknown_first, first, memory_order_relaxed);
    }
    atomic_store_explicit(&store->unknown_end, end, memory_order_release);
    pl_volume_end_last(store, pl_store_written(store));
    if (store->base == end) {
        pl_volume_drop_last(store); // it has nothing, and its name is wanted
        store->base = 0;
    }
    store->next = end;
    store->in_batch = false;
    store->buffered = 0;
}

// The log goes on behind a file that could not be begun: its name would stand between.
static enum peal_err remove_tried(struct pl_store *store)
{
    int result = store->tried ? pl_volume_remove(store, store->tried) : 0;
    if (result) {
        return pl_fail(PEAL_EIO, "%s: cannot remove the file of %llu, which could not be begun: %s",
                       store->path, (unsigned long long)store->tried, pl_files_text(result));
    }
    store->tried = 0;
    return PEAL_OK;
}

enum peal_err pl_write_go_on(struct pl_store *store, struct pl_log *log)
{
    if (!store->config.go_on || !pl_store_has_failed(store)) {
        return pl_store_has_failed(store) ? pl_store_say_failed(store) : PEAL_OK;
    }
    pl_sync_give_up(store);
    enum peal_err err = remove_tried(store);
    if (err) {
        return err;
    }
    uint64_t end = PL_PLANTED(REUSED_AT_FAILURE) ? pl_store_durable(store) : pl_log_end(log);
    give_up_events(store, end);
    store->after_failure = true;
    err = pl_volume_begin(store, store->config.file_bytes);
    if (err) {
        return err;
    }
    store->after_failure = false;
    pl_put_forget_names(store);
    store->whole = end;
    // Release, after `unknown_end`: who sees these sees that.
    atomic_store_explicit(&store->handed, end, memory_order_release);
    atomic_store_explicit(&store->written, end, memory_order_release);
    atomic_store_explicit(&store->durable, end, memory_order_release);
    atomic_store_explicit(&store->failed, 0, memory_order_release);
    return PEAL_OK;
}
