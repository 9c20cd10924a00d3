// SPDX-License-Identifier: MIT
//
// How much the files of a log hold.
#include "log/internal.h"

// The base of the newest file that is older than `base`; 0: there is none.
static uint64_t older(struct pl_store *store, uint64_t base)
{
    uint64_t found = 0;
    pl_mutex_lock(&store->lock, store->seams);
    for (size_t i = 0; i < store->volume_count && store->volumes[i].base < base; i++) {
        found = store->volumes[i].base;
    }
    pl_mutex_unlock(&store->lock, store->seams);
    return found;
}

static uint64_t size_of(struct pl_store *store, uint64_t base)
{
    struct pl_place place;
    bool found = false;
    if (pl_place_open(&place, store, base, &found) || !found) {
        return 0; // as good as not there
    }
    uint64_t packed = pl_archives_room(&store->archives, place.file);
    int64_t size = store->files->size(store->files->world, place.file);
    pl_place_leave(&place, store);
    return packed ? packed : size > 0 ? (uint64_t)size : 0;
}

uint64_t pl_store_behind(struct pl_store *store, uint64_t bytes)
{
    uint64_t sum = 0, position = UINT64_MAX;
    for (uint64_t base = older(store, UINT64_MAX); base; base = older(store, base)) {
        sum += size_of(store, base);
        if (sum > bytes && position != UINT64_MAX) {
            return position;
        }
        position = base;
    }
    return 0;
}

void pl_store_syncs(struct peal_histogram *out, uint64_t *out_failures, struct pl_store *store)
{
    pl_histogram_read(out, &store->syncs);
    *out_failures = atomic_load_explicit(&store->sync_failures, memory_order_relaxed);
}

void pl_store_holdings(struct pl_holdings *out, struct pl_store *store)
{
    struct pl_holdings sum = { 0 };
    uint64_t last = 0;
    pl_mutex_lock(&store->lock, store->seams);
    for (size_t i = 0; i < store->volume_count; i++) {
        const struct pl_volume *volume = &store->volumes[i];
        last = volume->base;
        sum.files++;
        sum.archived += volume->packed > 0;
        sum.bytes += volume->packed                     ? volume->packed
                     : volume->bytes == PL_VOLUME_GROWS ? 0
                                                        : volume->bytes;
    }
    pl_mutex_unlock(&store->lock, store->seams);
    sum.bytes += last ? size_of(store, last) : 0;
    *out = sum;
}
